"""Take back what was billed, or give it up: void, uncollectible."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, subscription_updated
from postpaid.billing.apply_credits import give_back
from postpaid.billing.apply_updates import drop_voided
from postpaid.billing.draw_units import return_units
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.keep_excess import Excess, keep_excess
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.open_intents import cancel_intents
from postpaid.billing.perform import Act
from postpaid.billing.post import post_uncollectible, post_voided
from postpaid.billing.release_usage import release_usage
from postpaid.billing.write_schedules import end_with
from postpaid.core.cycles import settled
from postpaid.core.errors import Conflict
from postpaid.core.invoicing import Invoice, InvoiceStatus, uncollectible, voided
from postpaid.core.subscriptions import ENDED, SubscriptionAction, SubscriptionStatus, ended
from postpaid.storage import invoice_lines, invoices, payments, subscriptions
from postpaid.storage.database import Connection

FORGIVEN = "user_forgiven"  # Stripe's word for what a person gave up


def void(conn: Connection, act: Act, wrong: Sequence[Invoice]) -> list[Invoice]:
    """Make the invoices as if never owed; what they billed may be billed again.

    What was paid of them, and did not go back, is their customers' credit. The caller holds the
    customers' locks. Raises ``ActionNotAllowed`` by the status table, and ``Conflict`` while a
    payment is under way whose outcome nobody knows yet.
    """
    if not wrong:
        return []
    # Read.
    ids = [invoice.id for invoice in wrong]
    if payments.pending_of(conn, act.account_id, ids):
        raise Conflict("A payment of this invoice is under way; try again when it is settled.")

    # Decide.
    after = [voided(invoice, now=act.now) for invoice in wrong]

    # Write.
    invoices.update_many(
        conn,
        act.account_id,
        after,
        before=[InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE],
    )
    invoice_lines.release(conn, act.account_id, ids)
    release_usage(conn, act, wrong)
    kept = post_voided(conn, act, after)
    give_back(conn, act, after)
    return_units(conn, act, [each.id for each in after if each.bills_usage])
    keep_excess(
        conn,
        act,
        [
            Excess.of(each, kept[each.id], source_id=each.id, is_posted=True)
            for each in after
            if kept[each.id] > 0
        ],
    )
    drop_voided(conn, act, after)
    cancel_intents(conn, act, after)
    announce(
        conn, act, [Announcement("invoice.voided", "invoice", each.id, each) for each in after]
    )
    return after


def void_now(conn: Connection, act: Act, invoice_id: str) -> Invoice:
    """Void one invoice because a person says so; its subscription follows.

    Stripe: an incomplete subscription expires with its first invoice; one that is past due goes by
    the newest of its other final invoices, and is active unless that one is open.
    """
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[invoice.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    [after] = void(conn, act, [invoice])
    if invoice.subscription_id:
        _follow(conn, act, invoice.subscription_id, invoice.id)
    return after


def mark_uncollectible(
    conn: Connection, act: Act, owed: Sequence[Invoice], *, reason: str
) -> list[Invoice]:
    """Write the open invoices off, for Stripe's ``reason``: still owed, and not asked for any more.

    The caller holds the customers' locks. Raises ``ActionNotAllowed`` by the status table, and
    ``Conflict`` while a payment is under way whose outcome nobody knows yet.
    """
    if not owed:
        return []
    # Read.
    if payments.pending_of(conn, act.account_id, [invoice.id for invoice in owed]):
        raise Conflict("A payment of this invoice is under way; try again when it is settled.")

    # Decide.
    after = [uncollectible(invoice, now=act.now, reason=reason) for invoice in owed]

    # Write.
    invoices.update_many(conn, act.account_id, after, before=[InvoiceStatus.OPEN])
    post_uncollectible(conn, act, owed)
    announce(
        conn,
        act,
        [Announcement("invoice.marked_uncollectible", "invoice", each.id, each) for each in after],
    )
    return after


def mark_uncollectible_now(conn: Connection, act: Act, invoice_id: str) -> Invoice:
    """Write one invoice off because a person says so.

    Stripe: when it is the latest of a subscription that is past due, that is active again, and the
    customer is not delinquent any more.
    """
    [invoice], locked = lock_invoices(conn, act, [invoice_id])
    customer = locked[invoice.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    [after] = mark_uncollectible(conn, act, [invoice], reason=FORGIVEN)
    follow(conn, act, [after], SubscriptionAction.FORGIVE)
    mark_delinquent(conn, act, [after], delinquent=False)
    return after


def _follow(conn: Connection, act: Act, subscription_id: str, voided_id: str) -> None:
    before = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    if before.status in ENDED:
        return
    if before.status == SubscriptionStatus.INCOMPLETE:
        after = ended(before, SubscriptionAction.EXPIRE, now=act.now, reason=None)
    else:
        left = invoices.of_subscriptions(
            conn,
            act.account_id,
            [subscription_id],
            statuses=[InvoiceStatus.OPEN, InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE],
        )
        waits_for = (before.pending_update or {}).get("invoice_id")
        deciding = {
            key: each
            for key, each in left.items()
            if key != waits_for
            and (each.status != InvoiceStatus.OPEN or not each.due_at or each.due_at <= act.now)
        }
        newest = deciding[max(deciding)] if deciding else None
        if newest is None or newest.status != InvoiceStatus.OPEN:
            after = settled(before, SubscriptionAction.PAY)
        elif newest.id < voided_id and (newest.attempted or newest.due_at):
            after = settled(before, SubscriptionAction.MISS_PAYMENT)
        else:
            after = before
    if after != before:
        subscriptions.update_many(conn, act.account_id, [after])
        if after.ended_at:
            end_with(conn, act, [(before, after)])
        announce(conn, act, [subscription_updated(before, after)])
