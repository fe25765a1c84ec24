"""Whoever is charged and whoever blocks what is charged: one waits for the other."""

from __future__ import annotations

import threading

from postpaid.billing import block, manage_payment_methods
from postpaid.storage import customers
from postpaid.storage.database import Database
from world import END, World, make_world

WAITING = """
SELECT count(*)
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND wait_event_type = 'Lock'
"""


def someone(world: World) -> tuple[str, str]:
    """A customer of the world's, and a payment method of its own."""
    act = world.at(END)
    [customer_id] = world.customer_ids
    with world.database.transaction() as conn:
        made = manage_payment_methods.attach_payment_method(conn, act, "pm_card_visa", customer_id)
    return customer_id, made.id


def test_blocking_waits_for_whoever_is_charging(database: Database) -> None:
    """A charge is decided under the customer's lock; what is blocked after it is not in its way."""
    world = make_world(database, subscribers=1)
    customer_id, method_id = someone(world)
    act = world.at(END)
    done = threading.Event()

    def block_it() -> None:
        with database.transaction() as conn:
            block.block_payment_method(conn, act, method_id, blocked=True)
        done.set()

    with database.transaction() as conn:
        customers.lock(conn, act.account_id, [customer_id])
        thread = threading.Thread(target=block_it)
        thread.start()
        waiting = 0
        with database.connection() as watching:
            for _ in range(2000):
                [waiting] = watching.execute(WAITING).fetchone() or [0]
                if waiting:
                    break
                done.wait(0.01)
        assert waiting == 1
        assert not done.is_set()
    thread.join()
    assert done.is_set()


def test_blocking_twice_says_so_once(database: Database) -> None:
    world = make_world(database, subscribers=1)
    customer_id, method_id = someone(world)
    act = world.at(END)
    with database.transaction() as conn:
        for blocked in (True, True, False, False):
            customer = block.block_customer(conn, act, customer_id, blocked=blocked)
            method = block.block_payment_method(conn, act, method_id, blocked=blocked)
            assert (customer.blocked_at is not None) == (method.blocked_at is not None) == blocked
        said = conn.execute(
            "SELECT type, count(*) FROM events"
            " WHERE account_id = %s AND type IN ('customer.updated', 'payment_method.updated')"
            "   AND object_id IN (%s, %s) GROUP BY type ORDER BY type",
            (act.account_id, customer_id, method_id),
        ).fetchall()
    assert said == [("customer.updated", 2), ("payment_method.updated", 2)]
