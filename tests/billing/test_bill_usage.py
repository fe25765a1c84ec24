"""Usage billed by windows, for one customer and for many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from postpaid.billing import correct, manage_catalog
from postpaid.billing.bill_usage import Bought, NewBillingInvoice, bill_usage
from postpaid.billing.grant_units import NewUnitCredit, grant_units
from postpaid.billing.pay import Paying, finish_paying
from postpaid.billing.price_meters import AskedPrice, create_priced_meter
from postpaid.core.billed_usage import BilledWindow, WindowBilling
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.metering import Aggregation
from postpaid.core.pricing import Model, Tier, TiersMode
from postpaid.core.values import replace
from postpaid.storage import billed_usage, catalog, meters
from postpaid.storage.billed_usage import Asked
from postpaid.storage.database import Connection, Database
from statements import counted
from world import HOUR, START, World, make_world

DAY = timedelta(days=1)
NOW = START + 10 * DAY


@pytest.fixture
def world(database: Database) -> World:
    return seller(database, 1)


def seller(database: Database, customers: int, *, model: Model | None = None) -> World:
    """A world whose customers have used a meter that has a price of its own: 10 cents each."""
    made = make_world(database, customers)
    fields = {
        "display_name": "Bytes",
        "event_name": "byte",
        "aggregation": Aggregation.SUM,
        "customer_key": "customer",
        "value_key": "value",
    }
    with database.transaction() as conn:
        asked = AskedPrice("usd", model or Model(Decimal(10)))
        meter = create_priced_meter(conn, made.act, fields, asked)
    return replace(made, meter_id=meter.id)


def asked(
    world: World,
    customer_ids: Sequence[str] = (),
    *,
    start: datetime = START,
    end: datetime = START + DAY,
    bought: Sequence[Bought] = (),
    sent: bool = False,
) -> list[NewBillingInvoice]:
    return [
        NewBillingInvoice(
            each,
            start,
            end,
            payment_method_id=None if sent else each.replace("cus_", "pm_"),
            days_until_due=7 if sent else None,
            bought=bought,
        )
        for each in customer_ids or world.customer_ids
    ]


def bill(world: World, wanted: Sequence[NewBillingInvoice], now: datetime = NOW) -> list[Paying]:
    with world.database.transaction() as conn:
        begun = bill_usage(conn, world.at(now), wanted)
    for each in begun:
        finish_paying(world.database, world.at(now), each, declines_raise=True)
    return begun


def bills(world: World) -> list[Invoice]:
    return [each for each in world.invoices() if each.bills_usage]


def test_many_customers_take_no_more_statements_than_one(database: Database) -> None:
    counts = []
    for customers in (1, 50):
        world = seller(database, customers)
        grant(world, 3)
        fee = [Bought(offer(world, 500), Decimal(2))]
        for _ in range(2):  # what comes late too
            world.use(world.customer_ids, 5, received_at=NOW)
            with database.transaction() as conn, counted(conn) as statements:
                begun = bill_usage(conn, world.at(NOW), asked(world, bought=fee))
            counts.append(len(statements))
            for each in begun:
                finish_paying(database, world.at(NOW), each, declines_raise=True)
        made = bills(world)
        assert {each.status for each in made} == {InvoiceStatus.PAID}
        assert sum(each.amount_paid for each in made) == customers * (1000 + 2 * 50) - 30
        assert world.findings() == []
    assert counts[:2] == counts[2:]


def test_units_in_advance_pay_before_money_and_come_back(world: World) -> None:
    grant(world, 8)
    [customer_id] = world.customer_ids
    world.use([customer_id], 5, received_at=NOW)
    [first] = bill(world, asked(world, sent=True))
    assert [each.total for each in bills(world)] == [0]
    world.use([customer_id], 5, received_at=NOW)
    bill(world, asked(world, sent=True))
    assert [each.total for each in bills(world)] == [0, 20]
    last = bills(world)[1]
    assert [(line.quantity, line.amount) for line in last.lines] == [(10, 100), (0, -50), (3, -30)]
    with world.database.transaction() as conn:
        correct.void_now(conn, world.at(NOW), last.id)
    bill(world, asked(world, sent=True))
    assert bills(world)[2].total == 20
    assert first.attempt_ids == []  # nothing was due
    assert world.findings() == []


def test_the_second_that_runs_has_ended_and_no_other(world: World) -> None:
    world.use(world.customer_ids, 5, received_at=NOW)
    with pytest.raises(InvalidRequest) as refused:
        bill(world, asked(world, end=NOW + timedelta(seconds=1, microseconds=1)))
    assert refused.value.param == ("end_date",)
    bill(world, asked(world, end=NOW + timedelta(seconds=1)))
    assert [line.period_end for line in bills(world)[0].lines] == [NOW]


def test_customers_of_one_request_are_different(world: World) -> None:
    world.use(world.customer_ids, 5, received_at=NOW)
    with pytest.raises(InvalidRequest):
        bill(world, asked(world) * 2)


def test_one_that_cannot_be_billed_leaves_the_others_unbilled(database: Database) -> None:
    world = seller(database, 2)
    world.use(world.customer_ids[:1], 5)
    with pytest.raises(ActionNotAllowed) as refused:
        bill(world, asked(world))
    assert refused.value.code == "nothing_to_bill"
    assert bills(world) == []
    bill(world, asked(world, world.customer_ids[:1]))
    assert [each.total for each in bills(world)] == [50]


def test_the_database_itself_refuses_what_overlaps(world: World) -> None:
    world.use(world.customer_ids, 5, received_at=NOW)
    bill(world, asked(world))
    [invoice] = bills(world)
    with world.database.connection() as conn:
        [billed] = known(conn, world)
    half = WindowBilling(
        "usage/other",
        invoice.id,
        billed.customer_id,
        billed.meter_id,
        billed.start + HOUR,
        billed.end + HOUR,
        billed.price_id,
        Decimal(1),
        1,
    )
    with pytest.raises(Conflict), world.database.transaction() as conn:
        billed_usage.insert_many(conn, world.act.account_id, [half])


def test_a_void_invoice_leaves_no_window(world: World) -> None:
    world.use(world.customer_ids, 5, received_at=NOW)
    bill(world, asked(world, sent=True))
    with world.database.transaction() as conn:
        correct.void_now(conn, world.at(NOW), bills(world)[0].id)
    with world.database.connection() as conn:
        assert known(conn, world) == []
    assert world.findings() == []


def test_usage_of_more_lines_than_an_invoice_has_is_refused(database: Database) -> None:
    tiers = tuple(Tier(Decimal(each), Decimal(1)) for each in range(1, 100))
    model = Model(tiers=(*tiers, Tier(None, Decimal(1))), tiers_mode=TiersMode.GRADUATED)
    world = seller(database, 1, model=model)
    for hour in range(3):
        world.use(world.customer_ids, 200, at=START + (2 * hour + 1) * HOUR)
    for hour in (2, 4):  # so that three pieces are left, of a hundred lines each
        world.use(world.customer_ids, 1, at=START + hour * HOUR)
        bill(world, asked(world, start=START + hour * HOUR, end=START + (hour + 1) * HOUR - DELTA))
    with pytest.raises(InvalidRequest) as refused:
        bill(world, asked(world))
    assert refused.value.param == ("end_date",)


@pytest.mark.parametrize("percentage", [25, 100])
def test_the_audit_sees_a_window_that_is_not_its_lines(world: World, percentage: int) -> None:
    world.use(world.customer_ids, 5, received_at=NOW)
    bill(world, asked(world))
    assert world.findings() == []
    parameters = {"account_id": world.act.account_id, "percentage": percentage}
    query = (
        "UPDATE window_billings SET quantity = quantity * 2"
        if percentage == 100
        else "UPDATE window_billings SET amount = amount + amount * %(percentage)s / 100"
    )
    with world.database.transaction() as conn:
        conn.execute(f"{query} WHERE account_id = %(account_id)s".encode(), parameters)
    assert [each for each, _ in world.findings()] == ["A window is not billed as its lines say."]


DELTA = timedelta(minutes=1)


def known(conn: Connection, world: World) -> list[BilledWindow]:
    spans = [Asked(each, START - DAY, NOW) for each in world.customer_ids]
    found = billed_usage.overlapping(conn, world.act.account_id, spans)
    return [window for own in found.values() for window in own]


def offer(world: World, amount: int) -> str:
    """A product that is sold once, at so much."""
    with world.database.transaction() as conn:
        made = manage_catalog.create_product(conn, world.act, {"name": "Setup"})
        price = manage_catalog.create_price(
            conn,
            world.act,
            {"product_id": made.id, "currency": "usd", "model": Model(Decimal(amount))},
        )
        manage_catalog.update_product(
            conn, world.act, made.id, lambda each: replace(each, default_price_id=price.id)
        )
    return made.id


def grant(world: World, units: int) -> None:
    """Give the first customer units of what the meter counts."""
    with world.database.transaction() as conn:
        meter = meters.find(conn, world.act.account_id, world.meter_id)
        assert meter is not None
        price = catalog.find_price(conn, world.act.account_id, meter.price_id or "")
        assert price is not None
        asked_for = NewUnitCredit(
            world.customer_ids[0], price.product_id, Decimal(units), expires_at=NOW + DAY
        )
        grant_units(conn, world.act, asked_for)
