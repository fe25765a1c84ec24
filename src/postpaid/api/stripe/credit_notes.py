"""Credit notes as Stripe shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.instants import seconds
from postpaid.api.params import (
    AMOUNT_MAX,
    Dec,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Timestamp,
    merge_metadata,
)
from postpaid.api.stripe.expand import expandable, loader, nested
from postpaid.api.stripe.invoice_shapes import (
    TaxRates,
    discounts_to_stripe,
    pretax_to_stripe,
    tax_rates_of,
    taxes_to_stripe,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import issue_credit_notes
from postpaid.billing.ask_refunds import ask_refunds
from postpaid.billing.issue_credit_notes import NewCreditNote
from postpaid.billing.perform import Act
from postpaid.billing.refund_notes import AskedRefund
from postpaid.core.credit_notes import (
    LINES_MAX,
    AskedLine,
    CreditNote,
    CreditNoteLine,
    CreditNoteLineType,
    CreditNoteReason,
)
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.money import plain
from postpaid.core.values import replace
from postpaid.storage import credit_notes, refunds
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows
from postpaid.storage.refunds import NoteRefund

routes = Routes("Credit notes")

EMBEDDED_LINES_MAX = 10  # Stripe: the rest are at /v1/credit_notes/{id}/lines

REFUNDS_MAX = 20

MinorUnits = Annotated[int, Integer(0, AMOUNT_MAX)]


class NoteLine(Params):
    amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    description: Annotated[str, Text(500)] | None = None
    invoice_line_item: Id | None = None
    metadata: Metadata = None
    quantity: Annotated[int, Integer(1, 10**12)] | None = None
    type: CreditNoteLineType
    unit_amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    unit_amount_decimal: Dec | None = None


class NoteRefundGiven(Params):
    amount_refunded: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    refund: Id
    type: Literal["refund"] = "refund"


class NotePreview(Params):
    amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    credit_amount: MinorUnits = 0
    effective_at: Timestamp | None = None
    email_type: Literal["credit_note", "none"] | None = None  # nothing is sent either way
    invoice: Id
    lines: Annotated[list[NoteLine], Len(1, LINES_MAX)] | None = None
    memo: Annotated[str, Text(5000)] | None = None
    metadata: Metadata = None
    out_of_band_amount: MinorUnits = 0
    reason: CreditNoteReason | None = None
    refund_amount: MinorUnits = 0
    refunds: Annotated[list[NoteRefundGiven], Len(1, REFUNDS_MAX)] | None = None


class NoteCreate(NotePreview):
    pass


class PreviewLines(NotePreview, ListParams):
    pass


class NoteUpdate(Params):
    memo: Annotated[str, Text(5000)] | None = None
    metadata: Metadata = None


class NoteList(ListParams):
    created: TimeRange | None = None
    customer: Id | None = None
    invoice: Id | None = None


class LineList(ListParams):
    pass


@routes.post("/v1/credit_notes", returns="credit_note")
def create(call: Call, params: NoteCreate) -> dict[str, Any]:
    """Issue a credit note for an open or a paid invoice."""
    asked = from_stripe(params)
    if not asked.refund_amount:
        return call.write(
            lambda conn: _one(conn, call.act, issue_credit_notes.issue(conn, call.act, asked))
        )

    def begin(conn: Connection) -> dict[str, Any]:
        note = issue_credit_notes.issue(conn, call.act, asked)
        made = refunds.of_notes(conn, call.act.account_id, [note.id])[note.id]
        return {"credit_note": note.id, "refunds": [each.refund_id for each in made]}

    def finish(begun: dict[str, Any]) -> dict[str, Any]:
        ask_refunds(call.database, call.act, begun["refunds"])
        return retrieve(call, begun["credit_note"])

    return call.write_then(begin, finish)


@routes.get("/v1/credit_notes/preview", returns="credit_note")
def preview(call: Call, params: NotePreview) -> dict[str, Any]:
    """Preview a credit note; nothing is written."""
    asked = from_stripe(params)
    return call.read(
        lambda conn: _one(conn, call.act, issue_credit_notes.preview(conn, call.act, asked))
    )


@routes.get("/v1/credit_notes/preview/lines", returns="credit_note_line_item", many=True)
def preview_lines(call: Call, params: PreviewLines) -> dict[str, Any]:
    """List the lines of a credit note that is not issued."""
    asked = from_stripe(params)

    def read(conn: Connection) -> dict[str, Any]:
        note = issue_credit_notes.preview(conn, call.act, asked)
        if params.starting_after or params.ending_before:
            raise InvalidRequest(
                "The lines of a preview have no lasting ids to page by; give a `limit`.",
                param="starting_after" if params.starting_after else "ending_before",
            )
        return _line_list(conn, call.act, note, params.page, "/v1/credit_notes/preview/lines")

    return call.read(read)


@routes.get("/v1/credit_notes/{credit_note}", returns="credit_note")
def retrieve(call: Call, credit_note: str) -> dict[str, Any]:
    """Retrieve a credit note."""
    return call.read(lambda conn: _one(conn, call.act, _find(conn, call.act, credit_note)))


@routes.get("/v1/credit_notes/{credit_note}/lines", returns="credit_note_line_item", many=True)
def list_lines(call: Call, params: LineList, credit_note: str) -> dict[str, Any]:
    """List a credit note's lines, in its order."""
    return call.read(
        lambda conn: _line_list(
            conn,
            call.act,
            _find(conn, call.act, credit_note),
            params.page,
            f"/v1/credit_notes/{credit_note}/lines",
        )
    )


@routes.post("/v1/credit_notes/{credit_note}", returns="credit_note")
def update(call: Call, params: NoteUpdate, credit_note: str) -> dict[str, Any]:
    """Update a credit note's memo or metadata."""

    def change(before: CreditNote) -> CreditNote:
        given = params.given()
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        return replace(before, **given)

    return call.write(
        lambda conn: _one(
            conn, call.act, issue_credit_notes.update_note(conn, call.act, credit_note, change)
        )
    )


@routes.post("/v1/credit_notes/{credit_note}/void", returns="credit_note")
def void(call: Call, credit_note: str) -> dict[str, Any]:
    """Void a credit note, as if it had never been."""
    return call.write(
        lambda conn: _one(conn, call.act, issue_credit_notes.void_note(conn, call.act, credit_note))
    )


@routes.get("/v1/credit_notes", returns="credit_note", many=True)
def list_(call: Call, params: NoteList) -> dict[str, Any]:
    """List credit notes, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = credit_notes.list_page(
            conn,
            call.act.account_id,
            params.page,
            customer_id=params.customer,
            invoice_id=params.invoice,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/credit_notes", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


def _find(conn: Connection, act: Act, note_id: str) -> CreditNote:
    found = credit_notes.load(conn, act.account_id, [note_id]).get(note_id)
    if found is None:
        raise NotFound.of("credit note", note_id)
    return found


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_stripe(params: NotePreview) -> NewCreditNote:
    """The credit note that is asked for. Raises ``InvalidRequest`` where a line says too little."""
    lines = None
    if params.lines is not None:
        lines = [_line_from_stripe(each, at) for at, each in enumerate(params.lines)]
    return NewCreditNote(
        invoice_id=params.invoice,
        amount=params.amount,
        lines=lines,
        credit_amount=params.credit_amount,
        out_of_band_amount=params.out_of_band_amount,
        refund_amount=params.refund_amount,
        refunds=[AskedRefund(each.refund, each.amount_refunded) for each in params.refunds or ()],
        reason=params.reason,
        memo=params.memo,
        effective_at=params.effective_at,
        metadata=merge_metadata({}, params.metadata),
    )


# What a line of each type needs, and what it must not have.
_NEEDS = {
    CreditNoteLineType.INVOICE_LINE: (
        ("invoice_line_item",),
        ("unit_amount", "unit_amount_decimal"),
    ),
    CreditNoteLineType.CUSTOM: (("description",), ("invoice_line_item", "amount")),
}


def _line_from_stripe(line: NoteLine, at: int) -> AskedLine:
    needed, refused = _NEEDS[line.type]
    given = line.given()
    for name in needed:
        if name not in given:
            raise InvalidRequest(
                f"Missing required param: lines[{at}][{name}].",
                param=("lines", at, name),
                code="parameter_missing",
            )
    for name in refused:
        if name in given:
            raise InvalidRequest(
                f"A line of the type {line.type} has no `{name}`.", param=("lines", at, name)
            )
    if line.type == CreditNoteLineType.INVOICE_LINE:
        _one_of(line, ("amount", "quantity"), at)
    else:
        _one_of(line, ("unit_amount", "unit_amount_decimal"), at)
    unit_amount = line.unit_amount_decimal
    if line.unit_amount is not None:
        unit_amount = Decimal(line.unit_amount)
    return AskedLine(
        invoice_line_id=line.invoice_line_item,
        amount=line.amount,
        quantity=line.quantity,
        unit_amount=unit_amount,
        description=line.description,
        metadata=merge_metadata({}, line.metadata),
    )


def _one_of(line: NoteLine, names: tuple[str, str], at: int) -> None:
    if sum(getattr(line, name) is not None for name in names) != 1:
        raise InvalidRequest(
            f"You must give one of `{names[0]}` and `{names[1]}`.",
            param=("lines", at, names[0]),
        )


def _one(conn: Connection, act: Act, note: CreditNote) -> dict[str, Any]:
    return render_many(conn, act, [note])[0]


def render_many(conn: Connection, act: Act, shown: Sequence[CreditNote]) -> list[dict[str, Any]]:
    """Many credit notes, with the tax rates on their lines and their refunds."""
    rates = _rates(conn, act, shown)
    refunded = [each.id for each in shown if each.refund_amount]
    back = refunds.of_notes(conn, act.account_id, refunded) if refunded else {}
    return [to_stripe(each, rates, back.get(each.id, ()), livemode=act.livemode) for each in shown]


def _rates(conn: Connection, act: Act, shown: Sequence[CreditNote]) -> TaxRates:
    return tax_rates_of(
        conn, act, ([*line.taxes] if line.taxes else None for note in shown for line in note.lines)
    )


def to_stripe(
    note: CreditNote, rates: TaxRates, back: Sequence[NoteRefund] = (), *, livemode: bool
) -> dict[str, Any]:
    """A credit note with its first lines; ``rates`` has the tax rates that are on them.

    ``back`` are the refunds that it is the paper of.
    """
    discounts = _summed(line.discounts for line in note.lines)
    taxes = _summed_taxes(note.lines)
    tax = sum(each["amount"] for each in taxes.values())
    included = sum(each["amount"] for each in taxes.values() if each["inclusive"])
    lines = note.lines[:EMBEDDED_LINES_MAX]
    return {
        "id": note.id,
        "object": "credit_note",
        "amount": note.total,
        "amount_shipping": 0,
        "created": seconds(note.created_at),
        "currency": note.currency,
        "customer": note.customer_id,
        "customer_account": None,
        "customer_balance_transaction": note.balance_transaction_id,
        "discount_amount": sum(discounts.values()),
        "discount_amounts": discounts_to_stripe(discounts),
        "effective_at": seconds(note.effective_at),
        "invoice": note.invoice_id,
        "lines": {
            "object": "list",
            "data": [line_to_stripe(line, rates, livemode=livemode) for line in lines],
            "has_more": len(note.lines) > len(lines),
            "url": f"/v1/credit_notes/{note.id}/lines",
        },
        "livemode": livemode,
        "memo": note.memo,
        "metadata": note.metadata,
        "number": note.number,
        "out_of_band_amount": note.out_of_band_amount or None,
        "pdf": "",
        "post_payment_amount": note.post_payment_amount,
        "pre_payment_amount": note.pre_payment_amount,
        "pretax_credit_amounts": pretax_to_stripe(
            discounts, _summed(line.credits for line in note.lines)
        ),
        "reason": note.reason,
        "refunds": [
            {
                "amount_refunded": each.amount,
                "payment_record_refund": None,
                "refund": each.refund_id,
                "type": "refund",
            }
            for each in back
        ],
        "shipping_cost": None,
        "status": note.status,
        "subtotal": note.subtotal,
        "subtotal_excluding_tax": note.subtotal - included,
        "total": note.total,
        "total_excluding_tax": note.total - tax,
        "total_taxes": taxes_to_stripe(taxes),
        "type": _type(note),
        "voided_at": seconds(note.voided_at),
    }


def _type(note: CreditNote) -> str:
    if not note.post_payment_amount:
        return "pre_payment"
    return "mixed" if note.pre_payment_amount else "post_payment"


def line_to_stripe(line: CreditNoteLine, rates: TaxRates, *, livemode: bool) -> dict[str, Any]:
    """One line; its amount is before discounts and tax."""
    unit = line.unit_amount
    return {
        "id": line.id,
        "object": "credit_note_line_item",
        "amount": line.amount,
        "description": line.description,
        "discount_amount": sum((line.discounts or {}).values()),
        "discount_amounts": discounts_to_stripe(line.discounts),
        "invoice_line_item": line.invoice_line_id,
        "livemode": livemode,
        "metadata": line.metadata,
        "pretax_credit_amounts": pretax_to_stripe(line.discounts, line.credits),
        "quantity": line.quantity,
        "tax_rates": [rates[key] for key in line.taxes or () if key in rates],
        "taxes": taxes_to_stripe(line.taxes),
        "type": line.type,
        "unit_amount": None if unit is None or unit != unit.to_integral_value() else int(unit),
        "unit_amount_decimal": None if unit is None else plain(unit),
    }


def _line_list(
    conn: Connection, act: Act, note: CreditNote, page: Page, url: str
) -> dict[str, Any]:
    """A page of lines. Their order is the note's, so the cursor is a place in it."""
    ids = [line.id for line in note.lines]
    cursor = page.after or page.before
    if cursor is not None and cursor not in ids:
        name = "starting_after" if page.after else "ending_before"
        raise NotFound.of("credit_note_line_item", cursor, param=name)
    rest = list(note.lines)
    if page.after:
        rest = rest[ids.index(page.after) + 1 :]
    elif page.before:
        rest = rest[: ids.index(page.before)]
    shown = rest[-page.limit :] if page.before else rest[: page.limit]
    rates = _rates(conn, act, [note])
    return listing(
        url,
        Rows(shown, has_more=len(rest) > len(shown)),
        lambda line: line_to_stripe(line, rates, livemode=act.livemode),
    )


def _summed(amounts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in amounts:
        for key, amount in (each or {}).items():
            total[key] = total.get(key, 0) + amount
    return total


def _summed_taxes(lines: Sequence[CreditNoteLine]) -> dict[str, Mapping[str, Any]]:
    total: dict[str, dict[str, Any]] = {}
    for line in lines:
        for key, tax in (line.taxes or {}).items():
            so_far = total.setdefault(key, {**tax, "amount": 0, "taxable": 0})
            so_far["amount"] += tax["amount"]
            so_far["taxable"] += tax["taxable"]
    return dict(total)


@loader("credit_note")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = credit_notes.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


nested("credit_note", "lines", "credit_note_line_item", many=True)
expandable("credit_note", "customer", load="customer")
expandable("credit_note", "customer_balance_transaction", load="customer_balance_transaction")
expandable("credit_note", "invoice", load="invoice")
for _kind in ("credit_note", "credit_note_line_item"):
    expandable(_kind, "discount_amounts.discount", load="discount")
    expandable(_kind, "pretax_credit_amounts.discount", load="discount")
    expandable(
        _kind,
        "pretax_credit_amounts.credit_balance_transaction",
        load="billing.credit_balance_transaction",
    )
expandable("credit_note", "refunds.refund", load="refund")
