"""Payment intents: what is to be collected, for invoices or by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.payment_intents import PaymentIntent
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.searching import IS_FOUND, Search, parameters_of

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "invoice_id",
    "amount",
    "amount_received",
    "currency",
    "status",
    "client_secret",
    "payment_method_id",
    "latest_attempt_id",
    "last_error",
    "next_action",
    "setup_future_usage",
    "description",
    "cancellation_reason",
    "created_at",
    "canceled_at",
    "paid_at",
    "metadata",
    "amount_applied",
    "reference",
)
CHANGING = (
    "id",
    "customer_id",
    "amount",
    "amount_received",
    "currency",
    "status",
    "payment_method_id",
    "latest_attempt_id",
    "last_error",
    "next_action",
    "setup_future_usage",
    "description",
    "cancellation_reason",
    "canceled_at",
    "paid_at",
    "metadata",
    "amount_applied",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, intents: Sequence[PaymentIntent]) -> None:
    """Write new payment intents."""
    if intents:
        copy_into(
            conn,
            "payment_intents",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in intents),
        )


UPDATE = """
UPDATE payment_intents p
   SET customer_id = r.customer_id, amount = r.amount, amount_received = r.amount_received,
       currency = r.currency, status = r.status, payment_method_id = r.payment_method_id,
       latest_attempt_id = r.latest_attempt_id, last_error = r.last_error,
       next_action = r.next_action, setup_future_usage = r.setup_future_usage,
       description = r.description, cancellation_reason = r.cancellation_reason,
       canceled_at = r.canceled_at, paid_at = r.paid_at, metadata = r.metadata,
       amount_applied = r.amount_applied
  FROM json_to_recordset(%(rows)s) AS r(
       id text, customer_id text, amount bigint, amount_received bigint, currency text,
       status text, payment_method_id text, latest_attempt_id text, last_error json,
       next_action json, setup_future_usage text, description text, cancellation_reason text,
       canceled_at timestamptz, paid_at timestamptz, metadata jsonb, amount_applied bigint)
 WHERE p.account_id = %(account_id)s
   AND p.id = r.id
"""


def update_many(conn: Connection, account_id: int, intents: Sequence[PaymentIntent]) -> None:
    """Write what can change of the payment intents, whose customers the caller has locked."""
    if intents:
        parameters = {"account_id": account_id, "rows": as_json_rows(intents, CHANGING)}
        conn.execute(UPDATE, parameters)


LOAD = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentIntent]:
    """The payment intents by id."""
    rows = fetch(conn, PaymentIntent, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentIntent]:
    """The payment intents by id, which are ours until the transaction ends.

    Their customers are locked before them; one that is nobody's has no other lock.
    """
    rows = fetch(conn, PaymentIntent, LOCK, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


OPEN_OF_INVOICES = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
   AND status NOT IN ('succeeded', 'canceled')
 ORDER BY id
"""


def open_of_invoices(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> list[PaymentIntent]:
    """The payment intents of these invoices that are neither paid nor given up."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    return fetch(conn, PaymentIntent, OPEN_OF_INVOICES, parameters)


OF_INVOICES = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 ORDER BY id
"""


def of_invoices(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> list[PaymentIntent]:
    """The payment intents of these invoices, oldest first."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    return fetch(conn, PaymentIntent, OF_INVOICES, parameters)


LIST = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[PaymentIntent]:
    """Payment intents, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        PaymentIntent,
        LIST,
        parameters,
        page,
        table="payment_intents",
        what="payment_intent",
    )


ATTACH = """
UPDATE payment_intents
   SET invoice_id = %(invoice_id)s, customer_id = coalesce(customer_id, %(customer_id)s)
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND invoice_id IS NULL
"""


def attach(
    conn: Connection, account_id: int, intent_id: str, *, invoice_id: str, customer_id: str
) -> None:
    """Make the payment intent, which has no invoice, the invoice's. The customer is locked."""
    parameters = {
        "account_id": account_id,
        "id": intent_id,
        "invoice_id": invoice_id,
        "customer_id": customer_id,
    }
    conn.execute(ATTACH, parameters)


SEARCH = f"""
SELECT id, customer_id, clock_id, invoice_id, amount, amount_received, currency, status,
       client_secret, payment_method_id, latest_attempt_id, last_error, next_action,
       setup_future_usage, description, cancellation_reason, created_at, canceled_at, paid_at,
       metadata, amount_applied, reference
  FROM payment_intents
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'amount', amount,
                'created', floor(extract(epoch FROM created_at)),
                'currency', currency,
                'customer', customer_id,
                'status', status) AS fields) known
 WHERE account_id = %(account_id)s
   AND {IS_FOUND}"""


def search_page(
    conn: Connection, account_id: int, page: Page, search: Search
) -> Rows[PaymentIntent]:
    """The payment intents that are searched for, newest first."""
    parameters = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(
        conn,
        PaymentIntent,
        SEARCH,
        parameters,
        page,
        table="payment_intents",
        what="payment_intent",
    )
