-- A customer's charges, newest first.
CREATE INDEX payment_attempts_by_customer ON payment_attempts (account_id, customer_id, id)
    WHERE customer_id IS NOT NULL;
