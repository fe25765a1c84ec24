"""Due work of one kind that cannot be done keeps no other from being done."""

from __future__ import annotations

import psycopg
import pytest

from postpaid.billing.pass_time import run_all, run_passes
from postpaid.storage.database import Database
from world import END, HOUR, make_world


def test_a_pass_that_fails_holds_up_no_other(fresh_database_url: str) -> None:
    database = Database(fresh_database_url, pool_size=2)
    world = make_world(database, 2)
    with database.transaction() as conn:
        conn.execute("ALTER TABLE thresholds_reached RENAME TO mislaid")

    for now in (END, END + HOUR):
        with pytest.raises(ExceptionGroup) as raised:
            run_passes(database, world.at(now), wall=now)
        [failure] = raised.value.exceptions
        assert isinstance(failure, psycopg.errors.UndefinedTable)
    assert [each.status for each in world.invoices()] == ["paid", "paid"]
    database.close()


def test_every_failure_is_told() -> None:
    done = []

    def fail() -> int:
        raise ValueError(len(done))

    def work() -> int:
        done.append(1)
        return 2

    with pytest.raises(ExceptionGroup) as raised:
        run_all([fail, work, fail])
    assert [str(each) for each in raised.value.exceptions] == ["0", "1"]
    assert run_all([work, work]) == 4
