-- Payment methods that are to be charged later, seen to before: what is set up, and each try.

CREATE TABLE setup_intents (
    account_id          integer     NOT NULL,
    id                  object_id   NOT NULL,
    customer_id         object_id,
    clock_id            object_id,
    subscription_id     object_id,             -- which waits for something to be charged
    usage               text        NOT NULL,
    status              text        NOT NULL,
    client_secret       text        NOT NULL,  -- lets whoever has it confirm this one setup
    payment_method_id   object_id,
    latest_attempt_id   object_id,
    last_error          json,
    next_action         json,
    payment_method_types text[],               -- null: all that can be set up
    description         text,
    metadata            jsonb       NOT NULL DEFAULT '{}'::jsonb,
    cancellation_reason text,
    created_at          timestamptz NOT NULL,
    canceled_at         timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT setup_intents_usage CHECK (usage IN ('off_session', 'on_session')),
    CONSTRAINT setup_intents_canceled_iff_canceled_at
        CHECK ((status = 'canceled') = (canceled_at IS NOT NULL)),
    CONSTRAINT setup_intents_succeeded_with_a_method
        CHECK (status <> 'succeeded' OR payment_method_id IS NOT NULL),
    CONSTRAINT setup_intents_status CHECK (status IN (
        'requires_payment_method', 'requires_confirmation', 'requires_action', 'processing',
        'succeeded', 'canceled'))
);

CREATE INDEX setup_intents_by_customer ON setup_intents (account_id, customer_id, id)
    WHERE customer_id IS NOT NULL;
CREATE UNIQUE INDEX setup_intents_one_open_per_subscription
    ON setup_intents (account_id, subscription_id)
    WHERE subscription_id IS NOT NULL AND status NOT IN ('succeeded', 'canceled');

CREATE TABLE setup_attempts (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    setup_intent_id   object_id   NOT NULL,
    customer_id       object_id,
    payment_method_id object_id   NOT NULL,
    gateway           text        NOT NULL,
    gateway_token     text        NOT NULL,
    status            text        NOT NULL,
    gateway_reference text,
    failure_code      text,
    decline_code      text,
    failure_message   text,
    next_action       json,
    leased_until      timestamptz,
    attempted_at      timestamptz NOT NULL,
    settled_at        timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT setup_attempts_settled_iff_known CHECK (
        (status IN ('pending', 'action_required', 'processing')) = (settled_at IS NULL)),
    CONSTRAINT setup_attempts_status CHECK (status IN (
        'pending', 'action_required', 'processing', 'succeeded', 'failed', 'canceled'))
);

CREATE UNIQUE INDEX setup_attempts_one_under_way ON setup_attempts (account_id, setup_intent_id)
    WHERE status IN ('pending', 'action_required', 'processing');
CREATE INDEX setup_attempts_by_intent ON setup_attempts (account_id, setup_intent_id, id);
CREATE INDEX setup_attempts_unsettled ON setup_attempts (account_id, leased_until)
    WHERE status IN ('pending', 'action_required', 'processing');

ALTER TABLE subscriptions ADD COLUMN pending_setup_intent_id object_id;
