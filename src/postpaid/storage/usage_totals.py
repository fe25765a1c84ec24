"""What usage adds up to: totals by UTC hour, totals of the windows that are billed, and any other.

Both are kept by the transaction that stores the events, so a window that is billed is one row. Only
counted events are in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from postpaid.core.metering import NO_USAGE, UsageTotal
from postpaid.storage.database import Connection, fetch
from postpaid.storage.paging import Rows
from postpaid.storage.usage import ALERT_AT_ONCE, nullable_array, number_array, text_array

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Window:
    """One customer's usage of one meter in ``[start, end)``, with any boundaries."""

    customer_id: str
    meter_id: str
    start: datetime
    end: datetime


# ─── Adding ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Delta:
    """What some events add to a total. Without ``last_ms`` and ``max`` there was no need of them.

    Negative ``count`` and ``sum`` take events out.
    """

    sum: Decimal = Decimal(0)
    count: int = 0
    max: Decimal | None = None
    last_value: Decimal | None = None
    last_ms: int | None = None
    last_reference: str | None = None

    def add(self, other: Delta) -> None:
        self.sum += other.sum
        self.count += other.count
        if other.max is not None and (self.max is None or other.max > self.max):
            self.max = other.max
        if other.last_ms is not None and other.last_reference is not None:
            self.see_last(other.last_ms, other.last_reference, other.last_value)

    def see_last(self, ms: int, reference: str, value: Decimal | None) -> None:
        """Of two events at one instant, the one with the greater reference is the last."""
        if self.last_ms is None or (ms, reference) > (self.last_ms, self.last_reference or ""):
            self.last_ms, self.last_reference, self.last_value = ms, reference, value


ADD_TO_HOURS = """
INSERT INTO usage_hours AS h (series_id, hour, sum, count, max, last_value, last_at, last_reference)
SELECT u.series_id, 'epoch'::timestamptz + u.hour * interval '1 hour', u.sum, u.count, u.max,
       u.last_value, 'epoch'::timestamptz + u.last_ms * interval '1 millisecond', u.last_reference
  FROM unnest(%(series_ids)s::bigint[], %(hours)s::bigint[], %(sums)s::numeric[],
              %(counts)s::bigint[], %(maxima)s::numeric[], %(last_values)s::numeric[],
              %(last_ms)s::bigint[], %(last_references)s::text[])
       AS u (series_id, hour, sum, count, max, last_value, last_ms, last_reference)
 ORDER BY 1, 2
    ON CONFLICT (series_id, hour) DO UPDATE
   SET sum = h.sum + excluded.sum,
       count = h.count + excluded.count,
       max = greatest(h.max, excluded.max),
       (last_value, last_at, last_reference) = (
           SELECT n.value, n.at, n.reference
             FROM (VALUES (h.last_value, h.last_at, h.last_reference),
                          (excluded.last_value, excluded.last_at, excluded.last_reference))
                  AS n (value, at, reference)
            ORDER BY n.at DESC NULLS LAST, n.reference DESC
            LIMIT 1)
"""

# The same for aggregations that need sum and count alone, which are nearly all.
ADD_SUMS_TO_HOURS = """
INSERT INTO usage_hours AS h (series_id, hour, sum, count)
SELECT u.series_id, 'epoch'::timestamptz + u.hour * interval '1 hour', u.sum, u.count
  FROM unnest(%(series_ids)s::bigint[], %(hours)s::bigint[], %(sums)s::numeric[],
              %(counts)s::bigint[])
       AS u (series_id, hour, sum, count)
 ORDER BY 1, 2
    ON CONFLICT (series_id, hour) DO UPDATE
   SET sum = h.sum + excluded.sum, count = h.count + excluded.count
"""


def add_to_hours(conn: Connection, deltas: dict[tuple[int, int], Delta]) -> None:
    """Add to the totals by series and hour (since the epoch)."""
    whole = any(delta.last_ms is not None or delta.max is not None for delta in deltas.values())
    parameters = {
        "series_ids": number_array(series_id for series_id, _ in deltas),
        "hours": number_array(hour for _, hour in deltas),
        **_parameters(list(deltas.values()), whole=whole),
    }
    conn.execute(ADD_TO_HOURS if whole else ADD_SUMS_TO_HOURS, parameters)


OVERLAPPING = """
SELECT series_id, (extract(epoch FROM start_at) * 1000)::bigint,
       (extract(epoch FROM end_at) * 1000)::bigint
  FROM usage_windows
 WHERE series_id = ANY(%(series_ids)s::bigint[])
   AND end_at > 'epoch'::timestamptz + %(first_ms)s * interval '1 millisecond'
   AND start_at <= 'epoch'::timestamptz + %(last_ms)s * interval '1 millisecond'
"""


def overlapping(
    conn: Connection, series_ids: Iterable[int], first_ms: int, last_ms: int
) -> list[tuple[int, int, int]]:
    """The open windows of the series that may contain an event from ``first_ms`` to ``last_ms``.

    Each as series, start and end, in milliseconds.
    """
    rows = conn.execute(
        OVERLAPPING,
        {"series_ids": number_array(series_ids), "first_ms": first_ms, "last_ms": last_ms},
    )
    return rows.fetchall()


ADD_TO_WINDOWS = """
WITH added AS (
    INSERT INTO usage_windows AS w (series_id, start_at, end_at, sum, count, max, last_value,
                                    last_at, last_reference)
    SELECT u.series_id, 'epoch'::timestamptz + u.start_ms * interval '1 millisecond',
           'epoch'::timestamptz + u.end_ms * interval '1 millisecond', u.sum, u.count, u.max,
           u.last_value, 'epoch'::timestamptz + u.last_ms * interval '1 millisecond',
           u.last_reference
      FROM unnest(%(series_ids)s::bigint[], %(starts)s::bigint[], %(ends)s::bigint[],
                  %(sums)s::numeric[], %(counts)s::bigint[], %(maxima)s::numeric[],
                  %(last_values)s::numeric[], %(last_ms)s::bigint[], %(last_references)s::text[])
           AS u (series_id, start_ms, end_ms, sum, count, max, last_value, last_ms, last_reference)
     ORDER BY 1, 2, 3
        ON CONFLICT (series_id, start_at, end_at) DO UPDATE
       SET sum = w.sum + excluded.sum,
           count = w.count + excluded.count,
           max = greatest(w.max, excluded.max),
           (last_value, last_at, last_reference) = (
               SELECT n.value, n.at, n.reference
                 FROM (VALUES (w.last_value, w.last_at, w.last_reference),
                              (excluded.last_value, excluded.last_at, excluded.last_reference))
                      AS n (value, at, reference)
                ORDER BY n.at DESC NULLS LAST, n.reference DESC
                LIMIT 1)
    RETURNING series_id, start_at, end_at, sum, count, max, last_value, last_at, alert_at
)
SELECT series_id, start_at, end_at, sum, count, last_value, last_at, max, alert_at
  FROM added
 WHERE alert_at IS NOT NULL
"""

ADD_SUMS_TO_WINDOWS = """
WITH added AS (
    INSERT INTO usage_windows AS w (series_id, start_at, end_at, sum, count)
    SELECT u.series_id, 'epoch'::timestamptz + u.start_ms * interval '1 millisecond',
           'epoch'::timestamptz + u.end_ms * interval '1 millisecond', u.sum, u.count
      FROM unnest(%(series_ids)s::bigint[], %(starts)s::bigint[], %(ends)s::bigint[],
                  %(sums)s::numeric[], %(counts)s::bigint[])
           AS u (series_id, start_ms, end_ms, sum, count)
     ORDER BY 1, 2, 3
        ON CONFLICT (series_id, start_at, end_at) DO UPDATE
       SET sum = w.sum + excluded.sum, count = w.count + excluded.count
    RETURNING series_id, start_at, end_at, sum, count, max, last_value, last_at, alert_at
)
SELECT series_id, start_at, end_at, sum, count, last_value, last_at, max, alert_at
  FROM added
 WHERE alert_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A window that grew and has alerts to look for, with its new total; its row is ours."""

    series_id: int
    start_at: datetime
    end_at: datetime
    sum: Decimal
    count: int
    last_value: Decimal | None
    last_at: datetime | None
    max: Decimal | None
    alert_at: Decimal

    @property
    def total(self) -> UsageTotal:
        return UsageTotal(self.sum, self.count, self.last_value, self.last_at, self.max)


def add_to_windows(conn: Connection, deltas: dict[tuple[int, int, int], Delta]) -> list[Watched]:
    """Add to open windows, by series, start and end in ms; return those that alerts wait for."""
    if not deltas:
        return []
    whole = any(delta.last_ms is not None or delta.max is not None for delta in deltas.values())
    parameters = {
        "series_ids": number_array(window[0] for window in deltas),
        "starts": number_array(window[1] for window in deltas),
        "ends": number_array(window[2] for window in deltas),
        **_parameters(list(deltas.values()), whole=whole),
    }
    query = ADD_TO_WINDOWS if whole else ADD_SUMS_TO_WINDOWS
    return fetch(conn, Watched, query, parameters)


def _parameters(deltas: Sequence[Delta], *, whole: bool) -> dict[str, str]:
    parameters = {
        "sums": number_array(delta.sum for delta in deltas),
        "counts": number_array(delta.count for delta in deltas),
    }
    if whole:
        parameters |= {
            "maxima": nullable_array(delta.max for delta in deltas),
            "last_values": nullable_array(delta.last_value for delta in deltas),
            "last_ms": nullable_array(delta.last_ms for delta in deltas),
            "last_references": text_array(delta.last_reference for delta in deltas),
        }
    return parameters


# ─── Windows ─────────────────────────────────────────────────────────────────────────────────

OPEN = """
INSERT INTO usage_windows (series_id, start_at, end_at, alert_at)
SELECT s.series_id, u.start_at, u.end_at, %(alert_at)s
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[], %(starts)s::timestamptz[],
              %(ends)s::timestamptz[])
       AS u (customer_id, meter_id, start_at, end_at)
  JOIN usage_series s
    ON s.account_id = %(account_id)s
   AND s.customer_id = u.customer_id
   AND s.meter_id = u.meter_id
 ORDER BY 1, 2, 3
    ON CONFLICT (series_id, start_at, end_at) DO UPDATE
   SET alert_at = excluded.alert_at
"""


def open_empty(conn: Connection, account_id: int, windows: Sequence[Window]) -> None:
    """Open windows in which nothing can have been used yet, of series that exist."""
    if not windows:
        return
    windows = list(dict.fromkeys(windows))
    conn.execute(
        OPEN,
        {
            "account_id": account_id,
            "customer_ids": text_array(window.customer_id for window in windows),
            "meter_ids": text_array(window.meter_id for window in windows),
            "starts": [window.start for window in windows],
            "ends": [window.end for window in windows],
            "alert_at": ALERT_AT_ONCE,
        },
    )


# Whole hours come from the totals, the two partial hours at the edges from the events.
COMPUTED = """
       SELECT sum(p.sum) AS sum, sum(p.count)::bigint AS count, max(p.max) AS max,
              (array_agg(p.last_value ORDER BY p.last_at DESC NULLS LAST, p.last_reference DESC))[1]
                  AS last_value,
              max(p.last_at) AS last_at,
              (array_agg(p.last_reference
                         ORDER BY p.last_at DESC NULLS LAST, p.last_reference DESC))[1]
                  AS last_reference
         FROM (SELECT h.sum, h.count, h.max, h.last_value, h.last_at, h.last_reference
                 FROM usage_hours h
                WHERE h.series_id = w.series_id
                  AND h.hour >= w.first_hour
                  AND h.hour < w.last_hour
                UNION ALL
               SELECT e.value, 1, e.value, e.value, e.occurred_at, e.reference
                 FROM usage_events e
                WHERE e.series_id = w.series_id
                  AND e.counted
                  AND e.occurred_at >= w.start_at
                  AND e.occurred_at < least(w.first_hour, w.end_at)
                UNION ALL
               SELECT e.value, 1, e.value, e.value, e.occurred_at, e.reference
                 FROM usage_events e
                WHERE e.series_id = w.series_id
                  AND e.counted
                  AND e.occurred_at >= greatest(w.last_hour, w.first_hour)
                  AND e.occurred_at < w.end_at) AS p
"""

ASKED = """
WITH asked AS (
    SELECT u.place, s.series_id, u.start_at, u.end_at,
           date_trunc('hour', u.start_at + interval '1 hour' - interval '1 microsecond', 'UTC')
               AS first_hour,
           date_trunc('hour', u.end_at, 'UTC') AS last_hour
      FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[], %(starts)s::timestamptz[],
                  %(ends)s::timestamptz[])
           WITH ORDINALITY AS u (customer_id, meter_id, start_at, end_at, place)
      JOIN usage_series s
        ON s.account_id = %(account_id)s
       AND s.customer_id = u.customer_id
       AND s.meter_id = u.meter_id
)
"""

OPEN_COMPUTED = f"""
{ASKED}
INSERT INTO usage_windows (series_id, start_at, end_at, sum, count, max, last_value, last_at,
                           last_reference, alert_at)
SELECT w.series_id, w.start_at, w.end_at, coalesce(c.sum, 0), coalesce(c.count, 0), c.max,
       c.last_value, c.last_at, c.last_reference, %(alert_at)s
  FROM asked w
 CROSS JOIN LATERAL ({COMPUTED}) AS c
 ORDER BY 1, 2, 3
    ON CONFLICT (series_id, start_at, end_at) DO UPDATE
   SET alert_at = excluded.alert_at
"""


def open_computed(conn: Connection, account_id: int, windows: Sequence[Window]) -> None:
    """Open windows over usage that may be there already; the caller has ``usage.hold_alone``."""
    if windows:
        windows = list(dict.fromkeys(windows))
        conn.execute(OPEN_COMPUTED, _asked(account_id, windows) | {"alert_at": ALERT_AT_ONCE})


@dataclass(frozen=True, slots=True)
class _WindowTotal(UsageTotal):
    place: int = 0


OPEN_TOTALS = """
SELECT u.place, k.sum, k.count, k.last_value, k.last_at, k.max
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[], %(starts)s::timestamptz[],
              %(ends)s::timestamptz[])
       WITH ORDINALITY AS u (customer_id, meter_id, start_at, end_at, place)
  JOIN usage_series s
    ON s.account_id = %(account_id)s
   AND s.customer_id = u.customer_id
   AND s.meter_id = u.meter_id
  JOIN usage_windows k
    ON k.series_id = s.series_id AND k.start_at = u.start_at AND k.end_at = u.end_at
"""

COMPUTED_TOTALS = f"""
{ASKED}
SELECT w.place, c.sum, c.count, c.last_value, c.last_at, c.max
  FROM asked w
 CROSS JOIN LATERAL ({COMPUTED}) AS c
 WHERE c.count > 0
"""


def totals(conn: Connection, account_id: int, windows: Sequence[Window]) -> list[UsageTotal]:
    """The exact total of each window, in the order asked for, in two statements at most.

    A window that is open is one row; any other is summed from its hours, and at its edges from the
    events.
    """
    if not windows:
        return []
    found: list[UsageTotal | None] = [None] * len(windows)
    for row in fetch(conn, _WindowTotal, OPEN_TOTALS, _asked(account_id, windows)):
        found[row.place - 1] = _total(row)
    others = [place for place, total in enumerate(found) if total is None]
    if others:
        asked = _asked(account_id, [windows[place] for place in others])
        for row in fetch(conn, _WindowTotal, COMPUTED_TOTALS, asked):
            found[others[row.place - 1]] = _total(row)
    return [total or NO_USAGE for total in found]


def _total(row: _WindowTotal) -> UsageTotal:
    if not row.count:
        return NO_USAGE
    return UsageTotal(row.sum, row.count, row.last_value, row.last_at, row.max)


def _asked(account_id: int, windows: Sequence[Window]) -> dict[str, object]:
    return {
        "account_id": account_id,
        "customer_ids": text_array(window.customer_id for window in windows),
        "meter_ids": text_array(window.meter_id for window in windows),
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }


TOTALS_BY_STEP = """
SELECT start_at, sum, count, last_value, last_at, max
  FROM (SELECT date_trunc(%(step)s, h.hour, 'UTC') AS start_at, sum(h.sum) AS sum,
               sum(h.count)::bigint AS count,
               (array_agg(h.last_value
                          ORDER BY h.last_at DESC NULLS LAST, h.last_reference DESC))[1]
                   AS last_value,
               max(h.last_at) AS last_at, max(h.max) AS max
          FROM usage_hours h
          JOIN usage_series s ON s.series_id = h.series_id
         WHERE s.account_id = %(account_id)s
           AND s.customer_id = %(customer_id)s
           AND s.meter_id = %(meter_id)s
           AND h.hour >= greatest(%(start)s::timestamptz, %(after)s::timestamptz + %(length)s)
           AND h.hour < least(%(end)s::timestamptz, %(before)s::timestamptz)
         GROUP BY 1
        HAVING sum(h.count) > 0
         ORDER BY CASE WHEN %(after)s::timestamptz IS NOT NULL
                       THEN date_trunc(%(step)s, h.hour, 'UTC') END ASC,
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
        (start_at, UsageTotal(total, count, last_value, last_at, greatest))
        for start_at, total, count, last_value, last_at, greatest in conn.execute(
            TOTALS_BY_STEP, parameters
        )
    ]
    extra = len(found) > limit
    if extra:
        found = found[1:] if after is not None else found[:limit]
    return Rows(found, has_more=extra)
