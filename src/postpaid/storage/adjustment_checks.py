"""What always holds of discounts and taxes, as queries that should return no rows."""

from __future__ import annotations

# Nothing of a line is left out of its invoice's sums, or in them twice.
SUMS_ARE_THOSE_OF_LINES = """
WITH of_lines AS (
    SELECT l.account_id, l.invoice_id, 'discount' AS what, d.key, sum(d.value::bigint) AS amount
      FROM invoice_lines l
     CROSS JOIN LATERAL json_each_text(l.discounts) AS d
     WHERE l.discounts IS NOT NULL
     GROUP BY l.account_id, l.invoice_id, d.key
     UNION ALL
    SELECT l.account_id, l.invoice_id, 'tax', t.key, sum((t.value ->> 'amount')::bigint)
      FROM invoice_lines l
     CROSS JOIN LATERAL json_each(l.taxes) AS t
     WHERE l.taxes IS NOT NULL
     GROUP BY l.account_id, l.invoice_id, t.key
), of_invoices AS (
    SELECT i.account_id, i.id AS invoice_id, 'discount' AS what, d.key, d.value::bigint AS amount
      FROM invoices i
     CROSS JOIN LATERAL json_each_text(i.total_discounts) AS d
     WHERE i.total_discounts IS NOT NULL
     UNION ALL
    SELECT i.account_id, i.id, 'tax', t.key, (t.value ->> 'amount')::bigint
      FROM invoices i
     CROSS JOIN LATERAL json_each(i.total_taxes) AS t
     WHERE i.total_taxes IS NOT NULL
)
SELECT account_id, invoice_id, what, key, l.amount, i.amount
  FROM of_lines l
  FULL JOIN of_invoices i USING (account_id, invoice_id, what, key)
 WHERE l.amount IS DISTINCT FROM i.amount
"""

# A credit that is itemized gives discounts back: they are negative, as it is.
DISCOUNTS_WITHIN_LINES = """
SELECT l.account_id, l.invoice_id, l.id, l.amount, d.taken
  FROM invoice_lines l
 CROSS JOIN LATERAL (
       SELECT sum(value::bigint) AS taken, min(value::bigint) AS least, max(value::bigint) AS most
         FROM json_each_text(l.discounts)) AS d
 WHERE l.discounts IS NOT NULL
   AND CASE WHEN l.proration AND l.amount < 0
            THEN d.most > 0 OR d.taken < l.amount
            ELSE d.least < 0 OR d.taken > l.amount
       END
"""

# An invoice that revises another has what the other had used up. What was off a proration was not
# used up by it.
ONCE_IS_ONCE = """
SELECT d.account_id, d.id, d.used_invoice_id, count(*)
  FROM discounts d
  JOIN invoices i ON i.account_id = d.account_id AND i.customer_id = d.customer_id
 WHERE d.duration = 'once'
   AND i.total_discounts ->> d.id IS NOT NULL
   AND EXISTS (
         SELECT
           FROM invoice_lines l
          WHERE l.account_id = i.account_id
            AND l.invoice_id = i.id
            AND NOT l.proration
            AND l.discounts ->> d.id IS NOT NULL)
   AND i.status IN ('open', 'paid', 'uncollectible')
 GROUP BY d.account_id, d.id, d.used_invoice_id
HAVING count(*) > 1
    OR d.used_invoice_id IS NULL
"""

REDEEMED_AS_OFTEN_AS_THERE_ARE_DISCOUNTS = """
SELECT c.account_id, c.id, c.times_redeemed, count(d.id)
  FROM coupons c
  LEFT JOIN discounts d ON d.account_id = c.account_id AND d.coupon_id = c.id
 GROUP BY c.account_id, c.id
HAVING c.times_redeemed <> count(d.id)
 UNION ALL
SELECT p.account_id, p.id, p.times_redeemed, count(d.id)
  FROM promotion_codes p
  LEFT JOIN discounts d ON d.account_id = p.account_id AND d.promotion_code_id = p.id
 GROUP BY p.account_id, p.id
HAVING p.times_redeemed <> count(d.id)
"""
