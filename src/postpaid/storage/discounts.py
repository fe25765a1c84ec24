"""Discounts: coupons that were redeemed, and for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from postpaid.core.discounts import Discount
from postpaid.storage.database import Connection, copy_into, fetch, values_of

COLUMNS = (
    "id",
    "coupon_id",
    "customer_id",
    "start_at",
    "duration",
    "end_at",
    "promotion_code_id",
    "subscription_id",
    "subscription_item_id",
    "invoice_id",
    "invoice_item_id",
    "used_invoice_id",
    "deleted_at",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, discounts: Sequence[Discount]) -> None:
    """Write new discounts."""
    if discounts:
        copy_into(
            conn,
            "discounts",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in discounts),
        )


LOAD = """
SELECT id, coupon_id, customer_id, start_at, duration, end_at, promotion_code_id, subscription_id,
       subscription_item_id, invoice_id, invoice_item_id, used_invoice_id, deleted_at
  FROM discounts
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Discount]:
    """The discounts by id, those that are over included."""
    rows = fetch(conn, Discount, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


OVER = """
SELECT d.id
  FROM discounts d
  JOIN customers c ON c.account_id = d.account_id AND c.id = d.customer_id
  LEFT JOIN test_clocks t ON t.account_id = c.account_id AND t.id = c.clock_id
 WHERE d.account_id = %(account_id)s
   AND d.id = ANY(%(ids)s)
   AND (d.deleted_at IS NOT NULL
        OR d.used_invoice_id IS NOT NULL
        OR d.end_at <= coalesce(t.frozen_at, %(now)s))
"""


def over(conn: Connection, account_id: int, ids: Iterable[str], *, now: datetime) -> set[str]:
    """Those of the discounts that take nothing off any more, as it is ``now`` by the wall clock."""
    parameters = {"account_id": account_id, "ids": list(ids), "now": now}
    return {row[0] for row in conn.execute(OVER, parameters)}


USE_UP = """
UPDATE discounts d
   SET used_invoice_id = r.invoice_id
  FROM unnest(%(ids)s::text[], %(invoice_ids)s::text[]) AS r (id, invoice_id)
 WHERE d.account_id = %(account_id)s
   AND d.id = r.id
   AND d.duration = 'once'
   AND d.used_invoice_id IS NULL
RETURNING d.id, d.coupon_id, d.customer_id, d.start_at, d.duration, d.end_at, d.promotion_code_id,
          d.subscription_id, d.subscription_item_id, d.invoice_id, d.invoice_item_id,
          d.used_invoice_id, d.deleted_at
"""


def use_up(
    conn: Connection, account_id: int, invoice_by_discount: Mapping[str, str]
) -> list[Discount]:
    """Note the invoice that used up each discount that is for once; those that it did."""
    parameters = {
        "account_id": account_id,
        "ids": list(invoice_by_discount),
        "invoice_ids": list(invoice_by_discount.values()),
    }
    return fetch(conn, Discount, USE_UP, parameters)


DELETE = """
UPDATE discounts
   SET deleted_at = %(now)s
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND deleted_at IS NULL
RETURNING id, coupon_id, customer_id, start_at, duration, end_at, promotion_code_id,
          subscription_id, subscription_item_id, invoice_id, invoice_item_id, used_invoice_id,
          deleted_at
"""


def delete_many(
    conn: Connection, account_id: int, ids: Iterable[str], *, now: datetime
) -> list[Discount]:
    """Take the discounts off what they were on, from ``now`` on; those that were still on it."""
    parameters = {"account_id": account_id, "ids": list(ids), "now": now}
    return fetch(conn, Discount, DELETE, parameters)


HAVE_BOUGHT = """
SELECT c.id
  FROM unnest(%(customer_ids)s::text[]) AS c(id)
 WHERE EXISTS (
       SELECT
         FROM invoices i
        WHERE i.account_id = %(account_id)s
          AND i.customer_id = c.id
          AND i.status IN ('open', 'paid', 'uncollectible'))
"""


def have_bought(conn: Connection, account_id: int, customer_ids: Iterable[str]) -> set[str]:
    """Those of the customers who have had a final invoice that was not voided."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    return {row[0] for row in conn.execute(HAVE_BOUGHT, parameters)}
