"""Nothing more is billed by itself to customers who are being deleted."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.manage_setup_intents import cancel_all_set_ups
from postpaid.billing.perform import Act
from postpaid.billing.write_schedules import write
from postpaid.core.invoicing import InvoiceStatus
from postpaid.core.schedules import ScheduleAction, over
from postpaid.core.values import replace
from postpaid.storage import invoices, subscription_schedules
from postpaid.storage.database import Connection


def stop_billing(conn: Connection, act: Act, customer_ids: Sequence[str]) -> None:
    """Cancel what the customers' schedules would still begin, and stop collecting their invoices.

    The customers are locked, and their subscriptions have ended. Drafts and open invoices stay as
    they are, for a person to deal with; pending invoice items and credit stay what they were.
    """
    # Read.
    schedules = subscription_schedules.running_of_customers(conn, act.account_id, customer_ids)
    left = invoices.advancing_of_customers(conn, act.account_id, customer_ids)

    # Decide.
    canceled = [(each, over(each, ScheduleAction.CANCEL, now=act.now)) for each in schedules]
    stopped = [
        (each, replace(each, auto_advance=False, finalizes_at=None, next_attempt_at=None))
        for each in left.values()
    ]

    # Write.
    write(conn, act, canceled)
    cancel_all_set_ups(conn, act, customer_ids)
    invoices.update_many(
        conn,
        act.account_id,
        [after for _, after in stopped],
        before=[InvoiceStatus.DRAFT, InvoiceStatus.OPEN],
    )
    announce(
        conn,
        act,
        [
            Announcement("invoice.updated", "invoice", after.id, after, changes(before, after))
            for before, after in stopped
        ],
    )
