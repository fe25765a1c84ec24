"""Two servers on one database: they share the work, and either may be killed at any moment."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command import PATIENCE_S, Serve

from postpaid.storage.database import Database, wake_workers
from world import FEE, World, make_world

SUBSCRIBERS = 1000
CALLS = 1250  # each has 1,000 included


@pytest.fixture
def database(fresh_database_url: str) -> Iterator[Database]:
    opened = Database(fresh_database_url, pool_size=4)
    yield opened
    opened.close()


def make_due(database: Database) -> World:
    """A thousand subscriptions whose period ended some days ago, all at once."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=40)
    world = make_world(database, SUBSCRIBERS, start=began)
    world.use(world.customer_ids, CALLS)
    return world


def test_two_servers_bill_everyone_once(serve: Serve, database: Database) -> None:
    servers = [serve("--database-url", database.url) for _ in range(2)]
    world = make_due(database)
    until(lambda: count(world, "draft") == SUBSCRIBERS)

    let_the_hour_pass(database)
    until(lambda: count(world, "paid") == SUBSCRIBERS)

    check_books(world)
    for server in servers:
        assert server.end() == 0
        assert server.errors.read_text() == ""


def test_servers_that_are_killed_are_replaced_and_bill_everyone_once(
    serve: Serve, database: Database
) -> None:
    first = serve("--database-url", database.url)
    second = serve("--database-url", database.url)
    world = make_due(database)

    # In the middle of closing one dies, and in the middle of finalizing its neighbour.
    until(lambda: count(world, "draft") > 0)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    heir = serve("--database-url", database.url)
    until(lambda: count(world, "draft") == SUBSCRIBERS)

    let_the_hour_pass(database)
    until(lambda: count(world, "draft") < SUBSCRIBERS)
    assert second.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: count(world, "draft") == 0)

    # What they had asked the gateway, and not heard of, is asked again once they are thought dead.
    let_the_leases_run_out(database)
    until(lambda: count(world, "paid") == SUBSCRIBERS)
    check_books(world)
    assert heir.end() == 0
    assert heir.errors.read_text() == ""


def check_books(world: World) -> None:
    """Each of them has one invoice, of the right amount, numbered, and paid by one attempt."""
    invoices = world.invoices()
    assert Counter(each.subscription_id for each in invoices) == Counter(world.subscription_ids)
    assert {each.total for each in invoices} == {FEE + CALLS - 1000}
    assert {str(each.number)[-5:] for each in invoices} == {"-0001"}
    assert {(each.status.value, each.amount_remaining) for each in invoices} == {("paid", 0)}
    assert {each.status.value for each in world.subscriptions()} == {"active"}
    attempts = ask(world, "SELECT status, count(*) FROM payment_attempts GROUP BY 1")
    assert attempts == [("succeeded", SUBSCRIBERS)]
    assert world.findings() == []


def count(world: World, status: str) -> int:
    """The invoices in this status."""
    [(found,)] = ask(world, f"SELECT count(*) FROM invoices WHERE status = '{status}'")
    return int(found)


def ask(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.database.connection() as conn:
        return conn.execute(query.encode()).fetchall()


def let_the_hour_pass(database: Database) -> None:
    """The drafts' hour of grace, by their own word for it."""
    with database.transaction() as conn:
        conn.execute(
            "UPDATE invoices SET finalizes_at = finalizes_at - interval '1 hour'"
            " WHERE finalizes_at IS NOT NULL"
        )
        wake_workers(conn)


def let_the_leases_run_out(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute(
            "UPDATE payment_attempts SET leased_until = leased_until - interval '1 hour'"
            " WHERE status = 'pending'"
        )
        wake_workers(conn)


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
