"""Pause a subscription, so that nothing more is billed of it, and resume it, or let time do so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from postpaid.billing import change as changing
from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.change import Changed
from postpaid.billing.compose import compose
from postpaid.billing.decide_pause import (
    Pause,
    Resumption,
    check_pause,
    decide_pause,
    decide_resumption,
)
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.move_items import Decision, Known
from postpaid.billing.net_prices import net_prices
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import payments, subscription_schedules, subscriptions_due
from postpaid.storage.database import Connection, Database

BATCH = 200  # subscriptions in one transaction


def pause(conn: Connection, act: Act, subscription_id: str, asked: Pause) -> Changed:
    """Pause the subscription; ``change.finish`` collects its invoice, if any, after the commit.

    Raises ``NotFound``, ``ActionNotAllowed`` for one that cannot be paused, and ``InvalidRequest``
    for a pause that is to end before it begins.
    """
    return _turn_all(conn, act, {subscription_id: asked})[0]


def resume(conn: Connection, act: Act, subscription_id: str, asked: Resumption) -> Changed:
    """Resume a paused subscription; ``change.finish`` collects its invoice after the commit.

    It is active at once, and past due if that payment fails (Stripe). Raises ``NotFound``, and
    ``ActionNotAllowed`` for one that is not paused.
    """
    return _turn_all(conn, act, {subscription_id: asked})[0]


def resume_due(database: Database, act: Act, wall: datetime) -> int:
    """Paused subscriptions that were to go on by now: their periods begin when they were to."""
    with database.transaction() as conn:
        due = subscriptions_due.claim_resuming(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        changed, failed = do_each(
            conn,
            due,
            lambda some: _resume_all(conn, act.at(wall, None), some),
            lambda one, why: subscriptions_due.park(conn, act.account_id, {one.id: why}),
        )
        ids = [attempt_id for each in changed for attempt_id in each.attempt_ids]
        attempts = payments.load(conn, act.account_id, ids) if ids else {}
    settle(database, act, list(attempts.values()))
    raise_failed(failed)
    return len(due)


def _resume_all(conn: Connection, wall: Act, due: Sequence[Subscription]) -> list[Changed]:
    return _turn_all(conn, wall, {each.id: Resumption(at=each.resumes_at) for each in due})


def _turn_all(conn: Connection, act: Act, asked: Mapping[str, Pause | Resumption]) -> list[Changed]:
    """All of them turned, of customers who live at one time, by a constant number of statements."""
    # Read.
    found, locked, wall, act = changing.lock_all(conn, act, list(asked))
    found, locked = changing.drop_pending(conn, act, found, locked)
    for each in found.values():
        check_pause(each, asked[each.id], act.now)
    known = changing.read_known(conn, act, list(found.values()), ())
    turned = [(each, each) for each in found.values()]
    known = replace(known, nets=net_prices(conn, act, turned, known.sold, locked))

    # Decide.
    decisions = [_decided(act, each, known, asked[each.id]) for each in found.values()]
    drafts = [each.invoice for each in decisions if each.invoice]
    composed = {each.id: each for each in compose(conn, act, drafts, locked)}

    # Write.
    changing.write_bills(conn, act, decisions, composed)
    final = changing.finalize_bills(conn, act, composed.values(), locked)
    write_changed(conn, act, [(each.before, each.after) for each in decisions], known.sold)
    resumed = {
        subscription_id: each.at or act.now
        for subscription_id, each in asked.items()
        if isinstance(each, Resumption)
    }
    subscription_schedules.wait(conn, act.account_id, resumed)
    announce(conn, act, [_said(each.after, asked[each.after.id]) for each in decisions])
    attempts = collect.attempt(
        conn,
        act,
        [each for each in final.values() if collect.is_collected_automatically(each)],
        locked,
        wall=wall,
        automatic=True,
    )
    trying: dict[str, list[str]] = {}
    for attempt in attempts:
        trying.setdefault(attempt.invoice_id or "", []).append(attempt.id)
    return [_changed(each, trying) for each in decisions]


def _decided(act: Act, before: Subscription, known: Known, asked: Pause | Resumption) -> Decision:
    if isinstance(asked, Pause):
        return decide_pause(act, before, known, asked)
    return decide_resumption(act.at(asked.at or act.now, act.clock_id), before, known, asked)


def _said(after: Subscription, asked: Pause | Resumption) -> Announcement:
    word = "paused" if isinstance(asked, Pause) else "resumed"
    return Announcement(f"customer.subscription.{word}", "subscription", after.id, after)


def _changed(decision: Decision, trying: Mapping[str, list[str]]) -> Changed:
    if decision.invoice is None:
        return Changed(decision.before.id)
    invoice_id = decision.invoice.id
    return Changed(decision.before.id, invoice_id, trying.get(invoice_id, []))
