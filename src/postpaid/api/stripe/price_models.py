"""What a price's amounts look like in Stripe's API: per unit, in packages, or by tiers.

Amounts are minor units, as a whole number (``unit_amount``) or as a decimal with up to twelve
places (``unit_amount_decimal``); a request has one of the two, a response both, the whole number
null where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.params import AMOUNT_MAX, Dec, Integer, Params, refuse
from postpaid.core.errors import InvalidRequest, Path
from postpaid.core.money import plain
from postpaid.core.pricing import MAX_QUANTITY, Model, Tier, TiersMode, Transform


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise refuse(f"Invalid non-negative decimal: {plain(amount)}")
    return amount


PriceAmount = Annotated[int, Integer(0, AMOUNT_MAX)]
PriceDecimal = Annotated[Dec, AfterValidator(_not_negative)]
Count = Annotated[int, Integer(1, int(MAX_QUANTITY))]


class AmountParams(Params):
    """An amount per unit."""

    unit_amount: PriceAmount | None = None
    unit_amount_decimal: PriceDecimal | None = None


class TierParams(AmountParams):
    """An amount per unit, an amount for the tier as a whole, or both."""

    flat_amount: PriceAmount | None = None
    flat_amount_decimal: PriceDecimal | None = None
    up_to: Count | Literal["inf"]


class TransformQuantity(Params):
    divide_by: Count
    round: Literal["up", "down"]


class ModelParams(AmountParams):
    """Everything that says what a quantity costs."""

    billing_scheme: Literal["per_unit", "tiered"] = "per_unit"
    tiers: Annotated[list[TierParams], Len(1, 100)] | None = None
    tiers_mode: TiersMode | None = None
    transform_quantity: TransformQuantity | None = None


# ─── In ──────────────────────────────────────────────────────────────────────────────────────


def from_stripe(params: ModelParams) -> Model:
    """The model that is asked for. Raises ``InvalidRequest`` with the parameter at fault."""
    if params.billing_scheme == "tiered":
        return _tiered(params)
    for name in ("tiers", "tiers_mode"):
        if getattr(params, name) is not None:
            raise InvalidRequest(f"`{name}` needs `billing_scheme=tiered`.", param=name)
    asked = params.transform_quantity
    transform = None if asked is None else Transform(asked.divide_by, asked.round)
    return Model(unit_amount=unit_amount_from_stripe(params), transform=transform)


def unit_amount_from_stripe(params: AmountParams, within: Path = ()) -> Decimal:
    """The amount per unit, which must be given."""
    unit_amount = _amount(params, "unit_amount", within)
    if unit_amount is None:
        raise InvalidRequest(
            "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
            param=(*within, "unit_amount"),
            code="parameter_missing",
        )
    return unit_amount


def _tiered(params: ModelParams) -> Model:
    for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
        if getattr(params, name) is not None:
            raise InvalidRequest(
                f"`{name}` cannot be used with `billing_scheme=tiered`.", param=name
            )
    for name in ("tiers", "tiers_mode"):
        if getattr(params, name) is None:
            raise InvalidRequest(
                f"Missing required param: {name}. It is required with `billing_scheme=tiered`.",
                param=name,
                code="parameter_missing",
            )
    return Model(tiers=_tiers(params.tiers or []), tiers_mode=params.tiers_mode)


def _tiers(asked: Sequence[TierParams]) -> tuple[Tier, ...]:
    """The tiers, ascending, each with an amount, and the last one without end."""
    tiers: list[Tier] = []
    lower = 0
    for i, tier in enumerate(asked):
        at: Path = ("tiers", i)
        if tier.up_to == "inf":
            if i < len(asked) - 1:
                raise InvalidRequest(
                    "Only the last tier's `up_to` can be `inf`.", param=(*at, "up_to")
                )
        elif tier.up_to <= lower:
            raise InvalidRequest(
                f"Tiers must ascend: `up_to` must be greater than {lower}, where the tier begins.",
                param=(*at, "up_to"),
            )
        else:
            lower = tier.up_to
        tiers.append(
            Tier(
                up_to=None if tier.up_to == "inf" else Decimal(tier.up_to),
                unit_amount=_amount(tier, "unit_amount", at),
                flat_amount=_flat_amount(tier, at),
            )
        )
        if tiers[-1].unit_amount is None and tiers[-1].flat_amount is None:
            raise InvalidRequest(
                "Each tier needs a `unit_amount`, a `unit_amount_decimal`, a `flat_amount` or a "
                "`flat_amount_decimal`.",
                param=at,
                code="parameter_missing",
            )
    if tiers[-1].up_to is not None:
        raise InvalidRequest(
            "The last tier's `up_to` must be `inf`.", param=("tiers", len(tiers) - 1, "up_to")
        )
    return tuple(tiers)


def _flat_amount(tier: TierParams, at: Path) -> Decimal | None:
    """Stripe: a flat amount is whole, even when written as a decimal."""
    flat_amount = _amount(tier, "flat_amount", at)
    if flat_amount is not None and whole(flat_amount) is None:
        raise InvalidRequest(
            f"Invalid integer: {plain(flat_amount)}; a flat amount is a whole number.",
            param=(*at, "flat_amount_decimal"),
            code="parameter_invalid_integer",
        )
    return flat_amount


def _amount(params: AmountParams, name: str, within: Path) -> Decimal | None:
    """What is given as ``name`` or as its decimal, not as both."""
    integer, decimal = getattr(params, name), getattr(params, f"{name}_decimal")
    if integer is None:
        assert decimal is None or isinstance(decimal, Decimal)
        return decimal
    if decimal is not None:
        raise InvalidRequest(
            f"You may only specify one of these parameters: {name}, {name}_decimal.",
            param=(*within, name),
            code="parameters_exclusive",
        )
    return Decimal(integer)


# ─── Out ─────────────────────────────────────────────────────────────────────────────────────


def tiers_to_stripe(model: Model) -> list[dict[str, Any]] | None:
    """The tiers, or None without."""
    return [
        {
            "flat_amount": whole(tier.flat_amount),
            "flat_amount_decimal": decimal_to_stripe(tier.flat_amount),
            "unit_amount": whole(tier.unit_amount),
            "unit_amount_decimal": decimal_to_stripe(tier.unit_amount),
            "up_to": whole(tier.up_to),
        }
        for tier in model.tiers
    ] or None


def transform_to_stripe(model: Model) -> dict[str, Any] | None:
    """The packages that are sold, or None."""
    if model.transform is None:
        return None
    return {"divide_by": model.transform.divide_by, "round": model.transform.round}


def whole(amount: Decimal | None) -> int | None:
    """The amount when it is a whole number, and otherwise None."""
    return int(amount) if amount is not None and amount == amount.to_integral_value() else None


def decimal_to_stripe(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
