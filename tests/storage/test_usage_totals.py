"""A window's total is its events, in whatever batches they came, kept or computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metered import Stored, store_usage
from postpaid.billing import roll_up
from postpaid.core.metering import NO_USAGE, Aggregation, UsageTotal
from postpaid.storage import usage, usage_corrections, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows
from postpaid.storage.usage_totals import Window
from rows import ACCOUNT, add

CUSTOMERS = ("cus_1", "cus_2")
AGGREGATIONS = {each.value: each for each in Aggregation if each.combines}
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
    Stored,
    reference=references,
    meter_id=st.sampled_from(sorted(AGGREGATIONS)),
    customer_id=st.sampled_from(CUSTOMERS),
    occurred_at=moments,
    value=st.decimals(-(10**15), 10**15, places=12) | st.integers(-9, 9).map(Decimal),
)
windows = st.builds(
    lambda customer_id, meter_id, ends: Window(customer_id, meter_id, min(ends), max(ends)),
    st.sampled_from(CUSTOMERS),
    st.sampled_from(sorted(AGGREGATIONS)),
    st.tuples(moments, moments),
)
each_example_starts_empty = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def conn(conn: Connection) -> Connection:
    """A meter of every aggregation that combines; its id is its name."""
    for name in AGGREGATIONS:
        add(conn, "meters", id=name, event_name=name, aggregation=name)
    return conn


def event(reference: str, value: int, occurred_at: datetime = MIDNIGHT) -> Stored:
    return Stored(reference, "last", "cus_1", occurred_at, Decimal(value))


def store(conn: Connection, *batch: Stored) -> set[str]:
    return store_usage(conn, ACCOUNT, batch)


def totals(conn: Connection, asked: Sequence[Window]) -> list[Any]:
    found = usage_totals.totals(conn, ACCOUNT, asked)
    return [told(window, total) for window, total in zip(asked, found, strict=True)]


def told(window: Window, total: UsageTotal) -> tuple[Any, ...]:
    """Of a total what its meter's aggregation needs: the rest may be there or not."""
    match AGGREGATIONS[window.meter_id]:
        case Aggregation.LAST:
            return total.sum, total.count, total.last_value, total.last_at
        case Aggregation.MAX:
            return total.sum, total.count, total.max
        case _:
            return total.sum, total.count


def counted(stored: Iterable[Stored], window: Window) -> UsageTotal:
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
    return UsageTotal(
        Decimal(exact).scaleb(-12),
        len(within),
        last.value,
        last.occurred_at,
        max(event.value for event in within),
    )


def by_hand(stored: Iterable[Stored], asked: Sequence[Window]) -> list[Any]:
    stored = list(stored)
    return [told(window, counted(stored, window)) for window in asked]


def open_over(conn: Connection, asked: Sequence[Window]) -> None:
    """Have these windows kept from now on, with what is in them already."""
    usage.make_series(
        conn, ACCOUNT, sorted({(window.customer_id, window.meter_id) for window in asked})
    )
    usage_totals.open_computed(
        conn, ACCOUNT, [window for window in asked if window.start < window.end]
    )


def close_all(conn: Connection) -> None:
    conn.execute(
        "DELETE FROM usage_windows WHERE series_id IN"
        " (SELECT series_id FROM usage_series WHERE account_id = %s)",
        (ACCOUNT,),
    )


@given(
    st.lists(events, max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
    st.lists(windows, min_size=1, max_size=8),
    st.lists(st.integers(0, 5), max_size=8),
)
@each_example_starts_empty
def test_a_window_is_its_events_in_whatever_batches_they_came(
    conn: psycopg.Connection,
    reported: list[Stored],
    cuts: list[int],
    asked: list[Window],
    opened: list[int],
) -> None:
    """Some windows are opened before one of the batches, and kept from there on."""
    first: dict[str, Stored] = {}
    with conn.transaction(force_rollback=True):
        for turn, (start, end) in enumerate(pairwise([0, *sorted(cuts), len(reported)])):
            now_kept = [window for window, when in zip(asked, opened, strict=False) if when == turn]
            open_over(conn, now_kept)
            batch = reported[start:end]
            store(conn, *batch)
            for each in batch:
                first.setdefault(each.reference, each)
            assert totals(conn, asked) == by_hand(first.values(), asked)
        close_all(conn)
        assert totals(conn, asked) == by_hand(first.values(), asked)


@given(
    st.lists(events, min_size=1, max_size=30, unique_by=lambda event: event.reference),
    st.lists(windows, min_size=1, max_size=8),
    st.data(),
)
@each_example_starts_empty
def test_what_is_taken_out_was_never_there(
    conn: psycopg.Connection, reported: list[Stored], asked: list[Window], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from([each.reference for each in reported])))
    left = [each for each in reported if each.reference not in gone]
    with conn.transaction(force_rollback=True):
        open_over(conn, asked[::2])
        store(conn, *reported)
        open_over(conn, asked[1::4])
        flipped = usage_corrections.cancel(conn, ACCOUNT, gone, canceled_at=MIDNIGHT)
        assert {each.reference for each in flipped} == gone
        stored = usage.load(conn, ACCOUNT, gone).values()
        aggregations = {each.series_id: AGGREGATIONS[each.meter_id] for each in stored}
        roll_up.apply(conn, flipped, aggregations)
        assert totals(conn, asked) == by_hand(left, asked)
        close_all(conn)
        assert totals(conn, asked) == by_hand(left, asked)
        assert usage_corrections.cancel(conn, ACCOUNT, gone, canceled_at=MIDNIGHT) == []


@given(
    st.lists(events, max_size=30),
    st.sampled_from(["hour", "day"]),
    st.integers(1, 4),
    st.integers(-1, 1),
    st.integers(0, 2),
    st.sampled_from(sorted(AGGREGATIONS)),
)
@each_example_starts_empty
def test_totals_by_step_are_a_list_that_pages(
    conn: psycopg.Connection,
    reported: list[Stored],
    step: Literal["hour", "day"],
    limit: int,
    first_day: int,
    days: int,
    meter_id: str,
) -> None:
    start = MIDNIGHT + first_day * 24 * HOUR
    window = Window("cus_1", meter_id, start, start + days * 24 * HOUR)
    length = usage_totals.STEPS[step]
    stored = {event.reference: event for event in reversed(reported)}.values()
    newest_first = [
        (at, counted(stored, Window("cus_1", meter_id, at, at + length)))
        for at in (window.end - (n + 1) * length for n in range(days * 24 * HOUR // length))
    ]
    whole = [(at, told(window, found)) for at, found in newest_first if found.count]

    def page(**cursor: datetime) -> Rows[tuple[datetime, tuple[Any, ...]]]:
        found = usage_totals.totals_by_step(conn, ACCOUNT, window, step=step, limit=limit, **cursor)
        return Rows([(at, told(window, each)) for at, each in found.rows], found.has_more)

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


def total(conn: Connection, start: datetime, end: datetime) -> UsageTotal:
    [found] = usage_totals.totals(conn, ACCOUNT, [Window("cus_1", "last", start, end)])
    return found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed"])
def test_of_two_at_one_instant_the_greater_reference_is_last(
    conn: Connection, order: Sequence[int], batches: int, kept: bool
) -> None:
    three = [event("B", 1), event("a", 2), event("é", 3)]  # by code points, in any locale
    mixed = [three[i] for i in order]
    minute = timedelta(minutes=1)
    asked = [
        Window("cus_1", "last", start, end)
        for start in (MIDNIGHT, MIDNIGHT - minute)
        for end in (MIDNIGHT + HOUR, MIDNIGHT + minute)
    ]
    if kept:
        open_over(conn, asked)
    for n in range(batches):
        store(conn, *mixed[n::batches])
    assert totals(conn, asked) == [(Decimal(6), 3, Decimal(3), MIDNIGHT)] * 4


def test_a_window_is_half_open(conn: Connection) -> None:
    store(conn, event("at the start", 1), event("at the end", 10, MIDNIGHT + HOUR))
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1
    assert total(conn, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR).sum == 10
    assert total(conn, MIDNIGHT, MIDNIGHT) == NO_USAGE


def test_of_a_reference_that_comes_twice_the_first_counts(conn: Connection) -> None:
    assert store(conn, event("x", 1), event("x", 2)) == {"x"}
    assert store(conn, event("x", 3)) == set()
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1


def test_accounts_count_for_themselves(conn: Connection) -> None:
    store(conn, event("x", 1))
    store_usage(conn, ACCOUNT - 1, [event("x", 2)])
    assert total(conn, MIDNIGHT, MIDNIGHT + HOUR).sum == 1


def test_a_window_that_is_open_already_keeps_its_total(conn: Connection) -> None:
    window = Window("cus_1", "last", MIDNIGHT, MIDNIGHT + HOUR)
    open_over(conn, [window])
    store(conn, event("x", 5))
    usage_totals.open_empty(conn, ACCOUNT, [window])
    open_over(conn, [window])
    assert total(conn, window.start, window.end).sum == 5


def test_nothing_is_asked_for_nothing(conn: Connection) -> None:
    assert usage_totals.totals(conn, ACCOUNT, []) == []
