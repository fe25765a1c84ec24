"""Every renewal is told once as begun, and once as what came of it, whatever kind it is of."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from test_frame_events_told import BAD, GOOD, Life, bill
from town import DAY, HOUR, Town, at

from frame_client import Frame
from receiver import Receiver

JUNE, JULY = at("2026-06-01"), at("2026-07-01")
DECLINED = "pm_card_chargeCustomerFail"


@pytest.fixture
def life(town: Town, frame: Frame) -> Life:
    return Life(town, frame, Receiver(), "account")


def subscribe(life: Life, amount: int = 1000, **more: Any) -> str:
    return life.town.subscribe(life.id, life.town.price(unit_amount=amount), **more).id


def renewals(life: Life) -> list[str]:
    told = [code.removeprefix("subscription.") for code in life.told()]
    return [word for word in told if word.startswith("renew")]


def last_invoice(life: Life, subscription_id: str) -> str:
    return life.town.invoices(subscription_id)[-1].id


def test_that_a_trial_ends_is_a_renewal(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    subscribe(life, trial_period_days=10)
    assert renewals(life) == []
    life.town.advance(life.clock, JUNE + 10 * DAY + 2 * HOUR)
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_renewal_that_costs_nothing(life: Life) -> None:
    subscribe(life, 0)
    life.town.advance(life.clock, JULY + 2 * HOUR)
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_renewal_whose_invoice_is_sent(life: Life) -> None:
    made = subscribe(life, collection_method="send_invoice", days_until_due=3)
    life.town.advance(life.clock, JULY + 2 * HOUR)
    assert renewals(life) == ["renewal.processing"]
    last = last_invoice(life, made)
    life.town.client.v1.invoices.pay(last, {"paid_out_of_band": True})
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_renewal_that_a_person_makes_final(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    made = subscribe(life)
    life.town.advance(life.clock, JULY)
    life.town.client.v1.invoices.finalize_invoice(last_invoice(life, made))
    assert renewals(life) == ["renewal.processing", "renewed"]
    life.town.advance(life.clock, JULY + 2 * HOUR)
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_renewal_that_is_retried_fails_once(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    made = subscribe(life)
    life.town.pays_with(life.id, DECLINED)
    life.town.advance(life.clock, JULY + 28 * DAY)
    assert life.told().count("charge.failed") > 3
    assert renewals(life) == ["renewal.processing", "renewal.failed"]
    life.town.pays_with(life.id, "pm_card_visa")
    life.town.client.v1.invoices.pay(last_invoice(life, made))
    assert renewals(life) == ["renewal.processing", "renewal.failed", "renewed"]


def test_a_renewal_with_nothing_to_pay_with_has_failed(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    subscribe(life)
    [method] = life.town.client.v1.payment_methods.list({"customer": life.id}).data
    life.town.client.v1.payment_methods.detach(method.id)
    life.town.advance(life.clock, JULY + 2 * HOUR)
    assert renewals(life) == ["renewal.processing", "renewal.failed"]


def test_what_is_left_to_bill_at_the_end_renews_nothing(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    made = life.town.subscribe(life.id, life.town.metered(unit_amount=10)).id
    life.town.use(life.id, "5", timestamp=JUNE + 1)
    life.town.client.v1.subscriptions.update(made, {"cancel_at_period_end": True})
    life.town.advance(life.clock, JULY + 2 * HOUR)
    told = life.told()
    assert (told[-1], "subscription.canceled" in told) == ("invoice.paid", True)
    assert renewals(life) == []


def test_a_renewal_stays_one_when_the_subscription_ends_later(life: Life) -> None:
    life.town.pays_with(life.id, "pm_card_visa")
    made = subscribe(life)
    life.town.advance(life.clock, JULY + 2 * HOUR)
    life.town.client.v1.subscriptions.cancel(made)
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_revision_is_of_the_same_renewal(life: Life) -> None:
    made = subscribe(life, collection_method="send_invoice", days_until_due=3)
    life.town.advance(life.clock, JULY + 2 * HOUR)
    invoices = life.town.client.v1.invoices
    revision = invoices.create(
        {"from_invoice": {"invoice": last_invoice(life, made), "action": "revision"}}
    ).id
    invoices.finalize_invoice(revision)
    invoices.pay(revision, {"paid_out_of_band": True})
    assert renewals(life) == ["renewal.processing", "renewed"]


def test_a_beginning_that_is_tried_again_is_incomplete_once(life: Life) -> None:
    made = life.subscribe(life.method(BAD))["id"]
    pay = life.town.client.v1.invoices.pay
    with pytest.raises(stripe.CardError):
        pay(last_invoice(life, made), {"payment_method": life.method(BAD)})
    pay(last_invoice(life, made), {"payment_method": life.method(GOOD)})
    assert [code for code in life.told() if code.startswith("subscription.")] == [
        "subscription.created",
        "subscription.incomplete",
        "subscription.activated",
        "subscription.updated",
    ]


def test_a_beginning_that_the_customer_has_to_confirm_is_not_incomplete(life: Life) -> None:
    made = life.subscribe(life.method("4000000000003220"))
    assert made["status"] == "pending"
    life.town.authenticate(life.town.intent_of(last_invoice(life, made["id"])).id)
    assert [code for code in life.told() if code.startswith("subscription.")] == [
        "subscription.created",
        "subscription.activated",
        "subscription.updated",
    ]


# ─── Billing invoices ────────────────────────────────────────────────────────────────────────


def charges_told(life: Life) -> list[tuple[str, str]]:
    """The codes of a billing invoice's charges, and what the charges were."""
    found = life.frame.get("/v1/events", per_page=100)["data"]
    return [
        (each["type"].rpartition(".")[2], each["data"]["id"])
        for each in reversed(found)
        if each["type"].startswith("billing.charge.")
    ]


def test_each_charge_of_a_billing_invoice_is_told_as_itself(life: Life) -> None:
    """Though by now there are several."""
    invoice = bill(life, life.method(BAD))["id"]
    life.town.advance(life.clock, JULY + DAY + 12 * HOUR)
    life.town.client.v1.invoices.pay(invoice, {"payment_method": life.method(GOOD)})
    found = life.frame.get("/v1/charges")["data"]
    made = [(each["status"], each["id"]) for each in reversed(found)]
    assert charges_told(life) == made
    assert [status for status, _ in made] == ["failed", "failed", "succeeded"]


def test_a_billing_invoice_that_was_paid_elsewhere_was_not_charged(life: Life) -> None:
    """By another payment of the customer's, after its own charge was declined."""
    invoice = bill(life, life.method(BAD))["id"]
    method = life.town.pays_with(life.id, "pm_card_visa")
    v1 = life.town.client.v1
    paid = v1.payment_intents.create(
        {
            "customer": life.id,
            "amount": 500,
            "currency": "usd",
            "payment_method": method,
            "confirm": True,
            "off_session": True,
        }
    )
    v1.invoices.attach_payment(invoice, {"payment_intent": paid.id})
    assert life.frame.get(f"/v1/invoices/{invoice}")["status"] == "paid"
    assert [status for status, _ in charges_told(life)] == ["failed"]
