-- Webhooks: whom to tell of events, what is to be told to whom, and each time that we tried.

CREATE TABLE webhook_endpoints (
    account_id            integer     NOT NULL REFERENCES accounts,
    id                    object_id   NOT NULL,
    url                   text        NOT NULL,
    enabled_events        jsonb       NOT NULL,  -- types; invoice.* is all of a kind, * is all
    facade                text        NOT NULL,  -- in whose words
    payload               text        NOT NULL,  -- the object as it was, or only where to find it
    api_version           text,
    description           text,
    metadata              jsonb       NOT NULL DEFAULT '{}',
    status                text        NOT NULL,
    secret                bytea,                 -- sealed
    previous_secret       bytea,                 -- sealed; signs too, until it is over
    previous_secret_until timestamptz,
    failing_since         timestamptz,           -- null: the last answer was a good one
    created_at            timestamptz NOT NULL,
    deleted_at            timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT webhook_endpoints_facade CHECK (facade IN ('stripe', 'frame')),
    CONSTRAINT webhook_endpoints_payload CHECK (payload IN ('snapshot', 'thin')),
    CONSTRAINT webhook_endpoints_status CHECK (status IN ('enabled', 'disabled')),
    CONSTRAINT webhook_endpoints_previous_secret_for_a_time
        CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL)),
    CONSTRAINT webhook_endpoints_secret_forgotten_iff_deleted
        CHECK ((secret IS NULL) = (deleted_at IS NOT NULL)),
    CONSTRAINT webhook_endpoints_deleted_are_disabled
        CHECK (deleted_at IS NULL OR status = 'disabled')
);

-- What is to be told, written with the event. There is no foreign key: events go in their own time, and
-- endpoints keep their rows; and these rows are written while customers are locked.
CREATE TABLE webhook_deliveries (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    sequence    bigint      GENERATED ALWAYS AS IDENTITY,  -- in the order of what happened to a subject
    endpoint_id object_id   NOT NULL,
    event_id    object_id   NOT NULL,
    subject_id  object_id   NOT NULL,  -- the object whose events arrive in order
    status      text        NOT NULL DEFAULT 'pending',
    due_at      timestamptz DEFAULT 'epoch',  -- wall clock; null: waits for an earlier one, or is settled
    attempts    integer     NOT NULL DEFAULT 0,  -- in all
    failures    integer     NOT NULL DEFAULT 0,  -- since it was last begun
    created_at  timestamptz NOT NULL,            -- the event's
    settled_at  timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_settled_iff_not_pending
        CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT webhook_deliveries_due_only_while_pending
        CHECK (due_at IS NULL OR status = 'pending')
);

CREATE INDEX webhook_deliveries_due
    ON webhook_deliveries (account_id, endpoint_id, due_at, sequence)
    WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_pending
    ON webhook_deliveries (account_id, endpoint_id, subject_id, sequence)
    WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (account_id, event_id);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (account_id, endpoint_id, id);

CREATE TABLE webhook_attempts (
    account_id   integer     NOT NULL,
    delivery_id  object_id   NOT NULL,
    number       integer     NOT NULL,
    attempted_at timestamptz NOT NULL,
    duration_ms  integer     NOT NULL,
    status_code  integer,  -- null: there was no answer
    error        text,     -- null: it was delivered
    response     text,     -- the beginning of what was answered
    PRIMARY KEY (account_id, delivery_id, number),
    FOREIGN KEY (account_id, delivery_id) REFERENCES webhook_deliveries ON DELETE CASCADE
);
