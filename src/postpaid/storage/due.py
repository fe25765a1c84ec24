"""When the next thing is due: queries over the business rows, for the passes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from postpaid.core.credits import EXPIRY_GRACE
from postpaid.storage.database import Connection

EARLIEST = """
SELECT least(
       (SELECT min(closes_at)
          FROM subscriptions
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND closes_at IS NOT NULL
           AND parked IS NULL),
       (SELECT min(resumes_at)
          FROM subscriptions
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND resumes_at IS NOT NULL
           AND (closes_at IS NULL OR closes_at > resumes_at)
           AND parked IS NULL),
       (SELECT min(expires_at)
          FROM subscriptions s
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND expires_at IS NOT NULL
           AND NOT EXISTS (
               SELECT
                 FROM payment_attempts a
                WHERE a.account_id = s.account_id
                  AND a.invoice_id = s.latest_invoice_id
                  AND a.status IN ('pending', 'processing'))),
       (SELECT min(pending_update_expires_at)
          FROM subscriptions s
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND pending_update_expires_at IS NOT NULL
           AND NOT EXISTS (
               SELECT
                 FROM payment_attempts a
                WHERE a.account_id = s.account_id
                  AND a.invoice_id = s.pending_update ->> 'invoice_id'
                  AND a.status IN ('pending', 'processing'))),
       (SELECT min(finalizes_at)
          FROM invoices
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND finalizes_at IS NOT NULL
           AND parked IS NULL),
       (SELECT min(expires_at) + %(credit_grace)s::interval
          FROM credit_grants
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND balance > 0
           AND expires_at IS NOT NULL),
       (SELECT min(due_at)
          FROM subscription_schedules s
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND due_at IS NOT NULL
           AND parked IS NULL
           AND NOT EXISTS (
               SELECT
                 FROM subscriptions p
                WHERE p.account_id = s.account_id
                  AND p.id = s.subscription_id
                  AND (p.parked IS NOT NULL OR p.status IN ('incomplete', 'paused')))),
       (SELECT min(retry_at)
          FROM invoices i
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND retry_at IS NOT NULL
           AND NOT EXISTS (
               SELECT
                 FROM payment_attempts a
                WHERE a.account_id = i.account_id
                  AND a.invoice_id = i.id
                  AND a.status IN ('pending', 'processing'))),
       (SELECT min(gives_up_at)
          FROM invoices
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND gives_up_at IS NOT NULL),
       (SELECT min(reminds_at)
          FROM invoices
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND reminds_at IS NOT NULL),
       (SELECT min(renews_at) - make_interval(hours => 24 * (
               SELECT upcoming_days
                 FROM accounts
                WHERE account_id = %(account_id)s))
          FROM subscriptions
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
           AND renews_at IS NOT NULL
           AND upcoming_for IS DISTINCT FROM renews_at),
       (SELECT min(p.expires_in)::timestamp AT TIME ZONE 'UTC'
          FROM customers c
          JOIN payment_methods p ON p.account_id = c.account_id AND p.customer_id = c.id
         WHERE c.account_id = %(account_id)s
           AND c.clock_id = %(clock_id)s
           AND p.expires_in IS DISTINCT FROM p.expiry_said),
       (SELECT min(a.attempted_at) + %(recheck)s::interval
          FROM payment_attempts a
          JOIN payment_intents p ON p.account_id = a.account_id AND p.id = a.payment_intent_id
         WHERE a.account_id = %(account_id)s
           AND a.status IN ('pending', 'processing')
           AND a.gateway = 'test'
           AND a.asked = 1
           AND p.clock_id = %(clock_id)s),
       (SELECT 'epoch'::timestamptz  -- at once
          FROM thresholds_reached
         WHERE account_id = %(account_id)s
           AND clock_id = %(clock_id)s
         LIMIT 1))
"""


def earliest(
    conn: Connection, account_id: int, clock_id: str, *, recheck: timedelta
) -> datetime | None:
    """The earliest moment at which something of the clock's customers is due, past or future.

    ``recheck`` is how long after a try its outcome is asked for, where it was not known at once.
    """
    parameters = {
        "account_id": account_id,
        "clock_id": clock_id,
        "credit_grace": EXPIRY_GRACE,
        "recheck": recheck,
    }
    row = conn.execute(EARLIEST, parameters).fetchone()
    return row[0] if row else None


CLOCKS_OF_ATTEMPTS = """
SELECT a.id, p.clock_id, t.frozen_at
  FROM payment_attempts a
  JOIN payment_intents p ON p.account_id = a.account_id AND p.id = a.payment_intent_id
  LEFT JOIN test_clocks t ON t.account_id = p.account_id AND t.id = p.clock_id
 WHERE a.account_id = %(account_id)s
   AND a.id = ANY(%(ids)s)
"""


def clocks_of_attempts(
    conn: Connection, account_id: int, ids: Sequence[str]
) -> dict[str, tuple[str | None, datetime | None]]:
    """The test clock of each attempt's customer and its time; None and None by the wall clock."""
    rows = conn.execute(CLOCKS_OF_ATTEMPTS, {"account_id": account_id, "ids": list(ids)})
    return {attempt_id: (clock_id, frozen_at) for attempt_id, clock_id, frozen_at in rows}
