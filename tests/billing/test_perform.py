"""A keyed request happens once, and everyone who asks with the key gets the one answer."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postpaid import ids
from postpaid.billing import manage_keys, perform
from postpaid.billing.perform import LEASE, Act, Answer
from postpaid.core.errors import Conflict, IdempotencyInUse, IdempotencyMismatch, InvalidRequest
from postpaid.storage import idempotency
from postpaid.storage.database import Connection, Database

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Died(BaseException):
    """What the process does in the middle of its work."""


class Shop:
    """Work that counts how often it was done, and that a test can make fail."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.finished: list[dict[str, Any]] = []
        self.failure: BaseException | None = None

    def begin(self, conn: Connection) -> dict[str, Any]:
        self.begun.append("now")
        conn.execute("INSERT INTO sales VALUES ('one')")
        self.fail()
        return {"sale": len(self.begun)}

    def finish(self, begun: Any) -> Answer:
        self.finished.append(begun)
        self.fail()
        return Answer(402, {"declined": len(self.finished)})

    def fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure:
            raise failure


@pytest.fixture
def shop(database: Database) -> Shop:
    with database.transaction() as conn:
        conn.execute("DROP TABLE IF EXISTS sales; CREATE TABLE sales (what text)")
    return Shop()


@pytest.fixture
def act(database: Database) -> Act:
    """An act with a key, in an account of its own."""
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=NOON)
    return Act(account.account_id, False, "key_1", NOON, ids.new_id, "req_1", "its key")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "PATIENCE_S", 0.01)
    monkeypatch.setattr(perform, "PAUSE_S", 0.001)


def later(act: Act, wait: timedelta) -> Act:
    return replace(act, now=act.now + wait, request_id=ids.new_id("req"))


def in_one(
    database: Database, act: Act, shop: Shop, operation: str = "sell", **given: Any
) -> Answer:
    return perform.perform(database, act, operation, given, shop.begin)


def in_two(database: Database, act: Act, shop: Shop, **given: Any) -> Answer:
    return perform.perform(database, act, "sell", given, shop.begin, shop.finish)


def rows(database: Database, table: str, account_id: int) -> list[tuple[Any, ...]]:
    with database.connection() as conn:
        query = f"SELECT * FROM {table} WHERE account_id = %s"
        return conn.execute(query.encode(), (account_id,)).fetchall()


def sales(database: Database) -> int:
    with database.connection() as conn:
        return conn.execute("SELECT FROM sales").rowcount


# ─── Once ────────────────────────────────────────────────────────────────────────────────────


def test_a_repeat_gets_the_answer_and_is_told_whose_it_is(
    database: Database, act: Act, shop: Shop
) -> None:
    assert in_one(database, act, shop, a=1, b=2) == Answer(200, {"sale": 1})
    again = in_one(database, later(act, SECOND), shop, b=2, a=1)
    assert again == Answer(200, {"sale": 1}, original_request_id="req_1")
    assert (shop.begun, sales(database)) == (["now"], 1)


def test_an_answer_in_two_steps_is_remembered_with_its_status(
    database: Database, act: Act, shop: Shop
) -> None:
    assert in_two(database, act, shop) == Answer(402, {"declined": 1})
    again = in_two(database, later(act, SECOND), shop)
    assert again == Answer(402, {"declined": 1}, original_request_id="req_1")
    assert (len(shop.begun), shop.finished) == (1, [{"sale": 1}])


@pytest.mark.parametrize("way", [in_one, in_two])
def test_of_twenty_at_once_one_is_done_and_all_are_told(
    database: Database, act: Act, shop: Shop, way: Any
) -> None:
    together = threading.Barrier(20)

    def ask(_: int) -> Answer:
        together.wait()
        return way(database, replace(act, request_id=ids.new_id("req")), shop)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(20)))
    assert len(shop.begun) == sales(database) == 1
    assert [each.body for each in answers] == [answers[0].body] * 20
    [original] = [each for each in answers if each.original_request_id is None]
    [(_, first, *_)] = rows(database, "acts", act.account_id)
    assert {each.original_request_id for each in answers if each is not original} == {first}


def test_without_a_key_everything_is_done_and_nothing_remembered(
    database: Database, act: Act, shop: Shop
) -> None:
    for request_id in ("req_1", "req_2"):
        in_one(database, replace(act, idempotency_key=None, request_id=request_id), shop)
    in_two(database, replace(act, idempotency_key=None, request_id="req_3"), shop)
    assert (len(shop.begun), len(shop.finished)) == (3, 1)
    assert rows(database, "idempotency_keys", act.account_id) == []


def test_accounts_have_keys_of_their_own(database: Database, act: Act, shop: Shop) -> None:
    in_one(database, act, shop)
    assert in_one(database, replace(act, account_id=-1), shop).body == {"sale": 2}


# ─── For one request ─────────────────────────────────────────────────────────────────────────


def test_a_key_is_for_one_request(database: Database, act: Act, shop: Shop) -> None:
    in_one(database, act, shop, price=1)
    for operation, given in (
        ("sell", {"price": 2}),
        ("sell", {}),
        ("sell", {"price": "1"}),
        ("buy", {"price": 1}),
    ):
        with pytest.raises(IdempotencyMismatch, match="a key other than 'its key'"):
            in_one(database, later(act, SECOND), shop, operation, **given)
    assert len(shop.begun) == 1
    assert in_one(database, later(act, SECOND), shop, price=1).body == {"sale": 1}


# ─── What fails ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failure", [InvalidRequest("No."), Died()], ids=["refused", "died"])
@pytest.mark.parametrize("way", [in_one, in_two])
def test_work_that_fails_leaves_nothing_and_can_be_tried_again(
    database: Database, act: Act, shop: Shop, way: Any, failure: BaseException
) -> None:
    shop.failure = failure
    with pytest.raises(type(failure)):
        way(database, act, shop)
    assert sales(database) == 0
    assert rows(database, "acts", act.account_id) == []
    assert rows(database, "idempotency_keys", act.account_id) == []
    assert way(database, later(act, SECOND), shop).original_request_id is None
    assert (len(shop.begun), sales(database)) == (2, 1)


@pytest.fixture
def half_done(database: Database, act: Act, shop: Shop) -> Act:
    """An act whose process died while it was finishing."""

    def die(begun: Any) -> Answer:
        raise Died

    with pytest.raises(Died):
        perform.perform(database, act, "sell", {}, shop.begin, die)
    return act


@pytest.mark.usefixtures("impatient")
def test_a_repeat_waits_while_the_first_may_be_alive(
    database: Database, half_done: Act, shop: Shop
) -> None:
    with pytest.raises(IdempotencyInUse, match="in-progress request using the key 'its key'"):
        in_two(database, later(half_done, LEASE - SECOND), shop)
    assert (len(shop.begun), shop.finished) == (1, [])


def test_a_repeat_finishes_what_was_begun_and_begins_nothing(
    database: Database, half_done: Act, shop: Shop
) -> None:
    after = later(half_done, LEASE + SECOND)
    assert in_two(database, after, shop) == Answer(402, {"declined": 1})
    assert (len(shop.begun), sales(database), shop.finished) == (1, 1, [{"sale": 1}])
    again = in_two(database, later(after, SECOND), shop)
    assert again == Answer(402, {"declined": 1}, original_request_id="req_1")
    assert len(shop.finished) == 1


def test_of_many_repeats_one_finishes(database: Database, half_done: Act, shop: Shop) -> None:
    with ThreadPoolExecutor(8) as threads:
        acts = [later(half_done, LEASE + SECOND) for _ in range(8)]
        answers = list(threads.map(lambda each: in_two(database, each, shop), acts))
    assert {each.body["declined"] for each in answers} == {1}
    assert len(shop.finished) == 1


def test_a_repeat_that_dies_too_is_followed_by_another(
    database: Database, half_done: Act, shop: Shop
) -> None:
    second = later(half_done, LEASE + SECOND)
    shop.failure = Died()
    with pytest.raises(Died):
        in_two(database, second, shop)
    third = later(second, LEASE + SECOND)
    assert in_two(database, third, shop) == Answer(402, {"declined": 2})
    assert len(shop.begun) == 1


@pytest.mark.usefixtures("impatient")
def test_a_repeat_that_dies_has_a_lease_of_its_own(
    database: Database, half_done: Act, shop: Shop
) -> None:
    second = later(half_done, LEASE + SECOND)
    shop.failure = Died()
    with pytest.raises(Died):
        in_two(database, second, shop)
    with pytest.raises(IdempotencyInUse):
        in_two(database, later(second, SECOND), shop)


def test_one_that_was_only_slow_gives_the_answer_that_was_given(
    database: Database, act: Act, shop: Shop
) -> None:
    """While it finishes, a repeat takes it for dead and answers in its place."""
    given: list[Answer] = []

    def slow(begun: Any) -> Answer:
        given.append(in_two(database, later(act, LEASE + SECOND), shop))
        return Answer(200, {"paid": "by now"})

    answer = perform.perform(database, act, "sell", {}, shop.begin, slow)
    assert (
        (answer.status, answer.body) == (given[0].status, given[0].body) == (402, {"declined": 1})
    )


@pytest.mark.usefixtures("impatient")
def test_a_repeat_is_patient_for_some_time_only(database: Database, act: Act, shop: Shop) -> None:
    def ask_again(begun: Any) -> Answer:
        with pytest.raises(IdempotencyInUse):
            in_two(database, later(act, SECOND), shop)
        return shop.finish(begun)

    perform.perform(database, act, "sell", {}, shop.begin, ask_again)
    assert len(shop.finished) == 1


def test_one_that_waits_too_long_for_a_row_is_told_to_try_again(
    database: Database, act: Act, shop: Shop
) -> None:
    """And then it can: nothing was claimed."""

    def wait(conn: Connection) -> dict[str, Any]:
        conn.execute("SET LOCAL lock_timeout = '1ms'")
        conn.execute("LOCK TABLE sales")
        return {}

    with database.transaction() as holder:
        holder.execute("LOCK TABLE sales")
        with pytest.raises(Conflict, match="try again"):
            perform.perform(database, act, "sell", {}, wait)
    assert in_one(database, later(act, SECOND), shop).body == {"sale": 1}


# ─── Who did what ────────────────────────────────────────────────────────────────────────────


def test_each_accepted_request_is_written_down_once(
    database: Database, act: Act, shop: Shop
) -> None:
    in_two(database, act, shop)
    in_two(database, later(act, SECOND), shop)
    in_one(database, replace(act, idempotency_key=None, request_id="req_2", actor="key_2"), shop)
    assert sorted(rows(database, "acts", act.account_id)) == [
        (act.account_id, "req_1", "key_1", "sell", NOON),
        (act.account_id, "req_2", "key_2", "sell", NOON),
    ]


def test_what_is_kept_of_a_request(database: Database, half_done: Act) -> None:
    with database.connection() as conn:
        kept = idempotency.find(conn, half_done.account_id, "v1", "its key")
        assert kept is not None
        assert (kept.request_id, kept.unfinished, kept.status) == ("req_1", {"sale": 1}, None)
        assert len(kept.fingerprint) == 32
