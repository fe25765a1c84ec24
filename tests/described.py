"""Whether what is sent is right by an OpenAPI description, of the words that ours have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NUMBERS = {"minimum": lambda value, bound: value >= bound, "maximum": lambda v, bound: v <= bound}
TYPES = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        ref = node.get("$ref")
        if isinstance(ref, str) and ref.startswith("#/components/schemas/"):
            yield ref.rpartition("/")[2]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def parameters_of(operation: Any) -> dict[str, Any]:
    """One schema of all that the operation takes, be it in a body or in a query."""
    if "requestBody" in operation:
        [content] = operation["requestBody"]["content"].values()
        schema: dict[str, Any] = content["schema"]
        return schema
    query = [each for each in operation["parameters"] if each["in"] == "query"]
    return {
        "type": "object",
        "properties": {each["name"]: each["schema"] for each in query},
        "required": [each["name"] for each in query if each["required"]],
        "additionalProperties": False,
    }


def problems(
    description: Any, value: Any, schema: Mapping[str, Any], place: tuple[str | int, ...]
) -> Iterator[str]:
    """Where a value is not what the schema says, of the words that our schemas have."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = description["components"]["schemas"][name] | {
            key: more for key, more in schema.items() if key != "$ref"
        }
    if "anyOf" in schema:
        found = [list(problems(description, value, each, place)) for each in schema["anyOf"]]
        if all(found):
            yield from found[0]
        return
    if isinstance(value, str) and value.startswith("{"):
        return  # an id, which is not filled in
    where = ".".join(map(str, place)) or "all of it"
    kind = schema.get("type")
    if kind is not None and type(value) not in TYPES[kind]:
        yield f"{where} is no {kind}"
        return
    for word in ("enum", "const"):
        if word in schema and value not in (schema[word] if word == "enum" else [schema[word]]):
            yield f"{where} is not one of {schema[word]}"
    for word, holds in NUMBERS.items():
        if word in schema and not holds(value, schema[word]):
            yield f"{where} is beyond {schema[word]}"
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{where} is too long"
        for index, each in enumerate(value):
            yield from problems(description, each, schema.get("items", {}), (*place, index))
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{where} lacks {name}" for name in {*schema.get("required", ())} - {*value})
        for key, each in value.items():
            within = known.get(key, schema.get("additionalProperties", {}))
            if within is False:
                yield f"{where} has no {key}"
            elif isinstance(within, dict):
                yield from problems(description, each, within, (*place, key))
