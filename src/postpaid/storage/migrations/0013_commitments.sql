-- Commitments, thresholds and schedules: what is owed at least and at most, what is billed before its
-- period ends, and changes that are agreed in advance.

ALTER TABLE prices
    ADD COLUMN minimum_amount bigint,  -- minor units for a whole period
    ADD COLUMN maximum_amount bigint,
    ADD CONSTRAINT prices_commitment_ordered CHECK (
        coalesce(minimum_amount, 0) >= 0
        AND (maximum_amount IS NULL OR maximum_amount >= coalesce(minimum_amount, 0))),
    ADD CONSTRAINT prices_commitment_of_usage CHECK (
        num_nonnulls(minimum_amount, maximum_amount) = 0 OR usage_type = 'metered');

ALTER TABLE subscriptions
    ADD CONSTRAINT subscriptions_commitment_ordered CHECK (
        coalesce(minimum_amount, 0) >= 0
        AND (maximum_amount IS NULL OR maximum_amount >= coalesce(minimum_amount, 0)));

ALTER TABLE invoice_items
    ADD COLUMN whole_seconds bigint;

ALTER TABLE invoice_lines
    ADD COLUMN whole_seconds bigint,  -- how long a whole period is, where this is a part of one
    DROP CONSTRAINT invoice_lines_kind,
    ADD CONSTRAINT invoice_lines_kind
        CHECK (kind IN ('unit', 'flat', 'minimum', 'maximum', 'billed'));

-- Subscriptions whose usage may have reached a threshold: written by whoever stores the usage, read
-- and deleted by whoever decides. Rows are only ever added and deleted, so nobody waits for anybody.
CREATE TABLE thresholds_reached (
    account_id      integer     NOT NULL,
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    subscription_id object_id   NOT NULL,
    customer_id     object_id   NOT NULL,
    clock_id        object_id,
    PRIMARY KEY (account_id, id)
);

-- What a subscription will be, phase after phase.
CREATE TABLE subscription_schedules (
    account_id              integer     NOT NULL,
    id                      object_id   NOT NULL,
    customer_id             object_id   NOT NULL,
    clock_id                object_id,
    subscription_id         object_id,             -- null until it starts
    released_subscription_id object_id,
    status                  text        NOT NULL,
    end_behavior            text        NOT NULL,
    billing_mode            text        NOT NULL,
    default_settings        jsonb       NOT NULL,
    phases                  jsonb       NOT NULL,
    phase_index             integer,               -- which phase runs; null: none does
    due_at                  timestamptz,           -- when the next thing happens by itself
    parked                  text,                  -- why it did not, until someone has looked
    metadata                jsonb       NOT NULL DEFAULT '{}',
    created_at              timestamptz NOT NULL,
    canceled_at             timestamptz,
    completed_at            timestamptz,
    released_at             timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT subscription_schedules_status
        CHECK (status IN ('not_started', 'active', 'completed', 'released', 'canceled')),
    CONSTRAINT subscription_schedules_end_behavior
        CHECK (end_behavior IN ('release', 'cancel')),
    CONSTRAINT subscription_schedules_billing_mode CHECK (billing_mode IN ('flexible', 'classic')),
    CONSTRAINT subscription_schedules_due_only_while_running
        CHECK (due_at IS NULL OR status IN ('not_started', 'active')),
    CONSTRAINT subscription_schedules_phase_iff_active
        CHECK ((phase_index IS NOT NULL) = (status = 'active')),
    CONSTRAINT subscription_schedules_canceled_iff_canceled_at
        CHECK ((status = 'canceled') = (canceled_at IS NOT NULL))
);

CREATE INDEX subscription_schedules_by_customer
    ON subscription_schedules (account_id, customer_id, id);
CREATE UNIQUE INDEX subscription_schedules_one_per_subscription
    ON subscription_schedules (account_id, subscription_id)
    WHERE subscription_id IS NOT NULL AND status IN ('not_started', 'active');
CREATE INDEX subscription_schedules_due ON subscription_schedules (account_id, due_at)
    WHERE due_at IS NOT NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX subscription_schedules_due_on_clock
    ON subscription_schedules (account_id, clock_id, due_at)
    WHERE due_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;
