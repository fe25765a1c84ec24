"""The worker: what is due, done again and again until told to stop.

Three loops, so that neither a clock on its way through ten years nor a gateway that does not answer
keeps anybody waiting: one does what is due by the wall clock, one takes test clocks to where they
were sent, one asks gateways about what is in doubt. A fourth thread looks after the segments that
usage is stored in, a fifth deletes what has been kept for long enough, and a sixth delivers
webhooks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from postpaid import clock, ids
from postpaid.billing.advance_clock import advance_clock
from postpaid.billing.ask_refunds import ask_pending_refunds
from postpaid.billing.keep_segments import keep_segments
from postpaid.billing.pass_time import run_all, run_passes, settle_abandoned
from postpaid.billing.perform import Act
from postpaid.billing.prune import BATCH as PRUNED_MAX
from postpaid.billing.prune import Retention, prune
from postpaid.billing.report_rejections import report_rejections
from postpaid.billing.set_up import settle_abandoned_set_ups
from postpaid.config import Settings
from postpaid.storage import accounts, test_clocks, webhook_endpoints
from postpaid.storage.database import Database

log = logging.getLogger(__name__)

SEGMENTS_PAUSE_S = 60  # a segment fills in minutes at the least
PRUNE_PAUSE_S = 60  # what is old is a minute older then
PAUSE_S = 0.5  # the longest a loop that found nothing looks away


def run(database: Database, stop: threading.Event, settings: Settings | None = None) -> None:
    """Do due work until ``stop`` is set. Any number of workers may share a database."""
    settings = settings or Settings()
    keep = Retention(
        v1_keys=settings.idempotency_retention,
        v2_keys=settings.idempotency_retention_v2,
        events=settings.event_retention,
    )
    others = [
        threading.Thread(target=_loop, args=(database, stop, _advance_clocks), name="clocks"),
        threading.Thread(
            target=_loop,
            args=(database, stop, _ask_gateways),
            kwargs={"listens": False},  # what it asks about has waited for a lease to end
            name="gateways",
        ),
        threading.Thread(target=_keep_segments, args=(database, stop), name="segments"),
        threading.Thread(target=_prune, args=(database, stop, keep), name="prune"),
        threading.Thread(target=_deliver, args=(database, stop, settings), name="webhooks"),
    ]
    for thread in others:
        thread.start()
    _loop(database, stop, _pass_time)
    for thread in others:
        thread.join()


def _loop(
    database: Database,
    stop: threading.Event,
    work: Callable[[Database, Act], int],
    *,
    listens: bool = True,
) -> None:
    """Let every account have its turn, again and again; who ``listens`` is woken for new work.

    What fails in one account is logged and costs the others nothing; what it did not commit is
    still due, and tried again in the next round.
    """
    while not stop.is_set():
        done = 0
        try:
            for act in _acts(database):
                with _logged(act):
                    done += work(database, act)
            if not done and listens:
                database.wait_for_work(PAUSE_S)
            elif not done:
                stop.wait(PAUSE_S)
        except Exception:
            log.exception("A worker's round failed; what is due stays due.")
            stop.wait(PAUSE_S)


@contextmanager
def _logged(act: Act) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("Due work of account %d failed; it stays due.", act.account_id)


def _pass_time(database: Database, act: Act) -> int:
    """One batch of every pass, by the wall clock; returns how much it was."""
    return run_all(
        [
            partial(run_passes, database, act, wall=act.now),
            partial(report_rejections, database, act),
        ]
    )


def _ask_gateways(database: Database, act: Act) -> int:
    """One batch of each kind of what is in doubt, by the wall clock; returns how much it was."""
    return run_all(
        [
            partial(settle_abandoned, database, act, wall=act.now),
            partial(ask_pending_refunds, database, act, wall=act.now),
            partial(settle_abandoned_set_ups, database, act, wall=act.now),
        ]
    )


def _advance_clocks(database: Database, act: Act) -> int:
    """Every clock that is on its way, to where it is going; returns how many."""
    with database.connection() as conn:
        advancing = test_clocks.advancing(conn, act.account_id)
    done = 0
    for clock_id in advancing:
        with _logged(act):
            done += advance_clock(database, act, clock_id)
    return done


def _keep_segments(database: Database, stop: threading.Event) -> None:
    """Look after where usage is stored: once a minute, which takes one small query mostly."""
    while not stop.is_set():
        try:
            keep_segments(database, now=clock.now())
        except Exception:
            log.exception("The segments of usage could not be kept; it is tried again.")
        stop.wait(SEGMENTS_PAUSE_S)


def _prune(database: Database, stop: threading.Event, keep: Retention) -> None:
    """Delete what is old, once a minute, batch by batch while there is more."""
    while not stop.is_set():
        more = False
        try:
            for act in _acts(database):
                with _logged(act):
                    more |= prune(database, act, keep) >= PRUNED_MAX
        except Exception:
            log.exception("Old rows could not be deleted; it is tried again.")
        if not more:
            stop.wait(PRUNE_PAUSE_S)


def _deliver(database: Database, stop: threading.Event, settings: Settings) -> None:
    """Deliver webhooks; what sends them is imported when there is a first one."""
    while not stop.is_set():
        try:
            with database.connection() as conn:
                due = webhook_endpoints.due(conn, now=clock.now())
            if due:
                from postpaid import deliverer

                deliverer.run(database, stop, settings.webhook_allowed_networks)
        except Exception:
            log.exception("Webhooks could not be delivered; what is due stays due.")
        stop.wait(PAUSE_S)


def _acts(database: Database) -> list[Act]:
    """The worker's act in every account, now."""
    now = clock.now()
    with database.connection() as conn:
        everyone = accounts.list_all(conn)
    return [
        Act(
            account_id=account.account_id,
            livemode=account.livemode,
            actor="worker",
            now=now,
            new_id=ids.new_id,
        )
        for account in everyone
    ]
