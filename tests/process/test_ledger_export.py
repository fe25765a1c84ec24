"""`postpaid ledger export`: a journal for bookkeeping, and what cannot be written is said."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from command import run

import database as databases
from postpaid.storage.database import Database
from world import END, FEE, HOUR, World, make_world


@dataclass
class Books:
    """A database with two customers who paid for a month, and the account's name."""

    url: str
    world: World
    name: str

    def export(self, file: Path, *more: str) -> list[dict[str, str]]:
        done = run("ledger", "export", str(file), *self.flags, *more)
        assert (done.returncode, done.stderr) == (0, "")
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert done.stdout == f"Wrote {len(rows)} rows.\n"
        return rows

    @property
    def flags(self) -> list[str]:
        return ["--mode=test", "--account", self.name, "--database-url", self.url]


@pytest.fixture
def books(server_url: str) -> Iterator[Books]:
    with databases.clone(server_url) as url:
        database = Database(url, pool_size=2)
        world = make_world(database, 2)
        world.use(world.customer_ids, 1500)
        world.pass_time(END)
        world.pass_time(END + HOUR)
        with database.connection() as conn:
            name = conn.execute(
                "SELECT name FROM accounts WHERE account_id = %s", (world.act.account_id,)
            ).fetchone()
        assert name is not None
        yield Books(url, world, name[0])
        database.close()


def total(rows: list[dict[str, str]], account: str | None = None) -> Decimal:
    return sum(
        (
            Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
            for row in rows
            if account in (None, row["account"])
        ),
        Decimal(0),
    )


def test_a_journal_sums_to_zero(books: Books, tmp_path: Path) -> None:
    rows = books.export(tmp_path / "journal.csv")
    assert len(rows) == 2 * (3 + 2)
    assert total(rows) == 0
    assert total(rows, "cash") == 2 * Decimal(FEE + 500) / 100
    assert {row["date"] for row in rows} == {"2026-02-01"}
    assert {row["invoice"] for row in rows} == {each.number for each in books.world.invoices()}
    assert list(tmp_path.iterdir()) == [tmp_path / "journal.csv"]


def test_a_part_of_it(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "journal.csv"
    assert books.export(file, "--from", "2026-02-02") == []
    assert books.export(file, "--to", "2026-02-01") == []
    whole = books.export(file)
    assert books.export(file, "--from", "2026-02-01", "--to", "2026-02-01T11:51:41Z") == whole


def test_what_time_has_earned(books: Books, tmp_path: Path) -> None:
    rows = books.export(tmp_path / "journal.csv", "--recognized-until", "2026-05-01")
    earned = [row for row in rows if row["transaction"].startswith("recognized-")]
    assert [(row["date"], row["account"]) for row in earned] == [
        ("2026-02-28", "deferred_revenue"),
        ("2026-02-28", "revenue"),
        ("2026-03-31", "deferred_revenue"),
        ("2026-03-31", "revenue"),
    ]
    assert total(rows) == total(rows, "deferred_revenue") == 0
    assert total(rows, "revenue") == -2 * Decimal(FEE + 500) / 100


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--account", "Nobody"], 1, "There is no account 'Nobody' in test mode."),
        (["--from", "yesterday"], 2, "--from is like 2026-01-01"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], 2, "--from must be before --to"),
    ],
    ids=["account", "day", "the wrong way round"],
)
def test_what_cannot_be_exported(
    books: Books, tmp_path: Path, more: list[str], code: int, says: str
) -> None:
    refused = run("ledger", "export", str(tmp_path / "journal.csv"), *books.flags, *more)
    assert refused.returncode == code
    assert says in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(books: Books, tmp_path: Path) -> None:
    refused = run("ledger", "export", str(tmp_path / "none" / "journal.csv"), *books.flags)
    assert refused.returncode == 1
    assert "Cannot write" in refused.stderr
