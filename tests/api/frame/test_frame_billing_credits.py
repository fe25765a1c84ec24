"""Billing credits of Frame's: made, read, listed, and refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.api.frame import billing_credits
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.storage import unit_credits
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from statements import counted

EXPIRES = "2100-01-01T00:00:00Z"
UNITS = {"billing_credits": 1000, "expires": EXPIRES}


@pytest.fixture
def ada(frame: Frame) -> str:
    """A customer."""
    return new_customer(frame)


@pytest.fixture
def product(frame: Frame) -> str:
    """A product that no meter sells."""
    made = {"name": "Calls", "description": "Calls", "default_price": 0}
    return str(frame.post("/v1/products", made | {"purchase_type": "one_time"})["id"])


def new_customer(frame: Frame) -> str:
    made = frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})
    return str(made["id"])


def test_a_credit_has_what_is_left_of_it(frame: Frame, ada: str, product: str) -> None:
    asked = {"customer": ada, "product": product, "metadata": {"po": "7"}}
    shown = frame.post("/v1/billing/billing_credit", asked | UNITS | {"billing_credits": 98.06})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert shown == {
        "id": shown["id"],
        "object": "billing_credit",
        "customer": ada,
        "customer_id": ada,
        "account": None,
        "account_id": None,
        "product": product,
        "billing_credits": "98.06",
        "available_credits": "98.06",
        "used_credits": "0.0",
        "status": "active",
        "limited": False,
        "watchlist": False,
        "expires": int(datetime.fromisoformat(EXPIRES).timestamp()),
        "metadata": {"po": "7"},
        "livemode": False,
        "created": shown["created"],
        "updated": shown["created"],
    }
    assert frame.get(f"/v1/billing/billing_credit/{shown['id']}") == shown


def test_an_account_has_credits_as_a_customer_has(
    frame: Frame, stripe_client: stripe.StripeClient, product: str
) -> None:
    individual = {"name": {"first_name": "Eve", "last_name": "X"}, "email": "e@example.com"}
    made = {"type": "individual", "profile": {"individual": individual}}
    eve = frame.post("/v1/accounts", made)["id"]
    shown = frame.post("/v1/billing/billing_credit", {"account": eve, "product": product} | UNITS)
    assert (shown["account"], shown["customer"]) == (eve, None)
    types = [each.type for each in stripe_client.v1.events.list({"limit": 100})]
    assert not [each for each in types if each.startswith("unit_credit")]


def test_credits_are_listed_newest_first(frame: Frame, ada: str, product: str) -> None:
    eve = new_customer(frame)
    made = [
        frame.post("/v1/billing/billing_credit", {"customer": each, "product": product} | UNITS)
        for each in (ada, eve, ada)
    ]
    listed = frame.get("/v1/billing/billing_credit")
    assert listed["data"] == listed["billing_credits"] == made[::-1]
    assert frame.get("/v1/billing/billing_credit", customer=eve)["data"] == [made[1]]
    assert frame.get("/v1/billing/billing_credit", product="prod_none")["data"] == []
    page = frame.get("/v1/billing/billing_credit", customer=ada, per_page=1)
    assert (page["data"], page["meta"]["next"]) == ([made[2]], 2)


def test_the_same_request_gives_credit_once(frame: Frame, ada: str, product: str) -> None:
    asked = {"customer": ada, "product": product} | UNITS
    first = frame.post("/v1/billing/billing_credit", asked, key="once")
    assert frame.post("/v1/billing/billing_credit", asked, key="once") == first
    assert len(frame.get("/v1/billing/billing_credit", customer=ada)["data"]) == 1


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"customer": None}, "customer"),
        ({"customer": "cus_none"}, "customer"),
        ({"account": "cus_other"}, "customer"),
        ({"product": None}, "product"),
        ({"product": "prod_none"}, "product"),
        ({"product": 7}, "product"),
        ({"billing_credits": None}, "billing_credits"),
        ({"billing_credits": 0}, "billing_credits"),
        ({"billing_credits": -5}, "billing_credits"),
        ({"billing_credits": "many"}, "billing_credits"),
        ({"billing_credits": 10**16}, "billing_credits"),
        ({"expires": None}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"expires": 10**15}, "expires"),
        ({"limited": "perhaps"}, "limited"),
        ({"metadata": {"x" * 41: "y"}}, "metadata"),
    ],
)
def test_what_cannot_be_granted_is_refused(
    frame: Frame, ada: str, product: str, given: dict[str, Any], param: str
) -> None:
    asked = {"customer": ada, "product": product} | UNITS | given
    with pytest.raises(FrameError) as refused:
        frame.post(
            "/v1/billing/billing_credit",
            {key: value for key, value in asked.items() if value is not None},
        )
    assert refused.value.status in (404, 422)
    assert list(refused.value.body["error_details"]["errors"]) == [param]


def test_nobody_sees_what_is_anothers(
    frame: Frame, other_frame: Frame, ada: str, product: str
) -> None:
    made = frame.post("/v1/billing/billing_credit", {"customer": ada, "product": product} | UNITS)
    with pytest.raises(FrameError) as refused:
        other_frame.get(f"/v1/billing/billing_credit/{made['id']}")
    assert refused.value.status == 404
    assert other_frame.get("/v1/billing/billing_credit")["data"] == []


def test_a_page_of_credits_costs_as_many_statements_as_one(
    frame: Frame, ada: str, product: str, database: Database, account: Account, act: Act
) -> None:
    for each in (ada, new_customer(frame), new_customer(frame)):
        frame.post("/v1/billing/billing_credit", {"customer": each, "product": product} | UNITS)
    with database.connection() as conn:
        rows = unit_credits.list_page(conn, account.account_id, Page(limit=10)).rows
        costs = []
        for shown in (rows[:1], rows):
            with counted(conn) as statements:
                assert len(billing_credits.render_many(conn, act, shown)) == len(shown)
            costs.append(len(statements))
    assert len(rows) == 3
    assert costs[0] == costs[1]


def test_many_with_limited_units_are_weighed_in_as_many_statements_as_one(
    frame: Frame, ada: str, database: Database, account: Account, act: Act
) -> None:
    asked = {"event_name": "call", "display_name": "Calls", "aggregation": "sum", "value": 0.01}
    meter = frame.post("/v1/billing/metering", asked)
    customers = [ada, *(new_customer(frame) for _ in range(4))]
    for each in customers:
        used = {"event_name": "call", "customer": each, "reference": f"{each}-1", "value": 5}
        frame.post("/v1/billing/metering_events", used)
        given = {"customer": each, "product": meter["product"], "limited": True}
        frame.post("/v1/billing/billing_credit", given | UNITS | {"billing_credits": 8})
    with database.connection() as conn:
        [keys] = conn.execute(
            "SELECT customer_key, value_key FROM meters WHERE id = %s", (meter["id"],)
        )
    costs = []
    for some in (customers[:1], customers[1:]):
        now: list[int | None] = [None for _ in (*some, *some)]
        reported = Reported(
            ["call"] * len(some) * 2,
            [dict(zip(keys, (each, "9"), strict=True)) for each in [*some, *some]],
            [f"{each}-{i}" for i in (2, 3) for each in some],
            now,
        )
        with database.transaction() as conn, counted(conn) as statements:
            recorded = record_usage(conn, act, reported)
        assert [error.code for error in recorded.errors.values()] == ["usage_limit_reached"] * len(
            some
        )
        assert sorted(recorded.errors) == [*range(len(some), 2 * len(some))]
        costs.append(len(statements))
    assert costs[0] == costs[1]
