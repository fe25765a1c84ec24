"""Refunds, and the credit notes that are the paper of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.refunds import Refund
from postpaid.storage.database import (
    Connection,
    as_json_rows,
    copy_into,
    fetch,
    parameters_of,
    values_of,
)
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "attempt_id",
    "payment_intent_id",
    "invoice_id",
    "customer_id",
    "clock_id",
    "payment_method_id",
    "gateway",
    "charge_reference",
    "amount",
    "amount_of_credit",
    "currency",
    "status",
    "reason",
    "failure_code",
    "failure_message",
    "gateway_reference",
    "asked",
    "leased_until",
    "created_at",
    "settled_at",
    "metadata",
)
CHANGING = (
    "id",
    "status",
    "failure_code",
    "failure_message",
    "gateway_reference",
    "leased_until",
    "settled_at",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, made: Sequence[Refund]) -> None:
    """Write refunds that are about to be asked for."""
    if made:
        copy_into(
            conn,
            "refunds",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in made),
        )


LOAD = """
SELECT id, attempt_id, payment_intent_id, invoice_id, customer_id, clock_id, payment_method_id,
       gateway, charge_reference, amount, amount_of_credit, currency, status, reason, failure_code,
       failure_message, gateway_reference, asked, leased_until, created_at, settled_at, metadata
  FROM refunds
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Refund]:
    """The refunds by id."""
    rows = fetch(conn, Refund, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


OF_ATTEMPTS = """
SELECT id, attempt_id, payment_intent_id, invoice_id, customer_id, clock_id, payment_method_id,
       gateway, charge_reference, amount, amount_of_credit, currency, status, reason, failure_code,
       failure_message, gateway_reference, asked, leased_until, created_at, settled_at, metadata
  FROM refunds
 WHERE account_id = %(account_id)s
   AND attempt_id = ANY(%(attempt_ids)s)
 ORDER BY id
"""


def of_attempts(
    conn: Connection, account_id: int, attempt_ids: Iterable[str]
) -> defaultdict[str, list[Refund]]:
    """The refunds of these payment attempts, oldest first."""
    parameters = {"account_id": account_id, "attempt_ids": list(attempt_ids)}
    found: defaultdict[str, list[Refund]] = defaultdict(list)
    for row in fetch(conn, Refund, OF_ATTEMPTS, parameters):
        found[row.attempt_id].append(row)
    return found


LIST = """
SELECT id, attempt_id, payment_intent_id, invoice_id, customer_id, clock_id, payment_method_id,
       gateway, charge_reference, amount, amount_of_credit, currency, status, reason, failure_code,
       failure_message, gateway_reference, asked, leased_until, created_at, settled_at, metadata
  FROM refunds
 WHERE account_id = %(account_id)s
   AND (%(attempt_id)s::text IS NULL OR attempt_id = %(attempt_id)s)
   AND (%(payment_intent_id)s::text IS NULL OR payment_intent_id = %(payment_intent_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    attempt_id: str | None = None,
    payment_intent_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Refund]:
    """Refunds, newest first."""
    parameters = {
        "account_id": account_id,
        "attempt_id": attempt_id,
        "payment_intent_id": payment_intent_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(conn, Refund, LIST, parameters, page, table="refunds", what="refund")


UPDATE_METADATA = """
UPDATE refunds
   SET metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update_metadata(conn: Connection, account_id: int, refund: Refund) -> None:
    """Write what a person says of the refund. The caller holds the customer."""
    conn.execute(UPDATE_METADATA, parameters_of(account_id, refund))


# ─── Asking ──────────────────────────────────────────────────────────────────────────────────

BEGIN_ASKING = """
UPDATE refunds
   SET asked = asked + 1
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND status = 'pending'
RETURNING id, attempt_id, payment_intent_id, invoice_id, customer_id, clock_id, payment_method_id,
       gateway, charge_reference, amount, amount_of_credit, currency, status, reason, failure_code,
       failure_message, gateway_reference, asked, leased_until, created_at, settled_at, metadata
"""


def begin_asking(conn: Connection, account_id: int, ids: Sequence[str]) -> list[Refund]:
    """Write down that the gateway is about to be asked about these; return those still pending."""
    return fetch(conn, Refund, BEGIN_ASKING, {"account_id": account_id, "ids": list(ids)})


SETTLE = """
UPDATE refunds f
   SET status = r.status, failure_code = r.failure_code, failure_message = r.failure_message,
       gateway_reference = r.gateway_reference, leased_until = r.leased_until,
       settled_at = r.settled_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, failure_code text, failure_message text, gateway_reference text,
       leased_until timestamptz, settled_at timestamptz)
 WHERE f.account_id = %(account_id)s
   AND f.id = r.id
   AND f.status = 'pending'
RETURNING f.id
"""


def settle(conn: Connection, account_id: int, concluded: Sequence[Refund]) -> set[str]:
    """Write what the gateway said; return the ids of those that were pending until then."""
    parameters = {"account_id": account_id, "rows": as_json_rows(concluded, CHANGING)}
    return {row[0] for row in conn.execute(SETTLE, parameters)}


CLAIM_PENDING = """
UPDATE refunds f
   SET leased_until = %(leased_until)s
  FROM (SELECT account_id, id
          FROM refunds
         WHERE account_id = %(account_id)s
           AND status = 'pending'
           AND leased_until < %(now)s
         ORDER BY leased_until
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS due
 WHERE f.account_id = due.account_id
   AND f.id = due.id
RETURNING f.id
"""


def claim_pending(
    conn: Connection, account_id: int, *, now: datetime, leased_until: datetime, limit: int
) -> list[str]:
    """Ids of refunds to ask about now; they are ours until the lease."""
    parameters = {
        "account_id": account_id,
        "now": now,
        "leased_until": leased_until,
        "limit": limit,
    }
    return [row[0] for row in conn.execute(CLAIM_PENDING, parameters)]


PENDING_ON_CLOCK = """
SELECT id
  FROM refunds
 WHERE account_id = %(account_id)s
   AND clock_id = %(clock_id)s
   AND status = 'pending'
 ORDER BY id
"""


def pending_on_clock(conn: Connection, account_id: int, clock_id: str) -> list[str]:
    """The refunds that a test clock's customers wait for."""
    parameters = {"account_id": account_id, "clock_id": clock_id}
    return [row[0] for row in conn.execute(PENDING_ON_CLOCK, parameters)]


CLOCKS = """
SELECT id, frozen_at
  FROM test_clocks
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def clock_times(conn: Connection, account_id: int, clock_ids: Iterable[str]) -> dict[str, datetime]:
    """What time it is for these test clocks' customers."""
    parameters = {"account_id": account_id, "ids": list(clock_ids)}
    return {row[0]: row[1] for row in conn.execute(CLOCKS, parameters)}


# ─── Credit notes ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NoteRefund:
    """That a credit note is the paper of ``amount`` minor units of a refund."""

    credit_note_id: str
    refund_id: str
    amount: int


_note_values = values_of("credit_note_id", "refund_id", "amount")


def link(conn: Connection, account_id: int, links: Sequence[NoteRefund]) -> None:
    """Write which refunds a credit note is the paper of. The caller holds the customer."""
    if links:
        copy_into(
            conn,
            "credit_note_refunds",
            ("account_id", "credit_note_id", "refund_id", "amount"),
            ((account_id, *_note_values(each)) for each in links),
        )


OF_NOTES = """
SELECT credit_note_id, refund_id, amount
  FROM credit_note_refunds
 WHERE account_id = %(account_id)s
   AND credit_note_id = ANY(%(credit_note_ids)s)
 ORDER BY credit_note_id, refund_id
"""


def of_notes(
    conn: Connection, account_id: int, credit_note_ids: Iterable[str]
) -> defaultdict[str, list[NoteRefund]]:
    """The refunds of each of the credit notes."""
    parameters = {"account_id": account_id, "credit_note_ids": list(credit_note_ids)}
    found: defaultdict[str, list[NoteRefund]] = defaultdict(list)
    for row in fetch(conn, NoteRefund, OF_NOTES, parameters):
        found[row.credit_note_id].append(row)
    return found


LINKED = """
SELECT refund_id, sum(amount)::bigint
  FROM credit_note_refunds
 WHERE account_id = %(account_id)s
   AND refund_id = ANY(%(refund_ids)s)
 GROUP BY refund_id
"""


def linked(conn: Connection, account_id: int, refund_ids: Iterable[str]) -> dict[str, int]:
    """How much of each of these refunds credit notes are the paper of."""
    parameters = {"account_id": account_id, "refund_ids": list(refund_ids)}
    return {row[0]: row[1] for row in conn.execute(LINKED, parameters)}
