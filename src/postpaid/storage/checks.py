"""The invariants as queries that should return no rows.

Each names the invariant of ``docs/invariants.md`` that it watches. Constraints and triggers make
most of these impossible; they are asked all the same, because a restored backup, a repaired row or
a future migration has not passed through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from postpaid.core.invoicing import Line
from postpaid.storage.database import Connection, fetch

MARGIN = timedelta(minutes=1)  # longer than a request takes, or machines' clocks differ

BILLED_ONCE = """
SELECT account_id, obligation, part, count(*)
  FROM invoice_lines
 WHERE live
 GROUP BY account_id, obligation, part
HAVING count(*) > 1
"""

LIVE_UNLESS_VOID = """
SELECT l.account_id, l.invoice_id, l.position, i.status
  FROM invoice_lines l
  LEFT JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
 WHERE i.status IS NULL
    OR l.live = (i.status = 'void')
"""

TOTAL_IS_SUM_OF_LINES = """
SELECT i.account_id, i.id, i.subtotal, i.total, coalesce(sum(l.amount), 0) AS lines
  FROM invoices i
  LEFT JOIN invoice_lines l ON l.account_id = i.account_id AND l.invoice_id = i.id
 GROUP BY i.account_id, i.id
HAVING i.subtotal <> coalesce(sum(l.amount), 0)
    OR i.total <> i.subtotal
    OR i.amount_due <> greatest(0, i.total + i.starting_balance)
"""

NUMBERS_WITHOUT_GAPS = """
SELECT coalesce(c.account_id, i.account_id), coalesce(c.id, i.customer_id),
       c.next_invoice_sequence, count(i.id)
  FROM customers c
  FULL JOIN (SELECT account_id, id, customer_id, number
               FROM invoices
              WHERE number IS NOT NULL) AS i
    ON i.account_id = c.account_id AND i.customer_id = c.id
 GROUP BY c.account_id, c.id, i.account_id, i.customer_id
HAVING c.id IS NULL
    OR c.next_invoice_sequence - c.first_invoice_sequence <> count(i.id)
    OR count(DISTINCT substring(i.number FROM '-([0-9]+)$')::bigint) <> count(i.id)
    OR max(substring(i.number FROM '-([0-9]+)$')::bigint) >= c.next_invoice_sequence
"""

TOTALS_ARE_THE_EVENTS = """
WITH counted AS (
    SELECT account_id, customer_id, meter_id, date_trunc('hour', occurred_at, 'UTC') AS hour,
           sum(value) AS sum, count(*) AS count, max(occurred_at) AS last_at
      FROM usage_events
     GROUP BY 1, 2, 3, 4
)
SELECT coalesce(c.account_id, h.account_id), coalesce(c.customer_id, h.customer_id),
       coalesce(c.meter_id, h.meter_id), coalesce(c.hour, h.hour), c.sum, h.sum
  FROM counted c
  FULL JOIN usage_hours h USING (account_id, customer_id, meter_id, hour)
 WHERE (c.sum, c.count, c.last_at) IS DISTINCT FROM (h.sum, h.count, h.last_at)
"""

LAST_IS_THE_LAST_EVENT = """
SELECT h.account_id, h.customer_id, h.meter_id, h.hour, h.last_reference, h.last_value, e.value
  FROM usage_hours h
  LEFT JOIN usage_events e ON e.account_id = h.account_id AND e.reference = h.last_reference
 WHERE (e.customer_id, e.meter_id, e.occurred_at, e.value)
       IS DISTINCT FROM (h.customer_id, h.meter_id, h.last_at, h.last_value)
"""

NOT_BEFORE_PERIOD_END = """
SELECT l.account_id, l.invoice_id, l.obligation, l.period_end, i.created_at
  FROM invoice_lines l
  JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
 WHERE l.meter_id IS NOT NULL
   AND l.amount <> 0
   AND l.period_end > i.created_at
"""

PAID_BY_ITS_ATTEMPTS = """
SELECT i.account_id, i.id, i.amount_paid, coalesce(sum(a.amount), 0)
  FROM invoices i
  LEFT JOIN payment_attempts a
    ON a.account_id = i.account_id AND a.invoice_id = i.id AND a.status = 'succeeded'
 WHERE NOT i.paid_out_of_band
 GROUP BY i.account_id, i.id
HAVING i.amount_paid <> coalesce(sum(a.amount), 0)
"""

STATUS_HAS_ITS_EVENT = """
WITH said AS (
    SELECT account_id, object_id, type, count(*)
      FROM events
     WHERE type IN ('invoice.finalized', 'invoice.paid', 'invoice.voided',
                    'invoice.marked_uncollectible')
     GROUP BY account_id, object_id, type
)
SELECT i.account_id, i.id, i.status, s.count
  FROM invoices i
  LEFT JOIN said s
    ON s.account_id = i.account_id
   AND s.object_id = i.id
   AND s.type = CASE i.status
                WHEN 'open' THEN 'invoice.finalized'
                WHEN 'paid' THEN 'invoice.paid'
                WHEN 'void' THEN 'invoice.voided'
                WHEN 'uncollectible' THEN 'invoice.marked_uncollectible' END
 WHERE i.status <> 'draft'
   AND s.count IS DISTINCT FROM 1
"""

PARKED = """
SELECT account_id, id, closes_at, parked
  FROM subscriptions
 WHERE parked IS NOT NULL
 UNION ALL
SELECT account_id, id, finalizes_at, parked
  FROM invoices
 WHERE parked IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Check:
    """A query that should return nothing, and what it means when it does."""

    invariant: int
    sentence: str
    query: str


CHECKS = (
    Check(1, "An obligation is on more than one live line.", BILLED_ONCE),
    Check(1, "A line is live on a void invoice, dead on another, or on none.", LIVE_UNLESS_VOID),
    Check(3, "An invoice's totals are not the sum of its lines.", TOTAL_IS_SUM_OF_LINES),
    Check(5, "A customer's invoice numbers are not one sequence.", NUMBERS_WITHOUT_GAPS),
    Check(6, "An hour's total is not the sum of its events.", TOTALS_ARE_THE_EVENTS),
    Check(6, "An hour's last value is not its last event's.", LAST_IS_THE_LAST_EVENT),
    Check(7, "Usage was billed before its period had ended.", NOT_BEFORE_PERIOD_END),
    Check(9, "A status has no event, or more than one.", STATUS_HAS_ITS_EVENT),
    Check(11, "An invoice is paid by more or less than its attempts.", PAID_BY_ITS_ATTEMPTS),
    Check(12, "Something is parked: it cannot be billed as it is.", PARKED),
)


def run(conn: Connection, check: Check) -> list[tuple[Any, ...]]:
    """The rows that break the invariant; none is how it should be."""
    return list(conn.execute(check.query.encode()))


@dataclass(frozen=True, slots=True)
class BilledLine(Line):
    """A finalized line that bills usage, with what it takes to rate it again from the events."""

    account_id: int = 0
    invoice_id: str = ""
    customer_id: str = ""
    events_sum: Decimal | None = None
    events_count: int = 0
    events_last: Decimal | None = None
    late_events: int = 0


BILLED_USAGE = """
WITH billed AS (
    SELECT l.account_id, l.invoice_id, l.obligation, i.customer_id, i.finalized_at, l.meter_id,
           l.period_start, l.period_end
      FROM invoice_lines l
      JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
     WHERE l.meter_id IS NOT NULL
       AND l.part = 0
       AND l.live
       AND l.period_end <= i.period_end
       AND i.status IN ('open', 'paid', 'uncollectible')
       AND (l.account_id, l.obligation) > (%(after_account)s, %(after_obligation)s)
     ORDER BY l.account_id, l.obligation
     LIMIT %(limit)s
)
SELECT l.account_id, l.invoice_id, b.customer_id, l.id, l.obligation, l.part, l.subscription_id,
       l.subscription_item_id, l.price_id, l.product_id, l.meter_id, l.period_start, l.period_end,
       l.quantity, l.unit_amount, l.tier, l.kind, l.amount, l.description, l.metadata,
       e.sum AS events_sum, e.count AS events_count, e.last AS events_last,
       e.late AS late_events
  FROM billed b
 CROSS JOIN LATERAL (
       SELECT sum(value) AS sum, count(*) AS count,
              (array_agg(value ORDER BY occurred_at DESC, reference DESC))[1] AS last,
              count(*) FILTER (WHERE received_at >= b.finalized_at - %(margin)s::interval) AS late
         FROM usage_events u
        WHERE u.account_id = b.account_id
          AND u.customer_id = b.customer_id
          AND u.meter_id = b.meter_id
          AND u.occurred_at >= b.period_start
          AND u.occurred_at < b.period_end
       ) AS e
  JOIN invoice_lines l
    ON l.account_id = b.account_id
   AND l.invoice_id = b.invoice_id
   AND l.obligation = b.obligation
 ORDER BY l.account_id, l.obligation, l.part
"""


def billed_usage(conn: Connection, after: tuple[int, str], *, limit: int) -> list[BilledLine]:
    """The lines of the next ``limit`` obligations that billed usage, after the one given.

    Late are also events that were received shortly before the invoice was final: they may have been
    stored just after it, or by a machine whose clock is a little behind.
    """
    parameters = {
        "after_account": after[0],
        "after_obligation": after[1],
        "limit": limit,
        "margin": MARGIN,
    }
    return fetch(conn, BilledLine, BILLED_USAGE, parameters)
