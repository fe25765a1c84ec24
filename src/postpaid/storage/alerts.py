"""Alerts, what was sent of them, and from which quantity on a window's usage is to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.core.alerts import Alert, AlertStatus
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.usage import (
    ALERT_AT_ONCE,
    ALL_TIME,
    nullable_array,
    number_array,
    text_array,
)

INSERT = """
INSERT INTO billing_alerts (account_id, id, title, meter_id, customer_id, recurrence, gte, percent,
                            amount, status, created_at)
VALUES (%(account_id)s, %(id)s, %(title)s, %(meter_id)s, %(customer_id)s, %(recurrence)s, %(gte)s,
        %(percent)s, %(amount)s, %(status)s, %(created_at)s)
"""


def insert(conn: Connection, account_id: int, alert: Alert) -> None:
    """Add an alert. The caller has ``usage.hold_alone``."""
    conn.execute(INSERT, parameters_of(account_id, alert))


UPDATE_STATUS = """
UPDATE billing_alerts
   SET status = %(status)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update_status(conn: Connection, account_id: int, alert_id: str, status: AlertStatus) -> None:
    """Write what can change of the alert, which the caller has locked."""
    conn.execute(UPDATE_STATUS, {"account_id": account_id, "id": alert_id, "status": status})


LOAD = """
SELECT id, title, meter_id, customer_id, recurrence, gte, percent, amount, status, created_at
  FROM billing_alerts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Alert]:
    """The alerts by id."""
    rows = fetch(conn, Alert, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find(conn: Connection, account_id: int, alert_id: str) -> Alert | None:
    return load(conn, account_id, [alert_id]).get(alert_id)


LOCK = """
SELECT id, title, meter_id, customer_id, recurrence, gte, percent, amount, status, created_at
  FROM billing_alerts
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, alert_id: str) -> Alert | None:
    """The alert, which stays as it is until the transaction ends."""
    return fetch_one(conn, Alert, LOCK, {"account_id": account_id, "id": alert_id})


LIST = """
SELECT id, title, meter_id, customer_id, recurrence, gte, percent, amount, status, created_at
  FROM billing_alerts
 WHERE account_id = %(account_id)s
   AND (%(meter_id)s::text IS NULL OR meter_id = %(meter_id)s)
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, meter_id: str | None = None
) -> Rows[Alert]:
    """Alerts, newest first, the archived ones among them."""
    parameters = {"account_id": account_id, "meter_id": meter_id}
    return fetch_page(conn, Alert, LIST, parameters, page, table="billing_alerts", what="alert")


COUNT = """
SELECT (SELECT count(*)
          FROM billing_alerts
         WHERE account_id = %(account_id)s
           AND meter_id = %(meter_id)s
           AND customer_id IS NULL
           AND status <> 'archived')
     + (SELECT coalesce(max(one.count), 0)
          FROM (SELECT count(*) AS count
                  FROM billing_alerts
                 WHERE account_id = %(account_id)s
                   AND meter_id = %(meter_id)s
                   AND customer_id IS NOT NULL
                   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
                   AND status <> 'archived'
                 GROUP BY customer_id) AS one)
"""


def count(conn: Connection, account_id: int, meter_id: str, customer_id: str | None) -> int:
    """How many alerts, not archived, watch this meter for the customer.

    Those for everyone are among them. Without a customer: for the one with the most.
    """
    parameters = {"account_id": account_id, "meter_id": meter_id, "customer_id": customer_id}
    row = conn.execute(COUNT, parameters).fetchone()
    assert row is not None, "a count is one row"
    counted: int = row[0]
    return counted


# ─── Looking ─────────────────────────────────────────────────────────────────────────────────

LOAD_ACTIVE = """
SELECT id, title, meter_id, customer_id, recurrence, gte, percent, amount, status, created_at
  FROM billing_alerts
 WHERE account_id = %(account_id)s
   AND meter_id = ANY(%(meter_ids)s::text[])
   AND (customer_id IS NULL OR customer_id = ANY(%(customer_ids)s::text[]))
   AND status = 'active'
 ORDER BY id
"""


def load_active(
    conn: Connection, account_id: int, meter_ids: Iterable[str], customer_ids: Iterable[str]
) -> list[Alert]:
    """The active alerts that watch one of these meters for one of these customers."""
    parameters = {
        "account_id": account_id,
        "meter_ids": text_array(meter_ids),
        "customer_ids": text_array(customer_ids),
    }
    return fetch(conn, Alert, LOAD_ACTIVE, parameters)


BILLED_BY = """
SELECT DISTINCT s.id
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[]) AS u (customer_id, meter_id)
  JOIN subscriptions s
    ON s.account_id = %(account_id)s
   AND s.customer_id = u.customer_id
   AND (s.ended_at IS NULL OR s.ended_at >= %(since)s)
  JOIN subscription_items i
    ON i.account_id = s.account_id
   AND i.subscription_id = s.id
  JOIN prices p
    ON p.account_id = i.account_id
   AND p.id = i.price_id
   AND p.meter_id = u.meter_id
"""


def billed_by(
    conn: Connection, account_id: int, pairs: Iterable[tuple[str, str]], *, since: datetime
) -> list[str]:
    """The ids of the subscriptions that bill these customers' usage of these meters.

    Those that had ended before ``since`` are left out.
    """
    asked = list(pairs)
    parameters = {
        "account_id": account_id,
        "customer_ids": text_array(customer_id for customer_id, _ in asked),
        "meter_ids": text_array(meter_id for _, meter_id in asked),
        "since": since,
    }
    return [row[0] for row in conn.execute(BILLED_BY, parameters)]


@dataclass(frozen=True, slots=True)
class Firing:
    """That an alert was sent to be for a customer, and for which window."""

    alert_id: str
    customer_id: str
    window_key: str
    quantity: Decimal


FIRED = """
SELECT alert_id, customer_id, window_key
  FROM alert_firings
 WHERE account_id = %(account_id)s
   AND alert_id = ANY(%(alert_ids)s::text[])
   AND (customer_id, window_key) IN (
       SELECT customer_id, window_key
         FROM unnest(%(customer_ids)s::text[], %(keys)s::text[]) AS u (customer_id, window_key))
"""


def fired(
    conn: Connection,
    account_id: int,
    alert_ids: Iterable[str],
    customer_keys: Iterable[tuple[str, str]],
) -> set[tuple[str, str, str]]:
    """Which of the alerts were sent before for these customers and windows.

    Each as alert, customer and key.
    """
    asked = list(customer_keys)
    if not asked:
        return set()
    parameters = {
        "account_id": account_id,
        "alert_ids": text_array(alert_ids),
        "customer_ids": text_array(customer_id for customer_id, _ in asked),
        "keys": text_array(key for _, key in asked),
    }
    return {(row[0], row[1], row[2]) for row in conn.execute(FIRED, parameters)}


FIRE = """
INSERT INTO alert_firings (account_id, alert_id, customer_id, window_key, quantity, fired_at)
SELECT %(account_id)s, alert_id, customer_id, window_key, quantity, %(fired_at)s
  FROM unnest(%(alert_ids)s::text[], %(customer_ids)s::text[], %(keys)s::text[],
              %(quantities)s::numeric[]) AS u (alert_id, customer_id, window_key, quantity)
 ORDER BY 2, 3, 4
    ON CONFLICT ON CONSTRAINT alert_firings_once DO NOTHING
RETURNING alert_id, customer_id, window_key
"""


def fire(
    conn: Connection, account_id: int, firings: Sequence[Firing], *, fired_at: datetime
) -> set[tuple[str, str, str]]:
    """Write down that the alerts are sent; return those that were not before.

    Each as alert, customer and key. Whoever writes one first is the one to send it.
    """
    if not firings:
        return set()
    parameters = {
        "account_id": account_id,
        "alert_ids": text_array(each.alert_id for each in firings),
        "customer_ids": text_array(each.customer_id for each in firings),
        "keys": text_array(each.window_key for each in firings),
        "quantities": number_array(each.quantity for each in firings),
        "fired_at": fired_at,
    }
    return {(row[0], row[1], row[2]) for row in conn.execute(FIRE, parameters)}


LOOK_AT = """
UPDATE usage_windows w
   SET alert_at = u.alert_at
  FROM unnest(%(series_ids)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
              %(alert_ats)s::numeric[]) AS u (series_id, start_at, end_at, alert_at)
 WHERE w.series_id = u.series_id
   AND w.start_at = u.start_at
   AND w.end_at = u.end_at
   AND w.alert_at IS DISTINCT FROM u.alert_at
"""


def look_at(
    conn: Connection, windows: dict[tuple[int, datetime, datetime], Decimal | None]
) -> None:
    """From which quantity on to look at each window again, by series, start and end; None: never.

    The windows' rows are the caller's already.
    """
    if not windows:
        return
    parameters = {
        "series_ids": number_array(series_id for series_id, _, _ in windows),
        "starts": [start_at for _, start_at, _ in windows],
        "ends": [end_at for _, _, end_at in windows],
        "alert_ats": nullable_array(windows.values()),
    }
    conn.execute(LOOK_AT, parameters)


# ─── Arming ──────────────────────────────────────────────────────────────────────────────────

LOOK_AT_ONCE = """
UPDATE usage_windows w
   SET alert_at = %(alert_at)s
  FROM usage_series s
 WHERE s.account_id = %(account_id)s
   AND s.meter_id = %(meter_id)s
   AND (%(customer_id)s::text IS NULL OR s.customer_id = %(customer_id)s)
   AND w.series_id = s.series_id
   AND w.start_at > %(all_time)s
   AND w.alert_at IS DISTINCT FROM %(alert_at)s
"""


def look_at_once(conn: Connection, account_id: int, meter_id: str, customer_id: str | None) -> None:
    """Let the next event in any billed window of the meter look for alerts.

    The caller has ``usage.hold_alone``. Without a customer: of all customers.
    """
    parameters = {
        "account_id": account_id,
        "meter_id": meter_id,
        "customer_id": customer_id,
        "all_time": ALL_TIME[0],
        "alert_at": ALERT_AT_ONCE,
    }
    conn.execute(LOOK_AT_ONCE, parameters)


OPEN_ALL_TIME = """
INSERT INTO usage_windows AS w (series_id, start_at, end_at, sum, count, max, last_value, last_at,
                                last_reference, alert_at)
SELECT s.series_id, %(start_at)s, %(end_at)s, coalesce(sum(h.sum), 0), coalesce(sum(h.count), 0),
       max(h.max),
       (array_agg(h.last_value ORDER BY h.last_at DESC NULLS LAST, h.last_reference DESC))[1],
       max(h.last_at),
       (array_agg(h.last_reference ORDER BY h.last_at DESC NULLS LAST, h.last_reference DESC))[1],
       %(alert_at)s
  FROM usage_series s
  LEFT JOIN usage_hours h ON h.series_id = s.series_id
 WHERE s.account_id = %(account_id)s
   AND s.meter_id = %(meter_id)s
   AND (%(customer_id)s::text IS NULL OR s.customer_id = %(customer_id)s)
 GROUP BY s.series_id
 ORDER BY s.series_id
    ON CONFLICT (series_id, start_at, end_at) DO UPDATE
   SET alert_at = excluded.alert_at
"""


def open_all_time(
    conn: Connection, account_id: int, meter_id: str, customer_id: str | None
) -> None:
    """Count everything of the meter that was ever used, from now on in one row for each customer.

    The next event of each looks for alerts. The caller has ``usage.hold_alone``. Without a
    customer: of all customers.
    """
    parameters = {
        "account_id": account_id,
        "meter_id": meter_id,
        "customer_id": customer_id,
        "start_at": ALL_TIME[0],
        "end_at": ALL_TIME[1],
        "alert_at": ALERT_AT_ONCE,
    }
    conn.execute(OPEN_ALL_TIME, parameters)


OPEN_ALL_TIME_OF_NEW = """
INSERT INTO usage_windows (series_id, start_at, end_at, alert_at)
SELECT s.series_id, %(start_at)s, %(end_at)s, %(alert_at)s
  FROM usage_series s
 WHERE s.account_id = %(account_id)s
   AND s.series_id = ANY(%(series_ids)s::bigint[])
   AND EXISTS (
       SELECT
         FROM billing_alerts a
        WHERE a.account_id = s.account_id
          AND a.meter_id = s.meter_id
          AND (a.customer_id IS NULL OR a.customer_id = s.customer_id)
          AND a.recurrence = 'one_time'
          AND a.status = 'active'
        UNION ALL
       SELECT
         FROM usage_quotas q
        WHERE q.account_id = s.account_id
          AND q.meter_id = s.meter_id
          AND (q.customer_id IS NULL OR q.customer_id = s.customer_id)
          AND q.deleted_at IS NULL)
 ORDER BY s.series_id
    ON CONFLICT DO NOTHING
"""


def open_all_time_of_new(conn: Connection, account_id: int, series_ids: Sequence[int]) -> None:
    """Count everything of those of the new series that a one-time alert or a quota watches.

    Nothing is used of them yet. The caller has ``usage.hold``.
    """
    if not series_ids:
        return
    parameters = {
        "account_id": account_id,
        "series_ids": number_array(series_ids),
        "start_at": ALL_TIME[0],
        "end_at": ALL_TIME[1],
        "alert_at": ALERT_AT_ONCE,
    }
    conn.execute(OPEN_ALL_TIME_OF_NEW, parameters)
