"""What phases bring beside their prices, and that each renewal is previewed as it is billed."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from test_schedules import again, fee, month, schedule_of
from town import DAY, HOUR, MONTH_BEGINS, Town, day

FEBRUARY = MONTH_BEGINS + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY


def once(town: Town, amount: int) -> str:
    """A price that is paid once."""
    return town.client.v1.prices.create(
        {"currency": "usd", "unit_amount": amount, "product_data": {"name": f"Once {amount}"}}
    ).id


def upcoming(town: Town, **asked: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(asked)  # type: ignore[arg-type]


def shown(invoice: stripe.Invoice) -> list[tuple[int, str | None]]:
    return [(line.amount, line.description) for line in invoice.lines.data]


def renews_as_previewed(town: Town, clock: str, schedule: Any, at: int) -> stripe.Invoice:
    """The renewal at that time, which both previews have told."""
    subscription_id = str(again(town, schedule).subscription)
    told = [
        upcoming(town, subscription=subscription_id),
        upcoming(town, schedule=schedule.id),
    ]
    town.advance(clock, at + 2 * HOUR)
    billed = town.invoices(subscription_id)[-1]
    for each in told:
        assert shown(each) == shown(billed)
        assert (each.total, each.amount_due) == (billed.total, billed.amount_due)
    return billed


def test_what_is_billed_once_is_on_the_invoice_of_its_phase(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    setup, move = once(town, 500), once(town, 300)
    schedule = schedule_of(
        town,
        ada,
        month(fee(town, 1000), add_invoice_items=[{"price": setup}]),
        month(fee(town, 2000), add_invoice_items=[{"price": move, "quantity": 2}]),
        month(fee(town, 3000)),
    )
    subscription_id = str(schedule.subscription)
    [first] = town.invoices(subscription_id)
    assert sorted(line.amount for line in first.lines.data) == [500, 1000]
    assert first.total == 1500
    second = renews_as_previewed(town, clock, schedule, FEBRUARY)
    assert shown(second) == [(600, "Once 300"), (2000, "1 × Fee 2000 (at $20.00 / month)")]
    assert renews_as_previewed(town, clock, schedule, MARCH).total == 3000
    assert [each.total for each in town.invoices(subscription_id)] == [1500, 2600, 3000]


def test_each_phase_is_previewed_as_it_is_billed(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    meter = town.meter()
    calls = [
        town.price(
            unit_amount=each,
            recurring={"usage_type": "metered", "meter": meter},
            product_data={"name": "Calls"},
        )
        for each in (1, 2)
    ]
    fees = [fee(town, 1000), fee(town, 2000)]
    schedule = schedule_of(
        town,
        ada,
        month(fees[0], calls[0]),
        {
            "items": [{"price": fees[1], "quantity": 3}, {"price": calls[1]}],
            "iterations": 1,
        },
        end_behavior="cancel",
    )
    town.use(ada, "100")
    assert renews_as_previewed(town, clock, schedule, FEBRUARY).total == 100 + 6000
    town.use(ada, "100")
    assert renews_as_previewed(town, clock, schedule, MARCH).total == 200
    assert again(town, schedule).status == "completed"


def test_a_schedule_that_has_not_begun_is_previewed_as_it_begins(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(
        town,
        ada,
        month(fee(town, 1000), add_invoice_items=[{"price": once(town, 500)}]),
        start_date=FEBRUARY,
    )
    told = upcoming(town, schedule=schedule.id)
    assert [day(told.lines.data[-1].period.start), day(told.lines.data[-1].period.end)] == [
        "2026-02-01",
        "2026-03-01",
    ]
    town.advance(clock, FEBRUARY + HOUR)
    [billed] = town.invoices(str(again(town, schedule).subscription))
    assert sorted(shown(told)) == sorted(shown(billed))
    assert told.total == billed.total == 1500


def test_a_phase_of_trial_is_free_and_the_next_is_paid(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    price = fee(town, 1000)
    schedule = schedule_of(
        town,
        ada,
        {"items": [{"price": price}], "duration": {"interval": "month"}, "trial": True},
        month(price),
    )
    [trial, _] = schedule.phases
    assert (trial.trial_end, trial.end_date) == (FEBRUARY, FEBRUARY)
    subscription_id = str(schedule.subscription)
    trying = town.subscription(subscription_id)
    assert (trying.status, trying.trial_end) == ("trialing", FEBRUARY)
    town.advance(clock, FEBRUARY + 2 * HOUR)
    paying = town.subscription(subscription_id)
    assert paying.status == "active"
    assert [each.total for each in town.invoices(subscription_id)] == [0, 1000]
    assert day(paying["items"].data[0].current_period_end) == "2026-03-01"
    town.advance(clock, MARCH + 2 * HOUR)
    assert again(town, schedule).status == "released"


@pytest.mark.parametrize("proration", ["create_prorations", "none"])
def test_a_phase_of_trial_between_two_that_are_paid_is_free(town: Town, proration: str) -> None:
    """Its renewal bills what was used before, and the one after it is previewed all the while."""
    clock = town.clock()
    ada = town.customer(clock)
    calls = town.metered(unit_amount=5)
    free: Any = month(fee(town, 1000), calls, trial=True, proration_behavior=proration)
    schedule = schedule_of(town, ada, month(fee(town, 1000), calls), free, month(fee(town, 2500)))
    town.use(ada, "10")
    renewal = renews_as_previewed(town, clock, schedule, FEBRUARY)
    assert shown(renewal) == [(50, "10 × Calls (at $0.05 / month)")]
    subscription_id = str(again(town, schedule).subscription)
    assert town.subscription(subscription_id).status == "trialing"
    town.use(ada, "100")
    paid = renews_as_previewed(town, clock, schedule, MARCH)  # foretold before its reminder
    assert shown(paid) == [(2500, "1 × Fee 2500 (at $25.00 / month)")]
    assert [each.total for each in town.invoices(subscription_id)] == [1000, 50, 2500]


def test_what_phases_leave_open_is_as_the_default_settings_say(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(
        town,
        ada,
        month(fee(town, 1000)),
        month(fee(town, 2000), description="Two"),
        default_settings={
            "collection_method": "send_invoice",
            "invoice_settings": {"days_until_due": 10},
            "description": "One",
        },
    )
    assert schedule.default_settings.collection_method == "send_invoice"
    subscription = town.subscription(str(schedule.subscription))
    assert (subscription.collection_method, subscription.days_until_due) == ("send_invoice", 10)
    assert subscription.description == "One"
    town.advance(clock, FEBRUARY + 2 * HOUR)
    after = town.subscription(subscription.id)
    assert (after.description, after.collection_method) == ("Two", "send_invoice")
    newest = town.invoices(subscription.id)[-1]
    assert newest.due_date == FEBRUARY + HOUR + 10 * DAY


@pytest.mark.parametrize(
    ("beside", "code"),
    [({}, "invoice_upcoming_none"), ({"subscription": "sub_1"}, "parameters_exclusive")],
    ids=["by itself", "with a subscription"],
)
def test_a_schedule_that_is_over_has_nothing_to_preview(
    town: Town, beside: dict[str, str], code: str
) -> None:
    ada = town.customer(None)
    schedule = schedule_of(town, ada, month(fee(town, 1000)))
    town.client.v1.subscription_schedules.cancel(schedule.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        upcoming(town, schedule=schedule.id, **beside)
    assert refused.value.code == code


def test_a_schedule_that_is_not_there_cannot_be_previewed(town: Town) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        upcoming(town, schedule="sub_sched_none")
    assert (refused.value.code, refused.value.param) == ("resource_missing", "schedule")
