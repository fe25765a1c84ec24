"""Stripe's search query language: ``status:'succeeded' AND metadata['order']:'7'``.

Clauses are all joined by AND, which may be left out, or all by OR; a ``-`` before one negates it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from postpaid.api.params import Id, Integer, Params, Text
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage.paging import Page, Rows
from postpaid.storage.searching import Search, Term

T = TypeVar("T")

TERMS_MAX = 10  # Stripe's
SUBSTRING_MIN = 3  # characters (Stripe)

Kind: TypeAlias = Literal["number", "token", "text"]

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TERM = re.compile(
    rf"\s*(?P<negated>-?)(?:metadata\[(?P<key>{_QUOTED})\]|(?P<field>[a-z_.]+))"
    rf"\s*(?P<operator>:|~|>=|<=|>|<)\s*(?P<value>{_QUOTED}|[\w.-]+)"
)
_JOIN = re.compile(r"\s+(AND|OR)\b|\s+(?=[-\w])", re.IGNORECASE)


class SearchParams(Params):
    """A query and which page of what it finds."""

    query: Annotated[str, Text(2000)]
    limit: Annotated[int, Integer(1, 100)] = 10
    page: Id | None = None


def search_from_stripe(query: str, fields: Mapping[str, Kind]) -> Search:
    """What is searched for, in ``fields``. Raises ``InvalidRequest`` for what cannot be understood.

    Of a number the operators are : > < >= <=, of a token : alone, and of text : and ~ (contains).
    """
    terms: list[Term] = []
    joins: set[str] = set()
    place = 0
    while True:
        found = _TERM.match(query, place)
        if found is None:
            raise _refused(f"We were unable to parse it from character {place + 1} on.")
        terms.append(_term(found, fields))
        place = found.end()
        if not query[place:].strip():
            break
        join = _JOIN.match(query, place)
        if join is None:
            raise _refused(f"We were unable to parse it from character {place + 1} on.")
        joins.add((join[1] or "AND").upper())
        place = join.end()
    if len(joins) > 1:
        raise _refused("AND and OR cannot be in one query.")
    if len(terms) > TERMS_MAX:
        raise _refused(f"It has more than {TERMS_MAX} clauses.")
    return Search(terms, any="OR" in joins)


def _term(found: re.Match[str], fields: Mapping[str, Kind]) -> Term:
    name = "metadata" if found["key"] else found["field"]
    kind = "text" if found["key"] else fields.get(name)
    if kind is None:
        known = ", ".join([*fields, "metadata['key']"])
        raise _refused(f"The field {name} is not one of {known}.")
    operator, written = found["operator"], found["value"]
    is_null = written == "null"
    allowed = {"number": (":", ">", "<", ">=", "<="), "token": (":",), "text": (":", "~")}[kind]
    if operator not in allowed or (is_null and operator != ":"):
        raise _refused(f"The operator {operator} is not for the field {name}.")
    value = _unquoted(written)
    if kind == "number" and not is_null and not re.fullmatch("-?[0-9]{1,15}", value):
        raise _refused(f"The field {name} is a whole number.")
    if operator == "~" and len(value) < SUBSTRING_MIN:
        raise _refused(f"A text that is contained has at least {SUBSTRING_MIN} characters.")
    return Term(
        field=name,
        key=_unquoted(found["key"]) if found["key"] else None,
        operator="null" if is_null else operator,
        value=value,
        negated=bool(found["negated"]),
    )


def _unquoted(written: str) -> str:
    if written[:1] not in ("'", '"'):
        return written
    return re.sub(r"\\(.)", r"\1", written[1:-1])


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(f"Your search query is invalid. {why}", param="query")


def found_to_stripe(
    url: str, params: SearchParams, find: Callable[[Page], Rows[T]], key: Callable[[T], str]
) -> tuple[list[T], dict[str, Any]]:
    """What ``find`` finds on the page that is asked for, and what is said of it beside its data."""
    try:
        rows = find(Page(limit=params.limit, after=params.page))
    except NotFound:
        raise InvalidRequest("Invalid page: there is no such page.", param="page") from None
    return rows.rows, {
        "object": "search_result",
        "has_more": rows.has_more,
        "next_page": key(rows.rows[-1]) if rows.has_more else None,
        "url": url,
    }
