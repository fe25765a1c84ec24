"""Write what is about to be tried, so that nothing is charged twice.

Three steps, and no lock is held while a gateway is asked: ``attempt`` writes an attempt, which is
committed; ``settle`` asks the gateway with the attempt's id as its idempotency key, and then
records what it says. A crash between leaves an attempt without an outcome, which is asked about
before anything else is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.choose_method import payment_methods_for
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.perform import Act
from postpaid.billing.schedule_retries import schedule_retries
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import CollectionMethod, SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import invoices, payments
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

LEASE = timedelta(minutes=2)  # by the wall clock: longer than asking and then charging take


def is_collected_automatically(invoice: Invoice) -> bool:
    return (
        invoice.status == InvoiceStatus.OPEN
        and invoice.auto_advance
        and invoice.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    )


def attempt(
    conn: Connection,
    act: Act,
    due: Sequence[Invoice],
    locked: Mapping[str, Customer],
    *,
    wall: datetime,
    automatic: bool,
    on_session: bool = False,
    method: PaymentMethod | None = None,
) -> list[PaymentAttempt]:
    """Write an attempt to be paid for each open invoice; return those to ``settle`` after commit.

    The customers are locked. The payment method is the one given, or by Stripe's precedence the
    invoice's, the subscription's, the customer's. An invoice for which there is none counts as
    tried and missed. One whose last attempt has no outcome yet gets that attempt again: what is
    not known is asked about before anything else is tried. One that waits for its customer is
    asked about too, or is replaced where there is another payment method.
    """
    if not due:
        return []
    # Read.
    unsettled = payments.unsettled_of(conn, act.account_id, [invoice.id for invoice in due])
    chosen = payment_methods_for(conn, act, due, locked) if method is None else {}

    # Decide.
    attempts: list[PaymentAttempt] = []
    again: list[PaymentAttempt] = []
    missed: list[Invoice] = []
    for invoice in due:
        before = unsettled.get(invoice.id)
        means = method or chosen.get(invoice.id)
        if before is not None and (
            before.status != AttemptStatus.ACTION_REQUIRED
            or means is None
            or means.id == before.payment_method_id
        ):
            again.append(before)
        elif means is None:
            missed.append(invoice)
        else:
            made = _attempt(act, invoice, means, wall=wall, automatic=automatic)
            attempts.append(
                replace(made, on_session=on_session, replaces=before.id if before else None)
            )

    # Write.
    payments.insert_many(conn, act.account_id, attempts)
    _record_missed(conn, act, missed)
    return [*again, *attempts]


def _attempt(
    act: Act, invoice: Invoice, method: PaymentMethod, *, wall: datetime, automatic: bool
) -> PaymentAttempt:
    assert invoice.payment_intent_id is not None, "what is due has a payment intent"
    return new_attempt(
        act,
        method,
        intent_id=invoice.payment_intent_id,
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        wall=wall,
        automatic=automatic,
    )


def new_attempt(
    act: Act,
    method: PaymentMethod,
    *,
    intent_id: str,
    invoice_id: str | None,
    customer_id: str | None,
    amount: int,
    currency: str,
    wall: datetime,
    automatic: bool,
) -> PaymentAttempt:
    """An attempt that is about to be made, of which nothing is known yet."""
    return PaymentAttempt(
        id=act.new_id("pa"),
        payment_intent_id=intent_id,
        invoice_id=invoice_id,
        customer_id=customer_id,
        payment_method_id=method.id,
        gateway=method.gateway,
        gateway_token=method.gateway_token,
        amount=amount,
        currency=currency,
        status=AttemptStatus.PENDING,
        automatic=automatic,
        on_session=False,
        asked=0,
        replaces=None,
        gateway_reference=None,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=None,
        amount_refunded=0,
        leased_until=wall + LEASE,
        attempted_at=act.now,
        settled_at=None,
    )


def _record_missed(conn: Connection, act: Act, missed: Sequence[Invoice]) -> None:
    """Invoices that could not even be tried, for want of a payment method."""
    if not missed:
        return
    tried = [replace(invoice, attempted=True, next_attempt_at=None) for invoice in missed]
    tried = schedule_retries(conn, act, tried, shown=False)
    invoices.update_many(
        conn,
        act.account_id,
        tried,
        before=[InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE],
    )
    announce(
        conn,
        act,
        [
            Announcement(
                "invoice.payment_failed", "invoice", invoice.id, replace(invoice, lines=())
            )
            for invoice in tried
        ],
    )
    follow(conn, act, tried, SubscriptionAction.MISS_PAYMENT)
    mark_delinquent(conn, act, tried, delinquent=True)
