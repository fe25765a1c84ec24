"""Counting statements: what is done for a list must not cost one for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from postpaid.storage.database import Connection


@contextmanager
def counted(conn: Connection) -> Iterator[list[str]]:
    """The statements that the connection runs in the meantime."""
    statements: list[str] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
            statements.append(_text(query))
            return super().execute(query, *arguments, **more)

        def copy(self, statement: Any, *arguments: Any, **more: Any) -> Any:
            statements.append(_text(statement))
            return super().copy(statement, *arguments, **more)

    before = conn.cursor_factory
    conn.cursor_factory = Counting
    try:
        yield statements
    finally:
        conn.cursor_factory = before


def _text(query: bytes | str) -> str:
    return query.decode() if isinstance(query, bytes) else query
