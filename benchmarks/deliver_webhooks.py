"""Deliver webhooks: what a cycle's close announced, from the outbox to a receiver next door.

The worker runs as an operator runs it, by ``postpaid worker``, kept to one core. The receiver is a
process of its own, on the other cores, where PostgreSQL may be too.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import aiohttp
import msgspec
from cryptography.fernet import Fernet

from benchmarks import cores, receiver
from benchmarks.figures import Figure
from benchmarks.receiver import Counted, Receiver
from benchmarks.server import KEY, serving
from benchmarks.world import World, make_world, subscribe_all
from postpaid import clock
from postpaid.api.stripe import events as stripe_events
from postpaid.billing import manage_keys
from postpaid.billing.pass_time import close_due_periods, finalize_due_drafts
from postpaid.billing.perform import Act
from postpaid.core.invoicing import GRACE
from postpaid.storage import events
from postpaid.storage.database import Database
from postpaid.storage.paging import Page

BATCH = 500
CONNECTIONS = 32
PATIENCE_S = 600
HEADERS = {  # as long as ours, which are signed
    "content-type": "application/json; charset=utf-8",
    "stripe-signature": "t=1767264700,v1=" + "0" * 64,
    "webhook-signature": "v1," + "0" * 44,
    "webhook-timestamp": "1767264700",
}


def run(url: str, scale: float) -> list[Figure]:
    """Deliveries a second, beside the same bytes posted by the same library and nothing else."""
    variables = {
        "POSTPAID_DATABASE_URL": url,
        "POSTPAID_SECRET_KEY": Fernet.generate_key().decode(),
        "POSTPAID_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    database = Database(url)
    with receiver.running() as receiving:
        _register(url, receiving, variables)
        world = _announce(database, customers=max(200, int(2_000 * scale)))
        bodies = _bodies(database, world.act)
        with _delivering(variables):
            delivered = _received(receiving, of=len(bodies))
        receiving.forget()
        with cores.on_the_first():
            asyncio.run(_post(receiving, bodies))
        posted = _received(receiving, of=len(bodies))
    database.close()
    kilobytes = sum(map(len, bodies.values())) / len(bodies) / 1000
    return [
        Figure(
            "deliver webhooks, one endpoint, one core",
            _per_s(delivered),
            "deliveries/s",
            _per_s(posted),
            "aiohttp posting the same, one core",
            "1,000/s",
            f"{len(bodies):,} events of {kilobytes:.1f} kB,"
            f" {delivered.requests - delivered.different} sent twice",
        )
    ]


def _register(url: str, receiving: Receiver, variables: dict[str, str]) -> None:
    """An endpoint for everything, made by the API; nobody delivers to it yet."""
    with serving(url, workers=1, **variables) as (host, port):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request(
            "POST",
            "/v1/webhook_endpoints",
            urlencode({"url": receiving.url, "enabled_events[0]": "*"}),
            {
                "authorization": f"Bearer {KEY}",
                "content-type": "application/x-www-form-urlencoded",
            },
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()


def _announce(database: Database, *, customers: int) -> World:
    """Close a period for each of the customers: some events each, several of them of an invoice."""
    now = clock.now().replace(microsecond=0)
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, manage_keys.FIRST_ACCOUNT, livemode=False, now=now)
    world = make_world(database, customers=customers, account_id=account.account_id)
    world = replace(world, act=world.act.at(now, None))
    subscribe_all(database, world, since=now - timedelta(days=40))
    while close_due_periods(database, world.act, now):
        pass
    while finalize_due_drafts(database, world.act.at(now + GRACE, None), now):
        pass
    with database.connection() as conn:
        conn.execute("VACUUM ANALYZE")
    return world


def _bodies(database: Database, act: Act) -> dict[str, bytes]:
    """Every event by its id, as it is delivered."""
    bodies: dict[str, bytes] = {}
    page = Page(limit=BATCH)
    more = True
    with database.connection() as conn:
        while more:
            found = events.list_page(conn, act.account_id, page)
            shown = stripe_events.to_stripe(conn, act, found.rows)
            bodies |= {str(each["id"]): msgspec.json.encode(each) for each in shown}
            page, more = Page(limit=BATCH, after=found.rows[-1].id), found.has_more
    return bodies


@contextmanager
def _delivering(variables: dict[str, str]) -> Iterator[None]:
    """A worker on one core."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from postpaid.cli import main; main()", "worker"],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
    )
    cores.keep_on_the_first(process.pid)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _post(receiving: Receiver, bodies: dict[str, bytes]) -> None:
    """Nothing but posting, on as many connections as are of use."""
    waiting = iter(bodies.items())

    async def post(session: aiohttp.ClientSession) -> None:
        for event_id, body in waiting:
            headers = HEADERS | {"webhook-id": event_id}
            async with session.post(receiving.url, data=body, headers=headers) as response:
                assert response.status == 200
                await response.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(post(session) for _ in range(CONNECTIONS)))


def _received(receiving: Receiver, *, of: int) -> Counted:
    """What has been counted, once everything has come."""
    deadline = time.monotonic() + PATIENCE_S
    while (counted := receiving.counted()).different < of:
        assert time.monotonic() < deadline, f"{counted.different} of {of} came"
        time.sleep(0.1)
    return counted


def _per_s(counted: Counted) -> float:
    return (counted.different - 1) / (counted.last_at - counted.first_at)
