"""What Frame's endpoints missed they get: enabled again, told again, by one code or by all."""

from __future__ import annotations

import pytest
import stripe
from test_frame_webhooks_arrive import (
    ADA,
    codes_of,
    database,
    delivered_alone,
    delivering,
    listen,
    nothing_pending,
    receiver,
    server,
)

from frame_client import Frame, FrameError
from postpaid.storage.database import Database
from receiver import Receiver, receiving

__all__ = ["database", "delivered_alone", "receiver", "server"]  # fixtures

ACCOUNT = {
    "type": "individual",
    "profile": {
        "individual": {
            "name": {"first_name": "Ada", "last_name": "Lovelace"},
            "email": "ada@example.com",
        }
    },
}
RESTRICTED = ["account.restricted", "account.updated"]


def restrict(frame: Frame) -> str:
    account: str = frame.post("/v1/accounts", ACCOUNT)["id"]
    frame.post(f"/v1/accounts/{account}/restrict")
    return account


def told(frame: Frame) -> dict[str, str]:
    """The events' ids by their codes."""
    return {each["type"]: each["id"] for each in frame.get("/v1/events")["data"]}


def test_one_event_by_two_codes_is_sent_again_by_the_one_that_is_asked_for(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    with receiving() as other:
        chosen = listen(frame, receiver, *RESTRICTED)["id"]
        listen(frame, other, "account.created", "account.restricted")
        restrict(frame)
        restricted = told(frame)["account.restricted"]
        with delivering(database):
            receiver.wait_for(2)
            other.wait_for(2)
            receiver.wait_until(lambda: nothing_pending(database))
            frame.post(f"/v1/events/{restricted}/resend", {"webhook_endpoint": chosen})
            receiver.wait_until(lambda: len(receiver.taken) == 3)
        assert codes_of(receiver) == RESTRICTED
        assert receiver.taken[2].body == receiver.taken[0].body
        assert receiver.taken[2].headers["x-frame-webhook-id"] == restricted
        assert codes_of(other) == ["account.created", "account.restricted"]
        assert len(other.taken) == 2


def test_an_event_without_its_code_is_the_first_thing_it_is_told_as(frame: Frame) -> None:
    restrict(frame)
    ids = told(frame)
    event_id = ids["account.restricted"].partition("-")[0]
    assert ids["account.updated"].startswith(event_id)
    assert frame.get(f"/v1/events/{event_id}")["type"] == "account.restricted"
    for unknown in ("account-created", "customer-updated", "invoice-paid", "x" * 200):
        with pytest.raises(FrameError) as refused:
            frame.post(f"/v1/events/{event_id}-{unknown}/resend")
        assert (refused.value.status, refused.value.code) == (404, "not_found")


def test_what_happened_while_it_was_disabled_is_not_kept_for_it(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    """But what it was yet to be sent is; the rest is sent to it when that is asked for."""
    endpoint = f"/v1/webhook_endpoints/{listen(frame, receiver)['id']}"
    frame.post("/v1/accounts", ACCOUNT)
    frame.patch(endpoint, {"status": "disabled"})
    missed = frame.post("/v1/customers", ADA)["id"]
    [event] = [
        each["id"] for each in frame.get("/v1/events")["data"] if each["data"]["id"] == missed
    ]
    with pytest.raises(FrameError, match="is disabled"):
        frame.post(f"/v1/events/{event}/resend", {"webhook_endpoint": endpoint.rpartition("/")[2]})
    with delivering(database):
        frame.patch(endpoint, {"status": "enabled"})
        receiver.wait_for(1)
        assert codes_of(receiver) == ["account.created"]
        frame.post(f"/v1/events/{event}/resend")
        receiver.wait_for(2)
    assert codes_of(receiver) == ["account.created", "customer.created"]


def test_a_deleted_endpoint_is_sent_nothing(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    deleted = listen(frame, receiver)["id"]
    frame.post("/v1/customers", ADA)
    event = told(frame)["customer.created"]
    frame.delete(f"/v1/webhook_endpoints/{deleted}")
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/events/{event}/resend", {"webhook_endpoint": deleted})
    assert refused.value.status == 404
    with receiving() as other, delivering(database):
        listen(frame, other)
        frame.post(f"/v1/events/{event}/resend")
        other.wait_for(1)
    assert receiver.received == []


def test_an_endpoint_of_stripes_is_not_told_by_frames_call(
    frame: Frame, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    given = {"url": receiver.url, "enabled_events": ["*"]}
    endpoint = stripe_client.v1.webhook_endpoints.create(given).id  # type: ignore[arg-type]
    frame.post("/v1/customers", ADA)
    event = told(frame)["customer.created"]
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/events/{event}/resend", {"webhook_endpoint": endpoint})
    assert refused.value.status == 404


def test_what_stripes_api_shows_of_deliveries_is_of_its_own_endpoints(
    frame: Frame, stripe_client: stripe.StripeClient, receiver: Receiver
) -> None:
    listen(frame, receiver)
    restrict(frame)
    found = stripe_client.v1.events.list({"type": "customer.updated"}).data
    assert [each.pending_webhooks for each in found] == [0]
    delivered = stripe_client.v1.events.list({"delivery_success": True}).data
    assert {each.id for each in delivered} >= {each.id for each in found}
