"""What follows when an invoice is settled, or is not: for its subscription and its customer."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, subscription_updated
from postpaid.billing.apply_updates import apply_paid
from postpaid.billing.perform import Act
from postpaid.core.cycles import settled
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import TRANSITIONS, SubscriptionAction
from postpaid.storage import customers, subscriptions
from postpaid.storage.database import Connection


def follow(
    conn: Connection, act: Act, concluded: Sequence[Invoice], action: SubscriptionAction
) -> None:
    """Let subscriptions follow what became of their latest invoice. The customers are locked.

    That is the newest that is final and not void (Stripe): a draft decides nothing yet, nor does
    what was sent and is not due, nor what a change waits for that is not made. Only those whose
    status the action changes are read at all: at a renewal that is paid, none.
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
        now=act.now,
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
