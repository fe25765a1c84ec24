"""Subscriptions that something is due for: claimed, with their customers, by the passes."""

from __future__ import annotations

from datetime import datetime

from postpaid.core.subscriptions import Subscription
from postpaid.storage.database import Connection
from postpaid.storage.subscriptions import load

CLAIM_CLOSING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.closes_at <= %(now)s
   AND s.parked IS NULL
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.closes_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_closing(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Subscriptions whose period has ended, oldest first, with their customers locked.

    Customers that someone else holds are skipped: whoever holds them is closing them, or will be
    done before the next pass. Read anew after the lock, so that none is one that was just closed.
    """
    found = _claimed(conn, account_id, clock_id, CLAIM_CLOSING, now=now, limit=limit)
    return [each for each in found if each.closes_at is not None and each.closes_at <= now]


CLAIM_EXPIRING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.expires_at <= %(now)s
   AND NOT EXISTS (
       SELECT
         FROM payment_attempts a
        WHERE a.account_id = s.account_id
          AND a.invoice_id = s.latest_invoice_id
          AND a.status IN ('pending', 'processing'))
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.expires_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_expiring(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Incomplete subscriptions whose first payment came too late, with their customers locked.

    One whose payment is under way is left out until its outcome is known.
    """
    found = _claimed(conn, account_id, clock_id, CLAIM_EXPIRING, now=now, limit=limit)
    return [each for each in found if each.expires_at is not None and each.expires_at <= now]


CLAIM_EXPIRING_UPDATES = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.pending_update_expires_at <= %(now)s
   AND NOT EXISTS (
       SELECT
         FROM payment_attempts a
        WHERE a.account_id = s.account_id
          AND a.invoice_id = s.pending_update ->> 'invoice_id'
          AND a.status IN ('pending', 'processing'))
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.pending_update_expires_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_expiring_updates(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Subscriptions whose pending update was not paid in time, with their customers locked.

    One whose payment is under way is left out until its outcome is known.
    """
    found = _claimed(conn, account_id, clock_id, CLAIM_EXPIRING_UPDATES, now=now, limit=limit)
    return [
        each
        for each in found
        if each.pending_update_expires_at is not None and each.pending_update_expires_at <= now
    ]


CLAIM_RESUMING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.resumes_at <= %(now)s
   AND (s.closes_at IS NULL OR s.closes_at > s.resumes_at)
   AND s.parked IS NULL
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.resumes_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_resuming(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Paused subscriptions that are to go on by now, with their customers locked.

    One that ends before it would go on is left out.
    """
    found = _claimed(conn, account_id, clock_id, CLAIM_RESUMING, now=now, limit=limit)
    return [each for each in found if each.resumes_at is not None and each.resumes_at <= now]


PARK = """
UPDATE subscriptions
   SET parked = r.reason
  FROM unnest(%(ids)s::text[], %(reasons)s::text[]) AS r (id, reason)
 WHERE account_id = %(account_id)s
   AND subscriptions.id = r.id
"""


def park(conn: Connection, account_id: int, reasons: dict[str, str]) -> None:
    """Set aside subscriptions that cannot be billed, each with the reason, for a person to see."""
    if reasons:
        parameters = {"ids": list(reasons), "reasons": list(reasons.values())}
        conn.execute(PARK, {"account_id": account_id, **parameters})


def _claimed(
    conn: Connection,
    account_id: int,
    clock_id: str | None,
    claim: str,
    *,
    now: datetime,
    limit: int,
) -> list[Subscription]:
    """What the statement claims, as it is once its customers are locked."""
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(claim.encode(), parameters)]
    return list(load(conn, account_id, ids).values()) if ids else []
