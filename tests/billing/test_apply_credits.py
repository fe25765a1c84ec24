"""Balances and grants pay for drafts by the batch, and come back when invoices are void."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from postpaid.billing import correct
from postpaid.billing.finalize import finalize
from postpaid.billing.imagine import imagine
from postpaid.billing.issue_credit_notes import NewCreditNote, issue
from postpaid.billing.manage_credit_grants import NewGrant, expire_grants, grant_credit
from postpaid.billing.move_balance import adjust_balance
from postpaid.billing.pass_time import expire_credit
from postpaid.core.credits import CreditGrant, GrantCategory
from postpaid.core.errors import BillingError, InvalidRequest
from postpaid.core.invoicing import InvoiceStatus
from postpaid.storage import credit_grants, customers, invoices
from postpaid.storage.database import Connection, Database
from statements import counted
from world import END, FEE, HOUR, START, World, make_world

FINAL = END + HOUR
OVERAGE = 1000  # of 2,000 calls


def give(world: World, *amounts: int, balance: int = 0, **more: object) -> list[CreditGrant]:
    """Grants of these amounts to everyone, and a balance."""
    given: list[CreditGrant] = []
    with world.database.transaction() as conn:
        for customer_id in world.customer_ids:
            for amount in amounts:
                asked = NewGrant(customer_id, amount, "usd", GrantCategory.PAID, {}, **more)  # type: ignore[arg-type]
                given.append(grant_credit(conn, world.act, asked))
            if balance:
                adjust_balance(conn, world.act, customer_id, amount=balance, currency="usd")
    return given


def drafted(world: World) -> World:
    """Until the first period's drafts are there, with an overage of $10."""
    world.use(world.customer_ids, 2000)
    world.pass_time(END)
    return world


def finalize_all(conn: Connection, world: World) -> list[str]:
    with counted(conn) as statements:
        limit = len(world.customer_ids)
        drafts = invoices.claim_finalizing(conn, world.act.account_id, None, now=FINAL, limit=limit)
        locked = customers.lock(conn, world.act.account_id, world.customer_ids)
        assert len(finalize(conn, world.at(FINAL), drafts, locked)) == len(world.customer_ids)
    return statements


def test_grants_pay_for_usage_and_then_the_balance_for_the_rest(database: Database) -> None:
    world = make_world(database, 2)
    give(world, 600, 300, balance=-5000)
    drafted(world)
    [draft, _] = world.invoices()
    with database.connection() as conn:
        owners = customers.load(conn, world.act.account_id, [draft.customer_id])
        expected = imagine(conn, world.at(END), [draft], owners)
    world.pass_time(FINAL)

    for invoice in world.invoices():
        assert sum((invoice.total_credits or {}).values()) == 900
        assert invoice.subtotal == FEE + OVERAGE
        assert invoice.total == FEE + 100
        assert (invoice.starting_balance, invoice.ending_balance) == (-5000, 0)
        assert (invoice.amount_due, invoice.amount_paid) == (FEE - 4900, FEE - 4900)
        assert (invoice.total, invoice.amount_due) == (expected.total, expected.amount_due)
    assert world.findings() == []


def test_credit_never_pays_more_than_the_usage(database: Database) -> None:
    world = make_world(database, 1)
    [grant] = give(world, 10_000)
    drafted(world)
    world.pass_time(FINAL)
    [invoice] = world.invoices()
    assert invoice.total == FEE
    with database.connection() as conn:
        left = credit_grants.load(conn, world.act.account_id, [grant.id])[grant.id]
    assert left.balance == 10_000 - OVERAGE
    assert world.findings() == []


def test_the_number_of_drafts_does_not_change_the_statements(database: Database) -> None:
    lists = []
    for subscribers in (1, 50):
        world = make_world(database, subscribers)
        give(world, 600, 300, balance=-5000)
        drafted(world)
        with database.transaction() as conn:
            lists.append(finalize_all(conn, world))
    assert lists[0] == lists[1]


def test_the_number_of_invoices_does_not_change_what_voiding_states(database: Database) -> None:
    lists = []
    for subscribers in (1, 50):
        world = make_world(database, subscribers, card="pm_card_chargeCustomerFail")
        give(world, 600, 300, balance=-500)
        drafted(world)
        world.pass_time(FINAL)
        wrong = world.invoices()
        assert {each.status for each in wrong} == {InvoiceStatus.OPEN}
        with database.transaction() as conn, counted(conn) as statements:
            customers.lock(conn, world.act.account_id, world.customer_ids)
            correct.void(conn, world.at(FINAL), wrong)
        lists.append(statements)
        with database.connection() as conn:
            back = customers.load(conn, world.act.account_id, world.customer_ids)
            left = credit_grants.unused(conn, world.act.account_id, world.customer_ids)
        assert {each.balance for each in back.values()} == {-500}
        assert {sum(each.balance for each in own) for own in left.values()} == {900}
        assert world.findings() == []
    assert lists[0] == lists[1]


def test_the_number_of_grants_does_not_change_what_expiring_states(database: Database) -> None:
    lists = []
    for subscribers in (1, 50):
        world = make_world(database, subscribers)
        given = give(world, 600, expires_at=START + HOUR)
        with database.transaction() as conn, counted(conn) as statements:
            customers.lock(conn, world.act.account_id, world.customer_ids)
            expire_grants(conn, world.at(START + 2 * HOUR), given)
        lists.append(statements)
        assert world.findings() == []
    assert lists[0] == lists[1]


def test_a_grant_expires_an_hour_after_its_time_and_once(database: Database) -> None:
    world = make_world(database, 1)
    give(world, 600, expires_at=START + HOUR)
    almost = START + 2 * HOUR - timedelta(seconds=1)
    assert expire_credit(database, world.at(almost), almost) == 0
    assert expire_credit(database, world.at(START + 2 * HOUR), START + 2 * HOUR) == 1
    assert expire_credit(database, world.at(START + 2 * HOUR), START + 2 * HOUR) == 0
    assert world.findings() == []


def test_credit_waits_to_expire_while_a_draft_is_due(database: Database) -> None:
    world = make_world(database, 1)
    give(world, 600, expires_at=END + timedelta(seconds=1))
    drafted(world)
    late = END + 5 * HOUR
    assert expire_credit(database, world.at(late), late) == 0
    world.pass_time(late)
    [invoice] = world.invoices()
    assert invoice.total == FEE + OVERAGE - 600


def test_voiding_brings_expired_credit_back_only_to_expire(database: Database) -> None:
    world = make_world(database, 1, card="pm_card_chargeCustomerFail")
    [grant] = give(world, 1500, expires_at=END + HOUR)
    drafted(world)
    world.pass_time(END + 2 * HOUR)
    [wrong] = world.invoices()
    with database.transaction() as conn:
        correct.void_now(conn, world.at(END + 3 * HOUR), wrong.id)
    with database.connection() as conn:
        after = credit_grants.load(conn, world.act.account_id, [grant.id])[grant.id]
    assert (after.balance, after.expired_at) == (0, END + 2 * HOUR)
    assert world.findings() == []


def test_a_customer_has_at_most_a_hundred_unused_grants(database: Database) -> None:
    world = make_world(database, 1)
    give(world, *([1] * 100))
    with pytest.raises(InvalidRequest, match="at most 100 unused credit grants"):
        give(world, 1)


@pytest.mark.parametrize("seed", [1, 3, 4, 6])
def test_whatever_happens_a_balance_is_the_sum_of_its_movements(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    fails = seed % 2 == 0
    card = "pm_card_chargeCustomerFail" if fails else "pm_card_visa"
    world = make_world(database, 3, card=card)
    now = START
    done: set[str] = set()
    for _ in range(50):
        customer_id = chance.choice(world.customer_ids)
        match chance.randrange(5):
            case 0:
                now += timedelta(days=chance.randrange(5, 35))
                world.pass_time(now)
            case 1:
                amount = chance.randrange(-6000, 8000)
                done |= _tried(
                    world, now, adjust_balance, customer_id, amount=amount, currency="usd"
                )
            case 2:
                amount = chance.randrange(1, 3000)
                asked = NewGrant(customer_id, amount, "usd", GrantCategory.PROMOTIONAL, {})
                done |= _tried(world, now, grant_credit, asked)
                world.use([customer_id], chance.randrange(3000), at=now)
            case 3 | 4 as what:
                final = [each for each in world.invoices() if each.finalized_at]
                if not final:
                    continue
                owing = [each for each in final if each.status == InvoiceStatus.OPEN]
                invoice = chance.choice(owing if owing and what == 3 else final)
                if what == 3:
                    done |= _tried(world, now, correct.void_now, invoice.id)
                else:
                    part = chance.randrange(1, 5000)
                    pre = min(part, max(0, invoice.amount_remaining))
                    note = NewCreditNote(invoice.id, amount=part, credit_amount=part - pre)
                    done |= _tried(world, now, issue, note)
    world.pass_time(now + timedelta(days=40))
    assert done == {"adjust_balance", "grant_credit", "issue"} | ({"void_now"} if fails else set())
    assert world.findings() == []


def _tried(
    world: World, now: datetime, what: Callable[..., object], *arguments: object, **more: object
) -> set[str]:
    """Do it, and say so; where it is refused nothing has happened."""
    try:
        with world.database.transaction() as conn:
            what(conn, world.at(now), *arguments, **more)
    except BillingError:
        return set()
    return {what.__name__}
