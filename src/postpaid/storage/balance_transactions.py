"""Every movement of customers' balances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.credits import BalanceTransaction
from postpaid.storage.database import Connection, copy_into, fetch, parameters_of, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "reason",
    "amount",
    "ending_balance",
    "currency",
    "invoice_id",
    "credit_note_id",
    "description",
    "metadata",
    "created_at",
)
_values = values_of(*COLUMNS)


def insert_many(
    conn: Connection, account_id: int, transactions: Sequence[BalanceTransaction]
) -> None:
    """Write new movements, of each customer in their order. The caller holds the customers."""
    if transactions:
        copy_into(
            conn,
            "balance_transactions",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in transactions),
        )


LOAD = """
SELECT id, customer_id, clock_id, reason, amount, ending_balance, currency, invoice_id,
       credit_note_id, description, metadata, created_at
  FROM balance_transactions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, BalanceTransaction]:
    """The transactions by id."""
    rows = fetch(conn, BalanceTransaction, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LIST = """
SELECT id, customer_id, clock_id, reason, amount, ending_balance, currency, invoice_id,
       credit_note_id, description, metadata, created_at
  FROM balance_transactions
 WHERE account_id = %(account_id)s
   AND customer_id = %(customer_id)s
   AND (%(invoice_id)s::text IS NULL OR invoice_id = %(invoice_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str,
    invoice_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[BalanceTransaction]:
    """A customer's transactions, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "invoice_id": invoice_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        BalanceTransaction,
        LIST,
        parameters,
        page,
        table="balance_transactions",
        what="customer balance transaction",
    )


UPDATE = """
UPDATE balance_transactions
   SET description = %(description)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, transaction: BalanceTransaction) -> None:
    """Write what may change of a movement: what is said of it."""
    conn.execute(UPDATE, parameters_of(account_id, transaction))
