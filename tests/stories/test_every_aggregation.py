"""A month's bill on each way to count, seen coming in a preview, and the month after."""

from decimal import Decimal

import pytest
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY

# (days after the first of January, value)
USED = [(0, "4"), (10, "10"), (20, "10"), (25, "-1"), (30, "0.5")]

# What January bills of it, and February, in which nothing is used.
QUANTITIES: dict[str, tuple[str, str]] = {
    "sum": ("23.5", "0"),
    "count": ("5", "0"),
    "last": ("0.5", "0"),
    "max": ("10", "0"),
    "average": ("4.7", "0"),
    "unique": ("4", "0"),
    "p95": ("10", "0"),
    "p99": ("10", "0"),
    # 4 for 10 days, 10 for 15, -1 for 5, 0.5 for the last, and for all of February.
    "time_weighted_sum": (str(int((40 + 150 - 5 + 0.5) * DAY)), str(14 * DAY)),
    "duration": (str(26 * DAY), str(28 * DAY)),
}


@pytest.mark.parametrize("formula", QUANTITIES)
def test_a_month_is_billed_by_each_aggregation(town: Town, formula: str) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(formula=formula, unit_amount_decimal="0.5")
    subscription = town.subscribe(customer, price)
    for days, value in USED:
        if days:
            town.advance(clock, JANUARY + days * DAY)
        town.use(customer, value, timestamp=JANUARY + days * DAY)
    town.advance(clock, FEBRUARY - 60)
    january, february = (Decimal(each) for each in QUANTITIES[formula])

    [upcoming] = town.client.v1.invoices.create_preview(
        {"subscription": subscription.id}
    ).lines.data
    minute = {"time_weighted_sum": Decimal(30), "duration": Decimal(60)}.get(formula, Decimal(0))
    assert upcoming.quantity_decimal == january - minute  # as far as it has run

    town.advance(clock, MARCH + HOUR)

    bills = [each.lines.data[0] for each in town.invoices(subscription.id)]
    assert [each.quantity_decimal for each in bills] == [january, february]
    assert [each.amount for each in bills] == [
        int((quantity / 2).quantize(Decimal(1), "ROUND_HALF_UP"))
        for quantity in (january, february)
    ]


def test_a_level_that_was_set_in_the_hour_of_grace_counts_from_its_moment(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(formula="duration", unit_amount_decimal="1")
    subscription = town.subscribe(customer, price)
    town.advance(clock, FEBRUARY + HOUR // 2)
    town.use(customer, "1", timestamp=FEBRUARY - DAY)
    town.advance(clock, FEBRUARY + 10 * DAY)
    town.use(customer, "0")
    town.advance(clock, MARCH + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [DAY, 10 * DAY]


@pytest.mark.parametrize(
    ("formula", "expected"), [("sum", 900), ("last", 500), ("max", 500), ("count", 200)]
)
def test_of_a_day_only_the_event_that_arrived_last_is_billed(
    town: Town, formula: str, expected: int
) -> None:
    """
    1 Jan: 7, then 4   2 Jan: 9, then 5
    """
    clock = town.clock()
    customer = town.customer(clock)
    meter = town.client.v1.billing.meters.create(
        {
            "display_name": "Seats",
            "event_name": "seats",
            "default_aggregation": {"formula": formula},
            "event_time_window": "day",
        }  # type: ignore[typeddict-item]
    )
    price = town.price(recurring={"usage_type": "metered", "meter": meter.id}, unit_amount=100)
    subscription = town.subscribe(customer, price)
    town.advance(clock, JANUARY + 3 * DAY)
    for at, value in [(HOUR, "7"), (0, "4"), (DAY + HOUR, "9"), (DAY, "5")]:
        town.use(customer, value, event_name="seats", timestamp=JANUARY + at)
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [expected]
