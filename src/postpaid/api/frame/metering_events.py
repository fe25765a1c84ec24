"""Billing metric events, as Frame shows them: what a customer used, once for each reference."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BeforeValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from postpaid.api.facade import validate
from postpaid.api.frame.errors import render
from postpaid.api.frame.params import FrameParams, Metadata, Payer, When, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner, decimal_string, owners
from postpaid.api.gathering import Usage
from postpaid.api.instants import iso, seconds
from postpaid.api.params import Dec, Text, refuse
from postpaid.billing.amend_usage import Amendment, amend_usage
from postpaid.billing.check_usage import (
    NUMBER,
    UNIQUE_TEXT_MAX,
    Parts,
    Reported,
    dimensions_of,
    instant,
    milliseconds,
    value_of,
)
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Recorded
from postpaid.core.errors import AlreadyExists, BillingError, InvalidRequest, NotFound
from postpaid.core.money import plain
from postpaid.core.values import replace
from postpaid.storage import meters, usage, usage_amendments
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage import UsageEvent

routes = Routes("Billing metric events")

URL = "/v1/billing/metering_events"
BATCH_MAX = 1_000
REFERENCE_BYTES_MAX = 255


def _short(reference: str) -> str:
    if len(reference.encode()) > REFERENCE_BYTES_MAX:
        raise refuse(f"Invalid string: must be at most {REFERENCE_BYTES_MAX} bytes in UTF-8")
    return reference


_decimal: TypeAdapter[Decimal] = TypeAdapter(Dec)
_text = Text(UNIQUE_TEXT_MAX)


def _said(value: Any) -> str:
    """A number in one spelling: 5 and 5.0 are one to a meter that counts what differs."""
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return _text.check(value)
    try:
        return plain(_decimal.validate_python(value))
    except ValidationError as error:
        raise refuse(error.errors()[0]["msg"]) from None


Value = Annotated[
    str,
    BeforeValidator(_said),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]
"""A decimal; or text, of which only a meter that counts what differs can make something (ours)."""


class EventUpdate(FrameParams):
    metadata: Metadata = None
    timestamp: When | None = None
    value: Value | None = None


class EventCreate(Payer):
    event_name: Annotated[str, Text(255)]
    reference: Annotated[str, Text(REFERENCE_BYTES_MAX), AfterValidator(_short)]
    metadata: Metadata = None
    timestamp: When | None = None
    value: Value | None = None


def _an_object(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {}


Anything = Annotated[Any, BeforeValidator(_an_object), WithJsonSchema({"type": "object"})]


class EventBatch(FrameParams):
    events: Annotated[list[Anything], Len(1, BATCH_MAX)]


@routes.post(URL, status=201, gathered=True)
def create(call: Call, params: EventCreate) -> Usage:
    """Record what a customer used; a reference counts once, and for good.

    Its meter says what is late: 35 days, and 5 minutes ahead of the customer's present.
    """
    parts = parts_of(params)

    def respond(conn: Connection, act: Act, recorded: Recorded) -> Mapping[str, Any]:
        if error := recorded.errors.get(0):
            raise in_frames_words(error, params)
        return recorded_to_frame(act, params, parts, recorded, 0)

    return Usage(reported([(params, parts)]), respond)


@routes.post(f"{URL}/batch", gathered=True)
def create_batch(call: Call, params: EventBatch) -> Usage:
    """Record up to 1000 events at once, each with an outcome of its own. It is ours."""
    read: list[tuple[EventCreate, Parts] | None] = []
    errors: dict[int, BillingError] = {}
    for place, each in enumerate(params.events):
        try:
            event = validate(EventCreate, each)
            read.append((event, parts_of(event)))
        except BillingError as error:
            read.append(None)
            errors[place] = error

    def respond(conn: Connection, act: Act, recorded: Recorded) -> Mapping[str, Any]:
        outcomes = []
        for place, each in enumerate(read):
            error = recorded.errors.get(place)
            if each is not None and error is not None:
                error = in_frames_words(error, each[0])
            outcomes.append(
                {
                    "index": place,
                    "reference": each[0].reference if each else None,
                    "error": render(error).body if error else None,
                    "event": recorded_to_frame(act, *each, recorded, place)
                    if each and not error
                    else None,
                }
            )
        accepted = sum(each["error"] is None for each in outcomes)
        return {
            "object": "billing_metric_event_batch",
            "accepted": accepted,
            "refused": len(outcomes) - accepted,
            "data": outcomes,
            "livemode": act.livemode,
        }

    columns = reported(read)
    columns.errors |= errors
    return Usage(columns, respond)


@routes.get(URL + "/{event}")
def retrieve(call: Call, event: str) -> dict[str, Any]:
    """Retrieve an event."""
    reference = reference_of(event)

    def read(conn: Connection) -> dict[str, Any]:
        found = usage.load(conn, call.act.account_id, [reference]).get(reference)
        if found is None:
            raise NotFound.of("metering event", event)
        meter = meters.load(conn, call.act.account_id, [found.meter_id])[found.meter_id]
        return _stored_to_frame(conn, call.act, meter, found)

    return call.read(read)


@routes.patch(URL + "/{event}")
def update(call: Call, params: EventUpdate, event: str) -> dict[str, Any]:
    """Correct an event that no final invoice bills; what it said before is kept."""
    reference = reference_of(event)
    asked = Amendment(params.value, params.timestamp)
    if "metadata" in params.given():
        asked = replace(asked, dimensions=lambda before: merge_metadata(before, params.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        try:
            meter, after = amend_usage(conn, call.act, reference, asked)
        except BillingError as error:
            raise in_frames_words(error, None) from None
        return _stored_to_frame(conn, call.act, meter, after)

    return call.write(write)


# ─── In ──────────────────────────────────────────────────────────────────────────────────────


def parts_of(params: EventCreate) -> Parts:
    return Parts(
        params.required_payer_id,
        params.value,
        merge_metadata({}, params.metadata or {}),
    )


def reported(events: Sequence[tuple[EventCreate, Parts] | None]) -> Reported:
    """Events as columns; None keeps the place of one that could not be read."""
    columns = Reported([], [], [], [])
    for place, each in enumerate(events):
        params, parts = each or (None, None)
        columns.event_names.append(params.event_name if params else "")
        columns.payloads.append({})
        columns.identifiers.append(params.reference if params else None)
        at: datetime | None = params.timestamp if params else None
        columns.timestamps.append(None if at is None else milliseconds(at))
        if parts is not None:
            columns.by_part[place] = parts
    return columns


def id_of(reference: str) -> str:
    """The event's id, which says its reference."""
    return "mev_" + base64.urlsafe_b64encode(reference.encode()).decode().rstrip("=")


def reference_of(event_id: str) -> str:
    """The reference of the event with this id. Raises ``NotFound`` for what is none."""
    prefix, _, text = event_id.partition("_")
    try:
        padded = text + "=" * (-len(text) % 4)
        reference = base64.b64decode(padded.encode("ascii"), b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        reference = ""
    if prefix != "mev" or not reference or "\0" in reference or id_of(reference) != event_id:
        raise NotFound.of("metering event", event_id)
    return reference


PARAMS = {
    "resource_missing": "customer",
    "meter_event_invalid_value": "value",
    "meter_event_value_not_found": "value",
    "meter_event_value_too_many_digits": "value",
}


def in_frames_words(error: BillingError, params: EventCreate | None) -> BillingError:
    """What is wrong with an event, by the names that Frame has for its parts."""
    if isinstance(error, AlreadyExists) and params is not None:
        return AlreadyExists(
            f"An event with the reference '{params.reference}' was recorded before; nothing was "
            "recorded now.",
            param="reference",
            code="duplicate_reference",
        )
    if error.code == "meter_event_value_not_found":
        return InvalidRequest("Missing required param: value.", param="value")
    if error.param[:1] == ("payload",):
        name = PARAMS.get(error.code or "", "metadata")
        if name == "customer" and params is not None:
            name = "account" if _is_account(params) else name
        return type(error)(error.message, param=name, code=error.code)
    return error


def _is_account(params: EventCreate) -> bool:
    return params.account is not None or params.account_id is not None


# ─── Out ─────────────────────────────────────────────────────────────────────────────────────


def recorded_to_frame(
    act: Act, params: EventCreate, parts: Parts, recorded: Recorded, place: int
) -> dict[str, Any]:
    """An event as it was accepted; whose it is is said as it was asked."""
    meter = recorded.meter_by_name[params.event_name]
    return to_frame(
        params.reference,
        meter,
        Owner(parts.customer_id, _is_account(params)),
        value=_value(parts.value or "1"),
        occurred_at=instant(recorded.occurred_ms[place]),
        metadata=parts.dimensions,
        created_at=instant(recorded.received_ms[place]),
        updated_at=instant(recorded.received_ms[place]),
        livemode=act.livemode,
    )


def _value(text: str) -> str:
    return decimal_string(Decimal(text)) if NUMBER.fullmatch(text) else text


def _stored_to_frame(conn: Connection, act: Act, meter: Meter, event: UsageEvent) -> dict[str, Any]:
    owner = owners(conn, act.account_id, [event.customer_id])[event.customer_id]
    amended = usage_amendments.last_amended(conn, act.account_id, [event.reference])
    return to_frame(
        event.reference,
        meter,
        owner,
        value=_value(value_of(meter, event)),
        occurred_at=event.occurred_at,
        metadata=dimensions_of(meter, event.payload),
        created_at=event.received_at,
        updated_at=amended.get(event.reference, event.received_at),
        canceled_at=event.canceled_at,
        livemode=act.livemode,
    )


def to_frame(
    reference: str,
    meter: Meter,
    owner: Owner,
    *,
    value: str,
    occurred_at: datetime,
    metadata: Mapping[str, str],
    created_at: datetime,
    updated_at: datetime,
    livemode: bool,
    canceled_at: datetime | None = None,
) -> dict[str, Any]:
    """An event; ours is when it was cancelled."""
    return {
        "id": id_of(reference),
        "object": "billing_metric_event",
        "event_name": meter.event_name,
        "meter_id": meter.id,
        "reference": reference,
        **owner.keys,
        "value": value,
        "timestamp": iso(occurred_at),
        "metadata": metadata,
        "canceled_at": seconds(canceled_at),
        "livemode": livemode,
        "created": seconds(created_at),
        "updated": seconds(updated_at),
    }
