"""Commitments: the least and the most that a period's usage comes to, and parts of periods."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpaid.core.catalog import Price, Product, UsageType
from postpaid.core.commitments import Commitment, check, share, whole_seconds
from postpaid.core.errors import InvalidRequest
from postpaid.core.lines import Line, Obligation, lines_of, with_commitment
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.core.subscriptions import Sold
from postpaid.core.values import replace

MONTHLY = Recurrence(Interval.MONTH)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = datetime(2026, 2, 1, tzinfo=UTC)
JANUARY_S = 31 * 86_400


def sold(minimum: int | None = None, maximum: int | None = None, unit: str = "5") -> Sold:
    product = Product("prod_1", "Calls", T0, T0)
    price = Price(
        "price_1",
        product.id,
        "usd",
        Model(unit_amount=Decimal(unit)),
        T0,
        recurrence=MONTHLY,
        usage_type=UsageType.METERED,
        meter_id="mtr_1",
        minimum_amount=minimum,
        maximum_amount=maximum,
    )
    return Sold(price, product)


def owed(start: datetime = T0, end: datetime = T1, whole: int | None = None) -> Obligation:
    return Obligation("sub/si/period-0", "sub", "si", start, end, {}, whole_seconds=whole)


def said(lines: list[Line]) -> list[tuple[str, int, str]]:
    return [(line.kind, line.amount, line.description) for line in lines]


def test_less_than_the_minimum_gets_a_line_of_what_is_missing() -> None:
    assert said(lines_of(owed(), sold(minimum=1000), Decimal(100))) == [
        ("unit", 500, "100 × Calls (at $0.05 / month)"),
        ("minimum", 500, "Minimum commitment for Calls"),
    ]


def test_more_than_the_maximum_gets_a_line_that_takes_it_off() -> None:
    assert said(lines_of(owed(), sold(maximum=300), Decimal(100))) == [
        ("unit", 500, "100 × Calls (at $0.05 / month)"),
        ("maximum", -200, "Maximum charge for Calls"),
    ]


@pytest.mark.parametrize("quantity", [40, 60, 80], ids=["least", "between", "most"])
def test_within_the_commitment_there_is_no_line(quantity: int) -> None:
    assert len(lines_of(owed(), sold(200, 400), Decimal(quantity))) == 1


def test_nothing_used_owes_the_minimum() -> None:
    assert [line.amount for line in lines_of(owed(), sold(minimum=1000), Decimal(0))] == [0, 1000]


def test_before_the_window_is_over_only_the_most_counts() -> None:
    def amounts(price: Sold) -> list[int]:
        return [line.amount for line in lines_of(owed(), price, Decimal(100), over=False)]

    assert amounts(sold(minimum=1000)) == [500]
    assert amounts(sold(maximum=300)) == [500, -200]


def test_a_stub_owes_its_share() -> None:
    stub = owed(T0 + timedelta(days=21), whole=JANUARY_S)
    [used, missing] = lines_of(stub, sold(minimum=1000), Decimal(0))
    assert (used.amount, missing.amount) == (0, 323)  # 10/31 of 1000 is 322.58
    assert used.whole_seconds == missing.whole_seconds == JANUARY_S


def test_a_share_is_counted_to_the_second() -> None:
    second = timedelta(seconds=1)
    assert share(T0, T1, None) == 1
    assert share(T0, T0 + second, JANUARY_S) == Fraction(1, JANUARY_S)
    assert share(T0, T1 + second, JANUARY_S) == 1


def test_how_long_a_whole_period_is() -> None:
    def whole(start: datetime, end: datetime, index: int, zone: str = "UTC") -> int | None:
        return whole_seconds(
            start, end, anchor=T0, recurrence=MONTHLY, index=index, zone=ZoneInfo(zone)
        )

    assert whole(T0, T1, 0) is None
    assert whole(T0 + timedelta(days=3), T1, 0) == JANUARY_S
    assert whole(T0 - timedelta(days=3), T0, -1) == JANUARY_S  # December has as many days


def test_a_whole_period_over_a_change_of_the_clocks_is_whole() -> None:
    new_york = ZoneInfo("America/New_York")
    anchor = datetime(2026, 2, 1, tzinfo=new_york).astimezone(UTC)
    start = datetime(2026, 3, 1, tzinfo=new_york).astimezone(UTC)
    end = datetime(2026, 4, 1, tzinfo=new_york).astimezone(UTC)
    more = {"anchor": anchor, "recurrence": MONTHLY, "index": 1, "zone": new_york}
    assert whole_seconds(start, end, **more) is None  # type: ignore[arg-type]
    cut = whole_seconds(start, end - timedelta(days=1), **more)  # type: ignore[arg-type]
    assert cut == JANUARY_S - 3600


@given(
    st.integers(0, 10**9),
    st.integers(1, JANUARY_S - 1),
)
def test_the_shares_of_two_parts_come_to_the_whole_within_a_unit(amount: int, cut: int) -> None:
    middle = T0 + timedelta(seconds=cut)
    parts = [
        Commitment(amount).prorated(share(start, end, JANUARY_S)).minimum or 0
        for start, end in ((T0, middle), (middle, T1))
    ]
    assert abs(sum(parts) - amount) <= 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_owed_is_never_outside_the_commitment(least: int, more: int, used: int) -> None:
    price = sold(least, least + more, unit="1")
    billed = sum(line.amount for line in lines_of(owed(), price, Decimal(used)))
    assert billed == min(max(used, least), least + more)


# ─── Of a subscription ───────────────────────────────────────────────────────────────────────


def test_a_subscriptions_commitment_is_one_line_after_the_others() -> None:
    lines = lines_of(owed(), sold(), Decimal(10))
    kept = with_commitment(lines, Commitment(minimum=500))
    assert said(kept)[-1] == ("minimum", 450, "Minimum commitment")
    assert kept[-1].obligation == "sub/si/period-0/minimum"
    assert (kept[-1].meter_id, kept[-1].subscription_item_id) == (None, None)


def test_it_is_kept_anew_when_usage_is_counted_again() -> None:
    once = with_commitment(lines_of(owed(), sold(), Decimal(10)), Commitment(100, 200))
    fewer = with_commitment([*lines_of(owed(), sold(), Decimal(30)), once[-1]], Commitment(100))
    assert [line.amount for line in once] == [50, 50]
    assert [line.amount for line in fewer] == [150]


def test_it_is_for_all_of_the_time_that_is_billed_and_all_that_was_used_in_it() -> None:
    middle = T0 + timedelta(days=10)
    before = replace(owed(T0, middle, JANUARY_S), name="sub/si/period-0")
    after = replace(owed(middle, T1, JANUARY_S), name="sub/si/1.period-0")
    beside = replace(owed(middle, T1, JANUARY_S), name="sub/si_2/period-0")
    [settled] = lines_of(before, sold(), Decimal(20))
    settled = replace(settled, invoice_item_id="ii_1")
    rest = [*lines_of(after, sold(), Decimal(10)), *lines_of(beside, sold(), Decimal(10))]
    [*_, missing] = with_commitment([settled, *rest], Commitment(minimum=3100))
    assert (missing.amount, missing.period_start, missing.period_end) == (2900, T0, T1)
    assert missing.invoice_item_id is None
    # Time that nothing bills, as that of a pause, owes nothing.
    assert with_commitment(rest, Commitment(minimum=3100))[-1].amount == 2100 - 100


def test_without_usage_to_bill_there_is_nothing_to_commit_to() -> None:
    assert with_commitment([], Commitment(minimum=500)) == []


# ─── What cannot be kept ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("minimum", "maximum", "metered", "param"),
    [
        (500, 400, True, "maximum_amount"),
        (-1, None, True, "minimum_amount"),
        (500, None, False, "minimum_amount"),
        (None, 10**17, True, "maximum_amount"),
    ],
    ids=["most below least", "negative", "of a licence", "too much"],
)
def test_a_commitment_that_cannot_be_kept_is_refused(
    minimum: int | None, maximum: int | None, metered: bool, param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(minimum, maximum, metered=metered)
    assert refused.value.param == (param,)
