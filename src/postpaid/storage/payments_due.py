"""Payment attempts that somebody is to ask about: those on a test clock, and those left behind."""

from __future__ import annotations

from datetime import datetime

from postpaid.storage.database import Connection
from postpaid.storage.payments import PaymentAttempt, load

PENDING_ON_CLOCK = """
SELECT a.id
  FROM payment_attempts a
  JOIN payment_intents p ON p.account_id = a.account_id AND p.id = a.payment_intent_id
 WHERE a.account_id = %(account_id)s
   AND (a.status IN ('pending', 'processing')
        OR a.status = 'action_required' AND p.status = 'canceled')
   AND p.clock_id = %(clock_id)s
 ORDER BY a.id
"""


def pending_on_clock(conn: Connection, account_id: int, clock_id: str) -> list[PaymentAttempt]:
    """The attempts without an outcome at what is to be collected on the test clock.

    One that waits for its customer is among them only when nobody wants it any more.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id}
    ids = [row[0] for row in conn.execute(PENDING_ON_CLOCK, parameters)]
    return list(load(conn, account_id, ids).values()) if ids else []


AWAITED_ON_CLOCK = """
SELECT a.id
  FROM payment_attempts a
  JOIN payment_intents p ON p.account_id = a.account_id AND p.id = a.payment_intent_id
 WHERE a.account_id = %(account_id)s
   AND a.status IN ('pending', 'processing')
   AND a.gateway = 'test'
   AND a.asked = 1
   AND a.attempted_at <= %(attempted_until)s
   AND p.clock_id = %(clock_id)s
 ORDER BY a.id
 LIMIT %(limit)s
"""


def awaited_on_clock(
    conn: Connection, account_id: int, clock_id: str, *, attempted_until: datetime, limit: int
) -> list[PaymentAttempt]:
    """The attempts of the test clock that the test gateway was asked once, and has not decided."""
    parameters = {
        "account_id": account_id,
        "clock_id": clock_id,
        "attempted_until": attempted_until,
        "limit": limit,
    }
    ids = [row[0] for row in conn.execute(AWAITED_ON_CLOCK, parameters)]
    return list(load(conn, account_id, ids).values()) if ids else []


IS_PENDING_ON_CLOCK = """
SELECT
  FROM payment_attempts a
  JOIN payment_intents p ON p.account_id = a.account_id AND p.id = a.payment_intent_id
 WHERE a.account_id = %(account_id)s
   AND a.status = 'pending'
   AND p.clock_id = %(clock_id)s
 LIMIT 1
"""


def is_pending_on_clock(conn: Connection, account_id: int, clock_id: str) -> bool:
    """Whether a gateway is being asked, or gave no answer, about a payment on the test clock."""
    parameters = {"account_id": account_id, "clock_id": clock_id}
    return conn.execute(IS_PENDING_ON_CLOCK, parameters).fetchone() is not None


CLAIM_UNSETTLED = """
UPDATE payment_attempts a
   SET leased_until = CASE a.status
                      WHEN 'pending' THEN %(leased_until)s::timestamptz
                      ELSE %(recheck_at)s::timestamptz END
  FROM (SELECT account_id, id
          FROM payment_attempts
         WHERE account_id = %(account_id)s
           AND status IN ('pending', 'action_required', 'processing')
           AND leased_until < %(now)s
           AND NOT EXISTS (
                 SELECT
                   FROM payment_attempts b
                  WHERE b.account_id = payment_attempts.account_id
                    AND b.payment_intent_id = payment_attempts.payment_intent_id
                    AND b.replaces = payment_attempts.id
                    AND b.status = 'pending')
         ORDER BY leased_until
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS due
 WHERE a.account_id = due.account_id
   AND a.id = due.id
RETURNING a.id
"""


def claim_unsettled(
    conn: Connection,
    account_id: int,
    *,
    now: datetime,
    leased_until: datetime,
    recheck_at: datetime,
    limit: int,
) -> list[str]:
    """Ids of attempts to ask about now, as the asker is thought dead, or the gateway needs time.

    They are ours until the lease; what a bank or a customer does is asked about again later. One
    that is being replaced is asked about with the one that replaces it.
    """
    parameters = {
        "account_id": account_id,
        "now": now,
        "leased_until": leased_until,
        "recheck_at": recheck_at,
        "limit": limit,
    }
    return [row[0] for row in conn.execute(CLAIM_UNSETTLED, parameters)]
