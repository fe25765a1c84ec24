"""PostgreSQL understands every query: a misspelt column fails here, by the name of its query."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import psycopg
import pytest

from postpaid import storage

STATEMENT = re.compile(r"\n+(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|MERGE INTO)\b")
FRAGMENTS = {"usage_totals.ASKED"}  # what queries begin with, and is none itself
PARAMETER = re.compile(r"%\((\w+)\)s")


def queries() -> Iterator[tuple[str, str]]:
    """The statements among the constants in capitals, by the name of their module and theirs."""
    for module in pkgutil.iter_modules(storage.__path__):
        for name, value in vars(import_module(f"postpaid.storage.{module.name}")).items():
            full = f"{module.name}.{name}"
            if not name.isupper() or not isinstance(value, str) or full in FRAGMENTS:
                continue
            if STATEMENT.match(value):
                yield full, value


def numbered(query: str) -> str:
    """The query with PostgreSQL's own parameters: ``$1`` for the first name, and so on."""
    names = list(dict.fromkeys(PARAMETER.findall(query)))
    return PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query).replace("%%", "%")


QUERIES = dict(queries())


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_compiles(conn: psycopg.Connection, name: str) -> None:
    conn.execute(f"PREPARE it AS {numbered(QUERIES[name])}".encode())


def test_the_queries_are_found() -> None:
    assert {"invoices.LOAD", "usage.INSERT", "database.APPLIED", "subscriptions.UPDATE"} <= set(
        QUERIES
    )


def test_a_misspelt_column_does_not_compile(conn: psycopg.Connection) -> None:
    misspelt = QUERIES["invoices.LOAD"].replace("customer_id", "custumer_id")
    with pytest.raises(psycopg.errors.UndefinedColumn, match="custumer_id"):
        conn.execute(f"PREPARE it AS {numbered(misspelt)}".encode())
