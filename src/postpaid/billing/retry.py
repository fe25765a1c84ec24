"""Try to be paid again, when the moment has come; and give up when there is none left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from postpaid.billing import cancel, collect
from postpaid.billing.announce import (
    Announcement,
    announce,
    invoice_updated,
    subscription_updated,
)
from postpaid.billing.choose_method import payment_methods_for
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.drop_updates import discard_all
from postpaid.billing.perform import Act
from postpaid.billing.schedule_retries import Terms, terms_of, tried_once_more
from postpaid.billing.settle import settle
from postpaid.core.collection import HARD_DECLINES, RetriesEnd, comes_too_late
from postpaid.core.cycles import settled
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import (
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    paused,
)
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, payments, retries, subscriptions
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import PaymentAttempt
from postpaid.storage.retries import Retry

BATCH = 500  # invoices in one transaction

PAYMENT_FAILED = "payment_failed"  # Stripe's word for why a subscription was cancelled
FINAL_FAILURE = "final_payment_failure"  # and for why it is paused


def retry_due(database: Database, act: Act, wall: datetime) -> int:
    """Open invoices whose next try has come: to a payment, if there is something to pay with."""
    with database.transaction() as conn:
        due = retries.claim_due(conn, act.account_id, act.clock_id, now=act.now, limit=BATCH)
        attempts, failed = do_each(conn, due, lambda some: _retry(conn, act, some, wall))
    settle(database, act, attempts)
    raise_failed(failed)
    return len(due)


def _retry(
    conn: Connection, act: Act, due: Sequence[Retry], wall: datetime
) -> list[PaymentAttempt]:
    # Read. The customers are locked.
    account_id = act.account_id
    ids = [each.id for each in due]
    found = invoices.load(conn, account_id, ids, with_lines=False)
    owing = [each for each in found.values() if collect.is_collected_automatically(each)]
    locked = customers.lock(conn, account_id, {each.customer_id for each in owing})
    means = payment_methods_for(conn, act, owing, locked)
    hard = retries.declined(conn, account_id, ids, HARD_DECLINES)
    waiting = payments.unsettled_of(conn, account_id, ids)
    terms = terms_of(conn, act, owing)

    # Decide.
    trying: list[Invoice] = []
    changed: list[tuple[Invoice, Invoice]] = []
    moved: list[Retry] = []
    for each in due:
        invoice, holding = found[each.id], terms.get(each.id)
        if holding is None:  # it was paid, or nobody collects it any more
            moved.append(replace(each, retry_at=None))
            continue
        method = means.get(each.id)
        before = waiting.get(each.id)
        if _is_too_late(each, holding, act.now):
            moved.append(replace(each, retry_at=None, gives_up_at=act.now))
            changed.append((invoice, replace(invoice, next_attempt_at=None)))
        elif (
            method is None
            or (invoice.id, method.id) in hard
            or (before is not None and before.payment_method_id == method.id)
        ):
            after = tried_once_more(act, each, holding)
            moved.append(after)
            shown_at = after.retry_at if method is not None else None
            changed.append((invoice, replace(invoice, next_attempt_at=shown_at)))
        else:
            moved.append(replace(each, retry_at=None))
            trying.append(invoice)

    # Write.
    retries.update_many(conn, account_id, moved)
    changed = [(was, now) for was, now in changed if now != was]
    invoices.update_many(
        conn, account_id, [after for _, after in changed], before=[InvoiceStatus.OPEN]
    )
    announce(conn, act, [invoice_updated(was, now) for was, now in changed])
    return collect.attempt(conn, act, trying, locked, wall=wall, automatic=True)


def _is_too_late(retry: Retry, terms: Terms, now: datetime) -> bool:
    return retry.tried_at is not None and comes_too_late(terms.schedule, retry.tried_at, now)


def give_up_due(database: Database, act: Act, wall: datetime) -> int:
    """Invoices of which the last retry was in vain: what becomes of their subscriptions."""
    with database.transaction() as conn:
        due = retries.claim_given_up(conn, act.account_id, act.clock_id, now=act.now, limit=BATCH)
        _, failed = do_each(conn, due, lambda some: _give_up(conn, act, some))
    raise_failed(failed)
    return len(due)


def _give_up(conn: Connection, act: Act, due: Sequence[Retry]) -> list[Retry]:
    """Stripe: as the setting says. One that is not past due any more stays as it is."""
    # Read. The customers are locked.
    account_id = act.account_id
    found = invoices.load(conn, account_id, [each.id for each in due], with_lines=False)
    open_ones = [each for each in found.values() if each.status == InvoiceStatus.OPEN]
    terms = terms_of(conn, act, open_ones)
    end_of = {
        each.subscription_id: terms[each.id].schedule.after_retries
        for each in open_ones
        if each.subscription_id
    }
    behind = [
        each
        for each in subscriptions.load(conn, account_id, end_of).values()
        if each.status == SubscriptionStatus.PAST_DUE
    ]

    behind = discard_all(conn, act, [each for each in behind if _ends(end_of[each.id])])

    # Decide. Why one was to end later is not why it ends now.
    canceled = [
        replace(each, cancellation_reason=None)
        for each in behind
        if end_of[each.id] == RetriesEnd.CANCEL
    ]
    moved = [(each, _given_up(each, end_of[each.id], act.now)) for each in behind]
    moved = [(before, after) for before, after in moved if after != before]

    # Write.
    after = [replace(each, gives_up_at=None) for each in due]
    retries.update_many(conn, account_id, after)
    if canceled:
        cancel.cancel(conn, act, canceled, reason=PAYMENT_FAILED)
    if moved:
        subscriptions.update_many(conn, account_id, [after for _, after in moved])
        cancel.stop_collecting(conn, act, [after.id for _, after in moved])
        announce(conn, act, [said for before, now in moved for said in _said(before, now)])
    return after


def _ends(end: RetriesEnd) -> bool:
    return end != RetriesEnd.PAST_DUE


def _given_up(before: Subscription, end: RetriesEnd, now: datetime) -> Subscription:
    if end == RetriesEnd.UNPAID:
        return settled(before, SubscriptionAction.GIVE_UP)
    if end == RetriesEnd.PAUSE:
        return paused(before, now=now, reason=FINAL_FAILURE)
    return before


def _said(before: Subscription, after: Subscription) -> list[Announcement]:
    said = [subscription_updated(before, after)]
    if after.status == SubscriptionStatus.PAUSED:
        name = "customer.subscription.paused"
        said.append(Announcement(name, "subscription", after.id, after))
    return said
