"""At what a product is sold to whoever names the product and no price.

Its default price says the amount and how often. A façade whose products have one amount and no
currency, and whose subscriptions name the currency, asks here. A price never changes: where another
amount, or the same one in another currency, is asked for, a price that is just that is taken, or
made.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from postpaid.billing import manage_catalog
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.money import plain
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import catalog, offers
from postpaid.storage.database import Connection
from postpaid.storage.offers import Wanted


def offered_price(
    conn: Connection,
    act: Act,
    product_id: str,
    *,
    currency: str | None = None,
    param: str = "product",
) -> Price:
    """The price at which the product is sold: its default price.

    In another ``currency`` it is an active price of the product of the same amount and recurrence,
    which is made where there is none (Frame: a product has one amount, a subscription names the
    currency). Raises ``NotFound`` for a product that is not there, and ``InvalidRequest`` for one
    that is inactive, has no default price, or one that has no plain amount to ask in another
    currency.
    """
    _, price = default_price(conn, act, product_id, param=param)
    if currency in (None, price.currency):
        return price
    if not is_plain(price):
        raise InvalidRequest(
            f"The product '{product_id}' is sold in {price.currency} only: its default price has "
            "no plain amount.",
            param="currency",
        )
    assert currency is not None
    return find_or_make(conn, act, [wanted_like(price, currency=currency)])[0]


def default_price(
    conn: Connection, act: Act, product_id: str, *, param: str = "product"
) -> tuple[Product, Price]:
    """An active product with its default price. Raises as ``offered_price`` does."""
    product = _sold(catalog.find_product(conn, act.account_id, product_id), product_id, param)
    if product.default_price_id is None:
        raise InvalidRequest(
            f"The product '{product_id}' has no default price to be sold at.", param=param
        )
    price = catalog.find_price(conn, act.account_id, product.default_price_id)
    assert price is not None, "a default price is a price"
    return product, price


def offered_prices(
    conn: Connection, act: Act, wanted: Sequence[tuple[str, str | None, Path]]
) -> list[tuple[Product, Price]]:
    """Products, and at what they are sold once, so many of them: by product, currency and param.

    In the order given; a constant number of statements, and none for nothing. Raises as
    ``offered_price`` does, and for a product whose price is no plain amount.
    """
    if not wanted:
        return []
    # Read.
    products = catalog.load_products(conn, act.account_id, {key for key, _, _ in wanted})
    price_ids = {each.default_price_id for each in products.values() if each.default_price_id}
    prices = catalog.load_prices(conn, act.account_id, price_ids)

    # Decide.
    offered: list[tuple[Product, Price]] = []
    for product_id, _, param in wanted:
        product = _sold(products.get(product_id), product_id, param)
        price = prices.get(product.default_price_id or "")
        if price is None or not is_plain(price):
            raise InvalidRequest(
                f"The product '{product_id}' has no default price of a plain amount to be sold at.",
                param=param,
            )
        offered.append((product, price))
    foreign = [
        place
        for place, (_, currency, _) in enumerate(wanted)
        if currency not in (None, offered[place][1].currency)
    ]

    # Write.
    made = find_or_make(
        conn, act, [wanted_like(offered[place][1], currency=wanted[place][1]) for place in foreign]
    )
    for place, price in zip(foreign, made, strict=True):
        offered[place] = (offered[place][0], price)
    return offered


def _sold(product: Product | None, product_id: str, param: Path | str) -> Product:
    """Raises ``NotFound``, and ``InvalidRequest`` for one that is not sold any more."""
    if product is None:
        raise NotFound.of("product", product_id, param=param)
    if not product.active:
        raise InvalidRequest(
            f"The product '{product_id}' is inactive and cannot be sold.", param=param
        )
    return product


def is_plain(price: Price) -> bool:
    """Whether the price is so much per unit of a quantity that is agreed, and no more."""
    model = price.model
    return model.unit_amount is not None and model.transform is None and not price.metered


def wanted_like(
    price: Price, *, currency: str | None = None, unit_amount: Decimal | None = None
) -> Wanted:
    """What the price asks, in another currency or at another amount; it is plain."""
    assert price.model.unit_amount is not None
    return Wanted(
        price.product_id,
        currency or price.currency,
        price.model.unit_amount if unit_amount is None else unit_amount,
        price.recurrence,
        price.tax_behavior,
    )


def find_or_make(conn: Connection, act: Act, wanted: Sequence[Wanted]) -> list[Price]:
    """For each what is wanted an active price that is just that; those that miss are made.

    A constant number of statements. Two that ask at the same moment may make one each, which are
    the same to everybody.
    """
    if not wanted:
        return []
    found = offers.find_like(conn, act.account_id, wanted)
    missing = list(
        dict.fromkeys(each for each, price in zip(wanted, found, strict=True) if price is None)
    )
    made = manage_catalog.create_prices(conn, act, [(_fields(each), ()) for each in missing])
    new = dict(zip(missing, made, strict=True))
    return [price or new[each] for each, price in zip(wanted, found, strict=True)]


def _fields(wanted: Wanted) -> dict[str, Any]:
    return {
        "product_id": wanted.product_id,
        "currency": wanted.currency,
        "model": Model(wanted.unit_amount),
        "recurrence": wanted.recurrence,
        "tax_behavior": wanted.tax_behavior,
        "usage_type": wanted.recurrence and UsageType.LICENSED,
    }


def reprice(conn: Connection, act: Act, product_id: str, unit_amount: Decimal) -> Product:
    """Sell the product at another amount from now on: a new default price, the old one archived.

    Who buys it already keeps the old price: prices never change. Raises ``NotFound``, and
    ``ActionNotAllowed`` for a product whose default price is none, or no plain amount.
    """
    # Read.
    product = catalog.lock_product(conn, act.account_id, product_id)
    if product is None:
        raise NotFound.of("product", product_id)
    loaded = catalog.load_prices(conn, act.account_id, [product.default_price_id or ""])
    before = loaded.get(product.default_price_id or "")

    # Decide.
    if before is None or not is_plain(before):
        raise ActionNotAllowed(
            "The amount of this product is not a plain one and cannot be changed here: give the "
            "product another default price.",
            param="default_price",
        )
    if before.model.unit_amount == unit_amount:
        return product

    # Write.
    made = _fields(wanted_like(before, unit_amount=unit_amount)) | {"metadata": before.metadata}
    [after] = manage_catalog.create_prices(conn, act, [(made, ())])
    product = manage_catalog.update_product(
        conn, act, product_id, lambda each: replace(each, default_price_id=after.id)
    )
    manage_catalog.update_price(conn, act, before.id, lambda each: replace(each, active=False))
    return product


def shown_amount(price: Price | None) -> int | None:
    """The amount in whole minor units, of a price that has just that; None of any other."""
    if price is None or not is_plain(price):
        return None
    amount = price.model.unit_amount
    assert amount is not None
    return int(amount) if "." not in plain(amount) else None
