"""The lines of invoices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from postpaid.core.errors import Conflict
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line
from postpaid.storage.database import Connection, copy_into, fetch, values_of

COLUMNS = (
    "id",
    "obligation",
    "part",
    "subscription_id",
    "subscription_item_id",
    "price_id",
    "product_id",
    "meter_id",
    "period_start",
    "period_end",
    "quantity",
    "unit_amount",
    "tier",
    "kind",
    "amount",
    "description",
    "metadata",
    "invoice_item_id",
    "proration",
    "discountable",
    "credited",
    "discount_ids",
    "tax_rate_ids",
    "discounts",
    "credits",
    "taxes",
    "whole_seconds",
)
_values = values_of(*COLUMNS)


def insert(conn: Connection, account_id: int, invoices: Sequence[Invoice]) -> None:
    """Write the lines of the invoices, in their order.

    Raises ``Conflict`` when an obligation is already on a live invoice: someone billed it first.
    """
    try:
        copy_into(
            conn,
            "invoice_lines",
            ("account_id", "invoice_id", "position", *COLUMNS),
            (
                (account_id, each.id, position, *_values(line))
                for each in invoices
                for position, line in enumerate(each.lines)
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "invoice_lines_billed_once":
            raise Conflict("This period was invoiced by someone else just now.") from error
        raise


@dataclass(frozen=True)
class _PlacedLine(Line):
    """A line and the invoice it is on."""

    invoice_id: str = ""


LOAD = """
SELECT invoice_id, id, obligation, part, subscription_id, subscription_item_id, price_id,
       product_id, meter_id, period_start, period_end, quantity, unit_amount, tier, kind, amount,
       description, metadata, invoice_item_id, proration, discountable, credited, discount_ids,
       tax_rate_ids, discounts, credits, taxes, whole_seconds
  FROM invoice_lines
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
 ORDER BY invoice_id, position
"""


def load_lines(
    conn: Connection, account_id: int, invoice_ids: Sequence[str]
) -> defaultdict[str, list[Line]]:
    """The lines of each invoice, in their order; an empty list for one without."""
    found: defaultdict[str, list[Line]] = defaultdict(list)
    parameters = {"account_id": account_id, "invoice_ids": list(invoice_ids)}
    for line in fetch(conn, _PlacedLine, LOAD, parameters):
        found[line.invoice_id].append(line)
    return found


RELEASE = """
UPDATE invoice_lines
   SET live = false
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
"""


def release(conn: Connection, account_id: int, invoice_ids: Sequence[str]) -> None:
    """Let what voided invoices billed be billed again."""
    conn.execute(RELEASE, {"account_id": account_id, "invoice_ids": list(invoice_ids)})


DELETE = """
DELETE FROM invoice_lines
 WHERE account_id = %(account_id)s
   AND invoice_id = ANY(%(invoice_ids)s)
"""


def delete(conn: Connection, account_id: int, invoice_ids: Sequence[str]) -> None:
    """Forget all lines of drafts. The caller holds the customers."""
    conn.execute(DELETE, {"account_id": account_id, "invoice_ids": list(invoice_ids)})
