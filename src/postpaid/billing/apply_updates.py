"""A change that waits for its payment: held, applied when its invoice is paid, or dropped.

Meanwhile the subscription is as it was. Its pending update has all that it will be, decided at the
time of the change, because that is what the invoice bills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any

import msgspec

from postpaid.billing.agree_limits import agree_limits
from postpaid.billing.announce import (
    Announcement,
    announce,
    subscription_updated,
    trial_will_end,
)
from postpaid.billing.carry_items import carry_items
from postpaid.billing.log_changes import Terms, log_changes
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.core.changes import ProrationBehavior
from postpaid.core.cycles import reminds_at_once
from postpaid.core.invoicing import BillingReason, Invoice
from postpaid.core.subscriptions import ENDED, Catalog, Item, Subscription
from postpaid.core.values import replace
from postpaid.storage import catalog, subscription_items, subscriptions
from postpaid.storage.database import Connection

HELD_FOR = timedelta(hours=23)  # Stripe; but never beyond the running period

_encode = msgspec.json.Encoder(decimal_format="string").encode
_NEVER_APPLIED = frozenset(
    {"items", "latest_invoice_id", "pending_update", "pending_update_expires_at"}
)
_OF_THE_PERIOD = (
    "period_index",
    "period_start",
    "period_end",
    "usage_from",
    "usage_price_id",
    "billed_quantity",
    "billed_amount",
    "charge_ids",
)


def hold(
    conn: Connection,
    act: Act,
    changed: Sequence[tuple[Subscription, Subscription]],
    terms: Mapping[str, Terms],
) -> None:
    """Let each change wait, which would make the first of a pair the second.

    The second names the invoice that it waits for; its ``terms``, by subscription, wait with it.
    The customers are locked.
    """
    held = []
    for before, after in changed:
        ends = [each for each in (before.closes_at,) if each is not None]
        pending = {
            "invoice_id": after.latest_invoice_id,
            "former_invoice_id": before.latest_invoice_id,
            "names": _changed_names(before, after),
            "subscription": msgspec.json.decode(_encode(after)),
            "terms": msgspec.json.decode(_encode(terms.get(after.id, Terms()))),
        }
        waiting = replace(
            before,
            latest_invoice_id=after.latest_invoice_id,
            pending_update=pending,
            pending_update_expires_at=min([act.now + HELD_FOR, *ends]),
        )
        held.append((before, waiting))
    subscriptions.update_many(conn, act.account_id, [after for _, after in held])
    announce(conn, act, [subscription_updated(before, after) for before, after in held])


def apply_paid(conn: Connection, act: Act, paid: Sequence[Invoice]) -> None:
    """Make the changes that waited for these invoices. The customers are locked.

    At a renewal nothing waits, and nothing is read.
    """
    bought = [each for each in paid if each.billing_reason == BillingReason.SUBSCRIPTION_UPDATE]
    if not bought:
        return
    # Read.
    ids = {each.id for each in bought}
    subscription_ids = [each.subscription_id for each in bought if each.subscription_id]
    found = subscriptions.load(conn, act.account_id, subscription_ids)
    waiting = [
        each
        for each in found.values()
        if each.pending_update and each.pending_update["invoice_id"] in ids
    ]
    if not waiting:
        return

    # Decide. What has ended in the meantime does not change any more.
    over = [each for each in waiting if each.status in ENDED]
    drop(conn, act, over)
    pairs = [(each, _applied(each)) for each in waiting if each not in over]
    price_ids = {item.price_id for pair in pairs for each in pair for item in each.items}
    price_ids |= {item.billing_price_id for _, after in pairs for item in after.items}
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    terms = {before.id: _terms(before) for before, _ in pairs}

    # Write.
    write_changed(conn, act, pairs, sold, terms)
    announce(
        conn,
        act,
        [
            Announcement(
                "customer.subscription.pending_update_applied", "subscription", after.id, after
            )
            for _, after in pairs
        ],
    )


def drop_voided(conn: Connection, act: Act, void: Sequence[Invoice]) -> None:
    """Forget the changes that waited for these invoices, which are void. The customers are locked.

    Nothing is read where none is an update's.
    """
    wrong = [each for each in void if each.billing_reason == BillingReason.SUBSCRIPTION_UPDATE]
    if not wrong:
        return
    ids = {each.id for each in wrong}
    subscription_ids = [each.subscription_id for each in wrong if each.subscription_id]
    found = subscriptions.load(conn, act.account_id, subscription_ids)
    drop(
        conn,
        act,
        [
            each
            for each in found.values()
            if each.pending_update and each.pending_update["invoice_id"] in ids
        ],
    )


def drop(conn: Connection, act: Act, waiting: Sequence[Subscription]) -> None:
    """Forget the pending updates, whatever becomes of their invoices. The customers are locked."""
    dropped = [(each, _without(each)) for each in waiting]
    subscriptions.update_many(conn, act.account_id, [after for _, after in dropped])
    announce(conn, act, [subscription_updated(before, after) for before, after in dropped])


def write_changed(
    conn: Connection,
    act: Act,
    pairs: Sequence[tuple[Subscription, Subscription]],
    sold: Catalog,
    terms: Mapping[str, Terms] | None = None,
) -> None:
    """Write what subscriptions and their items are now, and say so. The customers are locked.

    A change of what is sold is logged with the ``terms`` of its subscription (see ``Terms``).
    """
    moved = [(before, after) for before, after in pairs if after != before]
    if not moved:
        return
    agree_limits(conn, act, moved)
    new = [each for before, after in moved for each in _new_items(before, after)]
    subscription_items.delete_many(
        conn,
        act.account_id,
        [each.id for before, after in moved for each in _new_items(after, before)],
    )
    subscription_items.update_many(
        conn,
        act.account_id,
        [
            each
            for before, after in moved
            for each in after.items
            if each not in before.items and each not in new
        ],
    )
    subscription_items.insert_many(conn, act.account_id, new)
    subscriptions.update_many(conn, act.account_id, [after for _, after in moved])
    open_windows(conn, act, [_with_new_windows(before, after) for before, after in moved], sold)
    terms = terms or {}
    own = [pair for pair in moved if not terms.get(pair[1].id, Terms()).is_scheduled]
    carry_items(conn, act, own)
    log_changes(conn, act, moved, sold, terms)
    said = [subscription_updated(before, after) for before, after in moved]
    said += [
        trial_will_end(after) for before, after in moved if reminds_at_once(before, after, act.now)
    ]
    announce(conn, act, said)


def shown_after(subscription: Subscription) -> Subscription | None:
    """What the subscription will be once its pending update is paid; None without one."""
    return _applied(subscription) if subscription.pending_update else None


def _applied(waiting: Subscription) -> Subscription:
    pending = waiting.pending_update
    assert pending is not None
    wanted = msgspec.convert(pending["subscription"], Subscription)
    now = {item.id: item for item in waiting.items}
    items = tuple(_in_its_period(each, now.get(each.id)) for each in wanted.items)
    values: dict[str, Any] = {name: getattr(wanted, name) for name in pending["names"]}
    return replace(
        waiting,
        **values | {"items": items, "pending_update": None, "pending_update_expires_at": None},
    )


def _terms(waiting: Subscription) -> Terms:
    """How the change that waited was billed; one that was held before there were terms has none."""
    pending = waiting.pending_update
    assert pending is not None
    if "terms" not in pending:
        return Terms(ProrationBehavior.ALWAYS_INVOICE, invoice_id=pending["invoice_id"])
    return replace(msgspec.convert(pending["terms"], Terms), effective_at=None)


def _in_its_period(wanted: Item, present: Item | None) -> Item:
    """Where a period has closed in the meantime, whatever the payment took, that one goes on."""
    if present is None or present.period_start < wanted.period_end:
        return wanted
    return replace(wanted, **{name: getattr(present, name) for name in _OF_THE_PERIOD})


def _without(waiting: Subscription) -> Subscription:
    pending = waiting.pending_update
    assert pending is not None
    latest = waiting.latest_invoice_id
    if latest == pending["invoice_id"]:
        latest = pending["former_invoice_id"]
    return replace(
        waiting, pending_update=None, pending_update_expires_at=None, latest_invoice_id=latest
    )


def _changed_names(before: Subscription, after: Subscription) -> list[str]:
    return [
        each.name
        for each in fields(before)
        if each.name not in _NEVER_APPLIED
        and getattr(before, each.name) != getattr(after, each.name)
    ]


def _new_items(before: Subscription, after: Subscription) -> list[Item]:
    known = {item.id for item in before.items}
    return [item for item in after.items if item.id not in known]


def _with_new_windows(before: Subscription, after: Subscription) -> Subscription:
    """The subscription with only those items whose usage is billed otherwise from now on."""
    had = {_window(item) for item in before.items}
    return replace(after, items=tuple(each for each in after.items if _window(each) not in had))


def _window(item: Item) -> tuple[object, ...]:
    return item.id, item.billing_price_id, item.price_id, item.usage_start, item.period_end
