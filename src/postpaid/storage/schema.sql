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

CREATE TABLE accounts (
    account_id integer     NOT NULL GENERATED ALWAYS AS IDENTITY,
    id         object_id   NOT NULL,
    livemode   boolean     NOT NULL,
    name       text        NOT NULL,
    country    text        NOT NULL DEFAULT 'US',
    created_at timestamptz NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
    CONSTRAINT accounts_id_once UNIQUE (id),
    CONSTRAINT accounts_one_per_name_and_mode UNIQUE (name, livemode)
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
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, key),
    CONSTRAINT idempotency_keys_answered_or_unfinished CHECK ((status IS NULL) = (body IS NULL) AND
        (status IS NULL OR unfinished IS NULL))
);

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
    CONSTRAINT customers_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT customers_invoice_prefix_once UNIQUE (account_id, invoice_prefix),
    CONSTRAINT customers_account_id_clock_id_fkey FOREIGN KEY (account_id, clock_id) REFERENCES
        test_clocks(account_id, id),
    CONSTRAINT customers_tax_exempt CHECK (tax_exempt IN ('none', 'exempt', 'reverse'))
);
CREATE INDEX customers_by_email ON customers (account_id, email) WHERE email IS NOT NULL;
CREATE INDEX customers_by_clock ON customers (account_id, clock_id) WHERE clock_id IS NOT NULL;

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
    CONSTRAINT payment_methods_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_methods_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id)
);
CREATE INDEX payment_methods_by_customer ON payment_methods (account_id, customer_id, id) WHERE
    customer_id IS NOT NULL;

CREATE TABLE meters (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    display_name   text        NOT NULL,
    event_name     text        NOT NULL,
    aggregation    text        NOT NULL,
    customer_key   text        NOT NULL,
    value_key      text        NOT NULL,
    status         text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    deactivated_at timestamptz,
    CONSTRAINT meters_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT meters_event_name_once UNIQUE (account_id, event_name),
    CONSTRAINT meters_aggregation CHECK (aggregation IN ('sum', 'count', 'last')),
    CONSTRAINT meters_inactive_iff_deactivated CHECK ((status IN ('active', 'inactive')) AND (status
        = 'inactive') = (deactivated_at IS NOT NULL))
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
    CONSTRAINT prices_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT prices_lookup_key_once UNIQUE (account_id, lookup_key),
    CONSTRAINT prices_account_id_meter_id_fkey FOREIGN KEY (account_id, meter_id) REFERENCES
        meters(account_id, id),
    CONSTRAINT prices_account_id_product_id_fkey FOREIGN KEY (account_id, product_id) REFERENCES
        products(account_id, id),
    CONSTRAINT prices_metered_iff_meter CHECK ((COALESCE(usage_type, 'licensed') IN ('licensed',
        'metered')) AND (COALESCE(usage_type, 'licensed') = 'metered') = (meter_id IS NOT NULL)),
    CONSTRAINT prices_per_unit_or_tiered CHECK ((unit_amount IS NULL) = (tiers IS NOT NULL) AND
        (tiers IS NULL) = (tiers_mode IS NULL)),
    CONSTRAINT prices_recurring_whole CHECK (("interval" IS NULL) = (interval_count IS NULL) AND
        ("interval" IS NULL) = (usage_type IS NULL))
);
CREATE INDEX prices_by_product ON prices (account_id, product_id, id);

CREATE TABLE usage_events (
    account_id  integer        NOT NULL,
    reference   text           COLLATE "C" NOT NULL,
    meter_id    object_id      NOT NULL,
    customer_id object_id      NOT NULL,
    occurred_at timestamptz(3) NOT NULL,
    received_at timestamptz    NOT NULL,
    value       numeric        NOT NULL,
    payload     json,
    CONSTRAINT usage_events_reference_once PRIMARY KEY (account_id, reference)
);
CREATE INDEX usage_events_by_time ON usage_events (account_id, customer_id, meter_id,
    occurred_at);

CREATE TABLE usage_hours (
    account_id     integer        NOT NULL,
    customer_id    object_id      NOT NULL,
    meter_id       object_id      NOT NULL,
    hour           timestamptz    NOT NULL,
    sum            numeric        NOT NULL,
    count          bigint         NOT NULL,
    last_value     numeric        NOT NULL,
    last_at        timestamptz(3) NOT NULL,
    last_reference text           COLLATE "C" NOT NULL,
    CONSTRAINT usage_hours_pkey PRIMARY KEY (account_id, customer_id, meter_id, hour)
) WITH (fillfactor=80);

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
    CONSTRAINT subscriptions_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscriptions_account_id_customer_id_fkey FOREIGN KEY (account_id, customer_id)
        REFERENCES customers(account_id, id),
    CONSTRAINT subscriptions_billing_mode CHECK (billing_mode IN ('flexible', 'classic')),
    CONSTRAINT subscriptions_closes_until_ended CHECK (ended_at IS NULL OR closes_at IS NULL),
    CONSTRAINT subscriptions_collection CHECK ((collection_method IN ('charge_automatically',
        'send_invoice')) AND (collection_method = 'send_invoice') = (days_until_due IS NOT NULL)),
    CONSTRAINT subscriptions_ended_iff_terminal CHECK ((status IN ('canceled',
        'incomplete_expired')) = (ended_at IS NOT NULL)),
    CONSTRAINT subscriptions_status CHECK (status IN ('incomplete', 'incomplete_expired',
        'trialing', 'active', 'past_due', 'canceled', 'unpaid', 'paused'))
);
CREATE INDEX subscriptions_by_customer ON subscriptions (account_id, customer_id, id);
CREATE INDEX subscriptions_due ON subscriptions (account_id, closes_at) WHERE closes_at IS NOT
    NULL AND clock_id IS NULL AND parked IS NULL;
CREATE INDEX subscriptions_due_on_clock ON subscriptions (account_id, clock_id, closes_at) WHERE
    closes_at IS NOT NULL AND clock_id IS NOT NULL AND parked IS NULL;
CREATE INDEX subscriptions_expiring ON subscriptions (account_id, expires_at) WHERE expires_at
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
    CONSTRAINT subscription_items_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT subscription_items_price_once UNIQUE (account_id, subscription_id, price_id),
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
    CONSTRAINT invoices_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT invoices_number_once UNIQUE (account_id, number),
    CONSTRAINT invoices_amount_due_not_negative CHECK (amount_due >= 0),
    CONSTRAINT invoices_finalized_iff_not_draft CHECK ((status = 'draft') = (finalized_at IS NULL)),
    CONSTRAINT invoices_numbered_iff_finalized CHECK ((number IS NULL) = (finalized_at IS NULL)),
    CONSTRAINT invoices_only_drafts_finalize CHECK (finalizes_at IS NULL OR status = 'draft'),
    CONSTRAINT invoices_paid_iff_paid_at CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT invoices_paid_within_due CHECK (amount_paid >= 0 AND amount_paid <= amount_due),
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
CREATE TRIGGER invoices_frozen BEFORE UPDATE ON invoices FOR EACH ROW WHEN (old.finalized_at IS
    NOT NULL AND (old.account_id IS DISTINCT FROM new.account_id OR old.id::text IS DISTINCT
    FROM new.id::text OR old.number IS DISTINCT FROM new.number OR old.customer_id::text IS
    DISTINCT FROM new.customer_id::text OR old.subscription_id::text IS DISTINCT FROM
    new.subscription_id::text OR old.currency IS DISTINCT FROM new.currency OR old.subtotal IS
    DISTINCT FROM new.subtotal OR old.total IS DISTINCT FROM new.total OR old.starting_balance
    IS DISTINCT FROM new.starting_balance OR old.ending_balance IS DISTINCT FROM
    new.ending_balance OR old.amount_due IS DISTINCT FROM new.amount_due OR
    old.customer_snapshot::text IS DISTINCT FROM new.customer_snapshot::text OR old.finalized_at
    IS DISTINCT FROM new.finalized_at OR old.period_start IS DISTINCT FROM new.period_start OR
    old.period_end IS DISTINCT FROM new.period_end)) EXECUTE FUNCTION
    refuse_change_of_finalized_invoice();
CREATE TRIGGER invoices_frozen_delete BEFORE DELETE ON invoices FOR EACH ROW WHEN
    (old.finalized_at IS NOT NULL) EXECUTE FUNCTION refuse_change_of_finalized_invoice();

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
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (account_id, invoice_id, "position"),
    CONSTRAINT invoice_lines_id_once UNIQUE (account_id, id),
    CONSTRAINT invoice_lines_kind CHECK (kind IN ('unit', 'flat'))
);
CREATE UNIQUE INDEX invoice_lines_billed_once ON invoice_lines (account_id, obligation, part)
    WHERE live;
CREATE TRIGGER invoice_lines_frozen_insert AFTER INSERT ON invoice_lines REFERENCING NEW TABLE
    AS changed_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();
CREATE TRIGGER invoice_lines_frozen_delete AFTER DELETE ON invoice_lines REFERENCING OLD TABLE
    AS changed_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_finalized_lines();
CREATE TRIGGER invoice_lines_frozen_update BEFORE UPDATE OF account_id, id, invoice_id,
    "position", obligation, part, subscription_id, subscription_item_id, price_id, product_id,
    meter_id, period_start, period_end, quantity, unit_amount, tier, kind, amount, description
    ON invoice_lines FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_of_lines();

CREATE TABLE payment_attempts (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    invoice_id        object_id   NOT NULL,
    customer_id       object_id   NOT NULL,
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
    CONSTRAINT payment_attempts_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT payment_attempts_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_attempts_settled_iff_known CHECK ((status = 'pending') = (settled_at IS
        NULL)),
    CONSTRAINT payment_attempts_status CHECK (status IN ('pending', 'succeeded', 'failed'))
);
CREATE UNIQUE INDEX payment_attempts_one_pending ON payment_attempts (account_id, invoice_id)
    WHERE status = 'pending';
CREATE UNIQUE INDEX payment_attempts_paid_once ON payment_attempts (account_id, invoice_id)
    WHERE status = 'succeeded';
CREATE INDEX payment_attempts_by_invoice ON payment_attempts (account_id, invoice_id, id);
CREATE INDEX payment_attempts_unsettled ON payment_attempts (leased_until) WHERE status =
    'pending';

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
