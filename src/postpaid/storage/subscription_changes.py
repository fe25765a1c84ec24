"""What subscriptions sold before and after each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from postpaid.core.changes import ProrationBehavior
from postpaid.core.plans import ChangeKind, Settlement, SoldState, SubscriptionChange
from postpaid.storage.database import Connection, as_json_rows
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    subscription_id: str
    kind: ChangeKind
    proration: ProrationBehavior
    settlement: Settlement
    settles_at: datetime | None
    amount: int
    invoice_id: str | None
    state_before: Mapping[str, Any]
    state_after: Mapping[str, Any]
    effective_at: datetime
    created_at: datetime


COLUMNS = (
    "id",
    "subscription_id",
    "kind",
    "proration",
    "settlement",
    "settles_at",
    "amount",
    "invoice_id",
    "state_before",
    "state_after",
    "effective_at",
    "created_at",
)

INSERT = """
INSERT INTO subscription_changes (
       account_id, id, subscription_id, kind, proration, settlement, settles_at, amount, invoice_id,
       state_before, state_after, effective_at, created_at)
SELECT %(account_id)s, id, subscription_id, kind, proration, settlement, settles_at, amount,
       invoice_id, state_before, state_after, effective_at, created_at
  FROM json_to_recordset(%(rows)s) AS r(
       id text, subscription_id text, kind text, proration text, settlement text,
       settles_at timestamptz, amount bigint, invoice_id text, state_before json, state_after json,
       effective_at timestamptz, created_at timestamptz)
"""


def insert_many(conn: Connection, account_id: int, made: Sequence[SubscriptionChange]) -> None:
    """Write down changes. The caller holds the customers."""
    if made:
        rows = as_json_rows(made, COLUMNS)
        conn.execute(INSERT, {"account_id": account_id, "rows": rows})


OF_SUBSCRIPTION = """
SELECT id, subscription_id, kind, proration, settlement, settles_at, amount, invoice_id,
       state_before, state_after, effective_at, created_at
  FROM subscription_changes
 WHERE account_id = %(account_id)s
   AND subscription_id = %(subscription_id)s
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, subscription_id: str
) -> Rows[SubscriptionChange]:
    """The changes of one subscription, newest first."""
    found = fetch_page(
        conn,
        _Row,
        OF_SUBSCRIPTION,
        {"account_id": account_id, "subscription_id": subscription_id},
        page,
        table="subscription_changes",
        what="subscription change",
    )
    return Rows([_change(row) for row in found.rows], found.has_more)


def _change(row: _Row) -> SubscriptionChange:
    values = {name: getattr(row, name) for name in COLUMNS}
    states = {
        name: msgspec.convert(values[name], SoldState, strict=False)
        for name in ("state_before", "state_after")
    }
    return SubscriptionChange(**values | states)
