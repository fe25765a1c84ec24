"""OpenAPI 3.1 descriptions of the façades, made from their routes: what these have in common."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from postpaid.api.params import Params

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"


class Described(Protocol):
    """A façade's route, as far as it is described."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def handler(self) -> Callable[..., Any]: ...
    @property
    def params(self) -> type[Params] | None: ...
    @property
    def group(self) -> str: ...
    @property
    def path_parameters(self) -> list[str]: ...


class Schemas:
    """What the parameter models take; ``definitions`` are all of them, and their parts, by name.

    ``numbers``: decimals may be written as numbers, too.
    """

    def __init__(self, models: Iterable[type[Params]], *, numbers: bool = False) -> None:
        ordered = sorted({*models}, key=lambda model: (model.__module__, model.__qualname__))
        self._refs, schemas = models_json_schema(
            [(model, "validation") for model in ordered],
            ref_template=_REF,
            schema_generator=_ParameterSchemas,
        )
        found: Json = schemas.get("$defs", {})
        self.definitions: Json = _with_numbers(found) if numbers else found

    def of(self, model: type[Params]) -> Json:
        """The model's own, with its properties, if only none."""
        name: str = self._refs[model, "validation"]["$ref"].removeprefix(_REF.format(model=""))
        found: Json = self.definitions[name]
        return {**found, "properties": found.get("properties", {})}


def _with_numbers(node: Any) -> Any:
    """The schemas, where what is decimal may be a number."""
    if isinstance(node, list):
        return [_with_numbers(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "decimal":
        return {"anyOf": [{"type": "number"}, node]}
    return {key: _with_numbers(each) for key, each in node.items()}


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


def document(
    *,
    version: str,
    description: str,
    groups: Iterable[str],
    operations: Iterable[tuple[Described, Json]],
    schemas: Mapping[str, Json],
    error: Json,
    security: Mapping[str, Json],
    secured_by: Sequence[str],
) -> Json:
    """The whole description, as JSON."""
    paths: dict[str, Json] = {}
    for route, operation in operations:
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Postpaid", "version": version, "description": description},
        "tags": [{"name": group} for group in groups],
        "security": [{name: []} for name in secured_by],
        "paths": paths,
        "components": {
            "securitySchemes": dict(security),
            "schemas": {**schemas, "error": error},
            "responses": {
                "error": {
                    "description": "Why it was not done.",
                    "content": in_json(ref("error")),
                }
            },
        },
    }


def operation(
    route: Described,
    answer: Json,
    *,
    status: int = 200,
    parameters: Iterable[Json] = (),
    body: Json | None = None,
) -> Json:
    """What a route takes, beside its path's parameters, and answers when all is well."""
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    described: Json = {
        "operationId": _operation_id(route),
        "tags": [route.group],
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.path_parameters
        ]
        + list(parameters),
        "responses": {
            str(status): {"description": "Done.", "content": in_json(answer)},
            "4XX": {"$ref": "#/components/responses/error"},
            "5XX": {"$ref": "#/components/responses/error"},
        },
    }
    if description.strip():
        described["description"] = description.strip()
    if body is not None:
        described["requestBody"] = body
    return described


def _operation_id(route: Described) -> str:
    """As Stripe's own description has it: ``PostCustomersCustomer``."""
    words = re.findall(r"[A-Za-z0-9]+", re.sub(r"^(/frame)?/v1/", "/", route.path))
    return route.method.capitalize() + "".join(word[0].upper() + word[1:] for word in words)


def query(schema: Json, **style: Any) -> list[Json]:
    """The properties as a query's parameters, written in this style."""
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            **style,
            "schema": described,
        }
        for name, described in schema["properties"].items()
    ]


def in_json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def ref(name: str) -> Json:
    return {"$ref": _REF.format(model=name)}


IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key gets the first answer, and does nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

BEARER: Json = {"type": "http", "scheme": "bearer"}
