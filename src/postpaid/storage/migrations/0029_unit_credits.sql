-- Units of usage that a customer has bought in advance, of a product, and what became of them.
CREATE TABLE unit_credits (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    clock_id    object_id,
    product_id  object_id   NOT NULL,
    granted     numeric     NOT NULL,
    used        numeric     NOT NULL,
    is_limited  boolean     NOT NULL,
    expires_at  timestamptz,
    metadata    jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    FOREIGN KEY (account_id, product_id) REFERENCES products,
    CONSTRAINT unit_credits_never_overdrawn CHECK (granted > 0 AND used BETWEEN 0 AND granted),
    CONSTRAINT unit_credits_expire_after_they_were_made CHECK (expires_at > created_at)
);

CREATE INDEX unit_credits_by_customer ON unit_credits (account_id, customer_id, id);
CREATE INDEX unit_credits_by_product ON unit_credits (account_id, product_id);

-- What an invoice took of a credit, for a meter's usage in a window; given back with the invoice.
CREATE TABLE unit_draws (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    credit_id    object_id   NOT NULL,
    invoice_id   object_id   NOT NULL,
    meter_id     object_id   NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    quantity     numeric     NOT NULL,
    drawn_at     timestamptz NOT NULL,
    returned_at  timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, credit_id) REFERENCES unit_credits,
    FOREIGN KEY (account_id, meter_id) REFERENCES meters,
    CONSTRAINT unit_draws_quantity_positive CHECK (quantity > 0),
    CONSTRAINT unit_draws_of_a_window CHECK (period_start < period_end)
);

CREATE UNIQUE INDEX unit_draws_once
    ON unit_draws (account_id, invoice_id, credit_id, meter_id, period_start);
CREATE INDEX unit_draws_by_credit ON unit_draws (account_id, credit_id);

-- Whether some units of the customer's are, or were, all that it may use: then events are weighed.
ALTER TABLE customers ADD COLUMN usage_is_limited boolean NOT NULL DEFAULT false;
