"""Thresholds of usage: set, told once in each window, and how near to them a customer is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

URL = "/v1/billing/thresholds"
PROGRESS = "/v1/billing/report/threshold_progress"
CALLS = {"event_name": "api_calls", "aggregation": "sum", "value": Decimal("0.01")}
CODES = ("billing.subscriber_usage", "billing.subscriber_overage")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class Shop:
    """A merchant with a meter, whose customers live on a test clock at 10 June 2026."""

    def __init__(self, frame: Frame, stripe_client: stripe.StripeClient) -> None:
        self.frame = frame
        self.clocks = stripe_client.v1.test_helpers.test_clocks
        self.clock = self.clocks.create({"frozen_time": at("2026-06-10")}).id
        self.meter = frame.post("/v1/billing/metering", CALLS)

    def customer(self) -> str:
        given = {"name": "Ada", "email": "ada@example.com", "test_clock": self.clock}
        made: str = self.frame.post("/v1/customers", given)["id"]
        return made

    def account(self) -> str:
        name = {"first_name": "Ada", "last_name": "Lovelace"}
        given = {
            "type": "individual",
            "profile": {"individual": {"name": name, "email": "ada@example.com"}},
            "test_clock": self.clock,
        }
        made: str = self.frame.post("/v1/accounts", given)["id"]
        return made

    def threshold(self, **more: Any) -> dict[str, Any]:
        return self.frame.post(URL, {"event_name": "api_calls", **more})

    def use(self, customer: str, *values: int | Decimal, event_name: str = "api_calls") -> None:
        for value in values:
            self.frame.post(
                "/v1/billing/metering_events",
                {
                    "customer": customer,
                    "event_name": event_name,
                    "reference": uuid.uuid4().hex,
                    "value": value,
                },
            )

    def told(self, codes: Sequence[str] = CODES) -> list[dict[str, Any]]:
        """What was told of thresholds, oldest first."""
        found = self.frame.get("/v1/events", per_page=100)["data"]
        return [each for each in found if each["type"] in codes][::-1]


@pytest.fixture
def shop(frame: Frame, stripe_client: stripe.StripeClient) -> Shop:
    return Shop(frame, stripe_client)


def percentages(told: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["type"].rpartition("_")[2], each["data"]["percentage"]) for each in told]


def test_a_threshold_is_set_shown_changed_and_deleted(shop: Shop, frame: Frame) -> None:
    ada = shop.customer()
    made = shop.threshold(customer=ada, amount_cents=5000, metadata={"a": "b"})
    assert made == {
        "id": made["id"],
        "object": "billing_threshold",
        "customer": ada,
        "customer_id": ada,
        "account": None,
        "account_id": None,
        "event_name": "api_calls",
        "billing_metric": shop.meter["id"],
        "amount_cents": 5000,
        "quantity": None,
        "percentages": [50, 80, 100],
        "metadata": {"a": "b"},
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    path = f"{URL}/{made['id']}"
    assert frame.get(path) == made
    changed = frame.patch(
        path, {"quantity": Decimal("12.5"), "percentages": [90], "metadata": {"c": "d"}}
    )
    assert (changed["quantity"], changed["amount_cents"]) == ("12.5", None)
    assert changed["percentages"] == [90, 100]
    assert changed["metadata"] == {"a": "b", "c": "d"}
    everyones = shop.threshold(quantity=7)
    assert everyones["customer"] is None
    assert [each["id"] for each in frame.get(URL)["data"]] == [everyones["id"], made["id"]]
    assert [each["id"] for each in frame.get(URL, customer=ada)["data"]] == [made["id"]]
    assert frame.delete(path) == {
        "id": made["id"],
        "object": "billing_threshold",
        "deleted": True,
    }
    with pytest.raises(FrameError, match="No such threshold"):
        frame.get(path)
    assert shop.threshold(customer=ada, quantity=1)["id"] != made["id"]


def test_each_percentage_is_told_once_in_a_window(shop: Shop) -> None:
    ada = shop.customer()
    threshold = shop.threshold(customer=ada, quantity=100)
    shop.use(ada, 49)
    assert shop.told() == []
    shop.use(ada, 1, 20)
    assert percentages(shop.told()) == [("usage", 50)]
    shop.use(ada, 40, 500)
    told = shop.told()
    assert percentages(told) == [("usage", 50), ("usage", 80), ("overage", 100)]
    overage = told[2]["data"]
    assert overage == {
        "id": overage["id"],
        "object": "billing_report",
        "start_date": at("2026-06-01"),
        "end_date": at("2026-07-01"),
        "customer": ada,
        "customer_id": ada,
        "account": None,
        "account_id": None,
        "subscription": None,
        "invoice": None,
        "usage": 110,
        "amount_cents": 110,
        "percentage": 100,
        "threshold": threshold["id"],
        "threshold_amount_cents": None,
        "threshold_quantity": "100.0",
        "billing_metric": shop.meter["id"],
        "event_name": "api_calls",
        "livemode": False,
        "created": at("2026-06-10"),
    }


def test_an_amount_is_what_the_meters_price_makes_of_it(shop: Shop) -> None:
    ada = shop.customer()
    shop.threshold(customer=ada, amount_cents=1000, percentages=[10, 150])
    shop.use(ada, 99)
    assert shop.told() == []
    shop.use(ada, 1)
    shop.use(ada, 900, 500)
    assert percentages(shop.told()) == [("usage", 10), ("overage", 100), ("overage", 150)]


def test_a_customers_own_threshold_counts_before_everyones(shop: Shop) -> None:
    ada, eve = shop.customer(), shop.customer()
    shop.threshold(quantity=10, percentages=[])
    own = shop.threshold(customer=ada, quantity=20, percentages=[])
    shop.use(ada, 10)
    shop.use(eve, 10)
    assert [each["data"]["customer"] for each in shop.told()] == [eve]
    shop.use(ada, 10)
    assert shop.told()[1]["data"]["threshold"] == own["id"]


def test_what_was_used_before_counts_with_the_next_event(shop: Shop) -> None:
    ada = shop.customer()
    shop.use(ada, 90)
    shop.threshold(quantity=100)
    assert shop.told() == []
    shop.use(ada, 1)
    assert percentages(shop.told()) == [("usage", 50), ("usage", 80)]


def test_an_aggregation_that_is_no_sum_is_measured(shop: Shop, frame: Frame) -> None:
    frame.post(
        "/v1/billing/metering",
        {"event_name": "users", "aggregation": "count_unique", "value": 1},
    )
    ada = shop.customer()
    frame.post(URL, {"event_name": "users", "quantity": 2, "percentages": [50]})
    shop.use(ada, 1, 1, event_name="users")
    assert percentages(shop.told()) == [("usage", 50)]
    shop.use(ada, 2, event_name="users")
    assert percentages(shop.told()) == [("usage", 50), ("overage", 100)]


def test_events_that_come_at_once_tell_it_once(shop: Shop) -> None:
    ada = shop.customer()
    shop.threshold(quantity=20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shop.use(ada, 1), range(30)))
    assert sorted(percentages(shop.told())) == [("overage", 100), ("usage", 50), ("usage", 80)]


def test_without_a_threshold_it_is_what_has_come_together(shop: Shop, frame: Frame) -> None:
    ada = shop.customer()
    shown = frame.get(PROGRESS, customer=ada)
    assert (shown["accumulated_amount_cents"], shown["accumulated_usage"]) == (0, "0.0")
    frame.post("/v1/billing/metering", {"event_name": "free", "aggregation": "sum"})
    frame.post("/v1/billing/metering", {"event_name": "mails", "aggregation": "sum", "value": 0.1})
    shop.use(ada, 1000, 250)
    shop.use(ada, 7, event_name="mails")
    shop.use(ada, 5, event_name="free")
    shop.use(shop.customer(), 4)
    shown = frame.get(PROGRESS, customer=ada)
    assert (shown["accumulated_amount_cents"], shown["accumulated_usage"]) == (1320, "1257.0")
    assert [value for name, value in shown.items() if name.startswith("threshold")] == [
        None,
        None,
        None,
        None,
        [],
    ]
    assert (shown["period_start"], shown["period_end"]) == (
        "2026-06-01T00:00:00Z",
        "2026-06-30T23:59:59Z",
    )
    assert frame.get(PROGRESS, customer=ada, event_name="mails")["accumulated_amount_cents"] == 70


def test_progress_is_shown_as_frame_shows_it(shop: Shop, frame: Frame) -> None:
    ada = shop.account()
    threshold = shop.threshold(account=ada, amount_cents=3000)
    shop.use(ada, 1000)
    shown = frame.get(PROGRESS, account=ada)
    one = {
        "object": "threshold_progress",
        "accumulated_amount_cents": 1000,
        "threshold_amount_cents": 3000,
        "threshold_percentage": 33.33,
        "accumulated_usage": "1000.0",
        "threshold_quantity": None,
        "oldest_pending_charge_at": None,
        "period_start": "2026-06-01T00:00:00Z",
        "period_end": "2026-06-30T23:59:59Z",
        "billing_cycle": "monthly",
        "threshold": threshold["id"],
        "event_name": "api_calls",
        "subscription": None,
        "customer": None,
        "customer_id": None,
        "account": ada,
        "account_id": ada,
        "livemode": False,
    }
    assert shown == one | {"thresholds": [one]}
    shop.use(ada, 500)
    assert frame.get(PROGRESS, account=ada)["threshold_percentage"] == 50.0
    assert shop.told()[0]["data"]["account"] == ada
    for query in ({"threshold": "uq_none"}, {"customer": "cus_none"}, {"event_name": "nothing"}):
        with pytest.raises(FrameError) as refused:
            frame.get(PROGRESS, **({"customer": ada} | query))
        assert refused.value.status == 404
    with pytest.raises(FrameError) as refused:
        frame.get(PROGRESS)
    assert list(refused.value.body["error_details"]["errors"]) == ["customer"]


def test_nothing_of_it_is_an_event_of_stripes(
    shop: Shop, frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    ada = shop.customer()
    shop.threshold(quantity=1, percentages=[])
    shop.use(ada, 1)
    [told] = shop.told()
    event_id = told["id"].partition("-")[0]
    assert event_id not in {each.id for each in stripe_client.v1.events.list({"limit": 100}).data}
    assert event_id not in {each.id for each in stripe_client.v2.core.events.list().data}
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        stripe_client.v1.events.retrieve(event_id)
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        stripe_client.raw_request("post", f"/v1/events/{event_id}/resend")
    assert frame.get(f"/v1/events/{told['id']}") == told


def test_an_alert_of_all_that_was_ever_used_is_told_to_stripes_endpoints_alone(
    shop: Shop, stripe_client: stripe.StripeClient
) -> None:
    """It is of no cycle, so there is nothing to report the usage of."""
    ada = shop.customer()
    stripe_client.v1.billing.alerts.create(
        {
            "title": "Calls",
            "alert_type": "usage_threshold",
            "usage_threshold": {"meter": shop.meter["id"], "gte": 5, "recurrence": "one_time"},
        }
    )
    shop.use(ada, 5)
    said = stripe_client.v1.events.list({"type": "billing.alert.triggered"}).data
    assert len(said) == 1
    assert shop.told() == []


def test_another_threshold_of_the_same_is_refused(shop: Shop) -> None:
    shop.threshold(quantity=1)
    with pytest.raises(FrameError, match="There is a threshold") as refused:
        shop.threshold(quantity=2)
    assert refused.value.status == 422


def test_an_amount_needs_a_meter_that_has_a_price(
    shop: Shop, frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    stripe_client.v1.billing.meters.create(
        {
            "display_name": "Seats",
            "event_name": "seats",
            "default_aggregation": {"formula": "sum"},
        }
    )
    with pytest.raises(FrameError, match="no price of its own") as refused:
        frame.post(URL, {"event_name": "seats", "amount_cents": 5})
    assert list(refused.value.body["error_details"]["errors"]) == ["amount_cents"]
    assert frame.post(URL, {"event_name": "seats", "quantity": 5})["quantity"] == "5.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_name", None),
        ("event_name", "nothing"),
        ("event_name", 5),
        ("event_name", "e" * 256),
        ("customer", "cus_none"),
        ("customer", 5),
        ("customer", "c" * 5000),
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", "many"),
        ("quantity", True),
        ("quantity", "1e400"),
        ("amount_cents", 0),
        ("amount_cents", "1.5"),
        ("amount_cents", 10**30),
        ("amount_cents", 5),
        ("percentages", [0]),
        ("percentages", [1001]),
        ("percentages", ["x"]),
        ("percentages", 50),
        ("percentages", list(range(1, 22))),
        ("metadata", {"a": "b" * 101}),
    ],
)
def test_a_field_that_is_wrong_is_named(shop: Shop, field: str, value: Any) -> None:
    given: dict[str, Any] = {"event_name": "api_calls", "quantity": 5}
    with pytest.raises(FrameError) as refused:
        shop.frame.post(URL, given | {field: value})
    assert 400 <= refused.value.status < 500
    [named] = refused.value.body["error_details"]["errors"]
    assert named.partition("[")[0] in (field, "quantity" if field == "amount_cents" else field)


def test_a_threshold_of_another_merchant_is_nobodys(shop: Shop, other_frame: Frame) -> None:
    made = shop.threshold(quantity=1)
    for method in ("GET", "PATCH", "DELETE"):
        with pytest.raises(FrameError) as refused:
            other_frame.request(method, f"{URL}/{made['id']}", {})
        assert refused.value.status == 404
