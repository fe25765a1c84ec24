"""Create test clocks, send them forward, and delete them with all that lives by them."""

from __future__ import annotations

from datetime import datetime, timedelta

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.manage_customers import delete_customers
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import customers, test_clocks
from postpaid.storage.database import Connection, wake_workers
from postpaid.storage.test_clocks import TestClock, TestClockStatus

KEPT_FOR = timedelta(days=30)  # Stripe


def create_test_clock(
    conn: Connection, act: Act, *, frozen_at: datetime, name: str | None
) -> TestClock:
    """Add a clock that stands at ``frozen_at``. Raises ``ActionNotAllowed`` in live mode."""
    if act.livemode:
        raise ActionNotAllowed("Test clocks exist in test mode only.")
    clock = TestClock(
        id=act.new_id("clock"),
        name=name,
        status=TestClockStatus.READY,
        frozen_at=frozen_at,
        target_at=None,
        failure=None,
        created_at=act.now,
        deletes_at=act.now + KEPT_FOR,
        deleted_at=None,
    )
    test_clocks.insert(conn, act.account_id, clock)
    _announce(conn, act, "created", clock)
    return clock


def advance_test_clock(
    conn: Connection, act: Act, clock_id: str, *, target_at: datetime
) -> TestClock:
    """Send the clock forward to ``target_at``; a worker takes it there.

    Raises ``NotFound``, ``ActionNotAllowed`` unless the clock is ready, and ``InvalidRequest`` for
    a target that is not after its time.
    """
    before = _lock(conn, act, clock_id)
    if before.status != TestClockStatus.READY:
        raise ActionNotAllowed(
            f"The test clock '{clock_id}' cannot be advanced while its status is "
            f"`{before.status}`.",
            param="id",
        )
    if target_at <= before.frozen_at:
        raise InvalidRequest(
            "A test clock only goes forward: `frozen_time` must be after its current time.",
            param="frozen_time",
        )
    after = replace(before, status=TestClockStatus.ADVANCING, target_at=target_at)
    test_clocks.update(conn, act.account_id, after)
    _announce(conn, act, "advancing", after, before)
    wake_workers(conn)
    return after


def delete_test_clock(conn: Connection, act: Act, clock_id: str) -> TestClock:
    """Delete the clock and its customers, whose subscriptions end. Raises ``NotFound``."""
    before = _lock(conn, act, clock_id)
    ids = customers.on_clock(conn, act.account_id, clock_id)
    locked = customers.lock(conn, act.account_id, ids)
    delete_customers(conn, act.at(before.frozen_at, clock_id), list(locked.values()))
    after = replace(before, status=TestClockStatus.READY, target_at=None, deleted_at=act.now)
    test_clocks.update(conn, act.account_id, after)
    _announce(conn, act, "deleted", after)
    return after


def _lock(conn: Connection, act: Act, clock_id: str) -> TestClock:
    clock = test_clocks.lock(conn, act.account_id, clock_id)
    if clock is None or clock.deleted_at:
        raise NotFound.of("test clock", clock_id)
    return clock


def _announce(
    conn: Connection, act: Act, happened: str, clock: TestClock, before: TestClock | None = None
) -> None:
    said = Announcement(
        f"test_helpers.test_clock.{happened}",
        "test_clock",
        clock.id,
        clock,
        changes(before, clock) if before else None,
    )
    announce(conn, act.at(clock.frozen_at, clock.id), [said])
