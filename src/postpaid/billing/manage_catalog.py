"""Create and change products and prices, and delete products."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.catalog import INTERVAL_COUNT_MAX, Price, Product, TaxBehavior
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.values import replace
from postpaid.storage import catalog, meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import MeterStatus

# ─── Products ────────────────────────────────────────────────────────────────────────────────


def create_product(
    conn: Connection,
    act: Act,
    fields: Mapping[str, Any],
    *,
    default_price: Mapping[str, Any] | None = None,
) -> Product:
    """Add a product with the given ``fields``, by the names that a ``Product`` has for them.

    ``default_price`` has the fields of a price to add with it. Raises ``AlreadyExists`` when the
    caller chose an id that is taken.
    """
    product = _new_product(act, fields)
    price = None
    if default_price is not None:
        price = _new_price(act, {**default_price, "product_id": product.id})
        _check_recurrence(price, ("default_price_data", "recurring"))
        product = replace(product, default_price_id=price.id)
    catalog.insert_product(conn, act.account_id, product)
    said = [Announcement("product.created", "product", product.id, product)]
    if price is not None:
        catalog.insert_price(conn, act.account_id, price)
        said.append(Announcement("price.created", "price", price.id, price))
    announce(conn, act, said)
    return product


def update_product(
    conn: Connection, act: Act, product_id: str, change: Callable[[Product], Product]
) -> Product:
    """Make the product what ``change`` makes of it, once it is locked.

    Raises ``NotFound``, and ``InvalidRequest`` for a default price that is not an active one of the
    product's.
    """
    before = catalog.lock_product(conn, act.account_id, product_id)
    if before is None:
        raise NotFound.of("product", product_id)
    after = change(before)
    if after == before:
        return before
    if after.default_price_id and after.default_price_id != before.default_price_id:
        _check_default_price(conn, act, after)
    after = replace(after, updated_at=act.now)
    catalog.update_product(conn, act.account_id, after)
    said = Announcement("product.updated", "product", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return after


def delete_product(conn: Connection, act: Act, product_id: str) -> None:
    """Delete a product. Raises ``NotFound``, and ``ActionNotAllowed`` when it has prices."""
    product = catalog.lock_product(conn, act.account_id, product_id)
    if product is None:
        raise NotFound.of("product", product_id)
    catalog.delete_product(conn, act.account_id, product_id)
    announce(conn, act, [Announcement("product.deleted", "product", product_id, product)])


def _new_product(act: Act, fields: Mapping[str, Any]) -> Product:
    made = {"id": act.new_id("prod"), "created_at": act.now, "updated_at": act.now}
    return Product(**{**made, **fields})


def _check_default_price(conn: Connection, act: Act, product: Product) -> None:
    price_id = product.default_price_id or ""
    price = catalog.find_price(conn, act.account_id, price_id)
    if price is None:
        raise NotFound.of("price", price_id, param="default_price")
    if price.product_id != product.id:
        raise InvalidRequest(
            f"The price '{price_id}' does not belong to the product '{product.id}'.",
            param="default_price",
        )
    if not price.active:
        raise InvalidRequest(
            f"The price '{price_id}' is inactive and cannot be the default price.",
            param="default_price",
        )


# ─── Prices ──────────────────────────────────────────────────────────────────────────────────


def create_price(
    conn: Connection,
    act: Act,
    fields: Mapping[str, Any],
    *,
    product: Mapping[str, Any] | None = None,
    transfer_lookup_key: bool = False,
) -> Price:
    """Add a price with the given ``fields``, by the names that a ``Price`` has for them.

    ``product`` has the fields of a product to add with it; otherwise ``fields`` has a product's id.
    ``transfer_lookup_key`` takes the lookup key from the price that has it.

    Raises ``NotFound`` for a product or meter that is not there, ``InvalidRequest`` for an inactive
    meter, and ``AlreadyExists`` when the lookup key or the product's id is taken.
    """
    # Read.
    sold = None if product is None else _new_product(act, product)
    if sold is None:
        product_id = fields["product_id"]
        if catalog.find_product(conn, act.account_id, product_id) is None:
            raise NotFound.of("product", product_id, param="product")
    price = _new_price(act, {**fields, "product_id": sold.id} if sold else fields)
    _check_recurrence(price, ("recurring",))
    _check_meter(conn, act, price)

    # Write.
    said: list[Announcement] = []
    if sold is not None:
        catalog.insert_product(conn, act.account_id, sold)
        said.append(Announcement("product.created", "product", sold.id, sold))
    if transfer_lookup_key:
        said += _take_lookup_key(conn, act, price)
    catalog.insert_price(conn, act.account_id, price)
    said.append(Announcement("price.created", "price", price.id, price))
    announce(conn, act, said)
    return price


def create_prices(
    conn: Connection, act: Act, asked: Sequence[tuple[Mapping[str, Any], Path]]
) -> list[Price]:
    """Add prices of products that are there, each with where in the request it was asked for.

    Raises ``NotFound`` for a product that is not, and ``InvalidRequest`` for a recurrence that
    cannot be. No statement for none.
    """
    if not asked:
        return []
    # Read.
    product_ids = {fields["product_id"] for fields, _ in asked}
    products = catalog.load_products(conn, act.account_id, product_ids)

    # Decide.
    made: list[Price] = []
    for fields, param in asked:
        price = _new_price(act, fields)
        if price.product_id not in products:
            raise NotFound.of("product", price.product_id, param=(*param, "product"))
        _check_recurrence(price, (*param, "recurring"))
        made.append(price)

    # Write.
    catalog.insert_prices(conn, act.account_id, made)
    announce(conn, act, [Announcement("price.created", "price", each.id, each) for each in made])
    return made


def update_price(
    conn: Connection,
    act: Act,
    price_id: str,
    change: Callable[[Price], Price],
    *,
    transfer_lookup_key: bool = False,
) -> Price:
    """Make the price what ``change`` makes of it, once it is locked; its amounts never change.

    Raises ``NotFound``, ``AlreadyExists`` when the lookup key is taken, ``ActionNotAllowed`` for
    archiving a default price, and ``InvalidRequest`` for a tax behavior that was chosen before.
    """
    # Read.
    before = catalog.lock_price(conn, act.account_id, price_id)
    if before is None:
        raise NotFound.of("price", price_id)

    # Decide.
    after = change(before)
    if after == before:
        return before
    if before.active and not after.active:
        product = catalog.find_product(conn, act.account_id, before.product_id)
        if product is not None and product.default_price_id == price_id:
            raise ActionNotAllowed(
                "This price cannot be archived because it is the default price of its product.",
                param="active",
            )
    if after.tax_behavior != before.tax_behavior != TaxBehavior.UNSPECIFIED:
        raise InvalidRequest(
            "The tax behavior of a price cannot change once it is inclusive or exclusive.",
            param="tax_behavior",
        )

    # Write.
    said = _take_lookup_key(conn, act, after) if transfer_lookup_key else []
    catalog.update_price(conn, act.account_id, after)
    said.append(Announcement("price.updated", "price", after.id, after, changes(before, after)))
    announce(conn, act, said)
    return after


def _new_price(act: Act, fields: Mapping[str, Any]) -> Price:
    return Price(**{"id": act.new_id("price"), "created_at": act.now, **fields})


def _check_recurrence(price: Price, param: Path) -> None:
    recurrence = price.recurrence
    if recurrence and recurrence.count > INTERVAL_COUNT_MAX[recurrence.interval]:
        raise InvalidRequest(
            f"Invalid interval_count: {recurrence.count}; a price recurs within three years, which "
            f"is at most {INTERVAL_COUNT_MAX[recurrence.interval]} for the interval "
            f"`{recurrence.interval}`.",
            param=(*param, "interval_count"),
        )


def _check_meter(conn: Connection, act: Act, price: Price) -> None:
    if price.meter_id is None:
        return
    meter = meters.find(conn, act.account_id, price.meter_id)
    if meter is None:
        raise NotFound.of("meter", price.meter_id, param=("recurring", "meter"))
    if meter.status != MeterStatus.ACTIVE:
        raise InvalidRequest(
            f"The meter '{meter.id}' is inactive. This field only accepts active meters.",
            param=("recurring", "meter"),
        )


def _take_lookup_key(conn: Connection, act: Act, taker: Price) -> list[Announcement]:
    """Take the price's lookup key from whichever other price has it."""
    if taker.lookup_key is None:
        return []
    before = catalog.lock_price_of_lookup_key(conn, act.account_id, taker.lookup_key)
    if before is None or before.id == taker.id:
        return []
    after = replace(before, lookup_key=None)
    catalog.update_price(conn, act.account_id, after)
    return [Announcement("price.updated", "price", after.id, after, changes(before, after))]
