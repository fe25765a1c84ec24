"""Test clocks: where the time of some customers stands, and where it is going."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page


class TestClockStatus(StrEnum):
    """Whether a clock stands, moves, or had to stop."""

    READY = "ready"
    ADVANCING = "advancing"
    INTERNAL_FAILURE = "internal_failure"


@dataclass(frozen=True, slots=True)
class TestClock:
    """The time of the customers attached to it: ``frozen_at``, on its way to ``target_at``.

    ``created_at`` and ``deletes_at`` are wall-clock time. ``failure`` says why an advance stopped.
    """

    id: str
    name: str | None
    status: TestClockStatus
    frozen_at: datetime
    target_at: datetime | None
    failure: str | None
    created_at: datetime
    deletes_at: datetime
    deleted_at: datetime | None


INSERT = """
INSERT INTO test_clocks (account_id, id, name, status, frozen_at, target_at, failure, created_at,
                         deletes_at, deleted_at)
VALUES (%(account_id)s, %(id)s, %(name)s, %(status)s, %(frozen_at)s, %(target_at)s, %(failure)s,
        %(created_at)s, %(deletes_at)s, %(deleted_at)s)
"""


def insert(conn: Connection, account_id: int, clock: TestClock) -> None:
    conn.execute(INSERT, parameters_of(account_id, clock))


LOAD = """
SELECT id, name, status, frozen_at, target_at, failure, created_at, deletes_at, deleted_at
  FROM test_clocks
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, TestClock]:
    """The clocks by id, those deleted included."""
    rows = fetch(conn, TestClock, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find(conn: Connection, account_id: int, clock_id: str) -> TestClock | None:
    return load(conn, account_id, [clock_id]).get(clock_id)


LOCK = """
SELECT id, name, status, frozen_at, target_at, failure, created_at, deletes_at, deleted_at
  FROM test_clocks
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, clock_id: str) -> TestClock | None:
    """The clock, which stays as it is until the transaction ends."""
    return fetch_one(conn, TestClock, LOCK, {"account_id": account_id, "id": clock_id})


LIST = """
SELECT id, name, status, frozen_at, target_at, failure, created_at, deletes_at, deleted_at
  FROM test_clocks
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
"""


def list_page(conn: Connection, account_id: int, page: Page) -> Rows[TestClock]:
    """Clocks that are not deleted, newest first."""
    parameters = {"account_id": account_id}
    return fetch_page(
        conn, TestClock, LIST, parameters, page, table="test_clocks", what="test clock"
    )


ADVANCING = """
SELECT id
  FROM test_clocks
 WHERE account_id = %(account_id)s
   AND status = 'advancing'
 ORDER BY id
"""


def advancing(conn: Connection, account_id: int) -> list[str]:
    """The clocks that are on their way."""
    return [row[0] for row in conn.execute(ADVANCING, {"account_id": account_id})]


UPDATE = """
UPDATE test_clocks
   SET name = %(name)s, status = %(status)s, frozen_at = %(frozen_at)s, target_at = %(target_at)s,
       failure = %(failure)s, deletes_at = %(deletes_at)s, deleted_at = %(deleted_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, clock: TestClock) -> None:
    """Write the clock, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, clock))


MOVE = """
UPDATE test_clocks
   SET frozen_at = %(now)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def move(conn: Connection, account_id: int, clock_id: str, now: datetime) -> None:
    """Let it be ``now`` on an advancing clock."""
    conn.execute(MOVE, {"account_id": account_id, "id": clock_id, "now": now})


FINISH = """
UPDATE test_clocks
   SET status = 'ready', frozen_at = target_at, target_at = NULL
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND status = 'advancing'
"""


def finish(conn: Connection, account_id: int, clock_id: str) -> None:
    """An advancing clock is where it was going."""
    conn.execute(FINISH, {"account_id": account_id, "id": clock_id})


FAIL = """
UPDATE test_clocks
   SET status = 'internal_failure', target_at = NULL, failure = %(failure)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND status = 'advancing'
"""


def fail(conn: Connection, account_id: int, clock_id: str, failure: str) -> None:
    """An advancing clock cannot go on, for the reason given."""
    conn.execute(FAIL, {"account_id": account_id, "id": clock_id, "failure": failure})
