"""Anchors: the days they fall on, how far ahead they may be, and which intervals go together."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from postpaid.core.anchors import anchor_of_config, check_anchor, is_multiple, shortest
from postpaid.core.errors import InvalidRequest
from postpaid.core.periods import Interval, Recurrence, boundary, index_at

MONTH, YEAR = Recurrence(Interval.MONTH), Recurrence(Interval.YEAR)
QUARTER = Recurrence(Interval.MONTH, 3)
DAY, WEEK = Recurrence(Interval.DAY), Recurrence(Interval.WEEK)


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "recurrence", "config", "first", "anchor"),
    [
        ("2026-01-10 08:30", MONTH, {"day_of_month": 10}, "2026-01-10 08:30", "2026-01-10 08:30"),
        ("2026-01-10 08:30", MONTH, {"day_of_month": 9}, "2026-02-09 08:30", "2026-02-09 08:30"),
        (
            "2026-01-10 08:30",
            MONTH,
            {"day_of_month": 10, "hour": 8, "minute": 0},
            "2026-02-10 08:00",
            "2026-02-10 08:00",
        ),
        ("2026-02-10 00:00", MONTH, {"day_of_month": 31}, "2026-02-28 00:00", "2026-03-31 00:00"),
        (
            "2026-02-10 00:00",
            Recurrence(Interval.MONTH, 2),
            {"day_of_month": 31},
            "2026-02-28 00:00",
            "2026-08-31 00:00",
        ),
        (
            "2026-02-10 00:00",
            QUARTER,
            {"day_of_month": 1, "month": 1},
            "2026-04-01 00:00",
            "2026-04-01 00:00",
        ),
        (
            "2026-02-10 00:00",
            YEAR,
            {"day_of_month": 29, "month": 2},
            "2026-02-28 00:00",
            "2028-02-29 00:00",
        ),
    ],
    ids=["now", "passed", "time_passed", "month_end", "stripes_example", "quarter", "leap_day"],
)
def test_the_anchor_of_a_day(
    created: str, recurrence: Recurrence, config: dict[str, int], first: str, anchor: str
) -> None:
    found = anchor_of_config(config, recurrence, at(created), UTC)
    assert found == at(anchor)
    index = index_at(found, recurrence, at(created))
    begins = boundary(found, recurrence, index)
    assert (begins if begins == at(created) else boundary(found, recurrence, index + 1)) == at(
        first
    )


def test_the_day_is_by_the_calendar_of_the_zone() -> None:
    config = {"day_of_month": 1, "hour": 0, "minute": 0, "second": 0}
    found = anchor_of_config(config, MONTH, at("2026-06-15"), ZoneInfo("America/New_York"))
    assert found == at("2026-07-01 04:00")


def test_days_and_weeks_have_no_day_of_the_month() -> None:
    with pytest.raises(InvalidRequest, match="monthly or yearly"):
        anchor_of_config({"day_of_month": 1}, WEEK, at("2026-01-01"), UTC)


def test_an_anchor_is_ahead_and_within_a_period() -> None:
    now = at("2026-01-31")
    check_anchor(at("2026-02-28"), MONTH, now, UTC)
    for wrong in ("2026-01-31", "2026-03-01"):
        with pytest.raises(InvalidRequest):
            check_anchor(at(wrong), MONTH, now, UTC)


@pytest.mark.parametrize(
    ("recurrence", "base", "fits"),
    [
        (YEAR, MONTH, True),
        (YEAR, QUARTER, True),
        (Recurrence(Interval.MONTH, 12), YEAR, True),
        (Recurrence(Interval.MONTH, 4), QUARTER, False),
        (WEEK, DAY, True),
        (Recurrence(Interval.DAY, 10), WEEK, False),
        (MONTH, WEEK, False),
        (YEAR, DAY, False),
    ],
)
def test_which_intervals_go_together(recurrence: Recurrence, base: Recurrence, fits: bool) -> None:
    assert is_multiple(recurrence, base) is fits


def test_the_shortest_comes_round_first() -> None:
    assert shortest([YEAR, QUARTER, MONTH]) == MONTH
    assert shortest([WEEK, DAY]) == DAY
