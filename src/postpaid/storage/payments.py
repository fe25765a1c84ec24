"""Payment attempts and their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg

from postpaid.core.errors import Conflict
from postpaid.storage.database import (
    Connection,
    as_json_rows,
    copy_into,
    fetch,
    values_of,
)


class AttemptStatus(StrEnum):
    """Pending until the gateway's answer is known."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PaymentAttempt:
    """One try to be paid ``amount`` minor units for an invoice.

    Its id is the idempotency key the gateway is given, so asking twice charges once.
    ``leased_until`` (wall clock) says until when whoever is asking may still be at it.
    """

    id: str
    invoice_id: str
    customer_id: str
    payment_method_id: str
    gateway: str
    gateway_token: str
    amount: int
    currency: str
    status: AttemptStatus
    automatic: bool
    gateway_reference: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    leased_until: datetime | None
    attempted_at: datetime
    settled_at: datetime | None


COLUMNS = (
    "id",
    "invoice_id",
    "customer_id",
    "payment_method_id",
    "gateway",
    "gateway_token",
    "amount",
    "currency",
    "status",
    "automatic",
    "gateway_reference",
    "failure_code",
    "decline_code",
    "failure_message",
    "leased_until",
    "attempted_at",
    "settled_at",
)
OUTCOME = (
    "id",
    "status",
    "gateway_reference",
    "failure_code",
    "decline_code",
    "failure_message",
    "settled_at",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, attempts: Sequence[PaymentAttempt]) -> None:
    """Write attempts that are about to be made.

    Raises ``Conflict`` when an invoice already has one without an outcome, or is paid.
    """
    try:
        copy_into(
            conn,
            "payment_attempts",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in attempts),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("A payment of this invoice is already under way.") from error


LOAD = """
SELECT id, invoice_id, customer_id, payment_method_id, gateway, gateway_token, amount, currency,
       status, automatic, gateway_reference, failure_code, decline_code, failure_message,
       leased_until, attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentAttempt]:
    """The attempts by id."""
    rows = fetch(conn, PaymentAttempt, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


PENDING = """
SELECT id, invoice_id, customer_id, payment_method_id, gateway, gateway_token, amount, currency,
       status, automatic, gateway_reference, failure_code, decline_code, failure_message,
       leased_until, attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
   AND status = 'pending'
"""


def pending_of(
    conn: Connection, account_id: int, invoice_ids: Sequence[str]
) -> dict[str, PaymentAttempt]:
    """The attempt without an outcome of each invoice that has one, by invoice id."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    return {row.invoice_id: row for row in fetch(conn, PaymentAttempt, PENDING, parameters)}


PENDING_ON_CLOCK = """
SELECT a.id
  FROM payment_attempts a
  JOIN invoices i ON i.account_id = a.account_id AND i.id = a.invoice_id
 WHERE a.account_id = %(account_id)s
   AND a.status = 'pending'
   AND i.clock_id = %(clock_id)s
 ORDER BY a.id
"""


def pending_on_clock(conn: Connection, account_id: int, clock_id: str) -> list[PaymentAttempt]:
    """The attempts without an outcome at invoices on the test clock."""
    parameters = {"account_id": account_id, "clock_id": clock_id}
    ids = [row[0] for row in conn.execute(PENDING_ON_CLOCK, parameters)]
    return list(load(conn, account_id, ids).values()) if ids else []


CLAIM_UNSETTLED = """
UPDATE payment_attempts a
   SET leased_until = %(leased_until)s
  FROM (SELECT account_id, id
          FROM payment_attempts
         WHERE account_id = %(account_id)s
           AND status = 'pending'
           AND leased_until < %(now)s
         ORDER BY leased_until
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS due
 WHERE a.account_id = due.account_id
   AND a.id = due.id
RETURNING a.id
"""


def claim_unsettled(
    conn: Connection, account_id: int, *, now: datetime, leased_until: datetime, limit: int
) -> list[str]:
    """Ids of attempts whose asker is thought dead; they are ours to ask about until the lease."""
    parameters = {
        "account_id": account_id,
        "now": now,
        "leased_until": leased_until,
        "limit": limit,
    }
    return [row[0] for row in conn.execute(CLAIM_UNSETTLED, parameters)]


SETTLE = """
UPDATE payment_attempts a
   SET status = r.status, gateway_reference = r.gateway_reference,
       failure_code = r.failure_code, decline_code = r.decline_code,
       failure_message = r.failure_message, settled_at = r.settled_at, leased_until = NULL
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, gateway_reference text, failure_code text, decline_code text,
       failure_message text, settled_at timestamptz)
 WHERE a.account_id = %(account_id)s
   AND a.id = r.id
   AND a.status = 'pending'
RETURNING a.id
"""


def settle(conn: Connection, account_id: int, attempts: Sequence[PaymentAttempt]) -> set[str]:
    """Write the outcomes; return the ids of those that had none before."""
    parameters = {"account_id": account_id, "rows": as_json_rows(attempts, OUTCOME)}
    return {row[0] for row in conn.execute(SETTLE, parameters)}
