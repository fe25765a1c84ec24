"""A renewal that was declined is tried again: when, with what, and what comes of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import stripe
from dunning import (
    DECLINED,
    FEBRUARY,
    IN_TWO_WEEKS,
    JANUARY,
    MARCH,
    STOLEN,
    TRIED,
    debtor,
    fee,
    ours,
    schedule,
)
from town import DAY, HOUR, Town


def test_a_renewal_recovers_on_the_third_try(town: Town) -> None:
    ada = debtor(town)
    assert ada.status == "past_due"
    assert ada.tried() == ("open", 1, TRIED + DAY)

    ada.advance(TRIED + DAY)
    assert ada.tried() == ("open", 2, TRIED + 2 * DAY)
    ada.pays_with("pm_card_visa")
    assert ada.tried() == ("open", 2, TRIED + 2 * DAY)  # a new card by itself pays nothing

    ada.advance(TRIED + 2 * DAY)
    assert ada.tried() == ("paid", 3, None)
    assert ada.february.status_transitions.paid_at == TRIED + 2 * DAY
    assert ada.status == "active"
    assert [
        each.type for each in town.events(ada.february.id, ada.subscription) if each.created > TRIED
    ] == [
        "invoice.payment_failed",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]

    ada.advance(MARCH + HOUR)
    assert ada.statuses == ["paid"] * 3


def test_by_default_it_is_tried_eight_times_in_two_weeks_and_stays_past_due(town: Town) -> None:
    ada = debtor(town)
    for tries, (days, then) in enumerate(pairwise(IN_TWO_WEEKS)):
        ada.advance(TRIED + days * DAY - 1)
        assert ada.february.attempt_count == tries + 1
        ada.advance(TRIED + days * DAY)
        assert ada.tried() == ("open", tries + 2, TRIED + then * DAY)
    ada.advance(TRIED + 14 * DAY)
    assert (ada.tried(), ada.status) == (("open", 9, None), "past_due")

    # What it said each time was when it would be tried next.
    failures = [each for each in town.events(ada.february.id) if "payment_failed" in each.type]
    said = [each.data.object["next_payment_attempt"] for each in failures]
    assert said == [*(TRIED + days * DAY for days in IN_TWO_WEEKS), None]

    # It goes on being billed, and the next invoice has retries of its own.
    ada.advance(MARCH + HOUR)
    assert ada.statuses == ["paid", "open", "open"]
    assert ada.invoices[2].next_payment_attempt == MARCH + HOUR + DAY
    ada.pays_with("pm_card_visa")
    ada.advance(MARCH + HOUR + DAY)
    assert ada.statuses == ["paid", "open", "paid"]
    assert ada.status == "active"


def test_a_persons_own_tries_count_for_nothing_and_move_nothing(town: Town) -> None:
    ada = debtor(town)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            town.client.v1.invoices.pay(ada.february.id)
    assert ada.tried() == ("open", 1, TRIED + DAY)
    ada.advance(TRIED + DAY)
    assert ada.tried() == ("open", 2, TRIED + 2 * DAY)


def test_what_is_paid_in_between_is_not_tried_again(town: Town) -> None:
    ada = debtor(town)
    ada.advance(TRIED + DAY)
    paid = town.client.v1.invoices.pay(ada.february.id, {"paid_out_of_band": True})
    assert (paid.status, paid.next_payment_attempt, ada.status) == ("paid", None, "active")
    ada.advance(TRIED + 20 * DAY)
    assert ada.tried() == ("paid", 2, None)


def test_a_card_that_is_lost_for_good_is_not_tried_again_and_another_is(town: Town) -> None:
    ada = debtor(town, STOLEN)
    assert ada.tried() == ("open", 1, TRIED + DAY)  # the schedule goes on

    ada.advance(TRIED + 2 * DAY)
    assert ada.tried() == ("open", 1, TRIED + 3 * DAY)  # without a try
    ada.pays_with(DECLINED)
    ada.advance(TRIED + 3 * DAY)
    assert ada.tried() == ("open", 2, TRIED + 5 * DAY)
    ada.pays_with("pm_card_visa")
    ada.advance(TRIED + 5 * DAY)
    assert (ada.tried(), ada.status) == (("paid", 3, None), "active")


def test_without_a_payment_method_nothing_is_tried_until_there_is_one(town: Town) -> None:
    ada = debtor(town, None)
    assert (ada.tried(), ada.status) == (("open", 0, None), "past_due")

    ada.advance(TRIED + 4 * DAY)
    assert ada.tried() == ("open", 0, None)
    ada.pays_with("pm_card_visa")
    assert ada.tried() == ("open", 0, None)
    ada.advance(TRIED + 5 * DAY)  # the next moment of the schedule
    assert (ada.tried(), ada.status) == (("paid", 1, None), "active")


def test_the_first_invoice_of_an_incomplete_subscription_has_a_day_and_no_retries(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    subscription = town.subscribe(customer, fee(town))
    [invoice] = town.invoices(subscription.id)
    assert (subscription.status, invoice.next_payment_attempt) == ("incomplete", None)

    town.advance(clock, JANUARY + 22 * HOUR)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.attempt_count, invoice.next_payment_attempt) == (1, None)
    town.advance(clock, JANUARY + 23 * HOUR)
    assert town.subscription(subscription.id).status == "incomplete_expired"


def test_an_invoice_of_no_subscription_is_tried_again_too(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    invoices = town.client.v1.invoices
    draft = invoices.create({"customer": customer, "auto_advance": True})
    town.client.v1.invoice_items.create(
        {"customer": customer, "invoice": draft.id, "amount": 500, "currency": "usd"}
    )
    invoices.finalize_invoice(draft.id)
    found = invoices.retrieve(draft.id)
    assert (found.status, found.attempt_count) == ("open", 1)
    assert found.next_payment_attempt == JANUARY + DAY

    town.advance(clock, JANUARY + DAY)
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, JANUARY + 2 * DAY)
    found = invoices.retrieve(draft.id)
    assert (found.status, found.attempt_count) == ("paid", 3)


def test_collection_that_was_switched_off_tries_nothing(town: Town) -> None:
    ada = debtor(town)
    town.client.v1.subscriptions.cancel(ada.subscription)
    assert ada.tried() == ("open", 1, None)
    ada.pays_with("pm_card_visa")
    ada.advance(TRIED + 20 * DAY)
    assert (ada.tried(), ada.status) == (("open", 1, None), "canceled")


# ─── Schedules ───────────────────────────────────────────────────────────────────────────────


def test_an_accounts_own_schedule_holds(town: Town) -> None:
    ours(town, "/v1/billing_settings", retry_schedule=schedule(town, kind="list", days=[3, 5]))
    ada = debtor(town)
    assert ada.tried() == ("open", 1, TRIED + 3 * DAY)
    ada.advance(TRIED + 3 * DAY)
    assert ada.tried() == ("open", 2, TRIED + 8 * DAY)
    ada.advance(TRIED + 8 * DAY)
    assert (ada.tried(), ada.status) == (("open", 3, None), "past_due")


def test_a_subscriptions_own_schedule_goes_before_a_segments_and_that_before_the_accounts(
    town: Town,
) -> None:
    ours(town, "/v1/billing_settings", retry_schedule=schedule(town, kind="list", days=[2]))
    schedule(town, kind="list", days=[4], **{"segment[metadata][tier]": "gold"})
    own = schedule(town, kind="list", days=[6])

    plain, ada = debtor(town), debtor(town, of={"retry_schedule": own})
    assert plain.tried() == ("open", 1, TRIED + 2 * DAY)
    assert ada.tried() == ("open", 1, TRIED + 6 * DAY)
    assert town.subscription(ada.subscription)["retry_schedule"] == own

    town.client.v1.customers.update(ada.customer, {"metadata": {"tier": "gold"}})
    town.client.v1.subscriptions.update(ada.subscription, {"retry_schedule": ""})  # type: ignore[typeddict-unknown-key]
    ada.advance(MARCH + HOUR)
    assert ada.invoices[2].next_payment_attempt == MARCH + HOUR + 4 * DAY


def test_daily_retries_come_at_two_in_the_customers_night(town: Town) -> None:
    ours(town, "/v1/billing_settings", time_zone="America/New_York")
    daily = schedule(town, kind="daily")
    ada = debtor(town, of={"retry_schedule": daily})
    night = FEBRUARY - (10 * HOUR + 51 * 60 + 40) + DAY + 7 * HOUR  # 02:00 there
    assert ada.tried() == ("open", 1, night)
    ada.advance(night)
    assert ada.tried() == ("open", 2, night + DAY)
    ada.advance(night + DAY)
    assert ada.tried() == ("open", 3, None)


def test_a_schedule_of_nobody_is_refused(town: Town) -> None:
    customer = town.customer(town.clock())
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.subscribe(customer, fee(town), retry_schedule="rs_none")
    assert (refused.value.http_status, refused.value.param) == (404, "retry_schedule")


def test_collection_is_switched_off_and_on_again(town: Town) -> None:
    ada = debtor(town)
    invoices = town.client.v1.invoices
    off = invoices.update(ada.february.id, {"auto_advance": False})
    assert (off.auto_advance, off.next_payment_attempt) == (False, None)
    ada.pays_with("pm_card_visa")
    ada.advance(TRIED + 6 * DAY)
    assert ada.tried() == ("open", 1, None)

    on = invoices.update(ada.february.id, {"auto_advance": True})
    assert on.next_payment_attempt == TRIED + 7 * DAY
    ada.advance(TRIED + 7 * DAY)
    assert (ada.tried(), ada.status) == (("paid", 2, None), "active")
