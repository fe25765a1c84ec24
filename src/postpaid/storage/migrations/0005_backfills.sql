-- Backfills: usage of any age, sent aside, looked at, and then counted or thrown away.

CREATE TABLE usage_backfills (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    status      text        NOT NULL,
    event_name  text,                 -- null: of any meter
    description text,
    event_count bigint,               -- how many it had when it was closed, or reverted before that
    created_at  timestamptz NOT NULL,
    closed_at   timestamptz,
    reverted_at timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT usage_backfills_status CHECK (status IN ('open', 'closed', 'reverted')),
    CONSTRAINT usage_backfills_open_iff_not_ended
        CHECK ((status = 'open') = (closed_at IS NULL AND reverted_at IS NULL)),
    CONSTRAINT usage_backfills_reverted_iff_reverted_at
        CHECK ((status = 'reverted') = (reverted_at IS NOT NULL)),
    CONSTRAINT usage_backfills_counted_iff_not_open
        CHECK ((status = 'open') = (event_count IS NULL))
);

-- What a backfill that was closed has changed the totals of, also once it is reverted.
CREATE TABLE usage_backfill_series (
    account_id  integer        NOT NULL,
    backfill_id object_id      NOT NULL,
    series_id   bigint         NOT NULL,
    first_at    timestamptz(3) NOT NULL,
    last_at     timestamptz(3) NOT NULL,
    PRIMARY KEY (account_id, backfill_id, series_id),
    FOREIGN KEY (account_id, backfill_id) REFERENCES usage_backfills,
    CONSTRAINT usage_backfill_series_ordered CHECK (first_at <= last_at)
);

CREATE INDEX usage_backfill_series_by_series ON usage_backfill_series (series_id);
