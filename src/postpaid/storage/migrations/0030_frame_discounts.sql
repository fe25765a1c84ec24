-- A second façade's coupons say more; its payments have a name of their asker's.

ALTER TABLE coupons
    ADD COLUMN status                  text NOT NULL DEFAULT 'active',
    ADD COLUMN description             text,
    ADD COLUMN redeem_from             timestamptz,
    ADD COLUMN max_amount_off          bigint,  -- the most that a percentage comes to
    ADD COLUMN max_amount_off_currency text,
    ADD COLUMN minimum_amount          bigint,  -- of a purchase
    ADD COLUMN minimum_amount_currency text,
    ADD CONSTRAINT coupons_status CHECK (status IN ('active', 'inactive', 'archived')),
    ADD CONSTRAINT coupons_redeemed_within_a_time CHECK ((redeem_from < redeem_by) IS NOT false),
    ADD CONSTRAINT coupons_most_of_a_percentage CHECK (
        (max_amount_off IS NULL) = (max_amount_off_currency IS NULL)
        AND (max_amount_off IS NULL OR percent_off IS NOT NULL)
        AND (max_amount_off > 0) IS NOT false),
    ADD CONSTRAINT coupons_minimum_has_currency CHECK (
        (minimum_amount IS NULL) = (minimum_amount_currency IS NULL)
        AND (minimum_amount > 0) IS NOT false);

ALTER TABLE promotion_codes
    ADD COLUMN max_customer_redemptions bigint,  -- by each
    ADD CONSTRAINT promotion_codes_by_each_customer
        CHECK ((max_customer_redemptions > 0) IS NOT false);

CREATE INDEX discounts_by_promotion_code ON discounts (account_id, promotion_code_id, customer_id)
    WHERE promotion_code_id IS NOT NULL;

ALTER TABLE payment_intents
    ADD COLUMN reference text;  -- what whoever asked for it calls it
