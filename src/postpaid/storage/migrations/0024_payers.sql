-- Payers: when one was born, how one is found, and payment methods that are blocked or were detached.

ALTER TABLE customers
    ADD COLUMN date_of_birth date;

CREATE INDEX customers_with_profile ON customers (account_id, id) WHERE profile IS NOT NULL;
CREATE INDEX customers_by_external_id ON customers (account_id, (profile ->> 'external_id'), id)
    WHERE profile IS NOT NULL;

ALTER TABLE payment_methods
    ADD COLUMN blocked_at  timestamptz,
    ADD COLUMN detached_at timestamptz,  -- null: it is somebody's, or never was anybody's
    ADD CONSTRAINT payment_methods_detached_is_nobodys
        CHECK (detached_at IS NULL OR customer_id IS NULL);
