"""Changes that waited for their payment in vain: dropped, and their invoices void."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import drop
from postpaid.billing.correct import void
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.perform import Act
from postpaid.core.invoicing import InvoiceStatus
from postpaid.core.subscriptions import Subscription
from postpaid.storage import invoices, payments, subscriptions, subscriptions_due
from postpaid.storage.database import Connection, Database

BATCH = 500
VOIDABLE = frozenset({InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE})


def discard(conn: Connection, act: Act, waiting: Sequence[Subscription]) -> None:
    """Drop the pending updates and void their invoices. The customers are locked.

    Raises ``Conflict`` while the payment of one is under way.
    """
    if not waiting:
        return
    invoice_of = {each.id: (each.pending_update or {})["invoice_id"] for each in waiting}
    found = invoices.load(conn, act.account_id, invoice_of.values())
    wrong = [each for each in found.values() if each.status in VOIDABLE]
    void(conn, act, wrong)  # which drops what waited for them
    voided = {each.id for each in wrong}
    drop(conn, act, [each for each in waiting if invoice_of[each.id] not in voided])


def discard_all(conn: Connection, act: Act, ending: Sequence[Subscription]) -> list[Subscription]:
    """``discard`` what waits of subscriptions that go no further; return them as they are then.

    What is being paid for waits until that is settled. The customers are locked. No statement where
    nothing waits.
    """
    invoice_of = {
        each.id: each.pending_update["invoice_id"] for each in ending if each.pending_update
    }
    if not invoice_of:
        return list(ending)
    busy = payments.pending_of(conn, act.account_id, list(invoice_of.values()))
    waiting = [each for each in ending if each.id in invoice_of]
    discard(conn, act, [each for each in waiting if invoice_of[each.id] not in busy])
    found = subscriptions.load(conn, act.account_id, [each.id for each in ending])
    return [found[each.id] for each in ending]


def expire_updates(database: Database, act: Act, wall: datetime) -> int:
    """Pending updates whose payment did not come in time."""
    with database.transaction() as conn:
        late = subscriptions_due.claim_expiring_updates(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        _, failed = do_each(conn, late, lambda some: _expire(conn, act, some))
    raise_failed(failed)
    return len(late)


def _expire(conn: Connection, act: Act, late: Sequence[Subscription]) -> list[Subscription]:
    discard(conn, act, late)
    after = list(subscriptions.load(conn, act.account_id, [each.id for each in late]).values())
    announce(
        conn,
        act,
        [
            Announcement(
                "customer.subscription.pending_update_expired", "subscription", each.id, each
            )
            for each in after
        ],
    )
    return after
