"""Where the metered items of subscriptions stand, as of the last event that was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.core.allotments import Position, position
from postpaid.core.lines import obligation_of
from postpaid.core.periods import Period
from postpaid.core.subscriptions import Item, Subscription
from postpaid.storage import catalog, customers
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window


@dataclass(frozen=True, slots=True)
class Stock:
    """A metered item and where it stands in the window that its subscription bills next.

    When the subscription has ended, that is the last one it had.
    """

    subscription: Subscription
    item: Item
    meter_id: str
    position: Position


def take_stock(conn: Connection, act: Act, subscriptions: Sequence[Subscription]) -> list[Stock]:
    """Every metered item of the subscriptions, in their order; a few statements for all of them.

    Of a level that lasts, what is counted ends at the customer's present.
    """
    # Read.
    prices = catalog.load_prices(
        conn,
        act.account_id,
        {item.billing_price_id for each in subscriptions for item in each.items},
    )
    metered = [
        (subscription, item, meter_id)
        for subscription in subscriptions
        for item in subscription.items
        if (meter_id := prices[item.billing_price_id].meter_id) is not None
    ]
    windows = {
        obligation_of(item).name: Window(
            subscription.customer_id, meter_id, item.usage_start, item.period_end
        )
        for subscription, item, meter_id in metered
    }
    used = measure_at_present(conn, act, windows)

    # Decide.
    return [
        Stock(
            subscription,
            item,
            meter_id,
            position(
                prices[item.billing_price_id].model,
                Period(item.usage_start, item.period_end),
                used[obligation_of(item).name],
            ),
        )
        for subscription, item, meter_id in metered
    ]


def measure_at_present(
    conn: Connection, act: Act, windows: Mapping[str, Window]
) -> dict[str, Decimal]:
    """The quantity to bill for each window as of its customer's present, by name.

    All who are on no test clock live at one time, so that a clock costs statements and not a
    customer.
    """
    customer_by_id = customers.load(
        conn, act.account_id, {window.customer_id for window in windows.values()}
    )
    by_time: dict[datetime, dict[str, Window]] = {}
    for name, window in windows.items():
        now = customer_by_id[window.customer_id].now(act.now)
        by_time.setdefault(now, {})[name] = window
    measured: dict[str, Decimal] = {}
    for now, of_time in by_time.items():
        measured |= measure(conn, act.account_id, of_time, now=now)
    return measured
