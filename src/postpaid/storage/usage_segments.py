"""The segments that usage events lie in: one that is open, and those before it.

Every event is stored in the open segment, whose unique index refuses what is repeated in it. Is it
full, it is sealed, and a new one opened. The references of a sealed segment are copied, in order,
to ``usage_references``, where one look finds any of them; until that is done, the sealed segment is
looked into as well. So storing costs the same however many events there are. A segment that is old
enough is dropped whole, and every total stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.storage.database import Connection, fetch, fetch_one


@dataclass(frozen=True, slots=True)
class Segment:
    """Where events of a stretch of time lie. ``size`` is its table's bytes, without indexes."""

    segment: int
    status: str  # open, sealed, indexed
    opened_at: datetime
    sealed_at: datetime | None
    size: int


LIST = """
SELECT segment, status, opened_at, sealed_at,
       coalesce(pg_relation_size(to_regclass('usage_events_' || segment)), 0) AS size
  FROM usage_segments
 ORDER BY segment
"""


def list_all(conn: Connection) -> list[Segment]:
    """Every segment, oldest first."""
    return fetch(conn, Segment, LIST)


FIND_OPEN = """
SELECT segment, status, opened_at, sealed_at,
       coalesce(pg_relation_size(to_regclass('usage_events_' || segment)), 0) AS size
  FROM usage_segments
 WHERE status = 'open'
"""


def find_open(conn: Connection) -> Segment:
    """The segment that events are stored in."""
    found = fetch_one(conn, Segment, FIND_OPEN)
    assert found is not None, "one segment is always open"
    return found


# ─── Opening ─────────────────────────────────────────────────────────────────────────────────

# A table that is made apart and then attached is waited for by nobody who reads.
CREATE = """
DO $$ BEGIN
    EXECUTE format('CREATE TABLE usage_events_%s (LIKE usage_events INCLUDING DEFAULTS'
                   ' INCLUDING CONSTRAINTS INCLUDING INDEXES)', {segment});
    EXECUTE format('ALTER TABLE usage_events ATTACH PARTITION usage_events_%s FOR VALUES IN (%s)',
                   {segment}, {segment});
END $$
"""

SEAL = """
UPDATE usage_segments
   SET status = 'sealed', sealed_at = %(now)s
 WHERE segment = %(segment)s
   AND status = 'open'
"""

OPEN = """
INSERT INTO usage_segments (segment, status, opened_at)
VALUES (%(segment)s, 'open', %(now)s)
"""


def rotate(conn: Connection, segment: int, *, now: datetime) -> bool:
    """Seal the open segment and open the next; False when another has done it before.

    The caller has ``usage.hold_segments``: whoever stores has committed, or has not begun.
    """
    if not conn.execute(SEAL, {"segment": segment, "now": now}).rowcount:
        return False
    conn.execute(CREATE.format(segment=segment + 1).encode())
    conn.execute(OPEN, {"segment": segment + 1, "now": now})
    return True


# ─── Indexing ────────────────────────────────────────────────────────────────────────────────

INDEX = """
INSERT INTO usage_references (account_id, reference, segment)
SELECT account_id, reference, segment
  FROM usage_events
 WHERE segment = %(segment)s
 ORDER BY account_id, reference
    ON CONFLICT DO NOTHING
"""

INDEXED = """
UPDATE usage_segments
   SET status = 'indexed'
 WHERE segment = %(segment)s
   AND status = 'sealed'
"""


def index(conn: Connection, segment: int) -> None:
    """Copy a sealed segment's references to where all are; in order, which is how it is cheap.

    The caller has ``usage.hold_references``: no reference is freed meanwhile.
    """
    conn.execute(INDEX, {"segment": segment})
    conn.execute(INDEXED, {"segment": segment})


# ─── Dropping ────────────────────────────────────────────────────────────────────────────────

# What no total could be corrected without stays: it moves to a younger segment.
KEPT = """
       coalesce(m.aggregation NOT IN ('sum', 'count', 'average'), false)
       OR m.event_time_window IS NOT NULL
       OR coalesce((e.account_id, e.backfill_id) IN (
              SELECT account_id, id FROM usage_backfills WHERE status = 'open'), false)
"""

KEEP = f"""
WITH kept AS (
    SELECT e.segment, e.account_id, e.reference, e.series_id, e.occurred_at, e.received_at,
           e.counted, e.value, e.payload, e.backfill_id, e.canceled_at, e.arrival
      FROM usage_events e
      JOIN usage_series s ON s.series_id = e.series_id
      LEFT JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
     WHERE e.segment = %(segment)s
       AND ({KEPT})
), moved AS (
    INSERT INTO usage_events (segment, account_id, reference, series_id, occurred_at, received_at,
                              counted, value, payload, backfill_id, canceled_at, arrival)
    SELECT %(into)s, account_id, reference, series_id, occurred_at, received_at, counted, value,
           payload, backfill_id, canceled_at, arrival
      FROM kept
    RETURNING account_id, reference
)
UPDATE usage_references r
   SET segment = %(into)s
  FROM moved m
 WHERE r.account_id = m.account_id
   AND r.reference = m.reference
"""

# What is dropped is written down beside the totals it is in, so that they can still be recounted.
COUNT_DROPPED = f"""
UPDATE usage_hours h
   SET dropped_sum = h.dropped_sum + d.sum, dropped_count = h.dropped_count + d.count
  FROM (SELECT e.series_id, date_trunc('hour', e.occurred_at, 'UTC') AS hour, sum(e.value) AS sum,
               count(*) AS count
          FROM usage_events e
          JOIN usage_series s ON s.series_id = e.series_id
          LEFT JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
         WHERE e.segment = %(segment)s
           AND e.counted
           AND NOT ({KEPT})
         GROUP BY 1, 2) AS d
 WHERE h.series_id = d.series_id
   AND h.hour = d.hour
"""

FORGET = """
DELETE FROM usage_segments
 WHERE segment = %(segment)s
"""

DROP = """
DROP TABLE usage_events_{segment}
"""


def drop(conn: Connection, segment: int, *, into: int) -> None:
    """Drop an indexed segment; totals stay as they are, and its references are still taken.

    Events that a total may need to be corrected move to the segment ``into``, any younger one.
    The caller has ``usage.hold_segments``.
    """
    parameters = {"segment": segment, "into": into}
    conn.execute(KEEP, parameters)
    conn.execute(COUNT_DROPPED, parameters)
    conn.execute(DROP.format(segment=int(segment)).encode())
    conn.execute(FORGET, parameters)


FREE_REFERENCES = """
DELETE FROM usage_references r
 WHERE NOT EXISTS (
       SELECT
         FROM usage_segments s
        WHERE s.segment = r.segment)
"""


def free_references(conn: Connection) -> None:
    """Forget the references of segments that were dropped."""
    conn.execute(FREE_REFERENCES)
