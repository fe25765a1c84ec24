"""Products by name and quantity → invoice items: what each costs and says is copied from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from postpaid.billing.decide_items import ItemChange, NewInvoiceItem
from postpaid.billing.edit_lines import update_lines
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.offer import offered_prices
from postpaid.billing.perform import Act
from postpaid.billing.price_items import Asking
from postpaid.core.catalog import Price, Product
from postpaid.core.errors import NotFound, Path
from postpaid.core.invoicing import Invoice
from postpaid.storage.database import Connection

DESCRIPTION_MAX = 500  # Stripe: of an invoice item


@dataclass(frozen=True, slots=True)
class ProductLine:
    """So many of a product, asked for as a line of an invoice; ``param`` is where."""

    product_id: str
    quantity: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)
    param: Path = ()


def items_of_products(
    conn: Connection, act: Act, asked: Sequence[ProductLine]
) -> list[NewInvoiceItem]:
    """Invoice items of the products, each at its default price's amount as it is now.

    The amount is the invoice's currency's: a product that is named without a price has one amount,
    and no currency (Frame). Raises ``NotFound``, and ``InvalidRequest`` for a product that is
    inactive, or has no plain default price. Two statements, or none for nothing.
    """
    offers = _offers(conn, act, [(each.product_id, (*each.param, "product")) for each in asked])
    return [
        NewInvoiceItem(
            asking=Asking(
                unit_amount=offers[each.product_id].unit_amount,
                product_id=each.product_id,
                quantity=Decimal(each.quantity),
            ),
            description=offers[each.product_id].description,
            metadata=each.metadata,
            param=each.param,
        )
        for each in asked
    ]


def change_product_line(
    conn: Connection,
    act: Act,
    invoice_id: str,
    line_id: str,
    *,
    product_id: str | None = None,
    quantity: int | None = None,
    relabel: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None,
) -> Invoice:
    """Change of a draft's line what is given; of another product it copies the amount anew.

    Raises as ``items_of_products`` and ``edit_lines.update_lines`` do.
    """
    [draft], _ = lock_invoices(conn, act, [invoice_id])
    line = next((each for each in draft.lines if each.id == line_id), None)
    if line is None:
        raise NotFound.of("line_item", line_id, param="id")
    counted = None if quantity is None else Decimal(quantity)
    given: set[str] = set()
    asking, description = Asking(quantity=counted), None
    if product_id is not None:
        offer = _offers(conn, act, [(product_id, ("product",))])[product_id]
        asking = Asking(
            unit_amount=offer.unit_amount,
            product_id=product_id,
            quantity=line.quantity if counted is None else counted,
        )
        description = offer.description
        given |= {"price_data", "description"}
    if quantity is not None:
        given.add("quantity")
    if relabel is not None:
        given.add("metadata")
    change = ItemChange(frozenset(given), asking, description, relabel=relabel or dict)
    return update_lines(conn, act, invoice_id, [(line_id, change)])


@dataclass(frozen=True, slots=True)
class _Offer:
    unit_amount: Decimal
    description: str


def _offers(conn: Connection, act: Act, asked: Sequence[tuple[str, Path]]) -> dict[str, _Offer]:
    """What the products cost and say, by product; each is asked for somewhere in the request."""
    found = offered_prices(conn, act, [(product_id, None, at) for product_id, at in asked])
    return {product.id: _offer(product, price) for product, price in found}


def _offer(product: Product, price: Price) -> _Offer:
    assert price.model.unit_amount is not None, "it is plain"
    return _Offer(price.model.unit_amount, _described(product))


def _described(product: Product) -> str:
    return (product.description or product.name)[:DESCRIPTION_MAX]
