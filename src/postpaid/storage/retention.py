"""Marks of what was deleted for its age: before which id there may be nothing any more."""

from __future__ import annotations

from postpaid.storage.database import Connection

MARK = """
INSERT INTO retention_marks (account_id, kind, first_id)
VALUES (%(account_id)s, 'events', %(first_id)s)
    ON CONFLICT (account_id, kind) DO UPDATE
   SET first_id = excluded.first_id
 WHERE retention_marks.first_id < excluded.first_id
"""


def mark_events(conn: Connection, account_id: int, first_id: str) -> None:
    """Say that events made before ``first_id`` may be gone; a mark only moves on."""
    conn.execute(MARK, {"account_id": account_id, "first_id": first_id})
