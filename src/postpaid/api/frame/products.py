"""Products, as Frame shows them: a product and the one price that it is sold at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import currency
from postpaid.api.instants import seconds
from postpaid.api.params import (
    AMOUNT_MAX,
    Boolean,
    Currency,
    Integer,
    Text,
    Unsettable,
    refuse,
)
from postpaid.billing import manage_catalog, offer
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import catalog
from postpaid.storage.database import Connection

routes = Routes("Products")


class PurchaseType(StrEnum):
    """Whether a product is bought once or over and over."""

    ONE_TIME = "one_time"
    RECURRING = "recurring"


class RecurringInterval(StrEnum):
    """How often, in Frame's words."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    EVERY_3_MONTHS = "every_3_months"
    EVERY_6_MONTHS = "every_6_months"
    YEARLY = "yearly"


RECURRENCES: Mapping[RecurringInterval, Recurrence] = {
    RecurringInterval.DAILY: Recurrence(Interval.DAY),
    RecurringInterval.WEEKLY: Recurrence(Interval.WEEK),
    RecurringInterval.MONTHLY: Recurrence(Interval.MONTH),
    RecurringInterval.EVERY_3_MONTHS: Recurrence(Interval.MONTH, 3),
    RecurringInterval.EVERY_6_MONTHS: Recurrence(Interval.MONTH, 6),
    RecurringInterval.YEARLY: Recurrence(Interval.YEAR),
}
_NAMES = {each: name for name, each in RECURRENCES.items()} | {
    Recurrence(Interval.MONTH, 12): RecurringInterval.YEARLY,
    Recurrence(Interval.DAY, 7): RecurringInterval.WEEKLY,
}
# What Frame's client for PHP says.
_ALIASES = {
    "every_three_months": RecurringInterval.EVERY_3_MONTHS,
    "every_six_months": RecurringInterval.EVERY_6_MONTHS,
}


def _aliased(value: Any) -> Any:
    return _ALIASES.get(value, value) if isinstance(value, str) else value


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise refuse("Not a valid URL")
    return text


Name = Annotated[str, Text(250)]
Cents = Annotated[int, Integer(0, AMOUNT_MAX)]


class ProductFields(FrameParams):
    description: Unsettable[Annotated[str, Text(40_000)]] = None
    shippable: Boolean | None = None
    url: Unsettable[Annotated[str, Text(2048), AfterValidator(_url)]] = None
    metadata: Metadata = None


class ProductCreate(ProductFields):
    name: Name
    default_price: Cents
    purchase_type: PurchaseType
    recurring_interval: Annotated[RecurringInterval, BeforeValidator(_aliased)] | None = None
    currency: Currency = "usd"

    @property
    def recurrence(self) -> Recurrence | None:
        """Raises ``InvalidRequest`` unless there is one just where there must be."""
        if self.purchase_type == PurchaseType.ONE_TIME:
            if self.recurring_interval is not None:
                raise InvalidRequest(
                    "recurring_interval must not be given for a one_time product.",
                    param="recurring_interval",
                )
            return None
        if self.recurring_interval is None:
            raise InvalidRequest(
                "Missing required param: recurring_interval; a recurring product needs it.",
                param="recurring_interval",
            )
        return RECURRENCES[self.recurring_interval]


class ProductUpdate(ProductFields):
    name: Name | None = None
    default_price: Cents | None = None
    active: Boolean | None = None


class ProductList(ListParams):
    active: Boolean | None = None


class ProductSearch(ListParams):
    name: Annotated[str, Text(250)] | None = None
    active: Boolean | None = None
    shippable: Boolean | None = None


@routes.post("/v1/products", status=201)
def create(call: Call, params: ProductCreate) -> dict[str, Any]:
    """Create a product with the one price that it is sold at."""
    recurrence = params.recurrence
    fields = _from_frame(params, {}) | {"name": params.name}
    price = {
        "currency": params.currency,
        "model": Model(Decimal(params.default_price)),
        "recurrence": recurrence,
        "usage_type": recurrence and UsageType.LICENSED,
    }

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_catalog.create_product(conn, call.act, fields, default_price=price)
        return _one(conn, call.act, created.id)

    return call.write(write)


@routes.get("/v1/products/{product}")
def retrieve(call: Call, product: str) -> dict[str, Any]:
    """Retrieve a product."""
    return call.read(lambda conn: _one(conn, call.act, product))


@routes.patch("/v1/products/{product}")
def update(call: Call, params: ProductUpdate, product: str) -> dict[str, Any]:
    """Update a product; who subscribes to it already keeps the price that they have."""

    def change(before: Product) -> Product:
        return replace(before, **_from_frame(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        manage_catalog.update_product(conn, call.act, product, change)
        if params.default_price is not None:
            offer.reprice(conn, call.act, product, Decimal(params.default_price))
        return _one(conn, call.act, product)

    return call.write(write)


@routes.delete("/v1/products/{product}")
def delete(call: Call, product: str) -> dict[str, Any]:
    """Sell a product no more: it is inactive from then on, and what refers to it stays true."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_catalog.update_product(
            conn, call.act, product, lambda before: replace(before, active=False)
        )
        return {"id": product, "object": "product", "deleted": True}

    return call.write(write)


@routes.get("/v1/products")
def list_(call: Call, params: ProductList) -> dict[str, Any]:
    """List products, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.list_products(conn, call.act.account_id, params.rows, active=params.active)
        return listing(
            "/v1/products",
            params,
            found,
            lambda rows: render_many(conn, call.act, rows),
            named="products",
        )

    return call.read(read)


@routes.get("/v1/products/search")
def search(call: Call, params: ProductSearch) -> dict[str, Any]:
    """Search products by a part of their name, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        found = catalog.list_products(
            conn,
            call.act.account_id,
            params.rows,
            active=params.active,
            shippable=params.shippable,
            name=params.name,
        )
        return listing(
            "/v1/products/search",
            params,
            found,
            lambda rows: render_many(conn, call.act, rows),
            named="products",
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _from_frame(params: ProductFields, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are given, by a ``Product``'s names; ``metadata`` is what it has so far."""
    given = params.given()
    fields: dict[str, Any] = {
        name: given[name] for name in ("description", "shippable", "url") if name in given
    }
    for name in ("name", "active"):
        if given.get(name) is not None:
            fields[name] = given[name]
    if "metadata" in given:
        fields["metadata"] = merge_metadata(metadata, given["metadata"])
    return fields


def _one(conn: Connection, act: Act, product_id: str) -> dict[str, Any]:
    found = catalog.find_product(conn, act.account_id, product_id)
    if found is None:
        raise NotFound.of("product", product_id)
    return render_many(conn, act, [found])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[Product]) -> list[dict[str, Any]]:
    """Many products with one statement for all their prices."""
    ids = {each.default_price_id for each in shown if each.default_price_id}
    prices = catalog.load_prices(conn, act.account_id, ids) if ids else {}
    return [
        to_frame(each, prices.get(each.default_price_id or ""), livemode=act.livemode)
        for each in shown
    ]


def to_frame(product: Product, price: Price | None, *, livemode: bool) -> dict[str, Any]:
    """A product with its default price: null where it is no plain amount of whole cents."""
    recurrence = price.recurrence if price else None
    return {
        "id": product.id,
        "object": "product",
        "name": product.name,
        "description": product.description,
        "default_price": offer.shown_amount(price),
        "currency": currency(price.currency) if price else None,
        "purchase_type": price
        and (PurchaseType.RECURRING if recurrence else PurchaseType.ONE_TIME),
        "recurring": recurrence
        and {"interval": recurrence.interval, "interval_count": recurrence.count},
        "recurring_interval": recurring_interval(recurrence),
        "shippable": bool(product.shippable),
        "active": product.active,
        "url": product.url,
        "image": product.images[0] if product.images else None,
        "metadata": product.metadata,
        "livemode": livemode,
        "created": seconds(product.created_at),
        "updated": seconds(product.updated_at),
    }


def recurring_interval(recurrence: Recurrence | None) -> RecurringInterval | None:
    """How often in Frame's words; None for once, and for what it has no word for."""
    return _NAMES.get(recurrence) if recurrence else None
