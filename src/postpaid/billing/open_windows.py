"""Open the windows that subscriptions bill, so that their totals are kept as usage arrives.

A window is opened one period ahead, while nothing can be in it yet; only the first is opened over
usage that may be there already. A window that is not open is billed all the same, from its hours
and events: to open it makes it one row to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from postpaid.billing.perform import Act
from postpaid.core.cycles import ends_now, following
from postpaid.core.subscriptions import Catalog, Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import alerts, usage, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window

AHEAD = timedelta(hours=12)
"""No meter takes events from further in the future."""


def open_windows(
    conn: Connection, act: Act, subscriptions: Sequence[Subscription], sold: Catalog
) -> None:
    """Open the present and the next window of every metered item.

    One that is open already, for another subscription, looks for alerts again.
    """
    # Decide.
    windows = [
        window
        for subscription in subscriptions
        for window in _windows(subscription, sold, ahead=(0, 1))
    ]
    if not windows:
        return

    # Write.
    pairs = sorted({(window.customer_id, window.meter_id) for window in windows})
    held = bool(usage.find_series(conn, act.account_id, pairs))
    if held:
        usage.hold_alone(conn, act.account_id)  # before others could wait for a series of ours
    ids, made = usage.make_series(conn, act.account_id, pairs)
    alerts.open_all_time_of_new(conn, act.account_id, made)
    new = {pair for pair in pairs if ids[pair] in set(made)}
    usage_totals.open_empty(
        conn, act.account_id, [each for each in windows if (each.customer_id, each.meter_id) in new]
    )
    used = [each for each in windows if (each.customer_id, each.meter_id) not in new]
    if used and not held:
        usage.hold_alone(conn, act.account_id)
    usage_totals.open_computed(conn, act.account_id, used)


def open_next_windows(
    conn: Connection, act: Act, renewed: Sequence[Subscription], sold: Catalog
) -> None:
    """Open the window after the present one of every metered item, by the batch.

    Whoever closes late may find that it has begun; then what is in it is counted first.
    """
    windows = [
        window for subscription in renewed for window in _windows(subscription, sold, ahead=(1,))
    ]
    begun = [window for window in windows if window.start <= act.now + AHEAD]
    usage_totals.open_empty(
        conn, act.account_id, [window for window in windows if window.start > act.now + AHEAD]
    )
    if begun:
        usage.hold_alone(conn, act.account_id)
        usage_totals.open_computed(conn, act.account_id, begun)


def _windows(subscription: Subscription, sold: Catalog, *, ahead: tuple[int, ...]) -> list[Window]:
    """The windows of its metered items that are so many periods ahead of the present ones."""
    windows = []
    for item in subscription.items:
        running = sold[item.billing_price_id].price.meter_id
        coming = sold[item.price_id].price.meter_id
        trial = subscription.status == SubscriptionStatus.TRIALING  # nothing in it is billed
        if 0 in ahead and running is not None and not trial:
            windows.append(
                Window(subscription.customer_id, running, item.usage_start, item.period_end)
            )
        if 1 in ahead and coming is not None and (then := _next(subscription, item, sold)):
            windows.append(
                Window(subscription.customer_id, coming, then.period_start, then.period_end)
            )
    return windows


def _next(subscription: Subscription, item: Item, sold: Catalog) -> Item | None:
    """The item in its next period; None where there is to be none, or it cannot be told yet."""
    if ends_now(replace(subscription, closes_at=item.period_end)):
        return None
    try:
        return following(subscription, item, sold)
    except ValueError:  # its closing says why
        return None
