"""Trials from their beginning to a year after: what they cost, and what becomes of them."""

from typing import Any

import pytest
import stripe
from previewing import assert_as_previewed, previews_hold, upcoming
from town import DAY, HOUR, Town, at, day

JANUARY = at("2026-01-01")


def fee(town: Town, amount: int = 3100, **more: Any) -> str:
    return town.price(unit_amount=amount, product_data={"name": "Fee"}, **more)


def lines(invoice: stripe.Invoice) -> list[tuple[str, int, str, str]]:
    """What each line says, what it comes to, and for when."""
    return [
        (line.description or "", line.amount, day(line.period.start), day(line.period.end))
        for line in invoice.lines.data
    ]


def said(town: Town, subscription_id: str) -> list[str]:
    """What was said of the subscription: the last words of its events."""
    return [each.type.rpartition(".")[2] for each in town.events(subscription_id)]


def update(town: Town, subscription_id: str, **asked: Any) -> stripe.Subscription:
    return town.client.v1.subscriptions.update(subscription_id, asked)  # type: ignore[arg-type]


def preview(town: Town, subscription_id: str, **details: Any) -> stripe.Invoice:
    asked: Any = {"subscription": subscription_id, "subscription_details": details}
    return town.client.v1.invoices.create_preview(asked)


def trying(behavior: str) -> dict[str, Any]:
    return {
        "trial_period_days": 14,
        "trial_settings": {"end_behavior": {"missing_payment_method": behavior}},
    }


# ─── How they end ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_a_month_for_nothing_and_then_a_year(town: Town, mode: str) -> None:
    """Usage of the trial is free, also that of its last second."""
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=5),
        trial_end=at("2026-01-31"),
        billing_mode={"type": mode},
    )
    town.use(customer, "1000", timestamp=JANUARY)
    town.advance(clock, at("2026-01-30 23:00"))
    town.use(customer, "1000", timestamp=at("2026-01-30 22:59:59"))
    [first] = town.invoices(begun.id)
    assert (first.total, first.status, first.billing_reason) == (0, "paid", "subscription_create")

    def use(latest: stripe.Invoice | None) -> None:
        if latest is not None:
            town.use(customer, "4")

    billed = previews_hold(town, clock, begun.id, at("2027-01-31"), use)

    assert [day(each.created) for each in billed[:3]] == ["2026-01-31", "2026-02-28", "2026-03-31"]
    assert [each.total for each in billed] == [3100, *[3120] * 12]
    assert lines(billed[0]) == [("1 × Fee (at $31.00 / month)", 3100, "2026-01-31", "2026-02-28")]
    assert said(town, begun.id)[:3] == ["created", "trial_will_end", "updated"]


@pytest.mark.parametrize("card", [None, "pm_card_chargeCustomerFail"], ids=["none", "declined"])
def test_a_trial_into_past_due_goes_on_being_billed_until_it_is_paid(
    town: Town, card: str | None
) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=card)
    begun = town.subscribe(customer, fee(town), trial_period_days=14)
    statuses: list[str] = []

    def look(latest: stripe.Invoice | None) -> None:
        statuses.append(town.subscription(begun.id).status)
        if latest is not None and day(latest.created) == "2026-03-15":
            town.pays_with(customer, "pm_card_visa")
            town.client.v1.invoices.pay(latest.id)  # the latest is what decides

    previews_hold(town, clock, begun.id, at("2026-06-15"), look)

    assert statuses == ["trialing", *["past_due"] * 3, *["active"] * 3]
    ever = [each.status for each in town.invoices(begun.id)]
    assert ever == ["paid", "open", "open", "paid", "paid", "paid", "paid"]
    assert said(town, begun.id).count("trial_will_end") == 1


def test_with_nothing_to_pay_with_a_trial_can_end_it_all(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = town.subscribe(customer, fee(town), **trying("cancel"))
    assert upcoming(town, begun.id) is None  # because nothing will be billed
    town.advance(clock, at("2026-03-01"))
    over = town.subscription(begun.id)
    assert (over.status, over.ended_at) == ("canceled", JANUARY + 14 * DAY)
    assert [each.total for each in town.invoices(begun.id)] == [0]
    assert said(town, begun.id) == ["created", "trial_will_end", "deleted"]


def test_a_card_in_time_makes_it_go_on(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = town.subscribe(customer, fee(town), **trying("cancel"))
    town.advance(clock, JANUARY + 13 * DAY)
    town.pays_with(customer, "pm_card_visa")
    billed = previews_hold(town, clock, begun.id, at("2026-04-15"))
    assert [each.total for each in billed] == [3100] * 4
    assert town.subscription(begun.id).status == "active"


def test_a_trial_that_pauses_is_resumed_two_months_later_and_renews_for_a_year(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5), **trying("pause"))
    assert upcoming(town, begun.id) is None
    town.advance(clock, at("2026-02-20"))
    town.use(customer, "1000")  # in the pause: never billed
    town.advance(clock, at("2026-03-15"))
    paused = town.subscription(begun.id)
    assert (paused.status, len(town.invoices(begun.id))) == ("paused", 1)
    assert upcoming(town, begun.id) is None

    town.pays_with(customer, "pm_card_visa")
    expected = preview(town, begun.id, resume_at="now")
    resumed = town.client.v1.subscriptions.resume(begun.id, {})
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", at("2026-03-15"))
    assert_as_previewed(town.invoices(begun.id)[-1], expected)

    billed = previews_hold(
        town, clock, begun.id, at("2027-03-15"), lambda latest: town.use(customer, "4")
    )
    assert [each.total for each in billed] == [3120] * 12
    assert said(town, begun.id)[:4] == ["created", "trial_will_end", "updated", "paused"]


# ─── How they are moved ──────────────────────────────────────────────────────────────────────


def test_a_trial_is_made_longer_and_then_ended_at_once(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5), trial_period_days=14)
    town.use(customer, "100")
    town.advance(clock, JANUARY + 10 * DAY)
    longer = at("2026-02-10")
    expected = preview(town, begun.id, trial_end=longer)
    assert day(expected.created) == "2026-02-10"
    after = update(town, begun.id, trial_end=longer)
    assert (after.status, after.trial_start, after.trial_end) == ("trialing", JANUARY, longer)
    assert after.billing_cycle_anchor == longer
    assert_as_previewed_renewal(town, begun.id, expected)
    town.advance(clock, JANUARY + 20 * DAY)

    expected = preview(town, begun.id, trial_end="now")
    over = update(town, begun.id, trial_end="now")
    assert (over.status, over.trial_end) == ("active", JANUARY + 20 * DAY)
    assert over.billing_cycle_anchor == JANUARY + 20 * DAY
    assert said(town, begun.id)[-1] == "trial_will_end"  # Stripe: also when it is ended at once
    latest = town.invoices(begun.id)[-1]
    assert_as_previewed(latest, expected)
    assert lines(latest)[-1] == (
        "1 × Fee (at $31.00 / month)",
        3100,
        "2026-01-21",
        "2026-02-21",
    )
    town.use(customer, "4")
    billed = previews_hold(town, clock, begun.id, at("2026-04-21"))
    assert [each.total for each in billed] == [3120, 3100, 3100]


def test_a_trial_that_is_moved_to_its_last_days_says_so_at_once_and_once(town: Town) -> None:
    clock = town.clock(JANUARY)
    begun = town.subscribe(town.customer(clock), fee(town), trial_period_days=30)
    update(town, begun.id, trial_end=JANUARY + 2 * DAY)
    assert said(town, begun.id) == ["created", "updated", "trial_will_end"]
    update(town, begun.id, metadata={"looked": "at"})
    update(town, begun.id, trial_end=JANUARY + DAY)
    assert said(town, begun.id)[3:] == ["updated", "updated"]
    update(town, begun.id, trial_end=JANUARY + 10 * DAY)
    town.advance(clock, JANUARY + 10 * DAY + HOUR)
    assert said(town, begun.id)[5:7] == ["updated", "trial_will_end"]
    assert said(town, begun.id).count("trial_will_end") == 2
    update(town, begun.id, trial_end=JANUARY + 12 * DAY)
    assert said(town, begun.id)[-2:] == ["updated", "trial_will_end"]


def assert_as_previewed_renewal(town: Town, subscription_id: str, expected: stripe.Invoice) -> None:
    """The renewal as it is upcoming now is the one that a change was previewed to bring."""
    now = upcoming(town, subscription_id)
    assert now is not None
    assert_as_previewed(now, expected)


def test_a_trial_in_the_middle_of_a_subscription(town: Town) -> None:
    """What was paid and is not used comes back; the trial's end is the anchor from then on."""
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(customer, fee(town), town.metered(unit_amount=5))
    town.use(customer, "10")
    town.advance(clock, at("2026-01-11"))
    expected = preview(town, begun.id, trial_end=at("2026-01-26"))
    after = update(town, begun.id, trial_end=at("2026-01-26"))
    assert (after.status, after.trial_start) == ("trialing", at("2026-01-11"))
    town.use(customer, "1000", timestamp=at("2026-01-11") + 1)
    town.advance(clock, at("2026-01-26") + HOUR)
    latest = town.invoices(begun.id)[-1]
    assert_as_previewed(latest, expected)
    assert sorted(line[1] for line in lines(latest)) == [-2100, 50, 3100]
    billed = previews_hold(town, clock, begun.id, at("2026-06-26"))
    assert [each.total for each in billed] == [3100] * 5


# ─── What they go with ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("proration", ["create_prorations", "none"])
def test_an_anchor_after_the_trial_leaves_a_stub(town: Town, proration: str) -> None:
    """
    1 Jan ── trial ── 15 Jan ── stub ── 1 Feb ── month ── 1 Mar
    """
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer,
        fee(town),
        town.metered(unit_amount=5),
        trial_end=at("2026-01-15"),
        billing_cycle_anchor=at("2026-02-01"),
        proration_behavior=proration,
    )
    assert begun.billing_cycle_anchor == at("2026-02-01")

    def use(latest: stripe.Invoice | None) -> None:
        if latest is not None:
            town.use(customer, "4")

    billed = previews_hold(town, clock, begun.id, at("2026-04-01"), use)

    if proration == "none":  # and what was used until then was nothing
        assert [each.total for each in billed] == [3100, 3120, 3120]
    else:
        assert [each.total for each in billed] == [1700, 3120, 3120, 3120]
        assert lines(billed[0]) == [
            ("Time on Fee from 15 Jan 2026 until 01 Feb 2026", 1700, "2026-01-15", "2026-02-01")
        ]


def test_a_trial_with_an_annual_fee_and_monthly_usage(town: Town) -> None:
    clock = town.clock(JANUARY)
    customer = town.customer(clock)
    begun = town.subscribe(
        customer,
        fee(town, 120000, recurring={"interval": "year"}),
        town.metered(unit_amount=5),
        trial_period_days=30,
    )

    def use(latest: stripe.Invoice | None) -> None:
        town.use(customer, "4")

    billed = previews_hold(town, clock, begun.id, at("2027-01-31"), use)
    assert day(billed[0].created) == "2026-01-31"
    assert [each.total for each in billed] == [120000, *[20] * 11, 120020]


def test_a_trial_is_not_billed_by_thresholds_nor_ended_by_what_is_owed(town: Town) -> None:
    """An open invoice by hand, of a trial's customer, leaves the trial as it is."""
    clock = town.clock(JANUARY)
    customer = town.customer(clock, card=None)
    begun = town.subscribe(customer, fee(town), trial_period_days=14)
    town.client.v1.invoice_items.create({"customer": customer, "amount": 900, "currency": "usd"})
    invoice = town.client.v1.invoices.create(
        {"customer": customer, "pending_invoice_items_behavior": "include", "auto_advance": True}
    )
    town.client.v1.invoices.finalize_invoice(invoice.id)
    town.advance(clock, JANUARY + DAY)
    assert town.subscription(begun.id).status == "trialing"
    town.client.v1.subscriptions.cancel(begun.id)
