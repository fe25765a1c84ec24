"""The server over a real database, and clients of an account that is new in every test."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from postpaid import clock
from postpaid.api.server import create_app
from postpaid.billing import manage_keys
from postpaid.billing.manage_keys import IssuedKey
from postpaid.config import Settings
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault
from serving import plain_http, serve


@pytest.fixture(scope="session")
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, pool_size=8, vault=Vault.of_new_key())
    yield database
    database.close()


@pytest.fixture(scope="session")
def server(database: Database) -> Iterator[str]:
    """The base URL of the product's API."""
    with serve(create_app(database, Settings())) as url:
        yield url


@pytest.fixture
def account(database: Database) -> Account:
    """A test-mode account that no other test knows."""
    return new_account(database)


@pytest.fixture
def key(database: Database, account: Account) -> IssuedKey:
    """A key of the account."""
    return new_key(database, account)


@pytest.fixture
def other_key(database: Database) -> IssuedKey:
    """A key of some other account."""
    return new_key(database, new_account(database))


def new_account(database: Database) -> Account:
    with database.transaction() as conn:
        return manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=clock.now())


def new_key(database: Database, account: Account) -> IssuedKey:
    with database.transaction() as conn:
        return manage_keys.create_key(conn, account, now=clock.now())


@pytest.fixture
def http(server: str, key: IssuedKey) -> Iterator[httpx.Client]:
    """Plain HTTP, with the account's key."""
    with plain_http(server, key.secret) as client:
        yield client
