"""Payment attempts and their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg

from postpaid.core.errors import Conflict
from postpaid.core.payment_intents import charge_id_of
from postpaid.storage.database import (
    Connection,
    as_json_rows,
    copy_into,
    fetch,
    values_of,
)
from postpaid.storage.paging import Page, Rows, fetch_page


class AttemptStatus(StrEnum):
    """Pending until the gateway's answer is known."""

    PENDING = "pending"
    ACTION_REQUIRED = "action_required"  # the gateway waits for the customer
    PROCESSING = "processing"  # the gateway waits for a bank
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"  # given up before the customer acted


UNSETTLED = frozenset(
    {AttemptStatus.PENDING, AttemptStatus.ACTION_REQUIRED, AttemptStatus.PROCESSING}
)

REACHED = frozenset({AttemptStatus.PROCESSING, AttemptStatus.SUCCEEDED, AttemptStatus.FAILED})
"""Of attempts that are charges: what else was tried did not get as far as that."""


@dataclass(frozen=True)  # see core/values
class PaymentAttempt:
    """One try to be paid ``amount`` minor units, for a payment intent.

    Its id is the idempotency key the gateway is given, so asking twice charges once. ``asked`` says
    how often that was, and ``leased_until`` (wall clock) until when nobody else shall ask.
    ``on_session``: the customer is there to authenticate. It is not made before the attempt that
    it ``replaces``, which waits for the customer, is certain not to be charged.
    """

    id: str
    payment_intent_id: str
    invoice_id: str | None
    customer_id: str | None
    payment_method_id: str
    gateway: str
    gateway_token: str
    amount: int
    currency: str
    status: AttemptStatus
    automatic: bool
    on_session: bool
    asked: int
    replaces: str | None
    gateway_reference: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    next_action: Mapping[str, Any] | None
    amount_refunded: int
    leased_until: datetime | None
    attempted_at: datetime
    settled_at: datetime | None

    @property
    def charge_id(self) -> str:
        """What the attempt is called once it has charged, or failed to: Stripe's charge."""
        return charge_id_of(self.id)


COLUMNS = (
    "id",
    "payment_intent_id",
    "invoice_id",
    "customer_id",
    "payment_method_id",
    "gateway",
    "gateway_token",
    "amount",
    "currency",
    "status",
    "automatic",
    "on_session",
    "asked",
    "replaces",
    "gateway_reference",
    "failure_code",
    "decline_code",
    "failure_message",
    "next_action",
    "amount_refunded",
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


def insert_many(conn: Connection, account_id: int, attempts: Sequence[PaymentAttempt]) -> None:
    """Write attempts that are about to be made.

    Raises ``Conflict`` when a payment intent already has one without an outcome, or is paid.
    """
    try:
        copy_into(
            conn,
            "payment_attempts",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in attempts),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("This payment is already under way.") from error


LOAD = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentAttempt]:
    """The attempts by id."""
    rows = fetch(conn, PaymentAttempt, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


UNSETTLED_OF = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
   AND status IN ('pending', 'action_required', 'processing')
 ORDER BY status = 'action_required' DESC, id
"""


def unsettled_of(
    conn: Connection, account_id: int, invoice_ids: Sequence[str]
) -> dict[str, PaymentAttempt]:
    """The attempt of each invoice that may yet succeed, by invoice id.

    One under way goes before one that waits for the customer, which it replaces.
    """
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    rows = fetch(conn, PaymentAttempt, UNSETTLED_OF, parameters)
    return {row.invoice_id: row for row in rows if row.invoice_id}


def pending_of(
    conn: Connection, account_id: int, invoice_ids: Sequence[str]
) -> dict[str, PaymentAttempt]:
    """The attempt under way of each invoice that has one, by invoice id; it may succeed by itself.

    One that waits for the customer is not under way: it can be given up.
    """
    unsettled = unsettled_of(conn, account_id, invoice_ids)
    return {
        key: each for key, each in unsettled.items() if each.status != AttemptStatus.ACTION_REQUIRED
    }


OF_INTENTS = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND payment_intent_id = ANY(%(intent_ids)s)
   AND status = ANY(%(statuses)s)
 ORDER BY id
"""


def of_intents(
    conn: Connection,
    account_id: int,
    intent_ids: Iterable[str],
    *,
    statuses: Iterable[AttemptStatus],
) -> list[PaymentAttempt]:
    """The attempts at these payment intents that are in one of the statuses, oldest first."""
    parameters = {
        "account_id": account_id,
        "intent_ids": list(intent_ids),
        "statuses": [each.value for each in statuses],
    }
    return fetch(conn, PaymentAttempt, OF_INTENTS, parameters)


CONCLUDED_OF = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
   AND status IN ('succeeded', 'failed')
 ORDER BY settled_at, id
"""


def concluded_of(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> list[PaymentAttempt]:
    """The attempts at these invoices that have an outcome, in the order in which it came."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    return fetch(conn, PaymentAttempt, CONCLUDED_OF, parameters)


@dataclass(frozen=True, slots=True)
class Asking:
    """That the gateway is asked about an attempt for the ``asked``-th time.

    ``given_up``: nobody wants the payment any more.
    """

    id: str
    asked: int
    given_up: bool


BEGIN_ASKING = """
UPDATE payment_attempts a
   SET asked = a.asked + 1
  FROM payment_intents p
 WHERE a.account_id = %(account_id)s
   AND a.id = ANY(%(ids)s)
   AND a.status IN ('pending', 'action_required', 'processing')
   AND p.account_id = a.account_id
   AND p.id = a.payment_intent_id
RETURNING a.id, a.asked, p.status = 'canceled' AS given_up
"""


def begin_asking(conn: Connection, account_id: int, ids: Sequence[str]) -> dict[str, Asking]:
    """Write down that the gateway is about to be asked about these attempts.

    Those that have their outcome by now are left out.
    """
    rows = fetch(conn, Asking, BEGIN_ASKING, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


HASTEN = """
UPDATE payment_attempts
   SET leased_until = 'epoch'
 WHERE account_id = %(account_id)s
   AND payment_intent_id = ANY(%(intent_ids)s)
   AND status = 'action_required'
"""


def hasten(conn: Connection, account_id: int, intent_ids: Sequence[str]) -> None:
    """Let what waits for its customer be asked about at once: nobody wants it any more."""
    conn.execute(HASTEN, {"account_id": account_id, "intent_ids": list(intent_ids)})


SETTLE = """
UPDATE payment_attempts a
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


def settle(conn: Connection, account_id: int, attempts: Sequence[PaymentAttempt]) -> set[str]:
    """Write what the gateway said; return the ids of those to which that was new."""
    parameters = {"account_id": account_id, "rows": as_json_rows(attempts, OUTCOME)}
    return {row[0] for row in conn.execute(SETTLE, parameters)}


CHARGES = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND status IN ('processing', 'succeeded', 'failed')
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(intent_id)s::text IS NULL OR payment_intent_id = %(intent_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR attempted_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR attempted_at < %(created_before)s)
"""


def list_charges(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    intent_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[PaymentAttempt]:
    """The attempts that charged, or failed to, newest first; the page is of attempts' ids."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "intent_id": intent_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn, PaymentAttempt, CHARGES, parameters, page, table="payment_attempts", what="charge"
    )


LOCK = """
SELECT id, payment_intent_id, invoice_id, customer_id, payment_method_id, gateway, gateway_token,
       amount, currency, status, automatic, on_session, asked, replaces, gateway_reference,
       failure_code, decline_code, failure_message, next_action, amount_refunded, leased_until,
       attempted_at, settled_at
  FROM payment_attempts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentAttempt]:
    """The attempts by id, which nobody else refunds now: they may be no customer's."""
    rows = fetch(conn, PaymentAttempt, LOCK, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


REFUND = """
UPDATE payment_attempts a
   SET amount_refunded = r.amount_refunded
  FROM json_to_recordset(%(rows)s) AS r(id text, amount_refunded bigint)
 WHERE a.account_id = %(account_id)s
   AND a.id = r.id
"""


def refund_many(conn: Connection, account_id: int, attempts: Sequence[PaymentAttempt]) -> None:
    """Write how much of the attempts, which the caller has locked, goes or went back."""
    if attempts:
        rows = as_json_rows(attempts, ("id", "amount_refunded"))
        conn.execute(REFUND, {"account_id": account_id, "rows": rows})
