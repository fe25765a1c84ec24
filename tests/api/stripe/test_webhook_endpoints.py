"""Webhook endpoints through the official SDK, and what is ours beside it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from postpaid.core.deliveries import ENDPOINTS_MAX
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from shapes import assert_shape

URL = "https://example.com/told"


def new(stripe_client: stripe.StripeClient, **more: Any) -> stripe.WebhookEndpoint:
    return stripe_client.v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"], **more})


def test_an_endpoint_is_made_and_its_secret_is_shown_once(
    stripe_client: stripe.StripeClient, database: Database, account: Account
) -> None:
    made = new(
        stripe_client,
        enabled_events=["invoice.paid", "customer.*"],
        description="Ours",
        metadata={"a": "b"},
        api_version="2026-10-28.endive",
    )
    assert made.secret
    assert made.secret.startswith("whsec_")
    assert_shape(made.to_dict(), stripe.WebhookEndpoint)
    found = stripe_client.v1.webhook_endpoints.retrieve(made.id)
    assert "secret" not in found.to_dict()
    assert found.enabled_events == ["invoice.paid", "customer.*"]
    assert (found.url, found.status, found.description) == (URL, "enabled", "Ours")
    assert found.metadata.to_dict() == {"a": "b"}
    with database.connection() as conn:
        row = conn.execute(
            "SELECT secret FROM webhook_endpoints WHERE account_id = %s", (account.account_id,)
        ).fetchone()
    assert row is not None
    assert database.vault.open(row[0]) == made.secret
    assert made.secret.encode() not in row[0]


def test_a_remembered_answer_has_no_secret_in_the_database(
    stripe_client: stripe.StripeClient, database: Database, account: Account
) -> None:
    """The same key gets the same answer, and yet the secret is only in its sealed column."""
    options: Any = {"idempotency_key": "once"}
    given: Any = {"url": URL, "enabled_events": ["*"]}
    first = stripe_client.v1.webhook_endpoints.create(given, options)
    again = stripe_client.v1.webhook_endpoints.create(given, options)
    assert (first.id, first.secret) == (again.id, again.secret)
    assert first.secret
    with database.connection() as conn:
        row = conn.execute(
            "SELECT body::text FROM idempotency_keys WHERE account_id = %s", (account.account_id,)
        ).fetchone()
    assert row is not None
    assert first.id in row[0]
    assert first.secret not in row[0]


def test_an_endpoint_is_changed_listed_and_deleted(stripe_client: stripe.StripeClient) -> None:
    endpoints = stripe_client.v1.webhook_endpoints
    first, second = new(stripe_client), new(stripe_client)
    changed = endpoints.update(
        first.id,
        {
            "url": "https://example.com/other",
            "enabled_events": ["invoice.paid"],
            "disabled": True,
            "description": "Other",
            "metadata": {"c": "d"},
        },
    )
    assert (changed.url, changed.status) == ("https://example.com/other", "disabled")
    assert changed.enabled_events == ["invoice.paid"]
    assert endpoints.update(first.id, {"disabled": False}).status == "enabled"
    assert endpoints.update(first.id, {"description": ""}).description is None
    assert [each.id for each in endpoints.list().data] == [second.id, first.id]
    assert [each.id for each in endpoints.list({"limit": 1}).auto_paging_iter()] == [
        second.id,
        first.id,
    ]
    assert endpoints.delete(first.id).deleted
    assert [each.id for each in endpoints.list().data] == [second.id]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        endpoints.retrieve(first.id)
    assert refused.value.http_status == 404


def test_an_endpoint_is_nobody_elses(
    stripe_client: stripe.StripeClient, stranger: stripe.StripeClient
) -> None:
    made = new(stripe_client)
    for ask in (
        lambda: stranger.v1.webhook_endpoints.retrieve(made.id),
        lambda: stranger.v1.webhook_endpoints.update(made.id, {"disabled": True}),
        lambda: stranger.v1.webhook_endpoints.delete(made.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            ask()
        assert refused.value.http_status == 404


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://good.example@10.0.0.1/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "nothing"}, "url"),
        ({"enabled_events": []}, "enabled_events"),
        ({"enabled_events": ["Invoice Paid"]}, "enabled_events"),
        ({"enabled_events": ["*.paid"]}, "enabled_events"),
        ({"payload": "fat"}, "payload"),
        ({"connect": True}, "connect"),
    ],
    ids=[
        "loopback",
        "decimal",
        "userinfo",
        "scheme",
        "no URL",
        "no types",
        "no type",
        "prefix",
        "payload",
        "connect",
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(
    stripe_client: stripe.StripeClient, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        new(stripe_client, **given)
    assert refused.value.http_status == 400
    assert (refused.value.param or "").split("[")[0] == param


def test_there_are_only_so_many_endpoints(stripe_client: stripe.StripeClient) -> None:
    for _ in range(ENDPOINTS_MAX):
        new(stripe_client)
    with pytest.raises(stripe.InvalidRequestError, match="At most 16"):
        new(stripe_client)


def test_a_secret_is_renewed_with_an_overlap(
    stripe_client: stripe.StripeClient, http: httpx.Client
) -> None:
    made = new(stripe_client)
    answer = http.post(f"/v1/webhook_endpoints/{made.id}/rotate_secret", data={"overlap": "60"})
    assert answer.status_code == 200
    assert answer.json()["secret"].startswith("whsec_")
    assert answer.json()["secret"] != made.secret
    too_long = http.post(
        f"/v1/webhook_endpoints/{made.id}/rotate_secret", data={"overlap": "9999999"}
    )
    assert too_long.status_code == 400


def test_what_is_to_be_sent_is_listed_and_sent_again(
    stripe_client: stripe.StripeClient, http: httpx.Client, database: Database, account: Account
) -> None:
    made = new(stripe_client, enabled_events=["customer.created"])
    stripe_client.v1.customers.create({"name": "Ada"})
    [event] = stripe_client.v1.events.list({"type": "customer.created"}).data
    [delivery] = http.get(f"/v1/webhook_endpoints/{made.id}/deliveries").json()["data"]
    assert delivery["event"] == event.id
    assert (delivery["status"], delivery["attempts"]) == ("pending", [])
    assert http.get(f"/v1/webhook_deliveries/{delivery['id']}").json() == delivery

    with database.transaction() as conn:
        conn.execute(
            "UPDATE webhook_deliveries SET status = 'failed', due_at = NULL, settled_at = %s,"
            " attempts = 17, failures = 17 WHERE account_id = %s",
            (call_time(), account.account_id),
        )
    failed = http.get(f"/v1/webhook_endpoints/{made.id}/deliveries?status=failed").json()
    assert [each["id"] for each in failed["data"]] == [delivery["id"]]
    done = http.post(f"/v1/webhook_endpoints/{made.id}/redeliver").json()
    assert (done["deliveries"], done["has_more"]) == (1, False)
    again = http.get(f"/v1/webhook_deliveries/{delivery['id']}").json()
    assert (again["status"], again["attempt_count"], again["settled"]) == ("pending", 17, None)
    assert http.post(f"/v1/webhook_endpoints/{made.id}/redeliver").json()["deliveries"] == 0


def call_time() -> str:
    return "2026-01-01T00:00:00Z"


def test_an_event_is_sent_to_an_endpoint_that_was_not_told(
    stripe_client: stripe.StripeClient, http: httpx.Client
) -> None:
    stripe_client.v1.customers.create({"name": "Ada"})
    [event] = stripe_client.v1.events.list({"type": "customer.created"}).data
    made = new(stripe_client, enabled_events=["invoice.paid"])
    for path in ("resend", "retry"):
        answer = http.post(f"/v1/events/{event.id}/{path}", data={"webhook_endpoint": made.id})
        assert answer.json()["id"] == event.id
    [delivery] = http.get(f"/v1/webhook_endpoints/{made.id}/deliveries").json()["data"]
    assert (delivery["event"], delivery["status"]) == (event.id, "pending")
    missing = http.post("/v1/events/evt_none/resend")
    assert missing.status_code == 404
    stripe_client.v1.webhook_endpoints.update(made.id, {"disabled": True})
    refused = http.post(f"/v1/events/{event.id}/resend", data={"webhook_endpoint": made.id})
    assert refused.json()["error"]["param"] == "webhook_endpoint"
