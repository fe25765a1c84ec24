"""The hours, days and months of a time zone that a range consists of."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum

_HOUR = timedelta(hours=1)


class Step(StrEnum):
    """The length of the windows that a range is cut into, by the clock on the wall."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def is_boundary(at: datetime, step: Step, zone: tzinfo) -> bool:
    """Whether an hour, a day or a month of the zone begins at ``at``."""
    return floor(at, step, zone) == at


def floor(at: datetime, step: Step, zone: tzinfo) -> datetime:
    """The last instant up to ``at``, in UTC, at which an hour, a day or a month of ``zone`` begins.

    A day begins at midnight, or where the clocks skip midnight, when they go on after it.
    """
    local = at.astimezone(zone)
    if step == Step.HOUR:
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return at.astimezone(UTC) - past
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if step == Step.MONTH:
        first = first.replace(day=1)
    return first.astimezone(UTC)


def windows_between(
    start: datetime, end: datetime, step: Step, zone: tzinfo
) -> Iterator[tuple[datetime, datetime]]:
    """The windows that ``[start, end)`` consists of, in order and in UTC; its ends are boundaries.

    A day of 23 or 25 hours is a day. Of an hour that comes twice, each is an hour by itself. Where
    a zone moves its clocks by a part of an hour, the hour around that is as long as it was.
    """
    at = start.astimezone(UTC)
    end = end.astimezone(UTC)
    while at < end:
        following = min(_next(at, step, zone), end)
        yield at, following
        at = following


def _next(at: datetime, step: Step, zone: tzinfo) -> datetime:
    if step == Step.HOUR:
        return max(floor(at + _HOUR, step, zone), at + timedelta(minutes=1))
    # Beyond the next boundary by any change of the clocks, and not beyond the one after it.
    days = 32 if step == Step.MONTH else 1
    beyond = at.astimezone(zone).replace(tzinfo=None) + timedelta(days=days, hours=4)
    return floor(beyond.replace(tzinfo=zone), step, zone)


def months_between(
    start: datetime, end: datetime, zone: tzinfo
) -> Iterator[tuple[datetime, datetime]]:
    """The months of the zone that ``[start, end)`` has a part in, in UTC, cut to the range."""
    if start < end:
        for since, until in windows_between(floor(start, Step.MONTH, zone), end, Step.MONTH, zone):
            yield max(since, start), until
