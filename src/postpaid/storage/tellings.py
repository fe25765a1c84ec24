"""What the codes depend on by which events are told, beside what the events show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Which customers are accounts; by the invoice, what came first of collecting it (an event's
    id); and which invoices only bill what was left when their subscription ended.
    """

    accounts: frozenset[str]
    first_outcomes: Mapping[str, str]
    last_bills: frozenset[str]


LOAD = """
SELECT 'account' AS what, id, NULL::text AS event_id
  FROM customers
 WHERE account_id = %(account_id)s
   AND id = ANY(%(customer_ids)s::text[])
   AND profile IS NOT NULL
 UNION ALL
SELECT 'last_bill', i.id, NULL
  FROM invoices i
  JOIN subscriptions s ON s.account_id = i.account_id AND s.id = i.subscription_id
 WHERE i.account_id = %(account_id)s
   AND i.id = ANY(%(renewal_ids)s::text[])
   AND s.ended_at <= i.created_at
 UNION ALL
SELECT 'first_outcome', o.id, e.id
  FROM unnest(%(invoice_ids)s::text[]) AS o (id)
  CROSS JOIN LATERAL (
        SELECT id
          FROM events
         WHERE account_id = %(account_id)s
           AND object_id = o.id
           AND type IN ('invoice.paid', 'invoice.payment_failed')  -- which have an index
         ORDER BY id
         LIMIT 1) e
"""


def load(
    conn: Connection,
    account_id: int,
    *,
    customer_ids: Collection[str],
    renewal_ids: Collection[str],
    invoice_ids: Collection[str],
) -> Circumstances:
    """Of these customers, of these renewals' invoices, and of the collection of these invoices."""
    if not customer_ids and not renewal_ids and not invoice_ids:
        return Circumstances(frozenset(), {}, frozenset())
    parameters = {
        "account_id": account_id,
        "customer_ids": sorted(customer_ids),
        "renewal_ids": sorted(renewal_ids),
        "invoice_ids": sorted(invoice_ids),
    }
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for what, key, event_id in conn.execute(LOAD, parameters):
        found[what][key] = event_id
    return Circumstances(
        frozenset(found["account"]), found["first_outcome"], frozenset(found["last_bill"])
    )
