"""The passes over due work: what happens by itself when time has passed, on one screen.

Due work is a query over the business rows, claimed by locking the customers it belongs to and
skipping those that another worker holds. Nothing is kept elsewhere, so a crash loses nothing: what
was not done is still due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from time import monotonic

from postpaid.billing import cancel, collect
from postpaid.billing.announce_upcoming import announce_upcoming
from postpaid.billing.begin_phases import begin_due_phases
from postpaid.billing.bill_thresholds import bill_reached
from postpaid.billing.close_periods import close_periods
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.drop_updates import expire_updates
from postpaid.billing.finalize import finalize, park
from postpaid.billing.follow import follow_settled
from postpaid.billing.manage_credit_grants import expire_grants
from postpaid.billing.pause import resume_due
from postpaid.billing.perform import Act
from postpaid.billing.record_outcomes import RECHECK
from postpaid.billing.remind import announce_expiring, remind_due
from postpaid.billing.retry import give_up_due, retry_due
from postpaid.billing.settle import PATIENCE_S, settle
from postpaid.billing.withhold import still_withheld, withhold
from postpaid.core.credits import EXPIRY_GRACE
from postpaid.core.invoicing import Invoice
from postpaid.storage import (
    credit_grants,
    customers,
    due,
    invoices,
    payments,
    payments_due,
    subscriptions_due,
)
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import PaymentAttempt

BATCH = 500  # subscriptions or invoices in one transaction


def run_passes(database: Database, act: Act, *, wall: datetime) -> int:
    """Do one batch of everything that is due at ``act.now`` on its clock; return how much it was.

    ``wall`` is the real time, by which outside calls are leased. Raises as ``run_all`` does.
    """
    return run_all(partial(each, database, act, wall) for each in PASSES)


def run_all(works: Iterable[Callable[[], int]]) -> int:
    """Do each of the works, whatever becomes of the others; return how much they were together.

    Raises ``ExceptionGroup`` of the failures, once all had their turn: what one of them cannot do
    must not keep another's from being done.
    """
    done = 0
    failures: list[Exception] = []
    for work in works:
        try:
            done += work()
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise ExceptionGroup("Some due work failed; it stays due.", failures)
    return done


def settle_awaited(database: Database, act: Act, wall: datetime) -> int:
    """On a test clock, payments that were not decided at once: asked about once on the way.

    By the wall clock leases say when, and real gateways know of no other.
    """
    if act.clock_id is None:
        return 0
    with database.connection() as conn:
        attempts = payments_due.awaited_on_clock(
            conn, act.account_id, act.clock_id, attempted_until=act.now - RECHECK, limit=BATCH
        )
    settle(database, act, attempts)
    return len(attempts)


def expire_unpaid(database: Database, act: Act, wall: datetime) -> int:
    """Incomplete subscriptions whose first payment did not come within 23 hours."""
    with database.transaction() as conn:
        unpaid = subscriptions_due.claim_expiring(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        _, failed = do_each(conn, unpaid, lambda some: cancel.expire(conn, act, some))
    raise_failed(failed)
    return len(unpaid)


def close_due_periods(database: Database, act: Act, wall: datetime) -> int:
    """Subscriptions whose period has ended: to drafts."""
    with database.transaction() as conn:
        ended = subscriptions_due.claim_closing(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        _, failed = do_each(
            conn,
            ended,
            lambda some: close_periods(conn, act, some),
            lambda one, why: subscriptions_due.park(conn, act.account_id, {one.id: why}),
        )
    raise_failed(failed)
    return len(ended)


def finalize_due_drafts(database: Database, act: Act, wall: datetime) -> int:
    """Drafts whose grace has passed: to open invoices, and those to a payment."""
    with database.transaction() as conn:
        drafts = invoices.claim_finalizing(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        attempts, failed = do_each(
            conn,
            drafts,
            lambda some: _finalize(conn, act, some, wall),
            lambda one, why: park(conn, act, [(one, why)]),
        )
    settle(database, act, attempts)
    raise_failed(failed)
    return len(drafts)


def _finalize(
    conn: Connection, act: Act, drafts: Sequence[Invoice], wall: datetime
) -> list[PaymentAttempt]:
    locked = customers.lock(conn, act.account_id, list({draft.customer_id for draft in drafts}))
    drafts, fates = still_withheld(conn, act, drafts)
    final = finalize(conn, act, drafts, locked)
    follow_settled(conn, act, final)
    withhold(conn, act, final, fates)
    charged = [invoice for invoice in final if collect.is_collected_automatically(invoice)]
    return collect.attempt(conn, act, charged, locked, wall=wall, automatic=True)


def expire_credit(database: Database, act: Act, wall: datetime) -> int:
    """Credit grants whose time has passed: what is left of them is gone."""
    with database.transaction() as conn:
        expired = credit_grants.claim_expiring(
            conn,
            act.account_id,
            act.clock_id,
            now=act.now,
            expired_before=act.now - EXPIRY_GRACE,
            limit=BATCH,
        )
        _, failed = do_each(conn, expired, lambda some: expire_grants(conn, act, some))
    raise_failed(failed)
    return len(expired)


PASSES: tuple[Callable[[Database, Act, datetime], int], ...] = (
    settle_awaited,
    expire_unpaid,
    bill_reached,
    expire_updates,
    resume_due,
    begin_due_phases,
    close_due_periods,
    finalize_due_drafts,
    expire_credit,
    retry_due,
    give_up_due,
    remind_due,
    announce_upcoming,
    announce_expiring,
)


def settle_abandoned(database: Database, act: Act, *, wall: datetime) -> int:
    """Attempts whose asker died before the outcome was recorded: ask again, with the same key."""
    with database.transaction() as conn:
        ids = payments_due.claim_unsettled(
            conn,
            act.account_id,
            now=wall,
            leased_until=wall + collect.LEASE,
            recheck_at=wall + RECHECK,
            limit=BATCH,
        )
        attempts = list(payments.load(conn, act.account_id, ids).values())
        clock_of = due.clocks_of_attempts(conn, act.account_id, ids)
    begun = monotonic()

    def of_clock(clock_id: str | None, now: datetime | None) -> int:
        if monotonic() - begun > PATIENCE_S:
            return 0  # theirs wait for their lease
        here = [each for each in attempts if clock_of[each.id] == (clock_id, now)]
        settle(database, act.at(now or act.now, clock_id), here)
        return 0

    run_all(partial(of_clock, *each) for each in sorted(set(clock_of.values()), key=str))
    return len(attempts)


def due_at(conn: Connection, account_id: int, clock_id: str) -> datetime | None:
    """The earliest moment at which a pass has something to do for the clock's customers."""
    return due.earliest(conn, account_id, clock_id, recheck=RECHECK)
