"""The whole engine behind a story: the API over a real database, and a worker."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stripe
from judging import JudgingClient
from town import HOUR, Town

import database as databases
from frame_client import Frame
from postpaid import clock, worker
from postpaid.api.server import create_app
from postpaid.billing import manage_keys
from postpaid.billing.audit import audit
from postpaid.config import Settings
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault
from receiver import LOOPBACK
from serving import serve


@pytest.fixture(scope="module")
def engine(server_url: str) -> Iterator[tuple[str, Database]]:
    """The API's base URL and its database, with a worker that does what is due, and never fails."""
    with databases.clone(server_url) as url, _failures_logged() as failures:
        database = Database(url, pool_size=16, vault=Vault.of_new_key())
        stop = threading.Event()
        settings = Settings(webhook_allowed_networks=LOOPBACK)
        thread = threading.Thread(target=worker.run, args=(database, stop, settings))
        thread.start()
        try:
            with serve(create_app(database, settings)) as base:
                yield base, database
        finally:
            stop.set()
            thread.join()
            database.close()
    assert failures == []


@contextmanager
def _failures_logged() -> Iterator[list[str]]:
    """What the product logs as an error in the meantime: nothing, if all is well."""
    failures: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: failures.append(handler.format(record))  # type: ignore[method-assign]
    log = logging.getLogger("postpaid")
    log.addHandler(handler)
    try:
        yield failures
    finally:
        log.removeHandler(handler)


@pytest.fixture
def town(engine: tuple[str, Database]) -> Iterator[Town]:
    """A merchant; afterwards another hour must change nothing, and the audit must be silent."""
    base, database = engine
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=clock.now())
        key = manage_keys.create_key(conn, account, now=clock.now())
    judge = JudgingClient()
    client = stripe.StripeClient(
        key.secret,
        http_client=judge,
        base_addresses={"api": base, "files": base, "meter_events": base, "connect": base},
    )
    town = Town(client, base, key.secret, database, judge)
    yield town
    _let_an_hour_pass(town)
    assert audit(database) == []


@pytest.fixture
def frame(town: Town) -> Iterator[Frame]:
    """Frame's API for the same merchant."""
    with Frame(town.base, town.secret) as client:
        yield client


def _let_an_hour_pass(town: Town) -> None:
    """Time alone changes nothing of what is billed once everything due has been done."""
    clocks = town.client.v1.test_helpers.test_clocks.list({"limit": 100}).data
    before = _books(town, clocks)
    for each in clocks:
        town.advance(each.id, each.frozen_time + HOUR)
    assert _books(town, clocks) == before


def _books(town: Town, clocks: list[stripe.test_helpers.TestClock]) -> list[dict[str, Any]]:
    """Every invoice and every subscription, as they are."""
    pages: list[Any] = [town.client.v1.invoices.list({"limit": 100})]
    for each in clocks:
        asked = {"limit": 100, "status": "all", "test_clock": each.id}
        pages.append(town.client.v1.subscriptions.list(asked))  # type: ignore[arg-type]
    return [each.to_dict() for page in pages for each in page.auto_paging_iter()]
