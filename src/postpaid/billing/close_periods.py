"""Finished periods → draft invoices, by the batch; and the preview, which is the same unwritten.

At a subscription's boundary its metered items owe the period that ended and its licensed items the
one that begins. Every obligation has a name, so running this twice bills once: the second run finds
the period moved on, and if it did not, the unique key on the name would stop it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.gather_items import gather_items, lines_of_items, put_items_on
from postpaid.billing.measure import measure
from postpaid.billing.open_windows import open_next_windows
from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import (
    GRACE,
    BillingReason,
    Invoice,
    closing_lines,
    draft,
    metered_items,
    obligation_of,
)
from postpaid.core.subscriptions import (
    Catalog,
    Subscription,
    SubscriptionAction,
    advanced,
    ended,
)
from postpaid.core.values import replace
from postpaid.storage import catalog, customers, invoices, subscriptions, usage_totals
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Closed:
    """A subscription across one of its boundaries, and the draft that is owed for it, if any."""

    before: Subscription
    after: Subscription
    invoice: Invoice | None


def close_periods(conn: Connection, act: Act, due: Sequence[Subscription]) -> list[Invoice]:
    """Close the period that has ended of each subscription; return the drafts.

    The caller holds the customers' locks. A subscription that cannot be billed is parked with the
    reason, and costs the others nothing.
    """
    # Read.
    sold, used = _read(conn, act, due)
    pending = gather_items(conn, act, due)

    # Decide.
    closed: list[Closed] = []
    parked: dict[str, str] = {}
    for subscription in due:
        try:
            closed.append(_close(act, subscription, sold, used, pending.get(subscription.id, ())))
        except ValueError as unbillable:
            parked[subscription.id] = str(unbillable)

    # Write.
    drafts = [each.invoice for each in closed if each.invoice]
    invoices.insert_many(conn, act.account_id, drafts)
    put_items_on(conn, act, drafts)
    subscriptions.update_many(conn, act.account_id, [each.after for each in closed])
    subscriptions.update_items(
        conn, act.account_id, [item for each in closed for item in each.after.items]
    )
    subscriptions.park(conn, act.account_id, parked)
    renewed = [each.after for each in closed if each.after.ended_at is None]
    open_next_windows(conn, act, renewed, sold)
    announce(conn, act, [said for each in closed for said in _announcements(each)])
    return drafts


def preview(conn: Connection, act: Act, running: Sequence[Subscription]) -> Invoice | None:
    """The first invoice that the subscriptions' next boundaries will bring, with the usage so far.

    None when none is to come. Raises ``InvalidRequest`` when it could not be billed.
    """
    # Read.
    upcoming = [_until_it_closes(each) for each in running if each.ended_at is None]
    sold, used = _read(conn, _at_present(conn, act, upcoming), upcoming)
    pending = gather_items(conn, act, upcoming)

    # Decide.
    for each in sorted(upcoming, key=lambda each: (each.closes_at, each.id)):
        assert each.closes_at is not None, "only a subscription that closes is closed"
        try:
            at_close = act.at(each.closes_at, act.clock_id)
            invoice = _close(at_close, each, sold, used, pending.get(each.id, ())).invoice
        except ValueError as unbillable:
            raise InvalidRequest(str(unbillable), param="subscription") from None
        if invoice is not None:
            return replace(invoice, billing_reason=BillingReason.UPCOMING, finalizes_at=None)
    return None


def _at_present(conn: Connection, act: Act, upcoming: Sequence[Subscription]) -> Act:
    """The act at the present of the customer whose subscriptions these are."""
    found = customers.load(conn, act.account_id, {each.customer_id for each in upcoming})
    for customer in found.values():
        return act.at(customer.now(act.now), customer.clock_id)
    return act


def _until_it_closes(subscription: Subscription) -> Subscription:
    """One that is not paid yet does not renew by itself: as it will be once it is paid."""
    if subscription.closes_at is not None:
        return subscription
    return replace(subscription, closes_at=min(item.period_end for item in subscription.items))


def _read(
    conn: Connection, act: Act, due: Sequence[Subscription]
) -> tuple[Catalog, dict[str, Decimal]]:
    """What is sold, and the usage owed at the boundary by obligation."""
    price_ids = {item.price_id for subscription in due for item in subscription.items}
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    windows = {}
    for subscription in due:
        for item in metered_items(subscription, sold):
            meter_id = sold[item.price_id].price.meter_id
            assert meter_id is not None, "a metered price has a meter"
            windows[obligation_of(item).name] = usage_totals.Window(
                subscription.customer_id, meter_id, item.period_start, item.period_end
            )
    return sold, measure(conn, act.account_id, windows, now=act.now)


def _close(
    act: Act,
    subscription: Subscription,
    sold: Catalog,
    used: Mapping[str, Decimal],
    pending: Sequence[InvoiceItem],
) -> Closed:
    """Decide what the boundary brings. Raises ValueError when an amount cannot be billed."""
    closes_at = subscription.closes_at
    assert closes_at is not None, "only a subscription that closes is closed"
    assert closes_at <= act.now, "nothing is billed before its period has ended"
    if subscription.cancel_at_period_end:
        renewed = None
        after = ended(
            subscription, SubscriptionAction.CANCEL, now=closes_at, reason="cancellation_requested"
        )
    else:
        renewed = after = advanced(subscription, sold)
    lines = [
        *lines_of_items(act, pending),
        *(
            replace(line, id=act.new_id("il"))
            for line in closing_lines(subscription, renewed, sold, used)
        ),
    ]
    if not lines:
        return Closed(subscription, after, None)
    ending = [item for item in subscription.items if item.period_end == closes_at]
    invoice = draft(
        act.new_id("in"),
        subscription,
        lines,
        reason=BillingReason.SUBSCRIPTION_CYCLE,
        period=(min(item.period_start for item in ending), closes_at),
        auto_advance=True,
        finalizes_at=act.now + GRACE,
        now=act.now,
    )
    return Closed(subscription, replace(after, latest_invoice_id=invoice.id), invoice)


def _announcements(closed: Closed) -> list[Announcement]:
    said = []
    if closed.invoice:
        said.append(Announcement("invoice.created", "invoice", closed.invoice.id, closed.invoice))
    has_ended = closed.after.ended_at is not None
    said.append(
        Announcement(
            "customer.subscription.deleted" if has_ended else "customer.subscription.updated",
            "subscription",
            closed.after.id,
            closed.after,
            None if has_ended else changes(closed.before, closed.after),
        )
    )
    return said
