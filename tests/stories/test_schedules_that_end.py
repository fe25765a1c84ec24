"""How schedules end: with their subscription, as was agreed, or because they were left."""

from typing import Any

import stripe
from test_schedules import again, fee, month, schedule_of
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
MARCH = FEBRUARY + 28 * DAY


def happened(town: Town, schedule: Any) -> list[str]:
    return [each.type.partition(".")[2] for each in town.events(schedule.id)]


def test_a_subscription_that_is_canceled_takes_its_schedule_with_it(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(town, ada, month(fee(town, 1000)), month(fee(town, 2000)))
    subscription_id = str(schedule.subscription)
    town.advance(clock, MONTH_BEGINS + DAY)
    canceled = town.client.v1.subscriptions.cancel(subscription_id)
    assert canceled.schedule is None
    after = again(town, schedule)
    assert (after.status, after.canceled_at) == ("canceled", MONTH_BEGINS + DAY)
    assert (after.current_phase, after.subscription) == (None, subscription_id)
    assert happened(town, schedule) == ["created", "updated", "canceled"]
    town.advance(clock, MARCH)
    assert [each.total for each in town.invoices(subscription_id)] == [1000]


def test_a_subscription_that_ends_at_its_periods_end_does_too(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(town, ada, month(fee(town, 1000)) | {"iterations": 3})
    subscription_id = str(schedule.subscription)
    town.client.v1.subscriptions.update(subscription_id, {"cancel_at_period_end": True})
    town.advance(clock, FEBRUARY + HOUR)
    after = again(town, schedule)
    assert (after.status, after.canceled_at) == ("canceled", FEBRUARY)
    assert happened(town, schedule)[-1] == "canceled"


def test_one_that_was_never_paid_for_is_aborted(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock, "pm_card_chargeCustomerFail")
    schedule = schedule_of(town, ada, month(fee(town, 1000)), month(fee(town, 2000)))
    assert town.subscription(str(schedule.subscription)).status == "incomplete"
    town.advance(clock, MONTH_BEGINS + 24 * HOUR)
    assert again(town, schedule).status == "canceled"
    assert happened(town, schedule) == ["created", "updated", "aborted"]


def test_to_cancel_a_schedule_is_said_once(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(town, ada, month(fee(town, 1000)), month(fee(town, 2000)))
    canceled = town.client.v1.subscription_schedules.cancel(schedule.id)
    assert (canceled.status, canceled.canceled_at) == ("canceled", MONTH_BEGINS)
    assert town.subscription(str(schedule.subscription)).schedule is None
    assert happened(town, schedule) == ["created", "updated", "canceled"]


def test_its_end_is_announced_a_week_before(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    schedule = schedule_of(
        town, ada, month(fee(town, 1000)), month(fee(town, 2000)), end_behavior="cancel"
    )
    subscription_id = str(schedule.subscription)
    town.advance(clock, FEBRUARY + HOUR)
    assert happened(town, schedule) == ["created", "updated", "updated"]
    town.advance(clock, MARCH - 7 * DAY - 1)
    assert happened(town, schedule) == ["created", "updated", "updated"]
    town.advance(clock, MARCH - 7 * DAY)
    assert happened(town, schedule)[3:] == ["expiring"]
    town.advance(clock, MARCH + HOUR)
    assert happened(town, schedule)[3:] == ["expiring", "completed"]
    ended = town.subscription(subscription_id)
    assert (ended.status, ended.schedule) == ("canceled", None)
    assert again(town, schedule).completed_at == MARCH


def test_of_a_phase_of_some_days_it_is_announced_at_once(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    price = fee(town, 1000)
    schedule = schedule_of(
        town, ada, {"items": [{"price": price}], "end_date": MONTH_BEGINS + 5 * DAY}
    )
    assert happened(town, schedule) == ["created", "updated", "expiring"]
    longer = [
        {
            "items": [{"price": price}],
            "start_date": MONTH_BEGINS,
            "end_date": MONTH_BEGINS + 20 * DAY,
        }
    ]
    town.client.v1.subscription_schedules.update(schedule.id, {"phases": longer})  # type: ignore[typeddict-item]
    town.advance(clock, MONTH_BEGINS + 14 * DAY)
    assert happened(town, schedule)[3:] == ["updated", "expiring"]


def test_a_schedule_that_is_released_says_so_of_its_subscription(town: Town) -> None:
    ada = town.customer(None)
    schedule = schedule_of(town, ada, month(fee(town, 1000)), month(fee(town, 2000)))
    town.client.v1.subscription_schedules.release(schedule.id)
    assert town.subscription(str(schedule.subscription)).schedule is None
    updated: stripe.Event = town.events(str(schedule.subscription))[-1]
    assert updated.type == "customer.subscription.updated"
    assert updated.data.previous_attributes.to_dict() == {"schedule": schedule.id}
