"""Units of usage bought in advance, and what invoices took of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb

from postpaid.core.unit_credits import UnitCredit, UnitDraw
from postpaid.storage.database import (
    Connection,
    as_json_rows,
    copy_into,
    fetch,
    parameters_of,
    values_of,
)
from postpaid.storage.paging import Page, Rows, fetch_page

DRAW_COLUMNS = (
    "id",
    "credit_id",
    "invoice_id",
    "meter_id",
    "period_start",
    "period_end",
    "quantity",
    "drawn_at",
    "returned_at",
)
_draw_values = values_of(*DRAW_COLUMNS)

INSERT = """
INSERT INTO unit_credits (account_id, id, customer_id, clock_id, product_id, granted, used,
                         is_limited, expires_at, metadata, created_at, updated_at)
VALUES (%(account_id)s, %(id)s, %(customer_id)s, %(clock_id)s, %(product_id)s, %(granted)s,
        %(used)s, %(is_limited)s, %(expires_at)s, %(metadata)s, %(created_at)s, %(updated_at)s)
"""


def insert(conn: Connection, account_id: int, credit: UnitCredit) -> None:
    """Write a new credit. The caller holds the customer."""
    parameters = parameters_of(account_id, credit) | {"metadata": Jsonb(dict(credit.metadata))}
    conn.execute(INSERT, parameters)


LOAD = """
SELECT id, customer_id, clock_id, product_id, granted, used, is_limited, expires_at, created_at,
       updated_at, metadata
  FROM unit_credits
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, UnitCredit]:
    """The credits by id."""
    rows = fetch(conn, UnitCredit, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


UNUSED = """
SELECT id, customer_id, clock_id, product_id, granted, used, is_limited, expires_at, created_at,
       updated_at, metadata
  FROM unit_credits
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND used < granted
   AND (%(expires_after)s::timestamptz IS NULL
        OR expires_at IS NULL
        OR expires_at > %(expires_after)s)
 ORDER BY id
"""


def unused(
    conn: Connection,
    account_id: int,
    customer_ids: Iterable[str],
    *,
    expires_after: datetime | None = None,
) -> defaultdict[str, list[UnitCredit]]:
    """Each customer's credits of which something is left, oldest first."""
    found: defaultdict[str, list[UnitCredit]] = defaultdict(list)
    parameters = {
        "account_id": account_id,
        "customer_ids": list(customer_ids),
        "expires_after": expires_after,
    }
    for credit in fetch(conn, UnitCredit, UNUSED, parameters):
        found[credit.customer_id].append(credit)
    return found


UNEXPIRED = """
SELECT id, customer_id, clock_id, product_id, granted, used, is_limited, expires_at, created_at,
       updated_at, metadata
  FROM unit_credits
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND (expires_at IS NULL OR expires_at > %(at)s)
 ORDER BY id
"""


def unexpired(
    conn: Connection, account_id: int, customer_ids: Iterable[str], *, at: datetime
) -> defaultdict[str, list[UnitCredit]]:
    """Each customer's credits that have not expired by then, used up or not, oldest first."""
    found: defaultdict[str, list[UnitCredit]] = defaultdict(list)
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids), "at": at}
    for credit in fetch(conn, UnitCredit, UNEXPIRED, parameters):
        found[credit.customer_id].append(credit)
    return found


LIMIT_USAGE = """
UPDATE customers
   SET usage_is_limited = true
 WHERE account_id = %(account_id)s
   AND id = %(customer_id)s
   AND NOT usage_is_limited
"""


def limit_usage(conn: Connection, account_id: int, customer_id: str) -> None:
    """Note that what limits the customer's usage is to be looked at. The caller holds it."""
    conn.execute(LIMIT_USAGE, {"account_id": account_id, "customer_id": customer_id})


LIST = """
SELECT id, customer_id, clock_id, product_id, granted, used, is_limited, expires_at, created_at,
       updated_at, metadata
  FROM unit_credits
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(product_id)s::text IS NULL OR product_id = %(product_id)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    product_id: str | None = None,
) -> Rows[UnitCredit]:
    """Grants, newest first."""
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "product_id": product_id,
    }
    return fetch_page(
        conn, UnitCredit, LIST, parameters, page, table="unit_credits", what="billing credit"
    )


SOLD_BY = """
SELECT DISTINCT product_id, meter_id
  FROM prices
 WHERE account_id = %(account_id)s
   AND product_id = ANY(%(product_ids)s)
   AND meter_id IS NOT NULL
"""


def sold_by(
    conn: Connection, account_id: int, product_ids: Iterable[str]
) -> Mapping[str, frozenset[str]]:
    """The meters whose usage is sold as each of the products; none is not in it."""
    meters: defaultdict[str, set[str]] = defaultdict(set)
    parameters = {"account_id": account_id, "product_ids": list(product_ids)}
    for product_id, meter_id in conn.execute(SOLD_BY, parameters):
        meters[product_id].add(meter_id)
    return {key: frozenset(each) for key, each in meters.items()}


UPDATE_USED = """
UPDATE unit_credits g
   SET used = r.used, updated_at = r.updated_at
  FROM json_to_recordset(%(rows)s) AS r(id text, used numeric, updated_at timestamptz)
 WHERE g.account_id = %(account_id)s
   AND g.id = r.id
"""


def update_used(conn: Connection, account_id: int, credits: Sequence[UnitCredit]) -> None:
    """Write how much of the credits is used. The caller holds the customers."""
    if credits:
        rows = as_json_rows(credits, ("id", "used", "updated_at"))
        conn.execute(UPDATE_USED, {"account_id": account_id, "rows": rows})


# ─── Draws ───────────────────────────────────────────────────────────────────────────────────


def insert_draws(conn: Connection, account_id: int, draws: Sequence[UnitDraw]) -> None:
    """Write what invoices take of credits. The caller holds the customers."""
    if draws:
        copy_into(
            conn,
            "unit_draws",
            ("account_id", *DRAW_COLUMNS),
            ((account_id, *_draw_values(each)) for each in draws),
        )


RETURN_DRAWS = """
WITH returned AS (
    UPDATE unit_draws
       SET returned_at = %(now)s
     WHERE account_id = %(account_id)s
       AND invoice_id = ANY(%(invoice_ids)s)
       AND returned_at IS NULL
 RETURNING credit_id, quantity
)
UPDATE unit_credits g
   SET used = g.used - r.quantity, updated_at = %(now)s
  FROM (SELECT credit_id, sum(quantity) AS quantity FROM returned GROUP BY credit_id) AS r
 WHERE g.account_id = %(account_id)s
   AND g.id = r.credit_id
"""


def return_draws(
    conn: Connection, account_id: int, invoice_ids: Sequence[str], *, now: datetime
) -> None:
    """Give back what the invoices took. The caller holds the customers."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids), "now": now}
    conn.execute(RETURN_DRAWS, parameters)


DRAWS_OF = """
SELECT id, credit_id, invoice_id, meter_id, period_start, period_end, quantity, drawn_at,
       returned_at
  FROM unit_draws
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 ORDER BY id
"""


def draws_of(conn: Connection, account_id: int, invoice_ids: Iterable[str]) -> list[UnitDraw]:
    """What the invoices took of credits, what they gave back included."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    return fetch(conn, UnitDraw, DRAWS_OF, parameters)


DRAWN_BY = """
SELECT invoice_id, meter_id, sum(quantity)
  FROM unit_draws
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 GROUP BY invoice_id, meter_id
"""


def drawn_by(
    conn: Connection, account_id: int, invoice_ids: Iterable[str]
) -> dict[tuple[str, str], Decimal]:
    """How many units each invoice took for each meter, those included that it gave back."""
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    rows = conn.execute(DRAWN_BY, parameters)
    return {(invoice_id, meter_id): quantity for invoice_id, meter_id, quantity in rows}
