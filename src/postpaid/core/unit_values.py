"""What one unit costs in major units, with a percentage on top of it, and as a price has it."""

from __future__ import annotations

from decimal import Decimal

from postpaid.core.money import EXACT, MINOR_UNITS

_ZERO = Decimal(0)


def to_minor(value: Decimal, currency: str, *, markup_percentage: Decimal | None = None) -> Decimal:
    """A unit's amount in minor units: ``value`` major ones and the percentage of the unit itself.

    Frame: a usage of 1 is one major unit there, so 2.9 % of it are 0.029.
    """
    markup = EXACT.scaleb(markup_percentage or _ZERO, -2)
    return EXACT.scaleb(EXACT.add(value, markup), MINOR_UNITS[currency])


def to_major(
    amount: Decimal, currency: str, *, markup_percentage: Decimal | None = None
) -> Decimal:
    """The value that ``to_minor`` made the amount of."""
    markup = EXACT.scaleb(markup_percentage or _ZERO, -2)
    return EXACT.subtract(EXACT.scaleb(amount, -MINOR_UNITS[currency]), markup)
