"""The OpenAPI 3.1 description of Stripe's API as this server speaks it, made from its routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from postpaid.api.params import Params
from postpaid.api.stripe.facade import API_VERSION, Expand
from postpaid.api.stripe.routes import Route, Routes

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"


def document(resources: Iterable[Routes], *, version: str) -> Json:
    """The whole description, as JSON."""
    groups = list(resources)
    routes = [route for group in groups for route in group.routes]
    models = sorted(
        {route.params or Params for route in routes} | {Expand},
        key=lambda model: (model.__module__, model.__qualname__),
    )
    refs, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=_REF,
        schema_generator=_ParameterSchemas,
    )
    definitions: Json = schemas.get("$defs", {})

    def schema_of(model: type[Params]) -> Json:
        name: str = refs[model, "validation"]["$ref"].removeprefix(_REF.format(model=""))
        found: Json = definitions[name]
        return found

    expand = schema_of(Expand)["properties"]
    paths: dict[str, Json] = {}
    for route in routes:
        schema = schema_of(route.params or Params)
        schema = {**schema, "properties": schema.get("properties", {}) | expand}
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema)
    objects = {route.returns: _object(route.returns) for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Postpaid",
            "version": version,
            "description": f"Stripe's API, version {API_VERSION}, for the official SDKs.",
        },
        "tags": [{"name": group.name} for group in groups],
        "security": [{"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The API key as the user name, and no password.",
                },
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The authentication_token of a meter event session.",
                },
            },
            "schemas": definitions | objects | {"error": _ERROR},
            "responses": {
                "error": {
                    "description": "Why it was not done.",
                    "content": {"application/json": {"schema": _ref("error")}},
                }
            },
        },
    }


class _ParameterSchemas(GenerateJsonSchema):
    """JSON Schema as the wire has it: what may be left out is never null, and has no title."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _operation(route: Route, schema: Json) -> Json:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: Json = {
        "operationId": _operation_id(route),
        "tags": [route.group],
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.path_parameters
        ],
        "responses": {
            "200": {
                "description": "Done.",
                "content": {
                    "application/json": {
                        "schema": _page(route) if route.many else _ref(route.returns)
                    }
                },
            },
            "4XX": {"$ref": "#/components/responses/error"},
            "5XX": {"$ref": "#/components/responses/error"},
        },
    }
    if route.auth == "session":
        operation["security"] = [{"session": []}]
    if description.strip():
        operation["description"] = description.strip()
    if route.method == "POST":
        operation["parameters"].append(_IDEMPOTENCY_KEY)
        operation["requestBody"] = _body(route, schema)
    else:
        operation["parameters"] += _query(schema)
    return operation


def _operation_id(route: Route) -> str:
    """As Stripe's own description has it: ``PostCustomersCustomer``."""
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    if words[0] == "v1":
        words = words[1:]
    return route.method.capitalize() + "".join(word[0].upper() + word[1:] for word in words)


def _query(schema: Json) -> Sequence[Json]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "style": "deepObject",
            "explode": True,
            "schema": described,
        }
        for name, described in schema["properties"].items()
    ]


def _body(route: Route, schema: Json) -> Json:
    if route.path.startswith("/v2/"):
        content: Json = {"application/json": {"schema": schema}}
    else:
        encoding = {"style": "deepObject", "explode": True}
        content = {
            "application/x-www-form-urlencoded": {
                "schema": schema,
                "encoding": dict.fromkeys(schema["properties"], encoding),
            }
        }
    return {"required": bool(schema.get("required")), "content": content}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(model=name)}


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
                "data": {"type": "array", "items": _ref(route.returns)},
                "next_page_url": url,
                "previous_page_url": url,
            },
            "required": ["data", "next_page_url", "previous_page_url"],
        }
    return {
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _ref(route.returns)},
            "has_more": {"type": "boolean"},
            "url": {"type": "string"},
        },
        "required": ["object", "data", "has_more", "url"],
    }


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key gets the first answer, and does nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
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
