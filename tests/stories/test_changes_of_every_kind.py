"""Changes at every moment of a subscription, in both billing modes, as previews foretold them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
MODES = ["flexible", "classic"]
NOW: dict[str, Any] = {"proration_behavior": "always_invoice"}

Lines = list[tuple[str | None, int]]


def lines(invoice: stripe.Invoice) -> Lines:
    return [(line.description, line.amount) for line in invoice.lines.data]


def fee(town: Town, amount: int = 3100, name: str = "Fee", **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": name}, **more)


def items_of(subscription: stripe.Subscription) -> list[str]:
    return [str(item.id) for item in subscription["items"].data]


def begin(town: Town, *prices: str, mode: str = "flexible", **more: Any) -> tuple[str, Any]:
    """A clock at the start of January, and a subscription that starts there."""
    clock = town.clock()
    customer = town.customer(clock)
    return clock, town.subscribe(customer, *prices, billing_mode={"type": mode}, **more)


def foretell(town: Town, subscription_id: str, **details: Any) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview(
        {"subscription": subscription_id, "subscription_details": details}  # type: ignore[typeddict-item]
    )


def turn(town: Town, subscription: Any, **asked: Any) -> stripe.Invoice | None:
    """Make the change; its own invoice, if it makes one, must be what the preview had foretold."""
    try:
        upcoming = foretell(town, subscription.id, **asked)
    except stripe.InvalidRequestError as none:
        if none.code != "invoice_upcoming_none":
            raise
        upcoming = None
    before = {each.id for each in town.invoices(subscription.id)}
    town.client.v1.subscriptions.update(subscription.id, asked)  # type: ignore[arg-type]
    made = [each for each in town.invoices(subscription.id) if each.id not in before]
    if not made:
        return upcoming
    assert upcoming is not None
    assert (lines(made[0]), made[0].total) == (lines(upcoming), upcoming.total)
    return made[0]


def renew(town: Town, clock: str, subscription: Any, to: int = FEBRUARY) -> stripe.Invoice:
    """The next renewal, which must be what its preview had foretold."""
    upcoming = foretell(town, subscription.id)
    town.advance(clock, to + HOUR)
    renewal = town.invoices(subscription.id)[-1]
    assert (lines(renewal), renewal.total) == (lines(upcoming), upcoming.total)
    return renewal


def balance(town: Town, subscription: Any) -> int:
    return town.client.v1.customers.retrieve(str(subscription.customer)).balance


# ─── One period ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
def test_up_down_and_out_in_one_period(town: Town, mode: str) -> None:
    """Ten days at 1.00, ten at 2.00, five at 0.50: what was paid beyond that is given back."""
    clock, subscription = begin(town, fee(town), mode=mode)
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    up = turn(town, subscription, items=[{"id": item, "price": fee(town, 6200, "Large")}], **NOW)
    assert up is not None
    assert lines(up) == [
        ("Remaining time on Large after 11 Jan 2026", 4200),
        ("Unused time on Fee after 11 Jan 2026", -2100),
    ]
    town.advance(clock, JANUARY + 20 * DAY)
    down = turn(town, subscription, items=[{"id": item, "price": fee(town, 1550, "Small")}], **NOW)
    assert down is not None
    assert lines(down) == [
        ("Remaining time on Small after 21 Jan 2026", 550),
        ("Unused time on Large after 21 Jan 2026", -2200),
    ]
    assert (down.status, down.amount_due, balance(town, subscription)) == ("paid", 0, -1650)
    town.advance(clock, JANUARY + 25 * DAY)
    upcoming = foretell(town, subscription.id, cancel_now=True)
    town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True, "prorate": True})
    out = town.invoices(subscription.id)[-1]
    assert lines(out) == lines(upcoming) == [("Unused time on Small after 26 Jan 2026", -300)]
    assert balance(town, subscription) == -(3100 + 2100 - 10 * 100 - 10 * 200 - 5 * 50)


@pytest.mark.parametrize("mode", MODES)
def test_a_change_in_the_last_second(town: Town, mode: str) -> None:
    clock, subscription = begin(town, fee(town, 31 * DAY), mode=mode)  # a cent a second
    town.advance(clock, FEBRUARY - 1)
    turn(town, subscription, items=[{"id": items_of(subscription)[0], "quantity": 3}])
    assert lines(renew(town, clock, subscription)) == [
        ("Remaining time on 3 × Fee after 01 Feb 2026", 3),
        ("Unused time on Fee after 01 Feb 2026", -1),
        ("3 × Fee (at $26,784.00 / month)", 3 * 31 * DAY),
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("late", [0, HOUR // 2], ids=["at the boundary", "in the hour of grace"])
def test_a_change_while_the_renewal_is_a_draft(town: Town, mode: str, late: int) -> None:
    """The draft bills what was agreed at the boundary; the difference waits for the next one."""
    clock, subscription = begin(town, fee(town, 28 * DAY // 100), mode=mode)
    town.advance(clock, FEBRUARY + late)
    draft = town.invoices(subscription.id)[-1]
    assert draft.status == "draft"
    turn(town, subscription, items=[{"id": items_of(subscription)[0], "quantity": 2}])
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == lines(draft)
    rest = (28 * DAY - late) // 100
    assert lines(renew(town, clock, subscription, MARCH)) == [
        ("Remaining time on 2 × Fee after 01 Feb 2026", 2 * rest),
        ("Unused time on Fee after 01 Feb 2026", -rest),
        ("2 × Fee (at $241.92 / month)", 2 * 28 * DAY // 100),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_twice_at_one_instant(town: Town, mode: str) -> None:
    clock, subscription = begin(town, fee(town), mode=mode)
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 21 * DAY)
    for quantity in (2, 5):
        turn(town, subscription, items=[{"id": item, "quantity": quantity}])
    assert lines(renew(town, clock, subscription)) == [
        ("Remaining time on 5 × Fee after 22 Jan 2026", 5000),
        ("Unused time on 2 × Fee after 22 Jan 2026", -2000),
        ("Remaining time on 2 × Fee after 22 Jan 2026", 2000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("5 × Fee (at $31.00 / month)", 15500),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_quantity_of_nothing(town: Town, mode: str) -> None:
    clock, subscription = begin(town, fee(town), mode=mode)
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 21 * DAY)
    turn(town, subscription, items=[{"id": item, "quantity": 0}])
    assert lines(renew(town, clock, subscription)) == [
        ("Remaining time on 0 × Fee after 22 Jan 2026", 0),
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("0 × Fee (at $31.00 / month)", 0),
    ]
    town.advance(clock, FEBRUARY + 14 * DAY)
    again = turn(town, subscription, items=[{"id": item, "quantity": 2}])
    assert again is not None
    assert again.billing_reason == "subscription_update"  # it costs again
    assert again.total == (3100 if mode == "flexible" else 6200)  # classic begins anew


def test_a_later_change_from_an_earlier_day(town: Town) -> None:
    """Every day is paid once: what was given back is not given back again."""
    clock, subscription = begin(town, fee(town))
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 25 * DAY)
    for quantity, day in ((2, 15), (1, 10), (3, 20)):
        asked = {"items": [{"id": item, "quantity": quantity}]}
        turn(town, subscription, **asked, proration_date=JANUARY + day * DAY)
    renewal = renew(town, clock, subscription)
    assert lines(renewal) == [
        ("Remaining time on 3 × Fee after 21 Jan 2026", 3300),
        ("Unused time on Fee after 21 Jan 2026", -1100),
        ("Remaining time on Fee after 11 Jan 2026", 2100),
        ("Unused time on 2 × Fee after 11 Jan 2026", -3200),
        ("Unused time on Fee after 11 Jan 2026", -500),
        ("Remaining time on 2 × Fee after 16 Jan 2026", 3200),
        ("Unused time on Fee after 16 Jan 2026", -1600),
        ("3 × Fee (at $31.00 / month)", 9300),
    ]
    assert renewal.total == 2 * 1100 + 9300


def test_rounded_credits_never_exceed_what_was_paid(town: Town) -> None:
    """A cent, halved and halved again, is given back once."""
    clock, subscription = begin(town, fee(town, 1), proration_behavior="none")
    [item] = items_of(subscription)
    zero = fee(town, 0, "Nothing")
    town.advance(clock, JANUARY + 15 * DAY)
    turn(town, subscription, items=[{"id": item, "price": zero}], proration_date=JANUARY + 15 * DAY)
    turn(
        town,
        subscription,
        items=[{"id": item, "price": fee(town, 0, "Still nothing")}],
        proration_date=JANUARY + DAY,
    )
    renewal = renew(town, clock, subscription)
    assert sum(amount for _, amount in lines(renewal)) == -1


# ─── Usage ───────────────────────────────────────────────────────────────────────────────────

BEHAVIORS = ["create_prorations", "always_invoice", "none"]


def test_every_way_to_price_usage_of_a_period_in_which_its_price_changes(town: Town) -> None:
    """A thousand calls at 0.05 until the eleventh, five hundred at 0.07 from then on."""
    clock = town.clock()
    old = town.metered(unit_amount=5)
    recurring = town.client.v1.prices.retrieve(old).recurring
    assert recurring is not None
    new = town.price(
        unit_amount=7, recurring={"usage_type": "metered", "meter": str(recurring.meter)}
    )
    ways = list(product(MODES, ["split", "grandfather", "rerate"], BEHAVIORS))
    running = {}
    for mode, pricing, behavior in ways:
        customer = town.customer(clock)
        running[mode, pricing, behavior] = town.subscribe(
            customer, old, billing_mode={"type": mode}
        )
        town.use(customer, "1000")
    town.advance(clock, JANUARY + 10 * DAY)
    for (_, pricing, behavior), subscription in running.items():
        turn(
            town,
            subscription,
            items=[{"id": items_of(subscription)[0], "price": new}],
            usage_pricing=pricing,
            proration_behavior=behavior,
        )
    town.advance(clock, JANUARY + 10 * DAY + HOUR)
    for subscription in running.values():
        town.use(str(subscription.customer), "500")
    town.advance(clock, FEBRUARY - 1)
    upcoming = {way: foretell(town, each.id) for way, each in running.items()}
    town.advance(clock, FEBRUARY + HOUR)
    whole = {"grandfather": 1500 * 5, "rerate": 1500 * 7}
    for way, subscription in running.items():
        mode, pricing, behavior = way
        first: list[int] = [0] if mode == "classic" else []  # of usage that has only begun
        billed = town.invoices(subscription.id)
        assert lines(billed[-1]) == lines(upcoming[way]), way
        if pricing in whole:
            expected = [*first, whole[pricing]]
        elif mode == "classic" or behavior == "none":  # lost
            expected = [*first, 3500]
        elif behavior == "always_invoice":
            expected = [5000, 3500]
        else:
            expected = [8500]
        assert [each.total for each in billed] == expected, way


def test_usage_of_the_hour_of_grace_stays_at_the_old_price(town: Town) -> None:
    """January's draft is still open: late usage of January is billed as January was agreed."""
    old = town.metered(unit_amount=5)
    recurring = town.client.v1.prices.retrieve(old).recurring
    assert recurring is not None
    new = town.price(
        unit_amount=7, recurring={"usage_type": "metered", "meter": str(recurring.meter)}
    )
    clock, subscription = begin(town, old)
    customer = str(subscription.customer)
    town.advance(clock, FEBRUARY + HOUR // 2)
    town.use(customer, "10")
    town.advance(clock, FEBRUARY + HOUR // 2 + 1)
    turn(town, subscription, items=[{"id": items_of(subscription)[0], "price": new}])
    town.use(customer, "3", timestamp=FEBRUARY - 1)
    town.use(customer, "20")
    town.advance(clock, FEBRUARY + HOUR)
    assert lines(town.invoices(subscription.id)[-1]) == [("3 × Calls (at $0.05 / month)", 15)]
    assert lines(renew(town, clock, subscription, MARCH)) == [
        ("10 × Calls (at $0.05 / month)", 50),
        ("20 × Calls (at $0.07 / month)", 140),
    ]


# ─── Statuses ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
def test_a_change_while_past_due(town: Town, mode: str) -> None:
    clock, subscription = begin(town, fee(town), mode=mode)
    customer, [item] = str(subscription.customer), items_of(subscription)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    assert town.subscription(subscription.id).status == "past_due"
    turn(town, subscription, items=[{"id": item, "quantity": 2}])
    assert town.subscription(subscription.id).status == "past_due"
    town.pays_with(customer, "pm_card_visa")
    paid = turn(town, subscription, items=[{"id": item, "quantity": 3}], **NOW)
    assert paid is not None
    assert paid.status == "paid"
    assert town.subscription(subscription.id).status == "active"  # its latest invoice is paid


@pytest.mark.parametrize("mode", MODES)
def test_what_comes_in_a_trial_is_tried_until_the_trial_ends(town: Town, mode: str) -> None:
    """Forty-five days, in which a month ends, and a week every seven."""
    clock = town.clock()
    customer = town.customer(clock)
    end = JANUARY + 45 * DAY
    subscription = town.subscribe(customer, fee(town), billing_mode={"type": mode}, trial_end=end)
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 3 * DAY)
    turn(town, subscription, items=[{"price": fee(town, 700, "Support")}], **NOW)
    calls = town.metered(unit_amount=5)
    turn(town, subscription, items=[{"price": calls}])
    turn(town, subscription, items=[{"id": item, "quantity": 2}], **NOW)
    trying = town.subscription(subscription.id)
    assert {each.current_period_end for each in trying["items"].data} == {end}
    town.use(customer, "50")
    town.advance(clock, end - HOUR)
    assert [each.total for each in town.invoices(subscription.id)] in ([0], [])
    town.use(customer, "50")
    [*_, renewal] = [renew(town, clock, subscription, end)]
    assert lines(renewal) == [
        ("1 × Support (at $7.00 / month)", 700),
        ("2 × Fee (at $31.00 / month)", 6200),
    ]


def test_a_trial_of_another_interval(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    end = JANUARY + 45 * DAY
    subscription = town.subscribe(customer, fee(town), trial_end=end)
    week = fee(town, 700, "Week", recurring={"interval": "week"})
    town.advance(clock, JANUARY + 3 * DAY)
    turn(town, subscription, items=[{"id": items_of(subscription)[0], "price": week}])
    trying = town.subscription(subscription.id)
    assert trying.status == "trialing"
    assert trying["items"].data[0].current_period_end == end
    assert lines(renew(town, clock, subscription, end)) == [("1 × Week (at $7.00 / week)", 700)]
    after = town.subscription(subscription.id)
    assert after["items"].data[0].current_period_end == end + 7 * DAY


def test_what_is_incomplete_cannot_change(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, "pm_card_chargeCustomerFail")
    subscription = town.subscribe(customer, fee(town))
    assert subscription.status == "incomplete"
    asked: Any = {"items": [{"id": items_of(subscription)[0], "quantity": 2}]}
    with pytest.raises(stripe.InvalidRequestError, match="first invoice is paid"):
        town.client.v1.subscriptions.update(subscription.id, asked)
    with pytest.raises(stripe.InvalidRequestError, match="first invoice is paid"):
        foretell(town, subscription.id, **asked)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("unused", ["now", "none"])
def test_a_change_in_a_pause_bills_nothing_until_it_is_over(
    town: Town, mode: str, unused: str
) -> None:
    clock, subscription = begin(town, fee(town), town.metered(unit_amount=5), mode=mode)
    customer, [item, calls] = str(subscription.customer), items_of(subscription)
    town.advance(clock, JANUARY + 21 * DAY)
    town.client.v1.subscriptions.pause(
        subscription.id,
        {"bill_for": {"unused_time_from": {"type": unused}}},  # type: ignore[typeddict-item]
    )
    before = len(town.invoices(subscription.id))
    town.use(customer, "50")
    town.advance(clock, JANUARY + 22 * DAY)
    for quantity in (2, 3):
        turn(town, subscription, items=[{"id": item, "quantity": quantity}], **NOW)
    turn(town, subscription, items=[{"price": fee(town, 700, "Support")}], **NOW)
    town.client.v1.subscription_items.delete(calls)
    update: Any = {"billing_cycle_anchor": {"type": "now"}}
    with pytest.raises(stripe.InvalidRequestError, match="paused"):
        town.client.v1.subscriptions.update(subscription.id, update)
    waiting = town.client.v1.invoice_items.list({"customer": customer, "pending": True}).data
    billed = [*town.invoices(subscription.id)[before:]]
    credits = sum(each.amount for each in waiting) + sum(each.total for each in billed)
    assert credits == (-1000 if unused == "now" else 0)
    town.advance(clock, JANUARY + 24 * DAY)
    town.client.v1.subscriptions.resume(subscription.id)
    resumed = town.invoices(subscription.id)[-1]
    new = [line for line in lines(resumed) if line[1] > 0]
    assert new == [
        ("1 × Support (at $7.00 / month)", 700),
        ("3 × Fee (at $31.00 / month)", 9300),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_change_of_what_will_end(town: Town, mode: str) -> None:
    clock, subscription = begin(town, fee(town), mode=mode)
    [item] = items_of(subscription)
    town.client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    town.advance(clock, JANUARY + 21 * DAY)
    paid = turn(town, subscription, items=[{"id": item, "quantity": 2}], **NOW)
    assert paid is not None
    assert paid.total == 1000
    turn(town, subscription, items=[{"id": item, "quantity": 4}])
    last = renew(town, clock, subscription)
    assert town.subscription(subscription.id).status == "canceled"
    assert lines(last) == [
        ("Remaining time on 4 × Fee after 22 Jan 2026", 4000),
        ("Unused time on 2 × Fee after 22 Jan 2026", -2000),
    ]


def test_while_collection_is_paused_a_change_makes_a_draft_that_stays_one(town: Town) -> None:
    clock, subscription = begin(town, fee(town))
    [item] = items_of(subscription)
    collection: Any = {"pause_collection": {"behavior": "keep_as_draft"}}
    town.client.v1.subscriptions.update(subscription.id, collection)
    town.advance(clock, JANUARY + 21 * DAY)
    kept = turn(town, subscription, items=[{"id": item, "quantity": 2}], **NOW)
    assert kept is not None
    assert (kept.status, kept.auto_advance, kept.total) == ("draft", False, 1000)
    town.client.v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    turn(town, subscription, items=[{"id": item, "quantity": 3}], **NOW)
    town.advance(clock, JANUARY + 21 * DAY + HOUR)
    statuses = [each.status for each in town.invoices(subscription.id)]
    assert statuses == ["paid", "draft", "void"]


# ─── Invoices that came to nothing ───────────────────────────────────────────────────────────


def test_of_a_void_renewal_nothing_is_credited(town: Town) -> None:
    clock, subscription = begin(town, fee(town, 2800))
    customer, [item] = str(subscription.customer), items_of(subscription)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    town.advance(clock, FEBRUARY + HOUR)
    town.client.v1.invoices.void_invoice(town.invoices(subscription.id)[-1].id)
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, FEBRUARY + 14 * DAY)
    turn(town, subscription, items=[{"id": item, "quantity": 2}])
    town.advance(clock, FEBRUARY + 21 * DAY)
    turn(town, subscription, items=[{"id": item, "quantity": 1}])
    assert lines(renew(town, clock, subscription, MARCH)) == [
        ("Remaining time on Fee after 22 Feb 2026", 700),
        ("Unused time on 2 × Fee after 22 Feb 2026", -1400),
        ("Remaining time on 2 × Fee after 15 Feb 2026", 2800),
        ("1 × Fee (at $28.00 / month)", 2800),
    ]


def test_a_void_credit_is_owed_again(town: Town) -> None:
    """The change was given away, and the month that was paid is still paid."""
    clock, subscription = begin(town, fee(town))
    customer, [item] = str(subscription.customer), items_of(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    town.pays_with(customer, "pm_card_chargeCustomerFail")
    wrong = turn(town, subscription, items=[{"id": item, "quantity": 2}], **NOW)
    assert wrong is not None
    town.client.v1.invoices.void_invoice(wrong.id)
    town.pays_with(customer, "pm_card_visa")
    town.advance(clock, JANUARY + 21 * DAY)
    town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True, "prorate": True})
    last = town.invoices(subscription.id)[-1]
    assert lines(last) == [("Unused time on Fee after 22 Jan 2026", -1000)]


# ─── Intervals ───────────────────────────────────────────────────────────────────────────────


def test_from_month_to_year_and_back_in_flexible_mode(town: Town) -> None:
    month, year = fee(town), fee(town, 36500, "Year", recurring={"interval": "year"})
    clock, subscription = begin(town, month)
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    out = turn(town, subscription, items=[{"id": item, "price": year}])
    assert out is not None
    assert lines(out) == [
        ("Remaining time on Year after 11 Jan 2026", 35500),
        ("Unused time on Fee after 11 Jan 2026", -2100),
    ]
    town.advance(clock, JANUARY + 41 * DAY)
    back = turn(town, subscription, items=[{"id": item, "price": month}])
    assert back is not None
    assert lines(back) == [
        ("Remaining time on Fee after 11 Feb 2026", 1993),  # 18 of 28 days
        ("Unused time on Year after 11 Feb 2026", -32400),
    ]
    now = town.subscription(subscription.id)
    assert now.billing_cycle_anchor == JANUARY
    assert now["items"].data[0].current_period_end == MARCH
    assert balance(town, subscription) == 1993 - 32400
    assert lines(renew(town, clock, subscription, MARCH)) == [("1 × Fee (at $31.00 / month)", 3100)]


def test_from_month_to_year_and_back_in_classic_mode(town: Town) -> None:
    """The count of periods begins anew each time."""
    month, year = fee(town), fee(town, 36500, "Year", recurring={"interval": "year"})
    clock, subscription = begin(town, month, mode="classic")
    [item] = items_of(subscription)
    town.advance(clock, JANUARY + 10 * DAY)
    out = turn(town, subscription, items=[{"id": item, "price": year}])
    assert out is not None
    assert lines(out) == [
        ("Unused time on Fee after 11 Jan 2026", -2100),
        ("1 × Year (at $365.00 / year)", 36500),
    ]
    town.advance(clock, JANUARY + 20 * DAY)
    back = turn(town, subscription, items=[{"id": item, "price": month}])
    assert back is not None
    assert lines(back) == [
        ("Unused time on Year after 21 Jan 2026", -35500),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]
    assert town.subscription(subscription.id).billing_cycle_anchor == JANUARY + 20 * DAY


def test_items_of_two_intervals_change_at_once(town: Town) -> None:
    year = fee(town, 36500, "Year", recurring={"interval": "year"})
    clock, subscription = begin(town, fee(town), year)
    first, second = items_of(subscription)
    town.advance(clock, JANUARY + 21 * DAY)
    turn(
        town,
        subscription,
        items=[{"id": first, "quantity": 2}, {"id": second, "quantity": 3}],
    )
    assert lines(renew(town, clock, subscription)) == [
        ("Remaining time on 3 × Year after 22 Jan 2026", 3 * 34400),
        ("Unused time on Year after 22 Jan 2026", -34400),
        ("Remaining time on 2 × Fee after 22 Jan 2026", 2000),
        ("Unused time on Fee after 22 Jan 2026", -1000),
        ("2 × Fee (at $31.00 / month)", 6200),
    ]


# ─── Commitments ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["canceled", "begun anew"])
def test_a_commitment_is_kept_for_the_part_of_a_period_that_ends(town: Town, way: str) -> None:
    """31.00 a month at least: 10.00 for ten days, of which 4.00 were used."""
    clock, subscription = begin(town, town.metered(unit_amount=5), minimum_amount=3100)
    town.use(str(subscription.customer), "80")
    town.advance(clock, JANUARY + 10 * DAY)
    if way == "canceled":
        upcoming = foretell(town, subscription.id, cancel_now=True)
        town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True})
        last = town.invoices(subscription.id)[-1]
        assert lines(last) == lines(upcoming)
    else:
        made = turn(town, subscription, billing_cycle_anchor={"type": "now"})
        assert made is not None
        last = made
    assert lines(last) == [("80 × Calls (at $0.05 / month)", 400), ("Minimum commitment", 600)]


# ─── Discounts beside prorations ─────────────────────────────────────────────────────────────


def gross_and_off(invoice: stripe.Invoice) -> list[tuple[str | None, int, list[int]]]:
    return [
        (line.description, line.amount, [each.amount for each in line.discount_amounts or []])
        for line in invoice.lines.data
    ]


ITEMIZED: dict[str, Any] = {
    "type": "flexible",
    "flexible": {"proration_discounts": "itemized"},
}


def test_itemized_prorations_show_what_discounts_take_off(town: Town) -> None:
    """What is owed is the same as where they are included."""
    clock = town.clock()
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    price = fee(town)
    running = {}
    for name, mode in (("itemized", ITEMIZED), ("included", {"type": "flexible"})):
        customer = town.customer(clock)
        running[name] = town.subscribe(
            customer, price, discounts=[{"coupon": half}], billing_mode=mode
        )
    [discount] = running["itemized"].discounts
    for day, quantity in ((21, 3), (26, 2)):
        town.advance(clock, JANUARY + day * DAY)
        for subscription in running.values():
            turn(
                town, subscription, items=[{"id": items_of(subscription)[0], "quantity": quantity}]
            )
    items = town.client.v1.invoice_items.list(
        {"customer": str(running["itemized"].customer), "pending": True}
    ).data
    told = {each.description: each for each in items}
    first = told["Unused time on Fee after 22 Jan 2026"]
    assert (first.amount, first.net_amount) == (-1000, -500)
    assert first.proration_details is not None
    assert first.proration_details.to_dict()["discount_amounts"] == [
        {"amount": -500, "discount": discount}
    ]
    totals = {}
    for name, subscription in running.items():
        upcoming = foretell(town, subscription.id)
        totals[name] = upcoming.total
        if name == "itemized":
            foretold = gross_and_off(upcoming)
    town.advance(clock, FEBRUARY + HOUR)
    renewal = town.invoices(running["itemized"].id)[-1]
    assert (
        gross_and_off(renewal)
        == foretold
        == [
            ("Remaining time on 2 × Fee after 27 Jan 2026", 1000, [500]),
            ("Unused time on 3 × Fee after 27 Jan 2026", -1500, [-750]),
            ("Remaining time on 3 × Fee after 22 Jan 2026", 3000, [1500]),
            ("Unused time on Fee after 22 Jan 2026", -1000, [-500]),
            ("2 × Fee (at $31.00 / month)", 6200, [3100]),
        ]
    )
    assert renewal.total == totals["itemized"] == totals["included"] == 750 + 3100
    assert [each.amount for each in renewal.total_discount_amounts or []] == [3850]
    included = town.invoices(running["included"].id)[-1]
    assert included.total == renewal.total
    assert gross_and_off(included)[0] == ("Remaining time on 2 × Fee after 27 Jan 2026", 500, [])


@pytest.mark.parametrize("way", ["now", "at a date"])
def test_the_last_credit_is_itemized(town: Town, way: str) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    coupon = town.client.v1.coupons.create({"amount_off": 310, "currency": "usd"}).id
    more: dict[str, Any] = {"cancel_at": JANUARY + 21 * DAY} if way == "at a date" else {}
    subscription = town.subscribe(
        customer, fee(town), discounts=[{"coupon": coupon}], billing_mode=ITEMIZED, **more
    )
    if way == "now":
        town.advance(clock, JANUARY + 21 * DAY)
        town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True, "prorate": True})
    town.advance(clock, JANUARY + 21 * DAY + HOUR)
    last = town.invoices(subscription.id)[-1]
    assert gross_and_off(last) == [("Unused time on Fee after 22 Jan 2026", -1000, [-100])]
    assert (last.subtotal, last.total, balance(town, subscription)) == (-1000, -900, -900)


def test_what_a_proration_itemizes_is_not_used_up_by_it(town: Town) -> None:
    """A discount for once was the first invoice's; what is given back of it stays so."""
    clock = town.clock()
    once = town.client.v1.coupons.create({"percent_off": 50, "duration": "once"}).id
    subscription = town.subscribe(
        town.customer(clock), fee(town), discounts=[{"coupon": once}], billing_mode=ITEMIZED
    )
    town.advance(clock, JANUARY + 21 * DAY)
    asked = {"items": [{"id": items_of(subscription)[0], "quantity": 2}]}
    made = turn(town, subscription, **asked, **NOW)
    assert made is not None
    assert gross_and_off(made) == [
        ("Remaining time on 2 × Fee after 22 Jan 2026", 2000, []),
        ("Unused time on Fee after 22 Jan 2026", -1000, [-500]),
    ]
    assert made.total == 1500
    assert renew(town, clock, subscription).total == 6200
