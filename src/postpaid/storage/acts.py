"""Who did what, and when: one row per accepted write."""

from __future__ import annotations

from datetime import datetime

from postpaid.storage.database import Connection

INSERT = """
INSERT INTO acts (account_id, id, actor, operation, acted_at)
VALUES (%(account_id)s, %(id)s, %(actor)s, %(operation)s, %(acted_at)s)
"""


def insert(
    conn: Connection, account_id: int, request_id: str, actor: str, operation: str, now: datetime
) -> None:
    """Write down that ``actor`` did ``operation``."""
    conn.execute(
        INSERT,
        {
            "account_id": account_id,
            "id": request_id,
            "actor": actor,
            "operation": operation,
            "acted_at": now,
        },
    )
