"""Bracketed forms and JSON become nested parameters, and nothing breaks them."""

import contextlib
import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from postpaid.api.forms import DEPTH_MAX, PARAMETERS_MAX, parse_form, parse_json
from postpaid.core.errors import InvalidRequest

FORMS: list[tuple[str, Any]] = [
    ("", {}),
    ("a=1", {"a": "1"}),
    ("a=1&b=", {"a": "1", "b": ""}),
    ("a", {"a": ""}),
    ("a=1=2", {"a": "1=2"}),
    ("a=1&&b=2&", {"a": "1", "b": "2"}),
    ("a=one+two%20three", {"a": "one two three"}),
    ("a=%E2%82%AC&b=€", {"a": "€", "b": "€"}),
    # Of a scalar given twice the last counts.
    ("a=1&a=2", {"a": "2"}),
    ("a[b]=1&a[b]=2", {"a": {"b": "2"}}),
    # Dictionaries, with brackets as they are or encoded.
    ("metadata[key]=v&metadata[other]=w", {"metadata": {"key": "v", "other": "w"}}),
    ("metadata%5Bkey%5D=v", {"metadata": {"key": "v"}}),
    ("a[b][c][d]=1", {"a": {"b": {"c": {"d": "1"}}}}),
    # Lists with indices: any order, with gaps.
    ("items[0][price]=p&items[0][quantity]=2", {"items": [{"price": "p", "quantity": "2"}]}),
    ("tags[1]=b&tags[0]=a", {"tags": ["a", "b"]}),
    ("tags[10]=c&tags[9]=b&tags[2]=a", {"tags": ["a", "b", "c"]}),
    ("a[0][0]=x&a[0][1]=y&a[1][0]=z", {"a": [["x", "y"], ["z"]]}),
    # Lists without.
    ("expand[]=a&expand[]=b", {"expand": ["a", "b"]}),
    ("expand%5B%5D=a", {"expand": ["a"]}),
    (
        "items[][price]=p&items[][quantity]=2&items[][price]=q",
        {"items": [{"price": "p", "quantity": "2"}, {"price": "q"}]},
    ),
    (
        "items[][data][currency]=usd&items[][data][product]=x&items[][data][currency]=eur",
        {"items": [{"data": {"currency": "usd", "product": "x"}}, {"data": {"currency": "eur"}}]},
    ),
    ("items[][tags][]=a&items[][tags][]=b", {"items": [{"tags": ["a", "b"]}]}),
    # Not all of these are indices, so it is a dictionary; the type says whether that is right.
    ("a[0]=x&a[b]=y", {"a": {"0": "x", "b": "y"}}),
    ("a[00]=x", {"a": {"00": "x"}}),
    ("a[-1]=x", {"a": {"-1": "x"}}),
    ("a[99999999999]=x", {"a": {"99999999999": "x"}}),
]


@pytest.mark.parametrize(("encoded", "parameters"), FORMS)
def test_a_form_is(encoded: str, parameters: Any) -> None:
    assert parse_form(encoded.encode()) == parameters


REFUSED = [
    ("a=1&a[b]=2", "a[b]"),
    ("a[b]=2&a=1", "a"),
    ("a[b]=1&a[b][c]=2", "a[b][c]"),
    ("a[b][c]=2&a[b]=1", "a[b]"),
    ("a[]=1&a[b]=2", "a[b]"),
    ("a[b]=1&a[]=2", "a[]"),
    ("a[0]=1&a[]=2", "a[]"),
    ("a[b=1", "a[b"),
    ("a]b=1", "a]b"),
    ("[a]=1", "[a]"),
    ("a[b]c=1", "a[b]c"),
    ("a=%ff", "a"),
    ("a=x%00y", "a"),
    ("a%00b=x", "a\N{REPLACEMENT CHARACTER}b"),
    ("a%ffb=x", "a\N{REPLACEMENT CHARACTER}b"),
    ("a" + "[b]" * DEPTH_MAX + "=1", "a"),
]


@pytest.mark.parametrize(("encoded", "param"), REFUSED)
def test_a_form_is_refused_naming(encoded: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_form(encoded.encode())
    assert refused.value.param == (param,)


def test_too_many_parameters_are_refused() -> None:
    most = b"&".join([b"a=1"] * PARAMETERS_MAX)
    assert parse_form(most) == {"a": "1"}
    with pytest.raises(InvalidRequest, match="too many"):
        parse_form(most + b"&b=1")


def test_a_list_remembers_its_indices() -> None:
    [tags] = parse_form(b"tags[7]=b&tags[3]=a").values()
    assert tags == ["a", "b"]
    assert tags.as_dict() == {"3": "a", "7": "b"}


# ─── Whatever the SDK sends ──────────────────────────────────────────────────────────────────

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = texts.filter(lambda name: re.fullmatch(r"[^\[\]]+", name) and not name.isdigit())
nested = st.recursive(
    texts,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        | st.dictionaries(names, inner, min_size=1, max_size=4)
    ),
    max_leaves=20,
)


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value
    return 0 if isinstance(value, str) else 1 + max(map(depth, children))


@given(st.dictionaries(names, nested.filter(lambda value: depth(value) < DEPTH_MAX), max_size=5))
@example({"items": [{"price": "price_1", "metadata": {"a": "["}}, {"price": "price_2"}]})
def test_what_the_sdk_encodes_comes_back(parameters: dict[str, Any]) -> None:
    body = urlencode(list(_api_encode(parameters)))
    assert parse_form(body.encode()) == parameters
    # A POST body has its brackets as they are.
    body = "&".join(
        f"{quote(name, safe='[]')}={quote(value)}" for name, value in _api_encode(parameters)
    )
    assert parse_form(body.encode()) == parameters


@given(st.binary())
def test_any_bytes_are_a_form_or_refused(encoded: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_form(encoded)


@given(st.text("ab01[]&=%+", max_size=60))
def test_any_brackets_are_a_form_or_refused(encoded: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_form(encoded.encode())


# ─── JSON ────────────────────────────────────────────────────────────────────────────────────


def test_json_is_itself_without_nulls() -> None:
    assert parse_json(b"") == {}
    assert parse_json(b'{"a": {"b": null, "c": [1, "x", true]}, "d": null}') == {
        "a": {"c": [1, "x", True]}
    }


@pytest.mark.parametrize(
    "encoded",
    [
        b"[]",
        b"1",
        b"null",
        b'"a"',
        b"{",
        b"{'a': 1}",
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00"}',
        b'{"a": "\\ud800x"}',
        b'{"\\u0000": 1}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 10 + b"]" * 10 + b"}",
        b'{"a": ' + b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_json_is_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(encoded)


json_values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@given(st.dictionaries(texts, json_values) | json_values)
def test_any_json_is_an_object_or_refused(value: Any) -> None:
    try:
        parsed = parse_json(json.dumps(value).encode())
    except InvalidRequest:
        return
    assert isinstance(parsed, dict)


@given(st.binary())
def test_any_bytes_are_json_or_refused(encoded: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_json(encoded)
