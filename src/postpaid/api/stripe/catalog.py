"""Products and prices as Stripe shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Len, MaxLen
from pydantic import AfterValidator

from postpaid.api.stripe import price_models
from postpaid.api.stripe.expand import expandable, includable, loader
from postpaid.api.stripe.lists import listing, seconds
from postpaid.api.stripe.params import (
    Boolean,
    Currency,
    Dec,
    Id,
    Integer,
    ListParams,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.price_models import AmountParams, ModelParams
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_catalog
from postpaid.billing.perform import Act
from postpaid.core import commitments
from postpaid.core.catalog import Price, Product, ProductType, TaxBehavior, UsageType
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.money import MAX_MINOR, plain
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import catalog
from postpaid.storage.database import Connection

routes = Routes("Products and prices")


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise refuse("Not a valid URL", "url_invalid")
    return text


def _statement_descriptor(text: str) -> str:
    if re.search(r"""[<>\\"'*]""", text) or not re.search("[A-Za-z]", text):
        raise refuse(
            "Invalid statement descriptor: it must have a letter, and none of < > \\ \" ' *"
        )
    return text


def _dimension(size: Decimal) -> Decimal:
    if size <= 0:
        raise refuse(f"Invalid positive decimal: {plain(size)}")
    return size


Url = Annotated[str, Text(2048), AfterValidator(_url)]
StatementDescriptor = Annotated[str, Text(22), AfterValidator(_statement_descriptor)]
Dimension = Annotated[Dec, AfterValidator(_dimension)]
IntervalCount = Annotated[int, Integer(1, 10_000)]
CommittedAmount = Annotated[int, Integer(0, MAX_MINOR)]

# ─── Products ────────────────────────────────────────────────────────────────────────────────


class MarketingFeature(Params):
    name: Annotated[str, Text(80)]


class PackageDimensions(Params):
    height: Dimension
    length: Dimension
    weight: Dimension
    width: Dimension


class PlainRecurring(Params):
    interval: Interval
    interval_count: IntervalCount = 1


class DefaultPriceData(AmountParams):
    currency: Currency
    metadata: Metadata = None
    recurring: PlainRecurring | None = None
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED


class ProductFields(Params):
    active: Boolean = True
    description: Unsettable[Annotated[str, Text(40_000)]] = None
    images: Unsettable[Annotated[list[Url], MaxLen(8)]] = None
    marketing_features: Unsettable[Annotated[list[MarketingFeature], MaxLen(15)]] = None
    metadata: Metadata = None
    package_dimensions: Unsettable[PackageDimensions] = None
    shippable: Boolean | None = None
    statement_descriptor: Unsettable[StatementDescriptor] = None
    tax_code: Unsettable[Id] = None
    unit_label: Unsettable[Annotated[str, Text(250)]] = None
    url: Unsettable[Url] = None


class ProductCreate(ProductFields):
    name: Annotated[str, Text(250)]
    default_price_data: DefaultPriceData | None = None
    id: Id | None = None
    type: ProductType = ProductType.SERVICE


class ProductUpdate(ProductFields):
    default_price: Unsettable[Id] = None
    name: Annotated[str, Text(250)] | None = None


class ProductList(ListParams):
    active: Boolean | None = None
    created: TimeRange | None = None
    ids: Annotated[list[Id], Len(1, 100)] | None = None
    shippable: Boolean | None = None
    type: ProductType | None = None
    url: Annotated[str, Text(2048)] | None = None


@routes.post("/v1/products", returns="product")
def create_product(call: Call, params: ProductCreate) -> dict[str, Any]:
    """Create a product, and with ``default_price_data`` its default price."""
    fields = product_from_stripe(params, {})
    asked = params.default_price_data
    default_price = None if asked is None else _default_price_from_stripe(asked)

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_catalog.create_product(conn, call.act, fields, default_price=default_price)
        return product_to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/products/{product}", returns="product")
def retrieve_product(call: Call, product: str) -> dict[str, Any]:
    """Retrieve a product."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.find_product(conn, call.act.account_id, product)
        if found is None:
            raise NotFound.of("product", product)
        return product_to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/products/{product}", returns="product")
def update_product(call: Call, params: ProductUpdate, product: str) -> dict[str, Any]:
    """Update a product. What is not given stays; what is given empty is unset."""

    def change(before: Product) -> Product:
        return replace(before, **product_from_stripe(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_catalog.update_product(conn, call.act, product, change)
        return product_to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/products", returns="product", many=True)
def list_products(call: Call, params: ProductList) -> dict[str, Any]:
    """List products, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/products",
            catalog.list_products(
                conn,
                call.act.account_id,
                params.page,
                active=params.active,
                ids=params.ids,
                shippable=params.shippable,
                type=params.type,
                url=params.url,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: product_to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.delete("/v1/products/{product}", returns="product")
def delete_product(call: Call, product: str) -> dict[str, Any]:
    """Delete a product that has no prices."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_catalog.delete_product(conn, call.act, product)
        return {"id": product, "object": "product", "deleted": True}

    return call.write(write)


# ─── Prices ──────────────────────────────────────────────────────────────────────────────────


class Recurring(PlainRecurring):
    meter: Id | None = None
    usage_type: UsageType = UsageType.LICENSED


class ProductData(Params):
    name: Annotated[str, Text(250)]
    active: Boolean = True
    id: Id | None = None
    metadata: Metadata = None
    statement_descriptor: StatementDescriptor | None = None
    tax_code: Id | None = None
    unit_label: Annotated[str, Text(250)] | None = None


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
def create_price(call: Call, params: PriceCreate) -> dict[str, Any]:
    """Create a price of a product, or with ``product_data`` of a new one."""
    fields = _price_from_stripe(params)
    product = None
    if params.product_data is not None:
        product = product_from_stripe(params.product_data, {})

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_catalog.create_price(
            conn,
            call.act,
            fields,
            product=product,
            transfer_lookup_key=params.transfer_lookup_key,
        )
        return price_to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/prices/{price}", returns="price")
def retrieve_price(call: Call, price: str) -> dict[str, Any]:
    """Retrieve a price."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.find_price(conn, call.act.account_id, price)
        if found is None:
            raise NotFound.of("price", price)
        return price_to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/prices/{price}", returns="price")
def update_price(call: Call, params: PriceUpdate, price: str) -> dict[str, Any]:
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
        return price_to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/prices", returns="price", many=True)
def list_prices(call: Call, params: PriceList) -> dict[str, Any]:
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
            lambda each: price_to_stripe(each, livemode=call.act.livemode),
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def product_from_stripe(
    params: ProductFields | ProductData, metadata: Mapping[str, str]
) -> dict[str, Any]:
    """The fields that are given, by a ``Product``'s names; ``metadata`` is what it has so far."""
    fields: dict[str, Any] = {}
    for name, value in params.given().items():
        match name:
            case "default_price":
                fields["default_price_id"] = value
            case "default_price_data":
                pass  # it becomes a price, and is no field of the product
            case "images":
                fields["images"] = value or []
            case "marketing_features":
                fields["marketing_features"] = [{"name": each.name} for each in value or []]
            case "metadata":
                fields["metadata"] = merge_metadata(metadata, value)
            case "package_dimensions":
                sizes = value and value.given().items()
                fields["package_dimensions"] = sizes and {key: plain(size) for key, size in sizes}
            case _:
                fields[name] = value
    return fields


def product_to_stripe(product: Product, *, livemode: bool) -> dict[str, Any]:
    return {
        "id": product.id,
        "object": "product",
        "active": product.active,
        "created": seconds(product.created_at),
        "default_price": product.default_price_id,
        "description": product.description,
        "images": product.images,
        "livemode": livemode,
        "marketing_features": product.marketing_features,
        "metadata": product.metadata,
        "name": product.name,
        "package_dimensions": product.package_dimensions
        and {key: float(size) for key, size in product.package_dimensions.items()},
        "shippable": product.shippable,
        "statement_descriptor": product.statement_descriptor,
        "tax_code": product.tax_code,
        "tax_details": None,
        "type": product.type,
        "unit_label": product.unit_label,
        "updated": seconds(product.updated_at),
        "url": product.url,
    }


def _default_price_from_stripe(params: DefaultPriceData) -> dict[str, Any]:
    within = ("default_price_data",)
    recurring = params.recurring
    return {
        "currency": params.currency,
        "metadata": merge_metadata({}, params.metadata),
        "model": Model(price_models.unit_amount_from_stripe(params, within)),
        "recurrence": recurring and Recurrence(recurring.interval, recurring.interval_count),
        "tax_behavior": params.tax_behavior,
        "usage_type": recurring and UsageType.LICENSED,
    }


def _price_from_stripe(params: PriceCreate) -> dict[str, Any]:
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


def price_to_stripe(price: Price, *, livemode: bool) -> dict[str, Any]:
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


@loader("product")
def _load_products(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = catalog.load_products(conn, act.account_id, ids)
    return {key: product_to_stripe(each, livemode=act.livemode) for key, each in found.items()}


@loader("price")
def _load_prices(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = catalog.load_prices(conn, act.account_id, ids)
    return {key: price_to_stripe(each, livemode=act.livemode) for key, each in found.items()}


def _tiers(
    conn: Connection, act: Act, ids: Sequence[str]
) -> dict[str, list[dict[str, Any]] | None]:
    found = catalog.load_prices(conn, act.account_id, ids)
    return {key: price_models.tiers_to_stripe(each.model) for key, each in found.items()}


expandable("product", "default_price", load="price")
expandable("price", "product", load="product")
expandable("plan", "product", load="product")
includable("price", "tiers", _tiers)
includable("plan", "tiers", _tiers)
