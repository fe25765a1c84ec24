"""Price phases of products and subscriptions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.core.price_phases import PricePhase
from postpaid.storage.database import Connection, as_json_rows, fetch

COLUMNS = (
    "id",
    "product_id",
    "subscription_id",
    "ordinal",
    "name",
    "pricing_type",
    "amount",
    "discount_percentage",
    "period_count",
    "price_id",
    "base_price_id",
    "started_at",
    "ended_at",
    "created_at",
    "updated_at",
)

WRITE = """
INSERT INTO price_phases AS p (
       account_id, id, product_id, subscription_id, ordinal, name, pricing_type, amount,
       discount_percentage, period_count, price_id, base_price_id, started_at, ended_at,
       created_at, updated_at)
SELECT %(account_id)s, id, product_id, subscription_id, ordinal, name, pricing_type, amount,
       discount_percentage, period_count, price_id, base_price_id, started_at, ended_at,
       created_at, updated_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, product_id text, subscription_id text, ordinal integer, name text,
       pricing_type text, amount bigint, discount_percentage numeric, period_count integer,
       price_id text, base_price_id text, started_at timestamptz, ended_at timestamptz,
       created_at timestamptz, updated_at timestamptz)
    ON CONFLICT (account_id, id) DO UPDATE
   SET ordinal = excluded.ordinal, name = excluded.name, pricing_type = excluded.pricing_type,
       amount = excluded.amount, discount_percentage = excluded.discount_percentage,
       period_count = excluded.period_count, price_id = excluded.price_id,
       started_at = excluded.started_at, ended_at = excluded.ended_at,
       updated_at = excluded.updated_at
"""


def write_many(conn: Connection, account_id: int, phases: Sequence[PricePhase]) -> None:
    """Add phases, or write what can change of those that are there.

    The caller holds the product, or the subscription's customer.
    """
    if phases:
        rows = as_json_rows(phases, COLUMNS)
        conn.execute(WRITE, {"account_id": account_id, "rows": rows})


DELETE = """
DELETE FROM price_phases
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND started_at IS NULL
"""


def delete_unstarted(conn: Connection, account_id: int, ids: Collection[str]) -> None:
    """Forget those of the phases that never began. No statement for none."""
    if ids:
        conn.execute(DELETE, {"account_id": account_id, "ids": list(ids)})


@dataclass(frozen=True, slots=True)
class Turn:
    """That a phase started, or ended."""

    id: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


TURN = """
UPDATE price_phases p
   SET started_at = coalesce(p.started_at, r.started_at),
       ended_at = coalesce(p.ended_at, greatest(r.ended_at, p.started_at))
  FROM json_to_recordset(%(rows)s) AS r(
       id text, started_at timestamptz, ended_at timestamptz)
 WHERE p.account_id = %(account_id)s
   AND p.id = r.id
"""


def turn(conn: Connection, account_id: int, turns: Sequence[Turn]) -> None:
    """Write when phases started and ended, each once. No statement for none."""
    if turns:
        rows = as_json_rows(turns, ("id", "started_at", "ended_at"))
        conn.execute(TURN, {"account_id": account_id, "rows": rows})


@dataclass(frozen=True, slots=True)
class Sells:
    """At which prices a subscription sells from a moment on; one that has ended sells nothing."""

    subscription_id: str
    since: datetime
    price_ids: Sequence[str] = ()


END_UNSOLD = """
UPDATE price_phases p
   SET ended_at = greatest(r.since, p.started_at)
  FROM json_to_recordset(%(rows)s) AS r(
       subscription_id text, since timestamptz, price_ids text[])
 WHERE p.account_id = %(account_id)s
   AND p.subscription_id = r.subscription_id
   AND p.started_at IS NOT NULL
   AND p.ended_at IS NULL
   AND p.price_id <> ALL (r.price_ids)
"""


def end_unsold(conn: Connection, account_id: int, sells: Sequence[Sells]) -> None:
    """End the running phases at whose prices their subscriptions do not sell any more.

    The caller holds the customers. No statement for none.
    """
    if sells:
        rows = as_json_rows(sells, ("subscription_id", "since", "price_ids"))
        conn.execute(END_UNSOLD, {"account_id": account_id, "rows": rows})


OF_PRODUCTS = """
SELECT id, product_id, subscription_id, ordinal, name, pricing_type, amount, discount_percentage,
       period_count, price_id, base_price_id, started_at, ended_at, created_at, updated_at
  FROM price_phases
 WHERE account_id = %(account_id)s
   AND product_id = ANY(%(ids)s)
 ORDER BY ordinal
"""


def of_products(
    conn: Connection, account_id: int, ids: Iterable[str]
) -> dict[str, list[PricePhase]]:
    """The products' phases in their order, by product; of each at most a few."""
    asked = list(ids)
    rows = fetch(conn, PricePhase, OF_PRODUCTS, {"account_id": account_id, "ids": asked})
    return _grouped(rows, asked)


OF_SUBSCRIPTIONS = """
SELECT id, product_id, subscription_id, ordinal, name, pricing_type, amount, discount_percentage,
       period_count, price_id, base_price_id, started_at, ended_at, created_at, updated_at
  FROM price_phases
 WHERE account_id = %(account_id)s
   AND subscription_id = ANY(%(ids)s)
 ORDER BY ordinal
"""


def of_subscriptions(
    conn: Connection, account_id: int, ids: Iterable[str]
) -> dict[str, list[PricePhase]]:
    """The subscriptions' phases in their order, by subscription; of each at most a few."""
    asked = list(ids)
    rows = fetch(conn, PricePhase, OF_SUBSCRIPTIONS, {"account_id": account_id, "ids": asked})
    return _grouped(rows, asked)


def _grouped(rows: Sequence[PricePhase], ids: Sequence[str]) -> dict[str, list[PricePhase]]:
    grouped: dict[str, list[PricePhase]] = {each: [] for each in ids}
    for row in rows:
        grouped[row.product_id or row.subscription_id or ""].append(row)
    return grouped
