"""Money that came some other way, or before there was an invoice: reported, and attached to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postpaid.billing.announce import Announcement, announce, invoice_updated
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.keep_excess import Excess, keep_excess
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.open_intents import cancel_intents, follow_remaining
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.invoice_payments import InvoicePayment, of_intent
from postpaid.core.invoicing import Invoice, InvoiceAction, InvoiceStatus, next_status, paid_in_part
from postpaid.core.ledger import applied_payment, unapplied_payment
from postpaid.core.payment_intents import PaymentIntentStatus
from postpaid.core.payment_records import PaymentRecord, of_record
from postpaid.core.refunds import RefundStatus
from postpaid.core.subscriptions import SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import (
    customers,
    invoices,
    payment_intents,
    payment_records,
    payments,
    refunds,
)
from postpaid.storage.database import Connection

PAYABLE = (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
BANK_TRANSFER = "Bank transfer"


@dataclass(frozen=True, slots=True)
class NewPaymentRecord:
    """Money that came: ``amount`` minor units by ``method``, a name for people."""

    amount: int
    currency: str
    paid_at: datetime | None = None
    method: str = BANK_TRANSFER
    reference: str | None = None
    customer_id: str | None = None
    customer_details: Mapping[str, Any] | None = None
    customer_presence: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def report_payment(conn: Connection, act: Act, came: NewPaymentRecord) -> PaymentRecord:
    """Write down that money came. It is for no invoice yet.

    Raises ``NotFound`` for a customer that is not there.
    """
    if came.customer_id is not None:
        owner = customers.lock(conn, act.account_id, [came.customer_id]).get(came.customer_id)
        if owner is None or owner.deleted_at is not None:
            raise NotFound.of("customer", came.customer_id, param=("customer_details", "customer"))
        act = act.at(owner.now(act.now), owner.clock_id)
    record = PaymentRecord(
        id=act.new_id("pr"),
        customer_id=came.customer_id,
        clock_id=act.clock_id,
        invoice_id=None,
        amount=came.amount,
        amount_applied=0,
        currency=came.currency,
        method=came.method,
        reference=came.reference,
        customer_details=came.customer_details,
        customer_presence=came.customer_presence,
        description=came.description,
        paid_at=came.paid_at or act.now,
        attached_at=None,
        created_at=act.now,
        metadata=came.metadata,
    )
    payment_records.insert(conn, act.account_id, record)
    amount, currency = record.amount, record.currency
    post(
        conn,
        act,
        [unapplied_payment(record.id, came.customer_id, amount, currency, out_of_band=True)],
    )
    return record


def record_payment(
    conn: Connection, act: Act, invoice_id: str, came: NewPaymentRecord
) -> InvoicePayment:
    """Write down that money came for the invoice, in full or in part, even too much or too late.

    What is not owed, any more or at all, is the customer's credit. Raises ``NotFound``, and
    ``ActionNotAllowed`` for a draft, which nobody owes yet.
    """
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    if invoice.status == InvoiceStatus.DRAFT:
        raise ActionNotAllowed(
            "A draft is not owed yet. Finalize the invoice before you record its payment."
        )
    owner = locked[invoice.customer_id]
    wall, act = act, act.at(owner.now(act.now), owner.clock_id)
    came = replace(came, currency=invoice.currency, customer_id=owner.id)
    record = report_payment(conn, wall, came)
    return _attach_record(conn, act, invoice, record)


def attach_payment(
    conn: Connection,
    act: Act,
    invoice_id: str,
    *,
    payment_record_id: str | None = None,
    payment_intent_id: str | None = None,
) -> InvoicePayment:
    """Let a payment that is for no invoice yet pay this one, as far as something is owed of it.

    Raises ``NotFound``, ``ActionNotAllowed`` by the status table, and ``InvalidRequest`` for a
    payment of another customer, currency or invoice, or an intent that has received nothing.
    """
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    next_status(invoice.status, InvoiceAction.PAY)
    owner = locked[invoice.customer_id]
    act = act.at(owner.now(act.now), owner.clock_id)
    if payment_record_id is not None:
        record = payment_records.lock(conn, act.account_id, payment_record_id)
        if record is None:
            raise NotFound.of("payment_record", payment_record_id, param="payment_record")
        return _attach_record(conn, act, invoice, record)
    assert payment_intent_id is not None, "one of them is given"
    return _attach_intent(conn, act, invoice, payment_intent_id)


def _attach_record(
    conn: Connection, act: Act, invoice: Invoice, record: PaymentRecord
) -> InvoicePayment:
    _check_fits(
        invoice, record.customer_id, record.currency, record.invoice_id, param="payment_record"
    )
    applied = _applicable(invoice, record.amount)
    attached = replace(
        record,
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        clock_id=invoice.clock_id,
        amount_applied=applied,
        attached_at=act.now,
    )
    payment_records.update(conn, act.account_id, attached)
    payment = of_record(attached)
    _apply(conn, act, invoice, payment, record.amount, source_id=record.id, out_of_band=True)
    return payment


def _attach_intent(conn: Connection, act: Act, invoice: Invoice, intent_id: str) -> InvoicePayment:
    # Read. The attempt is locked against refunds; a payment of nobody has no customer to lock.
    intent = payment_intents.load(conn, act.account_id, [intent_id]).get(intent_id)
    if intent is None:
        raise NotFound.of("payment_intent", intent_id, param="payment_intent")
    if intent.status != PaymentIntentStatus.SUCCEEDED or intent.latest_attempt_id is None:
        raise InvalidRequest(
            "Only a PaymentIntent that has succeeded can be attached to an invoice, and this one "
            f"is {intent.status}.",
            param="payment_intent",
        )
    attempt_id = intent.latest_attempt_id
    attempt = payments.lock(conn, act.account_id, [attempt_id])[attempt_id]
    intent = payment_intents.load(conn, act.account_id, [intent_id])[intent_id]
    earlier = refunds.of_attempts(conn, act.account_id, [attempt_id])[attempt_id]

    # Decide.
    _check_fits(
        invoice, intent.customer_id, intent.currency, intent.invoice_id, param="payment_intent"
    )
    if any(each.status == RefundStatus.PENDING for each in earlier):
        raise InvalidRequest(
            "A refund of this payment is under way; attach it when that is settled.",
            param="payment_intent",
        )
    left = intent.amount_received - attempt.amount_refunded
    if left <= 0:
        raise InvalidRequest("This payment was refunded.", param="payment_intent")
    applied = _applicable(invoice, left)
    attached = replace(
        intent,
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        amount_applied=applied,
    )

    # Write.
    payment_intents.attach(
        conn, act.account_id, intent.id, invoice_id=invoice.id, customer_id=invoice.customer_id
    )
    payment_intents.update_many(conn, act.account_id, [attached])
    payment = of_intent(attached, is_default=False)
    _apply(conn, act, invoice, payment, left, source_id=attempt.id, out_of_band=False)
    return payment


def _check_fits(
    invoice: Invoice,
    customer_id: str | None,
    currency: str,
    invoice_id: str | None,
    *,
    param: str,
) -> None:
    if invoice_id is not None:
        raise InvalidRequest(
            f"This payment is already attached to the invoice {invoice_id}.", param=param
        )
    if customer_id not in (None, invoice.customer_id):
        raise InvalidRequest("This payment is another customer's.", param=param)
    if currency != invoice.currency:
        raise InvalidRequest(
            f"This payment is in {currency}, and the invoice in {invoice.currency}.", param=param
        )


def _applicable(invoice: Invoice, amount: int) -> int:
    return min(amount, invoice.amount_remaining) if invoice.status in PAYABLE else 0


def _apply(
    conn: Connection,
    act: Act,
    before: Invoice,
    payment: InvoicePayment,
    amount: int,
    *,
    source_id: str,
    out_of_band: bool,
) -> None:
    """``payment.amount_paid`` of ``amount`` is the invoice's, whose customer is locked."""
    # Decide.
    applied, excess = payment.amount_paid, amount - payment.amount_paid
    after = before
    if applied:
        after = replace(
            paid_in_part(before, now=act.now, amount=applied),
            attempted=before.attempted,
            amount_paid_out_of_band=before.amount_paid_out_of_band
            + (applied if out_of_band else 0),
        )
    after = replace(after, amount_overpaid=after.amount_overpaid + excess)
    is_paid = after.status == InvoiceStatus.PAID != before.status

    # Write.
    invoices.update_many(conn, act.account_id, [after], before=[before.status])
    if applied:
        post(conn, act, [applied_payment(before, applied, source_id=source_id)])
    said = [invoice_updated(before, after)]
    bare = replace(after, lines=())
    if is_paid:
        said.append(Announcement("invoice.paid", "invoice", after.id, bare))
        if excess:
            said.append(Announcement("invoice.overpaid", "invoice", after.id, bare))
    said.append(Announcement("invoice_payment.paid", "invoice_payment", payment.id, payment))
    announce(conn, act, said)
    if excess:
        left = Excess.of(after, excess, source_id=source_id, was_unapplied=True)
        keep_excess(conn, act, [left])
    if is_paid:
        cancel_intents(conn, act, [after], reason=None)
        follow(conn, act, [after], SubscriptionAction.PAY)
        mark_delinquent(conn, act, [after], delinquent=False)
    elif applied:
        follow_remaining(conn, act, [after])
