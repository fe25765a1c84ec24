"""Say some days before what a renewal will bill: ``invoice.upcoming``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from postpaid.billing.address import recipient
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.perform import Act
from postpaid.billing.preview_renewal import preview_renewals
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, invoice_numbers, reminders
from postpaid.storage.database import Connection, Database

BATCH = 500  # subscriptions in one transaction


def announce_upcoming(database: Database, act: Act, wall: datetime) -> int:
    """Subscriptions that renew in so many days as the account has set: what they will be charged.

    Once for each renewal; again when another time is set for it. Not for those whose invoices are
    sent (Stripe).
    """
    with database.transaction() as conn:
        days = invoice_numbers.load_settings(conn, act.account_id).upcoming_days
        if days is None:
            return 0
        due = reminders.claim_upcoming(
            conn,
            act.account_id,
            act.clock_id,
            now=act.now,
            before=act.now + timedelta(days=days),
            limit=BATCH,
        )
        _, failed = do_each(conn, due, lambda some: _announce(conn, act, some))
    raise_failed(failed)
    return len(due)


def _announce(
    conn: Connection, act: Act, due: Sequence[tuple[Subscription, datetime]]
) -> list[str]:
    """The same decision as the renewal's, unwritten. What could not be billed is not announced."""
    # Read.
    running = [subscription for subscription, _ in due]
    moments = {subscription.id: moment for subscription, moment in due}
    owners = customers.load(conn, act.account_id, {each.customer_id for each in running})

    # Decide.
    upcoming = preview_renewals(conn, act, running)

    # Write.
    reminders.note_upcoming(conn, act.account_id, [each.id for each in running])
    announce(
        conn,
        act,
        [
            Announcement(
                "invoice.upcoming",
                "upcoming_invoice",
                subscription_id,
                replace(invoice, customer_snapshot=recipient(owners[invoice.customer_id])),
            )
            for subscription_id, invoice in upcoming.items()
            # Not yet where something else happens first, such as the end of a pause: it is said
            # when that has been, and the renewal is what comes next.
            if invoice.period_end == moments[subscription_id]
        ],
    )
    return [each.id for each in running]
