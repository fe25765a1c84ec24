"""What a request of Frame's may say: JSON, ISO 8601, and what is not known is passed over.

The types of ``postpaid.api.params`` do the work; here are those that Frame has otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from postpaid.api import params
from postpaid.api.params import TIMESTAMP_MAX, Id, Integer, Params, TextMap, Unsettable, refuse
from postpaid.core.errors import InvalidRequest
from postpaid.core.money import plain
from postpaid.storage.paging import Page

PER_PAGE = 10
PER_PAGE_MAX = 100
PAGE_MAX = 1_000_000
METADATA_KEYS_MAX = 20
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 100


class FrameParams(Params):
    """A request's parameters, or an object among them; what is not declared is ignored (Frame)."""

    model_config = ConfigDict(extra="ignore", frozen=True)


# ─── Time ────────────────────────────────────────────────────────────────────────────────────


def _when(value: Any) -> datetime:
    try:
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            instant = datetime.fromtimestamp(int(value), UTC)
        elif isinstance(value, str) and len(value) == 10:
            instant = datetime.combine(date.fromisoformat(value), time(), UTC)
        else:
            instant = datetime.fromisoformat(value)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        if not isinstance(value, bool) and 0 <= instant.timestamp() <= TIMESTAMP_MAX:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    raise refuse(f"Invalid timestamp: {str(value)[:40]}; must be like 2026-06-01T00:00:00Z")


When: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_when),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}]}
    ),
]
"""ISO 8601, a date or an instant, in UTC unless it says otherwise; or Unix seconds."""


def through(end: datetime) -> datetime:
    """Where a window ends, which is half-open here: 23:59:59 is through the end of that second.

    So a month's last second, as Frame's examples write its end, is in it.
    """
    if end.second != 59:
        return end
    return end.replace(microsecond=0) + timedelta(seconds=1)


# ─── Metadata ────────────────────────────────────────────────────────────────────────────────


def _metadata(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if len(value) > METADATA_KEYS_MAX:
        raise refuse("Cannot have more than 20 metadata entries per object")
    for key in value:
        if "[" in key or "]" in key:
            raise refuse(f"Invalid key: {key[:40]!r}; must have no brackets")
    return {key.strip(): _metadata_text(text) for key, text in value.items()}


def _metadata_text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    return str(value).strip() if type(value) in (str, int) else value


Metadata: TypeAlias = Unsettable[
    Annotated[
        dict[str, str],
        TextMap(METADATA_KEYS_MAX, METADATA_KEY_LENGTH_MAX, METADATA_VALUE_LENGTH_MAX),
        BeforeValidator(_metadata),
    ]
]
"""A change of metadata, for ``merge_metadata``: an empty value deletes its key."""


def merge_metadata(old: Mapping[str, str], change: Mapping[str, str] | None) -> dict[str, str]:
    """``old`` with ``change`` made to it. Raises ``InvalidRequest`` when that is too many keys."""
    try:
        return params.merge_metadata(old, change, keys_max=max(METADATA_KEYS_MAX, len(old)))
    except InvalidRequest:
        message = "Cannot have more than 20 metadata entries per object"
        raise InvalidRequest(message, param="metadata") from None


# ─── Lists, and whose ────────────────────────────────────────────────────────────────────────


def _clamped(value: Any) -> Any:
    """Frame: more than a hundred a page is taken as a hundred."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        value = int(value)
    return min(value, PER_PAGE_MAX) if type(value) is int else value


class ListParams(FrameParams):
    """Which page of a list, counted from 1; resources add their filters."""

    page: Annotated[int, Integer(1, PAGE_MAX)] = 1
    per_page: Annotated[int, Integer(1, PER_PAGE_MAX), BeforeValidator(_clamped)] = PER_PAGE

    @model_validator(mode="before")
    @classmethod
    def _limit(cls, value: Any) -> Any:
        """Some of Frame's lists say ``limit``."""
        if isinstance(value, dict) and "per_page" not in value and "limit" in value:
            return value | {"per_page": value["limit"]}
        return value

    @property
    def rows(self) -> Page:
        return Page(limit=self.per_page, offset=(self.page - 1) * self.per_page)


class Payer(FrameParams):
    """Who pays: a customer or an account, which are one thing here, under either name."""

    customer: Id | None = None
    customer_id: Id | None = None
    account: Id | None = None
    account_id: Id | None = None

    @property
    def payer_id(self) -> str | None:
        """The one that is named. Raises ``InvalidRequest`` for two."""
        named = {
            each
            for each in (self.customer, self.customer_id, self.account, self.account_id)
            if each is not None
        }
        if len(named) > 1 or (self.customer and self.account):
            raise InvalidRequest("Only one of customer and account may be given.", param="customer")
        return named.pop() if named else None

    @property
    def required_payer_id(self) -> str:
        """Raises ``InvalidRequest`` unless exactly one is named."""
        payer_id = self.payer_id
        if payer_id is None:
            raise InvalidRequest("Either customer or account must be given.", param="customer")
        return payer_id
