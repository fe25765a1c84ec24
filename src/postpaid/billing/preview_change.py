"""What a change of a subscription would bill, or its end: the same decision, unwritten."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from postpaid.billing import close_periods
from postpaid.billing.change import decide_all, read_known
from postpaid.billing.decide_change import decide_end
from postpaid.billing.decide_pause import (
    Pause,
    Resumption,
    check_pause,
    decide_pause,
    decide_resumption,
)
from postpaid.billing.imagine import NOTHING, Imagined, imagine
from postpaid.billing.move_items import Decision, Known
from postpaid.billing.net_prices import net_prices
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.errors import NotFound
from postpaid.core.invoicing import Invoice
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def preview_change(
    conn: Connection,
    act: Act,
    asked: Change,
    *,
    imagined: Imagined = NOTHING,
    recurring: bool = False,
) -> Invoice | None:
    """The invoice that the change would make at once, or else the next renewal's with it.

    What is ``imagined`` waits for it too. ``recurring`` shows a renewal without anything that only
    happens once. None when none is to come. Raises what ``change`` raises.
    """
    before, customer, act = _find(conn, act, asked.subscription_id)
    owners = {customer.id: customer}
    known = _with_imagined(read_known(conn, act, [before], [asked]), before, imagined)
    [decision] = decide_all(conn, act, [asked], {before.id: before}, owners, known)
    if not recurring and decision.invoice is not None:
        return _as_preview(conn, act, decision, owners, imagined, asked.prorated_at)
    waiting = () if recurring else (*known.pending.get(before.id, ()), *decision.made)
    invoice = close_periods.preview(
        conn,
        act,
        [decision.after],
        imagined=Imagined(discounts=imagined.discounts),
        pending={before.id: waiting},
    )
    return replace(invoice, proration_at=asked.prorated_at or act.now) if invoice else None


def preview_end(
    conn: Connection,
    act: Act,
    subscription_id: str,
    asked: Change,
    *,
    imagined: Imagined = NOTHING,
) -> Invoice | None:
    """The last invoice if the subscription ended now, with all that it owes by then."""
    before, customer, act = _find(conn, act, subscription_id)
    known = _with_imagined(read_known(conn, act, [before], ()), before, imagined)
    prorate = asked.proration != ProrationBehavior.NONE
    owners = {customer.id: customer}
    nets = net_prices(conn, act, [(before, before)], known.sold, owners) if prorate else {}
    known = replace(known, nets=nets)
    decision = decide_end(
        act, before, known, invoice_now=True, prorate=prorate, prorated_at=asked.prorated_at
    )
    return _as_preview(conn, act, decision, owners, imagined, asked.prorated_at)


def preview_pause(
    conn: Connection,
    act: Act,
    subscription_id: str,
    asked: Pause | Resumption,
    *,
    imagined: Imagined = NOTHING,
) -> Invoice | None:
    """The invoice that the pause, or the resumption, would make at once; None where it makes none.

    Raises what ``pause`` and ``resume`` raise.
    """
    before, customer, act = _find(conn, act, subscription_id)
    check_pause(before, asked, act.now)
    known = _with_imagined(read_known(conn, act, [before], ()), before, imagined)
    owners = {customer.id: customer}
    known = replace(known, nets=net_prices(conn, act, [(before, before)], known.sold, owners))
    if isinstance(asked, Pause):
        decision = decide_pause(act, before, known, asked)
    else:
        decision = decide_resumption(act, before, known, asked)
    return _as_preview(conn, act, decision, owners, imagined, None)


def _with_imagined(known: Known, before: Subscription, imagined: Imagined) -> Known:
    waiting = imagined.among(known.pending.get(before.id, ()), before.currency)
    return replace(known, pending={before.id: waiting})


def _as_preview(
    conn: Connection,
    act: Act,
    decision: Decision,
    owners: Mapping[str, Customer],
    imagined: Imagined,
    prorated_at: datetime | None,
) -> Invoice | None:
    if decision.invoice is None:
        return None
    drafts = [decision.invoice]
    invoice = imagine(conn, act, drafts, owners, unwritten=imagined.discounts)
    return replace(invoice, proration_at=prorated_at or act.now)


def _find(conn: Connection, act: Act, subscription_id: str) -> tuple[Subscription, Customer, Act]:
    found = subscriptions.load(conn, act.account_id, [subscription_id])
    if subscription_id not in found:
        raise NotFound.of("subscription", subscription_id, param="subscription")
    before = replace(found[subscription_id], pending_update=None, pending_update_expires_at=None)
    customer = customers.load(conn, act.account_id, [before.customer_id])[before.customer_id]
    return before, customer, act.at(customer.now(act.now), customer.clock_id)
