"""Events of v2, through the official SDK: notified, fetched, listed."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient
from stripe.events import (
    V1BillingMeterErrorReportTriggeredEvent,
    V1BillingMeterErrorReportTriggeredEventNotification,
    V1BillingMeterNoMeterFoundEvent,
    V1BillingMeterNoMeterFoundEventNotification,
)

from postpaid import clock, ids
from postpaid.api.stripe.events import KINDS
from postpaid.api.stripe.thin_events import RELATED
from postpaid.billing.perform import Act
from postpaid.billing.report_rejections import note, report_rejections
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from shapes import assert_shape

SECRET = "whsec_test"
REJECTED_AT = datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC)


def notification(client: StripeClient, event: Any) -> Any:
    """What a destination makes of the signed bytes that say that ``event`` happened."""
    keys = ("id", "object", "type", "created", "livemode", "related_object", "reason", "context")
    payload = json.dumps({key: event[key] for key in keys})
    now = int(time.time())
    signature = hmac.new(SECRET.encode(), f"{now}.{payload}".encode(), hashlib.sha256).hexdigest()
    return client.parse_event_notification(payload, f"t={now},v1={signature}", SECRET)


def listed(client: StripeClient, **filters: Any) -> list[dict[str, Any]]:
    answer = client.raw_request("get", "/v2/core/events", **filters).data
    assert set(answer) == {"data", "next_page_url", "previous_page_url"}
    found: list[dict[str, Any]] = answer["data"]
    return found


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    ).id


@pytest.fixture
def reported(database: Database, account: Account, meter: str) -> None:
    """Three events were rejected, one of them of no meter, and that was reported."""
    act = Act(account.account_id, False, "mes_1", REJECTED_AT, ids.new_id)
    with database.transaction() as conn:
        note(
            conn,
            act,
            ["call", "unheard_of", "call"],
            ["one", "two", "three"],
            {
                0: NotFound("No such customer: 'cus_x'"),
                1: NotFound("No meter.", code="no_meter"),
                2: InvalidRequest("Invalid decimal.", code="meter_event_invalid_value"),
            },
        )
    later = REJECTED_AT + timedelta(minutes=1)
    assert report_rejections(database, Act(account.account_id, False, "w", later, ids.new_id)) == 2


def test_a_report_is_notified_and_fetched(
    stripe_client: StripeClient, meter: str, reported: None
) -> None:
    [shown] = listed(stripe_client, types=["v1.billing.meter.error_report_triggered"])
    told = notification(stripe_client, shown)
    assert isinstance(told, V1BillingMeterErrorReportTriggeredEventNotification)
    assert told.related_object.url == f"/v1/billing/meters/{meter}"
    assert told.fetch_related_object().id == meter

    event = told.fetch_event()
    assert isinstance(event, V1BillingMeterErrorReportTriggeredEvent)
    assert event.to_dict() == shown
    assert_shape(shown, V1BillingMeterErrorReportTriggeredEvent)
    assert_shape(shown, stripe.v2.core.Event)
    assert event.fetch_related_object().id == meter
    assert shown == {
        "id": told.id,
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": "2026-01-01T12:01:03.000Z",
        "data": {
            "developer_message_summary": "There are 2 invalid events",
            "reason": {
                "error_count": 2,
                "error_types": [
                    {
                        "code": "meter_event_customer_not_found",
                        "error_count": 1,
                        "sample_errors": [
                            {
                                "error_message": "No such customer: 'cus_x'",
                                "request": {"identifier": "one"},
                            }
                        ],
                    },
                    {
                        "code": "meter_event_invalid_value",
                        "error_count": 1,
                        "sample_errors": [
                            {
                                "error_message": "Invalid decimal.",
                                "request": {"identifier": "three"},
                            }
                        ],
                    },
                ],
            },
            "validation_end": "2026-01-01T12:00:10.000Z",
            "validation_start": "2026-01-01T12:00:00.000Z",
        },
        "livemode": False,
        "reason": None,
        "related_object": {
            "id": meter,
            "type": "billing.meter",
            "url": f"/v1/billing/meters/{meter}",
        },
        "snapshot_event": told.id,
        "type": "v1.billing.meter.error_report_triggered",
    }


def test_a_report_without_a_meter_is_about_none(
    stripe_client: StripeClient, reported: None
) -> None:
    [shown] = listed(stripe_client, types=["v1.billing.meter.no_meter_found"])
    told = notification(stripe_client, shown)
    assert isinstance(told, V1BillingMeterNoMeterFoundEventNotification)
    event = told.fetch_event()
    assert isinstance(event, V1BillingMeterNoMeterFoundEvent)
    assert_shape(shown, V1BillingMeterNoMeterFoundEvent)
    assert event.data.developer_message_summary == "There is 1 invalid event"
    assert event.data.reason.error_types[0].sample_errors[0].request.identifier == "two"
    assert shown["related_object"] is None


def test_v1_shows_reports_with_an_object_and_no_thin_types(
    stripe_client: StripeClient, meter: str, reported: None
) -> None:
    events = list(stripe_client.v1.events.list({"type": "billing.meter.*"}))
    assert [each.type for each in events] == [
        "billing.meter.error_report_triggered",
        "billing.meter.no_meter_found",
        "billing.meter.created",
    ]
    for each in events:
        assert_shape(each.to_dict() | {"type": "billing.meter.created"}, stripe.Event)
        assert stripe_client.v1.events.retrieve(each.id) == each
    report: Any = events[0].data.object
    assert (report["object"], report["meter"]) == ("billing.meter_error_report", meter)
    assert report["reason"]["error_count"] == 2
    assert all(not each.type.startswith("v1.") for each in stripe_client.v1.events.list())


def test_every_event_of_v1_has_a_thin_one(stripe_client: StripeClient) -> None:
    options: Any = {"idempotency_key": "once"}
    customer = stripe_client.v1.customers.create({"name": "Ada"}, options)
    [event] = stripe_client.v1.events.list({"type": "customer.created"}).data
    thin: Any = stripe_client.v2.core.events.retrieve(event.id)
    shown = thin.last_response.data
    assert_shape(shown, stripe.v2.core.Event)
    assert shown["type"] == "v1.customer.created"
    assert shown["data"] is None
    assert shown["related_object"] == {
        "id": customer.id,
        "type": "customer",
        "url": f"/v1/customers/{customer.id}",
    }
    assert event.request is not None
    assert shown["reason"] == {
        "type": "request",
        "request": {"id": event.request.id, "idempotency_key": "once"},
    }
    assert notification(stripe_client, shown).fetch_related_object() == customer


def test_what_changed_is_told_to_who_fetches_it(stripe_client: StripeClient) -> None:
    customers = stripe_client.v1.customers
    ada = customers.create({"name": "Ada", "metadata": {"a": "b"}, "address": {"city": "Bonn"}})
    customers.update(ada.id, {"name": "Eve", "metadata": {"c": "d"}, "address": {"city": "Kiel"}})
    customers.delete(ada.id)
    deleted, updated, created = listed(stripe_client, object_id=ada.id)
    assert updated["changes"] == {
        "before": {"name": "Ada", "metadata": {"c": None}, "address": {"city": "Bonn"}},
        "after": {"name": "Eve", "metadata": {"c": "d"}, "address": {"city": "Kiel"}},
    }
    assert (deleted["changes"], created["changes"]) == (None, None)
    fetched = notification(stripe_client, updated).fetch_event()
    assert fetched.to_dict() == updated
    [snapshot] = stripe_client.v1.events.list({"type": "customer.updated"}).data
    former = snapshot.to_dict()["data"]["previous_attributes"]
    assert former == updated["changes"]["before"]


def test_what_an_event_is_about_is_found_where_it_says() -> None:
    from postpaid.api.server import RESOURCES

    paths = {route.path for routes in RESOURCES for route in routes.routes}
    nowhere = {"discount", "upcoming_invoice"}  # which have no address (Stripe)
    assert RELATED.keys() == KINDS.keys() - nowhere
    for _, path in RELATED.values():
        assert any(known.startswith(path + "{") for known in paths), path


def test_an_event_of_another_account_is_not_there(
    stripe_client: StripeClient, stranger: StripeClient
) -> None:
    stripe_client.v1.customers.create({"name": "Ada"})
    [event] = listed(stripe_client)
    with missing("event", event["id"]):
        stranger.v2.core.events.retrieve(event["id"])
    assert listed(stranger) == []


# ─── Lists ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def customers(stripe_client: StripeClient) -> list[str]:
    """Seven customers, whose events are the account's."""
    return [stripe_client.v1.customers.create({"name": f"{n}"}).id for n in range(7)]


def test_events_are_listed_newest_first_page_by_page(
    stripe_client: StripeClient, customers: list[str]
) -> None:
    events = stripe_client.v2.core.events
    for limit in (1, 3, 7, 100):
        page = events.list({"limit": limit})
        about = [each["related_object"]["id"] for each in page.auto_paging_iter()]
        assert about == customers[::-1]


def test_pages_lead_forth_and_back(stripe_client: StripeClient, customers: list[str]) -> None:
    def follow(url: str) -> Any:
        return stripe_client.raw_request("get", url).data

    first = follow("/v2/core/events?limit=3&types[0]=v1.customer.created")
    assert first["previous_page_url"] is None
    second = follow(first["next_page_url"])
    third = follow(second["next_page_url"])
    assert (len(third["data"]), third["next_page_url"]) == (1, None)
    assert follow(third["previous_page_url"])["data"] == second["data"]
    back = follow(second["previous_page_url"])
    assert back["data"] == first["data"]
    assert back["previous_page_url"] is None
    assert follow(back["next_page_url"])["data"] == second["data"]


def test_a_list_is_narrowed_and_its_pages_too(
    stripe_client: StripeClient, customers: list[str]
) -> None:
    stripe_client.v1.customers.update(customers[3], {"name": "Bob"})
    stripe_client.v1.customers.update(customers[3], {"name": "Carol"})
    updated, created = "v1.customer.updated", "v1.customer.created"
    of_three = listed(stripe_client, object_id=customers[3])
    assert [each["type"] for each in of_three] == [updated, updated, created]
    events: Any = stripe_client.v2.core.events
    for types, count in [([updated], 2), ([updated, created], 3), (["customer.updated"], 0)]:
        page = events.list({"object_id": customers[3], "types": types, "limit": 1})
        assert len(list(page.auto_paging_iter())) == count

    hour = timedelta(hours=1)
    before, after = ((clock.now() + hours).isoformat() for hours in (-hour, hour))
    for created_in, count in [
        ({"gt": before}, 9),
        ({"gte": before, "lt": after}, 9),
        ({"gt": after}, 0),
        ({"lte": before}, 0),
    ]:
        page = events.list({"created": created_in, "limit": 4})
        assert len(list(page.auto_paging_iter())) == count


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"limit": 0}, "limit", "parameter_invalid_integer"),
        ({"limit": 101}, "limit", "parameter_invalid_integer"),
        ({"types": ["a"] * 21}, "types", None),
        ({"created": {"gt": 1}}, "created[gt]", None),
        ({"page": "2"}, "page", None),
        ({"page": "after-evt_x"}, "page", None),
        ({"starting_after": "evt_x"}, "starting_after", "parameter_unknown"),
    ],
)
def test_bad_input_is_refused(
    stripe_client: StripeClient, given: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        listed(stripe_client, **given)
