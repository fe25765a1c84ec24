"""Half-open periods, counted from an anchor in a time zone, and how much of one remains."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo


def zone_called(name: str) -> tzinfo:
    """The time zone of this name in the IANA database, which is known to be one."""
    return UTC if name == "UTC" else ZoneInfo(name)  # of plain UTC, which many live in, no table


class Interval(StrEnum):
    """The unit of the calendar in which a recurrence counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Every ``count`` intervals: ``Recurrence(Interval.MONTH, 3)`` is quarterly."""

    interval: Interval
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be at least 1.")


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` up to, but not including, ``end``: of periods that meet, an instant is in one.

    ValueError if a bound is naive, or if ``start`` is not before ``end``.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        _require_aware("start", self.start)
        _require_aware("end", self.end)
        if self.start >= self.end:
            raise ValueError("start must be before end.")

    def contains(self, t: datetime) -> bool:
        return self.start <= t < self.end


def boundary(anchor: datetime, recurrence: Recurrence, index: int, zone: tzinfo = UTC) -> datetime:
    """The instant, in UTC, at which period ``index`` starts and period ``index - 1`` ends.

    Boundary 0 is the anchor itself. Every other is counted from the anchor, never from the boundary
    before it, by the calendar and the clock on the wall of ``zone``. It keeps the time of day, and
    where a month is too short for the day, takes its last (Stripe: 31 January, 28 or 29 February,
    31 March; 29 February recurs on the 28th in common years).

    A time that the clocks skip moves forward by what they skip (02:30 becomes 03:30); one that they
    pass twice means the first. Where a zone skipped a whole day (Samoa, in 2011), the boundaries on
    either side of it coincide.

    ValueError if ``anchor`` is naive; ValueError or OverflowError outside the years 1 to 9999.
    """
    _require_aware("anchor", anchor)
    if index == 0:
        return anchor.astimezone(UTC)  # as it is, even when it is the second 01:30 of its day
    return _add(anchor.astimezone(zone), recurrence, index).astimezone(UTC)


def period_at_index(
    anchor: datetime, recurrence: Recurrence, index: int, zone: tzinfo = UTC
) -> Period:
    """Period ``index``: from its boundary to the next. Period 0 starts at the anchor.

    Raises what `boundary` raises, and ValueError for a day that the zone skipped.
    """
    return Period(
        boundary(anchor, recurrence, index, zone),
        boundary(anchor, recurrence, index + 1, zone),
    )


def index_at(
    anchor: datetime, recurrence: Recurrence, instant: datetime, zone: tzinfo = UTC
) -> int:
    """The index of the period that contains ``instant``; negative before the anchor."""
    _require_aware("anchor", anchor)
    _require_aware("instant", instant)
    index = _estimate(anchor.astimezone(zone), recurrence, instant.astimezone(zone))
    # The estimate is about one off at most: it ignores short months and changes of the clock.
    while boundary(anchor, recurrence, index, zone) > instant:
        index -= 1
    while boundary(anchor, recurrence, index + 1, zone) <= instant:
        index += 1
    return index


def fraction_remaining(period: Period, at: datetime) -> Fraction:
    """How much of ``period`` is left at ``at``, exactly: 1 at its start, 0 at its end.

    Counted to the second, as Stripe prorates: a fraction of a second in ``at`` is dropped.
    ValueError if ``at`` is outside the period.
    """
    if not period.start <= at <= period.end:
        raise ValueError("at must be within the period.")
    at = max(at.replace(microsecond=0), period.start)
    return Fraction(
        (period.end - at) // _MICROSECOND,
        (period.end - period.start) // _MICROSECOND,
    )


_MICROSECOND = timedelta.resolution
_DAYS = {Interval.DAY: timedelta(days=1), Interval.WEEK: timedelta(days=7)}
_MONTHS = {Interval.MONTH: 1, Interval.YEAR: 12}


def _add(local: datetime, recurrence: Recurrence, times: int) -> datetime:
    """``local`` after so many recurrences by its own calendar and clock.

    Both ways keep the time on the wall, whatever the zone's offset does, and give fold=0: a skipped
    time is read with the offset before the change, and a repeated one is the first.
    """
    steps = recurrence.count * times
    if recurrence.interval in _DAYS:
        return local + _DAYS[recurrence.interval] * steps
    years, month = divmod(local.month - 1 + _MONTHS[recurrence.interval] * steps, 12)
    year, month, day = local.year + years, month + 1, local.day
    if day > 28:
        day = min(day, monthrange(year, month)[1])
    return local.replace(year=year, month=month, day=day, fold=0)


def _estimate(anchor: datetime, recurrence: Recurrence, instant: datetime) -> int:
    """About how many recurrences lie between two datetimes of the same zone."""
    if recurrence.interval in _DAYS:
        return (instant - anchor) // (_DAYS[recurrence.interval] * recurrence.count)
    months = (instant.year - anchor.year) * 12 + instant.month - anchor.month
    return months // (_MONTHS[recurrence.interval] * recurrence.count)


def _require_aware(name: str, instant: datetime) -> None:
    if instant.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone.")
