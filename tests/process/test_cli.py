"""The small commands, and what is said when something stands in the way."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
from command import PATIENCE_S, POSTPAID, environment, run


def test_help_names_every_command() -> None:
    shown = run("--help").stdout
    for command in ("serve", "worker", "migrate", "demo", "audit", "keys", "usage"):
        assert f" {command} " in shown


def test_migrating_twice_is_migrating_once(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")
    first = run("migrate", "--database-url", fresh_database_url)
    again = run("migrate", "--database-url", fresh_database_url)
    assert first.stdout.startswith("Applied 0001_")
    assert again.stdout == "The schema is up to date.\n"


def test_a_worker_works_until_it_is_told_to_end(fresh_database_url: str) -> None:
    worker = subprocess.Popen(
        [POSTPAID, "worker", "--database-url", fresh_database_url],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "The worker is running.\n"
    worker.send_signal(signal.SIGTERM)
    assert worker.communicate(timeout=PATIENCE_S) == ("", "")
    assert worker.returncode == 0


def test_an_audit_is_silent_or_fails(fresh_database_url: str) -> None:
    assert run("audit", "--database-url", fresh_database_url).returncode == 0
    with psycopg.connect(fresh_database_url) as conn:
        conn.execute(
            "WITH series AS (INSERT INTO usage_series (account_id, customer_id, meter_id)"
            " VALUES (1, 'cus_lost', 'mtr_1') RETURNING series_id)"
            " INSERT INTO usage_hours (series_id, hour, sum, count)"
            " SELECT series_id, '2026-01-01', 7, 1 FROM series"
        )
    found = run("audit", "--database-url", fresh_database_url)
    assert found.returncode == 1
    assert "6" in found.stdout
    assert "cus_lost" in found.stdout


def test_a_list_of_no_webhooks_says_so(fresh_database_url: str) -> None:
    run("keys", "create", "--mode=test", "--database-url", fresh_database_url)
    listed = run("webhooks", "list", "--mode=test", "--database-url", fresh_database_url)
    assert listed.stdout == "There are no webhook endpoints in test mode.\n"


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("serve", "--port", str(port))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Cannot listen on 127.0.0.1, port {port}: Address already in use. Choose another --port.\n"
    )


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none(port: str) -> None:
    refused = run("serve", "--port", port)
    assert refused.returncode == 2
    assert "Invalid value for '--port'" in refused.stderr


def test_a_database_that_is_not_there() -> None:
    refused = run("serve", "--port=0", POSTPAID_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("The database cannot be used: connection failed")


@pytest.mark.parametrize(
    ("url", "why"),
    [("shop", " (missing"), ("mysql://ada:secret@db/shop", ": it"), ("postgresql://?x=1", " (inv")],
)
def test_a_database_url_that_is_none(url: str, why: str) -> None:
    refused = run("migrate", "--database-url", url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"The database URL cannot be read{why}")
    assert "postgresql://user@host:5432/database" in refused.stderr
    assert "secret" not in refused.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "audit"])
def test_a_database_of_a_newer_version(command: str, fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url) as conn:
        conn.execute("INSERT INTO schema_migrations (name) VALUES ('9999_ahead')")
    port = ["--port=0"] if command == "serve" else []
    refused = run(command, *port, "--database-url", fresh_database_url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("A newer Postpaid has used this database.")


@pytest.mark.parametrize(
    "command",
    [
        ["audit"],
        ["ledger", "export", "--mode=test", "journal.csv"],
        ["usage", "export", "--mode=test"],
        ["usage", "drop", "--before=2020-01-01"],
        ["webhooks", "list", "--mode=test"],
    ],
    ids=" ".join,
)
def test_where_there_is_no_data_none_is_made_to_look_at(command: list[str], tmp_path: Path) -> None:
    for mistyped in (tmp_path / "dta", tmp_path):
        refused = run(*command, "--data-dir", mistyped)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            f"There is no data in {mistyped}. Choose another --data-dir, or a database with "
            "--database-url.\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    refused = run("serve", "--port=0", "--data-dir", tmp_path / "data")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "a file is in the way" in refused.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "audit"])
def test_one_database_at_a_time(command: str, tmp_path: Path) -> None:
    refused = run(command, "--data-dir", tmp_path, "--database-url", "postgresql://127.0.0.1/")
    assert refused.returncode == 2
    assert "not both" in refused.stderr
