"""Credits and charges for the rest of a period: to the second, each rounded once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.periods import Interval, Period, Recurrence
from postpaid.core.pricing import Model, Tier, TiersMode
from postpaid.core.prorations import (
    Charge,
    charge_of_rest,
    credit_at_list_price,
    credits_of_charges,
    day_in_words,
    list_amount,
    prorate,
)
from postpaid.core.subscriptions import Sold

START = datetime(2026, 8, 6, 3, 45, 40, tzinfo=UTC)
END = datetime(2026, 9, 6, 3, 45, 40, tzinfo=UTC)
AT = END - timedelta(seconds=445540)
MONTH = Period(START, END)


def sold(model: Model | int, name: str = "Fee") -> Sold:
    if isinstance(model, int):
        model = Model(Decimal(model))
    price = Price(
        "price_1",
        "prod_1",
        "usd",
        model,
        START,
        recurrence=Recurrence(Interval.MONTH),
        usage_type=UsageType.LICENSED,
    )
    return Sold(price, Product("prod_1", name, START, START))


def charge(
    amount: int, *, key: str = "il_1", invoice: str | None = "in_1", **more: object
) -> Charge:
    values: dict[str, object] = {
        "id": key,
        "obligation": "sub/si/period-0",
        "invoice_id": invoice,
        "line_id": key if invoice else None,
        "amount": amount,
        "discounts": None,
        "quantity": Decimal(1),
        "period_start": START,
        "period_end": END,
    }
    return Charge(**values | more)  # type: ignore[arg-type]


def test_the_documented_upgrade() -> None:
    [credit] = credits_of_charges(sold(1000), [charge(1000)], at=AT, zone="UTC")
    debit = charge_of_rest(sold(3252), 1, MONTH, at=AT, until=END, zone="UTC")
    assert (credit.amount, debit.amount) == (-166, 541)
    assert (credit.period, debit.period) == (Period(AT, END), Period(AT, END))
    assert credit.description == "Unused time on Fee after 01 Sep 2026"
    assert credit.credited == {"invoice": "in_1", "lines": ["il_1"]}


def test_classic_credits_what_it_would_cost() -> None:
    credit = credit_at_list_price(sold(1000), 3, MONTH, at=AT, until=END, zone="UTC")
    assert (credit.amount, credit.credited) == (-499, None)
    assert credit.description == "Unused time on 3 × Fee after 01 Sep 2026"


def test_one_credit_for_each_time_that_something_was_debited() -> None:
    charges = [
        charge(1000),
        charge(500, key="il_2", quantity=Decimal(0)),
        charge(300, key="ii_3", invoice=None, obligation="ii_3", period_start=AT),
        charge(200, key="il_4", invoice="in_2", obligation="ii_4"),
    ]
    credits = credits_of_charges(sold(1), charges, at=AT, zone="UTC")
    assert [each.credited for each in credits] == [
        {"invoice": "in_1", "lines": ["il_1", "il_2"]},
        {"invoice_item": "ii_3"},
        {"invoice": "in_2", "lines": ["il_4"]},
    ]
    assert [each.amount for each in credits] == [-250, -300, -33]


def test_what_a_discount_took_off_is_not_credited() -> None:
    discounted = charge(1000, discounts={"di_1": 500})
    [credit] = credits_of_charges(sold(1000), [discounted], at=START, zone="UTC")
    assert credit.amount == -500


def test_nothing_is_credited_of_what_has_ended() -> None:
    assert credits_of_charges(sold(1000), [charge(1000)], at=END, zone="UTC") == []


def test_what_was_charged_later_than_the_moment_is_credited_whole() -> None:
    late = charge(300, period_start=AT)
    [credit] = credits_of_charges(sold(1000), [late], at=START, zone="UTC")
    assert (credit.amount, credit.period) == (-300, Period(AT, END))


def test_a_stub_is_a_part_of_its_whole_period() -> None:
    middle = START + (END - START) / 2
    first = charge_of_rest(sold(3100), 1, MONTH, at=START, until=middle, zone="UTC")
    assert first.amount == 1550
    assert first.period == Period(START, middle)


def test_tiers_are_prorated_together() -> None:
    tiers = (Tier(Decimal(2), Decimal(1000), Decimal(100)), Tier(None, Decimal(500)))
    model = Model(tiers=tiers, tiers_mode=TiersMode.GRADUATED)
    assert list_amount(sold(model), 4) == 3100
    middle = START + (END - START) / 2
    assert charge_of_rest(sold(model), 4, MONTH, at=middle, until=END, zone="UTC").amount == 1550


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", "01 Jan 2027"), ("America/New_York", "31 Dec 2026")],
    ids=["Greenwich", "New York"],
)
def test_the_day_is_the_customers(zone: str, day: str) -> None:
    assert day_in_words(datetime(2027, 1, 1, 3, tzinfo=UTC), zone) == day


@pytest.mark.parametrize(
    ("amount", "fraction", "rounded"),
    [
        ("1", Fraction(1, 2), 1),
        ("-1", Fraction(1, 2), -1),
        ("1", Fraction(1, 3), 0),
        ("2", Fraction(1, 3), 1),
        ("-2000", Fraction(1, 3), -667),
        ("0.5", Fraction(1), 1),
    ],
    ids=["a half", "a negative half", "a third", "two thirds", "a credit", "half a cent"],
)
def test_a_part_is_rounded_half_away_from_zero(
    amount: str, fraction: Fraction, rounded: int
) -> None:
    assert prorate(Decimal(amount), fraction) == rounded


@given(
    st.integers(-(10**9), 10**9),
    st.fractions(min_value=0, max_value=1, max_denominator=10**7),
)
def test_a_part_is_within_half_a_cent_and_mirrors_its_opposite(
    amount: int, fraction: Fraction
) -> None:
    part = prorate(Decimal(amount), fraction)
    assert abs(part - amount * fraction) <= Fraction(1, 2)
    assert prorate(Decimal(-amount), fraction) == -part


@given(st.integers(0, 10**9), st.integers(0, 31 * 86400 - 1))
def test_what_was_charged_for_the_rest_is_credited_to_the_cent(amount: int, second: int) -> None:
    """A change that is taken back in the same second costs nothing."""
    at = START + timedelta(seconds=second)
    debit = charge_of_rest(sold(amount), 1, MONTH, at=at, until=END, zone="UTC")
    again = charge(debit.amount, period_start=at)
    [credit] = credits_of_charges(sold(amount), [again], at=at, zone="UTC")
    assert credit.amount == -debit.amount


def test_what_was_given_back_is_not_given_back_again() -> None:
    """A cent of which a half, rounded up, was given back."""
    middle = START + (END - START) / 2
    once = charge(1, returned=1, returned_from=middle)
    assert credits_of_charges(sold(1), [once], at=AT, zone="UTC") == []
    [earlier] = credits_of_charges(sold(1), [once], at=START, zone="UTC")
    assert (earlier.amount, earlier.period) == (0, Period(START, middle))


def test_an_itemized_credit_has_each_discount_by_itself() -> None:
    month = charge(1000, discounts={"di_1": 100, "di_2": 50})
    [first] = credits_of_charges(sold(1000), [month], at=AT, zone="UTC", itemized=True)
    assert (first.amount, first.discounts) == (-166, {"di_1": -17, "di_2": -8})
    again = charge(
        1000,
        discounts={"di_1": 100},
        returned=149,
        returned_discounts={"di_1": 17},
        returned_from=AT,
    )
    [rest] = credits_of_charges(sold(1000), [again], at=START, zone="UTC", itemized=True)
    assert (rest.amount, rest.discounts) == (-1000 + 166, {"di_1": -83})
    assert rest.period == Period(START, AT)
