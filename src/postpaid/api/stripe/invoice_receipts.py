"""Money that came for an invoice some other way: attached to it, or recorded by a person."""

from __future__ import annotations

from typing import Annotated, Any

from postpaid.api.params import (
    AMOUNT_MAX,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    Timestamp,
    merge_metadata,
)
from postpaid.api.stripe.invoice_shapes import render_many
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import record_payments
from postpaid.billing.record_payments import BANK_TRANSFER, NewPaymentRecord
from postpaid.core.errors import InvalidRequest
from postpaid.storage import invoices
from postpaid.storage.database import Connection

routes = Routes("Invoices")


class AttachPayment(Params):
    payment_intent: Id | None = None
    payment_record: Id | None = None


class RecordPayment(Params):
    amount: Annotated[int, Integer(1, AMOUNT_MAX)]
    description: Annotated[str, Text(500)] | None = None
    metadata: Metadata = None
    method: Annotated[str, Text(100)] = BANK_TRANSFER
    paid_at: Timestamp | None = None
    reference: Annotated[str, Text(200)] | None = None


@routes.post("/v1/invoices/{invoice}/attach_payment", returns="invoice")
def attach_payment(call: Call, params: AttachPayment, invoice: str) -> dict[str, Any]:
    """Let a payment record, or a payment intent that has succeeded, pay an invoice."""
    if (params.payment_intent is None) == (params.payment_record is None):
        raise InvalidRequest(
            "You must give one of these parameters: payment_intent, payment_record.",
            param="payment_intent",
            code="parameter_missing" if params.payment_intent is None else "parameters_exclusive",
        )

    def write(conn: Connection) -> dict[str, Any]:
        record_payments.attach_payment(
            conn,
            call.act,
            invoice,
            payment_record_id=params.payment_record,
            payment_intent_id=params.payment_intent,
        )
        return _shown(conn, call, invoice)

    return call.write(write)


@routes.post("/v1/invoices/{invoice}/record_payment", returns="invoice")
def record_payment(call: Call, params: RecordPayment, invoice: str) -> dict[str, Any]:
    """Record money that came for an invoice: in full or in part, too much or too late."""
    came = NewPaymentRecord(
        amount=params.amount,
        currency="",  # the invoice's
        paid_at=params.paid_at,
        method=params.method,
        reference=params.reference,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )

    def write(conn: Connection) -> dict[str, Any]:
        record_payments.record_payment(conn, call.act, invoice, came)
        return _shown(conn, call, invoice)

    return call.write(write)


def _shown(conn: Connection, call: Call, invoice_id: str) -> dict[str, Any]:
    found = invoices.load(conn, call.act.account_id, [invoice_id])
    return render_many(conn, call.act, [found[invoice_id]])[0]
