"""Quotas of usage, and which of their percentages were said in which window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from postpaid.core.errors import AlreadyExists
from postpaid.core.usage_quotas import UsageQuota
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.usage import number_array, text_array

INSERT = """
INSERT INTO usage_quotas (account_id, id, meter_id, customer_id, quantity, amount, percents,
                          created_at, metadata, deleted_at)
VALUES (%(account_id)s, %(id)s, %(meter_id)s, %(customer_id)s, %(quantity)s, %(amount)s,
        %(percents)s, %(created_at)s, %(metadata)s, %(deleted_at)s)
"""


def insert(conn: Connection, account_id: int, quota: UsageQuota) -> None:
    """Add a quota. The caller has ``usage.hold_alone``.

    Raises ``AlreadyExists`` when the meter has one for this customer, or for everyone.
    """
    try:
        conn.execute(INSERT, _parameters(account_id, quota))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "usage_quotas_one_of_a_meter":
            raise
        raise AlreadyExists("There is a UsageQuota of this meter for the same already.") from error


UPDATE = """
UPDATE usage_quotas
   SET quantity = %(quantity)s, amount = %(amount)s, percents = %(percents)s,
       metadata = %(metadata)s, deleted_at = %(deleted_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, quota: UsageQuota) -> None:
    """Write what can change of the quota, which the caller has locked."""
    conn.execute(UPDATE, _parameters(account_id, quota))


FIND = """
SELECT id, meter_id, customer_id, quantity, amount, percents, created_at, metadata, deleted_at
  FROM usage_quotas
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND deleted_at IS NULL
"""


def find(conn: Connection, account_id: int, quota_id: str) -> UsageQuota | None:
    return fetch_one(conn, UsageQuota, FIND, {"account_id": account_id, "id": quota_id})


LOCK = """
SELECT id, meter_id, customer_id, quantity, amount, percents, created_at, metadata, deleted_at
  FROM usage_quotas
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND deleted_at IS NULL
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, quota_id: str) -> UsageQuota | None:
    """The quota, which stays as it is until the transaction ends."""
    return fetch_one(conn, UsageQuota, LOCK, {"account_id": account_id, "id": quota_id})


LIST = """
SELECT id, meter_id, customer_id, quantity, amount, percents, created_at, metadata, deleted_at
  FROM usage_quotas
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(meter_id)s::text IS NULL OR meter_id = %(meter_id)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    meter_id: str | None = None,
) -> Rows[UsageQuota]:
    """Quotas, newest first."""
    parameters: dict[str, Any] = {
        "account_id": account_id,
        "customer_id": customer_id,
        "meter_id": meter_id,
    }
    return fetch_page(
        conn, UsageQuota, LIST, parameters, page, table="usage_quotas", what="threshold"
    )


LOAD_WATCHING = """
SELECT id, meter_id, customer_id, quantity, amount, percents, created_at, metadata, deleted_at
  FROM usage_quotas
 WHERE account_id = %(account_id)s
   AND (customer_id IS NULL OR customer_id = ANY(%(customer_ids)s::text[]))
   AND (%(meter_ids)s::text[] IS NULL OR meter_id = ANY(%(meter_ids)s::text[]))
   AND deleted_at IS NULL
 ORDER BY id
"""


def load_watching(
    conn: Connection,
    account_id: int,
    customer_ids: Iterable[str],
    meter_ids: Iterable[str] | None = None,
) -> list[UsageQuota]:
    """The quotas of these customers and of everyone, on these meters or on any."""
    parameters = {
        "account_id": account_id,
        "customer_ids": text_array(customer_ids),
        "meter_ids": None if meter_ids is None else text_array(meter_ids),
    }
    return fetch(conn, UsageQuota, LOAD_WATCHING, parameters)


# ─── What was said ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Mark:
    """That a percentage of a quota is said of a customer, in the window that begins then."""

    quota_id: str
    customer_id: str
    start_at: datetime
    percent: int


MARK = """
INSERT INTO usage_quota_marks (account_id, quota_id, customer_id, start_at, percent, reached_at)
SELECT %(account_id)s, quota_id, customer_id, start_at, percent, %(reached_at)s
  FROM unnest(%(quota_ids)s::text[], %(customer_ids)s::text[], %(starts)s::timestamptz[],
              %(ends)s::timestamptz[], %(percents)s::integer[])
       AS u (quota_id, customer_id, start_at, end_at, percent)
 WHERE NOT EXISTS (
       SELECT
         FROM usage_quota_marks m
        WHERE m.account_id = %(account_id)s
          AND m.quota_id = u.quota_id
          AND m.customer_id = u.customer_id
          AND m.percent = u.percent
          AND m.start_at > u.start_at
          AND m.start_at < u.end_at)
 ORDER BY 2, 3, 4, 5
    ON CONFLICT ON CONSTRAINT usage_quota_marks_once DO NOTHING
RETURNING quota_id, customer_id, start_at, percent
"""


def mark(
    conn: Connection, account_id: int, ends: Mapping[Mark, datetime], *, reached_at: datetime
) -> set[Mark]:
    """Write down that these are said; return those that were not before.

    ``ends`` has the marks, and when the window of each is over. What was said of a window that
    began within it was said of the same usage: a customer's window is longer when its subscription
    is gone. Whoever writes one first is the one to say it; the caller has the customer's series.
    """
    if not ends:
        return set()
    parameters = {
        "account_id": account_id,
        "quota_ids": text_array(each.quota_id for each in ends),
        "customer_ids": text_array(each.customer_id for each in ends),
        "starts": [each.start_at for each in ends],
        "ends": list(ends.values()),
        "percents": number_array(each.percent for each in ends),
        "reached_at": reached_at,
    }
    return set(fetch(conn, Mark, MARK, parameters))


def _parameters(account_id: int, quota: UsageQuota) -> dict[str, Any]:
    return parameters_of(account_id, quota) | {
        "percents": list(quota.percents),
        "metadata": Jsonb(dict(quota.metadata)),
    }
