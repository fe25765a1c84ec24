"""Changing frozen values by making new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def replace(value: T, /, **changes: Any) -> T:
    """What ``dataclasses.replace`` gives, in a fraction of the time.

    A cycle close makes some twenty changed values for every invoice, most with forty fields; there
    it is a quarter of all the work. Raises TypeError for a field that the value does not have.
    """
    cls: Any = type(value)
    names, values_of = _fields(cls)
    values = list(values_of(value))
    for name, changed in changes.items():
        try:
            values[names[name]] = changed
        except KeyError:
            raise TypeError(f"{cls.__name__} has no field {name!r}.") from None
    replaced: T = cls(*values)
    return replaced


@lru_cache
def _fields(cls: type[Any]) -> tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]:
    """The places of the fields in the order of the initializer, and a getter of them all."""
    names = [field.name for field in fields(cls)]
    if len(names) == 1:
        raise TypeError(f"{cls.__name__} is one field; make it anew.")
    return {name: place for place, name in enumerate(names)}, attrgetter(*names)
