"""Discounts and taxes on lines, and totals that add up whatever they are."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import NOW, a_draft
from lines import a_line as line
from postpaid.core.adjusting import Applied, TaxReason, adjusted, parts_off, percent_of, spread
from postpaid.core.discounts import Coupon, Duration
from postpaid.core.invoicing import with_lines
from postpaid.core.pricing import DetailKind
from postpaid.core.tax_rates import TaxRate
from postpaid.core.values import replace


def draft(lines, **more):
    return with_lines(a_draft(**more), lines)


def percent(number, key="di_percent", **more):
    return Applied(key, Coupon("c", Duration.FOREVER, NOW, percent_off=Decimal(number), **more))


def off(amount, key="di_amount", **more):
    terms = Coupon("a", Duration.FOREVER, NOW, amount_off=amount, currency="usd", **more)
    return Applied(key, terms)


def rate(percentage, *, inclusive=False, key=None):
    key = key or ("txr_in" if inclusive else "txr_on")
    return TaxRate(key, "Tax", Decimal(percentage), inclusive, NOW)


def adjust(invoice, *discounts, rates=(), lines=(), reason=TaxReason.NOT_AVAILABLE):
    return adjusted(
        replace(
            invoice,
            discount_ids=[each.discount_id for each in discounts] or None,
            tax_rate_ids=[each.id for each in rates] or invoice.tax_rate_ids,
        ),
        discounts=discounts,
        line_discounts={each.discount_id: each for each in lines},
        tax_rates={each.id: each for each in rates},
        reason=reason,
    )


# ─── Discounts ───────────────────────────────────────────────────────────────────────────────


def test_an_amount_is_spread_in_whole_cents_with_the_rest_on_the_last_line():
    """Stripe: 5.00 over 10 and 20 is 1.66 and 3.34."""
    invoice = adjust(draft([line(1000), line(2000, 1)]), off(500))
    assert [each.discounts for each in invoice.lines] == [{"di_amount": 166}, {"di_amount": 334}]
    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (3000, 2500, 2500)
    assert invoice.total_discounts == {"di_amount": 500}


def test_what_the_last_line_cannot_take_is_for_the_one_before_it():
    assert spread(20, [10, 10, 1]) == [9, 10, 1]
    assert spread(5, [2, 2, 2]) == [1, 2, 2]


def test_no_more_than_there_is_is_taken_off():
    invoice = adjust(draft([line(300), line(200, 1)]), off(1000))
    assert (invoice.total, invoice.total_discounts) == (0, {"di_amount": 500})


def test_a_percentage_is_rounded_on_each_line():
    invoice = adjust(draft([line(1005), line(1005, 1)]), percent("10"))
    assert [each.discounts for each in invoice.lines] == [{"di_percent": 101}] * 2
    assert invoice.total == 2010 - 202


def test_of_several_discounts_the_next_is_of_what_the_one_before_left():
    first, then = percent("50"), off(300)
    assert adjust(draft([line(1000)]), first, then).total == 200
    assert adjust(draft([line(1000)]), then, first).total == 350


def test_a_discount_of_one_product_leaves_the_others():
    lines = [line(1000, product_id="prod_2"), line(1000, 1)]
    invoice = adjust(draft(lines), percent("25", product_ids=["prod_2"]))
    assert [each.discounts for each in invoice.lines] == [{"di_percent": 250}, None]


@pytest.mark.parametrize(
    "more",
    [{"proration": True}, {"discountable": False}],
    ids=["a proration", "one that is not discountable"],
)
def test_lines_that_no_discount_is_taken_off(more):
    assert adjust(draft([line(1000, **more)]), percent("25"), off(100)).total == 1000


def test_a_percentage_comes_to_no_more_than_its_most_which_is_spread():
    capped = percent("50", max_amount_off=300, max_amount_off_currency="usd")
    invoice = adjust(draft([line(1000), line(2000, 1)]), capped)
    assert [each.discounts for each in invoice.lines] == [{"di_percent": 100}, {"di_percent": 200}]
    assert adjust(draft([line(600)]), capped).total == 300
    elsewhere = percent("50", max_amount_off=300, max_amount_off_currency="eur")
    assert adjust(draft([line(1000)]), elsewhere).total == 1000


def test_a_coupon_takes_nothing_off_too_small_an_order():
    terms = {"minimum_amount": 1500, "minimum_amount_currency": "usd"}
    assert adjust(draft([line(1499)]), percent("10", **terms)).total == 1499
    assert adjust(draft([line(1000), line(500, 1)]), percent("10", **terms)).total == 1350
    # The order is what it came to before anything was taken off.
    assert adjust(draft([line(1500)]), off(500), percent("10", **terms)).total == 900
    assert adjust(draft([line(-600), line(2000, 1)]), percent("10", **terms)).total == 1400


def test_credit_takes_no_discount():
    invoice = adjust(draft([line(-500), line(1000, 1)]), percent("50"), off(100))
    assert (invoice.lines[0].discounts, invoice.total) == (None, 500 - 500 - 100)


def test_a_discount_is_of_usage_that_is_not_billed_yet_and_within_the_most():
    usage = line(2000, meter_id="mtr_1")
    name = usage.obligation
    billed = line(-1500, id="il_b", obligation=f"{name}/billed", kind=DetailKind.BILLED)
    most = line(-1500, id="il_m", part=1, meter_id="mtr_1", kind=DetailKind.MAXIMUM)
    assert adjust(draft([usage, billed]), percent("10")).total_discounts == {"di_percent": 50}
    assert adjust(draft([usage, most]), percent("100")).total == 0
    revised = [replace(each, obligation=f"{each.obligation}@in_2") for each in (usage, billed)]
    assert adjust(draft(revised), percent("10")).total == 450


def test_what_is_over_a_subscriptions_most_is_taken_off_all_its_usage():
    lines = [line(1000, meter_id="mtr_1"), line(3000, 1, meter_id="mtr_2"), line(500, 2)]
    most = line(-2000, 3, price_id=None, product_id=None, kind=DetailKind.MAXIMUM)
    invoice = adjust(draft([*lines, most]), percent("10"))
    assert [each.discounts for each in invoice.lines] == [
        {"di_percent": 50},
        {"di_percent": 150},
        {"di_percent": 50},
        None,
    ]


def test_a_lines_own_discount_comes_first_and_is_in_the_subtotal():
    mine = percent("50", key="di_line")
    lines = [line(1000, discount_ids=["di_line"]), line(1000, 1)]
    invoice = adjust(draft(lines), percent("10"), lines=[mine])
    assert [each.discounts for each in invoice.lines] == [
        {"di_line": 500, "di_percent": 50},
        {"di_percent": 100},
    ]
    assert (invoice.subtotal, invoice.total) == (1500, 1350)


def test_the_tiers_of_an_item_share_its_discount():
    lines = [line(1000, discount_ids=["di_amount"]), line(2000, 1, discount_ids=["di_amount"])]
    invoice = adjust(draft(lines), lines=[off(500)])
    assert invoice.total_discounts == {"di_amount": 500}
    assert [each.discounts for each in invoice.lines] == [{"di_amount": 166}, {"di_amount": 334}]


def test_a_discount_that_no_longer_holds_leaves_no_trace():
    before = adjust(draft([line(1000, discount_ids=["di_line"])]), lines=[off(1, "di_line")])
    after = adjust(before)
    assert (after.total, after.total_discounts) == (1000, None)
    assert (after.lines[0].discount_ids, after.lines[0].discounts) == (None, None)


# ─── Taxes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("amount", "tax"), [(43, 6), (484, 73)], ids=["0.43 by 15 %", "4.84 by 15 %"]
)
def test_stripes_own_examples_of_rounding(amount, tax):
    invoice = adjust(draft([line(amount)]), rates=[rate("15")])
    assert invoice.total == amount + tax


def test_tax_on_top_is_of_what_the_discounts_left():
    invoice = adjust(draft([line(1000)]), percent("20"), rates=[rate("19")])
    assert invoice.total_taxes == {
        "txr_on": {"amount": 152, "taxable": 800, "inclusive": False, "reason": "not_available"}
    }
    assert (invoice.subtotal, invoice.total) == (1000, 952)


def test_tax_within_the_amount_adds_nothing():
    invoice = adjust(draft([line(1190)]), rates=[rate("19", inclusive=True)])
    assert invoice.total == 1190
    assert invoice.total_taxes is not None
    assert (invoice.total_taxes["txr_in"]["amount"], invoice.total_taxes["txr_in"]["taxable"]) == (
        190,
        1000,
    )


def test_tax_on_top_is_not_of_tax_within():
    rates = [rate("10", inclusive=True), rate("5")]
    invoice = adjust(draft([line(1100)]), rates=rates)
    assert invoice.total_taxes is not None
    assert {key: tax["amount"] for key, tax in invoice.total_taxes.items()} == {
        "txr_in": 100,
        "txr_on": 50,
    }
    assert invoice.total == 1150


def test_a_percentage_keeps_four_places():
    assert adjust(draft([line(1_000_000)]), rates=[rate("8.8755")]).total == 1_088_755


def test_a_lines_own_rates_go_before_the_invoices():
    rates = [rate("10"), rate("20", key="txr_own")]
    lines = [line(1000, tax_rate_ids=["txr_own"]), line(1000, 1)]
    invoice = adjust(draft(lines, tax_rate_ids=["txr_on"]), rates=rates)
    invoice = adjusted(
        replace(invoice, tax_rate_ids=["txr_on"]),
        discounts=(),
        line_discounts={},
        tax_rates={each.id: each for each in rates},
    )
    assert [list(each.taxes or ()) for each in invoice.lines] == [["txr_own"], ["txr_on"]]
    assert invoice.total == 2000 + 200 + 100


@pytest.mark.parametrize("reason", [TaxReason.CUSTOMER_EXEMPT, TaxReason.REVERSE_CHARGE])
def test_who_is_exempt_pays_no_tax_and_is_told_why(reason):
    rates = [rate("19"), rate("7", inclusive=True)]
    invoice = adjust(draft([line(1000)]), rates=rates, reason=reason)
    assert invoice.total == 1000
    assert invoice.total_taxes is not None
    assert {(tax["amount"], tax["reason"]) for tax in invoice.total_taxes.values()} == {(0, reason)}


def test_a_credit_gives_back_its_tax():
    invoice = adjust(draft([line(-1000), line(1000, 1)]), rates=[rate("8.875")])
    assert (invoice.lines[0].taxes or {})["txr_on"]["amount"] == -89
    assert invoice.total == 0


def test_tax_is_of_what_credits_left():
    invoice = draft([line(1000, credits={"cbtxn_1": 400})])
    invoice = adjust(invoice, percent("10"), rates=[rate("10")])
    assert invoice.total_credits == {"cbtxn_1": 400}
    assert invoice.total == 1000 - 100 - 400 + 50


# ─── Whatever they are ───────────────────────────────────────────────────────────────────────

amounts = st.integers(1, 10**9)
percentages = st.decimals("0.0001", "100", places=4)
lines_of_all_kinds = st.lists(
    st.builds(
        lambda amount, proration, own: (amount, proration, own),
        st.integers(-(10**9), 10**9),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)
discounts_of_all_kinds = st.lists(
    st.one_of(percentages.map(lambda p: ("percent", p)), amounts.map(lambda a: ("off", a))),
    max_size=3,
)


@given(st.integers(0, 10**12), st.lists(amounts, max_size=20))
def test_what_is_spread_sums_and_no_part_is_too_large(amount, over):
    parts = spread(amount, over)
    assert sum(parts) == min(amount, sum(over))
    assert all(0 <= part <= most for part, most in zip(parts, over, strict=True))
    whole = sum(over)
    for part, most in zip(parts[:-1], over[:-1], strict=True):
        assert part >= Fraction(min(amount, whole) * most, whole) - 1


@given(percentages, st.integers(-(10**12), 10**12))
def test_a_percentage_is_exact_to_half_a_cent_and_symmetric(percentage, amount):
    exact = Fraction(percentage) * amount / 100
    assert abs(percent_of(percentage, amount) - exact) <= Fraction(1, 2)
    assert percent_of(percentage, -amount) == -percent_of(percentage, amount)


@given(percentages, percentages, st.integers(-(10**12), 10**12))
def test_a_tax_within_is_exact_to_half_a_cent(first, second, amount):
    rates = [
        rate(first, inclusive=True, key="txr_1"),
        rate(second, inclusive=True, key="txr_2"),
    ]
    invoice = adjust(draft([line(amount)]), rates=rates)
    assert invoice.total_taxes is not None
    for each in rates:
        exact = Fraction(each.percentage) * amount / (100 + Fraction(first) + Fraction(second))
        assert abs(invoice.total_taxes[each.id]["amount"] - exact) <= Fraction(1, 2)
    assert invoice.total == amount


@given(lines_of_all_kinds, discounts_of_all_kinds, st.lists(percentages, max_size=3))
def test_totals_are_the_sums_of_the_lines(kinds, terms, taxes):
    lines = [
        line(amount, place, proration=proration, discount_ids=["di_own"] if own else None)
        for place, (amount, proration, own) in enumerate(kinds)
    ]
    discounts = [
        percent(value, f"di_{place}") if kind == "percent" else off(value, f"di_{place}")
        for place, (kind, value) in enumerate(terms)
    ]
    rates = [
        rate(value, inclusive=place % 2 == 1, key=f"txr_{place}")
        for place, value in enumerate(taxes)
    ]
    invoice = adjust(draft(lines), *discounts, rates=rates, lines=[percent("12.5", "di_own")])

    for each in invoice.lines:
        taken = sum((each.discounts or {}).values())
        assert 0 <= taken <= max(0, each.amount)
    by_discount = {}
    for each in invoice.lines:
        for key, amount in (each.discounts or {}).items():
            by_discount[key] = by_discount.get(key, 0) + amount
    assert by_discount == (invoice.total_discounts or {})
    own = by_discount.get("di_own", 0)
    assert invoice.subtotal == sum(each.amount for each in invoice.lines) - own
    on_top = sum(
        tax["amount"]
        for each in invoice.lines
        for tax in (each.taxes or {}).values()
        if not tax["inclusive"]
    )
    assert invoice.total == invoice.subtotal - (sum(by_discount.values()) - own) + on_top
    assert invoice.amount_due == max(0, invoice.total)
    assert adjust(invoice, *discounts, rates=rates, lines=[percent("12.5", "di_own")]) == invoice


@given(
    percentages,
    st.integers(1, 10**6),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=8),
)
def test_a_capped_percentage_takes_the_less_of_the_two_and_no_more_than_there_is(
    percentage, most, over
):
    free = Coupon("c", Duration.FOREVER, NOW, percent_off=percentage)
    capped = Coupon(
        "c",
        Duration.FOREVER,
        NOW,
        percent_off=percentage,
        max_amount_off=most,
        max_amount_off_currency="usd",
    )
    parts = parts_off(capped, "usd", over, order=sum(over))
    assert sum(parts) == min(most, sum(parts_off(free, "usd", over, order=sum(over))))
    assert all(0 <= part <= each for part, each in zip(parts, over, strict=True))
