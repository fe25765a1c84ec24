"""End subscriptions: now, because someone asked, or because the first payment never came."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, changes, invoice_updated
from postpaid.billing.correct import void
from postpaid.billing.drop_updates import discard_all
from postpaid.billing.perform import Act
from postpaid.billing.write_schedules import end_with
from postpaid.core.invoicing import InvoiceStatus
from postpaid.core.subscriptions import (
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    ended,
)
from postpaid.core.values import replace
from postpaid.storage import invoices, subscriptions
from postpaid.storage.database import Connection


def cancel(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    *,
    reason: str = "cancellation_requested",
) -> list[Subscription]:
    """End the subscriptions now and bill nothing more. The caller holds the customers' locks.

    Their drafts and open invoices stay, but are no longer collected by themselves (Stripe). One
    that never had its first payment expires instead, and its invoice is void. ``reason`` is in
    Stripe's words.
    """
    unpaid = [each for each in running if each.status == SubscriptionStatus.INCOMPLETE]
    paying = [each for each in running if each.status != SubscriptionStatus.INCOMPLETE]
    over = _end(conn, act, paying, SubscriptionAction.CANCEL, reason=reason)
    stop_collecting(conn, act, [each.id for each in paying])
    by_id = {each.id: each for each in [*over, *expire(conn, act, unpaid)]}
    return [by_id[each.id] for each in running]


def stop_collecting(conn: Connection, act: Act, subscription_ids: Sequence[str]) -> None:
    """Leave the subscriptions' drafts and open invoices as they are: a person may deal with them.

    The caller holds the customers' locks.
    """
    left = invoices.of_subscriptions(
        conn,
        act.account_id,
        subscription_ids,
        statuses=[InvoiceStatus.DRAFT, InvoiceStatus.OPEN],
    )
    stopped = [
        (each, replace(each, auto_advance=False, finalizes_at=None, next_attempt_at=None))
        for each in left.values()
    ]
    changed = [(before, after) for before, after in stopped if after != before]
    invoices.update_many(
        conn,
        act.account_id,
        [after for _, after in changed],
        before=[InvoiceStatus.DRAFT, InvoiceStatus.OPEN],
    )
    announce(conn, act, [invoice_updated(before, after) for before, after in changed])


def expire(conn: Connection, act: Act, unpaid: Sequence[Subscription]) -> list[Subscription]:
    """End incomplete subscriptions and void their first invoices. The customers are locked."""
    over = _end(conn, act, unpaid, SubscriptionAction.EXPIRE, reason=None)
    left = invoices.of_subscriptions(
        conn, act.account_id, [each.id for each in unpaid], statuses=[InvoiceStatus.OPEN]
    )
    void(conn, act, list(left.values()))
    return over


def cancel_all(conn: Connection, act: Act, customer_ids: Sequence[str]) -> None:
    """End every subscription of these customers, who are locked: they are being deleted."""
    running = subscriptions.running_of_customers(conn, act.account_id, customer_ids)
    cancel(conn, act, discard_all(conn, act, list(running.values())))


def _end(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    action: SubscriptionAction,
    *,
    reason: str | None,
) -> list[Subscription]:
    over = [ended(each, action, now=act.now, reason=reason) for each in running]
    subscriptions.update_many(conn, act.account_id, over)
    end_with(conn, act, list(zip(running, over, strict=True)))
    announce(
        conn,
        act,
        [
            Announcement(
                # Stripe: one that never began is updated to expired; one that ran is deleted.
                "customer.subscription.updated"
                if after.status == SubscriptionStatus.INCOMPLETE_EXPIRED
                else "customer.subscription.deleted",
                "subscription",
                after.id,
                after,
                changes(before, after)
                if after.status == SubscriptionStatus.INCOMPLETE_EXPIRED
                else None,
            )
            for before, after in zip(running, over, strict=True)
        ],
    )
    return over
