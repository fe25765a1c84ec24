"""Answers that are lost, debits that take days, transfers that somebody records, and a provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from town import DAY, HOUR, Town, at

from local_stripe import Line, line_to, local_stripe
from postpaid import clock
from postpaid.billing.manage_payment_gateways import create_payment_gateway
from postpaid.billing.perform import Act
from postpaid.ids import new_id
from postpaid.storage.payment_gateways import GatewayKind

FEBRUARY = at("2026-02-01 10:51:40")
FEE = 9900


def renewed(town: Town, card: str) -> tuple[str, str]:
    """A clock on which a renewal has been charged to this card; and the subscription."""
    clock_id = town.clock()
    customer = town.customer(clock_id)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    town.pays_with(customer, card)
    town.advance(clock_id, FEBRUARY + HOUR)
    return clock_id, subscription.id


def seen(town: Town, subscription_id: str) -> tuple[str, str | None, int, int]:
    """The subscription, its renewal, what is paid of it, and how often it was tried."""
    _, invoice = town.invoices(subscription_id)
    status = town.subscription(subscription_id).status
    return status, invoice.status, invoice.amount_paid, invoice.attempt_count


@pytest.mark.parametrize("card", ["pm_card_answerLost", "pm_card_requestLost", "pm_card_timeout"])
def test_what_is_lost_on_the_way_is_paid_once(town: Town, card: str) -> None:
    clock_id, subscription = renewed(town, card)
    town.advance(clock_id, FEBRUARY + 2 * HOUR)
    assert seen(town, subscription) == ("active", "paid", FEE, 1)
    _, invoice = town.invoices(subscription)
    charges = town.client.v1.charges.list({"payment_intent": town.intent_of(invoice.id).id})
    assert [each.amount for each in charges.data] == [FEE]


def test_a_decline_that_is_lost_on_the_way_is_a_decline(town: Town) -> None:
    clock_id, subscription = renewed(town, "pm_card_answerLostDeclined")
    town.advance(clock_id, FEBRUARY + 2 * HOUR)
    assert seen(town, subscription) == ("past_due", "open", 0, 1)


def test_a_debit_is_under_way_and_then_paid(town: Town) -> None:
    clock_id, subscription = renewed(town, "pm_usBankAccount_success")
    town.advance(clock_id, FEBRUARY + 5 * DAY)
    assert seen(town, subscription) == ("active", "paid", FEE, 1)


def test_a_debit_is_under_way_and_then_refused(town: Town) -> None:
    clock_id, subscription = renewed(town, "pm_usBankAccount_insufficientFunds")
    _, invoice = town.invoices(subscription)
    assert town.intent_of(invoice.id).status == "processing"
    town.advance(clock_id, FEBRUARY + 2 * HOUR)
    assert seen(town, subscription)[:3] == ("past_due", "open", 0)
    _, invoice = town.invoices(subscription)
    error = town.intent_of(invoice.id).last_payment_error
    assert error is not None
    assert error.code == "insufficient_funds"
    # A card pays what the bank account did not.
    assert invoice.customer is not None
    town.pays_with(str(invoice.customer), "pm_card_visa")
    town.advance(clock_id, FEBRUARY + 14 * DAY)
    assert seen(town, subscription)[:3] == ("active", "paid", FEE)


@pytest.mark.parametrize(
    ("means", "comes_to"),
    [
        ("pm_usBankAccount_success", ("active", "paid", FEE, 1)),
        ("pm_usBankAccount_insufficientFunds", ("past_due", "open", 0, 9)),
        ("pm_card_answerLostDeclined", ("past_due", "open", 0, 9)),
    ],
)
def test_what_is_not_decided_at_once_is_on_the_way_however_far_a_clock_goes(
    town: Town, means: str, comes_to: tuple[object, ...]
) -> None:
    clock_id = town.clock()
    customer = town.customer(clock_id)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    town.pays_with(customer, means)
    town.advance(clock_id, FEBRUARY + 27 * DAY)  # in one leap, as in many
    assert seen(town, subscription.id) == comes_to


def test_a_bank_transfer_waits_until_somebody_records_it(town: Town) -> None:
    clock_id = town.clock()
    customer = town.customer(clock_id, card=None)
    given: Any = {"type": "customer_balance"}
    method = town.client.v1.payment_methods.create(given)
    town.pays_with(customer, method.id)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    assert subscription.status == "incomplete"
    [invoice] = town.invoices(subscription.id)
    assert invoice.id is not None
    assert town.intent_of(invoice.id).status == "requires_action"
    town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert town.subscription(subscription.id).status == "active"
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.amount_remaining) == ("paid", 0)
    assert town.intent_of(invoice.id).status == "canceled"


# ─── A provider ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with local_stripe() as url:
        yield url


@pytest.fixture
def line(upstream: str) -> Iterator[Line]:
    with line_to(upstream) as opened:
        yield opened


class There:
    """The merchant's customer, as the provider has them."""

    def __init__(self, town: Town, upstream: str, line: Line, number: str) -> None:
        self.client: Any = stripe.StripeClient("sk_test_12", base_addresses={"api": upstream}).v1
        self.customer = self.client.customers.create({}).id
        card = {"number": number, "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        method = self.client.payment_methods.create({"type": "card", "card": card}).id
        self.client.payment_methods.attach(method, {"customer": self.customer})
        _choose(town, line.url)
        given: Any = {
            "type": "card",
            "gateway": "there",
            "gateway_token": f"{self.customer}/{method}",
            "card": {"brand": "visa", "last4": number[-4:], "exp_month": 12, "exp_year": 2030},
        }
        self.method = town.client.v1.payment_methods.create(given).id

    def charges(self) -> list[int]:
        found = self.client.charges.list({"customer": self.customer}).data
        return [each.amount for each in found if each.paid]


def _choose(town: Town, url: str) -> None:
    """By the operator's hand: an address of this machine is not for whoever has a key."""
    account = town.client.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    with town.database.transaction() as conn:
        row = conn.execute(
            "SELECT account_id FROM payment_methods WHERE id = %s", (account.id,)
        ).fetchone()
        assert row is not None
        create_payment_gateway(
            conn,
            Act(row[0], False, "operator", clock.now(), new_id),
            vault=town.database.vault,
            name="there",
            kind=GatewayKind.STRIPE,
            api_key="sk_test_12",
            base_url=url,
            is_default=False,
            metadata={},
        )


def test_a_subscription_is_paid_through_a_provider(town: Town, upstream: str, line: Line) -> None:
    there = There(town, upstream, line, "4242424242424242")
    clock_id = town.clock()
    customer = town.customer(clock_id, card=None)
    town.pays_with(customer, there.method)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    assert subscription.status == "active"
    line.faults.extend(["lose answer"])
    town.advance(clock_id, FEBRUARY + HOUR)
    town.advance(clock_id, FEBRUARY + 2 * HOUR)
    assert seen(town, subscription.id)[:3] == ("active", "paid", FEE)
    assert there.charges() == [FEE, FEE]


def test_a_provider_declines(town: Town, upstream: str, line: Line) -> None:
    there = There(town, upstream, line, "4000000000000341")
    customer = town.customer(town.clock(), card=None)
    town.pays_with(customer, there.method)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    assert subscription.status == "incomplete"
    assert there.charges() == []


def test_what_was_paid_through_a_provider_is_refunded_there(
    town: Town, upstream: str, line: Line
) -> None:
    there = There(town, upstream, line, "4242424242424242")
    customer = town.customer(town.clock(), card=None)
    town.pays_with(customer, there.method)
    subscription = town.subscribe(customer, town.price(unit_amount=FEE))
    [invoice] = town.invoices(subscription.id)
    refund = town.client.v1.refunds.create(
        {"payment_intent": town.intent_of(invoice.id).id, "amount": 900}
    )
    assert refund.status == "succeeded"
    [taken] = there.client.charges.list({"customer": there.customer}).data
    assert taken.amount_refunded == 900
