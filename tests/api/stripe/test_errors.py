"""Every business error has a place on the wire, and the SDK raises the right exception for it."""

import logging
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from postpaid.api.complaints import spell
from postpaid.api.forms import parse_form
from postpaid.api.stripe.errors import WIRE, render
from postpaid.billing.manage_keys import IssuedKey
from postpaid.core import errors
from postpaid.core.errors import BillingError


def business_errors() -> list[type[BillingError]]:
    return [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, BillingError) and error is not BillingError
    ]


@pytest.mark.parametrize("error", business_errors())
def test_a_business_error_has_a_place(error: type[BillingError]) -> None:
    assert any(issubclass(error, wire.error) for wire in WIRE)


def test_no_place_hides_a_later_one() -> None:
    for position, wire in enumerate(WIRE):
        assert not any(issubclass(wire.error, earlier.error) for earlier in WIRE[:position])


RENDERED: list[tuple[BillingError, int, dict[str, Any]]] = [
    (
        errors.NotFound.of("price", "price_x", param=("items", 0, "price")),
        404,
        {
            "type": "invalid_request_error",
            "message": "No such price: 'price_x'",
            "code": "resource_missing",
            "param": "items[0][price]",
        },
    ),
    (
        errors.NotFound.of("customer", "cus_x"),
        404,
        {
            "type": "invalid_request_error",
            "message": "No such customer: 'cus_x'",
            "code": "resource_missing",
            "param": "id",
        },
    ),
    (
        errors.InvalidRequest("Odd.", param="x"),
        400,
        {"type": "invalid_request_error", "message": "Odd.", "param": "x"},
    ),
    (
        errors.AlreadyExists("Taken."),
        400,
        {
            "type": "invalid_request_error",
            "message": "Taken.",
            "code": "resource_already_exists",
        },
    ),
    (
        errors.ActionNotAllowed("A paid invoice cannot void."),
        400,
        {
            "type": "invalid_request_error",
            "message": "A paid invoice cannot void.",
            "code": "status_transition_invalid",
        },
    ),
    (
        errors.Conflict("Later."),
        409,
        {"type": "invalid_request_error", "message": "Later.", "code": "lock_timeout"},
    ),
    (
        errors.IdempotencyMismatch("Other."),
        400,
        {"type": "idempotency_error", "message": "Other."},
    ),
    (
        errors.IdempotencyInUse("Busy."),
        409,
        {"type": "idempotency_error", "message": "Busy.", "code": "idempotency_key_in_use"},
    ),
    (
        errors.AuthenticationFailed("Who?"),
        401,
        {"type": "invalid_request_error", "message": "Who?"},
    ),
    (
        errors.PaymentFailed("Declined.", code=None, decline_code="lost_card"),
        402,
        {
            "type": "card_error",
            "message": "Declined.",
            "code": "card_declined",
            "decline_code": "lost_card",
        },
    ),
]


@pytest.mark.parametrize(("error", "status", "body"), RENDERED)
def test_an_error_is_rendered(error: BillingError, status: int, body: dict[str, Any]) -> None:
    for v2 in (False, True):
        answer = render(error, v2=v2)
        assert (answer.status, answer.body) == (status, {"error": body})


@pytest.mark.parametrize(
    ("error", "status", "code", "v2_type"),
    [
        (
            errors.SessionExpired("Over."),
            401,
            "billing_meter_event_session_expired",
            "temporary_session_expired",
        ),
        (errors.AlreadyCanceled("Again."), 400, "already_canceled", "already_canceled"),
        (errors.NotCancelable("Late."), 400, "not_cancelable", "not_cancelable"),
    ],
    ids=["session expired", "already canceled", "not cancelable"],
)
def test_some_errors_have_a_type_of_their_own_in_v2(
    error: BillingError, status: int, code: str, v2_type: str
) -> None:
    for v2, error_type in [(False, "invalid_request_error"), (True, v2_type)]:
        answer = render(error, v2=v2)
        body = {"type": error_type, "message": error.message, "code": code}
        assert (answer.status, answer.body) == (status, {"error": body})


@pytest.mark.parametrize(
    ("path", "form", "name"),
    [
        (("name",), "", "name"),
        (("items", 1, "price"), "", "items[1][price]"),
        (("items", 1, "price"), "items[0][price]=a&items[1][price]=b", "items[1][price]"),
        (("items", 1, "price"), "items[4][price]=a&items[9][price]=b", "items[9][price]"),
        (("items", 1, "price"), "items[][price]=a&items[][price]=b", "items[1][price]"),
        (("items", 7, "price"), "items[4][price]=a", "items[7][price]"),
        (("metadata", "a"), "metadata[a]=1", "metadata[a]"),
        ((), "", ""),
    ],
)
def test_a_parameter_is_named_as_the_caller_wrote_it(
    path: errors.Path, form: str, name: str
) -> None:
    assert spell(path, parse_form(form.encode())) == name


# ─── Through the server, to the SDK ──────────────────────────────────────────────────────────


@pytest.fixture
def gadget_client(gadget_server: str, key: IssuedKey) -> StripeClient:
    return StripeClient(key.secret, base_addresses={"api": gadget_server})


def test_the_sdk_raises_an_invalid_request(gadget_client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        gadget_client.raw_request("post", "/v1/gadgets")
    assert raised.value.http_status == 400
    assert raised.value.code == "parameter_missing"
    assert raised.value.param == "name"
    assert raised.value.user_message == "Missing required param: name."
    assert str(raised.value.request_id).startswith("req_")


def test_the_sdk_raises_for_what_is_not_found(gadget_client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        gadget_client.raw_request("get", "/v1/gadgets/gadget_x")
    assert raised.value.http_status == 404
    assert raised.value.code == "resource_missing"


def test_the_sdk_raises_for_an_unknown_url(gadget_client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"GET: /v1/gidgets") as raised:
        gadget_client.raw_request("get", "/v1/gidgets")
    assert raised.value.http_status == 404


def test_the_sdk_raises_for_a_wrong_key(gadget_server: str) -> None:
    client = StripeClient("sk_test_wrong", base_addresses={"api": gadget_server})
    with pytest.raises(stripe.AuthenticationError):
        client.raw_request("get", "/v1/gadgets")


def test_the_sdk_raises_for_a_declined_card(gadget_client: StripeClient) -> None:
    gadget = gadget_client.raw_request("post", "/v1/gadgets", name="x").data["id"]
    with pytest.raises(stripe.CardError) as raised:
        gadget_client.raw_request("post", f"/v1/gadgets/{gadget}/pay", card="declined")
    assert raised.value.code == "card_declined"
    assert raised.value.error is not None
    assert raised.value.error.decline_code == "generic_decline"


def test_the_sdk_raises_for_a_key_used_twice(gadget_client: StripeClient) -> None:
    gadget_client.raw_request("post", "/v1/gadgets", name="x", idempotency_key="twice")
    with pytest.raises(stripe.IdempotencyError):
        gadget_client.raw_request("post", "/v1/gadgets", name="y", idempotency_key="twice")


def test_our_own_fault_says_nothing_and_is_logged(
    gadget_http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    gadget = gadget_http.post("/v1/gadgets", data={"name": "x"}).json()["id"]
    with caplog.at_level(logging.ERROR, logger="postpaid"):
        answer = gadget_http.post(f"/v1/gadgets/{gadget}/pay", data={"card": "broken"})
    request_id = answer.headers["Request-Id"]
    assert answer.status_code == 500
    assert answer.json() == {
        "error": {
            "type": "api_error",
            "message": f"An unexpected error occurred; it was logged as {request_id}.",
        }
    }
    [record] = caplog.records
    assert record.getMessage() == f"{request_id}: POST /v1/gadgets/{gadget}/pay failed"
    assert record.exc_info is not None
