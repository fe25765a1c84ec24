"""Deliveries of events to endpoints: the outbox.

A delivery is due, leased, retried later (``due_at``), or waits behind an earlier one of the same
subject (none). Only whoever has the endpoint locked moves them; writers of events only add to them,
always as due, and whoever claims finds out which must wait. So a subject's earliest pending
delivery is never one that waits, and each is looked at a few times in all, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.core.deliveries import DeliveryStatus, Facade
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and what became of it.

    ``told_as`` is the code by which it is told, None for the event's own type. An event that a
    façade tells as several things is as many deliveries.
    """

    id: str
    endpoint_id: str
    event_id: str
    subject_id: str
    status: DeliveryStatus
    due_at: datetime | None
    attempts: int
    failures: int
    created_at: datetime
    settled_at: datetime | None
    told_as: str | None = None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """What is to be told of an event; the subject is what it happened to."""

    id: str
    endpoint_id: str
    event_id: str
    subject_id: str
    created_at: datetime
    told_as: str | None = None


NEW = ("id", "endpoint_id", "event_id", "subject_id", "created_at", "told_as")
_new_values = values_of(*NEW)


def insert_many(conn: Connection, account_id: int, deliveries: Sequence[NewDelivery]) -> None:
    """Write deliveries, due at once, in the order given: that of what happened to each subject."""
    if not deliveries:
        return
    copy_into(
        conn,
        "webhook_deliveries",
        ("account_id", *NEW),
        ((account_id, *_new_values(each)) for each in deliveries),
    )


PENDING_COUNTS = """
SELECT d.event_id, count(*)
  FROM webhook_deliveries d
  JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.id = d.endpoint_id
 WHERE d.account_id = %(account_id)s
   AND d.event_id = ANY(%(event_ids)s)
   AND d.status = 'pending'
   AND e.facade = %(facade)s
   AND e.deleted_at IS NULL
 GROUP BY d.event_id
"""


def pending_counts(
    conn: Connection, account_id: int, event_ids: Sequence[str], *, facade: Facade
) -> dict[str, int]:
    """How many of the façade's endpoints are yet to be told of each event; no key for none."""
    parameters = {"account_id": account_id, "event_ids": list(event_ids), "facade": facade}
    return dict(conn.execute(PENDING_COUNTS, parameters).fetchall())


CLAIM = """
WITH due AS MATERIALIZED (
    (SELECT id, subject_id, sequence
       FROM webhook_deliveries
      WHERE account_id = %(account_id)s
        AND endpoint_id = %(endpoint_id)s
        AND due_at = 'epoch'
      ORDER BY sequence
      LIMIT %(limit)s)
    UNION ALL
    (SELECT id, subject_id, sequence
       FROM webhook_deliveries
      WHERE account_id = %(account_id)s
        AND endpoint_id = %(endpoint_id)s
        AND due_at > 'epoch'
        AND due_at <= %(now)s
      ORDER BY due_at, sequence
      LIMIT %(limit)s)),
heads AS MATERIALIZED (
    SELECT s.subject_id, h.id, h.sequence
      FROM (SELECT DISTINCT subject_id
              FROM due) s
      CROSS JOIN LATERAL (
            SELECT p.id, p.sequence
              FROM webhook_deliveries p
             WHERE p.account_id = %(account_id)s
               AND p.endpoint_id = %(endpoint_id)s
               AND p.subject_id = s.subject_id
               AND p.status = 'pending'
             ORDER BY p.sequence
             LIMIT 1) h),
train AS MATERIALIZED (
    SELECT t.id
      FROM heads h
      CROSS JOIN LATERAL (
            SELECT p.id, p.sequence,
                   bool_and(coalesce(p.due_at, 'epoch') <= %(now)s) OVER (ORDER BY p.sequence)
                   AS is_free  -- nobody has it, or one before it
              FROM (SELECT id, sequence, due_at
                      FROM webhook_deliveries
                     WHERE account_id = %(account_id)s
                       AND endpoint_id = %(endpoint_id)s
                       AND subject_id = h.subject_id
                       AND status = 'pending'
                     ORDER BY sequence
                     LIMIT %(train)s) p) t
     WHERE t.is_free
     ORDER BY h.sequence, t.sequence
     LIMIT %(limit)s),
moved AS (
    SELECT id, true AS ours
      FROM train
     UNION ALL
    SELECT id, false
      FROM due
     WHERE id NOT IN (SELECT id FROM train)
       AND id NOT IN (SELECT id FROM heads)),
written AS (
    UPDATE webhook_deliveries d
       SET due_at = CASE WHEN m.ours THEN %(leased_until)s::timestamptz END
      FROM moved m
     WHERE d.account_id = %(account_id)s
       AND d.id = m.id
    RETURNING d.id, d.endpoint_id, d.event_id, d.subject_id, d.status, d.due_at, d.attempts,
              d.failures, d.created_at, d.settled_at, d.told_as, d.sequence, m.ours)
SELECT id, endpoint_id, event_id, subject_id, status, due_at, attempts, failures, created_at,
       settled_at, told_as
  FROM written
 WHERE ours
 ORDER BY sequence
"""


def claim(
    conn: Connection,
    account_id: int,
    endpoint_id: str,
    *,
    now: datetime,
    leased_until: datetime,
    limit: int,
    train: int,
) -> list[Delivery]:
    """Deliveries of the endpoint, which the caller has locked; they are ours until the lease ends.

    Of each subject they are the earliest pending ones, at most ``train``, oldest first. What is due
    behind an earlier one is made to wait for it.
    """
    parameters = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "now": now,
        "leased_until": leased_until,
        "limit": limit,
        "train": train,
    }
    return fetch(conn, Delivery, CLAIM, parameters)


SETTLE = """
UPDATE webhook_deliveries d
   SET status = r.status, due_at = r.due_at, attempts = r.attempts, failures = r.failures,
       settled_at = r.settled_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, due_at timestamptz, attempts integer, failures integer,
       settled_at timestamptz)
 WHERE d.account_id = %(account_id)s
   AND d.id = r.id
   AND d.status = 'pending'
   AND d.due_at = %(leased_until)s
RETURNING d.id
"""
SETTLED = ("id", "status", "due_at", "attempts", "failures", "settled_at")


def settle(
    conn: Connection, account_id: int, deliveries: Sequence[Delivery], *, leased_until: datetime
) -> set[str]:
    """Write what became of deliveries claimed with that lease; return the ids of those still ours.

    The caller has their endpoint locked, and calls ``release_waiting`` afterwards.
    """
    parameters = {
        "account_id": account_id,
        "rows": as_json_rows(deliveries, SETTLED),
        "leased_until": leased_until,
    }
    return {row[0] for row in conn.execute(SETTLE, parameters)}


RELEASE_WAITING = """
UPDATE webhook_deliveries d
   SET due_at = 'epoch'
  FROM unnest(%(subject_ids)s::text[]) AS s(subject_id)
  CROSS JOIN LATERAL (
        SELECT p.id, p.due_at
          FROM webhook_deliveries p
         WHERE p.account_id = %(account_id)s
           AND p.endpoint_id = %(endpoint_id)s
           AND p.subject_id = s.subject_id
           AND p.status = 'pending'
         ORDER BY p.sequence
         LIMIT 1) head
 WHERE d.account_id = %(account_id)s
   AND d.id = head.id
   AND head.due_at IS NULL
"""


def release_waiting(
    conn: Connection, account_id: int, endpoint_id: str, subject_ids: Iterable[str]
) -> None:
    """Make each subject's earliest pending delivery due, if it waits: nothing is before it."""
    parameters = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "subject_ids": sorted(set(subject_ids)),
    }
    conn.execute(RELEASE_WAITING, parameters)


HASTEN = """
UPDATE webhook_deliveries d
   SET due_at = 'epoch', failures = 0
  FROM (SELECT account_id, id
          FROM webhook_deliveries
         WHERE account_id = %(account_id)s
           AND endpoint_id = %(endpoint_id)s
           AND due_at > %(after)s
         ORDER BY due_at, sequence
         LIMIT %(limit)s) AS chosen
 WHERE d.account_id = chosen.account_id
   AND d.id = chosen.id
"""


def hasten(
    conn: Connection, account_id: int, endpoint_id: str, *, after: datetime, limit: int
) -> None:
    """Make due at once what was to be tried again ``after`` then: past the end of any lease.

    The caller has the endpoint locked. At most ``limit``, the soonest first.
    """
    parameters = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "after": after,
        "limit": limit,
    }
    conn.execute(HASTEN, parameters)


BEGIN_AGAIN = """
UPDATE webhook_deliveries d
   SET status = 'pending', due_at = 'epoch', failures = 0, settled_at = NULL
  FROM (SELECT account_id, id
          FROM webhook_deliveries
         WHERE account_id = %(account_id)s
           AND endpoint_id = ANY(%(endpoint_ids)s)
           AND (%(event_id)s::text IS NULL OR event_id = %(event_id)s)
           AND (%(told_as)s::text IS NULL OR told_as = %(told_as)s)
           AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
           AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
           AND (status = 'failed' OR (status = 'delivered' AND NOT %(only_failed)s)
                OR due_at > %(after)s)
         ORDER BY sequence
         LIMIT %(limit)s) AS chosen
 WHERE d.account_id = chosen.account_id
   AND d.id = chosen.id
RETURNING d.id
"""


def begin_again(
    conn: Connection,
    account_id: int,
    endpoint_ids: Sequence[str],
    *,
    event_id: str | None = None,
    told_as: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    only_failed: bool,
    after: datetime,
    limit: int,
) -> list[str]:
    """Make deliveries due as if they were new, oldest first; return their ids.

    The caller has the endpoints locked. What is pending is on its way, and is hastened when it was
    to be tried again ``after`` then: past the end of any lease.
    """
    parameters = {
        "account_id": account_id,
        "endpoint_ids": list(endpoint_ids),
        "event_id": event_id,
        "told_as": told_as,
        "created_from": created_from,
        "created_before": created_before,
        "only_failed": only_failed,
        "after": after,
        "limit": limit,
    }
    return [row[0] for row in conn.execute(BEGIN_AGAIN, parameters)]


TOLD = """
SELECT endpoint_id, told_as
  FROM webhook_deliveries
 WHERE account_id = %(account_id)s
   AND event_id = %(event_id)s
"""


def told(conn: Connection, account_id: int, event_id: str) -> set[tuple[str, str | None]]:
    """The endpoints that were, or are to be, told of the event, and by which code."""
    parameters = {"account_id": account_id, "event_id": event_id}
    return {(row[0], row[1]) for row in conn.execute(TOLD, parameters)}


LOAD = """
SELECT d.id, d.endpoint_id, d.event_id, d.subject_id, d.status, d.due_at, d.attempts, d.failures,
       d.created_at, d.settled_at, d.told_as
  FROM webhook_deliveries d
 WHERE d.account_id = %(account_id)s
   AND d.id = ANY(%(ids)s)
 ORDER BY d.sequence
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> list[Delivery]:
    """The deliveries, oldest first."""
    return fetch(conn, Delivery, LOAD, {"account_id": account_id, "ids": list(ids)})


LIST = """
SELECT id, endpoint_id, event_id, subject_id, status, due_at, attempts, failures, created_at,
       settled_at, told_as
  FROM webhook_deliveries
 WHERE account_id = %(account_id)s
   AND endpoint_id = %(endpoint_id)s
   AND (%(status)s::text IS NULL OR status = %(status)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    endpoint_id: str,
    status: DeliveryStatus | None = None,
) -> Rows[Delivery]:
    """The endpoint's deliveries, newest first."""
    parameters: dict[str, Any] = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "status": status,
    }
    return fetch_page(
        conn,
        Delivery,
        LIST,
        parameters,
        page,
        table="webhook_deliveries",
        what="webhook delivery",
    )


DROP_DELETED = """
DELETE FROM webhook_deliveries d
 USING (SELECT w.account_id, w.id
          FROM webhook_endpoints e
          JOIN webhook_deliveries w ON w.account_id = e.account_id AND w.endpoint_id = e.id
         WHERE e.account_id = %(account_id)s
           AND e.deleted_at IS NOT NULL
         LIMIT %(limit)s
           FOR UPDATE OF w SKIP LOCKED) AS dropped
 WHERE d.account_id = dropped.account_id
   AND d.id = dropped.id
"""


def drop_deleted(conn: Connection, account_id: int, *, limit: int) -> int:
    """Delete deliveries of deleted endpoints; returns how many."""
    return conn.execute(DROP_DELETED, {"account_id": account_id, "limit": limit}).rowcount


DELETE_OLD = """
DELETE FROM webhook_deliveries d
 USING (SELECT account_id, id
          FROM webhook_deliveries
         WHERE account_id = %(account_id)s
           AND id < %(first_id)s
           AND status <> 'pending'
         ORDER BY id
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS old
 WHERE d.account_id = old.account_id
   AND d.id = old.id
"""


def delete_old(conn: Connection, account_id: int, *, first_id: str, limit: int) -> int:
    """Delete settled deliveries made before ``first_id``, oldest first; returns how many."""
    parameters = {"account_id": account_id, "first_id": first_id, "limit": limit}
    return conn.execute(DELETE_OLD, parameters).rowcount
