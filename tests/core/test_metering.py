"""Totals of usage that combine, and what each aggregation bills of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.metering import NO_USAGE, Aggregation, UsageTotal, billable_quantity

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def usage(*events: tuple[str, int]) -> UsageTotal:
    """The total of events (value, minutes after noon), in the order received."""
    total = NO_USAGE
    for value, minutes in events:
        occurred_at = NOON + timedelta(minutes=minutes)
        total = total.combine(UsageTotal(Decimal(value), 1, Decimal(value), occurred_at))
    return total


@pytest.mark.parametrize(
    ("events", "total_of", "count_of", "last_of"),
    [
        ([], "0", "0", "0"),
        ([("5", 0)], "5", "1", "5"),
        ([("5", 0), ("0.25", 1)], "5.25", "2", "0.25"),
        ([("5", 1), ("7", 0)], "12", "2", "5"),  # latest by when it occurred
        ([("5", 0), ("7", 0)], "12", "2", "7"),  # of the same instant, the later received
        ([("5", 0), ("-5", 1)], "0", "2", "0"),  # a negative result bills nothing
        ([("5", 0), ("-8", 1), ("2", 2)], "0", "3", "2"),
        ([("1E-12", 0), ("1E+15", 1)], "1000000000000000.000000000001", "2", "1E+15"),
    ],
)
def test_each_aggregation_bills_its_own_quantity(events, total_of, count_of, last_of):
    total = usage(*events)
    assert billable_quantity(Aggregation.SUM, total) == Decimal(total_of)
    assert billable_quantity(Aggregation.COUNT, total) == Decimal(count_of)
    assert billable_quantity(Aggregation.LAST, total) == Decimal(last_of)


def test_what_is_billed_is_never_minus_nothing():
    total = UsageTotal(Decimal("-0"), 0, Decimal("-0.0"), NOON)
    for aggregation in Aggregation:
        assert str(billable_quantity(aggregation, total)) == "0"


values = st.decimals(-(10**15), 10**15, places=12)
moments = st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes))
totals = st.just(NO_USAGE) | st.builds(UsageTotal, values, st.integers(0, 9), values, moments)


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
    if a.last_at == b.last_at:
        assert (one.last_value, other.last_value) == (b.last_value, a.last_value)
    else:
        assert one == other


@pytest.mark.parametrize(("value", "moment"), [(Decimal(1), None), (None, NOON)])
def test_a_last_value_has_its_instant(value, moment):
    with pytest.raises(ValueError, match="last_value and last_at must be given together"):
        UsageTotal(Decimal(1), 1, value, moment)
