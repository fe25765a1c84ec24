"""Prices that are made with what is sold at them, and what is bought once with a subscription."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def product(town: Town, name: str) -> str:
    return town.client.v1.products.create({"name": name}).id


def data(product_id: str, amount: int = 3100, **more: Any) -> dict[str, Any]:
    given = {"currency": "usd", "product": product_id, "unit_amount": amount}
    return given | {"recurring": {"interval": "month"}} | more


def once(product_id: str, amount: int) -> dict[str, Any]:
    return {"currency": "usd", "product": product_id, "unit_amount": amount}


def prices(town: Town) -> int:
    return len(town.client.v1.prices.list({"limit": 100}).data)


def foretell(town: Town, subscription_id: str, **details: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(
        {"subscription": subscription_id, "subscription_details": details}  # type: ignore[typeddict-item]
    )


def test_a_subscription_to_prices_of_its_own(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    fee, support = product(town, "Fee"), product(town, "Support")
    asked: Any = {"items": [{"price_data": data(fee)}]}
    upcoming = town.client.v1.invoices.create_preview(
        {"customer": customer, "subscription_details": asked}
    )
    assert prices(town) == 0  # a preview leaves nothing behind
    subscription = town.subscribe(customer, **asked)
    [item] = subscription["items"].data
    assert (item.price.product, item.price.unit_amount) == (fee, 3100)
    assert lines(town.invoices(subscription.id)[0]) == lines(upcoming)

    town.advance(clock, JANUARY + 21 * DAY)
    changed: Any = {"items": [{"id": item.id, "price_data": data(fee, 6200)}]}
    later = foretell(town, subscription.id, **changed)
    assert prices(town) == 1
    town.client.v1.subscriptions.update(subscription.id, changed)
    added = town.client.v1.subscription_items.create(
        {"subscription": subscription.id, "price_data": data(support, 310)}  # type: ignore[typeddict-item]
    )
    assert added.price.product == support
    again = town.client.v1.subscription_items.update(
        added.id,
        {"price_data": data(support, 620)},  # type: ignore[typeddict-item]
    )
    assert again.price.unit_amount == 620
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [
        ("Remaining time on Support after 22 Jan 2026", 200),
        ("Unused time on Support after 22 Jan 2026", -100),
        ("Remaining time on Support after 22 Jan 2026", 100),
        ("Remaining time on Fee after 22 Jan 2026", 2000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("1 × Support (at $6.20 / month)", 620),
        ("1 × Fee (at $62.00 / month)", 6200),
    ]
    assert lines(renewal)[3:5] == lines(later)[:2]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"items": [{"quantity": 2}]}, "items[0][price]"),
        ({"items": [{"price": "PRICE", "price_data": data("PRODUCT")}]}, "items[0][price_data]"),
        ({"items": [{"price_data": data("prod_no")}]}, "items[0][price_data][product]"),
        (
            {"items": [{"price_data": data("PRODUCT", unit_amount=None)}]},
            "items[0][price_data][unit_amount]",
        ),
        (
            {"items": [{"price_data": once("PRODUCT", 5)}]},
            "items[0][price_data][recurring]",
        ),
        (
            {"items": [{"price": "PRICE"}], "add_invoice_items": [{"quantity": 2}]},
            "add_invoice_items[0][price]",
        ),
        (
            {"items": [{"price": "PRICE"}], "add_invoice_items": [{"price": "PRICE"}]},
            "add_invoice_items[0][price]",
        ),
        (
            {
                "items": [{"price": "PRICE"}],
                "add_invoice_items": [
                    {"price_data": once("PRODUCT", 5), "discounts": [{"coupon": "no"}]}
                ],
            },
            "add_invoice_items[0][discounts][0][coupon]",
        ),
    ],
    ids=[
        "neither",
        "both",
        "no product",
        "no amount",
        "not recurring",
        "an extra without a price",
        "an extra that recurs",
        "a discount of none",
    ],
)
def test_what_is_refused(town: Town, asked: Any, param: str) -> None:
    customer = town.customer(None)
    names = {
        "PRODUCT": product(town, "Fee"),
        "PRICE": town.price(unit_amount=1, product_data={"name": "Fee"}),
    }

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(each) for key, each in value.items() if each is not None}
        if isinstance(value, list):
            return [named(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.subscribe(customer, **named(asked))
    assert refused.value.param == param
    assert prices(town) == 1


def test_what_is_bought_once_is_on_the_first_invoice(town: Town) -> None:
    """With discounts and taxes of its own."""
    clock = town.clock()
    customer = town.customer(clock)
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "once"}).id
    tax = town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 20, "inclusive": False}
    ).id
    fee = town.price(unit_amount=3100, product_data={"name": "Fee"})
    setup = town.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Setup"}}
    ).id
    subscription = town.subscribe(
        customer,
        fee,
        add_invoice_items=[
            {"price": setup, "quantity": 2, "discounts": [{"coupon": half}], "tax_rates": [tax]},
            {
                "price_data": once(product(town, "Training"), 700),
                "metadata": {"room": "4"},
                "period": {
                    "start": {"type": "now"},
                    "end": {"type": "min_item_period_end"},
                },
            },
        ],
    )
    [first] = town.invoices(subscription.id)
    assert lines(first) == [
        ("Training", 700),
        ("Setup", 1000),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]
    training, bought, _ = first.lines.data
    assert (training.period.start, training.period.end) == (JANUARY, FEBRUARY)
    assert training.metadata["room"] == "4"
    assert [each.amount for each in bought.discount_amounts or []] == [500]
    assert [each.amount for each in bought.taxes or []] == [100]
    assert (first.total, first.status) == (700 + 500 + 100 + 3100, "paid")
    items = town.client.v1.invoice_items.list({"customer": customer}).data
    assert {each.invoice for each in items} == {first.id}
    assert sum(each.type == "invoiceitem.created" for each in town.events()) == 2
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("1 × Fee (at $31.00 / month)", 3100)]


@pytest.mark.parametrize("trial", [False, True], ids=["metered", "in a trial"])
def test_what_is_bought_once_is_due_though_nothing_else_is(town: Town, trial: bool) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    more: Any = {"trial_period_days": 7} if trial else {}
    subscription = town.subscribe(
        customer,
        town.metered(unit_amount=5),
        add_invoice_items=[{"price_data": once(product(town, "Setup"), 500)}],
        **more,
    )
    [first] = town.invoices(subscription.id)
    assert (first.total, first.status) == (500, "paid")
    assert town.subscription(subscription.id).status == ("trialing" if trial else "active")


def test_what_is_added_to_a_running_subscription_has_its_own_discount_and_tax(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    tax = town.client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 20, "inclusive": False}
    ).id
    subscription = town.subscribe(
        customer, town.price(unit_amount=3100, product_data={"name": "Fee"})
    )
    extra: Any = {
        "price_data": once(product(town, "Setup"), 500),
        "discounts": [{"coupon": half}],
        "tax_rates": [tax],
    }
    town.client.v1.subscriptions.update(subscription.id, {"add_invoice_items": [extra]})
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [("Setup", 500), ("1 × Fee (at $31.00 / month)", 3100)]
    assert renewal.total == 250 + 50 + 3100
