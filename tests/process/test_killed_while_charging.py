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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import database as databases
from postpaid.billing.collect import LEASE
from postpaid.billing.manage_payment_gateways import create_payment_gateway
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.vault import Vault
from world import END, FEE, HOUR, World, make_world

HERE = Path(__file__).parent
FINAL = END + HOUR
LATER = FINAL + 2 * LEASE
TOMORROW = FINAL + timedelta(days=2)
STEPS_MAX = 40
SEED = 20_260_101


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
        opened = Database(url, pool_size=4, vault=Vault([vault_key]))
        yield opened
        opened.close()


@dataclass
class Crasher:
    """Workers in other processes, as many at once as wanted."""

    process: subprocess.Popen[str]
    database: Database
    vault_key: str

    def work(
        self, world: World, now: datetime, *, die_at: int | None = None, workers: int = 1
    ) -> list[tuple[int, list[str]]]:
        """How each worker ended, and which steps it came to."""
        command = {
            "url": self.database.url,
            "vault": self.vault_key,
            "account_id": world.act.account_id,
            "now": now.isoformat(),
            "die_at": die_at,
            "workers": workers,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return [(ended, steps) for ended, steps in json.loads(self.process.stdout.readline())]


@pytest.fixture(scope="module")
def crasher(database: Database, vault_key: str) -> Iterator[Crasher]:
    process = subprocess.Popen(
        [sys.executable, HERE / "crasher.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Crasher(process, database, vault_key)
    process.kill()
    process.communicate()


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
    killed = 0
    for die_at in range(len(steps_of(crasher, database, provider, method))):
        world = merchant(database, provider, method)
        [(ended, _)] = crasher.work(world, FINAL, die_at=die_at)
        assert ended == -signal.SIGKILL
        killed += 1
        # Others come when the lease has run out; they too may get no answer at first.
        for now in (LATER, LATER + HOUR):
            assert crasher.work(world, now)[0][0] == 0
        check(world, provider)
    assert killed >= 8


def test_a_decline_is_recorded_once_whoever_is_killed(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    for die_at in range(len(steps_of(crasher, database, provider, "pm_declines"))):
        world = merchant(database, provider, "pm_declines")
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        assert crasher.work(world, LATER)[0][0] == 0
        check(world, provider, status="open")


def test_those_who_come_after_are_killed_too(
    crasher: Crasher, database: Database, provider: Provider
) -> None:
    chance = random.Random(SEED)
    steps = len(steps_of(crasher, database, provider, "pm_losesAnswer"))
    for _ in range(12):
        world = merchant(database, provider, chance.choice(METHODS))
        now = FINAL
        for _ in range(3):
            crasher.work(world, now, die_at=chance.randrange(steps))
            now += 2 * LEASE
        for later in (now, now + 2 * LEASE):
            assert crasher.work(world, later)[0][0] == 0
        check(world, provider)


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
    steps = len(steps_of(crasher, database, provider, "pm_losesAnswer"))
    for die_at in range(steps):
        world = merchant(database, provider, "pm_losesAnswer", subscribers=2)
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        for now in (LATER, LATER + 2 * LEASE):
            assert [ended for ended, _ in crasher.work(world, now, workers=2)] == [0, 0]
        check(world, provider)


@pytest.mark.parametrize("method", ["pm_good", "pm_losesAnswer"])
def test_days_later_the_provider_has_forgotten_the_key_and_charges_once_all_the_same(
    crasher: Crasher, database: Database, provider: Provider, method: str
) -> None:
    for die_at in range(len(steps_of(crasher, database, provider, method))):
        world = merchant(database, provider, method)
        assert crasher.work(world, FINAL, die_at=die_at)[0][0] == -signal.SIGKILL
        provider.forget_keys()
        for now in (TOMORROW, TOMORROW + HOUR):
            assert crasher.work(world, now)[0][0] == 0
        check(world, provider)
