"""What the façades have in common: an ASGI application that answers in one API's words."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError
from starlette.types import Receive, Send

from postpaid.api.authentication import Authenticator
from postpaid.api.complaints import invalid_request
from postpaid.api.params import Params
from postpaid.api.requests import ClientGone, Request
from postpaid.billing import manage_keys
from postpaid.billing.perform import Answer
from postpaid.core.errors import BillingError
from postpaid.storage.accounts import ApiKey
from postpaid.storage.database import Database

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Params)
Q = TypeVar("Q", bound=Request)

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Facade(ABC, Generic[Q]):
    """Answers the requests of one API; a handler blocks, and runs in one of ``threads``."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.authenticator = Authenticator(self._find_key)
        self.threads = CapacityLimiter(database.pool_size)

    @abstractmethod
    async def _answer(self, request: Q, receive: Receive) -> Answer:
        """What is answered. Raises ``BillingError`` for what cannot be done."""

    @abstractmethod
    def _failure(self, request: Q, error: BillingError) -> Answer:
        """The answer to what could not be done."""

    @abstractmethod
    def _unexpected(self, request: Q) -> Answer:
        """The answer when we are at fault."""

    @abstractmethod
    def _headers(self, request: Q, answer: Answer) -> list[tuple[bytes, bytes]]:
        """The API's own headers."""

    async def _respond(self, request: Q, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(request, receive)
            body = _encode(answer.body)
        except ClientGone:
            return
        except Exception as error:
            if isinstance(error, BillingError):
                answer = self._failure(request, error)
            else:
                log.error(
                    "%s: %s %s failed", request.id, request.method, request.path, exc_info=error
                )
                answer = self._unexpected(request)
            body = _encode(answer.body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *self._headers(request, answer),
        ]
        if answer.status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="Postpaid"'))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _find_key(self, secret: str) -> ApiKey | None:
        def find() -> ApiKey | None:
            with self.database.connection() as conn:
                return manage_keys.find_key(conn, secret)

        return await to_thread.run_sync(find, limiter=self.threads)


def validate(model: type[P], given: Mapping[str, Any]) -> P:
    """What the model makes of what is given. Raises ``InvalidRequest``."""
    try:
        return model.model_validate(given)
    except ValidationError as found:
        raise invalid_request(found, given) from None
