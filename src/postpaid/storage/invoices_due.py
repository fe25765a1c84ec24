"""Open invoices by where they stand by the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.core.due_days import Standing
from postpaid.core.invoicing import Invoice
from postpaid.storage import invoices
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class _Found:
    id: str


LIST = """
SELECT invoices.id
  FROM invoices
  JOIN accounts a ON a.account_id = invoices.account_id
  LEFT JOIN test_clocks k ON k.account_id = invoices.account_id AND k.id = invoices.clock_id
 WHERE invoices.account_id = %(account_id)s
   AND invoices.status = 'open'
   AND CASE
       WHEN invoices.due_at IS NULL THEN 'not_due'
       WHEN (invoices.due_at AT TIME ZONE a.time_zone)::date
            > (coalesce(k.frozen_at, %(now)s) AT TIME ZONE a.time_zone)::date THEN 'not_due'
       WHEN (invoices.due_at AT TIME ZONE a.time_zone)::date
            = (coalesce(k.frozen_at, %(now)s) AT TIME ZONE a.time_zone)::date THEN 'due'
       ELSE 'overdue'
       END = %(standing)s
   AND (%(customer_id)s::text IS NULL OR invoices.customer_id = %(customer_id)s)
   AND (%(subscription_id)s::text IS NULL OR invoices.subscription_id = %(subscription_id)s)
   AND (%(collection_method)s::text IS NULL
        OR invoices.collection_method = %(collection_method)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    now: datetime,
    standing: Standing,
    customer_id: str | None = None,
    subscription_id: str | None = None,
    collection_method: str | None = None,
) -> Rows[Invoice]:
    """Open invoices that stand so at ``now``, or at their test clock's time, newest first.

    The days are the account's (see ``core.due_days``).
    """
    parameters = {
        "account_id": account_id,
        "now": now,
        "standing": standing,
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "collection_method": collection_method,
    }
    found = fetch_page(conn, _Found, LIST, parameters, page, table="invoices", what="invoice")
    ids = [row.id for row in found.rows]
    loaded = invoices.load(conn, account_id, ids) if ids else {}
    return Rows([loaded[each] for each in ids], found.has_more)
