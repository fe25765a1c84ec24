"""Coupons, promotion codes and discounts, through the official SDK."""

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from postpaid import clock
from shapes import assert_shape

NOW = int(clock.now().timestamp())
LATER = NOW + 86_400


@pytest.fixture
def coupons(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.coupons


@pytest.fixture
def codes(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.promotion_codes


@pytest.fixture
def ten(coupons: Any) -> str:
    return coupons.create({"percent_off": 10, "duration": "forever"}).id


def code_of(coupon: str, **given: Any) -> dict[str, Any]:
    return {"promotion": {"type": "coupon", "coupon": coupon}, **given}


def types(client: StripeClient, object_id: str) -> list[str]:
    return [each.type for each in client.v1.events.list() if each.data.object["id"] == object_id]


# ─── Coupons ─────────────────────────────────────────────────────────────────────────────────


def test_a_coupon_of_a_percentage(stripe_client: StripeClient, coupons: Any) -> None:
    coupon = coupons.create({"percent_off": 12.5})
    assert_shape(coupon.last_response.data, stripe.Coupon)
    assert (coupon.percent_off, coupon.amount_off, coupon.duration) == (12.5, None, "once")
    assert (coupon.valid, coupon.times_redeemed, coupon.currency) == (True, 0, None)
    assert coupons.retrieve(coupon.id) == coupon
    assert types(stripe_client, coupon.id) == ["coupon.created"]


def test_a_coupon_of_an_amount_in_several_currencies(
    stripe_client: StripeClient, coupons: Any
) -> None:
    product = stripe_client.v1.products.create({"name": "Calls"})
    expand = {"expand": ["applies_to", "currency_options"]}
    coupon = coupons.create(
        {
            "id": "SPRING",
            "name": "Spring",
            "amount_off": 500,
            "currency": "USD",
            "currency_options": {"eur": {"amount_off": 450}},
            "applies_to": {"products": [product.id]},
            "duration": "repeating",
            "duration_in_months": 3,
            "max_redemptions": 7,
            "redeem_by": LATER,
            "metadata": {"campaign": "7"},
            **expand,
        }
    )
    assert (coupon.id, coupon.currency, coupon.duration_in_months) == ("SPRING", "usd", 3)
    assert coupon.applies_to.products == [product.id]
    assert coupon.currency_options.to_dict() == {
        "usd": {"amount_off": 500},
        "eur": {"amount_off": 450},
    }
    coupons.update("SPRING", {"currency_options": {"gbp": {"amount_off": 400}}, "name": ""})
    after = coupons.retrieve("SPRING", expand)
    assert (after.name, sorted(after.currency_options.to_dict())) == (None, ["eur", "gbp", "usd"])


def test_coupons_are_listed_newest_first_and_without_the_deleted(
    stripe_client: StripeClient, coupons: Any
) -> None:
    for each in "ABC":
        coupons.create({"percent_off": 10, "id": each})
    assert [each.id for each in coupons.list()] == ["C", "B", "A"]
    assert coupons.delete("C").to_dict() == {"id": "C", "object": "coupon", "deleted": True}
    assert [each.id for each in coupons.list()] == ["B", "A"]
    assert [each.id for each in coupons.list({"limit": 1, "starting_after": "B"})] == ["A"]
    for lost in (coupons.retrieve, coupons.delete):
        with missing("coupon", "C", "coupon"):
            lost("C")
    assert types(stripe_client, "C") == ["coupon.deleted", "coupon.created"]


def test_an_id_is_taken_for_ever(coupons: Any, stranger: StripeClient) -> None:
    coupons.create({"id": "ONE", "percent_off": 10})
    coupons.delete("ONE")
    with refused("id", code="resource_already_exists", saying="already exists"):
        coupons.create({"id": "ONE", "percent_off": 10})
    assert stranger.v1.coupons.create({"id": "ONE", "percent_off": 20}).percent_off == 20


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({}, "percent_off", "parameter_missing"),
        (
            {"percent_off": 10, "amount_off": 10, "currency": "usd"},
            "amount_off",
            "parameters_exclusive",
        ),
        ({"amount_off": 10}, "currency", "parameter_missing"),
        ({"percent_off": 10, "currency": "usd"}, "currency", None),
        ({"percent_off": 0}, "percent_off", None),
        ({"percent_off": 100.5}, "percent_off", None),
        ({"percent_off": "12.34567"}, "percent_off", None),
        ({"percent_off": "ten"}, "percent_off", None),
        ({"amount_off": 0, "currency": "usd"}, "amount_off", "parameter_invalid_integer"),
        ({"percent_off": 10, "duration": "twice"}, "duration", None),
        ({"percent_off": 10, "duration": "repeating"}, "duration_in_months", None),
        ({"percent_off": 10, "duration_in_months": 3}, "duration_in_months", None),
        ({"percent_off": 10, "redeem_by": 1}, "redeem_by", None),
        (
            {"percent_off": 10, "max_redemptions": 0},
            "max_redemptions",
            "parameter_invalid_integer",
        ),
        (
            {"percent_off": 10, "currency_options": {"eur": {"amount_off": 1}}},
            "currency_options",
            None,
        ),
        (
            {
                "amount_off": 10,
                "currency": "usd",
                "currency_options": {"usd": {"amount_off": 1}},
            },
            "currency_options[usd]",
            None,
        ),
    ],
    ids=lambda value: None,
)
def test_terms_that_do_not_fit(
    coupons: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        coupons.create(given)
    assert coupons.list().data == []


def test_a_coupon_of_a_product_that_is_not_there(coupons: Any) -> None:
    with missing("product", "prod_none", "applies_to[products][0]"):
        coupons.create({"percent_off": 10, "applies_to": {"products": ["prod_none"]}})


# ─── Promotion codes ─────────────────────────────────────────────────────────────────────────


def test_a_promotion_code(stripe_client: StripeClient, codes: Any, ten: str) -> None:
    code = codes.create(code_of(ten, code="HELLO-1", metadata={"by": "mail"}))
    assert_shape(code.last_response.data, stripe.PromotionCode)
    assert (code.code, code.active, code.times_redeemed) == ("HELLO-1", True, 0)
    assert (code.promotion.coupon, code.restrictions.first_time_transaction) == (ten, False)
    shown = codes.retrieve(code.id, {"expand": ["promotion.coupon"]})
    assert shown.promotion.coupon.percent_off == 10
    assert types(stripe_client, code.id) == ["promotion_code.created"]
    assert len(codes.create(code_of(ten)).code) == 8


def test_an_active_code_is_there_once_for_everyone_and_once_for_a_customer(
    stripe_client: StripeClient, codes: Any, ten: str
) -> None:
    first = codes.create(code_of(ten, code="HELLO"))
    with refused("code", code="resource_already_exists"):
        codes.create(code_of(ten, code="hello"))
    customer = stripe_client.v1.customers.create().id
    mine = codes.create(code_of(ten, code="HELLO", customer=customer))
    codes.update(first.id, {"active": False})
    second = codes.create(code_of(ten, code="Hello"))
    with refused("code", code="resource_already_exists"):
        codes.update(first.id, {"active": True})

    assert [each.id for each in codes.list({"code": "HELLO"})] == [second.id, mine.id, first.id]
    assert [each.id for each in codes.list({"active": True})] == [second.id, mine.id]
    assert [each.id for each in codes.list({"customer": customer, "coupon": ten})] == [mine.id]


def test_a_code_dies_with_its_coupon(coupons: Any, codes: Any, ten: str) -> None:
    code = codes.create(code_of(ten, code="HELLO"))
    coupons.delete(ten)
    assert not codes.retrieve(code.id).active
    assert codes.list({"active": True}).data == []
    codes.update(code.id, {"active": False})
    with refused("active", code="status_transition_invalid", saying="cannot be activated"):
        codes.update(code.id, {"active": True})


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"code": "no spaces"}, "code"),
        ({"expires_at": 1}, "expires_at"),
        ({"max_redemptions": 0}, "max_redemptions"),
        ({"restrictions": {"minimum_amount": 5}}, "restrictions[minimum_amount_currency]"),
        ({"restrictions": {"minimum_amount_currency": "usd"}}, "restrictions[minimum_amount]"),
        (
            {"restrictions": {"currency_options": {"eur": {"minimum_amount": 5}}}},
            "restrictions[currency_options]",
        ),
        ({"customer": "cus_none"}, "customer"),
        ({"promotion": {"type": "coupon", "coupon": "NONE"}}, "promotion[coupon]"),
        ({"promotion": {"type": "gift", "coupon": "NONE"}}, "promotion[type]"),
    ],
    ids=lambda value: None,
)
def test_codes_that_cannot_be(codes: Any, ten: str, given: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        codes.create(code_of(ten) | given)
    assert raised.value.param == param
    assert codes.list().data == []


def test_a_code_needs_a_coupon(codes: Any) -> None:
    with refused("promotion", code="parameter_missing"):
        codes.create({"code": "HELLO"})


# ─── Discounts ───────────────────────────────────────────────────────────────────────────────


def subscribed(client: StripeClient, **given: Any) -> stripe.Subscription:
    price = client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 1000,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Fee"},
        }
    )
    customer = given.pop("customer", None) or client.v1.customers.create().id
    return client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price.id}], **given}  # type: ignore[typeddict-item]
    )


def test_a_discount_of_a_subscription(stripe_client: StripeClient, ten: str) -> None:
    made = subscribed(stripe_client, discounts=[{"coupon": ten}], expand=["discounts"])
    [discount] = made.discounts
    assert isinstance(discount, stripe.Discount)
    assert_shape(discount.to_dict(), stripe.Discount)
    assert (discount.subscription, discount.customer) == (made.id, made.customer)
    assert (discount.source.coupon, discount.end, discount.promotion_code) == (ten, None, None)
    deleted = stripe_client.v1.subscriptions.delete_discount(made.id)
    assert (deleted.id, deleted.deleted) == (discount.id, True)
    assert stripe_client.v1.subscriptions.retrieve(made.id).discounts == []
    assert types(stripe_client, discount.id) == [
        "customer.discount.deleted",
        "customer.discount.created",
    ]


def test_a_discount_of_a_customer(
    stripe_client: StripeClient, http: httpx.Client, ten: str
) -> None:
    customer = stripe_client.v1.customers.create().id
    with refused(None, code="resource_missing", status=404, saying="No active discount"):
        stripe_client.v1.customers.delete_discount(customer)
    given = http.post(f"/v1/customers/{customer}", data={"coupon": ten}).json()
    assert_shape(given, stripe.Customer)
    expanded = http.get(
        f"/v1/customers/{customer}", params={"expand[]": "discount.source.coupon"}
    ).json()
    assert expanded["discount"]["source"]["coupon"]["percent_off"] == 10
    taken = http.post(f"/v1/customers/{customer}", data={"coupon": ""}).json()
    assert taken["discount"] is None


@pytest.mark.parametrize(
    ("asked", "param", "code", "status"),
    [
        ([{"coupon": "NONE"}], "discounts[0][coupon]", "resource_missing", 404),
        ([{"promotion_code": "promo_0"}], "discounts[0][promotion_code]", "resource_missing", 404),
        ([{"discount": "di_0"}], "discounts[0][discount]", "resource_missing", 404),
        ([{"coupon": "TEN"}, {"coupon": "TEN"}], "discounts[1]", None, 400),
        ([{"coupon": "TEN", "discount": "di_0"}], "discounts[0]", None, 400),
        ([{"coupon": "EURO"}], "discounts[0][coupon]", None, 400),
        ([{"coupon": "TEN"}] * 21, "discounts", None, 400),
    ],
    ids=lambda value: None,
)
def test_discounts_that_cannot_be(
    stripe_client: StripeClient,
    coupons: Any,
    asked: list[dict[str, str]],
    param: str,
    code: str | None,
    status: int,
) -> None:
    coupons.create({"id": "TEN", "percent_off": 10})
    coupons.create({"id": "EURO", "amount_off": 10, "currency": "eur"})
    with refused(param, code=code, status=status):
        subscribed(stripe_client, discounts=asked)
    assert [each.times_redeemed for each in coupons.list()] == [0, 0]


def test_what_another_accounts_discount_is(
    stripe_client: StripeClient, stranger: StripeClient, ten: str
) -> None:
    with missing("coupon", ten, "discounts[0][coupon]"):
        subscribed(stranger, discounts=[{"coupon": ten}])


# ─── Tax rates ───────────────────────────────────────────────────────────────────────────────


def test_a_tax_rate(stripe_client: StripeClient) -> None:
    rates = stripe_client.v1.tax_rates
    rate = rates.create(
        {
            "display_name": "VAT",
            "percentage": 19.1234,
            "inclusive": False,
            "country": "DE",
            "jurisdiction": "DE",
            "tax_type": "vat",
            "metadata": {"book": "1"},
        }
    )
    assert_shape(rate.last_response.data, stripe.TaxRate)  # type: ignore[union-attr]
    assert (rate.percentage, rate.inclusive, rate.active) == (19.1234, False, True)
    assert rates.retrieve(rate.id) == rate
    after = rates.update(rate.id, {"active": False, "country": "", "metadata": {"page": "2"}})
    assert (after.active, after.country) == (False, None)
    assert after.metadata is not None
    assert after.metadata.to_dict() == {"book": "1", "page": "2"}
    other = rates.create({"display_name": "GST", "percentage": 0, "inclusive": True})
    assert [each.id for each in rates.list()] == [other.id, rate.id]
    assert [each.id for each in rates.list({"active": True})] == [other.id]
    assert [each.id for each in rates.list({"inclusive": False})] == [rate.id]
    assert types(stripe_client, rate.id) == ["tax_rate.updated", "tax_rate.created"]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"percentage": 100.1}, "percentage"),
        ({"percentage": -1}, "percentage"),
        ({"percentage": "1.00001"}, "percentage"),
        ({"inclusive": "maybe"}, "inclusive"),
        ({"display_name": "x" * 51}, "display_name"),
        ({"tax_type": "window"}, "tax_type"),
        ({"country": "Germany"}, "country"),
    ],
    ids=lambda value: None,
)
def test_rates_that_cannot_be(
    stripe_client: StripeClient, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        stripe_client.v1.tax_rates.create(
            {"display_name": "VAT", "percentage": 19, "inclusive": False} | given  # type: ignore[arg-type]
        )
    assert raised.value.param == param


def test_rates_that_cannot_be_put_on(stripe_client: StripeClient) -> None:
    rate = stripe_client.v1.tax_rates.create(
        {"display_name": "VAT", "percentage": 19, "inclusive": False}
    )
    with missing("tax rate", "txr_none", "default_tax_rates[0]"):
        subscribed(stripe_client, default_tax_rates=["txr_none"])
    with refused("default_tax_rates[1]", saying="given twice"):
        subscribed(stripe_client, default_tax_rates=[rate.id, rate.id])
    with missing("tax rate", "txr_none"):
        stripe_client.v1.tax_rates.retrieve("txr_none")
    customer = stripe_client.v1.customers.create({"balance": -2000})  # who owes nothing at first
    subscription = subscribed(stripe_client, customer=customer.id, default_tax_rates=[rate.id])
    assert [each.id for each in subscription.default_tax_rates or []] == [rate.id]
    after = stripe_client.v1.subscriptions.update(subscription.id, {"default_tax_rates": ""})
    assert after.default_tax_rates == []
