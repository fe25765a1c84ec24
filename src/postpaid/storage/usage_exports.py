"""Stored usage events, as many as there are, read without holding them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.storage.database import Connection, row_of

ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """A stored event, and where in a payload its meter looks for the customer and the value.

    ``payload`` is what came beside these two; of a ``unique`` meter it has the value key as well.
    """

    reference: str
    event_name: str
    customer_key: str
    value_key: str
    customer_id: str
    occurred_at: datetime
    value: Decimal
    payload: dict[str, str] | None
    counted: bool


EXPORT = """
SELECT e.reference, m.event_name, m.customer_key, m.value_key, s.customer_id, e.occurred_at,
       e.value, e.payload, e.counted
  FROM usage_series s
  JOIN meters m ON m.account_id = s.account_id AND m.id = s.meter_id
  JOIN usage_events e ON e.series_id = s.series_id
 WHERE s.account_id = %(account_id)s
   AND e.account_id = %(account_id)s
   AND (%(meter_id)s::text IS NULL OR s.meter_id = %(meter_id)s)
   AND (%(customer_id)s::text IS NULL OR s.customer_id = %(customer_id)s)
   AND (%(start)s::timestamptz IS NULL OR e.occurred_at >= %(start)s)
   AND (%(end)s::timestamptz IS NULL OR e.occurred_at < %(end)s)
   AND (e.counted OR %(uncounted)s)
"""


def export(
    conn: Connection,
    account_id: int,
    *,
    meter_id: str | None = None,
    customer_id: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    uncounted: bool = False,
) -> Iterator[ExportedEvent]:
    """The events that count and occurred in ``[start, end)``, in no order, within a transaction.

    With ``uncounted`` also those that do not count: cancelled, superseded, not yet filled in. They
    are as of the first one read, and come through a cursor, a few thousand at a time.
    """
    with conn.cursor(name="usage_export", row_factory=row_of(ExportedEvent)) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(
            EXPORT.encode(),
            {
                "account_id": account_id,
                "meter_id": meter_id,
                "customer_id": customer_id,
                "start": start,
                "end": end,
                "uncounted": uncounted,
            },
        )
        yield from cursor


LIST_PAYLOAD_KEYS = """
SELECT DISTINCT k.key
  FROM usage_series s
  JOIN usage_events e ON e.series_id = s.series_id
 CROSS JOIN LATERAL json_object_keys(e.payload) AS k (key)
 WHERE s.account_id = %(account_id)s
   AND e.account_id = %(account_id)s
   AND e.payload IS NOT NULL
   AND (%(meter_id)s::text IS NULL OR s.meter_id = %(meter_id)s)
   AND (%(customer_id)s::text IS NULL OR s.customer_id = %(customer_id)s)
   AND (%(start)s::timestamptz IS NULL OR e.occurred_at >= %(start)s)
   AND (%(end)s::timestamptz IS NULL OR e.occurred_at < %(end)s)
   AND (e.counted OR %(uncounted)s)
 UNION
SELECT unnest(ARRAY[m.customer_key, m.value_key])
  FROM meters m
 WHERE m.account_id = %(account_id)s
   AND (%(meter_id)s::text IS NULL OR m.id = %(meter_id)s)
   AND EXISTS (SELECT FROM usage_series s
                WHERE s.account_id = m.account_id
                  AND s.meter_id = m.id)
 ORDER BY 1
 LIMIT %(limit)s
"""


def list_payload_keys(
    conn: Connection,
    account_id: int,
    *,
    meter_id: str | None = None,
    customer_id: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    uncounted: bool = False,
    limit: int,
) -> list[str]:
    """Every key that a payload of these events has, as they are exported, sorted."""
    rows = conn.execute(
        LIST_PAYLOAD_KEYS,
        {
            "account_id": account_id,
            "meter_id": meter_id,
            "customer_id": customer_id,
            "start": start,
            "end": end,
            "uncounted": uncounted,
            "limit": limit,
        },
    )
    return [key for (key,) in rows]


HOLD_STILL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


def hold_still(conn: Connection) -> None:
    """Before the first statement of a transaction: all of them see what was there at the first."""
    conn.execute(HOLD_STILL)
