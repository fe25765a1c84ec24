"""Finished periods → draft invoices, by the batch; and the preview, which is the same unwritten.

At a subscription's boundary its metered items owe the period that ended and its licensed items the
one that begins. Every obligation has a name, so running this twice bills once: the second run finds
the period moved on, and if it did not, the unique key on the name would stop it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce, changes, trial_will_end
from postpaid.billing.choose_method import is_usable
from postpaid.billing.compose import compose
from postpaid.billing.decide_close import Closed, Known, credited_items, decide_close, needs_means
from postpaid.billing.gather_items import gather_items, put_items_on
from postpaid.billing.imagine import NOTHING, Imagined, imagine, imagine_each
from postpaid.billing.measure import measure
from postpaid.billing.net_prices import Nets, net_prices
from postpaid.billing.open_windows import open_next_windows
from postpaid.billing.perform import Act
from postpaid.billing.write_schedules import end_with
from postpaid.core.cycles import (
    advanced,
    bills_now,
    next_moment,
    reminds_at_once,
    reminds_now,
)
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import metered_items, obligation_of
from postpaid.core.prorations import Charge
from postpaid.core.subscriptions import BillingMode, Catalog, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import (
    catalog,
    charges,
    customers,
    invoices,
    payment_methods,
    subscription_items,
    subscriptions,
    subscriptions_due,
    usage_totals,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

ROUNDS = 3  # of moments that a preview looks ahead for one that bills something


def close_periods(conn: Connection, act: Act, due: Sequence[Subscription]) -> list[Invoice]:
    """Do what has come due of each subscription; return the drafts.

    A period that has ended is closed, a trial ends or is soon to, a pause of collection is over, or
    all of it is. The caller holds the customers' locks. A subscription that cannot be billed is
    parked with the reason, and costs the others nothing.
    """
    # Read.
    owners = customers.load(conn, act.account_id, {each.customer_id for each in due})
    sold = _read_sold(conn, act, due)
    known = _read(conn, act, due, owners, sold, gather_items(conn, act, list(_billed(due))))

    # Decide.
    closed: list[Closed] = []
    parked: dict[str, str] = {}
    for subscription in due:
        try:
            closed.append(decide_close(act, subscription, known))
        except ValueError as unbillable:
            parked[subscription.id] = str(unbillable)
    composed = compose(conn, act, [draft for each in closed for draft in each.invoices], owners)
    drafts = {each.id: each for each in composed}
    closed = [
        replace(each, invoices=tuple(drafts[draft.id] for draft in each.invoices))
        for each in closed
    ]

    # Write.
    invoices.insert_many(conn, act.account_id, composed)
    put_items_on(conn, act, composed)
    subscriptions.update_many(conn, act.account_id, [each.after for each in closed])
    subscription_items.update_many(
        conn, act.account_id, [item for each in closed for item in each.after.items]
    )
    subscriptions_due.park(conn, act.account_id, parked)
    renewed = [
        each.after for each in closed if each.after.closes_at is not None and bills_now(each.before)
    ]
    open_next_windows(conn, act, renewed, sold)
    end_with(conn, act, [(each.before, each.after) for each in closed if each.after.ended_at])
    announce(conn, act, [said for each in closed for said in _announcements(each)], owners=owners)
    return composed


def preview(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    *,
    imagined: Imagined = NOTHING,
    pending: Mapping[str, Sequence[InvoiceItem]] | None = None,
) -> Invoice | None:
    """The first invoice that the subscriptions' next boundaries will bring, with the usage so far.

    What waits for it is ``pending`` by subscription, or by default what does at present, with what
    is ``imagined``. Where usage is on an invoice of its own, it is the other one. None when none is
    to come. Raises ``InvalidRequest`` when it could not be billed.
    """
    if not running:
        return None
    # Read.
    sold = _read_sold(conn, act, running)
    owners = customers.load(conn, act.account_id, {each.customer_id for each in running})
    upcoming = sorted(_to_bill(running, sold), key=lambda each: (_moment(each), each.id))
    waiting = gather_items(conn, act, upcoming) if pending is None else pending
    present = _at_present(act, owners.values())
    found: list[Closed] = []
    for _ in range(ROUNDS):  # a trial's end may bill nothing, and what comes after it does
        if not upcoming:
            break
        known = _read(
            conn,
            present,
            upcoming,
            owners,
            sold,
            {each.id: imagined.among(waiting.get(each.id, ()), each.currency) for each in upcoming},
        )

        # Decide.
        closed = [_closing(act, each, known) for each in upcoming]
        found += [each for each in closed if each.invoices]
        upcoming = _to_bill([each.after for each in closed if not each.invoices], sold)
    if not found:
        return None
    first = min(found, key=lambda each: (_moment(each.before), each.before.id))
    at_close = act.at(_moment(first.before), act.clock_id)
    return imagine(conn, at_close, first.invoices, owners, unwritten=imagined.discounts)


def preview_each(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    *,
    pending: Mapping[str, Sequence[InvoiceItem]] | None = None,
) -> dict[str, Invoice]:
    """``preview`` for each of the subscriptions, by id, the soonest first; ``act`` is at present.

    Left out is what bills nothing at its next boundary, or could not be billed.
    """
    if not running:
        return {}
    # Read.
    sold = _read_sold(conn, act, running)
    owners = customers.load(conn, act.account_id, {each.customer_id for each in running})
    upcoming = sorted(_to_bill(running, sold), key=lambda each: (_moment(each), each.id))
    waiting = gather_items(conn, act, upcoming) if pending is None else pending
    known = _read(conn, act, upcoming, owners, sold, waiting)

    # Decide.
    drafts: dict[str, Sequence[Invoice]] = {}
    for each in upcoming:
        try:
            closed = _closing(act, each, known)
        except InvalidRequest:
            continue
        if closed.invoices:
            drafts[each.id] = closed.invoices
    return imagine_each(conn, act, drafts, owners)


def until_it_bills(subscription: Subscription, sold: Catalog) -> Subscription:
    """As it will be when something of it ends.

    One that is not paid yet does not renew by itself: as it will be once it is paid.
    """
    if subscription.closes_at is None:
        closes_at = next_moment(subscription, subscription.created_at)
        subscription = replace(subscription, closes_at=closes_at)
    while not bills_now(subscription):  # a reminder, or the end of a pause of collection
        subscription = advanced(subscription, sold)
    return subscription


def _closing(act: Act, subscription: Subscription, known: Known) -> Closed:
    try:
        return decide_close(act.at(_moment(subscription), act.clock_id), subscription, known)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="subscription") from None


def _to_bill(running: Iterable[Subscription], sold: Catalog) -> list[Subscription]:
    """Those that will be billed by themselves, as they will be when something of them ends."""
    return [
        until_it_bills(each, sold)
        for each in running
        if each.ended_at is None and each.status != SubscriptionStatus.PAUSED
    ]


def _moment(subscription: Subscription) -> datetime:
    assert subscription.closes_at is not None, "only a subscription that closes is closed"
    return subscription.closes_at


def _at_present(act: Act, owners: Iterable[Customer]) -> Act:
    """The act at the present of the customer whose subscriptions these are."""
    for customer in owners:
        return act.at(customer.now(act.now), customer.clock_id)
    return act


def _billed(due: Iterable[Subscription]) -> Iterable[Subscription]:
    """Those of which a period ends, and the invoice takes what waits."""
    return (each for each in due if bills_now(each))


def _read_sold(conn: Connection, act: Act, due: Sequence[Subscription]) -> Catalog:
    price_ids = {
        price_id
        for subscription in due
        for item in subscription.items
        for price_id in (item.price_id, item.billing_price_id)
    }
    return catalog.load_sold(conn, act.account_id, price_ids)


def _read(
    conn: Connection,
    act: Act,
    due: Sequence[Subscription],
    owners: Mapping[str, Customer],
    sold: Catalog,
    pending: Mapping[str, Sequence[InvoiceItem]],
) -> Known:
    """What is known at the moment: usage owed, what was paid in advance, who can pay."""
    return Known(
        sold=sold,
        used=_read_usage(conn, act, due, sold),
        pending=pending,
        charges=_read_charges(conn, act, due, sold),
        able=_read_able(conn, act, due, owners),
        nets=_read_nets(conn, act, due, owners, sold),
    )


def _read_usage(
    conn: Connection, act: Act, due: Sequence[Subscription], sold: Catalog
) -> dict[str, Decimal]:
    """The usage owed at the boundary, by obligation."""
    windows = {}
    for subscription in due:
        for item in metered_items(subscription, sold):
            meter_id = sold[item.billing_price_id].price.meter_id
            assert meter_id is not None, "a metered price has a meter"
            windows[obligation_of(item).name] = usage_totals.Window(
                subscription.customer_id, meter_id, item.usage_start, item.period_end
            )
    return measure(conn, act.account_id, windows, now=act.now)


def _read_charges(
    conn: Connection, act: Act, due: Sequence[Subscription], sold: Catalog
) -> dict[str, list[Charge]]:
    """What paid the periods that are cut short, by item; no statement where none is."""
    cut = [item for each in due for item in credited_items(each, sold)]
    owner_of = {key: item.id for item in cut for key in item.charge_ids or ()}
    by_period = {obligation_of(item).name: item.id for item in cut if item.charge_ids is None}
    found: dict[str, list[Charge]] = {}
    for charge in charges.load(conn, act.account_id, list(owner_of), list(by_period)):
        owner = owner_of.get(charge.id) or by_period[charge.obligation]
        found.setdefault(owner, []).append(charge)
    return found


def _read_nets(
    conn: Connection,
    act: Act,
    due: Sequence[Subscription],
    owners: Mapping[str, Customer],
    sold: Catalog,
) -> Nets:
    """What discounts leave of what is credited by its price now (classic); often of none."""
    cut = [
        each
        for each in due
        if each.billing_mode == BillingMode.CLASSIC and credited_items(each, sold)
    ]
    return net_prices(conn, act, [(each, each) for each in cut], sold, owners) if cut else {}


def _read_able(
    conn: Connection, act: Act, due: Sequence[Subscription], owners: Mapping[str, Customer]
) -> set[str]:
    """Those, whose trial ends, that have something to pay with; no statement where none ends."""
    named = {
        each.id: [
            method_id
            for method_id in (
                each.default_payment_method_id,
                owners[each.customer_id].default_payment_method_id,
            )
            if method_id
        ]
        for each in due
        if needs_means(each)
    }
    ids = {method_id for each in named.values() for method_id in each}
    if not ids:
        return set()
    methods = payment_methods.load(conn, act.account_id, ids)
    customer_of = {each.id: each.customer_id for each in due}
    return {
        subscription_id
        for subscription_id, method_ids in named.items()
        for method_id in method_ids
        if method_id in methods and is_usable(methods[method_id], customer_of[subscription_id])
    }


def _announcements(closed: Closed) -> list[Announcement]:
    before, after = closed.before, closed.after
    said = [
        Announcement("invoice.created", "invoice", invoice.id, invoice)
        for invoice in closed.invoices
    ]
    if reminds_now(before):
        return [trial_will_end(after)]
    if after.ended_at is not None:
        said.append(_said("deleted", after))
        return said
    said.append(_said("updated", after, before))
    if after.status == SubscriptionStatus.PAUSED:
        said.append(_said("paused", after))
    begins_trial = after.status == SubscriptionStatus.TRIALING
    if begins_trial and reminds_at_once(before, after, _moment(before)):
        said.append(trial_will_end(after))
    return said


def _said(what: str, after: Subscription, before: Subscription | None = None) -> Announcement:
    return Announcement(
        f"customer.subscription.{what}",
        "subscription",
        after.id,
        after,
        None if before is None else changes(before, after),
    )
