"""A request, before anyone knows what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.types import Receive, Scope

from postpaid import ids
from postpaid.core.errors import BillingError, InvalidRequest

IDEMPOTENCY_KEY_LENGTH_MAX = 255
PATH_PARAMETER_LENGTH_MAX = 255


class UnknownRoute(BillingError):
    """Nothing answers at this method and path."""


class BodyTooLarge(BillingError):
    """The request's body has more bytes than the operator allows."""


class UnsupportedMediaType(BillingError):
    """The body is in a format that the path does not take."""


@dataclass(slots=True)
class Request:
    """What HTTP says of a request, and what we find out on the way."""

    id: str
    method: str
    raw_path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope) -> Self:
        return cls(
            id=ids.new_id("req"),
            method=scope["method"],
            raw_path=scope.get("raw_path") or scope["path"].encode(),
            query=scope["query_string"],
            headers=dict(scope["headers"]),
        )

    @property
    def path(self) -> str:
        return self.raw_path.decode("latin-1")

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def readable_headers(self) -> dict[str, str]:
        return {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers.items()
        }


class ClientGone(Exception):
    """Nobody is left to answer."""


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The whole body, up to ``bytes_max``. Raises ``BodyTooLarge``."""
    chunks = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge(f"The request body is too large; at most {bytes_max} bytes.")
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def check_path(
    path_parameters: Mapping[str, str], *, length_max: int = PATH_PARAMETER_LENGTH_MAX
) -> None:
    """Raises ``InvalidRequest`` for what can be no id."""
    for name, value in path_parameters.items():
        if "\0" in value or len(value) > length_max:
            raise InvalidRequest(f"Invalid string: {value[:40]!r}", param=name)


def check_idempotency_key(key: str | None) -> None:
    """Raises ``InvalidRequest`` for a key that is empty or too long; None is none."""
    if key is not None and not (1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and "\0" not in key):
        raise InvalidRequest(
            f"The Idempotency-Key header must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters."
        )
