"""An advance that dies in the middle goes on where it was, and charges nobody twice."""

from __future__ import annotations

import pytest

from postpaid.billing.advance_clock import advance_clock
from postpaid.billing.settle import GATEWAYS
from postpaid.outside.gateways.protocol import ChargeRequest, Outcome
from postpaid.outside.gateways.test import TestGateway
from postpaid.storage.database import Database
from world import END, FEE, HOUR, START, make_world


class Killed(BaseException):
    """What no handler of errors catches, as no handler catches a kill."""


class DyingGateway:
    """Takes the money, and the process dies before it has heard of it."""

    name = "test"

    def charge(self, request: ChargeRequest) -> Outcome:
        TestGateway().charge(request)
        raise Killed


def test_a_killed_advance_is_finished_by_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(database, 3)
    account_id = world.act.account_id
    with database.transaction() as conn:
        conn.execute(
            "INSERT INTO test_clocks (account_id, id, status, frozen_at, target_at, created_at,"
            " deletes_at) VALUES (%s, 'clock_1', 'advancing', %s, %s, %s, %s)",
            (account_id, START, END + 2 * HOUR, START, END),
        )
        for table in ("customers", "subscriptions"):
            conn.execute(
                f"UPDATE {table} SET clock_id = 'clock_1' WHERE account_id = %s".encode(),
                (account_id,),
            )

    with monkeypatch.context() as patched:
        patched.setitem(GATEWAYS, "test", DyingGateway())  # type: ignore[arg-type]
        with pytest.raises(Killed):
            advance_clock(database, world.act, "clock_1")
    assert advance_clock(database, world.act, "clock_1")

    with database.connection() as conn:
        clock = conn.execute(
            "SELECT status, frozen_at FROM test_clocks WHERE account_id = %s", (account_id,)
        ).fetchall()
        attempts = conn.execute(
            "SELECT status FROM payment_attempts WHERE account_id = %s", (account_id,)
        ).fetchall()
    assert clock == [("ready", END + 2 * HOUR)]
    assert [(each.status, each.amount_paid) for each in world.invoices()] == [("paid", FEE)] * 3
    assert attempts == [("succeeded",)] * 3
    assert world.findings() == []
