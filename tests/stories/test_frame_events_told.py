"""What Frame's endpoints are told of a life: of customers by one prefix, of accounts by another."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from town import DAY, HOUR, Town, at

from frame_client import Frame
from postpaid.core.frame_events import CODES
from receiver import Receiver, receiving

JUNE, JULY, AUGUST = at("2026-06-01"), at("2026-07-01"), at("2026-08-01")
CARD = {"type": "card", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
GOOD, BAD = "4242424242424242", "4726846912498186"
PLAN = {
    "name": "Pro",
    "description": "Pro",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}
MONEY = ("charge.", "charge_intent.", "transfer.")


class Life:
    """A payer on a clock, and what is told of it."""

    def __init__(self, town: Town, frame: Frame, receiver: Receiver, kind: str) -> None:
        self.town, self.frame, self.receiver, self.kind = town, frame, receiver, kind
        self.clock = town.clock(JUNE)
        self.prefix = "customer." if kind == "customer" else ""
        given: dict[str, Any] = {"name": "Ada", "email": "ada@example.com"}
        if kind == "account":
            name = {"first_name": "Ada", "last_name": "Lovelace"}
            profile = {"individual": {"name": name, "email": "ada@example.com"}}
            given = {"type": "individual", "profile": profile}
        self.id = frame.post(f"/v1/{kind}s", given | {"test_clock": self.clock})["id"]

    def method(self, number: str) -> str:
        given = CARD | {"card_number": number, self.kind: self.id}
        made: str = self.frame.post("/v1/payment_methods", given)["id"]
        return made

    def subscribe(self, method: str) -> dict[str, Any]:
        product = self.frame.post("/v1/products", PLAN)["id"]
        return self.frame.post(
            "/v1/subscriptions",
            {
                self.kind: self.id,
                "product": product,
                "currency": "USD",
                "default_payment_method": method,
            },
        )

    def listen(self, *codes: str) -> None:
        given = {"url": self.receiver.url, "event_codes": list(codes)}
        self.frame.post("/v1/webhook_endpoints", given)

    def heard(self, count: int, *prefixes: str) -> list[str]:
        """What was told, once so many events have come, in the order in which they came."""
        self.receiver.wait_for(count)
        codes = [each["type"] for each in self.receiver.first_taken()]
        return [code for code in codes if code.startswith(prefixes)] if prefixes else codes

    def told(self) -> list[str]:
        """The codes of all that happened, oldest first."""
        found = self.frame.get("/v1/events", per_page=100)["data"]
        return [each["type"] for each in reversed(found)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=["customer", "account"])
def life(town: Town, frame: Frame, receiver: Receiver, request: pytest.FixtureRequest) -> Life:
    return Life(town, frame, receiver, request.param)


def test_a_subscriptions_life_is_told_in_order(life: Life) -> None:
    life.listen("customer.subscription.*", "subscription.*")
    subscription = life.subscribe(life.method(GOOD))
    path = f"/v1/subscriptions/{subscription['id']}"
    life.town.advance(life.clock, JULY + 2 * HOUR)
    life.frame.patch(path, {"default_payment_method": life.method(BAD)})
    life.town.advance(life.clock, AUGUST + 2 * HOUR)
    life.frame.post(f"{path}/cancel")
    prefix = f"{life.prefix}subscription."
    canceled = f"{prefix}canceled"
    life.receiver.wait_until(
        lambda: any(each["type"] == canceled for each in life.receiver.first_taken())
    )
    words = [code.removeprefix(prefix) for code in life.heard(1)]
    assert [word for word in words if word != "updated"] == [
        "created",
        "activated",
        "renewal.processing",
        "renewed",
        "renewal.processing",
        "renewal.failed",
        "canceled",
    ]
    assert words.count("updated") >= 3
    data = [each["data"] for each in life.receiver.first_taken()]
    assert {(each["object"], each["id"]) for each in data} == {("subscription", subscription["id"])}
    assert {each[life.kind] for each in data} == {life.id}


def test_a_subscription_that_is_not_paid_at_first_is_incomplete(life: Life) -> None:
    life.subscribe(life.method(BAD))
    words = [code for code in life.told() if "subscription." in code]
    assert words == [
        f"{life.prefix}subscription.created",
        f"{life.prefix}subscription.incomplete",
    ]


def test_money_that_moves_is_a_charge_and_a_transfer_side_by_side(life: Life) -> None:
    life.subscribe(life.method(GOOD))
    assert [code for code in life.told() if code.startswith(MONEY)] == [
        "charge_intent.created",
        "transfer.created",
        "charge_intent.succeeded",
        "charge.succeeded",
        "transfer.succeeded",
        "charge.captured",
        "transfer.completed",
    ]
    found = {each["type"]: each for each in life.frame.get("/v1/events", per_page=100)["data"]}
    for kind in ("charge", "transfer", "charge_intent"):
        data = found[f"{kind}.succeeded"]["data"]
        assert (data["object"], data["amount"], data["status"]) == (kind, 9900, "succeeded")
        assert life.frame.get(f"/v1/{kind}s/{data['id']}")["id"] == data["id"]


def test_data_is_what_the_resource_is_found_as(life: Life) -> None:
    """Of every event: the keys, and the kind, of what is read under the object's own path."""
    subscription = life.subscribe(life.method(GOOD))
    life.frame.patch(f"/v1/{life.kind}s/{life.id}", {"metadata": {"a": "b"}})
    charge = next(
        each["data"]
        for each in life.frame.get("/v1/events", per_page=100)["data"]
        if each["type"] == "charge.succeeded"
    )
    life.frame.post("/v1/refunds", {"charge_intent": charge["charge_intent"], "amount": 100})
    assert subscription["status"] == "active"
    seen = set()
    for event in life.frame.get("/v1/events", per_page=100)["data"]:
        data = event["data"]
        shown = life.frame.get(f"/v1/{data['object']}s/{data['id']}")
        assert set(shown) == set(data), event["type"]
        assert shown["object"] == data["object"]
        seen.add(data["object"])
    assert seen == {
        life.kind,
        "charge",
        "charge_intent",
        "invoice",
        "payment_method",
        "product",
        "refund",
        "subscription",
        "transfer",
    }


def bill(life: Life, method: str) -> dict[str, Any]:
    """June's five calls on a billing invoice."""
    life.frame.post(
        "/v1/billing/metering",
        {"event_name": "calls", "aggregation": "sum", "value": Decimal(1)},
    )
    life.frame.post(
        "/v1/billing/metering_events",
        {life.kind: life.id, "event_name": "calls", "reference": uuid.uuid4().hex, "value": 5},
    )
    life.town.advance(life.clock, JULY + 12 * HOUR)
    return life.frame.post(
        "/v1/billing/billing_invoice",
        {
            life.kind: life.id,
            "start_date": "2026-06-01T00:00:00Z",
            "end_date": "2026-06-30T23:59:59Z",
            "collection_method": "auto_charge",
            "payment_method": method,
        },
    )


def test_a_billing_invoice_is_generated_and_then_charged(life: Life) -> None:
    life.listen("billing.*", "invoice.paid")
    invoice = bill(life, life.method(GOOD))
    assert life.heard(3) == [
        "invoice.paid",
        "billing.invoice.generated",
        "billing.charge.succeeded",
    ]
    paid, generated, charged = life.receiver.first_taken()
    assert paid["data"]["id"] == generated["data"]["id"] == invoice["id"]
    assert (charged["data"]["object"], charged["data"]["amount"]) == ("charge", 500)
    assert len({each["id"] for each in (paid, generated, charged)}) == 3


def test_a_billing_invoice_is_generated_once_however_often_it_is_tried(life: Life) -> None:
    """A first try and the retry of a night fail; then a person pays with another card."""
    life.listen("billing.*")
    invoice = bill(life, life.method(BAD))
    life.town.advance(life.clock, JULY + DAY + 12 * HOUR)
    paid_with: Any = {"payment_method": life.method(GOOD)}
    life.town.client.v1.invoices.pay(invoice["id"], paid_with)
    assert life.heard(4) == [
        "billing.invoice.generated",
        "billing.charge.failed",
        "billing.charge.failed",
        "billing.charge.succeeded",
    ]
    assert {each["id"] for each in life.frame.get("/v1/events", per_page=100)["data"]} >= {
        each["id"] for each in life.receiver.first_taken()
    }
    assert life.told().count("billing.invoice.generated") == 1


def test_a_pause_and_its_end_are_told(life: Life) -> None:
    path = f"/v1/subscriptions/{life.subscribe(life.method(GOOD))['id']}"
    life.frame.post(f"{path}/pause")
    life.frame.post(f"{path}/resume")
    words = [code.rpartition("subscription.")[2] for code in life.told() if "subscription." in code]
    assert [word for word in words if word != "updated"] == [
        "created",
        "activated",
        "paused",
        "resumed",
    ]


def test_an_account_is_restricted_and_freed(town: Town, frame: Frame, receiver: Receiver) -> None:
    life = Life(town, frame, receiver, "account")
    frame.post(f"/v1/accounts/{life.id}/restrict")
    frame.post(f"/v1/accounts/{life.id}/unrestrict")
    assert life.told() == [
        "account.created",
        "account.restricted",
        "account.updated",
        "account.unrestricted",
        "account.updated",
    ]


def test_every_code_that_was_told_is_one_that_can_be_asked_for(life: Life) -> None:
    subscription = life.subscribe(life.method(GOOD))
    life.frame.post(f"/v1/subscriptions/{subscription['id']}/cancel")
    assert set(life.told()) <= CODES
