"""Store usage over HTTP in batches of 5,000: decoded, checked, deduplicated, rolled up, durable.

The events are of a thousand subscribers in the last ten minutes, as they come; each has an alert.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from benchmarks.figures import Figure
from benchmarks.server import KEY, serving
from benchmarks.world import World, metering_world
from postpaid import clock, ids
from postpaid.billing.check_usage import milliseconds
from postpaid.billing.roll_up import roll_up
from postpaid.core.metering import Aggregation
from postpaid.storage import usage
from postpaid.storage.database import Connection, Database, copy_into

BATCH = 5_000
CUSTOMERS = 1_000
CLIENTS = 4
CONNECTIONS = 2
PROCESSES = 2

BARE_TABLE = """
CREATE TABLE IF NOT EXISTS bare_events (
    reference text COLLATE "C" PRIMARY KEY,
    meter_id text,
    customer_id text,
    occurred_at bigint,
    value numeric
)
"""

Batch = tuple[list[str], list[str], list[int]]  # references, customers, milliseconds


def run(url: str, scale: float) -> list[Figure]:
    """Events a second with every rule, beside the bare statements and a bare ``COPY``."""
    batches = max(8, int(100 * scale))
    database = Database(url)
    world = metering_world(database, customers=CUSTOMERS)
    with serving(url, workers=PROCESSES) as (host, port):
        over_http(host, port, world, 8)  # so that plans and connections are there
        every_rule = over_http(host, port, world, batches)
    statement = _rate(database, world, batches, _bare_statements)
    with database.connection() as conn:
        conn.execute(BARE_TABLE)
    copied = _rate(database, world, batches, _bare_copy)
    database.close()
    work = "store batches of 5,000 events over HTTP"
    return [
        Figure(
            work,
            every_rule,
            "events/s",
            statement,
            "the statements that insert and roll up, two connections",
            "100,000/s; 0.7 of the statements",
        ),
        Figure(work, every_rule, "events/s", copied, "COPY with a unique key", ""),
    ]


def over_http(host: str, port: int, world: World, batches: int) -> float:
    """Events a second that the server takes, as NDJSON, from a few clients at once."""
    bodies = [_ndjson(batch_of(world, number)) for number in range(batches)]

    def send(share: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=60)
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/x-ndjson"}
        for body in share:
            connection.request("POST", "/v1/usage/batch", body, headers)
            answer = connection.getresponse().read()
            assert b'"accepted":5000' in answer, answer[:500]

    with ThreadPoolExecutor(CLIENTS) as threads:
        started = time.perf_counter()
        list(threads.map(send, [bodies[i::CLIENTS] for i in range(CLIENTS)]))
        return batches * BATCH / (time.perf_counter() - started)


def batch_of(world: World, number: int) -> Batch:
    """Events of all customers, of the last ten minutes, that were never sent before."""
    now = milliseconds(clock.now())
    places = range(number * BATCH, (number + 1) * BATCH)
    return (
        [ids.new_id("evt") for _ in places],
        [world.customer_ids[place * 7919 % len(world.customer_ids)] for place in places],
        [now - 1000 * (place % 600) for place in places],
    )


def _ndjson(batch: Batch) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "event_name": "api_call",
                "identifier": reference,
                "timestamp": at // 1000,
                "payload": {"stripe_customer_id": customer_id, "value": "1"},
            }
        ).encode()
        for reference, customer_id, at in zip(*batch, strict=True)
    )


def _rate(
    database: Database,
    world: World,
    batches: int,
    store: Callable[[Connection, World, dict[str, int], Batch], None],
) -> float:
    """Events a second over ``CONNECTIONS`` connections, each batch committed."""
    prepared = [batch_of(world, number) for number in range(batches)]
    with database.connection() as conn:
        pairs = [(customer_id, world.meter_id) for customer_id in world.customer_ids]
        series = usage.find_series(conn, world.act.account_id, pairs)
    series_of = {customer_id: series_id for (customer_id, _), series_id in series.items()}

    def work(share: Sequence[Batch]) -> None:
        for batch in share:
            with database.transaction() as conn:
                store(conn, world, series_of, batch)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        started = time.perf_counter()
        list(threads.map(work, [prepared[i::CONNECTIONS] for i in range(CONNECTIONS)]))
        return batches * BATCH / (time.perf_counter() - started)


def _bare_statements(
    conn: Connection, world: World, series_of: dict[str, int], batch: Batch
) -> None:
    """What PostgreSQL takes when nothing is checked: the statements that store and roll up."""
    references, customer_ids, times = batch
    series_ids = [series_of[customer_id] for customer_id in customer_ids]
    values = [Decimal(1)] * len(references)
    usage.begin_storing(conn, world.act.account_id)
    columns = usage.UsageColumns(
        references, series_ids, times, times, values, [None] * len(references)
    )
    assert not usage.insert_many(conn, world.act.account_id, columns)
    aggregations = dict.fromkeys(series_ids, Aggregation.SUM)
    roll_up(conn, series_ids, times, values, references, aggregations)


def _bare_copy(conn: Connection, world: World, series_of: dict[str, int], batch: Batch) -> None:
    copy_into(
        conn,
        "bare_events",
        ("reference", "meter_id", "customer_id", "occurred_at", "value"),
        (
            (reference, world.meter_id, customer, at, 1)
            for reference, customer, at in zip(*batch, strict=True)
        ),
    )
