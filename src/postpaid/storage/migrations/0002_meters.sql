-- What a meter takes, and how it adds up beyond sum, count and last.

ALTER TABLE meters
    ADD COLUMN event_time_window text,
    ADD COLUMN accepts_past_s    bigint  NOT NULL DEFAULT 3024000,  -- 35 days
    ADD COLUMN accepts_future_s  integer NOT NULL DEFAULT 300,
    ADD COLUMN cancels_within_s  bigint  NOT NULL DEFAULT 86400,
    DROP CONSTRAINT meters_aggregation,
    ADD CONSTRAINT meters_aggregation CHECK (
        aggregation IN ('sum', 'count', 'last', 'max', 'unique', 'average', 'time_weighted_sum',
                        'p95', 'p99', 'duration')),
    ADD CONSTRAINT meters_event_time_window_of_what_combines CHECK (
        event_time_window IS NULL
        OR (event_time_window IN ('hour', 'day')
            AND aggregation IN ('sum', 'count', 'last', 'max', 'average'))),
    ADD CONSTRAINT meters_spans_bounded CHECK (
        accepts_past_s BETWEEN 0 AND 315360000
        AND accepts_future_s BETWEEN 0 AND 43200
        AND cancels_within_s BETWEEN 0 AND 315360000);
