"""``expand``: ids replaced by their objects, and fields that are there only when asked for.

Resource modules declare, next to their ``to_stripe``, what can be expanded in an object:

    expandable("subscription", "customer", load="customer")      an id that becomes its object
    includable("price", "tiers", tiers)                           a value absent unless asked for
    nested("subscription", "items", "subscription_item", many=True)    a whole object in it

and how to load objects by id, always for many at once:

    @loader("customer")
    def load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]: ...

Paths are checked against the declarations before any work is done. Then each level of each path
costs one load, however many objects it is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest
from postpaid.storage.database import Connection

LISTS = ("list", "search_result")
DEPTH_MAX = 4  # "data" is not counted, which Stripe does

Object: TypeAlias = dict[str, Any]
Loader: TypeAlias = Callable[[Connection, Act, Sequence[str]], Mapping[str, Any]]
"""Gives a value for each of many ids; an id without one is left out."""

L = TypeVar("L", bound=Loader)


@dataclass(frozen=True, slots=True)
class Field:
    """What is at a field: an object of type ``of`` (or None), or with ``many`` a list of them.

    ``load`` names the type whose loader turns the field's id into the object. ``include`` makes the
    field's value from the id of the object that it is in.
    """

    of: str | None
    many: bool = False
    load: str | None = None
    include: Loader | None = None


_fields: dict[tuple[str, str], Field] = {}
_loaders: dict[str, Loader] = {}


def expandable(object_type: str, path: str, *, load: str) -> None:
    """At ``path`` (may be dotted) an ``object_type`` has the id of a ``load``, a list of them, or
    null; what is on the way may be lists.
    """
    _fields[object_type, path] = Field(of=load, load=load)


def includable(
    object_type: str, path: str, include: Loader, *, of: str | None = None, many: bool = False
) -> None:
    """An ``object_type`` has ``path`` only when asked for; ``include`` gives it by object id."""
    _fields[object_type, path] = Field(of=of, many=many, include=include)


def nested(object_type: str, path: str, of: str, *, many: bool = False) -> None:
    """At ``path`` an ``object_type`` always has a whole ``of``, or with ``many`` a list of them."""
    _fields[object_type, path] = Field(of=of, many=many)


def loader(object_type: str) -> Callable[[L], L]:
    """Declare how to load many objects of a type by their ids."""

    def declare(load: L) -> L:
        _loaders[object_type] = load
        return load

    return declare


def loadable(object_type: str) -> bool:
    """Whether there is a way to load objects of the type by their ids."""
    return object_type in _loaders


def loaded(
    conn: Connection, act: Act, object_type: str, ids: Iterable[str]
) -> Mapping[str, dict[str, Any]]:
    """Objects of a type by their ids: for a shape that always has them whole."""
    wanted = sorted(set(ids))
    return _loaders[object_type](conn, act, wanted) if wanted and object_type in _loaders else {}


# ─── From paths to a plan ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Plan:
    """What to expand in an object: by the path of each field, the field and the plan within it."""

    steps: dict[str, tuple[Field, Plan]] = field(default_factory=dict)


def plan(object_type: str, paths: Sequence[str], *, many: bool = False) -> Plan:
    """How to expand ``paths`` of an ``object_type``, or with ``many`` of a list of them.

    Raises ``InvalidRequest`` for a path that leads nowhere or too far.
    """
    root = Plan()
    for position, path in enumerate(paths):
        names = path.split(".")
        if sum(name != "data" for name in names) > DEPTH_MAX:
            raise InvalidRequest(
                f"You cannot expand more than {DEPTH_MAX} levels of a property ({path}).",
                param=("expand", position),
            )
        if not _add(root, Field(of=object_type, many=many), names):
            raise InvalidRequest(
                f"This property cannot be expanded ({path}).", param=("expand", position)
            )
    return root


def _add(into: Plan, holder: Field, names: list[str]) -> bool:
    """Put the field at the end of ``names`` into the plan of its holder; False if there is none."""
    if holder.many:
        if names[0] != "data":
            return False
        names = names[1:]
    for length in range(1, len(names) + 1):
        path, rest = ".".join(names[:length]), names[length:]
        found = _fields.get((holder.of or "", path))
        if found is not None:
            _, within = into.steps.setdefault(path, (found, Plan()))
            return not rest or _add(within, found, rest)
    return False


# ─── From a plan to values ───────────────────────────────────────────────────────────────────


def expand(conn: Connection, act: Act, plan: Plan, objects: Iterable[Object]) -> None:
    """Expand ``objects``, all of one type or lists of it, in place."""
    holders = [one for each in objects for one in _elements(each) if not one.get("deleted")]
    for path, (found, within) in plan.steps.items():
        *outer, name = path.split(".")
        places = [place for one in holders for place in _inner(one, outer)]
        if found.load is not None:
            _replace_ids(conn, act, _loaders[found.load], places, name)
        elif found.include is not None:
            _include(conn, act, found.include, holders, name)
        if within.steps:
            # An object loaded once for several places is one and the same: expand it once.
            values = {id(each): each for place in places for each in _listed(place[name])}
            expand(conn, act, within, [each for each in values.values() if isinstance(each, dict)])


def _elements(value: Object) -> list[Object]:
    """The elements of a list, or the one object that it is."""
    elements: list[Object] = value["data"] if value.get("object") in LISTS else [value]
    return elements


def _inner(value: Any, path: list[str]) -> list[Object]:
    """What is there at the path: one place, or as many as the lists on the way have."""
    if isinstance(value, list):
        return [place for each in value for place in _inner(each, path)]
    if not path or not value:
        return [value] if value else []
    return _inner(value.get(path[0]), path[1:])


def _replace_ids(
    conn: Connection, act: Act, load: Loader, places: Sequence[Object], name: str
) -> None:
    ids = {each for place in places for each in _listed(place[name]) if isinstance(each, str)}
    loaded = load(conn, act, sorted(ids)) if ids else {}
    for place in places:
        if isinstance(place[name], list):
            place[name] = [loaded.get(each, each) for each in place[name]]
        elif place[name] in ids:
            place[name] = loaded.get(place[name], place[name])


def _listed(value: Any) -> list[Any]:
    """The ids or objects at a field that has one of them, or a list of them."""
    return value if isinstance(value, list) else [value]


def _include(
    conn: Connection, act: Act, include: Loader, holders: Sequence[Object], name: str
) -> None:
    ids = sorted({holder["id"] for holder in holders})
    values = include(conn, act, ids) if ids else {}
    for holder in holders:
        holder[name] = values.get(holder["id"])
