"""Store usage in batches of 5,000: validated, deduplicated, rolled up, durable.

The events are of a thousand customers in the last ten minutes, as they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal

from benchmarks.figures import Figure
from benchmarks.world import NOW, World, make_world
from postpaid import ids
from postpaid.billing.record_usage import Reported, record_usage
from postpaid.storage import usage
from postpaid.storage.database import Connection, Database, copy_into

BATCH = 5_000
CUSTOMERS = 1_000
THREADS = 2


BARE_TABLE = """
CREATE TABLE bare_events (
    reference text COLLATE "C" PRIMARY KEY,
    meter_id text,
    customer_id text,
    occurred_at timestamptz,
    value numeric
)
"""


def run(url: str, scale: float) -> list[Figure]:
    """Events a second with every rule, beside the bare statement and a bare ``COPY``."""
    batches = max(4, int(20 * scale))
    database = Database(url)
    world = make_world(database, customers=CUSTOMERS)
    every_rule = _rate(database, world, batches, _record)
    statement = _rate(database, world, batches, _bare_statement)
    with database.connection() as conn:
        conn.execute(BARE_TABLE)
    copied = _rate(database, world, batches, _bare_copy)
    database.close()
    return [
        Figure(
            "store a batch of 5,000 events",
            every_rule,
            "events/s",
            statement,
            "one insert-and-roll-up statement",
            "0.7 of the statement",
        ),
        Figure(
            "the same",
            every_rule,
            "events/s",
            copied,
            "COPY with a unique key",
            "",
        ),
    ]


Store = Callable[[Connection, World, list[str], list[str], list[datetime]], None]


def _rate(database: Database, world: World, batches: int, store: Store) -> float:
    """Events a second over ``THREADS`` connections, each batch committed."""
    prepared = [_batch(world, number) for number in range(batches)]
    shares = [prepared[i::THREADS] for i in range(THREADS)]

    def work(share: list[tuple[list[str], list[str], list[datetime]]]) -> None:
        for references, customer_ids, times in share:
            with database.transaction() as conn:
                store(conn, world, references, customer_ids, times)

    with ThreadPoolExecutor(THREADS) as threads:
        started = time.perf_counter()
        list(threads.map(work, shares))
        return batches * BATCH / (time.perf_counter() - started)


def _batch(world: World, number: int) -> tuple[list[str], list[str], list[datetime]]:
    places = range(number * BATCH, (number + 1) * BATCH)
    return (
        [ids.new_id("req") for _ in places],
        [world.customer_ids[place * 7919 % len(world.customer_ids)] for place in places],
        [NOW - timedelta(seconds=place % 600) for place in places],
    )


def _record(
    conn: Connection,
    world: World,
    references: list[str],
    customer_ids: list[str],
    times: list[datetime],
) -> None:
    outcomes = record_usage(
        conn,
        world.act,
        Reported(
            ["api_call"] * len(references),
            [{"stripe_customer_id": customer_id, "value": "1"} for customer_id in customer_ids],
            list(references),
            list(times),
        ),
    )
    assert all(outcome.kind == "accepted" for outcome in outcomes)


def _bare_statement(
    conn: Connection,
    world: World,
    references: list[str],
    customer_ids: list[str],
    times: list[datetime],
) -> None:
    """What PostgreSQL takes when nothing is checked: the statement that stores, and no more."""
    count = len(references)
    columns = usage.UsageColumns(
        references,
        [world.meter_id] * count,
        customer_ids,
        times,
        [Decimal(1)] * count,
        [None] * count,
        [NOW] * count,
    )
    assert len(usage.insert_many(conn, world.act.account_id, columns)) == count


def _bare_copy(
    conn: Connection,
    world: World,
    references: list[str],
    customer_ids: list[str],
    times: list[datetime],
) -> None:
    copy_into(
        conn,
        "bare_events",
        ("reference", "meter_id", "customer_id", "occurred_at", "value"),
        (
            (reference, world.meter_id, customer_id, at, 1)
            for reference, customer_id, at in zip(references, customer_ids, times, strict=True)
        ),
    )
