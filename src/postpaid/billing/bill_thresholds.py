"""Thresholds that usage has reached → invoices of what has been used so far, final at once.

What may have been reached is noted by whoever stores the usage (``watch_thresholds``); here it is
decided exactly, under the customers' locks, and billed. Later invoices of the same window rate all
of its usage again, and take off what was billed: so graduated tiers keep their place, and volume
pricing corrects itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce, subscription_updated
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.change import read_known
from postpaid.billing.compose import compose
from postpaid.billing.decide_change import decide_cut
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.finalize import finalize
from postpaid.billing.follow import follow_settled
from postpaid.billing.measure import measure
from postpaid.billing.net_prices import net_prices
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.billing.watch_thresholds import read_catalog, windows_of
from postpaid.core.cycles import advanced
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import BillingReason, Invoice, draft
from postpaid.core.lines import Line, billed_lines, commitment_line, obligation_of_line
from postpaid.core.subscriptions import Catalog, Subscription
from postpaid.core.thresholds import ZERO, Standing, cut_short, may_bill, reaches_amount, standings
from postpaid.core.values import replace
from postpaid.storage import (
    customers,
    invoice_items,
    invoices,
    subscription_items,
    subscriptions,
    subscriptions_due,
    thresholds,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import PaymentAttempt

BATCH = 200  # subscriptions in one transaction


@dataclass(frozen=True, slots=True)
class Billed:
    """A subscription whose thresholds were reached, and the draft that says so."""

    before: Subscription
    after: Subscription
    invoice: Invoice


def bill_reached(database: Database, act: Act, wall: datetime) -> int:
    """One batch of what was noted, of the act's clock or without one of every customer's.

    Customers on a test clock are billed at its time, whether it moves or not.
    """
    attempts: list[tuple[Act, list[PaymentAttempt]]] = []
    failed: list[tuple[Subscription, Exception]] = []
    with database.transaction() as conn:
        noted = thresholds.claim(conn, act.account_id, act.clock_id, limit=BATCH)
        if not noted:
            return 0
        running = list(subscriptions.load(conn, act.account_id, set(noted.values())).values())
        locked = customers.lock(conn, act.account_id, {each.customer_id for each in running})
        for at, of_time in _by_time(act, running, locked):
            tries, left = do_each(
                conn,
                of_time,
                lambda some, at=at: _bill(conn, at, some, wall),  # type: ignore[misc]
                lambda one, why: subscriptions_due.park(conn, act.account_id, {one.id: why}),
            )
            attempts.append((at, tries))
            failed += left
        still = {each.id for each, _ in failed}
        done = [key for key, subscription_id in noted.items() if subscription_id not in still]
        thresholds.delete(conn, act.account_id, done)
    for at, tries in attempts:
        settle(database, at, tries)
    raise_failed(failed)
    return len(noted)


def _bill(
    conn: Connection, act: Act, running: Sequence[Subscription], wall: datetime
) -> list[PaymentAttempt]:
    locked = customers.lock(conn, act.account_id, {each.customer_id for each in running})
    return bill_thresholds(conn, act, running, locked, wall=wall)


def bill_thresholds(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    locked: Mapping[str, Customer],
    *,
    wall: datetime,
) -> list[PaymentAttempt]:
    """Invoice the usage so far of those whose thresholds are reached; the attempts to ``settle``.

    All customers live at the act's time. The number of statements does not depend on how many the
    subscriptions are.
    """
    # Read.
    open_to_it = [each for each in running if may_bill(each, act.now)]
    if not open_to_it:
        return []
    sold = read_catalog(conn, act, open_to_it)
    used = measure(conn, act.account_id, windows_of(open_to_it, sold), now=act.now)
    counts = thresholds.count(conn, act.account_id, [each.id for each in open_to_it])

    # Decide.
    decided = [
        billed
        for each in open_to_it
        if (billed := _decide(act, each, sold, used, counts.get(each.id, 0) + 1))
    ]
    composed = compose(conn, act, [each.invoice for each in decided], locked)
    reached = [
        replace(each, invoice=invoice)
        for each, invoice in zip(decided, composed, strict=True)
        if _still_reached(each.before, invoice)
    ]
    due = [each for each in reached if not each.before.threshold_resets_anchor]
    renewing = [
        (each.before, after)
        for each in reached
        if each.before.threshold_resets_anchor and (after := cut_short(each.before, act.now))
    ]
    unused = _unused(conn, act, renewing, sold, locked)

    # Write.
    drafts = [each.invoice for each in due]
    invoices.insert_many(conn, act.account_id, drafts)
    subscriptions.update_many(conn, act.account_id, [each.after for each in due])
    subscription_items.update_many(
        conn, act.account_id, [item for each in due for item in each.after.items]
    )
    invoice_items.insert_many(conn, act.account_id, unused)
    write_changed(conn, act, renewing, sold)
    open_windows(conn, act, [advanced(after, sold) for _, after in renewing], sold)
    announce(
        conn,
        act,
        [said for each in due for said in _announcements(each)]
        + [Announcement("invoiceitem.created", "invoiceitem", each.id, each) for each in unused],
    )
    final = finalize(conn, act, drafts, locked)
    follow_settled(conn, act, final)
    charged = [invoice for invoice in final if collect.is_collected_automatically(invoice)]
    return collect.attempt(conn, act, charged, locked, wall=wall, automatic=True)


def _by_time(
    act: Act, running: Sequence[Subscription], locked: Mapping[str, Customer]
) -> list[tuple[Act, list[Subscription]]]:
    """The subscriptions by the clock that their customers live by."""
    found: dict[str | None, tuple[Act, list[Subscription]]] = {}
    for each in running:
        customer = locked[each.customer_id]
        at = act.at(customer.now(act.now), customer.clock_id)
        found.setdefault(customer.clock_id, (at, []))[1].append(each)
    return list(found.values())


def _decide(
    act: Act, subscription: Subscription, sold: Catalog, used: Mapping[str, Decimal], number: int
) -> Billed | None:
    """What is billed, before anything comes off; None when no threshold is reached."""
    found = [
        each
        for each in standings(subscription, sold, used, now=act.now, number=number)
        if each.unbilled != ZERO or each.accrued
    ]
    by_usage = [each for each in found if each.reaches_usage]
    if not by_usage and not reaches_amount(subscription, found):
        return None
    lines: list[Line] = []
    ids: dict[str, list[str]] = {}
    for each in reversed(found):
        for line in _lines(each, sold):
            identified = replace(line, id=act.new_id("il"))
            lines.append(identified)
            ids.setdefault(each.item.id, []).append(identified.id)
    if over := sum(each.over for each in found):
        first = next(each.lines[0] for each in found if each.over)
        lines.append(replace(commitment_line(first, -over), id=act.new_id("il")))
    invoice = draft(
        act.new_id("in"),
        subscription,
        lines,
        reason=BillingReason.SUBSCRIPTION_THRESHOLD,
        period=(min(each.item.usage_start for each in found), act.now),
        auto_advance=True,
        finalizes_at=None,
        now=act.now,
    )
    invoice = replace(invoice, threshold_reason=_reason(subscription, found, by_usage, ids))
    billed = {each.item.id: each for each in found}
    after = replace(
        subscription,
        latest_invoice_id=invoice.id,
        items=tuple(
            replace(
                item,
                billed_quantity=billed[item.id].quantity,
                billed_amount=billed[item.id].amount,
            )
            if item.id in billed
            else item
            for item in subscription.items
        ),
    )
    return Billed(subscription, after, invoice)


def _unused(
    conn: Connection,
    act: Act,
    renewing: Sequence[tuple[Subscription, Subscription]],
    sold: Catalog,
    locked: Mapping[str, Customer],
) -> list[InvoiceItem]:
    """Credits of the licences whose periods are cut short: they pay the next one in full.

    The renewal takes them. No statement where all that renews is metered.
    """
    licensed = [
        (before, after)
        for before, after in renewing
        if any(not sold[item.billing_price_id].price.metered for item in before.items)
    ]
    if not licensed:
        return []
    running = [before for before, _ in licensed]
    known = read_known(conn, act, running, ())
    nets = net_prices(conn, act, [(each, each) for each in running], sold, locked)
    known = replace(known, nets=nets)
    return [
        item
        for before, after in licensed
        for item in decide_cut(act, before, known, at=after.anchor_at)
    ]


def _lines(standing: Standing, sold: Catalog) -> list[Line]:
    """All of the window's usage, less what was billed of it before."""
    item = standing.item
    owed = obligation_of_line(standing.lines[0])
    return [*standing.lines, *billed_lines(owed, sold[item.billing_price_id], item)]


def _reason(
    subscription: Subscription,
    found: Sequence[Standing],
    by_usage: Sequence[Standing],
    ids: Mapping[str, list[str]],
) -> dict[str, object]:
    """Which thresholds it was, as Stripe has it."""
    return {
        "amount_gte": subscription.threshold_amount
        if reaches_amount(subscription, found)
        else None,
        "item_reasons": [
            {"line_item_ids": ids[each.item.id], "usage_gte": int(each.item.threshold_usage or 0)}
            for each in by_usage
        ],
    }


def _still_reached(subscription: Subscription, invoice: Invoice) -> bool:
    """Whether it is reached after what comes off: an amount is meant after discounts (Stripe)."""
    assert invoice.threshold_reason is not None
    if invoice.threshold_reason["item_reasons"]:
        return True
    off = sum(sum(line.discounts.values()) for line in invoice.lines if line.discounts)
    accrued = sum(line.amount for line in invoice.lines) - off
    return accrued >= (subscription.threshold_amount or 0)


def _announcements(billed: Billed) -> list[Announcement]:
    return [
        Announcement("invoice.created", "invoice", billed.invoice.id, billed.invoice),
        subscription_updated(billed.before, billed.after),
    ]
