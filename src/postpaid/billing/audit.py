"""Run the invariants, and rate every finalized usage line again from its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from postpaid.billing.measure import recount
from postpaid.core.lines import Obligation, lines_of
from postpaid.storage import catalog, checks
from postpaid.storage.database import Connection, Database
from postpaid.storage.usage_totals import Window

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

    A window whose events changed after its invoice was final cannot be compared by quantity: the
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
            counted = _recounted(conn, account_id, lines)
            for name, group in groupby(lines, key=lambda line: line.obligation):
                billed = list(group)
                first = billed[0]
                quantity = counted.get(name)
                if quantity is None:
                    quantity = sum((line.quantity for line in billed), Decimal(0))
                owed = Obligation(
                    name,
                    first.subscription_id or "",
                    first.subscription_item_id or "",
                    first.period_start,
                    first.period_end,
                    first.metadata,
                    whole_seconds=first.whole_seconds,
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


def _recounted(
    conn: Connection, account_id: int, lines: Sequence[checks.BilledLine]
) -> dict[str, Decimal]:
    """What the events come to, by obligation, where they are those that were billed."""
    windows = {
        line.obligation: Window(
            line.customer_id, line.meter_id or "", line.period_start, line.period_end
        )
        for line in lines
        if not line.usage_changed
    }
    ended = max(line.period_end for line in lines)
    return recount(conn, account_id, windows, now=ended)
