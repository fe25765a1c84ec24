"""When an invoice is tried again: every kind of schedule, in every zone, and which one holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from postpaid.core.collection import (
    BUILT_IN,
    WINDOWS,
    RetriesEnd,
    RetryKind,
    RetrySchedule,
    RetryWindow,
    checked,
    chosen,
    comes_too_late,
    is_hard,
    next_attempt,
)
from postpaid.core.errors import InvalidRequest

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LENGTHS = {
    RetryWindow.ONE_WEEK: 7,
    RetryWindow.TWO_WEEKS: 14,
    RetryWindow.THREE_WEEKS: 21,
    RetryWindow.ONE_MONTH: 30,
    RetryWindow.TWO_MONTHS: 60,
}
DAILY = RetrySchedule("rs_daily", RetryKind.DAILY, NOON)


def of_window(window: RetryWindow) -> RetrySchedule:
    return RetrySchedule("rs_window", RetryKind.WINDOW, NOON, window=window)


def of_days(*days: int) -> RetrySchedule:
    return RetrySchedule("rs_list", RetryKind.LIST, NOON, days=days)


def moments(schedule: RetrySchedule, *, zone: str = "UTC") -> list[datetime]:
    """When it is tried again, if every try fails at once."""
    found: list[datetime] = []
    last = NOON
    while (after := next_attempt(schedule, len(found) + 1, last, ZoneInfo(zone))) is not None:
        found.append(after)
        last = after
        assert len(found) < 100
    return found


@pytest.mark.parametrize("window", RetryWindow)
def test_a_window_has_eight_retries_and_ends_when_it_says(window: RetryWindow) -> None:
    tried = moments(of_window(window))
    assert len(tried) == 8
    assert tried[-1] - NOON == LENGTHS[window] * DAY
    assert list(WINDOWS[window]) == sorted(WINDOWS[window])


def test_by_default_it_is_tried_eight_times_in_two_weeks() -> None:
    assert [(each - NOON).days for each in moments(BUILT_IN)] == [1, 2, 3, 5, 7, 9, 11, 14]
    assert BUILT_IN.after_retries == RetriesEnd.PAST_DUE


def test_a_list_counts_from_the_try_before() -> None:
    assert [(each - NOON).days for each in moments(of_days(3, 5, 7))] == [3, 8, 15]
    late = NOON + 4 * DAY  # the worker slept
    assert next_attempt(of_days(3, 5, 7), 2, late) == late + 5 * DAY


def test_the_daily_kind_tries_three_times_at_two_in_the_morning() -> None:
    assert moments(DAILY) == [
        datetime(2026, 2, 2, 2, tzinfo=UTC),
        datetime(2026, 2, 3, 2, tzinfo=UTC),
    ]
    assert moments(DAILY, zone="America/New_York") == [
        datetime(2026, 2, 2, 7, tzinfo=UTC),
        datetime(2026, 2, 3, 7, tzinfo=UTC),
    ]


def test_a_try_before_two_is_followed_by_one_the_same_night() -> None:
    after_midnight = datetime(2026, 2, 1, 0, 30, tzinfo=UTC)
    assert next_attempt(DAILY, 1, after_midnight) == datetime(2026, 2, 1, 2, tzinfo=UTC)
    at_two = datetime(2026, 2, 1, 2, tzinfo=UTC)
    assert next_attempt(DAILY, 1, at_two) == at_two + DAY


def test_a_two_that_the_clocks_skip_or_repeat_comes_once() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    skipped = next_attempt(DAILY, 1, datetime(2026, 3, 28, 12, tzinfo=UTC), berlin)
    assert skipped == datetime(2026, 3, 29, 1, tzinfo=UTC)  # 03:00 there
    repeated = next_attempt(DAILY, 1, datetime(2026, 10, 24, 12, tzinfo=UTC), berlin)
    assert repeated == datetime(2026, 10, 25, 0, tzinfo=UTC)  # the first of the two
    again = next_attempt(DAILY, 2, repeated, berlin)
    assert again == datetime(2026, 10, 26, 1, tzinfo=UTC)


def test_a_daily_retry_is_made_within_three_days_or_not_at_all() -> None:
    assert not comes_too_late(DAILY, NOON, NOON + 3 * DAY)
    assert comes_too_late(DAILY, NOON, NOON + 3 * DAY + timedelta(seconds=1))
    assert not comes_too_late(of_days(3), NOON, NOON + 90 * DAY)


def test_an_invoice_that_was_never_tried_waits_as_long_as_after_the_first_try() -> None:
    assert next_attempt(of_days(3), 0, NOON) == NOON + 3 * DAY


def test_hard_declines_are_those_that_no_later_try_mends() -> None:
    assert [is_hard(each) for each in ("stolen_card", "insufficient_funds", None)] == [
        True,
        False,
        False,
    ]


# ─── Which one holds ─────────────────────────────────────────────────────────────────────────


def test_the_subscriptions_own_goes_first_then_a_segments_then_the_accounts() -> None:
    own, account = of_days(1), DAILY
    vip = RetrySchedule("rs_a", RetryKind.LIST, NOON, days=[2], segment={"tier": "gold"})
    both = RetrySchedule(
        "rs_b", RetryKind.LIST, NOON, days=[3], segment={"tier": "gold", "country": "de"}
    )
    every = [both, account, own, vip]
    gold = {"tier": "gold", "country": "de"}
    assert chosen(own.id, gold, account.id, every) == own
    assert chosen(None, gold, account.id, every) == vip  # the older of the two
    assert chosen(None, {"country": "de"}, account.id, every) == account
    assert chosen(None, {}, None, every) == BUILT_IN
    assert chosen("rs_gone", {}, "rs_gone", every) == BUILT_IN


@pytest.mark.parametrize(
    ("schedule", "param"),
    [
        (RetrySchedule("rs_1", RetryKind.WINDOW, NOON), ("window",)),
        (RetrySchedule("rs_1", RetryKind.DAILY, NOON, window=RetryWindow.ONE_WEEK), ("window",)),
        (RetrySchedule("rs_1", RetryKind.DAILY, NOON, days=[1]), ("days",)),
        (RetrySchedule("rs_1", RetryKind.LIST, NOON), ("days",)),
        (of_days(1, 0), ("days", 1)),
        (of_days(61), ("days", 0)),
        (of_days(*[1] * 21), ("days",)),
    ],
    ids=["no window", "a window", "days", "no days", "day 0", "day 61", "21 retries"],
)
def test_what_is_no_schedule_is_refused(
    schedule: RetrySchedule, param: tuple[str | int, ...]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked(schedule)
    assert refused.value.param == param


def test_what_is_one_is_taken() -> None:
    for each in (BUILT_IN, DAILY, of_days(*[1] * 20)):
        assert checked(each) == each
