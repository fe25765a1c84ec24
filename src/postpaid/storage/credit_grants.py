"""Credit grants, and every movement of their credit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.credits import CreditGrant, GrantTransaction
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "amount",
    "balance",
    "currency",
    "category",
    "name",
    "priority",
    "price_ids",
    "effective_at",
    "expires_at",
    "expired_at",
    "voided_at",
    "metadata",
    "created_at",
    "updated_at",
)
CHANGING = ("id", "balance", "expires_at", "expired_at", "voided_at", "metadata", "updated_at")
TRANSACTION_COLUMNS = (
    "id",
    "grant_id",
    "customer_id",
    "clock_id",
    "movement",
    "amount",
    "currency",
    "invoice_id",
    "line_id",
    "effective_at",
    "created_at",
)
_values = values_of(*COLUMNS)
_transaction_values = values_of(*TRANSACTION_COLUMNS)


def insert_many(conn: Connection, account_id: int, grants: Sequence[CreditGrant]) -> None:
    """Write new grants. The caller holds the customers."""
    if grants:
        copy_into(
            conn,
            "credit_grants",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in grants),
        )


LOAD = """
SELECT id, customer_id, clock_id, amount, balance, currency, category, name, priority, price_ids,
       effective_at, expires_at, expired_at, voided_at, metadata, created_at, updated_at
  FROM credit_grants
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, CreditGrant]:
    """The grants by id."""
    rows = fetch(conn, CreditGrant, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


UNUSED = """
SELECT id, customer_id, clock_id, amount, balance, currency, category, name, priority, price_ids,
       effective_at, expires_at, expired_at, voided_at, metadata, created_at, updated_at
  FROM credit_grants
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND balance > 0
 ORDER BY id
"""


def unused(
    conn: Connection, account_id: int, customer_ids: Iterable[str]
) -> defaultdict[str, list[CreditGrant]]:
    """Each customer's grants of which something is left, oldest first."""
    found: defaultdict[str, list[CreditGrant]] = defaultdict(list)
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    for grant in fetch(conn, CreditGrant, UNUSED, parameters):
        found[grant.customer_id].append(grant)
    return found


LIST = """
SELECT id, customer_id, clock_id, amount, balance, currency, category, name, priority, price_ids,
       effective_at, expires_at, expired_at, voided_at, metadata, created_at, updated_at
  FROM credit_grants
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, customer_id: str | None = None
) -> Rows[CreditGrant]:
    """Grants, newest first."""
    parameters = {"account_id": account_id, "customer_id": customer_id}
    return fetch_page(
        conn,
        CreditGrant,
        LIST,
        parameters,
        page,
        table="credit_grants",
        what="billing credit grant",
    )


UPDATE = """
UPDATE credit_grants g
   SET balance = r.balance, expires_at = r.expires_at, expired_at = r.expired_at,
       voided_at = r.voided_at, metadata = r.metadata, updated_at = r.updated_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, balance bigint, expires_at timestamptz, expired_at timestamptz,
       voided_at timestamptz, metadata jsonb, updated_at timestamptz)
 WHERE g.account_id = %(account_id)s
   AND g.id = r.id
"""


def update_many(conn: Connection, account_id: int, grants: Sequence[CreditGrant]) -> None:
    """Write what can change of grants. The caller holds the customers."""
    if grants:
        rows = as_json_rows(grants, CHANGING)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})


# While a draft of the customer is about to be final, or a period to be closed, its credit waits: it
# may be for that very period.
CLAIM_EXPIRING = """
SELECT g.id
  FROM credit_grants g
  JOIN customers c ON c.account_id = g.account_id AND c.id = g.customer_id
 WHERE g.account_id = %(account_id)s
   AND g.expires_at <= %(expired_before)s
   AND g.balance > 0
   AND (g.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND g.clock_id IS NULL))
   AND NOT EXISTS (
       SELECT
         FROM invoices i
        WHERE i.account_id = g.account_id
          AND i.customer_id = g.customer_id
          AND i.finalizes_at <= %(now)s
          AND i.parked IS NULL)
   AND NOT EXISTS (
       SELECT
         FROM subscriptions s
        WHERE s.account_id = g.account_id
          AND s.customer_id = g.customer_id
          AND s.closes_at <= g.expires_at
          AND s.parked IS NULL)
 ORDER BY g.expires_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_expiring(
    conn: Connection,
    account_id: int,
    clock_id: str | None,
    *,
    now: datetime,
    expired_before: datetime,
    limit: int,
) -> list[CreditGrant]:
    """Grants that expired, first those longest ago, with their customers locked."""
    parameters = {
        "account_id": account_id,
        "clock_id": clock_id,
        "now": now,
        "expired_before": expired_before,
        "limit": limit,
    }
    ids = [row[0] for row in conn.execute(CLAIM_EXPIRING, parameters)]
    if not ids:
        return []
    return [
        each
        for each in load(conn, account_id, ids).values()
        if each.balance > 0 and each.expires_at is not None and each.expires_at <= expired_before
    ]


# ─── Movements ───────────────────────────────────────────────────────────────────────────────


def insert_transactions(
    conn: Connection, account_id: int, transactions: Sequence[GrantTransaction]
) -> None:
    """Write new movements. The caller holds the customers."""
    if transactions:
        copy_into(
            conn,
            "credit_transactions",
            ("account_id", *TRANSACTION_COLUMNS),
            ((account_id, *_transaction_values(each)) for each in transactions),
        )


LOAD_TRANSACTIONS = """
SELECT id, grant_id, customer_id, clock_id, movement, amount, currency, invoice_id, line_id,
       effective_at, created_at
  FROM credit_transactions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load_transactions(
    conn: Connection, account_id: int, ids: Iterable[str]
) -> dict[str, GrantTransaction]:
    """The movements by id."""
    parameters = {"account_id": account_id, "ids": list(ids)}
    return {row.id: row for row in fetch(conn, GrantTransaction, LOAD_TRANSACTIONS, parameters)}


LIST_TRANSACTIONS = """
SELECT id, grant_id, customer_id, clock_id, movement, amount, currency, invoice_id, line_id,
       effective_at, created_at
  FROM credit_transactions
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(grant_id)s::text IS NULL OR grant_id = %(grant_id)s)
"""


def list_transactions(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    grant_id: str | None = None,
) -> Rows[GrantTransaction]:
    """Movements, newest first."""
    parameters = {"account_id": account_id, "customer_id": customer_id, "grant_id": grant_id}
    return fetch_page(
        conn,
        GrantTransaction,
        LIST_TRANSACTIONS,
        parameters,
        page,
        table="credit_transactions",
        what="billing credit balance transaction",
    )
