"""Where customers stand in the windows that their quotas are of, or would be of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal, localcontext

from postpaid.billing.perform import Act
from postpaid.billing.take_stock import measure_at_present
from postpaid.core.allotments import bill
from postpaid.core.calendar_windows import Step, floor, windows_between
from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.money import EXACT
from postpaid.core.periods import Recurrence, index_at, period_at_index, zone_called
from postpaid.core.subscriptions import RENEWING, Subscription
from postpaid.core.usage_quotas import Standing, UsageQuota, percentage, quota_of
from postpaid.storage import (
    accounts,
    billed_usage,
    catalog,
    customers,
    meters,
    subscriptions,
    usage_quotas,
)
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


@dataclass(frozen=True, slots=True)
class Accumulated:
    """What a customer used of the meters that have a price, in its present window.

    ``amount`` is what that comes to in minor units, and ``currency`` theirs; None where there is no
    price, or several currencies. ``quantity`` is of all these meters together.
    """

    start_at: datetime
    end_at: datetime
    subscription_id: str | None
    recurrence: Recurrence | None  # None: a calendar month
    quantity: Decimal
    amount: int | None
    currency: str | None


def accumulate(
    conn: Connection, act: Act, customer_id: str, meter_id: str | None = None
) -> Accumulated:
    """What comes together in a customer's window, with a quota or without; of one meter, or all.

    Raises ``KeyError`` for a customer that there is not.
    """
    # Read.
    span = _spans(conn, act, [customer_id])[customer_id]
    used = {
        (each.customer_id, each.meter_id)
        for each in billed_usage.priced(conn, act.account_id, [customer_id])
        if meter_id in (None, each.meter_id)
    }

    # Decide.
    found = [each.standing for each in stand(conn, act, used).values()] if used else []
    currencies = {each.currency for each in found}
    amounts = [each.amount for each in found if each.amount is not None]
    with localcontext(EXACT):
        quantity = sum((each.quantity for each in found), Decimal(0))
    return Accumulated(
        span.start,
        span.end,
        span.subscription_id,
        span.recurrence,
        quantity,
        sum(amounts) if len(amounts) == len(found) and len(currencies) < 2 else None,
        currencies.pop() if len(currencies) == 1 else None,
    )


def stand_in_all(
    conn: Connection,
    act: Act,
    customer_id: str,
    *,
    meter_id: str | None = None,
    quota_id: str | None = None,
) -> list[tuple[UsageQuota, Stood]]:
    """Where the customer stands in each quota that counts for it, first in what it used most of.

    Of one meter, or one quota, where that is named. A few statements for all.
    """
    # Read.
    quotas = usage_quotas.load_watching(
        conn, act.account_id, [customer_id], None if meter_id is None else [meter_id]
    )
    counting = {
        pair: quota
        for pair in {(customer_id, each.meter_id) for each in quotas}
        if (quota := quota_of(quotas, *pair)) and quota_id in (None, quota.id)
    }
    stood = stand(conn, act, sorted(counting)) if counting else {}

    # Decide.
    return sorted(
        ((counting[pair], each) for pair, each in stood.items()),
        key=lambda found: percentage(found[0], found[1].standing) or Decimal(0),
        reverse=True,
    )


def stand(conn: Connection, act: Act, pairs: Collection[Pair]) -> dict[Pair, Stood]:
    """What the customers used of the meters in their present windows; a few statements for all.

    A window is the running period of the customer's first subscription; without one it is the
    calendar month, in the customer's time zone.
    """
    # Read.
    spans = _spans(conn, act, sorted({customer_id for customer_id, _ in pairs}))
    metered = meters.load(conn, act.account_id, {meter_id for _, meter_id in pairs})
    prices = catalog.load_prices(
        conn, act.account_id, {each.price_id for each in metered.values() if each.price_id}
    )
    used = measure_at_present(
        conn,
        act,
        {"/".join(pair): Window(*pair, spans[pair[0]].start, spans[pair[0]].end) for pair in pairs},
    )

    # Decide.
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


def _spans(conn: Connection, act: Act, customer_ids: Sequence[str]) -> dict[str, _Span]:
    """The customers' present windows."""
    owners = customers.load(conn, act.account_id, customer_ids)
    running = subscriptions.running_of_customers(conn, act.account_id, customer_ids)
    first: dict[str, Subscription] = {}
    for each in running.values():
        if each.status in RENEWING and each.items:
            first.setdefault(each.customer_id, each)
    prices = catalog.load_prices(
        conn, act.account_id, {each.items[0].price_id for each in first.values()}
    )
    zone = accounts.time_zone(conn, act.account_id)
    return {
        key: _span(owner, first.get(key), prices, owner.now(act.now), zone)
        for key, owner in owners.items()
    }


def _span(
    owner: Customer,
    subscription: Subscription | None,
    prices: Mapping[str, Price],
    now: datetime,
    zone: str,
) -> _Span:
    if subscription is None or now < subscription.start_at:
        return _month(now, zone_called(owner.time_zone or zone))
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
