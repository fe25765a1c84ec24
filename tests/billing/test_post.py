"""What happens to money is in the ledger, once, at the cost of a few statements for any list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from postpaid.billing.correct import mark_uncollectible_now, void
from postpaid.billing.finalize import finalize
from postpaid.billing.pay import pay
from postpaid.core.errors import Conflict
from postpaid.core.invoicing import Invoice
from postpaid.storage import customers, ledger, ledger_reports
from postpaid.storage.database import Database
from statements import counted
from world import END, FEE, HOUR, World, make_world

FINAL = END + HOUR
DECLINED = "pm_card_chargeCustomerFail"


def billed(database: Database, subscribers: int = 1, card: str = "pm_card_visa") -> World:
    """Everyone used 1,500 calls in the month that is over, and the invoices are final."""
    world = make_world(database, subscribers, card=card)
    world.use(world.customer_ids, 1500)
    world.pass_time(END)
    world.pass_time(FINAL)
    return world


def kinds(world: World, invoice: Invoice) -> list[str]:
    """What was posted of the invoice, oldest first."""
    with world.database.connection() as conn:
        found = ledger.of_invoices(conn, world.act.account_id, [invoice.id])
    return [each.kind.value for each in found[invoice.id]]


def sums(world: World) -> dict[str, int]:
    """What each account comes to as of the finalization, those with nothing left out."""
    with world.database.connection() as conn:
        found = ledger_reports.balances(conn, world.act.account_id, at=FINAL)
    return {
        each.ledger_account.value: each.debits - each.credits
        for each in found
        if each.debits != each.credits
    }


def test_a_renewal_is_billed_earned_in_part_and_paid(database: Database) -> None:
    world = billed(database, 3)
    assert {tuple(kinds(world, each)) for each in world.invoices()} == {
        ("invoice_finalized", "payment")
    }
    earned = round(FEE * 3600 / (28 * 86400))  # the hour of grace
    assert sums(world) == {
        "cash": 3 * (FEE + 500),
        "deferred_revenue": -3 * (FEE - earned),
        "revenue": -3 * (500 + earned),
    }
    world.pass_time(FINAL)
    assert {len(kinds(world, each)) for each in world.invoices()} == {2}
    assert world.findings() == []


def test_what_is_not_paid_is_receivable_until_it_is_void(database: Database) -> None:
    world = billed(database, 2, DECLINED)
    assert sums(world)["receivable"] == 2 * (FEE + 500)
    with database.transaction() as conn:
        locked = customers.lock(conn, world.act.account_id, world.customer_ids)
        assert len(locked) == 2
        void(conn, world.at(FINAL), world.invoices())
    assert sums(world) == {}
    assert [kinds(world, each) for each in world.invoices()] == [
        ["invoice_finalized", "invoice_voided"]
    ] * 2
    assert world.findings() == []


def test_what_is_written_off_and_comes_after_all(database: Database) -> None:
    world = billed(database, 1, DECLINED)
    [invoice] = world.invoices()
    with database.transaction() as conn:
        mark_uncollectible_now(conn, world.at(FINAL), invoice.id)
    written_off = sums(world)
    assert (written_off["bad_debt"], "receivable" in written_off) == (FEE + 500, False)
    assert world.findings() == []
    with database.transaction() as conn:
        pay(conn, world.at(FINAL), invoice.id, out_of_band=True)
    recovered = sums(world)
    assert (recovered["cash_out_of_band"], "bad_debt" in recovered) == (FEE + 500, False)
    assert kinds(world, invoice) == [
        "invoice_finalized",
        "invoice_uncollectible",
        "payment_out_of_band",
    ]
    assert world.findings() == []


def test_an_act_that_fails_posts_nothing(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END)
    drafts = world.invoices()
    with pytest.raises(Conflict), database.transaction() as conn:  # noqa: PT012
        finalize_all(conn, world, drafts)
        finalize_all(conn, world, drafts)
    assert kinds(world, world.invoices()[0]) == []


def finalize_all(conn: Any, world: World, drafts: Sequence[Invoice]) -> None:
    locked = customers.lock(conn, world.act.account_id, world.customer_ids)
    finalize(conn, world.at(FINAL), drafts, locked)


def posting(statements: Sequence[str]) -> int:
    return sum("ledger_" in each for each in statements)


def test_posting_many_takes_the_statements_of_one(database: Database) -> None:
    finals, voids = set(), set()
    for subscribers in (1, 7):
        world = make_world(database, subscribers, card=DECLINED)
        world.pass_time(END)
        with database.transaction() as conn, counted(conn) as statements:
            finalize_all(conn, world, world.invoices())
        finals.add(posting(statements))
        with database.transaction() as conn, counted(conn) as statements:
            customers.lock(conn, world.act.account_id, world.customer_ids)
            void(conn, world.at(FINAL + timedelta(days=1)), world.invoices())
        voids.add(posting(statements))
        assert world.findings() == []
    assert (finals, voids) == ({2}, {4})
