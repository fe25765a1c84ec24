"""Metered prices that change within a period, and metered items that come and go."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
CLASSIC = {"type": "classic"}


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def windows(invoice: stripe.Invoice) -> list[tuple[int, int]]:
    return [(line.period.start, line.period.end) for line in invoice.lines.data]


def change(town: Town, subscription_id: str, **asked: Any) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


def two_prices(town: Town) -> tuple[str, str]:
    """Of the same meter: five cents a call, and seven."""
    old = town.metered(unit_amount=5, product_data={"name": "Calls"})
    meter = town.client.v1.prices.retrieve(old).recurring.meter  # type: ignore[union-attr]
    new = town.price(
        unit_amount=7,
        product_data={"name": "Calls"},
        recurring={"usage_type": "metered", "meter": meter},
    )
    return old, new


def switch(town: Town, *, mode: str = "flexible", **asked: Any) -> tuple[str, stripe.Subscription]:
    """A thousand calls at the old price, then the change, and five hundred calls after it."""
    clock = town.clock()
    customer = town.customer(clock)
    old, new = two_prices(town)
    subscription = town.subscribe(customer, old, billing_mode={"type": mode})
    [item] = subscription["items"].data
    town.use(customer, "1000")
    town.advance(clock, JANUARY + 10 * DAY)
    changed = change(town, subscription.id, items=[{"id": item.id, "price": new}], **asked)
    assert changed["items"].data[0].price.id == new
    town.advance(clock, JANUARY + 10 * DAY + HOUR)
    town.use(customer, "500")
    return clock, changed


def test_each_price_bills_what_was_used_in_its_time(town: Town) -> None:
    clock, subscription = switch(town)
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [
        ("1000 × Calls (at $0.05 / month)", 5000),
        ("500 × Calls (at $0.07 / month)", 3500),
    ]
    middle = JANUARY + 10 * DAY
    assert windows(renewal) == [(JANUARY, middle), (middle, FEBRUARY)]
    town.advance(clock, MARCH + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("0 × Calls (at $0.07 / month)", 0)]


def test_usage_at_the_old_price_can_be_invoiced_at_once(town: Town) -> None:
    clock, subscription = switch(town, proration_behavior="always_invoice")
    [update] = town.invoices(subscription.id)
    assert lines(update) == [("1000 × Calls (at $0.05 / month)", 5000)]
    assert (update.status, update.billing_reason) == ("paid", "subscription_update")
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("500 × Calls (at $0.07 / month)", 3500)]


@pytest.mark.parametrize(
    ("mode", "asked"),
    [("flexible", {"proration_behavior": "none"}), ("classic", {})],
    ids=["without prorations", "in classic mode"],
)
def test_usage_before_the_change_is_given_away(
    town: Town, mode: str, asked: dict[str, Any]
) -> None:
    clock, subscription = switch(town, mode=mode, **asked)
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("500 × Calls (at $0.07 / month)", 3500)]


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_the_old_price_can_last_until_the_period_ends(town: Town, mode: str) -> None:
    clock, subscription = switch(town, mode=mode, usage_pricing="grandfather")
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("1500 × Calls (at $0.05 / month)", 7500)]
    town.use(subscription.customer, "10")  # type: ignore[arg-type]
    town.advance(clock, MARCH + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("10 × Calls (at $0.07 / month)", 70)]


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_the_new_price_can_hold_from_the_periods_start(town: Town, mode: str) -> None:
    clock, subscription = switch(town, mode=mode, usage_pricing="rerate")
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [("1500 × Calls (at $0.07 / month)", 10500)]
    assert windows(renewal) == [(JANUARY, FEBRUARY)]


def test_late_usage_of_a_settled_window_is_lost(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    old, new = two_prices(town)
    subscription = town.subscribe(customer, old)
    [item] = subscription["items"].data
    town.use(customer, "100")
    town.advance(clock, JANUARY + 10 * DAY)
    change(town, subscription.id, items=[{"id": item.id, "price": new}])
    town.use(customer, "9", timestamp=JANUARY + 9 * DAY)
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [
        ("100 × Calls (at $0.05 / month)", 500),
        ("0 × Calls (at $0.07 / month)", 0),
    ]


def test_usage_counts_from_the_moment_an_item_is_added(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    fee = town.price(unit_amount=1000, product_data={"name": "Fee"})
    calls = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, fee)
    town.use(customer, "100")
    town.advance(clock, JANUARY + 10 * DAY)
    town.client.v1.subscription_items.create({"subscription": subscription.id, "price": calls})
    town.advance(clock, JANUARY + 10 * DAY + HOUR)
    town.use(customer, "7")
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [
        ("7 × Calls (at $0.05 / month)", 35),
        ("1 × Fee (at $10.00 / month)", 1000),
    ]


@pytest.mark.parametrize(
    ("mode", "behavior", "billed"),
    [
        ("flexible", "create_prorations", [("100 × Calls (at $0.05 / month)", 500)]),
        ("flexible", "none", []),
        ("classic", "create_prorations", []),
    ],
    ids=["flexible", "flexible without prorations", "classic"],
)
def test_an_item_that_is_removed_leaves_its_usage(
    town: Town, mode: str, behavior: str, billed: list[tuple[str, int]]
) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    fee = town.price(unit_amount=1000, product_data={"name": "Fee"})
    calls = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, fee, calls, billing_mode={"type": mode})
    metered = subscription["items"].data[1]
    town.use(customer, "100")
    town.advance(clock, JANUARY + 10 * DAY)
    gone = town.client.v1.subscription_items.delete(
        metered.id,
        {"proration_behavior": behavior},  # type: ignore[typeddict-item]
    )
    assert gone.deleted
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [*billed, ("1 × Fee (at $10.00 / month)", 1000)]


def test_a_licence_can_become_metered_and_be_one_again(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    fee = town.price(unit_amount=3100, product_data={"name": "Fee"})
    calls = town.metered(unit_amount=5)
    subscription = town.subscribe(customer, fee)
    [item] = subscription["items"].data
    town.advance(clock, JANUARY + 10 * DAY)
    changed = change(town, subscription.id, items=[{"id": item.id, "price": calls}])
    assert changed["items"].data[0].quantity is None
    town.use(customer, "20")
    town.advance(clock, JANUARY + 20 * DAY)
    changed = change(town, subscription.id, items=[{"id": item.id, "price": fee, "quantity": 2}])
    assert changed["items"].data[0].quantity == 2
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [
        ("Remaining time on 2 × Fee after 21 Jan 2026", 2200),
        ("20 × Calls (at $0.05 / month)", 100),
        ("Unused time on Fee after 11 Jan 2026", -2100),
        ("2 × Fee (at $31.00 / month)", 6200),
    ]
