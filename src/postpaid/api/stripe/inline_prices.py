"""Prices that are made together with what is sold at them: ``price_data``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

from postpaid.api.complaints import spell
from postpaid.api.params import Currency, Id
from postpaid.api.stripe import price_models
from postpaid.api.stripe.price_models import AmountParams
from postpaid.api.stripe.products import PlainRecurring
from postpaid.billing.manage_catalog import create_prices
from postpaid.billing.perform import Act
from postpaid.core.catalog import TaxBehavior, UsageType
from postpaid.core.errors import InvalidRequest, Path
from postpaid.core.periods import Recurrence
from postpaid.core.pricing import Model
from postpaid.storage.database import Connection


class ExtraPriceData(AmountParams):
    """What a unit of a product costs, once."""

    currency: Currency
    product: Id
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED


class ItemPriceData(ExtraPriceData):
    """What a unit of a product costs, every period."""

    recurring: PlainRecurring


class Priced(Protocol):
    """What names a price, or says in ``price_data`` what it is to be."""

    price: str | None

    @property
    def price_data(self) -> ExtraPriceData | None: ...

    def model_copy(self, *, update: dict[str, Any]) -> Self: ...


P = TypeVar("P", bound=Priced)


def with_prices(
    conn: Connection, act: Act, asked: Sequence[P], within: Path, *, required: bool = False
) -> list[P]:
    """What is asked for, each with a price: one that was named, or that is made here.

    ``within`` is where in the request they are. Raises ``InvalidRequest`` for both, and where it is
    ``required`` for none, and ``NotFound`` for a product that is not there.
    """
    new: dict[int, tuple[dict[str, Any], Path]] = {}
    for i, each in enumerate(asked):
        if each.price is not None and each.price_data is not None:
            raise InvalidRequest(
                "You may only specify one of these parameters: price, price_data.",
                param=(*within, i, "price_data"),
                code="parameters_exclusive",
            )
        if required and each.price is None and each.price_data is None:
            missing: Path = (*within, i, "price")
            raise InvalidRequest(
                f"Missing required param: {spell(missing, {})}.",
                param=missing,
                code="parameter_missing",
            )
        if each.price_data is not None:
            at: Path = (*within, i, "price_data")
            new[i] = _fields(each.price_data, at), at
    made = dict(zip(new, create_prices(conn, act, list(new.values())), strict=True))
    return [
        each.model_copy(update={"price": made[i].id, "price_data": None}) if i in made else each
        for i, each in enumerate(asked)
    ]


def _fields(data: ExtraPriceData, at: Path) -> dict[str, Any]:
    """The price asked for, by a ``Price``'s names. Raises ``InvalidRequest`` without an amount."""
    recurring = data.recurring if isinstance(data, ItemPriceData) else None
    return {
        "currency": data.currency,
        "model": Model(price_models.unit_amount_from_stripe(data, at)),
        "product_id": data.product,
        "recurrence": recurring and Recurrence(recurring.interval, recurring.interval_count),
        "tax_behavior": data.tax_behavior,
        "usage_type": recurring and UsageType.LICENSED,
    }
