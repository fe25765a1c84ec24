"""Prices as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Boolean,
    Currency,
    Id,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe import price_models, products
from postpaid.api.stripe.expand import expandable, includable, loader
from postpaid.api.stripe.limits import CommittedAmount
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.price_models import ModelParams
from postpaid.api.stripe.products import PlainRecurring, ProductData
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_catalog
from postpaid.billing.perform import Act
from postpaid.core import commitments
from postpaid.core.catalog import Price, TaxBehavior, UsageType
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.values import replace
from postpaid.storage import catalog
from postpaid.storage.database import Connection

routes = Routes("Prices")


class Recurring(PlainRecurring):
    meter: Id | None = None
    usage_type: UsageType = UsageType.LICENSED


class PriceCreate(ModelParams):
    currency: Currency
    active: Boolean = True
    lookup_key: Annotated[str, Text(200)] | None = None
    maximum_amount: CommittedAmount | None = None
    metadata: Metadata = None
    minimum_amount: CommittedAmount | None = None
    nickname: Annotated[str, Text(5000)] | None = None
    product: Id | None = None
    product_data: ProductData | None = None
    recurring: Recurring | None = None
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED
    transfer_lookup_key: Boolean = False


class PriceUpdate(Params):
    active: Boolean = True
    lookup_key: Unsettable[Annotated[str, Text(200)]] = None
    metadata: Metadata = None
    nickname: Unsettable[Annotated[str, Text(5000)]] = None
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED
    transfer_lookup_key: Boolean = False


class RecurringFilter(Params):
    interval: Interval | None = None
    meter: Id | None = None
    usage_type: UsageType | None = None


class PriceList(ListParams):
    active: Boolean | None = None
    created: TimeRange | None = None
    currency: Currency | None = None
    lookup_keys: Annotated[list[Annotated[str, Text(200)]], Len(1, 10)] | None = None
    product: Id | None = None
    recurring: RecurringFilter = RecurringFilter()
    type: Literal["one_time", "recurring"] | None = None


@routes.post("/v1/prices", returns="price")
def create(call: Call, params: PriceCreate) -> dict[str, Any]:
    """Create a price of a product, or with ``product_data`` of a new one."""
    fields = _from_stripe(params)
    product = None
    if params.product_data is not None:
        product = products.from_stripe(params.product_data, {})

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_catalog.create_price(
            conn,
            call.act,
            fields,
            product=product,
            transfer_lookup_key=params.transfer_lookup_key,
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/prices/{price}", returns="price")
def retrieve(call: Call, price: str) -> dict[str, Any]:
    """Retrieve a price."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.find_price(conn, call.act.account_id, price)
        if found is None:
            raise NotFound.of("price", price)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/prices/{price}", returns="price")
def update(call: Call, params: PriceUpdate, price: str) -> dict[str, Any]:
    """Update a price; its amounts never change."""

    def change(before: Price) -> Price:
        given = params.given()
        given.pop("transfer_lookup_key", None)
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        return replace(before, **given)

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_catalog.update_price(
            conn, call.act, price, change, transfer_lookup_key=params.transfer_lookup_key
        )
        return to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/prices", returns="price", many=True)
def list_(call: Call, params: PriceList) -> dict[str, Any]:
    """List prices, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/prices",
            catalog.list_prices(
                conn,
                call.act.account_id,
                params.page,
                active=params.active,
                currency=params.currency,
                product_id=params.product,
                lookup_keys=params.lookup_keys,
                recurring=None if params.type is None else params.type == "recurring",
                interval=params.recurring.interval,
                usage_type=params.recurring.usage_type,
                meter_id=params.recurring.meter,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _from_stripe(params: PriceCreate) -> dict[str, Any]:
    """The fields of the price asked for, by a ``Price``'s names. Raises ``InvalidRequest``."""
    recurring = params.recurring
    fields: dict[str, Any] = {
        "active": params.active,
        "currency": params.currency,
        "lookup_key": params.lookup_key,
        "maximum_amount": params.maximum_amount,
        "metadata": merge_metadata({}, params.metadata),
        "minimum_amount": params.minimum_amount,
        "meter_id": recurring and _meter_from_stripe(recurring),
        "model": price_models.from_stripe(params),
        "nickname": params.nickname,
        "recurrence": recurring and Recurrence(recurring.interval, recurring.interval_count),
        "tax_behavior": params.tax_behavior,
        "usage_type": recurring and recurring.usage_type,
    }
    commitments.check(
        params.minimum_amount,
        params.maximum_amount,
        metered=recurring is not None and recurring.usage_type == UsageType.METERED,
    )
    if params.product is not None and params.product_data is not None:
        raise InvalidRequest(
            "You may only specify one of these parameters: product, product_data.",
            param="product",
            code="parameters_exclusive",
        )
    if params.product is not None:
        fields["product_id"] = params.product
    elif params.product_data is None:
        raise InvalidRequest(
            "Missing required param: product. A price is of a `product`, or of a new one of "
            "`product_data`.",
            param="product",
            code="parameter_missing",
        )
    return fields


def _meter_from_stripe(recurring: Recurring) -> str | None:
    if recurring.usage_type == UsageType.METERED and recurring.meter is None:
        raise InvalidRequest(
            "Missing required param: recurring[meter]. A metered price needs a meter.",
            param=("recurring", "meter"),
            code="parameter_missing",
        )
    if recurring.usage_type != UsageType.METERED and recurring.meter is not None:
        raise InvalidRequest(
            "`recurring[meter]` needs `recurring[usage_type]=metered`.",
            param=("recurring", "meter"),
        )
    return recurring.meter


def to_stripe(price: Price, *, livemode: bool) -> dict[str, Any]:
    """A price; its tiers are there only when asked for."""
    return {
        "id": price.id,
        "object": "price",
        "active": price.active,
        "billing_scheme": "tiered" if price.model.tiers else "per_unit",
        "created": seconds(price.created_at),
        "currency": price.currency,
        "custom_unit_amount": None,
        "livemode": livemode,
        "lookup_key": price.lookup_key,
        "maximum_amount": price.maximum_amount,
        "metadata": price.metadata,
        "minimum_amount": price.minimum_amount,
        "nickname": price.nickname,
        "product": price.product_id,
        "recurring": price.recurrence
        and {
            "interval": price.recurrence.interval,
            "interval_count": price.recurrence.count,
            "meter": price.meter_id,
            "trial_period_days": None,
            "usage_type": price.usage_type,
        },
        "tax_behavior": price.tax_behavior,
        "tiers_mode": price.model.tiers_mode,
        "transform_quantity": price_models.transform_to_stripe(price.model),
        "type": "recurring" if price.recurrence else "one_time",
        "unit_amount": price_models.whole(price.model.unit_amount),
        "unit_amount_decimal": price_models.decimal_to_stripe(price.model.unit_amount),
    }


def plan_to_stripe(price: Price, *, livemode: bool) -> dict[str, Any]:
    """A recurring price as a subscription item's ``plan``, which is what prices were once."""
    recurrence = price.recurrence
    assert recurrence is not None, "an item's price recurs"
    return {
        "id": price.id,
        "object": "plan",
        "active": price.active,
        "amount": price_models.whole(price.model.unit_amount),
        "amount_decimal": price_models.decimal_to_stripe(price.model.unit_amount),
        "billing_scheme": "tiered" if price.model.tiers else "per_unit",
        "created": seconds(price.created_at),
        "currency": price.currency,
        "interval": recurrence.interval,
        "interval_count": recurrence.count,
        "livemode": livemode,
        "metadata": price.metadata,
        "meter": price.meter_id,
        "nickname": price.nickname,
        "product": price.product_id,
        "tiers_mode": price.model.tiers_mode,
        "transform_usage": price_models.transform_to_stripe(price.model),
        "trial_period_days": None,
        "usage_type": price.usage_type,
    }


@loader("price")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = catalog.load_prices(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


def _tiers(
    conn: Connection, act: Act, ids: Sequence[str]
) -> dict[str, list[dict[str, Any]] | None]:
    found = catalog.load_prices(conn, act.account_id, ids)
    return {key: price_models.tiers_to_stripe(each.model) for key, each in found.items()}


expandable("price", "product", load="product")
expandable("plan", "product", load="product")
includable("price", "tiers", _tiers)
includable("plan", "tiers", _tiers)
