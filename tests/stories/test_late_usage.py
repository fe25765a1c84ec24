"""Which usage is on which invoice: by when it was used, and until when it was heard of."""

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY


def begin(town: Town) -> tuple[str, str, str]:
    """A clock, a customer, and a subscription at a dollar a call."""
    clock = town.clock()
    customer = town.customer(clock)
    return clock, customer, town.subscribe(customer, town.metered(unit_amount=100)).id


def quantities(town: Town, subscription_id: str) -> list[int | None]:
    return [each.lines.data[0].quantity for each in town.invoices(subscription_id)]


def test_usage_heard_of_in_the_hour_of_grace_is_included(town: Town) -> None:
    """
    1 Jan ──── 1 Feb ── draft ── final
       5          ↑ 10 more, used in January
    """
    clock, customer, subscription = begin(town)
    town.use(customer, "5")
    town.advance(clock, FEBRUARY + HOUR // 2)
    [draft] = town.invoices(subscription)
    assert (draft.status, draft.total) == ("draft", 500)

    town.use(customer, "10", timestamp=FEBRUARY - DAY)
    assert town.client.v1.invoices.retrieve(draft.id).total == 500

    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription)
    assert (invoice.id, invoice.status, invoice.total) == (draft.id, "paid", 1500)
    assert quantities(town, subscription) == [15]


def test_usage_of_the_hour_of_grace_is_the_next_months(town: Town) -> None:
    clock, customer, subscription = begin(town)
    town.advance(clock, FEBRUARY + HOUR // 2)
    town.use(customer, "10")
    town.advance(clock, MARCH + HOUR)
    assert quantities(town, subscription) == [0, 10]


@pytest.mark.parametrize(
    ("second", "expected"), [(-1, [7, 0]), (0, [0, 7]), (1, [0, 7])], ids=["before", "at", "after"]
)
def test_the_boundary_belongs_to_the_period_that_begins(
    town: Town, second: int, expected: list[int]
) -> None:
    clock, customer, subscription = begin(town)
    town.advance(clock, FEBRUARY + 60)
    town.use(customer, "7", timestamp=FEBRUARY + second)
    town.advance(clock, MARCH + HOUR)
    assert quantities(town, subscription) == expected


def test_usage_heard_of_after_the_invoice_is_final_changes_nothing(town: Town) -> None:
    clock, customer, subscription = begin(town)
    town.use(customer, "5")
    town.advance(clock, FEBRUARY + HOUR)
    [before] = town.invoices(subscription)

    town.use(customer, "1000", timestamp=FEBRUARY - DAY)

    assert town.invoices(subscription) == [before]
    town.advance(clock, MARCH + HOUR)
    assert quantities(town, subscription) == [5, 0]
    # It was used all the same, and the meter says so.
    price = town.client.v1.subscriptions.retrieve(subscription)["items"].data[0].price
    [summary] = town.client.v1.billing.meters.event_summaries.list(
        price.recurring.meter,
        {
            "customer": customer,
            "start_time": JANUARY // 60 * 60,
            "end_time": FEBRUARY // 60 * 60,
        },
    ).data
    assert summary.aggregated_value == 1005


def test_a_draft_made_final_early_has_no_more_grace(town: Town) -> None:
    clock, customer, subscription = begin(town)
    town.use(customer, "5")
    town.advance(clock, FEBRUARY + 60)
    [draft] = town.invoices(subscription)
    town.use(customer, "1", timestamp=FEBRUARY - DAY)

    assert town.client.v1.invoices.finalize_invoice(draft.id).total == 600

    town.use(customer, "1000", timestamp=FEBRUARY - DAY)
    town.advance(clock, FEBRUARY + HOUR)
    assert quantities(town, subscription) == [6]


def test_usage_from_before_the_subscription_is_not_billed(town: Town) -> None:
    clock = town.clock(JANUARY - DAY)
    customer = town.customer(clock)
    price = town.metered(unit_amount=100)
    town.use(customer, "1000")
    town.advance(clock, JANUARY)
    subscription = town.subscribe(customer, price)
    town.use(customer, "3")
    town.advance(clock, FEBRUARY + HOUR)
    assert quantities(town, subscription.id) == [3]


def test_usage_is_the_customers_own(town: Town) -> None:
    clock = town.clock()
    price = town.metered(unit_amount=100)
    customers = [town.customer(clock, name=name) for name in ("Ada", "Grace", "Mary")]
    subscriptions = [town.subscribe(each, price) for each in customers]
    for customer, value in zip(customers, ("1", "20", "300"), strict=True):
        town.use(customer, value)
    town.advance(clock, FEBRUARY + HOUR)
    assert [quantities(town, each.id) for each in subscriptions] == [[1], [20], [300]]


def test_two_subscriptions_to_one_meter_both_bill_it(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    price = town.metered(unit_amount=100)
    first, second = town.subscribe(customer, price), town.subscribe(customer, price)
    town.use(customer, "3")
    town.advance(clock, FEBRUARY + HOUR)
    assert quantities(town, first.id) == quantities(town, second.id) == [3]


def test_an_event_counts_once(town: Town) -> None:
    clock, customer, subscription = begin(town)
    town.use(customer, "5", identifier="the one")
    for value in ("5", "6"):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            town.use(customer, value, identifier="the one")
        assert refused.value.http_status == 400
        assert refused.value.user_message == "An event already exists with identifier the one."
    town.advance(clock, FEBRUARY + HOUR)
    assert quantities(town, subscription) == [5]


def test_a_request_that_is_repeated_is_answered_again(town: Town) -> None:
    clock, customer, subscription = begin(town)
    event = {"event_name": "api_call", "payload": {"stripe_customer_id": customer, "value": "5"}}
    answers = [
        town.client.v1.billing.meter_events.create(event, {"idempotency_key": "once"})  # type: ignore[arg-type]
        for _ in range(3)
    ]
    assert {each.identifier for each in answers} == {answers[0].identifier}
    town.advance(clock, FEBRUARY + HOUR)
    assert quantities(town, subscription) == [5]
