-- Subscriptions and invoices through their whole life: what changes, stops, is added by hand and is
-- taken off the list.

ALTER TABLE accounts
    ADD COLUMN time_zone         text    NOT NULL DEFAULT 'UTC',       -- of customers who have none
    ADD COLUMN invoice_numbering text    NOT NULL DEFAULT 'customer',
    ADD COLUMN invoice_prefix    text,                                 -- of numbers by account
    ADD COLUMN next_invoice_sequence bigint NOT NULL DEFAULT 1,
    ADD CONSTRAINT accounts_invoice_numbering CHECK (invoice_numbering IN ('customer', 'account'));

ALTER TABLE customers
    ADD COLUMN time_zone text;  -- null: the account's

ALTER TABLE subscriptions
    ADD COLUMN zone                      text    NOT NULL DEFAULT 'UTC',  -- its periods' calendar
    ADD COLUMN anchor_config             jsonb,
    ADD COLUMN trial_start_at            timestamptz,
    ADD COLUMN trial_end_at              timestamptz,
    ADD COLUMN trial_end_behavior        text    NOT NULL DEFAULT 'create_invoice',
    ADD COLUMN cancel_at                 timestamptz,
    ADD COLUMN pause_behavior            text,         -- what becomes of invoices in the meantime
    ADD COLUMN pause_resumes_at          timestamptz,
    ADD COLUMN paused_at                 timestamptz,
    ADD COLUMN proration_discounts       text    NOT NULL DEFAULT 'included',
    ADD COLUMN usage_invoicing           text    NOT NULL DEFAULT 'combined',
    ADD COLUMN discount_ids              text[],
    ADD COLUMN tax_rate_ids              text[],
    ADD COLUMN threshold_amount          bigint,
    ADD COLUMN threshold_resets_anchor   boolean NOT NULL DEFAULT false,
    ADD COLUMN minimum_amount            bigint,
    ADD COLUMN maximum_amount            bigint,
    ADD COLUMN pending_update            jsonb,        -- a change that waits for its payment
    ADD COLUMN pending_update_expires_at timestamptz,
    ADD COLUMN schedule_id               object_id,
    ADD COLUMN invoice_settings          jsonb,
    ADD CONSTRAINT subscriptions_trial_end_behavior
        CHECK (trial_end_behavior IN ('create_invoice', 'cancel', 'pause')),
    ADD CONSTRAINT subscriptions_pause_behavior
        CHECK (pause_behavior IN ('keep_as_draft', 'mark_uncollectible', 'void')),
    ADD CONSTRAINT subscriptions_usage_invoicing CHECK (usage_invoicing IN ('combined', 'separate')),
    ADD CONSTRAINT subscriptions_proration_discounts
        CHECK (proration_discounts IN ('included', 'itemized'));

ALTER TABLE subscription_items
    ADD COLUMN generation      integer NOT NULL DEFAULT 0,  -- how often its count began anew
    ADD COLUMN usage_from      timestamptz,   -- from when on usage is not billed yet; null: period_start
    ADD COLUMN usage_price_id  object_id,     -- what bills the running window; null: price_id
    ADD COLUMN billed_quantity numeric,       -- of the running window, by thresholds
    ADD COLUMN billed_amount   bigint  NOT NULL DEFAULT 0,
    ADD COLUMN charge_ids      text[],        -- the lines or invoice items that paid the running period
    ADD COLUMN discount_ids    text[],
    ADD COLUMN tax_rate_ids    text[],
    ADD COLUMN threshold_usage numeric;

-- What will be on a customer's next invoice, or is put on one by hand.
CREATE TABLE invoice_items (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    customer_id          object_id   NOT NULL,
    clock_id             object_id,
    invoice_id           object_id,            -- null: pending
    subscription_id      object_id,
    subscription_item_id object_id,
    price_id             object_id,
    product_id           object_id,
    meter_id             object_id,            -- set when it bills usage
    obligation           text        COLLATE "C" NOT NULL,
    part                 smallint    NOT NULL DEFAULT 0,
    period_start         timestamptz NOT NULL,
    period_end           timestamptz NOT NULL,
    quantity             numeric     NOT NULL,
    unit_amount          numeric,
    tier                 smallint,
    kind                 text        NOT NULL,
    amount               bigint      NOT NULL,
    currency             text        NOT NULL,
    description          text        NOT NULL,
    discountable         boolean     NOT NULL,
    proration            boolean     NOT NULL,
    credited             json,                 -- what a credit takes back: {invoice, lines} or {invoice_item}
    discount_ids         text[],
    tax_rate_ids         text[],
    metadata             jsonb       NOT NULL DEFAULT '{}',
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers
);

CREATE INDEX invoice_items_by_customer ON invoice_items (account_id, customer_id, id);
CREATE INDEX invoice_items_pending ON invoice_items (account_id, customer_id) WHERE invoice_id IS NULL;
CREATE INDEX invoice_items_by_invoice ON invoice_items (account_id, invoice_id)
    WHERE invoice_id IS NOT NULL;
CREATE UNIQUE INDEX invoice_items_pending_once ON invoice_items (account_id, obligation, part)
    WHERE invoice_id IS NULL;

ALTER TABLE invoices
    ADD COLUMN discount_ids         text[],
    ADD COLUMN tax_rate_ids         text[],
    ADD COLUMN total_discounts      json,    -- {discount: amount}
    ADD COLUMN total_credits        json,    -- {credit balance transaction: amount}, before tax
    ADD COLUMN total_taxes          json,    -- {tax rate: {amount, taxable, inclusive}}
    ADD COLUMN pre_payment_credits  bigint  NOT NULL DEFAULT 0,  -- by credit notes, before it was paid
    ADD COLUMN post_payment_credits bigint  NOT NULL DEFAULT 0,
    ADD COLUMN threshold_reason     json,
    ADD COLUMN from_invoice_id      object_id,
    ADD COLUMN latest_revision_id   object_id,
    ADD COLUMN proration_at         timestamptz,
    ADD COLUMN appearance           json,    -- custom_fields, rendering, statement_descriptor
    ADD COLUMN given_number         text,    -- of a draft: the number that it is to have
    ADD COLUMN effective_at         timestamptz,
    ADD COLUMN uncollectible_reason text;

ALTER TABLE invoice_lines
    ADD COLUMN invoice_item_id object_id,
    ADD COLUMN proration       boolean NOT NULL DEFAULT false,
    ADD COLUMN discountable    boolean NOT NULL DEFAULT true,
    ADD COLUMN credited        json,
    ADD COLUMN discount_ids    text[],
    ADD COLUMN tax_rate_ids    text[],
    ADD COLUMN discounts       json,         -- {discount: amount}
    ADD COLUMN credits         json,         -- {credit balance transaction: amount}
    ADD COLUMN taxes           json;         -- {tax rate: {amount, taxable, inclusive}}
