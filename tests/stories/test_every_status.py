"""What a subscription's status is, whatever else happens to it while it is not paid for."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

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
from test_schedules import month, schedule_of
from test_thresholds import wait_for
from town import DAY, HOUR, Town

GOOD = "pm_card_visa"
NOW: dict[str, Any] = {"proration_behavior": "always_invoice"}
SENT: dict[str, Any] = {"collection_method": "send_invoice"}


def update(town: Town, subscription_id: str, **asked: Any) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


def item_of(town: Town, subscription_id: str) -> str:
    [item] = town.subscription(subscription_id)["items"].data
    return str(item.id)


def one_retry(town: Town, after_retries: str, *, days: int = 3) -> str:
    """A schedule of the account's own, with one retry after so many days."""
    given = {"kind": "list", "days": [days], "after_retries": after_retries}
    own = schedule(town, **given)
    ours(town, "/v1/billing_settings", retry_schedule=own)
    return own


def is_delinquent(ada: Debtor) -> bool | None:
    return ada.town.client.v1.customers.retrieve(ada.customer).delinquent


# ─── Invoices of which nothing is due ────────────────────────────────────────────────────────


def test_a_latest_invoice_of_which_nothing_is_due_is_paid_and_makes_it_active(town: Town) -> None:
    ada = debtor(town, of={"items": [{"price": fee(town), "quantity": 2}]})
    assert ada.status == "past_due"
    ada.advance(TRIED + 3 * DAY)
    less = {"id": item_of(town, ada.subscription), "quantity": 1}
    update(town, ada.subscription, items=[less], **NOW)
    assert ada.invoices[-1].amount_due == 0
    assert (ada.statuses, ada.status) == (["paid", "open", "paid"], "active")

    # The older debt is asked for all the same, and decides nothing.
    ada.pays_with(GOOD)
    ada.advance(TRIED + 20 * DAY)
    assert (ada.statuses, ada.status) == (["paid"] * 3, "active")


def test_a_threshold_invoice_that_a_balance_pays_makes_it_active(town: Town) -> None:
    usage = town.metered(unit_amount=5)
    both: Any = [{"price": fee(town)}, {"price": usage}]
    ada = debtor(town, of={"items": both, "billing_thresholds": {"amount_gte": 1000}})
    assert ada.status == "past_due"
    given: Any = {"amount": -5000, "currency": "usd"}
    town.client.v1.customers.balance_transactions.create(ada.customer, given)
    town.use(ada.customer, "300", timestamp=TRIED)
    for _ in range(1000):
        if len(ada.invoices) == 3:
            break
        time.sleep(0.02)
    last = ada.invoices[-1]
    assert (last.billing_reason, last.total, last.amount_due) == ("subscription_threshold", 1500, 0)
    assert (ada.statuses, ada.status) == (["paid", "open", "paid"], "active")


# ─── Changes that wait for their payment ─────────────────────────────────────────────────────


def waiting(ada: Debtor) -> stripe.Subscription:
    """A change of what is past due that waits for its payment, which is declined."""
    more = {"id": item_of(ada.town, ada.subscription), "quantity": 3}
    changed = update(
        ada.town, ada.subscription, items=[more], payment_behavior="pending_if_incomplete", **NOW
    )
    assert (changed.status, changed.pending_update is not None) == ("past_due", True)
    return changed


def test_a_change_that_waits_decides_nothing_about_what_it_owes_already(town: Town) -> None:
    ada = debtor(town)
    waiting(ada)
    ada.pays_with(GOOD)
    town.client.v1.invoices.pay(ada.february.id)
    subscription = town.subscription(ada.subscription)
    assert (subscription.status, subscription.pending_update is not None) == ("active", True)
    ada.advance(TRIED + DAY)
    assert (ada.statuses, ada.status) == (["paid", "paid", "void"], "active")


def test_a_change_that_waits_and_is_paid_makes_it_active(town: Town) -> None:
    ada = debtor(town)
    changed = waiting(ada)
    ada.pays_with(GOOD)
    town.client.v1.invoices.pay(str(changed.latest_invoice))
    subscription = town.subscription(ada.subscription)
    assert (subscription.status, subscription.pending_update) == ("active", None)
    assert subscription["items"].data[0].quantity == 3


def test_voiding_what_is_owed_leaves_a_change_that_waits_out_of_it(town: Town) -> None:
    ada = debtor(town)
    waiting(ada)
    town.client.v1.invoices.void_invoice(ada.february.id)
    assert (ada.statuses, ada.status) == (["paid", "void", "open"], "active")


@pytest.mark.parametrize("end", ["cancel", "pause", "unpaid", "deletion"])
def test_a_change_that_waits_is_dropped_with_what_it_would_change(town: Town, end: str) -> None:
    one_retry(town, end if end != "deletion" else "cancel", days=1)
    ada = debtor(town)
    ada.advance(TRIED + DAY - HOUR)
    changed = waiting(ada)
    if end == "deletion":
        town.client.v1.customers.delete(ada.customer)
    else:
        ada.advance(TRIED + DAY)
    subscription = town.subscription(ada.subscription)
    now = {"cancel": "canceled", "pause": "paused", "deletion": "canceled"}.get(end, end)
    assert (subscription.status, subscription.pending_update) == (now, None)
    assert subscription["items"].data[0].quantity == 1
    invoice = town.client.v1.invoices.retrieve(str(changed.latest_invoice))
    assert invoice.status == "void"


def test_a_change_whose_payment_is_under_way_as_its_subscription_ends_is_never_made(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town))
    town.advance(clock, JANUARY + 15 * DAY)
    town.pays_with(customer, "pm_usBankAccount_success")
    more = {"id": item_of(town, subscription.id), "quantity": 3}
    changed = update(
        town, subscription.id, items=[more], payment_behavior="pending_if_incomplete", **NOW
    )
    assert changed.pending_update is not None
    town.client.v1.customers.delete(customer)
    town.advance(clock, JANUARY + 17 * DAY)
    over = town.subscription(subscription.id)
    assert (over.status, over.pending_update) == ("canceled", None)
    assert over["items"].data[0].quantity == 1
    assert town.intent_of(str(changed.latest_invoice)).status == "succeeded"


# ─── Invoices that are sent ──────────────────────────────────────────────────────────────────


def test_a_card_that_declines_before_a_sent_invoice_is_due_makes_nothing_past_due(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock, DECLINED)
    subscription = town.subscribe(customer, fee(town), days_until_due=30, **SENT)
    town.advance(clock, JANUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    with pytest.raises(stripe.CardError):
        town.client.v1.invoices.pay(invoice.id)
    assert town.subscription(subscription.id).status == "active"
    town.advance(clock, JANUARY + HOUR + 30 * DAY)
    assert town.subscription(subscription.id).status == "past_due"


def test_with_longer_than_a_period_to_pay_it_is_past_due_when_the_oldest_is_due(
    town: Town,
) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(customer, fee(town), days_until_due=45, **SENT)
    due = JANUARY + HOUR + 45 * DAY
    town.advance(clock, due - 1)
    assert town.subscription(subscription.id).status == "active"
    town.advance(clock, due)
    assert town.subscription(subscription.id).status == "past_due"
    january, february = town.invoices(subscription.id)
    assert [january.status, february.status] == ["open", "open"]
    assert town.client.v1.customers.retrieve(customer).delinquent is True

    # Paid late: the other is not due yet.
    town.client.v1.invoices.pay(january.id, {"paid_out_of_band": True})
    assert town.subscription(subscription.id).status == "active"
    assert town.client.v1.customers.retrieve(customer).delinquent is False
    town.advance(clock, FEBRUARY + HOUR + 45 * DAY)
    assert town.subscription(subscription.id).status == "past_due"


# ─── What was written off, or is void ────────────────────────────────────────────────────────


def test_a_card_that_declines_for_what_was_written_off_makes_nothing_past_due(town: Town) -> None:
    ada = debtor(town)
    town.client.v1.invoices.mark_uncollectible(ada.february.id)
    assert (ada.status, is_delinquent(ada)) == ("active", False)
    with pytest.raises(stripe.CardError):
        town.client.v1.invoices.pay(ada.february.id)
    assert (ada.status, ada.february.status, is_delinquent(ada)) == (
        "active",
        "uncollectible",
        False,
    )


def test_voiding_the_latest_that_was_written_off_leaves_the_debt_before_it(town: Town) -> None:
    ada = debtor(town)
    ada.advance(MARCH + HOUR)
    march = ada.invoices[-1]
    town.client.v1.invoices.mark_uncollectible(march.id)
    assert ada.status == "active"
    town.client.v1.invoices.void_invoice(march.id)
    assert ada.status == "past_due"
    town.client.v1.invoices.void_invoice(ada.february.id)
    assert (ada.statuses, ada.status) == (["paid", "void", "void"], "active")


# ─── While collection is paused ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("behavior", "march", "status"),
    [
        ("keep_as_draft", "draft", "past_due"),
        ("void", "void", "past_due"),
        ("mark_uncollectible", "uncollectible", "active"),
    ],
)
def test_a_pause_of_collection_leaves_what_was_owed_before(
    town: Town, behavior: str, march: str, status: str
) -> None:
    ada = debtor(town, of={"retry_schedule": schedule(town, kind="list", days=[3, 35])})
    paused: dict[str, Any] = {"pause_collection": {"behavior": behavior}}
    update(town, ada.subscription, **paused)
    ada.advance(TRIED + 3 * DAY)
    assert ada.tried() == ("open", 2, TRIED + 38 * DAY)  # Stripe: what was open is tried again
    ada.advance(MARCH + HOUR)
    assert (ada.statuses, ada.status) == (["paid", "open", march], status)
    ada.pays_with(GOOD)
    ada.advance(TRIED + 38 * DAY)
    assert (ada.statuses, ada.status) == (["paid", "paid", march], "active")


def test_while_collection_is_paused_no_threshold_bills(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    usage = town.metered(unit_amount=5)
    begun = town.subscribe(customer, usage, billing_thresholds={"amount_gte": 1000})
    paused: Any = {"pause_collection": {"behavior": "void"}}
    update(town, begun.id, **paused)
    town.use(customer, "300")
    town.advance(clock, JANUARY + DAY)
    assert town.invoices(begun.id) == []

    # Once it is over, what comes next is looked at with all that came before.
    update(town, begun.id, pause_collection="")
    town.use(customer, "1")
    town.advance(clock, JANUARY + 2 * DAY)
    [invoice] = wait_for(town, begun.id, 1)
    assert (invoice.total, invoice.status) == (1505, "paid")


# ─── The end ─────────────────────────────────────────────────────────────────────────────────


def test_one_that_was_to_end_with_its_period_ends_for_want_of_a_payment(town: Town) -> None:
    one_retry(town, "cancel")
    ada = debtor(town)
    update(town, ada.subscription, cancel_at_period_end=True)
    ada.advance(TRIED + 3 * DAY)
    over = town.subscription(ada.subscription)
    assert (over.status, over.ended_at, over.canceled_at) == ("canceled", TRIED + 3 * DAY, TRIED)
    assert over.cancellation_details is not None
    assert over.cancellation_details.reason == "payment_failed"


def test_one_that_is_past_due_ends_with_its_period(town: Town) -> None:
    ada = debtor(town)
    update(town, ada.subscription, cancel_at_period_end=True)
    ada.advance(MARCH + HOUR)
    over = town.subscription(ada.subscription)
    assert (over.status, over.ended_at) == ("canceled", MARCH)
    assert over.cancellation_details is not None
    assert over.cancellation_details.reason == "cancellation_requested"
    assert ada.statuses == ["paid", "open"]
    ada.pays_with(GOOD)
    town.client.v1.invoices.pay(ada.february.id)
    assert ada.status == "canceled"


def test_the_last_invoice_of_one_that_has_ended_is_tried_again(town: Town) -> None:
    usage = town.metered(unit_amount=5)
    one_retry(town, "unpaid")
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), usage, cancel_at_period_end=True)
    town.use(customer, "100")
    town.pays_with(customer, DECLINED)
    ada = Debtor(town, clock, customer, subscription.id)
    ada.advance(TRIED)
    assert (ada.status, ada.tried()) == ("canceled", ("open", 1, TRIED + 3 * DAY))
    ada.advance(TRIED + 3 * DAY)
    assert (ada.status, ada.tried()) == ("canceled", ("open", 2, None))
    ada.pays_with(GOOD)
    town.client.v1.invoices.pay(ada.february.id)
    assert (ada.status, is_delinquent(ada)) == ("canceled", False)


def test_what_is_incomplete_can_change_its_metadata_and_what_it_pays_with(town: Town) -> None:
    customer = town.customer(town.clock(), DECLINED)
    subscription = town.subscribe(customer, fee(town))
    card = town.client.v1.payment_methods.attach(GOOD, {"customer": customer})
    changed = update(town, subscription.id, metadata={"seen": "1"}, default_payment_method=card.id)
    assert (changed.metadata["seen"], changed.default_payment_method) == ("1", card.id)
    for refused in (
        {"description": "Other"},
        {"days_until_due": 3, **SENT},
        {"pause_collection": {"behavior": "void"}},
        {"cancel_at_period_end": True},
    ):
        with pytest.raises(stripe.InvalidRequestError) as answer:
            update(town, subscription.id, **refused)
        assert answer.value.code == "subscription_incomplete"
    town.client.v1.invoices.pay(str(subscription.latest_invoice))
    assert town.subscription(subscription.id).status == "active"


# ─── Unpaid ──────────────────────────────────────────────────────────────────────────────────


def unpaid(town: Town, **more: Any) -> Debtor:
    one_retry(town, "unpaid")
    ada = debtor(town, **more)
    ada.advance(TRIED + 3 * DAY)
    assert ada.status == "unpaid"
    return ada


def test_what_a_change_bills_of_one_that_is_unpaid_is_a_draft(town: Town) -> None:
    ada = unpaid(town)
    more = {"id": item_of(town, ada.subscription), "quantity": 3}
    changed = update(town, ada.subscription, items=[more], **NOW)
    draft = ada.invoices[-1]
    assert (changed.status, changed.latest_invoice) == ("unpaid", draft.id)
    assert (draft.status, draft.auto_advance, draft.attempted) == ("draft", False, False)
    assert (draft.next_payment_attempt, draft.automatically_finalizes_at) == (None, None)
    ada.pays_with(GOOD)
    assert town.client.v1.invoices.pay(str(draft.id)).status == "paid"
    assert ada.status == "active"


def test_a_draft_of_one_that_is_unpaid_is_collected_when_that_is_switched_on(town: Town) -> None:
    ada = unpaid(town)
    ada.advance(MARCH + DAY)
    draft = ada.invoices[-1]
    ada.pays_with(GOOD)
    on = town.client.v1.invoices.update(str(draft.id), {"auto_advance": True})
    at = MARCH + DAY + HOUR
    assert (on.automatically_finalizes_at, on.next_payment_attempt) == (at, at)
    ada.advance(at)
    assert (ada.statuses, ada.status) == (["paid", "open", "paid"], "active")
    ada.advance(APRIL + HOUR)
    assert ada.statuses == ["paid", "open", "paid", "paid"]


def test_one_that_is_unpaid_and_was_to_end_ends_with_a_draft(town: Town) -> None:
    usage = town.metered(unit_amount=5)
    ada = unpaid(town, of={"items": [{"price": fee(town)}, {"price": usage}]})
    town.use(ada.customer, "100")
    update(town, ada.subscription, cancel_at_period_end=True)
    ada.advance(MARCH + 2 * HOUR)
    assert ada.status == "canceled"
    last = ada.invoices[-1]
    assert (last.total, last.status, last.auto_advance) == (500, "draft", False)


# ─── Beside all else ─────────────────────────────────────────────────────────────────────────


def test_phases_go_on_while_it_is_past_due_and_each_is_billed(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    prices = [
        town.price(unit_amount=each, product_data={"name": f"Fee {each}"}) for each in (1000, 2000)
    ]
    phases = schedule_of(town, customer, *(month(each) for each in prices))
    subscription_id = str(phases.subscription)
    town.pays_with(customer, DECLINED)
    ada = Debtor(town, clock, customer, subscription_id)
    ada.advance(TRIED)
    assert (ada.status, ada.tried()) == ("past_due", ("open", 1, TRIED + DAY))
    assert ada.february.amount_due == 2000
    ada.pays_with(GOOD)
    ada.advance(TRIED + DAY)
    assert (ada.status, ada.tried()) == ("active", ("paid", 2, None))
    ada.advance(MARCH + HOUR)
    assert ada.statuses == ["paid"] * 3


def test_a_phase_that_begins_while_it_is_paused_for_want_of_a_payment_waits(town: Town) -> None:
    one_retry(town, "pause")
    clock = town.clock()
    customer = town.customer(clock)
    prices = [
        town.price(unit_amount=each, product_data={"name": f"Fee {each}"}) for each in (1000, 2000)
    ]
    phases = schedule_of(town, customer, month(prices[0], iterations=2), month(prices[1]))
    town.pays_with(customer, DECLINED)
    ada = Debtor(town, clock, customer, str(phases.subscription))
    ada.advance(TRIED + 3 * DAY)
    assert ada.status == "paused"
    ada.advance(MARCH + DAY)
    assert (ada.status, ada.statuses) == ("paused", ["paid", "open"])
    ada.pays_with(GOOD)
    assert town.client.v1.subscriptions.resume(ada.subscription).status == "active"
    ada.advance(MARCH + DAY + 2 * HOUR)
    [item] = town.subscription(ada.subscription)["items"].data
    assert (item.price.id, ada.status) == (prices[1], "active")


def test_a_threshold_invoice_that_is_declined_is_tried_again_like_any(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    usage = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, usage, billing_thresholds={"amount_gte": 1000})
    town.pays_with(customer, DECLINED)
    town.use(customer, "300")
    for _ in range(500):
        found = town.invoices(subscription.id)
        if found and found[-1].attempted:
            break
        town.advance(clock, town.client.v1.test_helpers.test_clocks.retrieve(clock).frozen_time + 1)
    [invoice] = town.invoices(subscription.id)
    assert (invoice.billing_reason, invoice.status) == ("subscription_threshold", "open")
    assert town.subscription(subscription.id).status == "past_due"
    again_at = invoice.next_payment_attempt
    assert again_at is not None
    town.pays_with(customer, GOOD)
    town.advance(clock, again_at)
    [invoice] = wait_for(town, subscription.id, 1)
    assert (invoice.status, invoice.attempt_count) == ("paid", 2)
    assert town.subscription(subscription.id).status == "active"


def test_of_a_fee_and_usage_by_themselves_each_is_tried_again(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    usage = town.metered(unit_amount=5)
    begun = town.subscribe(customer, fee(town), usage, usage_invoicing="separate")
    town.use(customer, "10")
    town.pays_with(customer, DECLINED)
    town.advance(clock, TRIED)
    assert town.subscription(begun.id).status == "past_due"
    _, *both = town.invoices(begun.id)
    assert [(each.status, each.attempt_count, each.next_payment_attempt) for each in both] == [
        ("open", 1, TRIED + DAY)
    ] * 2
    town.pays_with(customer, GOOD)
    town.advance(clock, TRIED + DAY)
    _, *both = town.invoices(begun.id)
    assert [(each.status, each.attempt_count) for each in both] == [("paid", 2)] * 2
    assert town.subscription(begun.id).status == "active"


def test_daily_retries_come_at_two_where_the_customer_lives_also_when_the_clocks_change(
    town: Town,
) -> None:
    """On 8 March there is no two o'clock in New York: it is tried as soon as that is over."""
    there = ZoneInfo("America/New_York")

    def moment(day: int, hour: int) -> int:
        return int(datetime(2026, 3, day, hour, tzinfo=there).timestamp())

    clock = town.clock(moment(1, 10) - 22 * DAY)  # 7 February
    customer = town.customer(clock, time_zone="America/New_York")
    own = schedule(town, kind="daily")
    subscription = town.subscribe(customer, fee(town), retry_schedule=own)
    ada = Debtor(town, clock, customer, subscription.id)
    ada.pays_with(DECLINED)
    ada.advance(moment(7, 12))
    assert ada.tried() == ("open", 1, moment(8, 3))
    ada.advance(moment(8, 3) - 1)
    assert ada.tried() == ("open", 1, moment(8, 3))
    ada.advance(moment(8, 3))
    assert ada.tried() == ("open", 2, moment(9, 2))
    ada.advance(moment(9, 2))
    assert (ada.tried(), ada.status) == (("open", 3, None), "past_due")


def test_the_customer_is_delinquent_from_a_failed_charge_to_a_payment(town: Town) -> None:
    ada = debtor(town)
    assert is_delinquent(ada) is True
    told = [each for each in town.events(ada.customer) if each.type == "customer.updated"]
    changed = told[-1].data.to_dict()
    assert changed["object"]["delinquent"] is True
    assert changed["previous_attributes"] == {"delinquent": False}
    with pytest.raises(stripe.CardError):
        town.client.v1.invoices.pay(ada.february.id)
    ada.pays_with(GOOD)
    assert is_delinquent(ada) is True  # a card by itself pays nothing
    ada.advance(TRIED + DAY)
    assert (ada.status, is_delinquent(ada)) == ("active", False)
    ada.advance(APRIL + HOUR)
    assert ada.statuses == ["paid"] * 4
