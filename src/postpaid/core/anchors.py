"""From when on the periods of a new subscription are counted."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import reduce

from postpaid.core.errors import InvalidRequest
from postpaid.core.periods import Interval, Recurrence, boundary

_MONTHS = {Interval.MONTH: 1, Interval.YEAR: 12}
_DAYS = {Interval.DAY: 1, Interval.WEEK: 7}
_LEAP = 8  # a 29 February comes at least every eighth year


def anchor_of_config(
    config: Mapping[str, int], recurrence: Recurrence, at: datetime, zone: tzinfo
) -> datetime:
    """The anchor of which ``config`` gives the day of the month, and perhaps month and time.

    What it does not say is as it is at ``at``, and all of it by the calendar of ``zone``. Day 31 is
    the end of the month (Stripe), and so is any day that a month is too short for: the anchor is in
    a month that has the day, so it may be more than one period ahead, and the periods before it
    have negative indices. Raises ``InvalidRequest`` for a price that does not recur by months.
    """
    if recurrence.interval not in _MONTHS:
        raise InvalidRequest(
            "billing_cycle_anchor_config is for prices that recur monthly or yearly.",
            param="billing_cycle_anchor_config",
        )
    every = _MONTHS[recurrence.interval] * recurrence.count
    local = at.astimezone(zone)
    first = 0
    while not _fits(config, every, local, first) or _moment(config, local, first) < at:
        first += 1
    # Of the months in which periods begin from then on, the first that is long enough for the day.
    months = [first + every * step for step in range(max(12, _LEAP * 12 // every + 1))]
    best = min(months, key=lambda month: (-_day(config, local, month), month))
    return _moment(config, local, best).astimezone(UTC)


def check_anchor(anchor: datetime, recurrence: Recurrence, at: datetime, zone: tzinfo) -> None:
    """Raises ``InvalidRequest`` unless the anchor is ahead, at most one period (Stripe)."""
    if anchor <= at:
        raise InvalidRequest(
            "billing_cycle_anchor must be in the future.", param="billing_cycle_anchor"
        )
    natural = boundary(at, recurrence, 1, zone)
    if anchor > natural:
        raise InvalidRequest(
            f"billing_cycle_anchor cannot be later than next natural billing date "
            f"({int(natural.timestamp())}).",
            param="billing_cycle_anchor",
        )


def shortest(recurrences: Iterable[Recurrence]) -> Recurrence:
    """The recurrence that comes round first."""
    return reduce(lambda one, other: one if _length(one) <= _length(other) else other, recurrences)


def is_multiple(recurrence: Recurrence, of: Recurrence) -> bool:
    """Whether every end of a period by ``recurrence`` is one by ``of`` too (Stripe: 12 months are a
    year and 7 days a week, and the two kinds never mix).
    """
    kinds = (recurrence.interval in _MONTHS, of.interval in _MONTHS)
    return kinds[0] == kinds[1] and _length(recurrence)[1] % _length(of)[1] == 0


def _length(recurrence: Recurrence) -> tuple[int, int]:
    """About how many days it is, to compare by, and how many of its kind's units exactly."""
    if recurrence.interval in _MONTHS:
        months = _MONTHS[recurrence.interval] * recurrence.count
        return months * 30, months
    days = _DAYS[recurrence.interval] * recurrence.count
    return days, days


def _fits(config: Mapping[str, int], every: int, local: datetime, ahead: int) -> bool:
    """Whether periods may begin in the month that is so many ahead."""
    wanted = config.get("month")
    return wanted is None or (local.month + ahead - wanted) % every == 0


def _moment(config: Mapping[str, int], local: datetime, ahead: int) -> datetime:
    year, month = _month(local, ahead)
    return local.replace(
        year=year,
        month=month,
        day=_day(config, local, ahead),
        hour=config.get("hour", local.hour),
        minute=config.get("minute", local.minute),
        second=config.get("second", local.second),
        microsecond=0 if "second" in config else local.microsecond,
        fold=0,
    ).astimezone(UTC)


def _day(config: Mapping[str, int], local: datetime, ahead: int) -> int:
    return min(config["day_of_month"], monthrange(*_month(local, ahead))[1])


def _month(local: datetime, ahead: int) -> tuple[int, int]:
    years, month = divmod(local.month - 1 + ahead, 12)
    return local.year + years, month + 1
