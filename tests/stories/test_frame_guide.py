"""Frame's guide to postpaid billing, call by call: the same paths and bodies, another host."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from town import HOUR, Town, at

from frame_client import Frame, FrameError
from receiver import Receiver, receiving

JUNE, JULY = at("2026-06-01"), at("2026-07-01")

PRO_PLAN = {
    "name": "Pro Plan",
    "description": "$99/month — includes 10,000 API calls",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}
OVERAGE_METER = {
    "event_name": "api_call_overage",
    "display_name": "API call overage",
    "description": "$0.01 per call above the plan allotment",
    "aggregation": "sum",
    "value": 0.01,
}
# What the guide's receiver reacts to.
CODES = (
    "customer.subscription.renewal.processing",
    "subscription.renewal.processing",
    "billing.subscriber_overage",
    "billing.invoice.generated",
    "billing.charge.succeeded",
    "customer.subscription.renewal.failed",
    "subscription.renewal.failed",
)
CARD = {"card_number": "4242424242424242", "exp_month": "12", "exp_year": "2030", "cvc": "123"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def payer(town: Town, frame: Frame, kind: str, clock: str) -> tuple[str, str]:
    """The guide's prerequisites: a payer of this kind with a stored payment method."""
    if kind == "customer":
        asked: dict[str, Any] = {"name": "Ada", "email": "ada@example.com"}
    else:
        asked = {
            "type": "individual",
            "profile": {
                "individual": {
                    "name": {"first_name": "Ada", "last_name": "Lovelace"},
                    "email": "ada@example.com",
                }
            },
        }
    made = frame.post(f"/v1/{kind}s", asked | {"test_clock": clock})["id"]
    method = frame.post("/v1/payment_methods", {"type": "card", **CARD, kind: made})["id"]
    return made, method


def use(frame: Frame, customer: str, count: int) -> None:
    """The guide's step 4 for every call above the allotment, from several processes at once."""

    def call(number: int) -> dict[str, Any]:
        return frame.post(
            "/v1/billing/metering_events",
            {
                "customer": customer,
                "event_name": "api_call_overage",
                "reference": f"{number}-overage",
                "value": 1,
            },
        )

    with ThreadPoolExecutor(8) as pool:
        events = list(pool.map(call, range(count)))
    assert {each["object"] for each in events} == {"billing_metric_event"}
    assert len({each["id"] for each in events}) == count


def told(receiver: Receiver, secret: str, among: Sequence[str]) -> list[dict[str, Any]]:
    """What the receiver took of these codes, in order; each is signed as Frame signs."""
    for each in receiver.taken:
        expected = hmac.new(secret.encode(), each.body, hashlib.sha256).hexdigest()
        assert each.headers["x-frame-signature"] == f"sha256={expected}"
        assert each.headers["x-frame-event"] == each.event["type"]
    return [each for each in receiver.first_taken() if each["type"] in among]


@pytest.mark.parametrize("kind", ["customer", "account"])
def test_the_guide_and_a_cycle(town: Town, frame: Frame, receiver: Receiver, kind: str) -> None:
    endpoint = frame.post(
        "/v1/webhook_endpoints", {"url": receiver.url, "event_codes": list(CODES)}
    )
    clock = town.clock(JUNE)
    customer, method = payer(town, frame, kind, clock)
    prefix = "customer.subscription" if kind == "customer" else "subscription"

    # 1. The base product. 2. The overage meter. 3. The subscription.
    product = frame.post("/v1/products", PRO_PLAN)
    assert product["recurring"] == {"interval": "month", "interval_count": 1}
    meter = frame.post("/v1/billing/metering", OVERAGE_METER)
    assert (meter["object"], meter["value"], meter["status"]) == ("billing_meter", "0.01", "active")
    subscription = frame.post(
        "/v1/subscriptions",
        {
            kind: customer,
            "product": product["id"],
            "default_payment_method": method,
            "currency": "USD",
            "description": "Pro Plan — monthly + usage",
        },
    )
    assert (subscription["status"], subscription["currency"]) == ("active", "USD")
    assert (subscription["plan"]["amount"], subscription[kind]) == (9900, customer)
    assert (subscription["current_period_start"], subscription["current_period_end"]) == (
        JUNE,
        JULY,
    )
    [first] = town.invoices(subscription["id"])
    assert (first.status, first.total, first.amount_paid) == ("paid", 9900, 9900)

    # 4. Only overage is logged; a threshold says when it runs hot.
    frame.post(
        "/v1/billing/thresholds",
        {kind: customer, "event_name": "api_call_overage", "quantity": 1500},
    )
    use(frame, customer, 2345)
    with pytest.raises(FrameError) as refused:
        frame.post(
            "/v1/billing/metering_events",
            {
                "customer": customer,
                "event_name": "api_call_overage",
                "reference": "0-overage",
                "value": 1,
            },
        )
    assert refused.value.code == "duplicate_reference"
    report = frame.get(
        "/v1/billing/report/customer",
        **{kind: customer, "from": "2026-06-01T00:00:00Z", "to": "2026-06-30T23:59:59Z"},
    )
    assert report["usage"] == "2345.0"

    # The cycle: the base renews by itself.
    town.advance(clock, JULY + HOUR)
    _, renewal = town.invoices(subscription["id"])
    assert (renewal.status, renewal.total, renewal.amount_paid) == ("paid", 9900, 9900)

    # 5. The overage is a billing invoice.
    asked = {
        "customer": customer,
        "collection_method": "auto_charge",
        "payment_method": method,
        "description": "API call overage — June 2026",
        "start_date": "2026-06-01T00:00:00Z",
        "end_date": "2026-06-30T23:59:59Z",
    }
    invoice = frame.post("/v1/billing/billing_invoice", asked)
    assert (invoice["total"], invoice["status"], invoice["currency"]) == (2345, "paid", "USD")
    assert invoice["description"] == "API call overage — June 2026"
    assert frame.get(f"/v1/invoices/{invoice['id']}")["status"] == "paid"
    seen = town.client.v1.invoices.retrieve(invoice["id"])
    assert (seen.status, seen.total, seen.amount_paid) == ("paid", 2345, 2345)
    [line] = seen.lines.data
    assert (line.quantity, line.amount) == (2345, 2345)
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/billing/billing_invoice", asked)
    assert refused.value.code == "usage_already_billed"

    # 6. The receiver heard it all, in order.
    receiver.wait_until(
        lambda: any(each["type"] == "billing.charge.succeeded" for each in receiver.first_taken())
    )
    heard = told(receiver, endpoint["secret"], CODES)
    about = [each for each in heard if each["type"] != "billing.subscriber_overage"]
    assert [each["type"] for each in about] == [
        f"{prefix}.renewal.processing",
        "billing.invoice.generated",
        "billing.charge.succeeded",
    ]
    assert about[0]["data"]["id"] == subscription["id"]
    assert (about[1]["data"]["id"], about[1]["data"]["total"]) == (invoice["id"], 2345)
    assert (about[2]["data"]["amount"], about[2]["data"]["status"]) == (2345, "succeeded")
    [overage] = [each for each in heard if each["type"] == "billing.subscriber_overage"]
    assert overage["data"]["object"] == "billing_report"
    assert overage["data"][kind] == customer


def test_a_billing_invoice_that_fails_is_retried_daily_at_two(town: Town, frame: Frame) -> None:
    """Three attempts in all; then it is for the merchant to recover."""
    clock = town.clock(JUNE)
    customer, _ = payer(town, frame, "customer", clock)
    declining = {"type": "card", **CARD, "card_number": "4726846912498186", "customer": customer}
    method = frame.post("/v1/payment_methods", declining)["id"]
    frame.post("/v1/billing/metering", OVERAGE_METER)
    use(frame, customer, 3)
    town.advance(clock, JULY + 12 * HOUR)
    invoice = frame.post(
        "/v1/billing/billing_invoice",
        {
            "customer": customer,
            "collection_method": "auto_charge",
            "payment_method": method,
            "start_date": "2026-06-01T00:00:00Z",
            "end_date": "2026-06-30T23:59:59Z",
        },
    )
    assert (invoice["total"], invoice["status"]) == (3, "outstanding")

    tried = []
    for day in range(6):
        town.advance(clock, JULY + (day + 1) * 24 * HOUR + 6 * HOUR)
        tried.append(town.client.v1.invoices.retrieve(invoice["id"]).attempt_count)
    assert tried == [2, 3, 3, 3, 3, 3]
    assert frame.get(f"/v1/invoices/{invoice['id']}")["status"] != "paid"
