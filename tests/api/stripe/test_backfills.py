"""Backfills over HTTP: opened, filled by the batch, compared, closed and reverted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from postpaid import clock

START_OF_2020 = 1_577_836_800


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create({"name": "Ada"}).id


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    ).id


def post(http: httpx.Client, path: str, **given: str) -> Any:
    answer = http.post(path, data=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(http: httpx.Client, path: str, **given: str | int) -> Any:
    answer = http.get(path, params=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened(http: httpx.Client, **given: str) -> str:
    made: str = post(http, "/v1/usage/backfills", **given)["id"]
    return made


def send(
    http: httpx.Client, customer: str, backfill: str, *identifiers: str, at: int = START_OF_2020
) -> httpx.Response:
    events = [
        {
            "event_name": "call",
            "identifier": identifier,
            "timestamp": at,
            "payload": {"stripe_customer_id": customer, "value": "2.5"},
        }
        for identifier in identifiers
    ]
    return http.post("/v1/usage/batch", params={"backfill": backfill}, json=events)


def code(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error.get("code"), error.get("param")


def test_one_is_opened_and_shown(http: httpx.Client, meter: str) -> None:
    now = int(clock.now().timestamp())
    made = post(http, "/v1/usage/backfills", description="Lost in May", event_name="call")
    assert made["id"].startswith("bkf_")
    assert now <= made.pop("created") <= now + 60
    assert {**made, "id": "bkf"} == {
        "id": "bkf",
        "object": "usage.backfill",
        "description": "Lost in May",
        "event_name": "call",
        "events": None,
        "livemode": False,
        "status": "open",
        "status_transitions": {"closed_at": None, "reverted_at": None},
    }
    shown = get(http, f"/v1/usage/backfills/{made['id']}")
    assert {key: shown[key] for key in made} == made


def test_it_is_filled_compared_closed_and_reverted(
    http: httpx.Client, stripe_client: StripeClient, meter: str, customer: str
) -> None:
    backfill = opened(http)
    sent = send(http, customer, backfill, "a", "b").json()
    assert (sent["accepted"], sent["rejected"]) == (2, 0)

    def counted() -> float:
        [summary] = stripe_client.v1.billing.meters.event_summaries.list(
            meter,
            {
                "customer": customer,
                "start_time": START_OF_2020,
                "end_time": START_OF_2020 + 3600,
            },
        ).data
        return summary.aggregated_value

    assert counted() == 0
    effect = get(http, f"/v1/usage/backfills/{backfill}/effect")
    [of_ada] = effect["data"]
    assert of_ada.pop("id").startswith("bkfe_")
    assert of_ada == {
        "object": "usage.backfill_effect",
        "after": "5",
        "before": "0",
        "customer": customer,
        "event_name": "call",
        "events": 2,
        "livemode": False,
        "meter": meter,
        "windows": [],
    }
    assert (effect["has_more"], effect["url"]) == (False, f"/v1/usage/backfills/{backfill}/effect")

    closed = post(http, f"/v1/usage/backfills/{backfill}/close")
    assert (closed["status"], closed["events"]) == ("closed", 2)
    assert closed["status_transitions"]["closed_at"] is not None
    assert counted() == 5
    reverted = post(http, f"/v1/usage/backfills/{backfill}/revert")
    assert (reverted["status"], reverted["events"]) == ("reverted", 2)
    assert counted() == 0
    assert get(http, f"/v1/usage/backfills/{backfill}/effect")["data"] == []


def test_the_windows_that_are_billed_are_compared(
    http: httpx.Client, stripe_client: StripeClient, meter: str, customer: str
) -> None:
    price = stripe_client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 1,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter},
            "product_data": {"name": "Calls"},
        }
    )
    subscription = stripe_client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": price.id}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
    )
    backfill = opened(http)
    now = int(clock.now().timestamp())
    assert send(http, customer, backfill, "a", at=now).json()["accepted"] == 1
    [of_ada] = get(http, f"/v1/usage/backfills/{backfill}/effect")["data"]
    item: Any = subscription["items"].data[0]
    assert of_ada["windows"] == [
        {
            "start": item.current_period_start,
            "end": item.current_period_end,
            "after": "2.5",
            "before": "0",
            "events": 1,
        }
    ]


def test_lists_are_newest_first_and_by_status(http: httpx.Client) -> None:
    made = [opened(http) for _ in range(3)]
    post(http, f"/v1/usage/backfills/{made[1]}/close")
    shown = get(http, "/v1/usage/backfills")
    assert [each["id"] for each in shown["data"]] == made[::-1]
    page = get(http, "/v1/usage/backfills", limit=1, starting_after=made[2])
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([made[1]], True)
    closed = get(http, "/v1/usage/backfills", status="closed")
    assert [each["id"] for each in closed["data"]] == [made[1]]


def test_the_effect_is_read_in_pages(
    http: httpx.Client, stripe_client: StripeClient, meter: str
) -> None:
    backfill = opened(http)
    for place in range(3):
        customer = stripe_client.v1.customers.create({"name": "Ada"}).id
        send(http, customer, backfill, f"e{place}")
    path = f"/v1/usage/backfills/{backfill}/effect"
    whole = [each["id"] for each in get(http, path)["data"]]
    first = get(http, path, limit=2)
    assert first["has_more"]
    rest = get(http, path, limit=2, starting_after=first["data"][-1]["id"])
    assert [each["id"] for each in first["data"] + rest["data"]] == whole
    assert not rest["has_more"]
    back = get(http, path, limit=2, ending_before=whole[2])
    assert [each["id"] for each in back["data"]] == whole[:2]
    for cursor in ("bkfe_", "bkfe_x", "bkfe_" + "9" * 30, "bkfe_²", "mtr_1"):
        answer = http.get(path, params={"starting_after": cursor})
        assert code(answer) == (404, "resource_missing", "starting_after")


def test_what_cannot_be_is_refused(http: httpx.Client, meter: str, customer: str) -> None:
    closed = opened(http)
    post(http, f"/v1/usage/backfills/{closed}/close")
    answer = send(http, customer, closed, "a")
    assert code(answer) == (400, "status_transition_invalid", "backfill")
    answer = send(http, customer, "bkf_none", "a")
    assert code(answer)[1:] == ("resource_missing", "backfill")
    answer = http.post(f"/v1/usage/backfills/{closed}/close")
    assert code(answer)[1] == "status_transition_invalid"
    for path in ("", "/effect"):
        assert http.get(f"/v1/usage/backfills/bkf_none{path}").status_code == 404
    for verb in ("close", "revert"):
        assert http.post(f"/v1/usage/backfills/bkf_none/{verb}").status_code == 404
    answer = http.post("/v1/usage/backfills", data={"event_name": "nothing"})
    assert code(answer)[1:] == ("no_meter", "event_name")
    answer = http.get("/v1/usage/backfills", params={"status": "half"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "status")


def test_another_account_sees_none_of_it(http: httpx.Client, stranger: StripeClient) -> None:
    backfill = opened(http)
    with pytest.raises(stripe.InvalidRequestError):
        stranger.raw_request("get", f"/v1/usage/backfills/{backfill}")
    listed = stranger.deserialize(stranger.raw_request("get", "/v1/usage/backfills"), api_mode="V1")
    assert listed.data == []


def test_a_repeat_with_the_same_key_closes_once(http: httpx.Client) -> None:
    backfill = opened(http)
    headers = {"Idempotency-Key": "close-it"}
    answers = [
        http.post(f"/v1/usage/backfills/{backfill}/close", headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_it_is_told_in_events(stripe_client: StripeClient, http: httpx.Client) -> None:
    backfill = opened(http)
    post(http, f"/v1/usage/backfills/{backfill}/close")
    post(http, f"/v1/usage/backfills/{backfill}/revert")
    told: Any = stripe_client.v1.events.list({"types": ["usage.backfill.*"]}).data
    assert [each.type for each in told] == ["usage.backfill.reverted", "usage.backfill.closed"]
    assert told[1].data.object["id"] == backfill
    assert told[1].data.previous_attributes.to_dict() == {
        "events": None,
        "status": "open",
        "status_transitions": {"closed_at": None},
    }
    [_, thin] = get(http, "/v2/core/events", object_id=backfill)["data"]
    assert thin["type"] == "v1.usage.backfill.closed"
    url = f"/v1/usage/backfills/{backfill}"
    assert thin["related_object"] == {"id": backfill, "type": "usage.backfill", "url": url}
