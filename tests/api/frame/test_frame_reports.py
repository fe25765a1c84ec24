"""Billing reports by Frame's API: what was used, and what it comes to."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.api.frame.params import through

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


SPAN = {"from": iso(NOW - 48 * HOUR), "to": iso(NOW + HOUR)}


def customer(frame: Frame) -> str:
    made: str = frame.post("/v1/customers", {"name": "Ada", "email": "ada@example.com"})["id"]
    return made


def meter(frame: Frame, event_name: str, aggregation: str = "sum", value: str = "0.01") -> str:
    asked = {"event_name": event_name, "aggregation": aggregation, "value": Decimal(value)}
    made: str = frame.post("/v1/billing/metering", asked)["id"]
    return made


def use(frame: Frame, owner: str, event_name: str, value: Any, ago: timedelta = HOUR) -> None:
    said = {"event_name": event_name, "customer": owner, "value": value}
    more = {"reference": uuid.uuid4().hex, "timestamp": iso(NOW - ago)}
    frame.post("/v1/billing/metering_events", said | more)


def report(frame: Frame, path: str, **query: Any) -> dict[str, Any]:
    return frame.get(f"/v1/billing/report/{path}", **query)


def refused(frame: Frame, path: str, **query: Any) -> FrameError:
    with pytest.raises(FrameError) as error:
        report(frame, path, **query)
    return error.value


@pytest.mark.parametrize(
    ("end", "after"),
    [
        ("2026-06-30T23:59:59", "2026-07-01T00:00:00"),
        ("2026-06-30T23:59:59.999", "2026-07-01T00:00:00"),
        ("2026-06-30T12:34:59", "2026-06-30T12:35:00"),
        ("2026-07-01T00:00:00", "2026-07-01T00:00:00"),
        ("2026-06-30T23:59:58", "2026-06-30T23:59:58"),
        ("2026-06-30T23:59:00", "2026-06-30T23:59:00"),
    ],
)
def test_a_last_second_is_in_its_window(end: str, after: str) -> None:
    assert through(datetime.fromisoformat(end)) == datetime.fromisoformat(after)


def test_a_customers_report_has_every_meter(frame: Frame) -> None:
    ada, eve = customer(frame), customer(frame)
    kyc, calls = meter(frame, "kyc_requests"), meter(frame, "calls", "count")
    use(frame, ada, "calls", 5)
    use(frame, ada, "calls", 5)
    use(frame, eve, "calls", 5)
    use(frame, ada, "kyc_requests", Decimal("1.5"), ago=72 * HOUR)
    assert report(frame, "customer", customer=ada, **SPAN) == {
        "customer": ada,
        "usage": "2.0",
        "livemode": False,
        "aggregated_usage": [
            {
                "object": "billing_report",
                "aggregation": "sum",
                "event_name": "kyc_requests",
                "usage": "0.0",
                "billing_metric": kyc,
            },
            {
                "object": "billing_report",
                "aggregation": "count",
                "event_name": "calls",
                "usage": "2.0",
                "billing_metric": calls,
            },
        ],
    }
    longer = SPAN | {"from": iso(NOW - 73 * HOUR)}
    assert report(frame, "customer", customer=ada, **longer)["usage"] == "3.5"
    assert report(frame, "customer", customer_id=eve, **SPAN)["usage"] == "1.0"


def test_one_meters_report_is_by_customer_and_by_the_page(frame: Frame) -> None:
    ada, eve, bob = sorted(customer(frame) for _ in range(3))
    made = meter(frame, "calls", value="0.015")
    for owner, value in ((ada, 1), (eve, 2), (bob, 4)):
        use(frame, owner, "calls", value)
    said = report(frame, "event/calls", per_page=2, **SPAN)
    assert said["meta"] == {
        "page": 1,
        "url": "/v1/billing/report/event/calls?per_page=2",
        "has_more": True,
        "prev": None,
        "next": 2,
    }
    shown = [(each["customer"], each["usage"], each["amount_cents"]) for each in said["customers"]]
    assert shown == [(ada, "1.0", 2), (eve, "2.0", 3)]
    last = report(frame, "event/calls", per_page=2, page=2, **SPAN)
    assert [each["customer"] for each in last["customers"]] == [bob]
    assert {name: said[name] for name in ("usage", "amount_cents", "currency")} == {
        "usage": "7.0",
        "amount_cents": 2 + 3 + 6,
        "currency": "USD",
    }
    assert (said["billing_metric"], said["event_name"], said["customer_count"]) == (
        made,
        "calls",
        3,
    )
    assert (said["from"], said["to"]) == (
        SPAN["from"].replace("Z", ".000Z"),
        SPAN["to"].replace("Z", ".000Z"),
    )
    assert report(frame, "event/calls", customer=eve)["usage"] == "2.0"
    assert report(frame, "event/calls")["from"] is None


def test_the_report_of_all_events_is_by_meter(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    ada, eve = customer(frame), customer(frame)
    meter(frame, "calls")
    stripe_client.v1.billing.meters.create(
        {
            "display_name": "Peak",
            "event_name": "peak",
            "default_aggregation": {"formula": "max"},  # type: ignore[typeddict-item]
            "customer_mapping": {"event_payload_key": "customer", "type": "by_id"},
        }
    )
    for owner, value in ((ada, 100), (eve, 300)):
        use(frame, owner, "calls", value)
        use(frame, owner, "peak", value)
    said = report(frame, "events", **SPAN)
    assert said["usage"] == "700.0"
    assert [
        (each["event_name"], each["aggregation"], each["usage"], each["amount_cents"])
        for each in said["aggregated_usage"]
    ] == [("calls", "sum", "400.0", 400), ("peak", "max", "300.0", None)]
    assert report(frame, "events", customer=ada)["usage"] == "200.0"


@pytest.mark.parametrize(
    ("path", "query", "status", "param"),
    [
        ("customer", {"from": "2026-01-01", "to": "2026-02-01"}, 422, "customer"),
        ("customer", {"customer": "cus_1", "to": "2026-02-01"}, 422, "from"),
        ("customer", {"customer": "cus_1", "from": "2026-02-01"}, 422, "to"),
        ("customer", {"customer": "cus_1", "from": "x", "to": "2026-02-01"}, 422, "from"),
        ("customer", {"customer": "cus_1", "from": "2026-01-01", "to": "x"}, 422, "to"),
        ("customer", {"customer": "cus_1", "from": "2026-01-01", "to": "2026-02"}, 422, "to"),
        ("customer", {"customer": "cus_1", "from": 0, "to": 1}, 404, "customer"),
        ("event/nothing", {}, 404, "event_name"),
        ("event/calls", {"customer": "cus_1"}, 404, "customer"),
        ("event/calls", {"from": "2026-02-01", "to": "2026-02-01"}, 422, "to"),
        ("event/calls", {"from": "2026-02-02", "to": "2026-02-01"}, 422, "to"),
        ("event/calls", {"page": 0}, 422, "page"),
        ("events", {"account": "cus_1"}, 404, "customer"),
        ("events", {"to": "never"}, 422, "to"),
        ("subscription", {}, 422, "subscription"),
        ("subscription", {"subscription": "sub_1"}, 404, "subscription"),
        ("subscription", {"subscription": "sub_1", "from": 0}, 422, "to"),
        ("subscription", {"subscription": "sub_1", "to": 0}, 422, "from"),
    ],
)
def test_what_cannot_be_reported_is_refused(
    frame: Frame, path: str, query: dict[str, Any], status: int, param: str
) -> None:
    meter(frame, "calls")
    error = refused(frame, path, **query)
    assert (error.status, list(error.body["error_details"]["errors"])) == (status, [param])


def test_another_merchants_usage_is_in_no_report(frame: Frame, other_frame: Frame) -> None:
    ada = customer(frame)
    meter(frame, "calls")
    meter(other_frame, "calls")
    use(frame, ada, "calls", 5)
    assert report(other_frame, "event/calls")["usage"] == "0.0"
    assert report(other_frame, "events")["usage"] == "0.0"
    assert refused(other_frame, "customer", customer=ada, **SPAN).status == 404
