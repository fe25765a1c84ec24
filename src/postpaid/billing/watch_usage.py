"""Usage has grown → the alerts that wait for it, decided in the transaction that stores it.

A window remembers from which quantity on it is to be looked at, so that most events cost nothing
here. Its row is ours when we look, so one transaction at a time decides about it; and what was sent
is written under a unique key, so that an alert is sent once whatever happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.billing.take_stock import measure_at_present
from postpaid.billing.watch_quotas import watch_quotas
from postpaid.billing.watch_thresholds import Waits, watch_thresholds
from postpaid.core.alerts import (
    ALL_TIME_KEY,
    Alert,
    AlertRecurrence,
    Decision,
    Outlook,
    TriggeredAlert,
    decide,
)
from postpaid.core.allotments import position
from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.lines import obligation_of
from postpaid.core.metering import Aggregation, billable_quantity
from postpaid.core.periods import Period, index_at, period_at_index
from postpaid.core.subscriptions import Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import alerts, catalog, customers, subscriptions
from postpaid.storage.alerts import Firing
from postpaid.storage.database import Connection
from postpaid.storage.usage import ALERT_AT_ONCE, ALL_TIME
from postpaid.storage.usage_totals import Watched, Window


@dataclass(frozen=True, slots=True)
class Crossing:
    """A window whose usage has reached the quantity from which on it is to be looked at.

    ``quantity`` is the billable one after this transaction's events, and None where it is not kept
    and has to be measured. The window's row is locked by us.
    """

    series_id: int
    customer_id: str
    meter_id: str
    start_at: datetime
    end_at: datetime
    quantity: Decimal | None

    @property
    def row(self) -> tuple[int, datetime, datetime]:
        return self.series_id, self.start_at, self.end_at

    @property
    def of_all_time(self) -> bool:
        return (self.start_at, self.end_at) == ALL_TIME

    @property
    def recurrence(self) -> AlertRecurrence:
        if self.of_all_time:
            return AlertRecurrence.ONE_TIME
        return AlertRecurrence.BILLING_PERIOD


@dataclass(frozen=True, slots=True)
class _Billed:
    """What an alert looks at in a crossing, and of which item; None for all usage."""

    outlook: Outlook
    subscription: Subscription | None = None
    item: Item | None = None


def watch_windows(
    conn: Connection,
    act: Act,
    watched: Sequence[Watched],
    owners: Mapping[int, tuple[str, str]],
    aggregations: Mapping[int, Aggregation],
) -> None:
    """Send the alerts that the new totals of windows call for.

    ``owners`` are the customer and meter of every series.
    """
    crossings = []
    for window in watched:
        customer_id, meter_id = owners[window.series_id]
        aggregation = aggregations[window.series_id]
        quantity = billable_quantity(aggregation, window.total) if aggregation.combines else None
        if quantity is None or quantity >= window.alert_at:
            crossings.append(
                Crossing(
                    window.series_id,
                    customer_id,
                    meter_id,
                    window.start_at,
                    window.end_at,
                    quantity,
                )
            )
    if crossings:
        watch(conn, act, crossings)


def watch(conn: Connection, act: Act, crossings: Sequence[Crossing]) -> None:
    """Send the alerts that the windows' usage has reached, each once for its window.

    Says ``billing.alert.triggered`` for each, at the customer's time, with the position in it; and
    writes down from which quantity on each window is to be looked at again. The number of
    statements does not depend on how many the crossings are, but for one or two more for each test
    clock among them.
    """
    # Read.
    grown = {(each.customer_id, each.meter_id) for each in crossings if not each.of_all_time}
    waiting = watch_thresholds(conn, act, grown) if grown else Waits()
    watching = _watching(conn, act, crossings)
    looked_at = [crossing for crossing in crossings if watching[crossing]]
    billed = _read_billed(conn, act, looked_at)
    sent = alerts.fired(
        conn,
        act.account_id,
        {alert.id for crossing in looked_at for alert in watching[crossing]},
        {(each.customer_id, what.outlook.key) for each in billed for what in billed[each]},
    )

    # Decide.
    decided = [
        (crossing, what, _decide(watching[crossing], crossing, what, sent))
        for crossing in billed
        for what in billed[crossing]
    ]

    # Write.
    new = alerts.fire(
        conn,
        act.account_id,
        [
            Firing(alert.id, crossing.customer_id, what.outlook.key, what.outlook.quantity)
            for crossing, what, decision in decided
            for alert in decision.due
        ],
        fired_at=act.now,
    )
    if new:
        _announce(conn, act, decided, new)
    counted = {(each.customer_id, each.meter_id) for each in crossings if each.of_all_time}
    with_quotas = watch_quotas(conn, act, counted) if counted else set()
    alerts.look_at(conn, _look_at(crossings, decided, waiting, with_quotas))


# ─── Reading ─────────────────────────────────────────────────────────────────────────────────


def _watching(
    conn: Connection, act: Act, crossings: Sequence[Crossing]
) -> dict[Crossing, list[Alert]]:
    """The active alerts that each crossing is a matter of."""
    active = alerts.load_active(
        conn,
        act.account_id,
        {crossing.meter_id for crossing in crossings},
        {crossing.customer_id for crossing in crossings},
    )
    by_meter: dict[tuple[str, AlertRecurrence], list[Alert]] = {}
    for alert in active:
        by_meter.setdefault((alert.meter_id, alert.recurrence), []).append(alert)
    return {
        crossing: [
            alert
            for alert in by_meter.get((crossing.meter_id, crossing.recurrence), ())
            if alert.watches(crossing.meter_id, crossing.customer_id)
        ]
        for crossing in crossings
    }


def _read_billed(
    conn: Connection, act: Act, crossings: Sequence[Crossing]
) -> dict[Crossing, list[_Billed]]:
    """What is billed of each crossing: its items in that very window; all usage is one thing."""
    of_items = [crossing for crossing in crossings if not crossing.of_all_time]
    found: dict[Crossing, list[_Billed]] = {}
    for crossing in crossings:
        if crossing.of_all_time:
            assert crossing.quantity is not None, "a one-time alert is of a quantity that is kept"
            found[crossing] = [_Billed(Outlook(ALL_TIME_KEY, crossing.quantity))]
    if not of_items:
        return found
    running = subscriptions.load(
        conn,
        act.account_id,
        alerts.billed_by(
            conn,
            act.account_id,
            {(crossing.customer_id, crossing.meter_id) for crossing in of_items},
            since=min(crossing.end_at for crossing in of_items),
        ),
    )
    prices = catalog.load_prices(
        conn, act.account_id, {item.price_id for each in running.values() for item in each.items}
    )
    items: dict[tuple[str, str], list[tuple[Subscription, Item]]] = {}
    for subscription in running.values():
        for item in subscription.items:
            if meter_id := prices[item.price_id].meter_id:
                pair = subscription.customer_id, meter_id
                items.setdefault(pair, []).append((subscription, item))
    quantities = _quantities(conn, act, of_items)
    for crossing in of_items:
        found[crossing] = [
            _Billed(
                Outlook(
                    obligation_of(then).name,
                    quantities[crossing],
                    position(
                        prices[item.price_id].model,
                        Period(then.period_start, then.period_end),
                        quantities[crossing],
                    ),
                ),
                subscription,
                then,
            )
            for subscription, item in items.get((crossing.customer_id, crossing.meter_id), ())
            if (then := _in_window(subscription, item, prices[item.price_id], crossing))
        ]
    return found


def _in_window(
    subscription: Subscription, item: Item, price: Price, crossing: Crossing
) -> Item | None:
    """The item in the period that is the crossing's window, past or to come; None if none is.

    A period that a subscription did not see the end of bills nothing.
    """
    assert price.recurrence is not None, "an item's price recurs"
    if subscription.status == SubscriptionStatus.INCOMPLETE_EXPIRED:
        return None
    starts_at = subscription.start_at
    if subscription.status == SubscriptionStatus.TRIALING:  # until it ends nothing is billed
        starts_at = subscription.trial_end_at or starts_at
    if crossing.start_at < starts_at:
        return None
    if (item.usage_start, item.period_end) == (crossing.start_at, crossing.end_at):
        return item  # which may be a part of a period
    zone = zone_of(subscription)
    index = index_at(subscription.anchor_at, price.recurrence, crossing.start_at, zone)
    period = period_at_index(subscription.anchor_at, price.recurrence, index, zone)
    if (period.start, period.end) != (crossing.start_at, crossing.end_at):
        return None
    if subscription.ended_at is not None and period.end > subscription.ended_at:
        return None
    return replace(
        item,
        period_index=index,
        period_start=period.start,
        period_end=period.end,
        usage_from=None,
    )


def _quantities(
    conn: Connection, act: Act, crossings: Sequence[Crossing]
) -> dict[Crossing, Decimal]:
    """The billable quantity of each, measured where it is not kept."""
    unknown = {
        str(place): Window(each.customer_id, each.meter_id, each.start_at, each.end_at)
        for place, each in enumerate(crossings)
        if each.quantity is None
    }
    measured = measure_at_present(conn, act, unknown) if unknown else {}
    return {
        each: measured[str(place)] if each.quantity is None else each.quantity
        for place, each in enumerate(crossings)
    }


# ─── Deciding ────────────────────────────────────────────────────────────────────────────────


def _decide(
    watching: Sequence[Alert],
    crossing: Crossing,
    what: _Billed,
    sent: set[tuple[str, str, str]],
) -> Decision:
    key = what.outlook.key
    before = {
        (alert.id, key) for alert in watching if (alert.id, crossing.customer_id, key) in sent
    }
    return decide(watching, what.outlook, before)


def _look_at(
    crossings: Sequence[Crossing],
    decided: Sequence[tuple[Crossing, _Billed, Decision]],
    waiting: Waits,
    with_quotas: set[tuple[str, str]],
) -> dict[tuple[int, datetime, datetime], Decimal | None]:
    """The lowest quantity that anything in each window waits for; None where nothing does."""
    waits: dict[tuple[int, datetime, datetime], list[Decimal]] = {
        crossing.row: [] for crossing in crossings
    }
    for crossing, _, decision in decided:
        if decision.look_at is not None:
            # What has to be measured is not seen to reach a quantity.
            known = crossing.quantity is not None
            waits[crossing.row].append(decision.look_at if known else ALERT_AT_ONCE)
        if decision.look_always:
            waits[crossing.row].append(ALERT_AT_ONCE)
    for crossing in crossings:
        pair = crossing.customer_id, crossing.meter_id
        if crossing.of_all_time and pair in with_quotas:
            waits[crossing.row].append(ALERT_AT_ONCE)
        wait = waiting.of(pair, crossing.start_at, crossing.end_at)
        if wait is not None and not crossing.of_all_time:
            known = crossing.quantity is not None
            waits[crossing.row].append(wait if known else ALERT_AT_ONCE)
    return {row: min(quantities, default=None) for row, quantities in waits.items()}


# ─── Saying ──────────────────────────────────────────────────────────────────────────────────


def _announce(
    conn: Connection,
    act: Act,
    decided: Sequence[tuple[Crossing, _Billed, Decision]],
    new: set[tuple[str, str, str]],
) -> None:
    """Say that the alerts were sent, each at the time of its customer."""
    customer_by_id = customers.load(conn, act.account_id, {firing[1] for firing in new})
    said: dict[str | None, tuple[Act, list[Announcement]]] = {}
    for crossing, what, decision in decided:
        customer = customer_by_id.get(crossing.customer_id)
        for alert in decision.due:
            if (alert.id, crossing.customer_id, what.outlook.key) not in new:
                continue
            assert customer is not None, "who uses something is there"
            at = act.at(customer.now(act.now), customer.clock_id)
            _, announcements = said.setdefault(customer.clock_id, (at, []))
            announcements.append(_announcement(alert, crossing, what, at.now))
    for at, announcements in said.values():
        announce(conn, at, announcements)


def _announcement(alert: Alert, crossing: Crossing, what: _Billed, now: datetime) -> Announcement:
    triggered = TriggeredAlert(
        alert=alert,
        customer_id=crossing.customer_id,
        quantity=what.outlook.quantity,
        created_at=now,
        subscription_id=what.subscription.id if what.subscription else None,
        item_id=what.item.id if what.item else None,
        currency=what.subscription.currency if what.subscription else None,
        position=what.outlook.position,
    )
    return Announcement("billing.alert.triggered", "triggered_alert", alert.id, triggered)
