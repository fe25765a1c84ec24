"""What the ledger comes to: balances, revenue by period, and the journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.ledger import LedgerAccount, LedgerKind
from postpaid.storage.database import Connection, fetch, row_of

ROWS_AT_ONCE = 5_000  # of an export


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
    customer_id: str | None
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
