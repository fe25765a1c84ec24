"""Coupons, promotion codes and taxes, through the months in which they hold."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town, at, day

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
APRIL = MARCH + 31 * DAY
MAY = APRIL + 30 * DAY


def fee(town: Town, amount: int = 10000, name: str = "Fee") -> str:
    return town.price(unit_amount=amount, product_data={"name": name})


def coupon(town: Town, **given: Any) -> str:
    return town.client.v1.coupons.create(given).id  # type: ignore[arg-type]


def tax(town: Town, percentage: float, *, inclusive: bool = False) -> str:
    return town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": percentage, "inclusive": inclusive}
    ).id


def totals(town: Town, subscription_id: str) -> list[int]:
    return [each.total for each in town.invoices(subscription_id)]


def preview(town: Town, subscription_id: str) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview({"subscription": subscription_id})


def billed_as_previewed(town: Town, clock: str, subscription_id: str, to: int) -> stripe.Invoice:
    """What the renewal bills, which is what its preview said."""
    before = preview(town, subscription_id)
    town.advance(clock, to)
    invoice = town.invoices(subscription_id)[-1]
    for key in ("subtotal", "total", "total_excluding_tax", "subtotal_excluding_tax"):
        assert getattr(before, key) == getattr(invoice, key), key
    for key in ("discounts", "total_discount_amounts", "total_taxes"):
        assert before.to_dict()[key] == invoice.to_dict()[key], key
    assert [each.amount for each in before.lines.data] == [
        each.amount for each in invoice.lines.data
    ]
    return invoice


# ─── Discounts ───────────────────────────────────────────────────────────────────────────────


def test_a_percentage_that_repeats_for_three_months(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    quarter = coupon(town, percent_off=25, duration="repeating", duration_in_months=3)
    subscription = town.subscribe(customer, fee(town), discounts=[{"coupon": quarter}])
    [discount] = subscription.discounts
    assert isinstance(discount, str)

    for to in (FEBRUARY, MARCH):
        invoice = billed_as_previewed(town, clock, subscription.id, to + HOUR)
        assert invoice.discounts == [discount]
        assert [each.to_dict() for each in invoice.total_discount_amounts or []] == [
            {"amount": 2500, "discount": discount}
        ]
    for to in (APRIL, MAY):
        assert billed_as_previewed(town, clock, subscription.id, to + HOUR).discounts == []

    assert totals(town, subscription.id) == [7500, 7500, 7500, 10000, 10000]
    assert town.subscription(subscription.id).discounts == []
    shown = town.client.v1.invoices.retrieve(
        town.invoices(subscription.id)[0].id, {"expand": ["discounts.source.coupon"]}
    )
    [expanded] = shown.discounts
    assert not isinstance(expanded, str)
    assert (day(expanded.start), day(expanded.end)) == ("2026-01-01", "2026-04-01")
    assert not isinstance(expanded.source.coupon, str | None)
    assert expanded.source.coupon.times_redeemed == 1


def test_an_amount_off_once(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    welcome = coupon(town, amount_off=500, currency="usd", duration="once")
    subscription = town.subscribe(
        customer, fee(town, 1000, "One"), fee(town, 2000, "Two"), discounts=[{"coupon": welcome}]
    )
    [first] = town.invoices(subscription.id)
    assert (first.subtotal, first.total, first.amount_paid) == (3000, 2500, 2500)
    assert [
        (line.amount, [each.amount for each in line.discount_amounts or []])
        for line in first.lines.data
    ] == [(2000, [333]), (1000, [167])]
    assert town.subscription(subscription.id).discounts == []

    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, subscription.id) == [2500, 3000]
    said = [each.type for each in town.events() if each.type.startswith("customer.discount")]
    assert said == ["customer.discount.created", "customer.discount.deleted"]


def test_all_of_it_off_needs_no_payment(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, card=None)
    free = coupon(town, percent_off=100, duration="once")
    subscription = town.subscribe(customer, fee(town), discounts=[{"coupon": free}])
    [first] = town.invoices(subscription.id)
    assert (subscription.status, first.status, first.amount_due) == ("active", "paid", 0)

    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    assert totals(town, subscription.id) == [0, 10000]


def test_a_voided_invoice_does_not_give_a_discount_back(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, "pm_card_chargeCustomerFail")
    once = coupon(town, percent_off=50, duration="once")
    subscription = town.subscribe(
        customer,
        fee(town),
        discounts=[{"coupon": once}],
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.advance(clock, JANUARY + HOUR)
    [first] = town.invoices(subscription.id)
    assert (first.status, first.total) == ("open", 5000)
    town.client.v1.invoices.void_invoice(first.id)

    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, subscription.id) == [5000, 10000]


def test_a_code_for_new_customers_with_a_minimum(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    tenth = coupon(town, percent_off=10, duration="forever")
    code = town.client.v1.promotion_codes.create(
        {
            "promotion": {"type": "coupon", "coupon": tenth},
            "code": "WELCOME",
            "max_redemptions": 2,
            "restrictions": {
                "first_time_transaction": True,
                "minimum_amount": 5000,
                "minimum_amount_currency": "usd",
            },
        }
    )
    cheap, dear = fee(town, 4999), fee(town, 5000)
    with pytest.raises(stripe.InvalidRequestError, match=r"less than \$50.00") as refused:
        town.subscribe(customer, cheap, discounts=[{"promotion_code": code.id}])
    assert refused.value.param == "discounts[0][promotion_code]"

    subscription = town.subscribe(customer, dear, discounts=[{"promotion_code": code.id}])
    assert billed_as_previewed(town, clock, subscription.id, FEBRUARY + HOUR).total == 4500
    with pytest.raises(stripe.InvalidRequestError, match="prior transactions"):
        town.subscribe(customer, dear, discounts=[{"promotion_code": code.id}])

    [found] = town.client.v1.promotion_codes.list({"code": "welcome", "active": True}).data
    assert (found.id, found.times_redeemed) == (code.id, 1)
    town.subscribe(town.customer(clock), dear, discounts=[{"promotion_code": code.id}])
    assert not town.client.v1.promotion_codes.retrieve(code.id).active
    with pytest.raises(stripe.InvalidRequestError, match="as often as it can be"):
        town.subscribe(town.customer(clock), dear, discounts=[{"promotion_code": code.id}])


def test_a_coupon_of_one_product(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    seats, calls = fee(town, 3000, "Seats"), town.metered(unit_amount=2)
    product = town.client.v1.prices.retrieve(calls).product
    usage_only = coupon(
        town, percent_off=50, duration="forever", applies_to={"products": [product]}
    )
    subscription = town.subscribe(customer, seats, calls, discounts=[{"coupon": usage_only}])
    town.use(customer, "1000")
    invoice = billed_as_previewed(town, clock, subscription.id, FEBRUARY + HOUR)
    assert (invoice.subtotal, invoice.total) == (5000, 4000)
    assert totals(town, subscription.id) == [3000, 4000]
    assert town.client.v1.coupons.retrieve(
        usage_only, {"expand": ["applies_to"]}
    ).applies_to.products == [product]


def test_a_discount_of_one_item_is_in_the_subtotal(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    half, tenth = (coupon(town, percent_off=each, duration="forever") for each in (50, 10))
    subscription = town.client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [
                {"price": fee(town, 1000, "One"), "discounts": [{"coupon": half}]},
                {"price": fee(town, 2000, "Two")},
            ],
            "discounts": [{"coupon": tenth}],
        }
    )
    invoice = billed_as_previewed(town, clock, subscription.id, FEBRUARY + HOUR)
    assert (invoice.subtotal, invoice.total) == (2500, 2250)
    assert totals(town, subscription.id) == [2250, 2250]


def test_late_usage_is_discounted_too(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    tenth = coupon(town, percent_off=10, duration="forever")
    subscription = town.subscribe(
        customer, town.metered(unit_amount=10), discounts=[{"coupon": tenth}]
    )
    town.use(customer, "100")
    town.advance(clock, FEBRUARY)
    [renewal] = town.invoices(subscription.id)
    assert (renewal.status, renewal.total) == ("draft", 900)
    town.use(customer, "100", timestamp=FEBRUARY - HOUR)
    town.advance(clock, FEBRUARY + HOUR)
    [renewal] = town.invoices(subscription.id)
    assert (renewal.status, renewal.subtotal, renewal.total) == ("paid", 2000, 1800)


def test_a_customers_discount_is_for_what_has_none_of_its_own(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = fee(town)
    tenth = coupon(town, percent_off=10, duration="forever")
    half = coupon(town, percent_off=50, duration="forever")
    updated = town.client.v1.customers.update(customer, {"coupon": tenth})  # type: ignore[typeddict-unknown-key]
    assert updated.discount is not None
    assert updated.discount.source.coupon == tenth
    plain = town.subscribe(customer, price)
    own = town.subscribe(customer, price, discounts=[{"coupon": half}])
    billed_as_previewed(town, clock, plain.id, FEBRUARY + HOUR)
    assert (totals(town, plain.id), totals(town, own.id)) == ([9000, 9000], [5000, 5000])

    deleted = town.client.v1.customers.delete_discount(customer)
    assert deleted.deleted
    town.client.v1.subscriptions.delete_discount(own.id)
    assert town.client.v1.customers.retrieve(customer).discount is None
    town.advance(clock, MARCH + HOUR)
    assert totals(town, plain.id)[-1] == totals(town, own.id)[-1] == 10000
    with pytest.raises(stripe.InvalidRequestError, match="No active discount"):
        town.client.v1.subscriptions.delete_discount(own.id)


def test_a_customers_discount_for_once_is_on_one_invoice_of_two(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = fee(town)
    both = [town.subscribe(customer, price) for _ in range(2)]
    once = coupon(town, percent_off=50, duration="once")
    town.client.v1.customers.update(customer, {"coupon": once})  # type: ignore[typeddict-unknown-key]
    town.advance(clock, FEBRUARY + HOUR)
    billed = [totals(town, each.id)[-1] for each in both]
    assert sorted(billed) == [5000, 10000]
    assert town.client.v1.customers.retrieve(customer).discount is None
    town.advance(clock, MARCH + HOUR)
    assert [totals(town, each.id)[-1] for each in both] == [10000, 10000]


def test_discounts_are_given_changed_and_taken_away_between_renewals(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    tenth, half = (coupon(town, percent_off=each, duration="forever") for each in (10, 50))
    subscription = town.subscribe(customer, fee(town))
    update = town.client.v1.subscriptions.update
    given = update(subscription.id, {"discounts": [{"coupon": tenth}]})
    again = update(subscription.id, {"discounts": [{"coupon": tenth}]})
    assert given.discounts == again.discounts, "it is the one that was there"
    town.advance(clock, FEBRUARY + HOUR)
    update(
        subscription.id, {"discounts": [{"discount": str(given.discounts[0])}, {"coupon": half}]}
    )
    town.advance(clock, MARCH + HOUR)
    assert update(subscription.id, {"discounts": ""}).discounts == []
    town.advance(clock, APRIL + HOUR)
    assert totals(town, subscription.id) == [10000, 9000, 4500, 10000]
    assert town.client.v1.coupons.retrieve(tenth).times_redeemed == 1


def test_items_are_given_discounts_and_tax_rates_of_their_own(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    half, rate = coupon(town, percent_off=50, duration="forever"), tax(town, 10)
    subscription = town.subscribe(customer, fee(town, 1000, "One"))
    [item] = subscription["items"].data
    town.client.v1.subscription_items.update(
        item.id, {"discounts": [{"coupon": half}], "tax_rates": [rate]}
    )
    town.advance(clock, FEBRUARY + HOUR)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.client.v1.subscription_items.update(item.id, {"discounts": [{"coupon": "none"}]})
    assert refused.value.param == "discounts[0][coupon]"
    changed = town.client.v1.subscriptions.update(
        subscription.id,
        {
            "items": [
                {"id": item.id, "discounts": ""},
                {"price": fee(town, 2000, "Two"), "discounts": [{"coupon": half}]},
            ],
            "proration_behavior": "none",
        },
    )
    assert [len(each.discounts) for each in changed["items"].data] == [0, 1]
    town.advance(clock, MARCH + HOUR)
    assert totals(town, subscription.id) == [1000, 550, 1100 + 1000]


def test_a_deleted_coupon_is_redeemed_no_more_and_its_discounts_go_on(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = fee(town)
    tenth = coupon(town, percent_off=10, duration="forever")
    subscription = town.subscribe(customer, price, discounts=[{"coupon": tenth}])
    town.client.v1.coupons.delete(tenth)
    with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
        town.subscribe(customer, price, discounts=[{"coupon": tenth}])
    town.advance(clock, FEBRUARY + HOUR)
    assert totals(town, subscription.id) == [9000, 9000]


# ─── Taxes ───────────────────────────────────────────────────────────────────────────────────


def test_tax_on_top_and_tax_within(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    on_top, within = tax(town, 8.875), tax(town, 19, inclusive=True)
    outside = town.subscribe(customer, fee(town), default_tax_rates=[on_top])
    inside = town.subscribe(customer, fee(town, 11900), default_tax_rates=[within])
    invoice = billed_as_previewed(town, clock, outside.id, FEBRUARY + HOUR)
    assert (invoice.subtotal, invoice.total, invoice.total_excluding_tax) == (10000, 10888, 10000)
    [shown] = invoice.total_taxes or []
    assert (shown.amount, shown.tax_behavior, shown.taxable_amount) == (888, "exclusive", 10000)
    assert [each.id for each in invoice.default_tax_rates] == [on_top]

    invoice = town.invoices(inside.id)[-1]
    assert (invoice.subtotal, invoice.total, invoice.total_excluding_tax) == (11900, 11900, 10000)
    assert invoice.subtotal_excluding_tax == 10000
    [line] = invoice.lines.data
    assert line.taxes is not None
    assert (line.taxes[0].amount, line.taxes[0].tax_behavior) == (1900, "inclusive")


def test_both_at_once_after_a_discount(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    half = coupon(town, percent_off=50, duration="forever")
    rates = [tax(town, 10, inclusive=True), tax(town, 5)]
    subscription = town.subscribe(
        customer, fee(town, 2200), default_tax_rates=rates, discounts=[{"coupon": half}]
    )
    invoice = billed_as_previewed(town, clock, subscription.id, FEBRUARY + HOUR)
    assert invoice.total_taxes is not None
    assert [each.amount for each in invoice.total_taxes] == [100, 50]
    assert (invoice.total, invoice.total_excluding_tax, invoice.amount_paid) == (1150, 1000, 1150)


def test_an_items_own_rate_and_customers_who_are_exempt(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    default, reduced = tax(town, 20), tax(town, 7)
    subscription = town.client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [
                {"price": fee(town, 1000, "Books"), "tax_rates": [reduced]},
                {"price": fee(town, 1000, "Films")},
            ],
            "default_tax_rates": [default],
        }
    )
    assert [each.id for each in subscription["items"].data[0].tax_rates] == [reduced]
    assert totals(town, subscription.id) == [2000 + 70 + 200]

    for exempt, reason, to in (
        ("exempt", "customer_exempt", FEBRUARY),
        ("reverse", "reverse_charge", MARCH),
    ):
        town.client.v1.customers.update(customer, {"tax_exempt": exempt})  # type: ignore[typeddict-item]
        invoice = billed_as_previewed(town, clock, subscription.id, to + HOUR)
        assert invoice.total == 2000
        assert {each.taxability_reason for each in invoice.total_taxes or []} == {reason}

    town.client.v1.customers.update(customer, {"tax_exempt": "none"})
    town.client.v1.tax_rates.update(default, {"active": False})
    town.advance(clock, APRIL + HOUR)
    assert totals(town, subscription.id)[-1] == 2270
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        town.subscribe(customer, fee(town), default_tax_rates=[default])


def test_a_new_subscription_previewed_with_all_of_it(town: Town) -> None:
    customer = town.customer(town.clock(at("2026-01-31")))
    price = fee(town, 9999)
    third = coupon(town, percent_off=33.3333, duration="once", max_redemptions=1)
    rate = tax(town, 19.25)
    asked: dict[str, Any] = {
        "items": [{"price": price, "discounts": [{"coupon": third}], "tax_rates": [rate]}]
    }
    seen = town.client.v1.invoices.create_preview(
        {"customer": customer, "subscription_details": asked}  # type: ignore[typeddict-item]
    )
    subscription = town.client.v1.subscriptions.create({"customer": customer, **asked})  # type: ignore[typeddict-item]
    [invoice] = town.invoices(subscription.id)
    assert (invoice.subtotal, invoice.total) == (6666, 7949)
    assert (seen.subtotal, seen.total) == (6666, 7949)
    assert not town.client.v1.coupons.retrieve(third).valid
