"""Price models, and rating: a model and a quantity become details that explain their amount."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from enum import StrEnum
from typing import Literal

from postpaid.core.money import EXACT, MAX_MINOR, plain

MAX_DECIMALS = 12
"""Digits after the point of a quantity or of an amount per unit (Stripe's limit)."""

MAX_QUANTITY = Decimal(10) ** 15
"""No quantity is larger, whatever its unit."""

_ZERO = Decimal(0)


class TiersMode(StrEnum):
    GRADUATED = "graduated"
    """Each unit costs what the tier it falls in says."""
    VOLUME = "volume"
    """All units cost what the tier of the whole quantity says."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The quantities above the tier before it, up to and including ``up_to`` (None: without end).

    Amounts are in minor units: ``unit_amount`` for each unit, ``flat_amount`` once.
    """

    up_to: Decimal | None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None

    @property
    def is_free(self) -> bool:
        return not self.unit_amount and not self.flat_amount


@dataclass(frozen=True, slots=True)
class Transform:
    """Sell in packages of ``divide_by`` units; ``round`` says if a package begun is charged."""

    divide_by: int
    round: Literal["up", "down"]

    def __post_init__(self) -> None:
        if not 1 <= self.divide_by <= MAX_QUANTITY:
            raise ValueError(f"divide_by must be between 1 and {plain(MAX_QUANTITY)}.")
        if self.round not in ("up", "down"):
            raise ValueError("round must be 'up' or 'down'.")

    def packages(self, quantity: Decimal) -> Decimal:
        """How many packages ``quantity`` units are; none for 0 units, either way."""
        packages, rest = EXACT.divmod(quantity, Decimal(self.divide_by))
        return packages + 1 if rest and self.round == "up" else packages


@dataclass(frozen=True, slots=True)
class Model:
    """How a price turns a quantity into an amount: so much per unit, or by tiers.

    With ``transform``, ``unit_amount`` is the amount per package. A model that cannot be rated is
    refused with a ValueError whose sentence begins with the name of the field at fault.
    """

    unit_amount: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    tiers_mode: TiersMode | None = None
    transform: Transform | None = None

    def __post_init__(self) -> None:
        _check_amount("unit_amount", self.unit_amount)
        if not self.tiers:
            if self.unit_amount is None:
                raise ValueError("unit_amount is required without tiers.")
            if self.tiers_mode is not None:
                raise ValueError("tiers_mode must not be given without tiers.")
            return
        if self.unit_amount is not None:
            raise ValueError("unit_amount must not be given with tiers.")
        if self.transform is not None:
            raise ValueError("transform must not be given with tiers.")
        if self.tiers_mode not in tuple(TiersMode):
            raise ValueError("tiers_mode must be 'graduated' or 'volume' with tiers.")
        _check_tiers(self.tiers)


class DetailKind(StrEnum):
    """What an amount is for; rating makes the first two."""

    UNIT = "unit"
    FLAT = "flat"
    MINIMUM = "minimum"  # what was missing to the least that is owed
    MAXIMUM = "maximum"  # what was above the most, taken off
    BILLED = "billed"  # what thresholds have billed of the same usage, taken off


@dataclass(frozen=True, slots=True)
class Detail:
    """One term of a rated amount, exact and in minor units.

    ``tier`` counts from 1, as invoices do, and is None without tiers. A flat detail has quantity 0
    and no unit amount; the quantities of the unit details sum to the quantity rated.
    """

    tier: int | None
    kind: DetailKind
    quantity: Decimal
    unit_amount: Decimal | None
    amount: Decimal


def rate(model: Model, quantity: Decimal) -> tuple[Detail, ...]:
    """What ``quantity`` units cost, term by term, in the order in which an invoice shows them.

    Stripe's rules. Graduated: every tier reached charges the units inside it, and its flat amount.
    Volume: the tier that contains the quantity charges all of it, and its flat amount. Quantity 0
    is in the first tier and charges its flat amount. Packages: the detail has the raw quantity, and
    its amount is the packages' price.

    ValueError if the quantity is negative, not finite or above `MAX_QUANTITY`, or if an amount
    needs more digits than `EXACT` holds.
    """
    if not (quantity.is_finite() and 0 <= quantity <= MAX_QUANTITY):
        raise ValueError(f"quantity must be between 0 and {plain(MAX_QUANTITY)}.")
    try:
        with localcontext(EXACT):
            return tuple(_details(model, quantity))
    except Inexact:
        raise ValueError(f"quantity {quantity} has an amount of too many digits.") from None


def total(details: Iterable[Detail]) -> Decimal:
    """The exact sum of the details, in minor units. (Lines round each detail by itself.)"""
    with localcontext(EXACT):
        return sum((detail.amount for detail in details), _ZERO)


def free_quantity(model: Model) -> Decimal | None:
    """The allotment that a model includes: the upper bound of its leading free tiers.

    A tier is free if its amounts are zero or absent. 0 means that there is no allotment, None that
    everything is free. In volume pricing an allotment is lost when it is exceeded: beyond the bound
    all units are charged, those below it too.
    """
    if not model.tiers:
        return _ZERO if model.unit_amount else None
    bound: Decimal | None = _ZERO
    for tier in model.tiers:
        if not tier.is_free:
            break
        bound = tier.up_to
    return bound


def _details(model: Model, quantity: Decimal) -> Iterator[Detail]:
    if model.unit_amount is not None:
        charged = model.transform.packages(quantity) if model.transform else quantity
        amount = charged * model.unit_amount
        yield Detail(None, DetailKind.UNIT, quantity, model.unit_amount, amount)
        return

    graduated = model.tiers_mode == TiersMode.GRADUATED
    lower = _ZERO
    for number, tier in enumerate(model.tiers, start=1):
        if tier.up_to is None or quantity <= tier.up_to:
            yield from _tier_details(number, tier, quantity - lower if graduated else quantity)
            return
        if graduated:
            yield from _tier_details(number, tier, tier.up_to - lower)
        lower = tier.up_to


def _tier_details(number: int, tier: Tier, units: Decimal) -> Iterator[Detail]:
    """The units, at 0 where the tier has no price for them, then the flat amount if there is one.

    As on Stripe's invoices: a flat amount of 0 is shown, an absent one is not.
    """
    unit_amount = _ZERO if tier.unit_amount is None else tier.unit_amount
    yield Detail(number, DetailKind.UNIT, units, unit_amount, units * unit_amount)
    if tier.flat_amount is not None:
        yield Detail(number, DetailKind.FLAT, _ZERO, None, tier.flat_amount)


def _check_tiers(tiers: tuple[Tier, ...]) -> None:
    lower = _ZERO
    for i, tier in enumerate(tiers):
        field = f"tiers[{i}]"
        if tier.unit_amount is None and tier.flat_amount is None:
            raise ValueError(f"{field} must have a unit_amount or a flat_amount.")
        _check_amount(f"{field}.unit_amount", tier.unit_amount)
        _check_amount(f"{field}.flat_amount", tier.flat_amount)
        if i == len(tiers) - 1:
            if tier.up_to is not None:
                raise ValueError(f"{field}.up_to must be None: the last tier has no end.")
            return
        if tier.up_to is None:
            raise ValueError(f"{field}.up_to is required: only the last tier has no end.")
        _check_decimal(f"{field}.up_to", tier.up_to, MAX_QUANTITY)
        if tier.up_to <= lower:
            raise ValueError(f"{field}.up_to must be above {plain(lower)}, where the tier begins.")
        lower = tier.up_to


def _check_amount(field: str, amount: Decimal | None) -> None:
    if amount is not None:
        _check_decimal(field, amount, Decimal(MAX_MINOR))


def _check_decimal(field: str, value: Decimal, maximum: Decimal) -> None:
    if not (value.is_finite() and 0 <= value <= maximum):
        raise ValueError(f"{field} must be between 0 and {plain(maximum)}.")
    if len(plain(value).partition(".")[2]) > MAX_DECIMALS:
        raise ValueError(f"{field} must not have more than {MAX_DECIMALS} decimal places.")
