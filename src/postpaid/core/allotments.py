"""Where usage stands against what its price includes: used, left, beyond, and what that costs."""

from dataclasses import dataclass
from decimal import Decimal

from postpaid.core.money import EXACT, round_minor
from postpaid.core.periods import Period
from postpaid.core.pricing import Model, free_quantity, rate

ZERO = Decimal(0)
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the usage of one price stands in the window that is billed.

    ``included`` is the price's allotment, its leading free tiers: None when everything is free, 0
    when nothing is. ``remaining`` is what is left of it (None with no end to it) and ``overage``
    what was used beyond it. ``percent`` is how much of the allotment is used, cut to two decimals;
    None where there is none to use.

    ``amount`` is what the price's lines would bill now, in minor units, each line rounded as on an
    invoice. ``overage_amount`` is the part of it that was caused by the overage: a flat amount that
    is owed without any usage is not in it. Both are None when the quantity cannot be billed.
    """

    window: Period
    included: Decimal | None
    used: Decimal
    remaining: Decimal | None
    overage: Decimal
    percent: Decimal | None
    amount: int | None
    overage_amount: int | None


def position(model: Model, window: Period, quantity: Decimal) -> Position:
    """Where ``quantity`` units, the billable ones of the window, stand under the price's model.

    In volume pricing all units are charged once the allotment is exceeded, and so all of the amount
    is the overage's (Stripe's tiers; the allotment is ours).
    """
    included = free_quantity(model)
    amount = bill(model, quantity)
    if included is None:
        return Position(window, None, quantity, None, ZERO, None, amount, 0)
    before = bill(model, min(quantity, included))
    assert before is not None, "what is within the allotment can be billed"
    return Position(
        window=window,
        included=included,
        used=quantity,
        remaining=max(ZERO, EXACT.subtract(included, quantity)),
        overage=max(ZERO, EXACT.subtract(quantity, included)),
        percent=_percent(quantity, included) if included else None,
        amount=amount,
        # A volume's higher tier may cost less than its first one's flat amount.
        overage_amount=None if amount is None else max(0, amount - before),
    )


def bill(model: Model, quantity: Decimal) -> int | None:
    """What the lines of ``quantity`` units come to, in minor units; None if that is too much.

    Every line is rounded by itself, as on the invoice.
    """
    try:
        return sum(round_minor(detail.amount) for detail in rate(model, quantity))
    except ValueError:
        return None


def _percent(quantity: Decimal, included: Decimal) -> Decimal:
    """Rounded down: 100 is said when all of it is used and not a unit earlier."""
    hundredths = EXACT.divide_int(EXACT.multiply(quantity, HUNDRED * HUNDRED), included)
    return EXACT.scaleb(hundredths, -2)
