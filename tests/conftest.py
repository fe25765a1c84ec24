"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import database

# What a run leaves behind to look at stays in this folder, and not in the machine's.
TEMPORARY = Path(__file__).parent.parent / ".pytest_cache" / "tmp"
TEMPORARY.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(TEMPORARY))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of the run's server, to administer it with."""
    own = tmp_path_factory.getbasetemp()
    with database.server(own if database.WORKER == "main" else own.parent) as url:
        yield url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    """A migrated database that this process's tests share; what they commit, they see."""
    with database.clone(server_url) as url:
        yield url


@pytest.fixture
def fresh_database_url(server_url: str) -> Iterator[str]:
    """A migrated, empty database for one test that commits."""
    with database.clone(server_url) as url:
        yield url


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection in a transaction that is rolled back; transactions within are savepoints."""
    with (
        psycopg.connect(database_url) as connection,
        connection.transaction(force_rollback=True),
    ):
        yield connection
