"""What went wrong, in Frame's statuses and codes, under every key that its clients read."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from postpaid.api.complaints import spell
from postpaid.api.requests import BodyTooLarge, UnknownRoute, UnsupportedMediaType
from postpaid.billing.perform import Answer
from postpaid.core import errors
from postpaid.core.errors import BillingError, PaymentFailed


class Wire(NamedTuple):
    error: type[BillingError]
    status: int
    code: str


# The first class that matches wins, so the special cases come first.
WIRE = [
    Wire(UnknownRoute, 404, "not_found"),
    Wire(BodyTooLarge, 413, "payload_too_large"),
    Wire(UnsupportedMediaType, 415, "unsupported_media_type"),
    Wire(errors.AuthenticationFailed, 401, "unauthorized"),
    Wire(errors.NotFound, 404, "not_found"),
    Wire(errors.PaymentFailed, 422, "charge_declined"),
    Wire(errors.IdempotencyMismatch, 422, "idempotency_mismatch"),
    Wire(errors.IdempotencyInUse, 409, "idempotency_key_in_use"),
    Wire(errors.Conflict, 409, "conflict"),
    Wire(errors.AlreadyExists, 422, "validation_errors"),
    Wire(errors.ActionNotAllowed, 422, "invalid_transition"),
    Wire(errors.InvalidRequest, 422, "validation_errors"),
]

# Codes of the engine that a program of Frame's would ask for by name.
TOLD = {
    "customer_blocked",
    "duplicate_reference",
    "invalid_event_codes",
    "not_available",
    "nothing_to_bill",
    "payment_method_blocked",
    "usage_already_billed",
    "usage_limit_reached",
}

# Those that Frame answers with a status of their own.
STATUSES = {"invalid_event_codes": 400}

# What a decline was about, to be asked for before anything is tried again (Frame).
ABOUT = {"payment_intent": "charge_intent", "charge": "charge"}


def render(error: BillingError, raw: Mapping[str, Any] | None = None) -> Answer:
    """The answer to a request that failed; ``raw`` is what it had said, to name a parameter."""
    wire = next(wire for wire in WIRE if isinstance(error, wire.error))
    code = error.code if error.code in TOLD else wire.code
    details: dict[str, Any] = {"message": error.message}
    if error.param:
        details["errors"] = {spell(error.param, raw or {}): [error.message]}
    if isinstance(error, PaymentFailed):
        details["data"] = {
            "failure_code": error.decline_code or error.code,
            "failure_message": error.message,
            "failure_category": "card_error",
            **{ABOUT[what]: key for what, key in error.about.items() if what in ABOUT},
        }
    return _answer(STATUSES.get(code, wire.status), code, error.message, details)


def render_unexpected(request_id: str) -> Answer:
    """The answer when we are at fault: not the reason, but how to find it in our log."""
    message = f"An unexpected error occurred; it was logged as {request_id}."
    return _answer(500, "internal_error", message, {"message": message})


def _answer(status: int, code: str, message: str, details: Mapping[str, Any]) -> Answer:
    return Answer(
        status,
        {
            "status": status,
            "error": HTTPStatus(status).phrase,
            "code": code,
            "message": message,
            "error_details": details,
        },
    )
