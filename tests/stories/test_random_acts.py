"""Random acts against the engine, and against what plain fractions make of them.

After every step each customer's invoices are those of ``naive.Books``, line by line and due by due,
and so is, every now and then, what the API shows and what the next preview says.
``POSTPAID_TEST_SEED`` repeats a run.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
import stripe
from naive import Books, NaivePrice, rounded
from town import DAY, HOUR, Town, at

RUNS = range(8)
STEPS = 300  # acts of a run, of all its customers together
CUSTOMERS = 3
SEED = int(os.environ.get("POSTPAID_TEST_SEED", "0"))
BEHAVIORS = ("create_prorations", "create_prorations", "always_invoice", "none")

BILLED = """
SELECT array(
           SELECT l.amount
             FROM invoice_lines l
            WHERE l.account_id = i.account_id
              AND l.invoice_id = i.id
              AND l.amount <> 0
            ORDER BY l.amount),
       i.amount_due
  FROM invoices i
 WHERE i.subscription_id = %(subscription)s
   AND i.status <> 'draft'
 ORDER BY i.finalized_at, i.created_at, i.id
"""
BALANCE = """
SELECT balance
  FROM customers
 WHERE id = %(customer)s
"""

log = logging.getLogger(__name__)


def each_unit(unit: str) -> Callable[[Fraction], list[int]]:
    return lambda used: [rounded(used * Fraction(unit))]


def graduated(used: Fraction) -> list[int]:
    """A thousand free, the next two thousand at 1.5 cents, 0.4 cents beyond and $5 to get there."""
    lines = [0]
    if used > 1000:
        lines.append(rounded((min(used, Fraction(3000)) - 1000) * Fraction("1.5")))
    if used > 3000:
        lines += [rounded((used - 3000) * Fraction("0.4")), 500]
    return lines


def volume(used: Fraction) -> list[int]:
    return [rounded(used * (3 if used <= 500 else 2))]


LICENCES = {
    name: NaivePrice(name, unit)
    for name, unit in {"basic": 1000, "plus": 3252, "pro": 9999, "free": 0}.items()
}
USAGE = {
    "cheap": NaivePrice("cheap", rate=each_unit("0.333")),
    "dear": NaivePrice("dear", rate=each_unit("2.5")),
    "tiers": NaivePrice("tiers", rate=graduated),
    "bulk": NaivePrice("bulk", rate=volume),
}


@dataclass
class Buyer:
    """A customer as the engine knows them, and their books as they must be."""

    customer: str
    subscription: str
    books: Books
    items: dict[str, str] = field(default_factory=dict)  # the engine's id of each item


class Market:
    """One merchant's customers on one clock, and the acts that befall them."""

    def __init__(self, town: Town, dice: random.Random) -> None:
        self.town = town
        self.dice = dice
        self.told: list[str] = []
        self.now = at(dice.choice(["2027-01-31 10:51:40", "2027-12-31 23:59:59", "2028-02-06"]))
        self.clock = town.clock(self.now)
        self.prices = self._sell()
        self.buyers = [self._subscribe() for _ in range(CUSTOMERS)]

    def _sell(self) -> dict[str, str]:
        prices = {name: self.town.price(unit_amount=p.unit) for name, p in LICENCES.items()}
        meter = self.town.meter()
        recurring = {"usage_type": "metered", "meter": meter}
        tiered: dict[str, Any] = {"billing_scheme": "tiered", "recurring": recurring}
        return prices | {
            "cheap": self.town.price(unit_amount_decimal="0.333", recurring=recurring),
            "dear": self.town.price(unit_amount_decimal="2.5", recurring=recurring),
            "tiers": self.town.price(
                **tiered,
                tiers_mode="graduated",
                tiers=[
                    {"up_to": 1000, "unit_amount": 0},
                    {"up_to": 3000, "unit_amount_decimal": "1.5"},
                    {"up_to": "inf", "unit_amount_decimal": "0.4", "flat_amount": 500},
                ],
            ),
            "bulk": self.town.price(
                **tiered,
                tiers_mode="volume",
                tiers=[{"up_to": 500, "unit_amount": 3}, {"up_to": "inf", "unit_amount": 2}],
            ),
        }

    def _subscribe(self) -> Buyer:
        books = Books(self.now)
        asked = {"fee": (self.dice.choice(list(LICENCES.values())), self.dice.randint(1, 5))}
        if self.dice.random() < 0.8:
            asked["usage"] = (self.dice.choice(list(USAGE.values())), 0)
        books.subscribe(asked)
        customer = self.town.customer(self.clock)
        subscription = self.town.client.v1.subscriptions.create(
            {
                "customer": customer,
                "items": [self._item(price, quantity) for price, quantity in asked.values()],  # type: ignore[typeddict-item]
            }
        )
        buyer = Buyer(customer, subscription.id, books)
        self._learn_items(buyer)
        return buyer

    def _item(self, price: NaivePrice, quantity: int) -> dict[str, Any]:
        given: dict[str, Any] = {"price": self.prices[price.name]}
        return given if price.rate else given | {"quantity": quantity}

    def _learn_items(self, buyer: Buyer) -> None:
        shown = self.town.subscription(buyer.subscription)["items"].data
        by_price = {each.price.id: each.id for each in shown}
        buyer.items = {
            name: by_price[self.prices[item.price.name]] for name, item in buyer.books.items.items()
        }

    # ─── Acts ────────────────────────────────────────────────────────────────────────────────

    def step(self) -> None:
        """One act, chosen by the dice, done to both; noted, for whoever reads a failure."""
        buyer = self.dice.choice(self.buyers)
        acts: list[Callable[[Buyer], str | None]] = [self.wait, self.wait, self.use]
        if not buyer.books.ended:
            acts += [self.use, self.use_late, self.requantify, self.reprice, self.remeter]
            acts += [self.add_or_remove, self.change_mind, self.note]
            if self.dice.random() < 0.05:
                acts.append(self.cancel)
        act = self.dice.choice(acts)
        if done := act(buyer):
            self.told.append(done)
            self.check(self.buyers if act == self.wait else [buyer])
            if self.dice.random() < 0.1:
                self.check_shown(buyer)
                if not buyer.books.ended:
                    self.check_preview(buyer)

    def wait(self, _: Buyer) -> str:
        seconds = self.dice.choice(
            [1, 59 * 60, HOUR, self.dice.randint(1, DAY), self.dice.randint(1, 20) * DAY, 40 * DAY]
        )
        self.now += seconds
        self.town.advance(self.clock, self.now)
        for each in self.buyers:
            each.books.pass_time(self.now)
        return f"wait {seconds} s"

    def use(self, buyer: Buyer, at: int | None = None) -> str:
        value = self.dice.choice(["1", "250.5", "999", "1000.000000000001", "4000", "-3"])
        self.town.use(buyer.customer, value, timestamp=at or self.now)
        buyer.books.used.append((at or self.now, Fraction(value)))
        return f"{buyer.customer} uses {value}" + (f" at {at}" if at else "")

    def use_late(self, buyer: Buyer) -> str | None:
        """Of the period that is over, while its draft may still take it."""
        if buyer.books.months and buyer.books.drafts:
            return self.use(buyer, buyer.books.start - 1)
        return None

    def requantify(self, buyer: Buyer) -> str | None:
        item = buyer.books.items.get("fee")
        if item is None:
            return None
        quantity = self.dice.randint(0, 6)
        behavior = self._update(buyer, [{"id": buyer.items["fee"], "quantity": quantity}])
        buyer.books.change("fee", item.price, quantity, behavior, self.now)
        return f"{buyer.customer} takes {quantity}, {behavior}"

    def reprice(self, buyer: Buyer) -> str | None:
        item = buyer.books.items.get("fee")
        if item is None:
            return None
        price = self.dice.choice(list(LICENCES.values()))
        given = {"id": buyer.items["fee"], "price": self.prices[price.name]}
        behavior = self._update(buyer, [given | {"quantity": item.quantity}])
        buyer.books.change("fee", price, item.quantity, behavior, self.now)
        return f"{buyer.customer} buys {price.name}, {behavior}"

    def remeter(self, buyer: Buyer) -> str | None:
        if "usage" not in buyer.books.items:
            return None
        price = self.dice.choice(list(USAGE.values()))
        behavior = self._update(
            buyer, [{"id": buyer.items["usage"], "price": self.prices[price.name]}]
        )
        buyer.books.change("usage", price, 0, behavior, self.now)
        return f"{buyer.customer} pays for usage by {price.name}, {behavior}"

    def add_or_remove(self, buyer: Buyer) -> str | None:
        name = self.dice.choice(["fee", "usage"])
        if name not in buyer.books.items:
            price = self.dice.choice(list((LICENCES if name == "fee" else USAGE).values()))
            behavior = self._update(buyer, [self._item(price, 2)])
            buyer.books.add(name, price, 2 if name == "fee" else 0, behavior, self.now)
            self._learn_items(buyer)
            return f"{buyer.customer} adds {price.name}, {behavior}"
        if len(buyer.books.items) == 1:
            return None
        behavior = self._update(buyer, [{"id": buyer.items.pop(name), "deleted": True}])
        buyer.books.remove(name, behavior, self.now)
        return f"{buyer.customer} drops {name}, {behavior}"

    def note(self, buyer: Buyer) -> str:
        """Something is added by hand, or taken off."""
        amount = self.dice.choice([500, 1, -700, -20_000])
        self.town.client.v1.invoice_items.create(
            {
                "customer": buyer.customer,
                "subscription": buyer.subscription,
                "amount": amount,
                "currency": "usd",
            }
        )
        buyer.books.pending.append(amount)
        return f"{buyer.customer} owes {amount} more"

    def change_mind(self, buyer: Buyer) -> str:
        buyer.books.ends_with_period = not buyer.books.ends_with_period
        self.town.client.v1.subscriptions.update(
            buyer.subscription, {"cancel_at_period_end": buyer.books.ends_with_period}
        )
        return f"{buyer.customer} ends with the period: {buyer.books.ends_with_period}"

    def cancel(self, buyer: Buyer) -> str:
        invoice_now, prorate = self.dice.random() < 0.5, self.dice.random() < 0.5
        self.town.client.v1.subscriptions.cancel(
            buyer.subscription, {"invoice_now": invoice_now, "prorate": prorate}
        )
        buyer.books.cancel(invoice_now, prorate, self.now)
        return f"{buyer.customer} cancels, {invoice_now=}, {prorate=}"

    def _update(self, buyer: Buyer, items: list[dict[str, Any]]) -> str:
        behavior = self.dice.choice(BEHAVIORS)
        given = {"items": items, "proration_behavior": behavior}
        self.town.client.v1.subscriptions.update(buyer.subscription, given)  # type: ignore[arg-type]
        return behavior

    # ─── What must agree ─────────────────────────────────────────────────────────────────────

    def check(self, buyers: Sequence[Buyer]) -> None:
        """The rows say what the books say: after every step."""
        for buyer in buyers:
            with self.town.database.connection() as conn:
                of_buyer = {"subscription": buyer.subscription, "customer": buyer.customer}
                billed = conn.execute(BILLED, of_buyer).fetchall()
                balance = conn.execute(BALANCE, of_buyer).fetchone()
            assert billed == [(lines, due) for _, lines, due in buyer.books.invoices]
            assert balance == (buyer.books.balance,)

    def check_shown(self, buyer: Buyer) -> None:
        """The API shows what the books say: every now and then, as it takes long."""
        final = [each for each in self.town.invoices(buyer.subscription) if each.status != "draft"]
        # A draft may wait for its hour to pass while a later invoice is final at once.
        final.sort(key=lambda each: each.status_transitions.finalized_at or 0)
        shown = [
            (
                sorted(line.amount for line in invoice.lines.auto_paging_iter() if line.amount),
                invoice.amount_due,
            )
            for invoice in final
        ]
        assert shown == [(lines, due) for _, lines, due in buyer.books.invoices]
        customer = self.town.client.v1.customers.retrieve(buyer.customer)
        assert customer.balance == buyer.books.balance

    def check_preview(self, buyer: Buyer) -> None:
        """The next renewal as a preview has it is what would come if nothing more happened."""
        later = deepcopy(buyer.books)
        later.pass_time(later.end + HOUR)
        asked: Any = {"subscription": buyer.subscription}
        if len(later.invoices) == len(buyer.books.invoices) + len(buyer.books.drafts):
            with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices"):
                self.town.client.v1.invoices.create_preview(asked)
            return
        preview = self.town.client.v1.invoices.create_preview(asked)
        _, lines, due = later.invoices[-1]
        assert sorted(line.amount for line in preview.lines.data if line.amount) == lines
        assert buyer.books.drafts or preview.amount_due == due


@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", RUNS)
def test_whatever_happens_the_invoices_are_what_fractions_make_of_it(town: Town, run: int) -> None:
    seed = SEED or random.SystemRandom().randrange(1, 2**31) * len(RUNS) + run
    market = Market(town, random.Random(seed))
    try:
        market.check(market.buyers)
        for _ in range(STEPS):
            market.step()
        for buyer in market.buyers:
            market.check_shown(buyer)
    except BaseException:
        log.error("POSTPAID_TEST_SEED=%d\n%s", seed, "\n".join(market.told))
        raise
