"""What Frame's endpoints are told arrives: by its codes, signed, in order, and again when asked."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
import stripe

import database as databases
from frame_client import Frame, FrameError
from postpaid import deliverer
from postpaid.api.server import create_app
from postpaid.config import Settings
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault
from receiver import LOOPBACK, Received, Receiver, receiving
from serving import serve

ADA = {"name": "Ada", "email": "ada@example.com"}
SOON = (timedelta(seconds=0),) * 50


@pytest.fixture(scope="module")
def database(server_url: str) -> Iterator[Database]:
    """A database of our own, because a deliverer delivers all that is due."""
    with databases.clone(server_url) as url:
        opened = Database(url, pool_size=12, vault=Vault.of_new_key())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(database: Database) -> Iterator[str]:
    with serve(create_app(database, Settings(webhook_allowed_networks=LOOPBACK))) as url:
        yield url


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def delivered_alone(database: Database) -> Iterator[None]:
    yield
    with database.transaction() as conn:  # what the next test delivers is its own
        conn.execute("UPDATE webhook_endpoints SET status = 'disabled'")


def nothing_pending(database: Database) -> bool:
    """Whether it is written down what came of all that was sent to endpoints that listen."""
    with database.connection() as conn:
        pending = conn.execute(
            "SELECT FROM webhook_deliveries d JOIN webhook_endpoints e"
            " ON e.account_id = d.account_id AND e.id = d.endpoint_id"
            " WHERE d.status = 'pending' AND e.status = 'enabled'"
        )
        return pending.rowcount == 0


@contextmanager
def delivering(database: Database) -> Iterator[None]:
    """A deliverer in a thread, until the block ends."""
    stop = threading.Event()
    manner = {"timeout_s": 30, "delays": SOON}
    thread = threading.Thread(target=deliverer.run, args=(database, stop, LOOPBACK), kwargs=manner)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def listen(frame: Frame, receiver: Receiver, *codes: str) -> dict[str, Any]:
    given = {"url": receiver.url, "event_codes": list(codes) or ["*"]}
    return frame.post("/v1/webhook_endpoints", given)


def is_signed(received: Received, secret: str) -> bool:
    """As Frame's own clients verify it: the hex HMAC of the very bytes that came."""
    digest = hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(received.headers["x-frame-signature"], f"sha256={digest}")


def codes_of(receiver: Receiver) -> list[str]:
    return [each["type"] for each in receiver.first_taken()]


def test_an_event_is_the_resource_itself_in_an_envelope_that_is_signed(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    secret = listen(frame, receiver)["secret"]
    ada = frame.post("/v1/customers", ADA)
    with delivering(database):
        receiver.wait_for(1)
    [sent] = receiver.received
    assert is_signed(sent, secret)
    event = sent.event
    assert event == {
        "id": event["id"],
        "type": "customer.created",
        "object": "event",
        "created": ada["created"],
        "livemode": False,
        "data": ada,
    }
    assert sent.headers["x-frame-event"] == "customer.created"
    assert sent.headers["x-frame-webhook-id"] == event["id"]
    assert sent.headers["content-type"].startswith("application/json")
    assert standardwebhooks.Webhook(secret).verify(sent.body, dict(sent.headers)) == event
    assert frame.get(f"/v1/events/{event['id']}") == event
    assert frame.get("/v1/events")["data"] == [event]


def test_a_secret_that_was_renewed_signs_nothing_any_more(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    made = listen(frame, receiver)
    secret = frame.post(f"/v1/webhook_endpoints/{made['id']}/rotate_secret")["secret"]
    frame.post("/v1/customers", ADA)
    with delivering(database):
        receiver.wait_for(1)
    [sent] = receiver.received
    assert is_signed(sent, secret)
    assert not is_signed(sent, made["secret"])


def test_a_receiver_that_fails_gets_the_same_event_again(frame: Frame, database: Database) -> None:
    def mood(received: Received) -> str:
        return "error" if received.number < 3 else "ok"

    with receiving(mood) as receiver:
        listen(frame, receiver)
        ada = frame.post("/v1/customers", ADA)["id"]
        frame.patch(f"/v1/customers/{ada}", {"phone": "1"})
        with delivering(database):
            receiver.wait_for(2)
        assert codes_of(receiver) == ["customer.created", "customer.updated"]
        first = receiver.received[:3]
        assert len({each.event["id"] for each in first}) == 1
        assert len({each.body for each in first}) == 1


def test_an_event_is_sent_again_under_its_own_id(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    listen(frame, receiver, "customer.*")
    frame.post("/v1/customers", ADA)
    with delivering(database):
        receiver.wait_for(1)
        event = receiver.received[0].event
        receiver.wait_until(lambda: nothing_pending(database))  # or it is on its way anyhow
        assert frame.post(f"/v1/events/{event['id']}/resend") == {
            "id": event["id"],
            "status": "pending",
        }
        receiver.wait_until(lambda: len(receiver.taken) == 2)
    assert receiver.taken[1].event == event
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/events/evt_none/resend")
    assert (refused.value.status, refused.value.code) == (404, "not_found")
    with pytest.raises(FrameError, match="No such event"):
        frame.get(f"/v1/events/{event['id']}-nothing")


def test_an_endpoint_added_later_is_told_when_an_event_is_sent_again(
    frame: Frame, database: Database, receiver: Receiver
) -> None:
    frame.post("/v1/customers", ADA)
    [event] = frame.get("/v1/events")["data"]
    listen(frame, receiver)
    frame.post(f"/v1/events/{event['id']}/resend")
    with delivering(database):
        receiver.wait_for(1)
    assert receiver.received[0].event == event


def test_each_facades_endpoints_are_told_in_its_own_words(
    frame: Frame, stripe_client: stripe.StripeClient, database: Database, receiver: Receiver
) -> None:
    with receiving() as other:
        listen(frame, receiver)
        stripe_client.v1.webhook_endpoints.create(
            {"url": other.url, "enabled_events": ["customer.*"]}
        )
        ada = stripe_client.v1.customers.create({"name": "Ada", "email": "a@example.com"}).id
        with delivering(database):
            receiver.wait_for(1)
            other.wait_for(1)
            event = other.received[0].event
            other.wait_until(lambda: nothing_pending(database))  # or it is on its way anyhow
            stripe_client.v1.events.retrieve(event["id"])
            sent = stripe_client.raw_request("post", f"/v1/events/{event['id']}/resend")
            assert sent.code == 200
            other.wait_until(lambda: len(other.taken) == 2)
        assert len(receiver.taken) == 1
        assert receiver.taken[0].event["data"]["object"] == "customer"
        assert other.taken[1].event["data"]["object"]["id"] == ada


def test_nobody_else_is_told(
    frame: Frame, other_frame: Frame, database: Database, receiver: Receiver
) -> None:
    listen(frame, receiver)
    other_frame.post("/v1/customers", ADA)
    frame.post("/v1/customers", ADA | {"name": "Eve"})
    with delivering(database):
        receiver.wait_for(1)
    assert [each["data"]["name"] for each in receiver.first_taken()] == ["Eve"]
    assert len(frame.get("/v1/events")["data"]) == 1
