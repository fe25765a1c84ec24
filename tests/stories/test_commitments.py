"""At least so much, at most so much: for a month, and for the parts of one."""

from typing import Any

import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY
MARCH = FEBRUARY + 28 * DAY


def amounts(invoice: stripe.Invoice) -> list[tuple[int, str | None]]:
    return [(line.amount, line.description) for line in invoice.lines.data]


def preview(town: Town, subscription_id: str) -> stripe.Invoice:
    return town.client.v1.invoices.create_preview({"subscription": subscription_id})


def test_a_minimum_and_a_maximum_of_a_price(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    calls = town.metered(unit_amount=5, minimum_amount=1000, maximum_amount=2000)
    subscription = town.subscribe(ada, calls)
    town.use(ada, "100")

    expected = preview(town, subscription.id)
    town.advance(clock, FEBRUARY + HOUR)
    [january] = town.invoices(subscription.id)
    assert amounts(january) == [
        (500, "100 × Calls (at $0.05 / month)"),
        (500, "Minimum commitment for Calls"),
    ]
    assert (january.status, january.total) == ("paid", 1000)
    assert amounts(expected) == amounts(january)

    town.use(ada, "500")
    expected = preview(town, subscription.id)
    town.advance(clock, MARCH + HOUR)
    [_, february] = town.invoices(subscription.id)
    assert amounts(february) == [
        (2500, "500 × Calls (at $0.05 / month)"),
        (-500, "Maximum charge for Calls"),
    ]
    assert february.total == expected.total == 2000


def test_usage_of_the_grace_hour_lowers_what_is_missing(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.metered(unit_amount=5, minimum_amount=1000))
    town.advance(clock, FEBRUARY)
    [draft] = town.invoices(subscription.id)
    assert (draft.status, draft.total) == ("draft", 1000)

    town.use(ada, "150", timestamp=FEBRUARY - 60)
    town.advance(clock, FEBRUARY + HOUR)
    [final] = town.invoices(subscription.id)
    assert amounts(final) == [
        (750, "150 × Calls (at $0.05 / month)"),
        (250, "Minimum commitment for Calls"),
    ]


def test_a_stub_owes_its_share_to_the_second(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    first_of_february = 1769904000
    subscription = town.subscribe(
        ada,
        town.metered("call", unit_amount=5, minimum_amount=100_000),
        town.metered("look", unit_amount=5, maximum_amount=100_000),
        billing_cycle_anchor=first_of_february,
    )
    town.use(ada, "100000", event_name="look")
    town.advance(clock, first_of_february + 2 * HOUR)

    [stub] = [each for each in town.invoices(subscription.id) if each.lines.data]
    share = round(100_000 * (first_of_february - MONTH_BEGINS) / (31 * DAY))
    assert share < 100_000
    assert [line.amount for line in stub.lines.data] == [500_000, share - 500_000, 0, share]


def test_a_commitment_of_a_whole_subscription(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    fee = town.price(unit_amount=900, product_data={"name": "Fee"})
    calls, looks = town.metered("call", unit_amount=5), town.metered("look", unit_amount=1)
    subscription = town.subscribe(ada, fee, calls, looks, minimum_amount=1000, maximum_amount=3000)
    assert (subscription["minimum_amount"], subscription["maximum_amount"]) == (1000, 3000)
    town.use(ada, "100", event_name="call")
    town.use(ada, "50", event_name="look")

    expected = preview(town, subscription.id)
    town.advance(clock, FEBRUARY)
    town.use(ada, "50", event_name="look", timestamp=FEBRUARY - 60)
    town.advance(clock, FEBRUARY + HOUR)
    [_, january] = town.invoices(subscription.id)
    assert [line.amount for line in expected.lines.data] == [50, 500, 900, 450]
    assert amounts(january) == [
        (100, "100 × Calls (at $0.01 / month)"),
        (500, "100 × Calls (at $0.05 / month)"),
        (900, "1 × Fee (at $9.00 / month)"),
        (400, "Minimum commitment"),
    ]

    town.use(ada, "1000", event_name="call")
    town.advance(clock, MARCH + HOUR)
    [_, _, february] = town.invoices(subscription.id)
    assert amounts(february)[-1] == (-2000, "Maximum charge")
    assert february.total == 3000 + 900


def test_a_commitment_may_change_and_end(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.metered(unit_amount=5), minimum_amount=1000)

    def changed(**given: Any) -> Any:
        return town.client.v1.subscriptions.update(subscription.id, given)  # type: ignore[arg-type]

    assert changed(minimum_amount=2000)["minimum_amount"] == 2000
    town.advance(clock, FEBRUARY + HOUR)
    assert changed(minimum_amount="")["minimum_amount"] is None
    town.advance(clock, MARCH + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [2000, 0]


def test_a_commitment_is_on_the_invoice_of_the_usage(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    fee = town.price(unit_amount=900, product_data={"name": "Fee"})
    subscription = town.subscribe(
        ada, fee, town.metered(unit_amount=5), minimum_amount=1000, usage_invoicing="separate"
    )
    town.advance(clock, FEBRUARY)
    town.use(ada, "10", timestamp=FEBRUARY - 60)
    town.advance(clock, FEBRUARY + HOUR)
    [_, *renewals] = town.invoices(subscription.id)
    assert sorted(each.total for each in renewals) == [900, 1000]


def two_plans(town: Town, **terms: Any) -> tuple[str, str]:
    """Two prices of the same calls, at 10 and 20 cents; the first with these terms."""
    recurring = {"usage_type": "metered", "meter": town.meter()}
    cheap = town.price(recurring=recurring, product_data={"name": "A"}, unit_amount=10, **terms)
    return cheap, town.price(recurring=recurring, product_data={"name": "B"}, unit_amount=20)


def test_a_commitment_is_for_the_whole_month_whatever_is_sold_in_it(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    cheap, dear = two_plans(town)
    subscription = town.subscribe(ada, cheap, minimum_amount=3100)
    town.advance(clock, MONTH_BEGINS + 10 * DAY)
    town.use(ada, "10", timestamp=MONTH_BEGINS + DAY)
    [item] = subscription["items"].data
    town.client.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": item.id, "price": dear}, {"price": town.metered("look", unit_amount=1)}]},
    )
    expected = preview(town, subscription.id)
    town.advance(clock, FEBRUARY)
    town.use(ada, "1", timestamp=FEBRUARY - 60)
    town.advance(clock, FEBRUARY + HOUR)
    [january] = town.invoices(subscription.id)
    assert (expected.total, expected.lines.data[-1].amount) == (3100, 3000)
    assert (january.total, january.lines.data[-1].amount) == (3100, 2980)


def test_a_part_that_is_invoiced_at_once_owes_its_share_and_the_rest_the_rest(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    cheap, dear = two_plans(town)
    subscription = town.subscribe(ada, cheap, maximum_amount=3100)
    town.advance(clock, MONTH_BEGINS + 10 * DAY)
    town.use(ada, "500", timestamp=MONTH_BEGINS + DAY)
    [item] = subscription["items"].data
    town.client.v1.subscriptions.update(
        subscription.id,
        {"items": [{"id": item.id, "price": dear}], "proration_behavior": "always_invoice"},
    )
    town.use(ada, "500")
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [1000, 2100]


def test_a_price_that_is_left_owes_its_share_though_nothing_was_used(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    cheap, dear = two_plans(town, minimum_amount=3100)
    subscription = town.subscribe(ada, cheap)
    town.advance(clock, MONTH_BEGINS + 10 * DAY)
    [item] = subscription["items"].data
    town.client.v1.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "price": dear}]}
    )
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [1000]


def test_a_commitment_that_changes_in_the_hour_of_grace_counts(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    subscription = town.subscribe(ada, town.metered(unit_amount=5), minimum_amount=1000)
    town.advance(clock, FEBRUARY)
    town.client.v1.subscriptions.update(subscription.id, {"minimum_amount": ""})  # type: ignore[typeddict-unknown-key]
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [0]


def test_a_discount_is_of_the_most_and_not_of_what_is_over_it(town: Town) -> None:
    clock = town.clock()
    ada = town.customer(clock)
    free = town.client.v1.coupons.create({"percent_off": 100, "duration": "forever"})
    subscription = town.subscribe(
        ada, town.metered(unit_amount=5, maximum_amount=300), discounts=[{"coupon": free.id}]
    )
    town.use(ada, "100")
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [0]
