"""Stripe's API as one ASGI application: from a request's bytes to an answer's.

A request is routed, authenticated, parsed and validated on the event loop. Its handler, which may
block, runs in a thread; there are as many as connections to the database.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from annotated_types import MaxLen
from anyio import to_thread
from pydantic import Field
from starlette.types import Receive, Scope, Send

from postpaid import clock, ids
from postpaid.api import facade
from postpaid.api.authentication import SessionAuthenticator
from postpaid.api.facade import validate
from postpaid.api.forms import parse_form, parse_json
from postpaid.api.gathering import Gatherer
from postpaid.api.params import Id, Params
from postpaid.api.requests import (
    Request,
    UnsupportedMediaType,
    check_idempotency_key,
    check_path,
    read_body,
)
from postpaid.api.routing import Router
from postpaid.api.stripe.errors import render, render_unexpected
from postpaid.api.stripe.expand import plan
from postpaid.api.stripe.routes import Call, Route, Routes
from postpaid.billing import manage_sessions
from postpaid.billing.gather_usage import Waiting
from postpaid.billing.perform import Act, Answer
from postpaid.core.errors import BillingError, InvalidRequest
from postpaid.core.values import replace
from postpaid.storage.accounts import ApiKey
from postpaid.storage.database import Database
from postpaid.storage.meter_event_sessions import MeterEventSession

API_VERSION = "2026-10-28.endive"
EXPAND_MAX = 20
RAW_BODY_BYTES_MAX = 20_000_000  # ten thousand events and what they may be about

log = logging.getLogger(__name__)


class Facade(facade.Facade["StripeRequest"]):
    """Answers Stripe's requests from one database."""

    def __init__(
        self,
        database: Database,
        resources: Iterable[Routes],
        *,
        body_bytes_max: int,
        allowed_networks: tuple[str, ...] = (),
    ) -> None:
        super().__init__(database)
        self._router = Router(route for routes in resources for route in routes.routes)
        self._sessions = SessionAuthenticator(self._find_session)
        self._gatherer = Gatherer(database)
        self._body_bytes_max = body_bytes_max
        self._allowed_networks = allowed_networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._respond(StripeRequest.of(scope), receive, send)

    async def _answer(self, request: StripeRequest, receive: Receive) -> Answer:
        route, path_parameters = self._router.find(request.method, request.raw_path)
        asker = await self._authenticate(route, request)
        _check_headers(request)
        check_path(path_parameters)
        if route.body == "raw":
            body = await read_body(receive, max(self._body_bytes_max, RAW_BODY_BYTES_MAX))
            request.parameters = parse_form(request.query)
        else:
            body = await read_body(receive, self._body_bytes_max)
            request.parameters = _parse(request, body)
        given = dict(request.parameters)
        paths = validate(Expand, {"expand": given.pop("expand", [])}).expand
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
            database=self.database,
            operation=route.operation,
            parameters={"path": path_parameters, "given": request.parameters},
            expand=plan(route.returns, paths, many=route.many),
            allowed_networks=self._allowed_networks,
        )
        params = validate(route.params or Params, given)
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
            _run, route, call, params, path_parameters, limiter=self.threads
        )

    async def _authenticate(
        self, route: Route, request: StripeRequest
    ) -> ApiKey | MeterEventSession:
        authorization = request.header(b"authorization")
        if route.auth == "session":
            return await self._sessions.authenticate(authorization, now=clock.now())
        return await self.authenticator.authenticate(authorization)

    async def _find_session(self, token: str) -> MeterEventSession | None:
        def find() -> MeterEventSession | None:
            with self.database.connection() as conn:
                return manage_sessions.find_session(conn, token)

        return await to_thread.run_sync(find, limiter=self.threads)

    def _failure(self, request: StripeRequest, error: BillingError) -> Answer:
        return render(error, request.parameters, v2=request.is_v2)

    def _unexpected(self, request: StripeRequest) -> Answer:
        return render_unexpected(request.id)

    def _headers(self, request: StripeRequest, answer: Answer) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"request-id", request.id.encode()),
            (b"stripe-version", request.headers.get(b"stripe-version", API_VERSION.encode())),
        ]
        if b"idempotency-key" in request.headers:
            headers.append((b"idempotency-key", request.headers[b"idempotency-key"]))
        if answer.original_request_id is not None:
            headers.append((b"idempotent-replayed", b"true"))
            headers.append((b"original-request", answer.original_request_id.encode()))
        if answer.status == 409:  # nothing was done, and it may work in a moment
            headers.append((b"stripe-should-retry", b"true"))
        return headers


def _run(route: Route, call: Call, params: Params, path_parameters: Mapping[str, str]) -> Answer:
    """Let the handler do its work; in a thread."""
    body = route.run(call, params, path_parameters)
    return Answer(200, body) if call.answer is None else replace(call.answer, body=body)


# ─── The request ─────────────────────────────────────────────────────────────────────────────


class StripeRequest(Request):
    """With what Stripe makes of its path."""

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


class Expand(Params):
    expand: Annotated[list[Id], MaxLen(EXPAND_MAX)] = Field(default_factory=list)


_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z_]{1,30})?")


def _check_headers(request: Request) -> None:
    version = request.header(b"stripe-version")
    if version is not None and not _VERSION.fullmatch(version):
        raise InvalidRequest(f"Invalid Stripe API version: {version[:40]}")
    check_idempotency_key(request.header(b"idempotency-key"))


def _parse(request: StripeRequest, body: bytes) -> dict[str, Any]:
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
