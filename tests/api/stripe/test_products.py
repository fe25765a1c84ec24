"""Products, through the official SDK."""

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

EVERYTHING: dict[str, Any] = {
    "active": False,
    "description": "All you can call",
    "images": ["https://img.example/1.png"],
    "marketing_features": [{"name": "Fast"}, {"name": "Exact"}],
    "metadata": {"tier": "1"},
    "name": "API",
    "package_dimensions": {"height": 1.5, "length": 2, "weight": 0.25, "width": 10},
    "shippable": True,
    "statement_descriptor": "ACME API",
    "tax_code": "txcd_10000000",
    "type": "good",
    "unit_label": "call",
    "url": "https://acme.example/api",
}


@pytest.fixture
def products(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.products


def test_a_product_needs_a_name(products: Any) -> None:
    product = products.create({"name": "API"})
    assert_shape(product.last_response.data, stripe.Product)
    assert product.id.startswith("prod_")
    assert (product.active, product.type, product.images) == (True, "service", [])
    assert products.retrieve(product.id) == product
    with refused("name", code="parameter_missing", saying="Missing required param: name."):
        products.create({})


def test_a_product_keeps_everything(products: Any) -> None:
    product = products.create(EVERYTHING)
    shown = products.retrieve(product.id).to_dict()
    assert_shape(shown, stripe.Product)
    assert {key: shown[key] for key in EVERYTHING} == EVERYTHING


def test_a_product_may_have_a_chosen_id(products: Any) -> None:
    assert products.create({"id": "gold", "name": "Gold"}).id == "gold"
    assert products.retrieve("gold").name == "Gold"
    with refused("id", code="resource_already_exists", saying="Product already exists"):
        products.create({"id": "gold", "name": "Another"})


def test_two_accounts_may_choose_the_same_id(
    stripe_client: StripeClient, stranger: StripeClient
) -> None:
    stripe_client.v1.products.create({"id": "gold", "name": "Ours"})
    stranger.v1.products.create({"id": "gold", "name": "Theirs"})
    assert stripe_client.v1.products.retrieve("gold").name == "Ours"


def test_an_update_changes_what_it_gives(products: Any) -> None:
    before = products.create(EVERYTHING)
    after = products.update(before.id, {"name": "API v2", "metadata": {"a": "b"}})
    expected = {"name": "API v2", "metadata": {"tier": "1", "a": "b"}, "updated": after.updated}
    assert after.to_dict() == before.to_dict() | expected
    assert products.retrieve(before.id) == after


UNSET: dict[str, Any] = {
    "description": None,
    "images": [],
    "marketing_features": [],
    "metadata": {},
    "package_dimensions": None,
    "statement_descriptor": None,
    "tax_code": None,
    "unit_label": None,
    "url": None,
}


def test_a_field_given_empty_is_unset(products: Any) -> None:
    before = products.create(EVERYTHING)
    after = products.update(before.id, dict.fromkeys(UNSET, ""))
    assert after.to_dict() == before.to_dict() | UNSET | {"updated": after.updated}


@pytest.mark.parametrize("field", ["name", "active", "shippable"])
def test_what_cannot_be_unset_is_refused(products: Any, field: str) -> None:
    product = products.create({"name": "API"})
    with refused(field, code="parameter_invalid_empty", saying="cannot be unset"):
        products.update(product.id, {field: ""})


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"color": "red"}, "color", "parameter_unknown"),
        ({"tax_details": {"tax_code": "x"}}, "tax_details", "parameter_unknown"),
        ({"url": "acme"}, "url", "url_invalid"),
        ({"images": ["acme"]}, "images[0]", "url_invalid"),
        ({"images": ["https://acme.example"] * 9}, "images", None),
        ({"marketing_features": [{"name": ""}]}, "marketing_features[0][name]", None),
        ({"statement_descriptor": "<acme>"}, "statement_descriptor", None),
        ({"statement_descriptor": "123"}, "statement_descriptor", None),
        ({"statement_descriptor": "A" * 23}, "statement_descriptor", None),
        ({"type": "idea"}, "type", None),
        ({"package_dimensions": {"height": 1}}, "package_dimensions[length]", "parameter_missing"),
        (
            {"package_dimensions": {"height": 0, "length": 1, "weight": 1, "width": 1}},
            "package_dimensions[height]",
            None,
        ),
        ({"active": "yes"}, "active", None),
        ({"default_price": "price_x"}, "default_price", "parameter_unknown"),
    ],
)
def test_bad_input_is_refused(
    products: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    code = "parameter_invalid_empty" if param.endswith("[name]") else code
    with refused(param, code=code):
        products.create({"name": "API", **given})


def test_a_product_may_come_with_its_price(stripe_client: StripeClient) -> None:
    product = stripe_client.v1.products.create(
        {
            "name": "Base",
            "default_price_data": {
                "currency": "USD",
                "unit_amount": 9900,
                "recurring": {"interval": "month"},
                "tax_behavior": "exclusive",
                "metadata": {"a": "b"},
            },
            "expand": ["default_price"],
        }
    )
    price = product.default_price
    assert_shape(product.last_response.data, stripe.Product)
    assert (price.product, price.currency, price.unit_amount) == (product.id, "usd", 9900)
    assert (price.recurring.usage_type, price.tax_behavior) == ("licensed", "exclusive")
    events = [each.type for each in stripe_client.v1.events.list()]
    assert sorted(events) == ["price.created", "product.created"]


@pytest.mark.parametrize(
    ("price", "param", "code"),
    [
        ({"currency": "usd"}, "unit_amount", "parameter_missing"),
        ({"unit_amount": 1}, "currency", "parameter_missing"),
        ({"currency": "xxx", "unit_amount": 1}, "currency", None),
        ({"currency": "usd", "unit_amount": -1}, "unit_amount", "parameter_invalid_integer"),
        (
            {"currency": "usd", "unit_amount": 1, "unit_amount_decimal": "1"},
            "unit_amount",
            "parameters_exclusive",
        ),
        (
            {
                "currency": "usd",
                "unit_amount": 1,
                "recurring": {"interval": "month", "interval_count": 37},
            },
            "recurring][interval_count",
            None,
        ),
    ],
)
def test_a_bad_default_price_is_refused(
    http: httpx.Client, products: Any, price: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(f"default_price_data[{param}]", code=code):
        products.create({"name": "Base", "default_price_data": price})
    assert products.list().data == []


def test_the_default_price_is_an_active_one_of_the_product(stripe_client: StripeClient) -> None:
    v1 = stripe_client.v1
    product, other = (v1.products.create({"name": name}) for name in ("Base", "Other"))
    amount = {"currency": "usd", "unit_amount": 100}
    price = v1.prices.create({"product": product.id, **amount})
    archived = v1.prices.create({"product": product.id, "active": False, **amount})
    of_other = v1.prices.create({"product": other.id, **amount})

    product = v1.products.update(product.id, {"default_price": price.id})
    assert product.default_price == price.id
    with missing("price", "price_x", "default_price"):
        v1.products.update(product.id, {"default_price": "price_x"})
    with refused("default_price", saying="does not belong"):
        v1.products.update(product.id, {"default_price": of_other.id})
    with refused("default_price", saying="inactive"):
        v1.products.update(product.id, {"default_price": archived.id})
    with refused("active", code="status_transition_invalid", saying="default price"):
        v1.prices.update(price.id, {"active": False})
    product = v1.products.update(product.id, {"default_price": ""})
    assert product.default_price is None
    assert v1.prices.update(price.id, {"active": False}).active is False


def test_products_are_listed_newest_first_also_with_chosen_ids(products: Any) -> None:
    ids = [products.create({"name": "P", **chosen}).id for chosen in [{}, {"id": "a"}, {}]]
    listed = products.list({"limit": 1})
    assert listed.has_more
    assert sorted(each.id for each in listed.auto_paging_iter()) == sorted(ids)
    newest = [each.id for each in products.list()]
    for i, product_id in enumerate(newest):
        after = products.list({"starting_after": product_id})
        assert [each.id for each in after] == newest[i + 1 :]
        before = products.list({"ending_before": product_id})
        assert [each.id for each in before] == newest[:i]


def test_products_are_listed_by_what_they_are(products: Any) -> None:
    api = products.create(EVERYTHING)
    base = products.create({"name": "Base"})
    for filters, expected in [
        ({"active": False}, [api]),
        ({"active": True}, [base]),
        ({"ids": [base.id, "prod_x"]}, [base]),
        ({"shippable": True}, [api]),
        ({"type": "service"}, [base]),
        ({"url": "https://acme.example/api"}, [api]),
        ({"created": {"gt": base.created}}, []),
    ]:
        assert [each.id for each in products.list(filters)] == [each.id for each in expected]


def test_a_product_without_prices_can_be_deleted(stripe_client: StripeClient) -> None:
    v1 = stripe_client.v1
    product, sold = (v1.products.create({"name": name}) for name in ("Idea", "Base"))
    v1.prices.create({"product": sold.id, "currency": "usd", "unit_amount": 100})
    stub = {"id": product.id, "object": "product", "deleted": True}
    assert v1.products.delete(product.id).to_dict() == stub
    with missing("product", product.id):
        v1.products.retrieve(product.id)
    with missing("product", product.id):
        v1.products.delete(product.id)
    with refused("id", code="status_transition_invalid", saying="has one or more prices"):
        v1.products.delete(sold.id)
    assert v1.products.retrieve(sold.id).active
    events = v1.events.list({"type": "product.deleted"}).data
    assert [each.data.object["id"] for each in events] == [product.id]


def test_a_product_of_another_account_is_not_there(products: Any, stranger: StripeClient) -> None:
    product = products.create({"name": "API"})
    theirs = stranger.v1.products
    with missing("product", product.id):
        theirs.retrieve(product.id)
    with missing("product", product.id):
        theirs.update(product.id, {"name": "mine"})
    with missing("product", product.id):
        theirs.delete(product.id)
    with missing("product", product.id, "product"):
        stranger.v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 1})
    assert theirs.list({"ids": [product.id]}).data == []
