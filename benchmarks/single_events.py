"""Single events at 64 connections, each answered after its commit; and the stream of 100 events."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import msgspec

from benchmarks import bare, load
from benchmarks.figures import Figure
from benchmarks.server import KEY, serving
from benchmarks.world import World, metering_world
from postpaid import ids
from postpaid.storage.database import Database

CUSTOMERS = 1_000
CONNECTIONS = 64
STREAMS = 16
STREAMED = 100  # events in a request: Stripe's limit
PROCESSES = 2


def run(url: str, scale: float) -> list[Figure]:
    """Requests a second and percentiles, beside a bare route that reads a body and says {}."""
    count = max(2_000, int(30_000 * scale))
    database = Database(url)
    world = metering_world(database, customers=CUSTOMERS)
    database.close()
    with serving(url, workers=PROCESSES) as (host, port):
        token = session_token(host, port)
        load.run(host, port, singles(world, 2_000), connections=CONNECTIONS)
        single = load.run(host, port, singles(world, count), connections=CONNECTIONS)
        requests = streams(world, token, max(100, count // 20))
        streamed = load.run(host, port, requests, connections=STREAMS)
    assert single.statuses.keys() == streamed.statuses.keys() == {200}
    with bare.serving(workers=PROCESSES) as (host, port):
        nothing = load.run(host, port, singles(world, count), connections=CONNECTIONS)
        requests = streams(world, token, max(100, count // 20))
        nothing_streamed = load.run(host, port, requests, connections=STREAMS)
    return [
        Figure(
            "single events, 64 connections",
            single.per_s,
            "requests/s",
            nothing.per_s,
            "a bare route doing nothing",
            "12,000/s; p99 under 25 ms",
            single.percentiles,
        ),
        Figure(
            "the stream, 100 events a request, 16 connections",
            streamed.per_s * STREAMED,
            "events/s",
            nothing_streamed.per_s * STREAMED,
            "a bare route doing nothing",
            "10,000/s (Stripe's limit)",
            streamed.percentiles,
        ),
    ]


def singles(world: World, count: int) -> Iterator[bytes]:
    """Requests with one new event each, as Stripe's form has it."""
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/x-www-form-urlencoded",
    }
    for i in range(count):
        customer_id = world.customer_ids[i * 7919 % len(world.customer_ids)]
        body = (
            f"event_name=api_call&identifier={ids.new_id('evt')}"
            f"&payload[stripe_customer_id]={customer_id}&payload[value]=1"
        )
        yield load.request("POST", "/v1/billing/meter_events", headers, body.encode())


def streams(world: World, token: str, count: int) -> Iterator[bytes]:
    """Requests with a hundred new events each, in a session."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    for i in range(count):
        events = [
            {
                "event_name": "api_call",
                "identifier": ids.new_id("evt"),
                "payload": {
                    "stripe_customer_id": world.customer_ids[
                        (i * STREAMED + j) * 7919 % len(world.customer_ids)
                    ],
                    "value": "1",
                },
            }
            for j in range(STREAMED)
        ]
        body = msgspec.json.encode({"events": events})
        yield load.request("POST", "/v2/billing/meter_event_stream", headers, body)


def session_token(host: str, port: int) -> str:
    """The token of a new session."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", "/v2/billing/meter_event_session", b"{}", headers)
    return str(msgspec.json.decode(connection.getresponse().read())["authentication_token"])
