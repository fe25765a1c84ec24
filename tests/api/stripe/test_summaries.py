"""What a meter counted: by the whole, by the hour, day and month of a zone, and by dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
PRESENT = datetime(2026, 5, 1, tzinfo=UTC)


def unix(at: datetime) -> int:
    return int(at.timestamp())


@dataclass
class Shop:
    """A customer on a test clock, and a meter that accepts old events."""

    client: StripeClient
    customer: str
    meter: str

    def use(self, at: datetime, value: str, **dimensions: str) -> None:
        self.client.v1.billing.meter_events.create(
            {
                "event_name": "calls",
                "payload": {"stripe_customer_id": self.customer, "value": value, **dimensions},
                "timestamp": unix(at),
            }
        )

    def list(self, start: datetime, end: datetime, **given: Any) -> Any:
        asked = {"customer": self.customer, "start_time": unix(start), "end_time": unix(end)}
        return self.client.v1.billing.meters.event_summaries.list(
            self.meter,
            asked | given,  # type: ignore[arg-type]
        )

    def values(self, start: datetime, end: datetime, **given: Any) -> list[tuple[datetime, float]]:
        """The start and the value of each summary, oldest first."""
        found = [
            (datetime.fromtimestamp(each.start_time, UTC), each.aggregated_value)
            for each in self.list(start, end, limit=100, **given)
        ]
        return found[::-1]


def shop_with(client: StripeClient, formula: str) -> Shop:
    clock = client.v1.test_helpers.test_clocks.create({"frozen_time": unix(PRESENT)})
    customer = client.v1.customers.create({"test_clock": clock.id})
    meter = client.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation": {"formula": formula},
            "acceptance_window": {"past": 315_360_000},
        }  # type: ignore[typeddict-item,typeddict-unknown-key]
    )
    return Shop(client, customer.id, meter.id)


@pytest.fixture
def shop(stripe_client: StripeClient) -> Shop:
    """A shop whose meter sums."""
    return shop_with(stripe_client, "sum")


MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def test_a_summary_is_exact_and_has_the_usual_keys(shop: Shop) -> None:
    shop.use(MARCH, "0.1", region="eu")
    shop.use(MARCH + HOUR, "0.2")
    page = shop.list(MARCH, APRIL)
    [summary] = page.last_response.data["data"]
    assert_shape(summary, stripe.billing.MeterEventSummary)
    assert summary == {
        "id": summary["id"],
        "object": "billing.meter_event_summary",
        "aggregated_value": 0.3,
        "aggregated_value_decimal": "0.3",
        "dimensions": {},
        "end_time": unix(APRIL),
        "livemode": False,
        "meter": shop.meter,
        "start_time": unix(MARCH),
    }
    assert summary["id"].startswith("mtrusg_")


def test_a_whole_range_has_one_summary_even_without_usage(shop: Shop) -> None:
    assert shop.values(MARCH, APRIL) == [(MARCH, 0.0)]
    assert shop.values(MARCH, APRIL, value_grouping_window="day") == []
    assert shop.values(MARCH, APRIL, group_by=["region"]) == []


def test_days_are_those_of_the_zone_when_the_clocks_change(shop: Shop) -> None:
    """On 29 March 2026 Berlin's day has 23 hours."""
    midnight = datetime(2026, 3, 29, tzinfo=BERLIN)
    for at, value in [
        (midnight - timedelta(seconds=1), "1"),
        (midnight, "2"),
        (midnight.astimezone(UTC) + 23 * HOUR - timedelta(seconds=1), "4"),
        (midnight.astimezone(UTC) + 23 * HOUR, "8"),
    ]:
        shop.use(at, value)
    start, end = midnight - timedelta(days=1), midnight + timedelta(days=2)
    asked = {"time_zone": "Europe/Berlin", "value_grouping_window": "day"}
    assert shop.values(start, end, **asked) == [
        (start, 1.0),
        (midnight, 6.0),
        (midnight + timedelta(days=1), 8.0),
    ]
    [longest] = shop.list(
        start, end, limit=1, starting_after=shop.list(start, end, **asked).data[0].id, **asked
    )
    assert longest.end_time - longest.start_time == 23 * 3600


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("step", ["hour", "day", "month"])
def test_windows_of_a_zone_add_up_to_the_whole(shop: Shop, zone: str, step: str) -> None:
    local = ZoneInfo(zone)
    start, end = datetime(2026, 3, 1, tzinfo=local), datetime(2026, 5, 1, tzinfo=local)
    used = [start + n * timedelta(hours=97, minutes=13, seconds=n) for n in range(15)]
    for n, at in enumerate(used):
        shop.use(at, str(n))
    expected: dict[datetime, float] = {}
    for n, at in enumerate(used):
        whole = at.astimezone(local).replace(minute=0, second=0, microsecond=0)
        if step != "hour":
            whole = whole.replace(hour=0)
        if step == "month":
            whole = whole.replace(day=1)
        expected[whole] = expected.get(whole, 0) + n
    given = {"value_grouping_window": step} | ({} if zone == "UTC" else {"time_zone": zone})
    assert shop.values(start, end, **given) == sorted(expected.items())


REGIONS = [("eu", "1"), ("us", "2"), ("eu", "4"), (None, "8"), ("", "16")]


@pytest.fixture
def regions(shop: Shop) -> Shop:
    """Usage with and without a region, some with a tier, by the hour."""
    for n, (region, value) in enumerate(REGIONS):
        dimensions = {} if region is None else {"region": region}
        shop.use(MARCH + n * HOUR, value, **dimensions, **({"tier": "a"} if n % 2 else {}))
    return shop


def grouped(summaries: Any) -> dict[tuple[Any, ...], float]:
    return {tuple(each.dimensions.to_dict().values()): each.aggregated_value for each in summaries}


def test_summaries_by_dimension(regions: Shop) -> None:
    assert grouped(regions.list(MARCH, APRIL, group_by=["region"])) == {
        ("eu",): 5.0,
        ("us",): 2.0,
        (None,): 8.0,
        ("",): 16.0,
    }
    assert grouped(regions.list(MARCH, APRIL, group_by=["tier", "region", "nothing"])) == {
        (None, "eu", None): 5.0,
        ("a", "us", None): 2.0,
        ("a", None, None): 8.0,
        (None, "", None): 16.0,
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"region": "eu"}, 5.0),
        ({"region": ""}, 16.0),
        ({"tier": "a"}, 10.0),
        ({"tier": "a", "region": "us"}, 2.0),
        ({"tier": "a", "region": "eu"}, 0.0),
        ({"0": "a"}, 0.0),
    ],
    ids=["one", "empty", "another", "both", "neither", "a number"],
)
def test_summaries_of_some_dimensions(
    regions: Shop, filters: dict[str, str], expected: float
) -> None:
    assert regions.values(MARCH, APRIL, dimension_filters=filters) == [(MARCH, expected)]
    by_hour = regions.values(MARCH, APRIL, dimension_filters=filters, value_grouping_window="hour")
    assert sum(value for _, value in by_hour) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"value_grouping_window": "hour"},
        {"value_grouping_window": "hour", "time_zone": "Asia/Tokyo"},
        {"value_grouping_window": "hour", "group_by": ["region"]},
        {"value_grouping_window": "day", "group_by": ["region", "tier"]},
        {"group_by": ["region"]},
        {"value_grouping_window": "hour", "dimension_filters": {"tier": "a"}},
    ],
    ids=["hours", "a zone's", "groups by hour", "groups by day", "groups", "some"],
)
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_summaries_are_a_list_that_pages(regions: Shop, given: dict[str, Any], limit: int) -> None:
    for n, (region, value) in enumerate(REGIONS):
        regions.use(MARCH + n * HOUR + HOUR / 2, value, region=f"{region}", tier="b")
    end = MARCH + timedelta(days=2)
    if "time_zone" in given:
        end -= timedelta(hours=9)
    whole = regions.list(MARCH, end, limit=100, **given).data
    assert len({each.id for each in whole}) == len(whole) >= 2
    assert [each.start_time for each in whole] == sorted(
        (each.start_time for each in whole), reverse=True
    )
    paged = regions.list(MARCH, end, limit=limit, **given)
    assert list(paged.auto_paging_iter()) == whole
    last = regions.list(MARCH, end, limit=limit, ending_before=whole[-1].id, **given)
    assert list(last.auto_paging_iter()) == whole[-2::-1]
    assert last.data == whole[-1 - limit : -1]


# Of 3 at 00:00, 3 again at 12:00 and 9 on the next day at 06:00: each day, and both.
FORMULAS: dict[str, tuple[Sequence[float], float]] = {
    "sum": ([6, 9], 15),
    "count": ([2, 1], 3),
    "last": ([3, 9], 9),
    "max": ([3, 9], 9),
    "average": ([3, 9], 5),
    "unique": ([1, 1], 2),
    "p95": ([3, 9], 9),
    "p99": ([3, 9], 9),
    "time_weighted_sum": ([3 * 86400, 3 * 21600 + 9 * 64800], 3 * 108000 + 9 * 64800),
    "duration": ([86400, 86400], 172800),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_summaries_of_each_aggregation(stripe_client: StripeClient, formula: str) -> None:
    by_day, both = FORMULAS[formula]
    shop = shop_with(stripe_client, formula)
    for hours, value in ((0, "3"), (12, "3"), (30, "9")):
        shop.use(MARCH + hours * HOUR, value, region="eu" if hours else "us")
    end = MARCH + timedelta(days=2)
    days = [MARCH, MARCH + timedelta(days=1)]
    for given in ({}, {"time_zone": "Africa/Abidjan"}, {"group_by": ["nothing"]}):
        assert shop.values(MARCH, end, value_grouping_window="day", **given) == list(
            zip(days, by_day, strict=True)
        )
    assert shop.values(MARCH, end) == [(MARCH, both)]
    assert shop.values(MARCH, end, dimension_filters={"region": "asia"}) == [(MARCH, 0)]


def test_a_level_goes_on_until_the_present(stripe_client: StripeClient) -> None:
    shop = shop_with(stripe_client, "time_weighted_sum")
    shop.use(PRESENT - timedelta(days=3), "2")
    midnight = PRESENT - timedelta(days=4)
    assert shop.values(midnight, PRESENT + timedelta(days=4), value_grouping_window="day") == [
        (PRESENT - timedelta(days=days), 2 * 86400.0) for days in (3, 2, 1)
    ]
    assert shop.values(
        midnight, PRESENT + timedelta(days=4), value_grouping_window="day", group_by=["region"]
    ) == [(PRESENT - timedelta(days=days), 2 * 86400.0) for days in (3, 2, 1)]


def test_a_negative_total_is_shown_as_it_is(shop: Shop) -> None:
    shop.use(MARCH, "-2.5")
    [summary] = shop.list(MARCH, APRIL)
    assert (summary.aggregated_value, summary.aggregated_value_decimal) == (-2.5, "-2.5")


MIDNIGHT_IN_BERLIN = datetime(2026, 3, 1, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("given", "param", "saying"),
    [
        ({"value_grouping_window": "week"}, "value_grouping_window", ""),
        ({"start_time": unix(MARCH) + 1}, "start_time", "aligned with minute"),
        (
            {"start_time": unix(MARCH + HOUR), "value_grouping_window": "day"},
            "start_time",
            "aligned with day boundaries in UTC",
        ),
        (
            {"end_time": unix(APRIL) + 86400, "value_grouping_window": "month"},
            "end_time",
            "aligned with month boundaries in UTC",
        ),
        (
            {"value_grouping_window": "month", "time_zone": "Europe/Berlin"},
            "start_time",
            "aligned with month boundaries in Europe/Berlin",
        ),
        (
            {"value_grouping_window": "hour", "time_zone": "Asia/Kolkata"},
            "start_time",
            "aligned with hour boundaries in Asia/Kolkata",
        ),
        ({"time_zone": "Europe/Berlin"}, "time_zone", "value_grouping_window is needed"),
        (
            {"value_grouping_window": "day", "time_zone": "Mars/Olympus"},
            "time_zone",
            "Invalid time zone: Mars/Olympus",
        ),
        ({"value_grouping_window": "day", "time_zone": "../UTC"}, "time_zone", "Invalid time zone"),
        ({"value_grouping_window": "day", "time_zone": "America"}, "time_zone", "Invalid"),
        ({"end_time": unix(MARCH)}, "end_time", "after start_time"),
        (
            {"end_time": unix(MARCH) + 10_001 * 3600, "value_grouping_window": "hour"},
            "value_grouping_window",
            "more than 10000 windows",
        ),
        (
            {"start_time": 0, "end_time": 7_258_118_400, "value_grouping_window": "hour"},
            "value_grouping_window",
            "more than 10000 windows",
        ),
        ({"group_by": ["region", "region"]}, "group_by[1]", "there twice"),
        ({"group_by": ["value"]}, "group_by[0]", "no dimension"),
        ({"group_by": ["a", "b", "c", "d"]}, "group_by", ""),
        (
            {"dimension_filters": {"stripe_customer_id": "x"}},
            "dimension_filters[stripe_customer_id]",
            "no dimension",
        ),
    ],
)
def test_bad_input_is_refused(shop: Shop, given: dict[str, Any], param: str, saying: str) -> None:
    with refused(param, saying=saying):
        shop.list(MARCH, APRIL, **given)


def test_a_dimension_has_a_name(shop: Shop) -> None:
    with refused("group_by[0]", code="parameter_invalid_empty"):
        shop.list(MARCH, APRIL, group_by=[""])


def test_a_cursor_is_of_a_list_like_this(regions: Shop) -> None:
    plain = regions.list(MARCH, APRIL, value_grouping_window="hour").data[0].id
    group = regions.list(MARCH, APRIL, group_by=["region"]).data[0].id
    with missing("meter event summary", plain, "starting_after"):
        regions.list(MARCH, APRIL, group_by=["region"], starting_after=plain)
    with missing("meter event summary", group, "ending_before"):
        regions.list(MARCH, APRIL, value_grouping_window="hour", ending_before=group)


def test_what_is_not_there_is_not_found(shop: Shop, stranger: StripeClient) -> None:
    asked: Any = {"customer": shop.customer, "start_time": 0, "end_time": 60}
    with missing("meter", shop.meter):
        stranger.v1.billing.meters.event_summaries.list(shop.meter, asked)
    with missing("customer", "cus_none", "customer"):
        shop.list(MARCH, APRIL, customer="cus_none")
