-- Prices off the list: coupons, the codes that give them out, discounts, and taxes on top.

CREATE TABLE coupons (
    account_id         integer     NOT NULL,
    id                 object_id   NOT NULL,
    name               text,
    duration           text        NOT NULL,
    duration_in_months integer,
    percent_off        numeric,
    amount_off         bigint,
    currency           text,
    currency_options   json,               -- {currency: amount_off}
    product_ids        text[],             -- null: all of them
    max_redemptions    bigint,
    redeem_by          timestamptz,
    times_redeemed     bigint      NOT NULL DEFAULT 0,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL,
    deleted_at         timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT coupons_percent_or_amount CHECK (
        (percent_off IS NULL) <> (amount_off IS NULL) AND (amount_off IS NULL) = (currency IS NULL)),
    CONSTRAINT coupons_take_something_off CHECK (
        (percent_off > 0 AND percent_off <= 100) IS NOT false AND (amount_off > 0) IS NOT false),
    CONSTRAINT coupons_months_iff_repeating CHECK (
        duration IN ('once', 'repeating', 'forever')
        AND (duration = 'repeating') = (duration_in_months IS NOT NULL)),
    CONSTRAINT coupons_redeemed_at_most CHECK (times_redeemed BETWEEN 0 AND max_redemptions)
);

CREATE INDEX coupons_by_time ON coupons (account_id, created_at, id);  -- callers choose ids

CREATE TABLE promotion_codes (
    account_id              integer     NOT NULL,
    id                      object_id   NOT NULL,
    code                    text        NOT NULL,
    coupon_id               object_id   NOT NULL,
    active                  boolean     NOT NULL,
    customer_id             object_id,               -- null: anyone's
    expires_at              timestamptz,
    max_redemptions         bigint,
    times_redeemed          bigint      NOT NULL DEFAULT 0,
    first_time_transaction  boolean     NOT NULL DEFAULT false,
    minimum_amount          bigint,
    minimum_amount_currency text,
    minimum_amounts         jsonb,                   -- in other currencies
    metadata                jsonb       NOT NULL DEFAULT '{}',
    created_at              timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, coupon_id) REFERENCES coupons,
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT promotion_codes_minimum_has_currency
        CHECK ((minimum_amount IS NULL) = (minimum_amount_currency IS NULL)),
    CONSTRAINT promotion_codes_redeemed_at_most CHECK (times_redeemed BETWEEN 0 AND max_redemptions)
);

CREATE UNIQUE INDEX promotion_codes_active_once
    ON promotion_codes (account_id, upper(code), coalesce(customer_id, '')) WHERE active;
CREATE INDEX promotion_codes_by_code ON promotion_codes (account_id, upper(code));
CREATE INDEX promotion_codes_by_coupon ON promotion_codes (account_id, coupon_id, id);

-- A coupon redeemed for a customer, or for one of its subscriptions, items or invoices.
CREATE TABLE discounts (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    coupon_id            object_id   NOT NULL,
    customer_id          object_id   NOT NULL,
    start_at             timestamptz NOT NULL,
    duration             text        NOT NULL,
    end_at               timestamptz,             -- of one that repeats
    promotion_code_id    object_id,
    subscription_id      object_id,
    subscription_item_id object_id,
    invoice_id           object_id,
    invoice_item_id      object_id,
    used_invoice_id      object_id,               -- of one that is for once: what used it up
    deleted_at           timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, coupon_id) REFERENCES coupons,
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    FOREIGN KEY (account_id, promotion_code_id) REFERENCES promotion_codes,
    CONSTRAINT discounts_used_up_iff_once CHECK (used_invoice_id IS NULL OR duration = 'once'),
    CONSTRAINT discounts_end_iff_repeating CHECK ((duration = 'repeating') = (end_at IS NOT NULL)),
    CONSTRAINT discounts_end_after_start CHECK (end_at > start_at)
);

CREATE INDEX discounts_by_customer ON discounts (account_id, customer_id, id);

CREATE TABLE tax_rates (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    display_name text        NOT NULL,
    percentage   numeric     NOT NULL,
    inclusive    boolean     NOT NULL,
    active       boolean     NOT NULL,
    country      text,
    description  text,
    jurisdiction text,
    state        text,
    tax_type     text,
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT tax_rates_percentage CHECK (percentage BETWEEN 0 AND 100 AND scale(percentage) <= 4)
);

ALTER TABLE customers
    ADD COLUMN discount json;  -- the one that is for all it buys, as it is shown
