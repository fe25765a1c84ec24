"""What is searched for: terms about the fields of rows, for queries that take any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postpaid.storage.database import as_json_rows


@dataclass(frozen=True, slots=True)
class Term:
    """That a field, or of metadata a key, is as the operator says: one of : ~ > < >= <= null."""

    field: str
    key: str | None
    operator: str
    value: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Search:
    """All of the terms, or ``any`` of them."""

    terms: Sequence[Term]
    any: bool


COLUMNS = ("field", "key", "operator", "value", "negated")


def parameters_of(search: Search) -> dict[str, object]:
    """The search as a query's ``terms`` and ``any``."""
    return {"terms": as_json_rows(search.terms, COLUMNS), "any": search.any}
