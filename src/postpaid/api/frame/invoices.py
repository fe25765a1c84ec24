"""Invoices, as Frame shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import MaxLen

from postpaid.api.frame.invoice_shapes import render_many
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, Payer, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.params import Currency, Id, Integer, Text, Unsettable
from postpaid.billing import correct, draft_invoices, edit_lines, sell_products
from postpaid.billing import pay as payment
from postpaid.billing.draft_invoices import NewInvoice
from postpaid.billing.edit_draft import LINES_MAX
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_discounts import DISCOUNTS_MAX
from postpaid.billing.pay import Paying
from postpaid.billing.sell_products import ProductLine
from postpaid.billing.try_codes import asked_by_words
from postpaid.core.due_days import Standing
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoicing import Invoice, InvoiceAction, InvoiceStatus, next_status
from postpaid.core.subscriptions import CollectionMethod
from postpaid.storage import invoices, invoices_due
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Invoices")

QUANTITY_MAX = 10**12


class Collection(StrEnum):
    """Who moves first, in Frame's words."""

    AUTO_CHARGE = "auto_charge"
    REQUEST_PAYMENT = "request_payment"


METHODS = {
    Collection.AUTO_CHARGE: CollectionMethod.CHARGE_AUTOMATICALLY,
    Collection.REQUEST_PAYMENT: CollectionMethod.SEND_INVOICE,
}


class Status(StrEnum):
    """Frame's statuses, and ``open``, which some of its clients say of the three that are."""

    DRAFT = "draft"
    OUTSTANDING = "outstanding"
    DUE = "due"
    OVERDUE = "overdue"
    PAID = "paid"
    WRITTEN_OFF = "written_off"
    VOIDED = "voided"
    OPEN = "open"


STATUSES = {
    Status.DRAFT: InvoiceStatus.DRAFT,
    Status.PAID: InvoiceStatus.PAID,
    Status.WRITTEN_OFF: InvoiceStatus.UNCOLLECTIBLE,
    Status.VOIDED: InvoiceStatus.VOID,
    Status.OPEN: InvoiceStatus.OPEN,
}
STANDINGS = {
    Status.OUTSTANDING: Standing.NOT_DUE,
    Status.DUE: Standing.DUE,
    Status.OVERDUE: Standing.OVERDUE,
}

# What the engine calls what a caller of Frame's has named otherwise.
NAMES = {
    "default_payment_method": "payment_method",
    "days_until_due": "net_terms",
    "discounts": "promotion_codes",
    "lines": "line_items",
    "quantity_decimal": "quantity",
}

Quantity = Annotated[int, Integer(1, QUANTITY_MAX)]


class LineItem(FrameParams):
    product: Id
    quantity: Quantity = 1
    metadata: Metadata = None


class InvoiceUpdate(FrameParams):
    collection_method: Collection | None = None
    payment_method: Unsettable[Id] = None
    net_terms: Annotated[int, Integer(0, 730)] | None = None
    number: Unsettable[Annotated[str, Text(26)]] = None
    description: Unsettable[Annotated[str, Text(1500)]] = None
    memo: Unsettable[Annotated[str, Text(5000)]] = None
    promotion_codes: Annotated[list[Annotated[str, Text(500)]], MaxLen(DISCOUNTS_MAX)] | None = None
    line_items: Annotated[list[LineItem], MaxLen(LINES_MAX)] | None = None
    metadata: Metadata = None


class InvoiceCreate(InvoiceUpdate, Payer):
    collection_method: Collection
    currency: Currency | None = None


class InvoiceList(ListParams, Payer):
    status: Status | None = None
    collection_method: Collection | None = None
    subscription: Id | None = None


class InvoicePay(FrameParams):
    payment_method: Id | None = None


@routes.post("/v1/invoices", status=201)
def create(call: Call, params: InvoiceCreate) -> dict[str, Any]:
    """Draft an invoice of products."""
    payer_id = params.required_payer_id
    fields = _fields(params, None)

    def write(conn: Connection) -> dict[str, Any]:
        with in_frames_words(NAMES):
            asked = NewInvoice(
                customer_id=payer_id,
                currency=params.currency,
                discounts=asked_by_words(
                    conn, call.act, params.promotion_codes or (), customer_id=payer_id
                )
                or None,
                fields=fields | {"metadata": merge_metadata({}, params.metadata)},
                items=sell_products.items_of_products(conn, call.act, _lines(params)),
            )
            return _render(conn, call, draft_invoices.create_invoice(conn, call.act, asked))

    return call.write(write)


@routes.get("/v1/invoices")
def list_(call: Call, params: InvoiceList) -> dict[str, Any]:
    """List invoices, newest first; those of subscriptions too."""
    payer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        return listing(
            "/v1/invoices",
            params,
            _page(conn, call, params, payer_id),
            lambda page: render_many(conn, call.act, page),
            named="invoices",
        )

    return call.read(read)


@routes.get("/v1/invoices/{invoice}")
def retrieve(call: Call, invoice: str) -> dict[str, Any]:
    """Retrieve an invoice."""
    return call.read(lambda conn: _render(conn, call, find(conn, call, invoice)))


@routes.patch("/v1/invoices/{invoice}")
def update(call: Call, params: InvoiceUpdate, invoice: str) -> dict[str, Any]:
    """Update a draft. Its line items are replaced by those that are given; metadata is merged.

    Of one that is issued and not paid the payment method can change: what is tried next is tried
    with it (ours).
    """

    def write(conn: Connection) -> dict[str, Any]:
        [before], _ = lock_invoices(conn, call.act, [invoice], param=())
        if set(params.given()) != {"payment_method"}:
            next_status(before.status, InvoiceAction.EDIT)
        with in_frames_words(NAMES):
            if params.line_items is not None:
                items = sell_products.items_of_products(conn, call.act, _lines(params))
                edit_lines.replace_lines(conn, call.act, invoice, items)
            after = draft_invoices.update_invoice(
                conn,
                call.act,
                invoice,
                _fields(params, before),
                discounts=asked_by_words(
                    conn, call.act, params.promotion_codes or (), customer_id=before.customer_id
                ),
                rediscounts=params.promotion_codes is not None,
                relabel=relabel_of(params),
            )
        return _render(conn, call, after)

    return call.write(write)


@routes.delete("/v1/invoices/{invoice}")
def delete(call: Call, invoice: str) -> dict[str, Any]:
    """Delete a draft that no subscription made."""

    def write(conn: Connection) -> dict[str, Any]:
        draft_invoices.delete_draft(conn, call.act, invoice)
        return {"id": invoice, "object": "invoice", "deleted": True}

    return call.write(write)


# ─── What becomes of it ──────────────────────────────────────────────────────────────────────


@routes.post("/v1/invoices/{invoice}/issue")
def issue(call: Call, invoice: str) -> dict[str, Any]:
    """Make a draft final, and charge it if that is automatic; a decline leaves it outstanding."""
    return _collected(
        call, lambda conn: payment.finalize_now(conn, call.act, invoice, auto_advance=True)
    )


@routes.post("/v1/invoices/{invoice}/pay")
def pay(call: Call, params: InvoicePay, invoice: str) -> dict[str, Any]:
    """Charge an invoice now; a decline leaves it as it was."""
    return _collected(
        call,
        lambda conn: payment.pay(conn, call.act, invoice, payment_method_id=params.payment_method),
    )


@routes.post("/v1/invoices/{invoice}/void")
def void(call: Call, invoice: str) -> dict[str, Any]:
    """Void an issued invoice: as if it had never been owed."""
    return call.write(lambda conn: _render(conn, call, correct.void_now(conn, call.act, invoice)))


@routes.post("/v1/invoices/{invoice}/write_off")
def write_off(call: Call, invoice: str) -> dict[str, Any]:
    """Write an issued invoice off: still owed, and not asked for any more."""
    return call.write(
        lambda conn: _render(conn, call, correct.mark_uncollectible_now(conn, call.act, invoice))
    )


def _collected(call: Call, begin: Callable[[Connection], Paying]) -> dict[str, Any]:
    """Begin in one transaction, ask the gateway after it, and show the invoice as it is then."""

    def write(conn: Connection) -> dict[str, Any]:
        paying = begin(conn)
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        paying = Paying(begun["invoice"], begun["attempts"])
        payment.finish_paying(call.database, call.act, paying, declines_raise=True)
        return call.read(lambda conn: _render(conn, call, find(conn, call, paying.invoice_id)))

    return call.write_then(write, finish)


# ─── What is asked for ───────────────────────────────────────────────────────────────────────


def _fields(params: InvoiceUpdate, before: Invoice | None) -> dict[str, Any]:
    """What is given of the invoice's own, in the engine's words; ``before`` is what it was.

    Raises ``InvalidRequest`` for what Frame wants with a way of collecting.
    """
    given = params.given()
    names = {
        "payment_method": "default_payment_method_id",
        "number": "given_number",
        "description": "description",
        "memo": "footer",
    }
    fields: dict[str, Any] = {names[key]: given[key] for key in names if key in given}
    method = METHODS[params.collection_method] if params.collection_method else None
    if method is not None:
        fields["collection_method"] = method
    elif before is not None:
        method = before.collection_method
    if method == CollectionMethod.SEND_INVOICE:
        if params.net_terms is not None:
            fields["days_until_due"] = params.net_terms
        elif before is None or before.collection_method != method:
            fields["days_until_due"] = 0  # Frame: by default it is due at once
        return fields
    if params.net_terms:
        raise InvalidRequest(
            "net_terms can only be given with the collection_method request_payment: auto_charge "
            "charges when the invoice is issued.",
            param="net_terms",
        )
    kept = before.default_payment_method_id if before is not None else None
    charges_now = params.collection_method is not None or "payment_method" in given
    if charges_now and fields.get("default_payment_method_id", kept) is None:
        raise InvalidRequest(
            "Missing required param: payment_method; auto_charge needs it.", param="payment_method"
        )
    return fields


def _lines(params: InvoiceUpdate) -> list[ProductLine]:
    return [
        ProductLine(
            each.product,
            each.quantity,
            merge_metadata({}, each.metadata),
            param=("line_items", i),
        )
        for i, each in enumerate(params.line_items or ())
    ]


def relabel_of(params: FrameParams) -> Callable[[Mapping[str, str]], Mapping[str, str]] | None:
    """How what is given of metadata changes it; None for nothing."""
    if "metadata" not in params.given():
        return None
    change = params.given()["metadata"]
    return lambda old: merge_metadata(old, change)


# ─── What is shown ───────────────────────────────────────────────────────────────────────────


def _page(conn: Connection, call: Call, params: InvoiceList, payer_id: str | None) -> Rows[Invoice]:
    account_id = call.act.account_id
    method = METHODS[params.collection_method] if params.collection_method else None
    if params.status in STANDINGS:
        return invoices_due.list_page(
            conn,
            account_id,
            params.rows,
            now=call.act.now,
            standing=STANDINGS[params.status],
            customer_id=payer_id,
            subscription_id=params.subscription,
            collection_method=method,
        )
    return invoices.list_page(
        conn,
        account_id,
        params.rows,
        status=STATUSES[params.status] if params.status else None,
        customer_id=payer_id,
        subscription_id=params.subscription,
        collection_method=method,
    )


def find(conn: Connection, call: Call, invoice_id: str) -> Invoice:
    """The invoice with its lines. Raises ``NotFound``."""
    found = invoices.load(conn, call.act.account_id, [invoice_id])
    if invoice_id not in found:
        raise NotFound.of("invoice", invoice_id)
    return found[invoice_id]


def _render(conn: Connection, call: Call, invoice: Invoice) -> dict[str, Any]:
    return render_many(conn, call.act, [invoice])[0]
