"""What holds of payments and refunds, as queries that should return no rows."""

from __future__ import annotations

# What was marked as paid out of band is posted with the invoice as its source.
PAID_BY_THEIR_PAYMENTS = """
WITH applied AS (
    SELECT account_id, invoice_id, amount_applied AS amount
      FROM payment_intents
     WHERE amount_applied > 0
     UNION ALL
    SELECT account_id, invoice_id, amount_applied
      FROM payment_records
     WHERE amount_applied > 0
     UNION ALL
    SELECT t.account_id, t.invoice_id, e.amount
      FROM ledger_transactions t
      JOIN ledger_entries e ON e.account_id = t.account_id AND e.transaction_id = t.id
     WHERE t.kind = 'payment_out_of_band'
       AND e.ledger_account = 'cash_out_of_band'
)
SELECT i.account_id, i.id, i.amount_paid, coalesce(sum(a.amount), 0)
  FROM invoices i
  LEFT JOIN applied a ON a.account_id = i.account_id AND a.invoice_id = i.id
 GROUP BY i.account_id, i.id
HAVING i.amount_paid <> coalesce(sum(a.amount), 0)
"""

OVERPAID_BY_THEIR_PAYMENTS = """
WITH excess AS (
    SELECT p.account_id, p.invoice_id,
           p.amount_received - p.amount_applied - coalesce((
               SELECT sum(r.amount)  -- what went back before there was an invoice
                 FROM refunds r
                WHERE r.account_id = p.account_id
                  AND r.payment_intent_id = p.id
                  AND r.invoice_id IS NULL
                  AND r.status <> 'failed'), 0) AS amount
      FROM payment_intents p
     WHERE p.invoice_id IS NOT NULL
       AND p.status = 'succeeded'
     UNION ALL
    SELECT account_id, invoice_id, amount - amount_applied
      FROM payment_records
     WHERE invoice_id IS NOT NULL
)
SELECT i.account_id, i.id, i.amount_overpaid, coalesce(sum(e.amount), 0)
  FROM invoices i
  LEFT JOIN excess e ON e.account_id = i.account_id AND e.invoice_id = i.id
 GROUP BY i.account_id, i.id
HAVING i.amount_overpaid <> coalesce(sum(e.amount), 0)
"""

RECEIVED_BY_THEIR_ATTEMPTS = """
SELECT p.account_id, p.id, p.amount_received, coalesce(sum(a.amount), 0)
  FROM payment_intents p
  LEFT JOIN payment_attempts a
    ON a.account_id = p.account_id AND a.payment_intent_id = p.id AND a.status = 'succeeded'
 GROUP BY p.account_id, p.id
HAVING p.amount_received <> coalesce(sum(a.amount), 0)
"""

REFUNDED_BY_THEIR_REFUNDS = """
SELECT a.account_id, a.id, a.amount_refunded, coalesce(sum(r.amount), 0)
  FROM payment_attempts a
  LEFT JOIN refunds r
    ON r.account_id = a.account_id AND r.attempt_id = a.id AND r.status <> 'failed'
 GROUP BY a.account_id, a.id
HAVING a.amount_refunded <> coalesce(sum(r.amount), 0)
"""

NOTES_ARE_OF_THEIR_REFUNDS = """
SELECT n.account_id, n.id, n.refund_amount, coalesce(sum(l.amount), 0)
  FROM credit_notes n
  LEFT JOIN credit_note_refunds l ON l.account_id = n.account_id AND l.credit_note_id = n.id
 GROUP BY n.account_id, n.id
HAVING n.refund_amount <> coalesce(sum(l.amount), 0)
 UNION ALL
SELECT r.account_id, r.id, r.amount - r.amount_of_credit, sum(l.amount)
  FROM refunds r
  JOIN credit_note_refunds l ON l.account_id = r.account_id AND l.refund_id = r.id
 GROUP BY r.account_id, r.id
HAVING sum(l.amount) > r.amount - r.amount_of_credit
"""

# What went back has left cash as soon as it is asked for; what failed is back.
MONEY_IS_WHERE_IT_CAME_AND_WENT = """
WITH moved AS (
    SELECT account_id, currency, 'cash' AS ledger_account, amount
      FROM payment_attempts
     WHERE status = 'succeeded'
     UNION ALL
    SELECT account_id, currency, 'cash', -amount
      FROM refunds
     WHERE status <> 'failed'
     UNION ALL
    SELECT account_id, currency, 'cash_out_of_band', amount
      FROM payment_records
     UNION ALL
    SELECT i.account_id, i.currency, 'cash_out_of_band',
           i.amount_paid_out_of_band - coalesce((
               SELECT sum(r.amount_applied)
                 FROM payment_records r
                WHERE r.account_id = i.account_id
                  AND r.invoice_id = i.id), 0)
      FROM invoices i
     WHERE i.amount_paid_out_of_band > 0
     UNION ALL
    SELECT account_id, currency, 'cash_out_of_band', -out_of_band_amount
      FROM credit_notes
     WHERE status = 'issued'
     UNION ALL
    SELECT p.account_id, p.currency, 'unapplied_payments', a.amount_refunded - p.amount_received
      FROM payment_intents p
      JOIN payment_attempts a
        ON a.account_id = p.account_id AND a.payment_intent_id = p.id AND a.status = 'succeeded'
     WHERE p.invoice_id IS NULL
     UNION ALL
    SELECT account_id, currency, 'unapplied_payments', -amount
      FROM payment_records
     WHERE invoice_id IS NULL
),
should_be AS (
    SELECT account_id, currency, ledger_account, sum(amount) AS amount
      FROM moved
     GROUP BY account_id, currency, ledger_account
),
posted AS (
    SELECT account_id, currency, ledger_account, sum(amount) AS amount
      FROM ledger_entries
     WHERE ledger_account IN ('cash', 'cash_out_of_band', 'unapplied_payments')
     GROUP BY account_id, currency, ledger_account
)
SELECT account_id, currency, ledger_account, s.amount, p.amount
  FROM should_be s
  FULL JOIN posted p USING (account_id, currency, ledger_account)
 WHERE coalesce(s.amount, 0) <> coalesce(p.amount, 0)
"""
