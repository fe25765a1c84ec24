"""Close a cycle: draft, finalize, charge on the test gateway, events; with two processes."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any, LiteralString

import psycopg

from benchmarks.figures import Figure
from benchmarks.world import END, NOW, World, make_world, subscribe_all
from postpaid import ids
from postpaid.billing.check_usage import Reported, milliseconds
from postpaid.billing.pass_time import close_due_periods, finalize_due_drafts
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import record_usage
from postpaid.core.invoicing import GRACE
from postpaid.storage.database import Database

PROCESSES = 2
EVENTS_EACH = 3  # in different hours
TABLES = (
    "invoices",
    "invoice_lines",
    "payment_intents",
    "payment_attempts",
    "ledger_transactions",
    "ledger_entries",
    "events",
)


def run(url: str, scale: float) -> list[Figure]:
    """Invoices a second from period end to paid, beside a raw ``COPY`` of the rows it wrote."""
    count = max(1000, int(10_000 * scale))
    database = Database(url)
    world = make_world(database, customers=count)
    subscribe_all(database, world)
    _use(database, world)
    with database.connection() as conn:
        conn.execute("VACUUM ANALYZE")

    one = _close(url, world, processes=1, until=count // 4)
    two = _close(url, world, processes=PROCESSES, until=count)
    with database.connection() as conn:
        row = conn.execute("SELECT count(*) FROM invoices WHERE status = 'paid'").fetchone()
        assert row is not None
        assert row[0] == count, f"{row[0]} of {count} invoices are paid"
    raw = _raw_copy(url, count)
    database.close()
    limit_is = "COPY of the same rows, one connection"
    return [
        Figure("close a cycle, one process", one, "invoices/s", raw, limit_is, ""),
        Figure(
            "close a cycle, two processes",
            two,
            "invoices/s",
            raw,
            limit_is,
            "5,000/s, 0.4 of raw",
        ),
    ]


def _use(database: Database, world: World) -> None:
    act = world.act.at(NOW, None)
    for start in range(0, len(world.customer_ids), 1000):
        some = [
            each for each in world.customer_ids[start : start + 1000] for _ in range(EVENTS_EACH)
        ]
        with database.transaction() as conn:
            record_usage(
                conn,
                act,
                Reported(
                    ["api_call"] * len(some),
                    [{"stripe_customer_id": each, "value": "4115"} for each in some],
                    [None] * len(some),
                    [
                        milliseconds(NOW - timedelta(days=1 + i % EVENTS_EACH, hours=i % 24))
                        for i in range(len(some))
                    ],
                ),
            )


def _close(url: str, world: World, *, processes: int, until: int) -> float:
    """Invoices a second, until ``until`` of them are paid."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    workers = [
        context.Process(target=_work, args=(url, world.act.account_id, until, ready))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    with psycopg.connect(url, autocommit=True) as conn:
        before = _paid(conn)
        ready.wait()
        started = time.perf_counter()
        for worker in workers:
            worker.join()
        elapsed_s = time.perf_counter() - started
        assert all(worker.exitcode == 0 for worker in workers)
        return (_paid(conn) - before) / elapsed_s


def _work(url: str, account_id: int, until: int, ready: Barrier) -> None:
    """What a worker process does, at the moment the grace hour has passed."""
    database = Database(url, pool_size=4)
    act = Act(account_id, False, "worker", END, ids.new_id)
    ready.wait()
    with database.connection() as conn:
        while _drafted(conn) < until and close_due_periods(database, act, act.now):
            pass
        while _paid(conn) < until:
            finalize_due_drafts(database, replace(act, now=END + GRACE), act.now)
    database.close()


def _paid(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    return _count(conn, "SELECT count(*) FROM invoices WHERE status = 'paid'")


def _drafted(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    return _count(conn, "SELECT count(*) FROM invoices")


def _count(conn: psycopg.Connection[tuple[Any, ...]], query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _raw_copy(url: str, count: int) -> float:
    """The rows that the close wrote, written again into tables alike, by one connection."""
    with psycopg.connect(url) as conn:
        texts = {}
        for table in TABLES:
            with conn.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                texts[table] = b"".join(bytes(block) for block in copy)
            conn.execute(f"CREATE TABLE raw_{table} (LIKE {table} INCLUDING ALL)".encode())
        conn.commit()
        started = time.perf_counter()
        for table in TABLES:
            with conn.cursor().copy(f"COPY raw_{table} FROM STDIN".encode()) as copy:
                copy.write(texts[table])
        conn.commit()
        return count / (time.perf_counter() - started)
