"""Prices by what they ask, for whoever knows an amount and not a price's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from postpaid.core.catalog import Price, TaxBehavior
from postpaid.core.money import plain
from postpaid.core.periods import Recurrence
from postpaid.storage import catalog
from postpaid.storage.database import Connection, as_json_rows


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plain price of a product: so much per unit, agreed and not measured, once or recurring."""

    product_id: str
    currency: str
    unit_amount: Decimal  # minor units, exact
    recurrence: Recurrence | None
    tax_behavior: TaxBehavior = TaxBehavior.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class _Row:
    place: int
    product_id: str
    currency: str
    unit_amount: str
    interval: str | None
    interval_count: int | None
    tax_behavior: str


COLUMNS = (
    "place",
    "product_id",
    "currency",
    "unit_amount",
    "interval",
    "interval_count",
    "tax_behavior",
)

FIND_LIKE = """
SELECT r.place, min(p.id)
  FROM json_to_recordset(%(rows)s) AS r(
       place integer, product_id text, currency text, unit_amount numeric, "interval" text,
       interval_count integer, tax_behavior text)
  JOIN prices p
    ON p.account_id = %(account_id)s
   AND p.product_id = r.product_id
   AND p.currency = r.currency
   AND p.unit_amount = r.unit_amount
   AND p.interval IS NOT DISTINCT FROM r.interval
   AND p.interval_count IS NOT DISTINCT FROM r.interval_count
   AND p.tax_behavior = r.tax_behavior
 WHERE p.active
   AND p.usage_type IS DISTINCT FROM 'metered'
   AND p.transform_divide_by IS NULL
 GROUP BY r.place
"""


def find_like(conn: Connection, account_id: int, wanted: Sequence[Wanted]) -> list[Price | None]:
    """For each what is wanted an active price that is just that, the oldest, or None."""
    rows = [
        _Row(
            place,
            each.product_id,
            each.currency,
            plain(each.unit_amount),
            each.recurrence.interval if each.recurrence else None,
            each.recurrence.count if each.recurrence else None,
            each.tax_behavior,
        )
        for place, each in enumerate(wanted)
    ]
    parameters = {"account_id": account_id, "rows": as_json_rows(rows, COLUMNS)}
    found = {int(place): str(key) for place, key in conn.execute(FIND_LIKE, parameters)}
    prices = catalog.load_prices(conn, account_id, set(found.values())) if found else {}
    return [prices.get(found.get(place, "")) for place in range(len(wanted))]
