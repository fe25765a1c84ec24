"""Usage events whose content was amended, and what they said before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.storage.database import Connection, parameters_of
from postpaid.storage.usage import text_array


@dataclass(frozen=True, slots=True)
class UsageAmendment:
    """What the event of a ``reference`` said until ``amended_at``; ``actor`` is whose key it was.

    ``payload`` is JSON text, without the customer and, unless the meter counts what differs,
    without the value.
    """

    id: str
    reference: str
    occurred_at: datetime
    value: Decimal
    payload: str | None
    amended_at: datetime
    actor: str


INSERT = """
INSERT INTO usage_amendments (account_id, id, reference, occurred_at, value, payload, amended_at,
                             actor)
VALUES (%(account_id)s, %(id)s, %(reference)s, %(occurred_at)s, %(value)s, %(payload)s::json,
        %(amended_at)s, %(actor)s)
"""


def insert(conn: Connection, account_id: int, amendment: UsageAmendment) -> None:
    """Keep what an event said."""
    conn.execute(INSERT, parameters_of(account_id, amendment))


REWRITE = """
UPDATE usage_events
   SET occurred_at = %(occurred_at)s, value = %(value)s, payload = %(payload)s::json
 WHERE account_id = %(account_id)s
   AND segment IN (SELECT segment FROM usage_segments)
   AND reference = %(reference)s
   AND canceled_at IS NULL
"""


def rewrite(
    conn: Connection,
    account_id: int,
    reference: str,
    *,
    occurred_at: datetime,
    value: Decimal,
    payload: str | None,
) -> None:
    """Let the event say this; its totals are the caller's to move, who has ``usage.hold``."""
    conn.execute(
        REWRITE,
        {
            "account_id": account_id,
            "reference": reference,
            "occurred_at": occurred_at,
            "value": value,
            "payload": payload,
        },
    )


LAST_AMENDED = """
SELECT reference, max(amended_at)
  FROM usage_amendments
 WHERE account_id = %(account_id)s
   AND reference = ANY(%(references)s::text[])
 GROUP BY reference
"""


def last_amended(
    conn: Connection, account_id: int, references: Iterable[str]
) -> dict[str, datetime]:
    """When the events were amended last, by reference; those that never were are left out."""
    parameters = {"account_id": account_id, "references": text_array(references)}
    return dict(conn.execute(LAST_AMENDED, parameters).fetchall())


# A first invoice's line of nothing used, of the whole period, bills none of it.
FIND_BILL = """
SELECT i.id
  FROM invoices i
  JOIN invoice_lines l ON l.account_id = i.account_id AND l.invoice_id = i.id
 WHERE i.account_id = %(account_id)s
   AND i.customer_id = %(customer_id)s
   AND i.status NOT IN ('draft', 'void')
   AND l.live
   AND l.meter_id = %(meter_id)s
   AND l.obligation NOT LIKE '%%/opening'
   AND EXISTS (
       SELECT
         FROM unnest(%(instants)s::timestamptz[]) AS u (at)
        WHERE l.period_end > u.at
          AND (l.period_start <= u.at OR %(lasting)s))
 ORDER BY i.id
 LIMIT 1
"""


def find_bill(
    conn: Connection,
    account_id: int,
    customer_id: str,
    meter_id: str,
    instants: Sequence[datetime],
    *,
    lasting: bool,
) -> str | None:
    """The first final invoice that bills the customer's usage of the meter at one of the instants.

    ``lasting``: or after it, because what an event sets there lasts. The caller has the customer.
    """
    parameters = {
        "account_id": account_id,
        "customer_id": customer_id,
        "meter_id": meter_id,
        "instants": list(instants),
        "lasting": lasting,
    }
    row = conn.execute(FIND_BILL, parameters).fetchone()
    return None if row is None else row[0]
