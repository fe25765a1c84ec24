"""What a story is told with: a merchant, the official client, and clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import stripe
from judging import JudgingClient

from postpaid.storage.database import Database

MONTH_BEGINS = 1767264700  # 2026-01-01 10:51:40 UTC, a second like any other
HOUR = 3600
DAY = 24 * HOUR


def at(moment: str) -> int:
    """Unix seconds of "2026-01-31" or "2026-01-31 10:51:40", in UTC."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())


def day(seconds: int | None) -> str:
    """The date of an instant, in UTC, to read it by."""
    assert seconds is not None
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


@dataclass(frozen=True)
class Town:
    """A merchant's account of its own, with the official client for it."""

    client: stripe.StripeClient
    base: str
    secret: str
    database: Database
    judge: JudgingClient = field(default_factory=JudgingClient)

    # ─── Time ────────────────────────────────────────────────────────────────────────────────

    def clock(self, frozen_time: int = MONTH_BEGINS) -> str:
        return self.client.v1.test_helpers.test_clocks.create({"frozen_time": frozen_time}).id

    def advance(self, clock_id: str, to: int) -> None:
        """Let the clock's time pass, and wait until everything due has been done."""
        clocks = self.client.v1.test_helpers.test_clocks
        assert clocks.advance(clock_id, {"frozen_time": to}).status == "advancing"
        for _ in range(2000):
            if (now := clocks.retrieve(clock_id)).status == "ready":
                return
            assert now.status == "advancing", now.status
            time.sleep(0.01)
        raise AssertionError("The clock never arrived.")

    # ─── Who and what ────────────────────────────────────────────────────────────────────────

    def customer(self, clock_id: str | None, card: str | None = "pm_card_visa", **more: Any) -> str:
        """A customer who pays with a test card."""
        given = {"name": "Ada", **more} | ({"test_clock": clock_id} if clock_id else {})
        customer = self.client.v1.customers.create(given)  # type: ignore[arg-type]
        if card is not None:
            self.pays_with(customer.id, card)
        return customer.id

    def pays_with(self, customer_id: str, card: str) -> str:
        """From now on the customer pays with this test card."""
        method = self.client.v1.payment_methods.attach(card, {"customer": customer_id})
        self.client.v1.customers.update(
            customer_id, {"invoice_settings": {"default_payment_method": method.id}}
        )
        return method.id

    def authenticate(self, intent_id: str, outcome: str = "succeed") -> dict[str, Any]:
        """The customer of a test card does what a payment waits for; the payment intent then."""
        path = f"/v1/test_helpers/payment_intents/{intent_id}/authenticate"
        answer = self.client.raw_request("post", path, outcome=outcome)
        return dict(answer.data)

    def intent_of(self, invoice_id: str | None) -> stripe.PaymentIntent:
        """What is to be collected of the invoice, as it is now."""
        assert invoice_id is not None
        expand = ["payments.data.payment.payment_intent"]
        invoice = self.client.v1.invoices.retrieve(invoice_id, {"expand": expand})
        assert invoice.payments is not None
        [payment] = [each for each in invoice.payments.data if each.is_default]
        assert isinstance(payment.payment.payment_intent, stripe.PaymentIntent)
        return payment.payment.payment_intent

    def meter(self, event_name: str = "api_call", formula: str = "sum") -> str:
        meter = self.client.v1.billing.meters.create(
            {
                "display_name": event_name,
                "event_name": event_name,
                "default_aggregation": {"formula": formula},  # type: ignore[typeddict-item]
            }
        )
        return meter.id

    def price(self, **given: Any) -> str:
        """A monthly price in dollars unless told otherwise."""
        given.setdefault("product_data", {"name": "Calls"})
        recurring = {"interval": "month", **given.pop("recurring", {})}
        price = self.client.v1.prices.create(
            {"currency": "usd", "recurring": recurring, **given}  # type: ignore[typeddict-item]
        )
        return price.id

    def metered(self, event_name: str = "api_call", formula: str = "sum", **given: Any) -> str:
        """A price of what a new meter counts."""
        meter = self.meter(event_name, formula)
        recurring = {"usage_type": "metered", "meter": meter, **given.pop("recurring", {})}
        return self.price(recurring=recurring, **given)

    # ─── What happens ────────────────────────────────────────────────────────────────────────

    def subscribe(self, customer_id: str, *prices: str, **more: Any) -> stripe.Subscription:
        given = {"customer": customer_id, "items": [{"price": each} for each in prices]} | more
        return self.client.v1.subscriptions.create(given)  # type: ignore[arg-type]

    def subscription(self, subscription_id: str) -> stripe.Subscription:
        """As it is now."""
        return self.client.v1.subscriptions.retrieve(subscription_id)

    def use(
        self, customer_id: str, value: str, *, event_name: str = "api_call", **more: Any
    ) -> None:
        self.client.v1.billing.meter_events.create(
            {
                "event_name": event_name,
                "payload": {"stripe_customer_id": customer_id, "value": value},
                **more,  # type: ignore[typeddict-item]
            }
        )

    def invoices(self, subscription_id: str) -> list[stripe.Invoice]:
        """Oldest first."""
        found = self.client.v1.invoices.list({"subscription": subscription_id, "limit": 100})
        return list(reversed(found.data))

    def events(self, *object_ids: str) -> list[stripe.Event]:
        """Those of the objects, or all, in the order in which they happened."""
        found = list(self.client.v1.events.list({"limit": 100}).auto_paging_iter())
        return [
            each
            for each in reversed(found)
            if not object_ids or each.data.object["id"] in object_ids
        ]
