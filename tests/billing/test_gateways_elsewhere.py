"""Many payments through a provider: asked about together, and left alone while nobody answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import stripe

from local_stripe import Line, line_to, local_stripe
from postpaid.billing.collect import LEASE
from postpaid.billing.manage_payment_gateways import (
    create_payment_gateway,
    sealed,
    update_payment_gateway,
)
from postpaid.billing.pass_time import settle_abandoned
from postpaid.billing.settle import AT_ONCE
from postpaid.storage import payment_gateways
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind
from postpaid.storage.vault import Vault
from world import END, FEE, HOUR, World, make_world

FINAL = END + HOUR
NOWHERE = "http://127.0.0.1:1"
MANY = 2 * AT_ONCE + 3


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with local_stripe() as url:
        yield url


@pytest.fixture
def line(upstream: str) -> Iterator[Line]:
    with line_to(upstream) as opened:
        yield opened


def merchant(database: Database, base_url: str, token: str) -> World:
    """Whose renewals are about to be charged there."""
    world = make_world(database, MANY)
    with database.transaction() as conn:
        create_payment_gateway(
            conn,
            world.act,
            vault=database.vault,
            name="there",
            kind=GatewayKind.STRIPE,
            api_key="sk_test_12345",
            base_url=base_url,
            is_default=False,
            metadata={},
        )
        conn.execute(
            "UPDATE payment_methods SET gateway = 'there', gateway_token = %s"
            " WHERE account_id = %s",
            (token, world.act.account_id),
        )
    world.pass_time(END)
    return world


def asked(world: World) -> list[int]:
    """How often about each attempt."""
    with world.database.connection() as conn:
        rows = conn.execute(
            "SELECT asked FROM payment_attempts WHERE account_id = %s ORDER BY asked",
            (world.act.account_id,),
        )
        return [count for (count,) in rows]


def test_all_are_charged(database: Database, line: Line) -> None:
    world = merchant(database, line.url, token_of_a_card(line.upstream))
    world.pass_time(FINAL)
    assert [each.status.value for each in world.invoices()] == ["paid"] * MANY
    assert {each.amount_paid for each in world.invoices()} == {FEE}
    assert asked(world) == [1] * MANY
    assert world.findings() == []


def test_payments_wait_for_credentials_that_open_and_are_made_once(
    database: Database, line: Line
) -> None:
    world = merchant(database, line.url, token_of_a_card(line.upstream))
    elsewhere = Database(database.url, pool_size=2, vault=Vault.of_new_key())
    replace(world, database=elsewhere).pass_time(FINAL)
    elsewhere.close()
    assert line.seen == []

    # Another key of the same account there; at first a wrong address.
    def give(**fields: Any) -> None:
        with database.transaction() as conn:
            update_payment_gateway(conn, world.act, gateway_id, lambda was: replace(was, **fields))

    with database.connection() as conn:
        gateway_id = payment_gateways.named(conn, world.act.account_id, ["there"])["there"].id
    line.faults.extend(["lose answer"] * AT_ONCE)
    give(**sealed(database.vault, "sk_test_67890"), base_url=NOWHERE)
    for turn in range(1, 12):
        later = FINAL + 2 * turn * LEASE
        settle_abandoned(database, world.at(later), wall=later)
        if turn == 2:
            assert {each.status.value for each in world.invoices()} == {"open"}
            give(base_url=line.url)
    assert [each.status.value for each in world.invoices()] == ["paid"] * MANY
    token = world_token(world)
    there = stripe.StripeClient("sk_test_12345", base_addresses={"api": line.upstream}).v1
    made = there.payment_intents.list({"limit": 100}).data
    mine = [each for each in made if each.customer == token.partition("/")[0]]
    assert len(mine) == MANY
    assert world.findings() == []


def world_token(world: World) -> str:
    with world.database.connection() as conn:
        row = conn.execute(
            "SELECT min(gateway_token) FROM payment_attempts WHERE account_id = %s",
            (world.act.account_id,),
        ).fetchone()
    assert row is not None
    return str(row[0])


def token_of_a_card(url: str) -> str:
    """All customers here are one there."""
    client = stripe.StripeClient("sk_test_12345", base_addresses={"api": url}).v1
    customer = client.customers.create().id
    method = client.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    return f"{customer}/{method}"


def test_a_provider_that_answers_nobody_is_left_alone_for_a_while(database: Database) -> None:
    world = merchant(database, NOWHERE, "cus_1/pm_1")
    world.pass_time(FINAL)
    assert asked(world) == [0] * (MANY - AT_ONCE) + [1] * AT_ONCE
    assert settle_abandoned(database, world.at(FINAL), wall=FINAL) == 0

    # Those who have waited longest come first, so that nobody waits for ever.
    for turn in (1, 2):
        later = FINAL + 2 * turn * LEASE
        settle_abandoned(database, world.at(later), wall=later)
    assert asked(world) == [1] * (MANY - (3 * AT_ONCE - MANY)) + [2] * (3 * AT_ONCE - MANY)
    assert {each.status.value for each in world.invoices()} == {"open"}
    assert {each.status.value for each in world.subscriptions()} == {"active"}
    assert world.findings() == []
