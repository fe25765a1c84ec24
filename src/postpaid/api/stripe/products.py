"""Products as Stripe shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from annotated_types import Len, MaxLen
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Boolean,
    Currency,
    Dec,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe import price_models
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.price_models import AmountParams
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_catalog
from postpaid.billing.perform import Act
from postpaid.core.catalog import Product, ProductType, TaxBehavior, UsageType
from postpaid.core.errors import NotFound
from postpaid.core.money import plain
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import catalog
from postpaid.storage.database import Connection

routes = Routes("Products")


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
def create(call: Call, params: ProductCreate) -> dict[str, Any]:
    """Create a product, and with ``default_price_data`` its default price."""
    fields = from_stripe(params, {})
    asked = params.default_price_data
    default_price = None if asked is None else _default_price_from_stripe(asked)

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_catalog.create_product(conn, call.act, fields, default_price=default_price)
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/products/{product}", returns="product")
def retrieve(call: Call, product: str) -> dict[str, Any]:
    """Retrieve a product."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.find_product(conn, call.act.account_id, product)
        if found is None:
            raise NotFound.of("product", product)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/products/{product}", returns="product")
def update(call: Call, params: ProductUpdate, product: str) -> dict[str, Any]:
    """Update a product. What is not given stays; what is given empty is unset."""

    def change(before: Product) -> Product:
        return replace(before, **from_stripe(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_catalog.update_product(conn, call.act, product, change)
        return to_stripe(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/products", returns="product", many=True)
def list_(call: Call, params: ProductList) -> dict[str, Any]:
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
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.delete("/v1/products/{product}", returns="product")
def delete(call: Call, product: str) -> dict[str, Any]:
    """Delete a product that has no prices."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_catalog.delete_product(conn, call.act, product)
        return {"id": product, "object": "product", "deleted": True}

    return call.write(write)


class ProductData(Params):
    name: Annotated[str, Text(250)]
    active: Boolean = True
    id: Id | None = None
    metadata: Metadata = None
    statement_descriptor: StatementDescriptor | None = None
    tax_code: Id | None = None
    unit_label: Annotated[str, Text(250)] | None = None


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_stripe(params: ProductFields | ProductData, metadata: Mapping[str, str]) -> dict[str, Any]:
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


def to_stripe(product: Product, *, livemode: bool) -> dict[str, Any]:
    """A product."""
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


@loader("product")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = catalog.load_products(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}


expandable("product", "default_price", load="price")
