"""Connections that were lost while nobody used them are noticed by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from postpaid.storage.database import Database

SIZE = 4


@pytest.fixture
def database(fresh_database_url: str) -> Iterator[Database]:
    opened = Database(fresh_database_url, pool_size=SIZE)
    yield opened
    opened.close()


def fill(database: Database) -> set[int]:
    """Use all connections at once, so that they are there; their processes."""
    together = Barrier(SIZE)

    def use(_: int) -> int:
        with database.connection() as conn:
            together.wait()
            return conn.info.backend_pid

    with ThreadPoolExecutor(SIZE) as threads:
        return set(threads.map(use, range(SIZE)))


def cut(database: Database, processes: set[int]) -> None:
    """End these connections, and wait until they have ended."""
    with psycopg.connect(database.url, autocommit=True) as conn:
        for process in processes:
            conn.execute("SELECT pg_terminate_backend(%s, 10000)", (process,))


def test_whoever_reads_or_writes_next_gets_another(database: Database) -> None:
    cut(database, fill(database))
    for _ in range(SIZE):
        with database.transaction() as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        with database.connection() as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        database.ping()


def test_all_of_them_are_replaced(database: Database) -> None:
    before = fill(database)
    cut(database, before)
    after = fill(database)
    assert len(after) == SIZE
    assert after.isdisjoint(before)


def test_what_is_lost_in_the_middle_of_its_work_says_so(database: Database) -> None:
    def work() -> None:
        with database.transaction() as conn:
            conn.execute("CREATE TABLE half (done boolean)")
            cut(database, {conn.info.backend_pid})
            conn.execute("INSERT INTO half VALUES (true)")

    with pytest.raises(psycopg.OperationalError):
        work()
    with database.connection() as conn:
        assert conn.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_a_connection_that_is_well_is_kept(database: Database) -> None:
    """Also one on which somebody was notified of something, which nobody listens to now."""
    before = fill(database)
    with database.connection() as conn:
        conn.execute("LISTEN due_work")
    with psycopg.connect(database.url, autocommit=True) as other:
        other.execute("NOTIFY due_work")
    assert fill(database) == before
