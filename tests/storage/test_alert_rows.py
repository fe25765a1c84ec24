"""Alerts' rows: counted, sent once, and the windows that they have looked at."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from postpaid.storage import alerts
from postpaid.storage.alerts import Firing
from postpaid.storage.database import Connection
from postpaid.storage.usage import ALERT_AT_ONCE, ALL_TIME
from rows import ACCOUNT, HOUR, NOW, add

ONE, TWO, THREE = -1, -2, -3  # series
MONTH = NOW + timedelta(days=31)


@pytest.fixture
def conn(conn: Connection) -> Connection:
    """Two customers' usage of a meter, and the first one's of another."""
    add(conn, "meters")
    add(conn, "meters", id="mtr_2", event_name="visit")
    add(conn, "customers")
    add(conn, "customers", id="cus_2", invoice_prefix="TWO")
    for series_id, customer_id, meter_id in (
        (ONE, "cus_1", "mtr_1"),
        (TWO, "cus_2", "mtr_1"),
        (THREE, "cus_1", "mtr_2"),
    ):
        add(
            conn,
            "usage_series",
            series_id=series_id,
            customer_id=customer_id,
            meter_id=meter_id,
        )
    return conn


def add_alert(conn: Connection, name: str, **values: Any) -> None:
    row = {
        "account_id": ACCOUNT,
        "id": name,
        "title": "High",
        "meter_id": "mtr_1",
        "customer_id": None,
        "recurrence": "one_time",
        "gte": 5,
        "percent": None,
        "amount": None,
        "status": "active",
        "created_at": NOW,
    }
    conn.execute(alerts.INSERT.encode(), row | values)


def add_hour(conn: Connection, series_id: int, place: int, value: int) -> None:
    """An hour with one event of ``value``, so many hours from the first."""
    at = NOW + place * HOUR
    conn.execute(
        "INSERT INTO usage_hours (series_id, hour, sum, count, max, last_value, last_at,"
        " last_reference) VALUES (%(s)s, %(at)s, %(v)s, 1, %(v)s, %(v)s, %(at)s, %(r)s)",
        {"s": series_id, "at": at, "v": value, "r": f"event-{place}"},
    )


def all_time(conn: Connection) -> dict[int, tuple[Any, ...]]:
    """The rows that count everything, by series: sum, count, max, last, its time, alert_at."""
    rows = conn.execute(
        "SELECT series_id, sum, count, max, last_value, last_at, alert_at FROM usage_windows"
        " WHERE start_at = %s AND end_at = %s AND series_id < 0",
        ALL_TIME,
    )
    return {row[0]: row[1:] for row in rows}


NOTHING = (0, 0, None, None, None, ALERT_AT_ONCE)


def test_all_time_is_everything_there_is(conn: Connection) -> None:
    for place, value in enumerate((7, 9, 2)):
        add_hour(conn, ONE, place, value)
    alerts.open_all_time(conn, ACCOUNT, "mtr_1", None)
    assert all_time(conn) == {
        ONE: (18, 3, 9, 2, NOW + 2 * HOUR, ALERT_AT_ONCE),
        TWO: NOTHING,
    }


def test_all_time_can_be_of_one_customer(conn: Connection) -> None:
    alerts.open_all_time(conn, ACCOUNT, "mtr_1", "cus_2")
    assert all_time(conn) == {TWO: NOTHING}


def test_what_is_counted_already_is_only_to_be_looked_at(conn: Connection) -> None:
    """The row is kept by whoever stores; the hours are not read a second time."""
    alerts.open_all_time(conn, ACCOUNT, "mtr_1", "cus_1")
    row = (ONE, *ALL_TIME)
    conn.execute("UPDATE usage_windows SET sum = 3, count = 1 WHERE series_id = %s", (ONE,))
    alerts.look_at(conn, {row: Decimal(5)})
    assert all_time(conn) == {ONE: (3, 1, None, None, None, 5)}
    alerts.open_all_time(conn, ACCOUNT, "mtr_1", None)
    assert all_time(conn) == {ONE: (3, 1, None, None, None, ALERT_AT_ONCE), TWO: NOTHING}


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        pytest.param({}, [ONE, TWO], id="everyones"),
        pytest.param({"customer_id": "cus_2"}, [TWO], id="one-customers"),
        pytest.param({"meter_id": "mtr_2"}, [THREE], id="another-meters"),
        pytest.param({"status": "inactive"}, [], id="inactive"),
        pytest.param({"status": "archived"}, [], id="archived"),
        pytest.param({"recurrence": "billing_period"}, [], id="of-the-period"),
    ],
)
def test_new_series_are_counted_for_all_time_where_an_alert_watches(
    conn: Connection, given: dict[str, Any], opened: list[int]
) -> None:
    add_alert(conn, "alrt_1", **given)
    alerts.open_all_time_of_new(conn, ACCOUNT, [ONE, TWO, THREE])
    assert all_time(conn) == dict.fromkeys(opened, NOTHING)
    alerts.open_all_time_of_new(conn, ACCOUNT, [])


def test_billed_windows_are_looked_at_and_all_time_is_not(conn: Connection) -> None:
    for series_id in (ONE, TWO, THREE):
        for start_at, end_at in ((NOW, MONTH), ALL_TIME):
            conn.execute(
                "INSERT INTO usage_windows (series_id, start_at, end_at) VALUES (%s, %s, %s)",
                (series_id, start_at, end_at),
            )
    alerts.look_at_once(conn, ACCOUNT, "mtr_1", "cus_2")
    looked_at = "SELECT series_id, start_at FROM usage_windows WHERE alert_at IS NOT NULL"
    assert conn.execute(looked_at + " AND series_id < 0").fetchall() == [(TWO, NOW)]
    alerts.look_at_once(conn, ACCOUNT, "mtr_1", None)
    found = conn.execute(looked_at + " AND series_id < 0 ORDER BY 1 DESC").fetchall()
    assert found == [(ONE, NOW), (TWO, NOW)]


def test_each_window_is_looked_at_from_its_own_quantity_on(conn: Connection) -> None:
    ends = [MONTH, MONTH + HOUR, MONTH + 2 * HOUR]
    for end_at in ends:
        add(conn, "usage_windows", end_at=end_at)
    wanted = {(ONE, NOW, ends[0]): Decimal("7.5"), (ONE, NOW, ends[2]): ALERT_AT_ONCE}
    alerts.look_at(conn, {**wanted, (TWO, NOW, ends[1]): Decimal(1)})
    found = conn.execute("SELECT end_at, alert_at FROM usage_windows WHERE series_id = %s", (ONE,))
    assert dict(found.fetchall()) == {
        ends[0]: Decimal("7.5"),
        ends[1]: None,
        ends[2]: ALERT_AT_ONCE,
    }
    alerts.look_at(conn, {(ONE, NOW, ends[0]): None})
    found = conn.execute("SELECT count(alert_at) FROM usage_windows WHERE series_id = %s", (ONE,))
    assert found.fetchone() == (1,)
    alerts.look_at(conn, {})


def test_who_fires_first_fires(conn: Connection) -> None:
    add_alert(conn, "alrt_1")
    add_alert(conn, "alrt_2")
    first = Firing("alrt_1", "cus_1", "all-time", Decimal("5.5"))
    others = [
        Firing("alrt_2", "cus_1", "all-time", Decimal(6)),
        Firing("alrt_1", "cus_2", "all-time", Decimal(6)),
        Firing("alrt_1", "cus_1", "sub_1/si_1/period-0", Decimal(6)),
    ]
    names = [(each.alert_id, each.customer_id, each.window_key) for each in [first, *others]]
    assert alerts.fire(conn, ACCOUNT, [first], fired_at=NOW) == set(names[:1])
    assert alerts.fire(conn, ACCOUNT, [first, *others], fired_at=NOW) == set(names[1:])
    assert alerts.fire(conn, ACCOUNT, [first, *others], fired_at=NOW) == set()
    assert alerts.fire(conn, ACCOUNT, [], fired_at=NOW) == set()
    assert alerts.fired(conn, ACCOUNT, ["alrt_1"], [("cus_1", "all-time")]) == {names[0]}
    asked = [("cus_1", "all-time"), ("cus_2", "all-time"), ("cus_2", "sub_1/si_1/period-0")]
    assert alerts.fired(conn, ACCOUNT, ["alrt_1", "alrt_2"], asked) == set(names[:3])
    assert alerts.fired(conn, ACCOUNT, ["alrt_1"], []) == set()


def test_alerts_are_counted_for_the_customer_who_has_the_most(conn: Connection) -> None:
    assert alerts.count(conn, ACCOUNT, "mtr_1", None) == 0
    add_alert(conn, "a")
    add_alert(conn, "b", customer_id="cus_1")
    add_alert(conn, "c", customer_id="cus_1", status="inactive")
    add_alert(conn, "d", customer_id="cus_1", status="archived")
    add_alert(conn, "e", customer_id="cus_2")
    add_alert(conn, "f", meter_id="mtr_2")
    assert alerts.count(conn, ACCOUNT, "mtr_1", "cus_1") == 3
    assert alerts.count(conn, ACCOUNT, "mtr_1", "cus_2") == 2
    assert alerts.count(conn, ACCOUNT, "mtr_1", "cus_3") == 1
    assert alerts.count(conn, ACCOUNT, "mtr_1", None) == 3
    assert alerts.count(conn, ACCOUNT, "mtr_2", None) == 1
