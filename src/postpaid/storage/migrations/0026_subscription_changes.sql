-- What subscriptions sold before and since, change by change; and pauses that end by themselves.

ALTER TABLE subscriptions
    ADD COLUMN resumes_at timestamptz,
    ADD CONSTRAINT subscriptions_resume_only_from_a_pause
        CHECK (resumes_at IS NULL OR status = 'paused');

CREATE INDEX subscriptions_resuming ON subscriptions (account_id, resumes_at)
    WHERE resumes_at IS NOT NULL;

CREATE TABLE subscription_changes (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    subscription_id object_id   NOT NULL,
    kind            text        NOT NULL,
    proration       text        NOT NULL,
    settlement      text        NOT NULL,
    settles_at      timestamptz,            -- null: it is not known yet, or nothing is to settle
    amount          bigint      NOT NULL,   -- of the prorations, in minor units; negative is credit
    invoice_id      object_id,
    state_before    json        NOT NULL,
    state_after     json        NOT NULL,
    effective_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT subscription_changes_kind
        CHECK (kind IN ('upgrade', 'downgrade', 'phase', 'interval', 'other')),
    CONSTRAINT subscription_changes_proration
        CHECK (proration IN ('create_prorations', 'always_invoice', 'none')),
    CONSTRAINT subscription_changes_settlement
        CHECK (settlement IN ('at_once', 'next_renewal', 'none')),
    CONSTRAINT subscription_changes_invoice_iff_at_once
        CHECK ((settlement = 'at_once') = (invoice_id IS NOT NULL))
);

CREATE INDEX subscription_changes_by_subscription
    ON subscription_changes (account_id, subscription_id, id);
