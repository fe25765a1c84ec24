-- Retention: a key belongs to one API and is found by its age; what was deleted leaves a mark. And
-- what v2 says of a webhook endpoint beside v1.

ALTER TABLE idempotency_keys
    ADD COLUMN api text NOT NULL DEFAULT 'v1',  -- whose requests it was used for
    DROP CONSTRAINT idempotency_keys_pkey,
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, api, key),
    ADD CONSTRAINT idempotency_keys_api CHECK (api IN ('v1', 'v2'));

-- Which of them came through v2 is not known: a repeat must find its answer there too.
INSERT INTO idempotency_keys (account_id, api, key, fingerprint, request_id, created_at,
                              unfinished, leased_until, status, body)
SELECT account_id, 'v2', key, fingerprint, request_id, created_at,
       unfinished, leased_until, status, body
  FROM idempotency_keys;

ALTER TABLE idempotency_keys ALTER COLUMN api DROP DEFAULT;

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (account_id, api, created_at);

-- Before which id there may be events no more: the audit misses none of the older ones.
CREATE TABLE retention_marks (
    account_id integer   NOT NULL,
    kind       text      NOT NULL,
    first_id   object_id NOT NULL,
    CONSTRAINT retention_marks_pkey PRIMARY KEY (account_id, kind),
    CONSTRAINT retention_marks_kind CHECK (kind IN ('events'))
);

CREATE TABLE event_destinations (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    name       text        NOT NULL,
    updated_at timestamptz NOT NULL,  -- through v2
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, id) REFERENCES webhook_endpoints
);
