"""Setup intents: payment methods that are to be charged later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.setup_intents import SetupIntent
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "subscription_id",
    "usage",
    "status",
    "client_secret",
    "payment_method_id",
    "latest_attempt_id",
    "last_error",
    "next_action",
    "description",
    "cancellation_reason",
    "created_at",
    "canceled_at",
    "metadata",
    "payment_method_types",
)
CHANGING = (
    "id",
    "customer_id",
    "clock_id",
    "status",
    "payment_method_id",
    "latest_attempt_id",
    "last_error",
    "next_action",
    "description",
    "cancellation_reason",
    "canceled_at",
    "metadata",
    "payment_method_types",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, intents: Sequence[SetupIntent]) -> None:
    """Write new setup intents."""
    if intents:
        copy_into(
            conn,
            "setup_intents",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in intents),
        )


UPDATE = """
UPDATE setup_intents s
   SET customer_id = r.customer_id, clock_id = r.clock_id, status = r.status,
       payment_method_id = r.payment_method_id, latest_attempt_id = r.latest_attempt_id,
       last_error = r.last_error, next_action = r.next_action, description = r.description,
       cancellation_reason = r.cancellation_reason, canceled_at = r.canceled_at,
       metadata = r.metadata, payment_method_types = r.payment_method_types
  FROM json_to_recordset(%(rows)s) AS r(
       id text, customer_id text, clock_id text, status text, payment_method_id text,
       latest_attempt_id text, last_error json, next_action json, description text,
       cancellation_reason text, canceled_at timestamptz, metadata jsonb,
       payment_method_types text[])
 WHERE s.account_id = %(account_id)s
   AND s.id = r.id
"""


def update_many(conn: Connection, account_id: int, intents: Sequence[SetupIntent]) -> None:
    """Write what can change of the setup intents, which the caller has locked."""
    if intents:
        parameters = {"account_id": account_id, "rows": as_json_rows(intents, CHANGING)}
        conn.execute(UPDATE, parameters)


LOAD = """
SELECT id, customer_id, clock_id, subscription_id, usage, status, client_secret, payment_method_id,
       latest_attempt_id, last_error, next_action, description, cancellation_reason, created_at,
       canceled_at, metadata, payment_method_types
  FROM setup_intents
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, SetupIntent]:
    """The setup intents by id."""
    rows = fetch(conn, SetupIntent, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, customer_id, clock_id, subscription_id, usage, status, client_secret, payment_method_id,
       latest_attempt_id, last_error, next_action, description, cancellation_reason, created_at,
       canceled_at, metadata, payment_method_types
  FROM setup_intents
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, SetupIntent]:
    """The setup intents by id, which stay as they are until the transaction ends.

    Their customers are locked before them.
    """
    rows = fetch(conn, SetupIntent, LOCK, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK_OPEN = """
SELECT id, customer_id, clock_id, subscription_id, usage, status, client_secret, payment_method_id,
       latest_attempt_id, last_error, next_action, description, cancellation_reason, created_at,
       canceled_at, metadata, payment_method_types
  FROM setup_intents
 WHERE account_id = %(account_id)s
   AND (customer_id = ANY(%(customer_ids)s) OR id = ANY(%(ids)s))
   AND status IN ('requires_payment_method', 'requires_confirmation', 'requires_action')
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock_open(
    conn: Connection,
    account_id: int,
    *,
    customer_ids: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> list[SetupIntent]:
    """Those that can be given up, of these customers or with these ids; they are locked."""
    parameters = {
        "account_id": account_id,
        "customer_ids": list(customer_ids),
        "ids": list(ids),
    }
    return fetch(conn, SetupIntent, LOCK_OPEN, parameters)


LIST = """
SELECT id, customer_id, clock_id, subscription_id, usage, status, client_secret, payment_method_id,
       latest_attempt_id, last_error, next_action, description, cancellation_reason, created_at,
       canceled_at, metadata, payment_method_types
  FROM setup_intents
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(payment_method_id)s::text IS NULL OR payment_method_id = %(payment_method_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    payment_method_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[SetupIntent]:
    """Setup intents, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "payment_method_id": payment_method_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn, SetupIntent, LIST, parameters, page, table="setup_intents", what="setup_intent"
    )
