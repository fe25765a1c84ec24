"""Phases by the batch: a constant number of statements, and what cannot go on is parked alone."""

from datetime import datetime

from postpaid.billing.begin_phases import begin_due_phases, begin_phases
from postpaid.core.schedules import EndBehavior, Phase, PhaseItem, Schedule, ScheduleStatus
from postpaid.core.subscriptions import BillingMode
from postpaid.core.values import replace
from postpaid.storage import customers, subscription_schedules, subscriptions
from postpaid.storage.database import Database
from statements import counted
from world import END, START, World, make_world

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
