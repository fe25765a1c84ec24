"""Let a test clock's time pass: every pass runs in time order, up to the target, however far.

The clock's row says where it is and where it is going, so an advance that is killed in the middle
goes on where it was. Each step moves the clock to the next moment at which something is due and
runs the same passes as the worker does by the wall clock.
"""

from __future__ import annotations

import time
from datetime import datetime

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.ask_refunds import ask_refunds
from postpaid.billing.pass_time import due_at, run_passes
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.storage import payments_due, refunds, test_clocks
from postpaid.storage.database import Database

PAUSE_S = 0.05
WAITED_FOR = 10  # such pauses is what others' payments under way are waited for
STUCK_AFTER = 200  # steps at one moment that get nothing done, before the clock is given up


def advance_clock(database: Database, act: Act, clock_id: str) -> bool:
    """Bring an advancing clock to its target; one that is not advancing is left alone.

    ``act`` is by the wall clock. Only one process advances a clock at a time; a second returns at
    once, with False.
    """
    with database.exclusively(f"clock/{act.account_id}/{clock_id}") as ours:
        if not ours:
            return False
        _settle_left_over(database, act, clock_id)
        _ask_refunds(database, act, clock_id)
        idle = 0
        while moment := _step(database, act, clock_id, waits=idle < WAITED_FOR):
            done = run_passes(database, act.at(moment, clock_id), wall=act.now)
            idle = 0 if done else idle + 1
            if idle:  # someone holds the customer; it cannot be for long
                time.sleep(PAUSE_S)
            if idle > STUCK_AFTER:
                _give_up(database, act, clock_id, moment)
                break
        return True


def _step(database: Database, act: Act, clock_id: str, *, waits: bool) -> datetime | None:
    """Move to the next moment at which something is due, or arrive; None once there.

    ``waits``: not while somebody else asks a gateway about a payment, which is over in a moment.
    """
    with database.transaction() as conn:
        clock = test_clocks.lock(conn, act.account_id, clock_id)
        if clock is None or clock.target_at is None:
            return None
        due = due_at(conn, act.account_id, clock_id)
        if due is not None and due <= clock.target_at:
            moment = max(due, clock.frozen_at)
            test_clocks.move(conn, act.account_id, clock_id, moment)
            return moment
        if waits and payments_due.is_pending_on_clock(conn, act.account_id, clock_id):
            return clock.frozen_at
        test_clocks.finish(conn, act.account_id, clock_id)
        arrived = test_clocks.lock(conn, act.account_id, clock_id)
        assert arrived is not None
        at_target = act.at(arrived.frozen_at, clock_id)
        announce(
            conn,
            at_target,
            [
                Announcement(
                    "test_helpers.test_clock.ready",
                    "test_clock",
                    clock_id,
                    arrived,
                    changes(clock, arrived),
                )
            ],
        )
        return None


def _settle_left_over(database: Database, act: Act, clock_id: str) -> None:
    """Ask about attempts of an advance that died in the middle, without waiting for their lease.

    Whoever made them is not advancing this clock any more, and to ask twice charges once.
    """
    with database.connection() as conn:
        attempts = payments_due.pending_on_clock(conn, act.account_id, clock_id)
        clock = test_clocks.find(conn, act.account_id, clock_id)
    if attempts and clock:
        settle(database, act.at(clock.frozen_at, clock_id), attempts)


def _ask_refunds(database: Database, act: Act, clock_id: str) -> None:
    """Ask what became of refunds that banks took time for: on a test clock, time has passed."""
    with database.connection() as conn:
        pending = refunds.pending_on_clock(conn, act.account_id, clock_id)
    ask_refunds(database, act, pending)


def _give_up(database: Database, act: Act, clock_id: str, moment: datetime) -> None:
    """Nothing that is due at this moment gets done: say so instead of trying for ever."""
    with database.transaction() as conn:
        reason = f"What is due at {moment.isoformat()} could not be done."
        test_clocks.fail(conn, act.account_id, clock_id, reason)
        clock = test_clocks.lock(conn, act.account_id, clock_id)
        assert clock is not None
        announce(
            conn,
            act.at(moment, clock_id),
            [
                Announcement(
                    "test_helpers.test_clock.internal_failure", "test_clock", clock_id, clock
                )
            ],
        )
