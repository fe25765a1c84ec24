"""What is sold: products, and the prices that say what a product costs and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model

INTERVAL_COUNT_MAX: Mapping[Interval, int] = {
    Interval.DAY: 3 * 365,
    Interval.WEEK: 3 * 52,
    Interval.MONTH: 3 * 12,
    Interval.YEAR: 3,
}
"""The longest recurrence a price can have: three years (Stripe)."""


class ProductType(StrEnum):
    """Whether a product is shipped or provided."""

    GOOD = "good"
    SERVICE = "service"


class UsageType(StrEnum):
    """Where the quantity of a recurring price comes from."""

    LICENSED = "licensed"  # it is agreed, and paid in advance
    METERED = "metered"  # it is measured, and paid in arrears


class TaxBehavior(StrEnum):
    """Whether a price's amounts include tax."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, slots=True)
class Product:
    """Something that can be sold; its prices say for how much.

    ``package_dimensions`` are decimals as strings, in inches and ounces: they are shown, never
    calculated with.
    """

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    active: bool = True
    type: ProductType = ProductType.SERVICE
    description: str | None = None
    unit_label: str | None = None
    statement_descriptor: str | None = None
    tax_code: str | None = None
    url: str | None = None
    images: Sequence[str] = field(default_factory=list)
    marketing_features: Sequence[Mapping[str, Any]] = field(default_factory=list)
    package_dimensions: Mapping[str, str] | None = None
    shippable: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    default_price_id: str | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a product costs: an amount that never changes, once or at every recurrence.

    ``model`` has the amounts, in minor units of ``currency``. A one-time price has neither a
    ``recurrence`` nor a ``usage_type``; only a metered one has a meter. For the usage of a whole
    period at least ``minimum_amount`` and at most ``maximum_amount`` minor units are owed.
    """

    id: str
    product_id: str
    currency: str
    model: Model
    created_at: datetime
    active: bool = True
    nickname: str | None = None
    lookup_key: str | None = None
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED
    recurrence: Recurrence | None = None
    usage_type: UsageType | None = None
    meter_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    minimum_amount: int | None = None
    maximum_amount: int | None = None

    def __post_init__(self) -> None:
        if (self.recurrence is None) != (self.usage_type is None):
            raise ValueError("usage_type must be given with a recurrence, and only with one.")
        if self.metered != (self.meter_id is not None):
            raise ValueError("meter_id must be given with a metered price, and only with one.")

    @property
    def metered(self) -> bool:
        return self.usage_type == UsageType.METERED
