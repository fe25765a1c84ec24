-- A second façade: its idempotency keys are its own, and a customer may be more than a name.

ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_api,
    ADD CONSTRAINT idempotency_keys_api CHECK (api IN ('v1', 'v2', 'frame'));

ALTER TABLE customers
    ADD COLUMN profile    jsonb,
    ADD COLUMN blocked_at timestamptz,
    ADD CONSTRAINT customers_profile_is_an_object CHECK (jsonb_typeof(profile) = 'object');
