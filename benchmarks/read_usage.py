"""Read a position and a summary, beside one indexed row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from benchmarks import load
from benchmarks.figures import Figure
from benchmarks.server import KEY, serving
from benchmarks.store_a_batch import over_http
from benchmarks.world import World, metering_world
from postpaid import clock
from postpaid.billing.check_usage import milliseconds
from postpaid.storage.database import Connection, Database

CUSTOMERS = 1_000
CONNECTIONS = 1
PROCESSES = 2

ONE_ROW = """
SELECT sum, count
  FROM usage_windows
 WHERE series_id = %(series_id)s
"""


def run(url: str, scale: float) -> list[Figure]:
    """Answers a second and their percentiles, while usage of a minute ago is being read."""
    database = Database(url)
    world = metering_world(database, customers=CUSTOMERS)
    with serving(url, workers=PROCESSES) as (host, port):
        over_http(host, port, world, 20)
        figures = read(host, port, database, world, max(500, int(5_000 * scale)))
    database.close()
    return figures


def read(host: str, port: int, database: Database, world: World, count: int) -> list[Figure]:
    """The figures of both reads."""
    with database.connection() as conn:
        one_row = _one_row(conn, count)
    figures = []
    for what, requests in (("position", positions), ("summary", summaries)):
        load.run(host, port, requests(database, world, 200), connections=CONNECTIONS)
        found = load.run(host, port, requests(database, world, count), connections=CONNECTIONS)
        assert found.statuses.keys() == {200}
        figures.append(
            Figure(
                f"read a {what}, one connection",
                found.per_s,
                "answers/s",
                one_row,
                "one indexed row, one connection",
                "p99 under 5 ms",
                found.percentiles,
            )
        )
    return figures


Requests = Callable[[Database, World, int], Iterator[bytes]]


def positions(database: Database, world: World, count: int) -> Iterator[bytes]:
    """Where subscriptions stand."""
    with database.connection() as conn:
        rows = conn.execute(
            "SELECT id FROM subscriptions WHERE account_id = %s", (world.act.account_id,)
        ).fetchall()
    for i in range(count):
        subscription_id = rows[i * 7919 % len(rows)][0]
        yield load.request(
            "GET",
            f"/v1/subscriptions/{subscription_id}/usage",
            {"authorization": f"Bearer {KEY}"},
        )


def summaries(database: Database, world: World, count: int) -> Iterator[bytes]:
    """What a customer used in the last days, from minute to minute."""
    end = milliseconds(clock.now()) // 60_000 * 60
    for i in range(count):
        customer_id = world.customer_ids[i * 7919 % len(world.customer_ids)]
        yield load.request(
            "GET",
            f"/v1/billing/meters/{world.meter_id}/event_summaries?customer={customer_id}"
            f"&start_time={end - 4 * 86_400}&end_time={end}",
            {"authorization": f"Bearer {KEY}"},
        )


def _one_row(conn: Connection, count: int) -> float:
    started = time.perf_counter()
    for i in range(count):
        conn.execute(ONE_ROW, {"series_id": 1 + i % CUSTOMERS}).fetchone()
    return count / (time.perf_counter() - started)
