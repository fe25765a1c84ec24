"""Migrations are applied once each, whole or not at all, by whoever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import database
from postpaid.storage.database import MIGRATIONS, SchemaTooNew, migrate, migrations


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    """A database that knows no migration."""
    with database.empty(server_url) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations, the second with a check of its own."""
    (tmp_path / "0001_shelf.sql").write_text("CREATE TABLE shelves (width integer);")
    (tmp_path / "0002_book.sql").write_text("CREATE TABLE books (title text);")
    (tmp_path / "0002_book.check.sql").write_text("SELECT title FROM books;")
    (tmp_path / "README.md").write_text("Not SQL.")
    return tmp_path


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384"
        )
        return {name for (name,) in found} - {"schema_migrations"}


def test_ours_are_all_applied(url: str) -> None:
    names = [name for name, _ in migrations(MIGRATIONS)]
    assert migrate(url) == names
    assert {"accounts", "customers", "invoices", "usage_events"} <= tables(url)


def test_a_second_time_there_is_nothing_to_do(url: str, folder: Path) -> None:
    assert migrate(url, folder) == ["0001_shelf", "0002_book"]
    assert migrate(url, folder) == []


def test_a_new_one_is_applied_to_what_was_there(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0003_width.sql").write_text("ALTER TABLE shelves ADD depth integer;")
    assert migrate(url, folder) == ["0003_width"]


def test_what_somebody_newer_has_migrated_is_left_alone(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0002_book.sql").rename(folder / "0001_zoo.sql")
    with pytest.raises(SchemaTooNew, match="0002_book"):
        migrate(url, folder)
    assert tables(url) == {"shelves", "books"}


def test_of_many_at_once_each_migration_is_applied_by_one(url: str, folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        applied = list(threads.map(lambda _: migrate(url, folder), range(8)))
    assert sorted(applied, key=len)[:7] == [[]] * 7
    assert tables(url) == {"shelves", "books"}


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("0002_book.sql", "CREATE TABLE books (); SELECT 1 / 0;", psycopg.errors.DivisionByZero),
        ("0002_book.check.sql", "SELECT 1 / 0;", psycopg.errors.DivisionByZero),
        ("0002_book.sql", "CREATE TABLE books (", psycopg.errors.SyntaxError),
    ],
    ids=["that fails half way", "whose check fails", "that is not SQL"],
)
def test_one_that_fails_leaves_nothing_and_can_be_tried_again(
    url: str, folder: Path, name: str, text: str, error: type[Exception]
) -> None:
    right = (folder / name).read_text()
    (folder / name).write_text(text)
    for _ in range(2):
        with pytest.raises(error):
            migrate(url, folder)
        assert tables(url) == {"shelves"}
    (folder / name).write_text(right)
    assert migrate(url, folder) == ["0002_book"]


def test_one_waits_for_no_lock_for_ever(url: str, folder: Path) -> None:
    """Or everyone who comes after it would wait as well."""
    migrate(url, folder)
    (folder / "0003_timeout.sql").write_text(
        "DO $$ BEGIN ASSERT current_setting('lock_timeout') <> '0'; END $$;"
    )
    assert migrate(url, folder) == ["0003_timeout"]
