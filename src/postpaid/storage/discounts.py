"""Discounts: coupons that were redeemed, and for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.discounts import Discount
from postpaid.storage.database import Connection, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

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


REDEMPTIONS = """
SELECT promotion_code_id, customer_id, count(*)
  FROM discounts
 WHERE account_id = %(account_id)s
   AND promotion_code_id = ANY(%(promotion_code_ids)s)
   AND customer_id = ANY(%(customer_ids)s)
 GROUP BY promotion_code_id, customer_id
"""


def redemptions(
    conn: Connection,
    account_id: int,
    promotion_code_ids: Iterable[str],
    customer_ids: Iterable[str],
) -> dict[tuple[str, str], int]:
    """How often each customer has redeemed each promotion code, by code and customer."""
    parameters = {
        "account_id": account_id,
        "promotion_code_ids": list(promotion_code_ids),
        "customer_ids": list(customer_ids),
    }
    return {(row[0], row[1]): row[2] for row in conn.execute(REDEMPTIONS, parameters)}


LIST = """
SELECT id, coupon_id, customer_id, start_at, duration, end_at, promotion_code_id, subscription_id,
       subscription_item_id, invoice_id, invoice_item_id, used_invoice_id, deleted_at
  FROM discounts
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(coupon_id)s::text IS NULL OR coupon_id = %(coupon_id)s)
   AND (%(promotion_code_id)s::text IS NULL OR promotion_code_id = %(promotion_code_id)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    coupon_id: str | None = None,
    promotion_code_id: str | None = None,
) -> Rows[Discount]:
    """Discounts, newest first, those that are over included."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "coupon_id": coupon_id,
        "promotion_code_id": promotion_code_id,
    }
    return fetch_page(conn, Discount, LIST, parameters, page, table="discounts", what="discount")


TAKEN_OFF = """
SELECT DISTINCT ON (t.discount_id) t.discount_id, t.currency, t.amount, t.place
  FROM (SELECT o.discount_id, i.currency, sum(o.amount::bigint)::bigint AS amount,
               max(i.id) AS latest_id, (array_agg(o.place ORDER BY i.id DESC))[1] AS place
          FROM invoices i
         CROSS JOIN LATERAL json_each_text(i.total_discounts) WITH ORDINALITY
            AS o(discount_id, amount, place)
         WHERE i.account_id = %(account_id)s
           AND i.customer_id = ANY(%(customer_ids)s)
           AND i.status IN ('open', 'paid', 'uncollectible')
           AND o.discount_id = ANY(%(ids)s)
         GROUP BY o.discount_id, i.currency) AS t
 ORDER BY t.discount_id, t.latest_id DESC
"""


@dataclass(frozen=True, slots=True)
class TakenOff:
    """What a discount took off final invoices that stand, in the currency of the latest of them.

    ``place`` is which of that invoice's discounts it is, from 1.
    """

    discount_id: str
    currency: str
    amount: int
    place: int


def taken_off(conn: Connection, account_id: int, some: Sequence[Discount]) -> dict[str, TakenOff]:
    """What each of the discounts took off, by id; one that took nothing off is left out."""
    parameters = {
        "account_id": account_id,
        "customer_ids": list({each.customer_id for each in some}),
        "ids": [each.id for each in some],
    }
    return {row.discount_id: row for row in fetch(conn, TakenOff, TAKEN_OFF, parameters)}
