"""The description of the API is of this API: requests that are right are right by it, too."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import test_bad_lifecycle_input
import test_bad_paying_input

from described import parameters_of, problems, references
from postpaid.api.server import RESOURCES

RIGHT = [*test_bad_lifecycle_input.RIGHT, *test_bad_paying_input.RIGHT]


@pytest.fixture(scope="module")
def description(server: str) -> Any:
    return httpx.get(f"{server}/openapi.json").json()


def nameless(path: str) -> str:
    return re.sub(r"\{.*?\}", "{}", path)


def test_every_route_is_described(description: Any) -> None:
    described = {
        f"{method.upper()} {path}" for path, at in description["paths"].items() for method in at
    }
    assert described == {route.operation for each in RESOURCES for route in each.routes}
    operations = [one for at in description["paths"].values() for one in at.values()]
    assert all(one["summary"].endswith(".") for one in operations)
    ids = [one["operationId"] for one in operations]
    assert len(set(ids)) == len(ids)
    known = description["components"]["schemas"].keys()
    assert set(references(description)) <= known


def test_what_is_right_is_so_by_the_description(description: Any) -> None:
    operations = {
        (method.upper(), nameless(path)): operation
        for path, at in description["paths"].items()
        for method, operation in at.items()
    }
    wrong = []
    for method, path, right in RIGHT:
        operation = operations[method, nameless(path)]
        schema = parameters_of(operation)
        found = list(problems(description, right, schema, ()))
        wrong += [f"{method} {path}: {problem}" for problem in found]
        assert [*problems(description, right | {"colour": "red"}, schema, ())] != found
    assert wrong == []
