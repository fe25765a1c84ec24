"""What a change of a subscription would bill, or its end: the same decision, unwritten."""

from __future__ import annotations

from datetime import datetime

from postpaid.billing import close_periods
from postpaid.billing.change import decide_all, read_known
from postpaid.billing.compose import compose
from postpaid.billing.decide_change import decide_end
from postpaid.billing.net_prices import net_prices
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.errors import NotFound
from postpaid.core.invoicing import BillingReason, Invoice
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def preview_change(
    conn: Connection, act: Act, asked: Change, *, recurring: bool = False
) -> Invoice | None:
    """The invoice that the change would make at once, or else the next renewal's with it.

    ``recurring`` shows a renewal without anything that only happens once. None when none is to
    come. Raises what ``change`` raises.
    """
    before, customer, act = _find(conn, act, asked.subscription_id)
    known = read_known(conn, act, [before], [asked])
    [decision] = decide_all(conn, act, [asked], {before.id: before}, {customer.id: customer}, known)
    at = asked.prorated_at or act.now
    if recurring or decision.invoice is None:
        waiting = () if recurring else (*known.pending.get(before.id, ()), *decision.made)
        invoice = close_periods.preview(conn, act, [decision.after], pending={before.id: waiting})
        return replace(invoice, proration_at=at) if invoice else None
    return _as_preview(conn, act, decision.invoice, customer, at)


def preview_end(conn: Connection, act: Act, subscription_id: str, asked: Change) -> Invoice | None:
    """The last invoice if the subscription ended now, with all that it owes by then."""
    before, customer, act = _find(conn, act, subscription_id)
    known = read_known(conn, act, [before], ())
    prorate = asked.proration != ProrationBehavior.NONE
    owners = {customer.id: customer}
    nets = net_prices(conn, act, [(before, before)], known.sold, owners) if prorate else {}
    known = replace(known, nets=nets)
    decision = decide_end(
        act, before, known, invoice_now=True, prorate=prorate, prorated_at=asked.prorated_at
    )
    if decision.invoice is None:
        return None
    return _as_preview(conn, act, decision.invoice, customer, asked.prorated_at or act.now)


def _as_preview(
    conn: Connection, act: Act, invoice: Invoice, customer: Customer, at: datetime
) -> Invoice:
    [composed] = compose(conn, act, [invoice], {customer.id: customer})
    return replace(
        composed, billing_reason=BillingReason.UPCOMING, finalizes_at=None, proration_at=at
    )


def _find(conn: Connection, act: Act, subscription_id: str) -> tuple[Subscription, Customer, Act]:
    found = subscriptions.load(conn, act.account_id, [subscription_id])
    if subscription_id not in found:
        raise NotFound.of("subscription", subscription_id, param="subscription")
    before = replace(found[subscription_id], pending_update=None, pending_update_expires_at=None)
    customer = customers.load(conn, act.account_id, [before.customer_id])[before.customer_id]
    return before, customer, act.at(customer.now(act.now), customer.clock_id)
