"""What an invoice payment is: how much of an invoice one payment is to settle, and did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus


@dataclass(frozen=True, slots=True)
class InvoicePayment:
    """One payment of an invoice: a payment intent, or a record of money that came otherwise.

    ``is_default`` for the payment intent that was made with the invoice (Stripe). Amounts are minor
    units. ``status`` is open, paid or canceled.
    """

    id: str
    invoice_id: str
    is_default: bool
    amount_requested: int
    amount_paid: int
    currency: str
    payment_intent_id: str | None
    payment_record_id: str | None
    status: str
    created_at: datetime
    paid_at: datetime | None
    canceled_at: datetime | None


def of_intent(intent: PaymentIntent, *, is_default: bool) -> InvoicePayment:
    """The invoice payment that a payment intent is; it has its name from it."""
    assert intent.invoice_id is not None
    status = {PaymentIntentStatus.SUCCEEDED: "paid", PaymentIntentStatus.CANCELED: "canceled"}
    return InvoicePayment(
        id=intent.id.replace("pi_", "inpay_", 1),
        invoice_id=intent.invoice_id,
        is_default=is_default,
        amount_requested=intent.amount,
        amount_paid=intent.amount_applied,
        currency=intent.currency,
        payment_intent_id=intent.id,
        payment_record_id=None,
        status=status.get(intent.status, "open"),
        created_at=intent.created_at,
        paid_at=intent.paid_at,
        canceled_at=intent.canceled_at,
    )
