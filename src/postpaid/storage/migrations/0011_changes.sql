-- Changes of running subscriptions: items that trade prices, and updates that wait for their payment.

-- Checked when a statement is over: two items may trade their prices in one.
ALTER TABLE subscription_items
    DROP CONSTRAINT subscription_items_price_once,
    ADD CONSTRAINT subscription_items_price_once
        UNIQUE (account_id, subscription_id, price_id) DEFERRABLE INITIALLY IMMEDIATE;

ALTER TABLE subscriptions
    ADD CONSTRAINT subscriptions_pending_iff_expiring
        CHECK ((pending_update IS NULL) = (pending_update_expires_at IS NULL));

CREATE INDEX subscriptions_pending_updates ON subscriptions (account_id, pending_update_expires_at)
    WHERE pending_update_expires_at IS NOT NULL;
