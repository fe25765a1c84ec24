"""Positions: what is used, what is left, what is beyond, and what that costs."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.allotments import Position, bill, position
from postpaid.core.money import round_minor
from postpaid.core.periods import Period
from postpaid.core.pricing import (
    MAX_QUANTITY,
    Model,
    Tier,
    TiersMode,
    Transform,
    free_quantity,
    rate,
)

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def tier(up_to: str | None, unit: str | None = None, flat: str | None = None) -> Tier:
    return Tier(*(None if text is None else Decimal(text) for text in (up_to, unit, flat)))


def graduated(*tiers: Tier) -> Model:
    return Model(tiers=tiers, tiers_mode=TiersMode.GRADUATED)


def volume(*tiers: Tier) -> Model:
    return Model(tiers=tiers, tiers_mode=TiersMode.VOLUME)


THOUSAND_FREE = (tier("1000", "0"), tier(None, "1.5"))
PER_UNIT = Model(unit_amount=Decimal("0.7"))
FREE = Model(unit_amount=Decimal(0))
FLAT_FIRST = graduated(tier("10", "0", "500"), tier(None, "3"))


def at(model: Model, quantity: str) -> Position:
    return position(model, JANUARY, Decimal(quantity))


def numbers(found: Position) -> tuple[object, ...]:
    """Included, remaining, overage, percent; amount and the overage's part of it."""
    texts = [
        None if number is None else str(number)
        for number in (found.included, found.remaining, found.overage, found.percent)
    ]
    return (*texts, found.amount, found.overage_amount)


@pytest.mark.parametrize(
    ("model", "quantity", "expected"),
    [
        pytest.param(graduated(*THOUSAND_FREE), "0", ("1000", "1000", "0", "0.00", 0, 0), id="no"),
        pytest.param(
            graduated(*THOUSAND_FREE), "999.999", ("1000", "0.001", "0", "99.99", 0, 0), id="nearly"
        ),
        pytest.param(
            graduated(*THOUSAND_FREE), "1000", ("1000", "0", "0", "100.00", 0, 0), id="all"
        ),
        pytest.param(
            graduated(*THOUSAND_FREE), "1001", ("1000", "0", "1", "100.10", 2, 2), id="beyond"
        ),
        pytest.param(
            volume(*THOUSAND_FREE), "1001", ("1000", "0", "1", "100.10", 1502, 1502), id="volume"
        ),
        pytest.param(PER_UNIT, "3", ("0", "0", "3", None, 2, 2), id="nothing-included"),
        pytest.param(FREE, "3", (None, None, "0", None, 0, 0), id="everything-free"),
        pytest.param(FLAT_FIRST, "0", ("0", "0", "0", None, 500, 0), id="flat-amount-alone"),
        pytest.param(FLAT_FIRST, "12", ("0", "0", "12", None, 506, 6), id="flat-amount-and-usage"),
        pytest.param(
            volume(tier("10", None, "500"), tier(None, None, "100")),
            "12",
            ("0", "0", "12", None, 100, 0),
            id="cheaper-when-more",
        ),
        pytest.param(
            graduated(tier("2", "0"), tier("4", "0", "0"), tier(None, "1")),
            "5",
            ("4", "0", "1", "125.00", 1, 1),
            id="several-free-tiers",
        ),
        pytest.param(
            Model(unit_amount=Decimal(100), transform=Transform(10, "up")),
            "11",
            ("0", "0", "11", None, 200, 200),
            id="packages",
        ),
    ],
)
def test_a_position(model: Model, quantity: str, expected: tuple[object, ...]) -> None:
    found = at(model, quantity)
    assert numbers(found) == expected
    assert (found.window, found.used) == (JANUARY, Decimal(quantity))


def test_a_quantity_too_large_to_bill_has_no_amount() -> None:
    found = position(graduated(*THOUSAND_FREE), JANUARY, MAX_QUANTITY + 1)
    assert (found.amount, found.overage_amount) == (None, None)
    assert found.overage == MAX_QUANTITY - 999


def test_the_smallest_allotment_and_the_largest_usage_have_a_percentage() -> None:
    found = position(graduated(tier("0.000000000001", "0"), tier(None, "0")), JANUARY, MAX_QUANTITY)
    assert found.percent is None  # all of it is free, so nothing is included
    found = position(graduated(tier("0.000000000001", "0"), tier(None, "1")), JANUARY, MAX_QUANTITY)
    assert found.percent == Decimal(10) ** 29


quantities = st.decimals(0, 10**6, places=3)
unit_amounts = st.decimals(0, 100, places=4)


@st.composite
def models(draw: st.DrawFn) -> Model:
    bounds = sorted(draw(st.sets(st.integers(1, 10**6), max_size=3)))
    tiers = tuple(
        Tier(
            None if bound is None else Decimal(bound),
            draw(st.just(Decimal(0)) | unit_amounts),
            draw(st.none() | unit_amounts),
        )
        for bound in [*bounds, None]
    )
    return Model(tiers=tiers, tiers_mode=draw(st.sampled_from(TiersMode)))


@given(model=models(), quantity=quantities)
def test_used_is_what_is_included_less_what_remains_plus_what_is_beyond(
    model: Model, quantity: Decimal
) -> None:
    found = position(model, JANUARY, quantity)
    assert found.included == free_quantity(model)
    if found.included is None:
        assert found.remaining is None
        assert found.overage == found.overage_amount == 0
        return
    assert found.remaining is not None
    assert found.used == found.included - found.remaining + found.overage
    assert found.remaining == 0 or found.overage == 0


@given(model=models(), quantity=quantities)
def test_the_amount_is_that_of_the_invoices_lines(model: Model, quantity: Decimal) -> None:
    found = position(model, JANUARY, quantity)
    assert found.amount == sum(round_minor(detail.amount) for detail in rate(model, quantity))
    assert found.overage_amount is not None
    assert found.amount is not None
    assert 0 <= found.overage_amount <= found.amount
    if not found.overage:
        assert found.overage_amount == 0


@given(model=models(), quantity=quantities)
def test_a_hundred_percent_is_said_when_all_is_used(model: Model, quantity: Decimal) -> None:
    found = position(model, JANUARY, quantity)
    if found.percent is None:
        assert not found.included
    else:
        assert (found.percent >= 100) == (found.remaining == 0)


def test_an_amount_beyond_all_amounts_is_none() -> None:
    assert bill(Model(unit_amount=Decimal(10**4)), Decimal(10**12)) == 10**16
    assert bill(Model(unit_amount=Decimal(10**4)), Decimal(10**12 + 1)) is None
