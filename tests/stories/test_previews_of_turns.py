"""Previews of beginnings, ends, pauses and extras: each is then done, and billed as previewed."""

from typing import Any

import pytest
import stripe
from previewing import assert_as_previewed, upcoming
from town import DAY, HOUR, Town, at, day

JANUARY, FEBRUARY = at("2026-01-01"), at("2026-02-01")
ELEVENTH = at("2026-01-11")


def fee(town: Town, amount: int = 3100, **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def preview(town: Town, **asked: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(asked)  # type: ignore[arg-type]


def nothing_upcoming(town: Town, **asked: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        preview(town, **asked)
    assert refused.value.code == "invoice_upcoming_none"


def amounts(invoice: stripe.Invoice) -> list[int]:
    return sorted(line.amount for line in invoice.lines.data)


# ─── Beginnings ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize(
    ("details", "total"),
    [
        ({"trial_end": at("2026-04-10")}, 0),
        ({"trial_end": at("2026-04-10"), "billing_cycle_anchor": at("2026-05-01")}, 0),
        ({"start_date": at("2026-02-15")}, None),
        ({"start_date": at("2026-02-15"), "billing_cycle_anchor": at("2026-04-01")}, None),
        ({"billing_cycle_anchor": at("2026-03-20"), "cancel_at": at("2026-06-01")}, None),
        ({"cancel_at": "max_period_end"}, 3100),
        ({"cancel_at_period_end": True}, 3100),
    ],
    ids=[
        "a trial",
        "a trial before an anchor",
        "the past",
        "the past until an anchor",
        "an anchor and an end",
        "an end with the period",
        "an end with the period in so many words",
    ],
)
def test_a_beginning_costs_what_its_preview_said(
    town: Town, details: dict[str, Any], total: int | None, mode: str
) -> None:
    clock = town.clock(at("2026-03-10"))
    customer = town.customer(clock)
    calls = town.metered(unit_amount=5)
    town.use(customer, "10", timestamp=at("2026-02-20"))
    asked = {"items": [{"price": fee(town)}, {"price": calls}], "billing_mode": {"type": mode}}
    expected = preview(town, customer=customer, subscription_details={**asked, **details})
    names = {"start_date": "backdate_start_date"}
    given = {names.get(name, name): value for name, value in details.items()}
    begun = town.subscribe(customer, **asked, **given)
    [first] = town.invoices(begun.id)
    assert_as_previewed(first, expected, begins=True)
    assert total in (None, first.total)


# ─── Ends ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize(
    ("details", "ends"),
    [
        ({"cancel_at": at("2026-01-26")}, "2026-01-26"),
        ({"cancel_at": at("2026-01-26"), "proration_behavior": "none"}, "2026-01-26"),
        ({"cancel_at": "min_period_end"}, "2026-02-01"),
        ({"cancel_at_period_end": True}, "2026-02-01"),
    ],
    ids=["at a date", "at a date without prorations", "with the first period", "with the period"],
)
def test_an_end_later_is_as_previewed(
    town: Town, details: dict[str, Any], ends: str, mode: str
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), billing_mode={"type": mode}
    )
    town.use(customer, "100")
    town.advance(clock, ELEVENTH)
    expected = preview(town, subscription=begun.id, subscription_details=details)
    assert day(expected.created) == ends
    assert town.subscription(begun.id).cancel_at is None  # to ask changes nothing
    town.client.v1.subscriptions.update(begun.id, details)  # type: ignore[arg-type]
    town.advance(clock, at(ends) + HOUR)
    assert_as_previewed(town.invoices(begun.id)[-1], expected)
    assert town.subscription(begun.id).status == "canceled"


@pytest.mark.parametrize(
    "back",
    [{"cancel_at": ""}, {"cancel_at_period_end": False}],
    ids=["cancel_at", "cancel_at_period_end"],
)
@pytest.mark.parametrize(
    "asked",
    [{"cancel_at": at("2026-01-26")}, {"cancel_at_period_end": True}],
    ids=["at_a_date", "with_the_period"],
)
def test_an_end_taken_back_is_as_previewed(
    town: Town, asked: dict[str, Any], back: dict[str, Any]
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5), **asked)
    town.use(customer, "100")
    expected = preview(town, subscription=begun.id, subscription_details=back)
    assert amounts(expected) == [500, 3100]
    town.client.v1.subscriptions.update(begun.id, back)  # type: ignore[arg-type]
    town.advance(clock, FEBRUARY + HOUR)
    assert_as_previewed(town.invoices(begun.id)[-1], expected)


@pytest.mark.parametrize("prorate", [True, False])
def test_an_end_now_is_as_previewed(town: Town, prorate: bool) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.use(customer, "100")
    town.advance(clock, ELEVENTH)
    behavior = "create_prorations" if prorate else "none"
    details = {"cancel_now": True, "proration_behavior": behavior}
    expected = preview(town, subscription=begun.id, subscription_details=details)
    town.client.v1.subscriptions.cancel(begun.id, {"invoice_now": True, "prorate": prorate})
    last = town.invoices(begun.id)[-1]
    assert_as_previewed(last, expected)
    assert amounts(last) == ([-2100, 500] if prorate else [500])


# ─── Pauses ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize("anchor", ["now", "unchanged"])
def test_a_pause_and_its_end_are_as_previewed(town: Town, mode: str, anchor: str) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer, fee(town), town.metered(unit_amount=5), billing_mode={"type": mode}
    )
    subscriptions = town.client.v1.subscriptions
    town.use(customer, "100")
    town.advance(clock, ELEVENTH)
    asked: Any = {"invoicing_behavior": "invoice"}
    expected = preview(town, subscription=begun.id, subscription_details={"pause": asked})
    assert town.subscription(begun.id).status == "active"
    subscriptions.pause(begun.id, asked)
    paid_back = town.invoices(begun.id)[-1]
    assert_as_previewed(paid_back, expected)
    assert amounts(paid_back) == [-2100, 500]
    nothing_upcoming(town, subscription=begun.id)

    town.advance(clock, at("2026-03-11"))
    how: Any = {
        "billing_cycle_anchor": {"type": anchor},
        "proration_behavior": "always_invoice",
    }
    details = {**how, "resume_at": "now"}
    expected = preview(town, subscription=begun.id, subscription_details=details)
    assert town.subscription(begun.id).status == "paused"
    assert subscriptions.resume(begun.id, how).status == "active"
    again = town.invoices(begun.id)[-1]
    assert_as_previewed(again, expected)
    assert amounts(again) == [3100 if anchor == "now" else 2100]
    renewal = upcoming(town, begun.id)
    assert renewal is not None
    assert day(renewal.created) == ("2026-04-11" if anchor == "now" else "2026-04-01")
    town.advance(clock, renewal.created + HOUR)
    assert_as_previewed(town.invoices(begun.id)[-1], renewal)


def test_a_pause_that_invoices_nothing_has_no_preview(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, ELEVENTH)
    waits = {"pause": {"invoicing_behavior": "pending_invoice_item"}}
    nothing_upcoming(town, subscription=begun.id, subscription_details=waits)
    with pytest.raises(stripe.InvalidRequestError, match="only resume subscriptions that are"):
        preview(town, subscription=begun.id, subscription_details={"resume_at": "now"})


# ─── Invoice items ───────────────────────────────────────────────────────────────────────────


def test_invoice_items_are_previewed_on_a_renewal_as_they_would_be_billed(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.use(customer, "100")
    tax = town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 10, "inclusive": False}
    )
    coupon = town.client.v1.coupons.create({"percent_off": 50, "duration": "once"})
    once = town.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 700, "product_data": {"name": "Setup"}}
    )
    there = town.client.v1.invoice_items.create(
        {"customer": customer, "amount": 1000, "currency": "usd", "description": "Help"}
    )
    items: list[Any] = [
        {"price": once.id, "quantity": 2, "tax_rates": [tax.id]},
        {
            "amount": 400,
            "currency": "usd",
            "description": "More",
            "discounts": [{"coupon": coupon.id}],
        },
        {"invoiceitem": there.id, "amount": 1200, "description": "Much help"},
    ]
    expected = preview(town, subscription=begun.id, invoice_items=items)
    assert expected.subtotal == 1400 + 200 + 1200 + 500 + 3100
    assert expected.total == expected.subtotal + 140
    pending = town.client.v1.invoice_items.list({"customer": customer, "pending": True}).data
    assert [(each.id, each.amount) for each in pending] == [(there.id, 1000)]

    for given in items:
        item_id = given.pop("invoiceitem", None)
        if item_id is not None:
            town.client.v1.invoice_items.update(item_id, given)
            continue
        if price := given.pop("price", None):
            given["pricing"] = {"price": price}
        town.client.v1.invoice_items.create({"customer": customer, **given})
    town.advance(clock, FEBRUARY + HOUR)
    invoice = town.invoices(begun.id)[-1]
    assert (invoice.subtotal, invoice.total) == (expected.subtotal, expected.total)
    assert [(line.description, line.amount) for line in invoice.lines.data[-2:]] == [
        (line.description, line.amount) for line in expected.lines.data[-2:]
    ]
    assert amounts(invoice) == amounts(expected)


def test_invoice_items_go_with_changes_beginnings_and_ends(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    extra = [{"amount": 900, "currency": "usd", "description": "Extra"}]
    items = [{"price": fee(town)}]
    first = preview(
        town,
        customer=customer,
        subscription_details={"items": items},
        invoice_items=[{**extra[0], "currency": "usd"}],
    )
    assert amounts(first) == [900, 3100]
    begun = town.subscribe(customer, items=items)
    town.advance(clock, ELEVENTH)
    seats = [{"id": begun["items"].data[0].id, "quantity": 2}]
    for details, expected in (
        ({}, [900, 3100]),
        ({"items": seats, "proration_behavior": "always_invoice"}, [-2100, 900, 4200]),
        ({"items": seats}, [-2100, 900, 4200, 6200]),
        ({"cancel_now": True}, [-2100, 900]),
        ({"billing_cycle_anchor": {"type": "now"}}, [-2100, 900, 3100]),
        ({"pause": {"invoicing_behavior": "invoice"}}, [-2100, 900]),
    ):
        asked = {"subscription": begun.id, "subscription_details": details}
        assert amounts(preview(town, **asked, invoice_items=extra)) == expected, details
    assert amounts(preview(town, customer=customer, invoice_items=extra)) == [900, 3100]
    assert town.client.v1.invoice_items.list({"customer": customer}).data == []


# ─── What cannot be previewed ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"subscription_details": {"start_date": JANUARY}}, "subscription_details[start_date]"),
        (
            {"subscription_details": {"billing_cycle_anchor": FEBRUARY}},
            "subscription_details[billing_cycle_anchor]",
        ),
        (
            {"subscription_details": {"cancel_now": True, "resume_at": "now"}},
            "subscription_details[resume_at]",
        ),
        (
            {"subscription_details": {"cancel_at": JANUARY - DAY}},
            "subscription_details[cancel_at]",
        ),
        (
            {"subscription_details": {"cancel_at": FEBRUARY, "cancel_at_period_end": True}},
            "subscription_details[cancel_at]",
        ),
        (
            {"subscription_details": {"trial_period_days": 3}},
            "subscription_details[trial_period_days]",
        ),
        ({"invoice_items": [{"currency": "usd"}]}, "invoice_items[0][amount]"),
        (
            {"invoice_items": [{"amount": 1, "unit_amount": 2}]},
            "invoice_items[0][unit_amount]",
        ),
        (
            {"invoice_items": [{"invoiceitem": "ii_none", "amount": 1}]},
            "invoice_items[0][invoiceitem]",
        ),
        ({"invoice_items": [{"amount": 1, "currency": "eur"}]}, "invoice_items[0][currency]"),
        ({"invoice_items": [{"price": "price_none"}]}, "invoice_items[0][pricing][price]"),
    ],
    ids=[
        "a start of what has begun",
        "an anchor of what has one",
        "an end and a resumption",
        "an end in the past",
        "two ends",
        "days of a trial",
        "an item of nothing",
        "an item of two amounts",
        "an item that is not there",
        "an item in another currency",
        "an item at no price",
    ],
)
def test_what_makes_no_sense_is_refused(town: Town, asked: dict[str, Any], param: str) -> None:
    begun = town.subscribe(town.customer(town.clock(JANUARY)), fee(town))
    with pytest.raises(stripe.InvalidRequestError) as refused:
        preview(town, subscription=begun.id, **asked)
    assert refused.value.param == param
