"""Changes that begin a period anew, are paid at once or not at all, and what their previews say."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
MIDDLE = JANUARY + 31 * DAY // 2
FEBRUARY = JANUARY + 31 * DAY


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def change(town: Town, subscription_id: str, **asked: Any) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


def preview(town: Town, subscription_id: str, **details: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(
        {"subscription": subscription_id, "subscription_details": details}  # type: ignore[typeddict-item]
    )


def fee(town: Town, amount: int, name: str = "Fee", **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": name}, **more)


def halfway(
    town: Town, *prices: str, card: str = "pm_card_visa", **more: Any
) -> tuple[str, str, stripe.Subscription]:
    """A clock in the middle of January, a customer, and what it subscribed to at the start."""
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, *prices, **more)
    town.advance(clock, MIDDLE)
    if card != "pm_card_visa":
        town.pays_with(customer, card)
    return clock, customer, subscription


def items_of(subscription: stripe.Subscription) -> list[str]:
    return [str(item.id) for item in subscription["items"].data]


# ─── The anchor ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("anchor", ["now", {"type": "now"}], ids=["a word", "an object"])
def test_a_new_anchor_bills_the_period_so_far_and_the_next(town: Town, anchor: Any) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town, 3100), town.metered(unit_amount=5))
    town.use(customer, "100")
    town.advance(clock, MIDDLE)
    upcoming = preview(town, subscription.id, billing_cycle_anchor={"type": "now"})

    changed = change(town, subscription.id, billing_cycle_anchor=anchor)

    assert changed.billing_cycle_anchor == MIDDLE
    assert {item.current_period_start for item in changed["items"].data} == {MIDDLE}
    _, update = town.invoices(subscription.id)
    assert (
        lines(update)
        == lines(upcoming)
        == [
            ("Unused time on Fee after 16 Jan 2026", -1550),
            ("100 × Calls (at $0.05 / month)", 500),
            ("1 × Fee (at $31.00 / month)", 3100),
        ]
    )
    assert (update.status, update.billing_reason) == ("paid", "subscription_update")
    assert (update.period_start, update.period_end) == (JANUARY, MIDDLE)
    town.advance(clock, MIDDLE + 31 * DAY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [
        ("0 × Calls (at $0.05 / month)", 0),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]


def test_classic_begins_anew_with_another_interval(town: Town) -> None:
    year = fee(town, 36500, "Year", recurring={"interval": "year"})
    _, _, subscription = halfway(town, fee(town, 3100), billing_mode={"type": "classic"})
    [item] = items_of(subscription)
    changed = change(town, subscription.id, items=[{"id": item, "price": year}])
    assert changed.billing_cycle_anchor == MIDDLE
    _, update = town.invoices(subscription.id)
    assert lines(update) == [
        ("Unused time on Fee after 16 Jan 2026", -1550),
        ("1 × Year (at $365.00 / year)", 36500),
    ]


def test_flexible_keeps_its_anchor_and_invoices_another_interval_at_once(town: Town) -> None:
    year = fee(town, 36500, "Year", recurring={"interval": "year"})
    _, _, subscription = halfway(town, fee(town, 3100))
    [item] = items_of(subscription)
    upcoming = preview(town, subscription.id, items=[{"id": item, "price": year}])
    changed = change(town, subscription.id, items=[{"id": item, "price": year}])
    assert changed.billing_cycle_anchor == JANUARY
    assert changed["items"].data[0].current_period_end == JANUARY + 365 * DAY
    _, update = town.invoices(subscription.id)
    assert (
        lines(update)
        == lines(upcoming)
        == [
            ("Remaining time on Year after 16 Jan 2026", 34950),
            ("Unused time on Fee after 16 Jan 2026", -1550),
        ]
    )


def test_what_was_free_is_invoiced_as_soon_as_it_costs(town: Town) -> None:
    _, _, subscription = halfway(town, fee(town, 0))
    [item] = items_of(subscription)
    change(town, subscription.id, items=[{"id": item, "price": fee(town, 3100)}])
    update = town.invoices(subscription.id)[-1]
    assert (update.billing_reason, update.total) == ("subscription_update", 1550)


# ─── Payment ─────────────────────────────────────────────────────────────────────────────────

DEAR: dict[str, Any] = {"proration_behavior": "always_invoice"}


def test_a_payment_that_fails_leaves_the_change_and_a_debt(town: Town) -> None:
    _, customer, subscription = halfway(town, fee(town, 3100), card="pm_card_chargeCustomerFail")
    [item] = items_of(subscription)
    changed = change(town, subscription.id, items=[{"id": item, "quantity": 3}], **DEAR)
    assert (changed.status, changed["items"].data[0].quantity) == ("past_due", 3)
    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(str(changed.latest_invoice))
    assert town.subscription(subscription.id).status == "active"


def test_a_payment_that_is_not_tried_leaves_it_past_due(town: Town) -> None:
    _, _, subscription = halfway(town, fee(town, 3100))
    [item] = items_of(subscription)
    changed = change(
        town,
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        payment_behavior="default_incomplete",
        **DEAR,
    )
    assert (changed.status, town.invoices(subscription.id)[-1].status) == ("past_due", "open")
    town.client.v1.invoices.pay(str(changed.latest_invoice))
    assert town.subscription(subscription.id).status == "active"


def test_a_failed_payment_can_be_an_error_that_changes_nothing(town: Town) -> None:
    clock, customer, subscription = halfway(
        town, fee(town, 3100), card="pm_card_chargeCustomerFail"
    )
    [item] = items_of(subscription)
    with pytest.raises(stripe.CardError) as failed:
        change(
            town,
            subscription.id,
            items=[{"id": item, "quantity": 3}],
            payment_behavior="error_if_incomplete",
            **DEAR,
        )
    assert failed.value.http_status == 402
    after = town.subscription(subscription.id)
    assert after.to_dict() == subscription.to_dict()
    assert town.invoices(subscription.id)[-1].status == "void"
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("1 × Fee (at $31.00 / month)", 3100)]


def test_a_change_can_wait_for_its_payment(town: Town) -> None:
    clock, customer, subscription = halfway(
        town, fee(town, 3100), card="pm_card_chargeCustomerFail"
    )
    [item] = items_of(subscription)
    waiting = change(
        town,
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        payment_behavior="pending_if_incomplete",
        **DEAR,
    )
    assert (waiting.status, waiting["items"].data[0].quantity) == ("active", 1)
    assert waiting.pending_update is not None
    assert waiting.pending_update.expires_at == MIDDLE + 23 * HOUR
    assert waiting.pending_update.subscription_items is not None
    assert [each.quantity for each in waiting.pending_update.subscription_items] == [3]

    town.pays_with(customer, "pm_card_visa")
    town.client.v1.invoices.pay(str(waiting.latest_invoice))

    applied = town.subscription(subscription.id)
    assert (applied.pending_update, applied["items"].data[0].quantity) == (None, 3)
    said = [each.type for each in town.events(subscription.id)]
    assert "customer.subscription.pending_update_applied" in said
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("3 × Fee (at $31.00 / month)", 9300)]


def test_a_change_that_waits_and_is_paid_at_once_is_made_at_once(town: Town) -> None:
    _, _, subscription = halfway(town, fee(town, 3100))
    [item] = items_of(subscription)
    changed = change(
        town,
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        payment_behavior="pending_if_incomplete",
        **DEAR,
    )
    assert (changed.pending_update, changed["items"].data[0].quantity) == (None, 3)


def test_a_change_waits_for_a_day_at_most(town: Town) -> None:
    clock, _, subscription = halfway(town, fee(town, 3100), card="pm_card_chargeCustomerFail")
    [item] = items_of(subscription)
    waiting = change(
        town,
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        payment_behavior="pending_if_incomplete",
        **DEAR,
    )
    town.advance(clock, MIDDLE + 23 * HOUR)
    after = town.subscription(subscription.id)
    assert (after.pending_update, after["items"].data[0].quantity) == (None, 1)
    assert town.client.v1.invoices.retrieve(str(waiting.latest_invoice)).status == "void"
    said = [each.type for each in town.events(subscription.id)]
    assert "customer.subscription.pending_update_expired" in said


def test_voiding_its_invoice_drops_the_change(town: Town) -> None:
    _, _, subscription = halfway(town, fee(town, 3100), card="pm_card_chargeCustomerFail")
    [item] = items_of(subscription)
    waiting = change(
        town,
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        payment_behavior="pending_if_incomplete",
        **DEAR,
    )
    town.client.v1.invoices.void_invoice(str(waiting.latest_invoice))
    after = town.subscription(subscription.id)
    assert (after.pending_update, after["items"].data[0].quantity) == (None, 1)


# ─── The end ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "billed"),
    [
        ({}, None),
        ({"invoice_now": True}, [("100 × Calls (at $0.05 / month)", 500)]),
        (
            {"invoice_now": True, "prorate": True},
            [
                ("Unused time on Fee after 16 Jan 2026", -1550),
                ("100 × Calls (at $0.05 / month)", 500),
            ],
        ),
        ({"prorate": True}, None),
    ],
    ids=["without anything", "invoiced", "invoiced and prorated", "prorated"],
)
def test_a_subscription_that_is_canceled_now(
    town: Town, asked: dict[str, Any], billed: list[tuple[str, int]] | None
) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town, 3100), town.metered(unit_amount=5))
    town.use(customer, "100")
    town.advance(clock, MIDDLE)
    if asked.get("prorate") and asked.get("invoice_now"):
        assert lines(preview(town, subscription.id, cancel_now=True)) == billed
    canceled = town.client.v1.subscriptions.cancel(subscription.id, asked)  # type: ignore[arg-type]
    assert (canceled.status, canceled.ended_at) == ("canceled", MIDDLE)
    last = town.invoices(subscription.id)[1:]
    assert [lines(each) for each in last] == ([billed] if billed else [])
    assert [each.status for each in last] == (["paid"] if billed else [])
    if billed:
        assert canceled.latest_invoice == last[0].id
