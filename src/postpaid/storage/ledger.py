"""The ledger's transactions and entries: added and listed, never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.core.ledger import Entry, LedgerAccount, LedgerKind, Transaction
from postpaid.core.values import replace
from postpaid.storage.database import Connection, copy_into, fetch, fetch_one
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """An entry as it was written; ``created_at`` is when what it records happened."""

    id: str
    transaction_id: str
    ledger_account: LedgerAccount
    currency: str
    amount: int
    customer_id: str | None
    period_start: datetime | None
    period_end: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PostedTransaction:
    """A transaction as it was written, with its entries where they are asked for."""

    id: str
    kind: LedgerKind
    source_id: str
    customer_id: str | None
    invoice_id: str | None
    currency: str
    created_at: datetime
    entries: tuple[PostedEntry, ...] = field(default=())

    @property
    def transaction(self) -> Transaction:
        """What was posted."""
        entries = tuple(
            Entry(each.ledger_account, each.amount, each.period_start, each.period_end)
            for each in self.entries
        )
        return Transaction(
            self.kind, self.source_id, self.customer_id, self.invoice_id, self.currency, entries
        )


COLUMNS = ("id", "kind", "source_id", "customer_id", "invoice_id", "currency", "created_at")
ENTRY_COLUMNS = (
    "id",
    "transaction_id",
    "ledger_account",
    "currency",
    "amount",
    "customer_id",
    "period_start",
    "period_end",
    "created_at",
)


def insert_many(
    conn: Connection, account_id: int, posted: Sequence[tuple[str, Transaction]], *, now: datetime
) -> None:
    """Write the transactions, each with the id that it is to have. Two statements.

    A transaction that was posted before breaks ``ledger_transactions_once``: nobody asks twice.
    """
    if not posted:
        return
    copy_into(
        conn,
        "ledger_transactions",
        ("account_id", *COLUMNS),
        (
            (
                account_id,
                key,
                each.kind,
                each.source_id,
                each.customer_id,
                each.invoice_id,
                each.currency,
                now,
            )
            for key, each in posted
        ),
    )
    copy_into(
        conn,
        "ledger_entries",
        ("account_id", *ENTRY_COLUMNS),
        (
            (
                account_id,
                f"{key}_{number:03d}",
                key,
                entry.account,
                each.currency,
                entry.amount,
                each.customer_id,
                entry.period_start,
                entry.period_end,
                now,
            )
            for key, each in posted
            for number, entry in enumerate(each.entries, 1)
        ),
    )


# ─── Transactions ────────────────────────────────────────────────────────────────────────────

FIND = """
SELECT id, kind, source_id, customer_id, invoice_id, currency, created_at
  FROM ledger_transactions
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def find(conn: Connection, account_id: int, transaction_id: str) -> PostedTransaction | None:
    """One transaction, with its entries."""
    parameters = {"account_id": account_id, "id": transaction_id}
    found = fetch_one(conn, PostedTransaction, FIND, parameters)
    return None if found is None else _with_entries(conn, account_id, [found])[0]


OF_INVOICES = """
SELECT id, kind, source_id, customer_id, invoice_id, currency, created_at
  FROM ledger_transactions
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 ORDER BY id
"""


def of_invoices(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> defaultdict[str, list[PostedTransaction]]:
    """What was posted of each invoice, oldest first, with entries. Two statements."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    rows = fetch(conn, PostedTransaction, OF_INVOICES, parameters)
    found: defaultdict[str, list[PostedTransaction]] = defaultdict(list)
    for each in _with_entries(conn, account_id, rows):
        found[each.invoice_id or ""].append(each)
    return found


LIST = """
SELECT id, kind, source_id, customer_id, invoice_id, currency, created_at
  FROM ledger_transactions
 WHERE account_id = %(account_id)s
   AND (%(kind)s::text IS NULL OR kind = %(kind)s)
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(invoice_id)s::text IS NULL OR invoice_id = %(invoice_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    kind: LedgerKind | None = None,
    customer_id: str | None = None,
    invoice_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[PostedTransaction]:
    """Transactions with their entries, newest first."""
    parameters = {
        "account_id": account_id,
        "kind": kind,
        "customer_id": customer_id,
        "invoice_id": invoice_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    found = fetch_page(
        conn,
        PostedTransaction,
        LIST,
        parameters,
        page,
        table="ledger_transactions",
        what="ledger transaction",
    )
    return Rows(_with_entries(conn, account_id, found.rows), found.has_more)


# "`" is the character after "_": the range of a transaction's entries in the primary key.
ENTRIES_OF = """
SELECT e.id, e.transaction_id, e.ledger_account, e.currency, e.amount, e.customer_id,
       e.period_start, e.period_end, e.created_at
  FROM unnest(%(transaction_ids)s::text[]) AS t (id)
  JOIN ledger_entries e
    ON e.account_id = %(account_id)s
   AND e.id > (t.id || '_')::object_id
   AND e.id < (t.id || '`')::object_id
 ORDER BY e.id
"""


def _with_entries(
    conn: Connection, account_id: int, rows: Sequence[PostedTransaction]
) -> list[PostedTransaction]:
    if not rows:
        return []
    entries: defaultdict[str, list[PostedEntry]] = defaultdict(list)
    parameters = {"account_id": account_id, "transaction_ids": [row.id for row in rows]}
    for entry in fetch(conn, PostedEntry, ENTRIES_OF, parameters):
        entries[entry.transaction_id].append(entry)
    return [replace(row, entries=tuple(entries[row.id])) for row in rows]


# ─── Entries ─────────────────────────────────────────────────────────────────────────────────

LIST_ENTRIES = """
SELECT id, transaction_id, ledger_account, currency, amount, customer_id, period_start, period_end,
       created_at
  FROM ledger_entries
 WHERE account_id = %(account_id)s
   AND (%(ledger_account)s::text IS NULL OR ledger_account = %(ledger_account)s)
   AND (%(currency)s::text IS NULL OR currency = %(currency)s)
   AND (%(customer_id)s::text IS NULL OR transaction_id IN (
           SELECT t.id
             FROM ledger_transactions t
            WHERE t.account_id = %(account_id)s
              AND t.customer_id = %(customer_id)s))
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_entries(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    ledger_account: LedgerAccount | None = None,
    currency: str | None = None,
    customer_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[PostedEntry]:
    """Entries, newest first."""
    parameters = {
        "account_id": account_id,
        "ledger_account": ledger_account,
        "currency": currency,
        "customer_id": customer_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        PostedEntry,
        LIST_ENTRIES,
        parameters,
        page,
        table="ledger_entries",
        what="ledger entry",
    )
