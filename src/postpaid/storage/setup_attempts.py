"""Setup attempts and their outcomes: each try to set a payment method up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.payments import AttemptStatus


@dataclass(frozen=True, slots=True)
class SetupAttempt:
    """One try to set ``payment_method_id`` up, for a setup intent; it takes no money.

    Its id is the idempotency key that the gateway is given. Until ``leased_until`` (wall clock)
    nobody else shall ask.
    """

    id: str
    setup_intent_id: str
    customer_id: str | None
    payment_method_id: str
    gateway: str
    gateway_token: str
    status: AttemptStatus
    gateway_reference: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    next_action: Mapping[str, Any] | None
    leased_until: datetime | None
    attempted_at: datetime
    settled_at: datetime | None


COLUMNS = (
    "id",
    "setup_intent_id",
    "customer_id",
    "payment_method_id",
    "gateway",
    "gateway_token",
    "status",
    "gateway_reference",
    "failure_code",
    "decline_code",
    "failure_message",
    "next_action",
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
    "next_action",
    "leased_until",
    "settled_at",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, attempts: Sequence[SetupAttempt]) -> None:
    """Write attempts that are about to be made."""
    if attempts:
        copy_into(
            conn,
            "setup_attempts",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in attempts),
        )


LOAD = """
SELECT id, setup_intent_id, customer_id, payment_method_id, gateway, gateway_token, status,
       gateway_reference, failure_code, decline_code, failure_message, next_action, leased_until,
       attempted_at, settled_at
  FROM setup_attempts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, SetupAttempt]:
    """The attempts by id."""
    rows = fetch(conn, SetupAttempt, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


UNSETTLED_OF = """
SELECT id, setup_intent_id, customer_id, payment_method_id, gateway, gateway_token, status,
       gateway_reference, failure_code, decline_code, failure_message, next_action, leased_until,
       attempted_at, settled_at
  FROM setup_attempts
 WHERE account_id = %(account_id)s
   AND setup_intent_id = ANY(%(intent_ids)s)
   AND status IN ('pending', 'action_required', 'processing')
"""


def unsettled_of(
    conn: Connection, account_id: int, intent_ids: Sequence[str]
) -> dict[str, SetupAttempt]:
    """The attempt of each setup intent that may yet succeed, by the intent's id."""
    parameters = {"account_id": account_id, "intent_ids": list(intent_ids)}
    rows = fetch(conn, SetupAttempt, UNSETTLED_OF, parameters)
    return {row.setup_intent_id: row for row in rows}


SETTLE = """
UPDATE setup_attempts a
   SET status = r.status, gateway_reference = r.gateway_reference,
       failure_code = r.failure_code, decline_code = r.decline_code,
       failure_message = r.failure_message, next_action = r.next_action,
       leased_until = r.leased_until, settled_at = r.settled_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, gateway_reference text, failure_code text, decline_code text,
       failure_message text, next_action json, leased_until timestamptz, settled_at timestamptz)
 WHERE a.account_id = %(account_id)s
   AND a.id = r.id
   AND a.status IN ('pending', 'action_required', 'processing')
   AND a.status <> r.status
RETURNING a.id
"""


def settle(conn: Connection, account_id: int, attempts: Sequence[SetupAttempt]) -> set[str]:
    """Write what became of attempts; return the ids of those to which that was new."""
    if not attempts:
        return set()
    parameters = {"account_id": account_id, "rows": as_json_rows(attempts, OUTCOME)}
    return {row[0] for row in conn.execute(SETTLE, parameters)}


CLAIM_UNSETTLED = """
UPDATE setup_attempts a
   SET leased_until = CASE a.status WHEN 'pending' THEN %(leased_until)s::timestamptz
                      ELSE %(recheck_at)s END
  FROM (SELECT account_id, id
          FROM setup_attempts
         WHERE account_id = %(account_id)s
           AND status IN ('pending', 'action_required', 'processing')
           AND leased_until < %(now)s
         ORDER BY leased_until
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS due
 WHERE a.account_id = due.account_id
   AND a.id = due.id
RETURNING a.id
"""


def claim_unsettled(
    conn: Connection,
    account_id: int,
    *,
    now: datetime,
    leased_until: datetime,
    recheck_at: datetime,
    limit: int,
) -> list[str]:
    """Ids of attempts to ask about now, as the asker is thought dead, or somebody needs time."""
    parameters = {
        "account_id": account_id,
        "now": now,
        "leased_until": leased_until,
        "recheck_at": recheck_at,
        "limit": limit,
    }
    return [row[0] for row in conn.execute(CLAIM_UNSETTLED, parameters)]


LIST = """
SELECT id, setup_intent_id, customer_id, payment_method_id, gateway, gateway_token, status,
       gateway_reference, failure_code, decline_code, failure_message, next_action, leased_until,
       attempted_at, settled_at
  FROM setup_attempts
 WHERE account_id = %(account_id)s
   AND setup_intent_id = %(setup_intent_id)s
   AND (%(created_from)s::timestamptz IS NULL OR attempted_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR attempted_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    setup_intent_id: str,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[SetupAttempt]:
    """The attempts at a setup intent, newest first."""
    parameters = {
        "account_id": account_id,
        "setup_intent_id": setup_intent_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn, SetupAttempt, LIST, parameters, page, table="setup_attempts", what="setup_attempt"
    )
