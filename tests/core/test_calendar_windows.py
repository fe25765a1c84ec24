"""The hours, days and months of a time zone, when the clocks change too."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.calendar_windows import (
    Step,
    floor,
    is_boundary,
    months_between,
    windows_between,
)

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
ODD_ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # half an hour off
    "Asia/Kathmandu",  # three quarters
    "Australia/Lord_Howe",  # moves its clocks by half an hour
    "America/Sao_Paulo",  # skipped midnights
    "Pacific/Apia",  # skipped a day
    "Antarctica/Troll",  # moves its clocks by two hours
]


@pytest.mark.parametrize(
    ("start", "days", "hours"),
    [
        (datetime(2026, 3, 28, tzinfo=BERLIN), 3, [24, 23, 24]),
        (datetime(2026, 10, 24, tzinfo=BERLIN), 3, [24, 25, 24]),
        (datetime(2026, 1, 1, tzinfo=UTC), 2, [24, 24]),
    ],
    ids=["clocks go forward", "clocks go back", "UTC"],
)
def test_a_day_is_as_long_as_it_is(start, days, hours):
    end = start + timedelta(days=days)  # by the clock on the wall
    windows = list(windows_between(start, end, Step.DAY, start.tzinfo))
    assert [(after - before) // HOUR for before, after in windows] == hours


def test_an_hour_that_comes_twice_is_two_hours():
    start = datetime(2026, 10, 25, tzinfo=BERLIN)
    end = datetime(2026, 10, 26, tzinfo=BERLIN)
    windows = list(windows_between(start, end, Step.HOUR, BERLIN))
    assert len(windows) == 25
    assert {after - before for before, after in windows} == {HOUR}


def test_months_are_those_of_the_zone():
    start, end = datetime(2026, 1, 1, tzinfo=BERLIN), datetime(2026, 5, 1, tzinfo=BERLIN)
    windows = list(windows_between(start, end, Step.MONTH, BERLIN))
    assert [before for before, _ in windows] == [
        datetime(2025, 12, 31, 23, tzinfo=UTC),
        datetime(2026, 1, 31, 23, tzinfo=UTC),
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 31, 22, tzinfo=UTC),
    ]
    assert not is_boundary(datetime(2026, 1, 1, tzinfo=UTC), Step.MONTH, BERLIN)


instants = st.integers(31_536_000, 2_114_380_800).map(lambda s: datetime.fromtimestamp(s, UTC))


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.parametrize("step", list(Step))
@given(instant=instants, length=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_windows_follow_one_another_from_boundary_to_boundary(zone, step, instant, length):
    zone = ZoneInfo(zone)
    start = floor(instant, step, zone)
    assert start <= instant
    assert is_boundary(start, step, zone)
    days = {Step.HOUR: 1, Step.DAY: 20, Step.MONTH: 400}[step]
    end = floor(start + timedelta(days=days, hours=length), step, zone)
    windows = list(windows_between(start, end, step, zone))
    if start < end:
        assert (windows[0][0], windows[-1][1]) == (start, end)
    assert all(one[1] == other[0] for one, other in pairwise(windows))
    for before, after in windows:
        assert before < after
        assert is_boundary(before, step, zone)
        middle = before + (after - before) / 2
        assert floor(middle, step, zone) == before


def test_months_are_cut_to_the_range_whatever_its_ends() -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=BERLIN)
    end = datetime(2026, 4, 1, 5, tzinfo=BERLIN)
    months = list(months_between(start.astimezone(UTC), end.astimezone(UTC), BERLIN))
    first = [datetime(2026, month, 1, tzinfo=BERLIN) for month in (2, 3, 4)]
    assert months == list(pairwise([start, *first, end]))
    assert list(months_between(start, start, BERLIN)) == []
    inside = (start + HOUR, start + 2 * HOUR)
    assert list(months_between(*inside, BERLIN)) == [inside]
