"""What is said before it happens: a renewal, an invoice that will be due, a card that expires."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from dunning import APRIL, FEBRUARY, JANUARY, MARCH, asked, fee, ours
from town import DAY, HOUR, Town, at, day

DUE = JANUARY + HOUR + 30 * DAY


def sent(town: Town, clock: str, **more: Any) -> stripe.Subscription:
    terms = {"collection_method": "send_invoice", "days_until_due": 30} | more
    return town.subscribe(town.customer(clock, None), fee(town), **terms)


def said(town: Town, *types: str) -> list[tuple[str, int]]:
    """The events of these types, and when they were."""
    found = town.client.v1.events.list({"types": list(types), "limit": 100})
    return [(each.type, each.created) for each in reversed(found.data)]


# ─── Invoices that are sent ──────────────────────────────────────────────────────────────────

AWAITED = ("invoice.will_be_due", "invoice.overdue")


def test_a_sent_invoice_is_overdue_and_paid_late(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock)
    town.advance(clock, DUE - 1)
    assert town.subscription(subscription.id).status == "active"
    assert said(town, *AWAITED) == []

    town.advance(clock, DUE)
    assert town.subscription(subscription.id).status == "past_due"
    assert said(town, *AWAITED) == [("invoice.overdue", DUE)]
    customer = town.client.v1.customers.retrieve(str(subscription.customer))
    assert customer.delinquent is True
    [invoice] = town.invoices(subscription.id)
    assert (invoice.status, invoice.attempted, invoice.next_payment_attempt) == (
        "open",
        False,
        None,
    )

    town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert town.subscription(subscription.id).status == "active"
    town.advance(clock, FEBRUARY + HOUR)
    assert said(town, *AWAITED) == [("invoice.overdue", DUE)]
    town.client.v1.invoices.void_invoice(town.invoices(subscription.id)[-1].id)


def test_a_sent_invoice_is_called_to_mind_as_often_as_the_account_wants(town: Town) -> None:
    ours(town, "/v1/billing_settings", invoice_reminder_days=[3, 7])
    clock = town.clock()
    subscription = sent(town, clock)
    town.advance(clock, DUE + DAY)
    assert said(town, *AWAITED) == [
        ("invoice.will_be_due", DUE - 7 * DAY),
        ("invoice.will_be_due", DUE - 3 * DAY),
        ("invoice.overdue", DUE),
    ]
    assert town.subscription(subscription.id).status == "past_due"


def test_one_that_is_paid_in_time_is_not_called_to_mind_again(town: Town) -> None:
    ours(town, "/v1/billing_settings", invoice_reminder_days=[7, 3])
    clock = town.clock()
    subscription = sent(town, clock)
    town.advance(clock, DUE - 5 * DAY)
    [invoice] = town.invoices(subscription.id)
    town.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    town.advance(clock, DUE + HOUR - 60)
    assert said(town, *AWAITED) == [("invoice.will_be_due", DUE - 7 * DAY)]
    assert town.subscription(subscription.id).status == "active"


def test_one_that_is_due_at_once_is_overdue_at_once(town: Town) -> None:
    ours(town, "/v1/billing_settings", invoice_reminder_days=[7])
    clock = town.clock()
    subscription = sent(town, clock, days_until_due=0)
    town.advance(clock, JANUARY + HOUR)
    assert said(town, *AWAITED) == [("invoice.overdue", JANUARY + HOUR)]
    assert town.subscription(subscription.id).status == "past_due"


def test_an_overdue_invoice_of_no_subscription_is_told_too(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    invoices = town.client.v1.invoices
    draft = invoices.create(
        {"customer": customer, "collection_method": "send_invoice", "days_until_due": 10}
    )
    town.client.v1.invoice_items.create(
        {"customer": customer, "invoice": draft.id, "amount": 500, "currency": "usd"}
    )
    invoices.finalize_invoice(draft.id)
    town.advance(clock, JANUARY + 11 * DAY)
    assert said(town, *AWAITED) == [("invoice.overdue", JANUARY + 10 * DAY)]


def test_one_that_is_put_off_is_overdue_later(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock)
    town.advance(clock, DUE - DAY)
    [invoice] = town.invoices(subscription.id)
    town.client.v1.invoices.update(invoice.id, {"due_date": DUE + 9 * DAY})
    town.advance(clock, DUE + 8 * DAY)
    assert (said(town, *AWAITED), town.subscription(subscription.id).status) == ([], "active")
    town.advance(clock, DUE + 9 * DAY)
    assert said(town, *AWAITED) == [("invoice.overdue", DUE + 9 * DAY)]


def test_voiding_what_is_overdue_leaves_one_that_is_not_due_yet_to_decide(town: Town) -> None:
    clock = town.clock()
    subscription = sent(town, clock, days_until_due=90)
    town.advance(clock, FEBRUARY + HOUR)
    _, february = town.invoices(subscription.id)
    invoices = town.client.v1.invoices
    invoices.update(february.id, {"due_date": FEBRUARY + 2 * DAY})
    town.advance(clock, FEBRUARY + 2 * DAY)
    assert town.subscription(subscription.id).status == "past_due"
    invoices.void_invoice(february.id)
    assert town.subscription(subscription.id).status == "active"


# ─── Renewals ────────────────────────────────────────────────────────────────────────────────


def test_a_renewal_is_announced_a_week_before_with_what_it_will_bill(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    usage = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, fee(town), usage)
    town.advance(clock, JANUARY + DAY)
    town.use(customer, "100", timestamp=JANUARY + HOUR)
    town.advance(clock, MARCH + HOUR)

    found = town.client.v1.events.list({"type": "invoice.upcoming"}).data[::-1]
    assert [each.created for each in found] == [
        FEBRUARY - 7 * DAY,
        MARCH - 7 * DAY,
    ]
    upcoming = found[0].data.object
    assert upcoming["id"] is None
    assert (upcoming["status"], upcoming["billing_reason"]) == ("draft", "upcoming")
    assert (upcoming["amount_due"], upcoming["customer"]) == (10500, customer)
    assert (upcoming["customer_name"], upcoming["number"]) == ("Ada", None)
    assert upcoming["next_payment_attempt"] == FEBRUARY + HOUR
    assert [line["invoice"] for line in upcoming["lines"]["data"]] == [None, None]
    parent = upcoming["parent"]
    assert parent["subscription_details"]["subscription"] == subscription.id
    february = town.invoices(subscription.id)[1]
    assert february.amount_due == upcoming["amount_due"]


def test_how_many_days_before_is_the_accounts_to_say(town: Town) -> None:
    clock = town.clock()
    ours(town, "/v1/billing_settings", invoice_upcoming_days=3)
    town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY + HOUR)
    assert said(town, "invoice.upcoming") == [("invoice.upcoming", FEBRUARY - 3 * DAY)]
    ours(town, "/v1/billing_settings", invoice_upcoming_days="")
    town.advance(clock, APRIL + HOUR)
    assert len(said(town, "invoice.upcoming")) == 1


def test_the_end_of_a_trial_is_announced_and_what_is_over_or_sent_is_not(town: Town) -> None:
    clock = town.clock()
    trial = town.subscribe(town.customer(clock), fee(town), trial_period_days=20)
    over = town.subscribe(town.customer(clock), fee(town))
    town.client.v1.subscriptions.update(over.id, {"cancel_at_period_end": True})
    sent(town, clock)
    town.advance(clock, JANUARY + 25 * DAY)
    found = town.client.v1.events.list({"type": "invoice.upcoming"}).data
    assert [each.created for each in found] == [JANUARY + 13 * DAY]
    told = found[0].data.object["parent"]["subscription_details"]["subscription"]
    assert told == trial.id


def test_a_renewal_that_is_put_off_is_announced_anew(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, FEBRUARY - 5 * DAY)
    town.client.v1.subscriptions.update(
        subscription.id, {"trial_end": FEBRUARY + 10 * DAY, "proration_behavior": "none"}
    )
    town.advance(clock, FEBRUARY + 9 * DAY)
    assert [created for _, created in said(town, "invoice.upcoming")] == [
        FEBRUARY - 7 * DAY,
        FEBRUARY + 3 * DAY,
    ]


def test_the_end_of_a_pause_of_collection_is_no_renewal(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.client.v1.subscriptions.update(
        subscription.id,
        {"pause_collection": {"behavior": "void", "resumes_at": FEBRUARY - 10 * DAY}},
    )
    town.advance(clock, FEBRUARY + HOUR)
    assert [created for _, created in said(town, "invoice.upcoming")] == [FEBRUARY - 7 * DAY]


# ─── Cards ───────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_expires_is_announced_once_as_its_last_month_begins(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    card = town.client.v1.customers.retrieve(customer).invoice_settings.default_payment_method
    methods = town.client.v1.payment_methods
    methods.update(str(card), {"card": {"exp_month": 3, "exp_year": 2026}})
    town.advance(clock, at("2026-05-01"))
    [event] = town.client.v1.events.list({"type": "customer.source.expiring"}).data
    assert (day(event.created), event.data.object["id"]) == ("2026-03-01", card)

    # Of one that was over before, nothing is said; of a new date, it is.
    methods.update(str(card), {"card": {"exp_month": 4, "exp_year": 2026}})
    town.advance(clock, at("2026-05-02"))
    assert len(said(town, "customer.source.expiring")) == 1
    methods.update(str(card), {"card": {"exp_month": 5, "exp_year": 2026}})
    town.advance(clock, at("2026-05-03"))
    assert len(said(town, "customer.source.expiring")) == 2


def test_nobodys_card_may_expire_in_peace(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    card = town.client.v1.customers.retrieve(customer).invoice_settings.default_payment_method
    methods = town.client.v1.payment_methods
    methods.update(str(card), {"card": {"exp_month": 3, "exp_year": 2026}})
    methods.detach(str(card))
    town.advance(clock, at("2026-05-01"))
    assert said(town, "customer.source.expiring") == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"invoice_upcoming_days": 0}, "invoice_upcoming_days"),
        ({"invoice_upcoming_days": 61}, "invoice_upcoming_days"),
        ({"invoice_reminder_days[0]": 0}, "invoice_reminder_days[0]"),
        ({"invoice_reminder_days[0]": 7, "invoice_reminder_days[1]": 7}, "invoice_reminder_days"),
        ({"retry_schedule": "rs_none"}, "retry_schedule"),
    ],
    ids=["no day", "too many", "reminder on the day", "twice", "no schedule"],
)
def test_settings_that_cannot_be_are_refused(town: Town, given: dict[str, Any], param: str) -> None:
    answer = asked(town, "/v1/billing_settings", **given)
    assert answer.json()["error"]["param"] == param
    assert answer.status_code == (404 if param == "retry_schedule" else 400)
