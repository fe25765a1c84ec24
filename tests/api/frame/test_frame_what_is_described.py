"""The description of Frame's API is of this API: requests that are right are right by it, too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from frame_shop import RIGHT, ROUTES, Shop

from described import parameters_of, problems, references


@pytest.fixture(scope="module")
def description(server: str) -> Any:
    return httpx.get(f"{server}/frame/openapi.json").json()


def test_every_route_is_described(description: Any) -> None:
    described = {
        f"{method.upper()} {path.removeprefix('/frame')}": one
        for path, at in description["paths"].items()
        for method, one in at.items()
    }
    assert described.keys() == ROUTES.keys()
    assert all(one["summary"].endswith(".") for one in described.values())
    assert len({one["operationId"] for one in described.values()}) == len(described)
    assert {*references(description)} <= description["components"]["schemas"].keys()
    for name, one in described.items():
        assert str(ROUTES[name].status) in one["responses"], name
        keyed = {"Idempotency-Key"} & {each["name"] for each in one["parameters"]}
        assert bool(keyed) == (not name.startswith("GET ")), name


@pytest.mark.parametrize("operation", sorted(RIGHT))
def test_what_is_right_is_so_by_the_description(
    http: httpx.Client, description: Any, operation: str
) -> None:
    shop = Shop(http)
    named, given = shop.right(operation)
    method, path = operation.split(" ")
    described = description["paths"][f"/frame{path}"][method.lower()]
    assert {each["name"] for each in described["parameters"] if each["in"] == "path"} == {*named}
    if not given:
        return
    schema = parameters_of(described)
    assert {*given} <= schema["properties"].keys()
    assert list(problems(description, given, schema, ())) == []
    for name in schema.get("required", ()):
        less = {key: value for key, value in given.items() if key != name}
        assert list(problems(description, less, schema, ())) == [f"all of it lacks {name}"]
        answer = shop.send(method, path.format(**named), less)
        assert answer.status_code == 422
        assert [*answer.json()["error_details"]["errors"]] == [name]


def test_an_answer_is_as_it_is_described(http: httpx.Client, description: Any) -> None:
    shop = Shop(http)
    customer = shop.send("POST", "/v1/customers", {"name": "Ada", "email": "ada@example.com"})
    for answer, schema in (
        (customer, "resource"),
        (shop.send("GET", "/v1/customers"), "page"),
        (shop.send("GET", "/v1/customers/none"), "error"),
        (shop.send("DELETE", f"/v1/customers/{customer.json()['id']}"), "deleted"),
    ):
        within = description["components"]["schemas"][schema]
        if schema == "page":  # its numbers may be null, which the words above do not have
            within = within | {"properties": {"data": within["properties"]["data"]}}
        assert list(problems(description, answer.json(), within, ())) == []


def test_there_is_a_page_for_people(server: str) -> None:
    page = httpx.get(f"{server}/frame/docs")
    assert page.status_code == 200
    assert "/frame/openapi.json" in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/static-offline-docs/{asset}" in page.text
        assert httpx.get(f"{server}/static-offline-docs/{asset}").status_code == 200
    assert httpx.get(f"{server}/frame/other").json()["code"] == "not_found"
