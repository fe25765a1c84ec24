-- Cycles: what a subscription that ends within a period gives back, and how it is to be paid.

ALTER TABLE subscriptions
    ADD COLUMN cancel_prorates  boolean NOT NULL DEFAULT true,  -- unused time, at cancel_at
    ADD COLUMN payment_settings jsonb;
