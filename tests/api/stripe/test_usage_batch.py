"""Usage by the batch over HTTP: an outcome for every event, precise refusals of the rest."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest
from stripe import StripeClient

PATH = "/v1/usage/batch"
JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    stripe_client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "call",
            "default_aggregation": {"formula": "sum"},
        }
    )
    return stripe_client.v1.customers.create({"name": "Ada"}).id


def event(customer: str, identifier: str | None = None, value: str = "1") -> dict[str, Any]:
    named = {} if identifier is None else {"identifier": identifier}
    return {
        "event_name": "call",
        "payload": {"stripe_customer_id": customer, "value": value},
        **named,
    }


def send(
    http: httpx.Client, body: bytes, content_type: str = JSON, **headers: str
) -> httpx.Response:
    return http.post(PATH, content=body, headers={"content-type": content_type, **headers})


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["status"] for each in answer.json()["results"]]


def test_every_event_gets_its_own_outcome(http: httpx.Client, customer: str) -> None:
    send(http, json.dumps([event(customer, "before", "5")]).encode())
    wrong = [
        event(customer, "before", "5"),
        event(customer, "before", "6"),
        event(customer, "many digits", "0.0000000000001"),
        event("cus_none", "nobody"),
        event(customer, "exponent", "1e99"),
        {**event(customer, "name"), "event_name": "nothing"},
        {**event(customer, "long"), "event_name": "x" * 101},
        {**event(customer, "old"), "timestamp": 0},
        {**event(customer, "absurd"), "timestamp": 10**18},
        {**event(customer, "unknown"), "color": "red"},
        event(customer, "right"),
    ]
    answer = send(http, json.dumps(wrong).encode())
    assert statuses(answer) == ["duplicate", "conflict", *["rejected"] * 8, "accepted"]
    found = answer.json()
    assert (found["accepted"], found["duplicate"], found["conflict"], found["rejected"]) == (
        1,
        1,
        1,
        8,
    )
    codes = [each["error"].get("code") for each in found["results"] if "error" in each]
    assert codes[:5] == [
        "resource_already_exists",
        "resource_already_exists",
        "meter_event_value_too_many_digits",
        "resource_missing",
        "meter_event_value_too_many_digits",
    ]
    conflicts = http.get("/v1/usage/conflicts").json()["data"]
    assert [each["identifier"] for each in conflicts] == ["before"]


def test_a_repeat_with_the_same_key_counts_events_without_identifiers_once(
    http: httpx.Client, customer: str
) -> None:
    body = json.dumps([event(customer), event(customer)]).encode()
    assert statuses(send(http, body, **{"idempotency-key": "again"})) == ["accepted"] * 2
    assert statuses(send(http, body, **{"idempotency-key": "again"})) == ["duplicate"] * 2
    assert statuses(send(http, body)) == ["accepted"] * 2


def test_bodies_may_be_compressed(http: httpx.Client, customer: str) -> None:
    lines = b"\n".join(json.dumps(event(customer, f"z{n}")).encode() for n in range(50))
    answer = send(http, gzip.compress(lines), NDJSON, **{"content-encoding": "gzip"})
    assert statuses(answer) == ["accepted"] * 50


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        (b"", JSON, ""),
        (b"[", JSON, ""),
        (b'[{"event_name": "call"', JSON, ""),
        (b"12", JSON, ""),
        (b'{"events": 1}', JSON, ""),
        (b"\xff\xfe", JSON, ""),
        (b"nothing", NDJSON, ""),
        (gzip.compress(b"[]")[:-6], JSON, "gzip"),
        (b"[]", JSON, "gzip"),
        (b"[]", JSON, "zstd"),
        (b"[]", JSON, "br"),
        (b"[]", "application/x-www-form-urlencoded", ""),
        (b"{}", "application/cloudevents+json", ""),
        (json.dumps([{}] * 10_001).encode(), JSON, ""),
        (gzip.compress(b" " * 30_000_000), JSON, "gzip"),
    ],
    ids=[
        "empty",
        "a bracket",
        "cut",
        "a number",
        "no array",
        "no text",
        "no line",
        "cut gzip",
        "no gzip",
        "no zstd",
        "brotli",
        "a form",
        "no cloud event",
        "too many",
        "a bomb",
    ],
)
def test_what_is_no_batch_is_refused_precisely(
    http: httpx.Client, customer: str, body: bytes, content_type: str, encoding: str
) -> None:
    headers = {"content-encoding": encoding} if encoding else {}
    answer = send(http, body, content_type, **headers)
    if answer.status_code == 200:  # one event that is none is an outcome
        assert set(statuses(answer)) == {"rejected"}
    else:
        assert answer.status_code in (400, 413, 415)
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert answer.json()["error"]["message"]


def test_a_batch_needs_a_key(server: str) -> None:
    answer = httpx.post(f"{server}{PATH}", content=b"[]", headers={"content-type": JSON})
    assert answer.status_code == 401
