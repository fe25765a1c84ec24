"""Old answers and events → deleted, a bounded batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from postpaid import ids
from postpaid.billing.perform import Act
from postpaid.storage import deliveries, events, idempotency, retention
from postpaid.storage.database import Connection, Database

BATCH = 5_000  # rows of one kind in one transaction


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept that nothing else depends on; None is for ever."""

    v1_keys: timedelta = timedelta(hours=24)  # Stripe: at least
    v2_keys: timedelta = timedelta(days=30)  # Stripe
    events: timedelta | None = None  # Stripe shows those of 30 days


Pruner: TypeAlias = Callable[[Connection, Act, Retention, int], int]
"""Deletes up to so many old rows, and returns how many they were."""


def prune(database: Database, act: Act, keep: Retention, *, limit: int = BATCH) -> int:
    """Delete a batch of everything that is older than it is kept, at the wall clock's ``act.now``.

    Returns how many rows of the kind that had most: less than ``limit`` when nothing is left.
    """
    most = 0
    for pruner in PRUNERS:
        with database.transaction() as conn:
            most = max(most, pruner(conn, act, keep, limit))
    return most


def _keys(api: str, conn: Connection, act: Act, kept: timedelta, limit: int) -> int:
    return idempotency.delete_old(
        conn, act.account_id, api, before=act.now - kept, now=act.now, limit=limit
    )


def prune_v1_keys(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    return _keys("v1", conn, act, keep.v1_keys, limit)


def prune_v2_keys(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    return _keys("v2", conn, act, keep.v2_keys, limit)


def prune_frame_keys(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    """Frame says nothing of an age; they are kept as long as v1's."""
    return _keys("frame", conn, act, keep.v1_keys, limit)


def prune_events(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    """By when they were written, which their ids tell; on a test clock they happened at any time.

    An event that is still to be delivered stays; the log of deliveries goes with the others.
    """
    if keep.events is None:
        return 0
    first_id = ids.first_id("evt", act.now - keep.events)
    deleted = events.delete_old(conn, act.account_id, first_id=first_id, limit=limit)
    if deleted:
        retention.mark_events(conn, act.account_id, first_id)
    return deleted


def prune_deliveries(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    """With the events; one that is still to be made stays."""
    if keep.events is None:
        return 0
    first_id = ids.first_id("whd", act.now - keep.events)
    return deliveries.delete_old(conn, act.account_id, first_id=first_id, limit=limit)


def prune_dropped_deliveries(conn: Connection, act: Act, keep: Retention, limit: int) -> int:
    """Those of endpoints that were deleted."""
    return deliveries.drop_deleted(conn, act.account_id, limit=limit)


# Whoever keeps rows of another kind for some time adds how they are deleted here.
PRUNERS: Sequence[Pruner] = (
    prune_v1_keys,
    prune_v2_keys,
    prune_frame_keys,
    prune_events,
    prune_deliveries,
    prune_dropped_deliveries,
)
