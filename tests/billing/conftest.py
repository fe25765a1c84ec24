"""A database in which tests commit, each in an account of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import database as databases
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault


@pytest.fixture(scope="module")
def database(server_url: str) -> Iterator[Database]:
    with databases.clone(server_url) as url:
        opened = Database(url, pool_size=8, vault=Vault.of_new_key())
        yield opened
        opened.close()
