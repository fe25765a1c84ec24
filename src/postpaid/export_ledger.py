"""The ledger → a CSV journal that bookkeeping can import, however long it is."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import IO

from postpaid.core.calendar_windows import months_between
from postpaid.core.ledger import LedgerAccount, LedgerKind
from postpaid.core.money import EXACT, MINOR_UNITS
from postpaid.serving import CannotRun
from postpaid.storage import ledger_reports, usage_exports
from postpaid.storage.database import Connection
from postpaid.storage.ledger_reports import JournalRow, RevenuePeriod

HEADER = (
    "date",
    "transaction",
    "account",
    "debit",
    "credit",
    "currency",
    "customer",
    "invoice",
    "service_start",
    "service_end",
    "description",
)
DESCRIPTIONS = {
    LedgerKind.INVOICE_FINALIZED: "Invoice finalized",
    LedgerKind.INVOICE_VOIDED: "Invoice voided",
    LedgerKind.INVOICE_UNCOLLECTIBLE: "Invoice written off",
    LedgerKind.PAYMENT: "Payment",
    LedgerKind.PAYMENT_OUT_OF_BAND: "Payment out of band",
    LedgerKind.PAYMENT_UNAPPLIED: "Payment without an invoice",
    LedgerKind.PAYMENT_APPLIED: "Payment applied",
    LedgerKind.PAYMENT_EXCESS: "Payment beyond what was owed",
    LedgerKind.REFUND: "Refund",
    LedgerKind.REFUND_FAILED: "Refund failed",
    LedgerKind.CREDIT_NOTE: "Credit note",
    LedgerKind.CREDIT_NOTE_VOIDED: "Credit note voided",
    LedgerKind.BALANCE_ADJUSTED: "Customer balance adjusted",
    LedgerKind.CREDIT_GRANTED: "Credit granted",
    LedgerKind.CREDIT_EXPIRED: "Credit expired",
    LedgerKind.CREDIT_VOIDED: "Credit voided",
}
TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The days of ``[start, end)``, and until when earning is written out by month, if at all."""

    zone: tzinfo
    start: datetime | None = None
    end: datetime | None = None
    recognized_until: datetime | None = None


def export_journal(conn: Connection, account_id: int, target: Path, wanted: Wanted) -> int:
    """Write the journal to a file; return how many rows it has.

    At the beginning of a transaction. The file gets its name when it is whole. Raises
    ``CannotRun``.
    """
    usage_exports.hold_still(conn)
    count = 0
    with _finished(target) as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in _rows(conn, account_id, wanted):
            writer.writerow(row)
            count += 1
    return count


@contextmanager
def _finished(target: Path) -> Iterator[IO[str]]:
    """A file that gets its name at the end. Raises ``CannotRun``."""
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(part, target)
    except OSError as error:
        raise CannotRun(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _rows(conn: Connection, account_id: int, wanted: Wanted) -> Iterator[tuple[str, ...]]:
    for row in ledger_reports.journal(conn, account_id, start=wanted.start, end=wanted.end):
        yield _entry(row, wanted.zone)
    if wanted.recognized_until is None:
        return
    since = wanted.start or ledger_reports.first_at(conn, account_id)
    if since is None or since >= wanted.recognized_until:
        return
    for month in months_between(since, wanted.recognized_until, wanted.zone):
        yield from _recognized(
            ledger_reports.revenue_periods(conn, account_id, [month]), wanted.zone
        )


def _entry(row: JournalRow, zone: tzinfo) -> tuple[str, ...]:
    return (
        _day(row.created_at, zone),
        row.transaction_id,
        row.ledger_account,
        *_sides(row.amount, row.currency),
        row.currency.upper(),
        row.customer_id or "",
        row.invoice_number or "",
        "" if row.period_start is None else _day(row.period_start, zone),
        "" if row.period_end is None else _day(row.period_end - TICK, zone),
        f"{DESCRIPTIONS[row.kind]} {row.source_id}",
    )


def _recognized(periods: Iterable[RevenuePeriod], zone: tzinfo) -> Iterator[tuple[str, ...]]:
    """What a month has earned of deferred revenue, as one transaction in each currency."""
    for period in periods:
        if not period.recognized:
            continue
        month = f"{period.start_at.astimezone(zone):%Y-%m}"
        for account, amount in (
            (LedgerAccount.DEFERRED_REVENUE, period.recognized),
            (LedgerAccount.REVENUE, -period.recognized),
        ):
            yield (
                _day(period.end_at - TICK, zone),
                f"recognized-{month}-{period.currency}",
                account,
                *_sides(amount, period.currency),
                period.currency.upper(),
                "",
                "",
                _day(period.start_at, zone),
                _day(period.end_at - TICK, zone),
                f"Revenue recognized in {month}",
            )


def _day(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d}"


def _sides(amount: int, currency: str) -> tuple[str, str]:
    """The amount in units of the currency, "12.50", as a debit or as a credit."""
    text = format(EXACT.scaleb(Decimal(abs(amount)), -MINOR_UNITS[currency]), "f")
    return (text, "") if amount > 0 else ("", text)
