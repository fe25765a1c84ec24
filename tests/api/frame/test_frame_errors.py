"""Every business error has a place in Frame's words."""

from typing import Any

import pytest

from postpaid.api.frame.errors import WIRE, render
from postpaid.core import errors
from postpaid.core.errors import BillingError


def business_errors() -> list[type[BillingError]]:
    return [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, BillingError) and error is not BillingError
    ]


@pytest.mark.parametrize("error", business_errors(), ids=lambda error: error.__name__)
def test_a_business_error_has_a_place(error: type[BillingError]) -> None:
    assert any(issubclass(error, wire.error) for wire in WIRE)


def test_no_place_hides_a_later_one() -> None:
    for position, wire in enumerate(WIRE):
        assert not any(issubclass(wire.error, earlier.error) for earlier in WIRE[:position])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NotFound.of("customer", "cus_1"), 404, "not_found"),
        (errors.InvalidRequest("No.", param="name"), 422, "validation_errors"),
        (errors.AlreadyExists("No.", code="duplicate_reference"), 422, "duplicate_reference"),
        (errors.ActionNotAllowed("No."), 422, "invalid_transition"),
        (errors.Conflict("Wait."), 409, "conflict"),
    ],
    ids=["not found", "invalid", "told by name", "transition", "conflict"],
)
def test_an_error_says_its_code(error: BillingError, status: int, code: str) -> None:
    answer = render(error)
    assert (answer.status, answer.body["status"], answer.body["code"]) == (status, status, code)


def test_a_decline_says_why() -> None:
    error = errors.PaymentFailed("No.", code="card_declined", decline_code="stolen_card")
    answer = render(error)
    details: dict[str, Any] = answer.body["error_details"]
    assert (answer.status, answer.body["code"]) == (422, "charge_declined")
    assert details["data"] == {
        "failure_code": "stolen_card",
        "failure_message": "No.",
        "failure_category": "card_error",
    }
