"""Invoices and their lines as Stripe shows them."""

from __future__ import annotations

from typing import Any

from postpaid.api.params import Boolean, Id, Params, TimeRange
from postpaid.api.stripe.invoice_previews import InvoicePreview, preview
from postpaid.api.stripe.invoice_shapes import line_to_stripe, preview_to_stripe, render_many
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import correct
from postpaid.billing import pay as payment
from postpaid.billing.pay import Paying
from postpaid.core.errors import NotFound
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.subscriptions import CollectionMethod
from postpaid.storage import invoices
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows

routes = Routes("Invoices")


class InvoiceList(ListParams):
    collection_method: CollectionMethod | None = None
    created: TimeRange | None = None
    customer: Id | None = None
    due_date: TimeRange | None = None
    status: InvoiceStatus | None = None
    subscription: Id | None = None


class InvoiceFinalize(Params):
    auto_advance: Boolean | None = None


class InvoicePay(Params):
    off_session: Boolean | None = None
    paid_out_of_band: Boolean = False
    payment_method: Id | None = None


@routes.get("/v1/invoices", returns="invoice", many=True)
def list_(call: Call, params: InvoiceList) -> dict[str, Any]:
    """List invoices, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    due_from, due_before = params.due_date.bounds if params.due_date else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = invoices.list_page(
            conn,
            call.act.account_id,
            params.page,
            status=params.status,
            customer_id=params.customer,
            subscription_id=params.subscription,
            collection_method=params.collection_method,
            created_from=created_from,
            created_before=created_before,
            due_from=due_from,
            due_before=due_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/invoices", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.post("/v1/invoices/create_preview", returns="invoice")
def create_preview(call: Call, params: InvoicePreview) -> dict[str, Any]:
    """Preview a subscription's next invoice, with changes or without, or a new one's first."""

    def read(conn: Connection) -> dict[str, Any]:
        return preview_to_stripe(conn, call.act, preview(conn, call, params))

    return call.read(read)


@routes.get("/v1/invoices/{invoice}", returns="invoice")
def retrieve(call: Call, invoice: str) -> dict[str, Any]:
    """Retrieve an invoice."""
    return call.read(lambda conn: _one(conn, call, invoice))


class LineList(ListParams):
    pass


@routes.get("/v1/invoices/{invoice}/lines", returns="line_item", many=True)
def list_lines(call: Call, params: LineList, invoice: str) -> dict[str, Any]:
    """List an invoice's lines, in the invoice's order."""

    def read(conn: Connection) -> dict[str, Any]:
        found = invoices.load(conn, call.act.account_id, [invoice])
        if invoice not in found:
            raise NotFound.of("invoice", invoice, param="invoice")
        return _line_list(found[invoice], call, params.page)

    return call.read(read)


@routes.post("/v1/invoices/{invoice}/finalize", returns="invoice")
def finalize(call: Call, params: InvoiceFinalize, invoice: str) -> dict[str, Any]:
    """Finalize a draft, and begin to collect it when that is automatic."""
    return _collected(
        call,
        lambda conn: payment.finalize_now(
            conn, call.act, invoice, auto_advance=params.auto_advance
        ),
        declines_raise=False,
    )


@routes.post("/v1/invoices/{invoice}/pay", returns="invoice")
def pay(call: Call, params: InvoicePay, invoice: str) -> dict[str, Any]:
    """Pay an invoice now; a decline is an error."""
    return _collected(
        call,
        lambda conn: payment.pay(
            conn,
            call.act,
            invoice,
            payment_method_id=params.payment_method,
            out_of_band=params.paid_out_of_band,
            on_session=params.off_session is False,  # Stripe: off session unless told otherwise
        ),
        declines_raise=True,
    )


@routes.post("/v1/invoices/{invoice}/void", returns="invoice")
def void(call: Call, invoice: str) -> dict[str, Any]:
    """Void a finalized invoice: as if it had never been owed."""
    return call.write(
        lambda conn: render_many(conn, call.act, [correct.void_now(conn, call.act, invoice)])[0]
    )


def _collected(call: Call, begin: Any, *, declines_raise: bool) -> dict[str, Any]:
    """Begin in one transaction, ask the gateway after it, and show the invoice as it is then."""

    def write(conn: Connection) -> dict[str, Any]:
        paying: Paying = begin(conn)
        return {"invoice": paying.invoice_id, "attempts": paying.attempt_ids}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        paying = Paying(begun["invoice"], begun["attempts"])
        payment.finish_paying(call.database, call.act, paying, declines_raise=declines_raise)
        return call.read(lambda conn: _one(conn, call, paying.invoice_id))

    return call.write_then(write, finish)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _one(conn: Connection, call: Call, invoice_id: str) -> dict[str, Any]:
    found = invoices.load(conn, call.act.account_id, [invoice_id])
    if invoice_id not in found:
        raise NotFound.of("invoice", invoice_id)
    return render_many(conn, call.act, [found[invoice_id]])[0]


def _line_list(invoice: Invoice, call: Call, page: Page) -> dict[str, Any]:
    """A page of lines. Their order is the invoice's, so the cursor is a place in it."""
    ids = [line.id for line in invoice.lines]
    cursor = page.after or page.before
    if cursor is not None and cursor not in ids:
        name = "starting_after" if page.after else "ending_before"
        raise NotFound.of("line_item", cursor, param=name)
    if page.after:
        rest = list(invoice.lines[ids.index(page.after) + 1 :])
        shown = rest[: page.limit]
    elif page.before:
        rest = list(invoice.lines[: ids.index(page.before)])
        shown = rest[-page.limit :]
    else:
        rest = list(invoice.lines)
        shown = rest[: page.limit]
    return listing(
        f"/v1/invoices/{invoice.id}/lines",
        Rows(shown, has_more=len(rest) > len(shown)),
        lambda line: line_to_stripe(line, invoice, livemode=call.act.livemode),
    )
