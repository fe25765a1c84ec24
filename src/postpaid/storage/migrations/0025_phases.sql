-- What a product costs for so many periods before its own price: a product's phases are the pattern
-- from which a subscription gets its own, whose prices its schedule goes through.

CREATE TABLE price_phases (
    account_id          integer     NOT NULL,
    id                  object_id   NOT NULL,
    product_id          object_id,
    subscription_id     object_id,
    ordinal             integer     NOT NULL,
    name                text,
    pricing_type        text        NOT NULL,
    amount              bigint,                     -- minor units, of a static one
    discount_percentage numeric,                    -- off the base price, of a relative one
    period_count        integer,                    -- null: it goes on
    price_id            object_id,                  -- that it bills
    base_price_id       object_id,                  -- that goes on after the phases
    started_at          timestamptz,
    ended_at            timestamptz,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, product_id) REFERENCES products ON DELETE CASCADE,
    FOREIGN KEY (account_id, subscription_id) REFERENCES subscriptions,
    FOREIGN KEY (account_id, price_id) REFERENCES prices,
    FOREIGN KEY (account_id, base_price_id) REFERENCES prices,
    -- Deferrable: one statement may let two change places.
    CONSTRAINT price_phases_ordinal_once
        UNIQUE NULLS NOT DISTINCT (account_id, product_id, subscription_id, ordinal) DEFERRABLE,
    CONSTRAINT price_phases_of_a_product_or_a_subscription
        CHECK (num_nonnulls(product_id, subscription_id) = 1),
    CONSTRAINT price_phases_pricing_type CHECK (pricing_type IN ('static', 'relative')),
    CONSTRAINT price_phases_amount_iff_static
        CHECK ((pricing_type = 'static') = (amount IS NOT NULL) AND coalesce(amount, 0) >= 0),
    CONSTRAINT price_phases_discount_iff_relative CHECK (
        (pricing_type = 'relative') = (discount_percentage IS NOT NULL)
        AND coalesce(discount_percentage, 0) BETWEEN 0 AND 100),
    CONSTRAINT price_phases_period_count CHECK (period_count >= 1),
    CONSTRAINT price_phases_prices_iff_of_a_subscription
        CHECK (num_nonnulls(price_id, base_price_id) = 2 * num_nonnulls(subscription_id)),
    CONSTRAINT price_phases_end_after_they_start CHECK (ended_at IS NULL OR ended_at >= started_at),
    CONSTRAINT price_phases_only_of_subscriptions_start
        CHECK (started_at IS NULL OR subscription_id IS NOT NULL)
);

CREATE INDEX price_phases_of_subscriptions ON price_phases (account_id, subscription_id)
    WHERE subscription_id IS NOT NULL;
