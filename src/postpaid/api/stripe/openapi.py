"""The OpenAPI 3.1 description of Stripe's API as this server speaks it, made from its routes."""

from __future__ import annotations

from collections.abc import Iterable

from postpaid.api import openapi
from postpaid.api.openapi import BEARER, IDEMPOTENCY_KEY, Json, Schemas, in_json, query, ref
from postpaid.api.params import Params
from postpaid.api.stripe.facade import API_VERSION, Expand
from postpaid.api.stripe.routes import Route, Routes


def document(resources: Iterable[Routes], *, version: str) -> Json:
    """The whole description, as JSON."""
    groups = list(resources)
    routes = [route for group in groups for route in group.routes]
    schemas = Schemas({route.params or Params for route in routes} | {Expand})
    return openapi.document(
        version=version,
        description=f"Stripe's API, version {API_VERSION}, for the official SDKs.",
        groups=[group.name for group in groups],
        operations=[(route, _operation(route, schemas)) for route in routes],
        schemas=schemas.definitions | {each.returns: _object(each.returns) for each in routes},
        error=_ERROR,
        security={
            "bearer": BEARER,
            "basic": {
                "type": "http",
                "scheme": "basic",
                "description": "The API key as the user name, and no password.",
            },
            "session": BEARER
            | {"description": "The authentication_token of a meter event session."},
        },
        secured_by=["bearer", "basic"],
    )


def _operation(route: Route, schemas: Schemas) -> Json:
    schema = schemas.of(route.params or Params)
    schema["properties"] = schema["properties"] | schemas.of(Expand)["properties"]
    answer = _page(route) if route.many else ref(route.returns)
    if route.method == "POST":
        operation = openapi.operation(
            route, answer, parameters=[IDEMPOTENCY_KEY], body=_body(route, schema)
        )
    else:
        parameters = query(schema, style="deepObject", explode=True)
        operation = openapi.operation(route, answer, parameters=parameters)
    if route.auth == "session":
        operation["security"] = [{"session": []}]
    return operation


def _body(route: Route, schema: Json) -> Json:
    if route.path.startswith("/v2/"):
        content = in_json(schema)
    else:
        encoding = {"style": "deepObject", "explode": True}
        content = {
            "application/x-www-form-urlencoded": {
                "schema": schema,
                "encoding": dict.fromkeys(schema["properties"], encoding),
            }
        }
    return {"required": bool(schema.get("required")), "content": content}


def _object(name: str) -> Json:
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "object": {"const": name}},
    }


def _page(route: Route) -> Json:
    if route.path.startswith("/v2/"):
        url = {"type": ["string", "null"]}
        return {
            "type": "object",
            "properties": {
                "data": {"type": "array", "items": ref(route.returns)},
                "next_page_url": url,
                "previous_page_url": url,
            },
            "required": ["data", "next_page_url", "previous_page_url"],
        }
    return {
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref(route.returns)},
            "has_more": {"type": "boolean"},
            "url": {"type": "string"},
        },
        "required": ["object", "data", "has_more", "url"],
    }


_ERROR: Json = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "type": {
                    "enum": [
                        "already_canceled",
                        "api_error",
                        "card_error",
                        "idempotency_error",
                        "invalid_request_error",
                        "not_cancelable",
                        "temporary_session_expired",
                    ]
                },
                "code": {"type": "string"},
                "message": {"type": "string"},
                "param": {"type": "string"},
                "decline_code": {"type": ["string", "null"]},
            },
            "required": ["type", "message"],
        }
    },
    "required": ["error"],
}
