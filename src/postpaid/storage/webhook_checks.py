"""What must always hold of deliveries, as queries that should return no rows."""

WAIT_FOR_AN_EARLIER_ONE = """
SELECT d.account_id, d.endpoint_id, d.subject_id, d.id
  FROM (SELECT DISTINCT ON (account_id, endpoint_id, subject_id)
               account_id, endpoint_id, subject_id, id, due_at
          FROM webhook_deliveries
         WHERE status = 'pending'
         ORDER BY account_id, endpoint_id, subject_id, sequence) d
  JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.id = d.endpoint_id
 WHERE d.due_at IS NULL
   AND e.deleted_at IS NULL
"""

PENDING_HAVE_THEIR_EVENTS = """
SELECT d.account_id, d.endpoint_id, d.event_id, d.id
  FROM webhook_deliveries d
  JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.id = d.endpoint_id
 WHERE d.status = 'pending'
   AND e.deleted_at IS NULL
   AND NOT EXISTS (
       SELECT
         FROM events v
        WHERE v.account_id = d.account_id
          AND v.id = d.event_id)
"""
