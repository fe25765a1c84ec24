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
