"""`postpaid usage drop`: old raw events go, and what cannot be dropped is said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from command import run

import database as databases
from postpaid import clock
from postpaid.storage import usage_segments
from postpaid.storage.database import Database
from world import make_world

DAY = timedelta(days=1)


@pytest.fixture
def old_url(server_url: str) -> Iterator[str]:
    """A database with usage of half a year ago in a segment that was sealed then."""
    with databases.clone(server_url) as url:
        database = Database(url, pool_size=2)
        then = clock.now() - 180 * DAY
        world = make_world(database, 1, start=then)
        world.use(world.customer_ids, 7)
        with database.transaction() as conn:
            usage_segments.rotate(conn, 1, now=then + DAY)
            usage_segments.index(conn, 1)
        yield url
        database.close()


def test_old_raw_events_are_dropped_and_the_audit_is_silent(old_url: str) -> None:
    before = f"{clock.now() - 100 * DAY:%Y-%m-%d}"
    dropped = run("usage", "drop", "--before", before, "--database-url", old_url)
    assert (dropped.returncode, dropped.stdout) == (0, "Dropped 1 segment of raw events.\n")
    again = run("usage", "drop", "--before", before, "--database-url", old_url)
    assert (again.returncode, again.stdout) == (0, "Dropped 0 segments of raw events.\n")
    assert run("audit", "--database-url", old_url).stdout.strip() == "Everything holds."


def test_what_is_not_old_enough_is_refused(old_url: str) -> None:
    refused = run("usage", "drop", "--before", f"{clock.now():%Y-%m-%d}", "--database-url", old_url)
    assert refused.returncode == 1
    assert "Raw events are kept for at least 60 days." in refused.stderr
    unclear = run("usage", "drop", "--before", "yesterday", "--database-url", old_url)
    assert unclear.returncode == 2
    assert "--before is like 2026-01-01" in unclear.stderr
