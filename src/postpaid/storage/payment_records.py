"""Payment records: money that came some other way than through a gateway."""

from __future__ import annotations

from collections.abc import Iterable

from postpaid.core.payment_records import PaymentRecord
from postpaid.storage.database import Connection, copy_into, fetch, parameters_of, values_of

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "invoice_id",
    "amount",
    "amount_applied",
    "currency",
    "method",
    "reference",
    "customer_details",
    "customer_presence",
    "description",
    "paid_at",
    "attached_at",
    "created_at",
    "metadata",
)
_values = values_of(*COLUMNS)


def insert(conn: Connection, account_id: int, record: PaymentRecord) -> None:
    """Write a new payment record."""
    copy_into(conn, "payment_records", ("account_id", *COLUMNS), [(account_id, *_values(record))])


LOAD = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_applied, currency, method, reference,
       customer_details, customer_presence, description, paid_at, attached_at, created_at, metadata
  FROM payment_records
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentRecord]:
    """The payment records by id."""
    rows = fetch(conn, PaymentRecord, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, customer_id, clock_id, invoice_id, amount, amount_applied, currency, method, reference,
       customer_details, customer_presence, description, paid_at, attached_at, created_at, metadata
  FROM payment_records
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, record_id: str) -> PaymentRecord | None:
    """The payment record, which nobody else attaches now: it may be of no customer yet."""
    rows = fetch(conn, PaymentRecord, LOCK, {"account_id": account_id, "ids": [record_id]})
    return rows[0] if rows else None


UPDATE = """
UPDATE payment_records
   SET customer_id = %(customer_id)s, clock_id = %(clock_id)s, invoice_id = %(invoice_id)s,
       amount_applied = %(amount_applied)s, attached_at = %(attached_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, record: PaymentRecord) -> None:
    """Write what an attachment changes of the payment record, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, record))
