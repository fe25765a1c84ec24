"""A usage event says something else, and every total that it is in follows."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from all_at_once import all_at_once
from postpaid import ids
from postpaid.billing import manage_customers, manage_keys, manage_meters
from postpaid.billing.amend_usage import Amendment, amend_usage
from postpaid.billing.measure import measure, recount
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.core.errors import ActionNotAllowed, BillingError, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.storage import usage, usage_totals
from postpaid.storage.database import Database
from postpaid.storage.usage_totals import Window

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@dataclass(frozen=True)
class Merchant:
    """An account with a meter of every aggregation, named like it, and a customer."""

    database: Database
    act: Act
    customer_id: str
    meter_ids: dict[str, str]

    def use(self, name: str, *events: tuple[str, datetime], first: int = 0) -> None:
        """Events called ``sum-0`` and so on."""
        with self.database.transaction() as conn:
            recorded = record_usage(
                conn,
                self.act,
                Reported(
                    [name] * len(events),
                    [{"customer": self.customer_id, "value": value} for value, _ in events],
                    [f"{name}-{first + place}" for place in range(len(events))],
                    [int(at.timestamp()) * 1000 for _, at in events],
                ),
            )
        assert recorded.errors == {}

    def amend(self, reference: str, **said: Any) -> None:
        with self.database.transaction() as conn:
            amend_usage(conn, self.act, reference, Amendment(**said))

    def refused(self, reference: str, kind: type[BillingError], **said: Any) -> BillingError:
        with pytest.raises(kind) as error:
            self.amend(reference, **said)
        return error.value

    def measured(self, name: str, start: datetime = NOW - 10 * DAY) -> Decimal:
        """What is billed of a window that is kept, of the same one anew, and of its events."""
        window = Window(self.customer_id, self.meter_ids[name], start, NOW + DAY)
        account_id = self.act.account_id
        with self.database.connection() as conn:
            kept = measure(conn, account_id, {"w": window}, now=NOW)
            again = recount(conn, account_id, {"w": window}, now=NOW)
        assert kept == again
        return kept["w"]

    def open_window(self, name: str) -> None:
        window = Window(self.customer_id, self.meter_ids[name], NOW - 10 * DAY, NOW + DAY)
        with self.database.transaction() as conn:
            usage.hold_alone(conn, self.act.account_id)
            usage_totals.open_computed(conn, self.act.account_id, [window])


@pytest.fixture
def merchant(database: Database) -> Merchant:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
        act = Act(account.account_id, False, "key_1", NOW, ids.new_id, request_id="req_1")
        meter_ids = {each.value: make_meter(conn, act, each) for each in Aggregation}
        meter_ids["hourly"] = make_meter(conn, act, Aggregation.SUM, "hourly", "hour")
        customer = manage_customers.create_customer(conn, act, {"name": "Ada"})
    return Merchant(database, act, customer.id, meter_ids)


def make_meter(
    conn: Any,
    act: Act,
    aggregation: Aggregation,
    name: str | None = None,
    window: str | None = None,
) -> str:
    return manage_meters.create_meter(
        conn,
        act,
        display_name=name or aggregation,
        event_name=name or aggregation,
        aggregation=aggregation,
        customer_key="customer",
        value_key="value",
        event_time_window=window,
    ).id


@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept"])
@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_what_is_measured_is_what_the_events_say(
    merchant: Merchant, aggregation: Aggregation, kept: bool
) -> None:
    """The same as if the amended events had been reported so from the beginning."""
    rng = random.Random(aggregation)

    def moment() -> datetime:
        return NOW - timedelta(seconds=rng.randrange(9 * 86_400))

    merchant.use(aggregation, *[(str(rng.randrange(5)), moment()) for _ in range(12)])
    if kept:
        merchant.open_window(aggregation)
    for place in (0, 3, 5, 5, 11):
        merchant.amend(f"{aggregation}-{place}", value=str(rng.randrange(9)), occurred_at=moment())
        merchant.measured(aggregation)
    expected = merchant.measured(aggregation)
    with merchant.database.connection() as conn:
        names = [f"{aggregation}-{place}" for place in range(12)]
        said = usage.load(conn, merchant.act.account_id, names)
    assert {each.counted for each in said.values()} == {True}
    combined = {
        Aggregation.SUM: lambda: sum(each.value for each in said.values()),
        Aggregation.COUNT: lambda: 12,
        Aggregation.MAX: lambda: max(each.value for each in said.values()),
        Aggregation.LAST: lambda: (
            max(said.values(), key=lambda each: (each.occurred_at, each.reference)).value
        ),
    }
    if aggregation in combined:
        assert expected == combined[aggregation]()


def test_what_an_event_said_is_kept(merchant: Merchant) -> None:
    merchant.use("sum", ("1", NOW))
    merchant.amend("sum-0", value="2")
    merchant.amend("sum-0", dimensions=lambda before: {**before, "region": "eu"})
    merchant.amend("sum-0", value="2.0")  # which says the same
    with merchant.database.connection() as conn:
        rows = conn.execute(
            "SELECT value, payload, actor FROM usage_amendments"
            " WHERE account_id = %s AND reference = 'sum-0' ORDER BY id",
            (merchant.act.account_id,),
        ).fetchall()
    assert rows == [(1, None, "key_1"), (2, None, "key_1")]


def test_an_event_may_move_within_its_hour_where_only_the_last_of_it_counts(
    merchant: Merchant,
) -> None:
    merchant.use("hourly", ("1", NOW - HOUR), ("2", NOW - HOUR))
    merchant.amend("hourly-1", value="5", occurred_at=NOW - HOUR + timedelta(minutes=9))
    assert merchant.measured("hourly") == 5
    error = merchant.refused("hourly-1", InvalidRequest, occurred_at=NOW)
    assert (error.param, "within its hour" in error.message) == (("timestamp",), True)
    merchant.refused("hourly-0", ActionNotAllowed, value="7")
    assert merchant.measured("hourly") == 5


def test_what_is_not_there_cannot_be_amended(merchant: Merchant) -> None:
    merchant.refused("sum-0", NotFound, value="1")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"value": "x"}, ("payload", "value")),
        ({"occurred_at": NOW + HOUR}, ("timestamp",)),
        ({"occurred_at": NOW - 36 * DAY}, ("timestamp",)),
    ],
    ids=["value", "future", "past"],
)
def test_an_amendment_keeps_the_rules_of_a_new_event(
    merchant: Merchant, said: dict[str, Any], param: tuple[str, ...]
) -> None:
    merchant.use("sum", ("1", NOW))
    assert merchant.refused("sum-0", InvalidRequest, **said).param == param
    assert merchant.measured("sum") == 1


def test_an_old_event_is_amended_where_its_time_stays(merchant: Merchant) -> None:
    merchant.use("sum", ("1", NOW))
    later = replace(merchant, act=replace(merchant.act, now=NOW + 100 * DAY))
    later.amend("sum-0", value="3")
    assert merchant.measured("sum") == 3


def test_amendments_at_once_and_new_usage_wait_for_one_another_in_a_line(
    merchant: Merchant,
) -> None:
    merchant.use("sum", ("1", NOW), ("1", NOW))
    merchant.open_window("sum")

    def amendment(place: int) -> Callable[[], None]:
        at = NOW - place % 3 * HOUR
        return lambda: merchant.amend(f"sum-{place % 2}", value=str(10 + place), occurred_at=at)

    def more(place: int) -> Callable[[], None]:
        at = NOW - place % 3 * HOUR
        return lambda: merchant.use("sum", ("5", at), ("5", at - HOUR), first=2 + 2 * place)

    works = [each(place) for place in range(12) for each in (amendment, more)]
    assert all_at_once(works) == [None] * 24
    with merchant.database.connection() as conn:
        said = usage.load(conn, merchant.act.account_id, ["sum-0", "sum-1"])
    assert merchant.measured("sum") == 120 + sum(each.value for each in said.values())
