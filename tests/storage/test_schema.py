"""schema.sql is what the migrations add up to."""

from __future__ import annotations

import re
import subprocess

import psycopg

import database
from postpaid.storage.embedded_programs import find_binaries
from postpaid.storage.schema import SCHEMA, render


def test_the_schema_on_paper_is_the_migrated_one(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url) as conn:
        assert SCHEMA.read_text() == render(conn), "run `make schema`"


def test_the_schema_on_paper_makes_the_same_database(
    server_url: str, fresh_database_url: str
) -> None:
    with database.empty(server_url) as url:
        with psycopg.connect(url) as conn:
            conn.execute(SCHEMA.read_bytes())
        assert dump(url) == dump(fresh_database_url)


def dump(url: str) -> list[str]:
    """All there is in a database, as PostgreSQL itself would copy it, brackets aside.

    An expression that was written down and read again may have others, and means the same.
    """
    pg_dump = find_binaries() / "pg_dump"
    text = subprocess.run(
        [pg_dump, "--schema-only", "--exclude-table=schema_migrations", "--dbname", url],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    without_its_own_commands = re.sub(r"^\\.*\n", "", text, flags=re.MULTILINE)
    return re.sub("[()]", "", without_its_own_commands).splitlines()
