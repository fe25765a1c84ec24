"""Webhook endpoints in Frame's words."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.core.frame_events import CODES, RULES, is_code
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database

URL = "https://example.com/told"
ENDPOINT: dict[str, Any] = {"url": URL, "event_codes": ["invoice.paid", "customer.created"]}


def test_an_endpoint_is_made_and_its_secret_is_shown_once(frame: Frame) -> None:
    made = frame.post("/v1/webhook_endpoints", ENDPOINT | {"description": "Ours"})
    assert frame.last is not None
    assert frame.last.status_code == 201
    secret = made.pop("secret")
    assert secret.isalnum()
    assert len(secret) == 32
    assert made == {
        "id": made["id"],
        "object": "webhook_endpoint",
        "url": URL,
        "description": "Ours",
        "event_codes": ["invoice.paid", "customer.created"],
        "status": "active",
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    assert frame.get(f"/v1/webhook_endpoints/{made['id']}") == made


def test_a_remembered_answer_has_no_secret_in_the_database(
    frame: Frame, database: Database, account: Account
) -> None:
    first = frame.post("/v1/webhook_endpoints", ENDPOINT, key="once")
    assert frame.post("/v1/webhook_endpoints", ENDPOINT, key="once") == first
    with database.connection() as conn:
        [(body,)] = conn.execute(
            "SELECT body::text FROM idempotency_keys WHERE account_id = %s", (account.account_id,)
        ).fetchall()
    assert first["id"] in body
    assert first["secret"] not in body


def test_an_endpoint_is_changed_switched_off_and_deleted(frame: Frame) -> None:
    made = frame.post("/v1/webhook_endpoints", ENDPOINT | {"description": "Ours"})
    path = f"/v1/webhook_endpoints/{made['id']}"
    changed = frame.patch(path, {"event_codes": ["invoice.*"], "url": URL + "/other"})
    assert (changed["event_codes"], changed["url"]) == (["invoice.*"], URL + "/other")
    assert changed["description"] == "Ours"
    assert "secret" not in changed
    assert frame.patch(path, {"status": "disabled"})["status"] == "disabled"
    assert frame.patch(path, {"status": "enabled"})["status"] == "active"
    assert frame.patch(path, {"description": ""})["description"] is None
    assert frame.delete(path) == {
        "id": made["id"],
        "object": "webhook_endpoint",
        "deleted": True,
    }
    with pytest.raises(FrameError, match="No such webhook endpoint"):
        frame.get(path)


def test_a_new_secret_takes_the_place_of_the_old_one_at_once(
    frame: Frame, database: Database, account: Account
) -> None:
    made = frame.post("/v1/webhook_endpoints", ENDPOINT)
    rotated = frame.post(f"/v1/webhook_endpoints/{made['id']}/rotate_secret")
    assert rotated["secret"] != made["secret"]
    assert len(rotated["secret"]) == 32
    with database.connection() as conn:
        [(secret, previous)] = conn.execute(
            "SELECT secret, previous_secret FROM webhook_endpoints WHERE id = %s", (made["id"],)
        ).fetchall()
    assert database.vault.open(secret) == rotated["secret"]
    assert previous is None


def test_each_facade_shows_its_own_endpoints(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    ours = frame.post("/v1/webhook_endpoints", ENDPOINT)["id"]
    theirs = stripe_client.v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"]}).id
    assert [each["id"] for each in frame.get("/v1/webhook_endpoints")["data"]] == [ours]
    assert [each.id for each in stripe_client.v1.webhook_endpoints.list().data] == [theirs]
    for method, path in (
        ("GET", f"/v1/webhook_endpoints/{theirs}"),
        ("PATCH", f"/v1/webhook_endpoints/{theirs}"),
        ("DELETE", f"/v1/webhook_endpoints/{theirs}"),
        ("POST", f"/v1/webhook_endpoints/{theirs}/rotate_secret"),
    ):
        with pytest.raises(FrameError) as refused:
            frame.request(method, path, {})
        assert (refused.value.status, refused.value.code) == (404, "not_found")
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        stripe_client.v1.webhook_endpoints.retrieve(ours)
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        stripe_client.v1.webhook_endpoints.delete(ours)
    with pytest.raises(stripe.InvalidRequestError, match="No such event destination"):
        stripe_client.v2.core.event_destinations.retrieve(ours)


def test_a_code_that_does_not_exist_is_refused_by_name(frame: Frame) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/webhook_endpoints", ENDPOINT | {"event_codes": ["*", "invoice.eaten"]})
    assert (refused.value.status, refused.value.code) == (400, "invalid_event_codes")
    assert refused.value.message == "event_codes contains invalid codes: invoice.eaten"
    assert list(refused.value.body["error_details"]["errors"]) == ["event_codes"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", 5),
        ("url", "nowhere"),
        ("url", "https://10.0.0.1/inside"),
        ("url", "https://example.com/" + "a" * 2000),
        ("url", None),
        ("event_codes", "invoice.paid"),
        ("event_codes", []),
        ("event_codes", [5]),
        ("event_codes", ["invoice.paid"] * 501),
        ("event_codes", ["i" * 101]),
        ("event_codes", None),
        ("description", {"a": "b"}),
        ("description", "a" * 5001),
        ("status", "asleep"),
        ("status", 1),
    ],
)
def test_a_field_that_is_wrong_is_named(frame: Frame, field: str, value: Any) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/webhook_endpoints", ENDPOINT | {field: value})
    assert 400 <= refused.value.status < 500
    [named] = refused.value.body["error_details"]["errors"]
    assert named.startswith(field)


def test_codes_and_their_kinds_may_be_asked_for() -> None:
    assert all(is_code(each) for each in CODES)
    assert is_code("charge.dispute.created")
    assert is_code("subscription.renewal.*")
    assert not is_code("invoice.")
    assert not is_code("nothing.*")
    assert not is_code("")
    assert len(RULES) > 30
