"""From a method and a path to what answers there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote

from postpaid.api.requests import UnknownRoute


class Addressed(Protocol):
    """What answers at a method and path; a segment in braces is a parameter."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def operation(self) -> str: ...

    @property
    def path_parameters(self) -> list[str]: ...


R = TypeVar("R", bound=Addressed)


class Router(Generic[R]):
    """Finds the route of a request, a step per segment of its path."""

    def __init__(self, routes: Iterable[R], *, described_at: str = "/docs") -> None:
        self._described_at = described_at
        self._root = _Node[R]()
        for route in routes:
            node = self._root
            for segment in route.path.split("/")[1:]:
                if segment.startswith("{"):
                    node.parameter = node.parameter or _Node[R]()
                    node = node.parameter
                else:
                    node = node.children.setdefault(segment, _Node[R]())
            if route.method in node.routes:
                raise ValueError(f"{route.operation} is declared twice")
            node.routes[route.method] = route

    def find(self, method: str, raw_path: bytes) -> tuple[R, dict[str, str]]:
        """The route and the path's parameters; a word in a path goes before a parameter.

        Takes the path before its percent-encoding is undone: an id may hold a slash. Raises
        ``UnknownRoute``.
        """
        segments = raw_path.decode("latin-1").split("/")[1:]
        node: _Node[R] | None = self._root
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
                f"See {self._described_at} for the URLs that this server knows."
            )
        route = node.routes[method]
        return route, dict(zip(route.path_parameters, values, strict=True))


@dataclass(slots=True)
class _Node(Generic[R]):
    """What may follow a path's beginning."""

    children: dict[str, _Node[R]] = field(default_factory=dict)
    parameter: _Node[R] | None = None
    routes: dict[str, R] = field(default_factory=dict)
