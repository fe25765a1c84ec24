"""Usage events, each counted once: stored by the batch, found again, taken out of the count.

Columns come as text literals of arrays, which PostgreSQL reads far faster than a driver writes them
value by value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from postpaid.storage.database import Connection, fetch

ALERT_AT_ONCE = Decimal(-(10**16))
"""Below every quantity: the window's next event looks for alerts."""

ALL_TIME = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""The window that every event of a series is in."""

_OF_ACCOUNT, _OF_SEGMENTS, _OF_REFERENCES = 8420_0002, 8420_0003, 8420_0004  # of advisory locks


# ─── Locks ───────────────────────────────────────────────────────────────────────────────────

HOLD = """
SELECT pg_advisory_xact_lock_shared(%(segments)s, 0),
       pg_advisory_xact_lock_shared(%(account)s, %(account_id)s)
"""


def hold(conn: Connection, account_id: int) -> None:
    """Before events are stored: until we commit, no window opens and no segment is sealed."""
    conn.execute(HOLD, {"segments": _OF_SEGMENTS, "account": _OF_ACCOUNT, "account_id": account_id})


# Each look is by a whole key, so a plan without joins by hashing or merging is right for any table,
# empty or huge; made once, it is kept. To plan each statement anew would cost a single event more
# than to store it.
BEGIN_STORING = """
SELECT pg_advisory_xact_lock_shared(%(segments)s, 0),
       pg_advisory_xact_lock_shared(%(account)s, %(account_id)s),
       set_config('plan_cache_mode', 'force_generic_plan', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true)
"""


def begin_storing(conn: Connection, account_id: int) -> None:
    """``hold``, for a transaction that does nothing but store events and what follows from them."""
    conn.execute(
        BEGIN_STORING,
        {"segments": _OF_SEGMENTS, "account": _OF_ACCOUNT, "account_id": account_id},
    )


HOLD_ALONE = """
SELECT pg_advisory_xact_lock(%(account)s, %(account_id)s)
"""


def hold_alone(conn: Connection, account_id: int) -> None:
    """Before a window is opened over existing usage: nothing of the account is being stored.

    What is read after this is all there is, until we have committed.
    """
    conn.execute(HOLD_ALONE, {"account": _OF_ACCOUNT, "account_id": account_id})


HOLD_SEGMENTS = """
SELECT pg_advisory_xact_lock(%(segments)s, 0)
"""


def hold_segments(conn: Connection) -> None:
    """Before the open segment is sealed: nothing is being stored, in any account."""
    conn.execute(HOLD_SEGMENTS, {"segments": _OF_SEGMENTS})


HOLD_REFERENCES = """
SELECT pg_advisory_xact_lock(%(references)s, 0)
"""


def hold_references(conn: Connection) -> None:
    """Before references are copied from a sealed segment, or freed: one of the two at a time."""
    conn.execute(HOLD_REFERENCES, {"references": _OF_REFERENCES})


# ─── Series ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Series:
    """One customer's usage of one meter, and the customer's time if it is on a test clock.

    ``series_id`` is 0 where nothing was ever counted. ``is_limited`` says that the customer has, or
    had, units in advance that are all it may use.
    """

    customer_id: str
    meter_id: str
    series_id: int
    frozen_at: datetime | None
    is_limited: bool = False


LOAD_SERIES = """
SELECT c.id AS customer_id, p.meter_id, coalesce(s.series_id, 0) AS series_id, t.frozen_at,
       c.usage_is_limited
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[]) AS p (customer_id, meter_id)
 CROSS JOIN LATERAL (
       SELECT id, clock_id, usage_is_limited
         FROM customers
        WHERE account_id = %(account_id)s
          AND id = p.customer_id
          AND deleted_at IS NULL
       OFFSET 0) AS c
  LEFT JOIN test_clocks t ON t.account_id = %(account_id)s AND t.id = c.clock_id
  LEFT JOIN LATERAL (
       SELECT series_id
         FROM usage_series
        WHERE account_id = %(account_id)s
          AND customer_id = p.customer_id
          AND meter_id = p.meter_id
       OFFSET 0) AS s ON true
"""


def load_series(
    conn: Connection, account_id: int, pairs: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Series]:
    """The series of these customers and meters, by both; customers that are not there are left out.

    A customer's text is taken as it comes, so one with a NUL is not there either.
    """
    asked = [pair for pair in pairs if "\0" not in pair[0]]
    rows = conn.execute(
        LOAD_SERIES,
        {
            "account_id": account_id,
            "customer_ids": text_array(customer_id for customer_id, _ in asked),
            "meter_ids": text_array(meter_id for _, meter_id in asked),
        },
    )
    return {(row[0], row[1]): Series(*row) for row in rows}


MAKE_SERIES = """
INSERT INTO usage_series (account_id, customer_id, meter_id)
SELECT %(account_id)s, customer_id, meter_id
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[]) AS u (customer_id, meter_id)
 ORDER BY 2, 3
    ON CONFLICT DO NOTHING
RETURNING customer_id, meter_id, series_id
"""

FIND_SERIES = """
SELECT s.customer_id, s.meter_id, s.series_id
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[]) AS u (customer_id, meter_id)
  JOIN usage_series s
    ON s.account_id = %(account_id)s
   AND s.customer_id = u.customer_id
   AND s.meter_id = u.meter_id
"""


def make_series(
    conn: Connection, account_id: int, pairs: Sequence[tuple[str, str]]
) -> tuple[dict[tuple[str, str], int], list[int]]:
    """The ids of these customers' and meters' series, made where missing; and those made now."""
    parameters = {
        "account_id": account_id,
        "customer_ids": text_array(customer_id for customer_id, _ in pairs),
        "meter_ids": text_array(meter_id for _, meter_id in pairs),
    }
    made = {(row[0], row[1]): row[2] for row in conn.execute(MAKE_SERIES, parameters)}
    new = list(made.values())
    if len(made) < len(pairs):
        made |= find_series(conn, account_id, pairs)
    return made, new


def find_series(
    conn: Connection, account_id: int, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """The ids of these customers' and meters' series, where there are any."""
    parameters = {
        "account_id": account_id,
        "customer_ids": text_array(customer_id for customer_id, _ in pairs),
        "meter_ids": text_array(meter_id for _, meter_id in pairs),
    }
    return {(row[0], row[1]): row[2] for row in conn.execute(FIND_SERIES, parameters)}


LIST_SERIES = """
SELECT customer_id, meter_id
  FROM usage_series
 WHERE account_id = %(account_id)s
   AND meter_id = ANY(%(meter_ids)s)
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
 ORDER BY customer_id, meter_id
 LIMIT %(limit)s
"""


def list_series(
    conn: Connection,
    account_id: int,
    meter_ids: Iterable[str],
    *,
    customer_id: str | None = None,
    limit: int,
) -> list[tuple[str, str]]:
    """The customers that have ever used the meters, each with the meter; all or one customer's."""
    parameters = {
        "account_id": account_id,
        "meter_ids": list(meter_ids),
        "customer_id": customer_id,
        "limit": limit,
    }
    return [(row[0], row[1]) for row in conn.execute(LIST_SERIES, parameters)]


LOCK_SERIES = """
SELECT series_id
  FROM usage_series
 WHERE series_id = ANY(%(series_ids)s::bigint[])
 ORDER BY series_id
   FOR NO KEY UPDATE
"""


def lock_series(conn: Connection, series_ids: Iterable[int]) -> None:
    """Let nobody else store into these series for which that matters, until we have committed."""
    conn.execute(LOCK_SERIES, {"series_ids": number_array(series_ids)})


# ─── Events ──────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class UsageColumns:
    """A batch of events as columns of equal length: no object per event on the way to the table.

    Times are milliseconds since the epoch. A reference is in a batch once.
    """

    references: list[str] = field(default_factory=list)
    series_ids: list[int] = field(default_factory=list)
    occurred_ms: list[int] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    values: list[Decimal] = field(default_factory=list)
    payloads: list[str | None] = field(default_factory=list)
    arrivals: list[int | None] = field(default_factory=list)  # None unless the last counts

    def __len__(self) -> int:
        return len(self.references)


# The order keeps two batches from waiting for one another in a circle, and walks the index once.
INSERT = """
WITH stored AS (
    INSERT INTO usage_events (segment, account_id, reference, series_id, occurred_at, received_at,
                              counted, value, payload, backfill_id, arrival)
    SELECT (SELECT segment FROM usage_segments WHERE status = 'open'), %(account_id)s, u.reference,
           u.series_id, 'epoch'::timestamptz + u.occurred_ms * interval '1 millisecond',
           'epoch'::timestamptz + u.received_ms * interval '1 millisecond',
           %(backfill_id)s::text IS NULL AND u.arrival IS NULL, u.value, u.payload,
           %(backfill_id)s, u.arrival
      FROM unnest(%(references)s::text[], %(series_ids)s::bigint[], %(occurred_ms)s::bigint[],
                  %(received_ms)s::bigint[], %(values)s::numeric[], %(payloads)s::json[],
                  %(arrivals)s::bigint[])
           AS u (reference, series_id, occurred_ms, received_ms, value, payload, arrival)
     WHERE NOT EXISTS (
           SELECT
             FROM usage_references r
            WHERE r.account_id = %(account_id)s
              AND r.reference = u.reference)
       AND NOT EXISTS (
           SELECT
             FROM usage_events e
            WHERE e.segment = ANY(ARRAY(SELECT segment
                                          FROM usage_segments
                                         WHERE status = 'sealed'))
              AND e.account_id = %(account_id)s
              AND e.reference = u.reference)
     ORDER BY u.reference COLLATE "C"
        ON CONFLICT ON CONSTRAINT usage_events_reference_once DO NOTHING
    RETURNING reference
)
SELECT reference
  FROM unnest(%(references)s::text[]) AS u (reference)
 WHERE (SELECT count(*) FROM stored) < %(count)s
EXCEPT
SELECT reference
  FROM stored
 WHERE (SELECT count(*) FROM stored) < %(count)s
"""


def insert_many(
    conn: Connection, account_id: int, events: UsageColumns, *, backfill_id: str | None = None
) -> set[str]:
    """Store the events whose reference is new; return the references of the others.

    The caller has ``hold``. Totals are the caller's to add. An event of a backfill does not count
    until that is closed, and one with an arrival not until it is known to be the last.
    """
    rows = conn.execute(
        INSERT,
        {
            "account_id": account_id,
            "references": text_array(events.references),
            "series_ids": number_array(events.series_ids),
            "occurred_ms": number_array(events.occurred_ms),
            "received_ms": number_array(events.received_ms),
            "values": number_array(events.values),
            "payloads": text_array(events.payloads) if any(events.payloads) else "{}",
            "arrivals": nullable_array(events.arrivals) if any(events.arrivals) else "{}",
            "backfill_id": backfill_id,
            "count": len(events),
        },
    )
    return {row[0] for row in rows}


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """A stored event. Times are exact to the millisecond."""

    reference: str
    series_id: int
    customer_id: str
    meter_id: str
    occurred_at: datetime
    received_at: datetime
    value: Decimal
    payload: str | None  # JSON
    counted: bool
    backfill_id: str | None
    canceled_at: datetime | None


LOAD = """
SELECT e.reference, e.series_id, s.customer_id, s.meter_id, e.occurred_at, e.received_at, e.value,
       e.payload::text AS payload, e.counted, e.backfill_id, e.canceled_at
  FROM usage_events e
  JOIN usage_series s ON s.series_id = e.series_id
 WHERE e.account_id = %(account_id)s
   AND e.segment IN (SELECT segment FROM usage_segments)
   AND e.reference = ANY(%(references)s::text[])
"""


def load(conn: Connection, account_id: int, references: Iterable[str]) -> dict[str, UsageEvent]:
    """The stored events with these references."""
    parameters = {"account_id": account_id, "references": text_array(references)}
    return {row.reference: row for row in fetch(conn, UsageEvent, LOAD, parameters)}


NEXT_ARRIVALS = """
SELECT nextval('usage_arrivals')
  FROM generate_series(1, %(count)s)
"""


def next_arrivals(conn: Connection, count: int) -> list[int]:
    """So many places in the order of arrival; the caller holds the series they are for."""
    return [row[0] for row in conn.execute(NEXT_ARRIVALS, {"count": count})]


# ─── Arrays ──────────────────────────────────────────────────────────────────────────────────


def number_array(values: Iterable[int | Decimal]) -> str:
    """Numbers as PostgreSQL writes an array of them."""
    return "{" + ",".join(map(str, values)) + "}"


def nullable_array(values: Iterable[int | Decimal | None]) -> str:
    """Numbers as PostgreSQL writes an array of them; None is NULL."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """Texts as PostgreSQL writes an array of them; None is NULL."""
    texts = list(values)
    if None not in texts:
        joined = '","'.join(texts)  # type: ignore[arg-type]
        if "\\" not in joined and joined.count('"') == 2 * max(0, len(texts) - 1):
            return '{"' + joined + '"}' if texts else "{}"
    return "{" + ",".join(_quoted(text) for text in texts) + "}"


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
