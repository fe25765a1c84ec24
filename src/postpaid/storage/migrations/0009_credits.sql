-- What pays before money does: customers' balances, credit grants; and credit notes, which take back
-- what was billed.

-- Every movement of a customer's balance, which is their sum.
CREATE TABLE balance_transactions (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    customer_id    object_id   NOT NULL,
    clock_id       object_id,
    sequence       bigint      GENERATED ALWAYS AS IDENTITY,  -- their order under the customer's lock
    reason         text        NOT NULL,
    amount         bigint      NOT NULL,   -- negative: credit for the customer
    ending_balance bigint      NOT NULL,
    currency       text        NOT NULL,
    invoice_id     object_id,
    credit_note_id object_id,
    description    text,
    metadata       jsonb       NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT balance_transactions_reason
        CHECK (reason IN ('initial', 'adjustment', 'applied_to_invoice', 'unapplied_from_invoice',
                          'credit_note')),
    CONSTRAINT balance_transactions_of_an_invoice
        CHECK ((reason IN ('applied_to_invoice', 'unapplied_from_invoice')) <= (invoice_id IS NOT NULL))
);

CREATE INDEX balance_transactions_by_customer ON balance_transactions (account_id, customer_id, id);
CREATE UNIQUE INDEX balance_transactions_applied_once
    ON balance_transactions (account_id, invoice_id, reason)
    WHERE reason IN ('applied_to_invoice', 'unapplied_from_invoice');

CREATE TABLE credit_grants (
    account_id   integer     NOT NULL,
    id           object_id   NOT NULL,
    customer_id  object_id   NOT NULL,
    clock_id     object_id,
    amount       bigint      NOT NULL,
    balance      bigint      NOT NULL,   -- what is left of it
    currency     text        NOT NULL,
    category     text        NOT NULL,
    name         text,
    priority     smallint    NOT NULL,
    price_ids    text[],                 -- null: usage of any price
    effective_at timestamptz NOT NULL,
    expires_at   timestamptz,
    expired_at   timestamptz,            -- when what was left was taken
    voided_at    timestamptz,
    metadata     jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT credit_grants_category CHECK (category IN ('paid', 'promotional')),
    CONSTRAINT credit_grants_priority CHECK (priority BETWEEN 0 AND 100),
    CONSTRAINT credit_grants_never_overdrawn CHECK (balance BETWEEN 0 AND amount AND amount > 0),
    CONSTRAINT credit_grants_nothing_left_of_the_void CHECK (voided_at IS NULL OR balance = 0),
    CONSTRAINT credit_grants_expire_after_effect CHECK (expires_at >= effective_at)
);

CREATE INDEX credit_grants_by_customer ON credit_grants (account_id, customer_id, id);
CREATE INDEX credit_grants_unused ON credit_grants (account_id, customer_id) WHERE balance > 0;
CREATE INDEX credit_grants_to_expire ON credit_grants (account_id, clock_id, expires_at)
    WHERE balance > 0 AND expires_at IS NOT NULL;

-- Every movement of a grant's credit: what gives less what takes is what is left.
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
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, grant_id) REFERENCES credit_grants,
    CONSTRAINT credit_transactions_movement
        CHECK (movement IN ('credits_granted', 'credits_application_invoice_voided',
                            'credits_applied', 'credits_expired', 'credits_voided')),
    CONSTRAINT credit_transactions_amount_positive CHECK (amount > 0),
    CONSTRAINT credit_transactions_of_a_line
        CHECK ((movement IN ('credits_applied', 'credits_application_invoice_voided'))
               = (invoice_id IS NOT NULL AND line_id IS NOT NULL))
);

CREATE INDEX credit_transactions_by_customer ON credit_transactions (account_id, customer_id, id);
CREATE INDEX credit_transactions_by_grant ON credit_transactions (account_id, grant_id, id);
CREATE UNIQUE INDEX credit_transactions_applied_once
    ON credit_transactions (account_id, invoice_id, line_id, grant_id, movement)
    WHERE invoice_id IS NOT NULL;

-- What takes back all or part of a final invoice, whose lines never change.
CREATE TABLE credit_notes (
    account_id             integer     NOT NULL,
    id                     object_id   NOT NULL,
    invoice_id             object_id   NOT NULL,
    sequence               integer     NOT NULL,   -- counts those of the invoice, void ones too
    customer_id            object_id   NOT NULL,
    clock_id               object_id,
    number                 text        NOT NULL,
    status                 text        NOT NULL,
    currency               text        NOT NULL,
    subtotal               bigint      NOT NULL,
    total                  bigint      NOT NULL,
    pre_payment_amount     bigint      NOT NULL,   -- lowered what was still to be paid
    credit_amount          bigint      NOT NULL,   -- went to the customer's balance
    out_of_band_amount     bigint      NOT NULL,   -- was given back some other way
    reason                 text,
    memo                   text,
    metadata               jsonb       NOT NULL DEFAULT '{}',
    balance_transaction_id object_id,
    effective_at           timestamptz NOT NULL,
    created_at             timestamptz NOT NULL,
    voided_at              timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, customer_id) REFERENCES customers,
    CONSTRAINT credit_notes_number_once UNIQUE (account_id, number),
    CONSTRAINT credit_notes_sequence_once UNIQUE (account_id, invoice_id, sequence),
    CONSTRAINT credit_notes_status CHECK (status IN ('issued', 'void')),
    CONSTRAINT credit_notes_void_iff_voided CHECK ((status = 'void') = (voided_at IS NOT NULL)),
    CONSTRAINT credit_notes_amounts_sum
        CHECK (total = pre_payment_amount + credit_amount + out_of_band_amount
               AND total > 0
               AND pre_payment_amount >= 0 AND credit_amount >= 0 AND out_of_band_amount >= 0)
);

CREATE INDEX credit_notes_by_customer ON credit_notes (account_id, customer_id, id);

CREATE TABLE credit_note_lines (
    account_id      integer   NOT NULL,
    id              object_id NOT NULL,
    credit_note_id  object_id NOT NULL,
    position        smallint  NOT NULL,
    type            text      NOT NULL,
    invoice_line_id object_id,
    description     text      NOT NULL,
    quantity        bigint,
    unit_amount     numeric,
    amount          bigint    NOT NULL,   -- before discounts, credits and tax
    discounts       json,                 -- {discount: amount}
    credits         json,                 -- {credit balance transaction: amount}; these stay used
    taxes           json,                 -- {tax rate: {amount, taxable, inclusive}}
    metadata        jsonb     NOT NULL DEFAULT '{}',
    PRIMARY KEY (account_id, credit_note_id, position),
    FOREIGN KEY (account_id, credit_note_id) REFERENCES credit_notes,
    CONSTRAINT credit_note_lines_id_once UNIQUE (account_id, id),
    CONSTRAINT credit_note_lines_type
        CHECK (type IN ('invoice_line_item', 'custom_line_item')
               AND (type = 'invoice_line_item') = (invoice_line_id IS NOT NULL))
);
