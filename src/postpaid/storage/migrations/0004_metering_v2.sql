-- Sessions of the stream, what it had to reject, and what came twice with different content.

-- Leave to send usage for a quarter of an hour, for as long as the key that asked for it is good.
CREATE TABLE meter_event_sessions (
    account_id integer     NOT NULL REFERENCES accounts,
    id         object_id   NOT NULL,
    key_id     object_id   NOT NULL REFERENCES api_keys,
    digest     bytea       NOT NULL,  -- SHA-256 of the token; the token itself is never stored
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT meter_event_sessions_digest_once UNIQUE (digest)
);

CREATE INDEX meter_event_sessions_by_end ON meter_event_sessions (account_id, expires_at);

-- Rejected events, counted by the transaction that stored the others, until the worker reports them.
CREATE TABLE usage_rejections (
    account_id   integer     NOT NULL,
    window_start timestamptz NOT NULL,  -- by the wall clock
    meter_id     object_id   NOT NULL,  -- empty: no meter has the event's name
    code         text        NOT NULL,
    count        bigint      NOT NULL,
    samples      json        NOT NULL,  -- the first few, with their messages and identifiers
    PRIMARY KEY (account_id, window_start, meter_id, code),
    CONSTRAINT usage_rejections_are_some CHECK (count > 0)
);

-- Events that were not counted because their identifier is another's, for someone to look at.
CREATE TABLE usage_conflicts (
    account_id  integer        NOT NULL,
    id          object_id      NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    event_name  text           NOT NULL,
    customer_id object_id      NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    value       text           NOT NULL,
    payload     json           NOT NULL,  -- as it was reported, whole
    received_at timestamptz(3) NOT NULL,
    actor       text           NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX usage_conflicts_by_reference ON usage_conflicts (account_id, reference, id);
