"""Pending invoice items → lines of the invoice that comes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from postpaid.billing.perform import Act
from postpaid.core.invoice_items import InvoiceItem, line_of, newest_first
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line
from postpaid.core.subscriptions import Subscription
from postpaid.storage import invoice_items
from postpaid.storage.database import Connection


def gather_items(
    conn: Connection, act: Act, billed: Sequence[Subscription]
) -> dict[str, list[InvoiceItem]]:
    """The pending items that each subscription's next invoice bills, by subscription.

    Its own, and those of its customer that name no subscription and are in its currency: the first
    of the customer's subscriptions here takes them. One statement.
    """
    pending = invoice_items.pending(conn, act.account_id, {each.customer_id for each in billed})
    gathered: dict[str, list[InvoiceItem]] = {}
    if not pending:
        return gathered
    taken: set[str] = set()
    for subscription in billed:
        mine = [
            item
            for item in pending[subscription.customer_id]
            if item.id not in taken
            and item.subscription_id in (None, subscription.id)
            and item.currency == subscription.currency
        ]
        taken |= {item.id for item in mine}
        if mine:
            gathered[subscription.id] = mine
    return gathered


def lines_of_items(act: Act, items: Sequence[InvoiceItem]) -> list[Line]:
    """Their lines in Stripe's order: newest first."""
    return [line_of(item, act.new_id("il")) for item in newest_first(items)]


def put_items_on(conn: Connection, act: Act, drafts: Iterable[Invoice]) -> None:
    """Note on the items which draft bills them. One statement."""
    invoice_items.put_on(
        conn,
        act.account_id,
        {
            line.invoice_item_id: invoice.id
            for invoice in drafts
            for line in invoice.lines
            if line.invoice_item_id
        },
    )
