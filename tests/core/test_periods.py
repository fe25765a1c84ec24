"""Boundaries counted from an anchor, through short months and changing clocks."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.periods import (
    Interval,
    Period,
    Recurrence,
    boundary,
    fraction_remaining,
    index_at,
    period_at_index,
)

NEW_YORK = ZoneInfo("America/New_York")
MONTHLY = Recurrence(Interval.MONTH)
DAILY = Recurrence(Interval.DAY)


def at(text: str, zone=UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("interval", "count", "anchor", "boundaries"),
    [
        ("day", 1, "2026-02-27", "2026-02-27 2026-02-28 2026-03-01"),
        ("day", 10, "2026-02-27", "2026-02-27 2026-03-09 2026-03-19"),
        ("week", 1, "2026-12-28", "2026-12-28 2027-01-04 2027-01-11"),
        ("week", 2, "2026-12-28", "2026-12-28 2027-01-11 2027-01-25"),
        ("month", 1, "2026-01-15", "2026-01-15 2026-02-15 2026-03-15"),
        ("month", 1, "2026-01-31", "2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31"),
        ("month", 1, "2028-01-30", "2028-01-30 2028-02-29 2028-03-30"),
        ("month", 3, "2026-11-30", "2026-11-30 2027-02-28 2027-05-30"),
        ("month", 2, "2027-12-31", "2027-12-31 2028-02-29 2028-04-30"),
        ("year", 1, "2028-02-29", "2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29"),
        ("year", 3, "2026-07-01", "2026-07-01 2029-07-01"),
    ],
)
def test_boundaries_are_counted_from_the_anchor(interval, count, anchor, boundaries):
    """An anchor on the 31st does not drift to the 28th.

    31 Jan ─── period 0 ─── 28 Feb ─── period 1 ─── 31 Mar ─── period 2 ─── 30 Apr
    """
    recurrence = Recurrence(Interval(interval), count)
    start = at(f"{anchor}T10:20:30")
    expected = [at(f"{day}T10:20:30") for day in boundaries.split()]
    assert [boundary(start, recurrence, i) for i in range(len(expected))] == expected


def test_boundaries_before_the_anchor_have_negative_numbers():
    """Time goes on before the anchor as it does after.

    30 Nov ─── period -2 ─── 31 Dec ─── period -1 ─── 31 Jan (anchor) ─── period 0 ───
    """
    anchor = at("2026-01-31T00:00:00")
    assert boundary(anchor, MONTHLY, -1) == at("2025-12-31T00:00:00")
    assert boundary(anchor, MONTHLY, -2) == at("2025-11-30T00:00:00")
    assert boundary(anchor, MONTHLY, -11) == at("2025-02-28T00:00:00")


def test_the_clock_on_the_wall_is_kept_when_summer_time_begins():
    """Midnight stays midnight in New York, and March has one hour less.

    UTC     1 Mar 05:00 ─────── 8 Mar, clocks go forward ─────── 1 Apr 04:00
    local   1 Mar 00:00 EST                                      1 Apr 00:00 EDT
    """
    march = period_at_index(at("2026-01-01T05:00:00"), MONTHLY, 2, NEW_YORK)
    assert march == Period(at("2026-03-01T05:00:00"), at("2026-04-01T04:00:00"))
    assert march.end - march.start == timedelta(days=31, hours=-1)


def test_the_local_calendar_decides_which_day_is_the_last_of_the_month():
    """23:30 on 31 January in New York is already 1 February in UTC.

    local   31 Jan 23:30 ─── 28 Feb 23:30 ─── 31 Mar 23:30
    UTC      1 Feb 04:30      1 Mar 04:30      1 Apr 03:30 (summer time)
    """
    anchor = at("2026-01-31T23:30:00", NEW_YORK)
    assert [boundary(anchor, MONTHLY, i, NEW_YORK) for i in range(3)] == [
        at("2026-02-01T04:30:00"),
        at("2026-03-01T04:30:00"),
        at("2026-04-01T03:30:00"),
    ]
    assert boundary(anchor, MONTHLY, 1) == at("2026-03-01T04:30:00")
    assert boundary(anchor, MONTHLY, 2) == at("2026-04-01T04:30:00")


def test_a_time_that_the_clocks_skip_moves_forward():
    """On 8 March 2026 New York has no 02:30: the clocks go from 02:00 to 03:00.

    local   7 Mar 02:30 EST ─── 23 h 60 min ─── 8 Mar 03:30 EDT ─── 23 h ─── 9 Mar 02:30 EDT
    UTC     7 Mar 07:30                         8 Mar 07:30                  9 Mar 06:30
    """
    anchor = at("2026-03-07T02:30:00", NEW_YORK)
    assert [boundary(anchor, DAILY, i, NEW_YORK) for i in range(3)] == [
        at("2026-03-07T07:30:00"),
        at("2026-03-08T07:30:00"),
        at("2026-03-09T06:30:00"),
    ]


def test_a_time_that_the_clocks_pass_twice_means_the_first():
    """On 1 November 2026 New York has 01:30 twice: in EDT, and an hour later in EST.

    local   31 Oct 01:30 EDT ─── 24 h ─── 1 Nov 01:30 EDT ─── 25 h ─── 2 Nov 01:30 EST
    UTC     31 Oct 05:30                  1 Nov 05:30                  2 Nov 06:30
    """
    anchor = at("2026-10-31T01:30:00", NEW_YORK)
    assert [boundary(anchor, DAILY, i, NEW_YORK) for i in range(3)] == [
        at("2026-10-31T05:30:00"),
        at("2026-11-01T05:30:00"),
        at("2026-11-02T06:30:00"),
    ]
    second_ten_past_one = at("2026-11-01T06:10:00")
    assert index_at(anchor, DAILY, second_ten_past_one, NEW_YORK) == 1


def test_an_anchor_in_the_repeated_hour_stays_where_it_is():
    """The anchor is the second 01:30 of its day, and period 0 starts there, not an hour before.

    UTC     1 Nov 05:30 (first 01:30)     1 Nov 06:30 (anchor) ─── period 0 ─── 2 Nov 06:30
    """
    anchor = at("2026-11-01T06:30:00")
    assert boundary(anchor, DAILY, 0, NEW_YORK) == anchor
    assert boundary(anchor, Recurrence(Interval.YEAR), -6, NEW_YORK) == at("2020-11-01T05:30:00")
    assert index_at(anchor, DAILY, at("2026-11-01T06:29:59"), NEW_YORK) == -1
    assert index_at(anchor, DAILY, anchor, NEW_YORK) == 0


def test_the_day_that_samoa_skipped_has_no_period():
    """At the end of 29 December 2011 Samoa moved across the date line, to 31 December.

    local   29 Dec 10:00 ─── period 0 ─── 31 Dec 10:00 ─── period 2 ─── 1 Jan 10:00
    """
    apia = ZoneInfo("Pacific/Apia")
    anchor = at("2011-12-29T10:00:00", apia)
    assert boundary(anchor, DAILY, 1, apia) == boundary(anchor, DAILY, 2, apia)
    with pytest.raises(ValueError, match="start must be before end"):
        period_at_index(anchor, DAILY, 1, apia)
    assert index_at(anchor, DAILY, at("2011-12-31T10:00:00", apia), apia) == 2


@pytest.mark.parametrize(
    ("instant", "index"),
    [
        ("2026-01-31T10:00:00", 0),
        ("2026-02-28T09:59:59", 0),
        ("2026-02-28T10:00:00", 1),
        ("2026-03-31T09:59:59", 1),
        ("2026-03-31T10:00:00", 2),
        ("2026-01-31T09:59:59", -1),
        ("2025-12-31T10:00:00", -1),
        ("2025-12-31T09:59:59", -2),
        ("2126-01-31T10:00:00", 1200),
    ],
)
def test_a_boundary_belongs_to_the_period_that_it_starts(instant, index):
    """[start, end): 28 Feb 10:00:00 is the first second of period 1, one earlier the last of 0.

    31 Jan 10:00 ├── period 0 ──┤ 28 Feb 10:00 ├── period 1 ──┤ 31 Mar 10:00
    """
    anchor = at("2026-01-31T10:00:00")
    assert index_at(anchor, MONTHLY, at(instant)) == index
    assert period_at_index(anchor, MONTHLY, index).contains(at(instant))


YEAR_2000 = at("2000-01-01T00:00:00")
instants = st.integers(0, 40 * 366 * 86_400).map(lambda s: YEAR_2000 + timedelta(seconds=s))
recurrences = st.builds(Recurrence, st.sampled_from(Interval), st.integers(1, 12))
zones = st.sampled_from(
    [
        UTC,
        NEW_YORK,
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("Asia/Kolkata"),
        ZoneInfo("America/Sao_Paulo"),  # summer time began at midnight
        ZoneInfo("Australia/Lord_Howe"),  # by half an hour
        ZoneInfo("Africa/Casablanca"),  # backwards for a month a year
    ]
)


@given(instants, recurrences, st.integers(-60, 60), zones)
@settings(max_examples=50)
def test_consecutive_periods_meet_and_go_forward(anchor, recurrence, index, zone):
    periods = [period_at_index(anchor, recurrence, i, zone) for i in range(index, index + 3)]
    assert all(one.end == other.start for one, other in pairwise(periods))
    assert all(period.start.tzinfo is UTC and period.end.tzinfo is UTC for period in periods)


@given(instants, recurrences, st.integers(-60, 60), zones)
@settings(max_examples=50)
def test_the_index_at_a_boundary_is_the_boundarys(anchor, recurrence, index, zone):
    start = boundary(anchor, recurrence, index, zone)
    assert index_at(anchor, recurrence, start, zone) == index
    assert index_at(anchor, recurrence, start - timedelta(microseconds=1), zone) == index - 1


@given(instants, recurrences, instants, zones)
@settings(max_examples=50)
def test_every_instant_is_in_the_period_of_its_index(anchor, recurrence, instant, zone):
    index = index_at(anchor, recurrence, instant, zone)
    assert period_at_index(anchor, recurrence, index, zone).contains(instant)
    assert not period_at_index(anchor, recurrence, index + 1, zone).contains(instant)
    assert not period_at_index(anchor, recurrence, index - 1, zone).contains(instant)


def test_the_fraction_remaining_is_exact_to_the_second():
    """The second counts, and half a second does not.

    1 May ───────── 26 May 20:14:20 ── 445,540 s of 2,678,400 s remain ── 1 June
    """
    may = Period(at("2026-05-01T00:00:00"), at("2026-06-01T00:00:00"))
    change = may.end - timedelta(seconds=445_540)
    assert fraction_remaining(may, change) == Fraction(445_540, 2_678_400)
    assert fraction_remaining(may, change + timedelta(microseconds=999_999)) == Fraction(
        445_540, 2_678_400
    )


def test_all_remains_at_the_start_and_nothing_at_the_end():
    day = Period(at("2026-05-01T00:00:00.500"), at("2026-05-02T00:00:00"))
    assert fraction_remaining(day, day.start) == 1
    assert fraction_remaining(day, day.end) == 0
    for outside in (day.start - timedelta(seconds=1), day.end + timedelta(seconds=1)):
        with pytest.raises(ValueError, match="at must be within the period"):
            fraction_remaining(day, outside)


def test_what_has_no_zone_is_refused():
    naive, aware = datetime(2026, 1, 1), at("2026-02-01T00:00:00")  # noqa: DTZ001
    for refused in (
        lambda: boundary(naive, MONTHLY, 0),
        lambda: index_at(naive, MONTHLY, aware),
        lambda: index_at(aware, MONTHLY, naive),
        lambda: Period(naive, aware),
        lambda: Period(aware, naive),
    ):
        with pytest.raises(ValueError, match="must have a time zone"):
            refused()


@pytest.mark.parametrize("count", [0, -1])
def test_a_recurrence_counts_at_least_one_interval(count):
    with pytest.raises(ValueError, match="count must be at least 1"):
        Recurrence(Interval.MONTH, count)


def test_a_period_starts_before_it_ends():
    instant = at("2026-01-01T00:00:00")
    for end in (instant, instant - timedelta(seconds=1)):
        with pytest.raises(ValueError, match="start must be before end"):
            Period(instant, end)
