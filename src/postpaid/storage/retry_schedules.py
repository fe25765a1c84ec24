"""Retry schedules: rows that say when an unpaid invoice is tried again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg.types.json import Jsonb

from postpaid.core.collection import RetrySchedule
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page

INSERT = """
INSERT INTO retry_schedules (account_id, id, kind, created_at, name, "window", days, after_retries,
                             segment, metadata)
VALUES (%(account_id)s, %(id)s, %(kind)s, %(created_at)s, %(name)s, %(window)s, %(days)s,
        %(after_retries)s, %(segment)s, %(metadata)s)
"""


def insert(conn: Connection, account_id: int, schedule: RetrySchedule) -> None:
    """Add a schedule."""
    conn.execute(INSERT, _parameters(account_id, schedule))


UPDATE = """
UPDATE retry_schedules
   SET kind = %(kind)s, name = %(name)s, "window" = %(window)s, days = %(days)s,
       after_retries = %(after_retries)s, segment = %(segment)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, schedule: RetrySchedule) -> None:
    """Write the schedule, which the caller has locked."""
    conn.execute(UPDATE, _parameters(account_id, schedule))


LOCK = """
SELECT id, kind, created_at, name, "window", days, after_retries, segment, metadata
  FROM retry_schedules
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR UPDATE
"""


def lock(conn: Connection, account_id: int, schedule_id: str) -> RetrySchedule | None:
    """The schedule, which stays as it is until the transaction ends."""
    return fetch_one(conn, RetrySchedule, LOCK, {"account_id": account_id, "id": schedule_id})


LOAD = """
SELECT id, kind, created_at, name, "window", days, after_retries, segment, metadata
  FROM retry_schedules
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, RetrySchedule]:
    """The schedules by id."""
    rows = fetch(conn, RetrySchedule, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LIST_ALL = """
SELECT id, kind, created_at, name, "window", days, after_retries, segment, metadata
  FROM retry_schedules
 WHERE account_id = %(account_id)s
 ORDER BY id
"""


def list_all(conn: Connection, account_id: int) -> list[RetrySchedule]:
    """All the account's schedules, oldest first; they are few."""
    return fetch(conn, RetrySchedule, LIST_ALL, {"account_id": account_id})


LIST = """
SELECT id, kind, created_at, name, "window", days, after_retries, segment, metadata
  FROM retry_schedules
 WHERE account_id = %(account_id)s
"""


def list_page(conn: Connection, account_id: int, page: Page) -> Rows[RetrySchedule]:
    """Schedules, newest first."""
    return fetch_page(
        conn,
        RetrySchedule,
        LIST,
        {"account_id": account_id},
        page,
        table="retry_schedules",
        what="retry_schedule",
    )


USED_BY = """
SELECT 'the account'
  FROM accounts
 WHERE account_id = %(account_id)s
   AND retry_schedule_id = %(id)s
 UNION ALL
SELECT *
  FROM (SELECT 'the subscription ' || id
          FROM subscriptions
         WHERE account_id = %(account_id)s
           AND retry_schedule_id = %(id)s
         LIMIT 1) AS s
 LIMIT 1
"""


def used_by(conn: Connection, account_id: int, schedule_id: str) -> str | None:
    """Somebody whose schedule it is, in words; None when it is nobody's."""
    row = conn.execute(USED_BY, {"account_id": account_id, "id": schedule_id}).fetchone()
    return str(row[0]) if row else None


DELETE = """
DELETE FROM retry_schedules
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def delete(conn: Connection, account_id: int, schedule_id: str) -> None:
    """Forget the schedule, which is nobody's."""
    conn.execute(DELETE, {"account_id": account_id, "id": schedule_id})


def _parameters(account_id: int, schedule: RetrySchedule) -> dict[str, Any]:
    return parameters_of(account_id, schedule) | {
        "days": None if schedule.days is None else list(schedule.days),
        "segment": None if schedule.segment is None else Jsonb(schedule.segment),
        "metadata": Jsonb(schedule.metadata),
    }
