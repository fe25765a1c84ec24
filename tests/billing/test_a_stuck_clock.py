"""An advance on which nothing moves gives up, and says so."""

from __future__ import annotations

import msgspec
import pytest

from postpaid.billing import advance_clock
from postpaid.storage import customers, events
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from world import END, START, make_world


def test_a_clock_that_is_stuck_says_that_it_failed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the customer, and does not let go."""
    monkeypatch.setattr(advance_clock, "PAUSE_S", 0)
    monkeypatch.setattr(advance_clock, "STUCK_AFTER", 3)
    world = make_world(database, 1)
    account_id = world.act.account_id
    with database.transaction() as conn:
        conn.execute(
            "INSERT INTO test_clocks (account_id, id, status, frozen_at, target_at, created_at,"
            " deletes_at) VALUES (%s, 'clock_1', 'advancing', %s, %s, %s, %s)",
            (account_id, START, END, START, END),
        )
        for table in ("customers", "subscriptions"):
            conn.execute(
                f"UPDATE {table} SET clock_id = 'clock_1' WHERE account_id = %s".encode(),
                (account_id,),
            )
    with database.transaction() as holder:
        customers.lock(holder, account_id, world.customer_ids)
        assert advance_clock.advance_clock(database, world.act, "clock_1")
    kind = "test_helpers.test_clock.internal_failure"
    with database.connection() as conn:
        [said] = events.list_page(conn, account_id, Page(), types=[kind]).rows
    assert (said.object_id, said.clock_id) == ("clock_1", "clock_1")
    assert msgspec.json.decode(said.snapshot)["status"] == "internal_failure"
