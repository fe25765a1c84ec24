"""Where customers stand in the windows that their quotas are of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from postpaid.billing.perform import Act
from postpaid.billing.take_stock import measure_at_present
from postpaid.core.allotments import bill
from postpaid.core.calendar_windows import Step, floor, windows_between
from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.periods import Recurrence, index_at, period_at_index
from postpaid.core.subscriptions import RENEWING, Subscription
from postpaid.core.usage_quotas import Standing
from postpaid.storage import accounts, catalog, customers, meters, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage_totals import Window

MONTH = timedelta(days=32)  # is in the next one

Pair = tuple[str, str]  # a customer and a meter


@dataclass(frozen=True, slots=True)
class _Span:
    """A customer's window: whose period it is, and how often there is one."""

    start: datetime
    end: datetime
    subscription_id: str | None = None
    recurrence: Recurrence | None = None


@dataclass(frozen=True, slots=True)
class Stood:
    """A standing, with the meter that it is of and how often the window comes again."""

    standing: Standing
    meter: Meter
    recurrence: Recurrence | None  # None: a calendar month


def stand(conn: Connection, act: Act, pairs: Collection[Pair]) -> dict[Pair, Stood]:
    """What the customers used of the meters in their present windows; a few statements for all.

    A window is the running period of the customer's first subscription; without one it is the
    calendar month, in the customer's time zone.
    """
    # Read.
    customer_ids = sorted({customer_id for customer_id, _ in pairs})
    owners = customers.load(conn, act.account_id, customer_ids)
    running = subscriptions.running_of_customers(conn, act.account_id, customer_ids)
    metered = meters.load(conn, act.account_id, {meter_id for _, meter_id in pairs})
    prices = catalog.load_prices(
        conn,
        act.account_id,
        {each.price_id for each in metered.values() if each.price_id}
        | {item.price_id for each in running.values() for item in each.items[:1]},
    )
    zone = accounts.time_zone(conn, act.account_id)

    # Decide.
    first: dict[str, Subscription] = {}
    for each in running.values():
        if each.status in RENEWING and each.items:
            first.setdefault(each.customer_id, each)
    spans = {
        key: _span(owner, first.get(key), prices, owner.now(act.now), zone)
        for key, owner in owners.items()
    }
    used = measure_at_present(
        conn,
        act,
        {"/".join(pair): Window(*pair, spans[pair[0]].start, spans[pair[0]].end) for pair in pairs},
    )
    stood = {}
    for pair in pairs:
        span, meter = spans[pair[0]], metered[pair[1]]
        price = prices.get(meter.price_id or "")
        quantity = used["/".join(pair)]
        standing = Standing(
            *pair,
            start_at=span.start,
            end_at=span.end,
            quantity=quantity,
            amount=bill(price.model, quantity) if price else None,
            currency=price.currency if price else None,
            subscription_id=span.subscription_id,
        )
        stood[pair] = Stood(standing, meter, span.recurrence)
    return stood


def _span(
    owner: Customer,
    subscription: Subscription | None,
    prices: Mapping[str, Price],
    now: datetime,
    zone: str,
) -> _Span:
    if subscription is None or now < subscription.start_at:
        return _month(now, _zone(owner.time_zone or zone))
    item = subscription.items[0]
    recurrence = prices[item.price_id].recurrence
    if item.period_start <= now < item.period_end or recurrence is None:
        return _Span(item.period_start, item.period_end, subscription.id, recurrence)
    # The period has ended, or not begun, and nobody has closed it yet.
    calendar = zone_of(subscription)
    index = index_at(subscription.anchor_at, recurrence, now, calendar)
    period = period_at_index(subscription.anchor_at, recurrence, index, calendar)
    return _Span(period.start, period.end, subscription.id, recurrence)


def _month(now: datetime, zone: tzinfo) -> _Span:
    start = floor(now, Step.MONTH, zone)
    [(_, end), *_] = windows_between(start, start + MONTH, Step.MONTH, zone)
    return _Span(start, end)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
