"""What of a window is still to be billed, and what it comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.billed_usage import (
    BilledWindow,
    Due,
    due_quantity,
    lines_due,
    name_of,
    pieces,
    prepaid_lines,
    windows_due,
)
from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.lines import Line
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model, Tier, TiersMode
from postpaid.core.subscriptions import Sold

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
MAX = 40


def day(number: int) -> datetime:
    return JUNE + timedelta(days=number)


spans = st.lists(
    st.tuples(st.integers(0, MAX), st.integers(1, MAX)).map(
        lambda each: (day(each[0]), day(each[0] + each[1]))
    ),
    max_size=6,
)


@given(start=st.integers(0, MAX), length=st.integers(1, MAX), taken=spans)
def test_pieces_are_just_the_days_that_nothing_has_taken(
    start: int, length: int, taken: list[tuple[datetime, datetime]]
) -> None:
    found = pieces(day(start), day(start + length), taken)
    free = [
        day(each)
        for each in range(start, start + length)
        if not any(since <= day(each) < until for since, until in taken)
    ]
    inside = [
        day(each)
        for each in range(2 * MAX + 1)
        if any(since <= day(each) < until for since, until in found)
    ]
    assert inside == free
    assert found == sorted(found)
    assert all(since < until for since, until in found)


def billed(start: int, end: int, quantity: int, amount: int, *late: str) -> BilledWindow:
    name = name_of("cus_1", "mtr_1", day(start), day(end))
    return BilledWindow(
        "cus_1",
        "mtr_1",
        day(start),
        day(end),
        "price_old",
        Decimal(quantity),
        amount,
        [name, *(f"{name}/{each}" for each in late)],
        ["in_1"],
    )


def due(*windows: BilledWindow, elsewhere: tuple[int, int] | None = None) -> list[Due]:
    spans = [(day(elsewhere[0]), day(elsewhere[1]))] if elsewhere else []
    return windows_due("cus_1", "mtr_1", "price_new", (day(0), day(10)), windows, spans)


def test_a_window_is_the_new_pieces_and_the_billed_ones_that_it_covers() -> None:
    found = due(billed(-2, 1, 5, 50), billed(3, 4, 5, 50), billed(9, 12, 5, 50), elsewhere=(6, 7))
    assert [(each.start, each.end, each.before is not None, each.price_id) for each in found] == [
        (day(1), day(3), False, "price_new"),
        (day(3), day(4), True, "price_old"),
        (day(4), day(6), False, "price_new"),
        (day(7), day(9), False, "price_new"),
    ]


def test_what_is_billed_again_has_another_name() -> None:
    name = "usage/cus_1/mtr_1/2026-06-03T00:00:00Z-2026-06-04T00:00:00Z"
    for late, expected in (
        ((), "/late-1"),
        (("late-1",), "/late-2"),
        (("late-2",), "/late-1"),  # the first of them is void
    ):
        [again] = [each for each in due(billed(2, 3, 1, 1, *late)) if each.before]
        assert again.name == name + expected


def sold(model: Model) -> Sold:
    price = Price(
        "price_1",
        "prod_1",
        "usd",
        model,
        JUNE,
        recurrence=Recurrence(Interval.MONTH),
        usage_type=UsageType.METERED,
        meter_id="mtr_1",
    )
    return Sold(price, Product("prod_1", "Calls", JUNE, JUNE))


PLAIN = sold(Model(Decimal(10)))
GRADUATED = sold(
    Model(
        tiers=(Tier(Decimal(10), Decimal(0)), Tier(None, Decimal(10))),
        tiers_mode=TiersMode.GRADUATED,
    )
)
VOLUME = sold(
    Model(
        tiers=(Tier(Decimal(10), Decimal(10)), Tier(None, Decimal(1), Decimal(5))),
        tiers_mode=TiersMode.VOLUME,
    )
)


def again(quantity: int, amount: int) -> Due:
    [one] = due(billed(0, 10, quantity, amount))
    return one


def total(lines: list[Line]) -> int:
    return sum(line.amount for line in lines)


@pytest.mark.parametrize(
    ("what", "of", "used", "expected"),
    [
        ("more", again(5, 50), 7, 20),
        ("no-more", again(5, 50), 5, 0),
        ("less", again(5, 50), 4, 0),
        ("none-any-more", again(5, 50), 0, 0),
        ("part-of-it-void", again(5, 20), 5, 30),
        ("all-of-it-void-but-some", again(7, 20), 5, 30),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_billed_is_taken_off(what: str, of: Due, used: int, expected: int) -> None:
    lines = lines_due(of, PLAIN, Decimal(used))
    assert total(lines) == expected
    assert bool(lines) == bool(expected)


def test_tiers_go_on_where_they_were() -> None:
    assert total(lines_due(again(5, 0), GRADUATED, Decimal(9))) == 0
    assert total(lines_due(again(5, 0), GRADUATED, Decimal(15))) == 50
    assert total(lines_due(again(15, 50), GRADUATED, Decimal(20))) == 50
    assert total(lines_due(again(10, 100), VOLUME, Decimal(11))) == 16 - 100


def test_a_window_without_usage_has_no_lines() -> None:
    [new] = due()
    assert lines_due(new, VOLUME, Decimal(0)) == []


@pytest.mark.parametrize(
    ("of", "used", "prepaid", "expected"),
    [
        (PLAIN, 10, 4, 60),
        (PLAIN, 10, 10, 0),
        (PLAIN, 10, 0, 100),
        (GRADUATED, 30, 15, 50),
        (GRADUATED, 30, 25, 0),
        (VOLUME, 15, 15, 0),
        (VOLUME, 15, 10, 20),  # five of them would cost more than all: nothing is added
    ],
    ids=["some", "all", "none", "tiers", "free-tier", "flat-amount", "volume"],
)
def test_prepaid_units_are_the_last_of_a_windows(
    of: Sold, used: int, prepaid: int, expected: int
) -> None:
    [new] = due()
    lines = lines_due(new, of, Decimal(used))
    lines += prepaid_lines(new, of, Decimal(used), Decimal(prepaid))
    assert total(lines) == expected


def test_what_no_invoice_has_billed_is_what_is_more() -> None:
    assert due_quantity(again(5, 50), Decimal(7)) == 2
    assert due_quantity(again(5, 50), Decimal(3)) == 0
    assert due_quantity(due()[0], Decimal(3)) == 3
