"""Invoice items as Stripe shows them, and how one is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Amount,
    Boolean,
    Currency,
    Dec,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Timestamp,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.invoice_shapes import (
    TaxRates,
    discounts_to_stripe,
    pricing_to_stripe,
    tax_rates_of,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_invoice_items
from postpaid.billing.decide_items import ItemChange, NewInvoiceItem
from postpaid.billing.perform import Act
from postpaid.billing.price_items import Asking
from postpaid.core.catalog import TaxBehavior
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.money import plain
from postpaid.storage import invoice_items
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Invoice items")

QUANTITY_MAX = 10**12


def _not_negative(quantity: Decimal) -> Decimal:
    if quantity < 0:
        raise refuse(f"Invalid non-negative decimal: {plain(quantity)}")
    return quantity


Quantity = Annotated[int, Integer(0, QUANTITY_MAX)]
QuantityDecimal = Annotated[Dec, AfterValidator(_not_negative)]
Description = Annotated[str, Text(500)]


class Period(Params):
    end: Timestamp
    start: Timestamp


class Pricing(Params):
    price: Id


class PriceData(Params):
    """What a unit of a product costs, this once."""

    currency: Currency
    product: Id
    tax_behavior: TaxBehavior | None = None
    unit_amount: Amount | None = None
    unit_amount_decimal: Dec | None = None


class ItemParams(Params):
    """What is said of an invoice item, or of the line that bills one."""

    amount: Amount | None = None
    description: Unsettable[Description] = None
    discountable: Boolean | None = None
    discounts: Discounts = None
    metadata: Metadata = None
    period: Period | None = None
    price_data: PriceData | None = None
    pricing: Pricing | None = None
    quantity: Quantity | None = None
    quantity_decimal: QuantityDecimal | None = None
    tax_rates: TaxRateIds = None


class InvoiceItemUpdate(ItemParams):
    price: Id | None = None
    tax_behavior: TaxBehavior | None = None
    unit_amount_decimal: Dec | None = None


class InvoiceItemCreate(InvoiceItemUpdate):
    currency: Currency | None = None
    customer: Id | None = None
    invoice: Id | None = None
    subscription: Id | None = None


class InvoiceItemList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    invoice: Id | None = None
    pending: Boolean | None = None


@routes.post("/v1/invoiceitems", returns="invoiceitem")
def create(call: Call, params: InvoiceItemCreate) -> dict[str, Any]:
    """Create an invoice item: for the next invoice, or a line of the draft that is given."""
    asked = new_item(params, currency=params.currency, subscription_id=params.subscription)
    return call.write(
        lambda conn: _render(
            conn,
            call,
            manage_invoice_items.create_invoice_item(
                conn, call.act, asked, customer_id=params.customer, invoice_id=params.invoice
            ),
        )
    )


@routes.get("/v1/invoiceitems", returns="invoiceitem", many=True)
def list_(call: Call, params: InvoiceItemList) -> dict[str, Any]:
    """List invoice items, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = invoice_items.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=params.customer,
            invoice_id=params.invoice,
            pending=params.pending,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/invoiceitems", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/invoiceitems/{invoiceitem}", returns="invoiceitem")
def retrieve(call: Call, invoiceitem: str) -> dict[str, Any]:
    """Retrieve an invoice item."""

    def read(conn: Connection) -> dict[str, Any]:
        found = invoice_items.load(conn, call.act.account_id, [invoiceitem])
        if invoiceitem not in found:
            raise NotFound.of("invoiceitem", invoiceitem)
        return _render(conn, call, found[invoiceitem])

    return call.read(read)


@routes.post("/v1/invoiceitems/{invoiceitem}", returns="invoiceitem")
def update(call: Call, params: InvoiceItemUpdate, invoiceitem: str) -> dict[str, Any]:
    """Update an invoice item that is pending, or on a draft."""
    change = item_change(params)
    return call.write(
        lambda conn: _render(
            conn,
            call,
            manage_invoice_items.update_invoice_item(conn, call.act, invoiceitem, change),
        )
    )


@routes.delete("/v1/invoiceitems/{invoiceitem}", returns="invoiceitem")
def delete(call: Call, invoiceitem: str) -> dict[str, Any]:
    """Delete an invoice item that is pending, or on a draft."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_invoice_items.delete_invoice_item(conn, call.act, invoiceitem)
        return {"id": invoiceitem, "object": "invoiceitem", "deleted": True}

    return call.write(write)


# ─── What is asked for ───────────────────────────────────────────────────────────────────────


def new_item(
    params: ItemParams,
    *,
    currency: str | None = None,
    subscription_id: str | None = None,
    at: Path = (),
) -> NewInvoiceItem:
    """An item asked for, in the engine's words. Raises ``InvalidRequest``."""
    return NewInvoiceItem(
        asking=_asking(params, at),
        currency=currency,
        description=params.description,
        discountable=params.discountable,
        discounts=stripe_discounts.from_stripe(params.discounts),
        tax_rate_ids=params.tax_rates or None,
        period=_period(params, at),
        subscription_id=subscription_id,
        metadata=merge_metadata({}, params.metadata),
        param=at,
    )


def item_change(params: ItemParams, *, at: Path = ()) -> ItemChange:
    """A change asked for, in the engine's words. Raises ``InvalidRequest``."""
    return ItemChange(
        given=frozenset(params.given()) - {"id"},
        asking=_asking(params, at),
        description=params.description,
        discountable=params.discountable,
        discounts=stripe_discounts.from_stripe(params.discounts),
        tax_rate_ids=params.tax_rates or None,
        period=_period(params, at),
        relabel=lambda old: merge_metadata(old, params.metadata),
        param=at,
    )


def _asking(params: ItemParams, at: Path) -> Asking:
    ways = {
        name: getattr(params, name, None)
        for name in ("amount", "price", "price_data", "pricing", "unit_amount_decimal")
    }
    _at_most_one(ways, at)
    quantities = {"quantity": params.quantity, "quantity_decimal": params.quantity_decimal}
    _at_most_one({"amount": params.amount, **quantities}, at)
    quantity = params.quantity_decimal
    if params.quantity is not None:
        quantity = Decimal(params.quantity)
    data = params.price_data
    if data is None:
        return Asking(
            amount=params.amount,
            price_id=params.pricing.price if params.pricing else ways["price"],
            unit_amount=ways["unit_amount_decimal"],
            quantity=quantity,
        )
    amounts = {
        "unit_amount": data.unit_amount,
        "unit_amount_decimal": data.unit_amount_decimal,
    }
    _at_most_one(amounts, (*at, "price_data"))
    unit_amount = data.unit_amount_decimal
    if data.unit_amount is not None:
        unit_amount = Decimal(data.unit_amount)
    if unit_amount is None:
        raise InvalidRequest(
            "You must give one of `unit_amount` and `unit_amount_decimal`.",
            param=(*at, "price_data", "unit_amount"),
            code="parameter_missing",
        )
    return Asking(
        unit_amount=unit_amount,
        product_id=data.product,
        currency=data.currency,
        quantity=quantity,
    )


def _at_most_one(given: Mapping[str, Any], at: Path) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InvalidRequest(
            f"You may only specify one of these parameters: {', '.join(names)}.",
            param=(*at, names[-1]),
            code="parameters_exclusive",
        )


def _period(params: ItemParams, at: Path) -> tuple[Any, Any] | None:
    if params.period is None:
        return None
    if params.period.end < params.period.start:
        raise InvalidRequest("A period ends after it starts.", param=(*at, "period", "end"))
    return params.period.start, params.period.end


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _render(conn: Connection, call: Call, item: InvoiceItem) -> dict[str, Any]:
    return render_many(conn, call.act, [item])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[InvoiceItem]) -> list[dict[str, Any]]:
    """Many invoice items with one statement for all their tax rates."""
    rates = tax_rates_of(conn, act, (each.tax_rate_ids for each in shown))
    return [to_stripe(each, rates, livemode=act.livemode) for each in shown]


def to_stripe(item: InvoiceItem, rates: TaxRates, *, livemode: bool) -> dict[str, Any]:
    """An invoice item; what its subscription made has its price and quantity for ever."""
    off = sum((item.discounts or {}).values())
    frozen = ["pricing", "quantity"] if item.subscription_item_id or item.proration else None
    return {
        "id": item.id,
        "object": "invoiceitem",
        "amount": item.amount,
        "currency": item.currency,
        "customer": item.customer_id,
        "customer_account": None,
        "date": seconds(item.created_at),
        "description": item.description or None,
        "discountable": item.discountable,
        "discounts": list(item.discount_ids or ()),
        "frozen_fields": frozen,
        "invoice": item.invoice_id,
        "invoicing_rules": [],
        "livemode": livemode,
        "metadata": item.metadata,
        "net_amount": None if item.discountable else item.amount - off,
        "parent": item.subscription_id
        and {
            "subscription_details": {
                "subscription": item.subscription_id,
                "subscription_item": item.subscription_item_id,
            },
            "type": "subscription_details",
        },
        "period": {"end": seconds(item.period_end), "start": seconds(item.period_start)},
        "pricing": pricing_to_stripe(item.price_id, item.product_id, item.unit_amount),
        "proration": item.proration,
        "proration_details": {
            "credited_items": _credited_items(item.credited),
            "discount_amounts": discounts_to_stripe(item.discounts),
        }
        if item.proration
        else None,
        "quantity": int(item.quantity),
        "quantity_decimal": plain(item.quantity),
        "tax_rates": [rates[key] for key in item.tax_rate_ids or () if key in rates],
        "test_clock": item.clock_id,
    }


def _credited_items(credited: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if credited is None:
        return None
    if "invoice_item" in credited:
        return {
            "invoice_item": credited["invoice_item"],
            "invoice_line_item_details": None,
            "type": "invoice_item",
        }
    return {
        "invoice_item": None,
        "invoice_line_item_details": {
            "invoice": credited["invoice"],
            "invoice_line_items": list(credited["lines"]),
        },
        "type": "invoice_line_items",
    }


@loader("invoiceitem")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = list(invoice_items.load(conn, act.account_id, ids).values())
    return {each["id"]: each for each in render_many(conn, act, found)}


expandable("invoiceitem", "customer", load="customer")
expandable("invoiceitem", "discounts", load="discount")
expandable("invoiceitem", "proration_details.discount_amounts.discount", load="discount")
expandable("invoiceitem", "invoice", load="invoice")
expandable("invoiceitem", "pricing.price_details.price", load="price")
expandable("invoiceitem", "test_clock", load="test_helpers.test_clock")
