"""Thresholds by the batch: noticed without a lock, billed at a constant number of statements."""

from datetime import timedelta

from postpaid.billing.bill_thresholds import bill_reached, bill_thresholds
from postpaid.core.values import replace
from postpaid.storage import customers, subscriptions, thresholds
from postpaid.storage.database import Database
from statements import counted
from world import HOUR, START, World, make_world

NOW = START + timedelta(days=3)


def with_thresholds(world: World, amount: int = 100) -> World:
    """Everyone's usage is billed at so much; and of new usage the next event is looked at."""
    with world.database.transaction() as conn:
        subscriptions.update_many(
            conn,
            world.act.account_id,
            [replace(each, threshold_amount=amount) for each in world.subscriptions()],
        )
    return world


def bill(world: World) -> int:
    return bill_reached(world.database, world.at(NOW), NOW)


def test_what_has_reached_it_is_billed_once(database: Database) -> None:
    world = with_thresholds(make_world(database, 3))
    note(world, world.subscription_ids)
    world.use(world.customer_ids[:2], 1234, at=START + HOUR)

    assert [bill(world), bill(world)] == [3, 0]
    made = world.invoices()
    assert [(each.billing_reason, each.total) for each in made] == [
        ("subscription_threshold", 234)
    ] * 2
    assert all(each.finalized_at == NOW for each in made)
    note(world, world.subscription_ids)
    assert bill(world) == 3
    assert len(world.invoices()) == 2


def note(world: World, subscription_ids: list[str]) -> None:
    with world.database.transaction() as conn:
        thresholds.insert_many(conn, world.act.account_id, subscription_ids)


def test_a_customer_whom_someone_holds_is_left_for_later(database: Database) -> None:
    world = with_thresholds(make_world(database, 2))
    note(world, world.subscription_ids)
    with database.transaction() as conn:
        customers.lock(conn, world.act.account_id, world.customer_ids[:1])
        assert bill(world) == 1
    assert bill(world) == 1


def test_to_note_waits_for_nobody(database: Database) -> None:
    """Not even for whoever is billing the same subscription at this moment."""
    world = with_thresholds(make_world(database, 1))
    note(world, world.subscription_ids)
    with database.transaction() as conn:
        noted = thresholds.claim(conn, world.act.account_id, None, limit=10)
        thresholds.delete(conn, world.act.account_id, noted)
        with database.transaction() as other:
            other.execute("SET LOCAL lock_timeout = '100ms'")
            thresholds.insert_many(other, world.act.account_id, world.subscription_ids)
    assert bill(world) == 1  # what was noted meanwhile is not lost


def test_the_number_of_subscriptions_does_not_change_the_statements(database: Database) -> None:
    few, many = (_statements(database, subscribers) for subscribers in (1, 100))
    assert few == many


def _statements(database: Database, subscribers: int) -> list[str]:
    world = with_thresholds(make_world(database, subscribers))
    world.use(world.customer_ids, 1234, at=START + HOUR)
    running = world.subscriptions()
    with database.transaction() as conn:
        locked = customers.lock(conn, world.act.account_id, world.customer_ids)
        with counted(conn) as statements:
            made = bill_thresholds(conn, world.at(NOW), running, locked, wall=NOW)
    assert len(made) == subscribers
    return statements
