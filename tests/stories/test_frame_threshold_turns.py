"""Thresholds while all around them turns: windows, usage that was wrong, alerts of another API."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from test_alerts_story import TIERS, warn
from test_frame_threshold_windows import Customer
from town import DAY, HOUR, Town, at

from frame_client import Frame

JUNE, JULY, SEPTEMBER = at("2026-06-01"), at("2026-07-01"), at("2026-09-01")
BEGINS = at("2026-06-10")
PROGRESS = "/v1/billing/report/threshold_progress"


@pytest.fixture
def ada(town: Town, frame: Frame) -> Customer:
    return Customer(town, frame)


def threshold(ada: Customer, event_name: str = "api_calls", **more: Any) -> dict[str, Any]:
    return ada.frame.post("/v1/billing/thresholds", {"event_name": event_name, **more})


def used(ada: Customer, value: int | Decimal | str, event_name: str = "api_calls") -> str:
    """The id of an event of so much."""
    given = {"customer": ada.id, "event_name": event_name, "reference": uuid.uuid4().hex}
    made: str = ada.frame.post("/v1/billing/metering_events", {**given, "value": value})["id"]
    return made


def percentages(ada: Customer) -> list[int]:
    return [percentage for _, percentage in ada.told()]


def test_usage_that_moves_to_a_longer_window_is_not_told_again(ada: Customer, town: Town) -> None:
    """Its subscription ends, and what it used in its period is the month's."""
    threshold(ada, quantity=100, percentages=[50])
    subscription = ada.subscribe()["id"]
    ada.use(60)
    assert ada.told() == [(BEGINS, 50)]
    town.advance(ada.clock, BEGINS + 10 * DAY)
    ada.frame.post(f"/v1/subscriptions/{subscription}/cancel")
    ada.use(1)
    assert ada.told() == [(BEGINS, 50)]
    ada.use(39)
    assert ada.told() == [(BEGINS, 50), (JUNE, 100)]
    town.advance(ada.clock, JULY + HOUR)
    ada.use(50)
    assert ada.told()[2:] == [(JULY, 50)]


def test_a_subscription_begins_a_window_of_its_own(ada: Customer, town: Town) -> None:
    threshold(ada, quantity=100, percentages=[])
    ada.use(100)
    starts = BEGINS + HOUR
    town.advance(ada.clock, starts)
    ada.subscribe()
    ada.use(99)
    assert ada.told() == [(JUNE, 100)]
    ada.use(1)
    assert ada.told() == [(JUNE, 100), (starts, 100)]
    shown = ada.frame.get(PROGRESS, customer=ada.id)
    assert (shown["period_start"], shown["accumulated_usage"]) == ("2026-06-10T01:00:00Z", "100.0")


def test_a_period_that_begins_anew_counts_from_there(ada: Customer, town: Town) -> None:
    threshold(ada, quantity=100, percentages=[])
    subscription = ada.subscribe()["id"]
    ada.use(100)
    moved = BEGINS + 5 * DAY
    town.advance(ada.clock, moved)
    town.client.v1.subscriptions.update(
        subscription, {"billing_cycle_anchor": "now", "proration_behavior": "none"}
    )
    ada.use(99)
    assert ada.told() == [(BEGINS, 100)]
    ada.use(1)
    assert ada.told() == [(BEGINS, 100), (moved, 100)]


def test_windows_that_nobody_used_anything_in_are_passed_over(ada: Customer, town: Town) -> None:
    threshold(ada, quantity=10, percentages=[])
    ada.use(10)
    town.advance(ada.clock, SEPTEMBER + DAY)
    ada.use(9)
    assert ada.told() == [(JUNE, 100)]
    ada.use(1)
    assert ada.told() == [(JUNE, 100), (SEPTEMBER, 100)]


def test_an_event_that_was_too_small_reaches_it_when_it_is_amended(ada: Customer) -> None:
    """Up, down, and up again: it is told once."""
    threshold(ada, quantity=100, percentages=[50])
    event = f"/v1/billing/metering_events/{used(ada, 10)}"
    for value in (60, 10, 120, 1, 120):
        ada.frame.patch(event, {"value": value})
    assert percentages(ada) == [50, 100]
    assert ada.frame.get(PROGRESS, customer=ada.id)["accumulated_usage"] == "120.0"


def test_each_meter_has_its_own(ada: Customer) -> None:
    ada.frame.post(
        "/v1/billing/metering",
        {
            "event_name": "tokens",
            "aggregation": "sum",
            "tiers": [
                {"up_to": 1000, "value": 0},
                {"value": Decimal("0.005")},
            ],
            "tiers_mode": "graduated",
        },
    )
    threshold(ada, quantity=100, percentages=[])
    threshold(ada, "tokens", amount_cents=10, percentages=[50], customer=ada.id)
    used(ada, 1008, "tokens")
    assert percentages(ada) == []
    used(ada, 2, "tokens")
    assert percentages(ada) == [50]
    used(ada, 10, "tokens")
    ada.use(100)
    assert percentages(ada) == [50, 100, 100]
    shown = ada.frame.get(PROGRESS, customer=ada.id)["thresholds"]
    assert {each["event_name"]: each["accumulated_amount_cents"] for each in shown} == {
        "api_calls": 100,
        "tokens": 10,
    }


def test_progress_is_what_is_billed_in_the_end(ada: Customer, town: Town) -> None:
    ada.frame.post(
        "/v1/billing/metering",
        {"event_name": "bytes", "aggregation": "sum", "value": Decimal("0.001")},
    )
    threshold(ada, "bytes", amount_cents=5000)
    used(ada, 42318, "bytes")
    shown = ada.frame.get(PROGRESS, customer=ada.id)
    town.advance(ada.clock, JULY + 12 * HOUR)
    invoice = ada.frame.post(
        "/v1/billing/billing_invoice",
        {
            "customer": ada.id,
            "start_date": "2026-06-01T00:00:00Z",
            "end_date": "2026-06-30T23:59:59Z",
            "collection_method": "request_payment",
        },
    )
    assert shown["accumulated_amount_cents"] == invoice["total"] == 4232
    after = ada.frame.get(PROGRESS, customer=ada.id)
    assert (after["accumulated_amount_cents"], after["period_start"]) == (0, "2026-07-01T00:00:00Z")


def test_an_alert_of_what_a_price_includes_is_told_in_frames_words(
    ada: Customer, town: Town
) -> None:
    meter = town.meter("images")
    price = town.price(recurring={"usage_type": "metered", "meter": meter}, **TIERS)
    subscription = town.subscribe(ada.id, price, collection_method="send_invoice", days_until_due=3)
    warn(town, meter, percent="80")
    warn(town, meter, percent="100")
    for value in ("850", "150", "1"):
        town.use(ada.id, value, event_name="images")
    found = ada.frame.get("/v1/events", per_page=100)["data"]
    told = [
        (
            each["type"],
            each["data"]["usage"],
            each["data"]["subscription"],
            each["data"]["customer"],
        )
        for each in reversed(found)
        if each["type"].startswith("billing.subscriber_")
    ]
    assert told == [
        ("billing.subscriber_usage", 850, subscription.id, ada.id),
        ("billing.subscriber_overage", 1000, subscription.id, ada.id),
    ]
