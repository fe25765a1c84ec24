"""Random acts on usage that is billed by windows, and what plain fractions make of them.

The model knows hours, not windows of the engine's: of each hour which bill it is on. After every
bill its total is the model's, no usage is on two bills, and at the end the books are in order.
``POSTPAID_TEST_SEED`` repeats a run.
"""

from __future__ import annotations

import logging
import os
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from all_at_once import all_at_once
from postpaid import ids
from postpaid.billing import change as changing
from postpaid.billing import correct, manage_customers, manage_keys, manage_payment_methods
from postpaid.billing.amend_usage import Amendment, amend_usage
from postpaid.billing.audit import audit
from postpaid.billing.bill_usage import NewBillingInvoice, bill_usage
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.grant_units import NewUnitCredit, grant_units
from postpaid.billing.pay import finish_paying
from postpaid.billing.perform import Act
from postpaid.billing.price_meters import AskedPrice, create_priced_meter
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.billing.subscribe import subscribe
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.metering import Aggregation
from postpaid.core.pricing import Model, Tier, TiersMode, Transform
from postpaid.storage import catalog, invoices
from postpaid.storage.database import Database
from postpaid.storage.paging import Page

SEED = int(os.environ.get("POSTPAID_TEST_SEED", "0"))
ACTS = 150
HOURS = 24 * 20  # within which what is late is still taken, and no month ends
BASE = datetime(2026, 3, 10, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAME = "call"

log = logging.getLogger(__name__)


def rounded(amount: Fraction) -> int:
    """Half away from zero."""
    return int(amount + Fraction(1, 2))


def each_unit(unit: str) -> Callable[[Fraction], int]:
    return lambda used: rounded(used * Fraction(unit))


def graduated(used: Fraction) -> int:
    """Twenty free, then 1.5 cents, and beyond a hundred 0.4 cents and 50 to get there."""
    amount = rounded(max(Fraction(0), min(used, Fraction(100)) - 20) * Fraction("1.5"))
    return amount + (rounded((used - 100) * Fraction("0.4")) + 50 if used > 100 else 0)


def volume(used: Fraction) -> int:
    return rounded(used * (3 if used <= 60 else 2))


def packages(used: Fraction) -> int:
    return 25 * -(-used // 10)


def tier(up_to: int | None, unit: str, flat: int | None = None) -> Tier:
    return Tier(
        None if up_to is None else Decimal(up_to),
        Decimal(unit),
        None if flat is None else Decimal(flat),
    )


PRICES: list[tuple[Model, Callable[[Fraction], int]]] = [
    (Model(Decimal("0.333")), each_unit("0.333")),
    (Model(Decimal("12.5")), each_unit("12.5")),
    (
        Model(
            tiers=(tier(20, "0"), tier(100, "1.5"), tier(None, "0.4", 50)),
            tiers_mode=TiersMode.GRADUATED,
        ),
        graduated,
    ),
    (Model(tiers=(tier(60, "3"), tier(None, "2")), tiers_mode=TiersMode.VOLUME), volume),
    (Model(Decimal(25), transform=Transform(10, "up")), packages),
]


@dataclass
class Event:
    at: datetime
    value: Fraction
    received_at: datetime
    is_canceled: bool = False

    @property
    def hour(self) -> int:
        return (self.at - BASE) // HOUR


@dataclass
class Share:
    """What a bill billed of a window: how much had been used by then, and what for."""

    invoice_id: str
    quantity: Fraction
    amount: int
    units: dict[int, Fraction]  # paid by the credit with this number


@dataclass
class Stretch:
    """Hours that were billed together, for the first time."""

    start: int
    end: int
    shares: list[Share]


@dataclass
class Credit:
    left: Fraction
    made_at: int
    expires_at: int


@dataclass
class Books:
    """What should be."""

    cost: Callable[[Fraction], int]
    events: dict[str, Event] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    subscribed: list[tuple[int, int]] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)

    def used(self, start: int, end: int) -> Fraction:
        own = self.events.values()
        return sum(
            (each.value for each in own if not each.is_canceled and start <= each.hour < end),
            Fraction(0),
        )

    def is_billed(self, hour: int) -> bool:
        return any(each.start <= hour < each.end for each in self.stretches)

    def is_free(self, hour: int) -> bool:
        return not self.is_billed(hour) and not any(a <= hour < b for a, b in self.subscribed)

    def bill(self, start: int, end: int, invoice_id: str) -> int | None:
        """What the bill comes to; None for nothing to bill, and then nothing changes."""
        free = [hour for hour in range(start, end) if self.is_free(hour)]
        runs: list[Stretch] = []
        for hour in free:
            if runs and runs[-1].end == hour:
                runs[-1].end += 1
            else:
                runs.append(Stretch(hour, hour + 1, []))
        runs += [each for each in self.stretches if start <= each.start and each.end <= end]
        total = None
        for run in sorted(runs, key=lambda each: each.start):
            quantity = self.used(run.start, run.end)
            had = sum(each.amount for each in run.shares)
            known = max((each.quantity for each in run.shares), default=Fraction(0))
            owes = self.cost(quantity) - had if quantity > 0 else 0
            again = owes > 0 or (owes < 0 and quantity > known)
            if quantity <= 0 or (run.shares and not again):
                continue
            units = self.draw(run, max(Fraction(0), quantity - known))
            rest = quantity - sum(units.values())
            prepaid = self.cost(quantity) - (self.cost(rest) if rest else 0) if units else 0
            total = (total or 0) + owes - max(0, prepaid)
            run.shares.append(Share(invoice_id, quantity, owes, units))
            if run not in self.stretches:
                self.stretches.append(run)
        return total

    def draw(self, run: Stretch, wanted: Fraction) -> dict[int, Fraction]:
        found = {}
        for number in sorted(
            range(len(self.credits)), key=lambda each: (self.credits[each].expires_at, each)
        ):
            credit = self.credits[number]
            if credit.made_at < run.end <= credit.expires_at and min(credit.left, wanted) > 0:
                found[number] = min(credit.left, wanted)
                credit.left -= found[number]
                wanted -= found[number]
        return found

    def void(self, invoice_id: str) -> None:
        for stretch in self.stretches:
            for share in stretch.shares:
                if share.invoice_id == invoice_id:
                    for number, units in share.units.items():
                        self.credits[number].left += units
            stretch.shares = [each for each in stretch.shares if each.invoice_id != invoice_id]
        self.stretches = [each for each in self.stretches if each.shares]


@dataclass
class Market:
    """A customer of a merchant's, who does anything at all."""

    database: Database
    chance: random.Random
    act: Act
    customer_id: str
    card_id: str
    price_id: str
    product_id: str
    books: Books
    hour: int = 24
    running: tuple[str, int] | None = None
    said: list[str] = field(default_factory=list)

    def now(self) -> Act:
        self.act = Act(self.act.account_id, False, "test", BASE + self.hour * HOUR, self.act.new_id)
        return self.act

    def step(self) -> None:
        acts = [self.use] * 8 + [self.bill] * 6 + [self.amend] * 3 + [self.cancel] * 2
        acts += [self.void] * 2 + [self.grant, self.begin_or_end, self.wait, self.wait]
        self.chance.choice(acts)()

    def wait(self) -> None:
        self.hour += self.chance.randrange(1, 9)

    def moment(self) -> datetime:
        """Up to now, mostly of late."""
        back = self.chance.randrange(1, self.chance.choice([8, 60, 200]))
        at = BASE + max(0, self.hour - back) * HOUR
        return at + timedelta(seconds=self.chance.choice([0, 1, 1800, 3599]))

    def value(self) -> Fraction:
        choices = [0, 1, 3, 10, 40, Fraction(5, 2), Fraction("0.125"), -2]
        return Fraction(self.chance.choice(choices))

    def use(self) -> None:
        reference = f"event-{len(self.books.events)}"
        event = Event(self.moment(), self.value(), BASE + self.hour * HOUR)
        self.say(f"use {event.value} at {event.at}")
        with self.database.transaction() as conn:
            recorded = record_usage(
                conn,
                self.now(),
                Reported(
                    [NAME],
                    [{"customer": self.customer_id, "value": str(float(event.value))}],
                    [reference],
                    [int(event.at.timestamp()) * 1000],
                ),
            )
        assert recorded.errors == {}
        self.books.events[reference] = event

    def some_event(self) -> tuple[str, Event] | None:
        found = [each for each in self.books.events.items() if not each[1].is_canceled]
        return self.chance.choice(found) if found else None

    def amend(self) -> None:
        if (found := self.some_event()) is None:
            return
        reference, event = found
        value = self.value()
        at = self.moment() if self.chance.random() < 0.5 else event.at
        self.say(f"amend {reference} from {event.value} at {event.at} to {value} at {at}")
        moved = Event(at, value, event.received_at)
        changes = (value, at) != (event.value, event.at)
        fixed = any(
            self.books.is_billed(hour)
            or any(a <= hour < b for a, b in self.books.subscribed if b <= self.hour)
            for hour in (event.hour, moved.hour)
        )
        try:
            with self.database.transaction() as conn:
                said = Amendment(
                    value=str(float(value)), occurred_at=None if at == event.at else at
                )
                amend_usage(conn, self.now(), reference, said)
        except ActionNotAllowed:
            assert fixed
            assert changes
            return
        assert not fixed or not changes
        self.books.events[reference] = moved

    def cancel(self) -> None:
        if (found := self.some_event()) is None:
            return
        reference, event = found
        self.say(f"cancel {reference}, {event.value} at {event.at}")
        with self.database.transaction() as conn:
            errors = cancel_usage(conn, self.now(), [Cancellation(NAME, reference)])
        in_time = self.act.now - event.received_at <= 24 * HOUR
        assert bool(errors) != in_time
        event.is_canceled = in_time

    def bill(self) -> None:
        end = max(1, self.hour - self.chance.choice([0, 0, 0, 5, 30]))
        start = max(0, end - self.chance.choice([1, 6, 24, 100, 400]))
        sent = self.chance.random() < 0.7
        asked = NewBillingInvoice(
            self.customer_id,
            BASE + start * HOUR,
            BASE + end * HOUR,
            payment_method_id=None if sent else self.card_id,
            days_until_due=7 if sent else None,
        )
        try:
            with self.database.transaction() as conn:
                [paying] = bill_usage(conn, self.now(), [asked])
        except ActionNotAllowed:
            assert self.books.bill(start, end, "none") is None
            return
        finish_paying(self.database, self.act, paying, declines_raise=True)
        invoice = self.invoice(paying.invoice_id)
        self.say(f"bill {start} to {end}: {invoice.total}")
        assert invoice.total == self.books.bill(start, end, invoice.id)
        if not sent and invoice.total >= 50:
            assert (invoice.status, invoice.amount_paid) == (InvoiceStatus.PAID, invoice.amount_due)

    def invoice(self, invoice_id: str) -> Invoice:
        with self.database.connection() as conn:
            return invoices.load(conn, self.act.account_id, [invoice_id])[invoice_id]

    def void(self) -> None:
        shares = [share for each in self.books.stretches for share in each.shares]
        found = sorted({each.invoice_id for each in shares})
        if not found:
            return
        chosen = self.chance.choice(found)
        if self.invoice(chosen).status != InvoiceStatus.OPEN:
            return
        self.say(f"void {chosen}")
        with self.database.transaction() as conn:
            correct.void_now(conn, self.now(), chosen)
        self.books.void(chosen)

    def grant(self) -> None:
        units, lasts = Fraction(self.chance.choice([1, 20, 75])), self.chance.choice([5, 50, 999])
        self.say(f"grant {units} for {lasts} hours")
        with self.database.transaction() as conn:
            asked = NewUnitCredit(
                self.customer_id,
                self.product_id,
                Decimal(int(units)),
                BASE + (self.hour + lasts) * HOUR,
            )
            grant_units(conn, self.now(), asked)
        self.books.credits.append(Credit(units, self.hour, self.hour + lasts))

    def begin_or_end(self) -> None:
        """A subscription to the same price; what it has not billed when it ends is nobody's."""
        with self.database.transaction() as conn:
            if self.running is None:
                self.say("begin a subscription")
                asked = NewSubscription(
                    customer_id=self.customer_id,
                    items=[NewItem(self.price_id)],
                    default_payment_method_id=self.card_id,
                )
                begun = subscribe(conn, self.now(), asked)
                self.running = begun.subscription_id, self.hour
                self.books.subscribed.append((self.hour, 10**6))
                return
            subscription_id, since = self.running
            if since == self.hour:
                return
            bills = self.chance.random() < 0.5
            self.say(f"end the subscription, which bills: {bills}")
            ended = changing.cancel_now(conn, self.now(), subscription_id, invoice_now=bills)
        changing.finish(self.database, self.act, ended)
        self.books.subscribed.pop()
        if bills:
            self.books.subscribed.append((since, self.hour))
        self.running = None

    def say(self, words: str) -> None:
        self.said.append(f"{self.hour}: {words}")

    def check(self) -> None:
        """Each hour is on the bills of one window, or of a subscription, or of none."""
        with self.database.connection() as conn:
            rows = conn.execute(
                """
                SELECT DISTINCT l.period_start, l.period_end
                  FROM invoice_lines l
                  JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
                 WHERE i.account_id = %s AND l.live AND l.meter_id IS NOT NULL
                   AND l.obligation NOT LIKE '%%/opening'
                 ORDER BY 1
                """,
                (self.act.account_id,),
            ).fetchall()
        assert all(before[1] <= after[0] for before, after in pairwise(rows))
        ours = sorted(
            (BASE + each.start * HOUR, BASE + each.end * HOUR) for each in self.books.stretches
        )
        assert [each for each in ours if each not in rows] == []
        findings = [
            (each.sentence, row)
            for each in audit(self.database)
            for row in each.rows
            if row[0] == self.act.account_id
        ]
        assert findings == []


def open_market(
    database: Database, chance: random.Random, price: tuple[Model, Callable[[Fraction], int]]
) -> Market:
    model, cost = price
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=BASE)
        act = Act(account.account_id, False, "test", BASE, ids.new_id)
        fields = {
            "display_name": "Calls",
            "event_name": NAME,
            "aggregation": Aggregation.SUM,
            "customer_key": "customer",
            "value_key": "value",
        }
        meter = create_priced_meter(conn, act, fields, AskedPrice("usd", model))
        sold = catalog.find_price(conn, act.account_id, meter.price_id or "")
        assert sold is not None
        customer = manage_customers.create_customer(conn, act, {"name": "Ada"})
        card = manage_payment_methods.attach_payment_method(conn, act, "pm_card_visa", customer.id)
    ids_of = customer.id, card.id, sold.id, sold.product_id
    return Market(database, chance, act, *ids_of, Books(cost))


@pytest.mark.parametrize("run", range(3))
def test_usage_is_billed_once_whatever_anybody_does(database: Database, run: int) -> None:
    seed = SEED or random.SystemRandom().randrange(1, 2**31)
    chance = random.Random(seed)
    market = open_market(database, chance, chance.choice(PRICES))
    try:
        for _ in range(ACTS):
            if market.hour < HOURS:
                market.step()
        market.check()
    except BaseException:
        log.error("POSTPAID_TEST_SEED=%d\n%s", seed, "\n".join(market.said))
        raise


def test_clients_that_bill_overlapping_windows_at_once_bill_everything_once(
    database: Database,
) -> None:
    seed = SEED or random.SystemRandom().randrange(1, 2**31)
    log.warning("POSTPAID_TEST_SEED=%d", seed)  # shown when the test fails
    market = open_market(database, random.Random(seed), PRICES[1])
    market.hour = 200
    act = market.now()

    def use(chance: random.Random, number: int) -> None:
        at = BASE + chance.randrange(200) * HOUR
        payload = {"customer": market.customer_id, "value": "2"}
        with database.transaction() as conn:
            stamp = [int(at.timestamp()) * 1000]
            record_usage(conn, act, Reported([NAME], [payload], [f"event-{number}"], stamp))

    def bill(start: int, end: int) -> bool:
        span = (BASE + start * HOUR, BASE + end * HOUR)
        asked = NewBillingInvoice(market.customer_id, *span, payment_method_id=market.card_id)
        try:
            with database.transaction() as conn:
                [paying] = bill_usage(conn, act, [asked])
        except ActionNotAllowed:
            return False
        finish_paying(database, act, paying, declines_raise=True)
        return True

    def client(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for turn in range(12):
            use(chance, 100 * number + turn)
            start = chance.randrange(200)
            bill(start, chance.randrange(start + 1, 201))

    clients = [lambda number=number: client(number) for number in range(5)]  # type: ignore[misc]
    assert all_at_once(clients) == [None] * 5
    bill(0, 200)
    assert not bill(0, 200)
    with database.connection() as conn:
        page = invoices.list_page(conn, act.account_id, Page(100))
    assert sum(each.total for each in page.rows) == sum(each.amount_paid for each in page.rows)
    assert sum(each.total for each in page.rows) == 5 * 12 * 25
    market.check()
