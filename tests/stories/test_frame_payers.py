"""Payers of Frame's: who is blocked goes on with what runs, and what is blocked is not charged."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import Town, at

from frame_client import Frame

ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}
CARD = {"type": "card", "exp_month": "12", "exp_year": "2031", "cvc": "123"}
ACH = {"type": "ach", "routing_number": "110000000", "account_type": "savings"}
GOOD = CARD | {"card_number": "4242424242424242"}
JANUARY = at("2026-01-05")
LATER = [at("2026-02-10"), at("2026-03-10")]


def payer(town: Town, frame: Frame, clock: str, means: dict[str, Any]) -> tuple[str, str]:
    """A customer on the clock, and its payment method."""
    customer_id = frame.post("/v1/customers", ADA | {"test_clock": clock})["id"]
    method_id = frame.post("/v1/payment_methods", means | {"customer": customer_id})["id"]
    return customer_id, method_id


def test_a_blocked_customers_subscription_renews_and_a_blocked_card_is_not_charged(
    town: Town, frame: Frame
) -> None:
    clock = town.clock(JANUARY)
    customer_id, method_id = payer(town, frame, clock, GOOD)
    price = town.price(unit_amount=500)
    subscription = town.subscribe(customer_id, price, default_payment_method=method_id)
    frame.post(f"/v1/customers/{customer_id}/block")
    town.advance(clock, LATER[0])
    assert [each.status for each in town.invoices(subscription.id)] == ["paid", "paid"]

    assert frame.post(f"/v1/payment_methods/{method_id}/block")["status"] == "blocked"
    town.advance(clock, LATER[1])
    owed = town.invoices(subscription.id)[-1]
    assert (owed.status, owed.amount_remaining) == ("open", 500)
    assert town.client.v1.charges.list({"customer": customer_id}).data[0].status == "succeeded"
    assert len(town.client.v1.charges.list({"customer": customer_id}).data) == 2
    pay = town.client.v1.invoices.pay
    with pytest.raises(stripe.InvalidRequestError):
        pay(owed.id or "")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay(owed.id or "", {"payment_method": method_id})
    assert refused.value.code == "payment_method_blocked"

    frame.post(f"/v1/payment_methods/{method_id}/unblock")
    assert pay(owed.id or "").status == "paid"


def test_a_schedule_agreed_before_begins_all_the_same(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    customer_id, method_id = payer(town, frame, clock, GOOD)
    schedule = town.client.v1.subscription_schedules.create(
        {
            "customer": customer_id,
            "start_date": at("2026-02-01"),
            "default_settings": {"default_payment_method": method_id},
            "phases": [{"items": [{"price": town.price(unit_amount=500)}]}],
        }
    )
    frame.post(f"/v1/customers/{customer_id}/block")
    town.advance(clock, LATER[0])
    begun = town.client.v1.subscription_schedules.retrieve(schedule.id)
    assert (begun.status, begun.subscription is not None) == ("active", True)


def test_the_customers_own_card_is_not_charged_where_it_is_blocked(
    town: Town, frame: Frame
) -> None:
    """Of what a subscription and its customer name, the first that may be charged is."""
    clock = town.clock(JANUARY)
    customer_id, first = payer(town, frame, clock, GOOD)
    second = frame.post("/v1/payment_methods", GOOD | {"customer": customer_id})["id"]
    town.client.v1.customers.update(
        customer_id, {"invoice_settings": {"default_payment_method": second}}
    )
    price = town.price(unit_amount=500)
    subscription = town.subscribe(customer_id, price, default_payment_method=first)
    frame.post(f"/v1/payment_methods/{first}/block")
    town.advance(clock, LATER[0])
    charges = town.client.v1.charges.list({"customer": customer_id}).data
    assert [each.payment_method for each in charges] == [second, first]
    assert town.subscription(subscription.id).status == "active"


def test_a_trial_does_not_end_into_a_card_that_is_blocked(town: Town, frame: Frame) -> None:
    clock = town.clock(JANUARY)
    customer_id, method_id = payer(town, frame, clock, GOOD)
    subscription = town.subscribe(
        customer_id,
        town.price(unit_amount=500),
        default_payment_method=method_id,
        trial_period_days=14,
        trial_settings={"end_behavior": {"missing_payment_method": "cancel"}},
    )
    frame.post(f"/v1/payment_methods/{method_id}/block")
    town.advance(clock, LATER[0])
    assert town.subscription(subscription.id).status == "canceled"


DECLINES = {
    "4726840306461785": "expired_card",
    "4726840756845529": "incorrect_cvc",
    "4726849921107855": "processing_error",
    "4726843991344803": "incorrect_number",
    "4726846912498186": "insufficient_funds",
    "4726843338079575": "stolen_card",
    "4726848138487043": "generic_decline",
    "4726848912206759": "card_velocity_exceeded",
    "4111111738973695": "card_not_enrolled",
}
CHARGED = """
    4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210
    5105105105105100 378282246310005 371449635398431 6011111111111117 6011000990139424
    6011981111111113 4111110116638870
"""
CHALLENGED = {"4000000000003220": "succeeded", "4000008400001629": "requires_payment_method"}
BANKS = {
    "000123456789": None,
    "000111111113": "account_closed",
    "000111111116": "no_account",
    "000222222227": "insufficient_funds",
    "000333333335": "debit_not_authorized",
}


def charge(town: Town, customer_id: str, method_id: str) -> stripe.PaymentIntent:
    return town.client.v1.payment_intents.create(
        {
            "customer": customer_id,
            "payment_method": method_id,
            "amount": 500,
            "currency": "usd",
            "confirm": True,
            "payment_method_types": ["card", "us_bank_account"],
        }
    )


@pytest.mark.parametrize("number", CHARGED.split())
def test_a_card_of_frames_is_charged(town: Town, frame: Frame, number: str) -> None:
    customer_id, method_id = payer(town, frame, town.clock(), CARD | {"card_number": number})
    assert charge(town, customer_id, method_id).status == "succeeded"


@pytest.mark.parametrize("number", list(DECLINES))
def test_a_card_of_frames_declines_with_its_code(town: Town, frame: Frame, number: str) -> None:
    customer_id, method_id = payer(town, frame, town.clock(), CARD | {"card_number": number})
    with pytest.raises(stripe.CardError):
        charge(town, customer_id, method_id)
    [failed] = town.client.v1.charges.list({"customer": customer_id}).data
    assert failed.outcome is not None
    assert DECLINES[number] in (failed.failure_code, failed.outcome.reason)


@pytest.mark.parametrize("number", list(CHALLENGED))
def test_a_card_of_frames_challenges_its_holder(town: Town, frame: Frame, number: str) -> None:
    customer_id, method_id = payer(town, frame, town.clock(), CARD | {"card_number": number})
    intent = charge(town, customer_id, method_id)
    assert intent.status == "requires_action"
    assert town.authenticate(intent.id)["status"] == CHALLENGED[number]


@pytest.mark.parametrize("number", list(BANKS))
def test_a_bank_account_of_frames_is_debited_later(town: Town, frame: Frame, number: str) -> None:
    clock = town.clock(JANUARY)
    customer_id, method_id = payer(town, frame, clock, ACH | {"account_number": number})
    intent = charge(town, customer_id, method_id)
    assert intent.status == "processing"
    town.advance(clock, LATER[0])
    [made] = town.client.v1.charges.list({"customer": customer_id}).data
    assert made.failure_code == BANKS[number]
    assert made.status == ("failed" if BANKS[number] else "succeeded")
