"""Invoices that wait to be tried again, or to be given up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.subscriptions import SubscriptionStatus
from postpaid.storage.database import Connection, as_json_rows, fetch


@dataclass(frozen=True, slots=True)
class Retry:
    """How far the collection of an invoice is.

    It is tried again at ``retry_at``, after ``tries``, of which the last was at ``tried_at``; or
    it is given up at ``gives_up_at``. None of both: nothing happens by itself.
    """

    id: str
    retry_at: datetime | None
    retry_tries: int
    tried_at: datetime | None
    gives_up_at: datetime | None


COLUMNS = ("id", "retry_at", "retry_tries", "tried_at", "gives_up_at")

LOAD = """
SELECT id, retry_at, retry_tries, tried_at, gives_up_at
  FROM invoices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Retry]:
    """How far the collection of each invoice is, by the invoice's id."""
    rows = fetch(conn, Retry, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


UPDATE = """
UPDATE invoices i
   SET retry_at = r.retry_at, retry_tries = r.retry_tries, tried_at = r.tried_at,
       gives_up_at = r.gives_up_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, retry_at timestamptz, retry_tries smallint, tried_at timestamptz,
       gives_up_at timestamptz)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
"""


def update_many(conn: Connection, account_id: int, retries: Sequence[Retry]) -> None:
    """Write how far the collection of invoices is. The caller holds the customers."""
    if retries:
        conn.execute(UPDATE, {"account_id": account_id, "rows": as_json_rows(retries, COLUMNS)})


CLAIM_DUE = """
SELECT i.id
  FROM invoices i
  JOIN customers c ON c.account_id = i.account_id AND c.id = i.customer_id
 WHERE i.account_id = %(account_id)s
   AND i.retry_at <= %(now)s
   AND NOT EXISTS (
       SELECT
         FROM payment_attempts a
        WHERE a.account_id = i.account_id
          AND a.invoice_id = i.id
          AND a.status IN ('pending', 'processing'))
   AND (i.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND i.clock_id IS NULL))
 ORDER BY i.retry_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_due(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Retry]:
    """Invoices whose retry has come, oldest first, with their customers locked.

    One whose payment is under way is left out until its outcome is known.
    """
    found = _claimed(conn, account_id, clock_id, CLAIM_DUE, now=now, limit=limit)
    return [each for each in found if each.retry_at is not None and each.retry_at <= now]


CLAIM_GIVEN_UP = """
SELECT i.id
  FROM invoices i
  JOIN customers c ON c.account_id = i.account_id AND c.id = i.customer_id
 WHERE i.account_id = %(account_id)s
   AND i.gives_up_at <= %(now)s
   AND (i.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND i.clock_id IS NULL))
 ORDER BY i.gives_up_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_given_up(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Retry]:
    """Invoices of which the last retry was in vain, oldest first, with their customers locked."""
    found = _claimed(conn, account_id, clock_id, CLAIM_GIVEN_UP, now=now, limit=limit)
    return [each for each in found if each.gives_up_at is not None and each.gives_up_at <= now]


def _claimed(
    conn: Connection,
    account_id: int,
    clock_id: str | None,
    claim: str,
    *,
    now: datetime,
    limit: int,
) -> list[Retry]:
    """What the statement claims, as it is once its customers are locked."""
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(claim.encode(), parameters)]
    found = load(conn, account_id, ids) if ids else {}
    return [found[each] for each in ids if each in found]


DECLINED = """
SELECT DISTINCT invoice_id, payment_method_id
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
   AND status = 'failed'
   AND (decline_code = ANY(%(codes)s) OR failure_code = ANY(%(codes)s))
"""


def declined(
    conn: Connection, account_id: int, invoice_ids: Sequence[str], codes: Iterable[str]
) -> set[tuple[str, str]]:
    """The payment methods that were declined for one of the reasons: (invoice, payment method)."""
    parameters = {
        "account_id": account_id,
        "invoice_ids": list(invoice_ids),
        "codes": sorted(codes),
    }
    return {(row[0], row[1]) for row in conn.execute(DECLINED, parameters)}


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a subscription decides about the retries of its invoices."""

    id: str
    status: SubscriptionStatus
    retry_schedule_id: str | None
    waits_for: str | None  # the invoice that a pending update waits for


STANDINGS = """
SELECT id, status, retry_schedule_id, pending_update ->> 'invoice_id' AS waits_for
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def standings(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Standing]:
    """The subscriptions' standings, by id."""
    rows = fetch(conn, Standing, STANDINGS, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}
