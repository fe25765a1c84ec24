"""Events whose count changes after they were stored: cancelled, superseded, filled in, taken back.

Each function flips the flags and says what it flipped; the totals are the caller's to move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.storage.database import Connection, fetch
from postpaid.storage.usage import number_array, text_array
from postpaid.storage.usage_totals import COMPUTED


@dataclass(frozen=True, slots=True)
class Flipped:
    """A stored event that began to count, or ceased to."""

    series_id: int
    occurred_ms: int
    value: Decimal
    reference: str
    counted: bool  # now


CANCEL = """
WITH before AS (
    SELECT segment, account_id, reference, counted
      FROM usage_events
     WHERE account_id = %(account_id)s
       AND segment IN (SELECT segment FROM usage_segments)
       AND reference = ANY(%(references)s::text[])
       AND canceled_at IS NULL
     ORDER BY reference
       FOR UPDATE
), changed AS (
    UPDATE usage_events e
       SET counted = false, canceled_at = %(canceled_at)s
      FROM before b
     WHERE e.segment = b.segment
       AND e.account_id = b.account_id
       AND e.reference = b.reference
    RETURNING e.series_id, (extract(epoch FROM e.occurred_at) * 1000)::bigint AS occurred_ms,
              e.value, e.reference, b.counted AS before
)
SELECT series_id, occurred_ms, value, reference, false AS counted
  FROM changed
 WHERE before
"""


def cancel(
    conn: Connection, account_id: int, references: Iterable[str], *, canceled_at: datetime
) -> list[Flipped]:
    """Mark events as cancelled, for good; return those that had counted."""
    parameters = {
        "account_id": account_id,
        "references": text_array(references),
        "canceled_at": canceled_at,
    }
    return fetch(conn, Flipped, CANCEL, parameters)


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """An hour or a day of a series of which only the event that arrived last counts."""

    series_id: int
    start_ms: int
    end_ms: int


SUPERSEDE = """
WITH buckets AS (
    SELECT series_id, 'epoch'::timestamptz + start_ms * interval '1 millisecond' AS start_at,
           'epoch'::timestamptz + end_ms * interval '1 millisecond' AS end_at, arrived
      FROM unnest(%(series_ids)s::bigint[], %(starts)s::bigint[], %(ends)s::bigint[],
                  %(arrived)s::text[])
           AS u (series_id, start_ms, end_ms, arrived)
), standing AS (
    SELECT c.segment, c.account_id, c.reference, false AS last
      FROM buckets b
      JOIN usage_events c
        ON c.series_id = b.series_id
       AND c.counted
       AND c.occurred_at >= b.start_at
       AND c.occurred_at < b.end_at
     UNION ALL
    SELECT n.segment, n.account_id, n.reference, true
      FROM buckets b
      JOIN usage_events n
        ON n.segment = (SELECT segment FROM usage_segments WHERE status = 'open')
       AND n.account_id = %(account_id)s
       AND n.reference = b.arrived
)
UPDATE usage_events e
   SET counted = s.last
  FROM standing s
 WHERE e.segment = s.segment
   AND e.account_id = s.account_id
   AND e.reference = s.reference
RETURNING e.series_id, (extract(epoch FROM e.occurred_at) * 1000)::bigint AS occurred_ms, e.value,
          e.reference, e.counted
"""


def supersede(conn: Connection, account_id: int, arrived: dict[Bucket, str]) -> list[Flipped]:
    """Let the events that have just arrived count, by bucket, and what counted before no more.

    The caller has locked the series and stored the events.
    """
    return fetch(
        conn,
        Flipped,
        SUPERSEDE,
        {
            "account_id": account_id,
            "series_ids": number_array(bucket.series_id for bucket in arrived),
            "starts": number_array(bucket.start_ms for bucket in arrived),
            "ends": number_array(bucket.end_ms for bucket in arrived),
            "arrived": text_array(arrived.values()),
        },
    )


SETTLE = """
WITH buckets AS (
    SELECT series_id, 'epoch'::timestamptz + start_ms * interval '1 millisecond' AS start_at,
           'epoch'::timestamptz + end_ms * interval '1 millisecond' AS end_at
      FROM unnest(%(series_ids)s::bigint[], %(starts)s::bigint[], %(ends)s::bigint[])
           AS u (series_id, start_ms, end_ms)
), standing AS (
    SELECT e.segment, e.account_id, e.reference, e.counted,
           row_number() OVER (PARTITION BY b.series_id, b.start_at ORDER BY e.arrival DESC) = 1
               AS last
      FROM buckets b
     CROSS JOIN LATERAL (
           SELECT c.segment, c.account_id, c.reference, c.counted, c.arrival
             FROM usage_events c
            WHERE c.series_id = b.series_id
              AND c.counted
              AND c.occurred_at >= b.start_at
              AND c.occurred_at < b.end_at
            UNION ALL
           SELECT u.segment, u.account_id, u.reference, u.counted, u.arrival
             FROM usage_events u
            WHERE u.series_id = b.series_id
              AND NOT u.counted
              AND u.canceled_at IS NULL
              AND u.occurred_at >= b.start_at
              AND u.occurred_at < b.end_at) AS e
)
UPDATE usage_events e
   SET counted = s.last
  FROM standing s
 WHERE e.segment = s.segment
   AND e.account_id = s.account_id
   AND e.reference = s.reference
   AND s.counted <> s.last
RETURNING e.series_id, (extract(epoch FROM e.occurred_at) * 1000)::bigint AS occurred_ms, e.value,
          e.reference, e.counted
"""


def settle(conn: Connection, buckets: Sequence[Bucket]) -> list[Flipped]:
    """Let the event that arrived last in each bucket count, and no other, after one was cancelled.

    The caller has locked the series.
    """
    return fetch(
        conn,
        Flipped,
        SETTLE,
        {
            "series_ids": number_array(bucket.series_id for bucket in buckets),
            "starts": number_array(bucket.start_ms for bucket in buckets),
            "ends": number_array(bucket.end_ms for bucket in buckets),
        },
    )


# ─── Totals that cannot be subtracted from ───────────────────────────────────────────────────

RECOMPUTE_HOURS = """
UPDATE usage_hours h
   SET max = CASE WHEN h.max IS NULL THEN NULL ELSE c.max END,
       last_value = CASE WHEN h.last_at IS NULL THEN NULL ELSE c.last_value END,
       last_at = CASE WHEN h.last_at IS NULL THEN NULL ELSE c.last_at END,
       last_reference = CASE WHEN h.last_at IS NULL THEN NULL ELSE c.last_reference END
  FROM unnest(%(series_ids)s::bigint[], %(hours)s::bigint[]) AS u (series_id, number)
 CROSS JOIN LATERAL (
       SELECT 'epoch'::timestamptz + u.number * interval '1 hour' AS hour
       ) AS at
 CROSS JOIN LATERAL (
       SELECT max(e.value) AS max, max(e.occurred_at) AS last_at,
              (array_agg(e.value ORDER BY e.occurred_at DESC, e.reference DESC))[1] AS last_value,
              (array_agg(e.reference ORDER BY e.occurred_at DESC, e.reference DESC))[1]
                  AS last_reference
         FROM usage_events e
        WHERE e.series_id = u.series_id
          AND e.counted
          AND e.occurred_at >= at.hour
          AND e.occurred_at < at.hour + interval '1 hour'
       ) AS c
 WHERE h.series_id = u.series_id
   AND h.hour = at.hour
"""

RECOMPUTE_WINDOWS = f"""
UPDATE usage_windows k
   SET max = CASE WHEN k.max IS NULL THEN NULL ELSE c.max END,
       last_value = CASE WHEN k.last_at IS NULL THEN NULL ELSE c.last_value END,
       last_at = CASE WHEN k.last_at IS NULL THEN NULL ELSE c.last_at END,
       last_reference = CASE WHEN k.last_at IS NULL THEN NULL ELSE c.last_reference END
  FROM (SELECT DISTINCT o.series_id, o.start_at, o.end_at,
               date_trunc('hour', o.start_at + interval '1 hour' - interval '1 microsecond', 'UTC')
                   AS first_hour,
               date_trunc('hour', o.end_at, 'UTC') AS last_hour
          FROM unnest(%(series_ids)s::bigint[], %(hours)s::bigint[]) AS u (series_id, number)
          JOIN usage_windows o
            ON o.series_id = u.series_id
           AND o.start_at < 'epoch'::timestamptz + (u.number + 1) * interval '1 hour'
           AND o.end_at > 'epoch'::timestamptz + u.number * interval '1 hour') AS w
 CROSS JOIN LATERAL ({COMPUTED}) AS c
 WHERE k.series_id = w.series_id
   AND k.start_at = w.start_at
   AND k.end_at = w.end_at
"""


def recompute(conn: Connection, series_hours: Iterable[tuple[int, int]]) -> None:
    """The maximum and the last value of these hours, and of their windows, from the events left.

    The rows are the caller's already: it has taken sums and counts out of them.
    """
    pairs = list(series_hours)
    parameters = {
        "series_ids": number_array(series_id for series_id, _ in pairs),
        "hours": number_array(hour for _, hour in pairs),
    }
    conn.execute(RECOMPUTE_HOURS, parameters)
    conn.execute(RECOMPUTE_WINDOWS, parameters)
