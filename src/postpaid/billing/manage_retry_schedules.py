"""Create retry schedules, change them, and forget those that nobody uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from postpaid.billing.perform import Act
from postpaid.core.collection import RetrySchedule, checked
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.storage import invoice_numbers, retry_schedules
from postpaid.storage.database import Connection

SCHEDULES_MAX = 100  # of an account: all of them are read when a payment fails


def create_retry_schedule(conn: Connection, act: Act, schedule: RetrySchedule) -> RetrySchedule:
    """Add a schedule. Raises ``InvalidRequest`` for what is none, and for too many."""
    invoice_numbers.lock_settings(conn, act.account_id)  # who creates one now waits to be counted
    if len(retry_schedules.list_all(conn, act.account_id)) >= SCHEDULES_MAX:
        raise InvalidRequest(f"An account can have at most {SCHEDULES_MAX} retry schedules.")
    retry_schedules.insert(conn, act.account_id, checked(schedule))
    return schedule


def update_retry_schedule(
    conn: Connection, act: Act, schedule_id: str, change: Callable[[RetrySchedule], RetrySchedule]
) -> RetrySchedule:
    """Make the schedule what ``change`` makes of it; retries that have a time keep it.

    Raises ``NotFound``, and ``InvalidRequest`` for what is no schedule.
    """
    before = retry_schedules.lock(conn, act.account_id, schedule_id)
    if before is None:
        raise NotFound.of("retry schedule", schedule_id)
    after = checked(change(before))
    if after != before:
        retry_schedules.update(conn, act.account_id, after)
    return after


def delete_retry_schedule(conn: Connection, act: Act, schedule_id: str) -> RetrySchedule:
    """Forget the schedule. Raises ``NotFound``, and ``ActionNotAllowed`` while it is somebody's."""
    before = retry_schedules.lock(conn, act.account_id, schedule_id)
    if before is None:
        raise NotFound.of("retry schedule", schedule_id)
    if user := retry_schedules.used_by(conn, act.account_id, schedule_id):
        raise ActionNotAllowed(
            f"The retry schedule {schedule_id} is that of {user}; give it another one first.",
            code="resource_in_use",
        )
    retry_schedules.delete(conn, act.account_id, schedule_id)
    return before


def check_retry_schedules(conn: Connection, act: Act, asked: Iterable[str | None]) -> None:
    """Raises ``NotFound`` for an id that is no schedule. One statement, and none for none."""
    ids = {each for each in asked if each}
    found = retry_schedules.load(conn, act.account_id, ids) if ids else {}
    if missing := ids - found.keys():
        raise NotFound.of("retry schedule", min(missing), param="retry_schedule")
