"""`postpaid serve`: what it starts, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from command import PATIENCE_S, Serve, children_of, running_in, runs

OK = {"status": "ok"}

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes in /proc"
)


def test_an_empty_directory_becomes_a_server_with_a_key(serve: Serve, tmp_path: Path) -> None:
    server = serve("--data-dir", tmp_path / "data")
    assert server.get("/health").json() == OK
    assert server.get("/v1/customers", server.key).json()["data"] == []
    assert server.get("/v1/customers", "sk_test_of_nobody").status_code == 401

    assert server.end() == 0
    assert server.errors.read_text() == ""
    assert running_in(tmp_path) == []


def test_servers_come_and_go_and_the_data_stays(serve: Serve, tmp_path: Path) -> None:
    killed = serve("--data-dir", tmp_path / "data")
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL

    heir = serve("--data-dir", tmp_path / "data")
    assert heir.key is None
    assert heir.get("/v1/customers", killed.key).status_code == 200

    neighbour = serve("--data-dir", tmp_path / "data")
    assert neighbour.url != heir.url
    assert heir.end() == 0
    assert neighbour.get("/v1/customers", killed.key).status_code == 200

    assert neighbour.end() == 0
    assert running_in(tmp_path) == []


def test_the_operator_chooses_database_and_key(serve: Serve, fresh_database_url: str) -> None:
    chosen = {"POSTPAID_API_KEY": "sk_test_chosen_by_the_operator"}
    server = serve("--database-url", fresh_database_url, **chosen)
    assert chosen["POSTPAID_API_KEY"] not in server.said
    assert server.get("/v1/customers", chosen["POSTPAID_API_KEY"]).status_code == 200
    assert server.end() == 0


def test_several_processes_serve_as_one(serve: Serve, fresh_database_url: str) -> None:
    server = serve("--database-url", fresh_database_url, "--workers=2")
    children = children_of(server.process.pid)
    assert {server.get("/v1/customers", server.key).status_code for _ in range(20)} == {200}

    assert server.end(signal.SIGTERM) == 0
    assert server.errors.read_text() == ""
    assert not any(map(runs, children))


@needs_proc
def test_a_process_that_dies_is_replaced(serve: Serve, fresh_database_url: str) -> None:
    server = serve("--database-url", fresh_database_url, "--workers=2")
    first, second = children_of(server.process.pid)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while len(children := children_of(server.process.pid)) < 2 or first in children:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert second in children
    assert server.get("/health").json() == OK
    assert server.end() == 0
    assert f"Process {first} ended" in server.errors.read_text()


@needs_proc
@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_that_is_killed_is_started_again(
    serve: Serve, tmp_path: Path, workers: int
) -> None:
    """Nobody has to do anything, and who asks in the meantime waits a little, or asks again."""
    server = serve("--data-dir", tmp_path / "data", f"--workers={workers}")
    pid_file = tmp_path / "data" / "postgres" / "postmaster.pid"
    for _ in range(2):
        killed = int(pid_file.read_text().split("\n")[0])
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while runs(killed) or server.get("/health").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.get("/v1/customers", server.key).status_code == 200
    assert server.end() == 0
    assert server.errors.read_text().count("PostgreSQL was gone; it has been started again.") == 2
    assert running_in(tmp_path) == []


@needs_proc
def test_no_process_outlives_the_one_that_started_it(serve: Serve, fresh_database_url: str) -> None:
    server = serve("--database-url", fresh_database_url, "--workers=2")
    children = children_of(server.process.pid)
    server.end(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while any(map(runs, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
