"""Customers, through the official SDK."""

from typing import Any

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

ADDRESS = {
    "city": "Berlin",
    "country": "DE",
    "line1": "Unter den Linden 1",
    "line2": None,
    "postal_code": "10117",
    "state": None,
}

EVERYTHING: dict[str, Any] = {
    "address": ADDRESS,
    "business_name": "Acme GmbH",
    "description": "the first",
    "email": "jenny@acme.example",
    "individual_name": "Jenny Rosen",
    "invoice_prefix": "ACME",
    "invoice_settings": {
        "custom_fields": [{"name": "VAT", "value": "DE1"}],
        "footer": "Thank you",
        "rendering_options": {"amount_tax_display": "exclude_tax"},
    },
    "metadata": {"plan": "gold"},
    "name": "Acme",
    "next_invoice_sequence": 7,
    "phone": "+49 30 1",
    "preferred_locales": ["de", "en"],
    "shipping": {"address": ADDRESS, "name": "Jenny", "phone": "1"},
    "tax_exempt": "reverse",
}


@pytest.fixture
def customers(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.customers


def events_of(client: StripeClient, customer_id: str) -> list[str]:
    return [each.type for each in client.v1.events.list() if each.data.object["id"] == customer_id]


def test_a_customer_needs_nothing(customers: Any) -> None:
    customer = customers.create()
    assert_shape(customer.last_response.data, stripe.Customer)
    assert customer.id.startswith("cus_")
    assert customers.retrieve(customer.id) == customer
    assert (customer.balance, customer.delinquent, customer.tax_exempt) == (0, False, "none")
    assert customer.next_invoice_sequence == 1
    assert "subscriptions" not in customer


def test_a_customer_keeps_everything(customers: Any) -> None:
    customer = customers.create(EVERYTHING)
    shown = customers.retrieve(customer.id).to_dict()
    assert_shape(shown, stripe.Customer)
    settings = shown.pop("invoice_settings")
    assert settings == {
        "custom_fields": [{"name": "VAT", "value": "DE1"}],
        "default_payment_method": None,
        "footer": "Thank you",
        "rendering_options": {"amount_tax_display": "exclude_tax", "template": None},
    }
    shipping = {**EVERYTHING["shipping"], "carrier": None, "tracking_number": None}
    expected = EVERYTHING | {"shipping": shipping}
    assert {key: shown[key] for key in shown if key in EVERYTHING} == {
        key: expected[key] for key in expected if key != "invoice_settings"
    }


def test_an_update_changes_what_it_gives(customers: Any) -> None:
    before = customers.create(EVERYTHING)
    after = customers.update(before.id, {"name": "Acme Inc", "metadata": {"tier": "1"}})
    expected = before.to_dict() | {
        "name": "Acme Inc",
        "metadata": {"plan": "gold", "tier": "1"},
    }
    assert after.to_dict() == expected
    assert customers.retrieve(before.id).to_dict() == expected


UNSET: dict[str, tuple[Any, Any]] = {
    "address": ("", None),
    "business_name": ("", None),
    "description": ("", None),
    "email": ("", None),
    "individual_name": ("", None),
    "metadata": ("", {}),
    "name": ("", None),
    "phone": ("", None),
    "preferred_locales": ("", []),
    "shipping": ("", None),
    "tax_exempt": ("", "none"),
}


@pytest.mark.parametrize("field", UNSET)
def test_a_field_given_empty_is_unset(customers: Any, field: str) -> None:
    before = customers.create(EVERYTHING | {"invoice_prefix": f"P{list(UNSET).index(field)}"})
    empty, unset = UNSET[field]
    after = customers.update(before.id, {field: empty})
    assert after.to_dict() == before.to_dict() | {field: unset}


def test_invoice_settings_are_changed_one_by_one(customers: Any) -> None:
    customer = customers.create(EVERYTHING)
    customer = customers.update(customer.id, {"invoice_settings": {"footer": "Bye"}})
    assert customer.invoice_settings.footer == "Bye"
    assert customer.invoice_settings.custom_fields[0].name == "VAT"
    emptied = {"custom_fields": "", "footer": "", "rendering_options": ""}
    customer = customers.update(customer.id, {"invoice_settings": emptied})
    assert customer.to_dict()["invoice_settings"] == {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    }


def test_an_address_is_given_whole(customers: Any) -> None:
    customer = customers.create({"address": ADDRESS})
    moved = customers.update(customer.id, {"address": {"city": "Paris", "line2": ""}})
    assert moved.address.to_dict() == dict.fromkeys(ADDRESS) | {"city": "Paris"}


def test_metadata_is_merged_key_by_key(customers: Any) -> None:
    customer = customers.create({"metadata": {"a": "1", "b": "2"}})
    customer = customers.update(customer.id, {"metadata": {"a": "", "c": "3"}})
    assert customer.metadata.to_dict() == {"b": "2", "c": "3"}


def test_metadata_has_at_most_fifty_keys(customers: Any) -> None:
    customer = customers.create({"metadata": {f"k{n}": "v" for n in range(50)}})
    with refused("metadata", saying="at most 50"):
        customers.update(customer.id, {"metadata": {"one": "more"}})
    swapped = customers.update(customer.id, {"metadata": {"one": "more", "k0": ""}})
    assert len(swapped.metadata.to_dict()) == 50


@pytest.mark.parametrize(
    ("given", "param", "code", "saying"),
    [
        ({"balance": "1.5"}, "balance", "parameter_invalid_integer", "Invalid integer: 1.5"),
        ({"source": "tok_visa"}, "source", "parameter_unknown", "unknown parameter: source"),
        ({"address": {"zip": "1"}}, "address[zip]", "parameter_unknown", "address[zip]"),
        ({"email": "jenny"}, "email", "email_invalid", "Invalid email address: jenny"),
        ({"name": "x" * 257}, "name", None, "at most 256 characters"),
        ({"invoice_prefix": "acme"}, "invoice_prefix", None, "uppercase letters or digits"),
        ({"invoice_prefix": "A" * 13}, "invoice_prefix", None, "at most 12 characters"),
        ({"next_invoice_sequence": 0}, "next_invoice_sequence", "parameter_invalid_integer", ""),
        ({"tax_exempt": "maybe"}, "tax_exempt", None, "must be one of none, exempt, or reverse"),
        ({"shipping": {"name": "J"}}, "shipping[address]", "parameter_missing", "Missing required"),
        (
            {"invoice_settings": {"custom_fields": [{"name": "VAT"}]}},
            "invoice_settings[custom_fields][0][value]",
            "parameter_missing",
            "Missing required param",
        ),
        ({"metadata": {"k" * 41: "v"}}, "metadata", None, "1 to 40 characters"),
        ({"metadata": {"k": "v" * 501}}, "metadata", None, "at most 500 characters"),
    ],
)
def test_bad_input_is_refused(
    customers: Any, given: dict[str, Any], param: str, code: str | None, saying: str
) -> None:
    with refused(param, code=code, saying=saying):
        customers.create(given)


def test_a_customer_of_another_account_is_not_there(
    stripe_client: StripeClient, stranger: StripeClient
) -> None:
    customer = stripe_client.v1.customers.create()
    theirs = stranger.v1.customers
    with missing("customer", customer.id):
        theirs.retrieve(customer.id)
    with missing("customer", customer.id):
        theirs.update(customer.id, {"name": "mine now"})
    with missing("customer", customer.id):
        theirs.delete(customer.id)
    with missing("customer", customer.id, "starting_after"):
        theirs.list({"starting_after": customer.id})
    assert theirs.list().data == []


def test_customers_are_listed_newest_first(customers: Any) -> None:
    ids = [customers.create().id for _ in range(5)][::-1]
    first = customers.list({"limit": 2})
    assert ([each.id for each in first], first.has_more, first.url) == (
        ids[:2],
        True,
        "/v1/customers",
    )
    second = customers.list({"limit": 2, "starting_after": ids[1]})
    assert ([each.id for each in second], second.has_more) == (ids[2:4], True)
    last = customers.list({"limit": 2, "starting_after": ids[3]})
    assert ([each.id for each in last], last.has_more) == (ids[4:], False)
    back = customers.list({"limit": 2, "ending_before": ids[4]})
    assert ([each.id for each in back], back.has_more) == (ids[2:4], True)
    assert [each.id for each in customers.list({"limit": 2}).auto_paging_iter()] == ids


def test_customers_are_listed_by_email_and_by_time(customers: Any) -> None:
    jenny = customers.create({"email": "jenny@acme.example"})
    customers.create({"email": "john@acme.example"})
    assert [each.id for each in customers.list({"email": "jenny@acme.example"})] == [jenny.id]
    assert len(customers.list({"created": {"gte": jenny.created}}).data) == 2
    assert customers.list({"created": {"lt": jenny.created}}).data == []
    assert customers.list({"created": jenny.created - 1}).data == []


def test_customers_on_a_test_clock_are_listed_by_it(stripe_client: StripeClient) -> None:
    clock = stripe_client.v1.test_helpers.test_clocks.create({"frozen_time": 1_700_000_000})
    on_clock = stripe_client.v1.customers.create({"test_clock": clock.id, "expand": ["test_clock"]})
    on_none = stripe_client.v1.customers.create()
    assert (on_clock.test_clock.id, on_clock.created) == (clock.id, 1_700_000_000)
    listed = stripe_client.v1.customers.list({"test_clock": clock.id})
    assert [each.id for each in listed] == [on_clock.id]
    assert [each.id for each in stripe_client.v1.customers.list()] == [on_none.id]


def test_a_test_clock_must_be_there(customers: Any) -> None:
    with missing("test clock", "clock_x", "test_clock"):
        customers.create({"test_clock": "clock_x"})


def test_a_deleted_customer_leaves_a_stub(stripe_client: StripeClient, customers: Any) -> None:
    customer = customers.create({"invoice_prefix": "GONE"})
    stub = {"id": customer.id, "object": "customer", "deleted": True}
    assert customers.delete(customer.id).to_dict() == stub
    assert customers.retrieve(customer.id).to_dict() == stub
    assert customers.list().data == []
    with missing("customer", customer.id):
        customers.update(customer.id, {"name": "back"})
    with missing("customer", customer.id):
        customers.delete(customer.id)
    with missing("customer", customer.id, "customer"):
        stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    with missing("customer", customer.id, "customer"):
        customers.payment_methods.list(customer.id)
    with refused("invoice_prefix", code="resource_already_exists"):
        customers.create({"invoice_prefix": "GONE"})
    assert events_of(stripe_client, customer.id) == ["customer.deleted", "customer.created"]


def test_a_prefix_is_one_customers(customers: Any) -> None:
    customers.create({"invoice_prefix": "ACME"})
    other = customers.create({"invoice_prefix": "HOOLI"})
    with refused("invoice_prefix", code="resource_already_exists", saying="'ACME'"):
        customers.create({"invoice_prefix": "ACME"})
    with refused("invoice_prefix", code="resource_already_exists", saying="'ACME'"):
        customers.update(other.id, {"invoice_prefix": "ACME"})


def test_a_new_customer_may_bring_a_card(stripe_client: StripeClient, customers: Any) -> None:
    customer = customers.create(
        {
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
            "expand": ["invoice_settings.default_payment_method.customer"],
        }
    )
    method = customer.invoice_settings.default_payment_method
    assert (method.card.last4, method.customer.id) == ("4242", customer.id)
    assert [each.id for each in customers.payment_methods.list(customer.id)] == [method.id]
    assert events_of(stripe_client, customer.id) == ["customer.created"]


def test_a_new_customer_may_bring_two_cards(customers: Any) -> None:
    customer = customers.create(
        {
            "payment_method": "pm_card_mastercard",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )
    brands = {each.id: each.card.brand for each in customers.payment_methods.list(customer.id)}
    assert sorted(brands.values()) == ["mastercard", "visa"]
    assert brands[customer.invoice_settings.default_payment_method] == "visa"


def test_a_payment_method_must_be_there_and_free(customers: Any) -> None:
    taken = customers.create({"payment_method": "pm_card_visa"})
    method_id = customers.payment_methods.list(taken.id).data[0].id
    with missing("PaymentMethod", "pm_x", "payment_method"):
        customers.create({"payment_method": "pm_x"})
    with missing("PaymentMethod", "pm_x", "invoice_settings[default_payment_method]"):
        customers.create({"invoice_settings": {"default_payment_method": "pm_x"}})
    with refused("payment_method", saying="already been attached"):
        customers.create({"payment_method": method_id})
    assert [each.id for each in customers.list()] == [taken.id]


def test_a_default_payment_method_must_be_the_customers(customers: Any) -> None:
    owner = customers.create({"payment_method": "pm_card_visa"})
    method_id = customers.payment_methods.list(owner.id).data[0].id
    other = customers.create()
    param = "invoice_settings[default_payment_method]"
    default = {"invoice_settings": {"default_payment_method": method_id}}
    with refused(param, saying="must be attached"):
        customers.update(other.id, default)
    with missing("PaymentMethod", "pm_x", param):
        customers.update(other.id, {"invoice_settings": {"default_payment_method": "pm_x"}})
    owner = customers.update(owner.id, default)
    assert owner.invoice_settings.default_payment_method == method_id
    owner = customers.update(owner.id, {"invoice_settings": {"default_payment_method": ""}})
    assert owner.invoice_settings.default_payment_method is None


def test_subscriptions_are_there_when_asked_for(stripe_client: StripeClient) -> None:
    v1 = stripe_client.v1
    product = v1.products.create({"name": "Base"})
    price = v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
        }
    )
    card = {"default_payment_method": "pm_card_visa"}
    busy, idle = (v1.customers.create({"invoice_settings": card}) for _ in range(2))
    running = v1.subscriptions.create({"customer": busy.id, "items": [{"price": price.id}]})
    over = v1.subscriptions.create({"customer": busy.id, "items": [{"price": price.id}]})
    v1.subscriptions.cancel(over.id)

    listed = v1.customers.list({"expand": ["data.subscriptions"]})
    for each in listed.last_response.data["data"]:
        assert_shape(each, stripe.Customer)
    found = {each.id: [one.id for one in each.subscriptions.data] for each in listed}
    assert found == {idle.id: [], busy.id: [running.id]}
    assert listed.data[1].currency == "usd"

    v1.customers.delete(busy.id)
    assert v1.subscriptions.retrieve(running.id).status == "canceled"


def test_what_changed_is_in_the_event(stripe_client: StripeClient, customers: Any) -> None:
    customer = customers.create({"name": "Acme", "metadata": {"a": "1"}})
    customers.update(customer.id, {"name": "Hooli", "metadata": {"b": "2"}})
    customers.update(customer.id, {"name": "Hooli"})
    [updated, created] = stripe_client.v1.events.list().data
    assert (updated.type, created.type) == ("customer.updated", "customer.created")
    assert updated.data.previous_attributes.to_dict() == {"name": "Acme", "metadata": {"b": None}}
    assert created.data.object == customer
