"""The whole engine, as a story sees it: the API, the official client, a clock, and the worker."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import database as databases
import pytest
import stripe
from serving import serve

from postpaid import clock, worker
from postpaid.api.server import create_app
from postpaid.billing import manage_keys
from postpaid.billing.audit import audit
from postpaid.config import Settings
from postpaid.storage.database import Database

MONTH_BEGINS = 1767264700  # 2026-01-01 10:51:40 UTC, a second like any other
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture(scope="session")
def engine(server_url: str) -> Iterator[tuple[str, Database]]:
    """The API's base URL and its database, with a worker that does what is due."""
    with databases.clone(server_url) as url:
        database = Database(url, pool_size=16)
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(database, stop))
        thread.start()
        with serve(create_app(database, Settings())) as base:
            yield base, database
        stop.set()
        thread.join()
        database.close()


@dataclass(frozen=True)
class Town:
    """A merchant's account of its own, with the official client for it."""

    client: stripe.StripeClient
    base: str
    secret: str
    database: Database

    def clock(self, frozen_time: int = MONTH_BEGINS) -> str:
        return self.client.v1.test_helpers.test_clocks.create({"frozen_time": frozen_time}).id

    def advance(self, clock_id: str, to: int) -> None:
        """Let the clock's time pass, and wait until everything due has been done."""
        clocks = self.client.v1.test_helpers.test_clocks
        assert clocks.advance(clock_id, {"frozen_time": to}).status == "advancing"
        for _ in range(2000):
            if (now := clocks.retrieve(clock_id)).status == "ready":
                return
            assert now.status == "advancing", now.status
            time.sleep(0.01)
        raise AssertionError("The clock never arrived.")

    def customer(self, clock_id: str | None, card: str = "pm_card_visa", **more: Any) -> str:
        """A customer who pays with a test card."""
        given = {"name": "Ada", **more} | ({"test_clock": clock_id} if clock_id else {})
        customer = self.client.v1.customers.create(given)  # type: ignore[arg-type]
        method = self.client.v1.payment_methods.attach(card, {"customer": customer.id})
        self.client.v1.customers.update(
            customer.id, {"invoice_settings": {"default_payment_method": method.id}}
        )
        return customer.id

    def meter(self, event_name: str = "api_call", formula: str = "sum") -> str:
        meter = self.client.v1.billing.meters.create(
            {
                "display_name": event_name,
                "event_name": event_name,
                "default_aggregation": {"formula": formula},  # type: ignore[typeddict-item]
            }
        )
        return meter.id

    def price(self, **given: Any) -> str:
        """A monthly price in dollars unless told otherwise."""
        given.setdefault("product_data", {"name": "Calls"})
        recurring = {"interval": "month", **given.pop("recurring", {})}
        price = self.client.v1.prices.create(
            {"currency": "usd", "recurring": recurring, **given}  # type: ignore[typeddict-item]
        )
        return price.id

    def use(self, customer_id: str, value: str, *, event_name: str = "api_call", **more: Any) -> None:
        self.client.v1.billing.meter_events.create(
            {
                "event_name": event_name,
                "payload": {"stripe_customer_id": customer_id, "value": value},
                **more,  # type: ignore[typeddict-item]
            }
        )

    def invoices(self, subscription_id: str) -> list[stripe.Invoice]:
        """Oldest first."""
        found = self.client.v1.invoices.list({"subscription": subscription_id, "limit": 100})
        return list(reversed(found.data))


@pytest.fixture
def town(engine: tuple[str, Database]) -> Iterator[Town]:
    """A merchant; afterwards the audit must be silent."""
    base, database = engine
    with database.transaction() as conn:
        account = manage_keys.open_account(
            conn, uuid.uuid4().hex, livemode=False, now=clock.now()
        )
        key = manage_keys.create_key(conn, account, now=clock.now())
    client = stripe.StripeClient(
        key.secret,
        base_addresses={"api": base, "files": base, "meter_events": base, "connect": base},
    )
    yield Town(client, base, key.secret, database)
    assert audit(database) == []
