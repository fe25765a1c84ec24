-- The house: accounts, their customers, what is sold, what was used, what is owed, and what happened.
--
-- Every table is keyed by account first. Ids sort by the moment they were made (ids.py), so a list
-- page is a range of the primary key. Amounts are integers of minor units; quantities and unit
-- amounts are exact numerics; decimals inside JSON are strings.

CREATE DOMAIN object_id AS text COLLATE "C";

-- ─── Who ─────────────────────────────────────────────────────────────────────────────────────

-- One merchant in one mode. Test and live are two accounts, so nothing can see across.
CREATE TABLE accounts (
    account_id  integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          object_id   NOT NULL,
    livemode    boolean     NOT NULL,
    name        text        NOT NULL,
    country     text        NOT NULL DEFAULT 'US',
    created_at  timestamptz NOT NULL,
    CONSTRAINT accounts_id_once UNIQUE (id),
    CONSTRAINT accounts_one_per_name_and_mode UNIQUE (name, livemode)
);

CREATE TABLE api_keys (
    id          object_id   PRIMARY KEY,
    account_id  integer     NOT NULL REFERENCES accounts,
    name        text,
    digest      bytea       NOT NULL,  -- SHA-256 of the secret; the secret itself is never stored
    hint        text        NOT NULL,  -- its last four characters
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    CONSTRAINT api_keys_digest_once UNIQUE (digest)
);

CREATE TABLE idempotency_keys (
    account_id   integer     NOT NULL,
    key          text        NOT NULL,
    fingerprint  bytea       NOT NULL,  -- SHA-256 of the operation and its parameters
    request_id   object_id   NOT NULL,
    created_at   timestamptz NOT NULL,
    unfinished   json,                  -- what the second step needs, while it is under way
    leased_until timestamptz,           -- until when the request that is finishing it may be alive
    status       smallint,
    body         json,
    PRIMARY KEY (account_id, key),
    CONSTRAINT idempotency_keys_answered_or_unfinished
        CHECK ((status IS NULL) = (body IS NULL) AND (status IS NULL OR unfinished IS NULL))
);

-- Who did what, and when: one row per accepted write, in the write's own transaction.
CREATE TABLE acts (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,  -- the request id
    actor      text        NOT NULL,  -- an API key's id, or the worker's or a command's name
    operation  text        NOT NULL,
    acted_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE TABLE test_clocks (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    name       text,
    status     text        NOT NULL,
    frozen_at  timestamptz NOT NULL,
    target_at  timestamptz,
    failure    text,                 -- why an advance stopped, for whoever looks
    created_at timestamptz NOT NULL,
    deletes_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT test_clocks_status CHECK (status IN ('ready', 'advancing', 'internal_failure')),
    CONSTRAINT test_clocks_advancing_iff_target CHECK ((status = 'advancing') = (target_at IS NOT NULL)),
    CONSTRAINT test_clocks_move_forward CHECK (target_at >= frozen_at)
);

CREATE INDEX test_clocks_advancing ON test_clocks (account_id, id) WHERE status = 'advancing';

CREATE TABLE customers (
    account_id                integer     NOT NULL,
    id                        object_id   NOT NULL,
    clock_id                  object_id,
    name                      text,
    email                     text,
    phone                     text,
    description               text,
    business_name             text,
    individual_name           text,
    address                   jsonb,
    shipping                  jsonb,
    metadata                  jsonb       NOT NULL DEFAULT '{}',
    preferred_locales         text[]      NOT NULL DEFAULT '{}',
    tax_exempt                text        NOT NULL DEFAULT 'none',
    currency                  text,
    balance                   bigint      NOT NULL DEFAULT 0,
    delinquent                boolean     NOT NULL DEFAULT false,
    invoice_prefix            text        NOT NULL,
    next_invoice_sequence     bigint      NOT NULL DEFAULT 1,
    first_invoice_sequence    bigint      NOT NULL DEFAULT 1,  -- where the numbers without gaps begin
    default_payment_method_id object_id,
    invoice_custom_fields     jsonb,
    invoice_footer            text,
    invoice_rendering_options jsonb,
    created_at                timestamptz NOT NULL,
    deleted_at                timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, clock_id) REFERENCES test_clocks,
    CONSTRAINT customers_tax_exempt CHECK (tax_exempt IN ('none', 'exempt', 'reverse')),
    CONSTRAINT customers_invoice_prefix_once UNIQUE (account_id, invoice_prefix)
);

CREATE INDEX customers_by_email ON customers (account_id, email) WHERE email IS NOT NULL;
CREATE INDEX customers_by_clock ON customers (account_id, clock_id) WHERE clock_id IS NOT NULL;

CREATE TABLE payment_methods (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    customer_id     object_id,
    type            text        NOT NULL,
    gateway         text        NOT NULL,
    gateway_token   text        NOT NULL,  -- what the gateway knows it by
    card            jsonb,
    billing_details jsonb       NOT NULL DEFAULT '{}',
    metadata        jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers
);

CREATE INDEX payment_methods_by_customer ON payment_methods (account_id, customer_id, id)
    WHERE customer_id IS NOT NULL;

-- ─── What is measured and sold ───────────────────────────────────────────────────────────────

CREATE TABLE meters (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    display_name   text        NOT NULL,
    event_name     text        NOT NULL,
    aggregation    text        NOT NULL,
    customer_key   text        NOT NULL,  -- the payload's key that names the customer
    value_key      text        NOT NULL,  -- the payload's key that holds the value
    status         text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    deactivated_at timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT meters_event_name_once UNIQUE (account_id, event_name),
    CONSTRAINT meters_aggregation CHECK (aggregation IN ('sum', 'count', 'last')),
    CONSTRAINT meters_inactive_iff_deactivated
        CHECK (status IN ('active', 'inactive') AND (status = 'inactive') = (deactivated_at IS NOT NULL))
);

CREATE TABLE products (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    name                 text        NOT NULL,
    description          text,
    active               boolean     NOT NULL,
    type                 text        NOT NULL,
    unit_label           text,
    statement_descriptor text,
    tax_code             text,
    url                  text,
    images               text[]      NOT NULL DEFAULT '{}',
    marketing_features   jsonb       NOT NULL DEFAULT '[]',
    package_dimensions   jsonb,
    shippable            boolean,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    default_price_id     object_id,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT products_type CHECK (type IN ('good', 'service'))
);

CREATE TABLE prices (
    account_id          integer     NOT NULL,
    id                  object_id   NOT NULL,
    product_id          object_id   NOT NULL,
    active              boolean     NOT NULL,
    currency            text        NOT NULL,
    nickname            text,
    lookup_key          text,
    tax_behavior        text        NOT NULL DEFAULT 'unspecified',
    metadata            jsonb       NOT NULL DEFAULT '{}',
    interval            text,             -- null: a one-time price
    interval_count      integer,
    usage_type          text,
    meter_id            object_id,
    unit_amount         numeric,          -- minor units per unit; null when tiered
    tiers_mode          text,
    tiers               jsonb,            -- [{up_to, unit_amount, flat_amount}], decimals as strings
    transform_divide_by bigint,
    transform_round     text,
    created_at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, product_id) REFERENCES products,
    FOREIGN KEY (account_id, meter_id) REFERENCES meters,
    CONSTRAINT prices_lookup_key_once UNIQUE (account_id, lookup_key),
    CONSTRAINT prices_per_unit_or_tiered
        CHECK ((unit_amount IS NULL) = (tiers IS NOT NULL) AND (tiers IS NULL) = (tiers_mode IS NULL)),
    CONSTRAINT prices_metered_iff_meter
        CHECK (coalesce(usage_type, 'licensed') IN ('licensed', 'metered')
               AND (coalesce(usage_type, 'licensed') = 'metered') = (meter_id IS NOT NULL)),
    CONSTRAINT prices_recurring_whole
        CHECK ((interval IS NULL) = (interval_count IS NULL) AND (interval IS NULL) = (usage_type IS NULL))
);

CREATE INDEX prices_by_product ON prices (account_id, product_id, id);

-- ─── What was used ───────────────────────────────────────────────────────────────────────────

-- One customer's usage of one meter: what events, hours and windows are kept by. Storing usage never
-- waits for a customer's lock, which a foreign key would make it do.
CREATE TABLE usage_series (
    account_id  integer   NOT NULL,
    customer_id object_id NOT NULL,
    meter_id    object_id NOT NULL,
    series_id   bigint    GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (account_id, customer_id, meter_id),
    CONSTRAINT usage_series_id_once UNIQUE (series_id)
);

CREATE INDEX usage_series_by_meter ON usage_series (account_id, meter_id, customer_id);

-- Events lie in segments, in the order in which they came. All are stored in the open one, whose
-- indexes stay small; when it is full it is sealed, and its references go where one look finds any
-- sealed reference. So an event costs the same however many are stored, and old segments can be
-- dropped whole.
CREATE TABLE usage_segments (
    segment   integer     PRIMARY KEY,
    status    text        NOT NULL,
    opened_at timestamptz NOT NULL,
    sealed_at timestamptz,
    CONSTRAINT usage_segments_status CHECK (status IN ('open', 'sealed', 'indexed')),
    CONSTRAINT usage_segments_sealed_iff_not_open CHECK ((status = 'open') = (sealed_at IS NULL))
);

CREATE UNIQUE INDEX usage_segments_one_open ON usage_segments (status) WHERE status = 'open';

CREATE TABLE usage_events (
    segment     integer        NOT NULL,
    account_id  integer        NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    series_id   bigint         NOT NULL,
    occurred_at timestamptz(3) NOT NULL,              -- when it was used: decides the period
    received_at timestamptz(3) NOT NULL,              -- when we came to know of it
    counted     boolean        NOT NULL DEFAULT true, -- false: cancelled, superseded, not yet filled in
    value       numeric        NOT NULL,
    payload     json,                                 -- what came beside customer and value
    backfill_id object_id,
    canceled_at timestamptz(3),
    arrival     bigint,                               -- of meters that count the last to arrive
    CONSTRAINT usage_events_reference_once PRIMARY KEY (segment, account_id, reference),
    CONSTRAINT usage_events_canceled_do_not_count CHECK (canceled_at IS NULL OR NOT counted)
) PARTITION BY LIST (segment);

CREATE INDEX usage_events_by_time ON usage_events (series_id, occurred_at) WHERE counted;
CREATE INDEX usage_events_uncounted ON usage_events (series_id, occurred_at) WHERE NOT counted;
CREATE INDEX usage_events_by_backfill ON usage_events (account_id, backfill_id)
    WHERE backfill_id IS NOT NULL;

CREATE TABLE usage_events_1 PARTITION OF usage_events FOR VALUES IN (1);
INSERT INTO usage_segments (segment, status, opened_at) VALUES (1, 'open', 'epoch');

CREATE SEQUENCE usage_arrivals;

-- The references of sealed segments, all in one place.
CREATE TABLE usage_references (
    account_id integer NOT NULL,
    reference  text    COLLATE "C" NOT NULL,
    segment    integer NOT NULL,
    PRIMARY KEY (account_id, reference)
);

-- Totals by UTC hour, kept by the transaction that stores the events. Only counted events are in
-- them, those of dropped segments too.
CREATE TABLE usage_hours (
    series_id      bigint      NOT NULL,
    hour           timestamptz NOT NULL,
    sum            numeric     NOT NULL,
    count          bigint      NOT NULL,
    max            numeric,
    last_value     numeric,        -- of the event that occurred last; of equals, by reference
    last_at        timestamptz(3),
    last_reference text        COLLATE "C",
    dropped_sum    numeric     NOT NULL DEFAULT 0,
    dropped_count  bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, hour)
) WITH (fillfactor = 70);

-- Totals of the very windows that subscriptions bill, kept likewise. One that is missing is computed
-- from hours and events; one that is here is read at once.
CREATE TABLE usage_windows (
    series_id      bigint      NOT NULL,
    start_at       timestamptz(3) NOT NULL,
    end_at         timestamptz(3) NOT NULL,
    sum            numeric     NOT NULL DEFAULT 0,
    count          bigint      NOT NULL DEFAULT 0,
    max            numeric,
    last_value     numeric,
    last_at        timestamptz(3),
    last_reference text        COLLATE "C",
    alert_at       numeric,        -- from which quantity on an alert may have to be sent
    PRIMARY KEY (series_id, start_at, end_at),
    CONSTRAINT usage_windows_ordered CHECK (start_at < end_at)
) WITH (fillfactor = 70);

-- ─── What is agreed ──────────────────────────────────────────────────────────────────────────

CREATE TABLE subscriptions (
    account_id                integer     NOT NULL,
    id                        object_id   NOT NULL,
    customer_id               object_id   NOT NULL,
    clock_id                  object_id,
    status                    text        NOT NULL,
    currency                  text        NOT NULL,
    collection_method         text        NOT NULL,
    days_until_due            integer,
    billing_mode              text        NOT NULL,
    billing_mode_at           timestamptz,
    anchor_at                 timestamptz NOT NULL,
    closes_at                 timestamptz,  -- the next instant a period of it ends; null once ended
    expires_at                timestamptz,  -- incomplete: when the first payment comes too late
    start_at                  timestamptz NOT NULL,
    cancel_at_period_end      boolean     NOT NULL DEFAULT false,
    canceled_at               timestamptz,
    ended_at                  timestamptz,
    cancellation_reason       text,
    cancellation_comment      text,
    cancellation_feedback     text,
    default_payment_method_id object_id,
    latest_invoice_id         object_id,
    description               text,
    metadata                  jsonb       NOT NULL DEFAULT '{}',
    created_at                timestamptz NOT NULL,
    parked                    text,         -- why it cannot be billed, until someone has looked
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT subscriptions_status CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active',
        'past_due', 'canceled', 'unpaid', 'paused')),
    CONSTRAINT subscriptions_ended_iff_terminal
        CHECK ((status IN ('canceled', 'incomplete_expired')) = (ended_at IS NOT NULL)),
    CONSTRAINT subscriptions_closes_until_ended CHECK (ended_at IS NULL OR closes_at IS NULL),
    CONSTRAINT subscriptions_billing_mode CHECK (billing_mode IN ('flexible', 'classic')),
    CONSTRAINT subscriptions_collection
        CHECK (collection_method IN ('charge_automatically', 'send_invoice')
               AND (collection_method = 'send_invoice') = (days_until_due IS NOT NULL))
);

CREATE INDEX subscriptions_by_customer ON subscriptions (account_id, customer_id, id);
CREATE INDEX subscriptions_due ON subscriptions (account_id, closes_at)
    WHERE closes_at IS NOT NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX subscriptions_due_on_clock ON subscriptions (account_id, clock_id, closes_at)
    WHERE closes_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;
CREATE INDEX subscriptions_expiring ON subscriptions (account_id, expires_at)
    WHERE expires_at IS NOT NULL;

CREATE TABLE subscription_items (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    subscription_id object_id   NOT NULL,
    price_id        object_id   NOT NULL,
    quantity        bigint,                -- null: metered
    period_index    integer     NOT NULL,  -- counted from the subscription's anchor
    period_start    timestamptz NOT NULL,
    period_end      timestamptz NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, subscription_id) REFERENCES subscriptions,
    FOREIGN KEY (account_id, price_id) REFERENCES prices,
    CONSTRAINT subscription_items_price_once UNIQUE (account_id, subscription_id, price_id),
    CONSTRAINT subscription_items_period_ordered CHECK (period_start < period_end)
);

CREATE INDEX subscription_items_by_price ON subscription_items (account_id, price_id);

-- ─── What is owed ────────────────────────────────────────────────────────────────────────────

-- Its customer is that of a subscription, which has the foreign key; here, asked for every invoice,
-- it would cost a tenth of a cycle's close, so the audit asks instead.
CREATE TABLE invoices (
    account_id                integer     NOT NULL,
    id                        object_id   NOT NULL,
    customer_id               object_id   NOT NULL,
    subscription_id           object_id,
    clock_id                  object_id,
    status                    text        NOT NULL,
    number                    text        COLLATE "C",
    billing_reason            text        NOT NULL,
    collection_method         text        NOT NULL,
    days_until_due            integer,
    currency                  text        NOT NULL,
    auto_advance              boolean     NOT NULL,
    period_start              timestamptz NOT NULL,
    period_end                timestamptz NOT NULL,
    subtotal                  bigint      NOT NULL,
    total                     bigint      NOT NULL,
    starting_balance          bigint      NOT NULL DEFAULT 0,
    ending_balance            bigint,
    amount_due                bigint      NOT NULL,
    amount_paid               bigint      NOT NULL DEFAULT 0,
    paid_out_of_band          boolean     NOT NULL DEFAULT false,
    attempted                 boolean     NOT NULL DEFAULT false,
    attempt_count             integer     NOT NULL DEFAULT 0,
    next_attempt_at           timestamptz,
    finalizes_at              timestamptz,  -- when a draft finalizes by itself
    due_at                    timestamptz,
    default_payment_method_id object_id,
    payment_intent_id         object_id,
    customer_snapshot         json,         -- the recipient as of finalization
    description               text,
    footer                    text,
    metadata                  jsonb       NOT NULL DEFAULT '{}',
    subscription_metadata     jsonb,
    created_at                timestamptz NOT NULL,
    finalized_at              timestamptz,
    paid_at                   timestamptz,
    voided_at                 timestamptz,
    marked_uncollectible_at   timestamptz,
    parked                    text,         -- why it cannot be finalized, until someone has looked
    PRIMARY KEY (account_id, id),
    CONSTRAINT invoices_status CHECK (status IN ('draft', 'open', 'paid', 'uncollectible', 'void')),
    CONSTRAINT invoices_finalized_iff_not_draft CHECK ((status = 'draft') = (finalized_at IS NULL)),
    CONSTRAINT invoices_paid_iff_paid_at CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_void_iff_voided_at CHECK ((status = 'void') = (voided_at IS NOT NULL)),
    CONSTRAINT invoices_numbered_iff_finalized CHECK ((number IS NULL) = (finalized_at IS NULL)),
    CONSTRAINT invoices_number_once UNIQUE (account_id, number),
    CONSTRAINT invoices_only_drafts_finalize CHECK (finalizes_at IS NULL OR status = 'draft'),
    CONSTRAINT invoices_amount_due_not_negative CHECK (amount_due >= 0),
    CONSTRAINT invoices_paid_within_due CHECK (amount_paid >= 0 AND amount_paid <= amount_due)
);

CREATE INDEX invoices_by_customer ON invoices (account_id, customer_id, id);
CREATE INDEX invoices_by_subscription ON invoices (account_id, subscription_id, id)
    WHERE subscription_id IS NOT NULL;
CREATE INDEX invoices_to_finalize ON invoices (account_id, finalizes_at)
    WHERE finalizes_at IS NOT NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX invoices_to_finalize_on_clock ON invoices (account_id, clock_id, finalizes_at)
    WHERE finalizes_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;

-- A line bills one part of one obligation: "sub_1/si_1/period-3" has a unit and a flat part per tier.
CREATE TABLE invoice_lines (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    invoice_id           object_id   NOT NULL,
    position             smallint    NOT NULL,
    obligation           text        COLLATE "C" NOT NULL,
    part                 smallint    NOT NULL,
    live                 boolean     NOT NULL DEFAULT true,  -- false once its invoice is void
    subscription_id      object_id,
    subscription_item_id object_id,
    price_id             object_id,
    product_id           object_id,
    meter_id             object_id,            -- set when the line bills usage
    period_start         timestamptz NOT NULL,
    period_end           timestamptz NOT NULL,
    quantity             numeric     NOT NULL,
    unit_amount          numeric,              -- minor units; null on a flat line
    tier                 smallint,             -- counted from 1
    kind                 text        NOT NULL, -- unit or flat
    amount               bigint      NOT NULL,
    description          text        NOT NULL,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (account_id, invoice_id, position),
    CONSTRAINT invoice_lines_id_once UNIQUE (account_id, id),
    CONSTRAINT invoice_lines_kind CHECK (kind IN ('unit', 'flat'))
);

CREATE UNIQUE INDEX invoice_lines_billed_once ON invoice_lines (account_id, obligation, part) WHERE live;

-- An attempt to be paid: written and committed before the gateway is asked, settled after.
CREATE TABLE payment_attempts (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,  -- also the idempotency key the gateway is given
    invoice_id        object_id   NOT NULL,
    customer_id       object_id   NOT NULL,
    payment_method_id object_id   NOT NULL,
    gateway           text        NOT NULL,
    gateway_token     text        NOT NULL,
    amount            bigint      NOT NULL,
    currency          text        NOT NULL,
    status            text        NOT NULL,
    automatic         boolean     NOT NULL,  -- ours, not a person's
    gateway_reference text,
    failure_code      text,
    decline_code      text,
    failure_message   text,
    leased_until      timestamptz,           -- by the wall clock: until when someone is asking
    attempted_at      timestamptz NOT NULL,
    settled_at        timestamptz,
    PRIMARY KEY (account_id, id),
    CONSTRAINT payment_attempts_status CHECK (status IN ('pending', 'succeeded', 'failed')),
    CONSTRAINT payment_attempts_settled_iff_known CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT payment_attempts_amount_positive CHECK (amount > 0)
);

CREATE UNIQUE INDEX payment_attempts_one_pending ON payment_attempts (account_id, invoice_id)
    WHERE status = 'pending';
CREATE UNIQUE INDEX payment_attempts_paid_once ON payment_attempts (account_id, invoice_id)
    WHERE status = 'succeeded';
CREATE INDEX payment_attempts_by_invoice ON payment_attempts (account_id, invoice_id, id);
CREATE INDEX payment_attempts_unsettled ON payment_attempts (leased_until) WHERE status = 'pending';

-- ─── What happened ───────────────────────────────────────────────────────────────────────────

-- A business event, written with its change. The snapshot is the object in our own words; each
-- façade renders it in its own, and renders "previous" over it to say what changed.
CREATE TABLE events (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    type            text        NOT NULL,
    object_type     text        NOT NULL,
    object_id       object_id   NOT NULL,
    snapshot        json        NOT NULL,
    previous        json,
    request_id      object_id,
    idempotency_key text,
    clock_id        object_id,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE INDEX events_by_type ON events (account_id, type, id);
CREATE INDEX events_by_time ON events (account_id, created_at);

-- ─── Rules that must hold against every writer, us with psql included ───────────────────────

-- Planned anew each time: a plan made while the tables were empty reads the wrong index, and would
-- be kept for as long as the connection lives.
CREATE FUNCTION refuse_change_of_finalized_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_final boolean;
BEGIN
    EXECUTE 'SELECT EXISTS (
        SELECT
          FROM (SELECT DISTINCT account_id, invoice_id FROM changed_lines) AS l
         WHERE (SELECT i.status
                  FROM invoices i
                 WHERE i.account_id = l.account_id
                   AND i.id = l.invoice_id) <> ''draft'')' INTO is_final;
    IF is_final THEN
        RAISE EXCEPTION 'The lines of a finalized invoice never change.'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_lines_frozen';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER invoice_lines_frozen_insert AFTER INSERT ON invoice_lines
    REFERENCING NEW TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();
CREATE TRIGGER invoice_lines_frozen_delete AFTER DELETE ON invoice_lines
    REFERENCING OLD TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();

-- Only "live" may change, when the invoice is voided.
CREATE FUNCTION refuse_rewriting_of_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A line is replaced while its invoice is a draft, and never rewritten.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_lines_frozen';
END $$;

CREATE TRIGGER invoice_lines_frozen_update
    BEFORE UPDATE OF account_id, id, invoice_id, position, obligation, part, subscription_id,
        subscription_item_id, price_id, product_id, meter_id, period_start, period_end, quantity,
        unit_amount, tier, kind, amount, description
    ON invoice_lines FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_of_lines();

CREATE FUNCTION refuse_change_of_finalized_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A finalized invoice keeps its number, recipient and totals, and stays.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoices_frozen';
END $$;

CREATE TRIGGER invoices_frozen
    BEFORE UPDATE ON invoices FOR EACH ROW
    WHEN (OLD.finalized_at IS NOT NULL AND (
        OLD.account_id, OLD.id, OLD.number, OLD.customer_id, OLD.subscription_id, OLD.currency,
        OLD.subtotal, OLD.total, OLD.starting_balance, OLD.ending_balance, OLD.amount_due,
        OLD.customer_snapshot::text, OLD.finalized_at, OLD.period_start, OLD.period_end
    ) IS DISTINCT FROM (
        NEW.account_id, NEW.id, NEW.number, NEW.customer_id, NEW.subscription_id, NEW.currency,
        NEW.subtotal, NEW.total, NEW.starting_balance, NEW.ending_balance, NEW.amount_due,
        NEW.customer_snapshot::text, NEW.finalized_at, NEW.period_start, NEW.period_end
    )) EXECUTE FUNCTION refuse_change_of_finalized_invoice();

CREATE TRIGGER invoices_frozen_delete
    BEFORE DELETE ON invoices FOR EACH ROW
    WHEN (OLD.finalized_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_finalized_invoice();
