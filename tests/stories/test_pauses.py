"""Subscriptions that are paused and resumed: nothing is billed in between."""

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, Town, at, day

JANUARY, FEBRUARY = at("2026-01-01"), at("2026-02-01")
ELEVENTH = at("2026-01-11")


def fee(town: Town) -> str:
    return town.price(unit_amount=3100, product_data={"name": "Fee"})


def shown(invoice: stripe.Invoice) -> list[tuple[str, int, str, str]]:
    return [
        (line.description or "", line.amount, day(line.period.start), day(line.period.end))
        for line in invoice.lines.data
    ]


def pause(town: Town, subscription_id: str, **asked: object) -> stripe.Subscription:
    return town.client.v1.subscriptions.pause(subscription_id, asked)  # type: ignore[arg-type]


def resume(town: Town, subscription_id: str, **asked: object) -> stripe.Subscription:
    return town.client.v1.subscriptions.resume(subscription_id, asked)  # type: ignore[arg-type]


def begun(town: Town, clock: str) -> tuple[str, str]:
    """A customer of a fee and calls since January, on the eleventh and after 100 calls."""
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.use(customer, "100")
    town.advance(clock, ELEVENTH)
    return customer, subscription.id


def test_a_pause_bills_what_was_used_and_gives_back_what_was_not(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, subscription_id = begun(town, clock)
    paused = pause(town, subscription_id, invoicing_behavior="invoice")
    assert paused.status == "paused"
    assert paused.status_details is not None
    assert paused.status_details.to_dict() == {
        "paused": {
            "subscription": {"type": "pause_requested"},
            "transitioned_at": ELEVENTH,
            "type": "subscription",
        }
    }
    bill = town.invoices(subscription_id)[-1]
    assert sorted(line[1] for line in shown(bill)) == [-2100, 500]
    assert town.events(subscription_id)[-1].type == "customer.subscription.paused"

    town.use(customer, "9")
    town.advance(clock, at("2026-04-01"))
    assert len(town.invoices(subscription_id)) == 2

    resumed = resume(town, subscription_id)
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", at("2026-04-01"))
    again = town.invoices(subscription_id)[-1]
    assert shown(again) == [("1 × Fee (at $31.00 / month)", 3100, "2026-04-01", "2026-05-01")]
    assert again.amount_due == 3100 - 1600  # the credit pays for a part
    assert town.events(subscription_id)[-1].type == "customer.subscription.resumed"

    town.use(customer, "1")
    town.advance(clock, at("2026-05-01") + HOUR)
    assert [line[1] for line in shown(town.invoices(subscription_id)[-1])] == [5, 3100]


def test_what_a_pause_bills_waits_for_the_next_invoice(town: Town) -> None:
    clock = town.clock(JANUARY)
    _, subscription_id = begun(town, clock)
    pause(town, subscription_id)
    assert len(town.invoices(subscription_id)) == 1
    town.advance(clock, FEBRUARY)
    resume(town, subscription_id)
    [_, bill] = town.invoices(subscription_id)
    assert bill.total == 3100 - 2100 + 500


def test_a_pause_that_bills_nothing(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer, subscription_id = begun(town, clock)
    pause(
        town,
        subscription_id,
        bill_for={
            "outstanding_usage_through": {"type": "none"},
            "unused_time_from": {"type": "none"},
        },
    )
    town.advance(clock, ELEVENTH + 4 * DAY)
    town.use(customer, "9")
    town.advance(clock, ELEVENTH + 5 * DAY)
    resumed = resume(town, subscription_id, billing_cycle_anchor={"type": "unchanged"})
    assert resumed.billing_cycle_anchor == JANUARY
    town.advance(clock, ELEVENTH + 6 * DAY)
    town.use(customer, "1")
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription_id)] == [3100, 3100 + 5]


@pytest.mark.parametrize("mode", ["classic", "flexible"])
def test_what_changed_unprorated_before_a_pause_is_not_prorated_by_its_end(
    town: Town, mode: str
) -> None:
    clock = town.clock(JANUARY)
    subscription = town.subscribe(town.customer(clock), fee(town), billing_mode={"type": mode})
    town.advance(clock, ELEVENTH)
    two = {"id": subscription["items"].data[0].id, "quantity": 2}
    town.client.v1.subscriptions.update(
        subscription.id, {"items": [two], "proration_behavior": "none"}
    )
    kept = {"outstanding_usage_through": {"type": "none"}, "unused_time_from": {"type": "none"}}
    pause(town, subscription.id, bill_for=kept)
    town.advance(clock, at("2026-01-21"))
    resume(town, subscription.id, billing_cycle_anchor={"type": "unchanged"})
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [3100, 6200]


def test_resumed_within_the_periods_that_were_the_rest_is_paid(town: Town) -> None:
    clock = town.clock(JANUARY)
    _, subscription_id = begun(town, clock)
    pause(town, subscription_id, invoicing_behavior="invoice")
    town.advance(clock, at("2026-03-11"))
    resume(
        town,
        subscription_id,
        billing_cycle_anchor={"type": "unchanged"},
        proration_behavior="always_invoice",
    )
    bill = town.invoices(subscription_id)[-1]
    assert shown(bill) == [
        ("Remaining time on Fee after 11 Mar 2026", 2100, "2026-03-11", "2026-04-01")
    ]
    town.advance(clock, at("2026-04-01") + HOUR)
    assert town.invoices(subscription_id)[-1].total == 3100


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_a_pause_gives_back_and_its_end_asks_for_what_discounts_leave(
    town: Town, mode: str
) -> None:
    clock = town.clock(JANUARY)
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    subscription = town.subscribe(
        town.customer(clock),
        fee(town),
        billing_mode={"type": mode},
        discounts=[{"coupon": half.id}],
    )
    town.advance(clock, ELEVENTH)
    pause(town, subscription.id)
    town.advance(clock, at("2026-01-21"))
    resume(town, subscription.id, billing_cycle_anchor={"type": "unchanged"})
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert shown(renewal) == [
        ("Remaining time on Fee after 21 Jan 2026", 550, "2026-01-21", "2026-02-01"),
        ("Unused time on Fee after 11 Jan 2026", -1050, "2026-01-11", "2026-02-01"),
        ("1 × Fee (at $31.00 / month)", 3100, "2026-02-01", "2026-03-01"),
    ]
    assert renewal.total == 550 - 1050 + 1550


@pytest.mark.parametrize(
    ("back", "bills", "status"),
    [
        ("2026-01-21", [-2600, -1100, 1100, 2200, 6200], "active"),
        ("2026-08-21", [-2600, -2200, -1100, 1100, 2200], "canceled"),  # its end was in the pause
    ],
)
def test_a_phase_whose_time_comes_in_a_pause_begins_when_that_ends(
    town: Town, back: str, bills: list[int], status: str
) -> None:
    """The time of the pause costs nothing, whatever the phase does."""
    clock = town.clock(JANUARY)
    dear = town.price(unit_amount=6200, product_data={"name": "Dear"})
    subscription = town.subscribe(town.customer(clock), fee(town))
    running = {"price": subscription["items"].data[0].price.id}
    schedules = town.client.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": subscription.id})
    phases: Any = [
        {"start_date": JANUARY, "end_date": ELEVENTH, "items": [running]},
        {"end_date": at("2026-04-01"), "items": [{"price": dear}]},
    ]
    schedules.update(schedule.id, {"end_behavior": "cancel", "phases": phases})
    town.advance(clock, at("2026-01-06"))
    pause(town, subscription.id)
    town.advance(clock, at(back))
    resume(town, subscription.id, billing_cycle_anchor={"type": "unchanged"})
    town.advance(clock, at(back) + 11 * DAY + HOUR)
    last = town.invoices(subscription.id)[-1]
    assert sorted(line.amount for line in last.lines.data) == bills
    assert town.subscription(subscription.id).status == status
    over = status == "canceled"
    assert schedules.retrieve(schedule.id).status == ("completed" if over else "active")


def test_a_resumption_that_is_not_paid_is_past_due(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    trial = town.subscribe(
        customer,
        fee(town),
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    town.advance(clock, FEBRUARY)
    paused = town.subscription(trial.id)
    assert paused.status == "paused"
    assert paused.status_details is not None
    reason = paused.status_details.paused.subscription.type
    assert reason == "trial_end_without_payment_method"
    assert resume(town, trial.id).status == "past_due"
    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(town.invoices(trial.id)[-1].id)
    assert town.subscription(trial.id).status == "active"


def test_what_is_paused_still_ends_at_its_date(town: Town) -> None:
    clock = town.clock(JANUARY)
    _, subscription_id = begun(town, clock)
    pause(town, subscription_id, invoicing_behavior="invoice")
    town.client.v1.subscriptions.update(subscription_id, {"cancel_at": FEBRUARY})
    town.advance(clock, FEBRUARY + DAY)
    assert town.subscription(subscription_id).ended_at == FEBRUARY
    assert len(town.invoices(subscription_id)) == 2


def test_what_cannot_be_paused_or_resumed(town: Town) -> None:
    clock = town.clock(JANUARY)
    _, subscription_id = begun(town, clock)
    with pytest.raises(stripe.InvalidRequestError, match="only resume subscriptions that are"):
        resume(town, subscription_id)
    pause(town, subscription_id)
    with pytest.raises(stripe.InvalidRequestError, match="is paused cannot be paused"):
        pause(town, subscription_id)
    town.client.v1.subscriptions.cancel(subscription_id)
    with pytest.raises(stripe.InvalidRequestError, match="is canceled cannot be paused"):
        pause(town, subscription_id)
