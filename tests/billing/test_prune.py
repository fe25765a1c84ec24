"""What is old is deleted, a batch at a time, and nothing that is still needed."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from postpaid import clock, ids, worker
from postpaid.billing import manage_keys
from postpaid.billing.audit import audit
from postpaid.billing.perform import Act, perform
from postpaid.billing.prune import Retention, prune
from postpaid.config import Settings
from postpaid.storage.database import Database
from world import END, HOUR, make_world

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP = Retention()


@pytest.fixture
def act(database: Database) -> Act:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOON)
    return Act(account.account_id, False, "key_1", NOON, ids.new_id)


def ask(database: Database, act: Act, key: str, *, api: str = "v1", at: datetime = NOON) -> bool:
    """Send a request with the key; whether it was done now."""
    done = replace(act, api=api, now=at, idempotency_key=key, request_id=ids.new_id("req"))
    answer = perform(database, done, "sell", {}, lambda conn: {"sold": True})
    return answer.original_request_id is None


def kept(database: Database, act: Act, table: str) -> int:
    with database.connection() as conn:
        query = f"SELECT FROM {table} WHERE account_id = %s"
        return conn.execute(query.encode(), (act.account_id,)).rowcount


def test_a_key_is_kept_for_as_long_as_was_promised(database: Database, act: Act) -> None:
    for api in ("v1", "v2"):
        assert ask(database, act, "k", api=api)
    prune(database, replace(act, now=NOON + DAY), KEEP)
    assert not ask(database, act, "k")
    prune(database, replace(act, now=NOON + DAY + HOUR), KEEP)
    assert ask(database, act, "k", at=NOON + DAY + HOUR)  # it is fresh
    assert not ask(database, act, "k", api="v2")
    prune(database, replace(act, now=NOON + 30 * DAY + HOUR), KEEP)
    assert kept(database, act, "idempotency_keys") == 0


def test_old_keys_go_by_the_batch_the_oldest_first(database: Database, act: Act) -> None:
    for n in range(5):
        ask(database, act, f"k{n}", at=NOON + n * HOUR)
    later = replace(act, now=NOON + DAY + 4 * HOUR)
    assert prune(database, later, KEEP, limit=3) == 3
    assert prune(database, later, KEEP, limit=3) == 1
    assert prune(database, later, KEEP, limit=3) == 0
    assert not ask(database, act, "k4")


def test_accounts_lose_only_their_own(database: Database, act: Act) -> None:
    ask(database, act, "k")
    with database.transaction() as conn:
        other = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=True, now=NOON)
    prune(database, replace(act, account_id=other.account_id, now=NOON + 99 * DAY), KEEP)
    assert kept(database, act, "idempotency_keys") == 1


def test_a_key_that_somebody_is_finishing_stays(database: Database, act: Act) -> None:
    class Died(BaseException):
        pass

    def die(begun: object) -> None:
        raise Died

    asked = replace(act, idempotency_key="k", request_id="req_1")
    with pytest.raises(Died):
        perform(database, asked, "sell", {}, lambda conn: {}, die)  # type: ignore[arg-type]
    short = Retention(v1_keys=timedelta(seconds=1))
    prune(database, replace(act, now=NOON + timedelta(seconds=10)), short)
    assert kept(database, act, "idempotency_keys") == 1
    prune(database, replace(act, now=NOON + timedelta(minutes=10)), short)
    assert kept(database, act, "idempotency_keys") == 0


# ─── Events ──────────────────────────────────────────────────────────────────────────────────

MONTH = Retention(events=30 * DAY)


def test_events_are_kept_for_ever_unless_told_otherwise(database: Database) -> None:
    world = make_world(database, 2)
    world.pass_time(END + HOUR)
    there = kept(database, world.act, "events")
    assert there > 4
    future = replace(world.act, now=clock.now() + 999 * DAY)
    prune(database, future, KEEP)
    assert kept(database, world.act, "events") == there


def test_events_go_by_when_they_were_written_and_the_audit_misses_none(
    database: Database,
) -> None:
    """The world's month is long ago or to come; what counts is that it was written just now."""
    world = make_world(database, 2)
    world.pass_time(END + HOUR)
    there = kept(database, world.act, "events")
    prune(database, replace(world.act, now=clock.now() + 29 * DAY), MONTH)
    assert kept(database, world.act, "events") == there
    assert audit(database) == []
    after = replace(world.act, now=clock.now() + 31 * DAY)
    deleted = 0
    while batch := prune(database, after, MONTH, limit=3):
        assert batch <= 3
        deleted += batch
    assert (deleted, kept(database, world.act, "events")) == (there, 0)
    assert audit(database) == []


def test_an_event_that_is_still_to_be_delivered_stays(database: Database) -> None:
    world = make_world(database, 1)
    world.pass_time(END + HOUR)
    account_id = world.act.account_id
    with database.transaction() as conn:
        [(pending,), (settled,), *_] = conn.execute(
            "SELECT id FROM events WHERE account_id = %s ORDER BY id", (account_id,)
        ).fetchall()
        for event_id, status in ((pending, "pending"), (settled, "delivered")):
            conn.execute(
                "INSERT INTO webhook_deliveries (account_id, id, endpoint_id, event_id, subject_id,"
                " status, due_at, created_at, settled_at)"
                " VALUES (%s, %s, 'we_1', %s, 'in_1', %s, NULL, now(),"
                " CASE WHEN %s <> 'pending' THEN now() END)",
                (account_id, ids.new_id("whd"), event_id, status, status),
            )
    prune(database, replace(world.act, now=clock.now() + 31 * DAY), MONTH)
    with database.connection() as conn:
        left = conn.execute(
            "SELECT e.id, d.event_id FROM events e FULL JOIN webhook_deliveries d"
            " ON d.account_id = e.account_id AND d.event_id = e.id"
            " WHERE coalesce(e.account_id, d.account_id) = %s",
            (account_id,),
        ).fetchall()
    assert left == [(pending, pending)]


def test_a_worker_does_it(database: Database, act: Act) -> None:
    ask(database, act, "k", at=clock.now() - 2 * HOUR)
    ask(database, act, "new", at=clock.now())
    stop = threading.Event()
    settings = Settings(idempotency_retention=HOUR)
    running = threading.Thread(target=worker.run, args=(database, stop, settings))
    running.start()
    try:
        for _ in range(500):
            if kept(database, act, "idempotency_keys") == 1:
                break
            stop.wait(0.02)
    finally:
        stop.set()
        running.join()
    assert not ask(database, act, "new")
    assert ask(database, act, "k")
