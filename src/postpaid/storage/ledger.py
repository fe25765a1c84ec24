"""The ledger's transactions and entries: added, listed and summed, never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.core.ledger import Entry, LedgerAccount, LedgerKind, Transaction
from postpaid.core.values import replace
from postpaid.storage.database import Connection, copy_into, fetch, fetch_one, row_of
from postpaid.storage.paging import Page, Rows, fetch_page

ROWS_AT_ONCE = 5_000  # of an export


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """An entry as it was written; ``created_at`` is when what it records happened."""

    id: str
    transaction_id: str
    ledger_account: LedgerAccount
    currency: str
    amount: int
    customer_id: str
    period_start: datetime | None
    period_end: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PostedTransaction:
    """A transaction as it was written, with its entries where they are asked for."""

    id: str
    kind: LedgerKind
    source_id: str
    customer_id: str
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


# ─── Sums ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account came to in a currency: the sums of its debits, and of its credits."""

    ledger_account: LedgerAccount
    currency: str
    debits: int
    credits: int


# What time has earned moves from deferred revenue to revenue, without an entry.
BALANCES = """
WITH posted AS (
    SELECT ledger_account, currency, amount, period_start, period_end, created_at
      FROM ledger_entries
     WHERE account_id = %(account_id)s
       AND created_at <= %(at)s
       AND (%(currency)s::text IS NULL OR currency = %(currency)s)
       AND (%(customer_id)s::text IS NULL OR transaction_id IN (
               SELECT t.id
                 FROM ledger_transactions t
                WHERE t.account_id = %(account_id)s
                  AND t.customer_id = %(customer_id)s))
),
moved AS (
    SELECT ledger_account, currency, amount::numeric AS amount
      FROM posted
     UNION ALL
    SELECT e.ledger_account, p.currency,
           e.sign * ledger_earned(p.amount, p.period_start, p.period_end, p.created_at, %(at)s)
      FROM posted p
     CROSS JOIN (VALUES ('deferred_revenue', 1), ('revenue', -1)) AS e (ledger_account, sign)
     WHERE p.period_end IS NOT NULL
)
SELECT ledger_account, currency,
       coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint AS debits,
       coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint AS credits
  FROM moved
 GROUP BY ledger_account, currency
 ORDER BY currency, ledger_account
"""


def balances(
    conn: Connection,
    account_id: int,
    *,
    at: datetime,
    currency: str | None = None,
    customer_id: str | None = None,
) -> list[Balance]:
    """Every account's balance, by currency, with revenue as time has earned it ``at`` then."""
    parameters = {
        "account_id": account_id,
        "at": at,
        "currency": currency,
        "customer_id": customer_id,
    }
    return fetch(conn, Balance, BALANCES, parameters)


@dataclass(frozen=True, slots=True)
class RevenuePeriod:
    """What a period of time brought in one currency: revenue at once, and by service given.

    ``deferred`` is what was billed by its end and is still to be earned.
    """

    start_at: datetime
    end_at: datetime
    currency: str
    at_once: int
    recognized: int
    deferred: int


# Each deferred entry is read once and joined with the periods in which it earns something or is
# still deferred; those of ``revenue`` with the one in which they were posted.
REVENUE_PERIODS = """
WITH periods AS (
    SELECT start_at, end_at
      FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS p (start_at, end_at)
),
sums AS (
    SELECT p.start_at, p.end_at, e.currency, -sum(e.amount) AS at_once, 0 AS recognized,
           0 AS deferred
      FROM periods p
      JOIN ledger_entries e ON e.created_at >= p.start_at AND e.created_at < p.end_at
     WHERE e.account_id = %(account_id)s
       AND e.ledger_account = 'revenue'
       AND (%(currency)s::text IS NULL OR e.currency = %(currency)s)
     GROUP BY p.start_at, p.end_at, e.currency
     UNION ALL
    SELECT p.start_at, p.end_at, e.currency, 0,
           sum(ledger_earned(e.amount, e.period_start, e.period_end, e.created_at, p.end_at)
               - CASE WHEN e.created_at < p.start_at
                      THEN ledger_earned(e.amount, e.period_start, e.period_end, e.created_at,
                                         p.start_at)
                      ELSE 0 END),
           -sum(e.amount) - sum(ledger_earned(e.amount, e.period_start, e.period_end, e.created_at,
                                              p.end_at))
      FROM periods p
      JOIN ledger_entries e
        ON e.created_at < p.end_at
       AND (e.period_end > p.start_at OR e.created_at >= p.start_at)
     WHERE e.account_id = %(account_id)s
       AND e.ledger_account = 'deferred_revenue'
       AND (%(currency)s::text IS NULL OR e.currency = %(currency)s)
     GROUP BY p.start_at, p.end_at, e.currency
)
SELECT start_at, end_at, currency, sum(at_once)::bigint AS at_once,
       sum(recognized)::bigint AS recognized, sum(deferred)::bigint AS deferred
  FROM sums
 GROUP BY start_at, end_at, currency
 ORDER BY start_at, currency
"""


def revenue_periods(
    conn: Connection,
    account_id: int,
    periods: Sequence[tuple[datetime, datetime]],
    *,
    currency: str | None = None,
) -> list[RevenuePeriod]:
    """Revenue of each half-open period, by currency, oldest first; those without any left out."""
    parameters = {
        "account_id": account_id,
        "starts": [start for start, _ in periods],
        "ends": [end for _, end in periods],
        "currency": currency,
    }
    return fetch(conn, RevenuePeriod, REVENUE_PERIODS, parameters)


# ─── Journal ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class JournalRow:
    """An entry with what a journal says of its transaction."""

    transaction_id: str
    kind: LedgerKind
    source_id: str
    ledger_account: LedgerAccount
    currency: str
    amount: int
    customer_id: str
    invoice_number: str | None
    period_start: datetime | None
    period_end: datetime | None
    created_at: datetime


JOURNAL = """
SELECT t.id AS transaction_id, t.kind, t.source_id, e.ledger_account, e.currency, e.amount,
       e.customer_id, i.number AS invoice_number, e.period_start, e.period_end, e.created_at
  FROM ledger_entries e
  JOIN ledger_transactions t ON t.account_id = e.account_id AND t.id = e.transaction_id
  LEFT JOIN invoices i ON i.account_id = t.account_id AND i.id = t.invoice_id
 WHERE e.account_id = %(account_id)s
   AND (%(start)s::timestamptz IS NULL OR e.created_at >= %(start)s)
   AND (%(end)s::timestamptz IS NULL OR e.created_at < %(end)s)
 ORDER BY e.created_at, e.id
"""


def journal(
    conn: Connection, account_id: int, *, start: datetime | None, end: datetime | None
) -> Iterator[JournalRow]:
    """The entries of ``[start, end)`` in order of time, within a transaction.

    They come through a cursor, a few thousand at a time.
    """
    with conn.cursor(name="ledger_journal", row_factory=row_of(JournalRow)) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(JOURNAL.encode(), {"account_id": account_id, "start": start, "end": end})
        yield from cursor


FIRST_AT = """
SELECT min(created_at)
  FROM ledger_entries
 WHERE account_id = %(account_id)s
"""


def first_at(conn: Connection, account_id: int) -> datetime | None:
    """When the oldest entry's event happened; None while there is none."""
    row = conn.execute(FIRST_AT, {"account_id": account_id}).fetchone()
    first: datetime | None = row[0] if row else None
    return first
