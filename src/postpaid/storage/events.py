"""Business events: what happened, each written with its change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.core.deliveries import Facade
from postpaid.storage.database import Connection, copy_into, fetch, fetch_one, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "type",
    "object_type",
    "object_id",
    "snapshot",
    "previous",
    "request_id",
    "idempotency_key",
    "clock_id",
    "created_at",
)
_values = values_of(*COLUMNS)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one object, which looked like ``snapshot`` just after.

    ``snapshot`` is the object's own fields as JSON text; ``previous`` holds the former values of
    those that changed. Both speak the engine's language; a façade renders them in its own.
    """

    id: str
    type: str
    object_type: str
    object_id: str
    snapshot: str
    previous: str | None
    request_id: str | None
    idempotency_key: str | None
    clock_id: str | None
    created_at: datetime


def insert_many(conn: Connection, account_id: int, events: Iterable[Event]) -> None:
    """Write the events in one statement."""
    copy_into(
        conn,
        "events",
        ("account_id", *COLUMNS),
        ((account_id, *_values(event)) for event in events),
    )


FIND = """
SELECT id, type, object_type, object_id, snapshot::text, previous::text, request_id,
       idempotency_key, clock_id, created_at
  FROM events
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def find(conn: Connection, account_id: int, event_id: str) -> Event | None:
    return fetch_one(conn, Event, FIND, {"account_id": account_id, "id": event_id})


LOAD = """
SELECT id, type, object_type, object_id, snapshot::text, previous::text, request_id,
       idempotency_key, clock_id, created_at
  FROM events
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def load(conn: Connection, account_id: int, ids: Sequence[str]) -> dict[str, Event]:
    """The events by id."""
    rows = fetch(conn, Event, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LIST = """
SELECT id, type, object_type, object_id, snapshot::text, previous::text, request_id,
       idempotency_key, clock_id, created_at
  FROM events
 WHERE account_id = %(account_id)s
   AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s)
        OR (%(prefixes)s::text[] IS NOT NULL AND type ^@ ANY(%(prefixes)s)))
   AND type <> ALL(%(unknown)s)
   AND (%(object_id)s::text IS NULL OR object_id = %(object_id)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
   AND (%(delivered)s::boolean IS NULL
        OR %(delivered)s <> EXISTS (
           SELECT
             FROM webhook_deliveries d
             JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.id = d.endpoint_id
            WHERE d.account_id = events.account_id
              AND d.event_id = events.id
              AND d.status <> 'delivered'
              AND (%(facade)s::text IS NULL OR e.facade = %(facade)s)
              AND e.deleted_at IS NULL))
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    types: Sequence[str] | None = None,
    unknown: Iterable[str] = (),
    object_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    delivered: bool | None = None,
    facade: Facade | None = None,
) -> Rows[Event]:
    """Events newest first; a type may end in ``.*`` to mean all of its kind; none of ``unknown``.

    ``delivered``: those that every endpoint, of the façade if one is given, has that was to be
    told, or those that some has not.
    """
    prefixes = [name.removesuffix("*") for name in types or () if name.endswith(".*")]
    parameters: dict[str, Any] = {
        "account_id": account_id,
        "types": None if types is None else list(types),
        "prefixes": prefixes or None,  # none is no condition, and exact types have an index
        "unknown": sorted(unknown),
        "object_id": object_id,
        "created_from": created_from,
        "created_before": created_before,
        "delivered": delivered,
        "facade": facade,
    }
    return fetch_page(conn, Event, LIST, parameters, page, table="events", what="event")


DELETE_OLD = """
DELETE FROM events e
 USING (SELECT o.account_id, o.id
          FROM events o
         WHERE o.account_id = %(account_id)s
           AND o.id < %(first_id)s
           AND NOT EXISTS (
               SELECT
                 FROM webhook_deliveries d
                WHERE d.account_id = o.account_id
                  AND d.event_id = o.id
                  AND d.status = 'pending')
         ORDER BY o.id
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) old
 WHERE e.account_id = old.account_id
   AND e.id = old.id
RETURNING e.id
"""
DELETE_DELIVERIES = """
DELETE FROM webhook_deliveries
 WHERE account_id = %(account_id)s
   AND event_id = ANY(%(ids)s)
   AND status <> 'pending'  -- it began again meanwhile, and others may wait behind it
"""


def delete_old(conn: Connection, account_id: int, *, first_id: str, limit: int) -> int:
    """Delete up to ``limit`` events made before ``first_id``, the oldest first; return how many.

    The log of their deliveries goes with them. One that is still to be delivered stays.
    """
    parameters = {"account_id": account_id, "first_id": first_id, "limit": limit}
    ids = [row[0] for row in conn.execute(DELETE_OLD, parameters)]
    if ids:
        conn.execute(DELETE_DELIVERIES, {"account_id": account_id, "ids": ids})
    return len(ids)
