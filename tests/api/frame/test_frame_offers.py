"""At what a product is sold to whoever names the product and a currency."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import stripe

from frame_client import Frame
from postpaid.billing.offer import find_or_make, offered_price, reprice
from postpaid.billing.perform import Act
from postpaid.core.errors import BillingError, InvalidRequest, NotFound
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.pricing import Model
from postpaid.storage.database import Database
from postpaid.storage.offers import Wanted
from statements import counted

PRO = {
    "name": "Pro",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "every_3_months",
}


def test_a_product_is_sold_at_its_default_price(
    frame: Frame, stripe_client: stripe.StripeClient, database: Database, act: Act
) -> None:
    product = frame.post("/v1/products", PRO)["id"]
    default = stripe_client.v1.products.retrieve(product).default_price
    with database.transaction() as conn:
        for currency in (None, "usd"):
            assert offered_price(conn, act, product, currency=currency).id == default


def test_in_another_currency_it_is_an_equal_price_that_is_made_once(
    frame: Frame, stripe_client: stripe.StripeClient, database: Database, act: Act
) -> None:
    product = frame.post("/v1/products", PRO)["id"]
    unlike: list[dict[str, Any]] = [
        {"unit_amount": 9901, "recurring": {"interval": "month", "interval_count": 3}},
        {"unit_amount": 9900, "recurring": {"interval": "month"}},
        {"unit_amount": 9900},
        {"unit_amount": 9900, "currency": "gbp"}
        | {"recurring": {"interval": "month", "interval_count": 3}},
        {"unit_amount": 9900, "tax_behavior": "inclusive"}
        | {"recurring": {"interval": "month", "interval_count": 3}},
        {"unit_amount": 9900, "transform_quantity": {"divide_by": 2, "round": "up"}}
        | {"recurring": {"interval": "month", "interval_count": 3}},
        {"unit_amount": 9900, "active": False}
        | {"recurring": {"interval": "month", "interval_count": 3}},
    ]
    others = {
        stripe_client.v1.prices.create(
            {"product": product, "currency": "eur", **each}  # type: ignore[typeddict-item]
        ).id
        for each in unlike
    }
    with database.transaction() as conn:
        made = offered_price(conn, act, product, currency="eur")
        assert offered_price(conn, act, product, currency="eur") == made
    assert made.id not in others
    assert (made.currency, made.model, made.recurrence) == (
        "eur",
        Model(Decimal(9900)),
        Recurrence(Interval.MONTH, 3),
    )
    assert frame.get(f"/v1/products/{product}")["currency"] == "USD"
    told = stripe_client.v1.events.list({"type": "price.created", "limit": 100})
    assert sum(each.data.object["id"] == made.id for each in told.data) == 1


def test_what_cannot_be_sold_is_told_with_the_parameter(
    frame: Frame, stripe_client: stripe.StripeClient, database: Database, act: Act
) -> None:
    gone = frame.post("/v1/products", PRO)["id"]
    frame.delete(f"/v1/products/{gone}")
    bare = stripe_client.v1.products.create({"name": "Bare"}).id
    tiered = stripe_client.v1.prices.create(
        {
            "currency": "usd",
            "product_data": {"name": "Tiered"},
            "recurring": {"interval": "month"},
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": [{"up_to": "inf", "unit_amount": 5}],
        }
    )
    stripe_client.v1.products.update(str(tiered.product), {"default_price": tiered.id})
    cases: list[tuple[str, str, type[BillingError], str]] = [
        ("prod_none", "usd", NotFound, "product"),
        (gone, "usd", InvalidRequest, "product"),
        (bare, "usd", InvalidRequest, "product"),
        (str(tiered.product), "eur", InvalidRequest, "currency"),
    ]
    with database.transaction() as conn:
        for product, currency, error, at in cases:
            with pytest.raises(error) as refused:
                offered_price(conn, act, product, currency=currency)
            assert refused.value.param == (at,)
        assert offered_price(conn, act, str(tiered.product), currency="usd").id == tiered.id
        with pytest.raises(NotFound):
            reprice(conn, act, "prod_none", Decimal(1))


def test_many_prices_cost_no_more_statements_than_one(
    frame: Frame, database: Database, act: Act
) -> None:
    product = frame.post("/v1/products", PRO)["id"]
    costs = []
    for amounts in ([1], [2, 3, 4, 3, 2]):
        wanted = [Wanted(product, "eur", Decimal(each), None) for each in amounts]
        with database.transaction() as conn, counted(conn) as statements:
            made = find_or_make(conn, act, wanted)
        assert [each.model.unit_amount for each in made] == amounts
        assert len({each.id for each in made}) == len(set(amounts))
        costs.append(len(statements))
    assert costs[0] == costs[1]
