"""An invoice was sent: from now on it is watched when it is due."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.perform import Act
from postpaid.core.collection import next_reminder
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import CollectionMethod
from postpaid.storage import invoice_numbers, reminders
from postpaid.storage.database import Connection


def begin_reminders(conn: Connection, act: Act, final: Sequence[Invoice]) -> None:
    """From now on watch when those of the final invoices are due that the customer is to pay.

    The customers are locked. No statement when there are none.
    """
    sent = [each for each in final if is_awaited(each)]
    if not sent:
        return
    days = invoice_numbers.load_settings(conn, act.account_id).reminder_days
    moments = {
        each.id: next_reminder(each.due_at, days, None, act.now) for each in sent if each.due_at
    }
    reminders.set_reminders(conn, act.account_id, moments)


def is_awaited(invoice: Invoice) -> bool:
    """Whether its customer is to pay it by a date, and has not."""
    return (
        invoice.status == InvoiceStatus.OPEN
        and invoice.collection_method == CollectionMethod.SEND_INVOICE
    )
