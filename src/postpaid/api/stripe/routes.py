"""Routes and calls: how a resource says what it answers to, and what its handlers are given.

    routes = Routes("Customers")

    @routes.post("/v1/customers/{customer}", returns="customer")
    def update(call: Call, params: CustomerUpdate, customer: str) -> dict[str, Any]:
        \"\"\"Update a customer.\"\"\"
        return call.write(lambda conn: ...)

A handler takes the call, ``params`` (its annotation is the model; without it the route takes no
parameters), and the path's parameters by name. It runs in a thread and may block. It returns the
object as Stripe shows it, which ``call.read`` or ``call.write`` has expanded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_type_hints
from urllib.parse import unquote

from postpaid.api.stripe.errors import UnknownRoute, render
from postpaid.api.stripe.expand import Plan, expand, loaded
from postpaid.api.stripe.params import Params
from postpaid.billing.check_usage import Reported
from postpaid.billing.perform import Act, Answer, perform
from postpaid.billing.record_usage import Recorded
from postpaid.core.errors import PaymentFailed
from postpaid.core.values import replace
from postpaid.storage.database import Connection, Database

Object = dict[str, Any]
Handler = Callable[..., Any]
Auth: TypeAlias = Literal["key", "session"]
Body: TypeAlias = Literal["parameters", "raw"]
H = TypeVar("H", bound=Handler)


@dataclass(slots=True)
class Call:
    """One request on its way through a handler."""

    act: Act
    database: Database
    operation: str
    parameters: Mapping[str, Any]  # all that the caller said: what a repeat must say again
    expand: Plan = field(default_factory=Plan)
    body: bytes = b""  # with its headers, by lower-case name, where it is not parameters
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Answer | None = None  # set by a write
    allowed_networks: tuple[str, ...] = ()  # that webhooks may go to, beside all public ones

    def read(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` reads, expanded."""
        with self.database.connection() as conn:
            return self._expanded(conn, fn(conn))

    def write(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` did in its transaction, expanded; or what it had done for the same key."""
        return self._perform(lambda conn: self._expanded(conn, fn(conn)))

    def write_and_show(
        self,
        fn: Callable[[Connection], Object],
        show: Callable[[Connection, Object], Object],
    ) -> Object:
        """What ``show`` makes of what ``fn`` did, as things are now; a repeat sees them anew.

        Only what ``fn`` returns is remembered with the key: ids, and nothing that is secret. So v2
        wants it (Stripe: a repeat returns an updated response).
        """
        done = self._perform(fn)
        with self.database.connection() as conn:
            return self._expanded(conn, show(conn, done))

    def write_anew(self, fn: Callable[[Connection], Object]) -> Object:
        """What ``fn`` did, expanded, and not remembered with any key: a repeat does it again.

        For what a repeat cannot harm, and for answers that are nobody's to keep.
        """
        self.act = replace(self.act, idempotency_key=None)
        return self.write(fn)

    def write_then(
        self, begin: Callable[[Connection], Object], finish: Callable[[Object], Object]
    ) -> Object:
        """``begin`` in a transaction, then ``finish`` outside it, with what ``begin`` returned.

        ``finish`` may be repeated with that, JSON in between, and makes its answer by ``read``. A
        ``PaymentFailed`` that it raises is an answer like any other, and remembered.
        """

        def finished(begun: Mapping[str, Any]) -> Answer:
            try:
                return Answer(200, finish(dict(begun)))
            except PaymentFailed as error:
                return self._failed(error)

        return self._perform(begin, finished)

    def _failed(self, error: PaymentFailed) -> Answer:
        """A payment that failed, with what it was of: a charge by its id, the rest whole."""
        answer = render(error)
        shown: Object = dict(error.about)
        with self.database.connection() as conn:
            for kind, key in error.about.items():
                if kind != "charge":
                    shown[kind] = loaded(conn, self.act, kind, [key]).get(key)
        return replace(answer, body={"error": answer.body["error"] | shown})

    def _expanded(self, conn: Connection, shown: Object) -> Object:
        if self.expand.steps:
            expand(conn, self.act, self.expand, [shown])
        return shown

    def _perform(
        self,
        begin: Callable[[Connection], Object],
        finish: Callable[[Mapping[str, Any]], Answer] | None = None,
    ) -> Object:
        self.answer = perform(
            self.database, self.act, self.operation, self.parameters, begin, finish
        )
        return cast(Object, self.answer.body)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a gathered route's handler returns: events to record, and how to answer then.

    ``silent``: the answer does not tell what was rejected, which is then told in a report.
    """

    reported: Reported
    respond: Callable[[Connection, Act, Recorded], Mapping[str, Any]]
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, what handles it, and what it takes and gives."""

    method: str
    path: str
    handler: Handler
    params: type[Params] | None  # None: it takes none but expand
    returns: str
    many: bool
    group: str
    auth: Auth = "key"  # what the request shows: an API key, or the token of a session
    body: Body = "parameters"  # raw: the handler reads it, in whatever format it is
    gathered: bool = False  # it only records usage, together with other requests that wait

    @property
    def operation(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def path_parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def run(self, call: Call, params: Params, path_parameters: Mapping[str, str]) -> Any:
        if self.params is None:
            return self.handler(call, **path_parameters)
        return self.handler(call, params, **path_parameters)


class Routes:
    """The routes of one resource; ``name`` groups them in the documentation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes: list[Route] = []

    def get(self, path: str, *, returns: str, many: bool = False) -> Callable[[H], H]:
        """``returns`` is the type of the object in the answer, or with ``many`` in its list."""
        return self._add("GET", path, returns, many)

    def post(
        self,
        path: str,
        *,
        returns: str,
        many: bool = False,
        auth: Auth = "key",
        body: Body = "parameters",
        gathered: bool = False,
    ) -> Callable[[H], H]:
        """The handler of a ``gathered`` route does not block and returns ``Usage``."""
        return self._add("POST", path, returns, many, auth, body, gathered)

    def delete(self, path: str, *, returns: str, many: bool = False) -> Callable[[H], H]:
        return self._add("DELETE", path, returns, many)

    def _add(
        self,
        method: str,
        path: str,
        returns: str,
        many: bool,
        auth: Auth = "key",
        body: Body = "parameters",
        gathered: bool = False,
    ) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            params = get_type_hints(handler).get("params")
            self.routes.append(
                Route(method, path, handler, params, returns, many, self.name, auth, body, gathered)
            )
            return handler

        return declare


class Router:
    """Finds the route of a request, a step per segment of its path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.split("/")[1:]:
                if segment.startswith("{"):
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.children.setdefault(segment, _Node())
            if route.method in node.routes:
                raise ValueError(f"{route.operation} is declared twice")
            node.routes[route.method] = route

    def find(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]]:
        """The route and the path's parameters; a word in a path goes before a parameter.

        Takes the path before its percent-encoding is undone: an id may hold a slash. Raises
        ``UnknownRoute``.
        """
        segments = raw_path.decode("latin-1").split("/")[1:]
        node: _Node | None = self._root
        values = []
        for segment in segments:
            if node is None:
                break
            if segment in node.children:
                node = node.children[segment]
            else:
                node = node.parameter if segment else None
                values.append(unquote(segment))
        if node is None or method not in node.routes:
            raise UnknownRoute(
                f"Unrecognized request URL ({method}: {unquote('/' + '/'.join(segments))}). "
                "See /docs for the URLs that this server knows."
            )
        route = node.routes[method]
        return route, dict(zip(route.path_parameters, values, strict=True))


@dataclass(slots=True)
class _Node:
    """What may follow a path's beginning."""

    children: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)
