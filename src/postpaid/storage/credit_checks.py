"""What holds of balances, credit grants and credit notes, as queries that should return no rows."""

from __future__ import annotations

BALANCES_ARE_THEIR_TRANSACTIONS = """
SELECT c.account_id, c.id, c.balance, coalesce(sum(t.amount), 0)
  FROM customers c
  LEFT JOIN balance_transactions t ON t.account_id = c.account_id AND t.customer_id = c.id
 GROUP BY c.account_id, c.id
HAVING c.balance <> coalesce(sum(t.amount), 0)
"""

BALANCES_FOLLOW_ONE_ANOTHER = """
SELECT t.account_id, t.id, t.ending_balance, t.so_far
  FROM (SELECT account_id, id, ending_balance,
               sum(amount) OVER (PARTITION BY account_id, customer_id ORDER BY sequence) AS so_far
          FROM balance_transactions) AS t
 WHERE t.ending_balance <> t.so_far
"""

INVOICES_MOVED_THEIR_BALANCES = """
SELECT coalesce(i.account_id, t.account_id), coalesce(i.id, t.invoice_id),
       i.ending_balance - i.starting_balance, t.applied, t.unapplied
  FROM (SELECT account_id, id, status, starting_balance, ending_balance
          FROM invoices
         WHERE finalized_at IS NOT NULL) AS i
  FULL JOIN (SELECT account_id, invoice_id,
                    coalesce(sum(amount) FILTER (WHERE reason = 'applied_to_invoice'), 0)
                        AS applied,
                    coalesce(sum(amount) FILTER (WHERE reason = 'unapplied_from_invoice'), 0)
                        AS unapplied
               FROM balance_transactions
              WHERE reason IN ('applied_to_invoice', 'unapplied_from_invoice')
              GROUP BY account_id, invoice_id) AS t
    ON t.account_id = i.account_id AND t.invoice_id = i.id
 WHERE coalesce(t.applied, 0) IS DISTINCT FROM i.ending_balance - i.starting_balance
    OR coalesce(t.unapplied, 0) IS DISTINCT FROM
       CASE i.status WHEN 'void' THEN -coalesce(t.applied, 0) ELSE 0 END
"""

GRANTS_ARE_THEIR_TRANSACTIONS = """
SELECT g.account_id, g.id, g.balance, sum(t.amount)
  FROM credit_grants g
  LEFT JOIN (SELECT account_id, grant_id,
                    CASE WHEN movement IN ('credits_granted', 'credits_application_invoice_voided')
                         THEN amount ELSE -amount END AS amount
               FROM credit_transactions) AS t
    ON t.account_id = g.account_id AND t.grant_id = g.id
 GROUP BY g.account_id, g.id
HAVING g.balance <> coalesce(sum(t.amount), 0)
"""

LINES_ARE_PAID_BY_THEIR_GRANTS = """
SELECT coalesce(l.account_id, t.account_id), coalesce(l.invoice_id, t.invoice_id),
       coalesce(l.line_id, t.line_id), coalesce(l.transaction_id, t.id), l.amount, t.amount
  FROM (SELECT n.account_id, n.invoice_id, n.id AS line_id, c.key AS transaction_id,
               c.value::bigint AS amount
          FROM invoice_lines n
         CROSS JOIN LATERAL json_each_text(n.credits) AS c
         WHERE n.credits IS NOT NULL) AS l
  FULL JOIN (SELECT account_id, id, invoice_id, line_id, amount
               FROM credit_transactions
              WHERE movement = 'credits_applied') AS t
    ON t.account_id = l.account_id AND t.id = l.transaction_id
 WHERE (l.invoice_id, l.line_id, l.amount) IS DISTINCT FROM (t.invoice_id, t.line_id, t.amount)
"""

VOID_INVOICES_GAVE_CREDIT_BACK = """
SELECT i.account_id, i.id, i.status, sum(t.amount)
  FROM credit_transactions t
  JOIN invoices i ON i.account_id = t.account_id AND i.id = t.invoice_id
 GROUP BY i.account_id, i.id
HAVING sum(CASE t.movement WHEN 'credits_applied' THEN 0 ELSE t.amount END)
       <> CASE i.status
          WHEN 'void' THEN sum(CASE t.movement WHEN 'credits_applied' THEN t.amount ELSE 0 END)
          ELSE 0 END
"""

INVOICES_ARE_LOWERED_BY_THEIR_NOTES = """
SELECT i.account_id, i.id, i.pre_payment_credits, i.post_payment_credits,
       coalesce(sum(n.pre_payment_amount), 0),
       coalesce(sum(n.credit_amount + n.out_of_band_amount + n.refund_amount), 0)
  FROM invoices i
  LEFT JOIN credit_notes n
    ON n.account_id = i.account_id AND n.invoice_id = i.id AND n.status = 'issued'
 GROUP BY i.account_id, i.id
HAVING i.pre_payment_credits <> coalesce(sum(n.pre_payment_amount), 0)
    OR i.post_payment_credits
       <> coalesce(sum(n.credit_amount + n.out_of_band_amount + n.refund_amount), 0)
    OR i.pre_payment_credits + i.post_payment_credits > greatest(0, i.total)
    OR i.amount_due - i.amount_paid - i.pre_payment_credits < 0
"""
