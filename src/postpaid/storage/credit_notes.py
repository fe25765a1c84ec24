"""Credit notes and their lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.credit_notes import CreditNote, CreditNoteLine
from postpaid.core.values import replace
from postpaid.storage.database import (
    Connection,
    copy_into,
    fetch,
    parameters_of,
    values_of,
)
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "invoice_id",
    "sequence",
    "customer_id",
    "clock_id",
    "number",
    "status",
    "currency",
    "subtotal",
    "total",
    "pre_payment_amount",
    "credit_amount",
    "out_of_band_amount",
    "reason",
    "memo",
    "metadata",
    "balance_transaction_id",
    "effective_at",
    "created_at",
    "voided_at",
    "refund_amount",
)
LINE_COLUMNS = (
    "id",
    "type",
    "invoice_line_id",
    "description",
    "quantity",
    "unit_amount",
    "amount",
    "discounts",
    "credits",
    "taxes",
    "metadata",
)
_values = values_of(*COLUMNS)
_line_values = values_of(*LINE_COLUMNS)


def insert(conn: Connection, account_id: int, note: CreditNote) -> None:
    """Write a new credit note with its lines. The caller holds the customer."""
    copy_into(conn, "credit_notes", ("account_id", *COLUMNS), [(account_id, *_values(note))])
    copy_into(
        conn,
        "credit_note_lines",
        ("account_id", "credit_note_id", "position", *LINE_COLUMNS),
        (
            (account_id, note.id, position, *_line_values(line))
            for position, line in enumerate(note.lines)
        ),
    )


LOAD = """
SELECT id, invoice_id, sequence, customer_id, clock_id, number, status, currency, subtotal, total,
       pre_payment_amount, credit_amount, out_of_band_amount, reason, memo, metadata,
       balance_transaction_id, effective_at, created_at, voided_at, refund_amount
  FROM credit_notes
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, CreditNote]:
    """The credit notes by id, with their lines."""
    rows = fetch(conn, CreditNote, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in _with_lines(conn, account_id, rows)}


@dataclass(frozen=True, slots=True)
class _PlacedLine(CreditNoteLine):
    """A line and the credit note it is on."""

    credit_note_id: str = ""


LOAD_LINES = """
SELECT credit_note_id, id, type, invoice_line_id, description, quantity, unit_amount, amount,
       discounts, credits, taxes, metadata
  FROM credit_note_lines
 WHERE account_id = %(account_id)s
   AND credit_note_id = ANY(%(credit_note_ids)s)
 ORDER BY credit_note_id, position
"""


def _with_lines(conn: Connection, account_id: int, rows: list[CreditNote]) -> list[CreditNote]:
    if not rows:
        return rows
    lines: defaultdict[str, list[CreditNoteLine]] = defaultdict(list)
    parameters = {"account_id": account_id, "credit_note_ids": [row.id for row in rows]}
    for line in fetch(conn, _PlacedLine, LOAD_LINES, parameters):
        lines[line.credit_note_id].append(line)
    return [replace(row, lines=tuple(lines[row.id])) for row in rows]


OF_INVOICE = """
SELECT id, invoice_id, sequence, customer_id, clock_id, number, status, currency, subtotal, total,
       pre_payment_amount, credit_amount, out_of_band_amount, reason, memo, metadata,
       balance_transaction_id, effective_at, created_at, voided_at, refund_amount
  FROM credit_notes
 WHERE account_id = %(account_id)s
   AND invoice_id = %(invoice_id)s
 ORDER BY sequence
"""


def of_invoice(conn: Connection, account_id: int, invoice_id: str) -> list[CreditNote]:
    """All credit notes of the invoice with their lines, void ones too, in their order."""
    parameters = {"account_id": account_id, "invoice_id": invoice_id}
    return _with_lines(conn, account_id, fetch(conn, CreditNote, OF_INVOICE, parameters))


LIST = """
SELECT id, invoice_id, sequence, customer_id, clock_id, number, status, currency, subtotal, total,
       pre_payment_amount, credit_amount, out_of_band_amount, reason, memo, metadata,
       balance_transaction_id, effective_at, created_at, voided_at, refund_amount
  FROM credit_notes
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(invoice_id)s::text IS NULL OR invoice_id = %(invoice_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    invoice_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[CreditNote]:
    """Credit notes with their lines, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "invoice_id": invoice_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    found = fetch_page(
        conn, CreditNote, LIST, parameters, page, table="credit_notes", what="credit note"
    )
    return Rows(_with_lines(conn, account_id, found.rows), found.has_more)


UPDATE = """
UPDATE credit_notes
   SET status = %(status)s, memo = %(memo)s, metadata = %(metadata)s, voided_at = %(voided_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, note: CreditNote) -> None:
    """Write what can change of a credit note. The caller holds the customer."""
    bare = replace(note, lines=())
    conn.execute(UPDATE, parameters_of(account_id, bare))
