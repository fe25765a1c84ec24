"""Usage that becomes much is invoiced at once; and in the end no more than it comes to."""

import time
from typing import Any

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town, day

FEBRUARY = MONTH_BEGINS + 31 * DAY
MARCH = FEBRUARY + 28 * DAY

GRADUATED = [
    {"up_to": 100, "unit_amount": 10},
    {"up_to": 1000, "unit_amount": 5},
    {"up_to": "inf", "unit_amount_decimal": "0.5"},
]


def tiered(town: Town, mode: str) -> str:
    return town.metered(billing_scheme="tiered", tiers_mode=mode, tiers=GRADUATED)


def wait_for(
    town: Town, subscription_id: str, count: int, *, under_way: str = "open"
) -> list[stripe.Invoice]:
    """The subscription's invoices, once they are so many and none is under way."""
    for _ in range(1000):
        found = town.invoices(subscription_id)
        if len(found) >= count and all(each.status != under_way for each in found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"There never were {count} invoices.")


def amounts(invoice: stripe.Invoice) -> list[tuple[int, str | None]]:
    return [(line.amount, line.description) for line in invoice.lines.data]


def test_graduated_over_three_threshold_invoices_comes_to_what_one_would(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    calls = tiered(town, "graduated")
    subscription = town.subscribe(ada, calls, billing_thresholds={"amount_gte": 1000})
    assert subscription.billing_thresholds is not None
    assert subscription.billing_thresholds.amount_gte == 1000

    town.use(ada, "90")
    town.use(ada, "10")
    [first] = wait_for(town, subscription.id, 1)
    town.advance(clock, MONTH_BEGINS + DAY)
    town.use(ada, "300")
    second = wait_for(town, subscription.id, 2)[-1]
    town.advance(clock, MONTH_BEGINS + 2 * DAY)
    town.use(ada, "650")
    third = wait_for(town, subscription.id, 3)[-1]
    town.use(ada, "150")
    town.advance(clock, FEBRUARY + HOUR)
    last = town.invoices(subscription.id)[-1]

    assert (first.billing_reason, first.status) == ("subscription_threshold", "paid")
    assert first.threshold_reason is not None
    assert first.threshold_reason.amount_gte == 1000
    assert first.threshold_reason.item_reasons == []
    assert amounts(first) == [(1000, "100 × Calls (Tier 1 at $0.10 / month)")]
    assert amounts(second) == [
        (1000, "100 × Calls (Tier 1 at $0.10 / month)"),
        (1500, "300 × Calls (Tier 2 at $0.05 / month)"),
        (-1000, "Amount previously billed for Calls"),
    ]
    assert [each.total for each in (first, second, third)] == [1000, 1500, 3025]
    assert last.billing_reason == "subscription_cycle"
    assert amounts(last)[-1] == (-5525, "Amount previously billed for Calls")
    assert sum(each.total for each in town.invoices(subscription.id)) == 1000 + 4500 + 100


def test_volume_corrects_itself_and_what_is_too_much_goes_to_the_balance(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada, tiered(town, "volume"), billing_thresholds={"amount_gte": 800}
    )
    town.use(ada, "90")
    [first] = wait_for(town, subscription.id, 1)
    assert first.total == 900
    town.use(ada, "1110")  # 1200 cost 600 by their tier
    expected = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    town.advance(clock, FEBRUARY + HOUR)

    [_, last] = town.invoices(subscription.id)
    assert (
        amounts(last)
        == amounts(expected)
        == [
            (600, "1200 × Calls (Tier 3 at $0.005 / month)"),
            (-900, "Amount previously billed for Calls"),
        ]
    )
    assert (last.total, last.amount_due, last.status) == (-300, 0, "paid")
    assert town.client.v1.customers.retrieve(ada).balance == -300


def test_a_quantity_of_one_item(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    calls, looks = town.metered("call", unit_amount=5), town.metered("look", unit_amount=1)
    subscription = town.client.v1.subscriptions.create(
        {
            "customer": ada,
            "items": [
                {"price": calls, "billing_thresholds": {"usage_gte": 100}},
                {"price": looks},
            ],
        }
    )
    of_calls, of_looks = (each.billing_thresholds for each in subscription["items"].data)
    assert of_calls is not None
    assert (of_calls.usage_gte, of_looks) == (100, None)
    town.use(ada, "7", event_name="look")
    town.use(ada, "99", event_name="call")
    town.use(ada, "1", event_name="call")
    [first] = wait_for(town, subscription.id, 1)
    assert [line.amount for line in first.lines.data] == [7, 500]
    assert first.threshold_reason is not None
    assert first.threshold_reason.amount_gte is None
    [reason] = first.threshold_reason.item_reasons
    assert (reason.usage_gte, reason.line_item_ids) == (100, [first.lines.data[1].id])

    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [507, 0]


def test_a_new_month_begins_anew(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada, town.metered(unit_amount=5), billing_thresholds={"amount_gte": 500}
    )
    town.use(ada, "100")
    wait_for(town, subscription.id, 1)
    town.advance(clock, FEBRUARY + 2 * HOUR)
    town.use(ada, "99")
    town.advance(clock, FEBRUARY + DAY)
    assert [each.total for each in town.invoices(subscription.id)] == [500, 0]
    town.use(ada, "1")
    town.advance(clock, FEBRUARY + 2 * DAY)  # nothing that was noted is left behind
    assert [each.total for each in town.invoices(subscription.id)] == [500, 0, 500]
    town.advance(clock, MARCH + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [500, 0, 500, 0]


def test_a_threshold_that_comes_later_is_watched_from_then_on(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.metered(unit_amount=5))
    town.use(ada, "1000")
    town.client.v1.subscriptions.update(
        subscription.id, {"billing_thresholds": {"amount_gte": 500}}
    )
    town.use(ada, "1")
    [first] = wait_for(town, subscription.id, 1)
    assert first.total == 5005

    unset: Any = {"billing_thresholds": ""}
    assert town.client.v1.subscriptions.update(subscription.id, unset).billing_thresholds is None
    town.use(ada, "1000")
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [5005, 5000]


def test_what_a_void_threshold_invoice_billed_is_owed_again(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock, "pm_card_chargeCustomerFail")
    subscription = town.subscribe(
        ada, town.metered(unit_amount=5), billing_thresholds={"amount_gte": 500}
    )
    town.use(ada, "100")
    for _ in range(1000):
        if found := town.invoices(subscription.id):
            break
        time.sleep(0.02)
    [first] = found
    town.client.v1.invoices.void_invoice(first.id)
    town.pays_with(ada, "pm_card_visa")
    town.advance(clock, FEBRUARY + HOUR)
    [_, last] = town.invoices(subscription.id)
    assert (last.total, last.status) == (500, "paid")


def test_a_threshold_that_resets_the_anchor_renews(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada,
        town.metered(unit_amount=5),
        billing_thresholds={"amount_gte": 500, "reset_billing_cycle_anchor": True},
    )
    town.advance(clock, MONTH_BEGINS + 10 * DAY)
    town.use(ada, "120")
    town.advance(clock, MONTH_BEGINS + 10 * DAY + 2 * HOUR)
    [renewal] = town.invoices(subscription.id)
    assert (renewal.total, renewal.status) == (600, "paid")
    now = town.subscription(subscription.id)
    assert now.billing_cycle_anchor == MONTH_BEGINS + 10 * DAY + 1
    assert now["items"].data[0].current_period_start == now.billing_cycle_anchor

    town.use(ada, "99")
    town.advance(clock, MONTH_BEGINS + 20 * DAY)
    assert len(town.invoices(subscription.id)) == 1
    town.use(ada, "1")
    town.advance(clock, MONTH_BEGINS + 21 * DAY)
    assert [each.total for each in town.invoices(subscription.id)] == [600, 500]
    assert day(town.subscription(subscription.id).billing_cycle_anchor) == "2026-01-21"


def test_in_a_trial_nothing_is_billed(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada,
        town.metered(unit_amount=5),
        billing_thresholds={"amount_gte": 500},
        trial_period_days=7,
    )
    town.use(ada, "1000")
    town.advance(clock, MONTH_BEGINS + 8 * DAY)
    assert "subscription_threshold" not in {
        each.billing_reason for each in town.invoices(subscription.id)
    }
    town.use(ada, "100")
    town.advance(clock, MONTH_BEGINS + 9 * DAY)
    assert town.invoices(subscription.id)[-1].total == 500


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"amount_gte": 49}, "billing_thresholds[amount_gte]"),
        ({"amount_gte": 900}, "billing_thresholds[amount_gte]"),
    ],
    ids=["too low", "not above the flat amounts"],
)
def test_thresholds_that_are_refused(town: Town, given: Any, param: str) -> None:
    ada = town.customer(None)
    tiers = [{"up_to": "inf", "flat_amount": 900, "unit_amount": 1}]
    calls = town.metered(billing_scheme="tiered", tiers_mode="volume", tiers=tiers)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        town.subscribe(ada, calls, billing_thresholds=given)
    assert refused.value.param == param


def test_a_last_invoice_takes_off_what_was_billed(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada, town.metered(unit_amount=5), billing_thresholds={"amount_gte": 500}
    )
    town.use(ada, "100")
    wait_for(town, subscription.id, 1)
    town.advance(clock, MONTH_BEGINS + DAY)
    town.use(ada, "20")
    town.advance(clock, MONTH_BEGINS + 2 * DAY)
    town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True})
    assert [each.total for each in town.invoices(subscription.id)] == [500, 100]


@pytest.mark.parametrize("mode", ["flexible", "classic"])
def test_a_threshold_that_resets_the_anchor_gives_back_what_licences_paid(
    town: Town, mode: str
) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    half = town.client.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    fee = town.price(unit_amount=3100, product_data={"name": "Fee"})
    subscription = town.subscribe(
        ada,
        billing_mode={"type": mode},
        items=[
            {"price": fee, "discounts": [{"coupon": half}]},
            {"price": town.metered(unit_amount=5)},
        ],
        billing_thresholds={"amount_gte": 500, "reset_billing_cycle_anchor": True},
    )
    town.advance(clock, MONTH_BEGINS + 10 * DAY)
    town.use(ada, "120")
    town.advance(clock, MONTH_BEGINS + 10 * DAY + 2 * HOUR)
    [_, renewal] = town.invoices(subscription.id)
    assert [(line.description, line.amount) for line in renewal.lines.data] == [
        ("Unused time on Fee after 11 Jan 2026", -1050),
        ("120 × Calls (at $0.05 / month)", 600),
        ("1 × Fee (at $31.00 / month)", 3100),
    ]
    assert (renewal.total, renewal.status) == (-1050 + 600 + 1550, "paid")
    now = town.subscription(subscription.id)
    begun = MONTH_BEGINS + 10 * DAY + 1
    assert {item.current_period_start for item in now["items"].data} == {begun}
    town.client.v1.subscriptions.cancel(subscription.id, {"invoice_now": True, "prorate": True})
    last = town.invoices(subscription.id)[-1]
    assert last.billing_reason == "subscription_update"


def test_a_discount_and_credit_are_for_what_is_billed_for_the_first_time(town: Town) -> None:
    clock = town.clock()
    ada, tenth = town.customer(clock), {"percent_off": 10, "duration": "forever"}
    coupon = town.client.v1.coupons.create(tenth)  # type: ignore[arg-type]
    subscription = town.subscribe(
        ada,
        town.price(unit_amount=5000, product_data={"name": "Fee"}),
        town.metered(unit_amount=10),
        billing_thresholds={"amount_gte": 900},
        discounts=[{"coupon": coupon.id}],
    )
    town.client.v1.billing.credit_grants.create(
        {
            "customer": ada,
            "category": "paid",
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 1000}},
            "applicability_config": {"scope": {"price_type": "metered"}},
        }
    )
    town.use(ada, "100")
    wait_for(town, subscription.id, 2)
    town.use(ada, "50")
    expected = town.client.v1.invoices.create_preview({"subscription": subscription.id})
    town.advance(clock, FEBRUARY + HOUR)

    # All of January's usage is 1500, less a tenth; 900 of the credit were for the first 100 calls.
    [_, first, last] = town.invoices(subscription.id)
    assert (first.total, last.total, expected.total) == (0, 4850, 4850)
    assert [each.amount for each in last.total_discount_amounts or ()] == [550]
    assert sum(each.amount for each in last.total_pretax_credit_amounts or ()) == 550 + 100


@pytest.mark.parametrize("void", [False, True], ids=["all stand", "one is void"])
def test_the_most_of_a_subscription_is_the_most_of_its_thresholds_too(
    town: Town, void: bool
) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(
        ada,
        town.metered("call", unit_amount=10),
        town.metered("look", unit_amount=7),
        billing_thresholds={"amount_gte": 1000},
        maximum_amount=3000,
        collection_method="send_invoice",
        days_until_due=30,
    )
    town.use(ada, "200", event_name="call")
    wait_for(town, subscription.id, 1, under_way="draft")
    town.use(ada, "333", event_name="look")
    [_, second] = wait_for(town, subscription.id, 2, under_way="draft")
    town.use(ada, "500", event_name="call")
    assert (second.total, amounts(second)[-1]) == (1000, (-1331, "Maximum charge"))
    if void:
        town.client.v1.invoices.void_invoice(second.id)
    town.advance(clock, FEBRUARY + HOUR)
    town.advance(clock, FEBRUARY + 2 * HOUR)
    standing = [each.total for each in town.invoices(subscription.id) if each.status != "void"]
    assert standing == ([2000, 1000] if void else [2000, 1000, 0])
