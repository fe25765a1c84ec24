"""Periods by the calendar: ends of months, leap years, days, weeks, years, and several of each."""

import pytest
from town import DAY, Town, at, day


def fee(town: Town, interval: str = "month", count: int = 1) -> str:
    return town.price(
        unit_amount=100,
        product_data={"name": "Fee"},
        recurring={"interval": interval, "interval_count": count},
    )


def begun(town: Town, subscription_id: str) -> list[str]:
    """The days on which the invoices' periods of service begin, in order."""
    return [day(invoice.lines.data[0].period.start) for invoice in town.invoices(subscription_id)]


# Anchor, interval, count, until, and the days on which a period begins.
CALENDARS = {
    "a month that began on the 31st": (
        "2026-01-31",
        "month",
        1,
        "2027-02-01",
        "2026-01-31 2026-02-28 2026-03-31 2026-04-30 2026-05-31 2026-06-30 2026-07-31 2026-08-31"
        " 2026-09-30 2026-10-31 2026-11-30 2026-12-31 2027-01-31",
    ),
    "a month that began on the 31st of a leap year": (
        "2028-01-31",
        "month",
        1,
        "2028-05-01",
        "2028-01-31 2028-02-29 2028-03-31 2028-04-30",
    ),
    "a month that began on the 30th": (
        "2026-12-30",
        "month",
        1,
        "2027-04-01",
        "2026-12-30 2027-01-30 2027-02-28 2027-03-30",
    ),
    "a quarter": (
        "2026-11-30",
        "month",
        3,
        "2027-09-01",
        "2026-11-30 2027-02-28 2027-05-30 2027-08-30",
    ),
    "a year that began on a leap day": (
        "2028-02-29",
        "year",
        1,
        "2032-03-01",
        "2028-02-29 2029-02-28 2030-02-28 2031-02-28 2032-02-29",
    ),
    "two years": ("2026-06-15", "year", 2, "2031-01-01", "2026-06-15 2028-06-15 2030-06-15"),
    "a week": (
        "2026-12-24",
        "week",
        1,
        "2027-01-15",
        "2026-12-24 2026-12-31 2027-01-07 2027-01-14",
    ),
    "a fortnight": ("2026-02-20", "week", 2, "2026-03-25", "2026-02-20 2026-03-06 2026-03-20"),
    "a day": (
        "2028-02-27",
        "day",
        1,
        "2028-03-02",
        "2028-02-27 2028-02-28 2028-02-29 2028-03-01",
    ),
    "ten days": ("2026-01-25", "day", 10, "2026-02-16", "2026-01-25 2026-02-04 2026-02-14"),
}


@pytest.mark.parametrize("calendar", CALENDARS)
def test_it_renews_on_the_days_that_the_calendar_says(town: Town, calendar: str) -> None:
    anchor, interval, count, until, days = CALENDARS[calendar]
    clock = town.clock(at(f"{anchor} 12:34:56"))
    subscription = town.subscribe(town.customer(clock), fee(town, interval, count))

    town.advance(clock, at(until))

    assert " ".join(begun(town, subscription.id)) == days
    invoices = town.invoices(subscription.id)
    starts = [invoice.lines.data[0].period.start for invoice in invoices]
    ends = [invoice.lines.data[0].period.end for invoice in invoices]
    assert starts[1:] == ends[:-1]
    assert {start % DAY for start in starts} == {at(f"{anchor} 12:34:56") % DAY}
    [item] = town.subscription(subscription.id)["items"].data
    assert (item.current_period_start, item.current_period_end) == (starts[-1], ends[-1])


def test_usage_at_the_end_of_a_short_month_is_in_the_month_that_it_says(town: Town) -> None:
    """
    31 Jan ──── 28 Feb ──── 31 Mar
        1            10            100
    """
    clock = town.clock(at("2026-01-31"))
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=100))
    for moment, value in (("2026-02-27 23:59:59", "1"), ("2026-02-28", "10")):
        town.advance(clock, at(moment))
        town.use(customer, value, timestamp=at(moment))
    town.advance(clock, at("2026-03-31"))
    town.use(customer, "100")
    town.advance(clock, at("2026-04-30 01:00:00"))
    assert [each.total for each in town.invoices(subscription.id)] == [100, 1000, 10000]
