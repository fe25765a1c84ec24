"""What moves from an invoice to the revision that takes its place."""

from __future__ import annotations

from collections.abc import Mapping

from postpaid.storage.database import Connection

FIND = """
SELECT i.id
  FROM invoices i
 WHERE i.account_id = %(account_id)s
   AND i.from_invoice_id = %(invoice_id)s
   AND i.status <> 'void'
 LIMIT 1
"""


def find(conn: Connection, account_id: int, invoice_id: str) -> str | None:
    """The id of the revision that stands for the invoice, or is drafted to."""
    row = conn.execute(FIND, {"account_id": account_id, "invoice_id": invoice_id}).fetchone()
    return row[0] if row else None


MOVE_ITEMS = """
UPDATE invoice_items i
   SET invoice_id = r.revision_id
  FROM unnest(%(item_ids)s::text[], %(revision_ids)s::text[]) AS r (item_id, revision_id)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.item_id
"""


def move_items(conn: Connection, account_id: int, revision_by_item: Mapping[str, str]) -> None:
    """The revisions bill these invoice items now. The caller holds the customers."""
    if revision_by_item:
        parameters = {
            "account_id": account_id,
            "item_ids": list(revision_by_item),
            "revision_ids": list(revision_by_item.values()),
        }
        conn.execute(MOVE_ITEMS, parameters)


MOVE_LATEST = """
UPDATE subscriptions s
   SET latest_invoice_id = r.revision_id
  FROM unnest(%(original_ids)s::text[], %(revision_ids)s::text[]) AS r (original_id, revision_id),
       invoices i
 WHERE i.account_id = %(account_id)s
   AND i.id = r.original_id
   AND s.account_id = i.account_id
   AND s.id = i.subscription_id
   AND s.latest_invoice_id = i.id
RETURNING s.id, i.id
"""


def move_latest(
    conn: Connection, account_id: int, revision_by_original: Mapping[str, str]
) -> dict[str, str]:
    """A subscription whose latest invoice was revised has the revision as its latest.

    Returns what their latest invoices were, by subscription.
    """
    if not revision_by_original:
        return {}
    parameters = {
        "account_id": account_id,
        "original_ids": list(revision_by_original),
        "revision_ids": list(revision_by_original.values()),
    }
    return {row[0]: row[1] for row in conn.execute(MOVE_LATEST, parameters)}
