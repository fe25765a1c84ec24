"""Usage counts once wherever it lies, while segments are sealed, indexed and dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from postpaid import worker
from postpaid.billing import backfill_usage, manage_meters
from postpaid.billing.audit import audit
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.keep_segments import KEPT_AT_LEAST, drop_segments, keep_segments
from postpaid.billing.record_usage import OutcomeKind, Recorded, Reported, record_usage
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation, UsageTotal
from postpaid.storage import usage_segments, usage_totals
from postpaid.storage.database import Database
from postpaid.storage.usage_totals import Window
from world import END, START, World, make_world

DAY = timedelta(days=1)
LATER = START + 100 * DAY


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    """A merchant alone in a database, because segments are everyone's."""
    database = Database(fresh_database_url, pool_size=12)
    yield make_world(database, 2)
    database.close()


def send(
    world: World, *references: str, value: str = "1", name: str = "api_call", now: datetime = START
) -> Recorded:
    reported = Reported(
        [name] * len(references),
        [{"stripe_customer_id": world.customer_ids[0], "value": value}] * len(references),
        list(references),
        [int(START.timestamp()) * 1000] * len(references),
    )
    with world.database.transaction() as conn:
        return record_usage(conn, world.at(now), reported)


def total(world: World, meter_id: str | None = None) -> UsageTotal:
    window = Window(
        world.customer_ids[0], meter_id or world.meter_id, START - 60 * DAY, START + 60 * DAY
    )
    with world.database.connection() as conn:
        [found] = usage_totals.totals(conn, world.act.account_id, [window])
    return found


def keep(world: World, **given: Any) -> int:
    return keep_segments(world.database, **({"now": LATER, "bytes_max": 1} | given))


def statuses(world: World) -> list[str]:
    with world.database.connection() as conn:
        return [each.status for each in usage_segments.list_all(conn)]


def test_what_is_full_is_sealed_and_indexed(world: World) -> None:
    assert keep(world) == 0
    send(world, "a", "b")
    assert keep(world) == 2
    assert statuses(world) == ["indexed", "open"]
    assert keep(world) == 0


def test_what_is_neither_full_nor_old_is_let_be(world: World) -> None:
    send(world, "a")
    with world.database.connection() as conn:
        opened_at = usage_segments.find_open(conn).opened_at
    for days, done in ((30, 0), (31, 2), (62, 0)):
        assert keep(world, now=opened_at + days * DAY, bytes_max=1 << 30) == done


def test_what_was_sealed_by_one_who_died_is_indexed_by_the_next(world: World) -> None:
    send(world, "a")
    with world.database.transaction() as conn:
        usage_segments.rotate(conn, 1, now=LATER)
    assert send(world, "a").kinds == ["duplicate"]
    assert keep(world) == 1
    assert statuses(world) == ["indexed", "open"]
    assert send(world, "a").kinds == ["duplicate"]


def test_a_repeat_is_told_from_a_conflict_in_every_segment(world: World) -> None:
    send(world, "indexed")
    keep(world)
    send(world, "sealed")
    with world.database.transaction() as conn:
        usage_segments.rotate(conn, 2, now=LATER)
    send(world, "open")
    everywhere = ("indexed", "sealed", "open")
    assert send(world, *everywhere, "new").kinds == ["duplicate"] * 3 + ["accepted"]
    assert send(world, *everywhere, value="2").kinds == ["conflict"] * 3
    assert total(world).sum == 4
    assert audit(world.database) == []


def test_threads_that_send_the_same_while_segments_turn_count_it_once(world: World) -> None:
    references = [f"r{n}" for n in range(160)]
    stop = threading.Event()

    def turn() -> int:
        turned = 0
        while not stop.is_set():
            turned += keep(world)
        return turned

    def sender(n: int) -> int:
        mine = references[::-1] if n % 2 else references
        accepted = 0
        for start in range(0, len(mine), 8):
            accepted += send(world, *mine[start : start + 8]).kinds.count(OutcomeKind.ACCEPTED)
        return accepted

    with ThreadPoolExecutor(8) as threads:
        turning = [threads.submit(turn), threads.submit(turn)]
        try:
            accepted = sum(threads.map(sender, range(6)))
        finally:
            stop.set()
    assert sum(each.result() for each in turning) > 4
    assert accepted == total(world).sum == total(world).count == len(references)
    assert set(send(world, *references).kinds) == {"duplicate"}
    assert audit(world.database) == []


def test_events_are_cancelled_in_any_segment(world: World) -> None:
    send(world, "a", "b")
    keep(world)
    send(world, "c")
    with world.database.transaction() as conn:
        asked = [Cancellation("api_call", each) for each in ("a", "c")]
        assert cancel_usage(conn, world.act, asked) == {}
    assert total(world).count == 1
    assert send(world, "a").kinds == ["duplicate"]
    assert audit(world.database) == []


def test_the_worker_does_it(world: World) -> None:
    """What was left sealed is indexed as soon as a worker runs."""
    send(world, "a")
    with world.database.transaction() as conn:
        usage_segments.rotate(conn, 1, now=LATER)
    stop = threading.Event()
    running = threading.Thread(target=worker.run, args=(world.database, stop))
    running.start()
    while statuses(world) != ["indexed", "open"]:
        assert running.is_alive()
    stop.set()
    running.join()


# ─── Backfills ───────────────────────────────────────────────────────────────────────────────


def backfill(world: World, *references: str) -> str:
    reported = Reported(
        ["api_call"] * len(references),
        [{"stripe_customer_id": world.customer_ids[0], "value": "5"}] * len(references),
        list(references),
        [int(START.timestamp()) * 1000] * len(references),
    )
    with world.database.transaction() as conn:
        opened = backfill_usage.open_backfill(conn, world.act, event_name=None, description=None)
        record_usage(conn, world.act, reported, backfill_id=opened.id)
    return opened.id


def test_a_backfill_over_several_segments_is_closed_and_reverted(world: World) -> None:
    made = backfill(world, "a", "b")
    keep(world)
    send(world, "c")
    with world.database.transaction() as conn:
        backfill_usage.close_backfill(conn, world.act, made)
    assert total(world).sum == 11
    with world.database.transaction() as conn:
        backfill_usage.revert_backfill(conn, world.act, made)
    assert total(world).sum == 1
    assert send(world, "a", "b", "c").kinds == ["accepted", "accepted", "duplicate"]
    assert audit(world.database) == []


def test_backfills_are_reverted_while_segments_turn_and_free_their_identifiers(
    world: World,
) -> None:
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            keep(world)

    def work(n: int) -> None:
        for i in range(6):
            made = backfill(world, f"{n}-{i}-a", f"{n}-{i}-b")
            with world.database.transaction() as conn:
                if i % 2:
                    backfill_usage.close_backfill(conn, world.act, made)
                backfill_usage.revert_backfill(conn, world.act, made)
            assert send(world, f"{n}-{i}-a").kinds == ["accepted"]

    with ThreadPoolExecutor(5) as threads:
        turning = threads.submit(turn)
        try:
            list(threads.map(work, range(4)))
        finally:
            stop.set()
        turning.result()
    assert total(world).sum == 24
    assert audit(world.database) == []


# ─── Dropping ────────────────────────────────────────────────────────────────────────────────


def drop(world: World, before: datetime = LATER + DAY) -> list[int]:
    return drop_segments(world.database, before=before, now=before + KEPT_AT_LEAST)


def test_what_is_dropped_is_in_every_total_still(world: World) -> None:
    act = world.act
    with world.database.transaction() as conn:
        meter_ids = {
            name: manage_meters.create_meter(
                conn,
                act,
                display_name=name,
                event_name=name,
                aggregation=Aggregation(name),
                customer_key="stripe_customer_id",
                value_key="value",
            ).id
            for name in ("count", "last", "max", "unique", "p95")
        }
    send(world, "a", "b", value="600")
    for name in meter_ids:
        send(world, f"{name}-a", value="7", name=name)
        send(world, f"{name}-b", value="5", name=name)
    world.pass_time(END)
    world.pass_time(END + DAY)
    invoices = world.invoices()
    before = {each: total(world, each) for each in (world.meter_id, *meter_ids.values())}
    keep(world)
    assert drop(world) == [1]
    assert {each: total(world, each) for each in before} == before
    assert audit(world.database) == []
    assert world.invoices() == invoices
    assert send(world, "a", now=START + DAY).kinds == ["accepted"]
    assert send(world, "max-a", value="7", name="max").kinds == ["duplicate"]
    with world.database.transaction() as conn:
        assert cancel_usage(conn, act, [Cancellation("max", "max-a")]) == {}
        errors = cancel_usage(conn, act, [Cancellation("count", "count-a")])
        assert isinstance(errors[0], NotFound)
    assert total(world, meter_ids["max"]).max == Decimal(5)
    assert audit(world.database) == []


def test_only_what_is_sealed_and_old_is_dropped(world: World) -> None:
    send(world, "a")
    assert drop(world) == []
    keep(world, now=START + 10 * DAY)
    send(world, "b")
    keep(world, now=START + 20 * DAY)
    send(world, "c")
    assert drop(world, before=START + 10 * DAY) == []
    assert drop(world, before=START + 15 * DAY) == [1]
    assert statuses(world) == ["indexed", "open"]
    assert total(world).count == 3
    assert audit(world.database) == []


def test_what_may_still_change_is_not_dropped(world: World) -> None:
    with pytest.raises(InvalidRequest, match="at least 60 days") as refused:
        drop_segments(world.database, before=LATER, now=LATER + KEPT_AT_LEAST - DAY)
    assert refused.value.param == ("before",)


def test_a_closed_backfill_whose_events_are_dropped_cannot_be_reverted(world: World) -> None:
    made, still_open = backfill(world, "a"), backfill(world, "b")
    with world.database.transaction() as conn:
        backfill_usage.close_backfill(conn, world.act, made)
    keep(world)
    drop(world)
    with (
        pytest.raises(ActionNotAllowed, match="raw events were dropped"),
        world.database.transaction() as conn,
    ):
        backfill_usage.revert_backfill(conn, world.act, made)
    with world.database.transaction() as conn:
        backfill_usage.close_backfill(conn, world.act, still_open)
    assert total(world).sum == 10
    assert audit(world.database) == []


def test_the_audit_misses_an_identifier_that_is_not_taken(world: World) -> None:
    send(world, "a", "b")
    keep(world)
    with world.database.transaction() as conn:
        conn.execute("DELETE FROM usage_references WHERE reference = 'a'")
    [finding] = audit(world.database)
    assert (finding.invariant, finding.rows) == (6, [(world.act.account_id, 1, "a")])
