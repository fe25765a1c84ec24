"""What went wrong, in Stripe's statuses, types and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from postpaid.billing.perform import Answer
from postpaid.core import errors
from postpaid.core.errors import BillingError, InvalidRequest, PaymentFailed


class UnknownRoute(BillingError):
    """Nothing answers at this method and path."""


class BodyTooLarge(BillingError):
    """The request's body has more bytes than the operator allows."""


class UnsupportedMediaType(BillingError):
    """The body is in a format that the path does not take."""


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


def spell(path: errors.Path, raw: Mapping[str, Any]) -> str:
    """A parameter's name on the wire, ``items[0][price]``, with the caller's own indices."""
    node: Any = raw
    name = ""
    for part in path:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            shown, node = getattr(node, "keys", range(len(node)))[part], node[part]
        else:
            shown, node = part, node.get(part) if isinstance(node, dict) else None
        name = f"{name}[{shown}]" if name else str(shown)
    return name


# ─── What the parameter models found ─────────────────────────────────────────────────────────


def invalid_request(found: ValidationError, raw: Mapping[str, Any]) -> InvalidRequest:
    """The first error that ``Params`` found in ``raw``; unknown parameters go before others."""
    details = found.errors(include_url=False)
    unknown = [_path(detail, raw) for detail in details if detail["type"] == "extra_forbidden"]
    if unknown:
        return unknown_parameters(unknown, raw)
    path = _path(details[0], raw)
    here = [detail for detail in details if _path(detail, raw) == path]
    message, code = _message(here, spell(path, raw))
    return InvalidRequest(message, param=path, code=code)


def unknown_parameters(paths: list[errors.Path], raw: Mapping[str, Any]) -> InvalidRequest:
    plural = "s" if len(paths) > 1 else ""
    names = ", ".join(spell(path, raw) for path in paths)
    return InvalidRequest(
        f"Received unknown parameter{plural}: {names}", param=paths[0], code="parameter_unknown"
    )


def _path(detail: ErrorDetails, raw: Mapping[str, Any]) -> errors.Path:
    """The parameter at fault: pydantic's location without the names of a union's members."""
    path: errors.Path = ()
    node: Any = raw
    for part in detail["loc"]:
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif not (detail["type"] == "missing" and part == detail["loc"][-1]):
            continue
        path = (*path, part)
    return path


def _message(details: list[ErrorDetails], name: str) -> tuple[str, str | None]:
    """What is wrong with a parameter, in Stripe's words, and Stripe's code for it.

    There are several details when the parameter may be of several types: one of each.
    """
    detail = details[0]
    context = detail.get("ctx", {})
    if detail["input"] == "":
        return (
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to "
            f"unset a parameter; however '{name}' cannot be unset. You should remove '{name}' from "
            "your request or supply a non-empty value.",
            "parameter_invalid_empty",
        )
    match detail["type"]:
        case "refused":
            return context["message"], context["code"]
        case "missing":
            return f"Missing required param: {name}.", "parameter_missing"
        case "literal_error" | "enum":
            expected = "".join(each.get("ctx", {}).get("expected", "") for each in details)
            return f"Invalid {name}: must be one of {_alternatives(expected)}", None
        case "model_type" | "dict_type":
            return "Invalid object", None
        case "list_type":
            return "Invalid array", None
        case "too_long":
            return f"Invalid array: at most {context['max_length']} elements are allowed", None
        case "too_short":
            return f"Invalid array: at least {context['min_length']} elements are needed", None
        case _:
            return f"Invalid {name}: {detail['msg']}", None


def _alternatives(expected: str) -> str:
    """``'day', 'week' or 'month'`` as Stripe writes it: ``day, week, or month``."""
    words = re.findall(r"'([^']*)'", expected)
    if len(words) < 3:
        return " or ".join(words)
    return ", ".join(words[:-1]) + f", or {words[-1]}"
