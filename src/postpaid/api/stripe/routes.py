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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, get_type_hints

from postpaid.api import calls
from postpaid.api.calls import Object
from postpaid.api.params import Params
from postpaid.api.stripe.errors import render
from postpaid.api.stripe.expand import Plan, expand, loaded
from postpaid.billing.perform import Answer
from postpaid.core.errors import PaymentFailed
from postpaid.core.values import replace
from postpaid.storage.database import Connection

Handler = Callable[..., Any]
Auth: TypeAlias = Literal["key", "session"]
Body: TypeAlias = Literal["parameters", "raw"]
H = TypeVar("H", bound=Handler)


@dataclass(slots=True)
class Call(calls.Call):
    """One of Stripe's requests on its way through a handler."""

    expand: Plan = field(default_factory=Plan)
    body: bytes = b""  # with its headers, by lower-case name, where it is not parameters
    headers: Mapping[str, str] = field(default_factory=dict)

    def shown(self, conn: Connection, said: Object) -> Object:
        """Expanded."""
        if self.expand.steps:
            expand(conn, self.act, self.expand, [said])
        return said

    def failed(self, error: PaymentFailed) -> Answer:
        """A payment that failed, with what it was of: a charge by its id, the rest whole."""
        answer = render(error)
        shown: Object = dict(error.about)
        with self.database.connection() as conn:
            for kind, key in error.about.items():
                if kind != "charge":
                    shown[kind] = loaded(conn, self.act, kind, [key]).get(key)
        return replace(answer, body={"error": answer.body["error"] | shown})


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
