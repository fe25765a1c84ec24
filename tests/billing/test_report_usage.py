"""A report costs the same statements for one customer as for many."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from postpaid import ids
from postpaid.billing import manage_customers, manage_keys, manage_meters, report_usage
from postpaid.billing.perform import Act
from postpaid.billing.price_meters import AskedPrice, create_priced_meter
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.core.errors import InvalidRequest
from postpaid.core.metering import Aggregation
from postpaid.core.pricing import Model
from postpaid.storage import meters
from postpaid.storage.database import Connection, Database
from statements import counted

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
WHOLE = (NOW - 10 * DAY, NOW + DAY)

# Of the customers 0 and 1, who report 1 and 5, and 3 and 5, hourly.
TOGETHER = {
    Aggregation.SUM: "14",
    Aggregation.COUNT: "4",
    Aggregation.LAST: "10",
    Aggregation.MAX: "5",
    Aggregation.UNIQUE: "4",
    Aggregation.AVERAGE: "3.5",
    Aggregation.TIME_WEIGHTED_SUM: str(3600 * (1 + 5 + 3 + 5)),
    Aggregation.P95: "10",
    Aggregation.P99: "10",
    Aggregation.DURATION: str(3600 * 4),
}


def new_act(conn: Connection) -> Act:
    account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
    return Act(account.account_id, False, "key_1", NOW, ids.new_id, request_id="req_1")


def used_by(conn: Connection, act: Act, many: int) -> list[str]:
    """So many customers, each with two events of a meter of every aggregation."""
    for aggregation in Aggregation:
        create_priced_meter(
            conn,
            act,
            {
                "display_name": aggregation,
                "event_name": aggregation,
                "aggregation": aggregation,
                "customer_key": "customer",
                "value_key": "value",
            },
            AskedPrice("usd", Model(unit_amount=Decimal("0.5"))),
        )
    owners = [manage_customers.create_customer(conn, act, {"name": f"{n}"}).id for n in range(many)]
    events = [
        (name, owner, value, at)
        for place, owner in enumerate(owners)
        for name in Aggregation
        for value, at in ((1 + 2 * place, NOW - 2 * HOUR), (5, NOW - HOUR))
    ]
    recorded = record_usage(
        conn,
        act,
        Reported(
            [name for name, *_ in events],
            [{"customer": owner, "value": str(value)} for _, owner, value, _ in events],
            [None] * len(events),
            [int(at.timestamp()) * 1000 for *_, at in events],
        ),
    )
    assert recorded.errors == {}
    return owners


def test_a_report_adds_customers_up_as_their_meter_does(database: Database) -> None:
    with database.transaction() as conn:
        act = new_act(conn)
        owners = used_by(conn, act, 2)
        about = meters.list_all(conn, act.account_id)
        both = report_usage.report_usage(conn, act, about, *WHOLE)
        one = report_usage.report_usage(conn, act, about, *WHOLE, customer_id=owners[0])
    assert {each.meter.aggregation: each.quantity for each in both} == {
        name: Decimal(quantity) for name, quantity in TOGETHER.items()
    }
    for report in both:
        assert [each.customer_id for each in report.by_customer] == owners
        assert report.amount == sum(each.amount or 0 for each in report.by_customer)
    by_name = {each.meter.aggregation: each for each in one}
    assert by_name[Aggregation.SUM].quantity == 6
    assert (by_name[Aggregation.SUM].amount, by_name[Aggregation.SUM].currency) == (3, "usd")


def test_a_report_of_many_customers_takes_the_statements_of_one(database: Database) -> None:
    asked = []
    for many in (1, 50):
        with database.transaction() as conn:
            act = new_act(conn)
            used_by(conn, act, many)
            about = meters.list_all(conn, act.account_id)
            with counted(conn) as statements:
                [*reports] = report_usage.report_usage(conn, act, about, *WHOLE)
            assert {len(each.by_customer) for each in reports} == {many}
            asked.append(statements)
    assert asked[0] == asked[1]
    assert len(asked[0]) <= 12


def test_a_window_is_half_open_and_has_a_length(database: Database) -> None:
    with database.transaction() as conn:
        act = new_act(conn)
        used_by(conn, act, 1)
        about = [each for each in meters.list_all(conn, act.account_id) if each.event_name == "sum"]
        [early] = report_usage.report_usage(conn, act, about, NOW - 2 * HOUR, NOW - HOUR)
        assert early.quantity == 1
        [none] = report_usage.report_usage(conn, act, about, NOW, NOW + DAY)
        assert (none.quantity, none.amount, list(none.by_customer)) == (0, 0, [])
        with pytest.raises(InvalidRequest):
            report_usage.report_usage(conn, act, about, NOW, NOW)


def test_more_than_a_report_can_have_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_usage, "SERIES_MAX", 9)
    with database.transaction() as conn:
        act = new_act(conn)
        [owner] = used_by(conn, act, 1)
        about = meters.list_all(conn, act.account_id)
        with pytest.raises(InvalidRequest, match="More than 9"):
            report_usage.report_usage(conn, act, about, *WHOLE)
        assert report_usage.report_usage(conn, act, about[:9], *WHOLE, customer_id=owner)


def test_what_has_no_price_has_no_amount(database: Database) -> None:
    with database.transaction() as conn:
        act = new_act(conn)
        manage_meters.create_meter(
            conn,
            act,
            display_name="x",
            event_name="x",
            aggregation=Aggregation.SUM,
            customer_key="customer",
            value_key="value",
        )
        about = meters.list_all(conn, act.account_id)
        [found] = report_usage.report_usage(conn, act, about, *WHOLE)
    assert (found.quantity, found.amount, found.currency) == (0, None, None)
