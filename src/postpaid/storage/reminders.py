"""What is to be said before it happens: invoices that will be due, renewals, cards that expire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from postpaid.core.invoicing import Invoice
from postpaid.core.subscriptions import Subscription
from postpaid.storage import invoices, payment_methods, subscriptions
from postpaid.storage.database import Connection
from postpaid.storage.payment_methods import PaymentMethod

SET_REMINDERS = """
UPDATE invoices
   SET reminds_at = r.reminds_at
  FROM unnest(%(ids)s::text[], %(moments)s::timestamptz[]) AS r (id, reminds_at)
 WHERE account_id = %(account_id)s
   AND invoices.id = r.id
"""


def set_reminders(
    conn: Connection, account_id: int, moments: Mapping[str, datetime | None]
) -> None:
    """Say something of each invoice at its moment; None for nothing more. Customers are locked."""
    if moments:
        parameters = {"ids": list(moments), "moments": list(moments.values())}
        conn.execute(SET_REMINDERS, {"account_id": account_id, **parameters})


CLAIM_REMINDING = """
SELECT i.id, i.reminds_at
  FROM invoices i
  JOIN customers c ON c.account_id = i.account_id AND c.id = i.customer_id
 WHERE i.account_id = %(account_id)s
   AND i.reminds_at <= %(now)s
   AND (i.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND i.clock_id IS NULL))
 ORDER BY i.reminds_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""

MOMENTS = """
SELECT id, reminds_at
  FROM invoices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND reminds_at <= %(now)s
"""


def claim_reminding(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[tuple[Invoice, datetime]]:
    """Invoices of which something is to be said, and since when, with their customers locked."""
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM_REMINDING, parameters)]
    if not ids:
        return []
    again = {"account_id": account_id, "ids": ids, "now": now}
    moments: dict[str, datetime] = dict(
        conn.execute(MOMENTS, again).fetchall()
    )  # as they are once locked
    found = invoices.load(conn, account_id, moments, with_lines=False)
    return [(found[key], moments[key]) for key in ids if key in found]


# ─── Renewals ────────────────────────────────────────────────────────────────────────────────

CLAIM_UPCOMING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.renews_at > %(now)s
   AND s.renews_at <= %(before)s
   AND s.upcoming_for IS DISTINCT FROM s.renews_at
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.renews_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""

STILL_UPCOMING = """
SELECT id, renews_at
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND renews_at > %(now)s
   AND renews_at <= %(before)s
   AND upcoming_for IS DISTINCT FROM renews_at
"""


def claim_upcoming(
    conn: Connection,
    account_id: int,
    clock_id: str | None,
    *,
    now: datetime,
    before: datetime,
    limit: int,
) -> list[tuple[Subscription, datetime]]:
    """Subscriptions that renew after ``now`` and by ``before``, of which that was not said yet.

    With each when it renews; the soonest first, with their customers locked.
    """
    parameters = {
        "account_id": account_id,
        "clock_id": clock_id,
        "now": now,
        "before": before,
        "limit": limit,
    }
    ids = [row[0] for row in conn.execute(CLAIM_UPCOMING, parameters)]
    if not ids:
        return []
    again = {"account_id": account_id, "ids": ids, "now": now, "before": before}
    moments: dict[str, datetime] = dict(conn.execute(STILL_UPCOMING, again).fetchall())
    found = subscriptions.load(conn, account_id, moments)
    return [(found[key], moments[key]) for key in ids if key in found]


NOTE_UPCOMING = """
UPDATE subscriptions
   SET upcoming_for = renews_at
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def note_upcoming(conn: Connection, account_id: int, ids: Sequence[str]) -> None:
    """The subscriptions' next renewals were announced. The customers are locked."""
    conn.execute(NOTE_UPCOMING, {"account_id": account_id, "ids": list(ids)})


# ─── Cards ───────────────────────────────────────────────────────────────────────────────────

CLAIM_EXPIRING = """
SELECT p.id, p.expires_in
  FROM payment_methods p
  JOIN customers c ON c.account_id = p.account_id AND c.id = p.customer_id
 WHERE p.account_id = %(account_id)s
   AND p.customer_id IS NOT NULL
   AND p.expires_in <= %(today)s
   AND p.expires_in IS DISTINCT FROM p.expiry_said
   AND (c.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND c.clock_id IS NULL))
 ORDER BY p.expires_in
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF p SKIP LOCKED
"""


def claim_expiring(
    conn: Connection, account_id: int, clock_id: str | None, *, today: date, limit: int
) -> list[tuple[PaymentMethod, date]]:
    """Customers' cards, locked, whose last month has begun, or passed, and was not announced.

    With each the first day of the month.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "today": today, "limit": limit}
    months: dict[str, date] = dict(conn.execute(CLAIM_EXPIRING, parameters).fetchall())
    found = payment_methods.load(conn, account_id, months) if months else {}
    return [(found[key], month) for key, month in months.items() if key in found]


NOTE_EXPIRING = """
UPDATE payment_methods
   SET expiry_said = expires_in
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def note_expiring(conn: Connection, account_id: int, ids: Iterable[str]) -> None:
    """The cards' last months are done with. The caller has locked them."""
    conn.execute(NOTE_EXPIRING, {"account_id": account_id, "ids": list(ids)})
