"""Invoice payments as Stripe shows them: what is to settle an invoice, and how much it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from postpaid.api.instants import seconds
from postpaid.api.params import Id, Params, TimeRange
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoice_payments import InvoicePayment
from postpaid.storage import invoice_payments
from postpaid.storage.database import Connection

routes = Routes("Invoice payments")


class PaymentFilter(Params):
    payment_intent: Id | None = None
    payment_record: Id | None = None
    type: Literal["payment_intent", "payment_record"]


class InvoicePaymentList(ListParams):
    created: TimeRange | None = None
    invoice: Id | None = None
    payment: PaymentFilter | None = None
    status: Literal["canceled", "open", "paid"] | None = None


@routes.get("/v1/invoice_payments", returns="invoice_payment", many=True)
def list_(call: Call, params: InvoicePaymentList) -> dict[str, Any]:
    """List invoice payments, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    wanted = _wanted(params.payment)

    def read(conn: Connection) -> dict[str, Any]:
        found = invoice_payments.list_page(
            conn,
            call.act.account_id,
            params.page,
            invoice_id=params.invoice,
            payment_intent_id=wanted.get("payment_intent"),
            payment_record_id=wanted.get("payment_record"),
            status=params.status,
            created_from=created_from,
            created_before=created_before,
        )
        return listing(
            "/v1/invoice_payments", found, lambda each: to_stripe(each, livemode=call.act.livemode)
        )

    return call.read(read)


def _wanted(payment: PaymentFilter | None) -> dict[str, str]:
    """What the payment is, by its kind. Raises ``InvalidRequest`` unless it is said."""
    if payment is None:
        return {}
    named: str | None = getattr(payment, payment.type)
    if named is None:
        raise InvalidRequest(
            f"Missing required param: payment[{payment.type}].",
            param=("payment", payment.type),
            code="parameter_missing",
        )
    return {payment.type: named}


@routes.get("/v1/invoice_payments/{invoice_payment}", returns="invoice_payment")
def retrieve(call: Call, invoice_payment: str) -> dict[str, Any]:
    """Retrieve an invoice payment."""

    def read(conn: Connection) -> dict[str, Any]:
        found = _load(conn, call.act, [invoice_payment])
        if invoice_payment not in found:
            raise NotFound.of("invoice_payment", invoice_payment)
        return found[invoice_payment]

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


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


@loader("invoice_payment")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = invoice_payments.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("invoice_payment", "payment.charge", load="charge")
expandable("invoice_payment", "payment.payment_intent", load="payment_intent")
