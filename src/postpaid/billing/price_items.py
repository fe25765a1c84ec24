"""What an invoice item is to cost, by hand: read, checked, and rounded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, Inexact

from postpaid.billing.perform import Act
from postpaid.core.catalog import Product
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.money import EXACT, round_minor
from postpaid.core.pricing import rate
from postpaid.core.subscriptions import Catalog
from postpaid.core.values import replace
from postpaid.storage import catalog
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Asking:
    """What an item is to cost: an ``amount``, or ``quantity`` units of a price or at a unit amount.

    At most one of ``amount``, ``price_id`` and ``unit_amount`` is given; a unit amount may be for a
    product, in a ``currency``. Amounts are minor units.
    """

    amount: int | None = None
    price_id: str | None = None
    unit_amount: Decimal | None = None
    product_id: str | None = None
    currency: str | None = None
    quantity: Decimal | None = None

    @property
    def names_a_price(self) -> bool:
        return (self.amount, self.price_id, self.unit_amount) != (None, None, None)


def read_sold(
    conn: Connection, act: Act, asked: Sequence[Asking]
) -> tuple[Catalog, Mapping[str, Product]]:
    """The prices and the products that are asked for; no statement for none."""
    price_ids = {each.price_id for each in asked if each.price_id}
    product_ids = {each.product_id for each in asked if each.product_id}
    sold = catalog.load_sold(conn, act.account_id, price_ids) if price_ids else {}
    products = catalog.load_products(conn, act.account_id, product_ids) if product_ids else {}
    return sold, products


def check_sold(asking: Asking, sold: Catalog, products: Mapping[str, Product], param: Path) -> None:
    """Raises ``NotFound`` or ``InvalidRequest`` for what cannot be billed once."""
    if asking.product_id is not None and asking.product_id not in products:
        raise NotFound.of("product", asking.product_id, param=(*param, "price_data", "product"))
    if asking.price_id is None:
        return
    at = (*param, "pricing", "price")
    if asking.price_id not in sold:
        raise NotFound.of("price", asking.price_id, param=at)
    price = sold[asking.price_id].price
    if price.recurrence is not None:
        raise InvalidRequest(
            "The price specified is set to `type=recurring` but this field only accepts prices "
            "with `type=one_time`.",
            param=at,
        )
    if not price.active:
        raise InvalidRequest(
            "The price specified is inactive. This field only accepts active prices.", param=at
        )
    if price.model.tiers:
        raise InvalidRequest("A price with tiers cannot be billed once.", param=at)


def priced(item: InvoiceItem, asking: Asking, sold: Catalog, param: Path) -> InvoiceItem:
    """The item at what is asked, rounded once. Raises ``InvalidRequest``."""
    quantity = Decimal(1) if asking.quantity is None else asking.quantity
    if asking.amount is not None:
        return replace(
            item,
            price_id=None,
            product_id=asking.product_id,
            quantity=Decimal(1),
            unit_amount=Decimal(asking.amount),
            amount=asking.amount,
        )
    try:
        if asking.price_id is None:
            assert asking.unit_amount is not None, "something names the price"
            unit_amount: Decimal | None = asking.unit_amount
            exact = EXACT.multiply(asking.unit_amount, quantity)
            product_id = asking.product_id
        else:
            price = sold[asking.price_id].price
            [detail] = rate(price.model, quantity)
            unit_amount, exact, product_id = detail.unit_amount, detail.amount, price.product_id
        amount = round_minor(exact)
    except Inexact:
        raise InvalidRequest(
            "The amount has too many digits to be billed.", param=(*param, "quantity_decimal")
        ) from None
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param=(*param, "quantity")) from None
    return replace(
        item,
        price_id=asking.price_id,
        product_id=product_id,
        quantity=quantity,
        unit_amount=unit_amount,
        amount=amount,
    )
