"""The official SDK's clients, and a server that has only gadgets."""

import uuid
from collections.abc import Iterator

import gadgets
import httpx
import pytest
import stripe

from postpaid import clock
from postpaid.api.server import create_app
from postpaid.billing import manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.config import Settings
from postpaid.storage.database import Database
from serving import plain_http, serve


@pytest.fixture(scope="session")
def gadget_server(database: Database) -> Iterator[str]:
    """The base URL of an API that has only gadgets."""
    with database.transaction() as conn:
        conn.execute(gadgets.SCHEMA)
    settings = Settings(body_bytes_max=20_000)
    with serve(create_app(database, settings, resources=[gadgets.routes])) as url:
        yield url


@pytest.fixture
def gadget_http(gadget_server: str, key: IssuedKey) -> Iterator[httpx.Client]:
    """Plain HTTP to the API of gadgets, with the account's key."""
    with plain_http(gadget_server, key.secret) as client:
        yield client


@pytest.fixture
def stripe_client(server: str, key: IssuedKey) -> stripe.StripeClient:
    """The official SDK, with the account's key."""
    return stripe.StripeClient(
        key.secret,
        base_addresses={"api": server, "files": server, "meter_events": server, "connect": server},
    )


@pytest.fixture
def stranger(server: str, database: Database) -> stripe.StripeClient:
    """The official SDK, with the key of another account."""
    with database.transaction() as conn:
        name, now = uuid.uuid4().hex, clock.now()
        account = manage_keys.open_account(conn, name, livemode=False, now=now)
        key = manage_keys.create_key(conn, account, now=now)
    return stripe.StripeClient(key.secret, base_addresses={"api": server})
