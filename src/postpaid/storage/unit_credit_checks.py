"""What holds of units bought in advance, as queries that should return no rows."""

from __future__ import annotations

CREDITS_ARE_THEIR_DRAWS = """
SELECT c.account_id, c.id, c.used, coalesce(sum(d.quantity), 0)
  FROM unit_credits c
  LEFT JOIN unit_draws d
    ON d.account_id = c.account_id AND d.credit_id = c.id AND d.returned_at IS NULL
 GROUP BY c.account_id, c.id
HAVING c.used <> coalesce(sum(d.quantity), 0)
"""

DRAWS_ARE_OF_LIVE_INVOICES = """
SELECT d.account_id, d.id, d.invoice_id, i.status, d.returned_at
  FROM unit_draws d
  LEFT JOIN invoices i ON i.account_id = d.account_id AND i.id = d.invoice_id
 WHERE (d.returned_at IS NULL) <> (i.id IS NOT NULL AND i.status <> 'void')
"""

DRAWS_ARE_IN_TIME = """
SELECT d.account_id, d.id, c.customer_id, i.customer_id, c.expires_at, d.period_end
  FROM unit_draws d
  JOIN unit_credits c ON c.account_id = d.account_id AND c.id = d.credit_id
  LEFT JOIN invoices i ON i.account_id = d.account_id AND i.id = d.invoice_id
 WHERE i.customer_id <> c.customer_id
    OR d.period_end > c.expires_at
    OR d.period_end <= c.created_at
"""
