"""Usage counts once, in every window that contains it, however it arrives."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.core.metering import NO_USAGE, UsageTotal
from postpaid.storage import usage
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Rows
from postpaid.storage.usage import UsageEvent, Window
from rows import ACCOUNT, NOW

CUSTOMERS, METERS = ("cus_1", "cus_2"), ("mtr_1", "mtr_2")
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

# A dozen hours around a midnight, and most often the very edges of one.
moments = st.builds(
    lambda hours, milliseconds: MIDNIGHT + hours * HOUR + timedelta(milliseconds=milliseconds),
    st.integers(-6, 6),
    st.sampled_from([-1, 0, 0, 1]) | st.integers(0, 3_600_000),
)
references = st.sampled_from(["a", "A", "b", "B", "aa", "a-", "é", "z", "~", "1", "10", "9", "字"])
events = st.builds(
    UsageEvent,
    reference=references,
    meter_id=st.sampled_from(METERS),
    customer_id=st.sampled_from(CUSTOMERS),
    occurred_at=moments,
    value=st.decimals(-(10**15), 10**15, places=12) | st.integers(-9, 9).map(Decimal),
)
windows = st.builds(
    lambda customer_id, meter_id, ends: Window(customer_id, meter_id, min(ends), max(ends)),
    st.sampled_from(CUSTOMERS),
    st.sampled_from(METERS),
    st.tuples(moments, moments),
)
each_example_starts_empty = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def columns(batch: Iterable[UsageEvent]) -> usage.UsageColumns:
    found = usage.UsageColumns()
    for event in batch:
        found.references.append(event.reference)
        found.meter_ids.append(event.meter_id)
        found.customer_ids.append(event.customer_id)
        found.occurred_ats.append(event.occurred_at)
        found.values.append(event.value)
        found.payloads.append(None)
        found.received_ats.append(NOW)
    return found


def store(conn: Connection, *batch: UsageEvent) -> set[str]:
    return usage.insert_many(conn, ACCOUNT, columns(batch))


def event(reference: str, value: int, occurred_at: datetime = MIDNIGHT) -> UsageEvent:
    return UsageEvent(reference, "mtr_1", "cus_1", occurred_at, Decimal(value))


def total(conn: Connection, start: datetime, end: datetime) -> UsageTotal:
    [found] = usage.totals(conn, ACCOUNT, [Window("cus_1", "mtr_1", start, end)])
    return found


def counted(stored: Iterable[UsageEvent], window: Window) -> UsageTotal:
    """The window's total, counted on fingers."""
    within = [
        event
        for event in stored
        if (event.customer_id, event.meter_id) == (window.customer_id, window.meter_id)
        and window.start <= event.occurred_at < window.end
    ]
    if not within:
        return NO_USAGE
    last = max(within, key=lambda event: (event.occurred_at, event.reference))
    exact = sum(int(event.value * 10**12) for event in within)
    return UsageTotal(Decimal(exact).scaleb(-12), len(within), last.value, last.occurred_at)


@given(
    st.lists(events, max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
    st.lists(windows, min_size=1, max_size=8),
)
@each_example_starts_empty
def test_a_window_is_its_events_in_whatever_batches_they_came(
    conn: psycopg.Connection, reported: list[UsageEvent], cuts: list[int], asked: list[Window]
) -> None:
    first: dict[str, UsageEvent] = {}
    with conn.transaction(force_rollback=True):
        for start, end in pairwise([0, *sorted(cuts), len(reported)]):
            batch = reported[start:end]
            new = {event.reference for event in batch} - set(first)
            assert store(conn, *batch) == new
            for event in batch:
                first.setdefault(event.reference, event)
        assert usage.load(conn, ACCOUNT, list(first)) == first
        assert usage.totals(conn, ACCOUNT, asked) == [
            counted(first.values(), window) for window in asked
        ]


@given(
    st.lists(events, max_size=30),
    st.sampled_from(["hour", "day"]),
    st.integers(1, 4),
    st.integers(-1, 1),
    st.integers(0, 2),
)
@each_example_starts_empty
def test_totals_by_step_are_a_list_that_pages(
    conn: psycopg.Connection,
    reported: list[UsageEvent],
    step: str,
    limit: int,
    first_day: int,
    days: int,
) -> None:
    start = MIDNIGHT + first_day * 24 * HOUR
    window = Window("cus_1", "mtr_1", start, start + days * 24 * HOUR)
    length = usage.STEPS[step]
    stored = {event.reference: event for event in reversed(reported)}.values()
    newest_first = [
        (at, counted(stored, Window("cus_1", "mtr_1", at, at + length)))
        for at in (window.end - (n + 1) * length for n in range(days * 24 * HOUR // length))
    ]
    whole = [(at, found) for at, found in newest_first if found.count]

    def page(**cursor: datetime) -> Rows[tuple[datetime, UsageTotal]]:
        return usage.totals_by_step(conn, ACCOUNT, window, step=step, limit=limit, **cursor)

    with conn.transaction(force_rollback=True):
        store(conn, *reported)
        found = page()
        walked = found.rows
        while found.has_more:
            found = page(before=walked[-1][0])
            walked = walked + found.rows
        assert walked == whole

        if whole:
            walked, has_more = whole[-1:], True
            while has_more:
                found = page(after=walked[0][0])
                walked, has_more = found.rows + walked, found.has_more
            assert walked == whole


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("batches", [1, 3])
def test_of_two_at_one_instant_the_greater_reference_is_last(
    conn: Connection, order: Sequence[int], batches: int
) -> None:
    three = [event("B", 1), event("a", 2), event("é", 3)]  # by code points, in any locale
    mixed = [three[i] for i in order]
    for n in range(batches):
        store(conn, *mixed[n::batches])
    for start in (MIDNIGHT, MIDNIGHT - timedelta(minutes=1)):
        for end in (MIDNIGHT + HOUR, MIDNIGHT + timedelta(minutes=1)):
            assert total(conn, start, end) == UsageTotal(Decimal(6), 3, Decimal(3), MIDNIGHT)


def test_a_window_is_half_open(conn: Connection) -> None:
    store(conn, event("at the start", 1), event("at the end", 10, MIDNIGHT + HOUR))
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1
    assert total(conn, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR).sum == 10
    assert total(conn, MIDNIGHT, MIDNIGHT) == NO_USAGE


def test_of_a_reference_that_comes_twice_the_first_is_kept(conn: Connection) -> None:
    assert store(conn, event("x", 1), event("x", 2)) == {"x"}
    assert store(conn, event("x", 3)) == set()
    assert usage.load(conn, ACCOUNT, ["x"]) == {"x": event("x", 1)}
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1


def test_accounts_have_references_of_their_own(conn: Connection) -> None:
    assert store(conn, event("x", 1)) == {"x"}
    assert usage.insert_many(conn, ACCOUNT - 1, columns([event("x", 2)])) == {"x"}
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1


def test_nothing_is_asked_for_nothing(conn: Connection) -> None:
    assert usage.totals(conn, ACCOUNT, []) == []


def test_many_at_once_count_each_event_once(fresh_database_url: str) -> None:
    """Each thread reports all events, in batches and an order of its own, and none deadlocks."""
    everything = [
        UsageEvent(f"event-{n}", METERS[n % 2], CUSTOMERS[n % 3 % 2], at, Decimal(n))
        for n in range(400)
        for at in [MIDNIGHT + n * timedelta(minutes=3)]
    ]
    database = Database(fresh_database_url, pool_size=8)

    def report(seed: int) -> list[str]:
        mine = random.Random(seed).sample(everything, len(everything))
        new: list[str] = []
        for start in range(0, len(mine), 50):
            with database.transaction() as conn:
                new += store(conn, *mine[start : start + 50])
        return new

    with ThreadPoolExecutor(8) as threads:
        stored = [reference for new in threads.map(report, range(8)) for reference in new]
    assert sorted(stored) == sorted(event.reference for event in everything)
    asked = [
        Window(customer_id, meter_id, MIDNIGHT + start * HOUR, MIDNIGHT + 20 * HOUR)
        for customer_id in CUSTOMERS
        for meter_id in METERS
        for start in (0, 0.7)
    ]
    with database.connection() as conn:
        assert usage.totals(conn, ACCOUNT, asked) == [counted(everything, each) for each in asked]
    database.close()
