"""Invoices that are sent, and paid by the customer when it suits."""

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def sent(town: Town, clock: str, *prices: str, days: int = 30) -> stripe.Subscription:
    """A subscription of a customer without any card."""
    return town.subscribe(
        town.customer(clock, None),
        *prices,
        collection_method="send_invoice",
        days_until_due=days,
    )


def test_the_customer_pays_later(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock, fee(town))

    # 1 January: it is active without a payment; its first invoice is a draft for an hour.
    assert (subscription.status, subscription.days_until_due) == ("active", 30)
    [draft] = town.invoices(subscription.id)
    assert (draft.status, draft.number, draft.due_date) == ("draft", None, None)
    assert draft.automatically_finalizes_at == JANUARY + HOUR
    assert draft.next_payment_attempt is None
    assert (draft.period_start, draft.period_end) == (JANUARY, JANUARY)

    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.collection_method) == ("open", "send_invoice")
    assert invoice.due_date == JANUARY + HOUR + 30 * DAY
    assert (invoice.attempted, invoice.attempt_count) == (False, 0)

    # 20 January: a bank transfer.
    town.advance(clock, JANUARY + 19 * DAY)
    invoice = town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (invoice.status, invoice.attempt_count) == ("paid", 0)

    # 1 February: the next one.
    town.advance(clock, FEBRUARY + HOUR)
    _, second = town.invoices(subscription.id)
    assert (second.status, second.billing_reason) == ("open", "subscription_cycle")
    assert second.due_date == FEBRUARY + HOUR + 30 * DAY
    town.client.v1.invoices.void_invoice(second.id)
    assert town.subscription(subscription.id).status == "active"


def test_nobody_is_charged_although_there_is_a_card(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(
        customer, fee(town), collection_method="send_invoice", days_until_due=0
    )
    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.attempted) == ("open", False)
    assert invoice.due_date == JANUARY + HOUR

    assert town.client.v1.invoices.pay(invoice.id).status == "paid"


def test_usage_of_a_sent_subscription_is_billed_in_arrears(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock, town.metered(unit_amount=5))
    assert (subscription.status, subscription.latest_invoice) == ("active", None)
    town.use(str(subscription.customer), "100")
    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert (upcoming.total, upcoming.next_payment_attempt) == (500, None)

    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.total) == ("open", 500)
    town.client.v1.invoices.void_invoice(invoice.id)


def test_one_of_zero_is_paid_when_it_is_final(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock, town.metered(unit_amount=5))
    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.total) == ("paid", 0)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"days_until_due": 30}, "days_until_due"),
        ({"collection_method": "send_invoice", "days_until_due": -1}, "days_until_due"),
        ({"collection_method": "carrier_pigeon"}, "collection_method"),
    ],
)
def test_terms_that_do_not_fit_are_refused(
    town: Town, given: dict[str, object], param: str
) -> None:
    customer = town.customer(None)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.subscribe(customer, fee(town), **given)
    assert (refused.value.http_status, refused.value.param) == (400, param)


def test_how_it_is_collected_changes_with_the_next_invoice(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock, fee(town), days=9)
    subscriptions = town.client.v1.subscriptions
    town.advance(clock, JANUARY + HOUR)

    charged = subscriptions.update(subscription.id, {"collection_method": "charge_automatically"})
    assert (charged.collection_method, charged.days_until_due) == ("charge_automatically", None)
    later = subscriptions.update(
        subscription.id, {"collection_method": "send_invoice", "days_until_due": 5}
    )
    assert (later.collection_method, later.days_until_due) == ("send_invoice", 5)
    assert subscriptions.update(subscription.id, {"days_until_due": 7}).days_until_due == 7

    town.advance(clock, FEBRUARY + HOUR)
    first, second = town.invoices(subscription.id)
    assert first.due_date == JANUARY + HOUR + 9 * DAY
    assert second.due_date == FEBRUARY + HOUR + 7 * DAY
    for each in (first, second):
        town.client.v1.invoices.void_invoice(each.id)


@pytest.mark.parametrize(
    "given",
    [
        {"collection_method": "send_invoice"},
        {"days_until_due": 30},
        {"collection_method": "charge_automatically", "days_until_due": 30},
    ],
    ids=["sent", "days", "charged"],
)
def test_a_charged_subscription_gets_no_terms_that_do_not_fit(
    town: Town, given: dict[str, Any]
) -> None:
    subscription = town.subscribe(town.customer(None), fee(town))
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.client.v1.subscriptions.update(subscription.id, given)
    assert (refused.value.http_status, refused.value.param) == (400, "days_until_due")
    assert town.subscription(subscription.id).collection_method == "charge_automatically"
