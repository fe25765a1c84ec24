"""What a person does with one invoice: pay it, or make it final.

Each begins in one transaction, which writes the attempt that is about to be made, and is finished
after the commit, when the gateway is asked (see ``collect``).
"""

from __future__ import annotations

from dataclasses import dataclass

from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.choose_method import check_payment_method, payment_methods_for
from postpaid.billing.explain_failure import UNPAID, failure_of
from postpaid.billing.finalize import finalize
from postpaid.billing.follow import follow, follow_settled, mark_delinquent
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.open_intents import cancel_intents
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.billing.settle import settle
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest
from postpaid.core.invoicing import Invoice, InvoiceAction, InvoiceStatus, next_status, paid
from postpaid.core.ledger import payment
from postpaid.core.subscriptions import SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, payments
from postpaid.storage.database import Connection, Database
from postpaid.storage.payment_methods import PaymentMethod


@dataclass(frozen=True, slots=True)
class Paying:
    """An invoice with the attempts at its payment that are written, and not made yet."""

    invoice_id: str
    attempt_ids: list[str]


def pay(
    conn: Connection,
    act: Act,
    invoice_id: str,
    *,
    payment_method_id: str | None = None,
    out_of_band: bool = False,
    on_session: bool = False,
) -> Paying:
    """Begin to pay one invoice because a person says so; ``finish_paying`` after the commit.

    A draft is finalized first. ``out_of_band`` means that the money came some other way, and
    ``on_session`` that the customer is there to authenticate. Raises
    ``ActionNotAllowed`` by the status table, and ``InvalidRequest`` when there is nothing to pay
    with.
    """
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[invoice.customer_id]
    wall, act = act.now, act.at(customer.now(act.now), customer.clock_id)
    if invoice.status == InvoiceStatus.DRAFT:
        [invoice] = finalize(conn, act, [invoice], locked, parks=False)
        follow_settled(conn, act, [invoice])
        if invoice.status == InvoiceStatus.PAID:
            return Paying(invoice.id, [])
    if invoice.status == InvoiceStatus.PAID:
        raise ActionNotAllowed("Invoice is already paid.", code="invoice_already_paid")
    next_status(invoice.status, InvoiceAction.PAY)
    if out_of_band:
        _pay_out_of_band(conn, act, invoice)
        return Paying(invoice.id, [])

    if payment_method_id:
        method: PaymentMethod | None = check_payment_method(
            conn, act, customer.id, payment_method_id, param="payment_method"
        )
    else:
        method = payment_methods_for(conn, act, [invoice], locked).get(invoice.id)
    if method is None:
        raise InvalidRequest(
            "There is no default payment method set on this customer, its subscription or this "
            "invoice. Set one, or give a payment_method.",
            code="resource_missing",
        )
    attempts = collect.attempt(
        conn,
        act,
        [invoice],
        locked,
        wall=wall,
        automatic=False,
        on_session=on_session,
        method=method,
    )
    return Paying(invoice.id, [each.id for each in attempts])


def finalize_now(
    conn: Connection, act: Act, invoice_id: str, *, auto_advance: bool | None = None
) -> Paying:
    """Finalize one draft because a person says so, and begin to collect it if that is automatic."""
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[invoice.customer_id]
    wall, act = act.now, act.at(customer.now(act.now), customer.clock_id)
    next_status(invoice.status, InvoiceAction.FINALIZE)
    if auto_advance is not None:
        invoice = replace(invoice, auto_advance=auto_advance)
    final = finalize(conn, act, [invoice], locked, parks=False)
    follow_settled(conn, act, final)
    due = [each for each in final if collect.is_collected_automatically(each)]
    attempts = collect.attempt(conn, act, due, locked, wall=wall, automatic=True)
    return Paying(invoice.id, [each.id for each in attempts])


def finish_paying(database: Database, act: Act, paying: Paying, *, declines_raise: bool) -> None:
    """Make the attempts; safe to repeat. Raises ``PaymentFailed`` for a decline, and where
    the customer must act first, if asked to.
    """
    with database.connection() as conn:
        attempts = list(payments.load(conn, act.account_id, paying.attempt_ids).values())
        invoice = invoices.load(conn, act.account_id, [paying.invoice_id])[paying.invoice_id]
        customer = customers.load(conn, act.account_id, [invoice.customer_id])[invoice.customer_id]
    at_customer = act.at(customer.now(act.now), customer.clock_id)
    settle(database, at_customer, [each for each in attempts if each.status in payments.UNSETTLED])
    if declines_raise:
        with database.connection() as conn:
            for each in payments.load(conn, act.account_id, paying.attempt_ids).values():
                if each.status in UNPAID:
                    raise failure_of(each, "invoice")


def _pay_out_of_band(conn: Connection, act: Act, invoice: Invoice) -> None:
    if payments.pending_of(conn, act.account_id, [invoice.id]):
        raise Conflict("A payment of this invoice is under way; try again when it is settled.")
    after = paid(invoice, now=act.now, amount=invoice.amount_remaining, out_of_band=True)
    invoices.update_many(conn, act.account_id, [after], before=[invoice.status])
    amount = after.amount_paid - invoice.amount_paid
    post(conn, act, [payment(invoice, amount, source_id=invoice.id, out_of_band=True)])
    cancel_intents(conn, act, [after], reason=None)
    said = Announcement("invoice.paid", "invoice", after.id, replace(after, lines=()))
    announce(conn, act, [said])  # and no payment_succeeded: there was none (Stripe)
    follow(conn, act, [after], SubscriptionAction.PAY)
    mark_delinquent(conn, act, [after], delinquent=False)
