"""Invoice payments: the payment intents and payment records that have an invoice, seen as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from postpaid.core.invoice_payments import InvoicePayment
from postpaid.storage.database import Connection, fetch
from postpaid.storage.paging import Page, Rows, fetch_page

LOAD = """
SELECT id, invoice_id, is_default, amount_requested, amount_paid, currency, payment_intent_id,
       payment_record_id, status, created_at, paid_at, canceled_at
  FROM invoice_payments
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, InvoicePayment]:
    """The invoice payments by id."""
    rows = fetch(conn, InvoicePayment, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


OF_INVOICES = """
SELECT id, invoice_id, is_default, amount_requested, amount_paid, currency, payment_intent_id,
       payment_record_id, status, created_at, paid_at, canceled_at
  FROM invoice_payments
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 ORDER BY id
"""


def of_invoices(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> defaultdict[str, list[InvoicePayment]]:
    """What is to settle each of the invoices, and what did, oldest first."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    found: defaultdict[str, list[InvoicePayment]] = defaultdict(list)
    for row in fetch(conn, InvoicePayment, OF_INVOICES, parameters):
        found[row.invoice_id].append(row)
    return found


LIST = """
SELECT id, invoice_id, is_default, amount_requested, amount_paid, currency, payment_intent_id,
       payment_record_id, status, created_at, paid_at, canceled_at
  FROM invoice_payments
 WHERE account_id = %(account_id)s
   AND (%(invoice_id)s::text IS NULL OR invoice_id = %(invoice_id)s)
   AND (%(payment_intent_id)s::text IS NULL OR payment_intent_id = %(payment_intent_id)s)
   AND (%(payment_record_id)s::text IS NULL OR payment_record_id = %(payment_record_id)s)
   AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    invoice_id: str | None = None,
    payment_intent_id: str | None = None,
    payment_record_id: str | None = None,
    status: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[InvoicePayment]:
    """Invoice payments, newest first; ``status`` is open, paid or canceled."""
    parameters = {
        "account_id": account_id,
        "invoice_id": invoice_id,
        "payment_intent_id": payment_intent_id,
        "payment_record_id": payment_record_id,
        "status": status,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        InvoicePayment,
        LIST,
        parameters,
        page,
        table="invoice_payments",
        what="invoice_payment",
    )
