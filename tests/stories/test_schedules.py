"""What was agreed in advance happens when its time comes: phase after phase."""

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town, day

FEBRUARY = MONTH_BEGINS + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY
MAY = APRIL + 30 * DAY


def fee(town: Town, amount: int) -> str:
    return town.price(unit_amount=amount, product_data={"name": f"Fee {amount}"})


def schedule_of(town: Town, customer_id: str, *phases: Any, **more: Any) -> Any:
    given = {"customer": customer_id, "start_date": "now", "phases": list(phases)} | more
    return town.client.v1.subscription_schedules.create(given)  # type: ignore[arg-type]


def again(town: Town, schedule: Any) -> stripe.SubscriptionSchedule:
    return town.client.v1.subscription_schedules.retrieve(schedule.id)


def month(*prices: str, **more: Any) -> dict[str, Any]:
    """A phase of one period of these prices."""
    return {"items": [{"price": each} for each in prices], "iterations": 1} | more


def lines(invoice: stripe.Invoice) -> list[tuple[int, str | None]]:
    return [(line.amount, line.description) for line in invoice.lines.data]


def test_three_phases_whose_prices_go_up(town: Town) -> None:
    """Usage is billed at the price of its phase, the fee of the phase that begins."""
    clock = town.clock()
    ada = town.customer(clock)
    meter = town.meter()
    calls = [
        town.price(
            unit_amount=each,
            recurring={"usage_type": "metered", "meter": meter},
            product_data={"name": "Calls"},
        )
        for each in (1, 2, 3)
    ]
    fees = [fee(town, each) for each in (1000, 2000, 3000)]
    schedule = schedule_of(
        town, ada, *(month(*pair) for pair in zip(fees, calls, strict=True)), metadata={"a": "b"}
    )
    assert (schedule.status, schedule.end_behavior, schedule.metadata.a) == (
        "active",
        "release",
        "b",
    )
    assert [day(each.start_date) for each in schedule.phases] == [
        "2026-01-01",
        "2026-02-01",
        "2026-03-01",
    ]
    subscription = town.subscription(schedule.subscription)
    assert (subscription.schedule, subscription.status) == (schedule.id, "active")

    for ends in (FEBRUARY, MARCH, APRIL, MAY):
        town.use(ada, "100")
        town.advance(clock, ends + HOUR)

    assert [each.total for each in town.invoices(subscription.id)] == [
        1000,
        100 + 2000,
        200 + 3000,
        300 + 3000,
        300 + 3000,
    ]
    [_, february, *_] = town.invoices(subscription.id)
    assert lines(february) == [
        (100, "100 × Calls (at $0.01 / month)"),
        (2000, "1 × Fee 2000 (at $20.00 / month)"),
    ]
    done = again(town, schedule)
    assert (done.status, done.subscription, done.released_subscription) == (
        "released",
        None,
        subscription.id,
    )
    assert town.subscription(subscription.id).schedule is None
    assert [each.type for each in town.events(schedule.id)] == [
        "subscription_schedule.created",
        "subscription_schedule.updated",
        "subscription_schedule.updated",
        "subscription_schedule.updated",
        "subscription_schedule.expiring",
        "subscription_schedule.released",
    ]


def test_a_schedule_that_starts_later_and_ends_its_subscription(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(
        town,
        ada,
        {"items": [{"price": fee(town, 1000), "quantity": 2}], "iterations": 2},
        start_date=MONTH_BEGINS + 10 * DAY,
        end_behavior="cancel",
    )
    assert (schedule.status, schedule.subscription, schedule.current_phase) == (
        "not_started",
        None,
        None,
    )
    town.advance(clock, MONTH_BEGINS + 11 * DAY)
    running = again(town, schedule)
    assert (running.status, running.current_phase is not None) == ("active", True)
    subscription_id = str(running.subscription)
    assert day(town.subscription(subscription_id).billing_cycle_anchor) == "2026-01-11"

    town.advance(clock, MAY)
    ended = town.subscription(subscription_id)
    assert (ended.status, day(ended.ended_at)) == ("canceled", "2026-03-11")
    assert [each.total for each in town.invoices(subscription_id)] == [2000, 2000]
    assert again(town, schedule).status == "completed"


def test_a_phase_that_begins_in_the_middle_of_a_period_is_prorated(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    middle = FEBRUARY + 14 * DAY
    schedule = schedule_of(
        town,
        ada,
        {"items": [{"price": fee(town, 1000)}], "end_date": middle},
        {
            "items": [{"price": fee(town, 3000)}],
            "iterations": 2,
            "proration_behavior": "always_invoice",
        },
    )
    town.advance(clock, middle + HOUR)
    made = town.invoices(str(schedule.subscription))
    assert [each.total for each in made] == [1000, 1000, 1000]
    assert [line.amount for line in made[-1].lines.data] in ([-500, 1500], [1500, -500])
    town.advance(clock, MARCH + HOUR)
    assert town.invoices(str(schedule.subscription))[-1].total == 3000


def test_a_schedule_of_a_subscription_that_runs(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    old, new = fee(town, 1000), fee(town, 2000)
    subscription = town.subscribe(ada, old)
    schedules = town.client.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": subscription.id})
    assert (schedule.status, schedule.subscription) == ("active", subscription.id)
    [first] = schedule.phases
    assert (day(first.start_date), day(first.end_date)) == ("2026-01-01", "2026-02-01")
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        schedules.create({"from_subscription": subscription.id})

    updated = schedules.update(
        schedule.id,
        {
            "phases": [
                {
                    "items": [{"price": old, "quantity": 1}],
                    "start_date": first.start_date,
                    "end_date": first.end_date,
                },
                {"items": [{"price": new, "quantity": 3}], "iterations": 1},
            ]
        },
    )
    assert len(updated.phases) == 2
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [1000, 6000]

    released = schedules.release(schedule.id)
    assert (released.status, released.released_subscription) == ("released", subscription.id)
    town.advance(clock, MARCH + HOUR)
    assert town.invoices(subscription.id)[-1].total == 6000
    with pytest.raises(stripe.InvalidRequestError, match="released cannot be canceled"):
        schedules.cancel(schedule.id)


def test_a_schedule_that_is_canceled_ends_its_subscription(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    running = schedule_of(town, ada, month(fee(town, 1000)))
    waiting = schedule_of(town, ada, month(fee(town, 2000)), start_date=FEBRUARY)
    schedules = town.client.v1.subscription_schedules
    assert [each.id for each in schedules.list({"customer": ada, "scheduled": True}).data] == [
        waiting.id
    ]

    canceled = schedules.cancel(running.id, {"invoice_now": False, "prorate": False})
    assert (canceled.status, canceled.canceled_at) == ("canceled", MONTH_BEGINS)
    assert town.subscription(str(running.subscription)).status == "canceled"
    assert schedules.cancel(waiting.id).status == "canceled"
    town.advance(clock, MARCH)
    assert [each.total for each in town.invoices(str(running.subscription))] == [1000]


def test_items_come_and_go_with_phases(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    base, seats = fee(town, 1000), fee(town, 200)
    calls = town.metered(unit_amount=5)
    schedule = schedule_of(town, ada, month(base), month(base, seats, calls), month(base))
    subscription_id = str(schedule.subscription)
    town.advance(clock, FEBRUARY + 2 * HOUR)
    town.use(ada, "10")
    town.advance(clock, MARCH + 2 * HOUR)
    town.advance(clock, APRIL + 2 * HOUR)
    made = town.invoices(subscription_id)
    assert sum(each.total for each in made) == 1000 + 1200 + 1050 + 1000
    assert [each.price.id for each in town.subscription(subscription_id)["items"].data] == [base]


@pytest.mark.parametrize(
    ("phases", "param"),
    [
        (
            [{"items": [{"price": "PRICE"}], "iterations": 1, "end_date": FEBRUARY}],
            "phases[0][end_date]",
        ),
        ([{"items": [{"price": "price_nothing"}]}], "phases[0][items][0][price]"),
        ([{"items": [{"price": "PRICE"}], "end_date": 1000}], "phases[0][end_date]"),
        (
            [
                {"items": [{"price": "PRICE"}], "end_date": 4_000_000_000},
                {"items": [{"price": "PRICE"}], "start_date": 4_000_000_001},
            ],
            "phases[1][start_date]",
        ),
    ],
    ids=["two ends", "no such price", "an end before its start", "a gap"],
)
def test_phases_that_are_refused(town: Town, phases: Any, param: str) -> None:
    ada, price = town.customer(None), fee(town, 1000)
    asked = [
        {
            **phase,
            "items": [{"price": each["price"].replace("PRICE", price)} for each in phase["items"]],
        }
        for phase in phases
    ]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        schedule_of(town, ada, *asked)
    assert refused.value.param == param


def test_from_months_to_years(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    yearly = town.price(
        unit_amount=9000, recurring={"interval": "year"}, product_data={"name": "Year"}
    )
    schedule = schedule_of(town, ada, month(fee(town, 1000)), month(yearly))
    town.advance(clock, FEBRUARY + 2 * HOUR)
    subscription = town.subscription(str(schedule.subscription))
    [item] = subscription["items"].data
    assert [day(item.current_period_start), day(item.current_period_end)] == [
        "2026-02-01",
        "2027-02-01",
    ]
    assert [each.total for each in town.invoices(subscription.id)] == [1000, 9000]
