"""Promotion codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from postpaid.core.discounts import PromotionCode
from postpaid.core.errors import AlreadyExists
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page

INSERT = """
INSERT INTO promotion_codes (account_id, id, code, coupon_id, created_at, active, customer_id,
                             expires_at, max_redemptions, times_redeemed, first_time_transaction,
                             minimum_amount, minimum_amount_currency, minimum_amounts, metadata,
                             max_customer_redemptions)
VALUES (%(account_id)s, %(id)s, %(code)s, %(coupon_id)s, %(created_at)s, %(active)s,
        %(customer_id)s, %(expires_at)s, %(max_redemptions)s, %(times_redeemed)s,
        %(first_time_transaction)s, %(minimum_amount)s, %(minimum_amount_currency)s,
        %(minimum_amounts)s, %(metadata)s, %(max_customer_redemptions)s)
"""


def insert(conn: Connection, account_id: int, code: PromotionCode) -> None:
    """Add a promotion code. Raises ``AlreadyExists`` when an active one has the same code."""
    try:
        conn.execute(INSERT, _parameters(account_id, code))
    except psycopg.errors.UniqueViolation as error:
        raise _taken(code) from error


UPDATE = """
UPDATE promotion_codes
   SET active = %(active)s, minimum_amounts = %(minimum_amounts)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, code: PromotionCode) -> None:
    """Write what can change of the code, which the caller has locked.

    Raises ``AlreadyExists`` when another that is active has the same code.
    """
    try:
        conn.execute(UPDATE, _parameters(account_id, code))
    except psycopg.errors.UniqueViolation as error:
        raise _taken(code) from error


LOAD = """
SELECT id, code, coupon_id, created_at, active, customer_id, expires_at, max_redemptions,
       times_redeemed, first_time_transaction, minimum_amount, minimum_amount_currency,
       minimum_amounts, metadata, max_customer_redemptions
  FROM promotion_codes
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PromotionCode]:
    """The promotion codes by id."""
    rows = fetch(conn, PromotionCode, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, code, coupon_id, created_at, active, customer_id, expires_at, max_redemptions,
       times_redeemed, first_time_transaction, minimum_amount, minimum_amount_currency,
       minimum_amounts, metadata, max_customer_redemptions
  FROM promotion_codes
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, code_id: str) -> PromotionCode | None:
    """The promotion code, which stays as it is until the transaction ends."""
    return fetch_one(conn, PromotionCode, LOCK, {"account_id": account_id, "id": code_id})


LIST = """
SELECT id, code, coupon_id, created_at, active, customer_id, expires_at, max_redemptions,
       times_redeemed, first_time_transaction, minimum_amount, minimum_amount_currency,
       minimum_amounts, metadata, max_customer_redemptions
  FROM promotion_codes
 WHERE account_id = %(account_id)s
   AND (%(active)s::boolean IS NULL
        OR %(active)s = (
           active
           AND (expires_at IS NULL OR expires_at > %(now)s)
           AND (max_redemptions IS NULL OR times_redeemed < max_redemptions)
           AND EXISTS (
               SELECT
                 FROM coupons c
                WHERE c.account_id = promotion_codes.account_id
                  AND c.id = promotion_codes.coupon_id
                  AND c.deleted_at IS NULL
                  AND c.status = 'active'
                  AND (c.redeem_from IS NULL OR c.redeem_from <= %(now)s)
                  AND (c.redeem_by IS NULL OR c.redeem_by > %(now)s)
                  AND (c.max_redemptions IS NULL OR c.times_redeemed < c.max_redemptions))))
   AND (%(switched_on)s::boolean IS NULL OR active = %(switched_on)s)
   AND (%(code)s::text IS NULL OR upper(code) = upper(%(code)s))
   AND (%(coupon_id)s::text IS NULL OR coupon_id = %(coupon_id)s)
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(first_time)s::boolean IS NULL OR first_time_transaction = %(first_time)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    now: datetime,
    active: bool | None = None,
    code: str | None = None,
    coupon_id: str | None = None,
    customer_id: str | None = None,
    first_time: bool | None = None,
    switched_on: bool | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[PromotionCode]:
    """Promotion codes, newest first.

    ``active`` is whether they can be redeemed ``now``, ``switched_on`` only whether somebody said
    so.
    """
    parameters = {
        "account_id": account_id,
        "now": now,
        "active": active,
        "code": code,
        "coupon_id": coupon_id,
        "customer_id": customer_id,
        "first_time": first_time,
        "switched_on": switched_on,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn,
        PromotionCode,
        LIST,
        parameters,
        page,
        table="promotion_codes",
        what="promotion_code",
    )


OF_WORDS = """
SELECT id, code, coupon_id, created_at, active, customer_id, expires_at, max_redemptions,
       times_redeemed, first_time_transaction, minimum_amount, minimum_amount_currency,
       minimum_amounts, metadata, max_customer_redemptions
  FROM (SELECT *, row_number() OVER (
                  PARTITION BY upper(code)
                  ORDER BY (customer_id IS NULL OR customer_id IS NOT DISTINCT FROM %(customer_id)s)
                           DESC, active DESC, customer_id IS NULL, id DESC) AS place
          FROM promotion_codes
         WHERE account_id = %(account_id)s
           AND upper(code) = ANY(%(words)s)) AS known
 WHERE place = 1
"""


def of_words(
    conn: Connection, account_id: int, words: Iterable[str], *, customer_id: str | None
) -> dict[str, PromotionCode]:
    """What the customer means by each of these words, in capitals: by them, the promotion code.

    The customer's own goes before everyone's, and one that is active before one that is not; of a
    word that only others may use, one of theirs.
    """
    parameters = {
        "account_id": account_id,
        "words": [each.upper() for each in words],
        "customer_id": customer_id,
    }
    return {row.code.upper(): row for row in fetch(conn, PromotionCode, OF_WORDS, parameters)}


RETIRE = """
UPDATE promotion_codes
   SET active = false
 WHERE account_id = %(account_id)s
   AND upper(code) = upper(%(code)s)
   AND active
   AND (expires_at <= %(now)s OR times_redeemed >= max_redemptions)
"""


def retire(conn: Connection, account_id: int, code: str, *, now: datetime) -> None:
    """Let go of a code that can no longer be redeemed, so that it can be given out again."""
    conn.execute(RETIRE, {"account_id": account_id, "code": code, "now": now})


REDEEM = """
UPDATE promotion_codes p
   SET times_redeemed = p.times_redeemed + r.times
  FROM (SELECT l.id, t.times
          FROM promotion_codes l
          JOIN unnest(%(ids)s::text[], %(times)s::bigint[]) AS t (id, times) ON t.id = l.id
         WHERE l.account_id = %(account_id)s
         ORDER BY l.id
           FOR NO KEY UPDATE OF l) AS r
 WHERE p.account_id = %(account_id)s
   AND p.id = r.id
   AND (p.max_redemptions IS NULL OR p.times_redeemed + r.times <= p.max_redemptions)
"""


def redeem(conn: Connection, account_id: int, times: Mapping[str, int]) -> bool:
    """Count redemptions, by promotion code; False when one would be redeemed too often."""
    parameters = {
        "account_id": account_id,
        "ids": list(times),
        "times": list(times.values()),
    }
    return conn.execute(REDEEM, parameters).rowcount == len(times)


def _parameters(account_id: int, code: PromotionCode) -> dict[str, Any]:
    amounts = code.minimum_amounts
    return parameters_of(account_id, code) | {
        "minimum_amounts": None if amounts is None else Jsonb(amounts),
        "metadata": Jsonb(code.metadata),
    }


def _taken(code: PromotionCode) -> AlreadyExists:
    return AlreadyExists(
        f"An active promotion code with `code: {code.code}` already exists.", param="code"
    )
