"""What a client reports → columns that can be stored, and for the rest the reason why not.

The loop over events is the one place of the engine where a microsecond counts: it makes no object
for an event that is as it should be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from postpaid.billing.perform import Act
from postpaid.core.errors import BillingError, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.money import EXACT, plain
from postpaid.core.pricing import MAX_DECIMALS, MAX_QUANTITY
from postpaid.storage.meters import Meter, MeterStatus
from postpaid.storage.usage import Series, UsageEvent
from postpaid.storage.usage_backfills import UsageBackfill

PAYLOAD_KEYS_MAX = 50
VALUE_TEXT_MAX = 40
UNIQUE_TEXT_MAX = 500
# Python also takes underscores, spaces, other scripts' digits, and exponents beyond all bounds.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
ONE = Decimal(1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)

_encode = msgspec.json.encode


@dataclass(slots=True)
class Reported:
    """Events as a client reports them, as columns of equal length.

    A payload is a map of strings that holds the meter's customer key and value key. An absent
    identifier is made up; an absent timestamp is the customer's present. Timestamps are
    milliseconds since the epoch. ``errors`` has, by place, what could not even be read: the other
    columns hold anything there. ``by_part`` has, by place, what was said without a payload: the
    meter gives it its keys once it is known, with ``give_keys``.
    """

    event_names: list[str]
    payloads: list[Mapping[str, str]]
    identifiers: list[str | None]
    timestamps: list[int | None]
    errors: dict[int, BillingError] = field(default_factory=dict)
    by_part: dict[int, Parts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a payload says, whatever the keys of its meter are."""

    customer_id: str
    value: str | None
    dimensions: Mapping[str, str] = field(default_factory=dict)


def give_keys(reported: Reported, meter_by_name: Mapping[str, Meter]) -> None:
    """Make payloads of what was said without."""
    for place, parts in reported.by_part.items():
        meter = meter_by_name.get(reported.event_names[place])
        if meter is not None:
            reported.payloads[place] = payload_of(meter, parts)


def payload_of(meter: Meter, parts: Parts) -> dict[str, str]:
    """The payload that says so. A dimension named like one of the meter's keys is in brackets."""
    payload = {_dimension_key(meter, key): text for key, text in parts.dimensions.items()}
    payload[meter.customer_key] = parts.customer_id
    if parts.value is not None:
        payload[meter.value_key] = parts.value
    return payload


def dimensions_of(meter: Meter, payload: str | None) -> dict[str, str]:
    """The dimensions of a stored event, by the names that ``payload_of`` was given."""
    if payload is None:
        return {}
    own = {_dimension_key(meter, key): key for key in (meter.customer_key, meter.value_key)}
    stored: dict[str, str] = msgspec.json.decode(payload)
    return {own.get(key, key): text for key, text in stored.items() if key not in own.values()}


def value_of(meter: Meter, event: UsageEvent) -> str:
    """A stored event's value as it was said: of a meter that counts what differs, its text."""
    if meter.aggregation == Aggregation.UNIQUE and event.payload is not None:
        stored: dict[str, str] = msgspec.json.decode(event.payload)
        return stored[meter.value_key]
    return plain(event.value)


def _dimension_key(meter: Meter, key: str) -> str:
    return f"[{key}]" if key in (meter.customer_key, meter.value_key) else key


@dataclass(slots=True)
class Checked:
    """The events that are right, as columns, each with its place among those reported."""

    places: list[int] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    occurred_ms: list[int] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    values: list[Decimal] = field(default_factory=list)
    payloads: list[str | None] = field(default_factory=list)


SeriesByPair = Mapping[tuple[str, str], Series]
"""By customer and meter."""


def pairs_of(reported: Reported, meter_by_name: Mapping[str, Meter]) -> set[tuple[str, str]]:
    """The customers and meters that the events are about."""
    keys = {name: (meter.customer_key, meter.id) for name, meter in meter_by_name.items()}
    pairs = set()
    for name, payload in zip(reported.event_names, reported.payloads, strict=True):
        known = keys.get(name)
        if known is not None and known[0] in payload:
            pairs.add((payload[known[0]], known[1]))
    return pairs


def check_usage(
    act: Act,
    reported: Reported,
    meter_by_name: Mapping[str, Meter],
    series_by_pair: SeriesByPair,
    *,
    backfill: UsageBackfill | None = None,
) -> tuple[Checked, list[str], dict[int, BillingError]]:
    """The events that can be stored, the reference of every event, and the errors by place.

    Stripe's rules: a timestamp lies within 35 days back and 5 minutes ahead of the customer's
    clock, or what the meter says instead; a value has at most 12 decimals and may be negative; the
    customer must exist and the meter be active. What is backfilled may be from 1970 on (ours).
    """
    checked = Checked()
    references: list[str] = []
    errors = dict(reported.errors)
    values: dict[str, Decimal] = {}
    readers = {name: _Reader(meter, backfill) for name, meter in meter_by_name.items()}
    act_ms = milliseconds(act.now)
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
        references.append(reference)
        if place in errors:
            continue
        try:
            reader = readers.get(name)
            if reader is None:
                raise _no_meter(name)
            series = reader.series_of(payload, series_by_pair)
            now_ms = act_ms if series.frozen_at is None else milliseconds(series.frozen_at)
            occurred_ms = now_ms if timestamp is None else timestamp
            if not now_ms - reader.past_ms <= occurred_ms <= now_ms + reader.future_ms or (
                occurred_ms < 0
            ):
                raise reader.out_of_time(occurred_ms, now_ms)
            text = payload.get(reader.value_key)
            value = None if text is None or reader.unique else values.get(text)
            if value is None:
                value = reader.value_of(text)
                if text is not None and not reader.unique:
                    values[text] = value
            rest = (
                None
                if len(payload) == 2 and text is not None and not reader.unique
                else reader.rest_of(payload)
            )
        except BillingError as error:
            errors[place] = error
            continue
        checked.places.append(place)
        checked.references.append(reference)
        checked.series.append(series)
        checked.occurred_ms.append(occurred_ms)
        checked.received_ms.append(now_ms)
        checked.values.append(value)
        checked.payloads.append(rest)
    return checked, references, errors


def identifier_from(idempotency_key: str, place: int) -> str:
    """The identifier of an event that has none, which a repeat of the request gives it again."""
    digest = hashlib.sha256(f"{place}/{idempotency_key}".encode()).hexdigest()
    return f"mtev_{digest[:32]}"


def milliseconds(instant: datetime) -> int:
    """Since the epoch, cut: rounded up, an instant could be in the next period."""
    return (instant - EPOCH) // MS


def instant(ms: int) -> datetime:
    """The instant so many milliseconds after the epoch."""
    return EPOCH + ms * MS


@dataclass(slots=True)
class _Reader:
    """How a meter reads its events."""

    meter: Meter
    backfill: UsageBackfill | None
    value_key: str = ""
    unique: bool = False
    past_ms: int = 0
    future_ms: int = 0

    def __post_init__(self) -> None:
        meter = self.meter
        self.value_key = meter.value_key
        self.unique = meter.aggregation == Aggregation.UNIQUE
        self.past_ms = 1000 * meter.accepts_past_s
        self.future_ms = 1000 * meter.accepts_future_s
        if self.backfill is not None:
            self.past_ms = 1 << 62

    def series_of(self, payload: Mapping[str, str], series_by_pair: SeriesByPair) -> Series:
        meter = self.meter
        if meter.status != MeterStatus.ACTIVE:
            raise InvalidRequest(
                f"The meter of event name '{meter.event_name}' is inactive.",
                param="event_name",
                code="archived_meter",
            )
        if self.backfill is not None:
            self.check_backfill(self.backfill)
        customer_id = payload.get(meter.customer_key)
        if customer_id is None:
            raise InvalidRequest(
                f"Customer mapping key {meter.customer_key} not found in payload.",
                param=("payload", meter.customer_key),
                code="meter_event_no_customer_defined",
            )
        series = series_by_pair.get((customer_id, meter.id))
        if series is None:
            raise NotFound(
                f"No such customer: '{customer_id}'",
                param=("payload", meter.customer_key),
                code="resource_missing",
            )
        return series

    def check_backfill(self, backfill: UsageBackfill) -> None:
        """Whether the backfill takes the meter's events. Raises ``InvalidRequest``."""
        meter = self.meter
        if backfill.event_name not in (None, meter.event_name):
            raise InvalidRequest(
                f"The backfill '{backfill.id}' takes events named '{backfill.event_name}' only.",
                param="event_name",
                code="backfill_of_another_meter",
            )
        if meter.event_time_window is not None:
            raise InvalidRequest(
                f"Events named '{meter.event_name}' cannot be backfilled: of each "
                f"{meter.event_time_window} their meter counts the one that arrived last.",
                param="event_name",
                code="backfill_not_supported",
            )

    def out_of_time(self, occurred_ms: int, now_ms: int) -> InvalidRequest:
        if occurred_ms > now_ms:
            return InvalidRequest(
                f"The timestamp must be at most {_span(self.future_ms)} in the future.",
                param="timestamp",
                code="timestamp_in_future",
            )
        if occurred_ms < 0:
            return InvalidRequest(
                "The timestamp must not be before 1970.",
                param="timestamp",
                code="timestamp_too_far_in_past",
            )
        return InvalidRequest(
            f"The timestamp must be within the past {_span(self.past_ms, 'calendar days')}.",
            param="timestamp",
            code="timestamp_too_far_in_past",
        )

    def value_of(self, text: str | None) -> Decimal:
        param = ("payload", self.value_key)
        if text is None:
            if self.meter.aggregation == Aggregation.COUNT:
                return ONE
            raise InvalidRequest(
                f"Value key {self.value_key} not found in payload.",
                param=param,
                code="meter_event_value_not_found",
            )
        if self.unique:
            if 1 <= len(text) <= UNIQUE_TEXT_MAX:
                return ONE
            raise InvalidRequest(
                f"The value to be counted once must have 1 to {UNIQUE_TEXT_MAX} characters.",
                param=param,
                code="meter_event_invalid_value",
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

    def rest_of(self, payload: Mapping[str, str]) -> str | None:
        """What came beside customer and value; of a unique meter also the text that counts."""
        left_out = (self.meter.customer_key, None if self.unique else self.value_key)
        rest = {key: text for key, text in payload.items() if key not in left_out}
        if len(rest) > PAYLOAD_KEYS_MAX + self.unique:
            raise InvalidRequest(
                f"The payload may have at most {PAYLOAD_KEYS_MAX} keys beside customer and value.",
                param="payload",
                code="meter_event_dimension_count_too_high",
            )
        return _encode(rest).decode() if rest else None


def _no_meter(name: str) -> NotFound:
    return NotFound(
        f"No active meter found for event name '{name}'.", param="event_name", code="no_meter"
    )


def _span(ms: int, days: str = "days") -> str:
    """A span of time in words: 35 days, 5 minutes."""
    for unit_ms, unit in ((86_400_000, days), (3_600_000, "hours"), (60_000, "minutes")):
        if ms and ms % unit_ms == 0:
            return f"{ms // unit_ms} {unit if ms > unit_ms else unit.removesuffix('s')}"
    return f"{ms // 1000} seconds"
