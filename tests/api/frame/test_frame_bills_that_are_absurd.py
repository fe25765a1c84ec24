"""Billing invoices of absurd times, quantities and amounts: refused with words, or right."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

DAY = 86_400
SOME = int(time.time()) // DAY * DAY - 20 * DAY  # a day, three weeks ago


def on(day: float) -> str:
    return datetime.fromtimestamp(SOME + day * DAY, UTC).isoformat()


@pytest.fixture
def customer(frame: Frame) -> str:
    return str(frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"])


def meter(frame: Frame, name: str, **given: Any) -> None:
    said = {"aggregation": "sum", "event_name": name, "display_name": name, **given}
    frame.post("/v1/billing/metering", said)


def use(frame: Frame, customer: str, name: str, value: Any, day: float = 0.5) -> None:
    frame.post(
        "/v1/billing/metering_events",
        {
            "event_name": name,
            "customer": customer,
            "value": value,
            "timestamp": on(day),
            "reference": f"{name}-{day}-{value}",
        },
    )


def bill(frame: Frame, customer: str, start: Any = None, end: Any = None) -> dict[str, Any]:
    return frame.post(
        "/v1/billing/billing_invoice",
        {
            "customer": customer,
            "start_date": on(0) if start is None else start,
            "end_date": on(1) if end is None else end,
            "collection_method": "request_payment",
        },
    )


@pytest.mark.parametrize(
    ("start", "end", "param"),
    [
        (None, "9999-12-31T23:59:59Z", "end_date"),
        (None, "9999-12-31T23:59:59-12:00", "end_date"),
        ("0001-01-01T00:00:00+14:00", None, "start_date"),
        ("0001-01-01", "0001-01-01T00:00:59Z", "start_date"),
        (-1, None, "start_date"),
        (10**18, None, "start_date"),
        (None, 10**30, "end_date"),
        (None, "2026-02-30", "end_date"),
        ("2016-01-01T00:00:00+00:00:00.5", None, "start_date"),
    ],
)
def test_times_beyond_the_calendar_are_refused(
    frame: Frame, customer: str, start: Any, end: Any, param: str
) -> None:
    meter(frame, "call", value=1)
    use(frame, customer, "call", 1)
    with pytest.raises(FrameError) as error:
        bill(frame, customer, start, end)
    assert 400 <= error.value.status < 500
    assert list(error.value.body["error_details"]["errors"]) == [param]


def test_more_than_can_be_billed_is_refused_and_stays_to_be_billed(
    frame: Frame, customer: str
) -> None:
    for name in ("call", "byte"):
        meter(frame, name, value=900_000)
        use(frame, customer, name, 33_000_000_000)
    with pytest.raises(FrameError) as error:
        bill(frame, customer)
    assert 400 <= error.value.status < 500
    use(frame, customer, "call", -32_999_999_999)
    use(frame, customer, "byte", -33_000_000_000)
    assert bill(frame, customer)["total"] == 90_000_000


def test_less_than_nothing_is_not_billed_until_there_is_something(
    frame: Frame, customer: str
) -> None:
    meter(frame, "call", value="0.001")
    use(frame, customer, "call", -5)
    with pytest.raises(FrameError) as error:
        bill(frame, customer)
    assert error.value.code == "nothing_to_bill"
    use(frame, customer, "call", "5.000000000001")
    assert bill(frame, customer)["total"] == 0  # a trillionth of a thousandth: it is billed now
    use(frame, customer, "call", 4.999)
    with pytest.raises(FrameError) as error:
        bill(frame, customer)
    assert error.value.code == "usage_already_billed"  # it rounds to nothing still
    use(frame, customer, "call", 0.001)
    assert bill(frame, customer)["total"] == 1  # half a cent, of all five


@pytest.mark.parametrize(
    ("aggregation", "values", "total"),
    [
        ("count", [5, 0, -7], 300),
        ("count_unique", ["a", "a", "b"], 200),
        ("average", [1, 2, 2], 167),
        ("markup_percentage", [100, 50.5], 15_050),
    ],
)
def test_what_is_counted_is_what_is_billed(
    frame: Frame, customer: str, aggregation: str, values: list[Any], total: int
) -> None:
    meter(frame, "call", aggregation=aggregation, value=1)
    for place, value in enumerate(values):
        use(frame, customer, "call", value, day=0.1 + place / 10)
    made = bill(frame, customer)
    assert made["total"] == total
    assert sum(line["amount_cents"] for line in made["line_items"]) == total


def test_a_second_bill_without_a_key_charges_no_base_fee_again(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    """Its end is "now", which has not quite come when it is asked for first."""
    meter(frame, "call", value=1)
    use(frame, customer, "call", 1)
    product = frame.post(
        "/v1/products",
        {"name": "Base", "description": "Base", "default_price": 900, "purchase_type": "one_time"},
    )["id"]
    asked = {
        "customer": customer,
        "start_date": on(0),
        "end_date": int(time.time()) + 1,
        "collection_method": "request_payment",
        "line_items": [{"product": product, "quantity": 1}],
    }
    assert frame.post("/v1/billing/billing_invoice", asked)["total"] == 1000
    time.sleep(1.1)
    with pytest.raises(FrameError) as error:
        frame.post("/v1/billing/billing_invoice", asked)
    assert error.value.code == "usage_already_billed"


def test_a_coupon_keeps_its_most_and_its_least_on_late_usage(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    tiers = [{"up_to": 100, "value": "0.01"}, {"up_to": None, "value": "0.02"}]
    meter(frame, "call", tiers=tiers)
    coupon = frame.post(
        "/v1/coupons",
        {
            "name": "Ten percent",
            "discount_type": "percentage",
            "discount_value": 10,
            "duration": "forever",
            "discount_cap_cents": 60,
            "discount_cap_currency": "USD",
            "minimum_order_amount_cents": 100,
            "minimum_order_amount_currency": "USD",
        },
    )["id"]
    stripe_client.v1.customers.update(customer, {"coupon": coupon})  # type: ignore[typeddict-unknown-key]
    use(frame, customer, "call", 150)
    assert bill(frame, customer)["total"] == 180  # of 100 and 100
    use(frame, customer, "call", 45)
    assert bill(frame, customer)["total"] == 90  # too little for the coupon
    use(frame, customer, "call", 55)
    assert bill(frame, customer)["total"] == 99  # of 110
    use(frame, customer, "call", 1000, day=1.5)
    assert bill(frame, customer, on(1), on(2))["total"] == 1840  # of 1900, no more than 60
