"""A month of usage told to Frame's API, billed by a subscription of Stripe's."""

from __future__ import annotations

import pytest
from town import DAY, HOUR, Town, at

from frame_client import Frame, FrameError

BEGINS = at("2026-01-01 10:00:00")
ENDS = at("2026-02-01 10:00:00")


def meter(frame: Frame, event_name: str, value: object, aggregation: str = "sum") -> str:
    asked = {"event_name": event_name, "aggregation": aggregation, "value": value}
    price: str = frame.post("/v1/billing/metering", asked)["price"]
    return price


def use(frame: Frame, owner: str, event_name: str, value: int, when: int) -> str:
    said = {"event_name": event_name, "customer": owner, "value": value, "timestamp": when}
    made: str = frame.post(
        "/v1/billing/metering_events", said | {"reference": f"{event_name}/{when}/{value}"}
    )["id"]
    return made


def refused(frame: Frame, event_id: str, **change: object) -> FrameError:
    with pytest.raises(FrameError) as error:
        frame.patch(f"/v1/billing/metering_events/{event_id}", change)
    return error.value


def test_usage_is_reported_corrected_and_then_billed(town: Town, frame: Frame) -> None:
    clock = town.clock(BEGINS)
    ada = town.customer(clock)
    calls = meter(frame, "calls", 2)  # dollars
    meter(frame, "minutes", 1, "time_duration")
    subscription = town.client.v1.subscriptions.create(
        {"customer": ada, "items": [{"price": calls}]}
    )
    town.advance(clock, BEGINS + 2 * DAY)
    first = use(frame, ada, "calls", 30, BEGINS + DAY)
    use(frame, ada, "calls", 1, BEGINS + DAY + HOUR)
    use(frame, ada, "minutes", 1, BEGINS + 2 * DAY - HOUR)

    # What runs is counted up to the customer's present, and no further.
    said = frame.get("/v1/billing/report/subscription", subscription=subscription.id)
    assert (said["customer"], said["amount_cents"]) == (ada, 62_00 + 3600_00)
    assert (said["from"], said["to"]) == ("2026-01-01T10:00:00.000Z", "2026-02-01T10:00:00.000Z")
    assert [
        (each["event_name"], each["usage"], each["amount_cents"])
        for each in said["aggregated_usage"]
    ] == [("calls", "31.0", 62_00), ("minutes", "3600.0", 3600_00)]
    use(frame, ada, "minutes", 0, BEGINS + 2 * DAY)

    # What is not billed yet can be corrected.
    assert frame.patch(f"/v1/billing/metering_events/{first}", {"value": 3})["value"] == "3.0"
    window = {"from": BEGINS + DAY, "to": BEGINS + DAY + HOUR}
    query = {"subscription": subscription.id, **window}
    assert frame.get("/v1/billing/report/subscription", **query)["amount_cents"] == 6_00

    town.advance(clock, ENDS + 2 * HOUR)
    [renewal] = town.client.v1.invoices.list({"customer": ada}).data
    assert (renewal.total, renewal.status) == (8_00, "paid")
    by_meter = frame.get("/v1/billing/report/customer", customer=ada, **{"from": 0, "to": ENDS})
    assert [each["usage"] for each in by_meter["aggregated_usage"]] == ["4.0", "3600.0"]

    # What is billed cannot, and neither can anything be moved into it.
    error = refused(frame, first, value=5)
    assert (error.status, error.code) == (422, "invalid_transition")
    assert renewal.id is not None
    assert renewal.id in error.message
    later = use(frame, ada, "calls", 7, ENDS + HOUR)
    assert refused(frame, later, timestamp=BEGINS + DAY).status == 422
    changed = frame.patch(
        f"/v1/billing/metering_events/{later}", {"timestamp": ENDS, "metadata": {"a": "b"}}
    )
    assert (changed["timestamp"], changed["metadata"]) == ("2026-02-01T10:00:00.000Z", {"a": "b"})
    told = frame.patch(f"/v1/billing/metering_events/{first}", {"metadata": {"note": "billed"}})
    assert told["metadata"] == {"note": "billed"}
    said = frame.get("/v1/billing/report/subscription", subscription=subscription.id)
    assert [each["usage"] for each in said["aggregated_usage"]] == ["7.0", "0.0"]
