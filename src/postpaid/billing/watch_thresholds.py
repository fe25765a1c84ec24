"""Usage has grown → subscriptions whose thresholds it may have reached are noted.

In the transaction that stores the usage, which takes no customer's lock for it and waits for
nobody: whether a threshold is reached is decided exactly, and billed, by ``bill_thresholds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.billing.perform import Act
from postpaid.billing.take_stock import measure_at_present
from postpaid.core.subscriptions import Catalog, Subscription
from postpaid.core.thresholds import (
    Standing,
    look_at,
    may_bill,
    metered_items,
    reaches_amount,
    standings,
)
from postpaid.storage import catalog, customers, subscriptions, thresholds
from postpaid.storage.database import Connection
from postpaid.storage.usage import ALERT_AT_ONCE
from postpaid.storage.usage_totals import Window

Pair = tuple[str, str]
"""A customer and a meter."""


@dataclass(frozen=True, slots=True)
class Waits:
    """From which quantity on windows are to be looked at again, for thresholds."""

    pairs: Set[Pair] = frozenset()
    windows: Mapping[tuple[str, str, datetime, datetime], Decimal] = field(default_factory=dict)

    def of(self, pair: Pair, start: datetime, end: datetime) -> Decimal | None:
        """None when no threshold waits for the window."""
        if pair not in self.pairs:
            return None
        return self.windows.get((*pair, start, end), ALERT_AT_ONCE)


def watch_thresholds(conn: Connection, act: Act, grown: Set[Pair]) -> Waits:
    """Note those of the subscriptions that bill the usage whose thresholds may be reached.

    One statement when there are no thresholds.
    """
    # Read.
    ids = thresholds.watched(conn, act.account_id, sorted(grown))
    if not ids:
        return Waits()
    running = list(subscriptions.load(conn, act.account_id, ids).values())
    sold = read_catalog(conn, act, running)
    used = measure_at_present(conn, act, windows_of(running, sold))
    people = customers.load(conn, act.account_id, {each.customer_id for each in running})

    # Decide.
    noted = []
    pairs: set[Pair] = set()
    waits: dict[tuple[str, str, datetime, datetime], Decimal] = {}
    for each in running:
        now = people[each.customer_id].now(act.now)
        if may_bill(each, now) and _reached(each, standings(each, sold, used, now=now)):
            noted.append(each.id)
        for item in metered_items(each, sold):
            meter_id = sold[item.billing_price_id].price.meter_id
            assert meter_id is not None, "a metered price has a meter"
            pairs.add((each.customer_id, meter_id))
            window = each.customer_id, meter_id, item.usage_start, item.period_end
            wait = look_at(each, item, sold)
            at = ALERT_AT_ONCE if wait is None else wait
            waits[window] = min(at, waits.get(window, at))

    # Write.
    thresholds.insert_many(conn, act.account_id, noted)
    return Waits(pairs, waits)


def _reached(subscription: Subscription, found: list[Standing]) -> bool:
    return reaches_amount(subscription, found) or any(each.reaches_usage for each in found)


def read_catalog(conn: Connection, act: Act, running: list[Subscription]) -> Catalog:
    """What bills the usage of the subscriptions' running windows, and what they are for."""
    ids = {
        price_id
        for each in running
        for item in each.items
        for price_id in (item.price_id, item.billing_price_id)
    }
    return catalog.load_sold(conn, act.account_id, ids)


def windows_of(running: list[Subscription], sold: Catalog) -> dict[str, Window]:
    """The running window of every metered item, by the item's id."""
    windows = {}
    for each in running:
        for item in metered_items(each, sold):
            meter_id = sold[item.billing_price_id].price.meter_id
            assert meter_id is not None, "a metered price has a meter"
            windows[item.id] = Window(each.customer_id, meter_id, item.usage_start, item.period_end)
    return windows
