"""Usage events, each counted once, and the totals of any window of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from postpaid.core.metering import NO_USAGE, UsageTotal
from postpaid.storage.database import Connection, fetch
from postpaid.storage.paging import Rows

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(slots=True)
class UsageColumns:
    """A batch of events as columns of equal length: no object per event on the way to the table."""

    references: list[str] = field(default_factory=list)
    meter_ids: list[str] = field(default_factory=list)
    customer_ids: list[str] = field(default_factory=list)
    occurred_ats: list[datetime] = field(default_factory=list)
    values: list[Decimal] = field(default_factory=list)
    payloads: list[str | None] = field(default_factory=list)
    received_ats: list[datetime] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.references)


# One statement stores the events and rolls up those that are new. References and totals are each
# taken in order, so that two batches wait for one another and never deadlock.
INSERT = """
WITH stored AS (
    INSERT INTO usage_events (account_id, reference, meter_id, customer_id, occurred_at, value,
                              payload, received_at)
    SELECT %(account_id)s, reference, meter_id, customer_id, occurred_at, value, payload,
           received_at
      FROM unnest(%(references)s::text[], %(meter_ids)s::text[], %(customer_ids)s::text[],
                  %(occurred_ats)s::timestamptz(3)[], %(values)s::numeric[],
                  %(payloads)s::json[], %(received_ats)s::timestamptz[])
           WITH ORDINALITY
           AS u (reference, meter_id, customer_id, occurred_at, value, payload, received_at, place)
     ORDER BY reference COLLATE "C", place
        ON CONFLICT ON CONSTRAINT usage_events_reference_once DO NOTHING
    RETURNING reference, meter_id, customer_id, occurred_at, value
), rolled_up AS (
    INSERT INTO usage_hours AS h (account_id, customer_id, meter_id, hour, sum, count,
                                  last_value, last_at, last_reference)
    SELECT %(account_id)s, customer_id, meter_id, date_trunc('hour', occurred_at, 'UTC'),
           sum(value), count(*),
           (array_agg(value ORDER BY occurred_at DESC, reference DESC))[1],
           max(occurred_at),
           (array_agg(reference ORDER BY occurred_at DESC, reference DESC))[1]
      FROM stored
     GROUP BY customer_id, meter_id, date_trunc('hour', occurred_at, 'UTC')
     ORDER BY 2, 3, 4
        ON CONFLICT (account_id, customer_id, meter_id, hour) DO UPDATE
       SET sum = h.sum + excluded.sum,
           count = h.count + excluded.count,
           last_value = CASE WHEN (excluded.last_at, excluded.last_reference)
                                > (h.last_at, h.last_reference)
                             THEN excluded.last_value ELSE h.last_value END,
           last_reference = CASE WHEN (excluded.last_at, excluded.last_reference)
                                    > (h.last_at, h.last_reference)
                                 THEN excluded.last_reference ELSE h.last_reference END,
           last_at = greatest(h.last_at, excluded.last_at)
)
SELECT reference
  FROM stored
"""


def insert_many(conn: Connection, account_id: int, events: UsageColumns) -> set[str]:
    """Store the events whose reference is new and add them to the totals; return the references.

    Of a reference that comes twice in the batch, the first is stored.
    """
    rows = conn.execute(
        INSERT,
        {
            "account_id": account_id,
            "references": events.references,
            "meter_ids": events.meter_ids,
            "customer_ids": events.customer_ids,
            "occurred_ats": events.occurred_ats,
            "values": events.values,
            "payloads": events.payloads,
            "received_ats": events.received_ats,
        },
    )
    return {row[0] for row in rows}


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """A stored event."""

    reference: str
    meter_id: str
    customer_id: str
    occurred_at: datetime
    value: Decimal


LOAD = """
SELECT reference, meter_id, customer_id, occurred_at, value
  FROM usage_events
 WHERE account_id = %(account_id)s
   AND reference = ANY(%(references)s)
"""


def load(conn: Connection, account_id: int, references: Sequence[str]) -> dict[str, UsageEvent]:
    """The stored events with these references."""
    parameters = {"account_id": account_id, "references": list(references)}
    return {row.reference: row for row in fetch(conn, UsageEvent, LOAD, parameters)}


@dataclass(frozen=True, slots=True)
class Window:
    """One customer's usage of one meter in ``[start, end)``, with any boundaries."""

    customer_id: str
    meter_id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _WindowTotal(UsageTotal):
    position: int = 0


# Whole hours come from the totals, the two partial hours at the edges from the events.
TOTALS = """
WITH windows AS (
    SELECT customer_id, meter_id, start_at, end_at, position,
           date_trunc('hour', start_at + interval '1 hour' - interval '1 microsecond', 'UTC')
               AS first_hour,
           date_trunc('hour', end_at, 'UTC') AS last_hour
      FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[], %(starts)s::timestamptz[],
                  %(ends)s::timestamptz[])
           WITH ORDINALITY AS w (customer_id, meter_id, start_at, end_at, position)
)
SELECT w.position, sum(p.sum) AS sum, sum(p.count)::bigint AS count,
       (array_agg(p.last_value ORDER BY p.last_at DESC, p.last_reference DESC))[1] AS last_value,
       max(p.last_at) AS last_at
  FROM windows w
 CROSS JOIN LATERAL (
       SELECT h.sum, h.count, h.last_value, h.last_at, h.last_reference
         FROM usage_hours h
        WHERE h.account_id = %(account_id)s
          AND h.customer_id = w.customer_id
          AND h.meter_id = w.meter_id
          AND h.hour >= w.first_hour
          AND h.hour < w.last_hour
       UNION ALL
       SELECT e.value, 1, e.value, e.occurred_at, e.reference
         FROM usage_events e
        WHERE e.account_id = %(account_id)s
          AND e.customer_id = w.customer_id
          AND e.meter_id = w.meter_id
          AND e.occurred_at >= w.start_at
          AND e.occurred_at < least(w.first_hour, w.end_at)
       UNION ALL
       SELECT e.value, 1, e.value, e.occurred_at, e.reference
         FROM usage_events e
        WHERE e.account_id = %(account_id)s
          AND e.customer_id = w.customer_id
          AND e.meter_id = w.meter_id
          AND e.occurred_at >= greatest(w.last_hour, w.first_hour)
          AND e.occurred_at < w.end_at
       ) AS p
 GROUP BY w.position
"""


def totals(conn: Connection, account_id: int, windows: Sequence[Window]) -> list[UsageTotal]:
    """The exact total of each window, in the order asked for, in one statement."""
    if not windows:
        return []
    parameters = {
        "account_id": account_id,
        "customer_ids": [window.customer_id for window in windows],
        "meter_ids": [window.meter_id for window in windows],
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }
    found: list[UsageTotal] = [NO_USAGE] * len(windows)
    for row in fetch(conn, _WindowTotal, TOTALS, parameters):
        found[row.position - 1] = UsageTotal(row.sum, row.count, row.last_value, row.last_at)
    return found


TOTALS_BY_STEP = """
SELECT start_at, sum, count, last_value, last_at
  FROM (SELECT date_trunc(%(step)s, hour, 'UTC') AS start_at, sum(sum) AS sum,
               sum(count)::bigint AS count,
               (array_agg(last_value ORDER BY last_at DESC, last_reference DESC))[1] AS last_value,
               max(last_at) AS last_at
          FROM usage_hours
         WHERE account_id = %(account_id)s
           AND customer_id = %(customer_id)s
           AND meter_id = %(meter_id)s
           AND hour >= greatest(%(start)s::timestamptz, %(after)s::timestamptz + %(length)s)
           AND hour < least(%(end)s::timestamptz, %(before)s::timestamptz)
         GROUP BY 1
         ORDER BY CASE WHEN %(after)s::timestamptz IS NOT NULL
                       THEN date_trunc(%(step)s, hour, 'UTC') END ASC,
                  1 DESC
         LIMIT %(limit)s) AS page
 ORDER BY start_at DESC
"""


def totals_by_step(
    conn: Connection,
    account_id: int,
    window: Window,
    *,
    step: Literal["hour", "day"],
    limit: int,
    before: datetime | None = None,
    after: datetime | None = None,
) -> Rows[tuple[datetime, UsageTotal]]:
    """The totals of the UTC hours or days of the window that have usage, newest first.

    The window's ends are such boundaries themselves. ``before`` and ``after`` continue a list at
    the start of the step where it stopped.
    """
    parameters = {
        "account_id": account_id,
        "customer_id": window.customer_id,
        "meter_id": window.meter_id,
        "start": window.start,
        "end": window.end,
        "step": step,
        "length": STEPS[step],
        "before": before,
        "after": after,
        "limit": limit + 1,
    }
    found = [
        (start_at, UsageTotal(total, count, last_value, last_at))
        for start_at, total, count, last_value, last_at in conn.execute(TOTALS_BY_STEP, parameters)
    ]
    extra = len(found) > limit
    if extra:
        found = found[1:] if after is not None else found[:limit]
    return Rows(found, has_more=extra)
