"""Invoices by hand: drafted, edited, deleted, sent and written off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len, MaxLen

from postpaid.api.params import (
    Boolean,
    Currency,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe.customers import CustomField
from postpaid.api.stripe.discounts import Discounts, TaxRateIds
from postpaid.api.stripe.invoice_items import ItemParams, item_change, new_item
from postpaid.api.stripe.invoice_shapes import line_to_stripe, render_many
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import correct, draft_invoices, edit_lines
from postpaid.billing.draft_invoices import NewInvoice
from postpaid.billing.edit_draft import LINES_MAX
from postpaid.billing.edit_lines import PendingLine, Removal
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import Invoice
from postpaid.core.subscriptions import CollectionMethod
from postpaid.storage.database import Connection

routes = Routes("Invoices")


class Pdf(Params):
    page_size: Literal["a4", "auto", "letter"] | None = None


class Rendering(Params):
    """How an invoice looks; kept and shown."""

    amount_tax_display: Unsettable[Literal["exclude_tax", "include_inclusive_tax"]] = None
    pdf: Pdf | None = None


class FromInvoice(Params):
    action: Literal["revision"]
    invoice: Id


class InvoiceUpdate(Params):
    auto_advance: Boolean | None = None
    automatically_finalizes_at: Timestamp | None = None
    collection_method: CollectionMethod | None = None
    custom_fields: Unsettable[Annotated[list[CustomField], MaxLen(4)]] = None
    days_until_due: Annotated[int, Integer(0, 730)] | None = None
    default_payment_method: Unsettable[Id] = None
    default_tax_rates: TaxRateIds = None
    description: Unsettable[Annotated[str, Text(1500)]] = None
    discounts: Discounts = None
    due_date: Timestamp | None = None
    effective_at: Unsettable[Timestamp] = None
    footer: Unsettable[Annotated[str, Text(5000)]] = None
    metadata: Metadata = None
    number: Unsettable[Annotated[str, Text(26)]] = None
    rendering: Unsettable[Rendering] = None
    statement_descriptor: Unsettable[Annotated[str, Text(22)]] = None


class InvoiceCreate(InvoiceUpdate):
    currency: Currency | None = None
    customer: Id | None = None
    from_invoice: FromInvoice | None = None
    pending_invoice_items_behavior: Literal["exclude", "include"] = "exclude"
    subscription: Id | None = None


class LineAdd(ItemParams):
    invoice_item: Id | None = None


class LineUpdate(ItemParams):
    id: Id


class LineRemove(Params):
    behavior: Literal["delete", "unassign"]
    id: Id


class LinesAdd(Params):
    invoice_metadata: Metadata = None
    lines: Annotated[list[LineAdd], Len(1, LINES_MAX)]


class LinesUpdate(Params):
    invoice_metadata: Metadata = None
    lines: Annotated[list[LineUpdate], Len(1, LINES_MAX)]


class LinesRemove(Params):
    invoice_metadata: Metadata = None
    lines: Annotated[list[LineRemove], Len(1, LINES_MAX)]


@routes.post("/v1/invoices", returns="invoice")
def create(call: Call, params: InvoiceCreate) -> dict[str, Any]:
    """Create a draft: empty, of pending invoice items, or a revision of another invoice."""
    fields = _fields(params)
    if "metadata" in params.given():
        fields["metadata"] = merge_metadata({}, params.metadata)
    asked = NewInvoice(
        customer_id=params.customer,
        subscription_id=params.subscription,
        currency=params.currency,
        gathers=params.pending_invoice_items_behavior == "include",
        original_id=params.from_invoice.invoice if params.from_invoice else None,
        discounts=_discounts(params),
        fields=fields,
    )
    return call.write(
        lambda conn: _render(conn, call, draft_invoices.create_invoice(conn, call.act, asked))
    )


@routes.post("/v1/invoices/{invoice}", returns="invoice")
def update(call: Call, params: InvoiceUpdate, invoice: str) -> dict[str, Any]:
    """Update an invoice: a draft in everything, a final one in what bills nothing."""
    return call.write(
        lambda conn: _render(
            conn,
            call,
            draft_invoices.update_invoice(
                conn,
                call.act,
                invoice,
                _fields(params),
                discounts=_discounts(params),
                rediscounts="discounts" in params.given(),
                relabel=_relabel(params, "metadata"),
            ),
        )
    )


@routes.delete("/v1/invoices/{invoice}", returns="invoice")
def delete(call: Call, invoice: str) -> dict[str, Any]:
    """Delete a draft that no subscription made; what it had gathered is pending again."""

    def write(conn: Connection) -> dict[str, Any]:
        draft_invoices.delete_draft(conn, call.act, invoice)
        return {"id": invoice, "object": "invoice", "deleted": True}

    return call.write(write)


@routes.post("/v1/invoices/{invoice}/send", returns="invoice")
def send(call: Call, invoice: str) -> dict[str, Any]:
    """Send an open invoice: the event ``invoice.sent`` asks whoever sends your mail to."""
    return call.write(
        lambda conn: _render(conn, call, draft_invoices.send_invoice(conn, call.act, invoice))
    )


@routes.post("/v1/invoices/{invoice}/mark_uncollectible", returns="invoice")
def mark_uncollectible(call: Call, invoice: str) -> dict[str, Any]:
    """Write an open invoice off: it is still owed, and not asked for any more."""
    return call.write(
        lambda conn: _render(conn, call, correct.mark_uncollectible_now(conn, call.act, invoice))
    )


# ─── Lines ───────────────────────────────────────────────────────────────────────────────────


@routes.post("/v1/invoices/{invoice}/add_lines", returns="invoice")
def add_lines(call: Call, params: LinesAdd, invoice: str) -> dict[str, Any]:
    """Add lines to a draft: new invoice items, or pending ones."""
    added = [_added(line, ("lines", i)) for i, line in enumerate(params.lines)]
    relabel = _relabel(params, "invoice_metadata")
    return call.write(
        lambda conn: _render(
            conn, call, edit_lines.add_lines(conn, call.act, invoice, added, relabel=relabel)
        )
    )


@routes.post("/v1/invoices/{invoice}/update_lines", returns="invoice")
def update_lines(call: Call, params: LinesUpdate, invoice: str) -> dict[str, Any]:
    """Update lines of a draft, and the invoice items that they bill."""
    changed = [(line.id, item_change(line, at=("lines", i))) for i, line in enumerate(params.lines)]
    relabel = _relabel(params, "invoice_metadata")
    return call.write(
        lambda conn: _render(
            conn, call, edit_lines.update_lines(conn, call.act, invoice, changed, relabel=relabel)
        )
    )


@routes.post("/v1/invoices/{invoice}/remove_lines", returns="invoice")
def remove_lines(call: Call, params: LinesRemove, invoice: str) -> dict[str, Any]:
    """Remove lines from a draft: their invoice items are deleted, or pending again."""
    removed = [
        Removal(line.id, line.behavior == "delete", ("lines", i))
        for i, line in enumerate(params.lines)
    ]
    relabel = _relabel(params, "invoice_metadata")
    return call.write(
        lambda conn: _render(
            conn, call, edit_lines.remove_lines(conn, call.act, invoice, removed, relabel=relabel)
        )
    )


@routes.post("/v1/invoices/{invoice}/lines/{line}", returns="line_item")
def update_line(call: Call, params: ItemParams, invoice: str, line: str) -> dict[str, Any]:
    """Update one line of a draft, and the invoice item that it bills."""

    def write(conn: Connection) -> dict[str, Any]:
        changed = [(line, item_change(params))]
        after = edit_lines.update_lines(conn, call.act, invoice, changed)
        [shown] = [each for each in after.lines if each.id == line]
        return line_to_stripe(shown, after, livemode=call.act.livemode)

    return call.write(write)


# ─── What is asked for ───────────────────────────────────────────────────────────────────────

NAMES = {
    "automatically_finalizes_at": "finalizes_at",
    "default_payment_method": "default_payment_method_id",
    "default_tax_rates": "tax_rate_ids",
    "due_date": "due_at",
    "number": "given_number",
}
APPEARANCE = ("custom_fields", "rendering", "statement_descriptor")
NEVER_NONE = ("auto_advance", "collection_method")


def _fields(params: InvoiceUpdate) -> dict[str, Any]:
    """What the caller sent that is the invoice's own, in the engine's words."""
    given = params.given()
    plain = (
        "auto_advance",
        "collection_method",
        "days_until_due",
        "description",
        "effective_at",
        "footer",
        *NAMES,
    )
    fields = {
        NAMES.get(name, name): given[name]
        for name in plain
        if name in given and not (given[name] is None and name in NEVER_NONE)
    }
    if "tax_rate_ids" in fields:
        fields["tax_rate_ids"] = fields["tax_rate_ids"] or None
    looks = {name: _look(given[name]) for name in APPEARANCE if name in given}
    return fields | ({"appearance": looks} if looks else {})


def _look(value: Any) -> Any:
    """Something of an invoice's appearance, as it is kept: JSON."""
    if isinstance(value, Params):
        return value.model_dump()
    return [each.model_dump() for each in value] if isinstance(value, list) else value


def _discounts(params: InvoiceUpdate) -> Sequence[Any] | None:
    if "discounts" not in params.given():
        return None
    return stripe_discounts.from_stripe(params.discounts)


def _added(line: LineAdd, at: tuple[str | int, ...]) -> Any:
    if line.invoice_item is None:
        return new_item(line, at=at)
    if len(line.given()) > 1:
        raise InvalidRequest(
            "An `invoice_item` is added as it is: give nothing else with it.",
            param=(*at, "invoice_item"),
            code="parameters_exclusive",
        )
    return PendingLine(line.invoice_item, at)


def _relabel(params: Params, name: str) -> Callable[[Mapping[str, str]], Mapping[str, str]] | None:
    if name not in params.given():
        return None
    return lambda old: merge_metadata(old, getattr(params, name))


def _render(conn: Connection, call: Call, invoice: Invoice) -> dict[str, Any]:
    return render_many(conn, call.act, [invoice])[0]
