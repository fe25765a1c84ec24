"""Events that came with the identifier of another, kept to be looked at; they count nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.storage.database import Connection, copy_into, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

INSERTED_MAX = 100  # of one call: more of the same say nothing new

COLUMNS = (
    "id",
    "reference",
    "event_name",
    "customer_id",
    "occurred_at",
    "value",
    "payload",
    "received_at",
    "actor",
)
_values = values_of(*COLUMNS)


@dataclass(frozen=True, slots=True)
class UsageConflict:
    """An event that was not counted, because its ``reference`` is stored with other content.

    ``value`` is a decimal as text, ``payload`` the reported one, whole, as JSON text. ``actor`` is
    the key or session that sent it.
    """

    id: str
    reference: str
    event_name: str
    customer_id: str
    occurred_at: datetime
    value: str
    payload: str
    received_at: datetime
    actor: str


def insert_many(conn: Connection, account_id: int, conflicts: Sequence[UsageConflict]) -> None:
    """Keep the first ``INSERTED_MAX`` of them, in one statement."""
    if conflicts:
        copy_into(
            conn,
            "usage_conflicts",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in conflicts[:INSERTED_MAX]),
        )


LIST = """
SELECT id, reference, event_name, customer_id, occurred_at, value, payload::text, received_at, actor
  FROM usage_conflicts
 WHERE account_id = %(account_id)s
   AND (%(reference)s::text IS NULL OR reference = %(reference)s)
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, reference: str | None = None
) -> Rows[UsageConflict]:
    """Conflicts, newest first."""
    parameters = {"account_id": account_id, "reference": reference}
    return fetch_page(
        conn, UsageConflict, LIST, parameters, page, table="usage_conflicts", what="conflict"
    )
