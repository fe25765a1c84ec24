"""Frame's API as one ASGI application: from a request's bytes to an answer's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from anyio import to_thread
from starlette.types import Receive, Scope, Send

from postpaid import clock, ids
from postpaid.api import facade
from postpaid.api.facade import validate
from postpaid.api.forms import parse_form, parse_json
from postpaid.api.frame.errors import render, render_unexpected
from postpaid.api.frame.routes import PREFIX, Call, Route, Routes
from postpaid.api.gathering import Gatherer
from postpaid.api.params import Params
from postpaid.api.requests import (
    Request,
    UnsupportedMediaType,
    check_idempotency_key,
    check_path,
    read_body,
)
from postpaid.api.routing import Router
from postpaid.billing.gather_usage import Waiting
from postpaid.billing.perform import Act, Answer
from postpaid.core.errors import BillingError
from postpaid.core.values import replace
from postpaid.storage.database import Database

PATH_PARAMETER_LENGTH_MAX = 400  # the id of an event is made of its reference
LONG_BYTES = 16_384  # to read more than that takes milliseconds, in which others would wait

T = TypeVar("T")


class Facade(facade.Facade[Request]):
    """Answers Frame's requests from one database."""

    def __init__(
        self,
        database: Database,
        resources: Iterable[Routes],
        *,
        body_bytes_max: int,
        allowed_networks: tuple[str, ...] = (),
    ) -> None:
        super().__init__(database)
        every = (route for routes in resources for route in routes.routes)
        self._router = Router(every, described_at="/frame/docs")
        self._gatherer = Gatherer(database)
        self._body_bytes_max = body_bytes_max
        self._allowed_networks = allowed_networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope)
        if not request.raw_path.startswith(PREFIX.encode() + b"/"):  # asked for by the host's name
            request.raw_path = PREFIX.encode() + request.raw_path
        await self._respond(request, receive, send)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        route, path_parameters = self._router.find(request.method, request.raw_path)
        key = await self.authenticator.authenticate(request.header(b"authorization"))
        said_key = request.header(b"idempotency-key")
        check_idempotency_key(said_key)
        check_path(path_parameters, length_max=PATH_PARAMETER_LENGTH_MAX)
        body = await read_body(receive, self._body_bytes_max)
        is_long = len(body) > LONG_BYTES
        request.parameters = await self._done(is_long, _parse, request, body)
        call = Call(
            act=Act(
                account_id=key.account_id,
                livemode=key.livemode,
                actor=key.id,
                now=clock.now(),
                new_id=ids.new_id,
                request_id=request.id,
                idempotency_key=None if request.method == "GET" else said_key,
                api="frame",
            ),
            database=self.database,
            operation=route.operation,
            parameters={"path": path_parameters, "given": request.parameters},
            allowed_networks=self._allowed_networks,
        )
        params = validate(route.params, request.parameters) if route.params else None
        if route.gathered:
            usage = await self._done(is_long, route.run, call, params, path_parameters)
            answer = await self._gatherer.record(
                Waiting(call.act, call.operation, call.parameters, usage.reported, usage.respond)
            )
            return replace(answer, status=route.status)
        return await to_thread.run_sync(
            _run, route, call, params, path_parameters, limiter=self.threads
        )

    async def _done(self, is_long: bool, work: Callable[..., T], *given: Any) -> T:
        """What the work returns; what takes long is done in a thread."""
        if is_long:
            return await to_thread.run_sync(work, *given, limiter=self.threads)
        return work(*given)

    def _failure(self, request: Request, error: BillingError) -> Answer:
        return render(error, request.parameters)

    def _unexpected(self, request: Request) -> Answer:
        return render_unexpected(request.id)

    def _headers(self, request: Request, answer: Answer) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request.id.encode())]
        if answer.original_request_id is not None:
            headers.append((b"idempotent-replay", b"true"))
        return headers


def _run(
    route: Route, call: Call, params: Params | None, path_parameters: Mapping[str, str]
) -> Answer:
    """Let the handler do its work; in a thread."""
    body = route.run(call, params, path_parameters)
    answer = Answer(200, body) if call.answer is None else replace(call.answer, body=body)
    return replace(answer, status=route.status) if answer.status == 200 else answer


def _parse(request: Request, body: bytes) -> dict[str, Any]:
    """The parameters of query and body together; an action's body may be empty (Frame)."""
    declared = request.header(b"content-type")
    if body and declared and declared.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(
            f"Unsupported content type: {declared[:100]}; this path takes application/json."
        )
    return parse_form(request.query) | parse_json(body, decimals=True)
