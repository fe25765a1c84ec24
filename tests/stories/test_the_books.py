"""A year in the books: what is billed, earned month by month, taken back, and given up."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from town import DAY, HOUR, Town, at

from postpaid.billing import manage_keys
from postpaid.export_ledger import Wanted, export_journal
from postpaid.storage import accounts

JANUARY = at("2026-01-01")
DECLINED = "pm_card_chargeCustomerFail"


def ask(town: Town, path: str, **given: Any) -> list[dict[str, Any]]:
    """The whole list, oldest first where it has pages."""
    found: list[dict[str, Any]] = []
    while True:
        answer = httpx.get(
            f"{town.base}/v1/ledger/{path}", params=given, auth=(town.secret, ""), trust_env=False
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        given["starting_after"] = page["data"][-1]["id"]


def balances(town: Town, as_of: int) -> dict[str, int]:
    """What each account comes to, those with nothing left out."""
    found = ask(town, "balances", as_of=as_of)
    return {each["account"]: each["amount"] for each in found if each["amount"]}


def journal(town: Town, path: Path, wanted: Wanted) -> list[dict[str, str]]:
    with town.database.connection() as conn:
        key = accounts.find_key_by_digest(conn, manage_keys.digest(town.secret))
        assert key is not None
    with town.database.transaction() as conn:
        count = export_journal(conn, key.account_id, path, wanted)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count
    return rows


def annual(town: Town, clock: str, card: str = "pm_card_visa") -> tuple[str, str]:
    """A customer with $1,200 a year in advance, and a cent a call after every month."""
    customer = town.customer(clock, card)
    fee = town.price(unit_amount=120000, recurring={"interval": "year"})
    calls = town.metered(unit_amount=1)
    return customer, town.subscribe(customer, fee, calls).id


def test_a_year_is_earned_month_by_month(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, subscription = annual(town, clock)
    for month in range(2, 14):
        town.use(customer, "250")
        town.advance(clock, at(f"2026-{month:02d}-01" if month < 13 else "2027-01-01") + 2 * HOUR)

    year = ask(town, "revenue_schedule", start=JANUARY, end=at("2027-01-01"))
    assert len(year) == 12
    # The fee by the second: 31 of 365 days in January. Usage of a month is earned when it is
    # billed, an hour into the next.
    assert [each["recognized"] for each in year[:3]] == [10192, 9205, 10192]
    assert sum(each["recognized"] for each in year) == 120000
    assert [each["earned_at_once"] for each in year] == [0] + [250] * 11
    assert year[5]["deferred"] == 120000 - sum(each["recognized"] for each in year[:6])
    assert year[11]["deferred"] == 0

    half = at("2026-07-01")
    books = balances(town, half)
    assert books == {
        "cash": 120000 + 5 * 250,
        "deferred_revenue": -year[5]["deferred"],
        "revenue": -sum(each["revenue"] for each in year[:6]),
    }
    assert sum(books.values()) == 0
    second = [each for each in town.invoices(subscription) if each.total == 120250]
    assert [each.status for each in second] == ["paid"]


def test_the_journal_sums_to_zero_and_to_the_balances(town: Town, tmp_path: Path) -> None:
    clock = town.clock(JANUARY)
    customer, subscription = annual(town, clock)
    town.use(customer, "250")
    town.advance(clock, at("2026-02-01") + 2 * HOUR)
    until = datetime(2026, 4, 1, tzinfo=UTC)
    rows = journal(town, tmp_path / "journal.csv", Wanted(UTC, recognized_until=until))

    by_transaction: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_account: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        amount = Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
        by_transaction[row["transaction"]] += amount
        by_account[row["account"]] += amount
        assert row["currency"] == "USD"
        assert bool(row["debit"]) != bool(row["credit"])
    assert set(by_transaction.values()) == {Decimal(0)}
    assert {"recognized-2026-01-usd", "recognized-2026-03-usd"} <= set(by_transaction)
    known = balances(town, at("2026-04-01"))
    assert {account: int(100 * amount) for account, amount in by_account.items() if amount} == known

    [first] = [row for row in rows if row["account"] == "deferred_revenue" and row["credit"]][:1]
    invoice = town.invoices(subscription)[0]
    assert first | {"transaction": "", "description": ""} == {
        "date": "2026-01-01",
        "transaction": "",
        "account": "deferred_revenue",
        "debit": "",
        "credit": "1200.00",
        "currency": "USD",
        "customer": customer,
        "invoice": invoice.number,
        "service_start": "2026-01-01",
        "service_end": "2026-12-31",
        "description": "",
    }
    assert rows == journal(town, tmp_path / "again.csv", Wanted(UTC, recognized_until=until))


def test_a_void_invoice_leaves_nothing_behind(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, _ = annual(town, clock)
    town.pays_with(customer, DECLINED)
    town.use(customer, "250")
    town.advance(clock, JANUARY + 31 * DAY + 2 * HOUR)
    later = at("2028-01-01")
    before = balances(town, later)
    assert before["receivable"] == 250
    [invoice] = town.client.v1.invoices.list({"status": "open"}).data
    town.client.v1.invoices.void_invoice(invoice.id)
    assert balances(town, later) == {"cash": 120000, "revenue": -120000}
    kinds = [each["kind"] for each in ask(town, "transactions", invoice=invoice.id)]
    assert kinds == ["invoice_voided", "invoice_finalized"]


def test_a_write_off_that_is_paid_after_all(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, _ = annual(town, clock)
    town.pays_with(customer, DECLINED)
    town.use(customer, "250")
    town.advance(clock, JANUARY + 31 * DAY + 2 * HOUR)
    later = at("2028-01-01")
    [invoice] = town.client.v1.invoices.list({"status": "open"}).data
    town.client.v1.invoices.mark_uncollectible(invoice.id)
    assert balances(town, later) == {"cash": 120000, "bad_debt": 250, "revenue": -120250}
    town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert balances(town, later) == {
        "cash": 120000,
        "cash_out_of_band": 250,
        "revenue": -120250,
    }


def test_credit_by_hand_and_by_credit_note(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, subscription = annual(town, clock)
    town.client.v1.customers.balance_transactions.create(
        customer, {"amount": -100, "currency": "usd"}
    )
    first = town.invoices(subscription)[0]
    town.client.v1.credit_notes.create(
        {"invoice": first.id, "amount": 20000, "credit_amount": 20000}
    )
    later = at("2028-01-01")
    assert balances(town, later) == {
        "balance_adjustments": 100,
        "cash": 120000,
        "customer_credit": -20100,
        "revenue": -100000,
    }
    town.use(customer, "250")
    town.advance(clock, JANUARY + 31 * DAY + 2 * HOUR)
    assert balances(town, later)["customer_credit"] == -20100 + 250


@pytest.mark.parametrize("category", ["paid", "promotional"])
def test_credit_that_is_granted_used_and_expires(town: Town, category: str) -> None:
    clock = town.clock(JANUARY)
    customer, _ = annual(town, clock)
    town.client.v1.billing.credit_grants.create(
        {
            "customer": customer,
            "amount": {"type": "monetary", "monetary": {"value": 400, "currency": "usd"}},
            "applicability_config": {"scope": {"price_type": "metered"}},
            "category": category,  # type: ignore[typeddict-item]
            "expires_at": at("2026-03-15"),
        }
    )
    later = at("2028-01-01")
    assert balances(town, later)["credit_grants"] == -400
    town.use(customer, "250")
    town.advance(clock, JANUARY + 31 * DAY + 2 * HOUR)
    assert balances(town, later)["credit_grants"] == -150
    town.advance(clock, at("2026-03-16"))
    expected = {"cash": 120000, "revenue": -120000}
    if category == "promotional":
        expected = {"cash": 120000, "promotions": 250, "revenue": -120250}
    assert balances(town, later) == expected
