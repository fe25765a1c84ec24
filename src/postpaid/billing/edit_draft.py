"""Put other lines on a draft: its totals follow, and it is said that it changed."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.compose import compose
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice, InvoiceAction, InvoiceStatus, next_status, with_lines
from postpaid.core.lines import Line
from postpaid.storage import invoices
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

LINES_MAX = 250  # Stripe


def edit_draft(
    conn: Connection,
    act: Act,
    draft: Invoice,
    lines: Sequence[Line],
    customer: Customer,
    *,
    before: Invoice | None = None,
) -> Invoice:
    """The draft with these lines, written; ``before`` is how it was, if more of it changes.

    The customer is locked. Raises ``ActionNotAllowed`` for an invoice that is no draft and
    ``InvalidRequest`` for too many lines.
    """
    next_status(draft.status, InvoiceAction.EDIT)
    check_room(lines)
    [after] = compose(conn, act, [with_lines(draft, lines)], {customer.id: customer})
    before = before or draft
    if after == before:
        return before
    if after.lines != before.lines:
        invoices.replace_lines(conn, act.account_id, [after])
    invoices.update_many(conn, act.account_id, [after], before=[InvoiceStatus.DRAFT])
    said = Announcement("invoice.updated", "invoice", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return after


def check_room(lines: Sequence[Line]) -> None:
    """Raises ``InvalidRequest`` for more lines than an invoice by hand can have."""
    if len(lines) > LINES_MAX:
        raise InvalidRequest(f"An invoice can have at most {LINES_MAX} line items.", param="lines")
