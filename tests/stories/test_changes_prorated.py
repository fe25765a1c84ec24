"""Upgrades, downgrades, seats and what is added and removed, prorated to the second."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town, at

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def only_item(subscription: stripe.Subscription) -> str:
    [item] = subscription["items"].data
    return str(item.id)


def change(town: Town, subscription_id: str, **asked: Any) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


def test_the_documented_upgrade_comes_out_to_the_cent(town: Town) -> None:
    """Stripe's own example: 10.00 to 32.52 on the first of September."""
    clock = town.clock(at("2026-08-06 03:45:40"))
    customer = town.customer(clock)
    small = town.price(unit_amount=1000, product_data={"name": "Small"})
    large = town.price(unit_amount=3252, product_data={"name": "Large"})
    subscription = town.subscribe(customer, small)
    [first] = town.invoices(subscription.id)
    period_end = at("2026-09-06 03:45:40")
    moment = period_end - 445540
    town.advance(clock, moment)

    asked = {"items": [{"id": only_item(subscription), "price": large}]}
    upcoming = town.client.v1.invoices.create_preview(
        {
            "subscription": subscription.id,
            "subscription_details": {**asked, "proration_date": moment},  # type: ignore[typeddict-item]
        }
    )
    changed = change(town, subscription.id, **asked, proration_date=moment)

    assert changed["items"].data[0].price.id == large
    assert changed.latest_invoice == first.id
    town.advance(clock, period_end + HOUR)
    _, renewal = town.invoices(subscription.id)
    expected = [
        ("Remaining time on Large after 01 Sep 2026", 541),
        ("Unused time on Small after 01 Sep 2026", -166),
        ("1 × Large (at $32.52 / month)", 3252),
    ]
    assert lines(renewal) == expected
    assert renewal.total == 3627
    assert lines(upcoming) == expected
    assert upcoming.total == 3627
    assert upcoming.parent is not None
    assert upcoming.parent.subscription_details is not None
    assert upcoming.parent.subscription_details.subscription_proration_date == moment
    debit, credit, _ = renewal.lines.data
    assert (debit.period.start, debit.period.end) == (moment, period_end)
    assert not debit.discountable
    assert credit.parent is not None
    details = credit.parent.subscription_item_details
    assert details is not None
    assert details.proration
    assert details.proration_details is not None
    assert details.proration_details.credited_items is not None
    assert details.proration_details.credited_items.invoice == first.id
    assert details.proration_details.credited_items.invoice_line_items == [first.lines.data[0].id]


def test_seats_are_added_and_billed_at_once(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    seat = town.price(unit_amount=3100, product_data={"name": "Seat"})
    subscription = town.subscribe(customer, items=[{"price": seat, "quantity": 2}])
    town.advance(clock, JANUARY + 21 * DAY)

    changed = change(
        town,
        subscription.id,
        items=[{"id": only_item(subscription), "quantity": 5}],
        proration_behavior="always_invoice",
    )

    _, update = town.invoices(subscription.id)
    assert changed.latest_invoice == update.id
    assert (update.billing_reason, update.status) == ("subscription_update", "paid")
    assert lines(update) == [
        ("Remaining time on 5 × Seat after 22 Jan 2026", 5000),
        ("Unused time on 2 × Seat after 22 Jan 2026", -2000),
    ]
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [("5 × Seat (at $31.00 / month)", 15500)]


def fee(town: Town, amount: int = 3100, name: str = "Fee", **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": name}, **more)


def next_invoice(town: Town, clock: str, subscription_id: str) -> stripe.Invoice:
    """The renewal of February, which the preview must have foretold."""
    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription_id})
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(subscription_id)[-1]
    assert lines(renewal) == lines(upcoming)
    return renewal


def foretold(town: Town, subscription_id: str, **asked: Any) -> stripe.Invoice:
    """The preview of a change; then the change."""
    upcoming = town.client.v1.invoices.create_preview(
        {"subscription": subscription_id, "subscription_details": asked}  # type: ignore[typeddict-item]
    )
    change(town, subscription_id, **asked)
    return upcoming


def test_up_and_down_and_up_again_in_one_period(town: Town) -> None:
    """Flexible credits what was debited, each debit by its own invoice item or line."""
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    item = only_item(subscription)
    large, small = fee(town, 6200, "Large"), fee(town, 620, "Small")
    for day, price in ((10, large), (20, small), (25, large)):
        town.advance(clock, JANUARY + day * DAY)
        upcoming = foretold(town, subscription.id, items=[{"id": item, "price": price}])
    renewal = next_invoice(town, clock, subscription.id)
    assert lines(renewal) == lines(upcoming)
    assert lines(renewal) == [
        ("Remaining time on Large after 26 Jan 2026", 1200),
        ("Unused time on Small after 26 Jan 2026", -120),
        ("Remaining time on Small after 21 Jan 2026", 220),
        ("Unused time on Large after 21 Jan 2026", -2200),
        ("Remaining time on Large after 11 Jan 2026", 4200),
        ("Unused time on Fee after 11 Jan 2026", -2100),
        ("1 × Large (at $62.00 / month)", 6200),
    ]


def test_flexible_credits_what_was_paid_and_classic_what_it_costs_now(town: Town) -> None:
    """A seat that was given away without a proration is credited by classic mode alone."""
    credited = {}
    for mode in ("flexible", "classic"):
        clock = town.clock()
        customer = town.customer(clock)
        subscription = town.subscribe(customer, fee(town), billing_mode={"type": mode})
        item = only_item(subscription)
        town.advance(clock, JANUARY + 11 * DAY)
        gift = {"items": [{"id": item, "quantity": 2}], "proration_behavior": "none"}
        change(town, subscription.id, **gift)
        town.advance(clock, JANUARY + 21 * DAY)
        change(town, subscription.id, items=[{"id": item, "quantity": 1}])
        credited[mode] = lines(next_invoice(town, clock, subscription.id))[:-1]
    assert credited["flexible"] == [
        ("Remaining time on Fee after 22 Jan 2026", 1000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
    ]
    assert credited["classic"] == [
        ("Remaining time on Fee after 22 Jan 2026", 1000),
        ("Unused time on 2 × Fee after 22 Jan 2026", -2000),
    ]


def test_items_come_and_go_by_themselves(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    items = town.client.v1.subscription_items
    town.advance(clock, JANUARY + 10 * DAY)
    support = items.create(
        {"subscription": subscription.id, "price": fee(town, 310, "Support"), "quantity": 2}
    )
    assert (support.quantity, support.current_period_end) == (2, FEBRUARY)
    assert [each.id for each in items.list({"subscription": subscription.id}).data] == [
        support.id,
        only_item(subscription),
    ]
    assert items.retrieve(support.id).to_dict() == support.to_dict()
    assert items.update(support.id, {"metadata": {"team": "a"}}).metadata["team"] == "a"
    town.advance(clock, JANUARY + 20 * DAY)
    assert items.delete(support.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="at least one item"):
        items.delete(only_item(subscription))
    assert lines(next_invoice(town, clock, subscription.id)) == [
        ("Unused time on 2 × Support after 21 Jan 2026", -220),
        ("Remaining time on 2 × Support after 11 Jan 2026", 420),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]


def test_tiers_are_prorated_as_a_whole(town: Town) -> None:
    clock = town.clock()
    tiers = [
        {"up_to": 2, "unit_amount": 1000, "flat_amount": 100},
        {"up_to": "inf", "unit_amount": 500},
    ]
    price = town.price(
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=tiers,
        product_data={"name": "Seat"},
    )
    customer = town.customer(clock)
    subscription = town.subscribe(customer, items=[{"price": price, "quantity": 4}])
    town.advance(clock, JANUARY + 21 * DAY)
    change(town, subscription.id, items=[{"id": only_item(subscription), "quantity": 2}])
    renewal = next_invoice(town, clock, subscription.id)
    assert lines(renewal)[:2] == [
        ("Remaining time on 2 × Seat after 22 Jan 2026", 677),  # of 2,100
        ("Unused time on 4 × Seat after 22 Jan 2026", -1000),  # of 3,100
    ]


def test_what_a_void_invoice_charged_is_not_credited(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    item = only_item(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    town.pays_with(str(subscription.customer), "pm_card_chargeCustomerFail")
    asked = {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}
    wrong = change(town, subscription.id, **asked).latest_invoice
    town.client.v1.invoices.void_invoice(str(wrong))
    town.pays_with(str(subscription.customer), "pm_card_visa")
    town.advance(clock, JANUARY + 20 * DAY)
    change(town, subscription.id, items=[{"id": item, "quantity": 1}])
    assert lines(next_invoice(town, clock, subscription.id)) == [
        ("Remaining time on Fee after 21 Jan 2026", 1100),
        ("Unused time on Fee after 21 Jan 2026", -1100),  # paid in January; its credit is void too
        ("1 × Fee (at $31.00 / month)", 3100),
    ]


def test_a_trial_can_be_changed_for_nothing_and_ended(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), trial_end=FEBRUARY)
    item = only_item(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    change(town, subscription.id, items=[{"id": item, "quantity": 3}])
    assert town.subscription(subscription.id).status == "trialing"
    ended = change(town, subscription.id, trial_end="now")
    assert (ended.status, ended.billing_cycle_anchor) == ("active", JANUARY + 10 * DAY)
    last = town.invoices(subscription.id)[-1]
    assert (lines(last), last.status) == ([("3 × Fee (at $31.00 / month)", 9300)], "paid")


def test_a_setup_fee_goes_with_a_change(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    setup = town.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Setup"}}
    )
    town.advance(clock, JANUARY + 21 * DAY)
    change(
        town,
        subscription.id,
        items=[{"id": only_item(subscription), "quantity": 2}],
        add_invoice_items=[{"price": setup.id}],
        proration_behavior="always_invoice",
    )
    assert lines(town.invoices(subscription.id)[-1]) == [
        ("Setup", 500),
        ("Remaining time on 2 × Fee after 22 Jan 2026", 2000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
    ]


@pytest.mark.parametrize(
    ("asked", "param", "message"),
    [
        ({"items": [{"id": "si_none", "quantity": 2}]}, "items[0][id]", "No such"),
        ({"items": [{"price": "price_none"}]}, "items[0][price]", "No such price"),
        ({"items": [{"quantity": 2}]}, "items[0][price]", "Missing"),
        ({"items": [{"id": "ITEM", "deleted": True}]}, "items", "at least one item"),
        ({"items": [{"price": "FEE"}]}, "items[0][price]", "same price"),
        ({"items": [{"price": "EURO"}]}, "items[0][price]", "currency"),
        (
            {"items": [{"id": "ITEM", "quantity": 2}], "proration_date": FEBRUARY + DAY},
            "proration_date",
            "outside of the current period",
        ),
    ],
    ids=["an unknown item", "an unknown price", "no price", "all", "twice", "euros", "too late"],
)
def test_what_cannot_be_asked_of_a_subscription(
    town: Town, asked: dict[str, Any], param: str, message: str
) -> None:
    price = fee(town)
    subscription = town.subscribe(town.customer(town.clock()), price)
    euro = town.price(unit_amount=100, currency="eur")
    names = {"ITEM": only_item(subscription), "FEE": price, "EURO": euro}
    items = [{key: names.get(str(v), v) for key, v in each.items()} for each in asked["items"]]
    with pytest.raises(stripe.InvalidRequestError, match=message) as refused:
        change(town, subscription.id, **asked | {"items": items})
    assert refused.value.param == param


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_prorations_are_made_of_discounted_prices(town: Town, mode: str) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    subscription = town.subscribe(
        customer, fee(town), discounts=[{"coupon": half}], billing_mode={"type": mode}
    )
    town.advance(clock, JANUARY + 21 * DAY)
    change(town, subscription.id, items=[{"id": only_item(subscription), "quantity": 3}])
    renewal = next_invoice(town, clock, subscription.id)
    assert lines(renewal) == [
        ("Remaining time on 3 × Fee after 22 Jan 2026", 1500),
        ("Unused time on Fee after 22 Jan 2026", -500),
        ("3 × Fee (at $31.00 / month)", 9300),
    ]
    assert renewal.total == 1500 - 500 + 4650


def test_classic_can_become_flexible_and_then_credits_what_was_paid(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), billing_mode={"type": "classic"})
    item = only_item(subscription)
    town.advance(clock, JANUARY + 11 * DAY)
    change(town, subscription.id, items=[{"id": item, "quantity": 2}], proration_behavior="none")
    migrated = town.client.v1.subscriptions.migrate(
        subscription.id, {"billing_mode": {"type": "flexible"}}
    )
    assert migrated.billing_mode.type == "flexible"
    assert migrated.billing_mode.updated_at == JANUARY + 11 * DAY
    with pytest.raises(stripe.InvalidRequestError, match="already"):
        town.client.v1.subscriptions.migrate(
            subscription.id, {"billing_mode": {"type": "flexible"}}
        )
    town.advance(clock, JANUARY + 21 * DAY)
    change(town, subscription.id, items=[{"id": item, "quantity": 1}])
    assert lines(next_invoice(town, clock, subscription.id))[:-1] == [
        ("Remaining time on Fee after 22 Jan 2026", 1000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
    ]


def test_a_running_subscription_can_begin_a_trial(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), fee(town))
    town.advance(clock, JANUARY + 21 * DAY)
    later = FEBRUARY + 5 * DAY
    trying = change(town, subscription.id, trial_end=later)
    assert (trying.status, trying.trial_end, trying.billing_cycle_anchor) == (
        "trialing",
        later,
        later,
    )
    town.advance(clock, later + HOUR)
    assert town.subscription(subscription.id).status == "active"
    renewal = town.invoices(subscription.id)[-1]
    assert lines(renewal) == [
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]


def test_a_sent_invoice_of_a_change_waits_for_its_hour(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(
        customer, fee(town), collection_method="send_invoice", days_until_due=30
    )
    town.advance(clock, JANUARY + 21 * DAY)
    change(
        town,
        subscription.id,
        items=[{"id": only_item(subscription), "quantity": 2}],
        proration_behavior="always_invoice",
    )
    update = town.invoices(subscription.id)[-1]
    assert (update.status, update.total) == ("draft", 1000)
    town.advance(clock, JANUARY + 21 * DAY + HOUR)
    assert town.invoices(subscription.id)[-1].status == "open"


def test_two_items_can_trade_their_prices(town: Town) -> None:
    clock = town.clock()
    small, large = fee(town, 3100, "Small"), fee(town, 6200, "Large")
    subscription = town.subscribe(town.customer(clock), small, large)
    first, second = (item.id for item in subscription["items"].data)
    town.advance(clock, JANUARY + 21 * DAY)
    change(
        town, subscription.id, items=[{"id": first, "price": large}, {"id": second, "price": small}]
    )
    renewal = next_invoice(town, clock, subscription.id)
    assert lines(renewal) == [
        ("Remaining time on Small after 22 Jan 2026", 1000),
        ("Unused time on Large after 22 Jan 2026", -2000),
        ("Remaining time on Large after 22 Jan 2026", 2000),
        ("Unused time on Small after 22 Jan 2026", -1000),
        ("1 × Small (at $31.00 / month)", 3100),
        ("1 × Large (at $62.00 / month)", 6200),
    ]


def test_a_yearly_fee_is_prorated_by_its_own_period(town: Town) -> None:
    clock = town.clock()
    yearly = {"interval": "year"}
    year = fee(town, 36500, "Year", recurring=yearly)
    subscription = town.subscribe(town.customer(clock), year, town.metered(unit_amount=5))
    item = subscription["items"].data[0].id
    town.advance(clock, FEBRUARY + HOUR)
    town.advance(clock, JANUARY + 45 * DAY)
    upcoming = foretold(town, subscription.id, items=[{"id": item, "quantity": 2}])
    expected = [
        ("Remaining time on 2 × Year after 15 Feb 2026", 64000),
        ("Unused time on Year after 15 Feb 2026", -32000),
        ("0 × Calls (at $0.05 / month)", 0),
    ]
    assert lines(upcoming) == expected
    town.advance(clock, MARCH + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == expected


def test_what_is_added_to_a_stub_pays_its_part_of_the_whole_period(town: Town) -> None:
    """The month before an anchor on 1 February began on 1 January, whenever they came."""
    clock = town.clock(JANUARY + 10 * DAY)
    customer = town.customer(clock)
    subscription = town.subscribe(customer, fee(town), billing_cycle_anchor=FEBRUARY)
    town.advance(clock, JANUARY + 21 * DAY)
    change(town, subscription.id, items=[{"price": fee(town, 310, "Support")}])
    change(town, subscription.id, items=[{"id": only(subscription, 0), "quantity": 2}])
    assert lines(next_invoice(town, clock, subscription.id))[:3] == [
        ("Remaining time on 2 × Fee after 22 Jan 2026", 2000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("Remaining time on Support after 22 Jan 2026", 100),
    ]


def only(subscription: stripe.Subscription, place: int) -> str:
    return str(subscription["items"].data[place].id)
