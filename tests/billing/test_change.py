"""Changes by the list: as many statements for many as for one, and nothing written by a preview."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from postpaid.billing.change import cancel_now, change, finish
from postpaid.billing.move_balance import adjust_balance
from postpaid.billing.preview_change import preview_change
from postpaid.core.changes import Change, ChangePayment, ItemChange, ProrationBehavior
from postpaid.core.errors import Conflict
from postpaid.core.subscriptions import Subscription
from postpaid.storage.database import Database
from statements import counted
from world import END, FEE, START, World, make_world

MIDDLE = START + timedelta(days=15, hours=12)


def seats(
    running: Sequence[Subscription],
    quantity: int = 3,
    behavior: ProrationBehavior = ProrationBehavior.ALWAYS_INVOICE,
    payment: ChangePayment = ChangePayment.ALLOW_INCOMPLETE,
) -> list[Change]:
    """So many licences for each."""
    return [
        Change(
            each.id,
            items=[ItemChange(each.items[0].id, quantity=quantity)],
            proration=behavior,
            payment=payment,
        )
        for each in running
    ]


def renewed(world: World) -> list[Subscription]:
    """Everyone in February, with January's invoices paid: the first whose lines can be credited."""
    world.use(world.customer_ids, 1234)
    world.pass_time(END)
    world.pass_time(END + timedelta(hours=1))
    return world.subscriptions()


@pytest.mark.parametrize(
    "payment",
    [ChangePayment.ALLOW_INCOMPLETE, ChangePayment.PENDING_IF_INCOMPLETE],
    ids=["made at once", "held"],
)
def test_many_changes_take_as_many_statements_as_one(
    database: Database, payment: ChangePayment
) -> None:
    taken = []
    for many in (1, 60):
        world = make_world(database, many)
        running = renewed(world)
        act = world.at(END + timedelta(days=14))
        with database.transaction() as conn, counted(conn) as statements:
            changed = change(conn, act, seats(running, payment=payment))
        taken.append(len(statements))
        assert len(changed) == many
        assert all(len(each.attempt_ids) == 1 for each in changed)
        for each in changed:
            finish(database, act, each)
        assert {each.items[0].quantity for each in world.subscriptions()} == {3}
        updates = [each for each in world.invoices() if each.billing_reason != "subscription_cycle"]
        assert {each.total for each in updates} == {FEE}  # two more for the half of February
        assert world.findings() == []
    assert taken[0] == taken[1], f"{taken[1]} statements for many, {taken[0]} for one"


def test_metered_items_that_change_take_as_many_statements_as_one(database: Database) -> None:
    taken = []
    for many in (1, 40):
        world = make_world(database, many)
        world.use(world.customer_ids, 1234)
        asked = [
            Change(each.id, items=[ItemChange(each.items[1].id, deleted=True)])
            for each in world.subscriptions()
        ]
        with database.transaction() as conn, counted(conn) as statements:
            change(conn, world.at(MIDDLE), asked)
        taken.append(len(statements))
        world.pass_time(END)
        world.pass_time(END + timedelta(hours=1))
        assert {each.total for each in world.invoices()} == {FEE + 234}
        assert world.findings() == []
    assert taken[0] == taken[1], f"{taken[1]} statements for many, {taken[0]} for one"


def test_a_preview_is_the_change_unwritten(database: Database) -> None:
    world = make_world(database, 1)
    [before] = renewed(world)
    act = world.at(END + timedelta(days=14))
    [asked] = seats([before])
    with database.transaction() as conn:
        upcoming = preview_change(conn, act, asked)
    assert world.subscriptions() == [before]
    assert len(world.invoices()) == 1
    with database.transaction() as conn:
        change(conn, act, [asked])
    invoice = world.invoices()[-1]
    assert upcoming is not None
    assert [(line.description, line.amount) for line in upcoming.lines] == [
        (line.description, line.amount) for line in invoice.lines
    ]
    assert upcoming.total == invoice.total


def test_a_period_that_has_ended_is_closed_first(database: Database) -> None:
    world = make_world(database, 1)
    with pytest.raises(Conflict, match="is being closed"), database.transaction() as conn:
        change(conn, world.at(END), seats(world.subscriptions()))


def test_a_change_that_changes_nothing_writes_nothing(database: Database) -> None:
    world = make_world(database, 1)
    before = world.subscriptions()
    with database.transaction() as conn:
        [changed] = change(conn, world.at(MIDDLE), seats(before, quantity=1))
    assert (changed.invoice_id, changed.attempt_ids) == (None, [])
    assert world.subscriptions() == before
    assert world.invoices() == []


def test_finishing_twice_pays_once(database: Database) -> None:
    world = make_world(database, 1)
    running = renewed(world)
    act = world.at(END + timedelta(days=14))
    with database.transaction() as conn:
        [changed] = change(conn, act, seats(running))
    for _ in range(2):
        finish(database, act, changed)
    invoice = world.invoices()[-1]
    assert (invoice.status, invoice.amount_paid) == ("paid", FEE)
    assert world.findings() == []


def test_another_change_takes_the_place_of_one_that_waits(database: Database) -> None:
    world = make_world(database, 1, card="pm_card_chargeCustomerFail")
    running = renewed(world)
    act = world.at(END + timedelta(days=14))
    held = seats(running, payment=ChangePayment.PENDING_IF_INCOMPLETE)
    with database.transaction() as conn:
        [first] = change(conn, act, held)
    finish(database, act, first)
    [waiting] = world.subscriptions()
    assert waiting.pending_update is not None
    with database.transaction() as conn:
        change(conn, act, seats(running, 2, ProrationBehavior.CREATE_PRORATIONS))
    [after] = world.subscriptions()
    assert (after.pending_update, after.items[0].quantity) == (None, 2)
    assert [each.status for each in world.invoices() if each.id == first.invoice_id] == ["void"]
    assert world.findings() == []


@pytest.mark.parametrize("ends", [False, True], ids=["changed again", "canceled"])
def test_the_balance_that_a_dropped_update_gave_back_pays_for_what_comes_next(
    database: Database, ends: bool
) -> None:
    """Credit paid a part of the update's invoice; voiding that gives it back."""
    world = make_world(database, 1, card="pm_card_chargeCustomerFail")
    [customer_id] = world.customer_ids
    [before] = world.subscriptions()
    act = world.at(MIDDLE)
    with database.transaction() as conn:
        adjust_balance(conn, act, customer_id, amount=-700, currency="usd")
        pending = seats([before], payment=ChangePayment.PENDING_IF_INCOMPLETE)
        [held] = change(conn, act, pending)
    finish(database, act, held)
    with database.transaction() as conn:
        if ends:
            cancel_now(conn, act, before.id, invoice_now=True, prorate=True)
        else:
            change(conn, act, seats(world.subscriptions(), quantity=2))
    first, *rest = world.invoices()
    assert (first.status, first.starting_balance, first.ending_balance) == ("void", -700, 0)
    assert [each.starting_balance for each in rest] == [-700]
    assert world.findings() == []
