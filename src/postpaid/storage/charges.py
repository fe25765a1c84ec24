"""What paid for running periods in advance: lines of invoices, and invoice items."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.core.prorations import Charge
from postpaid.core.values import replace
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
SELECT n.id, n.obligation, n.invoice_id, l.id, n.amount, coalesce(l.discounts, n.discounts),
       n.quantity, n.period_start, n.period_end
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
    """The charges with these ids, and the lines of these obligations; none of a void invoice.

    They know what was given back of them, unless that invoice is void.
    """
    if not ids and not obligations:
        return []
    parameters = {"account_id": account_id, "ids": list(ids), "obligations": list(obligations)}
    found = fetch(conn, Charge, LOAD, parameters)
    return _less_credits(conn, account_id, found) if found else []


LOAD_CREDITS = """
SELECT n.credited, n.amount, n.discounts, n.period_start
  FROM invoice_items n
  LEFT JOIN invoices i ON i.account_id = n.account_id AND i.id = n.invoice_id
 WHERE n.account_id = %(account_id)s
   AND n.credited IS NOT NULL
   AND n.subscription_item_id IN (
         SELECT subscription_item_id
           FROM invoice_lines
          WHERE account_id = %(account_id)s
            AND id = ANY(%(ids)s)
          UNION ALL
         SELECT subscription_item_id
           FROM invoice_items
          WHERE account_id = %(account_id)s
            AND id = ANY(%(ids)s))
   AND n.period_end > %(since)s
   AND (i.id IS NULL OR i.status <> 'void')
"""


@dataclass(frozen=True, slots=True)
class _Credit:
    credited: Mapping[str, Any]
    amount: int
    discounts: Mapping[str, int] | None
    period_start: datetime


def _less_credits(conn: Connection, account_id: int, found: Sequence[Charge]) -> list[Charge]:
    """The charges with what was given back: of several lines, which are tiers, by the first."""
    place_of = {key: i for i, each in enumerate(found) for key in (each.id, each.line_id) if key}
    since = min(each.period_start for each in found)
    parameters = {"account_id": account_id, "ids": list(place_of), "since": since}
    charges = list(found)
    for credit in fetch(conn, _Credit, LOAD_CREDITS, parameters):
        names = credit.credited.get("lines") or [credit.credited.get("invoice_item")]
        places = [place_of[name] for name in names if name in place_of]
        if not places:
            continue
        charge, off = charges[min(places)], credit.discounts or {}
        given = dict(charge.returned_discounts or {})
        for key, amount in off.items():
            given[key] = given.get(key, 0) - amount
        charges[min(places)] = replace(
            charge,
            returned=charge.returned - credit.amount + sum(off.values()),
            returned_discounts=given or None,
            returned_from=min(charge.returned_from or credit.period_start, credit.period_start),
        )
    return charges
