"""Prices, through the official SDK and, for what the SDK would not send, plain HTTP."""

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

MONTHLY = {"interval": "month"}
TIERS = [{"up_to": 1000, "unit_amount_decimal": "0"}, {"up_to": "inf", "unit_amount_decimal": "4"}]


@pytest.fixture
def prices(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.prices


@pytest.fixture
def product(stripe_client: StripeClient) -> str:
    return stripe_client.v1.products.create({"name": "API"}).id


@pytest.fixture
def meter(stripe_client: StripeClient) -> str:
    return stripe_client.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    ).id


def metered(meter: str) -> dict[str, Any]:
    return {"interval": "month", "usage_type": "metered", "meter": meter}


def test_a_price_per_unit(prices: Any, product: str) -> None:
    price = prices.create(
        {
            "currency": "usd",
            "product": product,
            "unit_amount": 9900,
            "recurring": {"interval": "month", "interval_count": 3},
            "nickname": "quarterly",
            "lookup_key": "base",
            "metadata": {"a": "b"},
            "tax_behavior": "exclusive",
        }
    )
    assert_shape(price.last_response.data, stripe.Price)
    assert price.last_response.data == {
        "id": price.id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": price.created,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": "base",
        "maximum_amount": None,
        "minimum_amount": None,
        "metadata": {"a": "b"},
        "nickname": "quarterly",
        "product": product,
        "recurring": {
            "interval": "month",
            "interval_count": 3,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 9900,
        "unit_amount_decimal": "9900",
    }
    assert prices.retrieve(price.id) == price


def test_a_one_time_price(prices: Any, product: str) -> None:
    price = prices.create({"currency": "jpy", "product": product, "unit_amount": 0})
    assert_shape(price.last_response.data, stripe.Price)
    assert (price.type, price.recurring, price.unit_amount) == ("one_time", None, 0)


def test_a_metered_price_with_tiers(prices: Any, product: str, meter: str) -> None:
    price = prices.create(
        {
            "currency": "usd",
            "product": product,
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": TIERS,
            "recurring": metered(meter),
        }
    )
    assert_shape(price.last_response.data, stripe.Price)
    assert (price.recurring.meter, price.recurring.usage_type) == (meter, "metered")
    assert (price.billing_scheme, price.tiers_mode) == ("tiered", "graduated")
    assert (price.unit_amount, price.unit_amount_decimal) == (None, None)
    assert "tiers" not in price


def test_tiers_are_there_when_asked_for(prices: Any, product: str) -> None:
    tiers = [
        {"up_to": 10, "flat_amount": 500},
        {"up_to": 20, "flat_amount_decimal": "5E+2", "unit_amount_decimal": "0.05"},
        {"up_to": "inf", "unit_amount": 4},
    ]
    created = prices.create(
        {
            "currency": "usd",
            "product": product,
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": tiers,
            "expand": ["tiers", "product"],
        }
    )
    assert_shape(created.last_response.data, stripe.Price)
    assert created.product.name == "API"
    expected = [
        ("flat_amount", "flat_amount_decimal", "unit_amount", "unit_amount_decimal", "up_to"),
        (500, "500", None, None, 10),
        (500, "500", None, "0.05", 20),
        (None, None, 4, "4", None),
    ]
    retrieved = prices.retrieve(created.id, {"expand": ["tiers"]})
    listed = prices.list({"expand": ["data.tiers"]})
    for shown in [
        created.last_response.data,
        retrieved.last_response.data,
        listed.last_response.data["data"][0],
    ]:
        assert [expected[0], *(tuple(tier.values()) for tier in shown["tiers"])] == expected
    flat = prices.create({"currency": "usd", "product": product, "unit_amount": 1})
    assert prices.retrieve(flat.id, {"expand": ["tiers"]}).tiers is None


# What is sent as unit_amount_decimal, and what is answered.
DECIMALS = """
    5                 | 5     | 5
    5.0               | 5     | 5
    0                 | 0     | 0
    0.05              |       | 0.05
    1E+3              | 1000  | 1000
    1e-7              |       | 0.0000001
    0.000000000001    |       | 0.000000000001
    12.500            |       | 12.5
    +7                | 7     | 7
    .5                |       | 0.5
"""


@pytest.mark.parametrize("row", DECIMALS.strip().splitlines())
def test_a_decimal_amount_is_shown_plainly(http: httpx.Client, product: str, row: str) -> None:
    sent, integer, decimal = (cell.strip() for cell in row.split("|"))
    answer = http.post(
        "/v1/prices", data={"currency": "usd", "product": product, "unit_amount_decimal": sent}
    ).json()
    assert answer["unit_amount"] == (int(integer) if integer else None)
    assert answer["unit_amount_decimal"] == decimal
    assert http.get(f"/v1/prices/{answer['id']}").json() == answer


@pytest.mark.parametrize(
    "sent",
    [
        *["x", "NaN", "inf", "-Infinity", "1_000", "1,5", "0x10", "-1", "-1e-12", "1e16", "1e999"],
        *["0.0000000000001", "9" * 101, " 5", "1e", "--1", "٣"],
    ],
)
def test_a_bad_decimal_is_refused(http: httpx.Client, product: str, sent: str) -> None:
    answer = http.post(
        "/v1/prices", data={"currency": "usd", "product": product, "unit_amount_decimal": sent}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "unit_amount_decimal")
    assert error["message"].startswith("Invalid ")


def test_an_empty_decimal_is_refused(http: httpx.Client, product: str) -> None:
    answer = http.post(
        "/v1/prices", data={"currency": "usd", "product": product, "unit_amount_decimal": ""}
    )
    assert answer.json()["error"]["code"] == "parameter_invalid_empty"


def tiers(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": list(rows)}


LAST = {"up_to": "inf", "unit_amount": 1}

REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no amount": ({}, "unit_amount", "parameter_missing"),
    "no currency": ({"currency": None, "unit_amount": 1}, "currency", "parameter_missing"),
    "a currency that is none": ({"currency": "usdx", "unit_amount": 1}, "currency", None),
    "a negative amount": ({"unit_amount": -1}, "unit_amount", "parameter_invalid_integer"),
    "a fraction of a minor unit": (
        {"unit_amount": "1.5"},
        "unit_amount",
        "parameter_invalid_integer",
    ),
    "a huge amount": ({"unit_amount": 10**12}, "unit_amount", "parameter_invalid_integer"),
    "an amount twice": (
        {"unit_amount": 1, "unit_amount_decimal": "1"},
        "unit_amount",
        "parameters_exclusive",
    ),
    "an amount and tiers": ({"unit_amount": 1, **tiers(LAST)}, "unit_amount", None),
    "a decimal amount and tiers": (
        {"unit_amount_decimal": "1", **tiers(LAST)},
        "unit_amount_decimal",
        None,
    ),
    "tiers per unit": ({"unit_amount": 1, "tiers": [LAST]}, "tiers", None),
    "a tiers mode per unit": ({"unit_amount": 1, "tiers_mode": "volume"}, "tiers_mode", None),
    "tiered without tiers": (
        {"billing_scheme": "tiered", "tiers_mode": "volume"},
        "tiers",
        "parameter_missing",
    ),
    "tiers without their mode": (
        {"billing_scheme": "tiered", "tiers": [LAST]},
        "tiers_mode",
        "parameter_missing",
    ),
    "an unknown tiers mode": ({**tiers(LAST), "tiers_mode": "steps"}, "tiers_mode", None),
    "packages and tiers": (
        {**tiers(LAST), "transform_quantity": {"divide_by": 2, "round": "up"}},
        "transform_quantity",
        None,
    ),
    "tiers that end": (tiers({"up_to": 10, "unit_amount": 1}), "tiers[0][up_to]", None),
    "tiers that end twice": (tiers(LAST, LAST), "tiers[0][up_to]", None),
    "tiers that do not ascend": (
        tiers({"up_to": 10, "unit_amount": 1}, {"up_to": 10, "unit_amount": 1}, LAST),
        "tiers[1][up_to]",
        None,
    ),
    "a tier up to nothing": (
        tiers({"up_to": 0, "unit_amount": 1}, LAST),
        "tiers[0][up_to]",
        "parameter_invalid_integer",
    ),
    "a tier up to a fraction": (
        tiers({"up_to": "1.5", "unit_amount": 1}, LAST),
        "tiers[0][up_to]",
        "parameter_invalid_integer",
    ),
    "a tier without an end": (
        tiers({"unit_amount": 1}),
        "tiers[0][up_to]",
        "parameter_missing",
    ),
    "a tier without an amount": (
        tiers({"up_to": 10, "unit_amount": 1}, {"up_to": "inf"}),
        "tiers[1]",
        "parameter_missing",
    ),
    "a tier with an amount twice": (
        tiers({**LAST, "unit_amount_decimal": "1"}),
        "tiers[0][unit_amount]",
        "parameters_exclusive",
    ),
    "a tier with a flat amount twice": (
        tiers({**LAST, "flat_amount": 1, "flat_amount_decimal": "1"}),
        "tiers[0][flat_amount]",
        "parameters_exclusive",
    ),
    "a tier with a flat fraction": (
        tiers({"up_to": "inf", "flat_amount_decimal": "0.5"}),
        "tiers[0][flat_amount_decimal]",
        "parameter_invalid_integer",
    ),
    "a tier with a negative amount": (
        tiers({"up_to": "inf", "unit_amount_decimal": "-0.5"}),
        "tiers[0][unit_amount_decimal]",
        None,
    ),
    "too many tiers": (
        tiers(*({"up_to": n, "unit_amount": 1} for n in range(1, 101)), LAST),
        "tiers",
        None,
    ),
    "no packages": (
        {"unit_amount": 1, "transform_quantity": {"divide_by": 0, "round": "up"}},
        "transform_quantity[divide_by]",
        "parameter_invalid_integer",
    ),
    "packages rounded somehow": (
        {"unit_amount": 1, "transform_quantity": {"divide_by": 2, "round": "half"}},
        "transform_quantity[round]",
        None,
    ),
    "packages not rounded": (
        {"unit_amount": 1, "transform_quantity": {"divide_by": 2}},
        "transform_quantity[round]",
        "parameter_missing",
    ),
    "an unknown interval": (
        {"unit_amount": 1, "recurring": {"interval": "decade"}},
        "recurring[interval]",
        None,
    ),
    "no interval": (
        {"unit_amount": 1, "recurring": {"interval_count": 1}},
        "recurring[interval]",
        "parameter_missing",
    ),
    "no times": (
        {"unit_amount": 1, "recurring": {"interval": "month", "interval_count": 0}},
        "recurring[interval_count]",
        "parameter_invalid_integer",
    ),
    "a trial": (
        {"unit_amount": 1, "recurring": {"interval": "month", "trial_period_days": 3}},
        "recurring[trial_period_days]",
        "parameter_unknown",
    ),
    "metered without a meter": (
        {"unit_amount": 1, "recurring": {"interval": "month", "usage_type": "metered"}},
        "recurring[meter]",
        "parameter_missing",
    ),
    "a meter without metering": (
        {"unit_amount": 1, "recurring": {"interval": "month", "meter": "mtr_x"}},
        "recurring[meter]",
        None,
    ),
    "an amount the customer chooses": (
        {"custom_unit_amount": {"enabled": True}},
        "custom_unit_amount",
        "parameter_unknown",
    ),
    "another currency's amount": (
        {"unit_amount": 1, "currency_options": {"eur": {"unit_amount": 1}}},
        "currency_options",
        "parameter_unknown",
    ),
    "a tax behavior that is none": (
        {"unit_amount": 1, "tax_behavior": "evade"},
        "tax_behavior",
        None,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_price_is_refused(prices: Any, product: str, what: str) -> None:
    given, param, code = REFUSED[what]
    with refused(param, code=code):
        prices.create({"currency": "usd", "product": product, **given})


@pytest.mark.parametrize(
    ("interval", "most"), [("day", 1095), ("week", 156), ("month", 36), ("year", 3)]
)
def test_a_price_recurs_within_three_years(
    prices: Any, product: str, interval: str, most: int
) -> None:
    def create(count: int) -> Any:
        recurring = {"interval": interval, "interval_count": count}
        return prices.create(
            {"currency": "usd", "product": product, "unit_amount": 1, "recurring": recurring}
        )

    assert create(most).recurring.interval_count == most
    with refused("recurring[interval_count]", saying="within three years"):
        create(most + 1)


def test_a_price_is_sold_in_packages(prices: Any, product: str) -> None:
    packages = {"divide_by": 100, "round": "up"}
    price = prices.create(
        {"currency": "usd", "product": product, "unit_amount": 4, "transform_quantity": packages}
    )
    assert_shape(price.last_response.data, stripe.Price)
    assert price.transform_quantity.to_dict() == packages


def test_a_price_is_of_one_product(prices: Any, product: str) -> None:
    amount = {"currency": "usd", "unit_amount": 1}
    with refused("product", code="parameter_missing"):
        prices.create(amount)
    with refused("product", code="parameters_exclusive"):
        prices.create({**amount, "product": product, "product_data": {"name": "New"}})
    with missing("product", "prod_x", "product"):
        prices.create({**amount, "product": "prod_x"})


def test_a_price_may_come_with_its_product(stripe_client: StripeClient, prices: Any) -> None:
    price = prices.create(
        {
            "currency": "usd",
            "unit_amount": 1,
            "product_data": {"id": "new", "name": "New", "metadata": {"a": "b"}},
            "expand": ["product"],
        }
    )
    assert (price.product.id, price.product.name) == ("new", "New")
    assert price.product.metadata.to_dict() == {"a": "b"}
    assert price.product.default_price is None
    events = [each.type for each in stripe_client.v1.events.list()]
    assert events == ["price.created", "product.created"]
    with refused("id", code="resource_already_exists"):
        prices.create(
            {"currency": "usd", "unit_amount": 1, "product_data": {"id": "new", "name": "N"}}
        )
    assert len(prices.list().data) == 1


def test_a_meter_must_be_there_and_active(
    stripe_client: StripeClient, prices: Any, product: str, meter: str
) -> None:
    asked = {"currency": "usd", "product": product, "unit_amount": 1}
    with missing("meter", "mtr_x", "recurring[meter]"):
        prices.create({**asked, "recurring": metered("mtr_x")})
    stripe_client.v1.billing.meters.deactivate(meter)
    with refused("recurring[meter]", saying="inactive"):
        prices.create({**asked, "recurring": metered(meter)})


def test_an_update_never_changes_the_amount(prices: Any, product: str) -> None:
    before = prices.create(
        {
            "currency": "usd",
            "product": product,
            "unit_amount": 1,
            "nickname": "n",
            "lookup_key": "k",
            "metadata": {"a": "1", "b": "2"},
        }
    )
    with refused("unit_amount", code="parameter_unknown"):
        prices.update(before.id, {"unit_amount": 2})
    after = prices.update(
        before.id,
        {
            "active": False,
            "lookup_key": "",
            "metadata": {"a": "", "c": "3"},
            "nickname": "",
            "tax_behavior": "inclusive",
        },
    )
    assert after.to_dict() == before.to_dict() | {
        "active": False,
        "lookup_key": None,
        "metadata": {"b": "2", "c": "3"},
        "nickname": None,
        "tax_behavior": "inclusive",
    }
    assert prices.retrieve(before.id) == after


def test_a_tax_behavior_is_chosen_once(prices: Any, product: str) -> None:
    price = prices.create({"currency": "usd", "product": product, "unit_amount": 1})
    prices.update(price.id, {"tax_behavior": "exclusive"})
    prices.update(price.id, {"tax_behavior": "exclusive"})
    for other in ("inclusive", "unspecified"):
        with refused("tax_behavior", saying="cannot change"):
            prices.update(price.id, {"tax_behavior": other})


def test_a_lookup_key_is_one_prices_until_it_is_transferred(
    stripe_client: StripeClient, prices: Any, product: str
) -> None:
    asked = {"currency": "usd", "product": product, "unit_amount": 1}
    first = prices.create({**asked, "lookup_key": "base"})
    with refused("lookup_key", code="resource_already_exists", saying="'base'"):
        prices.create({**asked, "lookup_key": "base"})
    second = prices.create({**asked, "lookup_key": "base", "transfer_lookup_key": True})
    assert (prices.retrieve(first.id).lookup_key, second.lookup_key) == (None, "base")
    with refused("lookup_key", code="resource_already_exists"):
        prices.update(first.id, {"lookup_key": "base"})
    first = prices.update(first.id, {"lookup_key": "base", "transfer_lookup_key": True})
    assert (first.lookup_key, prices.retrieve(second.id).lookup_key) == ("base", None)
    found = prices.list({"lookup_keys": ["base", "other"]})
    assert [each.id for each in found] == [first.id]
    [lost] = [
        each
        for each in stripe_client.v1.events.list({"type": "price.updated"})
        if each.data.object["id"] == second.id
    ]
    assert lost.data.previous_attributes.to_dict() == {"lookup_key": "base"}


def test_prices_are_listed_by_what_they_are(
    stripe_client: StripeClient, prices: Any, product: str, meter: str
) -> None:
    asked = {"currency": "usd", "product": product, "unit_amount": 1}
    once = prices.create({**asked, "active": False})
    monthly = prices.create({**asked, "recurring": MONTHLY})
    usage = prices.create({**asked, "currency": "eur", "recurring": metered(meter)})
    other = stripe_client.v1.products.create({"name": "Other"}).id
    yearly = prices.create({**asked, "product": other, "recurring": {"interval": "year"}})
    for filters, expected in [
        ({}, [yearly, usage, monthly, once]),
        ({"active": False}, [once]),
        ({"currency": "EUR"}, [usage]),
        ({"product": other}, [yearly]),
        ({"type": "one_time"}, [once]),
        ({"type": "recurring"}, [yearly, usage, monthly]),
        ({"recurring": {"interval": "month"}}, [usage, monthly]),
        ({"recurring": {"usage_type": "licensed"}}, [yearly, monthly]),
        ({"recurring": {"meter": meter}}, [usage]),
        ({"created": {"gt": yearly.created}}, []),
        ({"ending_before": monthly.id}, [yearly, usage]),
        ({"starting_after": usage.id}, [monthly, once]),
        ({"starting_after": usage.id, "limit": 1}, [monthly]),
    ]:
        assert [each.id for each in prices.list(filters)] == [each.id for each in expected]
    with refused("lookup_keys", saying="at most 10"):
        prices.list({"lookup_keys": [str(n) for n in range(11)]})


def test_a_price_of_another_account_is_not_there(
    prices: Any, product: str, stranger: StripeClient
) -> None:
    price = prices.create({"currency": "usd", "product": product, "unit_amount": 1})
    theirs = stranger.v1.prices
    with missing("price", price.id):
        theirs.retrieve(price.id)
    with missing("price", price.id):
        theirs.update(price.id, {"nickname": "mine"})
    with missing("price", price.id, "ending_before"):
        theirs.list({"ending_before": price.id})
    assert theirs.list({"product": product}).data == []


def test_a_meter_of_another_account_is_not_there(stranger: StripeClient, meter: str) -> None:
    product = stranger.v1.products.create({"name": "Theirs"}).id
    with missing("meter", meter, "recurring[meter]"):
        stranger.v1.prices.create(
            {"currency": "usd", "product": product, "unit_amount": 1, "recurring": metered(meter)}
        )
