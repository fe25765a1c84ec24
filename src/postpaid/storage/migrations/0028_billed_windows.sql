-- What of customers' usage is billed by windows, so that none of it is billed twice.

ALTER TABLE invoices
    ADD COLUMN bills_usage boolean NOT NULL DEFAULT false;

-- A series is one customer's usage of one meter: its billed windows have no instant in common.
CREATE TABLE billed_windows (
    account_id integer     NOT NULL,
    series_id  bigint      NOT NULL,
    start_at   timestamptz NOT NULL,
    end_at     timestamptz NOT NULL,
    price_id   object_id   NOT NULL,  -- it was first rated by, as is what comes late
    PRIMARY KEY (series_id, start_at, end_at),
    FOREIGN KEY (series_id) REFERENCES usage_series (series_id),
    FOREIGN KEY (account_id, price_id) REFERENCES prices,
    CONSTRAINT billed_windows_begin_before_they_end CHECK (start_at < end_at),
    CONSTRAINT billed_windows_never_overlap EXCLUDE USING gist (
        int8range(series_id, series_id, '[]') WITH &&,
        tstzrange(start_at, end_at) WITH &&)
);

-- By which invoices, with what had been used by then, and what it came to beyond those before.
CREATE TABLE window_billings (
    account_id integer     NOT NULL,
    obligation text        COLLATE "C" NOT NULL,
    invoice_id object_id   NOT NULL,
    series_id  bigint      NOT NULL,
    start_at   timestamptz NOT NULL,
    end_at     timestamptz NOT NULL,
    quantity   numeric     NOT NULL,
    amount     bigint      NOT NULL,
    PRIMARY KEY (account_id, obligation),
    FOREIGN KEY (account_id, invoice_id) REFERENCES invoices,
    FOREIGN KEY (series_id, start_at, end_at) REFERENCES billed_windows,
    CONSTRAINT window_billings_quantity_not_negative CHECK (quantity >= 0)
);

CREATE INDEX window_billings_by_invoice ON window_billings (account_id, invoice_id);
CREATE INDEX window_billings_by_window ON window_billings (series_id, start_at, end_at);
