"""Requests that come while others are being recorded share the next transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from postpaid import clock, ids
from postpaid.api import gathering
from postpaid.api.gathering import AT_ONCE, Gatherer
from postpaid.billing import manage_customers, manage_meters
from postpaid.billing.gather_usage import Waiting
from postpaid.billing.perform import Act, Answer
from postpaid.billing.record_usage import Recorded, Reported
from postpaid.core.metering import Aggregation
from postpaid.storage.accounts import Account
from postpaid.storage.database import Connection, Database

MANY = 64


class Counting(Database):
    """A database that counts its transactions, which begin when it is let go."""

    def __init__(self, url: str) -> None:
        super().__init__(url, pool_size=AT_ONCE)
        self.transactions = 0
        self.go = threading.Event()

    @contextmanager
    def transaction(self) -> Any:
        self.go.wait()
        self.transactions += 1
        with super().transaction() as conn:
            yield conn


@pytest.fixture
def act(database: Database, account: Account) -> Act:
    return Act(account.account_id, False, "key_1", clock.now(), ids.new_id, "req_0")


@pytest.fixture
def customer(database: Database, act: Act) -> str:
    with database.transaction() as conn:
        manage_meters.create_meter(
            conn,
            act,
            display_name="Calls",
            event_name="call",
            aggregation=Aggregation.SUM,
            customer_key="customer",
            value_key="value",
        )
        return manage_customers.create_customer(conn, act, {}).id


@pytest.fixture
def counting(database: Database) -> Any:
    opened = Counting(database.url)
    yield opened
    opened.close()


def ask(act: Act, customer: str, identifier: str | None, key: str | None = None) -> Waiting:
    def respond(conn: Connection, at: Act, recorded: Recorded) -> Mapping[str, Any]:
        for error in recorded.errors.values():
            raise error
        return {"identifier": recorded.references[0]}

    payload = {"customer": customer, "value": "1"}
    return Waiting(
        replace(act, request_id=ids.new_id("req"), idempotency_key=key),
        "report",
        {"identifier": identifier},
        Reported(["call"], [payload], [identifier], [None]),
        respond,
    )


def stored(database: Database, act: Act) -> set[str]:
    with database.connection() as conn:
        rows = conn.execute(
            "SELECT reference FROM usage_events WHERE account_id = %s", (act.account_id,)
        ).fetchall()
    return {reference for (reference,) in rows}


async def all_of(gatherer: Gatherer, asked: list[Waiting], go: threading.Event) -> list[Any]:
    """Ask all at once, and let the database go when all are waiting."""
    asking = [asyncio.ensure_future(gatherer.record(each)) for each in asked]
    await asyncio.sleep(0)
    go.set()
    return await asyncio.gather(*asking, return_exceptions=True)


def test_many_at_once_take_few_transactions(counting: Counting, act: Act, customer: str) -> None:
    """Those that come first take one each, and all that come meanwhile share one."""
    asked = [ask(act, customer, f"{n}") for n in range(MANY)]
    answers = asyncio.run(all_of(Gatherer(counting), asked, counting.go))
    assert [each.body for each in answers] == [{"identifier": f"{n}"} for n in range(MANY)]
    assert counting.transactions == AT_ONCE + 1
    assert stored(counting, act) == {f"{n}" for n in range(MANY)}


def test_no_transaction_is_longer_than_it_should_be(
    counting: Counting, act: Act, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "EVENTS_MAX", 10)
    asked = [ask(act, customer, f"{n}") for n in range(AT_ONCE + 40)]
    answers = asyncio.run(all_of(Gatherer(counting), asked, counting.go))
    assert {type(each) for each in answers} == {Answer}
    assert counting.transactions == AT_ONCE + 4


def test_one_that_is_gone_takes_nobody_with_it(counting: Counting, act: Act, customer: str) -> None:
    """Who asked and went away is not answered; what it reported counts, as it was accepted."""

    async def ask_and_leave() -> list[Any]:
        gatherer = Gatherer(counting)
        asking = [
            asyncio.ensure_future(gatherer.record(ask(act, customer, f"{n}"))) for n in range(10)
        ]
        await asyncio.sleep(0)
        for n in (0, 5):  # one that is being recorded, and one that waits
            asking[n].cancel()
        counting.go.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    answers = asyncio.run(ask_and_leave())
    gone = [n for n, each in enumerate(answers) if isinstance(each, asyncio.CancelledError)]
    assert gone == [0, 5]
    assert stored(counting, act) == {f"{n}" for n in range(10)}


def test_two_processes_that_are_sent_the_same_keys_record_each_once(
    counting: Counting, act: Act, customer: str
) -> None:
    """Each has its gatherer and its database; what they share is the database's rows."""
    other = Counting(counting.url)
    results: list[list[Any]] = []

    def process(mine: Counting) -> None:
        asked = [ask(act, customer, None, f"key-{n % 20}") for n in range(MANY)]
        results.append(asyncio.run(all_of(Gatherer(mine), asked, mine.go)))

    threads = [threading.Thread(target=process, args=(mine,)) for mine in (counting, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    bodies: dict[int, set[str]] = {}
    for answers in results:
        for n, answer in enumerate(answers):
            bodies.setdefault(n % 20, set()).add(answer.body["identifier"])
    assert {len(said) for said in bodies.values()} == {1}
    assert stored(counting, act) == set().union(*bodies.values())
    assert len(stored(counting, act)) == 20
