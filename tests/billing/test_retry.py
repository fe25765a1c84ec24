"""The passes of collection: in batches, whoever dies or holds a customer, each thing once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from postpaid.billing.announce_upcoming import announce_upcoming
from postpaid.billing.manage_retry_schedules import create_retry_schedule
from postpaid.billing.manage_settings import update_settings
from postpaid.billing.pass_time import settle_abandoned
from postpaid.billing.remind import announce_expiring, remind_due
from postpaid.billing.retry import give_up_due, retry_due
from postpaid.core.collection import RetriesEnd, RetryKind, RetrySchedule
from postpaid.storage import customers
from postpaid.storage.database import Database
from statements import counted
from world import END, HOUR, START, World, make_world

DECLINED = "pm_card_chargeCustomerFail"
STOLEN = "pm_card_chargeDeclinedStolenCard"
FINAL = END + HOUR
DAY = timedelta(days=1)
Pass = Callable[[Database, Any, datetime], int]


def missed(database: Database, subscribers: int, card: str = DECLINED) -> World:
    """A world whose renewals were declined just now."""
    world = make_world(database, subscribers, card=card)
    world.pass_time(END)
    world.pass_time(FINAL)
    return world


def run(world: World, work: Pass, now: datetime) -> int:
    return work(world.database, world.at(now), now)


def set_schedule(world: World, end: RetriesEnd, *days: int) -> None:
    """The account's schedule is a list of days, with this end."""
    with world.database.transaction() as conn:
        schedule = RetrySchedule(
            world.act.new_id("rs"), RetryKind.LIST, START, days=days, after_retries=end
        )
        create_retry_schedule(conn, world.act, schedule)
        update_settings(conn, world.act, {"retry_schedule_id": schedule.id})


def counts(world: World) -> list[int]:
    return [each.attempt_count for each in world.invoices()]


def told(world: World, event_type: str) -> int:
    with world.database.connection() as conn:
        row = conn.execute(
            "SELECT count(*) FROM events WHERE account_id = %s AND type = %s",
            (world.act.account_id, event_type),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_each_is_tried_once_however_often_the_pass_runs(database: Database) -> None:
    world = missed(database, 3)
    assert run(world, retry_due, FINAL + DAY - HOUR) == 0
    assert run(world, retry_due, FINAL + DAY) == 3
    assert [run(world, retry_due, FINAL + DAY) for _ in range(3)] == [0, 0, 0]
    assert counts(world) == [2, 2, 2]
    assert world.findings() == []


def test_a_customer_whom_another_holds_is_tried_later(database: Database) -> None:
    world = missed(database, 3)
    with database.transaction() as conn:
        customers.lock(conn, world.act.account_id, world.customer_ids[:1])
        assert run(world, retry_due, FINAL + DAY) == 2
    assert run(world, retry_due, FINAL + DAY) == 1
    assert counts(world) == [2, 2, 2]


def test_a_worker_that_slept_for_a_year_tries_once_and_not_eight_times(database: Database) -> None:
    world = missed(database, 1)
    late = FINAL + 365 * DAY
    assert [run(world, retry_due, late) for _ in range(2)] == [1, 0]
    [invoice] = world.invoices()
    assert (invoice.attempt_count, invoice.next_attempt_at) == (2, late + DAY)


def test_a_daily_retry_that_comes_too_late_is_not_made(database: Database) -> None:
    world = make_world(database, 1, card=DECLINED)
    with database.transaction() as conn:
        daily = RetrySchedule(
            world.act.new_id("rs"), RetryKind.DAILY, START, after_retries=RetriesEnd.UNPAID
        )
        create_retry_schedule(conn, world.act, daily)
        update_settings(conn, world.act, {"retry_schedule_id": daily.id})
    world.pass_time(END)
    world.pass_time(FINAL)
    late = FINAL + 4 * DAY
    assert [run(world, each, late) for each in (retry_due, give_up_due)] == [1, 1]
    [invoice] = world.invoices()
    assert (invoice.attempt_count, invoice.next_attempt_at) == (1, None)
    assert [each.status for each in world.subscriptions()] == ["unpaid"]


@pytest.mark.parametrize("end", RetriesEnd)
def test_what_is_given_up_is_given_up_once(database: Database, end: RetriesEnd) -> None:
    world = make_world(database, 3, card=DECLINED)
    set_schedule(world, end, 2)
    world.pass_time(END)
    world.pass_time(FINAL)
    now = FINAL + 2 * DAY
    assert [run(world, each, now) for each in (retry_due, give_up_due)] == [3, 3]
    assert [run(world, each, now) for each in (retry_due, give_up_due)] == [0, 0]
    found = {RetriesEnd.CANCEL: "canceled", RetriesEnd.PAUSE: "paused"}.get(end, end.value)
    assert [each.status.value for each in world.subscriptions()] == [found] * 3
    assert world.findings() == []


ANSWER_LOST = """
UPDATE payment_methods
   SET gateway_token = 'pm_card_answerLostDeclined'
 WHERE account_id = %s
"""


def test_a_retry_whose_answer_is_lost_is_asked_about_before_another_is_made(
    database: Database,
) -> None:
    world = missed(database, 1)
    with database.transaction() as conn:
        conn.execute(ANSWER_LOST, (world.act.account_id,))
    now = FINAL + DAY
    assert run(world, retry_due, now) == 1
    assert [run(world, each, now + 9 * DAY) for each in (retry_due, give_up_due)] == [0, 0]

    later = now + HOUR
    assert settle_abandoned(database, world.at(later), wall=later) == 1
    [invoice] = world.invoices()
    assert (invoice.attempt_count, invoice.next_attempt_at) == (2, later + DAY)
    assert world.findings() == []


# ─── Statements ──────────────────────────────────────────────────────────────────────────────


def statements(world: World, work: Pass, now: datetime, done: int) -> int:
    """How many statements the pass takes for so many."""
    alone = Database(world.database.url, pool_size=1)
    try:
        with alone.connection() as conn:
            only = conn  # given back to the pool, and the next to be taken from it
        with counted(only) as found:
            assert work(alone, world.at(now), now) == done
    finally:
        alone.close()
    return len(found)


def of_retries(world: World) -> None:
    """Declined by a card like any other."""


def of_ends(end: RetriesEnd) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        set_schedule(world, end, 1)

    return prepare


def for_few_and_many(
    database: Database,
    work: Pass,
    now: datetime,
    *,
    card: str = DECLINED,
    prepare: Callable[[World], None] = of_retries,
    before: tuple[Pass, ...] = (),
    sql: str = "",
) -> tuple[int, int]:
    """The statements of a pass over three and over thirty."""
    found = []
    for subscribers in (3, 30):
        world = make_world(database, subscribers, card=card)
        prepare(world)
        world.pass_time(END)
        world.pass_time(FINAL)
        if sql:
            with database.transaction() as conn:
                conn.execute(sql.encode(), (world.act.account_id,))
        for each in before:
            run(world, each, now)
        found.append(statements(world, work, now, subscribers))
    few, many = found
    return few, many


@pytest.mark.parametrize("card", [DECLINED, STOLEN], ids=["tried", "passed by"])
def test_retries_cost_as_many_statements_for_many_as_for_few(database: Database, card: str) -> None:
    few, many = for_few_and_many(database, retry_due, FINAL + DAY, card=card)
    assert few == many


@pytest.mark.parametrize("end", RetriesEnd)
def test_giving_up_costs_as_many_statements_for_many_as_for_few(
    database: Database, end: RetriesEnd
) -> None:
    few, many = for_few_and_many(
        database, give_up_due, FINAL + DAY, prepare=of_ends(end), before=(retry_due,)
    )
    assert few == many


SENT = """
UPDATE subscriptions
   SET collection_method = 'send_invoice', days_until_due = 1
 WHERE account_id = %s
"""


def of_sent_invoices(world: World) -> None:
    with world.database.transaction() as conn:
        conn.execute(SENT, (world.act.account_id,))


def test_reminders_cost_as_many_statements_for_many_as_for_few(database: Database) -> None:
    few, many = for_few_and_many(database, remind_due, FINAL + DAY, prepare=of_sent_invoices)
    assert few == many


def test_announcing_renewals_costs_as_many_statements_for_many_as_for_few(
    database: Database,
) -> None:
    few, many = for_few_and_many(database, announce_upcoming, END + 25 * DAY, card="pm_card_visa")
    assert few == many


EXPIRING = """
UPDATE payment_methods
   SET card = '{"exp_month": 2, "exp_year": 2026}'
 WHERE account_id = %s
"""


def test_announcing_cards_costs_as_many_statements_for_many_as_for_few(database: Database) -> None:
    few, many = for_few_and_many(
        database, announce_expiring, FINAL + DAY, card="pm_card_visa", sql=EXPIRING
    )
    assert few == many
