"""The account's sequence of invoice numbers, and which numbers are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postpaid.core.invoicing import Numbering
from postpaid.storage.database import Connection, fetch_one


@dataclass(frozen=True, slots=True)
class Taken:
    """Numbers with the ``prefix``, from ``first`` on, that are the taker's."""

    prefix: str
    first: int


TAKE = """
UPDATE accounts
   SET next_invoice_sequence = next_invoice_sequence + %(count)s
 WHERE account_id = %(account_id)s
   AND invoice_numbering = 'account'
RETURNING invoice_prefix AS prefix, next_invoice_sequence - %(count)s AS first
"""


def take(conn: Connection, account_id: int, count: int) -> Taken | None:
    """The account's next ``count`` numbers; None where each customer has a sequence of its own.

    Until the transaction ends nobody else gets any, so that one that fails leaves no gap.
    """
    return fetch_one(conn, Taken, TAKE, {"account_id": account_id, "count": count})


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """How an account's invoices are numbered, where its days begin, and how it is paid.

    ``retry_schedule_id`` is None for the built-in one. A renewal is announced ``upcoming_days``
    before (None: not at all), and a sent invoice is called to mind ``reminder_days`` before it is
    due.
    """

    invoice_numbering: Numbering
    invoice_prefix: str | None
    next_invoice_sequence: int
    time_zone: str
    retry_schedule_id: str | None
    upcoming_days: int | None
    reminder_days: Sequence[int]


LOCK_SETTINGS = """
SELECT invoice_numbering, invoice_prefix, next_invoice_sequence, time_zone, retry_schedule_id,
       upcoming_days, reminder_days
  FROM accounts
 WHERE account_id = %(account_id)s
   FOR NO KEY UPDATE
"""

LOAD_SETTINGS = """
SELECT invoice_numbering, invoice_prefix, next_invoice_sequence, time_zone, retry_schedule_id,
       upcoming_days, reminder_days
  FROM accounts
 WHERE account_id = %(account_id)s
"""


def lock_settings(conn: Connection, account_id: int) -> BillingSettings:
    """The account's settings, which are ours until the transaction ends."""
    found = fetch_one(conn, BillingSettings, LOCK_SETTINGS, {"account_id": account_id})
    assert found is not None, "an act has an account"
    return found


def load_settings(conn: Connection, account_id: int) -> BillingSettings:
    """The account's settings as they are."""
    found = fetch_one(conn, BillingSettings, LOAD_SETTINGS, {"account_id": account_id})
    assert found is not None, "an act has an account"
    return found


UPDATE_SETTINGS = """
UPDATE accounts
   SET invoice_numbering = %(invoice_numbering)s, invoice_prefix = %(invoice_prefix)s,
       time_zone = %(time_zone)s, retry_schedule_id = %(retry_schedule_id)s,
       upcoming_days = %(upcoming_days)s, reminder_days = %(reminder_days)s
 WHERE account_id = %(account_id)s
"""


def update_settings(conn: Connection, account_id: int, settings: BillingSettings) -> None:
    """Write the settings, which the caller has locked; the sequence moves by itself."""
    parameters = {
        "account_id": account_id,
        "invoice_numbering": settings.invoice_numbering,
        "invoice_prefix": settings.invoice_prefix,
        "time_zone": settings.time_zone,
        "retry_schedule_id": settings.retry_schedule_id,
        "upcoming_days": settings.upcoming_days,
        "reminder_days": list(settings.reminder_days),
    }
    conn.execute(UPDATE_SETTINGS, parameters)


IS_TAKEN = """
SELECT EXISTS (
       SELECT
         FROM invoices
        WHERE account_id = %(account_id)s
          AND (number = %(number)s OR given_number = %(number)s)
          AND id <> %(invoice_id)s)
"""


def is_taken(conn: Connection, account_id: int, number: str, *, other_than: str) -> bool:
    """Whether an invoice ``other_than`` this one has the number, or is to have it."""
    parameters = {"account_id": account_id, "number": number, "invoice_id": other_than}
    row = conn.execute(IS_TAKEN, parameters).fetchone()
    return bool(row and row[0])


IS_PREFIX = """
SELECT EXISTS (
       SELECT
         FROM customers
        WHERE account_id = %(account_id)s
          AND invoice_prefix = %(prefix)s)
    OR EXISTS (
       SELECT
         FROM accounts
        WHERE account_id = %(account_id)s
          AND invoice_prefix = %(prefix)s)
"""


def is_prefix(conn: Connection, account_id: int, prefix: str) -> bool:
    """Whether a customer's numbers, or the account's, begin with the prefix."""
    row = conn.execute(IS_PREFIX, {"account_id": account_id, "prefix": prefix}).fetchone()
    return bool(row and row[0])


OTHER_SEQUENCE_USED = """
SELECT EXISTS (
       SELECT
         FROM invoices
        WHERE account_id = %(account_id)s
          AND number >= %(first)s
          AND number < %(beyond)s
          AND numbered_by IS DISTINCT FROM 'account')
    OR EXISTS (
       SELECT
         FROM invoices
        WHERE account_id = %(account_id)s
          AND starts_with(given_number, %(first)s))
"""


def other_sequence_used(conn: Connection, account_id: int, prefix: str) -> bool:
    """Whether an invoice has a number with the prefix that is not from the account's sequence."""
    parameters = {
        "account_id": account_id,
        "first": f"{prefix}-",
        "beyond": f"{prefix}.",  # the character after "-"
    }
    row = conn.execute(OTHER_SEQUENCE_USED, parameters).fetchone()
    return bool(row and row[0])
