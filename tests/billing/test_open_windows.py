"""A window that a subscription bills is its events at all times, whenever it was opened."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from postpaid import ids
from postpaid.billing import subscribe
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.check_usage import milliseconds
from postpaid.billing.open_windows import open_windows
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.core.periods import Interval, Recurrence, period_at_index
from postpaid.core.subscriptions import Subscription
from postpaid.storage import catalog, usage_totals
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_totals import Window
from statements import counted
from world import END, HOUR, START, World, make_world

MONTH = Recurrence(Interval.MONTH)
WINDOWS = """
SELECT s.customer_id, s.meter_id, w.start_at, w.end_at, w.sum, w.count
  FROM usage_windows w
  JOIN usage_series s ON s.series_id = w.series_id
 WHERE s.account_id = %s
 ORDER BY s.customer_id, w.start_at, w.end_at
"""


def kept(world: World) -> dict[Window, tuple[Decimal, int]]:
    """The windows that are open, with the totals in them."""
    with world.database.connection() as conn:
        rows = conn.execute(WINDOWS, (world.act.account_id,)).fetchall()
    return {Window(*row[:4]): (row[4], row[5]) for row in rows}


class _Back(Exception):
    """What was changed is changed back."""


def computed(world: World, windows: list[Window]) -> list[tuple[Decimal, int]]:
    """The totals of the windows as they are without being kept."""
    found: list[tuple[Decimal, int]] = []
    try:
        with world.database.transaction() as conn:
            conn.execute(
                "DELETE FROM usage_windows WHERE series_id IN"
                " (SELECT series_id FROM usage_series WHERE account_id = %s)",
                (world.act.account_id,),
            )
            totals = usage_totals.totals(conn, world.act.account_id, windows)
            found = [(total.sum, total.count) for total in totals]
            raise _Back
    except _Back:
        return found


def recounted(world: World, windows: list[Window]) -> list[tuple[Decimal, int]]:
    """The totals of the windows, event by event."""
    with world.database.connection() as conn:
        events = conn.execute(
            "SELECT s.customer_id, s.meter_id, e.occurred_at, e.value FROM usage_events e"
            " JOIN usage_series s ON s.series_id = e.series_id"
            " WHERE e.account_id = %s AND e.counted",
            (world.act.account_id,),
        ).fetchall()
    return [
        (sum(values, Decimal(0)), len(values))
        for window in windows
        for values in [
            [
                value
                for customer_id, meter_id, at, value in events
                if (customer_id, meter_id) == (window.customer_id, window.meter_id)
                and window.start <= at < window.end
            ]
        ]
    ]


def all_agree(world: World) -> dict[Window, tuple[Decimal, int]]:
    """What is kept, which is what is computed and what is counted; and the audit is silent."""
    found = kept(world)
    windows = list(found)
    assert list(found.values()) == computed(world, windows) == recounted(world, windows)
    assert world.findings() == []
    return found


def month(index: int, customer_id: str, world: World, anchor: datetime = START) -> Window:
    period = period_at_index(anchor, MONTH, index)
    return Window(customer_id, world.meter_id, period.start, period.end)


def open_for(world: World, subscriptions: list[Subscription], now: datetime) -> None:
    with world.database.transaction() as conn:
        prices = {item.price_id for each in subscriptions for item in each.items}
        sold = catalog.load_sold(conn, world.act.account_id, prices)
        open_windows(conn, world.at(now), subscriptions, sold)


def begin(world: World, customer_id: str, now: datetime) -> None:
    """The customer subscribes to the calls."""
    act = world.at(now)
    with world.database.transaction() as conn:
        asked = NewSubscription(customer_id, [NewItem(world.metered_id)])
        begun = subscribe.subscribe(conn, act, asked)
    subscribe.finish(world.database, act, begun)


def report(
    world: World, conn: Connection, now: datetime, *events: tuple[str, datetime, str]
) -> None:
    """Usage of customers, as the API records it; all of it is accepted."""
    recorded = record_usage(
        conn,
        world.at(now),
        Reported(
            ["api_call"] * len(events),
            [{"stripe_customer_id": customer, "value": value} for customer, _, value in events],
            [ids.new_id("test") for _ in events],
            [milliseconds(at) for _, at, _ in events],
        ),
    )
    assert recorded.errors == {}


# ─── When they open ──────────────────────────────────────────────────────────────────────────


def test_whoever_subscribes_opens_this_window_and_the_next(database: Database) -> None:
    world = make_world(database, 1)
    [customer] = world.customer_ids
    begin(world, customer, START + HOUR)
    assert list(all_agree(world)) == [
        month(0, customer, world, START + HOUR),
        month(1, customer, world, START + HOUR),
    ]


def test_what_is_stored_from_then_on_is_in_them(database: Database) -> None:
    """To the millisecond, also where an hour is cut."""
    world = make_world(database, 1)
    [customer] = world.customer_ids
    open_for(world, world.subscriptions(), START)
    for value, at in enumerate(
        (
            START - timedelta(milliseconds=1),
            START,
            START + HOUR,
            END - timedelta(milliseconds=1),
            END,
        )
    ):
        world.use([customer], 10**value, at=at)
    found = all_agree(world)
    assert found[month(0, customer, world)] == (Decimal(1110), 3)
    assert found[month(1, customer, world)] == (Decimal(10000), 1)


def test_opened_over_earlier_usage_they_begin_with_it(database: Database) -> None:
    world = make_world(database, 2)
    first, second = world.customer_ids
    for hours in (0, 1, 30):
        world.use([first], 5, at=START + hours * HOUR)
    world.use([first], 1000, at=START - timedelta(minutes=1))
    open_for(world, world.subscriptions(), START + 31 * HOUR)
    world.use([first, second], 7, at=START + 31 * HOUR)
    found = all_agree(world)
    assert found[month(0, first, world)] == (Decimal(22), 4)
    assert found[month(0, second, world)] == (Decimal(7), 1)


def test_to_open_them_again_changes_nothing(database: Database) -> None:
    world = make_world(database, 1)
    open_for(world, world.subscriptions(), START)
    world.use(world.customer_ids, 5)
    before = all_agree(world)
    open_for(world, world.subscriptions(), START + HOUR)
    assert all_agree(world) == before


def test_each_close_opens_one_more(database: Database) -> None:
    world = make_world(database, 1)
    [customer] = world.customer_ids
    open_for(world, world.subscriptions(), START)
    for index in range(3):
        opened = list(all_agree(world))
        assert opened == [month(each, customer, world) for each in range(index + 2)]
        now = period_at_index(START, MONTH, index).end
        world.use([customer], 100 + index, at=now - HOUR)
        world.pass_time(now)
    assert list(all_agree(world).values())[:3] == [(Decimal(100 + index), 1) for index in range(3)]


def test_a_close_that_is_months_late_finds_all_usage(database: Database) -> None:
    """The windows of the months between were not open when they began, and miss nothing."""
    world = make_world(database, 2)
    customer, _ = world.customer_ids
    open_for(world, world.subscriptions(), START)
    months = [period_at_index(START, MONTH, index) for index in range(5)]
    for index, each in enumerate(months):
        world.use([customer], 2000 + index, at=each.start)
        world.use([customer], 10, at=each.end - timedelta(milliseconds=1))
    world.pass_time(months[3].end)
    world.pass_time(months[3].end + HOUR)
    found = all_agree(world)
    for index in range(5):
        assert found[month(index, customer, world)] == (Decimal(2010 + index), 2)
    used = sorted(
        sum((line.quantity for line in invoice.lines if line.meter_id), Decimal(0))
        for invoice in world.invoices()
        if invoice.customer_id == customer
    )
    assert used == [Decimal(2010 + index) for index in range(4)]


def test_two_subscriptions_of_one_meter_have_windows_of_their_own(database: Database) -> None:
    world = make_world(database, 1)
    [customer] = world.customer_ids
    open_for(world, world.subscriptions(), START)
    later = START + timedelta(days=9, minutes=7, milliseconds=0)
    world.use([customer], 1, at=START + HOUR)
    begin(world, customer, later)
    world.use([customer], 10, at=later)
    world.use([customer], 100, at=END)
    found = all_agree(world)
    assert found[month(0, customer, world)] == (Decimal(11), 2)
    assert found[month(1, customer, world)] == (Decimal(100), 1)
    assert found[month(0, customer, world, later)] == (Decimal(110), 2)
    assert found[month(1, customer, world, later)] == (Decimal(0), 0)


def test_two_subscriptions_with_one_anchor_share_their_windows(database: Database) -> None:
    world = make_world(database, 1)
    [customer] = world.customer_ids
    begin(world, customer, START)
    begin(world, customer, START)
    world.use([customer], 5)
    assert list(all_agree(world).values()) == [(Decimal(5), 1), (Decimal(0), 0)]


@pytest.mark.parametrize("subscribers", [2, 50])
def test_however_many_open_it_takes_as_many_statements(
    database: Database, subscribers: int
) -> None:
    world = make_world(database, subscribers)
    world.use(world.customer_ids[::2], 5)
    subscriptions = world.subscriptions()
    with database.transaction() as conn:
        sold = catalog.load_sold(conn, world.act.account_id, [world.metered_id, world.licence_id])
        with counted(conn) as statements:
            open_windows(conn, world.at(START), subscriptions, sold)
    assert len(statements) == 7
    assert len(all_agree(world)) == 2 * subscribers


# ─── While usage is stored ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
def test_opened_while_others_store_they_miss_nothing_and_count_nothing_twice(
    database: Database, seed: int
) -> None:
    world = make_world(database, 6)
    now = START + 20 * HOUR
    opened = threading.Event()

    def store(thread: int) -> int:
        chance = random.Random(f"{seed}/{thread}")
        stored = 0
        while stored < 10 or not opened.is_set():
            events = [
                (
                    chance.choice(world.customer_ids),
                    START + timedelta(milliseconds=chance.randrange(-HOUR_MS, 20 * HOUR_MS)),
                    str(chance.randrange(1, 100)),
                )
                for _ in range(chance.randrange(1, 9))
            ]
            with world.database.transaction() as conn:
                report(world, conn, now, *events)
            stored += len(events)
        return stored

    def open_all() -> None:
        chance = random.Random(seed)
        try:
            for each in world.subscriptions():
                opened.wait(chance.random() / 50)
                open_for(world, [each], now)
                begin(world, each.customer_id, START + chance.randrange(20) * HOUR)
        finally:
            opened.set()

    with ThreadPoolExecutor(5) as threads:
        opening = threads.submit(open_all)
        stored = sum(threads.map(store, range(4)))
        opening.result()
    found = all_agree(world)
    assert len(found) >= 4 * 6 - 6
    assert count_events(world) == stored


def count_events(world: World) -> int:
    with world.database.connection() as conn:
        [(found,)] = conn.execute(
            "SELECT count(*) FROM usage_events WHERE account_id = %s", (world.act.account_id,)
        ).fetchall()
    return int(found)


def test_whoever_opens_waits_for_what_is_being_stored(database: Database) -> None:
    """And whoever stores, for the window that is being opened: neither misses the other."""
    world = make_world(database, 1)
    [customer] = world.customer_ids
    world.use([customer], 1)  # a series that is new has nothing to wait for
    done: list[str] = []

    def open_it(*_: Any) -> None:
        open_for(world, world.subscriptions(), START)
        done.append("opened")

    with ThreadPoolExecutor(1) as threads:
        with database.transaction() as conn:
            report(world, conn, START, (customer, START, "10"))
            opening = threads.submit(open_it)
            wait_until_someone_waits(database)
            done.append("stored")
        opening.result()
    assert done == ["stored", "opened"]
    assert all_agree(world)[month(0, customer, world)] == (Decimal(11), 2)


def wait_until_someone_waits(database: Database) -> None:
    """Until a transaction waits for the advisory lock of an account."""
    pause = threading.Event()
    for _ in range(1000):
        with database.connection() as conn:
            waiting = conn.execute(
                "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall()
        if waiting:
            return
        pause.wait(0.01)
    raise AssertionError("Nobody waits.")


HOUR_MS = 3_600_000
