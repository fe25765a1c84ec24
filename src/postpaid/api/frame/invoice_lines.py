"""The line items of invoices, as Frame shows them."""

from __future__ import annotations

from typing import Any

from postpaid.api.frame.invoice_shapes import line_to_frame
from postpaid.api.frame.invoices import NAMES, LineItem, Quantity, find, relabel_of
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing, page_of
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.params import Id
from postpaid.billing import edit_lines, sell_products
from postpaid.billing.edit_lines import Removal
from postpaid.billing.sell_products import ProductLine
from postpaid.core.errors import NotFound
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line
from postpaid.storage.database import Connection

routes = Routes("Invoice line items")


class LineItemUpdate(FrameParams):
    product: Id | None = None
    quantity: Quantity | None = None
    metadata: Metadata = None


@routes.get("/v1/invoices/{invoice}/line_items")
def list_lines(call: Call, params: ListParams, invoice: str) -> dict[str, Any]:
    """List an invoice's line items, in the invoice's order."""

    def read(conn: Connection) -> dict[str, Any]:
        found = find(conn, call, invoice)
        return listing(
            f"/v1/invoices/{invoice}/line_items",
            params,
            page_of(found.lines, params),
            lambda lines: [_line(line, found, call) for line in lines],
            named="line_items",
            about={"invoice_id": invoice},
        )

    return call.read(read)


@routes.post("/v1/invoices/{invoice}/line_items", status=201)
def create_line(call: Call, params: LineItem, invoice: str) -> dict[str, Any]:
    """Add so many of a product to a draft, at the product's price as it is now."""
    added = ProductLine(params.product, params.quantity, merge_metadata({}, params.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        with in_frames_words(NAMES):
            items = sell_products.items_of_products(conn, call.act, [added])
            after = edit_lines.add_lines(conn, call.act, invoice, items)
        return _line(after.lines[-1], after, call)

    return call.write(write)


@routes.get("/v1/invoices/{invoice}/line_items/{line}")
def retrieve_line(call: Call, invoice: str, line: str) -> dict[str, Any]:
    """Retrieve a line item."""

    def read(conn: Connection) -> dict[str, Any]:
        found = find(conn, call, invoice)
        return _line(_line_of(found, line), found, call)

    return call.read(read)


@routes.patch("/v1/invoices/{invoice}/line_items/{line}")
def update_line(call: Call, params: LineItemUpdate, invoice: str, line: str) -> dict[str, Any]:
    """Change a draft's line item: how many, or of what, whose price is copied anew."""

    def write(conn: Connection) -> dict[str, Any]:
        with in_frames_words(NAMES):
            after = sell_products.change_product_line(
                conn,
                call.act,
                invoice,
                line,
                product_id=params.product,
                quantity=params.quantity,
                relabel=relabel_of(params),
            )
        return _line(_line_of(after, line), after, call)

    return call.write(write)


@routes.delete("/v1/invoices/{invoice}/line_items/{line}")
def delete_line(call: Call, invoice: str, line: str) -> dict[str, Any]:
    """Take a line item off a draft."""

    def write(conn: Connection) -> dict[str, Any]:
        removed = Removal(line, forgets=True, param=())
        edit_lines.remove_lines(conn, call.act, invoice, [removed])
        return {"id": line, "object": "invoice_line_item", "deleted": True}

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _line_of(invoice: Invoice, line_id: str) -> Line:
    for line in invoice.lines:
        if line.id == line_id:
            return line
    raise NotFound.of("line item", line_id)


def _line(line: Line, invoice: Invoice, call: Call) -> dict[str, Any]:
    return line_to_frame(line, invoice, livemode=call.act.livemode)
