"""Windows read from their events: for what no totals tell, and to recount what they do tell.

One statement reads any number of windows. It may look at the events with certain dimensions alone,
and may tell the events' combinations of dimensions apart. Only counted events are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.core.metering import PERCENTS, Aggregation, UsageTotal, aggregated
from postpaid.storage import usage_totals
from postpaid.storage.database import Connection, fetch
from postpaid.storage.paging import Rows
from postpaid.storage.usage import text_array
from postpaid.storage.usage_totals import Window

GROUP_KEYS_MAX = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are read, and by which of their dimensions they are told apart.

    ``filters`` are values by key, all of which an event must have. ``group_by`` are at most three
    keys; an event that lacks one has None there.
    """

    filters: Mapping[str, str] = field(default_factory=dict)
    group_by: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.filters or self.group_by)


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a list is wanted: windows and groups in their order, or against it.

    The windows are given in that order themselves. ``after_group`` continues within the first.
    """

    limit: int
    after_group: int | None = None
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted of a window, or of one combination of dimensions in it; negative too.

    ``place`` is the window's among those asked for. ``group`` is a number made of the dimensions,
    by which the groups of a window are in order; 0 without groups.
    """

    place: int
    group: int
    dimensions: tuple[str | None, ...]
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class _Row:
    place: int
    group: int
    dimensions: list[str | None]
    quantity: Decimal | None = None
    sum: Decimal | None = None
    count: int = 0
    max: Decimal | None = None


# ─── The parts that the statements share ─────────────────────────────────────────────────────

# The planner knows that windows come in their order, and stops at the last one of a page.
ASKED = """
asked AS (
    SELECT u.place, s.series_id, m.value_key, u.start_at, u.end_at,
           least(u.end_at, greatest(u.start_at, %(as_of)s::timestamptz)) AS stop_at,
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
      JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
     ORDER BY u.place
)
"""

DIMENSIONS = """ARRAY[e.payload ->> %(key_1)s::text, e.payload ->> %(key_2)s::text,
                          e.payload ->> %(key_3)s::text]"""

SELECTED = """e.series_id = w.series_id
          AND e.counted
          AND (%(unfiltered)s OR NOT EXISTS (
              SELECT
                FROM unnest(%(filter_keys)s::text[], %(filter_values)s::text[]) AS f (key, value)
               WHERE (e.payload ->> f.key) IS DISTINCT FROM f.value))"""

# The first 60 bits of a digest: an order among a window's groups that a cursor can carry.
GROUP = """CASE WHEN %(ungrouped)s THEN 0
                ELSE ('x' || left(encode(sha256(convert_to(array_to_json(g.dimensions)::text,
                                                           'UTF8')), 'hex'), 15))::bit(60)::bigint
            END"""

PAGE = f"""CROSS JOIN LATERAL (SELECT {GROUP} AS group) AS k
 WHERE %(after_group)s::bigint IS NULL
    OR w.place > 1
    OR k.group * %(direction)s > %(after_group)s::bigint * %(direction)s
 ORDER BY w.place, k.group * %(direction)s
 LIMIT %(limit)s
"""


# Both are read by the indexes that there are: of what is counted, and of what is not.
WITH_BACKFILL = """(
              SELECT series_id, occurred_at, reference, value, payload, true AS counted
                FROM usage_events
               WHERE counted
               UNION ALL
              SELECT series_id, occurred_at, reference, value, payload, true
                FROM usage_events
               WHERE NOT counted
                 AND canceled_at IS NULL
                 AND backfill_id = %(backfill_id)s) AS e"""

WITHOUT_BACKFILL = """(
              SELECT series_id, occurred_at, reference, value, payload, counted
                FROM usage_events
               WHERE counted
                 AND backfill_id IS DISTINCT FROM %(backfill_id)s) AS e"""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What is counted as if a backfill's events did (``counted``), or did not."""

    backfill_id: str
    counted: bool


# ─── By aggregation ──────────────────────────────────────────────────────────────────────────

READ_SUMS = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.sum, g.count, g.max
  FROM asked w
 CROSS JOIN LATERAL (
       SELECT {DIMENSIONS} AS dimensions, sum(e.value) AS sum, count(*) AS count,
              max(e.value) AS max
         FROM usage_events e
        WHERE {SELECTED}
          AND e.occurred_at >= w.start_at
          AND e.occurred_at < w.end_at
        GROUP BY 1
       ) AS g
 {PAGE}
"""

READ_LAST = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.quantity
  FROM asked w
 CROSS JOIN LATERAL (
       SELECT DISTINCT ON (1) {DIMENSIONS} AS dimensions, e.value AS quantity
         FROM usage_events e
        WHERE {SELECTED}
          AND e.occurred_at >= w.start_at
          AND e.occurred_at < w.end_at
        ORDER BY 1, e.occurred_at DESC, e.reference DESC
       ) AS g
 {PAGE}
"""

READ_DISTINCT = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.quantity
  FROM asked w
 CROSS JOIN LATERAL (
       SELECT {DIMENSIONS} AS dimensions,
              count(DISTINCT (e.payload ->> w.value_key) COLLATE "C")::numeric AS quantity
         FROM usage_events e
        WHERE {SELECTED}
          AND e.occurred_at >= w.start_at
          AND e.occurred_at < w.end_at
        GROUP BY 1
       ) AS g
 {PAGE}
"""

# percentile_disc multiplies as a float, which is off by less than what it rounds: ranks are exact.
READ_PERCENTILE = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.quantity
  FROM asked w
 CROSS JOIN LATERAL (
       SELECT {DIMENSIONS} AS dimensions,
              percentile_disc(%(percent)s / 100.0::float8) WITHIN GROUP (ORDER BY e.value)
                  AS quantity
         FROM usage_events e
        WHERE {SELECTED}
          AND e.occurred_at >= w.start_at
          AND e.occurred_at < w.end_at
        GROUP BY 1
       ) AS g
 {PAGE}
"""

LEVELS = f"""(
       SELECT l.dimensions,
              CASE WHEN %(weighted)s THEN sum(l.level * l.seconds)
                   ELSE coalesce(sum(l.seconds) FILTER (WHERE l.level > 0), 0)
               END AS quantity
         FROM (SELECT c.dimensions, c.level,
                      extract(epoch FROM lead(c.at, 1, w.stop_at) OVER (
                          PARTITION BY c.dimensions
                              ORDER BY c.at, c.reference NULLS FIRST) - c.at) AS seconds
                 FROM (BEFORE
                       UNION ALL
                       SELECT {DIMENSIONS}, e.value, e.occurred_at, e.reference
                         FROM usage_events e
                        WHERE {SELECTED}
                          AND e.occurred_at >= w.start_at
                          AND e.occurred_at < w.stop_at) AS c (dimensions, level, at, reference)
              ) AS l
        GROUP BY 1)
"""

# One look at the index finds the level that a window begins with.
LEVEL_BEFORE = f"""(
       SELECT b.dimensions, b.value, w.start_at, NULL
         FROM (SELECT {DIMENSIONS} AS dimensions, e.value
                 FROM usage_events e
                WHERE {SELECTED}
                  AND e.occurred_at < w.start_at
                  AND w.start_at < w.stop_at
                ORDER BY e.occurred_at DESC, e.reference DESC
                LIMIT 1) AS b
        WHERE b.value <> 0)
"""

# Groups of which nothing was heard for long have levels too, so this looks at all there was.
LEVELS_BEFORE = f"""(
       SELECT b.dimensions, b.value, w.start_at, NULL
         FROM (SELECT DISTINCT ON (1) {DIMENSIONS} AS dimensions, e.value
                 FROM usage_events e
                WHERE {SELECTED}
                  AND e.occurred_at < w.start_at
                  AND w.start_at < w.stop_at
                ORDER BY 1, e.occurred_at DESC, e.reference DESC) AS b
        WHERE b.value <> 0)
"""

READ_LEVELS = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.quantity
  FROM asked w
 CROSS JOIN LATERAL {LEVELS.replace("BEFORE", LEVEL_BEFORE)} AS g
 {PAGE}
"""

READ_LEVELS_BY_GROUP = f"""
WITH {ASKED}
SELECT w.place, k.group, g.dimensions, g.quantity
  FROM asked w
 CROSS JOIN LATERAL {LEVELS.replace("BEFORE", LEVELS_BEFORE)} AS g
 {PAGE}
"""


def read(
    conn: Connection,
    account_id: int,
    aggregation: Aggregation,
    windows: Sequence[Window],
    *,
    as_of: datetime,
    selection: Selection = EVERYTHING,
    cut: Cut | None = None,
    backfilled: Backfilled | None = None,
) -> Rows[Reading]:
    """What was counted in each window, all of meters with this aggregation, in one statement.

    Exact, and negative too. A window in which nothing was counted has no reading; of a level, one
    in which there is a level other than 0 has. Levels are counted up to ``as_of``.
    """
    if not windows:
        return Rows([], has_more=False)
    keys = (*selection.group_by, *[None] * GROUP_KEYS_MAX)[:GROUP_KEYS_MAX]
    parameters: dict[str, object] = {
        **_asked(account_id, windows),
        "as_of": as_of,
        "key_1": keys[0],
        "key_2": keys[1],
        "key_3": keys[2],
        "ungrouped": not selection.group_by,
        "unfiltered": not selection.filters,
        "filter_keys": list(selection.filters),
        "filter_values": list(selection.filters.values()),
        "percent": PERCENTS.get(aggregation, 0),
        "weighted": aggregation == Aggregation.TIME_WEIGHTED_SUM,
        "after_group": cut and cut.after_group,
        "direction": -1 if cut and cut.backwards else 1,
        "limit": cut and cut.limit + 1,
    }
    query = _query(aggregation, selection)
    if backfilled is not None:
        source = WITH_BACKFILL if backfilled.counted else WITHOUT_BACKFILL
        query = query.replace("usage_events e\n", f"{source}\n")
        parameters["backfill_id"] = backfilled.backfill_id
    rows = fetch(conn, _Row, query, parameters)
    readings = [
        Reading(
            row.place,
            row.group,
            tuple(row.dimensions[: len(selection.group_by)]),
            _quantity(aggregation, row),
        )
        for row in rows
    ]
    limit = len(readings) if cut is None else cut.limit
    return Rows(readings[:limit], has_more=len(readings) > limit)


def _query(aggregation: Aggregation, selection: Selection) -> str:
    match aggregation:
        case Aggregation.LAST:
            return READ_LAST
        case Aggregation.UNIQUE:
            return READ_DISTINCT
        case Aggregation.P95 | Aggregation.P99:
            return READ_PERCENTILE
        case Aggregation.TIME_WEIGHTED_SUM | Aggregation.DURATION:
            return READ_LEVELS_BY_GROUP if selection.group_by else READ_LEVELS
        case _:
            return READ_SUMS


def _quantity(aggregation: Aggregation, row: _Row) -> Decimal:
    if row.quantity is not None:
        return row.quantity
    total = UsageTotal(row.sum or Decimal(0), row.count, None, None, row.max)
    return aggregated(aggregation, total)


def _asked(account_id: int, windows: Sequence[Window]) -> dict[str, object]:
    return {
        "account_id": account_id,
        "customer_ids": text_array(window.customer_id for window in windows),
        "meter_ids": text_array(window.meter_id for window in windows),
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }


# ─── Pages of totals ─────────────────────────────────────────────────────────────────────────

PAGE_OF_TOTALS = f"""
WITH {ASKED}
SELECT w.place, t.sum, t.count, t.max, t.last_value, t.last_at
  FROM asked w
 CROSS JOIN LATERAL ({usage_totals.COMPUTED}) AS t
 WHERE t.count > 0
 ORDER BY w.place
 LIMIT %(limit)s
"""


def page_of_totals(
    conn: Connection, account_id: int, windows: Sequence[Window], *, limit: int
) -> Rows[tuple[int, UsageTotal]]:
    """The first windows that have usage, by their place among those given, with their totals.

    Whole hours come from their totals and parts of hours from the events.
    """
    parameters = _asked(account_id, windows) | {"as_of": None, "limit": limit + 1}
    found = [
        (place, UsageTotal(total, count, last_value, last_at, greatest))
        for place, total, count, greatest, last_value, last_at in conn.execute(
            PAGE_OF_TOTALS.encode(), parameters
        )
    ]
    return Rows(found[:limit], has_more=len(found) > limit)
