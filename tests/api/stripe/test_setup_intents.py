"""Setup intents, through the official SDK."""

from typing import Any

import httpx
import pytest
import stripe
from refusals import missing, refused
from stripe import StripeClient

from shapes import assert_shape

ON_SETUP = "pm_card_authenticationRequiredOnSetup"


@pytest.fixture
def setups(stripe_client: StripeClient) -> Any:
    return stripe_client.v1.setup_intents


@pytest.fixture
def customer(stripe_client: StripeClient) -> str:
    return stripe_client.v1.customers.create().id


def authenticate(http: httpx.Client, intent_id: str, outcome: str = "succeed") -> dict[str, Any]:
    answer = http.post(
        f"/v1/test_helpers/setup_intents/{intent_id}/authenticate", data={"outcome": outcome}
    )
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def told(client: StripeClient, *names: str) -> list[str]:
    """The types of events so far, oldest first, of the kinds named."""
    events = client.v1.events.list({"limit": 100}).data
    return [each.type for each in reversed(events) if each.type.split(".")[0] in names]


def test_a_payment_method_is_set_up_and_attached(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    made = setups.create({"customer": customer, "metadata": {"a": "b"}, "description": "Later"})
    assert_shape(made.last_response.data, stripe.SetupIntent)
    assert (made.id[:5], made.status, made.usage) == (
        "seti_",
        "requires_payment_method",
        "off_session",
    )
    assert made.client_secret.startswith(f"{made.id}_secret_")

    chosen = setups.update(made.id, {"payment_method": "pm_card_visa"})
    assert chosen.status == "requires_confirmation"
    method = stripe_client.v1.payment_methods.retrieve(chosen.payment_method)
    assert method.customer is None

    done = setups.confirm(made.id, {"expand": ["latest_attempt", "payment_method"]})
    assert_shape(done.last_response.data["latest_attempt"], stripe.SetupAttempt)
    assert (done.status, done.payment_method.id) == ("succeeded", method.id)
    assert done.payment_method.customer == customer
    assert done.latest_attempt.status == "succeeded"
    assert setups.retrieve(made.id).status == "succeeded"
    assert told(stripe_client, "setup_intent", "payment_method") == [
        "setup_intent.created",
        "setup_intent.succeeded",
        "payment_method.attached",
    ]
    with refused(None, code="setup_intent_unexpected_state"):
        setups.confirm(made.id)
    with refused(None, code="setup_intent_unexpected_state"):
        setups.cancel(made.id)


def test_one_request_creates_and_confirms(setups: Any, customer: str) -> None:
    done = setups.create({"customer": customer, "payment_method": "pm_card_visa", "confirm": True})
    assert_shape(done.last_response.data, stripe.SetupIntent)
    assert done.status == "succeeded"


def test_what_is_nobodys_can_be_set_up_for_nobody(stripe_client: StripeClient, setups: Any) -> None:
    done = setups.create({"payment_method": "pm_card_visa", "confirm": True})
    assert (done.status, done.customer) == ("succeeded", None)
    assert stripe_client.v1.payment_methods.retrieve(done.payment_method).customer is None


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
    ],
)
def test_a_card_that_declines_leaves_a_setup_intent_that_wants_another(
    stripe_client: StripeClient, setups: Any, customer: str, card: str, decline_code: str
) -> None:
    made = setups.create({"customer": customer})
    with pytest.raises(stripe.CardError) as raised:
        setups.confirm(made.id, {"payment_method": card})
    error = raised.value.json_body["error"]
    assert raised.value.http_status == 402
    assert error["decline_code"] == decline_code
    assert_shape(error["setup_intent"], stripe.SetupIntent)
    assert error["setup_intent"]["id"] == made.id
    assert error["payment_method"]["object"] == "payment_method"

    after = setups.retrieve(made.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    assert after.last_setup_error.decline_code == decline_code
    assert after.last_setup_error.payment_method.id == error["payment_method"]["id"]
    assert stripe_client.v1.customers.payment_methods.list(customer).data == []

    again = setups.confirm(made.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_setup_error) == ("succeeded", None)
    tries = stripe_client.v1.setup_attempts.list({"setup_intent": made.id})
    assert [each.status for each in tries] == ["succeeded", "failed"]
    for each in tries.last_response.data["data"]:
        assert_shape(each, stripe.SetupAttempt)
    assert told(stripe_client, "setup_intent") == [
        "setup_intent.created",
        "setup_intent.setup_failed",
        "setup_intent.succeeded",
    ]


def test_a_card_that_fails_only_when_charged_is_set_up(setups: Any, customer: str) -> None:
    given = {"customer": customer, "payment_method": "pm_card_chargeCustomerFail", "confirm": True}
    assert setups.create(given).status == "succeeded"


def test_whoever_must_prove_who_they_are_does_so_once(
    stripe_client: StripeClient, setups: Any, http: httpx.Client, customer: str
) -> None:
    asked = setups.create({"customer": customer, "payment_method": ON_SETUP, "confirm": True})
    assert_shape(asked.last_response.data, stripe.SetupIntent)
    assert (asked.status, asked.next_action.type) == ("requires_action", "use_stripe_sdk")
    assert stripe_client.v1.customers.payment_methods.list(customer).data == []
    assert setups.confirm(asked.id).status == "requires_action"

    done = authenticate(http, asked.id)
    assert (done["status"], done["next_action"]) == ("succeeded", None)
    [attached] = stripe_client.v1.customers.payment_methods.list(customer).data
    assert attached.id == done["payment_method"]
    tries = stripe_client.v1.setup_attempts.list({"setup_intent": asked.id}).data
    assert [each.status for each in tries] == ["succeeded"]
    assert told(stripe_client, "setup_intent") == [
        "setup_intent.created",
        "setup_intent.requires_action",
        "setup_intent.succeeded",
    ]
    answer = http.post(f"/v1/test_helpers/setup_intents/{asked.id}/authenticate")
    assert answer.json()["error"]["code"] == "setup_intent_unexpected_state"


def test_whoever_cannot_prove_who_they_are_has_set_nothing_up(
    setups: Any, http: httpx.Client, customer: str
) -> None:
    asked = setups.create({"customer": customer, "payment_method": ON_SETUP, "confirm": True})
    failed = authenticate(http, asked.id, "fail")
    assert failed["status"] == "requires_payment_method"
    assert failed["last_setup_error"]["code"] == "setup_intent_authentication_failure"


def test_another_card_takes_the_place_of_one_that_waits(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    asked = setups.create({"customer": customer, "payment_method": ON_SETUP, "confirm": True})
    assert setups.confirm(asked.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    tries = stripe_client.v1.setup_attempts.list({"setup_intent": asked.id}).data
    assert [each.status for each in tries] == ["succeeded", "abandoned"]
    [attached] = stripe_client.v1.customers.payment_methods.list(customer).data
    assert attached.card is not None
    assert attached.card.last4 == "4242"


def test_a_setup_intent_that_is_canceled_stays_so(
    stripe_client: StripeClient, setups: Any, http: httpx.Client, customer: str
) -> None:
    asked = setups.create({"customer": customer, "payment_method": ON_SETUP, "confirm": True})
    over = setups.cancel(asked.id, {"cancellation_reason": "abandoned"})
    assert_shape(over.last_response.data, stripe.SetupIntent)
    assert (over.status, over.cancellation_reason) == ("canceled", "abandoned")
    for act in (setups.cancel, setups.confirm):
        with refused(None, code="setup_intent_unexpected_state"):
            act(asked.id)
    answer = http.post(f"/v1/test_helpers/setup_intents/{asked.id}/authenticate")
    assert answer.status_code == 400
    [attempt] = stripe_client.v1.setup_attempts.list({"setup_intent": asked.id}).data
    assert attempt.status == "abandoned"
    [canceled] = stripe_client.v1.events.list({"type": "setup_intent.canceled"}).data
    assert canceled.data.previous_attributes["status"] == "requires_action"


def test_a_bank_account_is_set_up(setups: Any, customer: str) -> None:
    done = setups.create(
        {
            "customer": customer,
            "payment_method": "pm_usBankAccount_success",
            "payment_method_types": ["us_bank_account"],
            "confirm": True,
            "mandate_data": {"customer_acceptance": {"type": "offline"}},
        }
    )
    assert (done.status, done.payment_method_types) == ("succeeded", ["us_bank_account"])
    with refused("payment_method", saying="us_bank_account only"):
        setups.create(
            {
                "customer": customer,
                "payment_method": "pm_card_visa",
                "payment_method_types": ["us_bank_account"],
            }
        )


def test_an_update_changes_what_it_gives(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    made = setups.create({"metadata": {"a": "1", "b": "2"}, "description": "Later"})
    after = setups.update(made.id, {"customer": customer, "metadata": {"a": ""}})
    assert (after.customer, after.metadata.to_dict()) == (customer, {"b": "2"})
    assert after.description == "Later"
    other = stripe_client.v1.customers.create().id
    with refused("customer", saying="cannot modify"):
        setups.update(made.id, {"customer": other})
    assert setups.update(made.id, {"description": ""}).description is None
    chosen = setups.update(made.id, {"payment_method": "pm_card_visa"})
    assert chosen.status == "requires_confirmation"
    assert setups.update(made.id, {"payment_method": ""}).status == "requires_payment_method"


def test_setup_intents_are_listed_newest_first(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    ids = [setups.create({"customer": customer}).id for _ in range(3)][::-1]
    other = setups.create({"payment_method": "pm_card_visa"})
    assert [each.id for each in setups.list()] == [other.id, *ids]
    assert [each.id for each in setups.list({"customer": customer})] == ids
    assert [each.id for each in setups.list({"payment_method": other.payment_method})] == [other.id]
    assert [each.id for each in setups.list({"customer": customer, "limit": 1})] == ids[:1]
    after = {"customer": customer, "starting_after": ids[0]}
    assert [each.id for each in setups.list(after)] == ids[1:]
    assert setups.list({"created": {"lt": 1}}).data == []
    assert stripe_client.v1.setup_attempts.list({"setup_intent": ids[0]}).data == []


def test_someone_elses_card_is_not_set_up(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    theirs = stripe_client.v1.customers.create({"payment_method": "pm_card_visa"}).id
    [method] = stripe_client.v1.customers.payment_methods.list(theirs).data
    made = setups.create({"customer": customer})
    with refused("payment_method", saying="another customer"):
        setups.create({"customer": customer, "payment_method": method.id})
    with refused("payment_method", saying="another customer"):
        setups.create({"payment_method": method.id})
    with refused("payment_method", saying="another customer"):
        setups.confirm(made.id, {"payment_method": method.id})
    with refused("payment_method", saying="another customer"):
        setups.update(made.id, {"payment_method": method.id})


def test_one_that_was_attached_elsewhere_in_between_is_not_confirmed(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    made = setups.create({"customer": customer, "payment_method": "pm_card_visa"})
    other = stripe_client.v1.customers.create().id
    stripe_client.v1.payment_methods.attach(made.payment_method, {"customer": other})
    with refused("payment_method", saying="another customer"):
        setups.confirm(made.id)


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"usage": "later"}, "usage", None),
        ({"confirm": "yes"}, "confirm", None),
        ({"payment_method_types": ["cash"]}, "payment_method_types[0]", None),
        ({"payment_method_types": ""}, "payment_method_types", "parameter_invalid_empty"),
        ({"return_url": "https://example.com/"}, "return_url", None),
        ({"customer": ""}, "customer", "parameter_invalid_empty"),
        ({"metadata": {"a": "b" * 501}}, "metadata", None),
        ({"single_use": {"amount": 1, "currency": "usd"}}, "single_use", "parameter_unknown"),
        ({"description": "x" * 1001}, "description", None),
        (
            {"automatic_payment_methods": {"enabled": True}, "payment_method_types": ["card"]},
            "payment_method_types",
            "parameters_exclusive",
        ),
    ],
)
def test_bad_input_is_refused(
    setups: Any, given: dict[str, Any], param: str, code: str | None
) -> None:
    with refused(param, code=code):
        setups.create(given)


def test_what_is_not_there_is_named(
    stripe_client: StripeClient, setups: Any, http: httpx.Client, stranger: StripeClient
) -> None:
    with missing("customer", "cus_x", "customer"):
        setups.create({"customer": "cus_x"})
    with missing("PaymentMethod", "pm_x", "payment_method"):
        setups.create({"payment_method": "pm_x"})
    made = setups.create()
    for other in (setups, stranger.v1.setup_intents):
        intent_id = "seti_x" if other is setups else made.id
        with missing("setup_intent", intent_id):
            other.retrieve(intent_id)
        with missing("setup_intent", intent_id):
            other.update(intent_id, {"description": "x"})
        with missing("setup_intent", intent_id):
            other.confirm(intent_id, {"payment_method": "pm_card_visa"})
        with missing("setup_intent", intent_id):
            other.cancel(intent_id)
    with missing("setup_intent", "seti_x", "setup_intent"):
        stripe_client.v1.setup_attempts.list({"setup_intent": "seti_x"})
    with missing("customer", "cus_x", "customer"):
        setups.update(made.id, {"customer": "cus_x"})
    with refused(None, code="setup_intent_unexpected_state", saying="missing a payment method"):
        setups.confirm(made.id)
    answer = http.post("/v1/test_helpers/setup_intents/seti_x/authenticate")
    assert answer.status_code == 404
    assert stranger.v1.setup_intents.list().data == []


def test_a_customer_who_is_deleted_is_asked_for_nothing_more(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    waiting = setups.create({"customer": customer, "payment_method": ON_SETUP, "confirm": True})
    idle = setups.create({"customer": customer})
    done = setups.create({"customer": customer, "payment_method": "pm_card_visa", "confirm": True})
    stripe_client.v1.customers.delete(customer)
    statuses = [setups.retrieve(each.id).status for each in (waiting, idle, done)]
    assert statuses == ["canceled", "canceled", "succeeded"]
    assert stripe_client.v1.payment_methods.retrieve(done.payment_method).customer is None
    with missing("customer", customer, "customer"):
        setups.create({"customer": customer})


def test_a_decline_is_the_same_for_the_same_key(
    stripe_client: StripeClient, setups: Any, customer: str
) -> None:
    made = setups.create({"customer": customer})
    said = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as raised:
            setups.confirm(
                made.id, {"payment_method": "pm_card_chargeDeclined"}, {"idempotency_key": "k"}
            )
        said.append(raised.value.json_body)
    assert said[0] == said[1]
    assert len(stripe_client.v1.setup_attempts.list({"setup_intent": made.id}).data) == 1
