"""Thresholds of usage through the months: every window begins at nothing."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from town import HOUR, Town, at

from frame_client import Frame

CARD = {"card_number": "4242424242424242", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
PLAN = {
    "name": "Pro",
    "description": "Pro",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}


class Customer:
    """A customer on a clock, whose calls are counted."""

    def __init__(self, town: Town, frame: Frame) -> None:
        self.town, self.frame = town, frame
        self.clock = town.clock(at("2026-06-10"))
        given = {"name": "Ada", "email": "ada@example.com", "test_clock": self.clock}
        self.id = frame.post("/v1/customers", given)["id"]
        meter = {"event_name": "api_calls", "aggregation": "sum", "value": Decimal("0.01")}
        frame.post("/v1/billing/metering", meter)

    def subscribe(self, number: str = CARD["card_number"]) -> dict[str, Any]:
        card = {"type": "card", "customer": self.id, **CARD, "card_number": number}
        asked = {
            "customer": self.id,
            "product": self.frame.post("/v1/products", PLAN)["id"],
            "currency": "USD",
            "default_payment_method": self.frame.post("/v1/payment_methods", card)["id"],
        }
        return self.frame.post("/v1/subscriptions", asked)

    def use(self, count: int) -> None:
        self.frame.post(
            "/v1/billing/metering_events",
            {
                "customer": self.id,
                "event_name": "api_calls",
                "reference": uuid.uuid4().hex,
                "value": count,
            },
        )

    def told(self) -> list[tuple[int, int]]:
        """The start of the window, and the percentage, of what was told; oldest first."""
        found = self.frame.get("/v1/events", per_page=100)["data"]
        return [
            (each["data"]["start_date"], each["data"]["percentage"])
            for each in reversed(found)
            if each["type"].startswith("billing.subscriber_")
        ]


@pytest.fixture
def ada(town: Town, frame: Frame) -> Customer:
    return Customer(town, frame)


def test_without_a_subscription_the_window_is_the_month(ada: Customer, town: Town) -> None:
    ada.frame.post("/v1/billing/thresholds", {"event_name": "api_calls", "quantity": 100})
    june, july = at("2026-06-01"), at("2026-07-01")
    ada.use(120)
    assert ada.told() == [(june, 50), (june, 80), (june, 100)]
    town.advance(ada.clock, july + HOUR)
    ada.use(49)
    assert len(ada.told()) == 3
    ada.use(1)
    assert ada.told()[3:] == [(july, 50)]


def test_with_a_subscription_it_is_its_period(ada: Customer, town: Town) -> None:
    threshold = {"event_name": "api_calls", "quantity": 10, "percentages": []}
    ada.frame.post("/v1/billing/thresholds", threshold)
    subscription = ada.subscribe()
    first, second = at("2026-06-10"), at("2026-07-10")
    town.advance(ada.clock, at("2026-07-05"))
    ada.use(10)
    assert ada.told() == [(first, 100)]
    town.advance(ada.clock, second + HOUR)
    ada.use(9)
    progress = ada.frame.get("/v1/billing/report/threshold_progress", customer=ada.id)
    assert (progress["period_start"], progress["period_end"]) == (
        "2026-07-10T00:00:00Z",
        "2026-08-09T23:59:59Z",
    )
    assert (progress["billing_cycle"], progress["subscription"]) == ("monthly", subscription["id"])
    assert progress["threshold_percentage"] == 90.0
    ada.use(1)
    assert ada.told() == [(first, 100), (second, 100)]
