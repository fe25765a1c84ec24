"""Stripe's guide to a flat fee with overages, with the official client, unchanged."""

import pytest
import stripe
from town import DAY, HOUR, MONTH_BEGINS, Town

FEBRUARY = MONTH_BEGINS + 31 * DAY


def prices(town: Town) -> tuple[str, str]:
    """The guide's two prices: $100 a month, and 4 cents for every token above 1,000."""
    licence = town.price(unit_amount_decimal="10000", product_data={"name": "Hypernian Fee"})
    usage = town.price(
        product_data={"name": "Hypernian Usage"},
        billing_scheme="tiered",
        tiers_mode="graduated",
        recurring={"usage_type": "metered", "meter": town.meter("hypernian_tokens")},
        tiers=[
            {"up_to": 1000, "unit_amount_decimal": "0", "flat_amount_decimal": "0"},
            {"up_to": "inf", "unit_amount_decimal": "4", "flat_amount_decimal": "0"},
        ],
    )
    return licence, usage


@pytest.mark.parametrize(
    ("tokens", "total"), [(3000, 18000), (0, 10000), (1000, 10000), (1001, 10004), (1500, 12000)]
)
def test_a_month_is_billed_with_the_overage_in_arrears(town: Town, tokens: int, total: int) -> None:
    client = town.client
    licence, usage = prices(town)
    clock = town.clock()
    customer = town.customer(clock)

    # 1 January: the fee is paid in advance.
    subscription = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": licence}, {"price": usage}]}
    )
    assert subscription.status == "active"
    assert subscription.billing_mode.type == "flexible"
    first = client.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (first.status, first.total, first.amount_paid) == ("paid", 10000, 10000)
    assert first.billing_reason == "subscription_create"
    assert [line.amount for line in first.lines.data] == [10000]

    # During the month: tokens.
    if tokens:
        town.use(customer, str(tokens), event_name="hypernian_tokens")
    meter = client.v1.prices.retrieve(usage).recurring.meter
    [summary] = client.v1.billing.meters.event_summaries.list(
        meter,
        {
            "customer": customer,
            "start_time": MONTH_BEGINS // 60 * 60,
            "end_time": FEBRUARY // 60 * 60,
        },
    ).data
    assert summary.aggregated_value == tokens

    upcoming = client.v1.invoices.create_preview({"subscription": subscription.id})
    assert upcoming.total == total
    assert client.v1.invoices.list({"customer": customer}).data == [first]

    # 1 February, and the hour of grace.
    town.advance(clock, FEBRUARY + HOUR)
    _, second = town.invoices(subscription.id)
    assert (second.status, second.total, second.amount_paid) == ("paid", total, total)
    assert second.billing_reason == "subscription_cycle"
    assert (second.period_start, second.period_end) == (MONTH_BEGINS, FEBRUARY)
    assert second.created == FEBRUARY
    assert second.status_transitions.finalized_at == FEBRUARY + HOUR
    assert [(line.description, line.amount) for line in second.lines.data] == [
        (line.description, line.amount) for line in upcoming.lines.data
    ]


def test_the_preview_shows_every_tier_that_was_reached(town: Town) -> None:
    licence, usage = prices(town)
    customer = town.customer(town.clock())
    subscription = town.client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": licence}, {"price": usage}]}
    )
    town.use(customer, "3000", event_name="hypernian_tokens")

    upcoming = town.client.v1.invoices.create_preview({"subscription": subscription.id})

    assert [(line.quantity, line.amount, line.description) for line in upcoming.lines.data] == [
        (1000, 0, "1000 × Hypernian Usage (Tier 1 at $0.00 / month)"),
        (0, 0, "Hypernian Usage (Tier 1 at $0.00 / month)"),
        (2000, 8000, "2000 × Hypernian Usage (Tier 2 at $0.04 / month)"),
        (0, 0, "Hypernian Usage (Tier 2 at $0.00 / month)"),
        (1, 10000, "1 × Hypernian Fee (at $100.00 / month)"),
    ]
    assert (upcoming.status, upcoming.billing_reason) == ("draft", "upcoming")
    assert str(upcoming.id).startswith("upcoming_in_")


def test_the_module_level_client_does_the_same(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "api_key", town.secret)
    monkeypatch.setattr(stripe, "api_base", town.base)
    meter = stripe.billing.Meter.create(
        display_name="Tokens", event_name="tokens", default_aggregation={"formula": "sum"}
    )
    product = stripe.Product.create(name="Tokens")
    usage = stripe.Price.create(
        product=product.id,
        currency="usd",
        unit_amount=4,
        recurring={"interval": "month", "usage_type": "metered", "meter": meter.id},
    )
    clock = stripe.test_helpers.TestClock.create(frozen_time=MONTH_BEGINS)
    customer = stripe.Customer.create(name="John Doe", test_clock=clock.id)
    method = stripe.PaymentMethod.attach("pm_card_visa", customer=customer.id)
    stripe.Customer.modify(customer.id, invoice_settings={"default_payment_method": method.id})
    subscription = stripe.Subscription.create(customer=customer.id, items=[{"price": usage.id}])
    assert (subscription.status, subscription.latest_invoice) == ("active", None)

    stripe.billing.MeterEvent.create(
        event_name="tokens", payload={"stripe_customer_id": customer.id, "value": "250"}
    )
    preview = stripe.Invoice.create_preview(subscription=subscription.id)
    assert preview.total == 1000

    town.advance(clock.id, FEBRUARY + HOUR)
    [invoice] = stripe.Invoice.list(subscription=subscription.id).data
    assert (invoice.status, invoice.total) == ("paid", 1000)
