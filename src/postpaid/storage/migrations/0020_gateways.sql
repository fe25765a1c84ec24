-- Who moves an account's money, beside the gateways that need no account of anybody's.

CREATE TABLE payment_gateways (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    name        text        NOT NULL,  -- what payment methods and attempts say
    kind        text        NOT NULL,
    credentials bytea       NOT NULL,  -- sealed
    hint        text        NOT NULL,  -- the last characters of what is sealed
    base_url    text,                  -- the provider's own where there is none
    is_default  boolean     NOT NULL DEFAULT false,
    metadata    jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT payment_gateways_name_once UNIQUE (account_id, name),
    CONSTRAINT payment_gateways_name_is_not_built_in CHECK (name NOT IN ('test', 'manual')),
    CONSTRAINT payment_gateways_kind CHECK (kind IN ('stripe', 'frame'))
);

CREATE UNIQUE INDEX payment_gateways_one_default ON payment_gateways (account_id) WHERE is_default;

-- What may be shown of a bank account, as of a card.
ALTER TABLE payment_methods ADD COLUMN us_bank_account jsonb;

CREATE INDEX payment_methods_by_gateway ON payment_methods (account_id, gateway)
    WHERE gateway <> 'test' AND customer_id IS NOT NULL;
