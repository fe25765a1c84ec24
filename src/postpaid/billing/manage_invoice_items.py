"""Add, change and delete invoice items: what is billed by hand, now or with the next invoice."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing.announce import Announcement, announce, changes, customer_updated
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.decide_items import (
    ItemChange,
    NewInvoiceItem,
    decide_item_changes,
    decide_items,
)
from postpaid.billing.edit_draft import edit_draft
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_discounts import (
    Chosen,
    redeem,
    remove_left_out,
)
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoice_items import InvoiceItem, line_of
from postpaid.core.invoicing import Invoice, InvoiceAction, next_status
from postpaid.core.values import replace
from postpaid.storage import customers, discounts, invoice_items, invoices
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def create_invoice_item(
    conn: Connection,
    act: Act,
    asked: NewInvoiceItem,
    *,
    customer_id: str | None,
    invoice_id: str | None = None,
) -> InvoiceItem:
    """Add an item that is pending, or with ``invoice_id`` is a line of that draft.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault, and ``ActionNotAllowed``
    for an invoice that is no draft.
    """
    draft = None
    if invoice_id is not None:
        [draft], locked = lock_invoices(conn, act, [invoice_id])
        customer = locked[draft.customer_id]
        if customer_id not in (None, customer.id):
            raise InvalidRequest(
                f"The invoice {draft.id} does not belong to customer {customer_id}.",
                param="invoice",
            )
    elif customer_id is None:
        raise InvalidRequest(
            "Missing required param: customer.", param="customer", code="parameter_missing"
        )
    else:
        customer = lock_customer(conn, act, customer_id)
        check_customer_not_blocked(customer)
    act = act.at(customer.now(act.now), customer.clock_id)
    [item] = make_items(conn, act, [asked], customer, draft)
    if draft is not None:
        line = line_of(item, act.new_id("il"))
        edit_draft(conn, act, draft, [*draft.lines, line], customer)
    return item


def make_items(
    conn: Connection,
    act: Act,
    asked: Sequence[NewInvoiceItem],
    customer: Customer,
    draft: Invoice | None,
) -> list[InvoiceItem]:
    """Write new items of the customer, who is locked: pending ones, or those of the draft.

    The caller writes the draft's lines. A constant number of statements.
    """
    # Read. Decide.
    items, chosen = decide_items(conn, act, asked, customer, draft)

    # Write.
    said = write_items(conn, act, items, chosen)
    if customer.currency is None:
        billed = [replace(customer, currency=each.currency) for each in items[:1]]
        customers.update_invoicing(conn, act.account_id, billed)
        said += [customer_updated(customer, each) for each in billed]
    announce(conn, act, said)
    return items


def write_items(
    conn: Connection, act: Act, items: Sequence[InvoiceItem], chosen: Chosen
) -> list[Announcement]:
    """Write items that were decided, with what is ``chosen`` to be taken off them.

    What is to be said of it is the caller's to announce.
    """
    redeem(conn, act, chosen)
    invoice_items.insert_many(conn, act.account_id, items)
    return [Announcement("invoiceitem.created", "invoiceitem", each.id, each) for each in items]


def update_invoice_item(
    conn: Connection, act: Act, item_id: str, change: ItemChange
) -> InvoiceItem:
    """Change an item that is pending, or on a draft, which then shows it.

    Raises ``NotFound``, ``InvalidRequest`` with the parameter at fault, and ``ActionNotAllowed``
    for an item that is on a final invoice.
    """
    item, customer, draft = lock_item(conn, act, item_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    [after] = change_items(conn, act, [(item, change)], customer)
    if draft is not None and after != item:
        lines = [
            line_of(after, line.id) if line.invoice_item_id == after.id else line
            for line in draft.lines
        ]
        edit_draft(conn, act, draft, lines, customer)
    return after


def change_items(
    conn: Connection,
    act: Act,
    changed: Sequence[tuple[InvoiceItem, ItemChange]],
    customer: Customer,
) -> list[InvoiceItem]:
    """Write the changed items of the customer, who is locked; the caller writes their lines."""
    # Read. Decide.
    after, chosen = decide_item_changes(conn, act, changed, customer)

    # Write.
    redeem(conn, act, chosen)
    moved = [(was, now) for (was, _), now in zip(changed, after, strict=True) if was != now]
    invoice_items.update_many(conn, act.account_id, [now for _, now in moved])
    _forget_discounts(
        conn,
        act,
        [was for was, now in moved if was.discount_ids != now.discount_ids],
        kept=[key for _, now in moved for key in now.discount_ids or ()],
    )
    announce(
        conn,
        act,
        [
            Announcement("invoiceitem.updated", "invoiceitem", now.id, now, changes(was, now))
            for was, now in moved
        ],
    )
    return after


def delete_invoice_item(conn: Connection, act: Act, item_id: str) -> None:
    """Delete an item that is pending, or on a draft, which then has a line less.

    Raises ``NotFound``, and ``ActionNotAllowed`` for an item that is on a final invoice.
    """
    item, customer, draft = lock_item(conn, act, item_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    delete_items(conn, act, [item])
    if draft is not None:
        kept = [line for line in draft.lines if line.invoice_item_id != item.id]
        edit_draft(conn, act, draft, kept, customer)


def delete_items(conn: Connection, act: Act, items: Sequence[InvoiceItem]) -> None:
    """Forget the items, whose customers are locked; the caller writes the drafts' lines."""
    invoice_items.delete_many(conn, act.account_id, [each.id for each in items])
    _forget_discounts(conn, act, items, kept=[])
    announce(
        conn,
        act,
        [Announcement("invoiceitem.deleted", "invoiceitem", each.id, each) for each in items],
    )


def _forget_discounts(
    conn: Connection, act: Act, items: Sequence[InvoiceItem], *, kept: Sequence[str]
) -> None:
    """Take away the discounts that are the items' own, and not those that they share."""
    ids = [key for each in items for key in each.discount_ids or ()]
    if not ids:
        return
    own = {each.id for each in items}
    found = discounts.load(conn, act.account_id, ids).values()
    remove_left_out(conn, act, [each.id for each in found if each.invoice_item_id in own], kept)


def lock_item(
    conn: Connection, act: Act, item_id: str
) -> tuple[InvoiceItem, Customer, Invoice | None]:
    """The item once its customer is locked, the customer, and the draft that it is on, if any.

    Raises ``NotFound``, and ``ActionNotAllowed`` for an item that is on a final invoice.
    """
    found = invoice_items.load(conn, act.account_id, [item_id]).get(item_id)
    if found is None:
        raise NotFound.of("invoiceitem", item_id)
    locked = customers.lock(conn, act.account_id, [found.customer_id])
    item = invoice_items.load(conn, act.account_id, [item_id]).get(item_id)
    if item is None:
        raise NotFound.of("invoiceitem", item_id)
    draft = None
    if item.invoice_id is not None:
        draft = invoices.load(conn, act.account_id, [item.invoice_id])[item.invoice_id]
        next_status(draft.status, InvoiceAction.EDIT)
    return item, locked[item.customer_id], draft
