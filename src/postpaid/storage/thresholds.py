"""Which subscriptions' thresholds may have been reached, and what they have billed so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from postpaid.storage.database import Connection
from postpaid.storage.usage import number_array, text_array

WATCHED = """
SELECT DISTINCT s.id
  FROM unnest(%(customer_ids)s::text[], %(meter_ids)s::text[]) AS u (customer_id, meter_id)
  JOIN subscriptions s
    ON s.account_id = %(account_id)s
   AND s.customer_id = u.customer_id
   AND s.ended_at IS NULL
  JOIN subscription_items i
    ON i.account_id = s.account_id
   AND i.subscription_id = s.id
   AND (s.threshold_amount IS NOT NULL OR i.threshold_usage IS NOT NULL)
  JOIN prices p
    ON p.account_id = i.account_id
   AND p.id = coalesce(i.usage_price_id, i.price_id)
   AND p.meter_id = u.meter_id
"""


def watched(conn: Connection, account_id: int, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The subscriptions with thresholds that bill the customers' usage of the meters, by pairs."""
    asked = list(pairs)
    parameters = {
        "account_id": account_id,
        "customer_ids": text_array(customer_id for customer_id, _ in asked),
        "meter_ids": text_array(meter_id for _, meter_id in asked),
    }
    return [row[0] for row in conn.execute(WATCHED, parameters)]


INSERT = """
INSERT INTO thresholds_reached (account_id, subscription_id, customer_id, clock_id)
SELECT s.account_id, s.id, s.customer_id, s.clock_id
  FROM subscriptions s
 WHERE s.account_id = %(account_id)s
   AND s.id = ANY(%(subscription_ids)s)
 ORDER BY s.id
"""


def insert_many(conn: Connection, account_id: int, subscription_ids: Sequence[str]) -> None:
    """Note that the subscriptions may have reached a threshold. Waits for nobody."""
    if subscription_ids:
        parameters = {"account_id": account_id, "subscription_ids": list(subscription_ids)}
        conn.execute(INSERT, parameters)


CLAIM = """
SELECT t.id, t.subscription_id
  FROM thresholds_reached t
  JOIN customers c ON c.account_id = t.account_id AND c.id = t.customer_id
 WHERE t.account_id = %(account_id)s
   AND (%(clock_id)s::text IS NULL OR t.clock_id = %(clock_id)s)
 ORDER BY t.id
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim(conn: Connection, account_id: int, clock_id: str | None, *, limit: int) -> dict[int, str]:
    """What was noted, and the subscription that each is about, whose customer is locked now.

    Of one clock's customers, or without a clock of all. A customer that someone else has locked is
    left for the next round.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "limit": limit}
    rows = conn.execute(CLAIM, parameters).fetchall()
    return dict(rows)


DELETE = """
DELETE FROM thresholds_reached
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s::bigint[])
"""


def delete(conn: Connection, account_id: int, ids: Collection[int]) -> None:
    """Forget what was noted, once it is decided."""
    if ids:
        conn.execute(DELETE, {"account_id": account_id, "ids": number_array(ids)})


COUNT = """
SELECT subscription_id, count(*)
  FROM invoices
 WHERE account_id = %(account_id)s
   AND subscription_id = ANY(%(subscription_ids)s)
   AND billing_reason = 'subscription_threshold'
 GROUP BY subscription_id
"""


def count(conn: Connection, account_id: int, subscription_ids: Sequence[str]) -> dict[str, int]:
    """How many threshold invoices each of the subscriptions has had, those that are void too."""
    parameters = {"account_id": account_id, "subscription_ids": list(subscription_ids)}
    return dict(conn.execute(COUNT, parameters).fetchall())
