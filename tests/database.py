"""The databases tests run against: one server for the whole run, one migrated template, clones.

The server is the PostgreSQL of POSTPAID_TEST_DATABASE_URL, or else an embedded one that all
processes of the run share. Migrations run once; a clone of their result is a copy of files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from postpaid.storage import embedded

FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
RUN = "postpaid_test_" + os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
TEMPLATE = f"{RUN}_template"
TEMPLATE_LOCK = 8420_0002  # pg_advisory_lock: one process makes, copies or drops the template

_serial = count(1)


@contextmanager
def server(shared: Path) -> Iterator[str]:
    """The URL of the run's server; ``shared`` is a directory all processes of the run know."""
    if url := os.environ.get("POSTPAID_TEST_DATABASE_URL"):
        yield url
        _drop_template(url)
    else:
        with embedded.start(shared / "postgresql", settings=FORGETFUL) as running:
            yield running.url
            _drop_template(running.url)


@contextmanager
def clone(server_url: str) -> Iterator[str]:
    """The URL of a migrated, empty database of one's own, dropped at the end."""
    name = _new_name()
    with _template_locked(server_url) as conn:
        if TEMPLATE not in _databases(conn):
            _make_template(conn, server_url)
        _run(conn, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    with _dropped(server_url, name) as url:
        yield url


@contextmanager
def empty(server_url: str) -> Iterator[str]:
    """The URL of a database of one's own that knows no migration, dropped at the end."""
    name = _new_name()
    with psycopg.connect(server_url, autocommit=True) as conn:
        _run(conn, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
    with _dropped(server_url, name) as url:
        yield url


def _new_name() -> str:
    return f"{RUN}_{WORKER}_{next(_serial)}"


@contextmanager
def _dropped(server_url: str, name: str) -> Iterator[str]:
    try:
        yield make_conninfo(server_url, dbname=name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            _run(conn, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def _template_locked(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
        yield conn


def _make_template(conn: psycopg.Connection, server_url: str) -> None:
    """Migrate under another name first: what has the template's name is whole."""
    from postpaid.storage.database import migrate

    unfinished = f"{TEMPLATE}_unfinished"
    _run(conn, "DROP DATABASE IF EXISTS {}", unfinished)
    _run(conn, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", unfinished)
    migrate(make_conninfo(server_url, dbname=unfinished))
    _run(conn, "ALTER DATABASE {} RENAME TO {}", unfinished, TEMPLATE)


def _drop_template(server_url: str) -> None:
    """The last process of the run takes the template with it."""
    with _template_locked(server_url) as conn:
        if _databases(conn) == [TEMPLATE]:
            _run(conn, "DROP DATABASE {}", TEMPLATE)


def _databases(conn: psycopg.Connection) -> list[str]:
    """Those of this run."""
    named = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
    return [name for (name,) in conn.execute(named, (f"{RUN}_",))]


def _run(conn: psycopg.Connection, statement: str, *names: str) -> None:
    conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
