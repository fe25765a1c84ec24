"""Routes and calls of Frame's API: what a resource answers to, and what its handlers are given.

    routes = Routes("Customers")

    @routes.patch("/frame/v1/customers/{customer}")
    def update(call: Call, params: CustomerUpdate, customer: str) -> dict[str, Any]:
        \"\"\"Update a customer.\"\"\"
        return call.write(lambda conn: ...)

A handler takes the call, ``params`` (its annotation is the model; without it the route takes no
parameters), and the path's parameters by name. It runs in a thread and may block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from postpaid.api import calls
from postpaid.api.calls import Object
from postpaid.api.frame.errors import render
from postpaid.api.params import Params
from postpaid.billing.perform import Answer
from postpaid.core.errors import PaymentFailed
from postpaid.storage.database import Connection

PREFIX = "/frame"

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


@dataclass(slots=True)
class Call(calls.Call):
    """One of Frame's requests on its way through a handler."""

    def shown(self, conn: Connection, said: Object) -> Object:
        """As it is: Frame expands nothing."""
        return said

    def failed(self, error: PaymentFailed) -> Answer:
        return render(error)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, what handles it, and the status of its success."""

    method: str
    path: str
    handler: Handler
    params: type[Params] | None
    group: str
    status: int
    gathered: bool = False  # it only records usage, together with other requests that wait

    @property
    def operation(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def path_parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def run(self, call: Call, params: Params | None, path_parameters: Mapping[str, str]) -> Any:
        if params is None:
            return self.handler(call, **path_parameters)
        return self.handler(call, params, **path_parameters)


class Routes:
    """The routes of one resource; ``name`` groups them in the documentation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes: list[Route] = []

    def get(self, path: str) -> Callable[[H], H]:
        return self._add("GET", path, 200)

    def post(self, path: str, *, status: int = 200, gathered: bool = False) -> Callable[[H], H]:
        """``status`` is 201 where something is made (Frame).

        The handler of a ``gathered`` route does not block and returns ``Usage``.
        """
        return self._add("POST", path, status, gathered)

    def patch(self, path: str) -> Callable[[H], H]:
        return self._add("PATCH", path, 200)

    def delete(self, path: str) -> Callable[[H], H]:
        return self._add("DELETE", path, 200)

    def _add(self, method: str, path: str, status: int, gathered: bool = False) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            params = get_type_hints(handler).get("params")
            self.routes.append(
                Route(method, PREFIX + path, handler, params, self.name, status, gathered)
            )
            return handler

        return declare
