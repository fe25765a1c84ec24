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


# Whether a row is searched for: by its ``metadata``, and ``fields``, which are JSON beside it.
IS_FOUND = """(
       SELECT CASE WHEN %(any)s::boolean THEN bool_or(m.matches) ELSE bool_and(m.matches) END
         FROM (SELECT s.negated <> coalesce(
                        CASE s.operator
                          WHEN ':' THEN lower(f.text) = lower(s.value)
                          WHEN '~' THEN position(lower(s.value) IN lower(f.text)) > 0
                          WHEN 'null' THEN f.text IS NULL
                          WHEN '>' THEN f.text::numeric > s.value::numeric
                          WHEN '<' THEN f.text::numeric < s.value::numeric
                          WHEN '>=' THEN f.text::numeric >= s.value::numeric
                          WHEN '<=' THEN f.text::numeric <= s.value::numeric
                        END, false) AS matches
                 FROM json_to_recordset(%(terms)s) AS s(
                      field text, key text, operator text, value text, negated boolean)
                CROSS JOIN LATERAL (
                      SELECT CASE s.field
                               WHEN 'metadata' THEN metadata ->> s.key
                               ELSE fields ->> s.field
                             END AS text) f) m)
"""

COLUMNS = ("field", "key", "operator", "value", "negated")


def parameters_of(search: Search) -> dict[str, object]:
    """The search as a query's ``terms`` and ``any``."""
    return {"terms": as_json_rows(search.terms, COLUMNS), "any": search.any}
