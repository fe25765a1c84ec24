"""The first payment: made, declined and made good, never made, or not to be tried at all."""

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
DECLINED = "pm_card_chargeCustomerFail"


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def test_a_declined_card_is_replaced_in_time(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)

    # 1 January: the card says no. Nothing runs yet, and nothing is lost.
    subscription = town.subscribe(customer, fee(town), expand=["latest_invoice"])
    invoice = subscription.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert subscription.status == "incomplete"
    assert (invoice.status, invoice.amount_due, invoice.amount_paid) == ("open", 10000, 0)
    assert (invoice.attempted, invoice.attempt_count) == (True, 1)
    assert invoice.next_payment_attempt is None

    # Twenty hours later another card says yes. The month is counted from when it began.
    town.advance(clock, JANUARY + 20 * HOUR)
    card = town.pays_with(customer, "pm_card_visa")
    invoice = town.client.v1.invoices.pay(invoice.id, {"payment_method": card})
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("paid", 10000, 0)
    assert invoice.status_transitions.paid_at == JANUARY + 20 * HOUR
    assert invoice.attempt_count == 1  # the customer's own tries are not counted

    subscription = town.subscription(subscription.id)
    assert subscription.status == "active"
    assert subscription.billing_cycle_anchor == JANUARY
    [item] = subscription["items"].data
    assert (item.current_period_start, item.current_period_end) == (JANUARY, FEBRUARY)

    # 1 February: it renews like any other.
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.status for each in town.invoices(subscription.id)] == ["paid", "paid"]


def test_after_23_hours_it_is_too_late(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    subscription = town.subscribe(customer, fee(town))

    town.advance(clock, JANUARY + 23 * HOUR - 1)
    assert town.subscription(subscription.id).status == "incomplete"

    town.advance(clock, JANUARY + 23 * HOUR)
    subscription = town.subscription(subscription.id)
    assert subscription.status == "incomplete_expired"
    assert subscription.ended_at == JANUARY + 23 * HOUR
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.number is not None) == ("void", True)
    assert invoice.status_transitions.voided_at == JANUARY + 23 * HOUR

    # And for ever after.
    card = town.pays_with(customer, "pm_card_visa")
    with pytest.raises(stripe.InvalidRequestError):
        town.client.v1.invoices.pay(invoice.id, {"payment_method": card})
    town.advance(clock, JANUARY + 400 * DAY)
    assert town.invoices(subscription.id) == [invoice]


def test_a_second_card_may_be_declined_too(town: Town) -> None:
    customer = town.customer(town.clock(), DECLINED)
    subscription = town.subscribe(customer, fee(town))
    [invoice] = town.invoices(subscription.id)
    card = town.pays_with(customer, "pm_card_chargeDeclined_insufficient_funds")

    with pytest.raises(stripe.CardError) as declined:
        town.client.v1.invoices.pay(invoice.id, {"payment_method": card})

    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert declined.value.error.decline_code == "insufficient_funds"
    assert declined.value.user_message == "Your card has insufficient funds."
    assert town.invoices(subscription.id)[0].status == "open"
    assert town.subscription(subscription.id).status == "incomplete"


def test_without_a_payment_method_it_waits_for_one(town: Town) -> None:
    customer = town.customer(town.clock(), None)
    subscription = town.subscribe(customer, fee(town))
    [invoice] = town.invoices(subscription.id)
    assert (subscription.status, invoice.status) == ("incomplete", "open")
    with pytest.raises(stripe.InvalidRequestError, match="no default payment method"):
        town.client.v1.invoices.pay(invoice.id)

    town.pays_with(customer, "pm_card_visa")
    assert town.client.v1.invoices.pay(invoice.id).status == "paid"
    assert town.subscription(subscription.id).status == "active"


# ─── default_incomplete ──────────────────────────────────────────────────────────────────────


def test_default_incomplete_tries_nothing_until_the_customer_pays(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), payment_behavior="default_incomplete")
    [invoice] = town.invoices(subscription.id)
    assert (subscription.status, invoice.status) == ("incomplete", "open")
    assert (invoice.attempted, invoice.attempt_count) == (False, 0)

    town.advance(clock, JANUARY + 22 * HOUR)
    assert town.invoices(subscription.id)[0].attempted is False

    invoice = town.client.v1.invoices.pay(invoice.id)
    assert (invoice.status, invoice.attempted, invoice.attempt_count) == ("paid", True, 1)
    assert town.subscription(subscription.id).status == "active"


def test_default_incomplete_with_nothing_to_pay_is_active(town: Town) -> None:
    customer = town.customer(town.clock())
    usage = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, usage, payment_behavior="default_incomplete")
    assert (subscription.status, subscription.latest_invoice) == ("active", None)


def test_a_first_invoice_of_zero_is_paid_without_a_card(town: Town) -> None:
    customer = town.customer(town.clock(), None)
    subscription = town.subscribe(customer, town.price(unit_amount=0))
    [invoice] = town.invoices(subscription.id)
    assert subscription.status == "active"
    assert (invoice.status, invoice.total, invoice.attempt_count) == ("paid", 0, 0)
    assert invoice.number is not None


# ─── error_if_incomplete ─────────────────────────────────────────────────────────────────────


def test_error_if_incomplete_says_so_and_says_it_again(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    asked = {
        "customer": customer,
        "items": [{"price": fee(town)}],
        "payment_behavior": "error_if_incomplete",
    }

    answers = []
    for _ in range(3):
        with pytest.raises(stripe.CardError) as declined:
            town.client.v1.subscriptions.create(
                asked,  # type: ignore[arg-type]
                {"idempotency_key": "the only time"},
            )
        answers.append(declined.value)

    first, *repeats = answers
    assert (first.http_status, first.code) == (402, "card_declined")
    assert first.error.decline_code == "generic_decline"
    assert first.error.type == "card_error"
    for repeat in repeats:
        assert (repeat.http_status, repeat.json_body) == (402, first.json_body)
        assert repeat.headers["idempotent-replayed"] == "true"

    # It was tried once, nothing is owed, and nothing runs.
    [attempted] = town.client.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    [invoice] = town.invoices(attempted.id)
    assert (attempted.status, invoice.status) == ("incomplete_expired", "void")
    assert invoice.attempt_count == 1
    town.advance(clock, FEBRUARY + HOUR)
    assert town.invoices(attempted.id) == [invoice]


def test_error_if_incomplete_without_a_payment_method_creates_nothing(town: Town) -> None:
    customer = town.customer(town.clock(), None)
    asked = {
        "customer": customer,
        "items": [{"price": fee(town)}],
        "payment_behavior": "error_if_incomplete",
    }
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            town.client.v1.subscriptions.create(
                asked,  # type: ignore[arg-type]
                {"idempotency_key": "the only time"},
            )
        assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")
    found = town.client.v1.subscriptions.list({"customer": customer, "status": "all"})
    assert found.data == []


def test_error_if_incomplete_with_a_good_card_is_no_error(town: Town) -> None:
    customer = town.customer(town.clock())
    subscription = town.subscribe(customer, fee(town), payment_behavior="error_if_incomplete")
    assert subscription.status == "active"


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"trial_period_days": 7}, "trialing"),
        ({"collection_method": "send_invoice", "days_until_due": 3}, "active"),
        ({"billing_cycle_anchor": FEBRUARY - DAY, "proration_behavior": "none"}, "active"),
    ],
)
def test_error_if_incomplete_with_nothing_to_pay_now_is_no_error(
    town: Town, terms: dict[str, Any], status: str
) -> None:
    clock = town.clock()
    terms = {"payment_behavior": "error_if_incomplete", **terms}
    assert town.subscribe(town.customer(clock, None), fee(town), **terms).status == status
    town.advance(clock, JANUARY + HOUR)


# ─── Given up ────────────────────────────────────────────────────────────────────────────────


def test_one_that_waits_can_be_cancelled(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    subscription = town.subscribe(customer, fee(town))

    over = town.client.v1.subscriptions.cancel(subscription.id)

    assert (over.status, over.ended_at) == ("incomplete_expired", JANUARY)
    assert [each.status for each in town.invoices(subscription.id)] == ["void"]
    town.advance(clock, FEBRUARY + HOUR)
    assert len(town.invoices(subscription.id)) == 1


def test_voiding_the_first_invoice_ends_one_that_waits_for_it(town: Town) -> None:
    customer = town.customer(town.clock(), DECLINED)
    subscription = town.subscribe(customer, fee(town))
    [invoice] = town.invoices(subscription.id)

    assert town.client.v1.invoices.void_invoice(invoice.id).status == "void"
    assert town.subscription(subscription.id).status == "incomplete_expired"


def test_one_that_waits_cannot_be_asked_to_end_later(town: Town) -> None:
    customer = town.customer(town.clock(), DECLINED)
    subscription = town.subscribe(customer, fee(town))
    with pytest.raises(stripe.InvalidRequestError):
        town.client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    changed = town.client.v1.subscriptions.update(subscription.id, {"metadata": {"tried": "1"}})
    assert (changed.status, changed.metadata["tried"]) == ("incomplete", "1")
