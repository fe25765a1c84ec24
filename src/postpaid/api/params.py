"""What a request may say: strict parameter models and the types of their fields.

A field's type says what the wire's text becomes and what is refused, in Stripe's words. A bare
``str``, ``int`` or ``list`` would take anything of any size, so a model with one is itself refused.

    class MeterCreate(Params):
        display_name: Annotated[str, Text(250)]
        event_time_window: Literal["hour", "day"] | None = None

    class MeterUpdate(Params):
        display_name: Unsettable[Annotated[str, Text(250)]] = None
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin
from zoneinfo import available_timezones

from annotated_types import MaxLen
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from postpaid.api.forms import Indexed
from postpaid.core.errors import InvalidRequest
from postpaid.core.money import MINOR_UNITS, plain
from postpaid.core.pricing import MAX_DECIMALS, MAX_QUANTITY

T = TypeVar("T")

AMOUNT_MAX = 999_999_999_999  # minor units
TIMESTAMP_MAX = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())  # far, and no overflow after it
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500


class Params(BaseModel):
    """A request's parameters, or an object among them; what is not declared is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self) -> dict[str, Any]:
        """The fields that the caller sent; None where an ``Unsettable`` one was sent empty."""
        sent = self.model_fields_set
        return {name: getattr(self, name) for name in type(self).model_fields if name in sent}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name, field in cls.model_fields.items():
            kind = Annotated[field.annotation, field.metadata] if field.metadata else None
            if bare := _bare_type(kind or field.annotation):
                raise TypeError(f"{cls.__name__}.{name}: {bare} needs its bounds; see {__name__}")


def _bare_type(kind: Any) -> Any:
    """The first type within ``kind`` that nothing bounds, or None."""
    if get_origin(kind) is Annotated:
        annotated = get_args(kind)[0]
        parts = () if get_origin(annotated) is dict else get_args(annotated)
    elif get_origin(kind) in (Union, UnionType):
        parts = get_args(kind)
    elif (get_origin(kind) or kind) in (str, int, float, bool, Decimal, datetime, list, dict, Any):
        return kind
    else:
        return None
    return next((bare for part in parts if (bare := _bare_type(part))), None)


def refuse(message: str, code: str | None = None) -> PydanticCustomError:
    """An error to raise in a validator; ``code`` is one of Stripe's or None."""
    return PydanticCustomError("refused", "{message}", {"message": message, "code": code})


# ─── Text and numbers ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Text:
    """Text of 1 to ``length_max`` characters: ``Annotated[str, Text(250)]``."""

    length_max: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = core_schema.str_schema(min_length=1, max_length=self.length_max)
        return core_schema.no_info_before_validator_function(self.check, inner)

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise refuse("Invalid string")
        if len(value) > self.length_max:
            raise refuse(
                f"Invalid string: {_shown(value)}; must be at most {self.length_max} characters"
            )
        return value


Id: TypeAlias = Annotated[str, Text(255)]


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from ``low`` to ``high``: ``Annotated[int, Integer(1, 100)]``."""

    low: int
    high: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = core_schema.int_schema(ge=self.low, le=self.high)
        return core_schema.no_info_before_validator_function(self.check, inner)

    def check(self, value: Any) -> int:
        number = _integer(value)
        if number < self.low:
            raise refuse(
                f"This value must be greater than or equal to {self.low}.",
                "parameter_invalid_integer",
            )
        if number > self.high:
            raise refuse(
                f"This value must be less than or equal to {self.high}.",
                "parameter_invalid_integer",
            )
        return number


Amount: TypeAlias = Annotated[int, Integer(-AMOUNT_MAX, AMOUNT_MAX)]
ChargedAmount: TypeAlias = Annotated[int, Integer(1, 99_999_999)]  # Stripe: eight digits
"""Minor units, of either sign."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise refuse(f"Invalid integer: {_shown(value)}", "parameter_invalid_integer")


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_WIDE = Context(prec=200)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal) or type(value) is int:
        value = str(value)
    if not isinstance(value, str) or len(value) > 100 or not _DECIMAL.fullmatch(value):
        raise refuse(f"Invalid decimal: {_shown(value)}")
    number = Decimal(value).normalize(_WIDE)
    if abs(number) > MAX_QUANTITY:
        raise refuse(f"Invalid decimal: {_shown(value)}; must be within ±{plain(MAX_QUANTITY)}")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the pattern has no NaN and no infinity"
    if exponent < -MAX_DECIMALS:
        raise refuse(
            f"Invalid decimal: {_shown(value)}; must have at most {MAX_DECIMALS} decimal places"
        )
    return number if exponent <= 0 else number.quantize(Decimal(1))


Dec: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    WithJsonSchema({"type": "string", "format": "decimal"}),
]
"""An exact number: at most 12 decimal places, at most 10¹⁵ in size. A JSON float is refused."""


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise refuse(f"Invalid boolean: {_shown(value)}")


Boolean: TypeAlias = Annotated[bool, BeforeValidator(_boolean)]


def _currency(value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in MINOR_UNITS:
        raise refuse(
            f"Invalid currency: {_shown(value)}. These currencies are supported: "
            + ", ".join(sorted(MINOR_UNITS))
        )
    return value.lower()


Currency: TypeAlias = Annotated[str, BeforeValidator(_currency)]
"""A known ISO 4217 code, lower case."""


# ─── Time ────────────────────────────────────────────────────────────────────────────────────


def _timestamp(value: Any) -> datetime:
    seconds = _integer(value)
    if not 0 <= seconds <= TIMESTAMP_MAX:
        raise refuse(f"Invalid timestamp: {seconds}; must be between 0 and {TIMESTAMP_MAX}")
    return datetime.fromtimestamp(seconds, UTC)


Timestamp: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_timestamp),
    WithJsonSchema({"type": "integer", "format": "unix-time"}),
]
"""Unix seconds on the wire, an aware UTC datetime inside."""


def _instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None and 0 <= instant.timestamp() <= TIMESTAMP_MAX:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise refuse(f"Invalid timestamp: {_shown(value)}; must be like 2026-01-01T00:00:00.000Z")


Instant: TypeAlias = Annotated[datetime, BeforeValidator(_instant)]
"""ISO 8601 with a time zone on the wire, as in v2; an aware UTC datetime inside."""


@cache
def zone_names() -> frozenset[str]:
    """The names of the IANA time zone database."""
    return frozenset(available_timezones())


def _time_zone(value: Any) -> str:
    if not isinstance(value, str) or value not in zone_names():
        raise refuse(
            f"Invalid time zone: {_shown(value)}; must be a name of the IANA time zone database, "
            "like Europe/Berlin."
        )
    return value


TimeZone: TypeAlias = Annotated[str, BeforeValidator(_time_zone)]
"""The name of a time zone, like Europe/Berlin."""


class TimeRange(Params):
    """``created[gte]=…&created[lt]=…``, or ``created=…`` for that very second."""

    gt: Timestamp | None = None
    gte: Timestamp | None = None
    lt: Timestamp | None = None
    lte: Timestamp | None = None

    @model_validator(mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        return {"gte": value, "lte": value} if isinstance(value, str | int) else value

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The half-open range: at least the first, before the second; None is unbounded."""
        second = timedelta(seconds=1)
        starts = [t for t in (self.gte, self.gt and self.gt + second) if t is not None]
        ends = [t for t in (self.lt, self.lte and self.lte + second) if t is not None]
        return max(starts, default=None), min(ends, default=None)


# ─── Several values, and none ────────────────────────────────────────────────────────────────

ListOf: TypeAlias = Annotated[list[T], MaxLen(100)]
"""At most a hundred; ``Annotated[list[…], MaxLen(20)]`` for another limit."""


class _EmptyIsNone:
    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: None if value == "" else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"const": ""}]}


Unsettable: TypeAlias = Annotated[T | None, _EmptyIsNone()]
"""Sent empty it is None, "unset"; ``Params.given`` tells that from not being sent."""


@dataclass(frozen=True, slots=True)
class TextMap:
    """Text by key, bounded: ``Annotated[dict[str, str], TextMap(50, 40, 500)]``.

    The values may be empty. The keys may look like a list's indices.
    """

    keys_max: int
    key_length_max: int
    value_length_max: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = core_schema.dict_schema(core_schema.str_schema(), core_schema.str_schema())
        return core_schema.no_info_before_validator_function(self.check, inner)

    def check(self, value: Any) -> dict[str, str]:
        if isinstance(value, Indexed):
            value = value.as_dict()
        if not isinstance(value, dict):
            raise refuse("Invalid object")
        if len(value) > self.keys_max:
            raise refuse(f"Invalid object: at most {self.keys_max} keys are allowed")
        for key, text in value.items():
            if not 1 <= len(key) <= self.key_length_max:
                raise refuse(
                    f"Invalid key: {_shown(key)}; must be 1 to {self.key_length_max} characters"
                )
            if not isinstance(text, str):
                raise refuse(f"Invalid value for key {_shown(key)}: must be a string")
            if len(text) > self.value_length_max:
                raise refuse(
                    f"Invalid value for key {_shown(key)}: must be at most "
                    f"{self.value_length_max} characters"
                )
        return value


Metadata: TypeAlias = Unsettable[
    Annotated[
        dict[str, str],
        TextMap(METADATA_KEYS_MAX, METADATA_KEY_LENGTH_MAX, METADATA_VALUE_LENGTH_MAX),
    ]
]
"""A change of metadata, for ``merge_metadata``: None clears it, an empty value deletes its key."""


def merge_metadata(
    old: Mapping[str, str],
    change: Mapping[str, str] | None,
    *,
    keys_max: int = METADATA_KEYS_MAX,
) -> dict[str, str]:
    """``old`` with ``change`` made to it. Raises ``InvalidRequest`` when that is too many keys."""
    if change is None:
        return {}
    merged = {key: text for key, text in {**old, **change}.items() if text != ""}
    if len(merged) > keys_max:
        raise InvalidRequest(
            f"Invalid object: at most {keys_max} keys are allowed", param="metadata"
        )
    return merged


def _shown(value: Any) -> str:
    """A value for a message, cut short."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
