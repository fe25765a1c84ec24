"""Subscription schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from postpaid.core.schedules import EndBehavior, Phase, Schedule, ScheduleStatus
from postpaid.core.subscriptions import BillingMode
from postpaid.storage.database import Connection, as_json_rows, fetch
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    customer_id: str
    clock_id: str | None
    subscription_id: str | None
    released_subscription_id: str | None
    status: ScheduleStatus
    end_behavior: EndBehavior
    billing_mode: BillingMode
    default_settings: Mapping[str, Any]
    phases: Sequence[Mapping[str, Any]]
    phase_index: int | None
    due_at: datetime | None
    metadata: Mapping[str, str]
    created_at: datetime
    canceled_at: datetime | None
    completed_at: datetime | None
    released_at: datetime | None


COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "subscription_id",
    "released_subscription_id",
    "status",
    "end_behavior",
    "billing_mode",
    "default_settings",
    "phases",
    "phase_index",
    "due_at",
    "metadata",
    "created_at",
    "canceled_at",
    "completed_at",
    "released_at",
)

INSERT = """
INSERT INTO subscription_schedules (
       account_id, id, customer_id, clock_id, subscription_id, released_subscription_id, status,
       end_behavior, billing_mode, default_settings, phases, phase_index, due_at, metadata,
       created_at, canceled_at, completed_at, released_at)
SELECT %(account_id)s, id, customer_id, clock_id, subscription_id, released_subscription_id, status,
       end_behavior, billing_mode, default_settings, phases, phase_index, due_at, metadata,
       created_at, canceled_at, completed_at, released_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, customer_id text, clock_id text, subscription_id text,
       released_subscription_id text, status text, end_behavior text, billing_mode text,
       default_settings jsonb, phases jsonb, phase_index integer, due_at timestamptz,
       metadata jsonb, created_at timestamptz, canceled_at timestamptz, completed_at timestamptz,
       released_at timestamptz)
"""


def insert(conn: Connection, account_id: int, schedule: Schedule) -> None:
    """Add a schedule. The caller holds its customer."""
    conn.execute(INSERT, {"account_id": account_id, "rows": as_json_rows([schedule], COLUMNS)})


UPDATE = """
UPDATE subscription_schedules s
   SET subscription_id = r.subscription_id,
       released_subscription_id = r.released_subscription_id, status = r.status,
       end_behavior = r.end_behavior, default_settings = r.default_settings, phases = r.phases,
       phase_index = r.phase_index, due_at = r.due_at, metadata = r.metadata,
       canceled_at = r.canceled_at, completed_at = r.completed_at, released_at = r.released_at,
       parked = NULL
  FROM json_to_recordset(%(rows)s) AS r(
       id text, subscription_id text, released_subscription_id text, status text,
       end_behavior text, default_settings jsonb, phases jsonb, phase_index integer,
       due_at timestamptz, metadata jsonb, canceled_at timestamptz, completed_at timestamptz,
       released_at timestamptz)
 WHERE s.account_id = %(account_id)s
   AND s.id = r.id
"""


def update_many(conn: Connection, account_id: int, schedules: Sequence[Schedule]) -> None:
    """Write what can change of schedules. The caller holds their customers."""
    if schedules:
        rows = as_json_rows(schedules, COLUMNS)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})


PARK = """
UPDATE subscription_schedules
   SET parked = %(reason)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def park(conn: Connection, account_id: int, schedule_id: str, reason: str) -> None:
    """Set one aside that cannot go on as it is, with the reason, until someone has looked."""
    conn.execute(PARK, {"account_id": account_id, "id": schedule_id, "reason": reason})


LOAD = """
SELECT id, customer_id, clock_id, subscription_id, released_subscription_id, status, end_behavior,
       billing_mode, default_settings, phases, phase_index, due_at, metadata, created_at,
       canceled_at, completed_at, released_at
  FROM subscription_schedules
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Schedule]:
    """The schedules by id."""
    rows = fetch(conn, _Row, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: _schedule(row) for row in rows}


LIST = """
SELECT id, customer_id, clock_id, subscription_id, released_subscription_id, status, end_behavior,
       billing_mode, default_settings, phases, phase_index, due_at, metadata, created_at,
       canceled_at, completed_at, released_at
  FROM subscription_schedules
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(customer_id)s::text IS NOT NULL OR clock_id IS NULL)
   AND (%(scheduled)s::boolean IS NULL OR (status = 'not_started') = %(scheduled)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    scheduled: bool | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Schedule]:
    """Schedules, newest first; without a customer, those on test clocks are left out (Stripe)."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "scheduled": scheduled,
        "created_from": created_from,
        "created_before": created_before,
    }
    found = fetch_page(
        conn,
        _Row,
        LIST,
        parameters,
        page,
        table="subscription_schedules",
        what="subscription schedule",
    )
    return Rows([_schedule(row) for row in found.rows], found.has_more)


RUNNING_OF_CUSTOMERS = """
SELECT id, customer_id, clock_id, subscription_id, released_subscription_id, status, end_behavior,
       billing_mode, default_settings, phases, phase_index, due_at, metadata, created_at,
       canceled_at, completed_at, released_at
  FROM subscription_schedules
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND status IN ('not_started', 'active')
 ORDER BY id
"""


def running_of_customers(
    conn: Connection, account_id: int, customer_ids: Sequence[str]
) -> list[Schedule]:
    """The customers' schedules that have not ended."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    rows = fetch(conn, _Row, RUNNING_OF_CUSTOMERS, parameters)
    return [_schedule(row) for row in rows]


CLAIM = """
SELECT s.id
  FROM subscription_schedules s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.due_at <= %(now)s
   AND s.parked IS NULL
   AND NOT EXISTS (
       SELECT
         FROM subscriptions p
        WHERE p.account_id = s.account_id
          AND p.id = s.subscription_id
          AND (p.parked IS NOT NULL OR p.status IN ('incomplete', 'paused')))
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.due_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Schedule]:
    """Schedules with something due, oldest first, with their customers locked.

    One waits while its subscription is paused, or not paid for yet.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM, parameters)]
    found = load(conn, account_id, ids).values() if ids else ()
    return [each for each in found if each.due_at is not None and each.due_at <= now]


WAIT = """
UPDATE subscription_schedules s
   SET due_at = r.until
  FROM unnest(%(ids)s::text[], %(moments)s::timestamptz[]) AS r(subscription_id, until)
 WHERE s.account_id = %(account_id)s
   AND s.subscription_id = r.subscription_id
   AND s.due_at < r.until
"""


def wait(conn: Connection, account_id: int, until: Mapping[str, datetime]) -> None:
    """What was due of the subscriptions' schedules before a moment is due then.

    The caller holds their customers.
    """
    if until:
        moments = list(until.values())
        conn.execute(WAIT, {"account_id": account_id, "ids": list(until), "moments": moments})


def _schedule(row: _Row) -> Schedule:
    phases = msgspec.convert(row.phases, tuple[Phase, ...], strict=False)
    values = {name: getattr(row, name) for name in COLUMNS}
    return Schedule(**{**values, "phases": phases})
