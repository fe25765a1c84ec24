"""What v2 says of webhook endpoints beside v1: their names, and when they were changed last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from postpaid.storage.database import Connection, fetch, parameters_of


@dataclass(frozen=True, slots=True)
class Label:
    """What an endpoint is called; one that v1 made has no label until v2 changes it."""

    id: str
    name: str
    updated_at: datetime


WRITE = """
INSERT INTO event_destinations (account_id, id, name, updated_at)
VALUES (%(account_id)s, %(id)s, %(name)s, %(updated_at)s)
    ON CONFLICT (account_id, id) DO UPDATE
   SET name = excluded.name, updated_at = excluded.updated_at
"""


def write(conn: Connection, account_id: int, label: Label) -> None:
    """Write the label of an endpoint, which the caller has locked or just added."""
    conn.execute(WRITE, parameters_of(account_id, label))


LOAD = """
SELECT id, name, updated_at
  FROM event_destinations
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Label]:
    """The labels of those of the endpoints that have one, by id."""
    rows = fetch(conn, Label, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}
