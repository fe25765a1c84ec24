"""The items of subscriptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from postpaid.core.subscriptions import Item
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of

COLUMNS = (
    "id",
    "subscription_id",
    "price_id",
    "quantity",
    "period_index",
    "period_start",
    "period_end",
    "metadata",
    "created_at",
    "generation",
    "usage_from",
    "usage_price_id",
    "billed_quantity",
    "billed_amount",
    "charge_ids",
    "discount_ids",
    "tax_rate_ids",
    "threshold_usage",
)
CHANGING = (
    "id",
    "price_id",
    "quantity",
    "period_index",
    "period_start",
    "period_end",
    "metadata",
    "generation",
    "usage_from",
    "usage_price_id",
    "billed_quantity",
    "billed_amount",
    "charge_ids",
    "discount_ids",
    "tax_rate_ids",
    "threshold_usage",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, items: Sequence[Item]) -> None:
    """Write new items of subscriptions. The caller holds the customers."""
    if items:
        copy_into(
            conn,
            "subscription_items",
            ("account_id", *COLUMNS),
            ((account_id, *_values(item)) for item in items),
        )


OF_SUBSCRIPTIONS = """
SELECT id, subscription_id, price_id, quantity, period_index, period_start, period_end, metadata,
       created_at, generation, usage_from, usage_price_id, billed_quantity, billed_amount,
       charge_ids, discount_ids, tax_rate_ids, threshold_usage
  FROM subscription_items
 WHERE account_id = %(account_id)s
   AND subscription_id = ANY(%(subscription_ids)s)
 ORDER BY id
"""


def of_subscriptions(
    conn: Connection, account_id: int, subscription_ids: Sequence[str]
) -> dict[str, list[Item]]:
    """The items of each of the subscriptions that has any, oldest first, by its id."""
    items: defaultdict[str, list[Item]] = defaultdict(list)
    parameters = {"account_id": account_id, "subscription_ids": list(subscription_ids)}
    for item in fetch(conn, Item, OF_SUBSCRIPTIONS, parameters):
        items[item.subscription_id].append(item)
    return items


DELETE = """
DELETE FROM subscription_items
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def delete_many(conn: Connection, account_id: int, ids: Sequence[str]) -> None:
    """Take items off their subscriptions. The caller holds the customers."""
    if ids:
        conn.execute(DELETE, {"account_id": account_id, "ids": list(ids)})


UPDATE = """
UPDATE subscription_items i
   SET price_id = r.price_id, quantity = r.quantity, period_index = r.period_index,
       period_start = r.period_start, period_end = r.period_end, metadata = r.metadata,
       generation = r.generation, usage_from = r.usage_from, usage_price_id = r.usage_price_id,
       billed_quantity = r.billed_quantity, billed_amount = r.billed_amount,
       charge_ids = r.charge_ids, discount_ids = r.discount_ids, tax_rate_ids = r.tax_rate_ids,
       threshold_usage = r.threshold_usage
  FROM json_to_recordset(%(rows)s) AS r(
       id text, price_id text, quantity bigint, period_index integer, period_start timestamptz,
       period_end timestamptz, metadata jsonb,
       generation integer, usage_from timestamptz, usage_price_id text, billed_quantity numeric,
       billed_amount bigint, charge_ids text[], discount_ids text[], tax_rate_ids text[],
       threshold_usage numeric)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
"""


def update_many(conn: Connection, account_id: int, items: Sequence[Item]) -> None:
    """Write what can change of items. The caller holds the customers."""
    if items:
        rows = as_json_rows(items, CHANGING)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})
