"""One usage event as clients write it: its fields, their bounds, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from postpaid.billing.check_usage import Reported
from postpaid.core.errors import BillingError, InvalidRequest, Path

NAME_MAX = 100
IDENTIFIER_MAX = 100
PAYLOAD_KEYS_MAX = 60
KEY_MAX = 100
TEXT_MAX = 500
TIME_MAX = 40
TIMESTAMP_MAX = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())  # far, and no overflow after it

FIELDS = ("event_name", "identifier", "timestamp", "payload")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
# Python also takes weeks, commas, and times without seconds or zone.
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
)


class Event(NamedTuple):
    """An event as columns take it; the timestamp in milliseconds since the epoch."""

    event_name: str
    payload: dict[str, str]
    identifier: str | None
    timestamp: int | None


def one_by_one(found: Iterable[Any], read: Callable[[Any], Event]) -> Reported:
    """The events as columns; those that ``read`` refuses as errors, by their places."""
    reported = Reported([], [], [], [], {})
    for place, each in enumerate(found):
        try:
            event = read(each)
        except InvalidRequest as error:
            reported.errors[place] = error
            event = Event("", {}, None, None)
        reported.event_names.append(event.event_name)
        reported.payloads.append(event.payload)
        reported.identifiers.append(event.identifier)
        reported.timestamps.append(event.timestamp)
    return reported


def event_of(found: Any) -> Event:
    """An event from decoded JSON. Raises ``InvalidRequest``, with the parameter at fault."""
    if isinstance(found, BillingError):
        raise found
    if not isinstance(found, dict):
        raise InvalidRequest("An event must be an object.", code="event_invalid")
    if unknown := [name for name in found if name not in FIELDS]:
        plural = "s" if len(unknown) > 1 else ""
        raise InvalidRequest(
            f"Received unknown parameter{plural}: {', '.join(map(_clipped, unknown[:10]))}",
            param=_clipped(unknown[0]),
            code="parameter_unknown",
        )
    for name in ("event_name", "payload"):
        if found.get(name) is None:
            raise missing(name)
    identifier = found.get("identifier")
    if identifier is not None:
        identifier = text_of(identifier, IDENTIFIER_MAX, ("identifier",))
    return Event(
        text_of(found["event_name"], NAME_MAX, ("event_name",)),
        payload_of(found["payload"], "payload"),
        identifier,
        milliseconds_of(found.get("timestamp"), "timestamp"),
    )


def payload_of(found: Any, name: str) -> dict[str, str]:
    if not isinstance(found, dict):
        raise InvalidRequest(
            f"Invalid object: {shown(found)}", param=name, code="parameter_invalid"
        )
    if len(found) > PAYLOAD_KEYS_MAX:
        raise InvalidRequest(
            f"The {name} has {len(found)} keys; at most {PAYLOAD_KEYS_MAX} are allowed",
            param=name,
            code="meter_event_dimension_count_too_high",
        )
    payload = {}
    for key, value in found.items():
        param = (name, _clipped(key))
        text_of(key, KEY_MAX, param)
        if type(value) is int or type(value) is _Number:
            value = str(value)
        elif type(value) is not str:
            raise InvalidRequest(
                f"Invalid value: {shown(value)}; must be a string or a number",
                param=param,
                code="parameter_invalid",
            )
        payload[key] = text_of(value, TEXT_MAX, param, length_min=0)
    return payload


def text_of(value: Any, length_max: int, param: Path, *, length_min: int = 1) -> str:
    """Text of that many characters, none of them NUL, which PostgreSQL cannot keep."""
    if type(value) is not str:
        raise InvalidRequest(
            f"Invalid string: {shown(value)}", param=param, code="parameter_invalid"
        )
    if not length_min <= len(value) <= length_max:
        if value:
            raise InvalidRequest(
                f"Invalid string: {shown(value)}; must be at most {length_max} characters",
                param=param,
                code="parameter_invalid",
            )
        raise InvalidRequest(
            f"The {param[-1] or 'key'} must not be empty.",
            param=param,
            code="parameter_invalid_empty",
        )
    if "\0" in value:
        raise InvalidRequest(
            f"Invalid string: {shown(value)}; must not hold a NUL character",
            param=param,
            code="parameter_invalid",
        )
    return value


def milliseconds_of(found: Any, param: str) -> int | None:
    """Unix seconds, or ISO 8601 with a zone, in milliseconds since the epoch.

    What is finer is cut off: rounded up, an event could be in the next period.
    """
    if found is None:
        return None
    if type(found) is int:
        milliseconds = 1000 * found
    elif type(found) is str and len(found) <= TIME_MAX and _ISO.fullmatch(found.upper()):
        try:
            milliseconds = (datetime.fromisoformat(found.upper()) - _EPOCH) // _MS
        except ValueError:
            raise invalid_time(found, param) from None
    else:
        raise invalid_time(found, param)
    return within_reach(milliseconds, found, param)


def within_reach(milliseconds: int, found: Any, param: str) -> int:
    """The same, if we can count with it. Raises ``InvalidRequest``."""
    if not 0 <= milliseconds <= 1000 * TIMESTAMP_MAX:
        raise InvalidRequest(
            f"Invalid {param}: {shown(found)}; must be between 1970 and 2200, in seconds",
            param=param,
            code="timestamp_invalid",
        )
    return milliseconds


def invalid_time(found: Any, param: str) -> InvalidRequest:
    seconds = "whole seconds since 1970, or " if param == "timestamp" else ""
    return InvalidRequest(
        f"Invalid {param}: {shown(found)}; must be {seconds}like 2026-01-01T00:00:00.000Z",
        param=param,
        code="timestamp_invalid",
    )


def missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required param: {name}.", param=name, code="parameter_missing")


def shown(value: Any) -> str:
    """A value as it came, short enough for a sentence."""
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if -(10**50) < value < 10**50 else "a number of more than 50 digits"
    else:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    return _clipped(text.replace("\0", "\\0"))


def _clipped(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


# ─── JSON ────────────────────────────────────────────────────────────────────────────────────


class _Number(str):
    """A JSON number with a point or an exponent, as it was written: never a float."""

    __slots__ = ()


_anything = msgspec.json.Decoder(Any, float_hook=_Number)


def json_of(text: bytes) -> Any:
    """Raises ``InvalidRequest``."""
    try:
        return _anything.decode(text)
    except RecursionError:
        reason = "It is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise InvalidRequest(f"Invalid JSON: {reason}", code="body_invalid")
