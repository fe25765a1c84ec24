"""Invoice items: pending ones, and those that are on an invoice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import psycopg

from postpaid.core.errors import Conflict
from postpaid.core.invoice_items import InvoiceItem
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "invoice_id",
    "subscription_id",
    "subscription_item_id",
    "price_id",
    "product_id",
    "meter_id",
    "obligation",
    "part",
    "period_start",
    "period_end",
    "quantity",
    "unit_amount",
    "tier",
    "kind",
    "amount",
    "currency",
    "description",
    "discountable",
    "proration",
    "credited",
    "discount_ids",
    "tax_rate_ids",
    "metadata",
    "created_at",
    "whole_seconds",
    "discounts",
)
CHANGING = (
    "id",
    "invoice_id",
    "price_id",
    "product_id",
    "period_start",
    "period_end",
    "quantity",
    "unit_amount",
    "amount",
    "description",
    "discountable",
    "discount_ids",
    "tax_rate_ids",
    "metadata",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, items: Sequence[InvoiceItem]) -> None:
    """Write new invoice items.

    Raises ``Conflict`` when what one bills is pending already: someone settled it first.
    """
    if not items:
        return
    try:
        copy_into(
            conn,
            "invoice_items",
            ("account_id", *COLUMNS),
            ((account_id, *_values(each)) for each in items),
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "invoice_items_pending_once":
            raise Conflict("This usage was settled by someone else just now.") from error
        raise


LOAD = """
SELECT id, customer_id, clock_id, invoice_id, subscription_id, subscription_item_id, price_id,
       product_id, meter_id, obligation, part, period_start, period_end, quantity, unit_amount,
       tier, kind, amount, currency, description, discountable, proration, credited, discount_ids,
       tax_rate_ids, metadata, created_at, whole_seconds, discounts
  FROM invoice_items
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, InvoiceItem]:
    """The invoice items by id, pending or not."""
    rows = fetch(conn, InvoiceItem, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


PENDING = """
SELECT id, customer_id, clock_id, invoice_id, subscription_id, subscription_item_id, price_id,
       product_id, meter_id, obligation, part, period_start, period_end, quantity, unit_amount,
       tier, kind, amount, currency, description, discountable, proration, credited, discount_ids,
       tax_rate_ids, metadata, created_at, whole_seconds, discounts
  FROM invoice_items
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND invoice_id IS NULL
 ORDER BY id
"""


def pending(
    conn: Connection, account_id: int, customer_ids: Iterable[str]
) -> defaultdict[str, list[InvoiceItem]]:
    """The pending invoice items of each customer, oldest first."""
    found: defaultdict[str, list[InvoiceItem]] = defaultdict(list)
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    for item in fetch(conn, InvoiceItem, PENDING, parameters):
        found[item.customer_id].append(item)
    return found


LIST = """
SELECT id, customer_id, clock_id, invoice_id, subscription_id, subscription_item_id, price_id,
       product_id, meter_id, obligation, part, period_start, period_end, quantity, unit_amount,
       tier, kind, amount, currency, description, discountable, proration, credited, discount_ids,
       tax_rate_ids, metadata, created_at, whole_seconds, discounts
  FROM invoice_items
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(invoice_id)s::text IS NULL OR invoice_id = %(invoice_id)s)
   AND (%(pending)s::boolean IS NULL OR (invoice_id IS NULL) = %(pending)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    invoice_id: str | None = None,
    pending: bool | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[InvoiceItem]:
    """Invoice items, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "invoice_id": invoice_id,
        "pending": pending,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(
        conn, InvoiceItem, LIST, parameters, page, table="invoice_items", what="invoice item"
    )


PUT_ON = """
UPDATE invoice_items i
   SET invoice_id = r.invoice_id
  FROM unnest(%(ids)s::text[], %(invoice_ids)s::text[]) AS r (id, invoice_id)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
   AND i.invoice_id IS NULL
"""


def put_on(conn: Connection, account_id: int, invoice_by_item: Mapping[str, str]) -> None:
    """Note which invoice bills each pending item. The caller holds the customers.

    Raises ``Conflict`` when one is no longer pending.
    """
    if not invoice_by_item:
        return
    parameters = {
        "account_id": account_id,
        "ids": list(invoice_by_item),
        "invoice_ids": list(invoice_by_item.values()),
    }
    if conn.execute(PUT_ON, parameters).rowcount != len(invoice_by_item):
        raise Conflict("An invoice item was put on another invoice just now.")


UPDATE = """
UPDATE invoice_items i
   SET invoice_id = r.invoice_id, price_id = r.price_id, product_id = r.product_id,
       period_start = r.period_start, period_end = r.period_end, quantity = r.quantity,
       unit_amount = r.unit_amount, amount = r.amount, description = r.description,
       discountable = r.discountable, discount_ids = r.discount_ids,
       tax_rate_ids = r.tax_rate_ids, metadata = r.metadata
  FROM json_to_recordset(%(rows)s) AS r(
       id text, invoice_id text, price_id text, product_id text, period_start timestamptz,
       period_end timestamptz, quantity numeric, unit_amount numeric, amount bigint,
       description text, discountable boolean, discount_ids text[], tax_rate_ids text[],
       metadata jsonb)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
"""


def update_many(conn: Connection, account_id: int, items: Sequence[InvoiceItem]) -> None:
    """Write what can change of invoice items. The caller holds the customers."""
    if items:
        rows = as_json_rows(items, CHANGING)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})


DELETE = """
DELETE FROM invoice_items
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def delete_many(conn: Connection, account_id: int, ids: Sequence[str]) -> None:
    """Forget invoice items. The caller holds the customers."""
    if ids:
        conn.execute(DELETE, {"account_id": account_id, "ids": list(ids)})
