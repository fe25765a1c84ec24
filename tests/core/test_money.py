"""Whole minor units, one rounding, and splits that sum."""

from decimal import Context, Decimal, FloatOperation, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postpaid.core.money import (
    EXACT,
    MAX_MINOR,
    MINOR_UNITS,
    Money,
    allocate,
    format_amount,
    plain,
    round_minor,
    round_part,
    to_money,
)

amounts = st.decimals(-MAX_MINOR, MAX_MINOR, allow_nan=False, places=12)


def test_currencies_have_no_two_or_three_digits():
    assert {"jpy": 0, "krw": 0, "xof": 0, "usd": 2, "eur": 2, "kwd": 3, "tnd": 3}.items() <= (
        MINOR_UNITS.items()
    )
    assert set(MINOR_UNITS.values()) == {0, 2, 3}
    assert all(len(code) == 3 and code.islower() for code in MINOR_UNITS)


def test_iso_decides_where_stripe_counts_otherwise():
    assert (MINOR_UNITS["isk"], MINOR_UNITS["ugx"], MINOR_UNITS["mga"]) == (0, 0, 2)


@pytest.mark.parametrize("code", ["clf", "uyw", "xau", "xdr", "xxx", "che", "USD", ""])
def test_what_nobody_is_billed_in_is_no_currency(code):
    with pytest.raises(ValueError, match="not the lower-case code of a currency"):
        Money(1, code)


def test_money_adds_subtracts_and_negates():
    assert Money(150, "usd") + Money(50, "usd") == Money(200, "usd")
    assert Money(150, "usd") - Money(200, "usd") == Money(-50, "usd")
    assert -Money(150, "usd") == Money(-150, "usd")
    assert sum([Money(1, "usd"), Money(2, "usd")], Money(0, "usd")) == Money(3, "usd")


def test_money_is_ordered_within_its_currency():
    small, large = Money(1, "usd"), Money(2, "usd")
    assert small < large
    assert small <= large
    assert large > small
    assert large >= small
    assert max(small, large) is large


@pytest.mark.parametrize(
    "mix", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a < b, lambda a, b: a >= b]
)
def test_money_mixes_with_nothing(mix):
    with pytest.raises(ValueError, match="Cannot mix usd and eur"):
        mix(Money(1, "usd"), Money(1, "eur"))
    for other in (1, Decimal(1), None):
        with pytest.raises(TypeError):
            mix(Money(1, "usd"), other)


def test_money_equals_only_the_same_money():
    assert Money(1, "usd") == Money(1, "usd")
    assert Money(1, "usd") != Money(1, "eur")
    assert Money(1, "usd") != 1


@pytest.mark.parametrize("minor", [1.0, Decimal(1), "1", True, None])
def test_money_is_made_of_a_whole_number(minor):
    with pytest.raises(TypeError, match="minor must be an int"):
        Money(minor, "usd")


def test_money_does_not_multiply_and_is_no_float():
    with pytest.raises(TypeError):
        Money(1, "usd") * 2
    with pytest.raises(TypeError):
        float(Money(1, "usd"))


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("0", 0),
        ("0.49", 0),
        ("0.5", 1),
        ("1.5", 2),
        ("2.5", 3),
        ("111.6", 112),
        ("-0.4", 0),
        ("-0.5", -1),
        ("-166.35", -166),
        ("-666.67", -667),
        ("1E+3", 1000),
        ("0.499999999999999999999999999999999999999999999999999999999999", 0),
    ],
)
def test_rounding_goes_to_the_nearest_and_half_away_from_zero(amount, minor):
    assert round_minor(Decimal(amount)) == minor
    assert to_money(Decimal(amount), "usd") == Money(minor, "usd")


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+17", "-1E+999999"])
def test_rounding_refuses_what_cannot_be_billed(amount):
    with pytest.raises(ValueError, match="is not an amount that can be billed"):
        round_minor(Decimal(amount))


@given(amounts)
@settings(max_examples=50)
def test_rounding_is_symmetric_and_moves_at_most_half_a_unit(amount):
    rounded = round_minor(amount)
    assert round_minor(amount.copy_negate()) == -rounded
    assert abs(Fraction(amount) - rounded) <= Fraction(1, 2)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6))
def test_a_part_is_rounded_as_its_decimal_is_where_it_has_one(numerator, thousandths):
    decimal = Decimal(numerator).scaleb(-3)
    assert round_part(Fraction(decimal)) == round_minor(decimal)
    nearest = round_part(Fraction(numerator, thousandths))
    assert abs(Fraction(numerator, thousandths) - nearest) <= Fraction(1, 2)


def test_a_part_without_an_end_goes_to_the_nearest_and_too_much_is_refused():
    assert [round_part(Fraction(n, 3)) for n in (1, 2, -1, -2)] == [0, 1, 0, -1]
    assert [round_part(Fraction(n, 2)) for n in (1, 3, -1, -3)] == [1, 2, -1, -2]
    with pytest.raises(ValueError, match="can be billed"):
        round_part(Fraction(MAX_MINOR * 3 + 2, 3))


def test_rounding_does_not_depend_on_the_context_it_runs_in():
    with localcontext(Context(prec=3)):
        assert round_minor(Decimal("1234567.5")) == 1234568


def test_the_exact_context_raises_rather_than_lose_a_digit_or_meet_a_float():
    with localcontext(EXACT):
        assert Decimal(10**26 - 1) * Decimal(10**24 - 1) == (10**26 - 1) * (10**24 - 1)
        with pytest.raises(Inexact):
            Decimal(1) / 3
        with pytest.raises(FloatOperation):
            assert Decimal(1) > 0.1


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1], [50, 50]),
        (100, [1, 1, 1], [34, 33, 33]),  # of equals, the earlier
        (500, [10, 20], [167, 333]),  # 166⅔ lost more than 333⅓
        (5, [1, 0, 1], [3, 0, 2]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (0, [1, 2], [0, 0]),
        (7, [0, 0], [7, 0]),
        (-7, [0, 0, 0], [-7, 0, 0]),
        (7, [3], [7]),
        (0, [], []),
    ],
)
def test_a_split_gives_what_is_left_over_to_the_largest_remainders(total, weights, parts):
    assert allocate(total, weights) == parts


@pytest.mark.parametrize(("total", "weights"), [(1, []), (-1, []), (1, [1, -1]), (1, [-1])])
def test_a_split_needs_weights_that_are_not_negative(total, weights):
    with pytest.raises(ValueError, match="weights must not be"):
        allocate(total, weights)


whole_amounts = st.integers(-(10**15), 10**15)
weights_of_lines = st.lists(st.integers(0, 10**15), min_size=1, max_size=20)


@given(whole_amounts, weights_of_lines)
@settings(max_examples=50)
def test_a_split_sums_and_is_fair_to_the_unit(total, weights):
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert parts == [-part for part in allocate(-total, weights)]
    if whole := sum(weights):
        assert all(
            abs(part - Fraction(total * weight, whole)) < 1
            for part, weight in zip(parts, weights, strict=True)
        )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("0E+3", "0"),
        ("0E-20", "0"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("1E-12", "0.000000000001"),
        ("0.10", "0.1"),
        ("-1.50", "-1.5"),
        ("-0.5", "-0.5"),
        ("123456789012345678901234567890.12", "123456789012345678901234567890.12"),
    ],
)
def test_plain_numbers_have_all_their_digits_and_no_exponent(number, text):
    assert plain(Decimal(number)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12) | amounts)
@settings(max_examples=50)
def test_plain_numbers_read_back_the_same(number):
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("9900", "usd", "$99.00"),
        ("123450", "usd", "$1,234.50"),
        ("-166", "usd", "-$1.66"),
        ("0", "usd", "$0.00"),
        ("-0.00", "usd", "$0.00"),
        ("5", "usd", "$0.05"),
        ("3.6", "usd", "$0.036"),
        ("0.00005", "usd", "$0.0000005"),
        ("12.50", "usd", "$0.125"),
        ("1E+5", "usd", "$1,000.00"),
        ("500", "jpy", "¥500"),
        ("1234567", "jpy", "¥1,234,567"),
        ("0.5", "jpy", "¥0.5"),
        ("1234567", "kwd", "KWD 1,234.567"),
        ("1000", "chf", "CHF 10.00"),
        ("-1000", "chf", "-CHF 10.00"),
        ("1999", "eur", "€19.99"),
        ("1999", "gbp", "£19.99"),
        ("1999", "cad", "CA$19.99"),
    ],
)
def test_people_read_amounts_in_their_own_signs(amount, currency, text):
    assert format_amount(Decimal(amount), currency) == text


@pytest.mark.parametrize("write", [plain, lambda d: format_amount(d, "usd")])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_not_written(write, number):
    with pytest.raises(ValueError, match="can be written"):
        write(Decimal(number))
