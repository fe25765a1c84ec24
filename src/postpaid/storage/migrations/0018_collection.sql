-- What happens when nobody pays: retries by a schedule, reminders, and what is announced before.

CREATE TABLE retry_schedules (
    account_id    integer     NOT NULL,
    id            object_id   NOT NULL,
    kind          text        NOT NULL,
    created_at    timestamptz NOT NULL,
    name          text,
    "window"      text,                             -- in what time, of the kind window
    days          smallint[],                       -- after the try before, of the kind list
    after_retries text        NOT NULL DEFAULT 'past_due',
    segment       jsonb,                            -- the metadata of customers it is for; null: none
    metadata      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (account_id, id),
    CONSTRAINT retry_schedules_kind CHECK (kind IN ('window', 'daily', 'list')),
    CONSTRAINT retry_schedules_window CHECK (
        "window" IN ('1_week', '2_weeks', '3_weeks', '1_month', '2_months')),
    CONSTRAINT retry_schedules_after_retries
        CHECK (after_retries IN ('past_due', 'unpaid', 'cancel', 'pause')),
    CONSTRAINT retry_schedules_window_iff_of_one
        CHECK ((kind = 'window') = ("window" IS NOT NULL)),
    CONSTRAINT retry_schedules_days_iff_listed CHECK (
        (kind = 'list') = (days IS NOT NULL) AND coalesce(cardinality(days), 1) BETWEEN 1 AND 20)
);

ALTER TABLE accounts
    ADD COLUMN retry_schedule_id  object_id,                           -- null: the built-in one
    ADD COLUMN upcoming_days      smallint DEFAULT 7,                  -- before a renewal; null: never
    ADD COLUMN reminder_days      smallint[] NOT NULL DEFAULT '{}',    -- before a sent invoice is due
    ADD CONSTRAINT accounts_retry_schedule
        FOREIGN KEY (account_id, retry_schedule_id) REFERENCES retry_schedules,
    ADD CONSTRAINT accounts_upcoming_days CHECK (upcoming_days BETWEEN 1 AND 60),
    ADD CONSTRAINT accounts_reminder_days
        CHECK (cardinality(reminder_days) <= 10 AND 1 <= ALL (reminder_days)
               AND 60 >= ALL (reminder_days));

-- An invoice is tried again at retry_at, after so many tries, and is given up at gives_up_at. One
-- that is sent reminds at reminds_at: before it is due, and at last when it is overdue.
ALTER TABLE invoices
    ADD COLUMN retry_at    timestamptz,
    ADD COLUMN retry_tries smallint NOT NULL DEFAULT 0,
    ADD COLUMN tried_at    timestamptz,                                -- at last, by ourselves
    ADD COLUMN gives_up_at timestamptz,
    ADD COLUMN reminds_at  timestamptz,
    ADD CONSTRAINT invoices_retried_or_given_up CHECK (retry_at IS NULL OR gives_up_at IS NULL);

CREATE INDEX invoices_to_retry ON invoices (account_id, retry_at)
    WHERE retry_at IS NOT NULL AND clock_id IS NULL;
CREATE INDEX invoices_to_retry_on_clock ON invoices (account_id, clock_id, retry_at)
    WHERE retry_at IS NOT NULL AND clock_id IS NOT NULL;
CREATE INDEX invoices_to_give_up ON invoices (account_id, gives_up_at)
    WHERE gives_up_at IS NOT NULL AND clock_id IS NULL;
CREATE INDEX invoices_to_give_up_on_clock ON invoices (account_id, clock_id, gives_up_at)
    WHERE gives_up_at IS NOT NULL AND clock_id IS NOT NULL;
CREATE INDEX invoices_to_remind ON invoices (account_id, reminds_at)
    WHERE reminds_at IS NOT NULL AND clock_id IS NULL;
CREATE INDEX invoices_to_remind_on_clock ON invoices (account_id, clock_id, reminds_at)
    WHERE reminds_at IS NOT NULL AND clock_id IS NOT NULL;

-- Sent invoices that are open when this comes become overdue as those after it do.
UPDATE invoices
   SET reminds_at = due_at
 WHERE status = 'open'
   AND collection_method = 'send_invoice';

-- renews_at is when a subscription is next billed by itself and charged; upcoming_for is the last
-- such moment that was announced.
ALTER TABLE subscriptions
    ADD COLUMN retry_schedule_id object_id,
    ADD COLUMN paused_reason     text,                                 -- null: by request, or a trial
    ADD COLUMN upcoming_for      timestamptz,
    ADD COLUMN renews_at         timestamptz GENERATED ALWAYS AS (
        CASE WHEN closes_at IS NULL
               OR parked IS NOT NULL
               OR collection_method <> 'charge_automatically'
               OR status NOT IN ('trialing', 'active', 'past_due') THEN NULL
             WHEN status = 'trialing' THEN least(trial_end_at, cancel_at)
             ELSE closes_at END) STORED,
    ADD CONSTRAINT subscriptions_retry_schedule
        FOREIGN KEY (account_id, retry_schedule_id) REFERENCES retry_schedules;

CREATE INDEX subscriptions_by_retry_schedule ON subscriptions (account_id, retry_schedule_id)
    WHERE retry_schedule_id IS NOT NULL;
CREATE INDEX subscriptions_upcoming ON subscriptions (account_id, renews_at)
    WHERE renews_at IS NOT NULL AND upcoming_for IS DISTINCT FROM renews_at AND clock_id IS NULL;
CREATE INDEX subscriptions_upcoming_on_clock ON subscriptions (account_id, clock_id, renews_at)
    WHERE renews_at IS NOT NULL AND upcoming_for IS DISTINCT FROM renews_at AND clock_id IS NOT NULL;

-- A card expires with its month, at whose first day that is announced, once.
ALTER TABLE payment_methods
    ADD COLUMN expires_in date GENERATED ALWAYS AS (
        CASE WHEN (card ->> 'exp_year') ~ '^[0-9]{4}$' AND (card ->> 'exp_month') ~ '^([1-9]|1[0-2])$'
             THEN make_date((card ->> 'exp_year')::integer, (card ->> 'exp_month')::integer, 1)
        END) STORED,
    ADD COLUMN expiry_said date;

CREATE INDEX payment_methods_expiring ON payment_methods (account_id, expires_in)
    WHERE customer_id IS NOT NULL AND expires_in IS DISTINCT FROM expiry_said;
