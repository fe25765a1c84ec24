-- What the migrations add up to: written by `make schema`, and read by people.

CREATE DOMAIN object_id AS text COLLATE "C";

CREATE OR REPLACE FUNCTION refuse_change_of_finalized_lines()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION refuse_rewriting_of_lines()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'A line is replaced while its invoice is a draft, and never rewritten.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoice_lines_frozen';
END $function$;

CREATE OR REPLACE FUNCTION refuse_change_of_finalized_invoice()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'A finalized invoice keeps its number, recipient and totals, and stays.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'invoices_frozen';
END $function$;

CREATE OR REPLACE FUNCTION refuse_entries_that_do_not_balance()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    is_wrong boolean;
BEGIN
    EXECUTE 'SELECT EXISTS (
        SELECT
          FROM added_entries
         GROUP BY account_id, transaction_id, currency
        HAVING sum(amount) <> 0)' INTO is_wrong;
    IF is_wrong THEN
        RAISE EXCEPTION 'The entries of a transaction sum to zero in each currency.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balance';
    END IF;
    EXECUTE 'SELECT EXISTS (
        SELECT
          FROM (SELECT DISTINCT account_id, transaction_id FROM added_entries) AS e
         WHERE (SELECT t.id
                  FROM ledger_transactions t
                 WHERE t.account_id = e.account_id
                   AND t.id = e.transaction_id) IS NULL)' INTO is_wrong;
    IF is_wrong THEN
        RAISE EXCEPTION 'An entry is of a transaction.'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_entries_transaction';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION refuse_change_of_ledger()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'What is in the ledger stays; another transaction takes it back.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_frozen';
END $function$;

CREATE OR REPLACE FUNCTION ledger_earned(amount bigint, period_start timestamp with time zone, period_end timestamp with time zone, posted_at timestamp with time zone, until timestamp with time zone)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT CASE
           WHEN until < posted_at THEN 0
           WHEN until >= period_end THEN -amount
           WHEN until <= period_start THEN 0
           ELSE -sign(amount::numeric) * div(
                2 * abs(amount)::numeric * extract(epoch FROM until - period_start)
                    + extract(epoch FROM period_end - period_start),
                2 * extract(epoch FROM period_end - period_start))
           END
$function$;

CREATE SEQUENCE usage_arrivals;

CREATE TABLE accounts (
    account_id            integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    id                    object_id   NOT NULL,
    livemode              boolean     NOT NULL,
    name                  text        NOT NULL,
    country               text        NOT NULL DEFAULT 'US',
    created_at            timestamptz NOT NULL,
    time_zone             text        NOT NULL DEFAULT 'UTC',
    invoice_numbering     text        NOT NULL DEFAULT 'customer',
    invoice_prefix        text,
    next_invoice_sequence bigint      NOT NULL DEFAULT 1,
    retry_schedule_id     object_id,
    upcoming_days         smallint    DEFAULT 7,
    reminder_days         smallint[]  NOT NULL DEFAULT '{}'::smallint[],
    CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
    CONSTRAINT accounts_id_once UNIQUE (id),
    CONSTRAINT accounts_one_per_name_and_mode UNIQUE (name, livemode),
    CONSTRAINT accounts_invoice_numbering CHECK (invoice_numbering IN ('customer', 'account')),
    CONSTRAINT accounts_numbering_has_a_prefix CHECK (invoice_numbering = 'customer' OR
        invoice_prefix IS NOT NULL),
    CONSTRAINT accounts_reminder_days CHECK (cardinality(reminder_days) <= 10 AND (1 <= ALL
        (reminder_days)) AND (60 >= ALL (reminder_days))),
    CONSTRAINT accounts_upcoming_days CHECK (upcoming_days >= 1 AND upcoming_days <= 60)
);

CREATE TABLE api_keys (
    id         object_id   NOT NULL,
    account_id integer     NOT NULL,
    name       text,
    digest     bytea       NOT NULL,
    hint       text        NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_digest_once UNIQUE (digest),
    CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(account_id)
);

CREATE TABLE idempotency_keys (
    account_id   integer     NOT NULL,
    key          text        NOT NULL,
    fingerprint  bytea       NOT NULL,
    request_id   object_id   NOT NULL,
    created_at   timestamptz NOT NULL,
    unfinished   json,
    leased_until timestamptz,
    status       smallint,
    body         json,
    api          text        NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, api, key),
    CONSTRAINT idempotency_keys_answered_or_unfinished CHECK ((status IS NULL) = (body IS NULL) AND
        (status IS NULL OR unfinished IS NULL)),
    CONSTRAINT idempotency_keys_api CHECK (api IN ('v1', 'v2', 'frame'))
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (account_id, api, created_at);

CREATE TABLE acts (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    actor      text        NOT NULL,
    operation  text        NOT NULL,
    acted_at   timestamptz NOT NULL,
    CONSTRAINT acts_pkey PRIMARY KEY (account_id, id)
);

CREATE TABLE test_clocks (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    name       text,
    status     text        NOT NULL,
    frozen_at  timestamptz NOT NULL,
    target_at  timestamptz,
    failure    text,
    created_at timestamptz NOT NULL,
    deletes_at timestamptz NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT test_clocks_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT test_clocks_advancing_iff_target CHECK ((status = 'advancing') = (target_at IS NOT
        NULL)),
    CONSTRAINT test_clocks_move_forward CHECK (target_at >= frozen_at),
    CONSTRAINT test_clocks_status CHECK (status IN ('ready', 'advancing', 'internal_failure'))
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
    metadata                  jsonb       NOT NULL DEFAULT '{}'::jsonb,
    preferred_locales         text[]      NOT NULL DEFAULT '{}'::text[],
    tax_exempt                text        NOT NULL DEFAULT 'none',
    currency                  text,
    balance                   bigint      NOT NULL DEFAULT 0,
    delinquent                boolean     NOT NULL DEFAULT false,
    invoice_prefix            text        NOT NULL,
    next_invoice_sequence     bigint      NOT NULL DEFAULT 1,
    first_invoice_sequence    bigint      NOT NULL DEFAULT 1,
    default_payment_method_id object_id,
    invoice_custom_fields     jsonb,
    invoice_footer            text,
    invoice_rendering_options jsonb,
    created_at                timestamptz NOT NULL,
    deleted_at                timestamptz,
    time_zone                 text,
    discount                  json,
    profile                   jsonb,
    blocked_at                timestamptz,
    date_of_birth             date,
    usage_is_limited          boolean     NOT NULL DEFAULT false,
    CONSTRAINT customers_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT customers_invoice_prefix_once UNIQUE (account_id, invoice_prefix),
    CONSTRAINT customers_account_id_clock_id_fkey FOREIGN KEY (account_id, clock_id) REFERENCES
        test_clocks(account_id, id),
    CONSTRAINT customers_profile_is_an_object CHECK (jsonb_typeof(profile) = 'object'),
    CONSTRAINT customers_tax_exempt CHECK (tax_exempt IN ('none', 'exempt', 'reverse'))
);
CREATE INDEX customers_by_email ON customers (account_id, email) WHERE email IS NOT NULL;
CREATE INDEX customers_by_clock ON customers (account_id, clock_id) WHERE clock_id IS NOT NULL;
CREATE INDEX customers_with_profile ON customers (account_id, id) WHERE profile IS NOT NULL;
CREATE INDEX customers_by_external_id ON customers (account_id, (profile ->> 'external_id'), id)
    WHERE profile IS NOT NULL;

CREATE TABLE payment_methods (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    customer_id     object_id,
    type            text        NOT NULL,
    gateway         text        NOT NULL,
    gateway_token   text        NOT NULL,
    card            jsonb,
    billing_details jsonb       NOT NULL DEFAULT '{}'::jsonb,
    metadata        jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at      timestamptz NOT NULL,
    expires_in      date        GENERATED ALWAYS AS ( CASE     WHEN (card ->> 'exp_year') ~ '^[0-9]{4}$' AND (card ->>
        'exp_month') ~ '^([1-9]|1[0-2])$' THEN make_date((card ->> 'exp_year')::integer, (card ->>
        'exp_month')::integer, 1)     ELSE NULL::date END ) STORED,
    expiry_said     date,
    us_bank_account jsonb,
    blocked_at      timestamptz,
    detached_at     timestamptz,
    CONSTRAINT payment_methods_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_methods_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT payment_methods_detached_is_nobodys CHECK (detached_at IS NULL OR customer_id IS
        NULL)
);
CREATE INDEX payment_methods_by_customer ON payment_methods (account_id, customer_id, id) WHERE
    customer_id IS NOT NULL;
CREATE INDEX payment_methods_expiring ON payment_methods (account_id, expires_in) WHERE
    customer_id IS NOT NULL AND expires_in IS DISTINCT FROM expiry_said;
CREATE INDEX payment_methods_by_gateway ON payment_methods (account_id, gateway) WHERE gateway
    <> 'test' AND customer_id IS NOT NULL;

CREATE TABLE meters (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    display_name      text        NOT NULL,
    event_name        text        NOT NULL,
    aggregation       text        NOT NULL,
    customer_key      text        NOT NULL,
    value_key         text        NOT NULL,
    status            text        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    deactivated_at    timestamptz,
    event_time_window text,
    accepts_past_s    bigint      NOT NULL DEFAULT 3024000,
    accepts_future_s  integer     NOT NULL DEFAULT 300,
    cancels_within_s  bigint      NOT NULL DEFAULT 86400,
    price_id          object_id,
    markup_percentage numeric,
    description       text,
    metadata          jsonb       NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT meters_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT meters_event_name_once UNIQUE (account_id, event_name),
    CONSTRAINT meters_aggregation CHECK (aggregation IN ('sum', 'count', 'last', 'max', 'unique',
        'average', 'time_weighted_sum', 'p95', 'p99', 'duration')),
    CONSTRAINT meters_event_time_window_of_what_combines CHECK (event_time_window IS NULL OR
        (event_time_window IN ('hour', 'day')) AND (aggregation IN ('sum', 'count', 'last', 'max',
        'average'))),
    CONSTRAINT meters_inactive_iff_deactivated CHECK ((status IN ('active', 'inactive')) AND (status
        = 'inactive') = (deactivated_at IS NOT NULL)),
    CONSTRAINT meters_markup_of_a_price CHECK (markup_percentage IS NULL OR price_id IS NOT NULL AND
        markup_percentage >= 0::numeric),
    CONSTRAINT meters_spans_bounded CHECK (accepts_past_s >= 0 AND accepts_past_s <= 315360000 AND
        accepts_future_s >= 0 AND accepts_future_s <= 43200 AND cancels_within_s >= 0 AND
        cancels_within_s <= 315360000)
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
    images               text[]      NOT NULL DEFAULT '{}'::text[],
    marketing_features   jsonb       NOT NULL DEFAULT '[]'::jsonb,
    package_dimensions   jsonb,
    shippable            boolean,
    metadata             jsonb       NOT NULL DEFAULT '{}'::jsonb,
    default_price_id     object_id,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (account_id, id),
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
    metadata            jsonb       NOT NULL DEFAULT '{}'::jsonb,
    "interval"          text,
    interval_count      integer,
    usage_type          text,
    meter_id            object_id,
    unit_amount         numeric,
    tiers_mode          text,
    tiers               jsonb,
    transform_divide_by bigint,
    transform_round     text,
    created_at          timestamptz NOT NULL,
    minimum_amount      bigint,
    maximum_amount      bigint,
    CONSTRAINT prices_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT prices_lookup_key_once UNIQUE (account_id, lookup_key),
    CONSTRAINT prices_account_id_meter_id_fkey FOREIGN KEY (account_id, meter_id) REFERENCES
        meters(account_id, id),
    CONSTRAINT prices_account_id_product_id_fkey FOREIGN KEY (account_id, product_id) REFERENCES
        products(account_id, id),
    CONSTRAINT prices_commitment_of_usage CHECK (num_nonnulls(minimum_amount, maximum_amount) = 0 OR
        usage_type = 'metered'),
    CONSTRAINT prices_commitment_ordered CHECK (COALESCE(minimum_amount, 0::bigint) >= 0 AND
        (maximum_amount IS NULL OR maximum_amount >= COALESCE(minimum_amount, 0::bigint))),
    CONSTRAINT prices_metered_iff_meter CHECK ((COALESCE(usage_type, 'licensed') IN ('licensed',
        'metered')) AND (COALESCE(usage_type, 'licensed') = 'metered') = (meter_id IS NOT NULL)),
    CONSTRAINT prices_per_unit_or_tiered CHECK ((unit_amount IS NULL) = (tiers IS NOT NULL) AND
        (tiers IS NULL) = (tiers_mode IS NULL)),
    CONSTRAINT prices_recurring_whole CHECK (("interval" IS NULL) = (interval_count IS NULL) AND
        ("interval" IS NULL) = (usage_type IS NULL))
);
CREATE INDEX prices_by_product ON prices (account_id, product_id, id);
ALTER TABLE meters ADD CONSTRAINT meters_account_id_price_id_fkey FOREIGN KEY (account_id,
    price_id) REFERENCES prices(account_id, id);

CREATE TABLE usage_series (
    account_id  integer   NOT NULL,
    customer_id object_id NOT NULL,
    meter_id    object_id NOT NULL,
    series_id   bigint    NOT NULL GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT usage_series_pkey PRIMARY KEY (account_id, customer_id, meter_id),
    CONSTRAINT usage_series_id_once UNIQUE (series_id)
);
CREATE INDEX usage_series_by_meter ON usage_series (account_id, meter_id, customer_id);

CREATE TABLE usage_segments (
    segment   integer     NOT NULL,
    status    text        NOT NULL,
    opened_at timestamptz NOT NULL,
    sealed_at timestamptz,
    CONSTRAINT usage_segments_pkey PRIMARY KEY (segment),
    CONSTRAINT usage_segments_sealed_iff_not_open CHECK ((status = 'open') = (sealed_at IS NULL)),
    CONSTRAINT usage_segments_status CHECK (status IN ('open', 'sealed', 'indexed'))
);
CREATE UNIQUE INDEX usage_segments_one_open ON usage_segments (status) WHERE status = 'open';

CREATE TABLE usage_events (
    segment     integer        NOT NULL,
    account_id  integer        NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    series_id   bigint         NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    received_at timestamptz(3) NOT NULL,
    counted     boolean        NOT NULL DEFAULT true,
    value       numeric        NOT NULL,
    payload     json,
    backfill_id object_id,
    canceled_at timestamptz(3),
    arrival     bigint,
    CONSTRAINT usage_events_reference_once PRIMARY KEY (segment, account_id, reference),
    CONSTRAINT usage_events_canceled_do_not_count CHECK (canceled_at IS NULL OR NOT counted)
) PARTITION BY LIST (segment);
CREATE INDEX usage_events_by_time ON usage_events (series_id, occurred_at) WHERE counted;
CREATE INDEX usage_events_uncounted ON usage_events (series_id, occurred_at) WHERE NOT counted;
CREATE INDEX usage_events_by_backfill ON usage_events (account_id, backfill_id) WHERE
    backfill_id IS NOT NULL;
CREATE TABLE usage_events_1 PARTITION OF usage_events FOR VALUES IN (1);

CREATE TABLE usage_references (
    account_id integer NOT NULL,
    reference  text    COLLATE "C" NOT NULL,
    segment    integer NOT NULL,
    CONSTRAINT usage_references_pkey PRIMARY KEY (account_id, reference)
);

CREATE TABLE usage_hours (
    series_id      bigint         NOT NULL,
    hour           timestamptz    NOT NULL,
    sum            numeric        NOT NULL,
    count          bigint         NOT NULL,
    max            numeric,
    last_value     numeric,
    last_at        timestamptz(3),
    last_reference text           COLLATE "C",
    dropped_sum    numeric        NOT NULL DEFAULT 0,
    dropped_count  bigint         NOT NULL DEFAULT 0,
    CONSTRAINT usage_hours_pkey PRIMARY KEY (series_id, hour)
) WITH (fillfactor=70);

CREATE TABLE usage_windows (
    series_id      bigint         NOT NULL,
    start_at       timestamptz(3) NOT NULL,
    end_at         timestamptz(3) NOT NULL,
    sum            numeric        NOT NULL DEFAULT 0,
    count          bigint         NOT NULL DEFAULT 0,
    max            numeric,
    last_value     numeric,
    last_at        timestamptz(3),
    last_reference text           COLLATE "C",
    alert_at       numeric,
    CONSTRAINT usage_windows_pkey PRIMARY KEY (series_id, start_at, end_at),
    CONSTRAINT usage_windows_ordered CHECK (start_at < end_at)
) WITH (fillfactor=70);

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
    closes_at                 timestamptz,
    expires_at                timestamptz,
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
    metadata                  jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at                timestamptz NOT NULL,
    parked                    text,
    zone                      text        NOT NULL DEFAULT 'UTC',
    anchor_config             jsonb,
    trial_start_at            timestamptz,
    trial_end_at              timestamptz,
    trial_end_behavior        text        NOT NULL DEFAULT 'create_invoice',
    cancel_at                 timestamptz,
    pause_behavior            text,
    pause_resumes_at          timestamptz,
    paused_at                 timestamptz,
    proration_discounts       text        NOT NULL DEFAULT 'included',
    usage_invoicing           text        NOT NULL DEFAULT 'combined',
    discount_ids              text[],
    tax_rate_ids              text[],
    threshold_amount          bigint,
    threshold_resets_anchor   boolean     NOT NULL DEFAULT false,
    minimum_amount            bigint,
    maximum_amount            bigint,
    pending_update            jsonb,
    pending_update_expires_at timestamptz,
    schedule_id               object_id,
    invoice_settings          jsonb,
    cancel_prorates           boolean     NOT NULL DEFAULT true,
    payment_settings          jsonb,
    retry_schedule_id         object_id,
    paused_reason             text,
    upcoming_for              timestamptz,
    renews_at                 timestamptz GENERATED ALWAYS AS ( CASE     WHEN closes_at IS NULL OR parked IS NOT NULL OR collection_method
        <> 'charge_automatically' OR (status <> ALL (ARRAY['trialing', 'active', 'past_due'])) THEN
        NULL::timestamptz     WHEN status = 'trialing' THEN LEAST(trial_end_at, cancel_at)     ELSE
        closes_at END ) STORED,
    pending_setup_intent_id   object_id,
    resumes_at                timestamptz,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscriptions_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT subscriptions_billing_mode CHECK (billing_mode IN ('flexible', 'classic')),
    CONSTRAINT subscriptions_closes_until_ended CHECK (ended_at IS NULL OR closes_at IS NULL),
    CONSTRAINT subscriptions_collection CHECK ((collection_method IN ('charge_automatically',
        'send_invoice')) AND (collection_method = 'send_invoice') = (days_until_due IS NOT NULL)),
    CONSTRAINT subscriptions_commitment_ordered CHECK (COALESCE(minimum_amount, 0::bigint) >= 0 AND
        (maximum_amount IS NULL OR maximum_amount >= COALESCE(minimum_amount, 0::bigint))),
    CONSTRAINT subscriptions_ended_iff_terminal CHECK ((status IN ('canceled',
        'incomplete_expired')) = (ended_at IS NOT NULL)),
    CONSTRAINT subscriptions_pause_behavior CHECK (pause_behavior IN ('keep_as_draft',
        'mark_uncollectible', 'void')),
    CONSTRAINT subscriptions_pending_iff_expiring CHECK ((pending_update IS NULL) =
        (pending_update_expires_at IS NULL)),
    CONSTRAINT subscriptions_proration_discounts CHECK (proration_discounts IN ('included',
        'itemized')),
    CONSTRAINT subscriptions_resume_only_from_a_pause CHECK (resumes_at IS NULL OR status =
        'paused'),
    CONSTRAINT subscriptions_status CHECK (status IN ('incomplete', 'incomplete_expired',
        'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused')),
    CONSTRAINT subscriptions_trial_end_behavior CHECK (trial_end_behavior IN ('create_invoice',
        'cancel', 'pause')),
    CONSTRAINT subscriptions_usage_invoicing CHECK (usage_invoicing IN ('combined', 'separate'))
);
CREATE INDEX subscriptions_by_customer ON subscriptions (account_id, customer_id, id);
CREATE INDEX subscriptions_due ON subscriptions (account_id, closes_at) WHERE closes_at IS NOT
    NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX subscriptions_due_on_clock ON subscriptions (account_id, clock_id, closes_at) WHERE
    closes_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;
CREATE INDEX subscriptions_expiring ON subscriptions (account_id, expires_at) WHERE expires_at
    IS NOT NULL;
CREATE INDEX subscriptions_pending_updates ON subscriptions (account_id,
    pending_update_expires_at) WHERE pending_update_expires_at IS NOT NULL;
CREATE INDEX subscriptions_by_retry_schedule ON subscriptions (account_id, retry_schedule_id)
    WHERE retry_schedule_id IS NOT NULL;
CREATE INDEX subscriptions_upcoming ON subscriptions (account_id, renews_at) WHERE renews_at IS
    NOT NULL AND upcoming_for IS DISTINCT FROM renews_at AND clock_id IS NULL;
CREATE INDEX subscriptions_upcoming_on_clock ON subscriptions (account_id, clock_id, renews_at)
    WHERE renews_at IS NOT NULL AND upcoming_for IS DISTINCT FROM renews_at AND clock_id IS NOT
    NULL;
CREATE INDEX subscriptions_resuming ON subscriptions (account_id, resumes_at) WHERE resumes_at
    IS NOT NULL;

CREATE TABLE subscription_items (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    subscription_id object_id   NOT NULL,
    price_id        object_id   NOT NULL,
    quantity        bigint,
    period_index    integer     NOT NULL,
    period_start    timestamptz NOT NULL,
    period_end      timestamptz NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at      timestamptz NOT NULL,
    generation      integer     NOT NULL DEFAULT 0,
    usage_from      timestamptz,
    usage_price_id  object_id,
    billed_quantity numeric,
    billed_amount   bigint      NOT NULL DEFAULT 0,
    charge_ids      text[],
    discount_ids    text[],
    tax_rate_ids    text[],
    threshold_usage numeric,
    CONSTRAINT subscription_items_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscription_items_price_once UNIQUE (account_id, subscription_id, price_id)
        DEFERRABLE,
    CONSTRAINT subscription_items_account_id_price_id_fkey FOREIGN KEY (account_id, price_id)
        REFERENCES prices(account_id, id),
    CONSTRAINT subscription_items_account_id_subscription_id_fkey FOREIGN KEY (account_id,
        subscription_id) REFERENCES subscriptions(account_id, id),
    CONSTRAINT subscription_items_period_ordered CHECK (period_start < period_end)
);
CREATE INDEX subscription_items_by_price ON subscription_items (account_id, price_id);

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
    finalizes_at              timestamptz,
    due_at                    timestamptz,
    default_payment_method_id object_id,
    payment_intent_id         object_id,
    customer_snapshot         json,
    description               text,
    footer                    text,
    metadata                  jsonb       NOT NULL DEFAULT '{}'::jsonb,
    subscription_metadata     jsonb,
    created_at                timestamptz NOT NULL,
    finalized_at              timestamptz,
    paid_at                   timestamptz,
    voided_at                 timestamptz,
    marked_uncollectible_at   timestamptz,
    parked                    text,
    discount_ids              text[],
    tax_rate_ids              text[],
    total_discounts           json,
    total_credits             json,
    total_taxes               json,
    pre_payment_credits       bigint      NOT NULL DEFAULT 0,
    post_payment_credits      bigint      NOT NULL DEFAULT 0,
    threshold_reason          json,
    from_invoice_id           object_id,
    latest_revision_id        object_id,
    proration_at              timestamptz,
    appearance                json,
    given_number              text,
    effective_at              timestamptz,
    uncollectible_reason      text,
    numbered_by               text,
    retry_at                  timestamptz,
    retry_tries               smallint    NOT NULL DEFAULT 0,
    tried_at                  timestamptz,
    gives_up_at               timestamptz,
    reminds_at                timestamptz,
    amount_paid_out_of_band   bigint      NOT NULL DEFAULT 0,
    amount_overpaid           bigint      NOT NULL DEFAULT 0,
    bills_usage               boolean     NOT NULL DEFAULT false,
    CONSTRAINT invoices_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT invoices_number_once UNIQUE (account_id, number),
    CONSTRAINT invoices_amount_due_not_negative CHECK (amount_due >= 0),
    CONSTRAINT invoices_amount_overpaid_not_negative CHECK (amount_overpaid >= 0),
    CONSTRAINT invoices_finalized_iff_not_draft CHECK ((status = 'draft') = (finalized_at IS NULL)),
    CONSTRAINT invoices_numbered_by CHECK (numbered_by IS NULL OR (numbered_by IN ('customer',
        'account')) AND finalized_at IS NOT NULL),
    CONSTRAINT invoices_numbered_iff_finalized CHECK ((number IS NULL) = (finalized_at IS NULL)),
    CONSTRAINT invoices_only_drafts_finalize CHECK (finalizes_at IS NULL OR status = 'draft'),
    CONSTRAINT invoices_paid_iff_paid_at CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_paid_out_of_band_within_paid CHECK (amount_paid_out_of_band >= 0 AND
        amount_paid_out_of_band <= GREATEST(0::bigint, amount_paid)),
    CONSTRAINT invoices_paid_within_due CHECK (amount_paid >= 0 AND amount_paid <= amount_due),
    CONSTRAINT invoices_retried_or_given_up CHECK (retry_at IS NULL OR gives_up_at IS NULL),
    CONSTRAINT invoices_status CHECK (status IN ('draft', 'open', 'paid', 'uncollectible', 'void')),
    CONSTRAINT invoices_void_iff_voided_at CHECK ((status = 'void') = (voided_at IS NOT NULL))
);
CREATE INDEX invoices_by_customer ON invoices (account_id, customer_id, id);
CREATE INDEX invoices_by_subscription ON invoices (account_id, subscription_id, id) WHERE
    subscription_id IS NOT NULL;
CREATE INDEX invoices_to_finalize ON invoices (account_id, finalizes_at) WHERE finalizes_at IS
    NOT NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX invoices_to_finalize_on_clock ON invoices (account_id, clock_id, finalizes_at)
    WHERE finalizes_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;
CREATE UNIQUE INDEX invoices_given_number_once ON invoices (account_id, given_number) WHERE
    given_number IS NOT NULL;
CREATE UNIQUE INDEX invoices_one_revision_at_a_time ON invoices (account_id, from_invoice_id)
    WHERE from_invoice_id IS NOT NULL AND status = 'draft';
CREATE INDEX invoices_to_retry ON invoices (account_id, retry_at) WHERE retry_at IS NOT NULL AND
    clock_id IS NULL;
CREATE INDEX invoices_to_retry_on_clock ON invoices (account_id, clock_id, retry_at) WHERE
    retry_at IS NOT NULL AND clock_id IS NOT NULL;
CREATE INDEX invoices_to_give_up ON invoices (account_id, gives_up_at) WHERE gives_up_at IS NOT
    NULL AND clock_id IS NULL;
CREATE INDEX invoices_to_give_up_on_clock ON invoices (account_id, clock_id, gives_up_at) WHERE
    gives_up_at IS NOT NULL AND clock_id IS NOT NULL;
CREATE INDEX invoices_to_remind ON invoices (account_id, reminds_at) WHERE reminds_at IS NOT
    NULL AND clock_id IS NULL;
CREATE INDEX invoices_to_remind_on_clock ON invoices (account_id, clock_id, reminds_at) WHERE
    reminds_at IS NOT NULL AND clock_id IS NOT NULL;
CREATE TRIGGER invoices_frozen_delete BEFORE DELETE ON invoices FOR EACH ROW WHEN
    (old.finalized_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_finalized_invoice();
CREATE TRIGGER invoices_frozen BEFORE UPDATE ON invoices FOR EACH ROW WHEN (old.finalized_at IS
    NOT NULL AND (old.account_id IS DISTINCT FROM new.account_id OR old.id::text IS DISTINCT
    FROM new.id::text OR old.number IS DISTINCT FROM new.number OR old.numbered_by IS DISTINCT
    FROM new.numbered_by OR old.given_number IS DISTINCT FROM new.given_number OR
    old.customer_id::text IS DISTINCT FROM new.customer_id::text OR old.subscription_id::text IS
    DISTINCT FROM new.subscription_id::text OR old.currency IS DISTINCT FROM new.currency OR
    old.billing_reason IS DISTINCT FROM new.billing_reason OR old.collection_method IS DISTINCT
    FROM new.collection_method OR old.subtotal IS DISTINCT FROM new.subtotal OR old.total IS
    DISTINCT FROM new.total OR old.starting_balance IS DISTINCT FROM new.starting_balance OR
    old.ending_balance IS DISTINCT FROM new.ending_balance OR old.amount_due IS DISTINCT FROM
    new.amount_due OR old.discount_ids IS DISTINCT FROM new.discount_ids OR old.tax_rate_ids IS
    DISTINCT FROM new.tax_rate_ids OR old.total_discounts::text IS DISTINCT FROM
    new.total_discounts::text OR old.total_credits::text IS DISTINCT FROM
    new.total_credits::text OR old.total_taxes::text IS DISTINCT FROM new.total_taxes::text OR
    old.threshold_reason::text IS DISTINCT FROM new.threshold_reason::text OR
    old.from_invoice_id::text IS DISTINCT FROM new.from_invoice_id::text OR old.proration_at IS
    DISTINCT FROM new.proration_at OR old.customer_snapshot::text IS DISTINCT FROM
    new.customer_snapshot::text OR old.finalized_at IS DISTINCT FROM new.finalized_at OR
    old.effective_at IS DISTINCT FROM new.effective_at OR old.period_start IS DISTINCT FROM
    new.period_start OR old.period_end IS DISTINCT FROM new.period_end)) EXECUTE FUNCTION
    refuse_change_of_finalized_invoice();

CREATE TABLE invoice_lines (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    invoice_id           object_id   NOT NULL,
    "position"           smallint    NOT NULL,
    obligation           text        COLLATE "C" NOT NULL,
    part                 smallint    NOT NULL,
    live                 boolean     NOT NULL DEFAULT true,
    subscription_id      object_id,
    subscription_item_id object_id,
    price_id             object_id,
    product_id           object_id,
    meter_id             object_id,
    period_start         timestamptz NOT NULL,
    period_end           timestamptz NOT NULL,
    quantity             numeric     NOT NULL,
    unit_amount          numeric,
    tier                 smallint,
    kind                 text        NOT NULL,
    amount               bigint      NOT NULL,
    description          text        NOT NULL,
    metadata             jsonb       NOT NULL DEFAULT '{}'::jsonb,
    invoice_item_id      object_id,
    proration            boolean     NOT NULL DEFAULT false,
    discountable         boolean     NOT NULL DEFAULT true,
    credited             json,
    discount_ids         text[],
    tax_rate_ids         text[],
    discounts            json,
    credits              json,
    taxes                json,
    whole_seconds        bigint,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (account_id, invoice_id, "position"),
    CONSTRAINT invoice_lines_id_once UNIQUE (account_id, id),
    CONSTRAINT invoice_lines_kind CHECK (kind IN ('unit', 'flat', 'minimum', 'maximum', 'billed'))
);
CREATE UNIQUE INDEX invoice_lines_billed_once ON invoice_lines (account_id, obligation, part)
    WHERE live;
CREATE TRIGGER invoice_lines_frozen_insert AFTER INSERT ON invoice_lines REFERENCING NEW TABLE
    AS changed_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();
CREATE TRIGGER invoice_lines_frozen_delete AFTER DELETE ON invoice_lines REFERENCING OLD TABLE
    AS changed_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();
CREATE TRIGGER invoice_lines_frozen_update BEFORE UPDATE ON invoice_lines FOR EACH ROW WHEN
    ((to_jsonb(old.*) - '{live,metadata}'::text[]) IS DISTINCT FROM (to_jsonb(new.*) -
    '{live,metadata}'::text[])) EXECUTE FUNCTION refuse_rewriting_of_lines();

CREATE TABLE payment_attempts (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    invoice_id        object_id,
    customer_id       object_id,
    payment_method_id object_id   NOT NULL,
    gateway           text        NOT NULL,
    gateway_token     text        NOT NULL,
    amount            bigint      NOT NULL,
    currency          text        NOT NULL,
    status            text        NOT NULL,
    automatic         boolean     NOT NULL,
    gateway_reference text,
    failure_code      text,
    decline_code      text,
    failure_message   text,
    leased_until      timestamptz,
    attempted_at      timestamptz NOT NULL,
    settled_at        timestamptz,
    payment_intent_id object_id   NOT NULL,
    on_session        boolean     NOT NULL DEFAULT false,
    asked             integer     NOT NULL DEFAULT 0,
    replaces          object_id,
    next_action       json,
    amount_refunded   bigint      NOT NULL DEFAULT 0,
    CONSTRAINT payment_attempts_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_attempts_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_attempts_refunded_within_amount CHECK (amount_refunded >= 0 AND
        amount_refunded <= CASE     WHEN status = 'succeeded' THEN amount     ELSE 0::bigint END),
    CONSTRAINT payment_attempts_settled_iff_known CHECK ((status IN ('pending', 'action_required',
        'processing')) = (settled_at IS NULL)),
    CONSTRAINT payment_attempts_status CHECK (status IN ('pending', 'action_required', 'processing',
        'succeeded', 'failed', 'canceled'))
);
CREATE INDEX payment_attempts_by_invoice ON payment_attempts (account_id, invoice_id, id);
CREATE UNIQUE INDEX payment_attempts_one_under_way ON payment_attempts (account_id,
    payment_intent_id) WHERE status IN ('pending', 'processing');
CREATE UNIQUE INDEX payment_attempts_one_action ON payment_attempts (account_id,
    payment_intent_id) WHERE status = 'action_required';
CREATE UNIQUE INDEX payment_attempts_paid_once ON payment_attempts (account_id,
    payment_intent_id) WHERE status = 'succeeded';
CREATE INDEX payment_attempts_by_intent ON payment_attempts (account_id, payment_intent_id, id);
CREATE INDEX payment_attempts_unsettled ON payment_attempts (account_id, leased_until) WHERE
    status IN ('pending', 'action_required', 'processing');
CREATE INDEX payment_attempts_by_customer ON payment_attempts (account_id, customer_id, id)
    WHERE customer_id IS NOT NULL;

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
    CONSTRAINT events_pkey PRIMARY KEY (account_id, id)
);
CREATE INDEX events_by_type ON events (account_id, type, id);
CREATE INDEX events_by_time ON events (account_id, created_at);
CREATE INDEX events_of_outcomes ON events (account_id, object_id, id) WHERE type IN
    ('invoice.paid', 'invoice.payment_failed');

CREATE TABLE billing_alerts (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    title       text        NOT NULL,
    meter_id    object_id   NOT NULL,
    customer_id object_id,
    recurrence  text        NOT NULL,
    gte         numeric,
    percent     integer,
    amount      bigint,
    status      text        NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT billing_alerts_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT billing_alerts_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT billing_alerts_account_id_meter_id_fkey FOREIGN KEY (account_id, meter_id) REFERENCES
        meters(account_id, id),
    CONSTRAINT billing_alerts_one_threshold CHECK (num_nonnulls(gte, percent, amount) = 1 AND
        COALESCE(gte, percent::numeric, amount::numeric) > 0::numeric),
    CONSTRAINT billing_alerts_one_time_by_quantity CHECK (recurrence <> 'one_time' OR gte IS NOT
        NULL),
    CONSTRAINT billing_alerts_recurrence CHECK (recurrence IN ('one_time', 'billing_period')),
    CONSTRAINT billing_alerts_status CHECK (status IN ('active', 'inactive', 'archived'))
);
CREATE INDEX billing_alerts_by_meter ON billing_alerts (account_id, meter_id, id) WHERE status
    <> 'archived';

CREATE TABLE alert_firings (
    account_id  integer     NOT NULL,
    alert_id    object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    window_key  text        COLLATE "C" NOT NULL,
    quantity    numeric     NOT NULL,
    fired_at    timestamptz NOT NULL,
    CONSTRAINT alert_firings_once PRIMARY KEY (account_id, alert_id, customer_id, window_key),
    CONSTRAINT alert_firings_account_id_alert_id_fkey FOREIGN KEY (account_id, alert_id) REFERENCES
        billing_alerts(account_id, id)
);

CREATE TABLE meter_event_sessions (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    key_id     object_id   NOT NULL,
    digest     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT meter_event_sessions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT meter_event_sessions_digest_once UNIQUE (digest),
    CONSTRAINT meter_event_sessions_account_id_fkey FOREIGN KEY (account_id) REFERENCES
        accounts(account_id),
    CONSTRAINT meter_event_sessions_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id)
);
CREATE INDEX meter_event_sessions_by_end ON meter_event_sessions (account_id, expires_at);

CREATE TABLE usage_rejections (
    account_id   integer     NOT NULL,
    window_start timestamptz NOT NULL,
    meter_id     object_id   NOT NULL,
    code         text        NOT NULL,
    count        bigint      NOT NULL,
    samples      json        NOT NULL,
    CONSTRAINT usage_rejections_pkey PRIMARY KEY (account_id, window_start, meter_id, code),
    CONSTRAINT usage_rejections_are_some CHECK (count > 0)
);

CREATE TABLE usage_conflicts (
    account_id  integer        NOT NULL,
    id          object_id      NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    event_name  text           NOT NULL,
    customer_id object_id      NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    value       text           NOT NULL,
    payload     json           NOT NULL,
    received_at timestamptz(3) NOT NULL,
    actor       text           NOT NULL,
    CONSTRAINT usage_conflicts_pkey PRIMARY KEY (account_id, id)
);
CREATE INDEX usage_conflicts_by_reference ON usage_conflicts (account_id, reference, id);

CREATE TABLE usage_backfills (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    status      text        NOT NULL,
    event_name  text,
    description text,
    event_count bigint,
    created_at  timestamptz NOT NULL,
    closed_at   timestamptz,
    reverted_at timestamptz,
    CONSTRAINT usage_backfills_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT usage_backfills_counted_iff_not_open CHECK ((status = 'open') = (event_count IS
        NULL)),
    CONSTRAINT usage_backfills_open_iff_not_ended CHECK ((status = 'open') = (closed_at IS NULL AND
        reverted_at IS NULL)),
    CONSTRAINT usage_backfills_reverted_iff_reverted_at CHECK ((status = 'reverted') = (reverted_at
        IS NOT NULL)),
    CONSTRAINT usage_backfills_status CHECK (status IN ('open', 'closed', 'reverted'))
);

CREATE TABLE usage_backfill_series (
    account_id  integer        NOT NULL,
    backfill_id object_id      NOT NULL,
    series_id   bigint         NOT NULL,
    first_at    timestamptz(3) NOT NULL,
    last_at     timestamptz(3) NOT NULL,
    CONSTRAINT usage_backfill_series_pkey PRIMARY KEY (account_id, backfill_id, series_id),
    CONSTRAINT usage_backfill_series_account_id_backfill_id_fkey FOREIGN KEY (account_id,
        backfill_id) REFERENCES usage_backfills(account_id, id),
    CONSTRAINT usage_backfill_series_ordered CHECK (first_at <= last_at)
);
CREATE INDEX usage_backfill_series_by_series ON usage_backfill_series (series_id);

CREATE TABLE invoice_items (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    customer_id          object_id   NOT NULL,
    clock_id             object_id,
    invoice_id           object_id,
    subscription_id      object_id,
    subscription_item_id object_id,
    price_id             object_id,
    product_id           object_id,
    meter_id             object_id,
    obligation           text        COLLATE "C" NOT NULL,
    part                 smallint    NOT NULL DEFAULT 0,
    period_start         timestamptz NOT NULL,
    period_end           timestamptz NOT NULL,
    quantity             numeric     NOT NULL,
    unit_amount          numeric,
    tier                 smallint,
    kind                 text        NOT NULL,
    amount               bigint      NOT NULL,
    currency             text        NOT NULL,
    description          text        NOT NULL,
    discountable         boolean     NOT NULL,
    proration            boolean     NOT NULL,
    credited             json,
    discount_ids         text[],
    tax_rate_ids         text[],
    metadata             jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at           timestamptz NOT NULL,
    whole_seconds        bigint,
    discounts            json,
    CONSTRAINT invoice_items_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT invoice_items_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id)
);
CREATE INDEX invoice_items_by_customer ON invoice_items (account_id, customer_id, id);
CREATE INDEX invoice_items_pending ON invoice_items (account_id, customer_id) WHERE invoice_id
    IS NULL;
CREATE INDEX invoice_items_by_invoice ON invoice_items (account_id, invoice_id) WHERE invoice_id
    IS NOT NULL;
CREATE UNIQUE INDEX invoice_items_pending_once ON invoice_items (account_id, obligation, part)
    WHERE invoice_id IS NULL;
CREATE INDEX invoice_items_credits ON invoice_items (account_id, subscription_item_id) WHERE
    credited IS NOT NULL;

CREATE TABLE coupons (
    account_id              integer     NOT NULL,
    id                      object_id   NOT NULL,
    name                    text,
    duration                text        NOT NULL,
    duration_in_months      integer,
    percent_off             numeric,
    amount_off              bigint,
    currency                text,
    currency_options        json,
    product_ids             text[],
    max_redemptions         bigint,
    redeem_by               timestamptz,
    times_redeemed          bigint      NOT NULL DEFAULT 0,
    metadata                jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at              timestamptz NOT NULL,
    deleted_at              timestamptz,
    status                  text        NOT NULL DEFAULT 'active',
    description             text,
    redeem_from             timestamptz,
    max_amount_off          bigint,
    max_amount_off_currency text,
    minimum_amount          bigint,
    minimum_amount_currency text,
    CONSTRAINT coupons_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT coupons_minimum_has_currency CHECK ((minimum_amount IS NULL) =
        (minimum_amount_currency IS NULL) AND (minimum_amount > 0) IS NOT FALSE),
    CONSTRAINT coupons_months_iff_repeating CHECK ((duration IN ('once', 'repeating', 'forever'))
        AND (duration = 'repeating') = (duration_in_months IS NOT NULL)),
    CONSTRAINT coupons_most_of_a_percentage CHECK ((max_amount_off IS NULL) =
        (max_amount_off_currency IS NULL) AND (max_amount_off IS NULL OR percent_off IS NOT NULL)
        AND (max_amount_off > 0) IS NOT FALSE),
    CONSTRAINT coupons_percent_or_amount CHECK ((percent_off IS NULL) <> (amount_off IS NULL) AND
        (amount_off IS NULL) = (currency IS NULL)),
    CONSTRAINT coupons_redeemed_at_most CHECK (times_redeemed >= 0 AND times_redeemed <=
        max_redemptions),
    CONSTRAINT coupons_redeemed_within_a_time CHECK ((redeem_from < redeem_by) IS NOT FALSE),
    CONSTRAINT coupons_status CHECK (status IN ('active', 'inactive', 'archived')),
    CONSTRAINT coupons_take_something_off CHECK ((percent_off > 0::numeric AND percent_off <=
        100::numeric) IS NOT FALSE AND (amount_off > 0) IS NOT FALSE)
);
CREATE INDEX coupons_by_time ON coupons (account_id, created_at, id);

CREATE TABLE promotion_codes (
    account_id               integer     NOT NULL,
    id                       object_id   NOT NULL,
    code                     text        NOT NULL,
    coupon_id                object_id   NOT NULL,
    active                   boolean     NOT NULL,
    customer_id              object_id,
    expires_at               timestamptz,
    max_redemptions          bigint,
    times_redeemed           bigint      NOT NULL DEFAULT 0,
    first_time_transaction   boolean     NOT NULL DEFAULT false,
    minimum_amount           bigint,
    minimum_amount_currency  text,
    minimum_amounts          jsonb,
    metadata                 jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at               timestamptz NOT NULL,
    max_customer_redemptions bigint,
    CONSTRAINT promotion_codes_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT promotion_codes_account_id_coupon_id_fkey FOREIGN KEY (account_id, coupon_id)
        REFERENCES coupons(account_id, id),
    CONSTRAINT promotion_codes_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT promotion_codes_by_each_customer CHECK ((max_customer_redemptions > 0) IS NOT FALSE),
    CONSTRAINT promotion_codes_minimum_has_currency CHECK ((minimum_amount IS NULL) =
        (minimum_amount_currency IS NULL)),
    CONSTRAINT promotion_codes_redeemed_at_most CHECK (times_redeemed >= 0 AND times_redeemed <=
        max_redemptions)
);
CREATE UNIQUE INDEX promotion_codes_active_once ON promotion_codes (account_id, upper(code),
    COALESCE(customer_id::text, '')) WHERE active;
CREATE INDEX promotion_codes_by_code ON promotion_codes (account_id, upper(code));
CREATE INDEX promotion_codes_by_coupon ON promotion_codes (account_id, coupon_id, id);

CREATE TABLE discounts (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    coupon_id            object_id   NOT NULL,
    customer_id          object_id   NOT NULL,
    start_at             timestamptz NOT NULL,
    duration             text        NOT NULL,
    end_at               timestamptz,
    promotion_code_id    object_id,
    subscription_id      object_id,
    subscription_item_id object_id,
    invoice_id           object_id,
    invoice_item_id      object_id,
    used_invoice_id      object_id,
    deleted_at           timestamptz,
    CONSTRAINT discounts_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT discounts_account_id_coupon_id_fkey FOREIGN KEY (account_id, coupon_id) REFERENCES
        coupons(account_id, id),
    CONSTRAINT discounts_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT discounts_account_id_promotion_code_id_fkey FOREIGN KEY (account_id,
        promotion_code_id) REFERENCES promotion_codes(account_id, id),
    CONSTRAINT discounts_end_after_start CHECK (end_at > start_at),
    CONSTRAINT discounts_end_iff_repeating CHECK ((duration = 'repeating') = (end_at IS NOT NULL)),
    CONSTRAINT discounts_used_up_iff_once CHECK (used_invoice_id IS NULL OR duration = 'once')
);
CREATE INDEX discounts_by_customer ON discounts (account_id, customer_id, id);
CREATE INDEX discounts_by_promotion_code ON discounts (account_id, promotion_code_id,
    customer_id) WHERE promotion_code_id IS NOT NULL;

CREATE TABLE tax_rates (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    display_name text        NOT NULL,
    percentage   numeric     NOT NULL,
    inclusive    boolean     NOT NULL,
    active       boolean     NOT NULL,
    country      text,
    description  text,
    jurisdiction text,
    state        text,
    tax_type     text,
    metadata     jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at   timestamptz NOT NULL,
    CONSTRAINT tax_rates_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT tax_rates_percentage CHECK (percentage >= 0::numeric AND percentage <= 100::numeric
        AND scale(percentage) <= 4)
);

CREATE TABLE balance_transactions (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    customer_id    object_id   NOT NULL,
    clock_id       object_id,
    sequence       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    reason         text        NOT NULL,
    amount         bigint      NOT NULL,
    ending_balance bigint      NOT NULL,
    currency       text        NOT NULL,
    invoice_id     object_id,
    credit_note_id object_id,
    description    text,
    metadata       jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at     timestamptz NOT NULL,
    CONSTRAINT balance_transactions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT balance_transactions_account_id_customer_id_fkey FOREIGN KEY (account_id,
        customer_id) REFERENCES customers(account_id, id),
    CONSTRAINT balance_transactions_of_an_invoice CHECK ((reason IN ('applied_to_invoice',
        'unapplied_from_invoice')) <= (invoice_id IS NOT NULL)),
    CONSTRAINT balance_transactions_reason CHECK (reason IN ('initial', 'adjustment',
        'applied_to_invoice', 'unapplied_from_invoice', 'credit_note', 'invoice_overpaid'))
);
CREATE INDEX balance_transactions_by_customer ON balance_transactions (account_id, customer_id,
    id);
CREATE UNIQUE INDEX balance_transactions_applied_once ON balance_transactions (account_id,
    invoice_id, reason) WHERE reason IN ('applied_to_invoice', 'unapplied_from_invoice');

CREATE TABLE credit_grants (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    customer_id  object_id   NOT NULL,
    clock_id     object_id,
    amount       bigint      NOT NULL,
    balance      bigint      NOT NULL,
    currency     text        NOT NULL,
    category     text        NOT NULL,
    name         text,
    priority     smallint    NOT NULL,
    price_ids    text[],
    effective_at timestamptz NOT NULL,
    expires_at   timestamptz,
    expired_at   timestamptz,
    voided_at    timestamptz,
    metadata     jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT credit_grants_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT credit_grants_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT credit_grants_category CHECK (category IN ('paid', 'promotional')),
    CONSTRAINT credit_grants_expire_after_effect CHECK (expires_at >= effective_at),
    CONSTRAINT credit_grants_never_overdrawn CHECK (balance >= 0 AND balance <= amount AND amount >
        0),
    CONSTRAINT credit_grants_nothing_left_of_the_void CHECK (voided_at IS NULL OR balance = 0),
    CONSTRAINT credit_grants_priority CHECK (priority >= 0 AND priority <= 100)
);
CREATE INDEX credit_grants_by_customer ON credit_grants (account_id, customer_id, id);
CREATE INDEX credit_grants_unused ON credit_grants (account_id, customer_id) WHERE balance > 0;
CREATE INDEX credit_grants_to_expire ON credit_grants (account_id, clock_id, expires_at) WHERE
    balance > 0 AND expires_at IS NOT NULL;

CREATE TABLE credit_transactions (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    grant_id     object_id   NOT NULL,
    customer_id  object_id   NOT NULL,
    clock_id     object_id,
    movement     text        NOT NULL,
    amount       bigint      NOT NULL,
    currency     text        NOT NULL,
    invoice_id   object_id,
    line_id      object_id,
    effective_at timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT credit_transactions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT credit_transactions_account_id_grant_id_fkey FOREIGN KEY (account_id, grant_id)
        REFERENCES credit_grants(account_id, id),
    CONSTRAINT credit_transactions_amount_positive CHECK (amount > 0),
    CONSTRAINT credit_transactions_movement CHECK (movement IN ('credits_granted',
        'credits_application_invoice_voided', 'credits_applied', 'credits_expired',
        'credits_voided')),
    CONSTRAINT credit_transactions_of_a_line CHECK ((movement IN ('credits_applied',
        'credits_application_invoice_voided')) = (invoice_id IS NOT NULL AND line_id IS NOT NULL))
);
CREATE INDEX credit_transactions_by_customer ON credit_transactions (account_id, customer_id,
    id);
CREATE INDEX credit_transactions_by_grant ON credit_transactions (account_id, grant_id, id);
CREATE UNIQUE INDEX credit_transactions_applied_once ON credit_transactions (account_id,
    invoice_id, line_id, grant_id, movement) WHERE invoice_id IS NOT NULL;

CREATE TABLE credit_notes (
    account_id             integer     NOT NULL,
    id                     object_id   NOT NULL,
    invoice_id             object_id   NOT NULL,
    sequence               integer     NOT NULL,
    customer_id            object_id   NOT NULL,
    clock_id               object_id,
    number                 text        NOT NULL,
    status                 text        NOT NULL,
    currency               text        NOT NULL,
    subtotal               bigint      NOT NULL,
    total                  bigint      NOT NULL,
    pre_payment_amount     bigint      NOT NULL,
    credit_amount          bigint      NOT NULL,
    out_of_band_amount     bigint      NOT NULL,
    reason                 text,
    memo                   text,
    metadata               jsonb       NOT NULL DEFAULT '{}'::jsonb,
    balance_transaction_id object_id,
    effective_at           timestamptz NOT NULL,
    created_at             timestamptz NOT NULL,
    voided_at              timestamptz,
    refund_amount          bigint      NOT NULL DEFAULT 0,
    CONSTRAINT credit_notes_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT credit_notes_number_once UNIQUE (account_id, number),
    CONSTRAINT credit_notes_sequence_once UNIQUE (account_id, invoice_id, sequence),
    CONSTRAINT credit_notes_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT credit_notes_amounts_sum CHECK (total = (pre_payment_amount + credit_amount +
        out_of_band_amount + refund_amount) AND total > 0 AND pre_payment_amount >= 0 AND
        credit_amount >= 0 AND out_of_band_amount >= 0 AND refund_amount >= 0),
    CONSTRAINT credit_notes_status CHECK (status IN ('issued', 'void')),
    CONSTRAINT credit_notes_void_iff_voided CHECK ((status = 'void') = (voided_at IS NOT NULL))
);
CREATE INDEX credit_notes_by_customer ON credit_notes (account_id, customer_id, id);

CREATE TABLE credit_note_lines (
    account_id      integer   NOT NULL,
    id              object_id NOT NULL,
    credit_note_id  object_id NOT NULL,
    "position"      smallint  NOT NULL,
    type            text      NOT NULL,
    invoice_line_id object_id,
    description     text      NOT NULL,
    quantity        bigint,
    unit_amount     numeric,
    amount          bigint    NOT NULL,
    discounts       json,
    credits         json,
    taxes           json,
    metadata        jsonb     NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT credit_note_lines_pkey PRIMARY KEY (account_id, credit_note_id, "position"),
    CONSTRAINT credit_note_lines_id_once UNIQUE (account_id, id),
    CONSTRAINT credit_note_lines_account_id_credit_note_id_fkey FOREIGN KEY (account_id,
        credit_note_id) REFERENCES credit_notes(account_id, id),
    CONSTRAINT credit_note_lines_type CHECK ((type IN ('invoice_line_item', 'custom_line_item')) AND
        (type = 'invoice_line_item') = (invoice_line_id IS NOT NULL))
);

CREATE TABLE ledger_transactions (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    kind        text        NOT NULL,
    source_id   object_id   NOT NULL,
    customer_id object_id,
    invoice_id  object_id,
    currency    text        NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT ledger_transactions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT ledger_transactions_kind CHECK (kind IN ('invoice_finalized', 'invoice_voided',
        'invoice_uncollectible', 'payment', 'payment_out_of_band', 'payment_unapplied',
        'payment_applied', 'payment_excess', 'refund', 'refund_failed', 'credit_note',
        'credit_note_voided', 'balance_adjusted', 'credit_granted', 'credit_expired',
        'credit_voided'))
);
CREATE UNIQUE INDEX ledger_transactions_once ON ledger_transactions (account_id, source_id,
    kind);
CREATE INDEX ledger_transactions_by_customer ON ledger_transactions (account_id, customer_id,
    id);
CREATE INDEX ledger_transactions_by_invoice ON ledger_transactions (account_id, invoice_id)
    WHERE invoice_id IS NOT NULL;
CREATE TRIGGER ledger_transactions_frozen BEFORE DELETE OR UPDATE OR TRUNCATE ON
    ledger_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger();

CREATE TABLE ledger_entries (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    transaction_id object_id   NOT NULL,
    ledger_account text        NOT NULL,
    currency       text        NOT NULL,
    amount         bigint      NOT NULL,
    customer_id    object_id,
    period_start   timestamptz,
    period_end     timestamptz,
    created_at     timestamptz NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT ledger_entries_account CHECK (ledger_account IN ('receivable', 'cash',
        'cash_out_of_band', 'unapplied_payments', 'refunds', 'deferred_revenue', 'tax_payable',
        'customer_credit', 'credit_grants', 'revenue', 'promotions', 'balance_adjustments',
        'bad_debt')),
    CONSTRAINT ledger_entries_deferred_iff_period CHECK ((ledger_account = 'deferred_revenue') =
        (period_start IS NOT NULL) AND (period_start IS NULL) = (period_end IS NULL)),
    CONSTRAINT ledger_entries_period_ordered CHECK (period_start < period_end)
);
CREATE TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS
    added_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_entries_that_do_not_balance();
CREATE TRIGGER ledger_entries_frozen BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger_entries FOR
    EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger();

CREATE TABLE thresholds_reached (
    account_id      integer   NOT NULL,
    id              bigint    NOT NULL GENERATED ALWAYS AS IDENTITY,
    subscription_id object_id NOT NULL,
    customer_id     object_id NOT NULL,
    clock_id        object_id,
    CONSTRAINT thresholds_reached_pkey PRIMARY KEY (account_id, id)
);

CREATE TABLE subscription_schedules (
    account_id               integer     NOT NULL,
    id                       object_id   NOT NULL,
    customer_id              object_id   NOT NULL,
    clock_id                 object_id,
    subscription_id          object_id,
    released_subscription_id object_id,
    status                   text        NOT NULL,
    end_behavior             text        NOT NULL,
    billing_mode             text        NOT NULL,
    default_settings         jsonb       NOT NULL,
    phases                   jsonb       NOT NULL,
    phase_index              integer,
    due_at                   timestamptz,
    parked                   text,
    metadata                 jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at               timestamptz NOT NULL,
    canceled_at              timestamptz,
    completed_at             timestamptz,
    released_at              timestamptz,
    CONSTRAINT subscription_schedules_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscription_schedules_account_id_customer_id_fkey FOREIGN KEY (account_id,
        customer_id) REFERENCES customers(account_id, id),
    CONSTRAINT subscription_schedules_billing_mode CHECK (billing_mode IN ('flexible', 'classic')),
    CONSTRAINT subscription_schedules_canceled_iff_canceled_at CHECK ((status = 'canceled') =
        (canceled_at IS NOT NULL)),
    CONSTRAINT subscription_schedules_due_only_while_running CHECK (due_at IS NULL OR (status IN
        ('not_started', 'active'))),
    CONSTRAINT subscription_schedules_end_behavior CHECK (end_behavior IN ('release', 'cancel')),
    CONSTRAINT subscription_schedules_phase_iff_active CHECK ((phase_index IS NOT NULL) = (status =
        'active')),
    CONSTRAINT subscription_schedules_status CHECK (status IN ('not_started', 'active', 'completed',
        'released', 'canceled'))
);
CREATE INDEX subscription_schedules_by_customer ON subscription_schedules (account_id,
    customer_id, id);
CREATE UNIQUE INDEX subscription_schedules_one_per_subscription ON subscription_schedules
    (account_id, subscription_id) WHERE subscription_id IS NOT NULL AND (status IN
    ('not_started', 'active'));
CREATE INDEX subscription_schedules_due ON subscription_schedules (account_id, due_at) WHERE
    due_at IS NOT NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX subscription_schedules_due_on_clock ON subscription_schedules (account_id,
    clock_id, due_at) WHERE due_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;

CREATE TABLE webhook_endpoints (
    account_id            integer     NOT NULL,
    id                    object_id   NOT NULL,
    url                   text        NOT NULL,
    enabled_events        jsonb       NOT NULL,
    facade                text        NOT NULL,
    payload               text        NOT NULL,
    api_version           text,
    description           text,
    metadata              jsonb       NOT NULL DEFAULT '{}'::jsonb,
    status                text        NOT NULL,
    secret                bytea,
    previous_secret       bytea,
    previous_secret_until timestamptz,
    failing_since         timestamptz,
    created_at            timestamptz NOT NULL,
    deleted_at            timestamptz,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT webhook_endpoints_account_id_fkey FOREIGN KEY (account_id) REFERENCES
        accounts(account_id),
    CONSTRAINT webhook_endpoints_deleted_are_disabled CHECK (deleted_at IS NULL OR status =
        'disabled'),
    CONSTRAINT webhook_endpoints_facade CHECK (facade IN ('stripe', 'frame')),
    CONSTRAINT webhook_endpoints_payload CHECK (payload IN ('snapshot', 'thin')),
    CONSTRAINT webhook_endpoints_previous_secret_for_a_time CHECK ((previous_secret IS NULL) =
        (previous_secret_until IS NULL)),
    CONSTRAINT webhook_endpoints_secret_forgotten_iff_deleted CHECK ((secret IS NULL) = (deleted_at
        IS NOT NULL)),
    CONSTRAINT webhook_endpoints_status CHECK (status IN ('enabled', 'disabled'))
);

CREATE TABLE webhook_deliveries (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    sequence    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    endpoint_id object_id   NOT NULL,
    event_id    object_id   NOT NULL,
    subject_id  object_id   NOT NULL,
    status      text        NOT NULL DEFAULT 'pending',
    due_at      timestamptz DEFAULT '1970-01-01 00:00:00+00'::timestamptz,
    attempts    integer     NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    settled_at  timestamptz,
    told_as     text,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT webhook_deliveries_due_only_while_pending CHECK (due_at IS NULL OR status =
        'pending'),
    CONSTRAINT webhook_deliveries_settled_iff_not_pending CHECK ((status = 'pending') = (settled_at
        IS NULL)),
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed'))
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (account_id, endpoint_id, due_at,
    sequence) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (account_id, endpoint_id,
    subject_id, sequence) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (account_id, event_id);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (account_id, endpoint_id, id);

CREATE TABLE webhook_attempts (
    account_id   integer     NOT NULL,
    delivery_id  object_id   NOT NULL,
    number       integer     NOT NULL,
    attempted_at timestamptz NOT NULL,
    duration_ms  integer     NOT NULL,
    status_code  integer,
    error        text,
    response     text,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (account_id, delivery_id, number),
    CONSTRAINT webhook_attempts_account_id_delivery_id_fkey FOREIGN KEY (account_id, delivery_id)
        REFERENCES webhook_deliveries(account_id, id) ON DELETE CASCADE
);

CREATE TABLE retention_marks (
    account_id integer   NOT NULL,
    kind       text      NOT NULL,
    first_id   object_id NOT NULL,
    CONSTRAINT retention_marks_pkey PRIMARY KEY (account_id, kind),
    CONSTRAINT retention_marks_kind CHECK (kind = 'events')
);

CREATE TABLE event_destinations (
    account_id integer     NOT NULL,
    id         object_id   NOT NULL,
    name       text        NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT event_destinations_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT event_destinations_account_id_id_fkey FOREIGN KEY (account_id, id) REFERENCES
        webhook_endpoints(account_id, id)
);

CREATE TABLE payment_intents (
    account_id          integer     NOT NULL,
    id                  object_id   NOT NULL,
    customer_id         object_id,
    clock_id            object_id,
    invoice_id          object_id,
    amount              bigint      NOT NULL,
    amount_received     bigint      NOT NULL DEFAULT 0,
    currency            text        NOT NULL,
    status              text        NOT NULL,
    client_secret       text        NOT NULL,
    payment_method_id   object_id,
    latest_attempt_id   object_id,
    last_error          json,
    next_action         json,
    setup_future_usage  text,
    description         text,
    metadata            jsonb       NOT NULL DEFAULT '{}'::jsonb,
    cancellation_reason text,
    created_at          timestamptz NOT NULL,
    canceled_at         timestamptz,
    paid_at             timestamptz,
    amount_applied      bigint      NOT NULL DEFAULT 0,
    reference           text,
    CONSTRAINT payment_intents_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_intents_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_intents_applied_to_an_invoice CHECK (invoice_id IS NOT NULL OR amount_applied
        = 0),
    CONSTRAINT payment_intents_applied_within_received CHECK (amount_applied >= 0 AND amount_applied
        <= amount_received),
    CONSTRAINT payment_intents_canceled_iff_canceled_at CHECK ((status = 'canceled') = (canceled_at
        IS NOT NULL)),
    CONSTRAINT payment_intents_received_iff_succeeded CHECK ((status = 'succeeded') =
        (amount_received > 0)),
    CONSTRAINT payment_intents_received_within_amount CHECK (amount_received >= 0 AND
        amount_received <= amount),
    CONSTRAINT payment_intents_status CHECK (status IN ('requires_payment_method',
        'requires_confirmation', 'requires_action', 'processing', 'succeeded', 'canceled')),
    CONSTRAINT payment_intents_succeeded_iff_paid_at CHECK ((status = 'succeeded') = (paid_at IS NOT
        NULL))
);
CREATE INDEX payment_intents_by_customer ON payment_intents (account_id, customer_id, id) WHERE
    customer_id IS NOT NULL;
CREATE INDEX payment_intents_by_invoice ON payment_intents (account_id, invoice_id) WHERE
    invoice_id IS NOT NULL;
CREATE INDEX payment_intents_as_invoice_payments ON payment_intents (account_id, ('inpay_' ||
    substr(id::text, 4))) WHERE invoice_id IS NOT NULL;

CREATE TABLE retry_schedules (
    account_id    integer     NOT NULL,
    id            object_id   NOT NULL,
    kind          text        NOT NULL,
    created_at    timestamptz NOT NULL,
    name          text,
    "window"      text,
    days          smallint[],
    after_retries text        NOT NULL DEFAULT 'past_due',
    segment       jsonb,
    metadata      jsonb       NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT retry_schedules_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT retry_schedules_after_retries CHECK (after_retries IN ('past_due', 'unpaid',
        'cancel', 'pause')),
    CONSTRAINT retry_schedules_days_iff_listed CHECK ((kind = 'list') = (days IS NOT NULL) AND
        COALESCE(cardinality(days), 1) >= 1 AND COALESCE(cardinality(days), 1) <= 20),
    CONSTRAINT retry_schedules_kind CHECK (kind IN ('window', 'daily', 'list')),
    CONSTRAINT retry_schedules_window CHECK ("window" IN ('1_week', '2_weeks', '3_weeks', '1_month',
        '2_months')),
    CONSTRAINT retry_schedules_window_iff_of_one CHECK ((kind = 'window') = ("window" IS NOT NULL))
);
ALTER TABLE accounts ADD CONSTRAINT accounts_retry_schedule FOREIGN KEY (account_id,
    retry_schedule_id) REFERENCES retry_schedules(account_id, id);
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_retry_schedule FOREIGN KEY (account_id,
    retry_schedule_id) REFERENCES retry_schedules(account_id, id);

CREATE TABLE payment_records (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    customer_id       object_id,
    clock_id          object_id,
    invoice_id        object_id,
    amount            bigint      NOT NULL,
    amount_applied    bigint      NOT NULL DEFAULT 0,
    currency          text        NOT NULL,
    method            text        NOT NULL,
    reference         text,
    customer_details  json,
    customer_presence text,
    description       text,
    metadata          jsonb       NOT NULL DEFAULT '{}'::jsonb,
    paid_at           timestamptz NOT NULL,
    attached_at       timestamptz,
    created_at        timestamptz NOT NULL,
    CONSTRAINT payment_records_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_records_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_records_applied_to_an_invoice CHECK (invoice_id IS NOT NULL OR amount_applied
        = 0),
    CONSTRAINT payment_records_applied_within_amount CHECK (amount_applied >= 0 AND amount_applied
        <= amount),
    CONSTRAINT payment_records_attached_iff_invoice CHECK ((invoice_id IS NULL) = (attached_at IS
        NULL))
);
CREATE INDEX payment_records_by_invoice ON payment_records (account_id, invoice_id) WHERE
    invoice_id IS NOT NULL;
CREATE INDEX payment_records_as_invoice_payments ON payment_records (account_id, ('inpay_' ||
    substr(id::text, 4))) WHERE invoice_id IS NOT NULL;

CREATE TABLE refunds (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    attempt_id        object_id   NOT NULL,
    payment_intent_id object_id   NOT NULL,
    invoice_id        object_id,
    customer_id       object_id,
    clock_id          object_id,
    payment_method_id object_id   NOT NULL,
    gateway           text        NOT NULL,
    charge_reference  text        NOT NULL,
    amount            bigint      NOT NULL,
    amount_of_credit  bigint      NOT NULL DEFAULT 0,
    currency          text        NOT NULL,
    status            text        NOT NULL,
    reason            text,
    failure_code      text,
    failure_message   text,
    gateway_reference text,
    metadata          jsonb       NOT NULL DEFAULT '{}'::jsonb,
    asked             integer     NOT NULL DEFAULT 0,
    leased_until      timestamptz,
    created_at        timestamptz NOT NULL,
    settled_at        timestamptz,
    CONSTRAINT refunds_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT refunds_amount_positive CHECK (amount > 0),
    CONSTRAINT refunds_credit_within_amount CHECK (amount_of_credit >= 0 AND amount_of_credit <=
        amount),
    CONSTRAINT refunds_leased_iff_pending CHECK ((status = 'pending') = (leased_until IS NOT NULL)),
    CONSTRAINT refunds_settled_iff_known CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT refunds_status CHECK (status IN ('pending', 'succeeded', 'failed'))
);
CREATE INDEX refunds_by_attempt ON refunds (account_id, attempt_id);
CREATE INDEX refunds_by_intent ON refunds (account_id, payment_intent_id, id);
CREATE INDEX refunds_pending ON refunds (account_id, leased_until) WHERE status = 'pending';

CREATE TABLE credit_note_refunds (
    account_id     integer   NOT NULL,
    credit_note_id object_id NOT NULL,
    refund_id      object_id NOT NULL,
    amount         bigint    NOT NULL,
    CONSTRAINT credit_note_refunds_pkey PRIMARY KEY (account_id, credit_note_id, refund_id),
    CONSTRAINT credit_note_refunds_amount_positive CHECK (amount > 0)
);
CREATE INDEX credit_note_refunds_by_refund ON credit_note_refunds (account_id, refund_id);

CREATE TABLE payment_gateways (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    name        text        NOT NULL,
    kind        text        NOT NULL,
    credentials bytea       NOT NULL,
    hint        text        NOT NULL,
    base_url    text,
    is_default  boolean     NOT NULL DEFAULT false,
    metadata    jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at  timestamptz NOT NULL,
    CONSTRAINT payment_gateways_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_gateways_name_once UNIQUE (account_id, name),
    CONSTRAINT payment_gateways_kind CHECK (kind IN ('stripe', 'frame')),
    CONSTRAINT payment_gateways_name_is_not_built_in CHECK (name <> ALL (ARRAY['test', 'manual']))
);
CREATE UNIQUE INDEX payment_gateways_one_default ON payment_gateways (account_id) WHERE
    is_default;

CREATE TABLE setup_intents (
    account_id           integer     NOT NULL,
    id                   object_id   NOT NULL,
    customer_id          object_id,
    clock_id             object_id,
    subscription_id      object_id,
    usage                text        NOT NULL,
    status               text        NOT NULL,
    client_secret        text        NOT NULL,
    payment_method_id    object_id,
    latest_attempt_id    object_id,
    last_error           json,
    next_action          json,
    payment_method_types text[],
    description          text,
    metadata             jsonb       NOT NULL DEFAULT '{}'::jsonb,
    cancellation_reason  text,
    created_at           timestamptz NOT NULL,
    canceled_at          timestamptz,
    CONSTRAINT setup_intents_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT setup_intents_canceled_iff_canceled_at CHECK ((status = 'canceled') = (canceled_at IS
        NOT NULL)),
    CONSTRAINT setup_intents_status CHECK (status IN ('requires_payment_method',
        'requires_confirmation', 'requires_action', 'processing', 'succeeded', 'canceled')),
    CONSTRAINT setup_intents_succeeded_with_a_method CHECK (status <> 'succeeded' OR
        payment_method_id IS NOT NULL),
    CONSTRAINT setup_intents_usage CHECK (usage IN ('off_session', 'on_session'))
);
CREATE INDEX setup_intents_by_customer ON setup_intents (account_id, customer_id, id) WHERE
    customer_id IS NOT NULL;
CREATE UNIQUE INDEX setup_intents_one_open_per_subscription ON setup_intents (account_id,
    subscription_id) WHERE subscription_id IS NOT NULL AND (status <> ALL (ARRAY['succeeded',
    'canceled']));

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
    CONSTRAINT setup_attempts_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT setup_attempts_settled_iff_known CHECK ((status IN ('pending', 'action_required',
        'processing')) = (settled_at IS NULL)),
    CONSTRAINT setup_attempts_status CHECK (status IN ('pending', 'action_required', 'processing',
        'succeeded', 'failed', 'canceled'))
);
CREATE UNIQUE INDEX setup_attempts_one_under_way ON setup_attempts (account_id, setup_intent_id)
    WHERE status IN ('pending', 'action_required', 'processing');
CREATE INDEX setup_attempts_by_intent ON setup_attempts (account_id, setup_intent_id, id);
CREATE INDEX setup_attempts_unsettled ON setup_attempts (account_id, leased_until) WHERE status
    IN ('pending', 'action_required', 'processing');

CREATE TABLE price_phases (
    account_id          integer     NOT NULL,
    id                  object_id   NOT NULL,
    product_id          object_id,
    subscription_id     object_id,
    ordinal             integer     NOT NULL,
    name                text,
    pricing_type        text        NOT NULL,
    amount              bigint,
    discount_percentage numeric,
    period_count        integer,
    price_id            object_id,
    base_price_id       object_id,
    started_at          timestamptz,
    ended_at            timestamptz,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT price_phases_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT price_phases_ordinal_once UNIQUE NULLS NOT DISTINCT (account_id, product_id,
        subscription_id, ordinal) DEFERRABLE,
    CONSTRAINT price_phases_account_id_base_price_id_fkey FOREIGN KEY (account_id, base_price_id)
        REFERENCES prices(account_id, id),
    CONSTRAINT price_phases_account_id_price_id_fkey FOREIGN KEY (account_id, price_id) REFERENCES
        prices(account_id, id),
    CONSTRAINT price_phases_account_id_product_id_fkey FOREIGN KEY (account_id, product_id)
        REFERENCES products(account_id, id) ON DELETE CASCADE,
    CONSTRAINT price_phases_account_id_subscription_id_fkey FOREIGN KEY (account_id,
        subscription_id) REFERENCES subscriptions(account_id, id),
    CONSTRAINT price_phases_amount_iff_static CHECK ((pricing_type = 'static') = (amount IS NOT
        NULL) AND COALESCE(amount, 0::bigint) >= 0),
    CONSTRAINT price_phases_discount_iff_relative CHECK ((pricing_type = 'relative') =
        (discount_percentage IS NOT NULL) AND COALESCE(discount_percentage, 0::numeric) >=
        0::numeric AND COALESCE(discount_percentage, 0::numeric) <= 100::numeric),
    CONSTRAINT price_phases_end_after_they_start CHECK (ended_at IS NULL OR ended_at >= started_at),
    CONSTRAINT price_phases_of_a_product_or_a_subscription CHECK (num_nonnulls(product_id,
        subscription_id) = 1),
    CONSTRAINT price_phases_only_of_subscriptions_start CHECK (started_at IS NULL OR subscription_id
        IS NOT NULL),
    CONSTRAINT price_phases_period_count CHECK (period_count >= 1),
    CONSTRAINT price_phases_prices_iff_of_a_subscription CHECK (num_nonnulls(price_id,
        base_price_id) = (2 * num_nonnulls(subscription_id))),
    CONSTRAINT price_phases_pricing_type CHECK (pricing_type IN ('static', 'relative'))
);
CREATE INDEX price_phases_of_subscriptions ON price_phases (account_id, subscription_id) WHERE
    subscription_id IS NOT NULL;

CREATE TABLE subscription_changes (
    account_id      integer     NOT NULL,
    id              object_id   NOT NULL,
    subscription_id object_id   NOT NULL,
    kind            text        NOT NULL,
    proration       text        NOT NULL,
    settlement      text        NOT NULL,
    settles_at      timestamptz,
    amount          bigint      NOT NULL,
    invoice_id      object_id,
    state_before    json        NOT NULL,
    state_after     json        NOT NULL,
    effective_at    timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT subscription_changes_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscription_changes_invoice_iff_at_once CHECK ((settlement = 'at_once') =
        (invoice_id IS NOT NULL)),
    CONSTRAINT subscription_changes_kind CHECK (kind IN ('upgrade', 'downgrade', 'phase',
        'interval', 'other')),
    CONSTRAINT subscription_changes_proration CHECK (proration IN ('create_prorations',
        'always_invoice', 'none')),
    CONSTRAINT subscription_changes_settlement CHECK (settlement IN ('at_once', 'next_renewal',
        'none'))
);
CREATE INDEX subscription_changes_by_subscription ON subscription_changes (account_id,
    subscription_id, id);

CREATE TABLE usage_amendments (
    account_id  integer        NOT NULL,
    id          object_id      NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    value       numeric        NOT NULL,
    payload     json,
    amended_at  timestamptz    NOT NULL,
    actor       text           NOT NULL,
    CONSTRAINT usage_amendments_pkey PRIMARY KEY (account_id, id)
);
CREATE INDEX usage_amendments_by_reference ON usage_amendments (account_id, reference, id);

CREATE TABLE billed_windows (
    account_id integer     NOT NULL,
    series_id  bigint      NOT NULL,
    start_at   timestamptz NOT NULL,
    end_at     timestamptz NOT NULL,
    price_id   object_id   NOT NULL,
    CONSTRAINT billed_windows_pkey PRIMARY KEY (series_id, start_at, end_at),
    CONSTRAINT billed_windows_never_overlap EXCLUDE USING gist (int8range(series_id, series_id,
        '[]') WITH &&, tstzrange(start_at, end_at) WITH &&),
    CONSTRAINT billed_windows_account_id_price_id_fkey FOREIGN KEY (account_id, price_id) REFERENCES
        prices(account_id, id),
    CONSTRAINT billed_windows_series_id_fkey FOREIGN KEY (series_id) REFERENCES
        usage_series(series_id),
    CONSTRAINT billed_windows_begin_before_they_end CHECK (start_at < end_at)
);

CREATE TABLE window_billings (
    account_id integer     NOT NULL,
    obligation text        COLLATE "C" NOT NULL,
    invoice_id object_id   NOT NULL,
    series_id  bigint      NOT NULL,
    start_at   timestamptz NOT NULL,
    end_at     timestamptz NOT NULL,
    quantity   numeric     NOT NULL,
    amount     bigint      NOT NULL,
    CONSTRAINT window_billings_pkey PRIMARY KEY (account_id, obligation),
    CONSTRAINT window_billings_account_id_invoice_id_fkey FOREIGN KEY (account_id, invoice_id)
        REFERENCES invoices(account_id, id),
    CONSTRAINT window_billings_series_id_start_at_end_at_fkey FOREIGN KEY (series_id, start_at,
        end_at) REFERENCES billed_windows(series_id, start_at, end_at),
    CONSTRAINT window_billings_quantity_not_negative CHECK (quantity >= 0::numeric)
);
CREATE INDEX window_billings_by_invoice ON window_billings (account_id, invoice_id);
CREATE INDEX window_billings_by_window ON window_billings (series_id, start_at, end_at);

CREATE TABLE unit_credits (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    clock_id    object_id,
    product_id  object_id   NOT NULL,
    granted     numeric     NOT NULL,
    used        numeric     NOT NULL,
    is_limited  boolean     NOT NULL,
    expires_at  timestamptz,
    metadata    jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT unit_credits_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT unit_credits_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT unit_credits_account_id_product_id_fkey FOREIGN KEY (account_id, product_id)
        REFERENCES products(account_id, id),
    CONSTRAINT unit_credits_expire_after_they_were_made CHECK (expires_at > created_at),
    CONSTRAINT unit_credits_never_overdrawn CHECK (granted > 0::numeric AND used >= 0::numeric AND
        used <= granted)
);
CREATE INDEX unit_credits_by_customer ON unit_credits (account_id, customer_id, id);
CREATE INDEX unit_credits_by_product ON unit_credits (account_id, product_id);

CREATE TABLE unit_draws (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    credit_id    object_id   NOT NULL,
    invoice_id   object_id   NOT NULL,
    meter_id     object_id   NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    quantity     numeric     NOT NULL,
    drawn_at     timestamptz NOT NULL,
    returned_at  timestamptz,
    CONSTRAINT unit_draws_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT unit_draws_account_id_credit_id_fkey FOREIGN KEY (account_id, credit_id) REFERENCES
        unit_credits(account_id, id),
    CONSTRAINT unit_draws_account_id_meter_id_fkey FOREIGN KEY (account_id, meter_id) REFERENCES
        meters(account_id, id),
    CONSTRAINT unit_draws_of_a_window CHECK (period_start < period_end),
    CONSTRAINT unit_draws_quantity_positive CHECK (quantity > 0::numeric)
);
CREATE UNIQUE INDEX unit_draws_once ON unit_draws (account_id, invoice_id, credit_id, meter_id,
    period_start);
CREATE INDEX unit_draws_by_credit ON unit_draws (account_id, credit_id);

CREATE TABLE usage_quotas (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    meter_id    object_id   NOT NULL,
    customer_id object_id,
    quantity    numeric,
    amount      bigint,
    percents    integer[]   NOT NULL,
    metadata    jsonb       NOT NULL DEFAULT '{}'::jsonb,
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    CONSTRAINT usage_quotas_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT usage_quotas_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT usage_quotas_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(account_id),
    CONSTRAINT usage_quotas_account_id_meter_id_fkey FOREIGN KEY (account_id, meter_id) REFERENCES
        meters(account_id, id),
    CONSTRAINT usage_quotas_percents CHECK (cardinality(percents) >= 1 AND cardinality(percents) <=
        20 AND (0 < ALL (percents))),
    CONSTRAINT usage_quotas_positive CHECK (COALESCE(quantity, amount::numeric) > 0::numeric),
    CONSTRAINT usage_quotas_quantity_or_amount CHECK (num_nonnulls(quantity, amount) = 1)
);
CREATE UNIQUE INDEX usage_quotas_one_of_a_meter ON usage_quotas (account_id, meter_id,
    COALESCE(customer_id::text, '')) WHERE deleted_at IS NULL;
CREATE INDEX usage_quotas_of_customer ON usage_quotas (account_id, customer_id) WHERE deleted_at
    IS NULL;

CREATE TABLE usage_quota_marks (
    account_id  integer     NOT NULL,
    quota_id    object_id   NOT NULL,
    customer_id object_id   NOT NULL,
    start_at    timestamptz NOT NULL,
    percent     integer     NOT NULL,
    reached_at  timestamptz NOT NULL,
    CONSTRAINT usage_quota_marks_once PRIMARY KEY (account_id, quota_id, customer_id, start_at,
        percent),
    CONSTRAINT usage_quota_marks_account_id_quota_id_fkey FOREIGN KEY (account_id, quota_id)
        REFERENCES usage_quotas(account_id, id)
);

CREATE VIEW invoice_payments AS
 SELECT p.account_id, 'inpay_' || substr(p.id::text, 4) AS id, p.invoice_id,
    COALESCE(( SELECT i.payment_intent_id::text = p.id::text
           FROM invoices i
          WHERE i.account_id = p.account_id AND i.id::text = p.invoice_id::text), false) AS is_default,
    p.amount AS amount_requested, p.amount_applied AS amount_paid, p.currency,
    p.id AS payment_intent_id, NULL::text::object_id AS payment_record_id,
        CASE p.status
            WHEN 'succeeded' THEN 'paid'
            WHEN 'canceled' THEN 'canceled'
            ELSE 'open'
        END AS status,
    p.created_at, p.paid_at, p.canceled_at
   FROM payment_intents p
  WHERE p.invoice_id IS NOT NULL
UNION ALL
 SELECT r.account_id, 'inpay_' || substr(r.id::text, 4) AS id, r.invoice_id,
    false AS is_default, r.amount AS amount_requested, r.amount_applied AS amount_paid,
    r.currency, NULL::text::object_id AS payment_intent_id, r.id AS payment_record_id,
    'paid' AS status, r.created_at, r.paid_at,
    NULL::timestamptz AS canceled_at
   FROM payment_records r
  WHERE r.invoice_id IS NOT NULL;
