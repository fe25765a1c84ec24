"""Many payments through a provider: asked about together, and left alone while nobody answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from local_stripe import Line, line_to, local_stripe
from postpaid.billing.collect import LEASE
from postpaid.billing.manage_payment_gateways import create_payment_gateway
from postpaid.billing.pass_time import settle_abandoned
from postpaid.billing.settle import AT_ONCE
from postpaid.storage.database import Database
from postpaid.storage.payment_gateways import GatewayKind
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
