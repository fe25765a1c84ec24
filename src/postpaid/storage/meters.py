"""Meters: what is measured, and where in an event to find it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import psycopg

from postpaid.core.errors import AlreadyExists
from postpaid.core.metering import Aggregation
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page

ACCEPTS_PAST_S = 35 * 86_400
ACCEPTS_FUTURE_S = 300
CANCELS_WITHIN_S = 86_400


class MeterStatus(StrEnum):
    """Whether a meter takes events."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Meter:
    """What the events named ``event_name`` add up to.

    ``customer_key`` and ``value_key`` are the keys of an event's payload that hold the customer's
    id and the value. ``event_time_window`` is hour or day, in UTC, of each of which only the event
    that arrived last counts; without it every event does. The spans, in seconds, are how far behind
    and ahead of the customer's present an event is accepted, and for how long after it arrived it
    can be cancelled.

    ``price_id`` is what its usage is billed by where no subscription bills it, in an invoice for a
    stretch of time. ``markup_percentage`` is the part of that price's unit amount that is a
    percentage of what is counted.
    """

    id: str
    display_name: str
    event_name: str
    aggregation: Aggregation
    customer_key: str
    value_key: str
    status: MeterStatus
    created_at: datetime
    updated_at: datetime
    deactivated_at: datetime | None
    event_time_window: str | None = None
    accepts_past_s: int = ACCEPTS_PAST_S
    accepts_future_s: int = ACCEPTS_FUTURE_S
    cancels_within_s: int = CANCELS_WITHIN_S
    price_id: str | None = None
    markup_percentage: Decimal | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


INSERT = """
INSERT INTO meters (account_id, id, display_name, event_name, aggregation, customer_key, value_key,
                    status, created_at, updated_at, deactivated_at, event_time_window,
                    accepts_past_s, accepts_future_s, cancels_within_s, price_id,
                    markup_percentage, description, metadata)
VALUES (%(account_id)s, %(id)s, %(display_name)s, %(event_name)s, %(aggregation)s,
        %(customer_key)s, %(value_key)s, %(status)s, %(created_at)s, %(updated_at)s,
        %(deactivated_at)s, %(event_time_window)s, %(accepts_past_s)s, %(accepts_future_s)s,
        %(cancels_within_s)s, %(price_id)s, %(markup_percentage)s, %(description)s, %(metadata)s)
"""


def insert(conn: Connection, account_id: int, meter: Meter) -> None:
    """Add a meter. Raises ``AlreadyExists`` when another, active or not, has the event name."""
    try:
        conn.execute(INSERT, parameters_of(account_id, meter))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "meters_event_name_once":
            raise
        raise AlreadyExists(
            f"A meter with the event name '{meter.event_name}' exists already.", param="event_name"
        ) from error


UPDATE = """
UPDATE meters
   SET display_name = %(display_name)s, status = %(status)s, updated_at = %(updated_at)s,
       deactivated_at = %(deactivated_at)s, accepts_past_s = %(accepts_past_s)s,
       accepts_future_s = %(accepts_future_s)s, cancels_within_s = %(cancels_within_s)s,
       price_id = %(price_id)s, markup_percentage = %(markup_percentage)s,
       description = %(description)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, meter: Meter) -> None:
    """Write what can change of the meter, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, meter))


LOAD = """
SELECT id, display_name, event_name, aggregation, customer_key, value_key, status, created_at,
       updated_at, deactivated_at, event_time_window, accepts_past_s, accepts_future_s,
       cancels_within_s, price_id, markup_percentage, description, metadata
  FROM meters
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Meter]:
    """The meters by id."""
    rows = fetch(conn, Meter, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find(conn: Connection, account_id: int, meter_id: str) -> Meter | None:
    return load(conn, account_id, [meter_id]).get(meter_id)


LOAD_BY_EVENT_NAMES = """
SELECT id, display_name, event_name, aggregation, customer_key, value_key, status, created_at,
       updated_at, deactivated_at, event_time_window, accepts_past_s, accepts_future_s,
       cancels_within_s, price_id, markup_percentage, description, metadata
  FROM meters
 WHERE account_id = %(account_id)s
   AND event_name = ANY(%(event_names)s)
"""


def load_by_event_names(
    conn: Connection, account_id: int, event_names: Iterable[str]
) -> dict[str, Meter]:
    """The meters, active or not, by the name of their events."""
    parameters = {"account_id": account_id, "event_names": list(event_names)}
    return {row.event_name: row for row in fetch(conn, Meter, LOAD_BY_EVENT_NAMES, parameters)}


LIST_ALL = """
SELECT id, display_name, event_name, aggregation, customer_key, value_key, status, created_at,
       updated_at, deactivated_at, event_time_window, accepts_past_s, accepts_future_s,
       cancels_within_s, price_id, markup_percentage, description, metadata
  FROM meters
 WHERE account_id = %(account_id)s
 ORDER BY id
"""


def list_all(conn: Connection, account_id: int) -> list[Meter]:
    """Every meter, active or not, oldest first."""
    return fetch(conn, Meter, LIST_ALL, {"account_id": account_id})


LOCK = """
SELECT id, display_name, event_name, aggregation, customer_key, value_key, status, created_at,
       updated_at, deactivated_at, event_time_window, accepts_past_s, accepts_future_s,
       cancels_within_s, price_id, markup_percentage, description, metadata
  FROM meters
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, meter_id: str) -> Meter | None:
    """The meter, which stays as it is until the transaction ends."""
    return fetch_one(conn, Meter, LOCK, {"account_id": account_id, "id": meter_id})


LIST = """
SELECT id, display_name, event_name, aggregation, customer_key, value_key, status, created_at,
       updated_at, deactivated_at, event_time_window, accepts_past_s, accepts_future_s,
       cancels_within_s, price_id, markup_percentage, description, metadata
  FROM meters
 WHERE account_id = %(account_id)s
   AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(customer_id)s::text IS NULL OR EXISTS (
       SELECT
         FROM usage_series s
        WHERE s.account_id = meters.account_id
          AND s.customer_id = %(customer_id)s
          AND s.meter_id = meters.id))
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    status: MeterStatus | None = None,
    customer_id: str | None = None,
) -> Rows[Meter]:
    """Meters, newest first; of ``customer_id`` those that it has ever used."""
    parameters = {"account_id": account_id, "status": status, "customer_id": customer_id}
    return fetch_page(conn, Meter, LIST, parameters, page, table="meters", what="meter")
