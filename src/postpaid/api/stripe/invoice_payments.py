"""Invoice payments as Stripe shows them: what is to settle an invoice, and how much it did."""

from __future__ import annotations

from typing import Any

from postpaid.api.stripe.expand import expandable
from postpaid.api.stripe.lists import seconds
from postpaid.core.invoice_payments import InvoicePayment


def to_stripe(payment: InvoicePayment, *, livemode: bool) -> dict[str, Any]:
    """The invoice payment."""
    kind = "payment_record" if payment.payment_record_id else "payment_intent"
    return {
        "id": payment.id,
        "object": "invoice_payment",
        "amount_paid": payment.amount_paid or None,
        "amount_requested": payment.amount_requested,
        "created": seconds(payment.created_at),
        "currency": payment.currency,
        "invoice": payment.invoice_id,
        "is_default": payment.is_default,
        "livemode": livemode,
        "payment": {
            "charge": None,
            "payment_intent": payment.payment_intent_id,
            "payment_record": payment.payment_record_id,
            "type": kind,
        },
        "status": payment.status,
        "status_transitions": {
            "canceled_at": seconds(payment.canceled_at),
            "paid_at": seconds(payment.paid_at),
        },
    }


expandable("invoice_payment", "payment.payment_intent", load="payment_intent")
