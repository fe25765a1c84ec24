"""Payments that are nobody's invoice, and those of invoices, as payment intents and charges."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
BROKE = "pm_card_chargeDeclinedInsufficientFunds"


def types(town: Town, *object_ids: str) -> list[str]:
    return [each.type for each in town.events(*object_ids)]


def intent(town: Town, **more: Any) -> stripe.PaymentIntent:
    given: Any = {"amount": 1200, "currency": "usd", **more}
    return town.client.v1.payment_intents.create(given)


# ─── By themselves ───────────────────────────────────────────────────────────────────────────


def test_a_payment_that_is_nobodys_invoice(town: Town) -> None:
    v1 = town.client.v1
    made = intent(
        town,
        description="A cap",
        metadata={"order": "7"},
        automatic_payment_methods={"enabled": True},
    )
    assert (made.status, made.amount, made.amount_received) == ("requires_payment_method", 1200, 0)
    assert (made.customer, made.latest_charge, made.payment_method) == (None, None, None)
    assert made.client_secret is not None
    assert made.client_secret.startswith(f"{made.id}_secret_")

    paid = v1.payment_intents.confirm(made.id, {"payment_method": "pm_card_visa"})

    assert (paid.status, paid.amount_received) == ("succeeded", 1200)
    assert isinstance(paid.latest_charge, str)
    charge = v1.charges.retrieve(paid.latest_charge, {"expand": ["payment_intent"]})
    assert (charge.status, charge.paid, charge.amount_captured) == ("succeeded", True, 1200)
    assert charge.payment_method_details is not None
    assert charge.payment_method_details.card is not None
    assert charge.payment_method_details.card.last4 == "4242"
    assert isinstance(charge.payment_intent, stripe.PaymentIntent)
    assert charge.payment_intent.id == made.id
    assert [each.id for each in v1.charges.list({"payment_intent": made.id}).data] == [charge.id]
    assert types(town, made.id, charge.id) == [
        "payment_intent.created",
        "payment_intent.succeeded",
        "charge.succeeded",
    ]
    for refused in (
        lambda: v1.payment_intents.confirm(made.id),
        lambda: v1.payment_intents.cancel(made.id),
        lambda: v1.payment_intents.capture(made.id),
        lambda: v1.payment_intents.update(made.id, {"amount": 1300}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as error:
            refused()
        assert error.value.code == "payment_intent_unexpected_state"
    labelled = v1.payment_intents.update(made.id, {"metadata": {"order": "8"}})
    assert (labelled.metadata["order"], labelled.description) == ("8", "A cap")


def test_a_decline_is_an_error_that_says_of_what_and_says_it_again(town: Town) -> None:
    v1 = town.client.v1
    customer = town.customer(None, None)
    made = intent(town, customer=customer)

    bodies = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            v1.payment_intents.confirm(
                made.id, {"payment_method": BROKE}, {"idempotency_key": f"once {made.id}"}
            )
        bodies.append(declined.value.json_body)
    error = declined.value.error
    assert (declined.value.http_status, error.code) == (402, "card_declined")
    assert error.decline_code == "insufficient_funds"
    assert error.payment_intent is not None
    assert error.payment_intent.id == made.id
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_method is not None
    assert error.payment_method.card is not None
    assert error.payment_method.card.last4 == "9995"
    assert bodies[0] == bodies[1]

    # It was tried once, and is tried again with something else.
    found = v1.payment_intents.retrieve(made.id)
    assert found.last_payment_error is not None
    assert found.last_payment_error.decline_code == "insufficient_funds"
    [failed] = v1.charges.list({"customer": customer}).data
    assert (failed.status, failed.failure_code, failed.id) == (
        "failed",
        "card_declined",
        error.charge,
    )
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        v1.payment_intents.confirm(made.id)
    paid = v1.payment_intents.confirm(made.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert [each.status for each in v1.charges.list({"customer": customer}).data] == [
        "succeeded",
        "failed",
    ]


def test_one_that_is_paid_as_it_is_made(town: Town) -> None:
    v1 = town.client.v1
    customer = town.customer(town.clock())
    card = v1.customers.retrieve(customer).invoice_settings.default_payment_method
    paid = intent(town, customer=customer, payment_method=card, confirm=True, off_session=True)
    assert (paid.status, paid.customer, paid.created) == ("succeeded", customer, MONTH_BEGINS)

    with pytest.raises(stripe.CardError) as declined:
        intent(town, customer=customer, payment_method=BROKE, confirm=True)
    left = declined.value.error.payment_intent
    assert left is not None
    assert v1.payment_intents.retrieve(left.id).status == "requires_payment_method"
    found = v1.payment_intents.list({"customer": customer}).data
    assert [each.id for each in found] == [left.id, paid.id]
    assert v1.payment_intents.cancel(left.id, {"cancellation_reason": "duplicate"}).status == (
        "canceled"
    )


def test_what_may_change_before_it_is_paid(town: Town) -> None:
    v1 = town.client.v1
    customer = town.customer(None)
    made = intent(town)
    changed = v1.payment_intents.update(
        made.id,
        {
            "amount": 1500,
            "customer": customer,
            "description": "A hat",
            "payment_method": "pm_card_mastercard",
            "setup_future_usage": "off_session",
        },
    )
    assert (changed.amount, changed.customer, changed.status) == (
        1500,
        customer,
        "requires_confirmation",
    )
    other = town.customer(None)
    for refused in ({"customer": other}, {"amount": 0}):
        with pytest.raises(stripe.InvalidRequestError):
            v1.payment_intents.update(made.id, refused)  # type: ignore[arg-type]

    paid = v1.payment_intents.confirm(made.id, {"expand": ["payment_method"]})

    # Who is to be charged again later keeps the card.
    assert (paid.status, paid.amount_received) == ("succeeded", 1500)
    assert isinstance(paid.payment_method, stripe.PaymentMethod)
    assert paid.payment_method.customer == customer
    assert "payment_method.attached" in types(town, paid.payment_method.id)


def test_a_card_of_somebody_else_is_not_charged(town: Town) -> None:
    v1 = town.client.v1
    ada, bob = town.customer(None), town.customer(None)
    card = v1.customers.retrieve(ada).invoice_settings.default_payment_method
    assert isinstance(card, str)
    for made in (intent(town, customer=bob), intent(town)):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            v1.payment_intents.confirm(made.id, {"payment_method": card})
        assert refused.value.param == "payment_method"
        assert v1.payment_intents.retrieve(made.id).status == "requires_payment_method"
    assert v1.charges.list().data == []


def test_what_is_not_done_here_is_refused_by_name(town: Town) -> None:
    for given, param in (
        ({"capture_method": "manual"}, "capture_method"),
        ({"confirmation_method": "manual"}, "confirmation_method"),
        ({"off_session": True}, "off_session"),
        ({"customer": "cus_nobody"}, "customer"),
        ({"payment_method": "pm_nobody"}, "payment_method"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            intent(town, **given)
        assert refused.value.param == param
    assert town.client.v1.payment_intents.list().data == []
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        town.client.v1.payment_intents.retrieve("pi_nobody")
    assert (unknown.value.http_status, unknown.value.param) == (404, "intent")


def test_a_bank_debit_takes_its_time(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    customer = town.customer(clock, None)
    made = intent(town, customer=customer)
    processing = v1.payment_intents.confirm(made.id, {"payment_method": "pm_usBankAccount_success"})
    assert processing.status == "processing"
    [charge] = v1.charges.list({"payment_intent": made.id}).data
    assert (charge.status, charge.paid) == ("pending", False)
    with pytest.raises(stripe.InvalidRequestError):
        v1.payment_intents.cancel(made.id)

    town.advance(clock, MONTH_BEGINS + HOUR)

    assert v1.payment_intents.retrieve(made.id).status == "succeeded"
    assert v1.charges.retrieve(charge.id).status == "succeeded"
    assert types(town, made.id, charge.id) == [
        "payment_intent.created",
        "payment_intent.processing",
        "charge.pending",
        "payment_intent.succeeded",
        "charge.succeeded",
    ]


# ─── Of invoices ─────────────────────────────────────────────────────────────────────────────


def test_an_invoices_payment_is_confirmed_with_whatever_the_customer_has(town: Town) -> None:
    v1 = town.client.v1
    customer = town.customer(town.clock(), None)
    subscription = town.subscribe(
        customer,
        town.price(unit_amount=10000),
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    )
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.confirmation_secret is not None
    made = town.intent_of(invoice.id)
    assert invoice.confirmation_secret.client_secret == made.client_secret
    assert (made.amount, made.description) == (10000, "Subscription creation")
    for refused in (
        lambda: v1.payment_intents.cancel(made.id),
        lambda: v1.payment_intents.update(made.id, {"amount": 1}),
    ):
        with pytest.raises(stripe.InvalidRequestError):
            refused()

    paid = v1.payment_intents.confirm(made.id, {"payment_method": "pm_card_visa"})

    assert (paid.status, paid.amount_received) == ("succeeded", 10000)
    assert town.subscription(subscription.id).status == "active"
    [payment] = v1.invoice_payments.list({"invoice": invoice.id, "status": "paid"}).data
    assert (payment.amount_paid, payment.is_default) == (10000, True)
    assert payment.payment.payment_intent == made.id
    same: Any = {"payment": {"type": "payment_intent", "payment_intent": made.id}}
    assert [each.id for each in v1.invoice_payments.list(same).data] == [payment.id]
    assert v1.invoice_payments.retrieve(payment.id).status == "paid"
    over = v1.invoices.retrieve(str(invoice.id), {"expand": ["confirmation_secret"]})
    assert over.confirmation_secret is None
    # The card that paid for a subscription is kept, to pay for it again.
    kept = v1.payment_methods.retrieve(str(paid.payment_method))
    assert kept.customer == customer


def test_a_declined_renewal_is_paid_by_confirming_it(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.price(unit_amount=10000))
    town.pays_with(customer, "pm_card_chargeDeclined_insufficient_funds")
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    february = town.invoices(subscription.id)[-1]
    failed = town.intent_of(february.id)
    assert failed.last_payment_error is not None
    assert (failed.status, failed.last_payment_error.decline_code) == (
        "requires_payment_method",
        "insufficient_funds",
    )

    paid = v1.payment_intents.confirm(failed.id, {"payment_method": "pm_card_visa"})

    assert paid.status == "succeeded"
    assert town.subscription(subscription.id).status == "active"
    assert town.invoices(subscription.id)[-1].status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        v1.invoices.pay(str(february.id))
