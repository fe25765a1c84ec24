"""Rating: what a quantity costs under each price model, and why."""

import re
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.money import MAX_MINOR, plain, round_minor
from postpaid.core.pricing import (
    MAX_QUANTITY,
    Detail,
    DetailKind,
    Model,
    Tier,
    TiersMode,
    Transform,
    free_quantity,
    rate,
    total,
)


def tiers(text: str) -> tuple[Tier, ...]:
    """Tiers written ``up_to: unit_amount + flat_amount``, with "-" for an amount that is absent."""

    def number(part: str) -> Decimal | None:
        return None if part.strip() in ("inf", "-") else Decimal(part)

    rows = [re.split("[:+]", row) for row in text.split(",")]
    return tuple(Tier(*(number(part) for part in row)) for row in rows)


def graduated(text: str) -> Model:
    return Model(tiers=tiers(text), tiers_mode=TiersMode.GRADUATED)


def volume(text: str) -> Model:
    return Model(tiers=tiers(text), tiers_mode=TiersMode.VOLUME)


def explained(details: tuple[Detail, ...]) -> str:
    """``1u 1000*0=0`` for the units of tier 1, ``1f 900`` for its flat amount."""

    def term(detail: Detail) -> str:
        tier = detail.tier or ""
        if detail.kind == DetailKind.FLAT:
            assert (detail.quantity, detail.unit_amount) == (0, None)
            return f"{tier}f {plain(detail.amount)}"
        assert detail.unit_amount is not None
        product = f"{plain(detail.quantity)}*{plain(detail.unit_amount)}"
        return f"{tier}u {product}={plain(detail.amount)}"

    return " | ".join(term(detail) for detail in details)


def test_a_price_per_unit_has_one_detail():
    price = Model(unit_amount=Decimal("0.05"))
    assert explained(rate(price, Decimal(30))) == "u 30*0.05=1.5"
    assert explained(rate(price, Decimal(0))) == "u 0*0.05=0"


def test_an_allotment_and_overage_are_two_tiers():
    price = graduated("1000: 0 + -, inf: 4 + -")
    assert explained(rate(price, Decimal(3000))) == "1u 1000*0=0 | 2u 2000*4=8000"


def test_a_flat_amount_of_zero_is_a_detail_and_an_absent_one_is_not():
    details = rate(graduated("1000: 0 + 900, inf: 3.6 + 0"), Decimal(1031))
    assert explained(details) == "1u 1000*0=0 | 1f 900 | 2u 31*3.6=111.6 | 2f 0"
    assert [round_minor(detail.amount) for detail in details] == [0, 900, 112, 0]


def test_units_without_a_price_are_shown_at_zero():
    assert explained(rate(graduated("5: - + 100, inf: 7 + -"), Decimal(6))) == (
        "1u 5*0=0 | 1f 100 | 2u 1*7=7"
    )


# quantity | graduated                           | volume
TABLE = """
    0      | 1000                                | 1000
    0.5    | 1000                                | 1000
    5      | 1000                                | 1000
    5.0001 | 1000 + 0.0001*20 + 50               | 5.0001*20 + 50
    6      | 1000 + 1*20 + 50                    | 6*20 + 50
   15      | 1000 + 10*20 + 50                   | 15*20 + 50
   15.5    | 1000 + 10*20 + 50 + 0.5*10          | 15.5*10
   40      | 1000 + 10*20 + 50 + 25*10           | 40*10
"""


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_graduated_charges_every_tier_reached_and_volume_only_one(row):
    quantity, *expected = row.split("|")
    text = "5: 0 + 1000, 15: 20 + 50, inf: 10 + -"
    for model, amount in zip((graduated(text), volume(text)), expected, strict=True):
        assert total(rate(model, Decimal(quantity.strip()))) == worth(amount)


def worth(sum_of_products: str) -> Fraction:
    amount = Fraction(0)
    for term in sum_of_products.split("+"):
        factor, _, unit = term.partition("*")
        amount += Fraction(factor.strip()) * Fraction(unit.strip() or 1)
    return amount


@pytest.mark.parametrize(
    ("quantity", "up", "down"),
    [
        ("0", 0, 0),
        ("0.000000000001", 1, 0),
        ("1", 1, 0),
        ("59", 1, 0),
        ("60", 1, 1),
        ("60.5", 2, 1),
        ("9892", 165, 164),
    ],
)
def test_packages_round_the_quantity_that_is_charged_and_show_the_raw_one(quantity, up, down):
    for rounding, packages in (("up", up), ("down", down)):
        price = Model(unit_amount=Decimal(8), transform=Transform(60, rounding))
        (detail,) = rate(price, Decimal(quantity))
        assert detail.quantity == Decimal(quantity)
        assert detail.unit_amount == 8
        assert detail.amount == packages * 8


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity", "1000000000000000.1"])
def test_a_quantity_out_of_bounds_is_refused(quantity):
    with pytest.raises(ValueError, match="quantity must be between 0 and 1000000000000000"):
        rate(Model(unit_amount=Decimal(1)), Decimal(quantity))


def test_an_amount_is_exact_or_refused():
    quantity = Decimal("999999999999999.999999999999")
    price = graduated("1: 0.000000000001 + -, inf: 12345678.123456789012 + -")
    with localcontext(Context(prec=4)):  # whatever the caller's own precision is
        amount = total(rate(price, quantity))
    above = (Fraction(quantity) - 1) * Fraction("12345678.123456789012")
    assert Fraction(amount) == Fraction("0.000000000001") + above
    with pytest.raises(ValueError, match="too many digits"):
        rate(Model(unit_amount=Decimal("9999999999999999.999999999999")), quantity)


@pytest.mark.parametrize(
    ("model", "free"),
    [
        (graduated("1000: 0 + -, inf: 4 + -"), 1000),
        (graduated("1000: 0 + 0, inf: 4 + 0"), 1000),
        (graduated("1000: - + 0, inf: 4 + -"), 1000),
        (graduated("10: 0 + -, 20: 0 + 0, inf: 4 + -"), 20),
        (graduated("10: 0 + -, 20: 4 + -, inf: 0 + -"), 10),
        (graduated("1000: 0 + 900, inf: 4 + -"), 0),
        (graduated("10: 1 + -, inf: 0 + -"), 0),
        (graduated("10: 0 + -, inf: 0 + -"), None),
        (volume("1000: 0 + -, inf: 4 + -"), 1000),
        (Model(unit_amount=Decimal(4)), 0),
        (Model(unit_amount=Decimal(0)), None),
    ],
)
def test_leading_free_tiers_are_an_allotment(model, free):
    assert free_quantity(model) == free


def model(**changes):
    return lambda: Model(**changes)


G = TiersMode.GRADUATED


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (model(), "unit_amount is required without tiers."),
        (model(tiers_mode=G, unit_amount=Decimal(1)), "tiers_mode must not be given without tiers"),
        (model(tiers=tiers("inf: 1"), tiers_mode=None), "tiers_mode must be 'graduated' or"),
        (model(tiers=tiers("inf: 1"), tiers_mode="cheap"), "tiers_mode must be 'graduated' or"),
        (
            model(tiers=tiers("inf: 1"), tiers_mode=G, unit_amount=Decimal(1)),
            "unit_amount must not be given with tiers.",
        ),
        (
            model(tiers=tiers("inf: 1"), tiers_mode=G, transform=Transform(2, "up")),
            "transform must not be given with tiers.",
        ),
        (lambda: graduated("10: 1"), "tiers[0].up_to must be None"),
        (lambda: graduated("inf: 1, inf: 2"), "tiers[0].up_to is required"),
        (lambda: graduated("0: 1, inf: 2"), "tiers[0].up_to must be above 0"),
        (lambda: graduated("10: 1, 10: 2, inf: 3"), "tiers[1].up_to must be above 10"),
        (lambda: graduated("10: 1, 9.5: 2, inf: 3"), "tiers[1].up_to must be above 10"),
        (lambda: graduated("1e16: 1, inf: 2"), "tiers[0].up_to must be between 0 and 1000"),
        (lambda: graduated("1: 1, inf: - + -"), "tiers[1] must have a unit_amount or a flat"),
        (lambda: graduated("1: 1, inf: -1"), "tiers[1].unit_amount must be between 0 and 1000"),
        (lambda: graduated("inf: 1 + NaN"), "tiers[0].flat_amount must be between 0 and 1000"),
        (lambda: graduated("inf: 1 + 1E-13"), "tiers[0].flat_amount must not have more than 12"),
        (model(unit_amount=Decimal(-1)), "unit_amount must be between 0 and 10000000000000000."),
        (model(unit_amount=Decimal(MAX_MINOR + 1)), "unit_amount must be between 0 and"),
        (model(unit_amount=Decimal("0.0000000000001")), "unit_amount must not have more than 12"),
        (lambda: Transform(0, "up"), "divide_by must be between 1 and 1000000000000000."),
        (lambda: Transform(10**16, "up"), "divide_by must be between 1 and 1000000000000000."),
        (lambda: Transform(2, "half"), "round must be 'up' or 'down'."),
    ],
)
def test_a_model_that_cannot_be_rated_names_the_field_at_fault(make, sentence):
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        make()


def test_zeros_at_the_end_are_not_decimal_places():
    assert Model(unit_amount=Decimal("0.5000000000000")) == Model(unit_amount=Decimal("0.5"))


quantities = st.decimals(0, MAX_QUANTITY, places=12) | st.integers(0, 100).map(Decimal)
prices = st.decimals(0, 10**6, places=12) | st.integers(0, 9).map(Decimal)


@st.composite
def some_tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = draw(st.lists(st.integers(1, 60), unique=True, max_size=4).map(sorted))
    flats = st.none() | prices
    return tuple(
        Tier(end, draw(prices), draw(flats)) for end in (*(Decimal(end) for end in ends), None)
    )


def naive(tiers: tuple[Tier, ...], quantity: Decimal, *, graduated: bool) -> Fraction:
    """The rules said again, in fractions: which tiers charge, and how many units each."""
    amount = Fraction(0)
    lower = Fraction(0)
    q = Fraction(quantity)
    for i, tier in enumerate(tiers):
        upper = max(q, lower) if tier.up_to is None else Fraction(tier.up_to)
        reached = i == 0 or q > lower
        contains_q = reached and q <= upper
        if reached if graduated else contains_q:
            units = min(q, upper) - lower if graduated else q
            amount += units * Fraction(tier.unit_amount or 0) + Fraction(tier.flat_amount or 0)
        lower = upper
    return amount


@given(some_tiers(), quantities)
@settings(max_examples=50)
def test_graduated_and_volume_agree_with_the_rules_in_fractions(tiers, quantity):
    for mode in TiersMode:
        details = rate(Model(tiers=tiers, tiers_mode=mode), quantity)
        expected = naive(tiers, quantity, graduated=mode == TiersMode.GRADUATED)
        assert Fraction(total(details)) == expected
        assert sum(Fraction(detail.quantity) for detail in details) == Fraction(quantity)


@given(some_tiers(), quantities, quantities)
@settings(max_examples=50)
def test_more_usage_never_costs_less_in_graduated_pricing(tiers, one, other):
    price = Model(tiers=tiers, tiers_mode=TiersMode.GRADUATED)
    less, more = sorted((one, other))
    assert total(rate(price, less)) <= total(rate(price, more))


@given(some_tiers(), quantities)
@settings(max_examples=50)
def test_what_is_within_the_allotment_costs_nothing(tiers, quantity):
    for mode in TiersMode:
        price = Model(tiers=tiers, tiers_mode=mode)
        free = free_quantity(price)
        if free is None or (free and quantity <= free):
            assert total(rate(price, quantity)) == 0


@given(quantities, st.integers(1, 10**6), prices)
@settings(max_examples=50)
def test_packages_cover_the_quantity_and_not_one_more(quantity, divide_by, price):
    up = Transform(divide_by, "up").packages(quantity)
    down = Transform(divide_by, "down").packages(quantity)
    exact = Fraction(quantity) / divide_by
    assert down <= exact <= up
    assert up - down in (0, 1)
    assert (up == down) == (exact.denominator == 1)
