"""Totals of usage that combine, and the quantity that each aggregation bills from them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from postpaid.core.money import EXACT


class Aggregation(StrEnum):
    """What a meter bills of the events in a window: sum of values, number of events, last value."""

    SUM = "sum"
    COUNT = "count"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What a set of usage events adds up to: enough for every aggregation, in constant space.

    ``sum`` is exact, in the meter's own units. ``last_value`` is the value of the latest event, by
    when it occurred and not by when it arrived, and ``last_at`` that instant; without events both
    are None.
    """

    sum: Decimal
    count: int
    last_value: Decimal | None
    last_at: datetime | None

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
        )


NO_USAGE = UsageTotal(Decimal(0), 0, None, None)


def billable_quantity(aggregation: Aggregation, total: UsageTotal) -> Decimal:
    """The quantity to rate, never negative.

    Stripe: a negative total bills 0; ``last`` is the latest value inside the window, and without
    events 0, because nothing is carried over from the window before.
    """
    match aggregation:
        case Aggregation.SUM:
            quantity = total.sum
        case Aggregation.COUNT:
            quantity = Decimal(total.count)
        case Aggregation.LAST:
            quantity = total.last_value or Decimal(0)
    return quantity if quantity > 0 else Decimal(0)


def _as_late(a: datetime | None, b: datetime | None) -> bool:
    return b is None or (a is not None and a >= b)
