"""Add, change and remove the lines of a draft."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from postpaid.billing.decide_items import ItemChange, NewInvoiceItem
from postpaid.billing.edit_draft import edit_draft
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_discounts import Wanted, choose, redeem
from postpaid.billing.manage_invoice_items import change_items, delete_items, make_items
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, Path
from postpaid.core.invoice_items import InvoiceItem, line_of
from postpaid.core.invoicing import Invoice, InvoiceAction, next_status
from postpaid.core.lines import Line
from postpaid.core.values import replace
from postpaid.storage import invoice_items
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

Relabel = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PendingLine:
    """A pending invoice item that is to be a line; ``param`` is where in the request."""

    item_id: str
    param: Path


@dataclass(frozen=True, slots=True)
class Removal:
    """A line to remove: its invoice item is forgotten, or else pending again."""

    line_id: str
    forgets: bool
    param: Path


def add_lines(
    conn: Connection,
    act: Act,
    invoice_id: str,
    added: Sequence[NewInvoiceItem | PendingLine],
    *,
    relabel: Relabel | None = None,
) -> Invoice:
    """Put lines at the end of a draft: new invoice items, or pending ones of the customer.

    ``relabel`` changes the invoice's metadata. Raises ``NotFound`` and ``InvalidRequest`` with the
    parameter at fault, and ``ActionNotAllowed`` for an invoice that is no draft.
    """
    draft, customer, act = _lock_draft(conn, act, invoice_id)
    waiting = [each for each in added if isinstance(each, PendingLine)]
    found = _pending(conn, act, draft, waiting)
    new = [each for each in added if isinstance(each, NewInvoiceItem)]
    made = iter(make_items(conn, act, new, customer, draft) if new else ())
    items = [found[each.item_id] if isinstance(each, PendingLine) else next(made) for each in added]
    invoice_items.put_on(conn, act.account_id, {each.item_id: draft.id for each in waiting})
    lines = [*draft.lines, *(line_of(item, act.new_id("il")) for item in items)]
    return _edit(conn, act, draft, lines, customer, relabel)


def update_lines(
    conn: Connection,
    act: Act,
    invoice_id: str,
    changed: Sequence[tuple[str, ItemChange]],
    *,
    relabel: Relabel | None = None,
) -> Invoice:
    """Change lines of a draft by their ids, and the invoice items that they bill.

    Of a line that bills a subscription's item only what is said of it may change, and what is taken
    off it or put on it. Raises as ``add_lines`` does.
    """
    draft, customer, act = _lock_draft(conn, act, invoice_id)
    by_id = {line.id: line for line in draft.lines}
    for line_id, change in changed:
        if line_id not in by_id:
            raise NotFound.of("line_item", line_id, param=(*change.param, "id"))
    item_ids = [by_id[line_id].invoice_item_id for line_id, _ in changed]
    items = invoice_items.load(conn, act.account_id, [each for each in item_ids if each])
    of_items = [
        (items[item_id], change)
        for (_, change), item_id in zip(changed, item_ids, strict=True)
        if item_id
    ]
    after = {
        each.id: each for each in (change_items(conn, act, of_items, customer) if of_items else ())
    }
    own = [(by_id[key], change) for key, change in changed if not by_id[key].invoice_item_id]
    changed_lines = {line.id: line for line in _relined(conn, act, draft, own, customer)}
    lines = [
        line_of(after[line.invoice_item_id], line.id)
        if line.invoice_item_id in after
        else changed_lines.get(line.id, line)
        for line in draft.lines
    ]
    return _edit(conn, act, draft, lines, customer, relabel)


def remove_lines(
    conn: Connection,
    act: Act,
    invoice_id: str,
    removed: Sequence[Removal],
    *,
    relabel: Relabel | None = None,
) -> Invoice:
    """Take lines off a draft. Those that bill a subscription's item stay: they are owed.

    Raises as ``add_lines`` does.
    """
    draft, customer, act = _lock_draft(conn, act, invoice_id)
    by_id = {line.id: line for line in draft.lines}
    for each in removed:
        at = (*each.param, "id")
        if each.line_id not in by_id:
            raise NotFound.of("line_item", each.line_id, param=at)
        if by_id[each.line_id].invoice_item_id is None:
            raise InvalidRequest(
                f"The line item {each.line_id} bills its subscription, and cannot be removed.",
                param=at,
            )
    forgets = {by_id[each.line_id].invoice_item_id: each.forgets for each in removed}
    items = invoice_items.load(conn, act.account_id, [key for key in forgets if key])
    own = [each for each in items.values() if each.invoice_id == draft.id]  # a revision has others'
    delete_items(conn, act, [each for each in own if forgets[each.id]])
    invoice_items.update_many(
        conn,
        act.account_id,
        [replace(each, invoice_id=None) for each in own if not forgets[each.id]],
    )
    gone = {each.line_id for each in removed}
    lines = [line for line in draft.lines if line.id not in gone]
    return _edit(conn, act, draft, lines, customer, relabel)


def replace_lines(
    conn: Connection, act: Act, invoice_id: str, asked: Sequence[NewInvoiceItem]
) -> Invoice:
    """Put new invoice items in the place of all that a draft's lines bill; see ``remove_lines``.

    Lines that bill a subscription's item stay. Raises as ``add_lines`` does.
    """
    draft, customer, act = _lock_draft(conn, act, invoice_id)
    gone = [line.invoice_item_id for line in draft.lines if line.invoice_item_id]
    items = invoice_items.load(conn, act.account_id, gone) if gone else {}
    own = [each for each in items.values() if each.invoice_id == draft.id]
    if own:
        delete_items(conn, act, own)
    made = make_items(conn, act, asked, customer, draft) if asked else []
    lines = [line for line in draft.lines if not line.invoice_item_id]
    lines += [line_of(item, act.new_id("il")) for item in made]
    return _edit(conn, act, draft, lines, customer, None)


def _lock_draft(conn: Connection, act: Act, invoice_id: str) -> tuple[Invoice, Customer, Act]:
    [draft], locked = lock_invoices(conn, act, [invoice_id])
    next_status(draft.status, InvoiceAction.EDIT)
    customer = locked[draft.customer_id]
    return draft, customer, act.at(customer.now(act.now), customer.clock_id)


def _edit(
    conn: Connection,
    act: Act,
    draft: Invoice,
    lines: Sequence[Line],
    customer: Customer,
    relabel: Relabel | None,
) -> Invoice:
    labelled = replace(draft, metadata=relabel(draft.metadata)) if relabel else draft
    return edit_draft(conn, act, labelled, lines, customer, before=draft)


def _pending(
    conn: Connection, act: Act, draft: Invoice, waiting: Sequence[PendingLine]
) -> dict[str, InvoiceItem]:
    """The pending items by id. Raises for one that is none of the draft's customer's."""
    if not waiting:
        return {}
    found = invoice_items.load(conn, act.account_id, [each.item_id for each in waiting])
    seen: set[str] = set()
    for each in waiting:
        at = (*each.param, "invoice_item")
        item = found.get(each.item_id)
        if item is None or item.customer_id != draft.customer_id:
            raise NotFound.of("invoiceitem", each.item_id, param=at)
        if item.invoice_id is not None or item.id in seen:
            raise InvalidRequest(f"The invoice item {item.id} is on an invoice already.", param=at)
        if item.currency != draft.currency:
            raise InvalidRequest(
                f"The invoice item {item.id} is in {item.currency}, and the invoice in "
                f"{draft.currency}.",
                param=at,
            )
        seen.add(item.id)
    return found


def _relined(
    conn: Connection,
    act: Act,
    draft: Invoice,
    changed: Sequence[tuple[Line, ItemChange]],
    customer: Customer,
) -> list[Line]:
    """Lines of the subscription's items, with what may change of them."""
    if not changed:
        return []
    allowed = {"description", "discountable", "discounts", "metadata", "tax_rates"}
    for line, change in changed:
        if change.given - allowed:
            raise ActionNotAllowed(
                f"The line item {line.id} bills its subscription: its price, quantity, amount and "
                "period cannot change.",
                param=change.param,
                code="invoice_not_editable",
            )
    check_tax_rates(conn, act, {(*c.param, "tax_rates"): c.tax_rate_ids for _, c in changed})
    wanted = [
        Wanted(each.discounts or (), invoice_id=draft.id, param=(*each.param, "discounts"))
        for _, each in changed
    ]
    chosen = choose(conn, act, wanted, customer=customer, currency=draft.currency)
    redeem(conn, act, chosen)
    after = []
    for place, (before, change) in enumerate(changed):
        line = before
        if "description" in change.given:
            line = replace(line, description=change.description or "")
        if "discountable" in change.given and change.discountable is not None:
            line = replace(line, discountable=change.discountable)
        if "metadata" in change.given:
            line = replace(line, metadata=change.relabel(line.metadata))
        if "tax_rates" in change.given:
            line = replace(line, tax_rate_ids=change.tax_rate_ids)
        if "discounts" in change.given:
            line = replace(line, discount_ids=chosen.ids(place))
        after.append(line)
    return after
