"""Every reported event is accepted once or answered for, and costs the others nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.check_usage import PAYLOAD_KEYS_MAX, instant, milliseconds
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import OutcomeKind, Reported, record_usage
from postpaid.core.errors import BillingError
from postpaid.core.metering import NO_USAGE, UsageTotal, aggregated
from postpaid.storage import meters, usage, usage_conflicts, usage_totals
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from postpaid.storage.usage_totals import Window
from rows import ACCOUNT, HOUR, NOW, add

MILLISECOND = timedelta(milliseconds=1)
FROZEN = NOW + 9999 * HOUR
METERS = {"call": "sum", "visit": "count", "disk": "last", "old": "sum"}
PAST, FUTURE = timedelta(days=35), timedelta(minutes=5)  # Stripe's, which meters begin with


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
    at = given.pop("at", None)
    timestamp = None if at is None else milliseconds(at)
    payload = {"customer": "cus_1", "value": "1", **given}
    payload = {key: text for key, text in payload.items() if text is not None}
    return {"name": name, "payload": payload, "identifier": identifier, "timestamp": timestamp}


@dataclass(frozen=True)
class Outcome:
    """What was recorded of one event: a row of the columns."""

    kind: OutcomeKind
    identifier: str
    occurred_at: datetime | None
    error: BillingError | None


def record(conn: Connection, act: Act, *events: Mapping[str, Any], **given: Any) -> list[Outcome]:
    recorded = record_usage(
        conn,
        act,
        Reported(
            [each["name"] for each in events],
            [each["payload"] for each in events],
            [each["identifier"] for each in events],
            [each["timestamp"] for each in events],
        ),
        **given,
    )
    columns = zip(recorded.kinds, recorded.references, recorded.occurred_ms, strict=True)
    assert set(recorded.errors) == {
        place for place, kind in enumerate(recorded.kinds) if kind != "accepted"
    }
    return [
        Outcome(kind, reference, instant(ms) if ms else None, recorded.errors.get(place))
        for place, (kind, reference, ms) in enumerate(columns)
    ]


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind.value for outcome in outcomes]


def total(conn: Connection, meter: str = "mtr_call", customer: str = "cus_1") -> UsageTotal:
    everything = Window(customer, meter, NOW - PAST - HOUR, FROZEN + PAST)
    [found] = usage_totals.totals(conn, ACCOUNT, [everything])
    return found


# ─── Accepted ────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_stored_as_it_was_reported(conn: Connection, act: Act) -> None:
    at = NOW - 5 * HOUR
    [outcome] = record(conn, act, event(identifier="x", value="2.5", at=at, region="eu", a="☃"))
    assert (outcome.kind, outcome.identifier, outcome.occurred_at) == ("accepted", "x", at)
    assert outcome.error is None
    [stored] = usage.load(conn, ACCOUNT, ["x"]).values()
    assert (stored.reference, stored.meter_id, stored.customer_id) == ("x", "mtr_call", "cus_1")
    assert (stored.occurred_at, stored.received_at) == (at, NOW)
    assert (stored.value, stored.counted) == (Decimal("2.5"), True)
    assert (stored.backfill_id, stored.canceled_at) == (None, None)
    assert json.loads(stored.payload or "") == {"region": "eu", "a": "☃"}


def test_what_is_left_out_is_made_up(conn: Connection, act: Act) -> None:
    outcomes = record(conn, act, event(), event(), event(identifier=""))
    assert kinds(outcomes) == ["accepted"] * 3
    assert [each.identifier for each in outcomes] == ["mtev_1", "mtev_2", "mtev_3"]
    assert {each.occurred_at for each in outcomes} == {NOW}
    assert total(conn) == UsageTotal(Decimal(3), 3, None, None)


def test_only_a_count_can_do_without_a_value(conn: Connection, act: Act) -> None:
    outcomes = record(conn, act, *(event(name, value=None) for name in ("visit", "call", "disk")))
    assert kinds(outcomes) == ["accepted", "rejected", "rejected"]
    assert total(conn, "mtr_visit") == UsageTotal(Decimal(1), 1, None, None)


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
    (event(identifier="x", value="5", at=NOW - HOUR, region="eu"), "conflict"),
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
    assert total(conn) == UsageTotal(Decimal(5), 1, None, None)
    conflicts = usage_conflicts.list_page(conn, ACCOUNT, Page(10)).rows
    if kind != "conflict":
        assert conflicts == []
    else:
        [kept] = conflicts
        assert (kept.reference, kept.event_name, kept.actor) == ("x", repeat["name"], "key_1")
        assert json.loads(kept.payload) == repeat["payload"]
        assert milliseconds(kept.occurred_at) == repeat["timestamp"]


def test_dimensions_are_the_same_in_any_order(conn: Connection, act: Act) -> None:
    outcomes = record(conn, act, event(identifier="x", a="1", b="2"))
    outcomes += record(conn, act, event(identifier="x", b="2", a="1"))
    outcomes += record(conn, act, event(identifier="x", a="1"))
    assert kinds(outcomes) == ["accepted", "duplicate", "conflict"]


def test_of_many_conflicts_the_first_are_kept(conn: Connection, act: Act) -> None:
    """More of the same say nothing new."""
    record(conn, act, event(identifier="x"))
    outcomes = record(conn, act, *(event(identifier="x", value=str(n)) for n in range(2, 152)))
    assert kinds(outcomes) == ["conflict"] * 150
    kept = usage_conflicts.list_page(conn, ACCOUNT, Page(200)).rows
    assert {each.value for each in kept} == {str(n) for n in range(2, 102)}
    assert total(conn).sum == 1


def test_a_repeat_to_the_microsecond_is_the_same(conn: Connection, act: Act) -> None:
    """What is stored has milliseconds: cut, for what is rounded up could be in the next period."""
    at = NOW - timedelta(microseconds=1)
    outcomes = record(conn, act, event("disk", identifier="x", at=at))
    outcomes += record(conn, act, event("disk", identifier="x", at=at))
    assert kinds(outcomes) == ["accepted", "duplicate"]
    assert {each.occurred_at for each in outcomes} == {NOW - MILLISECOND}
    assert total(conn, "mtr_disk").last_at == NOW - MILLISECOND


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


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (-HOUR - MILLISECOND, "rejected"),
        (-HOUR, "accepted"),
        (12 * HOUR, "accepted"),
        (12 * HOUR + MILLISECOND, "rejected"),
    ],
)
def test_how_near_is_the_meters_to_say(
    conn: Connection, act: Act, at: timedelta, kind: str
) -> None:
    conn.execute(
        "UPDATE meters SET accepts_past_s = 3600, accepts_future_s = 43200 WHERE id = 'mtr_call'"
    )
    asked = event("call", at=NOW + at)
    assert kinds(record(conn, act, asked, event("disk", at=NOW - PAST))) == [kind, "accepted"]


def test_what_is_too_old_says_how_old_it_may_be(conn: Connection, act: Act) -> None:
    conn.execute("UPDATE meters SET accepts_past_s = 7200, accepts_future_s = 90")
    early, late = record(conn, act, event(at=NOW - 3 * HOUR), event(at=NOW + HOUR))
    assert early.error is not None
    assert late.error is not None
    assert early.error.message == "The timestamp must be within the past 2 hours."
    assert late.error.message == "The timestamp must be at most 90 seconds in the future."


@pytest.mark.parametrize("second", [0, 1])
def test_a_meter_without_leeway_takes_the_present_alone(
    conn: Connection, act: Act, second: int
) -> None:
    conn.execute("UPDATE meters SET accepts_past_s = 0, accepts_future_s = 0")
    at = NOW + timedelta(seconds=second)
    assert kinds(record(conn, act, event(at=at))) == ["rejected" if second else "accepted"]


# ─── Aggregations ────────────────────────────────────────────────────────────────────────────

DAY_START = NOW - 12 * HOUR


@pytest.fixture
def every(conn: Connection) -> Connection:
    """A meter of every aggregation; its id is its name."""
    for name in ("max", "average", "unique", "p95", "time_weighted_sum"):
        add(conn, "meters", id=name, event_name=name, aggregation=name)
    return conn


def test_the_greatest_is_known_in_any_order(every: Connection, act: Act) -> None:
    for value, hours in (("3", 2), ("-7", 1), ("9", 3), ("9", 2), ("4", 2)):
        record(every, act, event("max", value=value, at=NOW - hours * HOUR))
    assert total(every, "max").max == 9
    two_hours_ago = Window("cus_1", "max", NOW - 2 * HOUR, NOW - HOUR)
    one_hour_ago = Window("cus_1", "max", NOW - HOUR, NOW)
    found = usage_totals.totals(every, ACCOUNT, [two_hours_ago, one_hour_ago])
    assert [each.max for each in found] == [9, -7]


def test_an_average_is_of_what_was_counted(every: Connection, act: Act) -> None:
    record(every, act, *(event("average", value=value) for value in ("1", "2", "2.5")))
    found = total(every, "average")
    average = meters.load(every, ACCOUNT, ["average"])["average"].aggregation
    assert aggregated(average, found) == Decimal("1.833333333333")


def test_of_what_is_counted_once_the_text_is_kept(every: Connection, act: Act) -> None:
    texts = ("Ada", "ada", "Ada", "12", "12.0")
    outcomes = record(every, act, *(event("unique", value=text, region="eu") for text in texts))
    outcomes += record(every, act, event("unique", value=""))
    outcomes += record(every, act, event("unique", value="a" * 501))
    outcomes += record(every, act, event("unique", value=None))
    assert kinds(outcomes) == ["accepted"] * 5 + ["rejected"] * 3
    stored = usage.load(every, ACCOUNT, [each.identifier for each in outcomes])
    kept = [json.loads(stored[each.identifier].payload or "") for each in outcomes[:5]]
    assert kept == [{"value": text, "region": "eu"} for text in texts]
    assert {each.value for each in stored.values()} == {Decimal(1)}
    assert total(every, "unique").count == 5


def test_texts_that_differ_in_their_letters_are_a_conflict(every: Connection, act: Act) -> None:
    outcomes = record(every, act, event("unique", "x", value="Ada"))
    outcomes += record(every, act, event("unique", "x", value="Ada"))
    outcomes += record(every, act, event("unique", "x", value="ada"))
    assert kinds(outcomes) == ["accepted", "duplicate", "conflict"]


# ─── The last to arrive ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def hourly(conn: Connection) -> Connection:
    """Meters on which only the last event of an hour or a day counts; the id is the name."""
    for name, aggregation, window in (
        ("hourly", "sum", "hour"),
        ("daily", "sum", "day"),
        ("hourly_count", "count", "hour"),
        ("hourly_last", "last", "hour"),
        ("hourly_max", "max", "hour"),
    ):
        add(
            conn,
            "meters",
            id=name,
            event_name=name,
            aggregation=aggregation,
            event_time_window=window,
        )
    return conn


def counted(conn: Connection, *references: str) -> list[str]:
    """Which of the stored events count."""
    stored = usage.load(conn, ACCOUNT, references)
    return sorted(reference for reference, each in stored.items() if each.counted)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_of_an_hour_only_the_last_that_came_counts(
    hourly: Connection, act: Act, together: bool
) -> None:
    """Whatever its timestamp: an hour's last word is the last that was said."""
    batch = [
        event("hourly", "a", value="1", at=NOW - 60 * MILLISECOND),
        event("hourly", "b", value="2", at=NOW - HOUR),
        event("hourly", "c", value="10", at=NOW - HOUR - MILLISECOND),
        event("hourly", "d", value="20", at=NOW),
    ]
    if together:
        outcomes = record(hourly, act, *batch)
    else:
        outcomes = [each for one in batch for each in record(hourly, act, one)]
    assert kinds(outcomes) == ["accepted"] * 4
    assert counted(hourly, "a", "b", "c", "d") == ["b", "c", "d"]
    assert total(hourly, "hourly") == UsageTotal(Decimal(32), 3, None, None)
    window = Window("cus_1", "hourly", NOW - HOUR, NOW - 60 * MILLISECOND)
    [found] = usage_totals.totals(hourly, ACCOUNT, [window])
    assert (found.sum, found.count) == (Decimal(2), 1)


def test_of_a_day_only_the_last_that_came_counts(hourly: Connection, act: Act) -> None:
    """A day of UTC."""
    for reference, value, at in (
        ("a", "1", DAY_START),
        ("b", "2", DAY_START - MILLISECOND),
        ("c", "10", NOW),
        ("d", "20", DAY_START - 12 * HOUR),
        ("e", "100", DAY_START + HOUR),
    ):
        record(hourly, act, event("daily", reference, value=value, at=at))
    assert counted(hourly, "a", "b", "c", "d", "e") == ["d", "e"]
    assert total(hourly, "daily").sum == 120
    assert total(hourly, "daily").count == 2


def test_customers_have_hours_of_their_own(hourly: Connection, act: Act) -> None:
    add(hourly, "customers", id="cus_2", invoice_prefix="TWO")
    record(hourly, act, event("hourly", value="1"), event("hourly", value="2", customer="cus_2"))
    assert total(hourly, "hourly").sum == 1
    assert total(hourly, "hourly", "cus_2").sum == 2


def test_a_repeat_is_no_new_arrival(hourly: Connection, act: Act) -> None:
    record(hourly, act, event("hourly", "a", value="1", at=NOW))
    record(hourly, act, event("hourly", "b", value="2", at=NOW))
    again = [event("hourly", "a", value="1", at=NOW), event("hourly", "a", value="9", at=NOW)]
    assert kinds(record(hourly, act, *again)) == ["duplicate", "conflict"]
    assert counted(hourly, "a", "b") == ["b"]
    assert total(hourly, "hourly").sum == 2


@pytest.mark.parametrize(
    ("meter", "quantity"), [("hourly_count", 2), ("hourly_last", 4), ("hourly_max", 4)]
)
def test_other_aggregations_too_forget_what_was_superseded(
    hourly: Connection, act: Act, meter: str, quantity: int
) -> None:
    for value, at in (("9", NOW), ("3", NOW - HOUR), ("4", NOW - MILLISECOND), ("3", NOW)):
        record(hourly, act, event(meter, value=value, at=at))
    record(hourly, act, event(meter, value="4", at=NOW + MILLISECOND))
    aggregation = meters.load(hourly, ACCOUNT, [meter])[meter].aggregation
    # Of the hour before NOW counts the 4, of the one from NOW on the 4 as well.
    assert aggregated(aggregation, total(hourly, meter)) == quantity


def test_meters_of_both_kinds_share_a_batch(hourly: Connection, act: Act) -> None:
    outcomes = record(
        hourly,
        act,
        event("call", value="1"),
        event("hourly", value="2"),
        event("call", value="4"),
        event("hourly", value="8"),
        event("disk", value="16"),
    )
    assert kinds(outcomes) == ["accepted"] * 5
    assert total(hourly, "mtr_call").sum == 5
    assert total(hourly, "hourly") == UsageTotal(Decimal(8), 1, None, None)
    assert total(hourly, "mtr_disk").last_value == 16


def test_when_the_last_is_cancelled_the_one_before_it_counts(hourly: Connection, act: Act) -> None:
    for reference, value in (("a", "1"), ("b", "2"), ("c", "4")):
        record(hourly, act, event("hourly", reference, value=value, at=NOW - HOUR))
    steps = []
    for gone in ("b", "c", "a"):
        assert cancel_usage(hourly, act, [Cancellation("hourly", gone)]) == {}
        steps.append((counted(hourly, "a", "b", "c"), total(hourly, "hourly")))
    assert steps == [
        (["c"], UsageTotal(Decimal(4), 1, None, None)),
        (["a"], UsageTotal(Decimal(1), 1, None, None)),
        ([], NO_USAGE),
    ]
    record(hourly, act, event("hourly", "d", value="8", at=NOW - HOUR))
    assert total(hourly, "hourly").sum == 8


def test_a_cancelled_identifier_stays_taken(conn: Connection, act: Act) -> None:
    record(conn, act, event(identifier="x", value="5", at=NOW))
    assert cancel_usage(conn, act, [Cancellation("call", "x")]) == {}
    again = [event(identifier="x", value="5", at=NOW), event(identifier="x", value="6", at=NOW)]
    assert kinds(record(conn, act, *again)) == ["duplicate", "conflict"]
    assert total(conn) == NO_USAGE


# ─── Many at once ────────────────────────────────────────────────────────────────────────────

ONE_HOUR = [f"event-{n}" for n in range(160)]


def prepare(database: Database) -> None:
    """The customer, and meters on which the last event of an hour counts and on which each does."""
    with database.transaction() as conn:
        add(conn, "customers")
        add(conn, "meters")
        for name, aggregation in (("hourly", "sum"), ("hourly_last", "last")):
            add(
                conn,
                "meters",
                id=name,
                event_name=name,
                aggregation=aggregation,
                event_time_window="hour",
            )


def test_of_an_hour_one_event_counts_however_many_report_at_once(fresh_database_url: str) -> None:
    """Eight threads report events of one hour, and take some back; none deadlocks."""
    database = Database(fresh_database_url, pool_size=8)
    prepare(database)
    names = ("hourly", "hourly_last", "call")

    def report(thread: int) -> set[str]:
        chance = random.Random(thread)
        canceled = set()
        mine = ONE_HOUR[thread::8]
        for start in range(0, len(mine), 5):
            batch = [
                event(name, f"{name}-{each}", value=each.removeprefix("event-"), at=NOW)
                for each in mine[start : start + 5]
                for name in names
            ]
            chance.shuffle(batch)
            at_random = Act(ACCOUNT, False, "key_1", NOW, lambda prefix: f"{prefix}_{chance}")
            with database.transaction() as conn:
                assert set(kinds(record(conn, at_random, *batch))) == {"accepted"}
            gone = chance.choice(mine[start : start + 5])
            with database.transaction() as conn:
                asked = [Cancellation(name, f"{name}-{gone}") for name in names]
                assert cancel_usage(conn, at_random, asked) == {}
            canceled.add(gone)
        return canceled

    with ThreadPoolExecutor(8) as threads:
        canceled = set().union(*threads.map(report, range(8)))
    with database.connection() as conn:
        for name in ("hourly", "hourly_last"):
            [last] = counted(conn, *(f"{name}-{each}" for each in ONE_HOUR))
            rows = conn.execute(
                "SELECT reference FROM usage_events WHERE canceled_at IS NULL"
                " AND starts_with(reference, %s) ORDER BY arrival DESC LIMIT 1",
                (f"{name}-",),
            ).fetchall()
            assert rows == [(last,)]
            value = Decimal(last.removeprefix(f"{name}-event-"))
            found = total(conn, name)
            assert (found.sum, found.count) == (value, 1)
            assert name == "hourly" or (found.last_value, found.last_at) == (value, NOW)
        of_all = total(conn, "mtr_1")
        assert of_all.count == len(ONE_HOUR) - len(canceled)
        assert of_all.sum == sum(range(160)) - sum(
            int(each.removeprefix("event-")) for each in canceled
        )
    database.close()
