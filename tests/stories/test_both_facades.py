"""One story through Stripe's API and through Frame's: it ends in the same money."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from town import Town, at

from frame_client import Frame

MONTHLY, YEARLY = "monthly", "yearly"
GOOD, POOR = "4242424242424242", "4726846912498186"  # the second has insufficient funds
TOKENS = {GOOD: "pm_card_visa", POOR: "pm_card_chargeCustomerFail"}
Phases = Sequence[tuple[int, int]]  # what each costs in minor units, and for how many periods


@dataclass
class Shop(ABC):
    """What a merchant does, whichever API the merchant's program speaks."""

    town: Town
    frame: Frame
    clock: str = ""

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
    def cancel(self, subscription: str) -> None: ...

    @abstractmethod
    def status(self, subscription: str) -> str: ...

    @abstractmethod
    def bill(self, customer: str, amount: int, quantity: int, percent_off: int = 0) -> None:
        """An invoice of a thing that is sold once, charged at once."""

    @abstractmethod
    def use_and_bill(
        self, customer: str, month: tuple[str, str], values: Sequence[int], cents: str
    ) -> None:
        """Usage within a month, and its bill when the month is over."""

    @abstractmethod
    def charge(self, customer: str, amount: int) -> str: ...

    @abstractmethod
    def refund(self, charge: str, amount: int) -> None: ...


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
        every = {MONTHLY: "month", YEARLY: "year"}[interval]
        price = self.town.price(
            unit_amount=amount, product_data={"name": "Plan"}, recurring={"interval": every}
        )
        self.phases = [
            (self.town.price(unit_amount=cost, recurring={"interval": every}), count)
            for cost, count in phases
        ]
        return price

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

    def cancel(self, subscription: str) -> None:
        self.town.client.v1.subscriptions.cancel(subscription)

    def status(self, subscription: str) -> str:
        return self.town.subscription(subscription).status

    def bill(self, customer: str, amount: int, quantity: int, percent_off: int = 0) -> None:
        client = self.town.client
        asked: dict[str, Any] = {"customer": customer}
        if percent_off:
            coupon = client.v1.coupons.create({"percent_off": percent_off, "duration": "once"})
            asked["discounts"] = [{"coupon": coupon.id}]
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
        if client.v1.invoices.finalize_invoice(invoice.id).status == "open":
            client.v1.invoices.pay(invoice.id)

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

    def refund(self, charge: str, amount: int) -> None:
        self.town.client.v1.refunds.create({"payment_intent": charge, "amount": amount})


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
            phase = {"ordinal": ordinal, "pricing_type": "static", "amount_cents": cost}
            self.frame.post(f"/v1/products/{made['id']}/phases", phase | {"period_count": count})
        return str(made["id"])

    def subscribe(self, customer: str, product: str) -> str:
        made = self.frame.post(
            "/v1/subscriptions",
            {
                "customer": customer,
                "product": product,
                "default_payment_method": self.method,
                "currency": "USD",
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

    def cancel(self, subscription: str) -> None:
        self.frame.post(f"/v1/subscriptions/{subscription}/cancel")

    def status(self, subscription: str) -> str:
        return str(self.frame.get(f"/v1/subscriptions/{subscription}")["status"])

    def bill(self, customer: str, amount: int, quantity: int, percent_off: int = 0) -> None:
        product = self.frame.post(
            "/v1/products",
            {
                "name": "Setup",
                "description": "Once",
                "default_price": amount,
                "purchase_type": "one_time",
            },
        )
        codes = []
        if percent_off:
            coupon = self.frame.post(
                "/v1/coupons",
                {
                    "name": "Off",
                    "discount_type": "percentage",
                    "discount_value": percent_off,
                    "duration": "once",
                },
            )
            self.frame.post("/v1/promotion_codes", {"code": "OFF", "coupon_id": coupon["id"]})
            codes = ["OFF"]
        invoice = self.frame.post(
            "/v1/invoices",
            {
                "customer": customer,
                "collection_method": "auto_charge",
                "payment_method": self.method,
                "promotion_codes": codes,
                "line_items": [{"product": product["id"], "quantity": quantity}],
            },
        )
        assert self.frame.post(f"/v1/invoices/{invoice['id']}/issue")["status"] == "paid"

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

    def refund(self, charge: str, amount: int) -> None:
        self.frame.post("/v1/refunds", {"charge_intent": charge, "amount": amount})


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
