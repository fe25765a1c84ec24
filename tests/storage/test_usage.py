"""Usage is stored once, however it arrives, and found again as it was."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metered import Stored, store_usage
from postpaid.storage import usage, usage_segments, usage_totals
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage import UsageEvent
from postpaid.storage.usage_totals import Window
from rows import ACCOUNT, NOW, add

CUSTOMERS, METERS = ("cus_1", "cus_2"), ("mtr_1", "mtr_2")
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

references = st.sampled_from(["a", "A", "b", "B", "aa", "a-", "é", "z", "~", "1", "10", "9", "字"])
awkward = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
) | st.sampled_from(["NULL", "null", "{}", '"', "\\", '\\"', ",", "a,b", " ", "{a}", "'", "%s"])
events = st.builds(
    Stored,
    reference=references | awkward,
    meter_id=st.sampled_from(METERS),
    customer_id=st.sampled_from(CUSTOMERS) | awkward,
    occurred_at=st.builds(
        lambda milliseconds: MIDNIGHT + timedelta(milliseconds=milliseconds),
        st.integers(-40_000_000, 40_000_000),
    ),
    value=st.decimals(-(10**15), 10**15, places=12) | st.integers(-9, 9).map(Decimal),
)
each_example_starts_empty = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def event(reference: str, value: int, occurred_at: datetime = MIDNIGHT) -> Stored:
    return Stored(reference, "mtr_1", "cus_1", occurred_at, Decimal(value))


def load(conn: Connection, *references: str, account_id: int = ACCOUNT) -> dict[str, Stored]:
    """What is stored under these references, without what storage adds by itself."""
    return {
        reference: Stored(
            found.reference,
            found.meter_id,
            found.customer_id,
            found.occurred_at,
            found.value,
            found.received_at,
        )
        for reference, found in usage.load(conn, account_id, references).items()
    }


@given(st.lists(events, max_size=30), st.lists(st.integers(0, 30), max_size=5))
@each_example_starts_empty
def test_of_a_reference_the_first_is_kept_in_whatever_batches_they_came(
    conn: psycopg.Connection, reported: list[Stored], cuts: list[int]
) -> None:
    first: dict[str, Stored] = {}
    with conn.transaction(force_rollback=True):
        for start, end in pairwise([0, *sorted(cuts), len(reported)]):
            batch = reported[start:end]
            new = {event.reference for event in batch} - set(first)
            assert store_usage(conn, ACCOUNT, batch) == new
            for event in batch:
                first.setdefault(event.reference, replace(event, received_at=event.occurred_at))
        assert load(conn, *first) == first


def test_an_event_is_found_as_it_was_stored(conn: Connection) -> None:
    received_at = MIDNIGHT + HOUR
    store_usage(conn, ACCOUNT, [replace(event("x", 5), received_at=received_at)])
    [found] = usage.load(conn, ACCOUNT, ["x", "y"]).values()
    assert found == UsageEvent(
        reference="x",
        series_id=found.series_id,
        customer_id="cus_1",
        meter_id="mtr_1",
        occurred_at=MIDNIGHT,
        received_at=received_at,
        value=Decimal(5),
        payload=None,
        counted=True,
        backfill_id=None,
        canceled_at=None,
    )


def test_accounts_have_references_of_their_own(conn: Connection) -> None:
    assert store_usage(conn, ACCOUNT, [event("x", 1)]) == {"x"}
    assert store_usage(conn, ACCOUNT - 1, [event("x", 2)]) == {"x"}
    assert load(conn, "x")["x"].value == 1
    assert load(conn, "x", account_id=ACCOUNT - 1)["x"].value == 2


def test_a_reference_is_taken_wherever_its_event_lies(conn: Connection) -> None:
    """In the open segment, in one that is sealed, and in one whose references are indexed."""
    store_usage(conn, ACCOUNT, [event("indexed", 1)])
    usage_segments.rotate(conn, 1, now=MIDNIGHT)
    usage_segments.index(conn, 1)
    store_usage(conn, ACCOUNT, [event("sealed", 1)])
    usage_segments.rotate(conn, 2, now=MIDNIGHT)
    store_usage(conn, ACCOUNT, [event("open", 1)])
    again = [event(each, 2) for each in ("indexed", "sealed", "open", "new")]
    assert store_usage(conn, ACCOUNT, again) == {"new"}
    assert {each.value for each in load(conn, "indexed", "sealed", "open").values()} == {Decimal(1)}


# ─── Series ──────────────────────────────────────────────────────────────────────────────────


def test_a_series_is_made_once(conn: Connection) -> None:
    pairs = [("cus_1", "mtr_1"), ("cus_2", "mtr_1")]
    ids, made = usage.make_series(conn, ACCOUNT, pairs[:1])
    assert made == list(ids.values())
    both, made = usage.make_series(conn, ACCOUNT, pairs)
    assert both[pairs[0]] == ids[pairs[0]]
    assert made == [both[pairs[1]]]
    assert usage.make_series(conn, ACCOUNT, pairs) == (both, [])
    others, _ = usage.make_series(conn, ACCOUNT - 1, pairs)
    assert set(others.values()).isdisjoint(both.values())


def test_the_series_of_customers_are_those_that_are_there(conn: Connection) -> None:
    add(conn, "test_clocks")
    add(conn, "customers")
    add(conn, "customers", id="cus_clock", invoice_prefix="CLOCK", clock_id="clock_1")
    add(conn, "customers", id="cus_gone", invoice_prefix="GONE", deleted_at=MIDNIGHT)
    ids, _ = usage.make_series(conn, ACCOUNT, [("cus_clock", "mtr_1"), ("cus_gone", "mtr_1")])
    asked = [(each, "mtr_1") for each in ("cus_1", "cus_clock", "cus_gone", "cus_no", "a\0b")]
    found = usage.load_series(conn, ACCOUNT, asked)
    assert {pair: (each.series_id, each.frozen_at) for pair, each in found.items()} == {
        ("cus_1", "mtr_1"): (0, None),
        ("cus_clock", "mtr_1"): (ids["cus_clock", "mtr_1"], NOW),
    }


# ─── Arrays ──────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.none() | awkward | st.just(""), max_size=8))
@each_example_starts_empty
def test_texts_are_read_back_as_they_were(
    conn: psycopg.Connection, texts: list[str | None]
) -> None:
    [read] = conn.execute("SELECT %s::text[]", (usage.text_array(texts),)).fetchall()
    assert read == (texts,)


@given(st.lists(st.decimals(-(10**15), 10**15, places=12) | st.integers(-(10**18), 10**18)))
@each_example_starts_empty
def test_numbers_are_read_back_as_they_were(
    conn: psycopg.Connection, numbers: list[int | Decimal]
) -> None:
    [read] = conn.execute("SELECT %s::numeric[]", (usage.number_array(numbers),)).fetchall()
    assert read == (numbers,)
    nullable = [None, *numbers, None]
    [read] = conn.execute("SELECT %s::numeric[]", (usage.nullable_array(nullable),)).fetchall()
    assert read == (nullable,)


# ─── Many at once ────────────────────────────────────────────────────────────────────────────


def test_many_at_once_count_each_event_once(fresh_database_url: str) -> None:
    """Each thread reports all events, in batches and an order of its own, and none deadlocks."""
    everything = [
        Stored(f"event-{n}", METERS[n % 2], CUSTOMERS[n % 3 % 2], at, Decimal(n))
        for n in range(400)
        for at in [MIDNIGHT + n * timedelta(minutes=3)]
    ]
    database = Database(fresh_database_url, pool_size=8)

    def report(seed: int) -> list[str]:
        mine = random.Random(seed).sample(everything, len(everything))
        new: list[str] = []
        for start in range(0, len(mine), 50):
            with database.transaction() as conn:
                new += store_usage(conn, ACCOUNT, mine[start : start + 50])
        return new

    with ThreadPoolExecutor(8) as threads:
        stored = [reference for new in threads.map(report, range(8)) for reference in new]
    assert sorted(stored) == sorted(event.reference for event in everything)
    asked = [
        Window(customer_id, meter_id, MIDNIGHT + start * HOUR, MIDNIGHT + 20 * HOUR)
        for customer_id in CUSTOMERS
        for meter_id in METERS
        for start in (0, 0.7)
    ]
    expected = [
        [
            each
            for each in everything
            if (each.customer_id, each.meter_id) == pair
            and window.start <= each.occurred_at < window.end
        ]
        for window in asked
        for pair in [(window.customer_id, window.meter_id)]
    ]
    with database.connection() as conn:
        found = usage_totals.totals(conn, ACCOUNT, asked)
    assert [(each.sum, each.count, each.last_at) for each in found] == [
        (sum(each.value for each in within), len(within), max(each.occurred_at for each in within))
        for within in expected
    ]
    database.close()
