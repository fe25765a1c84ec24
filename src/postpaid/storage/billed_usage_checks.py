"""Queries of usage that is billed by windows, which should return no rows; see ``checks``."""

WINDOWS_NEVER_OVERLAP = """
SELECT a.account_id, a.series_id, a.start_at, a.end_at, b.start_at, b.end_at
  FROM billed_windows a
  JOIN billed_windows b
    ON b.series_id = a.series_id
   AND b.start_at < a.end_at
   AND b.end_at > a.start_at
   AND (b.start_at, b.end_at) > (a.start_at, a.end_at)
"""

WINDOWS_ARE_BILLED = """
SELECT w.account_id, w.series_id, w.start_at, w.end_at
  FROM billed_windows w
 WHERE NOT EXISTS (
       SELECT
         FROM window_billings b
         JOIN invoices i ON i.account_id = b.account_id AND i.id = b.invoice_id
        WHERE b.series_id = w.series_id
          AND b.start_at = w.start_at
          AND b.end_at = w.end_at
          AND i.status IN ('open', 'paid', 'uncollectible'))
"""

# What a window had been billed for before is taken off by a line of its own.
BILLINGS_ARE_THEIR_LINES = """
WITH said AS (
    SELECT l.account_id, l.invoice_id, l.obligation, i.customer_id, l.meter_id, l.period_start,
           l.period_end, sum(l.quantity) AS quantity,
           sum(l.amount) + coalesce((
               SELECT sum(o.amount)
                 FROM invoice_lines o
                WHERE o.account_id = l.account_id
                  AND o.obligation = l.obligation || '/billed'
                  AND o.live), 0) AS amount
      FROM invoices i
      JOIN invoice_lines l ON l.account_id = i.account_id AND l.invoice_id = i.id
     WHERE i.bills_usage
       AND i.status IN ('open', 'paid', 'uncollectible')
       AND l.meter_id IS NOT NULL
       AND l.subscription_item_id IS NULL
     GROUP BY l.account_id, l.invoice_id, l.obligation, i.customer_id, l.meter_id, l.period_start,
              l.period_end
), billed AS (
    SELECT b.account_id, b.invoice_id, b.obligation, s.customer_id, s.meter_id,
           b.start_at AS period_start, b.end_at AS period_end, b.quantity, b.amount
      FROM window_billings b
      JOIN usage_series s ON s.series_id = b.series_id
)
SELECT coalesce(s.account_id, b.account_id), coalesce(s.invoice_id, b.invoice_id),
       coalesce(s.obligation, b.obligation), s.quantity, b.quantity, s.amount, b.amount
  FROM said s
  FULL JOIN billed b ON b.account_id = s.account_id AND b.obligation = s.obligation
 WHERE (s.invoice_id, s.customer_id, s.meter_id, s.period_start, s.period_end, s.quantity,
        s.amount)
       IS DISTINCT FROM
       (b.invoice_id, b.customer_id, b.meter_id, b.period_start, b.period_end, b.quantity,
        b.amount)
"""
