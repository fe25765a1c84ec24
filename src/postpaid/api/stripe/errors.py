"""What went wrong, in Stripe's statuses, types and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from postpaid.api.complaints import spell
from postpaid.api.requests import BodyTooLarge, UnknownRoute, UnsupportedMediaType
from postpaid.billing.perform import Answer
from postpaid.core import errors
from postpaid.core.errors import BillingError, PaymentFailed


class Wire(NamedTuple):
    error: type[BillingError]
    status: int
    type: str
    v2_type: str | None = None  # where v2 has a type of its own, which its SDKs go by


# The first class that matches wins, so the special cases come first.
WIRE = [
    Wire(UnknownRoute, 404, "invalid_request_error"),
    Wire(BodyTooLarge, 413, "invalid_request_error"),
    Wire(UnsupportedMediaType, 415, "invalid_request_error"),
    Wire(errors.SessionExpired, 401, "invalid_request_error", "temporary_session_expired"),
    Wire(errors.AuthenticationFailed, 401, "invalid_request_error"),
    Wire(errors.NotFound, 404, "invalid_request_error"),
    Wire(errors.PaymentFailed, 402, "card_error"),
    Wire(errors.IdempotencyMismatch, 400, "idempotency_error"),
    Wire(errors.IdempotencyInUse, 409, "idempotency_error"),
    Wire(errors.Conflict, 409, "invalid_request_error"),
    Wire(errors.AlreadyExists, 400, "invalid_request_error"),
    Wire(errors.AlreadyCanceled, 400, "invalid_request_error", "already_canceled"),
    Wire(errors.NotCancelable, 400, "invalid_request_error", "not_cancelable"),
    Wire(errors.ActionNotAllowed, 400, "invalid_request_error"),
    Wire(errors.InvalidRequest, 400, "invalid_request_error"),
]


def render(
    error: BillingError, raw: Mapping[str, Any] | None = None, *, v2: bool = False
) -> Answer:
    """The answer to a request that failed; ``raw`` is what it had said, to name a parameter."""
    wire = next(wire for wire in WIRE if isinstance(error, wire.error))
    error_type = (v2 and wire.v2_type) or wire.type
    body: dict[str, Any] = {"type": error_type, "message": error.message}
    if error.code is not None:
        body["code"] = error.code
    if error.param:
        body["param"] = spell(error.param, raw or {})
    if isinstance(error, PaymentFailed):
        body["decline_code"] = error.decline_code
    return Answer(wire.status, {"error": body})


def render_unexpected(request_id: str) -> Answer:
    """The answer when we are at fault: not the reason, but how to find it in our log."""
    message = f"An unexpected error occurred; it was logged as {request_id}."
    return Answer(500, {"error": {"type": "api_error", "message": message}})
