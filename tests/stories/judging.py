"""A client for stories that looks twice at every answer: is all there, and does it add up?"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import stripe
from adding_up import assert_adds_up

from shapes import assert_shape

KINDS: dict[str, type[stripe.StripeObject]] = {
    "billing.alert": stripe.billing.Alert,
    "billing.alert_triggered": stripe.billing.AlertTriggered,
    "billing.credit_balance_summary": stripe.billing.CreditBalanceSummary,
    "billing.credit_balance_transaction": stripe.billing.CreditBalanceTransaction,
    "billing.credit_grant": stripe.billing.CreditGrant,
    "billing.meter": stripe.billing.Meter,
    "billing.meter_event": stripe.billing.MeterEvent,
    "billing.meter_event_adjustment": stripe.billing.MeterEventAdjustment,
    "billing.meter_event_summary": stripe.billing.MeterEventSummary,
    "charge": stripe.Charge,
    "coupon": stripe.Coupon,
    "credit_note": stripe.CreditNote,
    "credit_note_line_item": stripe.CreditNoteLineItem,
    "customer": stripe.Customer,
    "customer_balance_transaction": stripe.CustomerBalanceTransaction,
    "discount": stripe.Discount,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "invoiceitem": stripe.InvoiceItem,
    "line_item": stripe.InvoiceLineItem,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "price": stripe.Price,
    "payment_record": stripe.PaymentRecord,
    "product": stripe.Product,
    "promotion_code": stripe.PromotionCode,
    "refund": stripe.Refund,
    "setup_attempt": stripe.SetupAttempt,
    "setup_intent": stripe.SetupIntent,
    "subscription": stripe.Subscription,
    "subscription_schedule": stripe.SubscriptionSchedule,
    "subscription_item": stripe.SubscriptionItem,
    "tax_rate": stripe.TaxRate,
    "test_helpers.test_clock": stripe.test_helpers.TestClock,
}


class JudgingClient(stripe.RequestsClient):
    """Refuses answers that are not what the SDK's classes annotate; notes the kinds it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.judged: set[bytes] = set()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, answered = super().request(method, url, headers, post_data)
        if status == 200:
            self.judge(json.loads(body))
        return body, status, answered

    def judge(self, value: dict[str, Any]) -> None:
        """Fails unless ``value``, and what it has in it, has its kind's shape, and adds up."""
        kind = value["object"]
        if kind in ("list", "search_result"):
            assert isinstance(value["has_more"], bool)
            assert value["url"].startswith("/v1/")
            for each in value["data"]:
                self.judge(each)
            return
        self.seen.add(kind)
        if value.get("deleted") and kind != "discount":  # of one there is all there was
            assert value == {"id": value["id"], "object": kind, "deleted": True}
            return
        again = hashlib.sha256(json.dumps(value).encode()).digest()
        if again in self.judged:  # a story looks at most of what it has many times
            return
        assert_shape(value, KINDS[kind])
        assert_adds_up(value)
        self.judged.add(again)
        if kind == "event":
            self.judge(value["data"]["object"])
