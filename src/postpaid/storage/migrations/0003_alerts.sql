-- Alerts: what to watch a meter for, and what was sent.

CREATE TABLE billing_alerts (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    title       text        NOT NULL,
    meter_id    object_id   NOT NULL,
    customer_id object_id,             -- null: each customer
    recurrence  text        NOT NULL,
    gte         numeric,               -- a quantity, in the meter's units
    percent     integer,               -- of what the price includes
    amount      bigint,                -- minor units that the item has accrued
    status      text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, meter_id) REFERENCES meters,
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT billing_alerts_status CHECK (status IN ('active', 'inactive', 'archived')),
    CONSTRAINT billing_alerts_recurrence CHECK (recurrence IN ('one_time', 'billing_period')),
    CONSTRAINT billing_alerts_one_threshold
        CHECK (num_nonnulls(gte, percent, amount) = 1 AND coalesce(gte, percent, amount) > 0),
    CONSTRAINT billing_alerts_one_time_by_quantity
        CHECK (recurrence <> 'one_time' OR gte IS NOT NULL)
);

CREATE INDEX billing_alerts_by_meter ON billing_alerts (account_id, meter_id, id)
    WHERE status <> 'archived';

-- An alert is sent once for each key: all time, or what an item owes for one period.
CREATE TABLE alert_firings (
    account_id  integer     NOT NULL,
    alert_id    object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    window_key  text        COLLATE "C" NOT NULL,
    quantity    numeric     NOT NULL,
    fired_at    timestamptz NOT NULL,
    CONSTRAINT alert_firings_once PRIMARY KEY (account_id, alert_id, customer_id, window_key),
    FOREIGN KEY (account_id, alert_id) REFERENCES billing_alerts
);
