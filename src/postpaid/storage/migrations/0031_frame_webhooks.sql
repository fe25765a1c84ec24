-- What Frame's endpoints are told, and how much customers are to use before they are told of it.

ALTER TABLE webhook_deliveries
    ADD COLUMN told_as text;  -- Frame's code; null: the event's own type, which is Stripe's

-- Per customer, or for every one of the account; of them the customer's own counts.
CREATE TABLE usage_quotas (
    account_id  integer     NOT NULL REFERENCES accounts,
    id          object_id   NOT NULL,
    meter_id    object_id   NOT NULL,
    customer_id object_id,                       -- null: of everyone that has none of its own
    quantity    numeric,                         -- in the meter's units
    amount      bigint,                          -- or in minor units of the meter's price
    percents    integer[]   NOT NULL,            -- of it, at which it is said; ascending
    metadata    jsonb       NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, meter_id) REFERENCES meters,
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT usage_quotas_quantity_or_amount CHECK (num_nonnulls(quantity, amount) = 1),
    CONSTRAINT usage_quotas_positive CHECK (coalesce(quantity, amount) > 0),
    CONSTRAINT usage_quotas_percents CHECK (cardinality(percents) BETWEEN 1 AND 20 AND 0 < ALL (percents))
);
CREATE UNIQUE INDEX usage_quotas_one_of_a_meter
    ON usage_quotas (account_id, meter_id, coalesce(customer_id, ''))
    WHERE deleted_at IS NULL;
CREATE INDEX usage_quotas_of_customer ON usage_quotas (account_id, customer_id) WHERE deleted_at IS NULL;

-- That it was said, once for each percentage and window.
CREATE TABLE usage_quota_marks (
    account_id  integer     NOT NULL,
    quota_id    object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    start_at    timestamptz NOT NULL,            -- of the customer's period, or of the month
    percent     integer     NOT NULL,
    reached_at  timestamptz NOT NULL,
    CONSTRAINT usage_quota_marks_once PRIMARY KEY (account_id, quota_id, customer_id, start_at, percent),
    FOREIGN KEY (account_id, quota_id) REFERENCES usage_quotas
);

-- What came first of collecting an invoice.
CREATE INDEX events_of_outcomes ON events (account_id, object_id, id)
    WHERE type IN ('invoice.paid', 'invoice.payment_failed');
