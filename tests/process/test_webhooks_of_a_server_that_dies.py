"""`postpaid serve` tells a receiver everything, though it is killed in the middle of it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import stripe
from command import PATIENCE_S, Serve, Serving

KEY = "sk_test_of_someone_who_listens"
CUSTOMERS = 60
CHANGES = 3  # of each
EVENTS = CUSTOMERS * (CHANGES + 1)


@dataclass
class Receiver:
    """Whoever listens: takes as many events as it may, and lets the others wait for an answer."""

    url: str = ""
    secret: str = ""
    ids: list[str] = field(default_factory=list)
    """Of the events, each at its first arrival."""
    refused: list[str] = field(default_factory=list)
    waiting: int = 0
    may_take: float = math.inf
    changed: threading.Condition = field(default_factory=threading.Condition)

    def may_take_up_to(self, count: float) -> None:
        with self.changed:
            self.may_take = count
            self.changed.notify_all()

    def take(self, body: bytes, signature: str | None) -> None:
        with self.changed:
            self.waiting += 1
            self.changed.wait_for(lambda: len(self.ids) < self.may_take)
            self.waiting -= 1
            try:
                event = stripe.Webhook.construct_event(body, signature, self.secret)  # type: ignore[no-untyped-call]
            except stripe.SignatureVerificationError as error:
                self.refused.append(str(error))
                return
            if event.id not in self.ids:
                self.ids.append(event.id)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as receiver:
        yield receiver


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(body, self.headers["Stripe-Signature"])
            with suppress(OSError):  # whoever asked may be dead
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.may_take_up_to(math.inf)
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_event_arrives_in_order_though_the_server_is_killed(
    serve: Serve, receiver: Receiver, fresh_database_url: str, tmp_path: Path
) -> None:
    start = partial(
        serve,
        "--database-url",
        fresh_database_url,
        POSTPAID_DATA_DIR=str(tmp_path),
        POSTPAID_API_KEY=KEY,
        POSTPAID_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    server = start()
    endpoint = post(server, "/v1/webhook_endpoints", url=receiver.url, **{"enabled_events[]": "*"})
    receiver.secret = endpoint["secret"]
    receiver.may_take_up_to(EVENTS // 10)
    live(server)

    # One dies in the middle of it, and then its heir, each with deliveries in its hands.
    for taken, next_taken in ((EVENTS // 10, EVENTS // 3), (EVENTS // 3, math.inf)):
        until(lambda: len(receiver.ids) == taken and receiver.waiting > 0)  # noqa: B023
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        let_the_leases_run_out(fresh_database_url)
        receiver.may_take_up_to(next_taken)
        server = start()

    happened = events(server)
    assert len(happened) == EVENTS
    until(lambda: len(receiver.ids) == len(happened))
    assert receiver.refused == []
    assert by_object(happened, receiver.ids) == by_object(happened, list(happened))

    until(lambda: not any(each["pending_webhooks"] for each in events(server).values()))
    assert server.end() == 0
    assert server.errors.read_text() == ""


def test_a_network_that_was_not_allowed_is_not_reached(
    serve: Serve, receiver: Receiver, fresh_database_url: str
) -> None:
    server = serve("--database-url", fresh_database_url, POSTPAID_API_KEY=KEY)
    answer = httpx.post(
        server.url + "/v1/webhook_endpoints",
        data={"url": receiver.url, "enabled_events[]": "*"},
        auth=(KEY, ""),
        trust_env=False,
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "url"
    assert server.end() == 0


def live(server: Serving) -> None:
    """Customers come, and change their names."""
    with httpx.Client(base_url=server.url, auth=(KEY, ""), trust_env=False) as http:
        ids = [http.post("/v1/customers").json()["id"] for _ in range(CUSTOMERS)]
        for n in range(CHANGES):
            for each in ids:
                assert http.post(f"/v1/customers/{each}", data={"name": f"Name {n}"}).is_success


def post(server: Serving, path: str, **form: str) -> dict[str, Any]:
    answer = httpx.post(server.url + path, data=form, auth=(KEY, ""), trust_env=False)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def events(server: Serving) -> dict[str, dict[str, Any]]:
    """All that happened, oldest first, by id."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = server.get(f"/v1/events?limit=100{after}", KEY).json()
        found += page["data"]
        if not page["has_more"]:
            return {each["id"]: each for each in reversed(found)}
        after = f"&starting_after={found[-1]['id']}"


def by_object(happened: dict[str, dict[str, Any]], ids: list[str]) -> dict[str, list[str]]:
    """The events' ids of each object, in the order given."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event_id in ids:
        found[happened[event_id]["data"]["object"]["id"]].append(event_id)
    return dict(found)


def let_the_leases_run_out(url: str) -> None:
    """Whoever was killed is thought dead at once, and not only when its time is up."""
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE webhook_deliveries SET due_at = 'epoch' WHERE due_at > 'epoch'")


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
