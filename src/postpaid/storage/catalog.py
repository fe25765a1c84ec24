"""Products and prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from postpaid.core.catalog import Price, Product, TaxBehavior, UsageType
from postpaid.core.errors import ActionNotAllowed, AlreadyExists
from postpaid.core.money import plain
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model, Tier, TiersMode, Transform
from postpaid.core.subscriptions import Sold
from postpaid.storage.database import (
    Connection,
    copy_into,
    fetch,
    fetch_one,
    parameters_of,
    values_of,
)
from postpaid.storage.paging import Page, Rows, fetch_page

# ─── Products ────────────────────────────────────────────────────────────────────────────────

INSERT_PRODUCT = """
INSERT INTO products (account_id, id, name, description, active, type, unit_label,
                      statement_descriptor, tax_code, url, images, marketing_features,
                      package_dimensions, shippable, metadata, default_price_id, created_at,
                      updated_at)
VALUES (%(account_id)s, %(id)s, %(name)s, %(description)s, %(active)s, %(type)s, %(unit_label)s,
        %(statement_descriptor)s, %(tax_code)s, %(url)s, %(images)s, %(marketing_features)s,
        %(package_dimensions)s, %(shippable)s, %(metadata)s, %(default_price_id)s, %(created_at)s,
        %(updated_at)s)
"""


def insert_product(conn: Connection, account_id: int, product: Product) -> None:
    """Add a product. Raises ``AlreadyExists`` when there is one with its id."""
    try:
        conn.execute(INSERT_PRODUCT, _product_parameters(account_id, product))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "products_pkey":
            raise
        raise AlreadyExists(f"Product already exists: '{product.id}'", param="id") from error


UPDATE_PRODUCT = """
UPDATE products
   SET name = %(name)s, description = %(description)s, active = %(active)s,
       unit_label = %(unit_label)s, statement_descriptor = %(statement_descriptor)s,
       tax_code = %(tax_code)s, url = %(url)s, images = %(images)s,
       marketing_features = %(marketing_features)s, package_dimensions = %(package_dimensions)s,
       shippable = %(shippable)s, metadata = %(metadata)s,
       default_price_id = %(default_price_id)s, updated_at = %(updated_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update_product(conn: Connection, account_id: int, product: Product) -> None:
    """Write what can change of the product, which the caller has locked."""
    conn.execute(UPDATE_PRODUCT, _product_parameters(account_id, product))


DELETE_PRODUCT = """
DELETE FROM products
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def delete_product(conn: Connection, account_id: int, product_id: str) -> None:
    """Delete the product. Raises ``ActionNotAllowed`` when it has prices."""
    try:
        conn.execute(DELETE_PRODUCT, {"account_id": account_id, "id": product_id})
    except psycopg.errors.ForeignKeyViolation as error:
        raise ActionNotAllowed(
            "This product cannot be deleted because it has one or more prices. "
            "Set it to `active=false` instead.",
            param="id",
        ) from error


LOAD_PRODUCTS = """
SELECT id, name, description, active, type, unit_label, statement_descriptor, tax_code, url,
       images, marketing_features, package_dimensions, shippable, metadata, default_price_id,
       created_at, updated_at
  FROM products
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load_products(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Product]:
    """The products by id."""
    rows = fetch(conn, Product, LOAD_PRODUCTS, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find_product(conn: Connection, account_id: int, product_id: str) -> Product | None:
    return load_products(conn, account_id, [product_id]).get(product_id)


LOCK_PRODUCT = """
SELECT id, name, description, active, type, unit_label, statement_descriptor, tax_code, url,
       images, marketing_features, package_dimensions, shippable, metadata, default_price_id,
       created_at, updated_at
  FROM products
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock_product(conn: Connection, account_id: int, product_id: str) -> Product | None:
    """The product, which stays as it is until the transaction ends."""
    return fetch_one(conn, Product, LOCK_PRODUCT, {"account_id": account_id, "id": product_id})


LIST_PRODUCTS = """
SELECT id, name, description, active, type, unit_label, statement_descriptor, tax_code, url,
       images, marketing_features, package_dimensions, shippable, metadata, default_price_id,
       created_at, updated_at
  FROM products
 WHERE account_id = %(account_id)s
   AND (%(active)s::boolean IS NULL OR active = %(active)s)
   AND (%(ids)s::text[] IS NULL OR id = ANY(%(ids)s))
   AND (%(name)s::text IS NULL OR strpos(lower(name), lower(%(name)s)) > 0)
   AND (%(shippable)s::boolean IS NULL OR coalesce(shippable, false) = %(shippable)s)
   AND (%(type)s::text IS NULL OR type = %(type)s)
   AND (%(url)s::text IS NULL OR url = %(url)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_products(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    active: bool | None = None,
    ids: Sequence[str] | None = None,
    name: str | None = None,
    shippable: bool | None = None,
    type: str | None = None,
    url: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Product]:
    """Products, newest first by when they were made: a caller may have chosen their ids.

    ``name`` is a part of it, in letters of either case. What nobody called shippable is not.
    """
    parameters = {
        "account_id": account_id,
        "active": active,
        "ids": None if ids is None else list(ids),
        "name": name,
        "shippable": shippable,
        "type": type,
        "url": url,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        Product,
        LIST_PRODUCTS,
        parameters,
        page,
        table="products",
        what="product",
        order=("created_at", "id"),
    )


def _product_parameters(account_id: int, product: Product) -> dict[str, Any]:
    return parameters_of(account_id, product) | {
        "marketing_features": Jsonb(product.marketing_features)
    }


# ─── Prices ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _PriceRow:
    """A price as its columns."""

    id: str
    product_id: str
    active: bool
    currency: str
    nickname: str | None
    lookup_key: str | None
    tax_behavior: TaxBehavior
    metadata: Mapping[str, str]
    interval: Interval | None
    interval_count: int | None
    usage_type: UsageType | None
    meter_id: str | None
    unit_amount: Decimal | None
    tiers_mode: TiersMode | None
    tiers: Sequence[Mapping[str, str | None]] | None
    transform_divide_by: int | None
    transform_round: Literal["up", "down"] | None
    created_at: datetime
    minimum_amount: int | None
    maximum_amount: int | None


def _row(price: Price) -> _PriceRow:
    model = price.model
    return _PriceRow(
        id=price.id,
        product_id=price.product_id,
        active=price.active,
        currency=price.currency,
        nickname=price.nickname,
        lookup_key=price.lookup_key,
        tax_behavior=price.tax_behavior,
        metadata=price.metadata,
        interval=price.recurrence.interval if price.recurrence else None,
        interval_count=price.recurrence.count if price.recurrence else None,
        usage_type=price.usage_type,
        meter_id=price.meter_id,
        unit_amount=model.unit_amount,
        tiers_mode=model.tiers_mode,
        tiers=[_tier_columns(tier) for tier in model.tiers] or None,
        transform_divide_by=model.transform.divide_by if model.transform else None,
        transform_round=model.transform.round if model.transform else None,
        created_at=price.created_at,
        minimum_amount=price.minimum_amount,
        maximum_amount=price.maximum_amount,
    )


INSERT_PRICE = """
INSERT INTO prices (account_id, id, product_id, active, currency, nickname, lookup_key,
                    tax_behavior, metadata, interval, interval_count, usage_type, meter_id,
                    unit_amount, tiers_mode, tiers, transform_divide_by, transform_round,
                    created_at, minimum_amount, maximum_amount)
VALUES (%(account_id)s, %(id)s, %(product_id)s, %(active)s, %(currency)s, %(nickname)s,
        %(lookup_key)s, %(tax_behavior)s, %(metadata)s, %(interval)s, %(interval_count)s,
        %(usage_type)s, %(meter_id)s, %(unit_amount)s, %(tiers_mode)s, %(tiers)s,
        %(transform_divide_by)s, %(transform_round)s, %(created_at)s, %(minimum_amount)s,
        %(maximum_amount)s)
"""


def insert_price(conn: Connection, account_id: int, price: Price) -> None:
    """Add a price. Raises ``AlreadyExists`` when another has its lookup key."""
    row = _row(price)
    tiers = None if row.tiers is None else Jsonb(row.tiers)
    try:
        conn.execute(INSERT_PRICE, parameters_of(account_id, row) | {"tiers": tiers})
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "prices_lookup_key_once":
            raise
        raise _taken(price.lookup_key) from error


PRICE_COLUMNS = tuple(each.name for each in fields(_PriceRow))
_price_values = values_of(*PRICE_COLUMNS)


def insert_prices(conn: Connection, account_id: int, prices: Sequence[Price]) -> None:
    """Add prices without tiers and lookup keys."""
    assert not any(each.model.tiers or each.lookup_key for each in prices), "plain prices"
    copy_into(
        conn,
        "prices",
        ("account_id", *PRICE_COLUMNS),
        ((account_id, *_price_values(_row(each))) for each in prices),
    )


UPDATE_PRICE = """
UPDATE prices
   SET active = %(active)s, nickname = %(nickname)s, lookup_key = %(lookup_key)s,
       tax_behavior = %(tax_behavior)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update_price(conn: Connection, account_id: int, price: Price) -> None:
    """Write what can change of the price, which the caller has locked; its amounts never do.

    Raises ``AlreadyExists`` when another price has its lookup key.
    """
    try:
        conn.execute(
            UPDATE_PRICE,
            {
                "account_id": account_id,
                "id": price.id,
                "active": price.active,
                "nickname": price.nickname,
                "lookup_key": price.lookup_key,
                "tax_behavior": price.tax_behavior,
                "metadata": price.metadata,
            },
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "prices_lookup_key_once":
            raise
        raise _taken(price.lookup_key) from error


LOAD_PRICES = """
SELECT id, product_id, active, currency, nickname, lookup_key, tax_behavior, metadata, interval,
       interval_count, usage_type, meter_id, unit_amount, tiers_mode, tiers, transform_divide_by,
       transform_round, created_at, minimum_amount, maximum_amount
  FROM prices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load_prices(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Price]:
    """The prices by id."""
    rows = fetch(conn, _PriceRow, LOAD_PRICES, {"account_id": account_id, "ids": list(ids)})
    return {row.id: _price(row) for row in rows}


def find_price(conn: Connection, account_id: int, price_id: str) -> Price | None:
    return load_prices(conn, account_id, [price_id]).get(price_id)


def load_sold(conn: Connection, account_id: int, price_ids: Iterable[str]) -> dict[str, Sold]:
    """The prices with their products, by the price's id."""
    prices = load_prices(conn, account_id, price_ids)
    products = load_products(conn, account_id, {each.product_id for each in prices.values()})
    return {key: Sold(price, products[price.product_id]) for key, price in prices.items()}


LOCK_PRICE = """
SELECT id, product_id, active, currency, nickname, lookup_key, tax_behavior, metadata, interval,
       interval_count, usage_type, meter_id, unit_amount, tiers_mode, tiers, transform_divide_by,
       transform_round, created_at, minimum_amount, maximum_amount
  FROM prices
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock_price(conn: Connection, account_id: int, price_id: str) -> Price | None:
    """The price, which stays as it is until the transaction ends."""
    row = fetch_one(conn, _PriceRow, LOCK_PRICE, {"account_id": account_id, "id": price_id})
    return None if row is None else _price(row)


LOCK_PRICE_OF_LOOKUP_KEY = """
SELECT id, product_id, active, currency, nickname, lookup_key, tax_behavior, metadata, interval,
       interval_count, usage_type, meter_id, unit_amount, tiers_mode, tiers, transform_divide_by,
       transform_round, created_at, minimum_amount, maximum_amount
  FROM prices
 WHERE account_id = %(account_id)s
   AND lookup_key = %(lookup_key)s
   FOR NO KEY UPDATE
"""


def lock_price_of_lookup_key(conn: Connection, account_id: int, lookup_key: str) -> Price | None:
    """The price that has the lookup key; it stays as it is until the transaction ends."""
    parameters = {"account_id": account_id, "lookup_key": lookup_key}
    row = fetch_one(conn, _PriceRow, LOCK_PRICE_OF_LOOKUP_KEY, parameters)
    return None if row is None else _price(row)


LIST_PRICES = """
SELECT id, product_id, active, currency, nickname, lookup_key, tax_behavior, metadata, interval,
       interval_count, usage_type, meter_id, unit_amount, tiers_mode, tiers, transform_divide_by,
       transform_round, created_at, minimum_amount, maximum_amount
  FROM prices
 WHERE account_id = %(account_id)s
   AND (%(active)s::boolean IS NULL OR active = %(active)s)
   AND (%(currency)s::text IS NULL OR currency = %(currency)s)
   AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
   AND (%(lookup_keys)s::text[] IS NULL OR lookup_key = ANY(%(lookup_keys)s))
   AND (%(recurring)s::boolean IS NULL OR (interval IS NOT NULL) = %(recurring)s)
   AND (%(interval)s::text IS NULL OR interval = %(interval)s)
   AND (%(usage_type)s::text IS NULL OR usage_type = %(usage_type)s)
   AND (%(meter_id)s::text IS NULL OR meter_id = %(meter_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_prices(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    active: bool | None = None,
    currency: str | None = None,
    product_id: str | None = None,
    lookup_keys: Sequence[str] | None = None,
    recurring: bool | None = None,
    interval: Interval | None = None,
    usage_type: UsageType | None = None,
    meter_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Price]:
    """Prices, newest first."""
    parameters = {
        "account_id": account_id,
        "active": active,
        "currency": currency,
        "product_id": product_id,
        "lookup_keys": None if lookup_keys is None else list(lookup_keys),
        "recurring": recurring,
        "interval": interval,
        "usage_type": usage_type,
        "meter_id": meter_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    found = fetch_page(conn, _PriceRow, LIST_PRICES, parameters, page, table="prices", what="price")
    return Rows([_price(row) for row in found.rows], found.has_more)


def _tier_columns(tier: Tier) -> dict[str, str | None]:
    return {
        "up_to": None if tier.up_to is None else plain(tier.up_to),
        "unit_amount": None if tier.unit_amount is None else plain(tier.unit_amount),
        "flat_amount": None if tier.flat_amount is None else plain(tier.flat_amount),
    }


def _price(row: _PriceRow) -> Price:
    recurrence = transform = None
    if row.interval is not None and row.interval_count is not None:
        recurrence = Recurrence(row.interval, row.interval_count)
    if row.transform_divide_by is not None and row.transform_round is not None:
        transform = Transform(row.transform_divide_by, row.transform_round)
    return Price(
        id=row.id,
        product_id=row.product_id,
        active=row.active,
        currency=row.currency,
        nickname=row.nickname,
        lookup_key=row.lookup_key,
        tax_behavior=row.tax_behavior,
        metadata=row.metadata,
        recurrence=recurrence,
        usage_type=row.usage_type,
        meter_id=row.meter_id,
        model=Model(
            unit_amount=row.unit_amount,
            tiers=tuple(_tier(columns) for columns in row.tiers or ()),
            tiers_mode=row.tiers_mode,
            transform=transform,
        ),
        created_at=row.created_at,
        minimum_amount=row.minimum_amount,
        maximum_amount=row.maximum_amount,
    )


def _tier(columns: Mapping[str, str | None]) -> Tier:
    def decimal(name: str) -> Decimal | None:
        text = columns[name]
        return None if text is None else Decimal(text)

    return Tier(decimal("up_to"), decimal("unit_amount"), decimal("flat_amount"))


def _taken(lookup_key: str | None) -> AlreadyExists:
    return AlreadyExists(
        f"A price already uses the lookup key '{lookup_key}'. Give `transfer_lookup_key=true` to "
        "move it.",
        param="lookup_key",
    )
