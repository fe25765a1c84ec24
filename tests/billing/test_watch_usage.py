"""Alerts are sent once, in the transaction that stores what they wait for, with the position."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from postpaid.billing import manage_alerts, manage_catalog, manage_meters
from postpaid.billing.change import cancel_now
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.billing.watch_usage import Crossing, watch
from postpaid.core.alerts import Alert, AlertRecurrence, TriggeredAlert
from postpaid.core.allotments import Position
from postpaid.core.catalog import UsageType
from postpaid.core.errors import InvalidRequest
from postpaid.core.metering import Aggregation
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import Subscription
from postpaid.storage import catalog, events, meters, subscriptions, usage
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from postpaid.storage.usage import ALERT_AT_ONCE
from statements import counted
from world import END, HOUR, START, World, make_world

ONE_TIME, BILLING_PERIOD = AlertRecurrence.ONE_TIME, AlertRecurrence.BILLING_PERIOD
MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(database: Database) -> World:
    return with_windows(make_world(database, 3))


def with_windows(world: World) -> World:
    """The world with its subscriptions' windows open, as they are when they begin."""
    with world.database.transaction() as conn:
        running = subscriptions.load(conn, world.act.account_id, world.subscription_ids)
        sold = catalog.load_sold(conn, world.act.account_id, [world.licence_id, world.metered_id])
        open_windows(conn, world.act, list(running.values()), sold)
    return world


def report(
    world: World,
    value: str,
    *,
    customers: slice | int = 0,
    at: datetime = START + HOUR,
    now: datetime | None = None,
    event_name: str = "api_call",
    conn: Connection | None = None,
) -> None:
    """An event of these customers of the world's, by their places, in one transaction."""
    chosen = world.customer_ids[customers]
    ids = [chosen] if isinstance(chosen, str) else chosen
    reported = Reported(
        [event_name] * len(ids),
        [{"stripe_customer_id": customer_id, "value": value} for customer_id in ids],
        [None] * len(ids),
        [int(at.timestamp() * 1000)] * len(ids),
    )
    if conn is not None:
        assert record_usage(conn, world.at(now or at), reported).errors == {}
        return
    with world.database.transaction() as own:
        assert record_usage(own, world.at(now or at), reported).errors == {}


def create(world: World, **given: Any) -> Alert:
    """An alert of the world's meter: of all usage by quantity, or else of every billing window."""
    values: dict[str, Any] = {"gte": None, "percent": None, "amount": None, "customer_id": None}
    values |= {"title": "High", "meter_id": world.meter_id, "recurrence": BILLING_PERIOD} | given
    if values["gte"] is not None:
        values["gte"] = Decimal(values["gte"])
    return change(world, manage_alerts.create_alert, **values)


def change(world: World, verb: Callable[..., Alert], *given: Any, **named: Any) -> Alert:
    with world.database.transaction() as conn:
        return verb(conn, world.act, *given, **named)


def sent(world: World) -> list[TriggeredAlert]:
    """What was said, oldest first."""
    return [
        msgspec.json.decode(event.snapshot, type=TriggeredAlert) for event in sent_events(world)
    ]


def sent_events(world: World) -> list[events.Event]:
    with world.database.connection() as conn:
        page = events.list_page(
            conn, world.act.account_id, Page(100), types=["billing.alert.triggered"]
        )
    assert not page.has_more
    return page.rows[::-1]


def quantities(world: World) -> list[int]:
    return [int(each.quantity) for each in sent(world)]


def look_at(world: World, place: int = 0) -> list[Decimal | None]:
    """From which quantity on each window of a customer's is looked at, oldest window first."""
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT w.alert_at FROM usage_windows w JOIN usage_series s USING (series_id)"
            " WHERE s.account_id = %s AND s.customer_id = %s ORDER BY w.start_at",
            (world.act.account_id, world.customer_ids[place]),
        )
        return [row[0] for row in rows]


# ─── Once ────────────────────────────────────────────────────────────────────────────────────


def test_a_one_time_alert_is_sent_once_for_each_customer(world: World) -> None:
    create(world, gte="10", recurrence=ONE_TIME)
    report(world, "9")
    assert sent(world) == []
    report(world, "1", customers=slice(0, 2))
    assert quantities(world) == [10]
    report(world, "9", customers=slice(0, 3))
    report(world, "90", customers=slice(0, 3))
    assert quantities(world) == [10, 10, 99]
    assert [each.customer_id for each in sent(world)] == world.customer_ids
    assert {each.position for each in sent(world)} == {None}


def test_what_was_used_before_counts_and_the_next_event_sends(world: World) -> None:
    report(world, "500", at=START + HOUR)
    report(world, "700", at=START - 30 * 24 * HOUR, now=START)
    create(world, gte="1000", recurrence=ONE_TIME)
    create(world, gte="500")
    assert sent(world) == []
    report(world, "1")
    assert sorted(quantities(world)) == [501, 1201]


def test_an_alert_of_the_billing_period_is_sent_once_in_every_window(world: World) -> None:
    create(world, gte="10")
    for value in ("9", "9", "9"):
        report(world, value)
    assert quantities(world) == [18]
    world.pass_time(END + HOUR)
    for value in ("9", "9", "9"):
        report(world, value, at=END + 2 * HOUR)
    assert quantities(world) == [18, 18]
    windows = [each.position.window for each in sent(world) if each.position]
    assert [window.start for window in windows] == [START, END]


def test_usage_that_comes_late_is_its_own_windows(world: World) -> None:
    create(world, gte="10")
    world.pass_time(END)
    report(world, "10", at=END - MINUTE, now=END + MINUTE)
    [late] = sent(world)
    assert late.position is not None
    assert (late.position.window.start, late.position.window.end) == (START, END)


def test_usage_of_the_next_window_may_come_before_that_has_begun(world: World) -> None:
    create(world, gte="10")
    report(world, "10", at=END + MINUTE, now=END - MINUTE)
    [early] = sent(world)
    assert early.position is not None
    assert early.position.window.start == END
    world.pass_time(END + HOUR)
    report(world, "10", at=END + HOUR)
    assert len(sent(world)) == 1


def test_what_was_sent_stays_sent_when_usage_is_taken_back(world: World) -> None:
    create(world, gte="10")
    for value in ("10", "-10", "10"):
        report(world, value)
    assert quantities(world) == [10]


def test_what_is_rolled_back_was_not_sent(world: World) -> None:
    create(world, gte="10")
    crash_after(world, "10")
    assert sent(world) == []
    report(world, "11")
    assert quantities(world) == [11]


class Crash(Exception):
    """What happens to a process at the worst moment."""


def crash_after(world: World, value: str) -> None:
    """Report an event, and be gone before it is committed."""
    with suppress(Crash), world.database.transaction() as conn:
        report(world, value, conn=conn)
        raise Crash


def lose_the_database_after(world: World, value: str) -> None:
    """Report an event over a connection that is cut before it is committed."""
    with suppress(psycopg.OperationalError), world.database.transaction() as conn:
        report(world, value, conn=conn)
        conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_looking_twice_sends_once(world: World) -> None:
    create(world, gte="10")
    report(world, "10")
    with world.database.transaction() as conn:
        ids, _ = usage.make_series(
            conn, world.act.account_id, [(world.customer_ids[0], world.meter_id)]
        )
        [series_id] = ids.values()
        crossing = Crossing(
            series_id, world.customer_ids[0], world.meter_id, START, END, Decimal(10)
        )
        watch(conn, world.at(START + HOUR), [crossing])
    assert quantities(world) == [10]


# ─── Which ───────────────────────────────────────────────────────────────────────────────────


def test_an_alert_of_one_customer_is_no_ones_else(world: World) -> None:
    create(world, gte="10", customer_id=world.customer_ids[1])
    create(world, gte="20", customer_id=world.customer_ids[1], recurrence=ONE_TIME)
    report(world, "30", customers=slice(0, 3))
    assert {each.customer_id for each in sent(world)} == {world.customer_ids[1]}
    assert sorted(int(each.alert.gte or 0) for each in sent(world)) == [10, 20]


def test_an_alert_is_of_its_meter(world: World) -> None:
    with world.database.transaction() as conn:
        make_meter(conn, world.act, "visit", Aggregation.COUNT)
    create(world, gte="1")
    report(world, "5", event_name="visit")
    assert sent(world) == []


def test_an_inactive_alert_is_not_sent_and_an_activated_one_is(world: World) -> None:
    often, once = create(world, gte="10"), create(world, gte="10", recurrence=ONE_TIME)
    for alert in (often, once):
        change(world, manage_alerts.deactivate_alert, alert.id)
    report(world, "10")
    assert sent(world) == []
    for alert in (often, once):
        change(world, manage_alerts.activate_alert, alert.id)
    assert sent(world) == []
    report(world, "1")
    assert quantities(world) == [11, 11]
    for alert in (often, once):
        change(world, manage_alerts.deactivate_alert, alert.id)
        change(world, manage_alerts.activate_alert, alert.id)
    report(world, "1")
    assert quantities(world) == [11, 11]


def test_an_archived_alert_is_not_sent(world: World) -> None:
    change(world, manage_alerts.archive_alert, create(world, gte="10").id)
    report(world, "10")
    assert sent(world) == []


def test_a_subscription_that_has_ended_has_no_window_that_is_billed(world: World) -> None:
    create(world, gte="10")
    with world.database.transaction() as conn:
        cancel_now(conn, world.at(START + HOUR), world.subscription_ids[0])
    report(world, "10", at=START + 2 * HOUR)
    assert sent(world) == []
    assert look_at(world)[0] is None


def test_several_subscriptions_may_bill_one_window(world: World) -> None:
    create(world, gte="10")
    with world.database.transaction() as conn:
        price_id = make_price(conn, world.act, world.meter_id)
        [first] = subscriptions.load(
            conn, world.act.account_id, world.subscription_ids[:1]
        ).values()
        subscriptions.insert_many(conn, world.act.account_id, [like(world.act, first, price_id)])
    report(world, "10")
    assert quantities(world) == [10, 10]
    assert len({each.item_id for each in sent(world)}) == 2


def like(act: Act, subscription: Subscription, price_id: str) -> Subscription:
    """Another subscription, of this metered price alone, in the same period."""
    new = act.new_id("sub")
    item = replace(
        subscription.items[0],
        id=act.new_id("si"),
        subscription_id=new,
        price_id=price_id,
        quantity=None,
    )
    return replace(subscription, id=new, items=(item,))


def make_meter(conn: Connection, act: Act, name: str, aggregation: Aggregation) -> meters.Meter:
    return manage_meters.create_meter(
        conn,
        act,
        display_name=name,
        event_name=name,
        aggregation=aggregation,
        customer_key="stripe_customer_id",
        value_key="value",
    )


def make_price(conn: Connection, act: Act, meter_id: str) -> str:
    """Two cents a unit, every month."""
    fields = {
        "currency": "usd",
        "recurrence": Recurrence(Interval.MONTH),
        "usage_type": UsageType.METERED,
        "model": Model(Decimal(2)),
        "meter_id": meter_id,
    }
    return manage_catalog.create_price(conn, act, fields, product={"name": "More"}).id


# ─── Thresholds and positions ────────────────────────────────────────────────────────────────


def test_an_alert_has_the_position_in_it(world: World) -> None:
    alert = create(world, percent=80)
    report(world, "799.5")
    assert sent(world) == []
    report(world, "300.5")
    [triggered] = sent(world)
    [item] = [
        item
        for each in world.subscriptions()
        for item in each.items
        if each.customer_id == world.customer_ids[0] and item.price_id == world.metered_id
    ]
    assert triggered == TriggeredAlert(
        alert=alert,
        customer_id=world.customer_ids[0],
        quantity=Decimal(1100),
        created_at=START + HOUR,
        subscription_id=item.subscription_id,
        item_id=item.id,
        currency="usd",
        position=Position(
            window=world.period,
            included=Decimal(1000),
            used=Decimal(1100),
            remaining=Decimal(0),
            overage=Decimal(100),
            percent=Decimal(110),
            amount=100,
            overage_amount=100,
        ),
    )
    [event] = sent_events(world)
    assert (event.object_id, event.previous) == (alert.id, None)


def test_an_alert_by_amount_is_sent_when_so_much_is_accrued(world: World) -> None:
    create(world, amount=50)
    for value in ("1000", "49.4", "0.1", "1"):
        report(world, value)
    [triggered] = sent(world)
    assert triggered.position is not None
    assert (triggered.quantity, triggered.position.amount) == (Decimal("1049.5"), 50)


def test_thresholds_are_sent_as_they_are_reached_and_may_be_several_at_once(world: World) -> None:
    for percent in (50, 80, 100, 200):
        create(world, percent=percent)
    report(world, "600")
    assert [each.alert.percent for each in sent(world)] == [50]
    report(world, "500")
    assert sorted(each.alert.percent or 0 for each in sent(world)) == [50, 80, 100]


def test_a_window_is_looked_at_from_the_lowest_threshold_on(world: World) -> None:
    report(world, "1")
    assert look_at(world) == [None, ALERT_AT_ONCE]  # the next window has not been looked at
    create(world, gte="700")
    create(world, percent=50)
    assert look_at(world) == [ALERT_AT_ONCE, ALERT_AT_ONCE]
    report(world, "1")
    assert look_at(world) == [500, ALERT_AT_ONCE]
    report(world, "500")
    assert look_at(world) == [700, ALERT_AT_ONCE]
    report(world, "500")
    assert look_at(world) == [None, ALERT_AT_ONCE]
    create(world, amount=10**6)
    report(world, "1")
    assert look_at(world) == [ALERT_AT_ONCE, ALERT_AT_ONCE]


def test_all_usage_is_looked_at_from_the_lowest_threshold_on(world: World) -> None:
    report(world, "1")
    create(world, gte="5", recurrence=ONE_TIME)
    create(world, gte="9", recurrence=ONE_TIME)
    assert look_at(world)[0] == ALERT_AT_ONCE
    report(world, "1")
    assert look_at(world)[0] == 5
    report(world, "4")
    assert look_at(world)[0] == 9
    report(world, "4")
    assert look_at(world)[0] is None
    report(world, "1", customers=2)
    assert look_at(world, 2)[0] == 5


@pytest.mark.parametrize("aggregation", [Aggregation.UNIQUE, Aggregation.P95])
def test_what_does_not_combine_is_measured(world: World, aggregation: Aggregation) -> None:
    with world.database.transaction() as conn:
        meter = make_meter(conn, world.act, "seat", aggregation)
        price_id = make_price(conn, world.act, meter.id)
        [first] = subscriptions.load(
            conn, world.act.account_id, world.subscription_ids[:1]
        ).values()
        more = like(world.act, first, price_id)
        subscriptions.insert_many(conn, world.act.account_id, [more])
        sold = catalog.load_sold(conn, world.act.account_id, [price_id])
        open_windows(conn, world.act, [more], sold)
    create(world, meter_id=meter.id, gte="2")
    for value in ("1", "1", "2", "3", "4"):
        report(world, value, event_name="seat")
    [triggered] = sent(world)
    assert triggered.quantity == 2
    with pytest.raises(InvalidRequest, match="use the recurrence `billing_period`"):
        create(world, meter_id=meter.id, gte="2", recurrence=ONE_TIME)


def test_a_customer_on_a_test_clock_is_told_at_its_own_time(world: World) -> None:
    later = START + 5 * 24 * HOUR
    with world.database.transaction() as conn:
        conn.execute(
            "INSERT INTO test_clocks (account_id, id, status, frozen_at, created_at, deletes_at)"
            " VALUES (%(account)s, 'clock_1', 'ready', %(at)s, %(at)s, %(at)s)",
            {"account": world.act.account_id, "at": later},
        )
        conn.execute(
            "UPDATE customers SET clock_id = 'clock_1' WHERE account_id = %s AND id = %s",
            (world.act.account_id, world.customer_ids[0]),
        )
    create(world, gte="10")
    report(world, "10", customers=slice(0, 2), now=START + HOUR)
    told = {each.customer_id: each.created_at for each in sent(world)}
    assert told == {world.customer_ids[0]: later, world.customer_ids[1]: START + HOUR}
    assert {each.clock_id for each in sent_events(world)} == {"clock_1", None}


# ─── Many ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(database: Database) -> World:
    return with_windows(make_world(database, 40))


def test_the_number_of_statements_does_not_depend_on_how_many_cross(crowd: World) -> None:
    create(crowd, gte="10")
    create(crowd, amount=20)
    create(crowd, gte="10", recurrence=ONE_TIME)

    def statements(customers: slice) -> int:
        with crowd.database.transaction() as conn, counted(conn) as found:
            report(crowd, "1100", customers=customers, conn=conn)
        return len(found)

    assert statements(slice(0, 1)) == statements(slice(1, 40))
    assert Counter(each.customer_id for each in sent_all(crowd)) == dict.fromkeys(
        crowd.customer_ids, 3
    )


def sent_all(world: World) -> list[TriggeredAlert]:
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT snapshot::text FROM events WHERE account_id = %s"
            " AND type = 'billing.alert.triggered'",
            (world.act.account_id,),
        )
        return [msgspec.json.decode(row[0], type=TriggeredAlert) for row in rows]


def test_fifty_cross_at_once_and_some_crash(world: World) -> None:
    """Whoever commits the crossing sends, once; those who crash before have never been."""
    report(world, "990")
    create(world, gte="1010")
    create(world, percent=101)
    create(world, amount=10)
    create(world, gte="1010", recurrence=ONE_TIME)
    ready = threading.Barrier(50)
    failures: list[BaseException] = []

    def run(place: int) -> None:
        ready.wait()
        try:
            [lose_the_database_after, crash_after, report, report, report][place % 5](world, "1")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({each.alert.id for each in sent(world)}) == len(sent(world)) == 4
    assert quantities(world) == [1010] * 4
    report(world, "1")
    assert len(sent(world)) == 4
    with world.database.connection() as conn:
        total = conn.execute(
            "SELECT count(*) FROM usage_events WHERE account_id = %s", (world.act.account_id,)
        ).fetchone()
    assert total == (1 + 30 + 1,)


def test_those_who_cross_while_an_alert_is_made_miss_nothing(world: World) -> None:
    """Twenty report while another makes the alerts: each is sent, whoever comes first."""
    ready = threading.Barrier(21)
    failures: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        ready.wait()
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    def make() -> None:
        create(world, gte="5", recurrence=ONE_TIME)
        create(world, gte="5")

    works: list[Callable[[], Any]] = [lambda: report(world, "1", customers=slice(0, 3))] * 20
    threads = [threading.Thread(target=run, args=(work,)) for work in [*works, make]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    report(world, "1", customers=slice(0, 3))
    assert Counter(each.customer_id for each in sent(world)) == dict.fromkeys(world.customer_ids, 2)


def test_a_window_that_another_subscription_joins_is_looked_at_again(world: World) -> None:
    create(world, gte="10")
    report(world, "10")
    with world.database.transaction() as conn:
        price_id = make_price(conn, world.act, world.meter_id)
        [first] = subscriptions.load(
            conn, world.act.account_id, world.subscription_ids[:1]
        ).values()
        more = like(world.act, first, price_id)
        subscriptions.insert_many(conn, world.act.account_id, [more])
        sold = catalog.load_sold(conn, world.act.account_id, [price_id])
        open_windows(conn, world.act, [more], sold)
    report(world, "1")
    assert quantities(world) == [10, 11]
