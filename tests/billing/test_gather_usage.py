"""Requests that are recorded together are each answered as if they had been alone."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from postpaid import ids
from postpaid.billing import manage_customers, manage_keys, manage_meters
from postpaid.billing.gather_usage import Waiting, gather_usage
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Recorded, Reported, record_usage
from postpaid.core.errors import AlreadyExists, Conflict, IdempotencyMismatch, InvalidRequest
from postpaid.core.metering import Aggregation
from postpaid.storage import usage_conflicts
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from statements import counted

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

Respond = Callable[[Connection, Act, Recorded], Mapping[str, Any]]


@dataclass(frozen=True)
class Merchant:
    """An account with a meter of calls and a customer."""

    database: Database
    act: Act
    customer_id: str

    def ask(
        self,
        *identifiers: str | None,
        value: str = "1",
        key: str | None = None,
        respond: Respond | None = None,
        actor: str = "key_1",
    ) -> Waiting:
        """A request that reports an event of each identifier."""
        payload = {"customer": self.customer_id, "value": value}
        count = len(identifiers)
        return Waiting(
            act=replace(self.act, request_id=ids.new_id("req"), idempotency_key=key, actor=actor),
            operation="report",
            parameters={"identifiers": list(identifiers), "value": value},
            reported=Reported(
                ["call"] * count, [payload] * count, list(identifiers), [None] * count
            ),
            respond=respond or answered,
        )

    def gather(self, *waiting: Waiting) -> None:
        gather_usage(self.database, waiting)

    def stored(self) -> dict[str, Decimal]:
        """The values of the events that are stored, by identifier."""
        return dict(self.rows("SELECT reference, value FROM usage_events"))

    def total(self) -> Decimal:
        """What the hours say that the events add up to."""
        [(total,)] = self.rows(
            "SELECT coalesce(sum(h.sum), 0) FROM usage_hours h JOIN usage_series USING (series_id)"
        )
        return Decimal(total)

    def keys(self) -> list[str]:
        """The idempotency keys that are remembered."""
        return [key for (key,) in self.rows("SELECT key FROM idempotency_keys")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.connection() as conn:
            mine = f"{query} WHERE account_id = %s"
            return conn.execute(mine.encode(), (self.act.account_id,)).fetchall()


def answered(conn: Connection, act: Act, recorded: Recorded) -> Mapping[str, Any]:
    """As v1 does it: what is wrong with an event is raised."""
    for error in recorded.errors.values():
        raise error
    return {"identifiers": recorded.references}


@pytest.fixture
def merchant(database: Database) -> Merchant:
    return make_merchant(database)


def make_merchant(database: Database) -> Merchant:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOW)
        act = Act(account.account_id, False, "key_1", NOW, ids.new_id, "req_0")
        manage_meters.create_meter(
            conn,
            act,
            display_name="Calls",
            event_name="call",
            aggregation=Aggregation.SUM,
            customer_key="customer",
            value_key="value",
        )
        customer = manage_customers.create_customer(conn, act, {})
    return Merchant(database, act, customer.id)


def bodies(*waiting: Waiting) -> list[Any]:
    """What was answered; an error shows as its kind."""
    return [each.answer.body if each.answer else type(each.error) for each in waiting]


# ─── Each on its own ─────────────────────────────────────────────────────────────────────────


def test_everyone_gets_an_answer_of_its_own(merchant: Merchant) -> None:
    waiting = [merchant.ask(f"a-{n}", f"b-{n}") for n in range(50)]
    merchant.gather(*waiting)
    assert bodies(*waiting) == [{"identifiers": [f"a-{n}", f"b-{n}"]} for n in range(50)]
    assert merchant.total() == 100


def test_together_they_take_as_many_statements_as_one(merchant: Merchant) -> None:
    """Without keys; and with keys two more."""
    merchant.gather(merchant.ask("first"))  # the series is there
    assert statements(merchant, [merchant.ask("a")]) == statements(
        merchant, [merchant.ask(f"b-{n}") for n in range(40)]
    )
    assert statements(merchant, [merchant.ask("c", key="c")]) == statements(
        merchant, [merchant.ask(f"d-{n}", key=f"d-{n}") for n in range(40)]
    )


def statements(merchant: Merchant, waiting: Sequence[Waiting]) -> int:
    """How many statements it takes to record these."""
    database = Counting(merchant.database.url, pool_size=1)
    gather_usage(database, waiting)
    database.close()
    assert all(each.answer for each in waiting)
    return database.count


class Counting(Database):
    """A database that counts what it is asked."""

    count = 0

    @contextmanager
    def transaction(self) -> Any:
        with super().transaction() as conn, counted(conn) as found:
            yield conn
        self.count += len(found)


def test_what_is_wrong_with_one_costs_the_others_nothing(merchant: Merchant) -> None:
    good, bad, better = merchant.ask("a"), merchant.ask("b", value="?"), merchant.ask("c")
    merchant.gather(good, bad, better)
    assert bodies(good, bad, better) == [
        {"identifiers": ["a"]},
        InvalidRequest,
        {"identifiers": ["c"]},
    ]
    assert merchant.stored().keys() == {"a", "c"}


def test_one_that_fails_unexpectedly_fails_alone(merchant: Merchant) -> None:
    """What nobody foresaw takes the transaction down; then each is tried by itself."""

    def poison(*_: Any) -> Mapping[str, Any]:
        raise ZeroDivisionError

    waiting = [merchant.ask(f"{n}", key=f"{n}") for n in range(5)]
    waiting[2] = merchant.ask("2", key="2", respond=poison)
    merchant.gather(*waiting)
    assert bodies(*waiting) == [
        ZeroDivisionError if n == 2 else {"identifiers": [f"{n}"]} for n in range(5)
    ]
    assert merchant.stored().keys() == {"0", "1", "3", "4"}
    assert sorted(merchant.keys()) == ["0", "1", "3", "4"]
    assert merchant.total() == 4


def test_what_is_made_up_stays_the_same_when_it_is_tried_again(merchant: Merchant) -> None:
    """An event without an identifier is given one once, whatever happens to its neighbours."""
    seen: list[str] = []

    def look(conn: Connection, act: Act, recorded: Recorded) -> Mapping[str, Any]:
        seen.extend(recorded.references)
        return {}

    def poison(*_: Any) -> Mapping[str, Any]:
        raise ZeroDivisionError

    merchant.gather(merchant.ask(None, respond=look), merchant.ask("x", respond=poison))
    assert len(seen) == 2
    assert set(merchant.stored()) == set(seen)


def test_one_identifier_in_two_requests_is_of_the_first(merchant: Merchant) -> None:
    first, same, other = merchant.ask("x"), merchant.ask("x"), merchant.ask("x", value="2")
    merchant.gather(first, same, other)
    assert bodies(first, same, other) == [{"identifiers": ["x"]}, AlreadyExists, AlreadyExists]
    assert merchant.stored() == {"x": Decimal(1)}


def test_a_conflict_is_kept_with_the_key_that_sent_it(merchant: Merchant) -> None:
    merchant.gather(
        merchant.ask("x", actor="key_1"),
        merchant.ask("x", value="2", actor="key_2"),
        merchant.ask("x", value="3", actor="mes_3"),
    )
    with merchant.database.connection() as conn:
        kept = usage_conflicts.list_page(conn, merchant.act.account_id, Page(10)).rows
    assert {(each.value, each.actor) for each in kept} == {("2", "key_2"), ("3", "mes_3")}


def test_accounts_share_a_gather_and_nothing_else(database: Database) -> None:
    """The same identifiers and the same keys: each account has its own."""
    merchants = [make_merchant(database) for _ in range(3)]
    waiting = [
        each.ask("x", value=f"{n + 1}", key="k") for n, each in enumerate(reversed(merchants))
    ]
    gather_usage(database, waiting)
    assert bodies(*waiting) == [{"identifiers": ["x"]}] * 3
    assert [each.stored() for each in merchants] == [
        {"x": Decimal(3)},
        {"x": Decimal(2)},
        {"x": Decimal(1)},
    ]


def test_gathers_of_several_accounts_do_not_wait_for_one_another_in_a_circle(
    database: Database,
) -> None:
    merchants = [make_merchant(database) for _ in range(2)]
    listening = Listening(database.url, pool_size=4)

    def report(thread: int) -> list[Waiting]:
        done = []
        for n in range(40):
            mine = merchants if thread % 2 else merchants[::-1]
            waiting = [each.ask(f"{thread}-{n}", actor=f"key_{n % 3}") for each in mine]
            gather_usage(listening, waiting)
            done += waiting
        return done

    with ThreadPoolExecutor(4) as threads:
        done = [each for found in threads.map(report, range(4)) for each in found]
    listening.close()
    assert {type(each.error) for each in done} == {type(None)}
    assert [each.total() for each in merchants] == [160, 160]
    assert listening.conflicts == []


class Listening(Database):
    """A database that notes who deadlocked, or waited too long."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        super().__init__(url, pool_size=pool_size)
        self.conflicts: list[Conflict] = []

    @contextmanager
    def transaction(self) -> Any:
        try:
            with super().transaction() as conn:
                yield conn
        except Conflict as conflict:
            self.conflicts.append(conflict)
            raise


def test_whoever_notes_what_was_rejected_does_not_wait_in_a_circle(merchant: Merchant) -> None:
    """Silent requests of one gather note it together, in the order in which all do."""
    listening = Listening(merchant.database.url, pool_size=4)

    def report(thread: int) -> None:
        for n in range(40):
            bad = merchant.ask(f"bad-{thread}-{n}", value="?", respond=silence)
            unknown = merchant.ask(f"unknown-{thread}-{n}", respond=silence)
            unknown.reported.event_names[0] = "nothing"
            bad.silent = unknown.silent = True
            waiting = [bad, unknown] if thread % 2 else [unknown, bad]
            gather_usage(listening, waiting)
            assert bodies(*waiting) == [{}, {}]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(report, range(4))) == [None] * 4
    listening.close()
    assert listening.conflicts == []
    counts = merchant.rows("SELECT code, count FROM usage_rejections")
    assert dict(counts) == {"no_meter": 160, "meter_event_invalid_value": 160}


def silence(*_: Any) -> Mapping[str, Any]:
    return {}


# ─── Keys ────────────────────────────────────────────────────────────────────────────────────


def test_a_repeat_of_a_key_gets_the_first_answer(merchant: Merchant) -> None:
    first, again = merchant.ask("x", key="k"), merchant.ask("x", key="k")
    merchant.gather(first)
    merchant.gather(again)
    assert bodies(first, again) == [{"identifiers": ["x"]}] * 2
    assert first.answer is not None
    assert again.answer is not None
    assert first.answer.original_request_id is None
    assert again.answer.original_request_id == first.act.request_id
    assert merchant.total() == 1


def test_a_key_that_comes_twice_in_one_gather_is_recorded_once(merchant: Merchant) -> None:
    """Also where the event has no identifier of its own."""
    waiting = [merchant.ask(None, key="k") for _ in range(4)]
    merchant.gather(*waiting, merchant.ask("other"))
    [stored] = set(merchant.stored()) - {"other"}
    assert bodies(*waiting) == [{"identifiers": [stored]}] * 4
    replays = [each.answer.original_request_id for each in waiting if each.answer]
    assert replays == [None] + [waiting[0].act.request_id] * 3


def test_a_key_says_one_thing_only(merchant: Merchant) -> None:
    first, other = merchant.ask("x", key="k"), merchant.ask("y", key="k")
    merchant.gather(first, other)
    later = merchant.ask("z", key="k")
    merchant.gather(later)
    assert bodies(first, other, later) == [
        {"identifiers": ["x"]},
        IdempotencyMismatch,
        IdempotencyMismatch,
    ]
    assert merchant.stored().keys() == {"x"}


def test_what_was_rejected_does_not_remember_its_key(merchant: Merchant) -> None:
    bad = merchant.ask("x", value="?", key="k")
    merchant.gather(bad)
    assert (bodies(bad), merchant.keys()) == ([InvalidRequest], [])
    good = merchant.ask("x", value="1", key="k")
    merchant.gather(good)
    assert bodies(good) == [{"identifiers": ["x"]}]


def test_a_rejected_key_is_free_for_the_next_in_the_same_gather(merchant: Merchant) -> None:
    bad, good = merchant.ask("x", value="?", key="k"), merchant.ask("x", key="k")
    merchant.gather(bad, good)
    assert bodies(bad, good) == [InvalidRequest, {"identifiers": ["x"]}]


def test_of_gathers_that_race_for_a_key_one_records_it(merchant: Merchant) -> None:
    """Eight at once, each with the same keys in another order, and with something of its own."""
    rounds = 10
    ready = threading.Barrier(8)

    def report(thread: int) -> list[Waiting]:
        done = []
        for n in range(rounds):
            keys = [f"{n}-{k}" for k in range(5)]
            shift = thread % 5
            waiting = [merchant.ask(None, key=key) for key in keys[shift:] + keys[:shift]] + [
                merchant.ask(f"own-{thread}-{n}")
            ]
            ready.wait()
            merchant.gather(*waiting)
            done += waiting
        return done

    with ThreadPoolExecutor(8) as threads:
        done = [each for found in threads.map(report, range(8)) for each in found]
    assert {type(each.error) for each in done} == {type(None)}
    by_key: dict[str | None, set[str]] = {}
    firsts: Counter[str | None] = Counter()
    for each in done:
        assert each.answer is not None
        key = each.act.idempotency_key
        by_key.setdefault(key, set()).add(str(each.answer.body))
        firsts[key] += each.answer.original_request_id is None
    del by_key[None], firsts[None]
    assert {len(said) for said in by_key.values()} == {1}
    assert set(firsts.values()) == {1}
    assert len(merchant.stored()) == merchant.total() == rounds * 5 + 8 * rounds


# ─── The connection is lost ──────────────────────────────────────────────────────────────────


def cut(conn: Connection, *_: Any) -> Mapping[str, Any]:
    """Somebody ends the connection in the middle of the transaction."""
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
    conn.execute("SELECT 1")
    raise AssertionError("It goes on.")


def test_when_the_connection_is_lost_nobody_is_told_what_is_not_known(merchant: Merchant) -> None:
    """And nothing is tried again by itself: it may have been stored."""
    lost = [merchant.ask("a", key="a"), merchant.ask(None), merchant.ask("c", respond=cut)]
    merchant.gather(*lost)
    assert [isinstance(each.error, psycopg.OperationalError) for each in lost] == [True] * 3
    assert not any(each.answer for each in lost)
    assert merchant.stored() == {}
    assert merchant.total() == 0
    assert merchant.keys() == []

    again = [merchant.ask("a", key="a"), merchant.ask("c")]
    merchant.gather(*again)
    assert bodies(*again) == [{"identifiers": ["a"]}, {"identifiers": ["c"]}]
    assert merchant.total() == 2


def test_when_the_answer_to_the_commit_is_lost_a_repeat_finds_what_was_stored(
    merchant: Merchant,
) -> None:
    """The worst moment: all is stored, and nobody was told."""
    deaf = Deaf(merchant.database.url, pool_size=1)
    lost = [merchant.ask("a", key="a"), merchant.ask("b")]
    gather_usage(deaf, lost)
    deaf.close()
    assert [isinstance(each.error, psycopg.OperationalError) for each in lost] == [True] * 2

    keyed, plain = merchant.ask("a", key="a"), merchant.ask("b")
    merchant.gather(keyed, plain)
    assert bodies(keyed, plain) == [{"identifiers": ["a"]}, AlreadyExists]
    assert merchant.stored() == {"a": Decimal(1), "b": Decimal(1)}
    assert merchant.total() == 2


class Deaf(Database):
    """A database whose word that it has committed is lost on the way."""

    @contextmanager
    def transaction(self) -> Any:
        with super().transaction() as conn:
            yield conn
        raise psycopg.OperationalError("server closed the connection unexpectedly")


def test_who_waited_too_long_for_another_is_told_to_try_again(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the one that holds the event has an answer; it costs the others nothing."""
    merchant.gather(merchant.ask("first"))
    with merchant.database.transaction() as conn:
        holding = merchant.ask("x")
        monkeypatch.setattr("postpaid.storage.database.LOCK_TIMEOUT", "50ms")
        hurried = Database(merchant.database.url, pool_size=2)
        record_usage(conn, merchant.act, holding.reported)
        waiting = [merchant.ask("x"), merchant.ask("y")]
        gather_usage(hurried, waiting)
        assert bodies(*waiting) == [Conflict, Conflict]  # the hour's total is held as well
    gather_usage(hurried, again := [merchant.ask("x"), merchant.ask("y")])
    hurried.close()
    assert bodies(*again) == [AlreadyExists, {"identifiers": ["y"]}]
    assert merchant.total() == 3
