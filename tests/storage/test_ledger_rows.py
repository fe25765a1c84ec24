"""What is in the ledger balances, stays, and is summed by SQL as the rules say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postpaid.core.ledger import Entry, LedgerAccount, LedgerKind, Transaction, earned
from postpaid.storage import ledger, ledger_reports
from postpaid.storage.ledger_reports import Balance, RevenuePeriod
from postpaid.storage.paging import Page
from rows import ACCOUNT, NOW, add
from statements import counted

A = LedgerAccount
DAY = timedelta(days=1)
CUSTOMER = "cus_1"


def posted(
    conn: psycopg.Connection[Any], number: int, *entries: Entry, at: datetime = NOW
) -> Transaction:
    """A payment that is in the ledger."""
    made = Transaction(LedgerKind.PAYMENT, f"pa_{number}", CUSTOMER, "in_1", "usd", entries)
    ledger.insert_many(conn, ACCOUNT, [(f"lt_{number}", made)], now=at)
    return made


def test_what_was_posted_is_read_back(conn: psycopg.Connection) -> None:
    first = posted(conn, 1, Entry(A.CASH, 5), Entry(A.DEFERRED_REVENUE, -5, NOW, NOW + DAY))
    second = posted(conn, 2, Entry(A.CASH, 7), Entry(A.RECEIVABLE, -7))
    found = ledger.of_invoices(conn, ACCOUNT, ["in_1", "in_2"])["in_1"]
    assert [each.transaction for each in found] == [first, second]
    assert [each.id for each in found[0].entries] == ["lt_1_001", "lt_1_002"]


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_entries"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET currency = 'eur'", "DELETE FROM {}", "TRUNCATE {}"]
)
def test_what_is_in_the_ledger_stays(conn: psycopg.Connection, table: str, statement: str) -> None:
    posted(conn, 1, Entry(A.CASH, 5), Entry(A.RECEIVABLE, -5))
    with pytest.raises(psycopg.errors.RestrictViolation) as refused:
        conn.execute(statement.format(table).encode())
    assert refused.value.diag.constraint_name == "ledger_frozen"


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("ledger_entries_balance", {"id": "lt_1_002", "amount": 1}),
        ("ledger_entries_transaction", {"id": "lt_2_001", "transaction_id": "lt_2"}),
    ],
    ids=["unbalanced", "of no transaction"],
)
def test_an_entry_that_is_refused(
    conn: psycopg.Connection, constraint: str, values: dict[str, Any]
) -> None:
    add(conn, "ledger_transactions")
    add(conn, "ledger_entries")
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        add(conn, "ledger_entries", **values)
    assert refused.value.diag.constraint_name == constraint


def test_each_currency_balances_by_itself(conn: psycopg.Connection) -> None:
    add(conn, "ledger_transactions")
    entry = (
        "INSERT INTO ledger_entries (account_id, id, transaction_id, ledger_account, currency,"
        " amount, customer_id, created_at)"
        " SELECT %s, 'lt_1_' || a, 'lt_1', 'cash', currency, a, 'cus_1', now()"
        " FROM unnest(%s::text[], %s::bigint[]) AS e (currency, a)"
    )
    with pytest.raises(psycopg.errors.CheckViolation) as refused, conn.transaction():
        conn.execute(entry, (ACCOUNT, ["usd", "eur"], [5, -5]))
    assert refused.value.diag.constraint_name == "ledger_entries_balance"
    conn.execute(entry, (ACCOUNT, ["usd", "usd", "eur", "eur"], [5, -5, 6, -6]))


instants = st.integers(0, 400).map(lambda hours: NOW + timedelta(hours=hours, microseconds=hours))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(-(10**15), 10**15).filter(bool),
    instants,
    st.integers(1, 500),
    instants,
    st.lists(instants, min_size=1, max_size=20),
)
def test_sql_earns_what_the_rule_says(
    conn: psycopg.Connection,
    amount: int,
    start: datetime,
    hours: int,
    posted_at: datetime,
    moments: list[datetime],
) -> None:
    end = start + timedelta(hours=hours, microseconds=7)
    entry = Entry(A.DEFERRED_REVENUE, amount, start, end)
    rows = conn.execute(
        "SELECT ledger_earned(%s, %s, %s, %s, at) FROM unnest(%s::timestamptz[]) AS at",
        (amount, start, end, posted_at, moments),
    )
    assert [int(row[0]) for row in rows] == [earned(entry, posted_at, at) for at in moments]


def test_time_moves_what_is_deferred_to_revenue(conn: psycopg.Connection) -> None:
    deferred = Entry(A.DEFERRED_REVENUE, -3000, NOW, NOW + 30 * DAY)
    posted(conn, 1, Entry(A.RECEIVABLE, 3500), deferred, Entry(A.REVENUE, -500))

    def at(moment: datetime) -> list[tuple[str, int, int]]:
        found = ledger_reports.balances(conn, ACCOUNT, at=moment, customer_id=CUSTOMER)
        return [(each.ledger_account, each.debits, each.credits) for each in found]

    assert at(NOW - DAY) == []
    assert at(NOW) == [
        ("deferred_revenue", 0, 3000),
        ("receivable", 3500, 0),
        ("revenue", 0, 500),
    ]
    assert at(NOW + 10 * DAY) == [
        ("deferred_revenue", 1000, 3000),
        ("receivable", 3500, 0),
        ("revenue", 0, 1500),
    ]
    assert Balance(A.DEFERRED_REVENUE, "usd", 3000, 3000) in ledger_reports.balances(
        conn, ACCOUNT, at=NOW + 365 * DAY, currency="usd"
    )
    assert ledger_reports.balances(conn, ACCOUNT, at=NOW, currency="eur") == []


def test_revenue_of_any_periods_is_all_there_is(conn: psycopg.Connection) -> None:
    deferred = Entry(A.DEFERRED_REVENUE, -1000, NOW - 5 * DAY, NOW + 25 * DAY)
    posted(conn, 1, Entry(A.RECEIVABLE, 1042), deferred, Entry(A.REVENUE, -42))
    weeks = [(NOW + each * 7 * DAY, NOW + (each + 1) * 7 * DAY) for each in range(-1, 5)]
    found = ledger_reports.revenue_periods(conn, ACCOUNT, weeks)
    first = RevenuePeriod(*weeks[1], "usd", at_once=42, recognized=400, deferred=600)
    assert found[0] == first  # five days had gone when it was billed, and then a week
    assert [each.recognized for each in found] == [400, 233, 234, 133]
    assert [each.deferred for each in found] == [600, 367, 133, 0]


def test_what_is_taken_back_late_is_taken_from_the_month_in_which_it_is(
    conn: psycopg.Connection,
) -> None:
    whole = (NOW, NOW + 30 * DAY)
    posted(conn, 1, Entry(A.RECEIVABLE, 3000), Entry(A.DEFERRED_REVENUE, -3000, *whole))
    back = (Entry(A.DEFERRED_REVENUE, 3000, *whole), Entry(A.RECEIVABLE, -3000))
    posted(conn, 2, *back, at=NOW + 20 * DAY)
    periods = [(NOW, NOW + 15 * DAY), (NOW + 15 * DAY, NOW + 60 * DAY)]
    found = ledger_reports.revenue_periods(conn, ACCOUNT, periods, currency="usd")
    assert [(each.recognized, each.deferred) for each in found] == [(1500, 1500), (-1500, 0)]


def test_a_page_of_many_takes_the_statements_of_one(conn: psycopg.Connection) -> None:
    for number in range(1, 8):
        posted(conn, number, Entry(A.CASH, number), Entry(A.RECEIVABLE, -number))
    taken = []
    for limit in (1, 7):
        with counted(conn) as statements:
            page = ledger.list_page(conn, ACCOUNT, Page(limit))
        assert [len(each.entries) for each in page.rows] == [2] * limit
        taken.append(len(statements))
    assert taken == [2, 2]
