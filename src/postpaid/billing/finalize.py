"""Draft → open: usage of the grace hour counted in, numbered, addressed, frozen, announced.

After this an invoice's lines, totals, number and recipient never change; the database refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from postpaid.billing.address import recipient
from postpaid.billing.announce import Announcement, announce, customer_updated
from postpaid.billing.apply_credits import apply_credits, write_applied
from postpaid.billing.begin_reminders import begin_reminders
from postpaid.billing.compose import compose
from postpaid.billing.lock_invoices import lock_invoices as lock_invoices
from postpaid.billing.manage_discounts import use_up
from postpaid.billing.measure import measure
from postpaid.billing.number_invoices import number_invoices
from postpaid.billing.open_intents import open_intents
from postpaid.billing.perform import Act
from postpaid.billing.post import post_finalized
from postpaid.billing.revise import originals_of, take_places
from postpaid.core.billed_usage import billings_of
from postpaid.core.commitments import Commitment
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import (
    Invoice,
    InvoiceStatus,
    finalized,
    metered_obligations,
    with_usage,
)
from postpaid.core.revisions import check_revisable
from postpaid.core.subscriptions import Catalog
from postpaid.core.values import replace
from postpaid.storage import (
    billed_usage,
    catalog,
    customers,
    invoices,
    subscriptions,
    usage_totals,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def finalize(
    conn: Connection,
    act: Act,
    drafts: Sequence[Invoice],
    locked: Mapping[str, Customer],
    *,
    parks: bool = True,
) -> list[Invoice]:
    """Finalize the drafts, whose customers the caller has ``locked``; return them as they are now.

    Numbers follow a sequence without a gap, which moves under the lock, in this transaction (see
    ``number_invoices``). What a revision revises becomes void. A draft that cannot be rated is
    parked with the reason, and left out; without ``parks`` it raises ``InvalidRequest``, for a
    person to hear. Raises ``ActionNotAllowed`` for an invoice that is no draft.
    """
    # Read.
    sold, used = _read(conn, act, drafts)
    revised = originals_of(conn, act, drafts)
    agreed = _commitments(conn, act, drafts)

    # Decide.
    counted: list[Invoice] = []
    parked: dict[str, str] = {}
    for invoice in drafts:
        owed = {line.obligation: used[line.obligation] for line in metered_obligations(invoice)}
        kept = agreed.get(invoice.subscription_id or "", Commitment())
        try:
            if invoice.from_invoice_id in revised:
                check_revisable(revised[invoice.from_invoice_id])
            counted.append(_identified(act, with_usage(invoice, sold, owed, kept)))
        except ValueError as unbillable:
            if not parks:
                raise InvalidRequest(str(unbillable), param="invoice") from None
            parked[invoice.id] = str(unbillable)
    counted, locked = take_places(conn, act, counted, revised, locked)
    applied = apply_credits(conn, act, compose(conn, act, counted, locked), locked)
    numbered = number_invoices(conn, act, applied.drafts, applied.customers)
    customer_by_id = numbered.customers
    final: list[Invoice] = []
    rewritten: list[Invoice] = []
    lines_of = {invoice.id: invoice.lines for invoice in drafts}
    for invoice in applied.drafts:
        if invoice.lines is not lines_of[invoice.id]:
            rewritten.append(invoice)
        number, numbered_by = numbered.numbers[invoice.id]
        final.append(
            finalized(
                invoice,
                number=number,
                numbered_by=numbered_by,
                customer_snapshot=recipient(customer_by_id[invoice.customer_id]),
                payment_intent_id=act.new_id("pi"),
                now=act.now,
            )
        )

    # Write.
    invoices.replace_lines(conn, act.account_id, rewritten)
    invoices.update_many(conn, act.account_id, final, before=[InvoiceStatus.DRAFT])
    billed = [billing for each in final if each.bills_usage for billing in billings_of(each)]
    billed_usage.insert_many(conn, act.account_id, billed)
    park(conn, act, [(each, parked[each.id]) for each in drafts if each.id in parked])
    customers.update_invoicing(
        conn,
        act.account_id,
        [customer_by_id[key] for key in {invoice.customer_id for invoice in final}],
    )
    said = write_applied(conn, act, applied)
    used_up = use_up(conn, act, final, locked)
    post_finalized(conn, act, final)
    begin_reminders(conn, act, final)
    said += used_up.said
    said += [each for invoice in final for each in _announcements(invoice)]
    said += open_intents(conn, act, final)
    announce(conn, act, said + _customers_moved(locked, customer_by_id, used_up.losers))
    return final


def park(conn: Connection, act: Act, unbillable: Sequence[tuple[Invoice, str]]) -> None:
    """Set aside drafts that cannot be finalized, each with the reason, for a person to see."""
    if not unbillable:
        return
    invoices.park(conn, act.account_id, {draft.id: reason for draft, reason in unbillable})
    announce(
        conn,
        act,
        [
            Announcement(
                "invoice.finalization_failed", "invoice", draft.id, replace(draft, parked=reason)
            )
            for draft, reason in unbillable
        ],
    )


def _customers_moved(
    before: Mapping[str, Customer], after: Mapping[str, Customer], lost: Collection[str]
) -> list[Announcement]:
    """Whose balance the invoices moved, or who ``lost`` a discount by them."""
    moved = (
        (before[key], replace(now, discount=None) if key in lost else now)
        for key, now in after.items()
    )
    return [
        customer_updated(was, now)
        for was, now in moved
        if was.balance != now.balance or was.discount != now.discount
    ]


def _identified(act: Act, draft: Invoice) -> Invoice:
    """The draft with an id for each line that has none yet."""
    if all(line.id for line in draft.lines):
        return draft
    return replace(
        draft,
        lines=tuple(
            line if line.id else replace(line, id=act.new_id("il")) for line in draft.lines
        ),
    )


def _read(
    conn: Connection, act: Act, drafts: Sequence[Invoice]
) -> tuple[Catalog, dict[str, Decimal]]:
    windows: dict[str, usage_totals.Window] = {}
    price_ids: set[str] = set()
    for invoice in drafts:
        for line in metered_obligations(invoice):
            assert line.meter_id is not None
            assert line.price_id is not None
            price_ids.add(line.price_id)
            windows[line.obligation] = usage_totals.Window(
                invoice.customer_id, line.meter_id, line.period_start, line.period_end
            )
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    # A person's act is at the wall clock's time, and the customer's periods may end after that.
    ended = max((window.end for window in windows.values()), default=act.now)
    return sold, measure(conn, act.account_id, windows, now=ended)


def _commitments(conn: Connection, act: Act, drafts: Sequence[Invoice]) -> dict[str, Commitment]:
    """What the subscriptions whose usage the drafts bill have committed to, by subscription."""
    billed = [each.subscription_id for each in drafts if metered_obligations(each)]
    ids = [subscription_id for subscription_id in billed if subscription_id]
    return subscriptions.commitments(conn, act.account_id, ids) if ids else {}


def _announcements(invoice: Invoice) -> list[Announcement]:
    bare = replace(invoice, lines=())  # frozen from now on, so they need not be copied
    types = ["invoice.finalized"]
    if invoice.status == InvoiceStatus.PAID:
        types += ["invoice.paid", "invoice.payment_succeeded"]
    return [Announcement(each, "invoice", invoice.id, bare) for each in types]
