-- Prorations: which of them give something back, and, where they are itemized, their discounts.

ALTER TABLE invoice_items
    ADD COLUMN discounts json;  -- {discount: amount}: what is off a proration for good

CREATE INDEX invoice_items_credits ON invoice_items (account_id, subscription_item_id)
    WHERE credited IS NOT NULL;
