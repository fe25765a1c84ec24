"""Try to be paid; record the outcome; let the subscription follow.

Three steps, so that no lock is held while a gateway is asked and nothing is charged twice:
``attempt`` writes what is about to be tried and commits, ``settle`` asks the gateway with the
attempt's id as its idempotency key and records the outcome. A crash between leaves an attempt
without an outcome, and ``settle`` asks again, with the same key, whenever the lease has run out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from postpaid.billing.announce import Announcement, announce, subscription_updated
from postpaid.billing.apply_updates import apply_paid
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.core.cycles import settled
from postpaid.core.errors import (
    InvalidRequest,
    NotFound,
    Path,
)
from postpaid.core.invoicing import (
    Invoice,
    InvoiceStatus,
    paid,
)
from postpaid.core.ledger import Transaction, payment
from postpaid.core.subscriptions import TRANSITIONS, CollectionMethod, SubscriptionAction
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    ChargeRequest,
    Declined,
    Gateway,
    Outcome,
    Succeeded,
    Unknown,
)
from postpaid.outside.gateways.test import TestGateway
from postpaid.storage import customers, invoices, payment_methods, payments, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

GATEWAYS: Mapping[str, Gateway] = {"test": TestGateway()}
LEASE = timedelta(seconds=60)  # by the wall clock: longer than any gateway takes to answer


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
    method: PaymentMethod | None = None,
) -> list[PaymentAttempt]:
    """Write an attempt to be paid for each open invoice; return those to ``settle`` after commit.

    The customers are locked. The payment method is the one given, or by Stripe's precedence the
    invoice's, the subscription's, the customer's. An invoice for which there is none counts as
    tried and missed. One whose last attempt has no outcome yet gets that attempt again: what is
    not known is asked about before anything else is tried.
    """
    if not due:
        return []
    # Read.
    pending = payments.pending_of(conn, act.account_id, [invoice.id for invoice in due])
    chosen = payment_methods_for(conn, act, due, locked) if method is None else {}

    # Decide.
    attempts: list[PaymentAttempt] = []
    missed: list[Invoice] = []
    for invoice in due:
        if invoice.id in pending:
            continue
        means = method or chosen.get(invoice.id)
        if means is None:
            missed.append(invoice)
        else:
            attempts.append(_attempt(act, invoice, means, wall=wall, automatic=automatic))

    # Write.
    payments.insert_many(conn, act.account_id, attempts)
    _record_missed(conn, act, missed)
    return [*pending.values(), *attempts]


def settle(database: Database, act: Act, attempts: Sequence[PaymentAttempt]) -> None:
    """Ask the gateway about each attempt and record what it says; safe to repeat.

    An attempt whose outcome stays unknown stays pending, and is asked about again later. ``act`` is
    at the invoices' time.
    """
    if not attempts:
        return
    outcomes = {each.id: _ask(each) for each in attempts}
    known = {key: outcome for key, outcome in outcomes.items() if not isinstance(outcome, Unknown)}
    with database.transaction() as conn:
        _record(conn, act, [each for each in attempts if each.id in known], known)


def check_payment_method(
    conn: Connection,
    act: Act,
    customer_id: str,
    payment_method_id: str,
    *,
    param: Path | str = "default_payment_method",
) -> PaymentMethod:
    """The payment method. Raises when it is absent or not attached to the customer."""
    return check_payment_methods(conn, act, [(customer_id, payment_method_id)], param=param)[0]


def check_payment_methods(
    conn: Connection,
    act: Act,
    asked: Sequence[tuple[str, str]],
    *,
    param: Path | str = "default_payment_method",
) -> list[PaymentMethod]:
    """The payment methods of customers, pairs of their ids; one statement, and none for none.

    Raises ``NotFound``, and ``InvalidRequest`` for one that is not attached to the customer.
    """
    if not asked:
        return []
    found = payment_methods.load(conn, act.account_id, {method_id for _, method_id in asked})
    for customer_id, method_id in asked:
        if method_id not in found:
            raise NotFound.of("PaymentMethod", method_id, param=param)
        if found[method_id].customer_id != customer_id:
            raise InvalidRequest(
                f"The customer does not have a payment method with the ID {method_id}. "
                "The payment method must be attached to the customer.",
                param=param,
            )
    return [found[method_id] for _, method_id in asked]


def follow(
    conn: Connection, act: Act, concluded: Sequence[Invoice], action: SubscriptionAction
) -> None:
    """Let subscriptions follow what became of their latest invoice. The customers are locked.

    That is the newest that is final and not void (Stripe): a draft decides nothing yet. Only those
    whose status the action changes are read at all: at a renewal that is paid, none.
    """
    if not concluded:
        return
    if action == SubscriptionAction.PAY:
        apply_paid(conn, act, concluded)
    changing = {
        before
        for (before, possible), after in TRANSITIONS.items()
        if possible == action and after != before
    }
    waiting = subscriptions.awaiting(
        conn,
        act.account_id,
        [invoice.subscription_id for invoice in concluded if invoice.subscription_id],
        [invoice.id for invoice in concluded],
        statuses=changing,
    )
    moved = [(before, settled(before, action)) for before in waiting.values()]
    subscriptions.update_many(conn, act.account_id, [after for _, after in moved])
    announce(conn, act, [subscription_updated(before, after) for before, after in moved])


def follow_settled(conn: Connection, act: Act, final: Sequence[Invoice]) -> None:
    """Let subscriptions follow those invoices of which nothing was due, and which so are paid.

    Credit pays as well as money does. No statement when there are none.
    """
    settled_now = [each for each in final if each.status == InvoiceStatus.PAID]
    follow(conn, act, settled_now, SubscriptionAction.PAY)


def payment_methods_for(
    conn: Connection, act: Act, due: Sequence[Invoice], locked: Mapping[str, Customer]
) -> dict[str, PaymentMethod]:
    """What each invoice is to be paid with, where there is something.

    Its own, its subscription's or its customer's payment method: the first that is still the
    customer's, for one that was detached is never charged.
    """
    subscription_ids = [invoice.subscription_id for invoice in due if invoice.subscription_id]
    of_subscription = subscriptions.default_payment_methods(conn, act.account_id, subscription_ids)
    named = {
        invoice.id: (
            invoice.default_payment_method_id,
            of_subscription.get(invoice.subscription_id or ""),
            locked[invoice.customer_id].default_payment_method_id,
        )
        for invoice in due
    }
    ids = {key for keys in named.values() for key in keys if key}
    method_by_id = payment_methods.load(conn, act.account_id, ids)
    chosen = {}
    for invoice in due:
        for key in named[invoice.id]:
            method = method_by_id.get(key or "")
            if method is not None and method.customer_id == invoice.customer_id:
                chosen[invoice.id] = method
                break
    return chosen


def _attempt(
    act: Act, invoice: Invoice, method: PaymentMethod, *, wall: datetime, automatic: bool
) -> PaymentAttempt:
    return PaymentAttempt(
        id=act.new_id("pa"),
        invoice_id=invoice.id,
        customer_id=invoice.customer_id,
        payment_method_id=method.id,
        gateway=method.gateway,
        gateway_token=method.gateway_token,
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        status=AttemptStatus.PENDING,
        automatic=automatic,
        gateway_reference=None,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        leased_until=wall + LEASE,
        attempted_at=act.now,
        settled_at=None,
    )


def _ask(attempt: PaymentAttempt) -> Outcome:
    request = ChargeRequest(
        idempotency_key=attempt.id,
        token=attempt.gateway_token,
        amount=attempt.amount,
        currency=attempt.currency,
        off_session=True,
        description=attempt.invoice_id,
    )
    try:
        return GATEWAYS[attempt.gateway].charge(request)
    except Exception as error:  # whatever a gateway's library raises, the charge may have happened
        return Unknown(str(error))


def _record(
    conn: Connection,
    act: Act,
    attempts: Sequence[PaymentAttempt],
    outcomes: Mapping[str, Outcome],
) -> None:
    """Write known outcomes, once each: whoever comes second finds the attempt settled."""
    if not attempts:
        return
    # Read. The customers are locked first, and only then is anything believed.
    account_id = act.account_id
    customers.hold(conn, account_id, [each.customer_id for each in attempts])
    concluded = [_concluded(each, outcomes[each.id], act.now) for each in attempts]
    fresh = payments.settle(conn, account_id, concluded)
    invoice_by_id = invoices.load(
        conn, account_id, [each.invoice_id for each in concluded], with_lines=False
    )

    # Decide.
    paid_now: list[Invoice] = []
    missed: list[Invoice] = []
    received: list[Transaction] = []
    for each in concluded:
        if each.id not in fresh:
            continue
        invoice = invoice_by_id[each.invoice_id]
        tried = replace(
            invoice,
            attempted=True,
            # Stripe: the first counts whoever made it, after it only our own.
            attempt_count=invoice.attempt_count
            + (1 if each.automatic or not invoice.attempt_count else 0),
        )
        if each.status == AttemptStatus.SUCCEEDED:
            paid_now.append(paid(tried, now=act.now, amount=each.amount))
            received.append(payment(invoice, each.amount, source_id=each.id))
        else:
            missed.append(replace(tried, next_attempt_at=None))

    # Write.
    invoices.update_many(
        conn,
        account_id,
        paid_now + missed,
        before=[InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE],
    )
    post(conn, act, received)
    announce(
        conn,
        act,
        [
            Announcement(name, "invoice", invoice.id, invoice)
            for invoice in paid_now
            for name in ("invoice.paid", "invoice.payment_succeeded")
        ]
        + [
            Announcement("invoice.payment_failed", "invoice", invoice.id, invoice)
            for invoice in missed
        ],
    )
    follow(conn, act, paid_now, SubscriptionAction.PAY)
    follow(conn, act, missed, SubscriptionAction.MISS_PAYMENT)
    by_ourselves = {each.invoice_id for each in concluded if each.automatic}
    missed_by_us = [invoice for invoice in missed if invoice.id in by_ourselves]
    mark_delinquent(conn, act, paid_now, delinquent=False)
    mark_delinquent(conn, act, missed_by_us, delinquent=True)


def _concluded(attempt: PaymentAttempt, outcome: Outcome, now: datetime) -> PaymentAttempt:
    if isinstance(outcome, Succeeded):
        return replace(
            attempt,
            status=AttemptStatus.SUCCEEDED,
            gateway_reference=outcome.reference,
            settled_at=now,
        )
    assert isinstance(outcome, Declined)
    return replace(
        attempt,
        status=AttemptStatus.FAILED,
        gateway_reference=outcome.reference,
        failure_code=outcome.code,
        decline_code=outcome.decline_code,
        failure_message=outcome.message,
        settled_at=now,
    )


def _record_missed(conn: Connection, act: Act, missed: Sequence[Invoice]) -> None:
    """Invoices that could not even be tried, for want of a payment method."""
    if not missed:
        return
    tried = [replace(invoice, attempted=True, next_attempt_at=None) for invoice in missed]
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


def mark_delinquent(
    conn: Connection, act: Act, concluded: Sequence[Invoice], *, delinquent: bool
) -> None:
    """Stripe: an automatic payment that fails makes a customer delinquent, and any payment not."""
    if not concluded:
        return
    ids = {invoice.customer_id for invoice in concluded}
    changed = customers.mark_delinquent(conn, act.account_id, ids, delinquent=delinquent)
    before = {"delinquent": not delinquent}
    announce(
        conn,
        act,
        [
            Announcement("customer.updated", "customer", each.id, each, before)
            for each in changed.values()
        ],
    )
