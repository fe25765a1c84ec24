"""Coupons, those deleted included: the discounts that they made go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from postpaid.core.discounts import Coupon, CouponStatus
from postpaid.core.errors import AlreadyExists
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page

INSERT = """
INSERT INTO coupons (account_id, id, duration, created_at, name, percent_off, amount_off, currency,
                     currency_options, duration_in_months, product_ids, max_redemptions, redeem_by,
                     times_redeemed, metadata, deleted_at, status, description, redeem_from,
                     max_amount_off, max_amount_off_currency, minimum_amount,
                     minimum_amount_currency)
VALUES (%(account_id)s, %(id)s, %(duration)s, %(created_at)s, %(name)s, %(percent_off)s,
        %(amount_off)s, %(currency)s, %(currency_options)s, %(duration_in_months)s,
        %(product_ids)s, %(max_redemptions)s, %(redeem_by)s, %(times_redeemed)s, %(metadata)s,
        %(deleted_at)s, %(status)s, %(description)s, %(redeem_from)s, %(max_amount_off)s,
        %(max_amount_off_currency)s, %(minimum_amount)s, %(minimum_amount_currency)s)
"""


def insert(conn: Connection, account_id: int, coupon: Coupon) -> None:
    """Add a coupon. Raises ``AlreadyExists`` when there is, or was, one with its id."""
    try:
        conn.execute(INSERT, _parameters(account_id, coupon))
    except psycopg.errors.UniqueViolation as error:
        raise AlreadyExists("Coupon already exists.", param="id") from error


UPDATE = """
UPDATE coupons
   SET name = %(name)s, currency_options = %(currency_options)s, metadata = %(metadata)s,
       deleted_at = %(deleted_at)s, status = %(status)s, description = %(description)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, coupon: Coupon) -> None:
    """Write what can change of the coupon, which the caller has locked."""
    conn.execute(UPDATE, _parameters(account_id, coupon))


LOAD = """
SELECT id, duration, created_at, name, percent_off, amount_off, currency, currency_options,
       duration_in_months, product_ids, max_redemptions, redeem_by, times_redeemed, metadata,
       deleted_at, status, description, redeem_from, max_amount_off, max_amount_off_currency,
       minimum_amount, minimum_amount_currency
  FROM coupons
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Coupon]:
    """The coupons by id, those deleted included."""
    rows = fetch(conn, Coupon, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, duration, created_at, name, percent_off, amount_off, currency, currency_options,
       duration_in_months, product_ids, max_redemptions, redeem_by, times_redeemed, metadata,
       deleted_at, status, description, redeem_from, max_amount_off, max_amount_off_currency,
       minimum_amount, minimum_amount_currency
  FROM coupons
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, coupon_id: str) -> Coupon | None:
    """The coupon, deleted or not, which stays as it is until the transaction ends."""
    return fetch_one(conn, Coupon, LOCK, {"account_id": account_id, "id": coupon_id})


LIST = """
SELECT id, duration, created_at, name, percent_off, amount_off, currency, currency_options,
       duration_in_months, product_ids, max_redemptions, redeem_by, times_redeemed, metadata,
       deleted_at, status, description, redeem_from, max_amount_off, max_amount_off_currency,
       minimum_amount, minimum_amount_currency
  FROM coupons
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
   AND (%(status)s::text IS NULL OR status = %(status)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    status: CouponStatus | None = None,
) -> Rows[Coupon]:
    """Coupons that are not deleted, newest first."""
    parameters = {
        "account_id": account_id,
        "created_from": created_from,
        "created_before": created_before,
        "status": status,
    }
    return fetch_page(
        conn,
        Coupon,
        LIST,
        parameters,
        page,
        table="coupons",
        what="coupon",
        order=("created_at", "id"),
    )


REDEEM = """
UPDATE coupons c
   SET times_redeemed = c.times_redeemed + r.times
  FROM (SELECT l.id, t.times
          FROM coupons l
          JOIN unnest(%(ids)s::text[], %(times)s::bigint[]) AS t (id, times) ON t.id = l.id
         WHERE l.account_id = %(account_id)s
         ORDER BY l.id
           FOR NO KEY UPDATE OF l) AS r
 WHERE c.account_id = %(account_id)s
   AND c.id = r.id
   AND (c.max_redemptions IS NULL OR c.times_redeemed + r.times <= c.max_redemptions)
"""


def redeem(conn: Connection, account_id: int, times: Mapping[str, int]) -> bool:
    """Count redemptions, by coupon; False when one would be redeemed too often."""
    parameters = {
        "account_id": account_id,
        "ids": list(times),
        "times": list(times.values()),
    }
    return conn.execute(REDEEM, parameters).rowcount == len(times)


def _parameters(account_id: int, coupon: Coupon) -> dict[str, Any]:
    options = coupon.currency_options
    return parameters_of(account_id, coupon) | {
        "currency_options": None if options is None else Jsonb(options),
        "metadata": Jsonb(coupon.metadata),
    }
