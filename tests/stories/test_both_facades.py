"""One story through Stripe's API and through Frame's: it ends in the same money."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import stripe
from town import DAY, HOUR, Town, at

from frame_client import Frame, FrameError

MONTHLY, YEARLY = "monthly", "yearly"
GOOD, POOR = "4242424242424242", "4726846912498186"  # the second has insufficient funds
TOKENS = {GOOD: "pm_card_visa", POOR: "pm_card_chargeCustomerFail"}
EVERY = {
    "daily": ("day", 1),
    "weekly": ("week", 1),
    MONTHLY: ("month", 1),
    "every_3_months": ("month", 3),
    "every_6_months": ("month", 6),
    YEARLY: ("year", 1),
}
# What each costs in minor units, or as a Decimal how many percent less; and for how many periods.
Phases = Sequence[tuple[int | Decimal, int]]


@dataclass
class Shop(ABC):
    """What a merchant does, whichever API the merchant's program speaks."""

    town: Town
    frame: Frame
    clock: str = ""
    currency: str = "usd"

    def begin(self, moment: str) -> None:
        self.clock = self.town.clock(at(moment))

    def until(self, moment: str) -> None:
        self.town.advance(self.clock, at(moment))

    def money(self, customer: str) -> list[tuple[int, int, str | None]]:
        """Of each invoice, the oldest first: the total, what was paid, and the status."""
        found = self.town.client.v1.invoices.list({"customer": customer, "limit": 100}).data
        found.sort(key=lambda each: (each.created, each.id))
        return [(each.total, each.amount_paid, each.status) for each in found]

    @abstractmethod
    def payer(self, card: str = GOOD) -> str: ...

    @abstractmethod
    def pays_with(self, customer: str, subscription: str | None, card: str) -> str: ...

    @abstractmethod
    def product(self, amount: int, interval: str = MONTHLY, phases: Phases = ()) -> str: ...

    @abstractmethod
    def subscribe(self, customer: str, product: str) -> str: ...

    @abstractmethod
    def change(self, subscription: str, product: str, proration: str) -> None: ...

    @abstractmethod
    def change_at_renewal(self, subscription: str, product: str) -> None: ...

    @abstractmethod
    def keep_the_product(self, subscription: str) -> None:
        """The change that waits for the renewal is not to be."""

    @abstractmethod
    def pause(self, subscription: str) -> None: ...

    @abstractmethod
    def resume(self, subscription: str) -> None: ...

    @abstractmethod
    def cancel(self, subscription: str) -> None: ...

    @abstractmethod
    def status(self, subscription: str) -> str: ...

    @abstractmethod
    def bill(
        self, customer: str, amount: int, quantity: int, percent_off: int = 0, amount_off: int = 0
    ) -> None:
        """An invoice of a thing that is sold once, charged at once."""

    @abstractmethod
    def send(self, customer: str, amount: int, days: int) -> str:
        """An invoice of a thing that is sold once, to be paid within so many days."""

    @abstractmethod
    def pay(self, invoice: str) -> None: ...

    @abstractmethod
    def use_and_bill(
        self, customer: str, month: tuple[str, str], values: Sequence[int], cents: str
    ) -> None:
        """Usage within a month, and its bill when the month is over."""

    @abstractmethod
    def charge(self, customer: str, amount: int) -> str: ...

    @abstractmethod
    def refund(self, charge: str, amount: int | None) -> None: ...


class StripeShop(Shop):
    def payer(self, card: str = GOOD) -> str:
        return self.town.customer(self.clock, card=TOKENS[card])

    def pays_with(self, customer: str, subscription: str | None, card: str) -> str:
        method = self.town.pays_with(customer, TOKENS[card])
        if subscription is not None:
            self.town.client.v1.subscriptions.update(
                subscription, {"default_payment_method": method}
            )
        return method

    def product(self, amount: int, interval: str = MONTHLY, phases: Phases = ()) -> str:
        every, count = EVERY[interval]
        recurring = {"interval": every, "interval_count": count}

        def price(cost: int | Decimal) -> str:
            if isinstance(cost, Decimal):
                cost = amount * (100 - cost) / 100
            return self.town.price(
                unit_amount_decimal=f"{cost}", currency=self.currency, recurring=recurring
            )

        self.phases = [(price(cost), count) for cost, count in phases]
        return price(amount)

    def subscribe(self, customer: str, product: str) -> str:
        if not getattr(self, "phases", None):
            return self.town.subscribe(customer, product).id
        asked: dict[str, Any] = {
            "customer": customer,
            "start_date": "now",
            "end_behavior": "release",
            "phases": [
                {"items": [{"price": price}], "duration": self.months(count)}
                for price, count in [*self.phases, (product, 1)]
            ],
        }
        schedule = self.town.client.v1.subscription_schedules.create(asked)  # type: ignore[arg-type]
        return str(schedule.subscription)

    @staticmethod
    def months(count: int) -> dict[str, Any]:
        return {"interval": "month", "interval_count": count}

    def change(self, subscription: str, product: str, proration: str) -> None:
        [item] = self.town.subscription(subscription).items.data
        self.town.client.v1.subscriptions.update(
            subscription,
            {
                "items": [{"id": item.id, "price": product}],
                "proration_behavior": proration,  # type: ignore[typeddict-item]
            },
        )

    def change_at_renewal(self, subscription: str, product: str) -> None:
        schedules = self.town.client.v1.subscription_schedules
        schedule = schedules.create({"from_subscription": subscription})
        [phase] = schedule.phases
        current = {
            "items": [{"price": str(phase.items[0].price)}],
            "start_date": phase.start_date,
            "end_date": phase.end_date,
        }
        asked: dict[str, Any] = {
            "end_behavior": "release",
            "phases": [
                current,
                {"items": [{"price": product}], "duration": {"interval": "year"}},
            ],
        }
        schedules.update(schedule.id, asked)  # type: ignore[arg-type]

    def keep_the_product(self, subscription: str) -> None:
        schedule = self.town.subscription(subscription).schedule
        self.town.client.v1.subscription_schedules.release(str(schedule))

    def pause(self, subscription: str) -> None:
        self.town.client.v1.subscriptions.pause(subscription, {})

    def resume(self, subscription: str) -> None:
        self.town.client.v1.subscriptions.resume(subscription, {})

    def cancel(self, subscription: str) -> None:
        self.town.client.v1.subscriptions.cancel(subscription)

    def status(self, subscription: str) -> str:
        return self.town.subscription(subscription).status

    def bill(
        self, customer: str, amount: int, quantity: int, percent_off: int = 0, amount_off: int = 0
    ) -> None:
        terms: dict[str, Any] = {"percent_off": percent_off} if percent_off else {}
        if amount_off:
            terms = {"amount_off": amount_off, "currency": "usd"}
        discounts = []
        if terms:
            terms["duration"] = "once"
            coupon = self.town.client.v1.coupons.create(terms)  # type: ignore[arg-type]
            discounts = [{"coupon": coupon.id}]
        invoice = self._drafted(customer, amount, quantity, discounts=discounts)
        if self.town.client.v1.invoices.finalize_invoice(invoice).status == "open":
            self.pay(invoice)

    def send(self, customer: str, amount: int, days: int) -> str:
        terms = {"collection_method": "send_invoice", "days_until_due": days}
        invoice = self._drafted(customer, amount, 1, **terms)
        self.town.client.v1.invoices.finalize_invoice(invoice)
        return invoice

    def pay(self, invoice: str) -> None:
        self.town.client.v1.invoices.pay(invoice)

    def _drafted(self, customer: str, amount: int, quantity: int, **terms: Any) -> str:
        client = self.town.client
        asked = {"customer": customer, **terms}
        invoice = client.v1.invoices.create(asked)  # type: ignore[arg-type]
        price = client.v1.prices.create(
            {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Setup"}}
        )
        client.v1.invoice_items.create(
            {
                "customer": customer,
                "invoice": invoice.id,
                "pricing": {"price": price.id},
                "quantity": quantity,
            }
        )
        return invoice.id

    def use_and_bill(
        self, customer: str, month: tuple[str, str], values: Sequence[int], cents: str
    ) -> None:
        price = self.town.metered("calls", unit_amount_decimal=cents)
        self.town.subscribe(customer, price)
        for value in values:
            self.town.use(customer, str(value), event_name="calls")
        self.until(f"{month[1]} 01:00")

    def charge(self, customer: str, amount: int) -> str:
        client = self.town.client
        method = client.v1.payment_methods.list({"customer": customer}).data[0].id
        return client.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": "usd",
                "customer": customer,
                "payment_method": method,
                "confirm": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
        ).id

    def refund(self, charge: str, amount: int | None) -> None:
        part: Any = {} if amount is None else {"amount": amount}
        self.town.client.v1.refunds.create({"payment_intent": charge, **part})


class FrameShop(Shop):
    def payer(self, card: str = GOOD) -> str:
        asked = {"name": "Ada", "email": "ada@example.com", "test_clock": self.clock}
        customer = self.frame.post("/v1/customers", asked)["id"]
        self.pays_with(customer, None, card)
        return str(customer)

    def pays_with(self, customer: str, subscription: str | None, card: str) -> str:
        asked = {"card_number": card, "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        method = self.frame.post(
            "/v1/payment_methods", {"type": "card", **asked, "customer": customer}
        )
        self.method = str(method["id"])
        if subscription is not None:
            self.frame.patch(
                f"/v1/subscriptions/{subscription}", {"default_payment_method": self.method}
            )
        return self.method

    def product(self, amount: int, interval: str = MONTHLY, phases: Phases = ()) -> str:
        made = self.frame.post(
            "/v1/products",
            {
                "name": "Plan",
                "description": "A plan",
                "default_price": amount,
                "purchase_type": "recurring",
                "recurring_interval": interval,
            },
        )
        for ordinal, (cost, count) in enumerate(phases, 1):
            phase: dict[str, Any] = {"ordinal": ordinal}
            if isinstance(cost, Decimal):
                phase |= {"pricing_type": "relative", "discount_percentage": str(cost)}
            else:
                phase |= {"pricing_type": "static", "amount_cents": cost}
            self.frame.post(f"/v1/products/{made['id']}/phases", phase | {"period_count": count})
        return str(made["id"])

    def subscribe(self, customer: str, product: str) -> str:
        made = self.frame.post(
            "/v1/subscriptions",
            {
                "customer": customer,
                "product": product,
                "default_payment_method": self.method,
                "currency": self.currency,
            },
        )
        return str(made["id"])

    def change(self, subscription: str, product: str, proration: str) -> None:
        self.frame.patch(
            f"/v1/subscriptions/{subscription}",
            {"product": product, "proration_behavior": proration},
        )

    def change_at_renewal(self, subscription: str, product: str) -> None:
        changed = self.frame.patch(f"/v1/subscriptions/{subscription}", {"product": product})
        assert changed["scheduled_change"]["interval_switch"] is True
        assert changed["scheduled_change"]["effective_date"] == changed["current_period_end"]

    def keep_the_product(self, subscription: str) -> None:
        self.frame.delete(f"/v1/subscriptions/{subscription}/scheduled_change")

    def pause(self, subscription: str) -> None:
        self.frame.post(f"/v1/subscriptions/{subscription}/pause")

    def resume(self, subscription: str) -> None:
        self.frame.post(f"/v1/subscriptions/{subscription}/resume")

    def cancel(self, subscription: str) -> None:
        self.frame.post(f"/v1/subscriptions/{subscription}/cancel")

    def status(self, subscription: str) -> str:
        return str(self.frame.get(f"/v1/subscriptions/{subscription}")["status"])

    def bill(
        self, customer: str, amount: int, quantity: int, percent_off: int = 0, amount_off: int = 0
    ) -> None:
        terms: dict[str, Any] = {}
        if percent_off:
            terms = {"discount_type": "percentage", "discount_value": percent_off}
        if amount_off:
            terms = {"discount_type": "fixed_amount", "discount_value": amount_off}
        codes = []
        if terms:
            coupon = self.frame.post("/v1/coupons", {"name": "Off", "duration": "once", **terms})
            self.frame.post("/v1/promotion_codes", {"code": "OFF", "coupon_id": coupon["id"]})
            codes = ["OFF"]
        invoice = self._drafted(
            customer,
            amount,
            quantity,
            collection_method="auto_charge",
            payment_method=self.method,
            promotion_codes=codes,
        )
        assert self.frame.post(f"/v1/invoices/{invoice}/issue")["status"] == "paid"

    def send(self, customer: str, amount: int, days: int) -> str:
        terms = {"collection_method": "request_payment", "net_terms": days}
        invoice = self._drafted(customer, amount, 1, **terms)
        self.frame.post(f"/v1/invoices/{invoice}/issue")
        return invoice

    def pay(self, invoice: str) -> None:
        self.frame.post(f"/v1/invoices/{invoice}/pay", {"payment_method": self.method})

    def _drafted(self, customer: str, amount: int, quantity: int, **terms: Any) -> str:
        product = self.frame.post(
            "/v1/products",
            {
                "name": "Setup",
                "description": "Once",
                "default_price": amount,
                "purchase_type": "one_time",
            },
        )
        items = [{"product": product["id"], "quantity": quantity}]
        made = self.frame.post("/v1/invoices", {"customer": customer, "line_items": items, **terms})
        return str(made["id"])

    def use_and_bill(
        self, customer: str, month: tuple[str, str], values: Sequence[int], cents: str
    ) -> None:
        self.frame.post(
            "/v1/billing/metering",
            {"event_name": "calls", "aggregation": "sum", "value": str(float(cents) / 100)},
        )
        for place, value in enumerate(values):
            self.frame.post(
                "/v1/billing/metering_events",
                {
                    "customer": customer,
                    "event_name": "calls",
                    "reference": f"call-{place}",
                    "value": value,
                },
            )
        self.until(f"{month[1]} 01:00")
        self.frame.post(
            "/v1/billing/billing_invoice",
            {
                "customer": customer,
                "collection_method": "auto_charge",
                "payment_method": self.method,
                "start_date": f"{month[0]}T00:00:00Z",
                "end_date": f"{month[1]}T00:00:00Z",
            },
        )

    def charge(self, customer: str, amount: int) -> str:
        intent = self.frame.post(
            "/v1/charge_intents",
            {
                "amount": amount,
                "currency": "usd",
                "customer": customer,
                "payment_method": self.method,
                "confirm": True,
            },
        )
        return str(intent["id"])

    def refund(self, charge: str, amount: int | None) -> None:
        part = {} if amount is None else {"amount": amount}
        self.frame.post("/v1/refunds", {"charge_intent": charge, **part})


@pytest.fixture(params=[StripeShop, FrameShop], ids=["stripe", "frame"])
def shop(request: pytest.FixtureRequest, town: Town, frame: Frame) -> Shop:
    open_shop: Callable[[Town, Frame], Shop] = request.param
    return open_shop(town, frame)


# ─── Stories ─────────────────────────────────────────────────────────────────────────────────


def test_months_that_end_on_the_31st(shop: Shop) -> None:
    shop.begin("2028-01-31 09:30:00")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.until("2029-01-31 10:30:00")
    assert shop.money(customer) == [(9900, 9900, "paid")] * 13
    renewals = [each.period_end for each in shop.town.invoices(subscription)][1:]
    assert renewals[:3] == [
        at("2028-02-29 09:30:00"),
        at("2028-03-31 09:30:00"),
        at("2028-04-30 09:30:00"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "proration", "money"),
    [
        (9900, 19900, "create_prorations", [9900, 24900, 19900]),
        (9900, 19900, "always_invoice", [9900, 5000, 19900, 19900]),
        (9900, 19900, "none", [9900, 19900, 19900]),
        (19900, 9900, "create_prorations", [19900, 4900, 9900]),
        (19900, 9900, "always_invoice", [19900, -5000, 9900, 9900]),
        (19900, 9900, "none", [19900, 9900, 9900]),
    ],
    ids=lambda value: str(value),
)
def test_another_product_at_half_time(
    shop: Shop, before: int, after: int, proration: str, money: list[int]
) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(before))
    shop.until("2026-04-16")
    shop.change(subscription, shop.product(after), proration)
    shop.until("2026-06-01 01:00:00")
    assert [total for total, _, _ in shop.money(customer)] == money
    assert {status for _, _, status in shop.money(customer)} == {"paid"}
    assert shop.status(subscription) == "active"


def test_a_change_of_a_few_seconds_is_prorated_by_the_second(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(100_000))
    shop.until("2026-04-11 12:34:56")
    shop.change(subscription, shop.product(300_000), "always_invoice")
    assert [total for total, _, _ in shop.money(customer)] == [100_000, 129_838]


def test_by_the_year_from_the_next_renewal_on(shop: Shop) -> None:
    shop.begin("2026-01-15")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.until("2026-02-01")
    shop.change_at_renewal(subscription, shop.product(99000, YEARLY))
    shop.until("2027-02-15 01:00:00")
    assert shop.money(customer) == [
        (9900, 9900, "paid"),
        (99000, 99000, "paid"),
        (99000, 99000, "paid"),
    ]


def test_a_year_at_once(shop: Shop) -> None:
    shop.begin("2028-02-29")
    customer = shop.payer()
    shop.subscribe(customer, shop.product(99000, YEARLY))
    shop.until("2030-02-28 01:00:00")
    assert shop.money(customer) == [(99000, 99000, "paid")] * 3


def test_prices_that_begin_low(shop: Shop) -> None:
    """A free month, half price for three, and then the price."""
    shop.begin("2026-01-15")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900, phases=[(0, 1), (4950, 3)]))
    shop.until("2026-07-15 01:00:00")
    assert [total for total, _, _ in shop.money(customer)] == [
        *(0, 4950, 4950, 4950, 9900, 9900, 9900)
    ]
    assert shop.status(subscription) == "active"


def test_an_end_at_half_time(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.until("2026-05-16")
    shop.cancel(subscription)
    shop.until("2026-08-01")
    assert shop.money(customer) == [(9900, 9900, "paid")] * 2
    assert shop.status(subscription) == "canceled"


def test_a_first_payment_that_fails(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer(POOR)
    subscription = shop.subscribe(customer, shop.product(9900))
    assert shop.status(subscription) == "incomplete"
    shop.until("2026-04-03")
    assert shop.status(subscription) in ("incomplete_expired", "terminated")
    assert shop.money(customer) == [(9900, 0, "void")]


def test_a_renewal_that_fails_until_the_card_is_replaced(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.pays_with(customer, subscription, POOR)
    shop.until("2026-05-01 12:00:00")
    assert shop.status(subscription) == "past_due"
    shop.pays_with(customer, subscription, GOOD)
    shop.until("2026-05-04")
    assert shop.status(subscription) == "active"
    assert shop.money(customer) == [(9900, 9900, "paid")] * 2


@pytest.mark.parametrize(("percent_off", "total"), [(0, 10_000), (25, 7500), (100, 0)])
def test_a_thing_that_is_sold_once(shop: Shop, percent_off: int, total: int) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    shop.bill(customer, 5000, 2, percent_off)
    assert shop.money(customer) == [(total, total, "paid")]


@pytest.mark.parametrize(
    ("values", "cents", "total"),
    [([2000, 345], "1", 2345), ([42_318], "0.1", 4232), ([1], "0.4", 0), ([5], "0.1", 1)],
    ids=["the guide's", "rounded up", "rounded down", "half a cent away from zero"],
)
def test_a_month_of_usage(shop: Shop, values: Sequence[int], cents: str, total: int) -> None:
    shop.begin("2026-06-01")
    customer = shop.payer()
    shop.use_and_bill(customer, ("2026-06-01", "2026-07-01"), values, cents)
    shop.until("2026-07-02")
    assert shop.money(customer) == [(total, total, "paid")]


def test_money_that_is_charged_and_given_back(shop: Shop) -> None:
    shop.begin("2026-06-01")
    customer = shop.payer()
    charge = shop.charge(customer, 1600)
    shop.refund(charge, 600)
    [seen] = shop.town.client.v1.charges.list({"customer": customer}).data
    assert (seen.amount, seen.amount_captured, seen.amount_refunded) == (1600, 1600, 600)
    assert shop.frame.get(f"/v1/charges/{seen.id}")["amount_refunded"] == 600


def test_all_that_is_charged_is_given_back_once(shop: Shop) -> None:
    shop.begin("2026-06-01")
    customer = shop.payer()
    charge = shop.charge(customer, 1600)
    shop.refund(charge, None)
    with pytest.raises((FrameError, stripe.InvalidRequestError)):
        shop.refund(charge, 1)
    [seen] = shop.town.client.v1.charges.list({"customer": customer}).data
    assert (seen.amount_refunded, seen.refunded) == (1600, True)


@pytest.mark.parametrize("interval", list(EVERY))
def test_every_interval(shop: Shop, interval: str) -> None:
    """Two renewals of each, from the last day of a month on."""
    shop.begin("2027-08-31 23:59:59")
    customer = shop.payer()
    shop.subscribe(customer, shop.product(1001, interval))
    end = {
        "daily": "2027-09-02 23:59:59",
        "weekly": "2027-09-14 23:59:59",
        MONTHLY: "2027-10-31 23:59:59",
        "every_3_months": "2028-02-29 23:59:59",
        "every_6_months": "2028-08-31 23:59:59",
        YEARLY: "2029-08-31 23:59:59",
    }[interval]
    shop.town.advance(shop.clock, at(end) - 1)
    assert [total for total, _, _ in shop.money(customer)] == [1001] * 2
    shop.town.advance(shop.clock, at(end) + HOUR)
    assert shop.money(customer) == [(1001, 1001, "paid")] * 3


def test_a_pause_gives_back_what_is_left_and_a_resumption_begins_anew(shop: Shop) -> None:
    shop.begin("2026-01-31 10:00:00")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9901))
    shop.until("2026-02-14 12:34:56")
    shop.pause(subscription)
    assert shop.status(subscription) == "paused"
    shop.until("2026-05-30")
    assert len(shop.money(customer)) == 1
    shop.resume(subscription)
    assert shop.status(subscription) == "active"
    shop.until("2026-07-30 02:00:00")
    left = at("2026-02-28 10:00:00") - at("2026-02-14 12:34:56")
    back = round(Decimal(9901) * left / (28 * DAY))
    assert [total for total, _, _ in shop.money(customer)] == [9901, 9901 - back, 9901, 9901]
    assert {status for _, _, status in shop.money(customer)} == {"paid"}


def test_an_end_within_a_pause(shop: Shop) -> None:
    shop.begin("2026-01-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.until("2026-01-20")
    shop.pause(subscription)
    shop.cancel(subscription)
    shop.until("2026-04-01")
    assert shop.status(subscription) == "canceled"
    assert [total for total, _, _ in shop.money(customer)] == [9900]


def test_prices_that_begin_so_many_percent_lower(shop: Shop) -> None:
    """A third off 99.01, and then 12.5 percent: only the line is rounded."""
    shop.begin("2026-01-31")
    customer = shop.payer()
    phases = [(Decimal("33.3333"), 2), (Decimal("12.5"), 1)]
    shop.subscribe(customer, shop.product(9901, phases=phases))
    shop.until("2026-05-31 01:00:00")
    assert [total for total, _, _ in shop.money(customer)] == [6601, 6601, 8663, 9901, 9901]


def test_prices_that_begin_low_while_the_card_is_declined(shop: Shop) -> None:
    """A phase goes by the calendar, whether or not its periods are paid."""
    shop.begin("2026-01-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9000, phases=[(3000, 2)]))
    shop.pays_with(customer, subscription, POOR)
    shop.until("2026-02-01 12:00:00")
    assert shop.status(subscription) == "past_due"
    shop.pays_with(customer, subscription, GOOD)
    shop.until("2026-03-02")
    assert shop.money(customer) == [(3000, 3000, "paid")] * 2 + [(9000, 9000, "paid")]
    assert shop.status(subscription) == "active"


def test_in_euros(shop: Shop) -> None:
    shop.currency = "eur"
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(4999))
    shop.until("2026-04-11")
    shop.change(subscription, shop.product(9999), "always_invoice")
    shop.until("2026-05-01 01:00:00")
    assert shop.money(customer) == [(each, each, "paid") for each in (4999, 6666 - 3333, 9999)]
    assert {each.currency for each in shop.town.invoices(subscription)} == {"eur"}


def test_a_change_that_is_declined_and_paid_with_another_card(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.pays_with(customer, subscription, POOR)
    shop.until("2026-04-16")
    shop.change(subscription, shop.product(19900), "always_invoice")
    assert shop.status(subscription) == "past_due"
    assert shop.money(customer)[1] == (5000, 0, "open")
    shop.pays_with(customer, subscription, GOOD)
    shop.until("2026-04-20")
    assert shop.status(subscription) == "active"
    shop.until("2026-05-01 01:00:00")
    assert shop.money(customer) == [(each, each, "paid") for each in (9900, 5000, 19900)]


def test_there_and_back_within_a_period(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    old, new = shop.product(3000), shop.product(9000)
    subscription = shop.subscribe(customer, old)
    for moment, product in [("2026-04-11", new), ("2026-04-11", old), ("2026-04-21", new)]:
        if at(moment) > at("2026-04-11") or product == new:
            shop.until(moment)
        shop.change(subscription, product, "create_prorations")
    shop.cancel(shop.subscribe(customer, old))
    shop.until("2026-05-01 01:00:00")
    totals = [total for total, _, _ in shop.money(customer)]
    # Ten days at ninety, there and back in no time, and ten at ninety again cost two thirds more.
    assert totals[0] == 3000
    assert sum(totals) == 3000 + 3000 + 9000 + 2000


def test_a_change_that_waits_and_is_not_to_be(shop: Shop) -> None:
    shop.begin("2026-01-15")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.change_at_renewal(subscription, shop.product(99000, YEARLY))
    shop.until("2026-02-01")
    shop.keep_the_product(subscription)
    shop.until("2026-03-15 01:00:00")
    assert shop.money(customer) == [(9900, 9900, "paid")] * 3


def test_an_end_while_a_change_waits(shop: Shop) -> None:
    shop.begin("2026-01-15")
    customer = shop.payer()
    subscription = shop.subscribe(customer, shop.product(9900))
    shop.change_at_renewal(subscription, shop.product(99000, YEARLY))
    shop.cancel(subscription)
    shop.until("2026-03-15 01:00:00")
    assert shop.money(customer) == [(9900, 9900, "paid")]
    assert shop.status(subscription) == "canceled"


def test_several_subscriptions_of_one_customer(shop: Shop) -> None:
    """Each goes its own way: one renews, one is changed, one paused, and one ends."""
    shop.begin("2026-04-01")
    customer = shop.payer()
    plans = [shop.product(amount) for amount in (1000, 2000, 3000, 4000)]
    stays, changes, pauses, ends = (shop.subscribe(customer, each) for each in plans)
    shop.until("2026-04-16")
    shop.change(changes, shop.product(4000), "create_prorations")
    shop.pause(pauses)
    shop.cancel(ends)
    shop.until("2026-05-01 02:00:00")
    assert [shop.status(each) for each in (stays, changes, pauses, ends)] == [
        *("active", "active", "paused", "canceled")
    ]
    totals = sorted(total for total, _, _ in shop.money(customer))
    assert totals == [1000, 1000, 2000, 3000, 4000, 5000]


@pytest.mark.parametrize(("amount_off", "total"), [(1, 9999), (9999, 1), (10_000, 0), (10_001, 0)])
def test_so_much_off_a_thing_that_is_sold_once(shop: Shop, amount_off: int, total: int) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    shop.bill(customer, 5000, 2, amount_off=amount_off)
    assert shop.money(customer) == [(total, total, "paid")]


def test_an_invoice_that_is_sent_falls_overdue_and_is_paid(shop: Shop) -> None:
    shop.begin("2026-04-01")
    customer = shop.payer()
    invoice = shop.send(customer, 5000, 14)
    shop.until("2026-04-20")
    assert shop.money(customer) == [(5000, 0, "open")]
    assert shop.frame.get(f"/v1/invoices/{invoice}")["status"] == "overdue"
    shop.pay(invoice)
    shop.until("2026-05-20")
    assert shop.money(customer) == [(5000, 5000, "paid")]
    assert shop.frame.get(f"/v1/invoices/{invoice}")["status"] == "paid"
