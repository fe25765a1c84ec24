"""How a subscription ends: now, with its period, with its customer, or with its clock."""

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def totals(town: Town, subscription_id: str) -> list[tuple[str | None, int]]:
    return [(each.status, each.total) for each in town.invoices(subscription_id)]


# ─── Now ─────────────────────────────────────────────────────────────────────────────────────


def test_cancelled_now_it_bills_nothing_more(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.advance(clock, JANUARY + 10 * DAY)
    town.use(customer, "1000")

    over = town.client.v1.subscriptions.cancel(
        subscription.id,
        {"cancellation_details": {"comment": "Too much", "feedback": "too_expensive"}},
    )

    now = JANUARY + 10 * DAY
    assert (over.status, over.canceled_at, over.ended_at) == ("canceled", now, now)
    assert over.cancellation_details is not None
    assert over.cancellation_details.reason == "cancellation_requested"
    assert over.cancellation_details.comment == "Too much"
    assert over.cancellation_details.feedback == "too_expensive"
    with pytest.raises(stripe.InvalidRequestError) as nothing:
        town.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert nothing.value.code == "invoice_upcoming_none"

    town.advance(clock, APRIL)
    assert totals(town, subscription.id) == [("paid", 10000)]
    last = town.events(subscription.id)[-1]
    assert (last.type, last.created) == ("customer.subscription.deleted", now)


def test_a_draft_of_one_that_is_cancelled_stays_a_draft(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.advance(clock, FEBRUARY + 60)

    town.client.v1.subscriptions.cancel(subscription.id)

    _, draft = town.invoices(subscription.id)
    assert (draft.status, draft.auto_advance) == ("draft", False)
    assert (draft.automatically_finalizes_at, draft.next_payment_attempt) == (None, None)
    town.advance(clock, APRIL)
    assert totals(town, subscription.id) == [("paid", 10000), ("draft", 10000)]

    # Only a person finalizes it, and only a person collects it.
    final = town.client.v1.invoices.finalize_invoice(draft.id)
    assert (final.status, final.attempted) == ("open", False)
    assert town.client.v1.invoices.pay(draft.id).status == "paid"
    assert town.subscription(subscription.id).status == "canceled"


def test_an_open_invoice_of_one_that_is_cancelled_can_still_be_paid(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"

    assert town.client.v1.subscriptions.cancel(subscription.id).status == "canceled"

    _, invoice = town.invoices(subscription.id)
    assert (invoice.status, invoice.auto_advance) == ("open", False)
    town.pays_with(customer, "pm_card_visa")
    assert town.client.v1.invoices.pay(invoice.id).status == "paid"
    assert town.subscription(subscription.id).status == "canceled"


def test_what_is_cancelled_cannot_be_cancelled_again(town: Town) -> None:
    subscription = town.subscribe(town.customer(town.clock()), fee(town))
    town.client.v1.subscriptions.cancel(subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription") as refused:
        town.client.v1.subscriptions.cancel(subscription.id)
    assert refused.value.http_status == 404


# ─── With its period ─────────────────────────────────────────────────────────────────────────


def test_at_the_end_of_its_period_it_bills_usage_and_no_licence(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.use(customer, "1000")
    town.advance(clock, JANUARY + 10 * DAY)

    asked = town.client.v1.subscriptions.update(
        subscription.id,
        {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused"}},
    )
    assert (asked.status, asked.cancel_at_period_end) == ("active", True)
    assert (asked.canceled_at, asked.cancel_at) == (JANUARY + 10 * DAY, FEBRUARY)
    assert asked.ended_at is None
    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert [line.amount for line in upcoming.lines.data] == [5000]

    town.use(customer, "200")
    town.advance(clock, FEBRUARY)
    over = town.subscription(subscription.id)
    assert (over.status, over.ended_at) == ("canceled", FEBRUARY)
    assert over.canceled_at == JANUARY + 10 * DAY
    assert over.cancellation_details is not None
    assert over.cancellation_details.feedback == "unused"
    _, last = town.invoices(subscription.id)
    assert (last.status, last.total) == ("draft", 6000)

    # The hour of grace is for the last invoice too.
    town.use(customer, "300", timestamp=FEBRUARY - 1)
    town.use(customer, "9999", timestamp=FEBRUARY)
    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, subscription.id) == [("paid", 10000), ("paid", 7500)]
    assert town.subscription(subscription.id).status == "canceled"

    town.advance(clock, APRIL)
    assert len(town.invoices(subscription.id)) == 2


def test_at_the_end_of_its_period_without_usage_there_is_no_last_invoice(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), cancel_at_period_end=True)
    assert (subscription.status, subscription.cancel_at) == ("active", FEBRUARY)
    for preview in ({"subscription": subscription.id}, {"customer": customer}):
        with pytest.raises(stripe.InvalidRequestError) as nothing:
            town.client.v1.invoices.create_preview(preview)  # type: ignore[arg-type]
        assert nothing.value.code == "invoice_upcoming_none"

    town.advance(clock, MARCH)
    assert town.subscription(subscription.id).status == "canceled"
    assert totals(town, subscription.id) == [("paid", 10000)]


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_at_its_date_it_gives_back_no_more_than_was_paid(town: Town, mode: str) -> None:
    """Half was off what was paid, so half is off what is given back: of 28 days, 21."""
    clock = town.clock()
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    subscription = town.subscribe(
        town.customer(clock),
        fee(town),
        billing_mode={"type": mode},
        discounts=[{"coupon": half.id}],
        cancel_at=FEBRUARY + 7 * DAY,
    )
    town.advance(clock, FEBRUARY + HOUR)
    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert upcoming.total == -5000 * 21 // 28
    town.advance(clock, MARCH)
    assert [each.total for each in town.invoices(subscription.id)] == [5000, 5000, upcoming.total]


def test_a_change_of_mind(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    subscriptions = town.client.v1.subscriptions
    subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    town.advance(clock, JANUARY + DAY)

    kept = subscriptions.update(subscription.id, {"cancel_at_period_end": False})

    assert (kept.cancel_at_period_end, kept.canceled_at, kept.cancel_at) == (False, None, None)
    assert kept.cancellation_details is not None
    assert kept.cancellation_details.reason is None
    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, subscription.id) == [("paid", 10000), ("paid", 10000)]


def test_one_that_is_to_end_can_be_ended_now_and_keeps_what_was_said(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    subscriptions = town.client.v1.subscriptions
    subscriptions.update(
        subscription.id,
        {"cancel_at_period_end": True, "cancellation_details": {"comment": "Goodbye"}},
    )
    town.advance(clock, JANUARY + DAY)

    over = subscriptions.cancel(subscription.id)

    assert (over.status, over.ended_at) == ("canceled", JANUARY + DAY)
    assert over.canceled_at == JANUARY
    assert over.cancellation_details is not None
    assert over.cancellation_details.comment == "Goodbye"


def test_what_is_cancelled_keeps_its_notes_and_nothing_else(town: Town) -> None:
    subscription = town.subscribe(town.customer(town.clock()), fee(town))
    subscriptions = town.client.v1.subscriptions
    subscriptions.cancel(subscription.id)

    noted = subscriptions.update(
        subscription.id,
        {"metadata": {"seen": "1"}, "cancellation_details": {"comment": "Called them"}},
    )
    assert noted.metadata["seen"] == "1"
    with pytest.raises(stripe.InvalidRequestError, match="can only update"):
        subscriptions.update(subscription.id, {"cancel_at_period_end": True})


# ─── With its customer, and with its clock ───────────────────────────────────────────────────


def test_deleting_the_customer_ends_everything(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    waiting = town.subscribe(customer, fee(town), payment_behavior="default_incomplete")
    town.use(customer, "1000")

    deleted = town.client.v1.customers.delete(customer)

    assert deleted.deleted
    assert town.subscription(subscription.id).status == "canceled"
    assert town.subscription(waiting.id).status == "incomplete_expired"
    town.advance(clock, APRIL)
    assert totals(town, subscription.id) == [("paid", 10000)]
    assert totals(town, waiting.id) == [("void", 10000)]
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        town.subscribe(customer, fee(town))


def test_a_draft_of_a_deleted_customer_is_never_collected(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.advance(clock, FEBRUARY + 60)
    town.client.v1.customers.delete(customer)
    town.advance(clock, APRIL)
    assert totals(town, subscription.id) == [("paid", 10000), ("draft", 10000)]


def test_deleting_the_clock_ends_all_who_live_by_it(town: Town) -> None:
    clock = town.clock()
    customers = [town.customer(clock) for _ in range(2)]
    subscriptions = [town.subscribe(each, fee(town)) for each in customers]
    bystander = town.subscribe(town.customer(None), fee(town))

    deleted = town.client.v1.test_helpers.test_clocks.delete(clock)

    assert deleted.deleted
    for each in subscriptions:
        assert town.subscription(each.id).status == "canceled"
    for customer in customers:
        assert town.client.v1.customers.retrieve(customer).deleted
    assert town.subscription(bystander.id).status == "active"
