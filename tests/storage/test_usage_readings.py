"""What is read from events is what the definitions say, for whatever events and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.core.metering import (
    NO_USAGE,
    PERCENTS,
    Aggregation,
    UsageTotal,
    aggregated,
    distinct,
    duration,
    percentile,
    time_weighted_sum,
)
from postpaid.storage import usage, usage_readings
from postpaid.storage.database import Connection
from postpaid.storage.usage_readings import Cut, Reading, Selection, read
from postpaid.storage.usage_totals import Window
from rows import ACCOUNT, add

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AFTER_ALL = MIDNIGHT + 1000 * HOUR
EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Event:
    """An event of one customer and meter; its value as a unique meter reads it is ``who``."""

    at: datetime
    value: Decimal
    who: str
    dimensions: tuple[tuple[str, str], ...]
    counted: bool = True


moments = st.builds(
    lambda hours, ms: MIDNIGHT + hours * HOUR + timedelta(milliseconds=ms),
    st.integers(-4, 4),
    st.sampled_from([-1, 0, 0, 1]) | st.integers(0, 3_600_000),
)
events = st.lists(
    st.builds(
        Event,
        moments,
        st.integers(-3, 9).map(Decimal) | st.decimals(-(10**15), 10**15, places=12),
        st.sampled_from(["ada", "Ada", "bob", "é", "e\u0301", '"', " "]),
        st.dictionaries(
            st.sampled_from(["region", "tier", "0"]), st.sampled_from(["eu", "us", "", "ü"])
        ).map(lambda each: tuple(each.items())),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=25,
)
windows = st.lists(
    st.tuples(moments, moments).filter(lambda ends: ends[0] != ends[1]).map(sorted),
    min_size=1,
    max_size=5,
)
selections = st.builds(
    Selection,
    st.dictionaries(st.sampled_from(["region", "tier"]), st.sampled_from(["eu", "us", ""])),
    st.lists(st.sampled_from(["region", "tier", "0"]), max_size=3, unique=True).map(tuple),
)


def store(conn: Connection, aggregation: Aggregation, given: Sequence[Event]) -> None:
    """The meter and its events, their references in the order given."""
    add(conn, "customers")
    add(conn, "meters", aggregation=aggregation, value_key="who")
    ids, _ = usage.make_series(conn, ACCOUNT, [("cus_1", "mtr_1")])
    count = len(given)
    occurred = [
        (each.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) for each in given
    ]
    columns = usage.UsageColumns(
        references=[f"{place:04}" for place in range(count)],
        series_ids=[ids["cus_1", "mtr_1"]] * count,
        occurred_ms=occurred,
        received_ms=occurred,
        values=[each.value for each in given],
        payloads=[
            msgspec.json.encode(dict(each.dimensions) | {"who": each.who}).decode()
            for each in given
        ],
    )
    assert usage.insert_many(conn, ACCOUNT, columns) == set()
    out = [f"{place:04}" for place in range(count) if not given[place].counted]
    conn.execute(
        "UPDATE usage_events SET counted = false WHERE account_id = %s AND reference = ANY(%s)",
        (ACCOUNT, out),
    )


def defined(
    aggregation: Aggregation, given: Sequence[Event], start: datetime, end: datetime, now: datetime
) -> Decimal | None:
    """The quantity by definition; None where there is nothing to read."""
    ordered = sorted((each for each in given if each.counted), key=lambda each: each.at)
    within = [each for each in ordered if start <= each.at < end]
    if aggregation.is_level:
        stop = min(end, max(start, now))
        level = next((each.value for each in reversed(ordered) if each.at < start), Decimal(0))
        changes = [(each.at, each.value) for each in within]
        if not [at for at, _ in changes if at < stop] and not (level and start < stop):
            return None
        sums = time_weighted_sum if aggregation == Aggregation.TIME_WEIGHTED_SUM else duration
        return sums(changes, level, start, end, as_of=now)
    if not within:
        return None
    if aggregation == Aggregation.UNIQUE:
        return Decimal(distinct(each.who for each in within))
    if aggregation in PERCENTS:
        return percentile([each.value for each in within], PERCENTS[aggregation])
    total = NO_USAGE
    for each in within:
        total = total.combine(UsageTotal(each.value, 1, each.value, each.at, each.value))
    return aggregated(aggregation, total)


def groups(
    given: Sequence[Event], selection: Selection
) -> dict[tuple[str | None, ...], list[Event]]:
    found: dict[tuple[str | None, ...], list[Event]] = {}
    for event in given:
        dimensions = dict(event.dimensions)
        if all(dimensions.get(key) == value for key, value in selection.filters.items()):
            key = tuple(dimensions.get(each) for each in selection.group_by)
            found.setdefault(key, []).append(event)
    return found


@pytest.mark.parametrize("aggregation", list(Aggregation))
@given(given_events=events, ends=windows, selection=selections, now=moments | st.just(AFTER_ALL))
@EXAMPLES
def test_a_reading_is_its_definition(
    conn: psycopg.Connection,
    aggregation: Aggregation,
    given_events: list[Event],
    ends: list[tuple[datetime, datetime]],
    selection: Selection,
    now: datetime,
) -> None:
    asked = [Window("cus_1", "mtr_1", start, end) for start, end in ends]
    with conn.transaction(force_rollback=True):
        store(conn, aggregation, given_events)
        found = read(conn, ACCOUNT, aggregation, asked, as_of=now, selection=selection)
        expected = {
            (place, dimensions): quantity
            for dimensions, events in groups(given_events, selection).items()
            for place, (start, end) in enumerate(ends, start=1)
            if (quantity := defined(aggregation, events, start, end, now)) is not None
        }
        assert {(each.place, each.dimensions): each.quantity for each in found.rows} == expected
        assert len(found.rows) == len(expected)
        assert not found.has_more


@pytest.mark.parametrize("aggregation", [Aggregation.SUM, Aggregation.DURATION])
@given(given_events=events, limit=st.integers(1, 4), selection=selections)
@EXAMPLES
def test_readings_are_a_list_that_pages(
    conn: psycopg.Connection,
    aggregation: Aggregation,
    given_events: list[Event],
    limit: int,
    selection: Selection,
) -> None:
    hours = [MIDNIGHT + n * HOUR for n in range(-5, 6)]
    asked = [Window("cus_1", "mtr_1", start, start + HOUR) for start in hours]

    def page(some: Sequence[Window], cut: Cut | None) -> tuple[list[Reading], bool]:
        found = read(
            conn, ACCOUNT, aggregation, some, as_of=AFTER_ALL, selection=selection, cut=cut
        )
        return found.rows, found.has_more

    with conn.transaction(force_rollback=True):
        store(conn, aggregation, given_events)
        whole, _ = page(asked, None)
        assert [(each.place, each.group) for each in whole] == sorted(
            (each.place, each.group) for each in whole
        )
        for backwards in (False, True):
            windows = asked[::-1] if backwards else asked
            rows, more = page(windows, Cut(limit, None, backwards))
            walked = [windows[each.place - 1].start for each in rows]
            quantities = [each.quantity for each in rows]
            while more:
                first = rows[-1].place - 1
                windows = windows[first:]
                rows, more = page(windows, Cut(limit, rows[-1].group, backwards))
                walked += [windows[each.place - 1].start for each in rows]
                quantities += [each.quantity for each in rows]
            expected = whole[::-1] if backwards else whole
            assert walked == [asked[each.place - 1].start for each in expected]
            assert quantities == [each.quantity for each in expected]


def test_ranks_are_exact_for_any_number_of_values(conn: Connection) -> None:
    """The database multiplies as a float: nothing may come of it."""
    counts = [1, 2, 19, 20, 21, 99, 100, 101, 200, 400, 1000]
    given_events = [
        Event(MIDNIGHT + place * HOUR, Decimal(n), "x", ())
        for place, count in enumerate(counts)
        for n in range(1, count + 1)
    ]
    asked = [
        Window("cus_1", "mtr_1", MIDNIGHT + place * HOUR, MIDNIGHT + (place + 1) * HOUR)
        for place in range(len(counts))
    ]
    store(conn, Aggregation.P95, given_events)
    for aggregation, percent in PERCENTS.items():
        found = read(conn, ACCOUNT, aggregation, asked, as_of=AFTER_ALL)
        assert [each.quantity for each in found.rows] == [
            -(-count * percent // 100) for count in counts
        ]


def test_nothing_is_read_for_nothing(conn: Connection) -> None:
    assert read(conn, ACCOUNT, Aggregation.P95, [], as_of=AFTER_ALL).rows == []
    nobody = [Window("cus_2", "mtr_2", MIDNIGHT, AFTER_ALL)]
    assert read(conn, ACCOUNT, Aggregation.P95, nobody, as_of=AFTER_ALL).rows == []
    assert usage_readings.page_of_totals(conn, ACCOUNT, nobody, limit=1).rows == []
