"""Let final revisions take the place of the invoices that they revise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postpaid.billing.announce import announce, invoice_updated, subscription_updated
from postpaid.billing.correct import void
from postpaid.billing.draw_units import draw_again
from postpaid.billing.perform import Act
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.revisions import in_place
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, revisions, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def originals_of(conn: Connection, act: Act, drafts: Sequence[Invoice]) -> dict[str, Invoice]:
    """What the drafts revise, by id; no statement when none of them is a revision."""
    ids = [each.from_invoice_id for each in drafts if each.from_invoice_id]
    return invoices.load(conn, act.account_id, ids) if ids else {}


def take_places(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    originals: Mapping[str, Invoice],
    locked: Mapping[str, Customer],
) -> tuple[list[Invoice], Mapping[str, Customer]]:
    """The drafts, with what those among them that are revisions revise void; and the customers.

    Voiding gives back what the originals had used of balances and grants, so that the revisions may
    use it. Each original can be revised.
    """
    replacing = [each for each in drafts if each.from_invoice_id in originals]
    if not replacing:
        return list(drafts), locked
    revised = {each.from_invoice_id or "": each.id for each in replacing}
    before = [originals[key] for key in revised]
    after = [replace(each, latest_revision_id=revised[each.id]) for each in before]

    void(conn, act, [each for each in after if each.status != InvoiceStatus.VOID])
    already = [
        (was, now)
        for was, now in zip(before, after, strict=True)
        if now.status == InvoiceStatus.VOID
    ]
    invoices.update_many(
        conn, act.account_id, [now for _, now in already], before=[InvoiceStatus.VOID]
    )
    in_places = {each.id: in_place(each) for each in drafts}
    draw_again(
        conn,
        act,
        [(in_places[each.id], originals[each.from_invoice_id or ""]) for each in replacing],
    )
    revisions.move_items(
        conn,
        act.account_id,
        {
            line.invoice_item_id: each.id
            for each in replacing
            for line in each.lines
            if line.invoice_item_id
        },
    )
    moved = revisions.move_latest(conn, act.account_id, revised)
    followed = subscriptions.load(conn, act.account_id, moved).values() if moved else ()
    said = [invoice_updated(was, now) for was, now in already]
    said += [
        subscription_updated(replace(now, latest_invoice_id=moved[now.id]), now) for now in followed
    ]
    announce(conn, act, said)
    return list(in_places.values()), customers.load(conn, act.account_id, locked)
