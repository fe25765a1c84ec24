"""Totals of usage that combine, and what each aggregation bills of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.metering import (
    NO_USAGE,
    Aggregation,
    UsageTotal,
    aggregated,
    billable_quantity,
    distinct,
    duration,
    percentile,
    time_weighted_sum,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def usage(*events: tuple[str, int]) -> UsageTotal:
    """The total of events (value, minutes after noon), in the order received."""
    total = NO_USAGE
    for value, minutes in events:
        occurred_at = NOON + timedelta(minutes=minutes)
        total = total.combine(
            UsageTotal(Decimal(value), 1, Decimal(value), occurred_at, Decimal(value))
        )
    return total


@pytest.mark.parametrize(
    ("events", "total_of", "count_of", "last_of", "max_of", "average_of"),
    [
        ([], "0", "0", "0", "0", "0"),
        ([("5", 0)], "5", "1", "5", "5", "5"),
        ([("5", 0), ("0.25", 1)], "5.25", "2", "0.25", "5", "2.625"),
        ([("5", 1), ("7", 0)], "12", "2", "5", "7", "6"),  # latest by when it occurred
        ([("5", 0), ("7", 0)], "12", "2", "7", "7", "6"),  # of one instant, the later received
        ([("5", 0), ("-5", 1)], "0", "2", "0", "5", "0"),  # a negative result bills nothing
        ([("-5", 0), ("-6", 1)], "0", "2", "0", "0", "0"),
        ([("5", 0), ("-8", 1), ("2", 2)], "0", "3", "2", "5", "0"),
        ([("1", 0), ("0", 1), ("0", 2)], "1", "3", "0", "1", "0.333333333333"),
        ([("2", 0), ("0", 1), ("0", 2)], "2", "3", "0", "2", "0.666666666667"),
        ([("1E-12", 0), ("0", 1)], "1E-12", "2", "0", "1E-12", "1E-12"),  # half is rounded up
        (
            [("1E-12", 0), ("1E+15", 1)],
            "1000000000000000.000000000001",
            "2",
            "1E+15",
            "1E+15",
            "500000000000000.000000000001",
        ),
    ],
)
def test_each_aggregation_bills_its_own_quantity(
    events, total_of, count_of, last_of, max_of, average_of
):
    total = usage(*events)
    assert billable_quantity(Aggregation.SUM, total) == Decimal(total_of)
    assert billable_quantity(Aggregation.COUNT, total) == Decimal(count_of)
    assert billable_quantity(Aggregation.LAST, total) == Decimal(last_of)
    assert billable_quantity(Aggregation.MAX, total) == Decimal(max_of)
    assert billable_quantity(Aggregation.AVERAGE, total) == Decimal(average_of)


def test_what_was_counted_may_be_negative_where_a_bill_is_not():
    total = usage(("-5", 0), ("-4E-12", 1), ("-3", 2))
    for aggregation, expected in {
        Aggregation.SUM: "-8.000000000004",
        Aggregation.LAST: "-3",
        Aggregation.MAX: "-4E-12",
        Aggregation.AVERAGE: "-2.666666666668",
    }.items():
        assert aggregated(aggregation, total) == Decimal(expected)
        assert billable_quantity(aggregation, total) == 0


@pytest.mark.parametrize("aggregation", [each for each in Aggregation if not each.combines])
def test_what_does_not_combine_is_not_known_from_totals(aggregation):
    with pytest.raises(ValueError, match="is not known from totals"):
        billable_quantity(aggregation, NO_USAGE)


def test_texts_are_told_apart_letter_by_letter():
    assert distinct([]) == 0
    assert distinct(["ada", "Ada", "ada", "", "e\u0301", "é"]) == 5


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 95, "0"),
        (["7"], 95, "7"),
        (["-7"], 99, "-7"),
        (range(1, 21), 95, "19"),
        (range(1, 21), 99, "20"),
        (range(1, 22), 95, "20"),
        (range(100, 0, -1), 95, "95"),
        (range(1, 101), 99, "99"),
        (["0.1", "0.3"], 95, "0.3"),
    ],
    ids=["none", "one", "negative", "19 of 20", "all", "20 of 21", "any order", "99", "decimals"],
)
def test_a_percentile_is_one_of_the_values(values, percent, expected):
    assert percentile([Decimal(value) for value in values], percent) == Decimal(expected)


DAY = timedelta(days=1)


def at(hours, value):
    return NOON + timedelta(hours=hours), Decimal(value)


@pytest.mark.parametrize(
    ("changes", "before", "as_of", "weighted", "above_zero"),
    [
        ([], "0", 24, "0", "0"),
        ([], "3", 24, "259200", "86400"),  # carried in from before the window
        ([], "3", 1, "10800", "3600"),  # of a window that runs, so far
        ([], "3", -1, "0", "0"),
        ([at(0, "4"), at(6, "10")], "3", 24, "734400", "86400"),
        ([at(6, "0.000000000001"), at(7, "0")], "0", 24, "0.0000000036", "3600"),
        ([at(12, "5"), at(18, "-5")], "0", 24, "0", "21600"),
        ([at(6, "2")], "0", 6, "0", "0"),
        ([at(6, "2"), at(12, "1")], "0", 7, "7200", "3600"),  # what is ahead is not counted yet
        ([at(6, "2"), at(6, "1")], "0", 7, "3600", "3600"),
    ],
)
def test_a_level_counts_for_as_long_as_it_lasts(changes, before, as_of, weighted, above_zero):
    given = (changes, Decimal(before), NOON, NOON + DAY)
    now = NOON + timedelta(hours=as_of)
    assert time_weighted_sum(*given, as_of=now) == Decimal(weighted)
    assert duration(*given, as_of=now) == Decimal(above_zero)


def test_the_largest_level_is_exact_over_years():
    value = Decimal("999999999999999.999999999999")
    end = NOON + 4000 * DAY + timedelta(milliseconds=1)
    found = time_weighted_sum([(NOON, value)], Decimal(0), NOON, end, as_of=end)
    assert found == Decimal("345600000000999999999999.999654399999999")


def test_what_is_billed_is_never_minus_nothing():
    total = UsageTotal(Decimal("-0"), 0, Decimal("-0.0"), NOON)
    for aggregation in (each for each in Aggregation if each.combines):
        assert str(billable_quantity(aggregation, total)) == "0"


values = st.decimals(-(10**15), 10**15, places=12)
moments = st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes))
totals = st.just(NO_USAGE) | st.builds(
    UsageTotal, values, st.integers(0, 9), values, moments, st.none() | values
)


@given(totals, totals, totals)
@settings(max_examples=50)
def test_totals_combine_in_any_grouping(a, b, c):
    assert a.combine(b).combine(c) == a.combine(b.combine(c))
    assert a.combine(NO_USAGE) == a == NO_USAGE.combine(a)


@given(totals, totals)
@settings(max_examples=50)
def test_totals_combine_in_any_order_unless_their_last_events_tie(a, b):
    one, other = a.combine(b), b.combine(a)
    assert (one.sum, one.count, one.last_at) == (other.sum, other.count, other.last_at)
    assert one.max == other.max
    if a.last_at == b.last_at:
        assert (one.last_value, other.last_value) == (b.last_value, a.last_value)
    else:
        assert one == other


@pytest.mark.parametrize(("value", "moment"), [(Decimal(1), None), (None, NOON)])
def test_a_last_value_has_its_instant(value, moment):
    with pytest.raises(ValueError, match="last_value and last_at must be given together"):
        UsageTotal(Decimal(1), 1, value, moment)
