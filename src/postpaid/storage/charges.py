"""What paid for running periods in advance: lines of invoices, and invoice items."""

from __future__ import annotations

from collections.abc import Collection

from postpaid.core.prorations import Charge
from postpaid.storage.database import Connection, fetch

LOAD = """
SELECT l.id, l.obligation, l.invoice_id, l.id AS line_id, l.amount, l.discounts, l.quantity,
       l.period_start, l.period_end
  FROM invoice_lines l
 WHERE l.account_id = %(account_id)s
   AND l.live
   AND l.invoice_item_id IS NULL
   AND (l.id = ANY(%(ids)s) OR l.obligation = ANY(%(obligations)s))
 UNION ALL
SELECT n.id, n.obligation, n.invoice_id, l.id, n.amount, l.discounts, n.quantity, n.period_start,
       n.period_end
  FROM invoice_items n
  LEFT JOIN invoices i ON i.account_id = n.account_id AND i.id = n.invoice_id
  LEFT JOIN invoice_lines l
    ON l.account_id = n.account_id
   AND l.obligation = n.obligation
   AND l.part = n.part
   AND l.live
 WHERE n.account_id = %(account_id)s
   AND n.id = ANY(%(ids)s)
   AND (i.id IS NULL OR i.status <> 'void')
 ORDER BY id
"""


def load(
    conn: Connection, account_id: int, ids: Collection[str], obligations: Collection[str]
) -> list[Charge]:
    """The charges with these ids, and the lines of these obligations; none of a void invoice."""
    if not ids and not obligations:
        return []
    parameters = {"account_id": account_id, "ids": list(ids), "obligations": list(obligations)}
    return fetch(conn, Charge, LOAD, parameters)
