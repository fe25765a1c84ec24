"""Conflicts are kept as they came, the first of many, and found by their identifiers."""

from __future__ import annotations

from datetime import timedelta

from postpaid.storage import usage_conflicts
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page
from postpaid.storage.usage_conflicts import INSERTED_MAX, UsageConflict
from rows import ACCOUNT, NOW


def conflict(n: int, reference: str = "event-1") -> UsageConflict:
    return UsageConflict(
        id=f"mtcon_{n:04d}",
        reference=reference,
        event_name="call",
        customer_id="cus_1",
        occurred_at=NOW,
        value="0.5",
        payload='{"value":"0.50"}',
        received_at=NOW + timedelta(milliseconds=1),
        actor="key_1",
    )


def test_conflicts_are_kept_as_they_came_newest_first(conn: Connection) -> None:
    kept = [conflict(n) for n in range(3)]
    usage_conflicts.insert_many(conn, ACCOUNT, kept)
    assert usage_conflicts.list_page(conn, ACCOUNT, Page()).rows == kept[::-1]
    assert usage_conflicts.list_page(conn, ACCOUNT - 1, Page()).rows == []


def test_the_first_of_many_are_kept(conn: Connection) -> None:
    usage_conflicts.insert_many(conn, ACCOUNT, [conflict(n) for n in range(INSERTED_MAX + 50)])
    newest = usage_conflicts.list_page(conn, ACCOUNT, Page(limit=INSERTED_MAX))
    assert (len(newest.rows), newest.has_more) == (INSERTED_MAX, False)
    assert newest.rows[-1] == conflict(0)


def test_conflicts_are_found_by_identifier(conn: Connection) -> None:
    usage_conflicts.insert_many(conn, ACCOUNT, [conflict(1, "a"), conflict(2, "b")])
    found = usage_conflicts.list_page(conn, ACCOUNT, Page(), reference="b")
    assert found.rows == [conflict(2, "b")]


def test_no_conflict_costs_nothing(conn: Connection) -> None:
    usage_conflicts.insert_many(conn, ACCOUNT, [])
    assert usage_conflicts.list_page(conn, ACCOUNT, Page()).rows == []
