"""The judge of shapes is itself judged: it accepts what Stripe sends, and nothing less."""

from typing import Any

import pytest
import stripe

from shapes import LEFT_OUT, annotations, assert_shape

TIER = {
    "flat_amount": None,
    "flat_amount_decimal": None,
    "unit_amount": None,
    "unit_amount_decimal": "0.5",
    "up_to": None,
}

PRICE: dict[str, Any] = {
    "id": "price_1",
    "object": "price",
    "active": True,
    "billing_scheme": "tiered",
    "created": 1,
    "currency": "usd",
    "custom_unit_amount": None,
    "livemode": False,
    "lookup_key": None,
    "metadata": {"a": "b"},
    "nickname": None,
    "product": "prod_1",
    "recurring": {
        "interval": "month",
        "interval_count": 1,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    },
    "tax_behavior": "unspecified",
    "tiers": [TIER],
    "tiers_mode": "graduated",
    "transform_quantity": None,
    "type": "recurring",
    "unit_amount": None,
    "unit_amount_decimal": None,
}


def test_a_whole_object_has_the_shape() -> None:
    assert_shape(PRICE, stripe.Price)


def test_a_deleted_object_is_a_stub() -> None:
    assert_shape({"id": "cus_1", "object": "customer", "deleted": True}, stripe.Customer)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"created": "1"}, "Price.created: '1' is not a int"),
        ({"active": 1}, "Price.active: 1 is not a bool"),
        ({"created": True}, "Price.created: True is not a int"),
        ({"object": "prize"}, "Price.object: 'prize' is not one of price"),
        ({"type": "often"}, "Price.type: 'often' is not one of one_time, recurring"),
        ({"metadata": {"a": 1}}, "Price.metadata.a: 1 is not a str"),
        ({"metadata": None}, "Price.metadata: None is not an object"),
        ({"product": 7}, "Price.product: 7 is not a"),
        ({"product": {"id": "prod_1"}}, "Price.product.name is missing"),
        ({"recurring": {}}, "Price.recurring.interval is missing"),
        ({"tiers": [{**TIER, "up_to": "inf"}]}, "Price.tiers[0].up_to: 'inf' is not a int"),
        ({"unit_amount_decimal": 0.5}, "Price.unit_amount_decimal: 0.5 is not a Decimal"),
        ({"unit_amount_decimal": "half"}, "Price.unit_amount_decimal: 'half' is not a Decimal"),
    ],
)
def test_what_differs_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_shape(PRICE | change, stripe.Price)
    assert problem in str(failure.value)


def test_a_missing_key_is_named_even_when_it_may_be_null() -> None:
    with pytest.raises(AssertionError, match=r"Price\.nickname is missing"):
        assert_shape({k: v for k, v in PRICE.items() if k != "nickname"}, stripe.Price)


def test_what_stripe_leaves_out_may_be_left_out() -> None:
    assert_shape({k: v for k, v in PRICE.items() if k != "tiers"}, stripe.Price)


def test_every_key_that_may_be_left_out_exists() -> None:
    for stripe_class, keys in LEFT_OUT.items():
        assert keys <= set(annotations(stripe_class)), stripe_class


@pytest.mark.parametrize(
    "stripe_class",
    [
        stripe.Customer,
        stripe.Event,
        stripe.Invoice,
        stripe.InvoiceLineItem,
        stripe.Price,
        stripe.Product,
        stripe.Subscription,
        stripe.billing.Meter,
        stripe.billing.MeterEvent,
        stripe.test_helpers.TestClock,
    ],
)
def test_annotations_can_be_read(stripe_class: type[stripe.StripeObject]) -> None:
    assert "object" in annotations(stripe_class)
