"""What a payment record is: money that came some other way, as somebody reported it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postpaid.core.invoice_payments import InvoicePayment


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """``amount`` minor units that came by ``method``, a name such as "Bank transfer".

    ``reference`` is what the bank calls it. Once it is attached it pays ``invoice_id`` with
    ``amount_applied``; the rest is the customer's credit.
    """

    id: str
    customer_id: str | None
    clock_id: str | None
    invoice_id: str | None
    amount: int
    amount_applied: int
    currency: str
    method: str
    reference: str | None
    customer_details: Mapping[str, Any] | None
    customer_presence: str | None
    description: str | None
    paid_at: datetime
    attached_at: datetime | None
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


def of_record(record: PaymentRecord) -> InvoicePayment:
    """The invoice payment that an attached payment record is; it has its name from it."""
    assert record.invoice_id is not None
    return InvoicePayment(
        id=record.id.replace("pr_", "inpay_", 1),
        invoice_id=record.invoice_id,
        is_default=False,
        amount_requested=record.amount,
        amount_paid=record.amount_applied,
        currency=record.currency,
        payment_intent_id=None,
        payment_record_id=record.id,
        status="paid",
        created_at=record.created_at,
        paid_at=record.paid_at,
        canceled_at=None,
    )
