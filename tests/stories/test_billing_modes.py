"""Flexible and classic billing mode, with usage alone and beside a licence."""

from town import DAY, HOUR, MONTH_BEGINS, Town

JANUARY = MONTH_BEGINS
FEBRUARY = JANUARY + 31 * DAY
MARCH = FEBRUARY + 28 * DAY
CLASSIC = {"type": "classic"}


def described(invoice: object) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]  # type: ignore[attr-defined]


def test_usage_alone_owes_nothing_until_the_month_is_over(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock, None)
    subscription = town.subscribe(customer, town.metered(unit_amount=5))
    assert (subscription.status, subscription.latest_invoice) == ("active", None)
    assert town.invoices(subscription.id) == []
    [item] = subscription["items"].data
    assert item.quantity is None
    assert (item.current_period_start, item.current_period_end) == (JANUARY, FEBRUARY)

    town.pays_with(customer, "pm_card_visa")
    town.use(customer, "20")
    town.advance(clock, FEBRUARY + HOUR)
    [invoice] = town.invoices(subscription.id)
    assert described(invoice) == [("20 × Calls (at $0.05 / month)", 100)]
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_cycle")
    assert invoice.number is not None
    assert invoice.number.endswith("-0001")
    assert town.subscription(subscription.id).latest_invoice == invoice.id


def test_a_month_without_usage_is_an_invoice_of_zero(town: Town) -> None:
    clock = town.clock()
    subscription = town.subscribe(town.customer(clock), town.metered(unit_amount=5))
    town.advance(clock, MARCH + HOUR)
    first, second = town.invoices(subscription.id)
    for invoice in (first, second):
        assert described(invoice) == [("0 × Calls (at $0.05 / month)", 0)]
        assert (invoice.status, invoice.total, invoice.amount_paid) == ("paid", 0, 0)
        assert invoice.attempt_count == 0


def test_classic_shows_usage_of_zero_on_the_first_invoice(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    fee = town.price(unit_amount=10000, product_data={"name": "Fee"})
    subscription = town.subscribe(customer, fee, town.metered(unit_amount=5), billing_mode=CLASSIC)
    assert subscription.billing_mode.type == "classic"
    assert subscription.billing_mode.flexible is None
    [first] = town.invoices(subscription.id)
    assert described(first) == [
        ("0 × Calls (at $0.05 / month)", 0),
        ("1 × Fee (at $100.00 / month)", 10000),
    ]

    town.use(customer, "20")
    town.advance(clock, FEBRUARY + HOUR)
    _, second = town.invoices(subscription.id)
    assert described(second) == [
        ("20 × Calls (at $0.05 / month)", 100),
        ("1 × Fee (at $100.00 / month)", 10000),
    ]


def test_classic_usage_alone_has_a_first_invoice_of_zero(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(customer, town.metered(unit_amount=5), billing_mode=CLASSIC)
    [first] = town.invoices(subscription.id)
    assert (subscription.status, first.status, first.total) == ("active", "paid", 0)
    assert first.billing_reason == "subscription_create"

    town.use(customer, "20")
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [0, 100]


def test_classic_opens_with_zero_also_where_no_usage_costs_something(town: Town) -> None:
    clock = town.clock()
    customer = town.customer(clock)
    minimum = town.metered(
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=[{"up_to": "inf", "unit_amount": 1, "flat_amount": 500}],
    )
    subscription = town.subscribe(customer, minimum, billing_mode=CLASSIC)
    assert [each.total for each in town.invoices(subscription.id)] == [0]
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [0, 500]


def test_a_sent_classic_draft_keeps_its_zero_through_its_hour(town: Town) -> None:
    """Usage of the first hour belongs to the month, not to the invoice that opens it."""
    clock = town.clock()
    customer = town.customer(clock)
    subscription = town.subscribe(
        customer,
        town.metered(unit_amount=5),
        billing_mode=CLASSIC,
        collection_method="send_invoice",
        days_until_due=5,
    )
    town.use(customer, "20")
    town.advance(clock, JANUARY + HOUR)
    [first] = town.invoices(subscription.id)
    assert (first.status, first.total) == ("paid", 0)
    town.advance(clock, FEBRUARY + HOUR)
    assert [each.total for each in town.invoices(subscription.id)] == [0, 100]
