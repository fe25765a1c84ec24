"""Tax rates."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from postpaid.core.tax_rates import TaxRate
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page

INSERT = """
INSERT INTO tax_rates (account_id, id, display_name, percentage, inclusive, created_at, active,
                       country, description, jurisdiction, state, tax_type, metadata)
VALUES (%(account_id)s, %(id)s, %(display_name)s, %(percentage)s, %(inclusive)s, %(created_at)s,
        %(active)s, %(country)s, %(description)s, %(jurisdiction)s, %(state)s, %(tax_type)s,
        %(metadata)s)
"""


def insert(conn: Connection, account_id: int, tax_rate: TaxRate) -> None:
    """Add a tax rate."""
    conn.execute(INSERT, _parameters(account_id, tax_rate))


UPDATE = """
UPDATE tax_rates
   SET display_name = %(display_name)s, active = %(active)s, country = %(country)s,
       description = %(description)s, jurisdiction = %(jurisdiction)s, state = %(state)s,
       tax_type = %(tax_type)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, tax_rate: TaxRate) -> None:
    """Write what can change of the tax rate, which the caller has locked."""
    conn.execute(UPDATE, _parameters(account_id, tax_rate))


LOAD = """
SELECT id, display_name, percentage, inclusive, created_at, active, country, description,
       jurisdiction, state, tax_type, metadata
  FROM tax_rates
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, TaxRate]:
    """The tax rates by id."""
    rows = fetch(conn, TaxRate, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK = """
SELECT id, display_name, percentage, inclusive, created_at, active, country, description,
       jurisdiction, state, tax_type, metadata
  FROM tax_rates
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, tax_rate_id: str) -> TaxRate | None:
    """The tax rate, which stays as it is until the transaction ends."""
    return fetch_one(conn, TaxRate, LOCK, {"account_id": account_id, "id": tax_rate_id})


LIST = """
SELECT id, display_name, percentage, inclusive, created_at, active, country, description,
       jurisdiction, state, tax_type, metadata
  FROM tax_rates
 WHERE account_id = %(account_id)s
   AND (%(active)s::boolean IS NULL OR active = %(active)s)
   AND (%(inclusive)s::boolean IS NULL OR inclusive = %(inclusive)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    active: bool | None = None,
    inclusive: bool | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[TaxRate]:
    """Tax rates, newest first."""
    parameters = {
        "account_id": account_id,
        "active": active,
        "inclusive": inclusive,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(conn, TaxRate, LIST, parameters, page, table="tax_rates", what="tax_rate")


def _parameters(account_id: int, tax_rate: TaxRate) -> dict[str, Any]:
    return parameters_of(account_id, tax_rate) | {"metadata": Jsonb(tax_rate.metadata)}
