"""Workers are killed between every two steps of a payment, and each invoice is charged once.

The provider is a process of its own. Whatever happens on our side and on the way, its book has one
charge for each invoice that is paid, and none for any other.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import httpx
import pytest

import database as databases
from postpaid.billing.collect import LEASE
from postpaid.billing.manage_payment_gateways import create_payment_gateway
from postpaid.billing.pass_time import settle_abandoned
from postpaid.billing.price_meters import AskedPrice, create_priced_meter
from postpaid.core.metering import Aggregation
from postpaid.core.pricing import Model
from postpaid.core.values import replace
from postpaid.storage import payments
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.payments import AttemptStatus, PaymentAttempt
from postpaid.storage.vault import Vault
from world import END, FEE, HOUR, World, make_world

HERE = Path(__file__).parent
FINAL = END + HOUR
LATER = FINAL + 2 * LEASE
TOMORROW = FINAL + timedelta(days=2)
STEPS_MAX = 40
SEED = 20_260_101
WORLDS_AT_ONCE = 3

T = TypeVar("T")


@dataclass
class Provider:
    url: str
    book: Path

    def charges(self, customer: str) -> list[int]:
        """What was taken from the customer."""
        lines = self.book.read_text().splitlines() if self.book.exists() else []
        found = [json.loads(line) for line in lines]
        return [amount for name, amount, _ in found if name == customer]

    def forget_keys(self) -> None:
        httpx.post(f"{self.url}/forget", trust_env=False).raise_for_status()


pytestmark = pytest.mark.timeout(400)  # many processes are killed, on machines of any speed


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    book = tmp_path_factory.mktemp("provider") / "book"
    process = subprocess.Popen(
        [sys.executable, HERE / "provider.py", book], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield Provider(f"http://127.0.0.1:{int(process.stdout.readline())}", book)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def vault_key() -> str:
    return "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture(scope="module")
def database(server_url: str, vault_key: str) -> Iterator[Database]:
    with databases.clone(server_url) as url:
        opened = Database(url, pool_size=8, vault=Vault([vault_key]))
        yield opened
        opened.close()


@dataclass
class Crasher:
    """Workers in other processes, as many at once as wanted, and of several worlds."""

    free: SimpleQueue[subprocess.Popen[str]]
    database: Database
    vault_key: str

    def work(
        self,
        world: World,
        *times: datetime,
        die_at: int | None = None,
        workers: int = 1,
        refund: str | None = None,
        bill: dict[str, str] | None = None,
    ) -> list[tuple[int, list[str]]]:
        """How each worker ended, and which steps it came to, in a round at each of the times."""
        command = {
            "url": self.database.url,
            "vault": self.vault_key,
            "account_id": world.act.account_id,
            "times": [each.isoformat() for each in times],
            "die_at": die_at,
            "refund": refund,
            "bill": bill,
            "workers": workers,
        }
        process = self.free.get()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        self.free.put(process)
        return [(ended, steps) for ended, steps in answer]


@pytest.fixture(scope="module")
def crasher(database: Database, vault_key: str) -> Iterator[Crasher]:
    free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
    processes = [
        subprocess.Popen(
            [sys.executable, HERE / "crasher.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WORLDS_AT_ONCE)
    ]
    for each in processes:
        free.put(each)
    yield Crasher(free, database, vault_key)
    for each in processes:
        each.kill()
        each.communicate()


def for_each(things: Iterable[T], test: Callable[[T], object]) -> int:
    """Test each of the things, in worlds that know nothing of each other; returns how many."""
    with ThreadPoolExecutor(WORLDS_AT_ONCE) as pool:
        return len(list(pool.map(test, things)))


def merchant(database: Database, provider: Provider, method: str, subscribers: int = 1) -> World:
    """Whose subscribers' drafts are about to be final, and charged there."""
    world = make_world(database, subscribers)
    with database.transaction() as conn:
        create_payment_gateway(
            conn,
            world.act,
            vault=database.vault,
            name="there",
            kind=GatewayKind.STRIPE,
            api_key="sk_test_12345",
            base_url=provider.url,
            is_default=True,
            metadata={},
        )
        conn.execute(
            "UPDATE payment_methods SET gateway = 'there', gateway_token = customer_id || '/' || %s"
            " WHERE account_id = %s",
            (method, world.act.account_id),
        )
    world.pass_time(END)
    return world


def check(world: World, provider: Provider, *, status: str = "paid") -> None:
    """Each invoice is paid by one charge, and each that is not by none."""
    found = world.invoices()
    assert [each.status.value for each in found] == [status] * len(world.customer_ids)
    for invoice in found:
        taken = provider.charges(invoice.customer_id)
        assert taken == ([FEE] if status == "paid" else []), taken
        assert invoice.amount_paid == sum(taken)
        assert invoice.attempt_count == 1
    with world.database.connection() as conn:
        unsettled = conn.execute(
            "SELECT count(*) FROM payment_attempts WHERE account_id = %s AND settled_at IS NULL",
            (world.act.account_id,),
        ).fetchone()
    assert unsettled == (0,)
    assert world.findings() == []


METHODS = ["pm_good", "pm_losesAnswer", "pm_losesRequest", "pm_stalls", "pm_breaks"]


def steps_of(
    crasher: Crasher, database: Database, provider: Provider, method: str, **more: Any
) -> list[str]:
    """The steps of a worker that nobody kills."""
    world = merchant(database, provider, method)
    [(ended, steps)] = crasher.work(world, FINAL, **more)
    assert ended == 0
    assert len(steps) < STEPS_MAX
    return steps


def test_the_steps_are_those_of_a_payment(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    assert steps_of(crasher, database, provider, "pm_good") == [
        "before insert_many",
        "after insert_many",
        "before commit",
        "after commit",
        "before begin_asking",
        "after begin_asking",
        "before commit",
        "after commit",
        "before request",
        "after request",
        "before settle",
        "after settle",
        "before commit",
        "after commit",
    ]


@pytest.mark.parametrize("method", ["pm_good", "pm_losesAnswer", "pm_losesRequest"])
def test_a_worker_that_is_killed_between_any_two_steps_charges_once(
    crasher: Crasher, database: Database, provider: Provider, method: str
) -> None:
    def kill(die_at: int) -> None:
        world = merchant(database, provider, method)
        [(ended, _)] = crasher.work(world, FINAL, die_at=die_at)
        assert ended == -signal.SIGKILL
        # Others come when the lease has run out; they too may get no answer at first.
        assert crasher.work(world, LATER, LATER + HOUR)[0][0] == 0
        check(world, provider)

    assert for_each(range(len(steps_of(crasher, database, provider, method))), kill) >= 8


def test_a_decline_is_recorded_once_whoever_is_killed(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    def kill(die_at: int) -> None:
        world = merchant(database, provider, "pm_declines")
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        assert crasher.work(world, LATER)[0][0] == 0
        check(world, provider, status="open")

    assert for_each(range(len(steps_of(crasher, database, provider, "pm_declines"))), kill) >= 8


def test_those_who_come_after_are_killed_too(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    steps = len(steps_of(crasher, database, provider, "pm_losesAnswer"))

    def kill(turn: int) -> None:
        chance = random.Random(SEED + turn)
        world = merchant(database, provider, chance.choice(METHODS))
        now = FINAL
        for _ in range(3):
            crasher.work(world, now, die_at=chance.randrange(steps))
            now += 2 * LEASE
        assert crasher.work(world, now, now + 2 * LEASE)[0][0] == 0
        check(world, provider)

    assert for_each(range(12), kill) == 12


@pytest.mark.parametrize("method", METHODS)
def test_two_workers_at_once_charge_once(
    crasher: Crasher, database: Database, provider: Provider, method: str
) -> None:
    world = merchant(database, provider, method, subscribers=5)
    for now in (FINAL, LATER, LATER + HOUR):
        assert [ended for ended, _ in crasher.work(world, now, workers=2)] == [0, 0]
    check(world, provider)


def test_two_workers_come_at_once_after_one_was_killed(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    def kill(die_at: int) -> None:
        world = merchant(database, provider, "pm_losesAnswer", subscribers=2)
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        for now in (LATER, LATER + 2 * LEASE):
            assert [ended for ended, _ in crasher.work(world, now, workers=2)] == [0, 0]
        check(world, provider)

    assert for_each(range(len(steps_of(crasher, database, provider, "pm_losesAnswer"))), kill) >= 8


@pytest.mark.parametrize("method", ["pm_good", "pm_losesAnswer"])
def test_days_later_the_provider_has_forgotten_the_key_and_charges_once_all_the_same(
    crasher: Crasher, database: Database, provider: Provider, method: str
) -> None:
    def kill(die_at: int) -> None:
        world = merchant(database, provider, method)
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        provider.forget_keys()
        assert crasher.work(world, TOMORROW, TOMORROW + HOUR)[0][0] == 0
        check(world, provider)

    assert for_each(range(len(steps_of(crasher, database, provider, method))), kill) >= 8


# ─── Refunds ─────────────────────────────────────────────────────────────────────────────────


def charged(world: World) -> PaymentAttempt:
    """The one charge, which is paid."""
    [invoice] = world.invoices()
    with world.database.connection() as conn:
        [attempt] = payments.of_intents(
            conn,
            world.act.account_id,
            [invoice.payment_intent_id or ""],
            statuses=[AttemptStatus.SUCCEEDED],
        )
    return attempt


def test_whoever_is_killed_between_any_two_steps_gives_back_once(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    def kill(die_at: int | None) -> int:
        world = merchant(database, provider, "pm_losesAnswer")  # of the charge and of the refund
        world.pass_time(FINAL)
        settle_abandoned(database, world.at(LATER), wall=LATER)
        attempt = charged(world)
        now = LATER + HOUR
        [(ended, told)] = crasher.work(world, now, die_at=die_at, refund=attempt.id)
        assert ended == (0 if die_at is None else -signal.SIGKILL)
        assert crasher.work(world, now + 2 * LEASE, now + HOUR)[0][0] == 0
        # Killed before it was committed, it was never asked for.
        was_asked_for = die_at is None or told.count("after commit") > 0
        given_back = provider.charges(attempt.gateway_reference or "")
        assert given_back == ([-FEE] if was_asked_for else [])
        assert charged(world).amount_refunded == (FEE if was_asked_for else 0)
        assert world.findings() == []
        return len(told)

    steps = kill(None)
    assert for_each(range(steps), kill) == steps >= 8


# ─── Usage that somebody bills ───────────────────────────────────────────────────────────────


def billed(database: Database, provider: Provider, method: str) -> tuple[World, dict[str, str]]:
    """A customer whose usage of a priced meter is about to be billed, and how it is asked for."""
    world = merchant(database, provider, method)
    world.pass_time(FINAL)
    fields = {
        "display_name": "Bytes",
        "event_name": "byte",
        "aggregation": Aggregation.SUM,
        "customer_key": "customer",
        "value_key": "value",
    }
    with database.transaction() as conn:
        meter = create_priced_meter(conn, world.act, fields, AskedPrice("usd", Model(Decimal(10))))
    world = replace(world, meter_id=meter.id)
    [customer_id] = world.customer_ids
    world.use([customer_id], 70)
    asked = {
        "customer": customer_id,
        "method": customer_id.replace("cus_", "pm_"),
        "start": world.period.start.isoformat(),
        "end": world.period.end.isoformat(),
        "key": customer_id,
    }
    return world, asked


@pytest.mark.parametrize("repeats", [True, False], ids=["who asked repeats it", "nobody asks"])
def test_whoever_is_killed_while_billing_usage_charges_once(
    crasher: Crasher, database: Database, provider: Provider, repeats: bool
) -> None:
    def kill(die_at: int | None) -> int:
        world, asked = billed(database, provider, "pm_good")
        before = len(provider.charges(asked["customer"]))
        [(ended, told)] = crasher.work(world, LATER, die_at=die_at, bill=asked)
        assert ended == (0 if die_at is None else -signal.SIGKILL)
        was_written = die_at is None or told.count("after commit") > 0
        if repeats:
            again = crasher.work(world, LATER + HOUR, workers=2, bill=asked)
            assert [each for each, _ in again] == [0, 0]
        else:
            assert crasher.work(world, LATER + HOUR)[0][0] == 0
        found = [each for each in world.invoices() if each.bills_usage]
        charged = [700] if was_written or repeats else []
        assert [(each.status.value, each.amount_paid) for each in found] == [
            ("paid", each) for each in charged
        ]
        assert provider.charges(asked["customer"])[before:] == charged
        assert world.findings() == []
        return len(told)

    steps = kill(None)
    assert for_each(range(steps), kill) == steps >= 8
