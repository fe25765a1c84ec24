"""Events are kept as they were said, and found by kind, by time and by what they are about."""

from __future__ import annotations

import pytest

from postpaid.storage import events
from postpaid.storage.database import Connection
from postpaid.storage.events import Event
from postpaid.storage.paging import Page
from rows import ACCOUNT, HOUR, NOW

TYPES = ["invoice.paid", "invoice.created", "invoice_item.created", "customer.created", "invoice"]


def event(n: int, type: str = "invoice.paid", object_id: str = "in_1") -> Event:
    return Event(
        id=f"evt_{n}",
        type=type,
        object_type=type.split(".")[0],
        object_id=object_id,
        snapshot='{"z": 1.10, "a": "\\u0000 ☃"}',
        previous=None if n % 2 else '{"a":null}',
        request_id=f"req_{n}",
        idempotency_key="k\té\\",
        clock_id="clock_1",
        created_at=NOW + n * HOUR,
    )


@pytest.fixture
def said(conn: Connection) -> Connection:
    """One event of each type, an hour apart, about two objects."""
    several = [event(n, type, f"in_{n % 2}") for n, type in enumerate(TYPES)]
    events.insert_many(conn, ACCOUNT, several)
    return conn


def test_an_event_is_kept_as_it_was_said(conn: Connection) -> None:
    events.insert_many(conn, ACCOUNT, [event(1), event(2)])
    assert events.find(conn, ACCOUNT, "evt_1") == event(1)
    assert events.list_page(conn, ACCOUNT, Page()).rows == [event(2), event(1)]
    assert events.find(conn, ACCOUNT - 1, "evt_1") is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, TYPES),
        (["invoice.paid"], ["invoice.paid"]),
        (["invoice.paid", "customer.created"], ["invoice.paid", "customer.created"]),
        (["invoice.*"], ["invoice.paid", "invoice.created"]),
        (
            ["invoice.*", "customer.created"],
            ["invoice.paid", "invoice.created", "customer.created"],
        ),
        (["invoice_item.*"], ["invoice_item.created"]),
        (["invoic_.*"], []),
        (["%.*"], []),
        (["*"], []),
        (["invoice.voided"], []),
    ],
    ids=str,
)
def test_events_are_found_by_type(
    said: Connection, asked: list[str] | None, found: list[str]
) -> None:
    rows = events.list_page(said, ACCOUNT, Page(), types=asked).rows
    assert [row.type for row in rows] == found[::-1]


def test_events_are_found_by_time_and_by_object(said: Connection) -> None:
    within = events.list_page(
        said, ACCOUNT, Page(), created_from=NOW + HOUR, created_before=NOW + 3 * HOUR
    )
    assert [row.id for row in within.rows] == ["evt_2", "evt_1"]
    about = events.list_page(said, ACCOUNT, Page(), object_id="in_1")
    assert [row.id for row in about.rows] == ["evt_3", "evt_1"]
