"""Payment intents and setup intents in every status, and what may be done to them there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from shapes import assert_shape

VISA = {"payment_method": "pm_card_visa"}
PAYMENT = "/v1/payment_intents"
SETUP = "/v1/setup_intents"

SHAPES: dict[str, type[stripe.StripeObject]] = {
    PAYMENT: stripe.PaymentIntent,
    SETUP: stripe.SetupIntent,
}

# How each status is come to: what the intent is made with, and what is done to it then.
MADE: dict[str, dict[str, tuple[dict[str, str], str]]] = {
    PAYMENT: {
        "requires_payment_method": ({}, ""),
        "requires_confirmation": (VISA, ""),
        "requires_action": (
            {"payment_method": "pm_card_authenticationRequired", "confirm": "true"},
            "",
        ),
        "processing": ({"payment_method": "pm_usBankAccount_success", "confirm": "true"}, ""),
        "succeeded": ({**VISA, "confirm": "true"}, ""),
        "canceled": ({}, "/cancel"),
    },
    SETUP: {
        "requires_payment_method": ({}, ""),
        "requires_confirmation": (VISA, ""),
        "requires_action": (
            {"payment_method": "pm_card_authenticationRequiredOnSetup", "confirm": "true"},
            "",
        ),
        "succeeded": ({**VISA, "confirm": "true"}, ""),
        "canceled": ({}, "/cancel"),
    },
}

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")

# What is asked for, and in which statuses it is done; in all others it is refused.
Doing = tuple[dict[str, str], str, tuple[str, ...]]
DONE: dict[str, dict[str, Doing]] = {
    PAYMENT: {
        "describe": ({"description": "Two", "metadata[a]": "b"}, "", tuple(MADE[PAYMENT])),
        "change the amount": ({"amount": "7"}, "", OPEN[:2]),
        "choose": (VISA, "", OPEN[:2]),
        "keep for later": ({"setup_future_usage": "off_session"}, "", OPEN[:2]),
        "confirm": ({}, "/confirm", OPEN[1:]),
        "confirm with a card": (VISA, "/confirm", OPEN),
        "cancel": ({"cancellation_reason": "duplicate"}, "/cancel", OPEN),
        "capture": ({}, "/capture", ()),
        "authenticate": ({}, "authenticate", ("requires_action",)),
    },
    SETUP: {
        "describe": ({"description": "Two", "metadata[a]": "b"}, "", tuple(MADE[SETUP])),
        "choose": (VISA, "", OPEN),
        "choose nothing": ({"payment_method": ""}, "", OPEN),
        "confirm": ({}, "/confirm", OPEN[1:]),
        "confirm with a card": (VISA, "/confirm", OPEN),
        "cancel": ({"cancellation_reason": "duplicate"}, "/cancel", OPEN),
        "authenticate": ({}, "authenticate", ("requires_action",)),
    },
}

CASES = [(url, status, what) for url in MADE for status in MADE[url] for what in DONE[url]]


@pytest.mark.parametrize(("url", "status", "what"), CASES)
def test_what_a_status_allows_is_done_and_all_else_refused(
    http: httpx.Client, url: str, status: str, what: str
) -> None:
    made_with, then = MADE[url][status]
    key = posted(
        http, url, ({"amount": "500", "currency": "usd"} if url == PAYMENT else {}) | made_with
    )
    if then:
        posted(http, f"{url}/{key}{then}", {})
    before = http.get(f"{url}/{key}").json()
    assert before["status"] == status
    assert_shape(before, SHAPES[url])

    given, action, statuses = DONE[url][what]
    path = f"{url}/{key}{action}"
    if action == "authenticate":
        path = f"{url}/{key}/authenticate".replace("/v1/", "/v1/test_helpers/")
    answer = http.post(path, data=given)
    if status in statuses:
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    kind = "payment" if url == PAYMENT else "setup"
    assert (error["type"], error["code"]) == (
        "invalid_request_error",
        f"{kind}_intent_unexpected_state",
    )
    assert error["message"]
    assert http.get(f"{url}/{key}").json() == before


@pytest.mark.parametrize(("url", "error"), [(PAYMENT, "payment"), (SETUP, "setup")])
def test_one_that_was_declined_says_why_and_takes_another(
    http: httpx.Client, url: str, error: str
) -> None:
    key = posted(http, url, {"amount": "500", "currency": "usd"} if url == PAYMENT else {})
    declined = {"payment_method": "pm_card_chargeDeclined"}
    answer = http.post(f"{url}/{key}/confirm", data=declined)
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "card_error")
    shown = http.get(f"{url}/{key}").json()
    assert_shape(shown, SHAPES[url])
    assert shown["status"] == "requires_payment_method"
    said = shown[f"last_{error}_error"]
    assert (said["code"], said["payment_method"]["object"]) == ("card_declined", "payment_method")
    assert (said["charge"] is None) == (url == SETUP)
    posted(http, f"{url}/{key}/confirm", VISA)
    shown = http.get(f"{url}/{key}").json()
    assert (shown["status"], shown[f"last_{error}_error"]) == ("succeeded", None)


def posted(http: httpx.Client, path: str, given: dict[str, Any]) -> str:
    answer = http.post(path, data=given)
    assert answer.status_code == 200, answer.text
    key: str = answer.json()["id"]
    return key
