"""Changed values, and values of rows, are what the class's own initializer makes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from dataclasses import replace as dataclasses_replace
from typing import Any

import msgspec
import pytest

from postpaid.core.values import maker, replace


@dataclass(frozen=True, slots=True)
class Narrow:
    a: int
    b: str = "b"


@dataclass(frozen=True)
class Wide:
    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mixed(Wide):
    d: str = "d"


@dataclass(frozen=True)
class Checked:
    a: int
    b: int

    def __post_init__(self) -> None:
        if self.a > self.b:
            raise ValueError("a > b")


@pytest.mark.parametrize(
    "value", [Narrow(1, "x"), Wide(1, "x", [2]), Mixed(1, "x", [2], "y"), Checked(1, 2)]
)
def test_it_is_what_the_standard_library_makes(value: Any) -> None:
    before = msgspec.json.encode(value)
    changed = replace(value, a=0)
    assert changed == dataclasses_replace(value, a=0)
    assert hash(type(changed)) == hash(type(value))
    assert msgspec.json.encode(value) == before  # which has not moved
    assert msgspec.json.decode(msgspec.json.encode(changed), type=type(value)) == changed
    assert replace(changed, a=value.a) == value


@pytest.mark.parametrize("value", [Narrow(1), Wide(1), Mixed(1), Checked(1, 2)])
def test_a_field_that_is_not_there_is_no_field(value: Any) -> None:
    with pytest.raises(TypeError, match="has no field 'z'"):
        replace(value, z=1)


def test_what_is_checked_is_checked_again() -> None:
    with pytest.raises(ValueError, match="a > b"):
        replace(Checked(1, 2), a=3)
    with pytest.raises(ValueError, match="a > b"):
        maker(Checked, ["a", "b"])((3, 2))


def test_frozen_is_frozen() -> None:
    with pytest.raises(AttributeError):
        replace(Wide(1), a=2).a = 3  # type: ignore[misc]


@pytest.mark.parametrize("cls", [Narrow, Wide, Mixed])
@pytest.mark.parametrize("names", [["a", "b"], ["b", "a"], ["a"], ["c", "b", "a"]])
def test_rows_become_values(cls: Any, names: list[str]) -> None:
    of_row: dict[str, Any] = {"a": 1, "b": "x", "c": [2]}
    if "c" in names and cls is Narrow:
        with pytest.raises(TypeError):
            maker(cls, names)([of_row[name] for name in names])
        return
    made = maker(cls, names)([of_row[name] for name in names])
    assert made == cls(**{name: of_row[name] for name in names})
    assert all(hasattr(made, each.name) for each in fields(cls))
