"""What a preview says before it happens, and that then it happens so."""

from typing import Any

import pytest
import stripe
from previewing import assert_as_previewed
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def preview(town: Town, **asked: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(asked)  # type: ignore[arg-type]


def nothing_upcoming(town: Town, **asked: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices") as refused:
        preview(town, **asked)
    assert (refused.value.http_status, refused.value.code) == (400, "invoice_upcoming_none")


def test_the_next_invoice_is_what_the_preview_said(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, email="ada@example.com")
    subscription = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), metadata={"plan": "gold"}
    )
    town.use(customer, "100")
    town.advance(clock, JANUARY + 20 * DAY)
    town.use(customer, "23")

    upcoming = preview(town, subscription=subscription.id)

    assert upcoming.id.startswith("upcoming_in_")
    assert (upcoming.status, upcoming.billing_reason) == ("draft", "upcoming")
    assert (upcoming.number, upcoming.attempted, upcoming.attempt_count) == (None, False, 0)
    assert upcoming.created == FEBRUARY
    assert upcoming.next_payment_attempt == FEBRUARY + HOUR
    assert (upcoming.period_start, upcoming.period_end) == (JANUARY, FEBRUARY)
    assert upcoming.total == 10000 + 123 * 5
    town.advance(clock, FEBRUARY + HOUR)
    _, invoice = town.invoices(subscription.id)
    assert_as_previewed(invoice, upcoming)


def test_asking_changes_nothing(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    events = town.events()
    for _ in range(3):
        preview(town, subscription=subscription.id)
        preview(town, customer=customer)
        preview(town, customer=customer, subscription_details={"items": [{"price": fee(town)}]})
    assert len(town.invoices(subscription.id)) == 1
    new = [each.type for each in town.events()[len(events) :]]
    assert set(new) == {"price.created", "product.created"}  # for the third preview


def test_a_preview_moves_on_with_the_period(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=5))
    town.use(customer, "100")
    assert preview(town, subscription=subscription.id).total == 500

    # In the hour of grace the draft is January's, and what is upcoming is February's.
    town.advance(clock, FEBRUARY + 60)
    town.use(customer, "3")
    upcoming = preview(town, subscription=subscription.id)
    assert (upcoming.total, upcoming.created) == (15, MARCH)
    [draft] = town.invoices(subscription.id)
    assert (draft.status, draft.total) == ("draft", 500)
    town.advance(clock, FEBRUARY + HOUR)


def test_one_that_waits_for_its_payment_shows_what_comes_once_it_is_paid(town: Town) -> None:
    customer = town.customer(town.clock())
    subscription = town.subscribe(customer, fee(town), payment_behavior="default_incomplete")
    upcoming = preview(town, subscription=subscription.id)
    assert (upcoming.total, upcoming.created) == (10000, FEBRUARY)


# ─── By customer ─────────────────────────────────────────────────────────────────────────────


def test_by_customer_it_is_the_invoice_that_comes_first(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    town.subscribe(customer, fee(town))
    town.advance(clock, JANUARY + DAY)
    weekly = town.subscribe(customer, town.price(unit_amount=100, recurring={"interval": "week"}))
    upcoming = preview(town, customer=customer)
    assert upcoming.parent is not None
    assert upcoming.parent.subscription_details is not None
    assert upcoming.parent.subscription_details.subscription == weekly.id
    assert (upcoming.total, upcoming.created) == (100, JANUARY + 8 * DAY)
    assert preview(town, customer=customer, subscription=weekly.id).total == 100


def test_one_that_ends_with_nothing_to_bill_is_passed_over(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    town.subscribe(
        customer,
        town.price(unit_amount=100, recurring={"interval": "week"}),
        cancel_at_period_end=True,
    )
    monthly = town.subscribe(customer, fee(town))
    assert preview(town, customer=customer).total == 10000
    town.client.v1.subscriptions.cancel(monthly.id)
    nothing_upcoming(town, customer=customer)


def test_a_customer_without_a_subscription_has_nothing_upcoming(town: Town) -> None:
    customer = town.customer(town.clock())
    nothing_upcoming(town, customer=customer)
    subscription = town.subscribe(customer, fee(town))
    town.client.v1.subscriptions.cancel(subscription.id)
    nothing_upcoming(town, customer=customer)
    nothing_upcoming(town, subscription=subscription.id)


# ─── Of a subscription that is not there yet ─────────────────────────────────────────────────


def test_a_new_subscription_can_be_previewed_and_costs_that(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    items = [{"price": fee(town), "quantity": 3}, {"price": town.metered(unit_amount=5)}]

    first = preview(town, customer=customer, subscription_details={"items": items})
    assert first.total == 30000
    assert (first.period_start, first.period_end) == (JANUARY, JANUARY)
    assert [(line.period.start, line.period.end) for line in first.lines.data] == [
        (JANUARY, FEBRUARY)
    ]
    assert town.client.v1.subscriptions.list({"customer": customer}).data == []

    subscription = town.subscribe(customer, items=items)
    [invoice] = town.invoices(subscription.id)
    assert invoice.total == first.total
    assert [line.description for line in invoice.lines.data] == [
        line.description for line in first.lines.data
    ]


def test_a_new_classic_subscription_shows_its_usage_of_zero(town: Town) -> None:
    customer = town.customer(town.clock())
    items = [{"price": town.metered(unit_amount=5)}]
    details = {"items": items, "billing_mode": {"type": "classic"}}
    first = preview(town, customer=customer, subscription_details=details)
    assert [line.amount for line in first.lines.data] == [0]
    nothing_upcoming(town, customer=customer, subscription_details={"items": items})


# ─── What cannot be previewed ────────────────────────────────────────────────────────────────


def test_what_cannot_be_billed_cannot_be_previewed(town: Town) -> None:
    """A quadrillion units are the most that one line can have."""
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=1))
    for _ in range(2):
        town.use(customer, "1000000000000000")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        preview(town, subscription=subscription.id)
    assert (refused.value.http_status, refused.value.param) == (400, "subscription")
    town.use(customer, "-1000000000000000")
    assert preview(town, subscription=subscription.id).total == 10**15
