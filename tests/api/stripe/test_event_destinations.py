"""Event destinations of v2, through the official SDK: webhook endpoints by another name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient
from stripe.events import V2CoreEventDestinationPingEvent

from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from shapes import assert_shape

URL = "https://example.com/told"
GIVEN: Any = {
    "name": "The shop",
    "type": "webhook_endpoint",
    "enabled_events": ["v1.invoice.paid", "v1.customer.*"],
    "event_payload": "thin",
    "webhook_endpoint": {"url": URL},
}
BOTH = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]


def shown(destination: Any) -> dict[str, Any]:
    found: dict[str, Any] = destination.last_response.data
    return found


def test_what_a_destination_is(stripe_client: StripeClient) -> None:
    destinations = stripe_client.v2.core.event_destinations
    more = {"description": "All that is paid", "metadata": {"a": "b"}, "events_from": ["@self"]}
    made = destinations.create(GIVEN | more)
    assert_shape(shown(made), stripe.v2.core.EventDestination)
    assert shown(made) == {
        "id": made.id,
        "object": "v2.core.event_destination",
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": made.created,
        "description": "All that is paid",
        "enabled_events": ["v1.invoice.paid", "v1.customer.*"],
        "event_payload": "thin",
        "events_from": ["@self"],
        "livemode": False,
        "metadata": {"a": "b"},
        "name": "The shop",
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": made.created,
        "webhook_endpoint": None,
    }
    assert shown(destinations.retrieve(made.id)) == shown(made)
    [listed] = destinations.list().data
    assert listed.to_dict() == made.to_dict()
    # v1 knows it too, by types that have no version.
    endpoint = stripe_client.v1.webhook_endpoints.retrieve(made.id)
    assert (endpoint.url, endpoint.enabled_events) == (URL, ["invoice.paid", "customer.*"])


def test_a_secret_is_shown_to_who_asks_for_it_once(
    stripe_client: StripeClient, database: Database, account: Account
) -> None:
    destinations = stripe_client.v2.core.event_destinations
    made = destinations.create(GIVEN | {"include": BOTH}, {"idempotency_key": "made"})
    assert made.webhook_endpoint is not None
    secret = made.webhook_endpoint.signing_secret
    assert secret is not None
    assert (secret.startswith("whsec_"), made.webhook_endpoint.url) == (True, URL)
    # Whose answer was lost can ask again; and nothing that is kept can be read.
    again = destinations.create(GIVEN | {"include": BOTH}, {"idempotency_key": "made"})
    assert shown(again) == shown(made)
    with database.connection() as conn:
        for table in ("idempotency_keys", "webhook_endpoints", "event_destinations", "events"):
            query = f"SELECT t::text FROM {table} t WHERE account_id = %s"
            for (row,) in conn.execute(query.encode(), (account.account_id,)):
                assert secret not in row
    found = destinations.retrieve(made.id, {"include": ["webhook_endpoint.url"]})
    assert shown(found)["webhook_endpoint"] == {"url": URL, "signing_secret": None}
    with refused("include[0]"):
        destinations.retrieve(made.id, {"include": ["webhook_endpoint.signing_secret"]})


def test_a_destination_is_changed(stripe_client: StripeClient) -> None:
    destinations = stripe_client.v2.core.event_destinations
    made = destinations.create(GIVEN)
    changed = destinations.update(
        made.id,
        {
            "name": "The other shop",
            "description": "Some",
            "enabled_events": ["*"],
            "metadata": {"c": "d"},
            "webhook_endpoint": {"url": URL + "/here"},
            "include": ["webhook_endpoint.url"],
        },
    )
    assert_shape(shown(changed), stripe.v2.core.EventDestination)
    differing = {key for key, value in shown(changed).items() if value != shown(made)[key]}
    assert differing - {"updated"} == {
        "name",
        "description",
        "enabled_events",
        "metadata",
        "webhook_endpoint",
    }
    assert (changed.name, changed.enabled_events) == ("The other shop", ["*"])
    off = destinations.disable(made.id)
    assert (off.status, shown(off)["status_details"]) == (
        "disabled",
        {"disabled": {"reason": "user"}},
    )
    on = destinations.enable(made.id)
    assert (on.status, on.status_details, on.name) == ("enabled", None, "The other shop")
    gone = destinations.delete(made.id)
    assert shown(gone) == {"id": made.id, "object": "v2.core.event_destination"}
    with missing("event destination", made.id):
        destinations.retrieve(made.id)
    assert destinations.list().data == []


def test_a_repeat_in_v2_shows_it_as_it_is_now(http: httpx.Client) -> None:
    """Stripe: a request that succeeded is not done again, and returns an updated response."""
    path = "/v2/core/event_destinations"
    key = {"Idempotency-Key": "once"}
    first = http.post(path, json=GIVEN, headers=key)
    made = first.json()["id"]
    http.post(f"{path}/{made}", json={"name": "By now"}).raise_for_status()
    again = http.post(path, json=GIVEN, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json()["id"], again.json()["name"]) == (made, "By now")
    assert len(http.get(path).json()["data"]) == 1
    other = http.post(path, json=GIVEN | {"name": "Another"}, headers=key)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    # What failed is done again, and may succeed; v1's keys are other keys.
    fails = {"Idempotency-Key": "fails"}
    wrong = GIVEN | {"enabled_events": ["invoice.paid"]}
    assert http.post(path, json=wrong, headers=fails).status_code == 400
    assert http.post(path, json=GIVEN, headers=fails).status_code == 200
    assert http.post("/v1/customers", data={"name": "Ada"}, headers=key).status_code == 200


def test_what_v1_made_has_its_url_for_a_name(stripe_client: StripeClient) -> None:
    endpoint = stripe_client.v1.webhook_endpoints.create(
        {"url": URL, "enabled_events": ["invoice.paid"], "api_version": "2026-10-28.endive"}
    )
    destinations = stripe_client.v2.core.event_destinations
    found = destinations.retrieve(endpoint.id)
    assert (found.name, found.event_payload, found.enabled_events) == (
        URL,
        "snapshot",
        ["invoice.paid"],
    )
    assert found.snapshot_api_version == "2026-10-28.endive"
    assert destinations.update(endpoint.id, {"name": "Paid"}).name == "Paid"
    with refused("enabled_events[0]"):
        destinations.update(endpoint.id, {"enabled_events": ["v1.invoice.paid"]})


def test_a_ping_is_for_one_alone(stripe_client: StripeClient) -> None:
    destinations = stripe_client.v2.core.event_destinations
    pinged, other = (destinations.create(GIVEN | {"name": name}) for name in ("one", "two"))
    event: Any = destinations.ping(pinged.id)
    assert isinstance(event, V2CoreEventDestinationPingEvent)
    assert_shape(shown(event), V2CoreEventDestinationPingEvent)
    assert event.related_object.url == f"/v2/core/event_destinations/{pinged.id}"
    fetched: Any = stripe_client.v2.core.events.retrieve(event.id)
    assert fetched.fetch_related_object().id == pinged.id
    [listed] = stripe_client.v2.core.events.list({"types": [event.type]}).data
    assert listed.id == event.id
    assert stripe_client.v1.events.retrieve(event.id).pending_webhooks == 1
    told = stripe_client.raw_request("get", f"/v1/webhook_endpoints/{other.id}/deliveries").data
    assert event.id not in {each["event"] for each in told["data"]}
    destinations.disable(pinged.id)
    with pytest.raises(stripe.InvalidRequestError, match="enable it first"):
        destinations.ping(pinged.id)


def test_destinations_are_listed_page_by_page(stripe_client: StripeClient) -> None:
    destinations = stripe_client.v2.core.event_destinations
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        destinations.create(GIVEN | {"name": name})
    page = destinations.list({"limit": 2, "include": ["webhook_endpoint.url"]})
    every = list(page.auto_paging_iter())
    assert [each.name for each in every] == names[::-1]
    assert {each.webhook_endpoint and each.webhook_endpoint.url for each in every} == {URL}
    with refused("page"):
        stripe_client.raw_request("get", "/v2/core/event_destinations?page=after-we_x")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"type": "amazon_eventbridge"}, "type"),
        ({"events_from": ["@accounts"]}, "events_from[0]"),
        ({"enabled_events": []}, "enabled_events"),
        ({"enabled_events": ["customer.created"]}, "enabled_events[0]"),
        ({"event_payload": "fat"}, "event_payload"),
        ({"snapshot_api_version": "2026-10-28.endive"}, "snapshot_api_version"),
        ({"webhook_endpoint": {"url": "ftp://example.com"}}, "webhook_endpoint[url]"),
        ({"webhook_endpoint": {"url": "http://127.0.0.1/"}}, "webhook_endpoint[url]"),
        ({"include": ["everything"]}, "include[0]"),
    ],
    ids=[
        "transport",
        "whose",
        "no events",
        "types of v1",
        "payload",
        "version",
        "scheme",
        "loopback",
        "include",
    ],
)
def test_a_bad_destination_is_refused(
    stripe_client: StripeClient, given: dict[str, Any], param: str
) -> None:
    code = "url_invalid" if param == "webhook_endpoint[url]" else None
    with refused(param, code=code):
        stripe_client.v2.core.event_destinations.create(GIVEN | given)
    assert stripe_client.v2.core.event_destinations.list().data == []


def test_what_an_account_has_no_other_sees(
    stripe_client: StripeClient, stranger: StripeClient
) -> None:
    made = stripe_client.v2.core.event_destinations.create(GIVEN)
    theirs = stranger.v2.core.event_destinations
    assert theirs.list().data == []
    with missing("event destination", made.id):
        theirs.retrieve(made.id)
    with missing("event destination", made.id):
        theirs.ping(made.id)
    with missing("event destination", made.id):
        theirs.update(made.id, {"name": "Mine"})
    with missing("event destination", made.id):
        theirs.disable(made.id)
