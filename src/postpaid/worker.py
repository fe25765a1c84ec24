"""The worker: the passes over due work, again and again, until told to stop."""

from __future__ import annotations

import logging
import threading

from postpaid import clock, ids
from postpaid.billing.advance_clock import advance_clock
from postpaid.billing.pass_time import run_passes, settle_abandoned
from postpaid.billing.perform import Act
from postpaid.storage import accounts, test_clocks
from postpaid.storage.database import Database

log = logging.getLogger(__name__)

PAUSE_S = 0.5  # between rounds that found nothing


def run(database: Database, stop: threading.Event) -> None:
    """Do due work until ``stop`` is set. Any number of workers may share a database.

    A round that fails is logged and tried again: what it did not commit is still due.
    """
    while not stop.is_set():
        try:
            done = run_round(database)
        except Exception:
            log.exception("A worker round failed; what is due stays due.")
            done = 0
        if not done:
            stop.wait(PAUSE_S)


def run_round(database: Database) -> int:
    """One batch of every pass, for every account and every advancing clock; returns how much."""
    wall = clock.now()
    done = 0
    with database.connection() as conn:
        everyone = accounts.list_all(conn)
    for account in everyone:
        act = Act(
            account_id=account.account_id,
            livemode=account.livemode,
            actor="worker",
            now=wall,
            new_id=ids.new_id,
            request_id=ids.new_id("req"),
        )
        done += run_passes(database, act, wall=wall)
        done += settle_abandoned(database, act, wall=wall)
        with database.connection() as conn:
            advancing = test_clocks.advancing(conn, account.account_id)
        for clock_id in advancing:
            advance_clock(database, act, clock_id)
            done += 1
    return done
