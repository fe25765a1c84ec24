"""Stripe's API as one ASGI application: from a request's bytes to an answer's.

A request is routed, authenticated, parsed and validated on the event loop. Its handler, which may
block, runs in a thread; there are as many as connections to the database.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec
from annotated_types import MaxLen
from anyio import CapacityLimiter, to_thread
from pydantic import Field, ValidationError
from starlette.types import Receive, Scope, Send

from postpaid import clock, ids
from postpaid.api.stripe.authentication import Authenticator, SessionAuthenticator
from postpaid.api.stripe.errors import (
    BodyTooLarge,
    UnsupportedMediaType,
    invalid_request,
    render,
    render_unexpected,
)
from postpaid.api.stripe.expand import plan
from postpaid.api.stripe.forms import parse_form, parse_json
from postpaid.api.stripe.gathering import Gatherer
from postpaid.api.stripe.params import Id, Params
from postpaid.api.stripe.routes import Call, Route, Router, Routes
from postpaid.billing import manage_keys, manage_sessions
from postpaid.billing.gather_usage import Waiting
from postpaid.billing.perform import Act, Answer
from postpaid.core.errors import BillingError, InvalidRequest
from postpaid.core.values import replace
from postpaid.storage.accounts import ApiKey
from postpaid.storage.database import Database
from postpaid.storage.meter_event_sessions import MeterEventSession

API_VERSION = "2026-10-28.endive"
IDEMPOTENCY_KEY_LENGTH_MAX = 255
PATH_PARAMETER_LENGTH_MAX = 255
EXPAND_MAX = 20
RAW_BODY_BYTES_MAX = 20_000_000  # ten thousand events and what they may be about

log = logging.getLogger(__name__)


class Facade:
    """Answers Stripe's requests from one database."""

    def __init__(
        self,
        database: Database,
        resources: Iterable[Routes],
        *,
        body_bytes_max: int,
        allowed_networks: tuple[str, ...] = (),
    ) -> None:
        self._database = database
        self._router = Router(route for routes in resources for route in routes.routes)
        self._authenticator = Authenticator(self._find_key)
        self._sessions = SessionAuthenticator(self._find_session)
        self._gatherer = Gatherer(database)
        self._body_bytes_max = body_bytes_max
        self._allowed_networks = allowed_networks
        self._threads = CapacityLimiter(database.pool_size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope)
        try:
            answer = await self._answer(request, receive)
            body = _encode(answer.body)
        except ClientGone:
            return
        except Exception as error:
            answer = _failure(request, error)
            body = _encode(answer.body)
        await _send(send, request, answer, body)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        route, path_parameters = self._router.find(request.method, request.raw_path)
        asker = await self._authenticate(route, request)
        _check_headers(request)
        _check_path(path_parameters)
        if route.body == "raw":
            body = await _body(receive, max(self._body_bytes_max, RAW_BODY_BYTES_MAX))
            request.parameters = parse_form(request.query)
        else:
            body = await _body(receive, self._body_bytes_max)
            request.parameters = _parse(request, body)
        given = dict(request.parameters)
        paths = _validate(Expand, {"expand": given.pop("expand", [])}).expand
        call = Call(
            act=Act(
                account_id=asker.account_id,
                livemode=asker.livemode,
                actor=asker.id,
                now=clock.now(),
                new_id=ids.new_id,
                request_id=request.id,
                idempotency_key=request.idempotency_key,
                api=request.api,
            ),
            database=self._database,
            operation=route.operation,
            parameters={"path": path_parameters, "given": request.parameters},
            expand=plan(route.returns, paths, many=route.many),
            allowed_networks=self._allowed_networks,
        )
        params = _validate(route.params or Params, given)
        if route.gathered:
            usage = route.run(call, params, path_parameters)
            return await self._gatherer.record(
                Waiting(
                    call.act,
                    call.operation,
                    call.parameters,
                    usage.reported,
                    usage.respond,
                    silent=usage.silent,
                )
            )
        if route.body == "raw":
            call.body, call.headers = body, request.readable_headers
        return await to_thread.run_sync(
            _run, route, call, params, path_parameters, limiter=self._threads
        )

    async def _authenticate(self, route: Route, request: Request) -> ApiKey | MeterEventSession:
        authorization = request.header(b"authorization")
        if route.auth == "session":
            return await self._sessions.authenticate(authorization, now=clock.now())
        return await self._authenticator.authenticate(authorization)

    async def _find_key(self, secret: str) -> ApiKey | None:
        def find() -> ApiKey | None:
            with self._database.connection() as conn:
                return manage_keys.find_key(conn, secret)

        return await to_thread.run_sync(find, limiter=self._threads)

    async def _find_session(self, token: str) -> MeterEventSession | None:
        def find() -> MeterEventSession | None:
            with self._database.connection() as conn:
                return manage_sessions.find_session(conn, token)

        return await to_thread.run_sync(find, limiter=self._threads)


def _run(route: Route, call: Call, params: Params, path_parameters: Mapping[str, str]) -> Answer:
    """Let the handler do its work; in a thread."""
    body = route.run(call, params, path_parameters)
    return Answer(200, body) if call.answer is None else replace(call.answer, body=body)


# ─── The request ─────────────────────────────────────────────────────────────────────────────


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
    def of(cls, scope: Scope) -> Request:
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

    @property
    def is_v2(self) -> bool:
        return self.raw_path.startswith(b"/v2/")

    @property
    def api(self) -> str:
        """Whose idempotency keys these are (Stripe: a key is good for one API)."""
        return "v2" if self.is_v2 else "v1"

    @property
    def idempotency_key(self) -> str | None:
        """The key where it has an effect: Stripe ignores it on what is idempotent anyway."""
        if self.method == "POST" or (self.method == "DELETE" and self.is_v2):
            return self.header(b"idempotency-key")
        return None


class ClientGone(Exception):
    """Nobody is left to answer."""


class Expand(Params):
    expand: Annotated[list[Id], MaxLen(EXPAND_MAX)] = Field(default_factory=list)


_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z_]{1,30})?")


def _check_headers(request: Request) -> None:
    version = request.header(b"stripe-version")
    if version is not None and not _VERSION.fullmatch(version):
        raise InvalidRequest(f"Invalid Stripe API version: {version[:40]}")
    key = request.header(b"idempotency-key")
    if key is not None and not (1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and "\0" not in key):
        raise InvalidRequest(
            f"The Idempotency-Key header must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters."
        )


def _check_path(path_parameters: Mapping[str, str]) -> None:
    for name, value in path_parameters.items():
        if "\0" in value or len(value) > PATH_PARAMETER_LENGTH_MAX:
            raise InvalidRequest(f"Invalid string: {value[:40]!r}", param=name)


async def _body(receive: Receive, bytes_max: int) -> bytes:
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


def _parse(request: Request, body: bytes) -> dict[str, Any]:
    """The parameters of query and body together: Stripe takes them in either, for any method."""
    expected = "application/json" if request.is_v2 else "application/x-www-form-urlencoded"
    declared = request.header(b"content-type")
    if body and declared and declared.partition(";")[0].strip().lower() != expected:
        raise UnsupportedMediaType(
            f"Unsupported content type: {declared[:100]}; this path takes {expected}."
        )
    if request.is_v2:
        return parse_form(request.query) | parse_json(body)
    return parse_form(b"&".join(part for part in (request.query, body) if part))


P = TypeVar("P", bound=Params)


def _validate(model: type[P], given: Mapping[str, Any]) -> P:
    try:
        return model.model_validate(given)
    except ValidationError as found:
        raise invalid_request(found, given) from None


# ─── The answer ──────────────────────────────────────────────────────────────────────────────

_encode = msgspec.json.Encoder(decimal_format="string").encode


def _failure(request: Request, error: Exception) -> Answer:
    if isinstance(error, BillingError):
        return render(error, request.parameters, v2=request.is_v2)
    log.error("%s: %s %s failed", request.id, request.method, request.path, exc_info=error)
    return render_unexpected(request.id)


async def _send(send: Send, request: Request, answer: Answer, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"request-id", request.id.encode()),
        (b"stripe-version", request.headers.get(b"stripe-version", API_VERSION.encode())),
    ]
    if b"idempotency-key" in request.headers:
        headers.append((b"idempotency-key", request.headers[b"idempotency-key"]))
    if answer.original_request_id is not None:
        headers.append((b"idempotent-replayed", b"true"))
        headers.append((b"original-request", answer.original_request_id.encode()))
    if answer.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="Postpaid"'))
    if answer.status == 409:  # nothing was done, and it may work in a moment
        headers.append((b"stripe-should-retry", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
