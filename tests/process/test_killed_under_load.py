"""Server and database are killed at any moment under a load of usage, and each event counts once.

A client that did not hear what became of its events sends them again, with the same identifiers.
``POSTPAID_TEST_LOAD`` makes the load heavier, and ``POSTPAID_TEST_SEED`` repeats a run.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx
import psycopg
import pytest
from command import PATIENCE_S, Serve, Serving, run, running_in

from postpaid.storage import embedded

LOAD = int(os.environ.get("POSTPAID_TEST_LOAD", "20000"))
SEED = int(os.environ.get("POSTPAID_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
CLIENTS = 8
KILLS = max(3, LOAD // 20_000)  # of the server, and as many of the database
METERS = {"calls": "sum", "visits": "count", "disk": "last", "peak": "max"}
CUSTOMERS = 5
DAY_S = 86_400
KEY = "sk_test_of_someone_who_kills_servers"

Event = dict[str, Any]

log = logging.getLogger(__name__)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
@pytest.mark.timeout(120 + LOAD // 100)
def test_every_event_counts_once_however_often_server_and_database_are_killed(
    serve: Serve, tmp_path: Path
) -> None:
    log.warning("POSTPAID_TEST_SEED=%d", SEED)  # shown when the test fails
    chance = random.Random(SEED)
    house = House(serve, tmp_path / "data", free_port())
    house.start()
    began = int(time.time())
    customers = [made(house, "/v1/customers", {}) for _ in range(CUSTOMERS)]
    for name, formula in METERS.items():
        made(
            house,
            "/v1/billing/meters",
            {
                "display_name": name,
                "event_name": name,
                "default_aggregation[formula]": formula,
            },
        )
    subscriptions = {customer: subscribe(house, customer) for customer in customers}

    events = [
        {
            "event_name": chance.choice(sorted(METERS)),
            "identifier": f"event-{n}",
            "timestamp": began + chance.choice([chance.randrange(-3 * DAY_S, 0), 60, 61]),
            "payload": {
                "stripe_customer_id": chance.choice(customers),
                "value": str(chance.randrange(-50, 1000)),
            },
        }
        for n in range(LOAD)
    ]
    told = send_all(house, events, chance)

    # Whoever was not killed has gone on, or begun again, by itself.
    assert house.get("/health").json() == {"status": "ok"}
    assert told.accepted == {each["identifier"]: 1 for each in events} | told.unheard
    check_by_api(house, events, subscriptions)
    assert house.server.end() == 0
    assert running_in(tmp_path) == []
    check_by_hand(house.data_dir, events)
    audited = run("audit", "--data-dir", house.data_dir)
    assert (audited.returncode, audited.stdout) == (0, "Everything holds.\n")


# ─── The house ───────────────────────────────────────────────────────────────────────────────


@dataclass
class House:
    """A server with its database, always at the same address."""

    serve: Serve
    data_dir: Path
    port: int
    kills: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        self.server: Serving = self.serve(
            "--data-dir", self.data_dir, f"--port={self.port}", POSTPAID_API_KEY=KEY
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(
            self.url + path, params=query, auth=(KEY, ""), timeout=PATIENCE_S, trust_env=False
        )

    def kill_server(self) -> None:
        """It is gone at once, and whoever looks after it starts another."""
        assert self.server.end(signal.SIGKILL) == -signal.SIGKILL
        self.kills["server"] += 1
        self.start()

    def kill_database(self) -> None:
        """The server that uses it has to notice by itself."""
        pid_file = self.data_dir / "postgres" / "postmaster.pid"
        deadline = time.monotonic() + PATIENCE_S
        before = self.kills["database"]
        while before == self.kills["database"]:
            assert time.monotonic() < deadline
            try:
                os.kill(int(pid_file.read_text().split("\n")[0]), signal.SIGKILL)
                self.kills["database"] += 1
            except (OSError, ValueError):  # it is just being started
                time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def made(house: House, path: str, given: dict[str, Any]) -> str:
    answer = httpx.post(house.url + path, data=given, auth=(KEY, ""), trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def subscribe(house: House, customer: str) -> str:
    """The customer subscribes to what the meter of calls counts."""
    [meter] = [
        each["id"]
        for each in house.get("/v1/billing/meters", limit=100).json()["data"]
        if each["event_name"] == "calls"
    ]
    price = made(
        house,
        "/v1/prices",
        {
            "currency": "usd",
            "unit_amount": "1",
            "product_data[name]": "Calls",
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": meter,
        },
    )
    return made(house, "/v1/subscriptions", {"customer": customer, "items[0][price]": price})


# ─── The load ────────────────────────────────────────────────────────────────────────────────


@dataclass
class Told:
    """What the server said of the events."""

    accepted: Counter[str] = field(default_factory=Counter)
    unheard: dict[str, int] = field(default_factory=dict)
    """Never said to be accepted: it was when nobody heard; later it was a duplicate."""
    known: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, identifier: str, status: str, *, doubtful: bool) -> None:
        with self.lock:
            assert status in ("accepted", "duplicate"), (identifier, status)
            if status == "accepted":
                assert identifier not in self.known, f"{identifier} was accepted twice"
                self.accepted[identifier] += 1
            elif identifier not in self.known:
                assert doubtful, f"{identifier} was a duplicate of nothing"
                self.accepted[identifier] += 0
                self.unheard[identifier] = 0
            self.known.add(identifier)


def send_all(house: House, events: list[Event], chance: random.Random) -> Told:
    """Send all of them, some twice, in requests of all sizes; and kill whoever is in the way."""
    todo: SimpleQueue[list[Event]] = SimpleQueue()
    for batch in batches(events, chance):
        todo.put(batch)
    told = Told()
    failures: list[BaseException] = []

    def client(number: int) -> None:
        mine = random.Random(f"{SEED}/{number}")
        try:
            with httpx.Client(
                base_url=house.url, auth=(KEY, ""), timeout=PATIENCE_S, trust_env=False
            ) as http:
                while not failures:
                    batch = todo.get_nowait()
                    send(http, batch, told)
                    if mine.random() < 0.1:  # once more, for good measure
                        send(http, batch, told)
        except Empty:
            return
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for how, after in kills(chance):
            while len(told.known) < after and not failures and any(t.is_alive() for t in threads):
                time.sleep(0.001)
            if failures:
                break
            house.kill_server() if how == "server" else house.kill_database()
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    assert house.kills == {"server": KILLS, "database": KILLS}
    return told


def kills(chance: random.Random) -> Iterator[tuple[str, int]]:
    """Whom to kill, and after how many events that were answered; each while there are more."""
    whom = ["server", "database"] * KILLS
    chance.shuffle(whom)
    step = LOAD * 9 // 10 // len(whom)
    for n, each in enumerate(whom):
        yield each, n * step + chance.randrange(step)


def batches(events: list[Event], chance: random.Random) -> Iterator[list[Event]]:
    start = 0
    while start < len(events):
        size = chance.choice([1, 1, 1, 1, 10, 100])
        yield events[start : start + size]
        start += size


def send(http: httpx.Client, batch: list[Event], told: Told) -> None:
    """Until it is known what became of the events."""
    doubtful = False
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = send_one(http, batch[0]) if len(batch) == 1 else send_many(http, batch)
        except httpx.TransportError:
            answer = None
        if answer is not None:
            break
        doubtful = True
        assert time.monotonic() < deadline, "the server does not recover"
        time.sleep(0.02)
    for event, status in zip(batch, answer, strict=True):
        told.hear(event["identifier"], status, doubtful=doubtful)


def send_one(http: httpx.Client, event: Event) -> list[str] | None:
    """What became of it; None where nobody knows."""
    payload = {f"payload[{key}]": value for key, value in event["payload"].items()}
    answer = http.post(
        "/v1/billing/meter_events",
        data={key: value for key, value in event.items() if key != "payload"} | payload,
    )
    if answer.status_code >= 500:
        return None
    if answer.status_code == 400:
        assert answer.json()["error"]["code"] == "resource_already_exists", answer.text
        return ["duplicate"]
    assert answer.status_code == 200, answer.text
    return ["accepted"]


def send_many(http: httpx.Client, batch: list[Event]) -> list[str] | None:
    answer = http.post("/v1/usage/batch", json=batch)
    if answer.status_code >= 500:
        return None
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [each["identifier"] for each in results] == [each["identifier"] for each in batch]
    return [each["status"] for each in results]


# ─── What came of it ─────────────────────────────────────────────────────────────────────────


def values_of(events: list[Event], meter: str, customer: str) -> list[tuple[int, str, Decimal]]:
    """When, under which identifier, and how much."""
    return [
        (each["timestamp"], each["identifier"], Decimal(each["payload"]["value"]))
        for each in events
        if (each["event_name"], each["payload"]["stripe_customer_id"]) == (meter, customer)
    ]


def expected(meter: str, values: list[tuple[int, str, Decimal]]) -> Decimal:
    match METERS[meter]:
        case "sum":
            return sum((value for _, _, value in values), Decimal(0))
        case "count":
            return Decimal(len(values))
        case "last":
            return max(values)[2]
        case _:
            return max(value for _, _, value in values)


def check_by_api(house: House, events: list[Event], subscriptions: dict[str, str]) -> None:
    """Every total that a client can ask for is that of the distinct identifiers."""
    meters = house.get("/v1/billing/meters", limit=100).json()["data"]
    first = min(each["timestamp"] for each in events) // 60 * 60
    last = max(each["timestamp"] for each in events) // 60 * 60 + 60
    for meter in meters:
        for customer in subscriptions:
            path = f"/v1/billing/meters/{meter['id']}/event_summaries"
            [total] = house.get(path, customer=customer, start_time=first, end_time=last).json()[
                "data"
            ]
            name = meter["event_name"]
            assert total["aggregated_value"] == expected(name, values_of(events, name, customer))
    for customer, subscription in subscriptions.items():
        [position] = house.get(f"/v1/subscriptions/{subscription}/usage").json()["data"]
        values = values_of(events, "calls", customer)
        used = [value for at, _, value in values if at >= position["window"]["start"]]
        assert Decimal(position["used"]) == max(sum(used, Decimal(0)), Decimal(0))


def check_by_hand(data_dir: Path, events: list[Event]) -> None:
    """Every event is stored once, as it was sent, and hours add up to what is stored."""
    with embedded.start(data_dir) as server, closing(psycopg.connect(server.url)) as conn:
        stored = conn.execute(
            "SELECT e.reference, m.event_name, s.customer_id,"
            " extract(epoch FROM e.occurred_at)::bigint, e.value"
            " FROM usage_events e JOIN usage_series s USING (series_id)"
            " JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id"
        ).fetchall()
        assert len(stored) == len(events)
        assert {row[0]: row[1:] for row in stored} == {
            each["identifier"]: (
                each["event_name"],
                each["payload"]["stripe_customer_id"],
                each["timestamp"],
                Decimal(each["payload"]["value"]),
            )
            for each in events
        }
        hours = conn.execute("SELECT sum(sum), sum(count) FROM usage_hours").fetchone()
        assert hours == (sum(row[4] for row in stored), len(events))
