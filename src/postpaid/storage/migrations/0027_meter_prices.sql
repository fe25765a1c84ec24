-- What a meter's usage costs by itself, and what usage said before it was amended.

ALTER TABLE meters
    ADD COLUMN price_id          object_id,
    ADD COLUMN markup_percentage numeric,  -- of it, what the price charges on top of its value
    ADD COLUMN description       text,
    ADD COLUMN metadata          jsonb NOT NULL DEFAULT '{}'::jsonb,
    ADD CONSTRAINT meters_account_id_price_id_fkey
        FOREIGN KEY (account_id, price_id) REFERENCES prices,
    ADD CONSTRAINT meters_markup_of_a_price
        CHECK (markup_percentage IS NULL OR (price_id IS NOT NULL AND markup_percentage >= 0));

-- The former content of an event, whole, for each time that it was amended.
CREATE TABLE usage_amendments (
    account_id  integer        NOT NULL,
    id          object_id      NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    value       numeric        NOT NULL,
    payload     json,
    amended_at  timestamptz    NOT NULL,
    actor       text           NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX usage_amendments_by_reference ON usage_amendments (account_id, reference, id);
