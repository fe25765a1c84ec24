"""Bodies and queries in, nested parameters out: ``items[0][price]=x`` is a list of a dictionary.

What comes out is text, lists and dictionaries; what the text means is for the parameters' types.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from postpaid.core.errors import InvalidRequest

_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode

PARAMETERS_MAX = 1000
DEPTH_MAX = 8

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Indexed(list[Any]):
    """A list that was written with its indices: ``tiers[0]=…&tiers[2]=…``.

    ``keys`` are the indices as the caller wrote them. They make ``metadata[7]=x``, which looks like
    a list, a dictionary again, and let an error name the element in the caller's own words.
    """

    def __init__(self, elements: dict[str, Any]) -> None:
        self.keys = sorted(elements, key=int)
        super().__init__(elements[key] for key in self.keys)

    def as_dict(self) -> dict[str, Any]:
        return dict(zip(self.keys, self, strict=True))


def parse_form(encoded: bytes) -> dict[str, Any]:
    """The parameters of an ``application/x-www-form-urlencoded`` body or query string.

    Lists may be indexed, in any order and with gaps, or written ``[]``. Of a scalar given twice the
    last counts. Raises ``InvalidRequest`` for text that is not UTF-8 or has a NUL, for too many or
    too deep parameters, and for a name that is used in two ways.
    """
    if not encoded:
        return {}
    if encoded.count(b"&") >= PARAMETERS_MAX:
        raise InvalidRequest(f"You sent too many parameters; at most {PARAMETERS_MAX} are allowed.")
    root: dict[str, Any] = {}
    for pair in encoded.split(b"&"):
        if pair:
            raw_name, _, raw_value = pair.partition(b"=")
            name = _text(raw_name, named=raw_name)
            _put(root, name, _text(raw_value, named=raw_name))
    return {key: _with_lists(value) for key, value in root.items()}


def _text(encoded: bytes, *, named: bytes) -> str:
    try:
        text = unquote_to_bytes(encoded.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidRequest("Invalid string: not valid UTF-8.", param=_readable(named)) from None
    if "\0" in text:
        raise InvalidRequest("Invalid string: contains a NUL character.", param=_readable(named))
    return text


def _readable(name: bytes) -> str:
    text = unquote_to_bytes(name.replace(b"+", b" ")).decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _put(root: dict[str, Any], name: str, value: str) -> None:
    """Store ``value`` at the place that ``name`` spells."""
    if "[" not in name and "]" not in name:
        if isinstance(root.get(name, ""), str):
            root[name] = value
            return
        raise _used_in_two_ways(name)
    spelled = _NAME.fullmatch(name)
    if spelled is None:
        raise InvalidRequest(f"Invalid parameter name: {name[:100]}", param=name)
    path = [spelled[1], *spelled[2][1:-1].split("][")]
    if len(path) > DEPTH_MAX:
        raise InvalidRequest(
            f"Parameters may be nested at most {DEPTH_MAX} levels deep.", param=spelled[1]
        )
    node: Any = root
    for position, key in enumerate(path[:-1]):
        rest = path[position + 1 :]
        empty: Any = [] if rest[0] == "" else {}
        child = _child(node, key, rest, empty, name)
        if type(child) is not type(empty):
            raise _used_in_two_ways(name)
        node = child
    if isinstance(node, list):
        node.append(value)
    elif isinstance(node.get(path[-1], ""), str):
        node[path[-1]] = value
    else:
        raise _used_in_two_ways(name)


def _child(node: Any, key: str, rest: list[str], empty: Any, name: str) -> Any:
    """The container under ``key``, made when it is not there yet."""
    if isinstance(node, dict):
        return node.setdefault(key, empty)
    # ``items[][price]=a&items[][quantity]=1&items[][price]=b``: a new element begins when the last
    # one already has what is being set.
    if not node or not isinstance(node[-1], dict) or _holds(node[-1], rest):
        node.append(empty)
    return node[-1]


def _holds(node: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def _used_in_two_ways(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid parameter: {name[:100]} is given in two ways that exclude each other.",
        param=name,
    )


def _with_lists(node: Any) -> Any:
    """The same with every dictionary whose keys are all indices turned into a list."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return [_with_lists(element) for element in node]
    nested = {key: _with_lists(value) for key, value in node.items()}
    if all(_INDEX.fullmatch(key) for key in nested):
        return Indexed(nested)
    return nested


def parse_json(encoded: bytes, *, decimals: bool = False) -> dict[str, Any]:
    """The parameters of a JSON object; a null is the same as leaving the parameter out.

    With ``decimals`` a number that has a fraction is the very decimal that was written. Raises
    ``InvalidRequest`` for anything that is not an object, and within the bounds of a form.
    """
    if not encoded:
        return {}
    try:
        decoded = _decode_exactly(encoded) if decimals else msgspec.json.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("Invalid JSON: nested too deeply.") from None
    if not isinstance(decoded, dict):
        raise InvalidRequest("Invalid JSON: the body must be an object.")
    cleaned: dict[str, Any] = _checked(decoded, ())
    return cleaned


def _checked(node: Any, path: tuple[str | int, ...]) -> Any:
    """The same without nulls; refuses depth and NUL characters."""
    if len(path) > DEPTH_MAX:
        raise InvalidRequest(
            f"Parameters may be nested at most {DEPTH_MAX} levels deep.", param=path[:1]
        )
    if isinstance(node, dict):
        return {
            _checked(key, (*path, key)): _checked(value, (*path, key))
            for key, value in node.items()
            if value is not None
        }
    if isinstance(node, list):
        return [_checked(element, (*path, index)) for index, element in enumerate(node)]
    if isinstance(node, str) and "\0" in node:
        raise InvalidRequest("Invalid string: contains a NUL character.", param=path)
    return node
