"""Payment methods, through the official SDK."""

from typing import Any

import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

TYPED = {"number": "4242 4242 4242 4242", "exp_month": 8, "exp_year": 2099, "cvc": "314"}


@pytest.fixture
def methods(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.payment_methods


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create().id


def test_a_typed_card_becomes_a_payment_method(methods: Any) -> None:
    method = methods.create(
        {
            "type": "card",
            "card": TYPED,
            "billing_details": {"name": "Jenny", "address": {"city": "Berlin"}},
            "metadata": {"a": "b"},
        }
    )
    shown = method.last_response.data
    assert_shape(shown, stripe.PaymentMethod)
    assert (method.id[:3], method.type, method.customer) == ("pm_", "card", None)
    card = {
        key: shown["card"][key] for key in ("brand", "country", "funding", "last4", "exp_month")
    }
    assert card == {
        "brand": "visa",
        "country": "US",
        "funding": "credit",
        "last4": "4242",
        "exp_month": 8,
    }
    assert shown["billing_details"]["name"] == "Jenny"
    assert shown["billing_details"]["address"]["city"] == "Berlin"
    assert shown["metadata"] == {"a": "b"}
    assert methods.retrieve(method.id) == method
    assert "4242424242424242" not in str(shown)


def test_a_token_becomes_a_payment_method(methods: Any) -> None:
    method = methods.create({"type": "card", "card": {"token": "tok_mastercard"}})
    assert_shape(method.last_response.data, stripe.PaymentMethod)
    assert (method.card.brand, method.card.last4) == ("mastercard", "4444")


def test_one_number_has_one_fingerprint(methods: Any) -> None:
    typed = methods.create({"type": "card", "card": TYPED})
    token = methods.create({"type": "card", "card": {"token": "tok_visa"}})
    other = methods.create({"type": "card", "card": {"token": "tok_amex"}})
    assert typed.card.fingerprint == token.card.fingerprint != other.card.fingerprint


@pytest.mark.parametrize(
    ("card", "param", "code"),
    [
        ({"cvc": "123"}, "card[number]", "parameter_missing"),
        ({"number": "4242424242424242"}, "card[exp_month]", "parameter_missing"),
        ({**TYPED, "number": "4242"}, "card[number]", "invalid_number"),
        ({**TYPED, "number": "visa"}, "card[number]", "invalid_number"),
        ({**TYPED, "exp_month": 13}, "card[exp_month]", "parameter_invalid_integer"),
        ({**TYPED, "cvc": "12"}, "card[cvc]", "invalid_cvc"),
        ({**TYPED, "token": "tok_visa"}, "card[cvc]", "parameters_exclusive"),
        ({**TYPED, "pin": "1"}, "card[pin]", "parameter_unknown"),
    ],
)
def test_a_bad_card_is_refused(
    methods: Any, card: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        methods.create({"type": "card", "card": card})


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ({**TYPED, "number": "4242424242424241"}, "incorrect_number", None),
        ({**TYPED, "exp_year": 2020}, "invalid_expiry_year", None),
        ({**TYPED, "number": "4111111111111111"}, "card_declined", "test_mode_live_card"),
    ],
)
def test_a_card_that_cannot_be_is_a_card_error(
    methods: Any, card: dict[str, Any], code: str, decline_code: str | None
) -> None:
    with pytest.raises(stripe.CardError) as raised:
        methods.create({"type": "card", "card": card})
    error = raised.value
    assert (error.http_status, error.code) == (402, code)
    assert error.json_body["error"].get("decline_code") == decline_code


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"card": TYPED}, "type", "parameter_missing"),
        ({"type": "card"}, "card", "parameter_missing"),
        ({"type": "sepa_debit", "card": TYPED}, "type", None),
        ({"type": "card", "card": TYPED, "customer": "cus_x"}, "customer", "parameter_unknown"),
    ],
)
def test_bad_input_is_refused(
    methods: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        methods.create(given)


def test_an_unknown_token_is_not_there(methods: Any) -> None:
    with missing("token", "tok_x", "card[token]"):
        methods.create({"type": "card", "card": {"token": "tok_x"}})
    with missing("token", "pm_card_visa", "card[token]"):
        methods.create({"type": "card", "card": {"token": "pm_card_visa"}})


def test_a_test_card_attaches_as_a_new_payment_method(
    stripe_client: StripeClient, methods: Any, customer: str
) -> None:
    first = methods.attach("pm_card_visa", {"customer": customer, "expand": ["customer"]})
    second = methods.attach("pm_card_visa", {"customer": customer})
    assert_shape(first.last_response.data, stripe.PaymentMethod)
    assert first.customer.id == second.customer == customer
    assert first.id != second.id
    assert first.card.exp_year > 2000
    events = [each.type for each in stripe_client.v1.events.list()]
    assert events == ["payment_method.attached", "payment_method.attached", "customer.created"]


@pytest.mark.parametrize(
    "test_card",
    [
        "pm_card_chargeCustomerFail",
        "pm_card_chargeDeclined_lost_card",
        "pm_card_authenticationRequired",
    ],
)
def test_a_card_that_will_decline_attaches(methods: Any, customer: str, test_card: str) -> None:
    assert methods.attach(test_card, {"customer": customer}).customer == customer


@pytest.mark.parametrize(
    ("test_card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ],
)
def test_a_card_that_declines_everything_does_not_attach(
    stripe_client: StripeClient,
    methods: Any,
    customer: str,
    test_card: str,
    code: str,
    decline_code: str,
) -> None:
    def attach() -> None:
        methods.attach(test_card, {"customer": customer})

    def create_customer() -> None:
        stripe_client.v1.customers.create({"payment_method": test_card})

    for act in (attach, create_customer):
        with pytest.raises(stripe.CardError) as raised:
            act()
        error = raised.value
        assert (error.http_status, error.code) == (402, code)
        assert error.json_body["error"]["decline_code"] == decline_code
    assert methods.list().data == []
    assert len(stripe_client.v1.customers.list().data) == 1


def test_a_typed_card_that_declines_everything_stays_nobodys(methods: Any, customer: str) -> None:
    method = methods.create({"type": "card", "card": {**TYPED, "number": "4000000000000002"}})
    with pytest.raises(stripe.CardError, match="Your card was declined"):
        methods.attach(method.id, {"customer": customer})
    assert methods.retrieve(method.id).customer is None


def test_a_payment_method_is_one_customers(
    stripe_client: StripeClient, methods: Any, customer: str
) -> None:
    method = methods.create({"type": "card", "card": TYPED})
    other = stripe_client.v1.customers.create().id
    assert methods.attach(method.id, {"customer": customer}).customer == customer
    assert methods.attach(method.id, {"customer": customer}).customer == customer
    with refused("payment_method", saying="already been attached"):
        methods.attach(method.id, {"customer": other})
    with missing("PaymentMethod", "pm_x", "payment_method"):
        methods.attach("pm_x", {"customer": customer})
    with missing("customer", "cus_x", "customer"):
        methods.attach(method.id, {"customer": "cus_x"})
    with refused("customer", code="parameter_missing"):
        methods.attach(method.id, {})


def test_a_detached_payment_method_is_nobodys(
    stripe_client: StripeClient, methods: Any, customer: str
) -> None:
    customers = stripe_client.v1.customers
    method = methods.attach("pm_card_visa", {"customer": customer})
    default = {"invoice_settings": {"default_payment_method": method.id}}
    customers.update(customer, default)

    assert methods.detach(method.id).customer is None
    assert customers.retrieve(customer).invoice_settings.default_payment_method is None
    assert customers.payment_methods.list(customer).data == []
    with refused("payment_method", saying="not attached"):
        methods.detach(method.id)
    with refused("payment_method", saying="attach"):
        methods.update(method.id, {"metadata": {"a": "b"}})
    with missing("PaymentMethod", "pm_x", "payment_method"):
        methods.detach("pm_x")
    changed, detached = stripe_client.v1.events.list({"limit": 2}).data
    assert (changed.type, detached.type) == ("customer.updated", "payment_method.detached")
    assert detached.data.previous_attributes.to_dict() == {"customer": customer}


def test_an_update_changes_what_it_gives(methods: Any, customer: str) -> None:
    before = methods.attach("pm_card_visa", {"customer": customer})
    details = {"name": "Jenny", "email": "j@acme.example", "address": {"city": "Berlin"}}
    methods.update(before.id, {"billing_details": details, "metadata": {"a": "1", "b": "2"}})
    after = methods.update(
        before.id,
        {
            "billing_details": {"email": "", "phone": "1"},
            "card": {"exp_month": 3, "exp_year": 2098},
            "metadata": {"a": ""},
        },
    )
    assert_shape(after.last_response.data, stripe.PaymentMethod)
    assert after.metadata.to_dict() == {"b": "2"}
    assert (after.card.exp_month, after.card.exp_year, after.card.last4) == (3, 2098, "4242")
    details_after = after.billing_details
    assert (details_after.name, details_after.email, details_after.phone) == ("Jenny", None, "1")
    assert details_after.address.city == "Berlin"
    assert methods.retrieve(before.id) == after
    cleared = methods.update(before.id, {"billing_details": {"address": ""}, "metadata": ""})
    assert (cleared.billing_details.address.city, cleared.metadata.to_dict()) == (None, {})
    with refused("card[number]", code="parameter_unknown"):
        methods.update(before.id, {"card": {"number": "4242424242424242"}})
    with missing("PaymentMethod", "pm_x", "payment_method"):
        methods.update("pm_x", {"metadata": {"a": "b"}})


def test_payment_methods_are_listed_newest_first(
    stripe_client: StripeClient, methods: Any, customer: str
) -> None:
    of_customer = stripe_client.v1.customers.payment_methods
    other = stripe_client.v1.customers.create({"payment_method": "pm_card_visa"}).id
    ids = [methods.attach("pm_card_visa", {"customer": customer}).id for _ in range(3)][::-1]
    for listed in (methods.list({"customer": customer}), of_customer.list(customer)):
        assert [each.id for each in listed] == ids
    assert len(methods.list().data) == 4
    assert methods.list({"customer": customer, "type": "sepa_debit"}).data == []
    assert [each.id for each in of_customer.list(customer, {"type": "card"})] == ids
    assert [each.id for each in of_customer.list(customer, {"starting_after": ids[1]})] == ids[2:]
    assert [each.id for each in of_customer.list(customer, {"ending_before": ids[1]})] == ids[:1]
    paged = of_customer.list(customer, {"limit": 1})
    assert [each.id for each in paged.auto_paging_iter()] == ids
    assert of_customer.retrieve(customer, ids[0]).id == ids[0]
    with missing("PaymentMethod", ids[0], "payment_method"):
        of_customer.retrieve(other, ids[0])
    with missing("customer", "cus_x", "customer"):
        of_customer.list("cus_x")
    with missing("customer", "cus_x", "customer"):
        methods.list({"customer": "cus_x"})


def test_a_payment_method_of_another_account_is_not_there(
    methods: Any, customer: str, stranger: StripeClient
) -> None:
    method = methods.attach("pm_card_visa", {"customer": customer})
    theirs = stranger.v1.payment_methods
    own = stranger.v1.customers.create().id
    with missing("PaymentMethod", method.id):
        theirs.retrieve(method.id)
    with missing("PaymentMethod", method.id, "payment_method"):
        theirs.update(method.id, {"metadata": {"a": "b"}})
    with missing("PaymentMethod", method.id, "payment_method"):
        theirs.attach(method.id, {"customer": own})
    with missing("PaymentMethod", method.id, "payment_method"):
        theirs.detach(method.id)
    with missing("customer", customer, "customer"):
        theirs.attach("pm_card_visa", {"customer": customer})
    assert theirs.list().data == []
