"""Quotas of usage: each percentage is said once, by the transaction that stores what reaches it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from postpaid.billing import set_quotas
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.billing.set_quotas import NewQuota
from postpaid.core.usage_quotas import ReachedQuota, Standing, UsageQuota, percentage, reached
from postpaid.storage.database import Connection, Database
from statements import counted
from world import END, HOUR, START, World, make_world


@pytest.fixture
def world(database: Database) -> World:
    return make_world(database, 3)


def quota(world: World, quantity: str, **more: Any) -> UsageQuota:
    with world.database.transaction() as conn:
        asked = NewQuota("api_call", more.pop("customer_id", None), Decimal(quantity), None, **more)
        return set_quotas.set_quota(conn, world.act, asked)


def use(
    conn: Connection,
    world: World,
    customer_ids: list[str],
    value: str,
    at: datetime = START + HOUR,
    identifiers: list[str | None] | None = None,
) -> None:
    count = len(customer_ids)
    reported = Reported(
        ["api_call"] * count,
        [{"stripe_customer_id": each, "value": value} for each in customer_ids],
        identifiers or [None] * count,
        [int(at.timestamp() * 1000)] * count,
    )
    assert record_usage(conn, world.at(at), reported).errors == {}


def said(world: World) -> list[ReachedQuota]:
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT snapshot::text FROM events WHERE account_id = %s"
            " AND type = 'usage_quota.reached' ORDER BY id",
            (world.act.account_id,),
        )
        return [msgspec.json.decode(row[0], type=ReachedQuota) for row in rows]


def test_many_reach_it_with_the_statements_of_one(database: Database) -> None:
    crowd = make_world(database, 40)
    quota(crowd, "100")

    def statements(customer_ids: list[str]) -> int:
        with crowd.database.transaction() as conn, counted(conn) as found:
            use(conn, crowd, customer_ids, "110")
        return len(found)

    assert statements(crowd.customer_ids[:1]) == statements(crowd.customer_ids[1:])
    assert Counter(each.customer_id for each in said(crowd)) == dict.fromkeys(crowd.customer_ids, 3)


def test_who_has_no_quota_pays_nothing_for_those_who_have(world: World) -> None:
    def statements() -> int:
        with world.database.transaction() as conn, counted(conn) as found:
            use(conn, world, world.customer_ids[:1], "1")
        return len(found)

    statements()  # makes the series
    before = statements()
    quota(world, "100", customer_id=world.customer_ids[1])
    assert statements() == before


def test_what_was_rolled_back_was_never_said(world: World) -> None:
    quota(world, "100", percents=())
    ada = world.customer_ids[:1]

    def crash() -> None:
        with world.database.transaction() as conn:
            use(conn, world, ada, "100")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        crash()
    assert said(world) == []
    with world.database.transaction() as conn:
        use(conn, world, ada, "100")
    assert [each.percent for each in said(world)] == [100]


def test_usage_that_was_taken_back_does_not_say_it_again(world: World) -> None:
    quota(world, "100", percents=())
    ada = world.customer_ids[:1]
    with world.database.transaction() as conn:
        use(conn, world, ada, "100", identifiers=["one"])
    with world.database.transaction() as conn:
        assert cancel_usage(conn, world.at(START + HOUR), [Cancellation("api_call", "one")]) == {}
    with world.database.transaction() as conn:
        use(conn, world, ada, "100")
    assert [each.percent for each in said(world)] == [100]


def test_late_usage_of_a_window_that_is_over_counts_in_none(world: World) -> None:
    quota(world, "100", percents=())
    ada = world.customer_ids[:1]
    world.pass_time(END + HOUR)
    with world.database.transaction() as conn:
        reported = Reported(
            ["api_call"],
            [{"stripe_customer_id": ada[0], "value": "100"}],
            [None],
            [int((END - HOUR).timestamp() * 1000)],
        )
        assert record_usage(conn, world.at(END + HOUR), reported).errors == {}
    assert said(world) == []


def test_a_period_that_nobody_has_closed_yet_is_over_all_the_same(world: World) -> None:
    quota(world, "100", percents=())
    ada = world.customer_ids[:1]
    with world.database.transaction() as conn:
        use(conn, world, ada, "99", at=END - HOUR)
        use(conn, world, ada, "99", at=END + HOUR)
        assert said(world) == []
        use(conn, world, ada, "1", at=END + HOUR)
    [it] = said(world)
    assert (it.start_at, it.quantity) == (END, 100)
    assert it.subscription_id == world.subscription_ids[0]


def test_a_percentage_is_exact_and_shown_rounded_down() -> None:
    thirds = UsageQuota("uq_1", "mtr_1", None, Decimal(3), None, (33, 67, 100), START)
    at_two = Standing("cus_1", "mtr_1", START, START + timedelta(1), Decimal(2), None)
    assert percentage(thirds, at_two) == Decimal("66.66")
    assert reached(thirds, at_two) == [33]
    in_money = UsageQuota("uq_1", "mtr_1", None, None, 100, (50, 100), START)
    assert percentage(in_money, at_two) is None
    assert reached(in_money, at_two) == []
