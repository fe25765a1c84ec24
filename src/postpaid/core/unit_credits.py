"""Units of usage that were bought in advance: what they pay for, in units, before any is rated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from postpaid.core.money import EXACT
from postpaid.core.values import replace

ZERO = Decimal(0)
UNUSED_CREDITS_MAX = 100  # of one customer, as of credit grants

_NEVER = datetime.max.replace(tzinfo=UTC)


class UnitCreditStatus(StrEnum):
    """Whether a credit can still pay for anything."""

    ACTIVE = "active"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class UnitCredit:
    """Units of a product's usage that a customer has in advance; ``used`` of the ``granted``.

    They pay for windows that end after they were granted, and no later than they expire. One that
    ``is_limited`` is all that the customer may use: usage beyond it is refused.
    """

    id: str
    customer_id: str
    clock_id: str | None
    product_id: str
    granted: Decimal
    used: Decimal
    is_limited: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def available(self) -> Decimal:
        """The units that are left."""
        return EXACT.subtract(self.granted, self.used)

    def status(self, now: datetime) -> UnitCreditStatus:
        """What it is at ``now``, which is its customer's time."""
        if not self.available:
            return UnitCreditStatus.EXHAUSTED
        if self.expires_at is not None and self.expires_at <= now:
            return UnitCreditStatus.EXPIRED
        return UnitCreditStatus.ACTIVE

    def is_for(self, meter_id: str, sold_by: Mapping[str, frozenset[str]]) -> bool:
        """Whether it is for the meter's usage: a meter of its product, or any where there is none.

        ``sold_by`` has the meters whose usage is sold as each product.
        """
        meters = sold_by.get(self.product_id)
        return not meters or meter_id in meters

    def pays_for(self, start: datetime, end: datetime) -> bool:
        """Whether it pays for usage in ``[start, end)``; a part of a window is not told apart."""
        return self.created_at < end and (self.expires_at is None or end <= self.expires_at)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Usage that is about to be rated on an invoice: of a customer, a meter and a window."""

    customer_id: str
    meter_id: str
    start: datetime
    end: datetime
    quantity: Decimal
    invoice_id: str


@dataclass(frozen=True, slots=True)
class UnitDraw:
    """That an invoice took ``quantity`` units of a credit, and whether it gave them back."""

    id: str
    credit_id: str
    invoice_id: str
    meter_id: str
    period_start: datetime
    period_end: datetime
    quantity: Decimal
    drawn_at: datetime
    returned_at: datetime | None = None


def in_order_of_use(credits: Iterable[UnitCredit]) -> list[UnitCredit]:
    """What expires first is used first, and of those the oldest."""
    return sorted(credits, key=lambda each: (each.expires_at or _NEVER, each.created_at, each.id))


def drawn(
    asked: Drawing, credits: Sequence[UnitCredit], sold_by: Mapping[str, frozenset[str]]
) -> dict[str, Decimal]:
    """How many units each of the credits, which are in their order of use, pays of it."""
    left = asked.quantity
    found: dict[str, Decimal] = {}
    for credit in credits:
        if left <= 0:
            break
        if not credit.is_for(asked.meter_id, sold_by):
            continue
        if credit.available > 0 and credit.pays_for(asked.start, asked.end):
            found[credit.id] = min(left, credit.available)
            left = EXACT.subtract(left, found[credit.id])
    return found


def spent(
    credits: Sequence[UnitCredit], found: Mapping[str, Decimal], now: datetime
) -> list[UnitCredit]:
    """The credits once ``found``, by id, is taken of them."""
    return [
        replace(each, used=EXACT.add(each.used, found[each.id]), updated_at=now)
        if each.id in found
        else each
        for each in credits
    ]
