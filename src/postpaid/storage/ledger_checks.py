"""What holds between the ledger and the rest, as queries that should return no rows."""

from __future__ import annotations

TRANSACTIONS_BALANCE = """
SELECT e.account_id, e.transaction_id, e.currency, sum(e.amount)
  FROM ledger_entries e
 GROUP BY e.account_id, e.transaction_id, e.currency
HAVING sum(e.amount) <> 0
 UNION ALL
SELECT coalesce(t.account_id, e.account_id), coalesce(t.id, e.transaction_id), t.currency, NULL
  FROM ledger_transactions t
  FULL JOIN (SELECT DISTINCT account_id, transaction_id, currency, customer_id, created_at
               FROM ledger_entries) AS e
    ON e.account_id = t.account_id
   AND e.transaction_id = t.id
   AND e.customer_id IS NOT DISTINCT FROM t.customer_id
   AND (e.currency, e.created_at) = (t.currency, t.created_at)
 WHERE t.id IS NULL
    OR e.transaction_id IS NULL
"""

RECEIVABLE_IS_WHAT_IS_OPEN = """
WITH owed AS (
    SELECT account_id, customer_id, currency,
           sum(amount_due - amount_paid - pre_payment_credits) AS amount
      FROM invoices
     WHERE status = 'open'
     GROUP BY account_id, customer_id, currency
),
posted AS (
    SELECT account_id, customer_id, currency, sum(amount) AS amount
      FROM ledger_entries
     WHERE ledger_account = 'receivable'
     GROUP BY account_id, customer_id, currency
)
SELECT account_id, customer_id, currency, o.amount, p.amount
  FROM owed o
  FULL JOIN posted p USING (account_id, customer_id, currency)
 WHERE coalesce(o.amount, 0) <> coalesce(p.amount, 0)
"""

CREDIT_IS_THE_BALANCES = """
SELECT coalesce(c.account_id, p.account_id), coalesce(c.id, p.customer_id), c.balance, p.amount
  FROM customers c
  FULL JOIN (SELECT account_id, customer_id, sum(amount) AS amount
               FROM ledger_entries
              WHERE ledger_account = 'customer_credit'
              GROUP BY account_id, customer_id) AS p
    ON p.account_id = c.account_id AND p.customer_id = c.id
 WHERE coalesce(c.balance, 0) <> coalesce(p.amount, 0)
"""

GRANTS_ARE_WHAT_IS_LEFT = """
WITH unused AS (
    SELECT account_id, customer_id, currency, sum(balance) AS amount
      FROM credit_grants
     GROUP BY account_id, customer_id, currency
),
posted AS (
    SELECT account_id, customer_id, currency, -sum(amount) AS amount
      FROM ledger_entries
     WHERE ledger_account = 'credit_grants'
     GROUP BY account_id, customer_id, currency
)
SELECT account_id, customer_id, currency, u.amount, p.amount
  FROM unused u
  FULL JOIN posted p USING (account_id, customer_id, currency)
 WHERE coalesce(u.amount, 0) <> coalesce(p.amount, 0)
"""

# What an invoice that is final did to money is there once, and what undid it; and what was paid of
# it is what was posted as paid. A transaction that moved nothing is not there at all.
INVOICES_ARE_POSTED = """
WITH posted AS (
    SELECT t.account_id, t.invoice_id,
           count(DISTINCT t.id) FILTER (WHERE t.kind = 'invoice_finalized') AS finalized,
           count(DISTINCT t.id) FILTER (WHERE t.kind = 'invoice_voided') AS voided,
           count(DISTINCT t.id) FILTER (WHERE t.kind = 'invoice_uncollectible') AS written_off,
           coalesce(-sum(e.amount) FILTER (
               WHERE t.kind IN ('payment', 'payment_out_of_band', 'payment_applied')
                 AND e.ledger_account IN ('receivable', 'bad_debt')), 0) AS paid
      FROM ledger_transactions t
      JOIN ledger_entries e ON e.account_id = t.account_id AND e.transaction_id = t.id
     WHERE t.invoice_id IS NOT NULL
     GROUP BY t.account_id, t.invoice_id
)
SELECT i.account_id, i.id, i.status, p.finalized, p.voided, p.written_off, p.paid
  FROM invoices i
  LEFT JOIN posted p ON p.account_id = i.account_id AND p.invoice_id = i.id
 WHERE (i.finalized_at IS NULL AND p.invoice_id IS NOT NULL)
    OR (i.finalized_at IS NOT NULL
        AND (i.total <> 0 OR i.amount_due <> 0)
        AND p.finalized IS DISTINCT FROM 1)
    OR (i.status = 'void' AND coalesce(p.finalized, 0) <> coalesce(p.voided, 0))
    OR (i.status <> 'void' AND p.voided > 0)
    OR (i.status = 'uncollectible'
        AND i.amount_due - i.amount_paid - i.pre_payment_credits > 0
        AND p.written_off IS DISTINCT FROM 1)
    OR i.amount_paid <> coalesce(p.paid, 0)
"""
