"""Usage has grown → the percentages of quotas that it has reached, each said once in a window.

What was said is written under a unique key, so that it is said once whatever happens.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.billing.stand_in_quotas import Pair, Stood, stand
from postpaid.core.usage_quotas import ReachedQuota, UsageQuota, quota_of, reached
from postpaid.storage import customers, usage_quotas
from postpaid.storage.database import Connection
from postpaid.storage.usage_quotas import Mark


def watch_quotas(conn: Connection, act: Act, pairs: Collection[Pair]) -> set[Pair]:
    """Say which quotas the customers' usage of the meters has reached; return who has one.

    Those are looked at with every event: in a new window all begins at nothing. One statement where
    there are no quotas, and a few more for all of them where there are.
    """
    # Read.
    quotas = usage_quotas.load_watching(
        conn, act.account_id, {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    )
    watched = {pair: quota for pair in pairs if (quota := quota_of(quotas, *pair))}
    if not watched:
        return set()
    stood = stand(conn, act, sorted(watched))

    # Decide.
    due = {
        Mark(quota.id, pair[0], stood[pair].standing.start_at, percent): pair
        for pair, quota in sorted(watched.items())
        for percent in reached(quota, stood[pair].standing)
    }

    # Write.
    ends = {mark: stood[pair].standing.end_at for mark, pair in due.items()}
    new = usage_quotas.mark(conn, act.account_id, ends, reached_at=act.now)
    fresh = [(mark, pair) for mark, pair in due.items() if mark in new]
    if fresh:
        _announce(conn, act, fresh, watched, stood)
    return set(watched)


def _announce(
    conn: Connection,
    act: Act,
    fresh: Sequence[tuple[Mark, Pair]],
    watched: dict[Pair, UsageQuota],
    stood: dict[Pair, Stood],
) -> None:
    """Say it at the time of each customer; a statement or two more for each test clock."""
    owners = customers.load(conn, act.account_id, {pair[0] for _, pair in fresh})
    said: dict[str | None, tuple[Act, list[Announcement]]] = {}
    for mark, pair in fresh:
        owner = owners[pair[0]]
        at = act.at(owner.now(act.now), owner.clock_id)
        _, announcements = said.setdefault(owner.clock_id, (at, []))
        it = _reached(at, mark, watched[pair], stood[pair])
        announcements.append(Announcement("usage_quota.reached", "reached_quota", it.id, it))
    for at, announcements in said.values():
        announce(conn, at, announcements)


def _reached(act: Act, mark: Mark, quota: UsageQuota, stood: Stood) -> ReachedQuota:
    standing = stood.standing
    return ReachedQuota(
        id=act.new_id("uqr"),
        quota=quota,
        customer_id=mark.customer_id,
        percent=mark.percent,
        quantity=standing.quantity,
        amount=standing.amount,
        start_at=standing.start_at,
        end_at=standing.end_at,
        created_at=act.now,
        subscription_id=standing.subscription_id,
        event_name=stood.meter.event_name,
    )
