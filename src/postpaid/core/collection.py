"""When an invoice that was not paid is tried again, and what happens when that was in vain.

A retry schedule is data: the rule here turns it into the next moment, one after the other. The
moments are counted from the try before, and not from the first, so that a worker that was late
does not try twice in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum

from postpaid.core.errors import InvalidRequest

RETRIES_MAX = 20  # of a list; Stripe: three
RETRY_DAYS_MAX = 60  # between two tries, and in which a window's tries are

DAILY_AT = time(2)
DAILY_TRIES = 3  # the first among them
DAILY_WITHIN = timedelta(hours=72)  # of the last try: what comes later is not tried any more


class RetryKind(StrEnum):
    """How the moments of a schedule are found."""

    WINDOW = "window"  # eight retries, closer at first, within a window (Stripe's default)
    DAILY = "daily"  # at two in the morning, three tries in all
    LIST = "list"  # so many days after the try before


class RetryWindow(StrEnum):
    """In what time the eight retries of a window are made (Stripe's choices)."""

    ONE_WEEK = "1_week"
    TWO_WEEKS = "2_weeks"
    THREE_WEEKS = "3_weeks"
    ONE_MONTH = "1_month"
    TWO_MONTHS = "2_months"


class RetriesEnd(StrEnum):
    """What becomes of a subscription that is past due when the last retry has failed."""

    PAST_DUE = "past_due"  # it stays so
    UNPAID = "unpaid"
    CANCEL = "cancel"
    PAUSE = "pause"


# Hours after the try before; each row sums to its window.
WINDOWS: Mapping[RetryWindow, tuple[int, ...]] = {
    RetryWindow.ONE_WEEK: (12, 12, 12, 24, 24, 24, 24, 36),
    RetryWindow.TWO_WEEKS: (24, 24, 24, 48, 48, 48, 48, 72),
    RetryWindow.THREE_WEEKS: (36, 36, 36, 72, 72, 72, 72, 108),
    RetryWindow.ONE_MONTH: (48, 48, 48, 96, 96, 96, 120, 168),
    RetryWindow.TWO_MONTHS: (96, 96, 96, 192, 192, 192, 240, 336),
}

# Stripe: to try such a card again is in vain; the schedule goes on, for another payment method.
HARD_DECLINES = frozenset(
    {
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "stolen_card",
        "revocation_of_authorization",
        "revocation_of_all_authorizations",
        "authentication_required",
        "highest_risk_level",
        "transaction_not_allowed",
    }
)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """When to try again, and what to do in the end.

    ``window`` is of the kind of that name, ``days`` of a list. ``segment`` is metadata: the
    schedule is for customers who have all of it; None is for no one by itself.
    """

    id: str
    kind: RetryKind
    created_at: datetime
    name: str | None = None
    window: RetryWindow | None = None
    days: Sequence[int] | None = None
    after_retries: RetriesEnd = RetriesEnd.PAST_DUE
    segment: Mapping[str, str] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


BUILT_IN = RetrySchedule(
    id="default",
    kind=RetryKind.WINDOW,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    window=RetryWindow.TWO_WEEKS,
)
"""What holds where nobody has said anything else (Stripe: eight tries within two weeks)."""

OF_BILLED_USAGE = RetrySchedule(
    id="billed_usage", kind=RetryKind.DAILY, created_at=datetime(2026, 1, 1, tzinfo=UTC)
)
"""What holds for invoices of usage that somebody asked for, whatever else is set (Frame)."""


def checked(schedule: RetrySchedule) -> RetrySchedule:
    """The schedule, if it is one. Raises ``InvalidRequest`` for what does not fit its kind."""
    if (schedule.kind == RetryKind.WINDOW) != (schedule.window is not None):
        raise InvalidRequest(
            "`window` must be given for, and only for, the kind `window`.", param="window"
        )
    if (schedule.kind == RetryKind.LIST) != (schedule.days is not None):
        raise InvalidRequest(
            "`days` must be given for, and only for, the kind `list`.", param="days"
        )
    for place, days in enumerate(schedule.days or ()):
        if not 1 <= days <= RETRY_DAYS_MAX:
            raise InvalidRequest(
                f"A retry can be 1 to {RETRY_DAYS_MAX} days after the one before.",
                param=("days", place),
            )
    if len(schedule.days or ()) > RETRIES_MAX:
        raise InvalidRequest(f"There can be at most {RETRIES_MAX} retries.", param="days")
    return schedule


def next_attempt(
    schedule: RetrySchedule, tries: int, last_at: datetime, zone: tzinfo = UTC
) -> datetime | None:
    """When an invoice that was tried ``tries`` times, at last at ``last_at``, is tried again.

    None when that was the last time. The first try counts; so do those whose moment passed while
    there was nothing to try with. ``zone`` is the customer's: its nights decide about the daily
    kind. A time that the clocks skip is the one after.
    """
    if schedule.kind == RetryKind.DAILY:
        return _next_night(last_at, zone) if tries < DAILY_TRIES else None
    delays = _delays(schedule)
    return last_at + delays[max(tries, 1) - 1] if tries <= len(delays) else None


def comes_too_late(schedule: RetrySchedule, last_at: datetime, now: datetime) -> bool:
    """Whether a retry at ``now`` is too long after the last try to be made at all.

    Frame: a daily retry is made within 72 hours of the last try, or not at all.
    """
    return schedule.kind == RetryKind.DAILY and now - last_at > DAILY_WITHIN


def is_hard(decline_code: str | None) -> bool:
    """Whether the same payment method would be declined again, whenever it is tried (Stripe)."""
    return decline_code in HARD_DECLINES


def chosen(
    own: str | None,
    customer_metadata: Mapping[str, str],
    of_account: str | None,
    schedules: Iterable[RetrySchedule],
) -> RetrySchedule:
    """The schedule that holds.

    That is the subscription's ``own``, or else the first of the ``schedules``, oldest first, whose
    segment the customer is in, or the account's, or the built-in one.
    """
    every = sorted(schedules, key=lambda each: each.id)
    by_id = {each.id: each for each in every}
    if own in by_id:
        return by_id[own]
    for each in every:
        if each.segment and each.segment.items() <= customer_metadata.items():
            return each
    return by_id.get(of_account or "", BUILT_IN)


def _delays(schedule: RetrySchedule) -> list[timedelta]:
    if schedule.window is not None:
        return [timedelta(hours=hours) for hours in WINDOWS[schedule.window]]
    return [timedelta(days=days) for days in schedule.days or ()]


def _next_night(after: datetime, zone: tzinfo) -> datetime:
    """The first time after an instant that it is two in the morning, in UTC."""
    local = after.astimezone(zone)
    day = local.date()
    while True:
        # What the clocks skip is read with the offset before, and so falls right after the gap.
        night = datetime.combine(day, DAILY_AT, tzinfo=zone).astimezone(UTC)
        if night > after:
            return night
        day += timedelta(days=1)


# ─── Reminders ───────────────────────────────────────────────────────────────────────────────


def next_reminder(
    due_at: datetime, days_before: Iterable[int], after: datetime | None, now: datetime
) -> datetime | None:
    """When something is next said about an invoice that is due at ``due_at``.

    So many days before, and at last when it is overdue. ``after`` is what was said last; None for
    an invoice that is final since ``now``, and what would have been said before is not. None when
    all is said.
    """
    moments = [due_at - timedelta(days=days) for days in days_before]
    if after is None:
        return min([each for each in moments if each >= now] + [due_at])
    return min([each for each in [*moments, due_at] if after < each <= due_at], default=None)
