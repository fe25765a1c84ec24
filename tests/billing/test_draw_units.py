"""Units bought in advance are taken and given back by the batch, and the audit watches them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from postpaid.billing.audit import audit
from postpaid.billing.draw_units import draw, return_units
from postpaid.billing.grant_units import NewUnitCredit, grant_units
from postpaid.core.errors import InvalidRequest
from postpaid.core.unit_credits import UNUSED_CREDITS_MAX, Drawing, UnitCredit
from postpaid.storage import catalog, unit_credits
from postpaid.storage.database import Connection, Database
from statements import counted
from world import END, START, World, make_world

DAY = timedelta(days=1)


@pytest.fixture
def world(database: Database) -> World:
    """Five customers, each with one final invoice."""
    world = make_world(database, 5)
    world.pass_time(END)
    world.pass_time(END + timedelta(hours=1))
    return world


def grant(world: World, conn: Connection, customer_id: str, units: int = 100) -> UnitCredit:
    price = catalog.load_prices(conn, world.act.account_id, [world.metered_id])[world.metered_id]
    asked = NewUnitCredit(customer_id, price.product_id, Decimal(units), END + 90 * DAY)
    return grant_units(conn, world.act, asked)


def drawing(world: World, customer_id: str, quantity: int) -> Drawing:
    [invoice] = [each for each in world.invoices() if each.customer_id == customer_id]
    units = Decimal(quantity)
    return Drawing(customer_id, world.meter_id, START, END, units, invoice.id)


def test_what_remains_is_told_for_each_in_order(world: World) -> None:
    ada, eve, *_ = world.customer_ids
    asked = [drawing(world, ada, 70), drawing(world, eve, 5)]
    july = Drawing(ada, world.meter_id, END, END + DAY, Decimal(50), asked[0].invoice_id)
    with world.database.transaction() as conn:
        first, second = grant(world, conn, ada), grant(world, conn, ada, 10)
        assert draw(conn, world.at(END), [*asked, july]) == [0, 5, 10]
        left = unit_credits.load(conn, world.act.account_id, [first.id, second.id])
        assert [each.available for each in left.values()] == [0, 0]
    assert world.findings() == []


def test_many_draw_in_as_many_statements_as_one(world: World) -> None:
    asked = [drawing(world, each, 70) for each in world.customer_ids]
    costs = []
    for some in (asked[:1], asked[1:]):
        with world.database.transaction() as conn:
            for each in world.customer_ids:
                grant(world, conn, each)
            with counted(conn) as statements:
                assert draw(conn, world.at(END), some) == [0] * len(some)
                return_units(conn, world.at(END), [each.invoice_id for each in some])
            costs.append(len(statements))
    assert costs[0] == costs[1]


def test_what_was_given_back_is_not_given_back_again(world: World) -> None:
    ada = world.customer_ids[0]
    asked = drawing(world, ada, 70)
    with world.database.transaction() as conn:
        credit = grant(world, conn, ada)
        draw(conn, world.at(END), [asked])
        for _ in range(2):
            return_units(conn, world.at(END), [asked.invoice_id])
            found = unit_credits.load(conn, world.act.account_id, [credit.id])
            assert found[credit.id].used == 0


def test_a_customer_has_a_hundred_credits_that_can_be_used_and_no_more(world: World) -> None:
    ada = world.customer_ids[0]
    with world.database.transaction() as conn:
        for _ in range(UNUSED_CREDITS_MAX):
            grant(world, conn, ada, 1)
        with pytest.raises(InvalidRequest, match="at most 100"):
            grant(world, conn, ada, 1)
        draw(conn, world.at(END), [drawing(world, ada, 1)])
        grant(world, conn, ada, 1)


CORRUPTIONS = {
    "units that nothing drew": "UPDATE unit_credits SET used = used + 1",
    "units of an invoice that stands, given back": "UPDATE unit_draws SET returned_at = drawn_at",
    "units of no invoice": "UPDATE unit_draws SET invoice_id = 'in_none'",
    "units that had expired": "UPDATE unit_draws SET period_end = '2030-01-01'",
    "units that came later": "UPDATE unit_credits SET created_at = '2026-04-01'",
    "units of somebody else": "UPDATE unit_credits SET customer_id = 'cus_none'",
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_audit_finds(world: World, corruption: str) -> None:
    ada = world.customer_ids[0]
    with world.database.transaction() as conn:
        grant(world, conn, ada)
        draw(conn, world.at(END), [drawing(world, ada, 70)])
    assert world.findings() == []
    with world.database.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        statement = f"{CORRUPTIONS[corruption]} WHERE account_id = %(account_id)s"
        assert conn.execute(statement.encode(), {"account_id": world.act.account_id}).rowcount
    found = {
        finding.invariant
        for finding in audit(world.database)
        for row in finding.rows
        if row[0] == world.act.account_id
    }
    assert found == {53}
