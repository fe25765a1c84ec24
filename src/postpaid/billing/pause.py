"""Pause a subscription, so that nothing more is billed of it, and resume it."""

from __future__ import annotations

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
from postpaid.billing.move_items import Decision
from postpaid.billing.perform import Act
from postpaid.storage.database import Connection


def pause(conn: Connection, act: Act, subscription_id: str, asked: Pause) -> Changed:
    """Pause the subscription; ``change.finish`` collects its invoice, if any, after the commit.

    Raises ``NotFound``, and ``ActionNotAllowed`` for one that cannot be paused.
    """
    return _turn(conn, act, subscription_id, asked)


def resume(conn: Connection, act: Act, subscription_id: str, asked: Resumption) -> Changed:
    """Resume a paused subscription; ``change.finish`` collects its invoice after the commit.

    It is active at once, and past due if that payment fails (Stripe). Raises ``NotFound``, and
    ``ActionNotAllowed`` for one that is not paused.
    """
    return _turn(conn, act, subscription_id, asked)


def _turn(conn: Connection, act: Act, subscription_id: str, asked: Pause | Resumption) -> Changed:
    # Read.
    found, locked, wall, act = changing.lock_all(conn, act, [subscription_id])
    found, locked = changing.drop_pending(conn, act, found, locked)
    [before] = found.values()
    check_pause(before.status, asked)
    known = changing.read_known(conn, act, [before], ())

    # Decide.
    decision: Decision
    if isinstance(asked, Pause):
        decision, word = decide_pause(act, before, known, asked), "paused"
    else:
        decision, word = decide_resumption(act, before, known, asked), "resumed"
    drafts = [decision.invoice] if decision.invoice else []
    composed = {each.id: each for each in compose(conn, act, drafts, locked)}

    # Write.
    changing.write_bills(conn, act, [decision], composed)
    final = changing.finalize_bills(conn, act, composed.values(), locked)
    after = decision.after
    write_changed(conn, act, [(before, after)], known.sold)
    said = Announcement(f"customer.subscription.{word}", "subscription", after.id, after)
    announce(conn, act, [said])
    attempts = collect.attempt(
        conn,
        act,
        [each for each in final.values() if collect.is_collected_automatically(each)],
        locked,
        wall=wall,
        automatic=True,
    )
    invoice_id = drafts[0].id if drafts else None
    return Changed(subscription_id, invoice_id, [each.id for each in attempts])
