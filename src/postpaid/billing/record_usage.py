"""Accept usage, once each: one path for one event and for many.

Events come as columns and leave as one statement. Every event gets its own outcome, so that a bad
one costs the others nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

from postpaid.billing.perform import Act
from postpaid.core.errors import AlreadyExists, BillingError, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.money import EXACT
from postpaid.core.pricing import MAX_DECIMALS, MAX_QUANTITY
from postpaid.storage import customers, meters, usage
from postpaid.storage.database import Connection

PAST = timedelta(days=35)  # Stripe: an event may be 35 days old
FUTURE = timedelta(minutes=5)  # and, for clocks that differ, 5 minutes ahead
PAYLOAD_KEYS_MAX = 50
VALUE_TEXT_MAX = 40
# Python also takes underscores, spaces, other scripts' digits, and exponents beyond all bounds.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
ONE = Decimal(1)

_encode = msgspec.json.encode


class OutcomeKind(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"  # stored and counted
    DUPLICATE = "duplicate"  # its identifier is stored, with the same content: counted before
    CONFLICT = "conflict"  # its identifier is stored with other content; not counted
    REJECTED = "rejected"  # it could not be understood; not counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event; ``error`` says why when it was not accepted."""

    kind: OutcomeKind
    identifier: str
    occurred_at: datetime | None = None
    error: BillingError | None = None


@dataclass(slots=True)
class Reported:
    """Events as a client reports them, as columns of equal length.

    A payload is a map of strings that holds the meter's customer key and value key. An absent
    identifier is made up; an absent timestamp is the customer's present.
    """

    event_names: Sequence[str]
    payloads: Sequence[Mapping[str, str]]
    identifiers: Sequence[str | None]
    timestamps: Sequence[datetime | None]


def record_usage(conn: Connection, act: Act, reported: Reported) -> list[Outcome]:
    """Store the events that are new and right, and say of each what became of it.

    Stripe's rules: a timestamp lies within 35 days back and 5 minutes ahead of the customer's
    clock; a value has at most 12 decimals and may be negative; the customer must exist and the
    meter be active. An identifier counts once, for as long as events are kept.
    """
    # Read.
    meter_by_name = meters.load_by_event_names(
        conn, act.account_id, list(set(reported.event_names))
    )
    customer_ids = {
        payload[meter.customer_key]
        for name, payload in zip(reported.event_names, reported.payloads, strict=True)
        if (meter := meter_by_name.get(name)) and meter.customer_key in payload
    }
    clock_by_customer = customers.clocks(conn, act.account_id, list(customer_ids))

    # Decide.
    outcomes: list[Outcome | None] = []
    columns = usage.UsageColumns()
    places: list[int] = []
    for place, (name, payload, identifier, timestamp) in enumerate(
        zip(
            reported.event_names,
            reported.payloads,
            reported.identifiers,
            reported.timestamps,
            strict=True,
        )
    ):
        reference = identifier or act.new_id("mtev")
        try:
            meter = meter_by_name.get(name)
            if meter is None:
                raise NotFound(
                    f"No active meter found for event name '{name}'.",
                    param="event_name",
                    code="no_meter",
                )
            if meter.status != "active":
                raise InvalidRequest(
                    f"The meter of event name '{name}' is inactive.",
                    param="event_name",
                    code="archived_meter",
                )
            customer_id = _customer_id(meter, payload)
            if customer_id not in clock_by_customer:
                raise NotFound(
                    f"No such customer: '{customer_id}'",
                    param=("payload", meter.customer_key),
                    code="resource_missing",
                )
            now = clock_by_customer[customer_id] or act.now
            occurred_at = _occurred_at(timestamp, now)
            value = _value(meter, payload)
            rest = _rest(meter, payload)
        except BillingError as error:
            outcomes.append(Outcome(OutcomeKind.REJECTED, reference, error=error))
            continue
        outcomes.append(None)
        places.append(place)
        columns.references.append(reference)
        columns.meter_ids.append(meter.id)
        columns.customer_ids.append(customer_id)
        columns.occurred_ats.append(occurred_at)
        columns.values.append(value)
        columns.payloads.append(rest)
        columns.received_ats.append(now)

    # Write.
    stored = usage.insert_many(conn, act.account_id, columns) if places else set()
    repeats = len(stored) < len(columns)
    first = usage.load(conn, act.account_id, columns.references) if repeats else {}
    for i, place in enumerate(places):
        reference, occurred_at = columns.references[i], columns.occurred_ats[i]
        if reference in stored:
            stored.discard(reference)  # what follows with this identifier is a repeat
            outcomes[place] = Outcome(OutcomeKind.ACCEPTED, reference, occurred_at)
            continue
        before = first[reference]
        same = (
            before.meter_id == columns.meter_ids[i]
            and before.customer_id == columns.customer_ids[i]
            and before.value == columns.values[i]
            and (reported.timestamps[place] is None or before.occurred_at == occurred_at)
        )
        outcomes[place] = Outcome(
            OutcomeKind.DUPLICATE if same else OutcomeKind.CONFLICT,
            reference,
            before.occurred_at,
            AlreadyExists(
                f"An event already exists with identifier {reference}.",
                param="identifier",
                code="resource_already_exists",
            ),
        )
    return [outcome for outcome in outcomes if outcome is not None]


def _customer_id(meter: meters.Meter, payload: Mapping[str, str]) -> str:
    try:
        return payload[meter.customer_key]
    except KeyError:
        raise InvalidRequest(
            f"Customer mapping key {meter.customer_key} not found in payload.",
            param=("payload", meter.customer_key),
            code="meter_event_no_customer_defined",
        ) from None


def _occurred_at(timestamp: datetime | None, now: datetime) -> datetime:
    if timestamp is None:
        return now
    if timestamp < now - PAST:
        raise InvalidRequest(
            "The timestamp must be within the past 35 calendar days.",
            param="timestamp",
            code="timestamp_too_far_in_past",
        )
    if timestamp > now + FUTURE:
        raise InvalidRequest(
            "The timestamp must be at most 5 minutes in the future.",
            param="timestamp",
            code="timestamp_in_future",
        )
    # Cut to what is stored: rounded up, it could be in the next period.
    return timestamp.replace(microsecond=timestamp.microsecond // 1000 * 1000)


def _value(meter: meters.Meter, payload: Mapping[str, str]) -> Decimal:
    text = payload.get(meter.value_key)
    param = ("payload", meter.value_key)
    if text is None:
        if meter.aggregation == Aggregation.COUNT:
            return ONE
        raise InvalidRequest(
            f"Value key {meter.value_key} not found in payload.",
            param=param,
            code="meter_event_value_not_found",
        )
    if len(text) > VALUE_TEXT_MAX or not NUMBER.fullmatch(text):
        raise InvalidRequest(
            f"Invalid decimal in payload: {text[:VALUE_TEXT_MAX]}",
            param=param,
            code="meter_event_invalid_value",
        )
    value = EXACT.normalize(Decimal(text))
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    if -exponent > MAX_DECIMALS or not -MAX_QUANTITY <= value <= MAX_QUANTITY:
        raise InvalidRequest(
            f"The value {text} has too many digits: at most {MAX_DECIMALS} decimals and "
            f"{MAX_QUANTITY:f} are allowed.",
            param=param,
            code="meter_event_value_too_many_digits",
        )
    return value


def _rest(meter: meters.Meter, payload: Mapping[str, str]) -> str | None:
    rest = {
        key: text
        for key, text in payload.items()
        if key not in (meter.customer_key, meter.value_key)
    }
    if len(rest) > PAYLOAD_KEYS_MAX:
        raise InvalidRequest(
            f"The payload may have at most {PAYLOAD_KEYS_MAX} keys beside customer and value.",
            param="payload",
            code="meter_event_dimension_count_too_high",
        )
    return _encode(rest).decode() if rest else None
