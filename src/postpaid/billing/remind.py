"""Say in time what will happen: an invoice will be due, and is overdue; a card expires."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.begin_reminders import is_awaited
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.perform import Act
from postpaid.core.collection import next_reminder
from postpaid.core.invoicing import Invoice
from postpaid.core.subscriptions import SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import invoice_numbers, reminders
from postpaid.storage.database import Connection, Database

BATCH = 500  # invoices, or cards, in one transaction


def remind_due(database: Database, act: Act, wall: datetime) -> int:
    """Sent invoices that will be due soon, or are overdue; the latter leaves a debt past due."""
    with database.transaction() as conn:
        due = reminders.claim_reminding(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        _, failed = do_each(conn, due, lambda some: _remind(conn, act, some))
    raise_failed(failed)
    return len(due)


def _remind(conn: Connection, act: Act, due: Sequence[tuple[Invoice, datetime]]) -> list[Invoice]:
    # Read.
    days = invoice_numbers.load_settings(conn, act.account_id).reminder_days

    # Decide.
    moments: dict[str, datetime | None] = {}
    overdue: list[Invoice] = []
    said: list[Announcement] = []
    for invoice, moment in due:
        moments[invoice.id] = None
        if not is_awaited(invoice) or invoice.due_at is None:
            continue
        bare = replace(invoice, lines=())
        if moment >= invoice.due_at:
            overdue.append(bare)
            said.append(Announcement("invoice.overdue", "invoice", invoice.id, bare))
        else:
            moments[invoice.id] = next_reminder(invoice.due_at, days, moment, act.now)
            said.append(Announcement("invoice.will_be_due", "invoice", invoice.id, bare))

    # Write.
    reminders.set_reminders(conn, act.account_id, moments)
    announce(conn, act, said)
    follow(conn, act, overdue, SubscriptionAction.MISS_PAYMENT)
    mark_delinquent(conn, act, overdue, delinquent=True)
    return overdue


def announce_expiring(database: Database, act: Act, wall: datetime) -> int:
    """Customers' cards that expire with the month that has begun. Stripe: once, as it begins.

    Of a card whose month was over before it came here nothing is said.
    """
    today = act.now.astimezone(UTC).date()
    with database.transaction() as conn:
        due = reminders.claim_expiring(conn, act.account_id, act.clock_id, today=today, limit=BATCH)
        if due:
            reminders.note_expiring(conn, act.account_id, [method.id for method, _ in due])
            announce(
                conn,
                act,
                [
                    Announcement("customer.source.expiring", "payment_method", method.id, method)
                    for method, month in due
                    if (month.year, month.month) == (today.year, today.month)
                ],
            )
    return len(due)
