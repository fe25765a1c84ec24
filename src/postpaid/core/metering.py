"""What usage comes to: totals that combine, and the quantity that each aggregation bills.

A window is ``[start, end)``. These are the definitions, with the values 4, 10, 10 used at 00:00,
06:00 and 18:00 of a day that is the window:

===================  =========  ================================================================
``sum``              24         the values added up
``count``            3          the events
``max``              10         the greatest value
``last``             10         the value of the event that occurred last
``average``          8          the sum by the count, rounded to 12 decimals, half away from zero
``unique``           2          the different texts at the value's key
``p95``, ``p99``     10         by nearest rank: the least value that 95 % of them do not exceed
``time_weighted_sum``  734400   4 for 6 hours and 10 for 18, in seconds: a level times its time
``duration``         86400      the seconds during which the level is above 0
===================  =========  ================================================================

To the last two an event sets a level, which lasts until the next event, across windows too: the
level at a window's start is what the last event before it set, and 0 if there is none. Of a window
that still runs, nothing after the present is counted.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from enum import StrEnum

from postpaid.core.money import EXACT

AVERAGE_DECIMALS = 12


class Aggregation(StrEnum):
    """What a meter bills of the events in a window. Stripe has the first three."""

    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    MAX = "max"
    UNIQUE = "unique"
    AVERAGE = "average"
    TIME_WEIGHTED_SUM = "time_weighted_sum"
    P95 = "p95"
    P99 = "p99"
    DURATION = "duration"

    @property
    def combines(self) -> bool:
        """Whether the totals of two parts of a window are enough to know the whole."""
        return self in _COMBINING

    @property
    def is_level(self) -> bool:
        """Whether an event sets a level that lasts until the next one."""
        return self in _LEVELS


_COMBINING = frozenset(
    {
        Aggregation.SUM,
        Aggregation.COUNT,
        Aggregation.LAST,
        Aggregation.MAX,
        Aggregation.AVERAGE,
    }
)
_LEVELS = frozenset({Aggregation.TIME_WEIGHTED_SUM, Aggregation.DURATION})

PERCENTS = {Aggregation.P95: 95, Aggregation.P99: 99}


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What a set of usage events adds up to: enough for what combines, in constant space.

    ``sum`` is exact, in the meter's own units. ``last_value`` is the value of the latest event, by
    when it occurred and not by when it arrived, and ``last_at`` that instant; ``max`` is the
    greatest value. Without events these are None.
    """

    sum: Decimal
    count: int
    last_value: Decimal | None
    last_at: datetime | None
    max: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.last_value is None) != (self.last_at is None):
            raise ValueError("last_value and last_at must be given together.")

    def combine(self, other: "UsageTotal") -> "UsageTotal":
        """The total of both sets of events; `NO_USAGE` changes nothing.

        Grouping never matters. Neither does order, except between two last events of the same
        instant: there ``other`` wins, so pass the later received on the right.
        """
        later = other if _as_late(other.last_at, self.last_at) else self
        return UsageTotal(
            EXACT.add(self.sum, other.sum),
            self.count + other.count,
            later.last_value,
            later.last_at,
            _greatest(self.max, other.max),
        )


NO_USAGE = UsageTotal(Decimal(0), 0, None, None)


def billable_quantity(aggregation: Aggregation, total: UsageTotal) -> Decimal:
    """The quantity to rate, never negative, of an aggregation that combines.

    Stripe: a negative total bills 0; ``last`` is the latest value inside the window, and without
    events 0, because nothing is carried over from the window before. ValueError for an aggregation
    that does not combine.
    """
    return billable(aggregated(aggregation, total))


def billable(quantity: Decimal) -> Decimal:
    """What is billed of a quantity: Stripe: a negative total bills 0."""
    return quantity if quantity > 0 else Decimal(0)


def aggregated(aggregation: Aggregation, total: UsageTotal) -> Decimal:
    """What was counted, in the meter's units, negative too: only a bill stops at zero.

    Without events it is 0. ValueError for an aggregation that does not combine.
    """
    match aggregation:
        case Aggregation.SUM:
            return total.sum
        case Aggregation.COUNT:
            return Decimal(total.count)
        case Aggregation.LAST:
            return total.last_value or Decimal(0)
        case Aggregation.MAX:
            return total.max or Decimal(0)
        case Aggregation.AVERAGE:
            return _average(total.sum, total.count)
        case _:
            raise ValueError(f"{aggregation} is not known from totals.")


# ─── What does not combine ───────────────────────────────────────────────────────────────────


def distinct(texts: Iterable[str]) -> int:
    """How many different texts there are, letter by letter: "Ada" and "ada" are two."""
    return len(set(texts))


def percentile(values: Collection[Decimal], percent: int) -> Decimal:
    """The nearest rank: the least of the values that ``percent`` % of them do not exceed.

    It is one of the values, never between two: of 1 to 20 the 95th percentile is 19, the 99th 20.
    Without values it is 0.
    """
    if not values:
        return Decimal(0)
    rank = -(-len(values) * percent // 100)
    return sorted(values)[rank - 1]


Change = tuple[datetime, Decimal]
"""When a level was set, and to what."""


def time_weighted_sum(
    changes: Sequence[Change], before: Decimal, start: datetime, end: datetime, *, as_of: datetime
) -> Decimal:
    """The level times the seconds that it lasted, added up over ``[start, end)``: unit-seconds.

    ``changes`` are those inside the window, in order, and ``before`` is the level at its start.
    Nothing after ``as_of`` is counted. Exact; negative where levels are.
    """
    with localcontext(EXACT):
        return sum(
            (level * seconds for level, seconds in _levels(changes, before, start, end, as_of)),
            Decimal(0),
        )


def duration(
    changes: Sequence[Change], before: Decimal, start: datetime, end: datetime, *, as_of: datetime
) -> Decimal:
    """The seconds of ``[start, end)``, up to ``as_of``, during which the level is above 0."""
    with localcontext(EXACT):
        return sum(
            (
                seconds
                for level, seconds in _levels(changes, before, start, end, as_of)
                if level > 0
            ),
            Decimal(0),
        )


def _levels(
    changes: Sequence[Change], before: Decimal, start: datetime, end: datetime, as_of: datetime
) -> Iterator[tuple[Decimal, Decimal]]:
    """Every level, and the seconds that it lasted."""
    stop = min(end, max(start, as_of))
    level, since = before, start
    for at, value in changes:
        if at >= stop:
            break
        yield level, _seconds(at - since)
        level, since = value, at
    yield level, _seconds(stop - since)


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta.resolution).scaleb(-6)


def _average(total: Decimal, count: int) -> Decimal:
    """Of whole numbers, so that it is rounded once."""
    if not count:
        return Decimal(0)
    numerator, denominator = total.as_integer_ratio()
    numerator *= 10**AVERAGE_DECIMALS
    denominator *= count
    rounded = (2 * abs(numerator) + denominator) // (2 * denominator)
    return EXACT.normalize(
        Decimal(rounded if numerator >= 0 else -rounded).scaleb(-AVERAGE_DECIMALS, EXACT)
    )


def _greatest(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    return max((each for each in (a, b) if each is not None), default=None)


def _as_late(a: datetime | None, b: datetime | None) -> bool:
    return b is None or (a is not None and a >= b)
