"""Customers who must prove who they are: there or away, in time or too late, and with two cards."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
ALWAYS = "pm_card_authenticationRequired"  # also when nobody is there, and is declined then
KNOWN = "pm_card_authenticationRequiredOnSetup"  # not when nobody is there


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def types(town: Town, *object_ids: str | None) -> list[str]:
    return [each.type for each in town.events(*map(str, object_ids))]


def waiting(town: Town, clock: str, card: str = ALWAYS) -> tuple[str, stripe.Subscription, str]:
    """A customer who has to authenticate a first payment, the subscription, and its invoice."""
    customer = town.customer(clock, card)
    subscription = town.subscribe(customer, fee(town))
    assert isinstance(subscription.latest_invoice, str)
    return customer, subscription, subscription.latest_invoice


def test_a_first_payment_waits_for_its_customer(town: Town) -> None:
    _, subscription, invoice_id = waiting(town, town.clock())

    assert subscription.status == "incomplete"
    intent = town.intent_of(invoice_id)
    assert (intent.status, intent.amount_received) == ("requires_action", 0)
    assert intent.next_action is not None
    assert intent.next_action.type == "use_stripe_sdk"
    assert intent.latest_charge is None
    expand = ["confirmation_secret"]
    invoice = town.client.v1.invoices.retrieve(invoice_id, {"expand": expand})
    assert (invoice.status, invoice.attempted) == ("open", True)
    assert invoice.confirmation_secret is not None
    assert "invoice.payment_action_required" in types(town, invoice_id)
    assert "invoice.payment_failed" not in types(town, invoice_id)
    assert types(town, intent.id)[-1] == "payment_intent.requires_action"

    # To ask again changes nothing; then the customer comes.
    assert town.client.v1.payment_intents.confirm(intent.id).status == "requires_action"
    after = town.authenticate(intent.id)
    assert after["status"] == "succeeded"
    assert town.subscription(subscription.id).status == "active"
    assert [each.status for each in town.invoices(subscription.id)] == ["paid"]
    assert types(town, intent.id) == [
        "payment_intent.created",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
    ]
    with pytest.raises(stripe.InvalidRequestError, match="waits for nothing"):
        town.authenticate(intent.id)


def test_a_customer_who_fails_may_use_another_card(town: Town) -> None:
    _, subscription, invoice_id = waiting(town, town.clock())
    intent = town.intent_of(invoice_id)

    after = town.authenticate(intent.id, "fail")

    assert after["status"] == "requires_payment_method"
    assert after["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert town.subscription(subscription.id).status == "incomplete"
    assert "invoice.payment_failed" in types(town, invoice_id)
    paid = town.client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    assert town.subscription(subscription.id).status == "active"


def test_after_23_hours_it_is_too_late_for_the_customer_too(town: Town) -> None:
    clock = town.clock()
    _, subscription, invoice_id = waiting(town, clock)
    intent = town.intent_of(invoice_id)

    town.advance(clock, MONTH_BEGINS + 23 * HOUR)

    assert town.subscription(subscription.id).status == "incomplete_expired"
    assert [each.status for each in town.invoices(subscription.id)] == ["void"]
    over = town.client.v1.payment_intents.retrieve(intent.id)
    assert (over.status, over.cancellation_reason, over.next_action) == (
        "canceled",
        "void_invoice",
        None,
    )
    with pytest.raises(stripe.InvalidRequestError):
        town.authenticate(intent.id)
    town.advance(clock, MONTH_BEGINS + 25 * HOUR)  # what waited at the gateway is given up there
    assert town.client.v1.charges.list({"payment_intent": intent.id}).data == []


def test_an_incomplete_subscription_may_be_an_error(town: Town) -> None:
    customer = town.customer(town.clock(), ALWAYS)
    asked: Any = {
        "customer": customer,
        "items": [{"price": fee(town)}],
        "payment_behavior": "error_if_incomplete",
    }
    with pytest.raises(stripe.CardError) as refused:
        town.client.v1.subscriptions.create(asked)

    assert (refused.value.http_status, refused.value.code) == (
        402,
        "subscription_payment_intent_requires_action",
    )
    [over] = town.client.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    assert over.status == "incomplete_expired"
    assert [each.status for each in town.invoices(over.id)] == ["void"]


def test_nobody_is_there_when_it_is_said_so(town: Town) -> None:
    customer = town.customer(town.clock(), KNOWN)
    assert town.subscribe(customer, fee(town), off_session=True).status == "active"
    assert town.subscribe(customer, fee(town)).status == "incomplete"
    away = town.customer(town.clock(), ALWAYS)
    declined = town.subscribe(away, fee(town), off_session=True)
    assert declined.status == "incomplete"
    assert town.intent_of(str(declined.latest_invoice)).status == "requires_payment_method"


def test_a_renewal_is_off_session_and_its_customer_is_asked_to_come(town: Town) -> None:
    v1 = town.client.v1
    clock = town.clock()
    customer, subscription, first = waiting(town, clock)
    town.authenticate(town.intent_of(first).id)

    # 1 February: nobody is there, and the bank insists.
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    february = town.invoices(subscription.id)[-1]
    intent = town.intent_of(february.id)
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error is not None
    assert intent.last_payment_error.code == "authentication_required"
    told = types(town, february.id)
    assert told.index("invoice.payment_failed") < told.index("invoice.payment_action_required")

    # So are they who pay by hand, unless it is said that they are there.
    with pytest.raises(stripe.CardError) as declined:
        v1.invoices.pay(str(february.id))
    assert declined.value.code == "authentication_required"
    with pytest.raises(stripe.CardError) as waits:
        v1.invoices.pay(str(february.id), {"off_session": False})
    assert waits.value.code == "invoice_payment_intent_requires_action"
    assert waits.value.error.payment_intent is not None
    assert waits.value.error.payment_intent.status == "requires_action"

    # The customer comes.
    town.authenticate(intent.id)
    assert town.subscription(subscription.id).status == "active"
    assert v1.customers.retrieve(customer).delinquent is False


def test_a_payment_that_waits_is_replaced_by_another_card(town: Town) -> None:
    clock = town.clock()
    _, subscription, invoice_id = waiting(town, clock)
    intent = town.intent_of(invoice_id)

    paid = town.client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

    assert paid.status == "succeeded"
    assert town.subscription(subscription.id).status == "active"
    [charge] = town.client.v1.charges.list({"payment_intent": intent.id}).data
    assert (charge.status, charge.amount) == ("succeeded", 10000)
    with pytest.raises(stripe.InvalidRequestError):
        town.authenticate(intent.id)


def test_a_change_that_waits_for_its_customer(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.pays_with(customer, ALWAYS)
    town.advance(clock, MONTH_BEGINS + 31 * DAY // 2)
    item = subscription["items"].data[0].id
    asked: Any = {
        "items": [{"id": item, "quantity": 3}],
        "proration_behavior": "always_invoice",
    }
    with pytest.raises(stripe.CardError) as refused:
        town.client.v1.subscriptions.update(
            subscription.id, {**asked, "payment_behavior": "error_if_incomplete"}
        )
    assert refused.value.code == "subscription_payment_intent_requires_action"
    unchanged = town.subscription(subscription.id)
    assert (unchanged.status, unchanged["items"].data[0].quantity) == ("active", 1)

    held = town.client.v1.subscriptions.update(
        subscription.id, {**asked, "payment_behavior": "pending_if_incomplete"}
    )
    assert held.pending_update is not None
    town.authenticate(town.intent_of(str(held.latest_invoice)).id)
    after = town.subscription(subscription.id)
    assert (after.pending_update, after["items"].data[0].quantity) == (None, 3)


def test_a_payment_by_itself_that_waits_may_be_given_up(town: Town) -> None:
    v1 = town.client.v1
    made = v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "confirm": True, "payment_method": ALWAYS}
    )
    assert made.status == "requires_action"
    over = v1.payment_intents.cancel(made.id, {"cancellation_reason": "abandoned"})
    assert (over.status, over.cancellation_reason) == ("canceled", "abandoned")
    assert over.latest_charge is None  # there is none: nobody was charged
    for act in (lambda: town.authenticate(made.id), lambda: v1.payment_intents.confirm(made.id)):
        with pytest.raises(stripe.InvalidRequestError):
            act()
    assert v1.charges.list().data == []
