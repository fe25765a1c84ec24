"""Backfills, and the events in them: counted all at once, or taken out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.core.backfills import BackfillStatus
from postpaid.core.metering import Aggregation
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of, row_of
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.usage import ALL_TIME, number_array
from postpaid.storage.usage_corrections import Flipped


@dataclass(frozen=True, slots=True)
class UsageBackfill:
    """Usage of any age that counts once the backfill is closed.

    With an ``event_name`` it takes the events of that meter alone. ``event_count`` is how many
    events it had when it ended, those that were cancelled included; None while it is open.
    """

    id: str
    status: BackfillStatus
    event_name: str | None
    description: str | None
    event_count: int | None
    created_at: datetime
    closed_at: datetime | None
    reverted_at: datetime | None


INSERT = """
INSERT INTO usage_backfills (account_id, id, status, event_name, description, event_count,
                             created_at, closed_at, reverted_at)
VALUES (%(account_id)s, %(id)s, %(status)s, %(event_name)s, %(description)s, %(event_count)s,
        %(created_at)s, %(closed_at)s, %(reverted_at)s)
"""


def insert(conn: Connection, account_id: int, backfill: UsageBackfill) -> None:
    conn.execute(INSERT, parameters_of(account_id, backfill))


UPDATE = """
UPDATE usage_backfills
   SET status = %(status)s, event_count = %(event_count)s, closed_at = %(closed_at)s,
       reverted_at = %(reverted_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, backfill: UsageBackfill) -> None:
    """Write what can change of the backfill, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, backfill))


FIND = """
SELECT id, status, event_name, description, event_count, created_at, closed_at, reverted_at
  FROM usage_backfills
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def find(conn: Connection, account_id: int, backfill_id: str) -> UsageBackfill | None:
    return fetch_one(conn, UsageBackfill, FIND, {"account_id": account_id, "id": backfill_id})


LOCK_SHARED = """
SELECT id, status, event_name, description, event_count, created_at, closed_at, reverted_at
  FROM usage_backfills
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR SHARE
"""


def lock_shared(conn: Connection, account_id: int, backfill_id: str) -> UsageBackfill | None:
    """The backfill, which is neither closed nor reverted until the transaction ends."""
    parameters = {"account_id": account_id, "id": backfill_id}
    return fetch_one(conn, UsageBackfill, LOCK_SHARED, parameters)


LOCK = """
SELECT id, status, event_name, description, event_count, created_at, closed_at, reverted_at
  FROM usage_backfills
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR UPDATE
"""


def lock(conn: Connection, account_id: int, backfill_id: str) -> UsageBackfill | None:
    """The backfill, which is ours: who was storing events in it has committed."""
    return fetch_one(conn, UsageBackfill, LOCK, {"account_id": account_id, "id": backfill_id})


LIST = """
SELECT id, status, event_name, description, event_count, created_at, closed_at, reverted_at
  FROM usage_backfills
 WHERE account_id = %(account_id)s
   AND (%(status)s::text IS NULL OR status = %(status)s)
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, status: BackfillStatus | None = None
) -> Rows[UsageBackfill]:
    """Backfills, newest first."""
    parameters = {"account_id": account_id, "status": status}
    return fetch_page(
        conn, UsageBackfill, LIST, parameters, page, table="usage_backfills", what="backfill"
    )


# ─── The events ──────────────────────────────────────────────────────────────────────────────

COUNT = """
SELECT count(*)
  FROM usage_events
 WHERE account_id = %(account_id)s
   AND backfill_id = %(id)s
"""


def count(conn: Connection, account_id: int, backfill_id: str) -> int:
    """How many events it has, those that were cancelled included."""
    row = conn.execute(COUNT, {"account_id": account_id, "id": backfill_id}).fetchone()
    return int(row[0]) if row else 0


SERIES = """
SELECT s.customer_id, s.meter_id, m.event_name, m.aggregation, s.series_id, e.count, e.sum,
       e.first_at, e.last_at
  FROM (SELECT series_id, count(*) AS count, sum(value) AS sum, min(occurred_at) AS first_at,
               max(occurred_at) AS last_at
          FROM usage_events
         WHERE account_id = %(account_id)s
           AND backfill_id = %(id)s
           AND canceled_at IS NULL
           AND (%(after)s::bigint IS NULL OR series_id > %(after)s)
           AND (%(before)s::bigint IS NULL OR series_id < %(before)s)
         GROUP BY series_id
         ORDER BY CASE WHEN %(before)s::bigint IS NULL THEN series_id ELSE -series_id END
         LIMIT %(limit)s) AS e
  JOIN usage_series s ON s.series_id = e.series_id
  JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
 ORDER BY s.series_id
"""


@dataclass(frozen=True, slots=True)
class BackfilledSeries:
    """The events of a backfill that are one customer's of one meter, without the cancelled."""

    customer_id: str
    meter_id: str
    event_name: str
    aggregation: Aggregation
    series_id: int
    count: int
    sum: Decimal
    first_at: datetime
    last_at: datetime


def load_series(
    conn: Connection,
    account_id: int,
    backfill_id: str,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> list[BackfilledSeries]:
    """Whose usage of what the backfill holds, by series; a page ``after`` or ``before`` one."""
    return fetch(
        conn,
        BackfilledSeries,
        SERIES,
        {
            "account_id": account_id,
            "id": backfill_id,
            "after": after,
            "before": before,
            "limit": limit,
        },
    )


COUNT_IN = """
UPDATE usage_events
   SET counted = true
 WHERE account_id = %(account_id)s
   AND backfill_id = %(id)s
   AND canceled_at IS NULL
"""

COUNTED = """
SELECT series_id, (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms, value, reference,
       counted
  FROM usage_events
 WHERE account_id = %(account_id)s
   AND backfill_id = %(id)s
   AND counted
"""


def count_in(conn: Connection, account_id: int, backfill_id: str) -> None:
    """Let its events count. The caller has locked the backfill and its series."""
    conn.execute(COUNT_IN, {"account_id": account_id, "id": backfill_id})


def counted(
    conn: Connection, account_id: int, backfill_id: str, *, size: int
) -> Iterator[Sequence[Flipped]]:
    """Its events that count, by the chunk, so that memory does not grow with how many there are."""
    parameters = {"account_id": account_id, "id": backfill_id}
    with conn.cursor(name="backfilled", row_factory=row_of(Flipped)) as cursor:
        cursor.execute(COUNTED.encode(), parameters)
        while chunk := cursor.fetchmany(size):
            yield chunk


REMEMBER_SERIES = """
INSERT INTO usage_backfill_series (account_id, backfill_id, series_id, first_at, last_at)
SELECT account_id, backfill_id, series_id, min(occurred_at), max(occurred_at)
  FROM usage_events
 WHERE account_id = %(account_id)s
   AND backfill_id = %(id)s
   AND counted
 GROUP BY account_id, backfill_id, series_id
"""


def remember_series(conn: Connection, account_id: int, backfill_id: str) -> None:
    """Write down what it changes the totals of, which its events will not tell for ever."""
    conn.execute(REMEMBER_SERIES, {"account_id": account_id, "id": backfill_id})


DELETE_EVENTS = """
WITH deleted AS (
    DELETE FROM usage_events
     WHERE account_id = %(account_id)s
       AND backfill_id = %(id)s
       AND canceled_at IS NULL
    RETURNING account_id, reference
)
DELETE FROM usage_references r
 USING deleted d
 WHERE r.account_id = d.account_id
   AND r.reference = d.reference
"""


def delete_events(conn: Connection, account_id: int, backfill_id: str) -> None:
    """Remove its events, so that their identifiers are free again; not those that were cancelled.

    The caller has ``usage.hold_references``.
    """
    conn.execute(DELETE_EVENTS, {"account_id": account_id, "id": backfill_id})


UNCOUNT = """
UPDATE usage_events
   SET counted = false
 WHERE account_id = %(account_id)s
   AND backfill_id = %(id)s
   AND counted
"""


def uncount(conn: Connection, account_id: int, backfill_id: str) -> None:
    """Let its events count no more. The caller has locked the backfill and its series."""
    conn.execute(UNCOUNT, {"account_id": account_id, "id": backfill_id})


# ─── The effect ──────────────────────────────────────────────────────────────────────────────

WINDOWS_MAX = 100

# A level goes on after the last event, so that every later window feels it.
WINDOWS = """
SELECT u.series_id, w.start_at, w.end_at
  FROM unnest(%(series_ids)s::bigint[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
       AS u (series_id, first_at, last_at)
 CROSS JOIN LATERAL (
       SELECT k.start_at, k.end_at
         FROM usage_windows k
        WHERE k.series_id = u.series_id
          AND k.end_at > u.first_at
          AND k.start_at <= u.last_at
          AND (k.start_at, k.end_at) <> (%(all_start)s, %(all_end)s)
        ORDER BY k.start_at DESC, k.end_at DESC
        LIMIT %(limit)s) AS w
 ORDER BY u.series_id, w.start_at DESC, w.end_at DESC
"""


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """A window of a series that is kept, because a subscription bills it."""

    series_id: int
    start_at: datetime
    end_at: datetime


def windows_of(conn: Connection, series: Sequence[BackfilledSeries]) -> list[OpenWindow]:
    """The newest hundred billed windows of each series that the backfill changes, newest first."""
    parameters = {
        "series_ids": number_array(each.series_id for each in series),
        "firsts": [each.first_at for each in series],
        "lasts": [ALL_TIME[1] if each.aggregation.is_level else each.last_at for each in series],
        "all_start": ALL_TIME[0],
        "all_end": ALL_TIME[1],
        "limit": WINDOWS_MAX,
    }
    return fetch(conn, OpenWindow, WINDOWS, parameters)


SUMS = """
SELECT coalesce(e.sum, 0) AS sum, e.count
  FROM unnest(%(series_ids)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       WITH ORDINALITY AS u (series_id, start_at, end_at, place)
 CROSS JOIN LATERAL (
       SELECT sum(value) AS sum, count(*) AS count
         FROM usage_events
        WHERE series_id = u.series_id
          AND counted = %(counted)s
          AND account_id = %(account_id)s
          AND backfill_id = %(id)s
          AND canceled_at IS NULL
          AND occurred_at >= u.start_at
          AND occurred_at < u.end_at) AS e
 ORDER BY u.place
"""


def sums(
    conn: Connection,
    account_id: int,
    backfill_id: str,
    windows: Sequence[OpenWindow],
    *,
    counted: bool,
) -> list[tuple[Decimal, int]]:
    """The sum and the count of its events in each window; ``counted`` says if it is closed."""
    parameters = {
        "account_id": account_id,
        "id": backfill_id,
        "counted": counted,
        "series_ids": number_array(each.series_id for each in windows),
        "starts": [each.start_at for each in windows],
        "ends": [each.end_at for each in windows],
    }
    return [(row[0], row[1]) for row in conn.execute(SUMS, parameters)]
