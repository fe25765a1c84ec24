"""The invariants as queries that should return no rows.

Each names the invariant of ``docs/invariants.md`` that it watches. Constraints and triggers make
most of these impossible; they are asked all the same, because a restored backup, a repaired row or
a future migration has not passed through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from postpaid.core.lines import Line
from postpaid.storage import (
    adjustment_checks,
    billed_usage_checks,
    credit_checks,
    ledger_checks,
    payment_checks,
    unit_credit_checks,
    usage_totals,
    webhook_checks,
)
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
  LEFT JOIN LATERAL (
       SELECT sum(value::bigint) AS taken,
              sum(value::bigint) FILTER (WHERE key = ANY(l.discount_ids)) AS own
         FROM json_each_text(l.discounts)
        WHERE l.discounts IS NOT NULL) AS d ON true
  LEFT JOIN LATERAL (
       SELECT sum(value::bigint) AS paid
         FROM json_each_text(l.credits)
        WHERE l.credits IS NOT NULL) AS c ON true
  LEFT JOIN LATERAL (
       SELECT sum((value ->> 'amount')::bigint) AS on_top
         FROM json_each(l.taxes)
        WHERE l.taxes IS NOT NULL
          AND NOT (value ->> 'inclusive')::boolean) AS t ON true
 GROUP BY i.account_id, i.id
HAVING i.subtotal <> coalesce(sum(l.amount - coalesce(d.own, 0)), 0)
    OR i.total <> coalesce(sum(l.amount - coalesce(d.taken, 0) - coalesce(c.paid, 0)
                               + coalesce(t.on_top, 0)), 0)
    OR i.amount_due <> greatest(0, i.total + i.starting_balance)
"""

NUMBERS_WITHOUT_GAPS = """
SELECT coalesce(c.account_id, i.account_id), coalesce(c.id, i.customer_id),
       c.next_invoice_sequence, count(i.id)
  FROM customers c
  FULL JOIN (SELECT account_id, id, customer_id, number
               FROM invoices
              WHERE numbered_by = 'customer') AS i
    ON i.account_id = c.account_id AND i.customer_id = c.id
 GROUP BY c.account_id, c.id, i.account_id, i.customer_id
HAVING c.id IS NULL
    OR c.next_invoice_sequence - c.first_invoice_sequence <> count(i.id)
    OR count(DISTINCT substring(i.number FROM '-([0-9]+)$')::bigint) <> count(i.id)
    OR max(substring(i.number FROM '-([0-9]+)$')::bigint) >= c.next_invoice_sequence
"""

ACCOUNTS_NUMBERS_WITHOUT_GAPS = """
SELECT a.account_id, a.next_invoice_sequence, count(i.id)
  FROM accounts a
  LEFT JOIN invoices i ON i.account_id = a.account_id AND i.numbered_by = 'account'
 GROUP BY a.account_id, a.next_invoice_sequence
HAVING a.next_invoice_sequence - 1 <> count(i.id)
    OR count(DISTINCT substring(i.number FROM '-([0-9]+)$')::bigint) <> count(i.id)
    OR max(substring(i.number FROM '-([0-9]+)$')::bigint) >= a.next_invoice_sequence
"""

NUMBERED_BY_SOMEONE = """
SELECT account_id, id, number, given_number
  FROM invoices
 WHERE finalized_at IS NOT NULL
   AND (numbered_by IS NULL) <> (number IS NOT DISTINCT FROM given_number)
"""

TOTALS_ARE_THE_EVENTS = """
WITH counted AS (
    SELECT series_id, date_trunc('hour', occurred_at, 'UTC') AS hour, sum(value) AS sum,
           count(*) AS count, max(value) AS max
      FROM usage_events
     WHERE counted
     GROUP BY 1, 2
)
SELECT s.account_id, s.customer_id, s.meter_id, hour, c.sum, h.sum
  FROM counted c
  FULL JOIN usage_hours h USING (series_id, hour)
  LEFT JOIN usage_series s USING (series_id)
  LEFT JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
 WHERE (coalesce(c.sum, 0) + coalesce(h.dropped_sum, 0),
        coalesce(c.count, 0) + coalesce(h.dropped_count, 0)) IS DISTINCT FROM (h.sum, h.count)
    OR (m.aggregation = 'max' AND c.max IS DISTINCT FROM h.max)
"""

LAST_IS_THE_LAST_EVENT = """
SELECT s.account_id, s.customer_id, s.meter_id, h.hour, h.last_reference, h.last_value, e.value
  FROM usage_hours h
  JOIN usage_series s ON s.series_id = h.series_id
  JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id AND m.aggregation = 'last'
  LEFT JOIN LATERAL (
       SELECT value, occurred_at, reference
         FROM usage_events
        WHERE series_id = h.series_id
          AND counted
          AND occurred_at >= h.hour
          AND occurred_at < h.hour + interval '1 hour'
        ORDER BY occurred_at DESC, reference DESC
        LIMIT 1) AS e ON true
 WHERE (e.value, e.occurred_at, e.reference)
       IS DISTINCT FROM (h.last_value, h.last_at, h.last_reference)
"""

# Where the events of an hour that a window cuts are dropped, nobody can tell any more.
WINDOWS_ARE_THEIR_HOURS = f"""
SELECT s.account_id, s.customer_id, s.meter_id, w.start_at, w.end_at, c.sum, w.sum
  FROM (SELECT k.series_id, k.start_at, k.end_at, k.sum, k.count, k.max, k.last_value, k.last_at,
               date_trunc('hour', k.start_at + interval '1 hour' - interval '1 microsecond', 'UTC')
                   AS first_hour,
               date_trunc('hour', k.end_at, 'UTC') AS last_hour
          FROM usage_windows k) AS w
  JOIN usage_series s ON s.series_id = w.series_id
  JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
 CROSS JOIN LATERAL ({usage_totals.COMPUTED}) AS c
 WHERE ((coalesce(c.sum, 0), coalesce(c.count, 0)) IS DISTINCT FROM (w.sum, w.count)
        OR (m.aggregation = 'max' AND c.max IS DISTINCT FROM w.max)
        OR (m.aggregation = 'last'
            AND (c.last_value, c.last_at) IS DISTINCT FROM (w.last_value, w.last_at)))
   AND NOT EXISTS (
       SELECT
         FROM usage_hours h
        WHERE h.series_id = w.series_id
          AND h.hour IN (date_trunc('hour', w.start_at, 'UTC'), w.last_hour)
          AND h.dropped_count > 0)
"""

REFERENCES_OF_INDEXED_SEGMENTS = """
SELECT e.account_id, e.segment, e.reference
  FROM usage_events e
  JOIN usage_segments g ON g.segment = e.segment AND g.status = 'indexed'
  LEFT JOIN usage_references r ON r.account_id = e.account_id AND r.reference = e.reference
 WHERE r.segment IS DISTINCT FROM e.segment
"""

NOT_BEFORE_PERIOD_END = """
SELECT l.account_id, l.invoice_id, l.obligation, l.period_end, i.created_at
  FROM invoice_lines l
  JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
 WHERE l.meter_id IS NOT NULL
   AND l.amount <> 0
   AND l.period_end > i.created_at
   AND i.billing_reason <> 'subscription_threshold'
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
   AND NOT EXISTS (  -- of an invoice as old as events that were deleted, its own may be gone too
           SELECT FROM retention_marks m
            WHERE m.account_id = i.account_id
              AND m.kind = 'events'
              AND substr(i.id, 4, 8) < substr(m.first_id, 5, 8))
"""

PARKED = """
SELECT account_id, id, closes_at, parked
  FROM subscriptions
 WHERE parked IS NOT NULL
 UNION ALL
SELECT account_id, id, finalizes_at, parked
  FROM invoices
 WHERE parked IS NOT NULL
 UNION ALL
SELECT account_id, id, due_at, parked
  FROM subscription_schedules
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
    Check(
        3,
        "An invoice's discounts or taxes are not those of its lines.",
        adjustment_checks.SUMS_ARE_THOSE_OF_LINES,
    ),
    Check(3, "More is taken off a line than it is.", adjustment_checks.DISCOUNTS_WITHIN_LINES),
    Check(23, "A discount for once is on two invoices.", adjustment_checks.ONCE_IS_ONCE),
    Check(
        23,
        "A coupon is not redeemed as often as it has discounts.",
        adjustment_checks.REDEEMED_AS_OFTEN_AS_THERE_ARE_DISCOUNTS,
    ),
    Check(5, "A customer's invoice numbers are not one sequence.", NUMBERS_WITHOUT_GAPS),
    Check(5, "An account's invoice numbers are not one sequence.", ACCOUNTS_NUMBERS_WITHOUT_GAPS),
    Check(5, "A number is from no sequence, and nobody gave it.", NUMBERED_BY_SOMEONE),
    Check(6, "An hour's total is not the sum of its events.", TOTALS_ARE_THE_EVENTS),
    Check(6, "An hour's last value is not its last event's.", LAST_IS_THE_LAST_EVENT),
    Check(6, "A window's total is not that of its hours and events.", WINDOWS_ARE_THEIR_HOURS),
    Check(6, "A sealed event's identifier is not taken.", REFERENCES_OF_INDEXED_SEGMENTS),
    Check(7, "Usage was billed before its period had ended.", NOT_BEFORE_PERIOD_END),
    Check(9, "A status has no event, or more than one.", STATUS_HAS_ITS_EVENT),
    Check(
        11,
        "An invoice is paid by more or less than its payments.",
        payment_checks.PAID_BY_THEIR_PAYMENTS,
    ),
    Check(
        11,
        "A payment intent received more or less than its attempts brought.",
        payment_checks.RECEIVED_BY_THEIR_ATTEMPTS,
    ),
    Check(
        11,
        "What was paid too much of an invoice is not what its payments left over.",
        payment_checks.OVERPAID_BY_THEIR_PAYMENTS,
    ),
    Check(
        11,
        "More or less of a charge went back than its refunds.",
        payment_checks.REFUNDED_BY_THEIR_REFUNDS,
    ),
    Check(
        33,
        "A credit note gives back more or less than its refunds.",
        payment_checks.NOTES_ARE_OF_THEIR_REFUNDS,
    ),
    Check(12, "Something is parked: it cannot be billed as it is.", PARKED),
    Check(29, "A ledger transaction does not balance.", ledger_checks.TRANSACTIONS_BALANCE),
    Check(30, "What is posted of an invoice is not it.", ledger_checks.INVOICES_ARE_POSTED),
    Check(30, "Receivable is not what is open.", ledger_checks.RECEIVABLE_IS_WHAT_IS_OPEN),
    Check(
        30,
        "Cash is not what came and went.",
        payment_checks.MONEY_IS_WHERE_IT_CAME_AND_WENT,
    ),
    Check(30, "Customer credit is not the balances.", ledger_checks.CREDIT_IS_THE_BALANCES),
    Check(30, "Credit granted is not what is left.", ledger_checks.GRANTS_ARE_WHAT_IS_LEFT),
    Check(31, "A balance is not its transactions.", credit_checks.BALANCES_ARE_THEIR_TRANSACTIONS),
    Check(31, "A balance does not follow.", credit_checks.BALANCES_FOLLOW_ONE_ANOTHER),
    Check(31, "A balance moved otherwise.", credit_checks.INVOICES_MOVED_THEIR_BALANCES),
    Check(32, "A grant is not its transactions.", credit_checks.GRANTS_ARE_THEIR_TRANSACTIONS),
    Check(32, "A grant paid otherwise.", credit_checks.LINES_ARE_PAID_BY_THEIR_GRANTS),
    Check(32, "Credit was not given back.", credit_checks.VOID_INVOICES_GAVE_CREDIT_BACK),
    Check(33, "Credit notes do not add up.", credit_checks.INVOICES_ARE_LOWERED_BY_THEIR_NOTES),
    Check(39, "A delivery waits for nothing.", webhook_checks.WAIT_FOR_AN_EARLIER_ONE),
    Check(
        42, "An event that is to be delivered is gone.", webhook_checks.PENDING_HAVE_THEIR_EVENTS
    ),
    Check(51, "Billed windows overlap.", billed_usage_checks.WINDOWS_NEVER_OVERLAP),
    Check(51, "A window is billed by no invoice.", billed_usage_checks.WINDOWS_ARE_BILLED),
    Check(
        52,
        "A window is not billed as its lines say.",
        billed_usage_checks.BILLINGS_ARE_THEIR_LINES,
    ),
    Check(53, "Units used are not what was drawn.", unit_credit_checks.CREDITS_ARE_THEIR_DRAWS),
    Check(53, "Units were not given back.", unit_credit_checks.DRAWS_ARE_OF_LIVE_INVOICES),
    Check(53, "Units paid for what they are not for.", unit_credit_checks.DRAWS_ARE_IN_TIME),
)


def run(conn: Connection, check: Check) -> list[tuple[Any, ...]]:
    """The rows that break the invariant; none is how it should be."""
    return list(conn.execute(check.query.encode()))


@dataclass(frozen=True)
class BilledLine(Line):
    """A finalized line that bills usage, with what it takes to rate it again from the events."""

    account_id: int = 0
    invoice_id: str = ""
    customer_id: str = ""
    usage_changed: bool = False


BILLED_USAGE = """
WITH billed AS (
    SELECT l.account_id, l.invoice_id, l.obligation, i.customer_id,
           coalesce(n.created_at, i.finalized_at) AS finalized_at, l.meter_id, l.period_start,
           l.period_end
      FROM invoice_lines l
      JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
      LEFT JOIN invoice_items n ON n.account_id = l.account_id AND n.id = l.invoice_item_id
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
       l.whole_seconds, c.usage_changed
  FROM billed b
 CROSS JOIN LATERAL (
       SELECT coalesce(bool_or(
                  EXISTS (
                      SELECT
                        FROM usage_events e
                       WHERE e.series_id = s.series_id
                         AND e.counted
                         AND e.occurred_at >= r.since
                         AND e.occurred_at < r.until
                         AND (e.received_at >= r.final OR e.backfill_id IS NOT NULL))
                  OR EXISTS (
                      SELECT
                        FROM usage_events e
                       WHERE e.series_id = s.series_id
                         AND NOT e.counted
                         AND e.occurred_at >= r.since
                         AND e.occurred_at < r.until
                         AND (e.received_at >= r.final OR e.canceled_at >= r.final
                              OR e.backfill_id IS NOT NULL))
                  OR EXISTS (
                      SELECT
                        FROM usage_backfill_series f
                       WHERE f.series_id = s.series_id
                         AND f.last_at >= r.since
                         AND f.first_at < r.until)
                  OR EXISTS (
                      SELECT
                        FROM usage_hours h
                       WHERE h.series_id = s.series_id
                         AND h.hour > b.period_start - interval '1 hour'
                         AND h.hour < b.period_end
                         AND h.dropped_count > 0)), false) AS usage_changed
         FROM usage_series s
         JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
        CROSS JOIN LATERAL (
              SELECT b.finalized_at - %(margin)s::interval AS final,
                     CASE WHEN m.aggregation IN ('time_weighted_sum', 'duration')
                          THEN '-infinity'::timestamptz
                          ELSE b.period_start - s2.spread
                     END AS since,
                     b.period_end + s2.spread AS until
                FROM (SELECT CASE WHEN m.event_time_window IS NULL THEN interval '0'
                                  ELSE interval '1 day' END AS spread) AS s2) AS r
        WHERE s.account_id = b.account_id
          AND s.customer_id = b.customer_id
          AND s.meter_id = b.meter_id
       ) AS c
  JOIN invoice_lines l
    ON l.account_id = b.account_id
   AND l.invoice_id = b.invoice_id
   AND l.obligation = b.obligation
 ORDER BY l.account_id, l.obligation, l.part
"""


def billed_usage(conn: Connection, after: tuple[int, str], *, limit: int) -> list[BilledLine]:
    """The lines of the next ``limit`` obligations that billed usage, after the one given.

    ``usage_changed`` tells whether the events can differ from those that were billed: some arrived
    late, were cancelled or filled in since, or are dropped. What an invoice item bills was settled
    when that was made, before its invoice was final. Late are also events that were received
    shortly before the invoice was final: they may have been stored just after it, or by a machine
    whose clock is a little behind. A level is carried in from any time before, and an event that
    supersedes another of its day may lie outside the period.
    """
    parameters = {
        "after_account": after[0],
        "after_obligation": after[1],
        "limit": limit,
        "margin": MARGIN,
    }
    return fetch(conn, BilledLine, BILLED_USAGE, parameters)
