"""Usage is taken back by its identifiers, once, for as long as its meter allows."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postpaid import ids
from postpaid.billing import manage_customers, manage_keys, manage_meters, manage_test_clocks
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import OutcomeKind, Recorded, Reported, record_usage
from postpaid.core.errors import (
    AlreadyCanceled,
    BillingError,
    InvalidRequest,
    NotCancelable,
    NotFound,
)
from postpaid.core.metering import Aggregation, UsageTotal
from postpaid.storage import usage_totals
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_totals import Window
from statements import counted

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@dataclass(frozen=True)
class Merchant:
    """An account with a meter of each kind that adds up, and a customer."""

    database: Database
    act: Act
    customer_id: str
    meter_ids: dict[str, str]  # by event name, which is the aggregation

    def use(self, name: str, *values: str, at: datetime = NOW, first: int = 0) -> Recorded:
        """An event of each value, a second apart; called ``sum-0`` and so on."""
        with self.database.transaction() as conn:
            return self.use_in(conn, name, *values, at=at, first=first)

    def use_in(
        self, conn: Connection, name: str, *values: str, at: datetime = NOW, first: int = 0
    ) -> Recorded:
        places = range(len(values))
        ms = [(int(at.timestamp()) + place) * 1000 for place in places]
        return record_usage(
            conn,
            self.act,
            Reported(
                [name] * len(values),
                [{"customer": self.customer_id, "value": value} for value in values],
                [f"{name}-{first + place}" for place in places],
                list(ms),
                {},
            ),
        )

    def cancel(
        self, *asked: tuple[str, str], now: datetime = NOW + HOUR
    ) -> dict[int, type[BillingError]]:
        with self.database.transaction() as conn:
            act = replace(self.act, now=now)
            found = cancel_usage(conn, act, [Cancellation(*each) for each in asked])
        return {place: type(error) for place, error in found.items()}

    def total(self, name: str) -> UsageTotal:
        window = Window(self.customer_id, self.meter_ids[name], NOW - DAY, NOW + DAY)
        with self.database.connection() as conn:
            [total] = usage_totals.totals(conn, self.act.account_id, [window])
        return total

    def sum_and_count(self) -> str:
        total = self.total("sum")
        return f"{total.sum} of {total.count}"


@pytest.fixture
def merchant(database: Database) -> Merchant:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
        act = Act(account.account_id, False, "key_1", NOW, ids.new_id, request_id="req_1")
        meter_ids = {each: make_meter(conn, act, each) for each in ("sum", "count", "last", "max")}
        customer = manage_customers.create_customer(conn, act, {"name": "Ada"})
    return Merchant(database, act, customer.id, meter_ids)


def make_meter(conn: Connection, act: Act, name: str, **more: Any) -> str:
    return manage_meters.create_meter(
        conn,
        act,
        display_name=name,
        event_name=name,
        aggregation=Aggregation(name.partition(" ")[0]),
        customer_key="customer",
        value_key="value",
        **more,
    ).id


def test_a_cancelled_event_counts_no_more(merchant: Merchant) -> None:
    merchant.use("sum", "1", "20", "300")
    assert merchant.cancel(("sum", "sum-1")) == {}
    assert merchant.sum_and_count() == "301 of 2"


@pytest.mark.parametrize(("name", "left"), [("last", 2), ("max", 3)])
def test_what_was_last_or_greatest_before_is_so_again(
    merchant: Merchant, name: str, left: int
) -> None:
    merchant.use(name, "1", "3", "2", "9")
    assert merchant.cancel((name, f"{name}-3")) == {}
    total = merchant.total(name)
    assert (total.last_value if name == "last" else total.max) == left


def test_when_all_are_cancelled_there_is_nothing(merchant: Merchant) -> None:
    for name in ("sum", "count", "last", "max"):
        merchant.use(name, "5", "6")
        assert merchant.cancel((name, f"{name}-0"), (name, f"{name}-1")) == {}
        total = merchant.total(name)
        assert not any((total.sum, total.count, total.last_value, total.max))


def test_where_only_the_last_of_an_hour_counts_the_one_before_counts_again(
    merchant: Merchant,
) -> None:
    with merchant.database.transaction() as conn:
        meter_id = make_meter(conn, merchant.act, "sum by hour", event_time_window="hour")
    merchant.meter_ids["sum by hour"] = meter_id
    name = "sum by hour"
    merchant.use(name, "1", "20", "300")
    merchant.use(name, "4000", at=NOW - HOUR, first=3)
    assert merchant.total(name).sum == 4300
    assert merchant.cancel((name, f"{name}-1")) == {}
    assert merchant.total(name).sum == 4300
    assert merchant.cancel((name, f"{name}-2")) == {}
    assert merchant.total(name).sum == 4001
    assert merchant.cancel((name, f"{name}-0"), (name, f"{name}-3")) == {}
    assert merchant.total(name).sum == 0


def test_a_cancelled_identifier_stays_taken(merchant: Merchant) -> None:
    merchant.use("sum", "5")
    merchant.cancel(("sum", "sum-0"))
    assert merchant.use("sum", "5").kinds == [OutcomeKind.DUPLICATE]
    assert merchant.use("sum", "6").kinds == [OutcomeKind.CONFLICT]
    assert merchant.total("sum").sum == 0


def test_each_that_cannot_be_is_told_and_the_others_are_cancelled(merchant: Merchant) -> None:
    merchant.use("sum", "1", "20", "300")
    merchant.use("count", "1")
    merchant.cancel(("sum", "sum-2"))
    assert merchant.cancel(
        ("sum", "sum-9"),
        ("sum", "count-0"),
        ("nothing", "sum-0"),
        ("sum", "sum-2"),
        ("sum", "sum-0"),
        ("sum", "sum-0"),
    ) == {0: NotFound, 1: InvalidRequest, 2: NotFound, 3: AlreadyCanceled, 5: AlreadyCanceled}
    assert merchant.sum_and_count() == "20 of 1"
    assert merchant.total("count").count == 1


def test_a_day_after_it_was_received_it_is_too_late(merchant: Merchant) -> None:
    """When it was used does not matter."""
    merchant.use("sum", "1", "20", at=NOW - 3 * HOUR)
    assert merchant.cancel(("sum", "sum-0"), now=NOW + DAY) == {}
    late = NOW + DAY + timedelta(milliseconds=1)
    assert merchant.cancel(("sum", "sum-1"), now=late) == {0: NotCancelable}
    assert merchant.total("sum").sum == 20


def test_a_meter_may_give_less_time(merchant: Merchant) -> None:
    with merchant.database.transaction() as conn:
        make_meter(conn, merchant.act, "sum briefly", cancels_within_s=60)
    merchant.use("sum briefly", "1", "20")
    assert merchant.cancel(("sum briefly", "sum briefly-0"), now=NOW + HOUR) == {0: NotCancelable}
    minute = timedelta(minutes=1)
    assert merchant.cancel(("sum briefly", "sum briefly-0"), now=NOW + minute) == {}


def test_the_time_is_the_customers(database: Database, merchant: Merchant) -> None:
    """It was received on the clock's day, whatever the day is outside."""
    with database.transaction() as conn:
        frozen = NOW + 100 * DAY
        clock = manage_test_clocks.create_test_clock(
            conn, merchant.act, frozen_at=frozen, name=None
        )
        there = manage_customers.create_customer(conn, merchant.act, {"clock_id": clock.id})
    on_clock = replace(merchant, customer_id=there.id)
    on_clock.use("sum", "1", at=frozen)
    assert on_clock.cancel(("sum", "sum-0"), now=NOW + 200 * DAY) == {}


def test_of_two_who_cancel_at_once_one_is_first(merchant: Merchant) -> None:
    merchant.use("sum", *["1"] * 20)
    asked = [("sum", f"sum-{n}") for n in range(20)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda order: merchant.cancel(*asked[::order]), [1, -1, 1, -1]))
    assert sorted(map(len, answers)) == [0, 20, 20, 20]
    assert merchant.total("sum").sum == 0


@pytest.mark.parametrize("name", ["sum", "count", "last", "max", "sum by hour", "max by hour"])
def test_totals_are_the_events_whoever_stores_and_cancels_at_once(
    merchant: Merchant, name: str
) -> None:
    """Six threads store events into the same seconds of two hours, and cancel some of them."""
    if name.endswith("by hour"):
        with merchant.database.transaction() as conn:
            meter_id = make_meter(conn, merchant.act, name, event_time_window="hour")
        merchant.meter_ids[name] = meter_id

    def work(n: int) -> None:
        for i in range(8):
            first = 1000 * n + 4 * i
            values = [str(n * 7 % 5 + i), "-3", str(i * 11 % 7), "2.5"]
            at = NOW - timedelta(seconds=2 if i % 2 else 3600)
            kinds = merchant.use(name, *values, at=at, first=first).kinds
            assert set(kinds) == {OutcomeKind.ACCEPTED}
            asked = [(name, f"{name}-{first + place}") for place in (2, 0)]
            assert merchant.cancel(*asked) == {}

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    with merchant.database.connection() as conn:
        rows = conn.execute(
            "SELECT value, occurred_at FROM usage_events e JOIN usage_series s USING (series_id)"
            " WHERE s.meter_id = %s AND e.counted ORDER BY occurred_at, reference",
            (merchant.meter_ids[name],),
        ).fetchall()
    total = merchant.total(name)
    assert total.sum == sum(value for value, _ in rows)
    assert total.count == len(rows) == (2 if name.endswith("by hour") else 96)
    if name.startswith("last"):
        assert (total.last_value, total.last_at) == rows[-1]
    if name.startswith("max"):
        assert total.max == max(value for value, _ in rows)


def test_cancelling_costs_the_same_for_many(database: Database, merchant: Merchant) -> None:
    with database.transaction() as conn:
        merchant.use_in(conn, "sum", *["1"] * 201)

        def cost(*numbers: int) -> int:
            with counted(conn) as statements:
                asked = [Cancellation("sum", f"sum-{n}") for n in numbers]
                assert cancel_usage(conn, merchant.act, asked) == {}
            return len(statements)

        assert cost(200) == cost(*range(200))
