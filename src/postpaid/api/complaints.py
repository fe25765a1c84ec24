"""What the parameter models found, as one complaint that names the parameter at fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from postpaid.core.errors import InvalidRequest, Path


def invalid_request(found: ValidationError, raw: Mapping[str, Any]) -> InvalidRequest:
    """The first error that ``Params`` found in ``raw``; unknown parameters go before others."""
    details = found.errors(include_url=False)
    unknown = [_path(detail, raw) for detail in details if detail["type"] == "extra_forbidden"]
    if unknown:
        return unknown_parameters(unknown, raw)
    path = _path(details[0], raw)
    here = [detail for detail in details if _path(detail, raw) == path]
    message, code = _message(here, spell(path, raw))
    return InvalidRequest(message, param=path, code=code)


def unknown_parameters(paths: list[Path], raw: Mapping[str, Any]) -> InvalidRequest:
    plural = "s" if len(paths) > 1 else ""
    names = ", ".join(spell(path, raw) for path in paths)
    return InvalidRequest(
        f"Received unknown parameter{plural}: {names}", param=paths[0], code="parameter_unknown"
    )


def _path(detail: ErrorDetails, raw: Mapping[str, Any]) -> Path:
    """The parameter at fault: pydantic's location without the names of a union's members."""
    path: Path = ()
    node: Any = raw
    for part in detail["loc"]:
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif not (detail["type"] == "missing" and part == detail["loc"][-1]):
            continue
        path = (*path, part)
    return path


def _message(details: list[ErrorDetails], name: str) -> tuple[str, str | None]:
    """What is wrong with a parameter, in Stripe's words, and Stripe's code for it.

    There are several details when the parameter may be of several types: one of each.
    """
    detail = details[0]
    context = detail.get("ctx", {})
    if detail["input"] == "":
        return (
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to "
            f"unset a parameter; however '{name}' cannot be unset. You should remove '{name}' from "
            "your request or supply a non-empty value.",
            "parameter_invalid_empty",
        )
    match detail["type"]:
        case "refused":
            return context["message"], context["code"]
        case "missing":
            return f"Missing required param: {name}.", "parameter_missing"
        case "literal_error" | "enum":
            expected = "".join(each.get("ctx", {}).get("expected", "") for each in details)
            return f"Invalid {name}: must be one of {_alternatives(expected)}", None
        case "model_type" | "dict_type":
            return "Invalid object", None
        case "list_type":
            return "Invalid array", None
        case "too_long":
            return f"Invalid array: at most {context['max_length']} elements are allowed", None
        case "too_short":
            return f"Invalid array: at least {context['min_length']} elements are needed", None
        case _:
            return f"Invalid {name}: {detail['msg']}", None


def _alternatives(expected: str) -> str:
    """``'day', 'week' or 'month'`` as Stripe writes it: ``day, week, or month``."""
    words = re.findall(r"'([^']*)'", expected)
    if len(words) < 3:
        return " or ".join(words)
    return ", ".join(words[:-1]) + f", or {words[-1]}"


def spell(path: Path, raw: Mapping[str, Any]) -> str:
    """A parameter's name on the wire, ``items[0][price]``, with the caller's own indices."""
    node: Any = raw
    name = ""
    for part in path:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            shown, node = getattr(node, "keys", range(len(node)))[part], node[part]
        else:
            shown, node = part, node.get(part) if isinstance(node, dict) else None
        name = f"{name}[{shown}]" if name else str(shown)
    return name
