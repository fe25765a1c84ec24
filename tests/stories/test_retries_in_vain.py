"""Every retry has failed, or nobody waits for one: what a subscription becomes, and comes back."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from dunning import (
    APRIL,
    DECLINED,
    FEBRUARY,
    JANUARY,
    MARCH,
    TRIED,
    Debtor,
    debtor,
    fee,
    ours,
    schedule,
)
from town import DAY, HOUR, Town


def in_vain(town: Town, after_retries: str, **more: Any) -> Debtor:
    """One retry after three days, and then what the setting says."""
    given = {"kind": "list", "days": [3], "after_retries": after_retries}
    ours(town, "/v1/billing_settings", retry_schedule=schedule(town, **given))
    ada = debtor(town, **more)
    ada.advance(TRIED + 3 * DAY)
    return ada


def told(ada: Debtor) -> list[str]:
    return [each.type for each in ada.town.events(ada.subscription) if each.created > TRIED]


def test_it_stays_past_due(town: Town) -> None:
    ada = in_vain(town, "past_due")
    assert (ada.status, ada.tried()) == ("past_due", ("open", 2, None))
    assert told(ada) == []
    town.client.v1.invoices.pay(ada.february.id, {"paid_out_of_band": True})
    assert ada.status == "active"


def test_it_is_canceled(town: Town) -> None:
    ada = in_vain(town, "cancel")
    subscription = town.subscription(ada.subscription)
    assert (subscription.status, subscription.ended_at) == ("canceled", TRIED + 3 * DAY)
    assert subscription.cancellation_details is not None
    assert subscription.cancellation_details.reason == "payment_failed"
    assert told(ada) == ["customer.subscription.deleted"]
    assert (ada.tried(), ada.february.auto_advance) == (("open", 2, None), False)

    ada.advance(APRIL)
    assert ada.statuses == ["paid", "open"]
    ada.pays_with("pm_card_visa")
    assert town.client.v1.invoices.pay(ada.february.id).status == "paid"  # paid late
    assert ada.status == "canceled"


def test_it_is_unpaid_and_back(town: Town) -> None:
    ada = in_vain(town, "unpaid")
    assert (ada.status, ada.tried()) == ("unpaid", ("open", 2, None))
    assert told(ada) == ["customer.subscription.updated"]

    # What comes now is a draft that nobody finalizes, or tries.
    ada.advance(MARCH + 5 * DAY)
    *_, march = ada.invoices
    assert (march.status, march.auto_advance, march.attempted) == ("draft", False, False)
    assert (march.next_payment_attempt, march.automatically_finalizes_at) == (None, None)

    # The newest that is final decides: the draft, once it is paid.
    ada.pays_with("pm_card_visa")
    ada.advance(MARCH + 6 * DAY)
    assert town.client.v1.invoices.pay(march.id).status == "paid"
    assert ada.status == "active"
    ada.advance(APRIL + HOUR)
    assert ada.statuses == ["paid", "open", "paid", "paid"]


def test_an_unpaid_one_is_forgiven_its_latest(town: Town) -> None:
    ada = in_vain(town, "unpaid")
    town.client.v1.invoices.mark_uncollectible(ada.february.id)
    assert ada.status == "active"


def test_it_is_paused(town: Town) -> None:
    ada = in_vain(town, "pause")
    subscription = town.subscription(ada.subscription)
    assert subscription.status == "paused"
    assert subscription.to_dict()["status_details"] == {
        "paused": {
            "subscription": {"type": "final_payment_failure"},
            "transitioned_at": TRIED + 3 * DAY,
            "type": "subscription",
        }
    }
    assert told(ada) == ["customer.subscription.updated", "customer.subscription.paused"]

    ada.advance(APRIL)
    assert ada.statuses == ["paid", "open"]
    ada.pays_with("pm_card_visa")
    town.client.v1.invoices.pay(ada.february.id)
    assert ada.status == "paused"  # to pay an old invoice resumes nothing
    resumed = town.client.v1.subscriptions.resume(ada.subscription)
    assert resumed.status == "active"
    assert ada.statuses == ["paid", "paid", "paid"]


def test_without_a_payment_method_it_comes_to_the_same(town: Town) -> None:
    ada = in_vain(town, "cancel", card=None)
    assert (ada.status, ada.tried()) == ("canceled", ("open", 0, None))


def test_an_older_debt_that_is_given_up_counts_only_while_it_is_past_due(town: Town) -> None:
    weekly = town.price(unit_amount=1000, recurring={"interval": "week"})
    days = {"kind": "list", "days": [10], "after_retries": "cancel"}
    own = schedule(town, **days)
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, weekly, retry_schedule=own)
    town.pays_with(customer, DECLINED)
    town.advance(clock, JANUARY + 7 * DAY + HOUR)
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, JANUARY + 14 * DAY + HOUR)
    assert town.subscription(subscription.id).status == "active"
    town.pays_with(customer, DECLINED)
    town.advance(clock, JANUARY + 17 * DAY + HOUR)  # the older one is given up
    assert [each.status for each in town.invoices(subscription.id)] == ["paid", "open", "paid"]
    assert town.subscription(subscription.id).status == "active"


# ─── What makes it good otherwise ────────────────────────────────────────────────────────────


def test_voiding_the_latest_leaves_the_one_before_it_to_decide(town: Town) -> None:
    ada = debtor(town)
    ada.advance(MARCH + HOUR)
    february, march = ada.invoices[1:]
    town.client.v1.invoices.void_invoice(march.id)
    assert ada.status == "past_due"
    town.client.v1.invoices.void_invoice(february.id)
    assert ada.status == "active"
    ada.advance(MARCH + 20 * DAY)
    assert ada.statuses == ["paid", "void", "void"]


def test_an_uncollectible_latest_is_forgiven_and_not_tried_again(town: Town) -> None:
    ada = debtor(town)
    invoice = town.client.v1.invoices.mark_uncollectible(ada.february.id)
    assert (invoice.status, invoice.next_payment_attempt) == ("uncollectible", None)
    assert ada.status == "active"
    assert town.client.v1.customers.retrieve(ada.customer).delinquent is False
    ada.pays_with("pm_card_visa")
    ada.advance(TRIED + 20 * DAY)
    assert ada.tried() == ("uncollectible", 1, None)
    assert town.client.v1.invoices.pay(invoice.id).status == "paid"  # and late, after all


def test_a_first_payment_is_made_good_within_the_day(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    subscription = town.subscribe(customer, fee(town))
    town.advance(clock, JANUARY + 10 * HOUR)
    town.pays_with(customer, "pm_card_visa")
    [invoice] = town.invoices(subscription.id)
    assert town.client.v1.invoices.pay(invoice.id).status == "paid"
    assert town.subscription(subscription.id).status == "active"
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.status for each in town.invoices(subscription.id)] == ["paid", "paid"]


def test_a_trial_that_ends_without_a_payment_method_is_past_due_until_there_is_one(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(customer, fee(town), trial_period_days=14)
    ended = JANUARY + 14 * DAY + HOUR
    town.advance(clock, ended)
    assert town.subscription(subscription.id).status == "past_due"
    invoice = town.invoices(subscription.id)[-1]
    assert (invoice.status, invoice.next_payment_attempt) == ("open", None)

    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, ended + DAY)
    invoice = town.invoices(subscription.id)[-1]
    assert (invoice.status, invoice.attempt_count) == ("paid", 1)
    assert town.subscription(subscription.id).status == "active"


def test_a_trial_that_ends_without_a_payment_method_ends_as_the_setting_says(town: Town) -> None:
    given = {"kind": "list", "days": [1], "after_retries": "unpaid"}
    own = schedule(town, **given)
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(customer, fee(town), trial_period_days=14, retry_schedule=own)
    town.advance(clock, JANUARY + 16 * DAY)
    assert town.subscription(subscription.id).status == "unpaid"
    invoice = town.invoices(subscription.id)[-1]
    with pytest.raises(stripe.InvalidRequestError, match="no default payment method"):
        town.client.v1.invoices.pay(invoice.id)
