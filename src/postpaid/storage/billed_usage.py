"""What of customers' usage is billed by windows: which windows, and by which invoices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from postpaid.core.billed_usage import BilledWindow, WindowBilling
from postpaid.core.errors import Conflict
from postpaid.storage.database import Connection, as_json_rows, fetch

Usage = tuple[str, str]
"""A customer's usage of a meter, by their ids."""


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """That a customer has used a meter that has a price of its own."""

    customer_id: str
    meter_id: str
    display_name: str
    price_id: str


PRICED = """
SELECT s.customer_id, s.meter_id, m.display_name, m.price_id
  FROM usage_series s
  JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
 WHERE s.account_id = %(account_id)s
   AND s.customer_id = ANY(%(customer_ids)s)
   AND m.price_id IS NOT NULL
 ORDER BY s.customer_id, s.meter_id
"""


def priced(conn: Connection, account_id: int, customer_ids: Iterable[str]) -> list[PricedUsage]:
    """The meters with a price of their own that the customers have ever used."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    return fetch(conn, PricedUsage, PRICED, parameters)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose usage is asked for, and from when to when."""

    customer_id: str
    start: datetime
    end: datetime


def _of(account_id: int, asked: Sequence[Asked]) -> dict[str, object]:
    return {
        "account_id": account_id,
        "customer_ids": [each.customer_id for each in asked],
        "starts": [each.start for each in asked],
        "ends": [each.end for each in asked],
    }


OVERLAPPING = """
SELECT s.customer_id, s.meter_id, w.start_at AS start, w.end_at AS "end", w.price_id,
       max(b.quantity) AS quantity, sum(b.amount)::bigint AS amount,
       array_agg(b.obligation ORDER BY b.invoice_id) AS obligations,
       array_agg(b.invoice_id::text ORDER BY b.invoice_id) AS invoice_ids
  FROM unnest(%(customer_ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS u (customer_id, start_at, end_at)
  JOIN usage_series s ON s.account_id = %(account_id)s AND s.customer_id = u.customer_id
  JOIN billed_windows w
    ON w.series_id = s.series_id AND w.start_at < u.end_at AND w.end_at > u.start_at
  JOIN window_billings b
    ON b.series_id = w.series_id AND b.start_at = w.start_at AND b.end_at = w.end_at
 WHERE w.account_id = %(account_id)s
 GROUP BY s.customer_id, s.meter_id, w.series_id, w.start_at, w.end_at, w.price_id
 ORDER BY s.customer_id, s.meter_id, w.start_at
"""


def overlapping(
    conn: Connection, account_id: int, asked: Sequence[Asked]
) -> dict[Usage, list[BilledWindow]]:
    """The billed windows that have an instant in common with what is asked for, by whose."""
    found: dict[Usage, list[BilledWindow]] = defaultdict(list)
    for row in fetch(conn, BilledWindow, OVERLAPPING, _of(account_id, asked)):
        found[row.customer_id, row.meter_id].append(row)
    return found


# Classic's opening lines bill nothing: they stand for a period that has only begun. Of a period
# that a threshold has billed early, what was used after the subscription ended is nobody's. A trial
# is free, while it runs and ever after.
BILLED_ELSEWHERE = """
WITH asked AS (
    SELECT *
      FROM unnest(%(customer_ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
           AS u (customer_id, start_at, end_at)
), taken AS (
    SELECT i.customer_id, l.meter_id, l.period_start, least(l.period_end, s.ended_at) AS period_end
      FROM invoices i
      JOIN invoice_lines l ON l.account_id = i.account_id AND l.invoice_id = i.id
      LEFT JOIN subscriptions s ON s.account_id = l.account_id AND s.id = l.subscription_id
     WHERE i.account_id = %(account_id)s
       AND i.customer_id IN (SELECT customer_id FROM asked)
       AND l.live
       AND l.meter_id IS NOT NULL
       AND l.subscription_item_id IS NOT NULL
       AND l.obligation NOT LIKE '%%/opening'
     UNION
    SELECT n.customer_id, n.meter_id, n.period_start, n.period_end
      FROM invoice_items n
     WHERE n.account_id = %(account_id)s
       AND n.customer_id IN (SELECT customer_id FROM asked)
       AND n.invoice_id IS NULL
       AND n.meter_id IS NOT NULL
     UNION
    SELECT s.customer_id, p.meter_id, s.trial_start_at, least(s.trial_end_at, s.ended_at)
      FROM subscriptions s
      JOIN subscription_items i ON i.account_id = s.account_id AND i.subscription_id = s.id
      JOIN prices p ON p.account_id = i.account_id AND p.id = i.price_id
     WHERE s.account_id = %(account_id)s
       AND s.customer_id IN (SELECT customer_id FROM asked)
       AND s.trial_start_at IS NOT NULL
       AND p.meter_id IS NOT NULL
)
SELECT DISTINCT t.customer_id, t.meter_id, t.period_start, t.period_end
  FROM taken t
  JOIN asked u USING (customer_id)
 WHERE t.period_start < u.end_at
   AND t.period_end > u.start_at
   AND t.period_end > t.period_start
"""


def billed_elsewhere(
    conn: Connection, account_id: int, asked: Sequence[Asked]
) -> dict[Usage, list[tuple[datetime, datetime]]]:
    """The periods of usage that subscriptions have billed, or settled, of what is asked for."""
    found: dict[Usage, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in conn.execute(BILLED_ELSEWHERE, _of(account_id, asked)):
        found[row[0], row[1]].append((row[2], row[3]))
    return found


# An item's usage is its subscription's from the day that it was put on it, and in a first period
# that began before, from then on.
BILLED_BY_SUBSCRIPTIONS = """
SELECT s.customer_id, p.meter_id, s.id,
       min(least(i.created_at, coalesce(i.usage_from, i.period_start),
                 CASE WHEN i.created_at <= s.created_at THEN s.start_at END))
  FROM subscriptions s
  JOIN subscription_items i ON i.account_id = s.account_id AND i.subscription_id = s.id
  JOIN prices p ON p.account_id = i.account_id AND p.id IN (i.price_id, i.usage_price_id)
 WHERE s.account_id = %(account_id)s
   AND s.customer_id = ANY(%(customer_ids)s)
   AND s.ended_at IS NULL
   AND p.meter_id IS NOT NULL
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 4 DESC, 3 DESC
"""


def billed_by_subscriptions(
    conn: Connection, account_id: int, customer_ids: Iterable[str]
) -> dict[Usage, tuple[str, datetime]]:
    """The usage that a running subscription bills by itself: which one does, and since when."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    rows = conn.execute(BILLED_BY_SUBSCRIPTIONS, parameters)
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


NAMED = """
SELECT obligation, invoice_id
  FROM invoice_lines
 WHERE account_id = %(account_id)s
   AND obligation = ANY(%(names)s)
   AND part = 0
   AND live
"""


def named(conn: Connection, account_id: int, names: Sequence[str]) -> dict[str, str]:
    """Those of the obligations that an invoice bills, and which one does."""
    rows = conn.execute(NAMED, {"account_id": account_id, "names": list(names)})
    return {row[0]: row[1] for row in rows}


COLUMNS = (
    "obligation",
    "invoice_id",
    "customer_id",
    "meter_id",
    "start",
    "end",
    "price_id",
    "quantity",
    "amount",
)

INSERT = """
WITH billed AS (
    SELECT s.series_id, r.*
      FROM json_to_recordset(%(rows)s) AS r(
           obligation text, invoice_id text, customer_id text, meter_id text, start timestamptz,
           "end" timestamptz, price_id text, quantity numeric, amount bigint)
      JOIN usage_series s
        ON s.account_id = %(account_id)s
       AND s.customer_id = r.customer_id
       AND s.meter_id = r.meter_id
), windows AS (
    INSERT INTO billed_windows (account_id, series_id, start_at, end_at, price_id)
    SELECT %(account_id)s, series_id, start, "end", price_id
      FROM billed
     ORDER BY 2, 3
        ON CONFLICT ON CONSTRAINT billed_windows_pkey DO NOTHING
)
INSERT INTO window_billings (account_id, obligation, invoice_id, series_id, start_at, end_at,
                             quantity, amount)
SELECT %(account_id)s, obligation, invoice_id, series_id, start, "end", quantity, amount
  FROM billed
"""


def insert_many(conn: Connection, account_id: int, billings: Sequence[WindowBilling]) -> None:
    """Note which windows final invoices bill. The caller holds the customers.

    Raises ``Conflict`` where something of a window is billed as a part of another one.
    """
    if not billings:
        return
    parameters = {"account_id": account_id, "rows": as_json_rows(billings, COLUMNS)}
    try:
        conn.execute(INSERT, parameters)
    except psycopg.errors.ExclusionViolation as error:
        raise Conflict("This usage was invoiced by someone else just now.") from error


RELEASE = """
WITH freed AS (
    DELETE FROM window_billings
     WHERE account_id = %(account_id)s
       AND invoice_id = ANY(%(invoice_ids)s)
    RETURNING series_id, start_at, end_at
)
DELETE FROM billed_windows w
 USING freed f
 WHERE w.series_id = f.series_id
   AND w.start_at = f.start_at
   AND w.end_at = f.end_at
   AND NOT EXISTS (
       SELECT
         FROM window_billings b
        WHERE b.series_id = w.series_id
          AND b.start_at = w.start_at
          AND b.end_at = w.end_at
          AND b.invoice_id <> ALL(%(invoice_ids)s))
"""


def release(conn: Connection, account_id: int, invoice_ids: Sequence[str]) -> None:
    """Let what void invoices billed of windows be billed again. The caller holds the customers."""
    conn.execute(RELEASE, {"account_id": account_id, "invoice_ids": list(invoice_ids)})
