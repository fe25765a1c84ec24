"""Segments are alike, take turns, and are dropped without a total noticing."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from metered import Stored, store_usage
from postpaid.storage import usage, usage_segments, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window
from rows import ACCOUNT, HOUR, NOW, add

DESCRIBE = """
SELECT 'column', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(co.collname, '')
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_collation co ON co.oid = a.attcollation
 WHERE a.attrelid = %(table)s::regclass
   AND a.attnum > 0
   AND NOT a.attisdropped
 UNION ALL
SELECT 'constraint', '', contype::text, '', pg_get_constraintdef(oid)
  FROM pg_constraint
 WHERE conrelid = %(table)s::regclass
 UNION ALL
SELECT 'index', '', i.indisvalid::text, i.indisunique::text,
       regexp_replace(pg_get_indexdef(i.indexrelid), 'INDEX \\S+ ON (ONLY )?\\S+', 'INDEX')
  FROM pg_index i
 WHERE i.indrelid = %(table)s::regclass
 ORDER BY 1, 2, 3, 4, 5
"""


def described(conn: Connection, table: str) -> list[tuple[str, ...]]:
    return conn.execute(DESCRIBE.encode(), {"table": table}).fetchall()


def event(reference: str, value: int = 1, meter: str = "mtr_1") -> Stored:
    return Stored(reference, meter, "cus_1", NOW, Decimal(value))


def total(conn: Connection, meter: str = "mtr_1") -> tuple[object, ...]:
    window = Window("cus_1", meter, NOW - HOUR, NOW + HOUR)
    [found] = usage_totals.totals(conn, ACCOUNT, [window])
    return found.sum, found.count, found.max


def rotate(conn: Connection, *, index: bool = True) -> int:
    """Seal the open segment; returns which it was."""
    segment = usage_segments.find_open(conn).segment
    assert usage_segments.rotate(conn, segment, now=NOW)
    if index:
        usage_segments.index(conn, segment)
    return segment


def drop(conn: Connection, segment: int) -> None:
    usage_segments.drop(conn, segment, into=2)
    usage_segments.free_references(conn)


def statuses(conn: Connection) -> dict[int, str]:
    return {each.segment: each.status for each in usage_segments.list_all(conn)}


def test_a_new_segment_is_like_the_first(conn: Connection) -> None:
    rotate(conn)
    first, new = described(conn, "usage_events_1"), described(conn, "usage_events_2")
    assert new == first
    kinds = [row[0] for row in new]
    assert (kinds.count("index"), kinds.count("column")) == (4, 12)


def test_a_new_segment_has_whatever_the_whole_table_has(conn: Connection) -> None:
    rotate(conn)
    assert described(conn, "usage_events_2") == described(conn, "usage_events")
    indexes = conn.execute(
        "SELECT count(*) FROM pg_inherits h JOIN pg_index i ON i.indexrelid = h.inhrelid"
        " WHERE i.indrelid = 'usage_events_2'::regclass"
    ).fetchone()
    assert indexes == (4,)


def test_of_two_who_rotate_one_does(conn: Connection) -> None:
    assert usage_segments.rotate(conn, 1, now=NOW)
    assert not usage_segments.rotate(conn, 1, now=NOW)
    assert statuses(conn) == {1: "sealed", 2: "open"}


def test_one_segment_is_open(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation, match="usage_segments_one_open"):
        add(conn, "usage_segments", segment=7, status="open", sealed_at=None)


def test_what_is_in_any_segment_is_found_and_totalled(conn: Connection) -> None:
    for place in range(3):
        assert store_usage(conn, ACCOUNT, [event(f"x{place}", 10**place)]) == {f"x{place}"}
        rotate(conn, index=place == 0)
    assert set(usage.load(conn, ACCOUNT, ["x0", "x1", "x2", "y"])) == {"x0", "x1", "x2"}
    assert total(conn)[:2] == (111, 3)
    assert statuses(conn) == {1: "indexed", 2: "sealed", 3: "sealed", 4: "open"}


# ─── Dropping ────────────────────────────────────────────────────────────────────────────────


def test_to_drop_a_segment_changes_no_total_and_frees_its_references(conn: Connection) -> None:
    add(conn, "meters")
    store_usage(conn, ACCOUNT, [event("old", 5), event("older", 7)])
    segment = rotate(conn)
    store_usage(conn, ACCOUNT, [event("new", 100)])
    before = total(conn)
    drop(conn, segment)
    assert total(conn) == before
    assert statuses(conn) == {2: "open"}
    assert set(usage.load(conn, ACCOUNT, ["old", "older", "new"])) == {"new"}
    assert store_usage(conn, ACCOUNT, [event("old", 5), event("new", 1)]) == {"old"}
    dropped = conn.execute(
        "SELECT h.dropped_sum, h.dropped_count"
        "  FROM usage_hours h JOIN usage_series s USING (series_id) WHERE s.account_id = %s",
        (ACCOUNT,),
    ).fetchone()
    assert dropped == (12, 2)


@pytest.mark.parametrize("into", ["open", "sealed", "indexed"])
def test_what_totals_are_corrected_from_moves_on(conn: Connection, into: str) -> None:
    add(conn, "meters", aggregation="max")
    store_usage(conn, ACCOUNT, [event("great", 50), event("small", 2)])
    segment = rotate(conn)
    if into != "open":
        rotate(conn, index=into == "indexed")
    drop(conn, segment)
    assert total(conn) == (52, 2, 50)
    assert set(usage.load(conn, ACCOUNT, ["great", "small"])) == {"great", "small"}
    assert store_usage(conn, ACCOUNT, [event("great", 1)]) == set()
    if into == "sealed":
        usage_segments.index(conn, 2)
        assert store_usage(conn, ACCOUNT, [event("great", 1)]) == set()


@pytest.mark.parametrize(("status", "stays"), [("open", True), ("closed", False)])
def test_what_an_open_backfill_holds_stays(conn: Connection, status: str, stays: bool) -> None:
    add(conn, "meters")
    ended = None if status == "open" else NOW
    add(
        conn,
        "usage_backfills",
        status=status,
        closed_at=ended,
        event_count=None if ended is None else 1,
    )
    store_usage(conn, ACCOUNT, [event("x")])
    conn.execute("UPDATE usage_events SET backfill_id = 'bkf_1'")
    segment = rotate(conn)
    drop(conn, segment)
    assert bool(usage.load(conn, ACCOUNT, ["x"])) == stays


def test_another_accounts_backfill_of_that_name_keeps_nothing(conn: Connection) -> None:
    add(conn, "meters")
    add(conn, "usage_backfills", account_id=ACCOUNT - 1)
    store_usage(conn, ACCOUNT, [event("x")])
    conn.execute("UPDATE usage_events SET backfill_id = 'bkf_1'")
    drop(conn, rotate(conn))
    assert usage.load(conn, ACCOUNT, ["x"]) == {}


def test_sizes_and_times_are_told(conn: Connection) -> None:
    rotate(conn)
    assert usage_segments.find_open(conn).size == 0
    store_usage(conn, ACCOUNT, [event("x")])
    sealed, opened = usage_segments.list_all(conn)
    assert sealed.sealed_at == opened.opened_at == NOW
    assert opened.sealed_at is None
    assert opened.size > 0
