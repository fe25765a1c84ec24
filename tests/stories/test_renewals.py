"""A renewal that cannot be collected, and everything that can make it good."""

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY
DECLINED = "pm_card_chargeCustomerFail"


def fee(town: Town) -> str:
    return town.price(unit_amount=10000, product_data={"name": "Fee"})


def statuses(town: Town, subscription_id: str) -> list[str | None]:
    return [each.status for each in town.invoices(subscription_id)]


def missed(town: Town) -> tuple[str, str, str, stripe.Invoice]:
    """A clock, customer, subscription and its second invoice, which the card declined."""
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.pays_with(customer, DECLINED)
    town.advance(clock, FEBRUARY + HOUR)
    _, invoice = town.invoices(subscription.id)
    return clock, customer, subscription.id, invoice


def test_a_declined_renewal_is_past_due_and_a_good_card_makes_it_good(town: Town) -> None:
    clock, customer, subscription, invoice = missed(town)
    assert town.subscription(subscription).status == "past_due"
    assert (invoice.status, invoice.amount_due, invoice.amount_paid) == ("open", 10000, 0)
    assert (invoice.attempted, invoice.attempt_count) == (True, 1)
    assert invoice.next_payment_attempt == FEBRUARY + HOUR + DAY

    town.advance(clock, FEBRUARY + 3 * DAY)
    card = town.pays_with(customer, "pm_card_visa")
    assert town.client.v1.invoices.pay(invoice.id, {"payment_method": card}).status == "paid"
    assert town.subscription(subscription).status == "active"

    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription) == ["paid", "paid", "paid"]


def test_a_bad_card_leaves_it_past_due(town: Town) -> None:
    _, _, subscription, invoice = missed(town)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            town.client.v1.invoices.pay(invoice.id)
    assert town.subscription(subscription).status == "past_due"
    assert town.client.v1.invoices.retrieve(invoice.id).attempt_count == 1


def test_one_that_is_past_due_goes_on_renewing(town: Town) -> None:
    clock, customer, subscription, _ = missed(town)
    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription) == ["paid", "open", "open"]

    # Paying an older invoice is welcome, but the latest decides.
    town.pays_with(customer, "pm_card_visa")
    _, older, latest = town.invoices(subscription)
    town.client.v1.invoices.pay(older.id)
    assert town.subscription(subscription).status == "past_due"
    town.client.v1.invoices.pay(latest.id)
    assert town.subscription(subscription).status == "active"


def test_paying_the_latest_is_enough(town: Town) -> None:
    clock, customer, subscription, _ = missed(town)
    town.advance(clock, MARCH)  # when February's invoice is not tried any more
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription) == ["paid", "open", "paid"]
    assert town.subscription(subscription).status == "active"


def test_a_draft_does_not_decide_yet(town: Town) -> None:
    """In the hour of grace the latest invoice is the one before the draft."""
    clock, customer, subscription, invoice = missed(town)
    town.advance(clock, MARCH + HOUR // 2)
    assert statuses(town, subscription) == ["paid", "open", "draft"]

    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(invoice.id)
    assert town.subscription(subscription).status == "active"

    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription) == ["paid", "paid", "paid"]


def test_money_may_come_some_other_way(town: Town) -> None:
    _, _, subscription, invoice = missed(town)

    invoice = town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})

    assert (invoice.status, invoice.amount_remaining) == ("paid", 0)
    assert invoice.amount_paid_off_stripe == 10000
    assert invoice.attempt_count == 1
    assert town.subscription(subscription).status == "active"
    happened = [each.type for each in town.events(invoice.id)]
    assert happened[-2:] == ["invoice.payment_failed", "invoice.paid"]


def test_voiding_the_latest_invoice_forgives_it(town: Town) -> None:
    clock, customer, subscription, invoice = missed(town)

    invoice = town.client.v1.invoices.void_invoice(invoice.id)

    assert (invoice.status, invoice.amount_due, invoice.amount_paid) == ("void", 10000, 0)
    assert town.subscription(subscription).status == "active"
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription) == ["paid", "void", "paid"]


def test_voiding_the_latest_leaves_the_one_before_it_to_decide(town: Town) -> None:
    clock, customer, subscription, february = missed(town)
    town.advance(clock, MARCH + HOUR)
    *_, march = town.invoices(subscription)

    town.client.v1.invoices.void_invoice(march.id)
    assert town.subscription(subscription).status == "past_due"

    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(february.id)
    assert town.subscription(subscription).status == "active"


def test_an_old_debt_does_not_decide_when_the_one_before_is_paid(town: Town) -> None:
    clock, customer, subscription, _ = missed(town)
    town.advance(clock, MARCH)  # when February's invoice is not tried any more
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, MARCH + HOUR)
    town.pays_with(customer, DECLINED)
    town.advance(clock, APRIL + HOUR)
    assert statuses(town, subscription) == ["paid", "open", "paid", "open"]
    assert town.subscription(subscription).status == "past_due"

    *_, april = town.invoices(subscription)
    town.client.v1.invoices.void_invoice(april.id)
    assert town.subscription(subscription).status == "active"


def test_voiding_an_older_invoice_changes_nothing_else(town: Town) -> None:
    clock, _, subscription, february = missed(town)
    town.advance(clock, MARCH + HOUR)
    town.client.v1.invoices.void_invoice(february.id)
    assert statuses(town, subscription) == ["paid", "void", "open"]
    assert town.subscription(subscription).status == "past_due"


def test_a_customer_who_owes_is_delinquent_until_anything_is_paid(town: Town) -> None:
    clock, customer, subscription, february = missed(town)
    customers = town.client.v1.customers
    assert customers.retrieve(customer).delinquent is True
    with pytest.raises(stripe.CardError):
        town.client.v1.invoices.pay(february.id)
    town.advance(clock, MARCH + HOUR)
    assert customers.retrieve(customer).delinquent is True

    town.client.v1.invoices.pay(february.id, {"paid_out_of_band": True})

    assert customers.retrieve(customer).delinquent is False
    assert town.subscription(subscription).status == "past_due"  # which is about the latest
    told = [each for each in town.events(customer) if each.type == "customer.updated"]
    changed = [each.data.to_dict()["previous_attributes"] for each in told]
    assert [each for each in changed if "delinquent" in each] == [
        {"delinquent": False},
        {"delinquent": True},
    ]


# ─── What it is paid with ────────────────────────────────────────────────────────────────────


def test_a_subscriptions_own_card_goes_before_the_customers(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    own = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})

    subscription = town.subscribe(customer, fee(town), default_payment_method=own.id)
    assert subscription.status == "active"
    town.advance(clock, FEBRUARY + HOUR)
    assert statuses(town, subscription.id) == ["paid", "paid"]

    town.client.v1.subscriptions.update(subscription.id, {"default_payment_method": ""})
    town.advance(clock, MARCH + HOUR)
    assert statuses(town, subscription.id) == ["paid", "paid", "open"]


def test_a_card_that_was_taken_away_is_not_charged(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    card = town.client.v1.customers.retrieve(customer).invoice_settings.default_payment_method
    town.client.v1.payment_methods.detach(str(card))

    town.advance(clock, FEBRUARY + HOUR)

    assert town.subscription(subscription.id).status == "past_due"
    _, invoice = town.invoices(subscription.id)
    assert (invoice.status, invoice.attempted) == ("open", True)


def test_a_subscriptions_own_card_that_was_taken_away_is_not_charged(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    own = town.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    subscription = town.subscribe(customer, fee(town), default_payment_method=own.id)
    town.client.v1.payment_methods.detach(own.id)

    town.advance(clock, FEBRUARY + HOUR)

    # What is left is the customer's card, which declines.
    assert statuses(town, subscription.id) == ["paid", "open"]
    assert town.subscription(subscription.id).status == "past_due"


def test_a_card_that_wants_the_customer_present_waits(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.pays_with(customer, "pm_card_authenticationRequired")
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    _, invoice = town.invoices(subscription.id)
    with pytest.raises(stripe.CardError) as declined:
        town.client.v1.invoices.pay(invoice.id)
    assert declined.value.code == "authentication_required"


# ─── By hand ─────────────────────────────────────────────────────────────────────────────────


def test_a_draft_can_be_finalized_before_its_hour(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY + 60)
    _, draft = town.invoices(subscription.id)
    assert (draft.status, draft.number) == ("draft", None)
    assert draft.automatically_finalizes_at == draft.next_payment_attempt == FEBRUARY + HOUR

    final = town.client.v1.invoices.finalize_invoice(draft.id)

    assert (final.status, final.status_transitions.finalized_at) == ("paid", FEBRUARY + 60)
    assert final.automatically_finalizes_at is None


def test_a_draft_finalized_without_advancing_waits_to_be_paid(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY + 60)
    _, draft = town.invoices(subscription.id)

    final = town.client.v1.invoices.finalize_invoice(draft.id, {"auto_advance": False})
    assert (final.status, final.attempted, final.auto_advance) == ("open", False, False)

    town.advance(clock, FEBRUARY + DAY)
    assert town.client.v1.invoices.retrieve(draft.id).attempted is False
    assert town.client.v1.invoices.pay(draft.id).status == "paid"


def test_a_draft_that_is_paid_is_finalized_on_the_way(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY + 60)
    _, draft = town.invoices(subscription.id)

    invoice = town.client.v1.invoices.pay(draft.id)

    assert (invoice.status, invoice.amount_paid) == ("paid", 10000)
    assert invoice.number is not None
    assert invoice.number.endswith("-0002")


def test_a_draft_shows_the_customer_as_it_is_and_a_final_one_as_it_was(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, name="Ada", email="ada@example.com")
    subscription = town.subscribe(customer, fee(town))
    town.advance(clock, FEBRUARY + 60)

    town.client.v1.customers.update(customer, {"name": "Ada Lovelace"})
    first, draft = town.invoices(subscription.id)
    assert (first.customer_name, draft.customer_name) == ("Ada", "Ada Lovelace")
    assert draft.customer_email == "ada@example.com"
    assert town.client.v1.invoices.retrieve(draft.id).customer_name == "Ada Lovelace"

    town.advance(clock, FEBRUARY + HOUR)
    town.client.v1.customers.update(customer, {"name": "Countess"})
    assert [each.customer_name for each in town.invoices(subscription.id)] == [
        "Ada",
        "Ada Lovelace",
    ]
