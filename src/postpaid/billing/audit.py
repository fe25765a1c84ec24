"""Run the invariants, and rate every finalized usage line again from its events."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from postpaid.core.invoicing import Obligation, lines_of
from postpaid.core.metering import UsageTotal, billable_quantity
from postpaid.storage import catalog, checks, meters
from postpaid.storage.database import Connection, Database

BATCH = 1000  # obligations rated again in one go


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold, and the rows that show it."""

    invariant: int
    sentence: str
    rows: list[tuple[Any, ...]]


def audit(database: Database) -> list[Finding]:
    """Everything that is not as it should be; empty is how it should be."""
    with database.connection() as conn:
        findings = [
            Finding(check.invariant, check.sentence, rows)
            for check in checks.CHECKS
            if (rows := checks.run(conn, check))
        ]
        if wrong := _wrongly_rated(conn):
            sentence = "A line is not what its events and its price come to."
            findings.append(Finding(13, sentence, wrong))
    return findings


def _wrongly_rated(conn: Connection) -> list[tuple[Any, ...]]:
    """Lines that differ from what their window's events are rated at.

    A window in which events arrived after its invoice was final cannot be compared by quantity: the
    invoice was right about what was known. Its lines are compared at the quantity they billed.
    """
    wrong: list[tuple[Any, ...]] = []
    after = (0, "")
    while batch := checks.billed_usage(conn, after, limit=BATCH):
        by_account: dict[int, list[checks.BilledLine]] = {}
        for line in batch:
            by_account.setdefault(line.account_id, []).append(line)
        for account_id, lines in by_account.items():
            sold = catalog.load_sold(conn, account_id, {line.price_id or "" for line in lines})
            meter_by_id = meters.load(conn, account_id, {line.meter_id or "" for line in lines})
            for name, group in groupby(lines, key=lambda line: line.obligation):
                billed = list(group)
                first = billed[0]
                quantity = sum((line.quantity for line in billed), Decimal(0))
                if not first.late_events:
                    total = UsageTotal(
                        first.events_sum or Decimal(0),
                        first.events_count,
                        first.events_last,
                        None if first.events_last is None else first.period_start,
                    )
                    aggregation = meter_by_id[first.meter_id or ""].aggregation
                    quantity = billable_quantity(aggregation, total)
                owed = Obligation(
                    name,
                    first.subscription_id or "",
                    first.subscription_item_id or "",
                    first.period_start,
                    first.period_end,
                    first.metadata,
                )
                expected = lines_of(owed, sold[first.price_id or ""], quantity)
                if [(each.quantity, each.amount) for each in expected] != [
                    (each.quantity, each.amount) for each in billed
                ]:
                    wrong.append(
                        (
                            account_id,
                            first.invoice_id,
                            name,
                            [str(each.amount) for each in billed],
                            [str(each.amount) for each in expected],
                        )
                    )
        after = (batch[-1].account_id, batch[-1].obligation)
    return wrong
