"""Every reported event is accepted once or answered for, and costs the others nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from postpaid.billing.perform import Act
from postpaid.billing.record_usage import (
    FUTURE,
    PAST,
    PAYLOAD_KEYS_MAX,
    Outcome,
    Reported,
    record_usage,
)
from postpaid.core.metering import UsageTotal
from postpaid.storage import usage
from postpaid.storage.database import Connection
from postpaid.storage.usage import UsageEvent, Window
from rows import ACCOUNT, HOUR, NOW, add

MILLISECOND = timedelta(milliseconds=1)
FROZEN = NOW + 9999 * HOUR
METERS = {"call": "sum", "visit": "count", "disk": "last", "old": "sum"}


@pytest.fixture
def act() -> Act:
    numbers = count(1)
    return Act(ACCOUNT, False, "key_1", NOW, lambda prefix: f"{prefix}_{next(numbers)}", "req_1")


@pytest.fixture
def conn(conn: Connection) -> Connection:
    """An account with three meters and one that was put away, and three kinds of customers."""
    for name, aggregation in METERS.items():
        add(conn, "meters", id=f"mtr_{name}", event_name=name, aggregation=aggregation)
    conn.execute(
        "UPDATE meters SET status = 'inactive', deactivated_at = %s WHERE id = 'mtr_old'", (NOW,)
    )
    add(conn, "test_clocks", frozen_at=FROZEN)
    add(conn, "customers")
    add(conn, "customers", id="cus_clock", invoice_prefix="CLOCK", clock_id="clock_1")
    add(conn, "customers", id="cus_gone", invoice_prefix="GONE", deleted_at=NOW)
    add(conn, "customers", id="cus_theirs", invoice_prefix="THEIRS", account_id=ACCOUNT - 1)
    return conn


def event(name: str = "call", identifier: str | None = None, **given: Any) -> dict[str, Any]:
    """One reported event; ``customer`` and ``value`` are left out by giving None."""
    timestamp = given.pop("at", None)
    payload = {"customer": "cus_1", "value": "1", **given}
    payload = {key: text for key, text in payload.items() if text is not None}
    return {"name": name, "payload": payload, "identifier": identifier, "timestamp": timestamp}


def record(conn: Connection, act: Act, *events: Mapping[str, Any]) -> list[Outcome]:
    return record_usage(
        conn,
        act,
        Reported(
            [each["name"] for each in events],
            [each["payload"] for each in events],
            [each["identifier"] for each in events],
            [each["timestamp"] for each in events],
        ),
    )


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind.value for outcome in outcomes]


def total(conn: Connection, meter: str = "mtr_call", customer: str = "cus_1") -> UsageTotal:
    everything = Window(customer, meter, NOW - PAST - HOUR, FROZEN + PAST)
    [found] = usage.totals(conn, ACCOUNT, [everything])
    return found


# ─── Accepted ────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_stored_as_it_was_reported(conn: Connection, act: Act) -> None:
    at = NOW - 5 * HOUR
    [outcome] = record(conn, act, event(identifier="x", value="2.5", at=at, region="eu", a="☃"))
    assert (outcome.kind, outcome.identifier, outcome.occurred_at) == ("accepted", "x", at)
    assert outcome.error is None
    assert usage.load(conn, ACCOUNT, ["x"]) == {
        "x": UsageEvent("x", "mtr_call", "cus_1", at, Decimal("2.5"))
    }
    rest = conn.execute(
        "SELECT payload, received_at FROM usage_events WHERE account_id = %s", (ACCOUNT,)
    ).fetchall()
    assert rest == [({"region": "eu", "a": "☃"}, NOW)]


def test_what_is_left_out_is_made_up(conn: Connection, act: Act) -> None:
    outcomes = record(conn, act, event(), event(), event(identifier=""))
    assert kinds(outcomes) == ["accepted"] * 3
    assert [each.identifier for each in outcomes] == ["mtev_1", "mtev_2", "mtev_3"]
    assert {each.occurred_at for each in outcomes} == {NOW}
    assert total(conn) == UsageTotal(Decimal(3), 3, Decimal(1), NOW)


def test_only_a_count_can_do_without_a_value(conn: Connection, act: Act) -> None:
    outcomes = record(conn, act, *(event(name, value=None) for name in ("visit", "call", "disk")))
    assert kinds(outcomes) == ["accepted", "rejected", "rejected"]
    assert total(conn, "mtr_visit") == UsageTotal(Decimal(1), 1, Decimal(1), NOW)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-1", "-1"),
        ("+1", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("007", "7"),
        ("1e3", "1000"),
        ("1E-12", "0.000000000001"),
        ("1500E-12", "0.0000000015"),
        ("0e999", "0"),
        ("0e-999", "0"),
        ("0.1000000000000000000000", "0.1"),
        ("0.123456789012", "0.123456789012"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("1000000000000000", "1000000000000000"),
        ("-1000000000000000.000", "-1000000000000000"),
        ("1e15", "1000000000000000"),
        ("0000000000000000000000000000000000000001", "1"),
    ],
)
def test_a_value_is_read_exactly(conn: Connection, act: Act, text: str, value: str) -> None:
    assert kinds(record(conn, act, event(identifier="x", value=text))) == ["accepted"]
    assert usage.load(conn, ACCOUNT, ["x"])["x"].value == Decimal(value)
    assert total(conn).sum == Decimal(value)


# ─── Rejected ────────────────────────────────────────────────────────────────────────────────

INVALID, TOO_LONG = "meter_event_invalid_value", "meter_event_value_too_many_digits"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", INVALID),
        (" 1", INVALID),
        ("1 ", INVALID),
        ("1\n", INVALID),
        ("1_000", INVALID),
        ("1,5", INVALID),
        ("0x10", INVALID),
        ("NaN", INVALID),
        ("sNaN", INVALID),
        ("Infinity", INVALID),
        ("-inf", INVALID),
        ("e5", INVALID),
        ("1e", INVALID),
        ("1e1.5", INVALID),
        ("--1", INVALID),
        (".", INVALID),
        ("-", INVALID),
        ("１", INVALID),  # a full-width digit
        ("٣", INVALID),
        ("1e9999", INVALID),
        ("1E+9999999", INVALID),
        ("1E-9999999", INVALID),
        ("9" * 41, INVALID),
        ("1" * 1_000_000, INVALID),
        ("0.1234567890123", TOO_LONG),
        ("1e-13", TOO_LONG),
        ("1e-999", TOO_LONG),
        ("1e999", TOO_LONG),
        ("1000000000000000.000000000001", TOO_LONG),
        ("-1000000000000001", TOO_LONG),
        ("999999999999999.99999999999999", TOO_LONG),
        ("9" * 40, TOO_LONG),
    ],
    ids=lambda text: repr(text[:32]),
)
def test_a_value_is_refused(conn: Connection, act: Act, text: str, code: str) -> None:
    [outcome] = record(conn, act, event(value=text))
    assert outcome.kind == "rejected"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.param) == (code, ("payload", "value"))
    assert len(outcome.error.message) < 200
    assert total(conn).count == 0


WRONG: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (event("nothing"), "no_meter", ("event_name",)),
    (event("old"), "archived_meter", ("event_name",)),
    (
        event(customer=None),
        "meter_event_no_customer_defined",
        ("payload", "customer"),
    ),
    (event(customer="cus_9"), "resource_missing", ("payload", "customer")),
    (event(customer="cus_gone"), "resource_missing", ("payload", "customer")),
    (event(customer="cus_theirs"), "resource_missing", ("payload", "customer")),
    (event(value=None), "meter_event_value_not_found", ("payload", "value")),
    (event(value="many"), "meter_event_invalid_value", ("payload", "value")),
    (event(value="1e16"), "meter_event_value_too_many_digits", ("payload", "value")),
    (event(at=NOW - PAST - MILLISECOND), "timestamp_too_far_in_past", ("timestamp",)),
    (event(at=NOW + FUTURE + MILLISECOND), "timestamp_in_future", ("timestamp",)),
    (
        event(**{f"key-{n}": "" for n in range(PAYLOAD_KEYS_MAX + 1)}),
        "meter_event_dimension_count_too_high",
        ("payload",),
    ),
]


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG, ids=[code for _, code, _ in WRONG])
def test_an_event_is_rejected(
    conn: Connection, act: Act, wrong: dict[str, Any], code: str, param: tuple[str, ...]
) -> None:
    [outcome] = record(conn, act, wrong | {"identifier": "x"})
    assert (outcome.kind, outcome.identifier) == ("rejected", "x")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.param) == (code, param)
    assert usage.load(conn, ACCOUNT, ["x"]) == {}


def test_the_rejected_cost_the_others_nothing(conn: Connection, act: Act) -> None:
    batch = [each for wrong, _, _ in WRONG for each in (wrong, event(value="10"))]
    outcomes = record(conn, act, *batch)
    assert kinds(outcomes) == ["rejected", "accepted"] * len(WRONG)
    assert total(conn).sum == 10 * len(WRONG)


# ─── Repeated ────────────────────────────────────────────────────────────────────────────────

FIRST = event(identifier="x", value="5", at=NOW - HOUR)
REPEATS: list[tuple[dict[str, Any], str]] = [
    (FIRST, "duplicate"),
    (event(identifier="x", value="5.00", at=NOW - HOUR), "duplicate"),  # the same number
    (event(identifier="x", value="5", at=None), "duplicate"),  # says nothing of when
    (event(identifier="x", value="5", at=NOW - HOUR, region="eu"), "duplicate"),
    (event(identifier="x", value="6", at=NOW - HOUR), "conflict"),
    (event(identifier="x", value="5", at=NOW - HOUR + MILLISECOND), "conflict"),
    (event("disk", identifier="x", value="5", at=NOW - HOUR), "conflict"),
    (event(identifier="x", value="5", at=NOW - HOUR, customer="cus_gone"), "rejected"),
    (event("visit", identifier="x", value=None, at=NOW - HOUR), "conflict"),
]


@pytest.mark.parametrize(("repeat", "kind"), REPEATS)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_an_identifier_counts_once(
    conn: Connection, act: Act, repeat: dict[str, Any], kind: str, together: bool
) -> None:
    if together:
        outcomes = record(conn, act, FIRST, repeat)
    else:
        outcomes = record(conn, act, FIRST) + record(conn, act, repeat)
    assert kinds(outcomes) == ["accepted", kind]
    if kind != "rejected":
        assert outcomes[1].error is not None
        assert (outcomes[1].error.code, outcomes[1].error.param) == (
            "resource_already_exists",
            ("identifier",),
        )
        assert outcomes[1].occurred_at == NOW - HOUR
    assert total(conn) == UsageTotal(Decimal(5), 1, Decimal(5), NOW - HOUR)


def test_a_repeat_to_the_microsecond_is_the_same(conn: Connection, act: Act) -> None:
    """What is stored has milliseconds: cut, for what is rounded up could be in the next period."""
    at = NOW - timedelta(microseconds=1)
    outcomes = record(conn, act, event(identifier="x", at=at))
    outcomes += record(conn, act, event(identifier="x", at=at))
    assert kinds(outcomes) == ["accepted", "duplicate"]
    assert {each.occurred_at for each in outcomes} == {NOW - MILLISECOND}
    assert total(conn).last_at == NOW - MILLISECOND


def test_a_batch_has_all_kinds_in_its_order(conn: Connection, act: Act) -> None:
    record(conn, act, event(identifier="old"))
    outcomes = record(
        conn,
        act,
        event(identifier="bad", value="?"),
        event(identifier="new", value="2"),
        event(identifier="old"),
        event(identifier="new", value="3"),
        event(identifier="old", value="4"),
        event(identifier="new", value="2"),
        event(identifier="bad", value="7"),
    )
    assert [(each.identifier, each.kind.value) for each in outcomes] == [
        ("bad", "rejected"),
        ("new", "accepted"),
        ("old", "duplicate"),
        ("new", "conflict"),
        ("old", "conflict"),
        ("new", "duplicate"),
        ("bad", "accepted"),
    ]
    assert total(conn).sum == 1 + 2 + 7


def test_nothing_reported_is_nothing_recorded(conn: Connection, act: Act) -> None:
    assert record(conn, act) == []


# ─── When it was used ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (-PAST - MILLISECOND, "rejected"),
        (-PAST, "accepted"),
        (timedelta(0), "accepted"),
        (FUTURE, "accepted"),
        (FUTURE + MILLISECOND, "rejected"),
    ],
)
@pytest.mark.parametrize(("customer", "now"), [("cus_1", NOW), ("cus_clock", FROZEN)])
def test_usage_lies_near_the_customers_present(
    conn: Connection, act: Act, customer: str, now: datetime, at: timedelta, kind: str
) -> None:
    assert kinds(record(conn, act, event(customer=customer, at=now + at))) == [kind]


def test_on_a_test_clock_it_is_the_clocks_time(conn: Connection, act: Act) -> None:
    mine, its = record(conn, act, event(), event(customer="cus_clock"))
    assert (mine.occurred_at, its.occurred_at) == (NOW, FROZEN)
    received = conn.execute(
        "SELECT received_at FROM usage_events WHERE account_id = %s ORDER BY 1", (ACCOUNT,)
    ).fetchall()
    assert received == [(NOW,), (FROZEN,)]
