"""Phases by the batch: a constant number of statements, and what cannot go on is parked alone."""

from datetime import datetime
from decimal import Decimal

from postpaid.billing import manage_catalog
from postpaid.billing.begin_phases import begin_due_phases, begin_phases, start_all
from postpaid.billing.move_balance import adjust_balance
from postpaid.core.pricing import Model
from postpaid.core.schedules import (
    EndBehavior,
    Phase,
    PhaseExtra,
    PhaseItem,
    Schedule,
    ScheduleStatus,
)
from postpaid.core.subscriptions import BillingMode
from postpaid.core.values import replace
from postpaid.storage import customers, subscription_schedules, subscriptions
from postpaid.storage.database import Database
from rich_world import PENDING, make_rich_world
from statements import counted
from world import END, FEE, START, World, make_world

MIDDLE = START + (END - START) / 2


def scheduled(world: World, at: datetime, *, quantity: int = 3) -> list[Schedule]:
    """Everyone has a schedule whose second phase, from ``at`` on, has more licences."""
    made = []
    with world.database.transaction() as conn:
        for each in world.subscriptions():
            phases = tuple(
                Phase(start, end, (PhaseItem(world.licence_id, count), PhaseItem(world.metered_id)))
                for start, end, count in ((START, at, 1), (at, at + (END - START), quantity))
            )
            schedule = Schedule(
                id=world.act.new_id("sub_sched"),
                customer_id=each.customer_id,
                clock_id=None,
                subscription_id=each.id,
                released_subscription_id=None,
                status=ScheduleStatus.ACTIVE,
                end_behavior=EndBehavior.RELEASE,
                billing_mode=BillingMode.FLEXIBLE,
                default_settings={},
                phases=phases,
                phase_index=0,
                due_at=at,
                metadata={},
                created_at=START,
            )
            subscription_schedules.insert(conn, world.act.account_id, schedule)
            made.append(schedule)
        subscriptions.update_many(
            conn,
            world.act.account_id,
            [
                replace(each, schedule_id=schedule.id)
                for each, schedule in zip(world.subscriptions(), made, strict=True)
            ],
        )
    return made


def quantities(world: World) -> list[int | None]:
    return [each.items[0].quantity for each in world.subscriptions()]


def test_a_phase_begins_once(database: Database) -> None:
    world = make_world(database, 3)
    scheduled(world, END)
    assert [begin_due_phases(database, world.at(END), END) for _ in range(2)] == [3, 0]
    assert quantities(world) == [3] * 3


def test_nothing_begins_before_its_time(database: Database) -> None:
    world = make_world(database, 1)
    scheduled(world, END)
    assert begin_due_phases(database, world.at(MIDDLE), MIDDLE) == 0
    assert quantities(world) == [1]


def test_a_customer_whom_someone_holds_is_left_for_later(database: Database) -> None:
    world = make_world(database, 2)
    scheduled(world, END)
    with database.transaction() as conn:
        customers.lock(conn, world.act.account_id, world.customer_ids[:1])
        assert begin_due_phases(database, world.at(END), END) == 1
    assert begin_due_phases(database, world.at(END), END) == 1


def test_the_number_of_schedules_does_not_change_the_statements(database: Database) -> None:
    for at in (END, MIDDLE):
        few, many = (_statements(database, at, subscribers) for subscribers in (1, 50))
        assert few == many


def _statements(database: Database, at: datetime, subscribers: int) -> list[str]:
    world = make_world(database, subscribers)
    due = scheduled(world, at)
    act = world.at(at)
    with database.transaction() as conn:
        customers.lock(conn, world.act.account_id, world.customer_ids)
        with counted(conn) as statements:
            done, _ = begin_phases(conn, act, due, wall=act)
    assert done == subscribers
    assert quantities(world) == [3] * subscribers
    return statements


# ─── Schedules that start ────────────────────────────────────────────────────────────────────


def waiting(world: World, *, each: int = 1, licence_id: str | None = None) -> list[Schedule]:
    """Everyone has schedules that start in the middle; with a fee of $99 and a setup of $5."""
    made = []
    with world.database.transaction() as conn:
        setup = manage_catalog.create_price(
            conn,
            world.act,
            {"currency": "usd", "model": Model(Decimal(500))},
            product={"name": "Setup"},
        )
        items = (PhaseItem(licence_id or world.licence_id, 1), PhaseItem(world.metered_id))
        for customer_id in world.customer_ids * each:
            schedule = Schedule(
                id=world.act.new_id("sub_sched"),
                customer_id=customer_id,
                clock_id=None,
                subscription_id=None,
                released_subscription_id=None,
                status=ScheduleStatus.NOT_STARTED,
                end_behavior=EndBehavior.RELEASE,
                billing_mode=BillingMode.FLEXIBLE,
                default_settings={},
                phases=(Phase(MIDDLE, END, items, extras=(PhaseExtra(setup.id),)),),
                phase_index=None,
                due_at=MIDDLE,
                metadata={},
                created_at=START,
            )
            subscription_schedules.insert(conn, world.act.account_id, schedule)
            made.append(schedule)
    return made


def test_many_that_start_take_the_statements_of_one(database: Database) -> None:
    taken = []
    for subscribers in (1, 200):
        world = make_rich_world(database, subscribers)
        due = waiting(world)
        act = world.at(MIDDLE)
        with database.transaction() as conn, counted(conn) as statements:
            after, attempt_ids = start_all(conn, act, due, wall=act)
        taken.append(statements)
        assert len(after) == len(attempt_ids) == subscribers
        begun = [each for each in world.invoices() if each.billing_reason == "subscription_create"]
        assert len(begun) == subscribers
        assert {sum(line.amount for line in each.lines) for each in begun} == {FEE + 500 + PENDING}
    assert taken[0] == taken[1]


def test_several_of_one_customer_start_one_after_the_other(database: Database) -> None:
    """So that its balance pays for one of them at a time."""
    world = make_world(database, 2)
    waiting(world, each=3)
    with database.transaction() as conn:
        for customer_id in world.customer_ids:
            adjust_balance(conn, world.act, customer_id, amount=-FEE - 500, currency="usd")
    assert [begin_due_phases(database, world.at(MIDDLE), MIDDLE) for _ in range(2)] == [6, 0]
    due = sorted(each.amount_due for each in world.invoices())
    assert due == [0, 0] + [FEE + 500] * 4
    assert {each.status.value for each in world.invoices()} == {"paid"}
    assert world.findings() == []


def test_what_cannot_start_is_parked_alone(database: Database) -> None:
    world = make_world(database, 2)
    good = waiting(world)
    bad = waiting(world, licence_id="price_none")
    assert begin_due_phases(database, world.at(MIDDLE), MIDDLE) == 4
    with database.connection() as conn:
        ids = [each.id for each in (*good, *bad)]
        found = subscription_schedules.load(conn, world.act.account_id, ids)
    assert [found[each].status.value for each in ids] == ["active"] * 2 + ["not_started"] * 2
    assert sorted({sentence for sentence, _ in world.findings()}) == [
        "Something is parked: it cannot be billed as it is."
    ]
