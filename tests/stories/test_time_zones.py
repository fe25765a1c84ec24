"""Periods by the calendar of the customer: across both changes of the clocks, and a move."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import stripe
from town import HOUR, Town, at, day

NEW_YORK = ZoneInfo("America/New_York")


def there(moment: str) -> int:
    """Unix seconds of a moment by the clock on a wall in New York."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK).timestamp())


def on_the_wall(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone(NEW_YORK):%Y-%m-%d %H:%M}"


def fee(town: Town, **more: object) -> str:
    return town.price(unit_amount=3100, product_data={"name": "Fee"}, **more)


def test_a_year_in_new_york(town: Town) -> None:
    """Midnight there is 05:00 UTC in winter and 04:00 in summer; no hour is billed twice."""
    clock = town.clock(there("2026-01-31 00:00"))
    customer = town.customer(clock, time_zone="America/New_York")
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=1))
    assert begun.to_dict()["time_zone"] == "America/New_York"

    town.advance(clock, there("2026-03-30 23:30"))
    town.use(customer, "7", timestamp=there("2026-03-30 23:30"))
    town.advance(clock, there("2026-11-01 12:00"))
    town.use(customer, "9", timestamp=there("2026-10-31 00:00"))
    town.advance(clock, there("2027-01-31 01:30"))

    invoices = town.invoices(begun.id)[1:]
    assert [on_the_wall(each.period_end) for each in invoices] == [
        "2026-02-28 00:00",
        "2026-03-31 00:00",
        "2026-04-30 00:00",
        "2026-05-31 00:00",
        "2026-06-30 00:00",
        "2026-07-31 00:00",
        "2026-08-31 00:00",
        "2026-09-30 00:00",
        "2026-10-31 00:00",
        "2026-11-30 00:00",
        "2026-12-31 00:00",
        "2027-01-31 00:00",
    ]
    used = {day(each.period_end): each.total - 3100 for each in invoices if each.total != 3100}
    assert used == {"2026-03-31": 7, "2026-11-30": 9}
    for before, after in pairwise(invoices):
        assert before.period_end == after.period_start


def test_a_day_in_which_the_clocks_change_is_a_day(town: Town) -> None:
    clock = town.clock(there("2026-03-07 12:00"))
    customer = town.customer(clock, time_zone="America/New_York")
    begun = town.subscribe(customer, fee(town, recurring={"interval": "day"}))
    town.advance(clock, there("2026-03-10 14:00"))
    lengths = [(each.period_end - each.period_start) // HOUR for each in town.invoices(begun.id)]
    assert lengths == [0, 23, 24, 24]


def test_who_moves_counts_by_the_new_calendar_from_the_next_period(town: Town) -> None:
    clock = town.clock(at("2026-01-15"))
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=1))
    town.client.v1.customers.update(customer, {"time_zone": "America/New_York"})  # type: ignore[typeddict-unknown-key]
    town.advance(clock, at("2026-04-15") + 2 * HOUR)
    ends = [each.period_end for each in town.invoices(begun.id)[1:]]
    assert ends[0] == at("2026-02-15")  # the period that ran was agreed in UTC
    assert [on_the_wall(end) for end in ends[1:]] == ["2026-03-14 19:00", "2026-04-14 19:00"]
    assert town.subscription(begun.id).to_dict()["time_zone"] == "America/New_York"


def test_a_zone_that_is_none(town: Town) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Invalid time zone") as refused:
        town.customer(None, time_zone="Mars/Olympus")
    assert refused.value.param == "time_zone"
