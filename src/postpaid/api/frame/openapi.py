"""The OpenAPI 3.1 description of Frame's API as this server speaks it, made from its routes."""

from __future__ import annotations

from collections.abc import Iterable

from postpaid.api import openapi
from postpaid.api.frame.params import ListParams
from postpaid.api.frame.routes import Route, Routes
from postpaid.api.openapi import BEARER, IDEMPOTENCY_KEY, Json, Schemas, in_json, query, ref
from postpaid.api.params import Params


def document(resources: Iterable[Routes], *, version: str) -> Json:
    """The whole description, as JSON."""
    groups = list(resources)
    routes = [route for group in groups for route in group.routes]
    schemas = Schemas({route.params or Params for route in routes}, numbers=True)
    return openapi.document(
        version=version,
        description="Frame's API, for its own clients: they take this server and /frame as theirs.",
        groups=[group.name for group in groups],
        operations=[(route, _operation(route, schemas)) for route in routes],
        schemas=schemas.definitions | {"resource": _RESOURCE, "deleted": _DELETED, "page": _PAGE},
        error=_ERROR,
        security={"bearer": BEARER},
        secured_by=["bearer"],
    )


def _operation(route: Route, schemas: Schemas) -> Json:
    schema = schemas.of(route.params or Params)
    answer = ref(_answer(route))
    if route.method == "GET":
        return openapi.operation(route, answer, parameters=query(schema))
    body = {"required": bool(schema.get("required")), "content": in_json(schema)}
    return openapi.operation(
        route,
        answer,
        status=route.status,
        parameters=[IDEMPOTENCY_KEY],
        body=body if route.params else None,
    )


def _answer(route: Route) -> str:
    if route.method == "GET" and route.params and issubclass(route.params, ListParams):
        return "page"
    return "deleted" if route.method == "DELETE" else "resource"


_RESOURCE: Json = {
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string"},
        "livemode": {"type": "boolean"},
    },
}

_DELETED: Json = {
    "properties": _RESOURCE["properties"] | {"deleted": {"type": "boolean"}},
}

_NUMBER: Json = {"type": ["integer", "null"]}

_PAGE: Json = {
    "type": "object",
    "properties": {
        "meta": {
            "type": "object",
            "properties": {
                "page": {"type": "integer"},
                "url": {"type": "string"},
                "has_more": {"type": "boolean"},
                "prev": _NUMBER,
                "next": _NUMBER,
            },
            "required": ["page", "url", "has_more", "prev", "next"],
        },
        "data": {"type": "array", "items": ref("resource")},
    },
    "required": ["meta"],
}

_ERROR: Json = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "error": {"type": "string"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "error_details": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "errors": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "data": {"type": "object"},
            },
            "required": ["message"],
        },
    },
    "required": ["status", "error", "code", "message", "error_details"],
}
