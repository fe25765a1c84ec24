"""Whose a key is, when several want it: the rows behind a request that happens once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from postpaid.core.errors import IdempotencyInUse
from postpaid.storage import idempotency
from postpaid.storage.database import Connection
from postpaid.storage.idempotency import KeyedRequest
from rows import ACCOUNT, HOUR, NOW


def claim(conn: Connection, request_id: str, key: str = "k") -> bool:
    return idempotency.claim(conn, ACCOUNT, "v1", key, b"print", request_id, now=NOW)


def test_a_key_is_the_first_ones(conn: Connection) -> None:
    assert [claim(conn, "req_1"), claim(conn, "req_2")] == [True, False]
    assert idempotency.find(conn, ACCOUNT, "v1", "k") == KeyedRequest(
        b"print", "req_1", None, None, None
    )
    assert idempotency.find(conn, ACCOUNT, "v1", "other") is None


def test_a_key_is_of_one_api(conn: Connection) -> None:
    claim(conn, "req_1")
    assert idempotency.find(conn, ACCOUNT, "v2", "k") is None
    assert idempotency.claim(conn, ACCOUNT, "v2", "k", b"other", "req_2", now=NOW)
    known = idempotency.load(conn, ACCOUNT, [("v1", "k"), ("v2", "k"), ("v2", "j")])
    assert {asked: found.request_id for asked, found in known.items()} == {
        ("v1", "k"): "req_1",
        ("v2", "k"): "req_2",
    }


def test_an_answer_is_kept_as_it_was_given_and_for_ever(conn: Connection) -> None:
    claim(conn, "req_1")
    body = {"z": 1, "a": {"b": [None, True, "\u0000 ☃"]}}
    assert idempotency.remember(conn, ACCOUNT, "v1", "k", 402, body)
    assert not idempotency.remember(conn, ACCOUNT, "v1", "k", 200, {})
    kept = idempotency.find(conn, ACCOUNT, "v1", "k")
    assert kept is not None
    assert (kept.status, kept.body, list(kept.body or ())) == (402, body, ["z", "a"])


def test_what_is_unfinished_is_taken_over_once_its_lease_is_over(conn: Connection) -> None:
    def take(now_in_hours: int) -> bool:
        now = NOW + now_in_hours * HOUR
        return idempotency.take_over(conn, ACCOUNT, "v1", "k", now=now, leased_until=now + HOUR)

    claim(conn, "req_1")
    assert not take(9)  # it is not known yet what is to be finished
    idempotency.remember_unfinished(conn, ACCOUNT, "v1", "k", {"a": 1}, leased_until=NOW + HOUR)
    assert [take(0), take(1), take(2), take(3), take(4)] == [False, False, True, False, True]
    idempotency.remember(conn, ACCOUNT, "v1", "k", 200, {})
    assert not take(9)


def test_who_comes_second_waits_for_the_first(fresh_database_url: str) -> None:
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(fresh_database_url) as first,
        psycopg.connect(fresh_database_url) as second,
    ):
        assert claim(first, "req_1")
        waiting = thread.submit(claim, second, "req_2")
        assert claim(first, "req_3", key="another")  # which it does not wait for
        assert not waiting.done()
        first.rollback()
        assert waiting.result() is True


def test_but_not_for_ever(fresh_database_url: str) -> None:
    with (
        psycopg.connect(fresh_database_url) as first,
        psycopg.connect(fresh_database_url) as second,
    ):
        claim(first, "req_1")
        second.execute("SET lock_timeout = '1ms'")
        with pytest.raises(IdempotencyInUse, match="using the key 'k'"):
            claim(second, "req_2")
