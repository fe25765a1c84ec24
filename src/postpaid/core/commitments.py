"""What is owed at least and at most for a period's usage, whatever the usage was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction

from postpaid.core.errors import InvalidRequest
from postpaid.core.money import MAX_MINOR, round_part
from postpaid.core.periods import Recurrence, period_at_index

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Commitment:
    """The least and the most, in minor units for a whole period; None where there is none."""

    minimum: int | None = None
    maximum: int | None = None

    def __bool__(self) -> bool:
        return self.minimum is not None or self.maximum is not None

    def prorated(self, share: Fraction) -> Commitment:
        """The commitment of a part of a period, rounded once, half away from zero."""
        return Commitment(_part(self.minimum, share), _part(self.maximum, share))

    def adjustment(self, amount: int) -> int:
        """What is to be added to ``amount`` to keep the commitment: negative above the most."""
        if self.minimum is not None and amount < self.minimum:
            return self.minimum - amount
        if self.maximum is not None and amount > self.maximum:
            return self.maximum - amount
        return 0


def check(
    minimum: int | None, maximum: int | None, *, metered: bool = True, within: tuple[str, ...] = ()
) -> None:
    """Raises ``InvalidRequest`` for a commitment that cannot be kept."""
    for name, amount in (("minimum_amount", minimum), ("maximum_amount", maximum)):
        if amount is None:
            continue
        if not metered:
            raise InvalidRequest(
                f"{name} is for usage: it needs `recurring[usage_type]=metered`.",
                param=(*within, name),
            )
        if not 0 <= amount <= MAX_MINOR:
            raise InvalidRequest(
                f"{name} must be between 0 and {MAX_MINOR}.", param=(*within, name)
            )
    if minimum is not None and maximum is not None and maximum < minimum:
        raise InvalidRequest(
            "maximum_amount must not be less than minimum_amount.",
            param=(*within, "maximum_amount"),
        )


def share(start: datetime, end: datetime, whole_seconds: int | None) -> Fraction:
    """How much of a whole period ``[start, end)`` is, exactly, to the second; never more than 1.

    ``whole_seconds`` is how long the whole period is, and None where this is all of it.
    """
    if whole_seconds is None:
        return Fraction(1)
    return min(Fraction(1), Fraction((end - start) // SECOND, whole_seconds))


def union(spans: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """How long the spans are together, where they overlap once."""
    total, until = timedelta(0), None
    for start, end in sorted(spans):
        since = start if until is None else max(start, until)
        if end > since:
            total += end - since
            until = end
    return total


def whole_seconds(
    start: datetime,
    end: datetime,
    *,
    anchor: datetime,
    recurrence: Recurrence,
    index: int,
    zone: tzinfo = UTC,
) -> int | None:
    """How long the period is of which ``[start, end)`` is a part; None where it is all of it.

    That is period ``index``, counted from the anchor: of a stub the one that it is the end of, of
    what is cut short the one that it had begun.
    """
    whole = period_at_index(anchor, recurrence, index, zone)
    if start <= whole.start and end >= whole.end:
        return None
    return (whole.end - whole.start) // SECOND


def _part(amount: int | None, share: Fraction) -> int | None:
    return None if amount is None else round_part(amount * share)
