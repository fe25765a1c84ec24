-- Money that goes back, that comes some other way, or that is not what was asked for.

-- How much of what was received went to the invoice; the rest is the customer's credit.
ALTER TABLE payment_intents ADD COLUMN amount_applied bigint NOT NULL DEFAULT 0;

UPDATE payment_intents p
   SET amount_applied = least(p.amount_received, i.amount_paid)
  FROM invoices i
 WHERE i.account_id = p.account_id
   AND i.id = p.invoice_id
   AND p.status = 'succeeded';

ALTER TABLE payment_intents
    ADD CONSTRAINT payment_intents_applied_within_received
        CHECK (amount_applied >= 0 AND amount_applied <= amount_received),
    ADD CONSTRAINT payment_intents_applied_to_an_invoice
        CHECK (invoice_id IS NOT NULL OR amount_applied = 0);

ALTER TABLE invoices
    ADD COLUMN amount_paid_out_of_band bigint NOT NULL DEFAULT 0,
    ADD COLUMN amount_overpaid         bigint NOT NULL DEFAULT 0;

UPDATE invoices
   SET amount_paid_out_of_band = amount_paid
 WHERE paid_out_of_band;

ALTER TABLE invoices
    ADD CONSTRAINT invoices_paid_out_of_band_within_paid
        CHECK (amount_paid_out_of_band >= 0
               AND amount_paid_out_of_band <= greatest(0, amount_paid)),
    ADD CONSTRAINT invoices_amount_overpaid_not_negative CHECK (amount_overpaid >= 0);

-- Money that came some other way, as somebody reported it.
CREATE TABLE payment_records (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    customer_id       object_id,
    clock_id          object_id,
    invoice_id        object_id,
    amount            bigint      NOT NULL,
    amount_applied    bigint      NOT NULL DEFAULT 0,  -- to the invoice; the rest is credit
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
    PRIMARY KEY (account_id, id),
    CONSTRAINT payment_records_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_records_applied_within_amount
        CHECK (amount_applied >= 0 AND amount_applied <= amount),
    CONSTRAINT payment_records_attached_iff_invoice
        CHECK ((invoice_id IS NULL) = (attached_at IS NULL)),
    CONSTRAINT payment_records_applied_to_an_invoice
        CHECK (invoice_id IS NOT NULL OR amount_applied = 0)
);

CREATE INDEX payment_records_by_invoice ON payment_records (account_id, invoice_id)
    WHERE invoice_id IS NOT NULL;

-- An invoice payment is a payment intent or a payment record with an invoice. Its id is theirs, so
-- it sorts as they do.
CREATE INDEX payment_intents_as_invoice_payments
    ON payment_intents (account_id, (('inpay_' || substr(id, 4))::text))
    WHERE invoice_id IS NOT NULL;
CREATE INDEX payment_records_as_invoice_payments
    ON payment_records (account_id, (('inpay_' || substr(id, 4))::text))
    WHERE invoice_id IS NOT NULL;

CREATE VIEW invoice_payments AS
SELECT p.account_id,
       ('inpay_' || substr(p.id, 4))::text AS id,
       p.invoice_id,
       coalesce((SELECT i.payment_intent_id = p.id
                   FROM invoices i
                  WHERE i.account_id = p.account_id
                    AND i.id = p.invoice_id), false) AS is_default,
       p.amount AS amount_requested,
       p.amount_applied AS amount_paid,
       p.currency,
       p.id AS payment_intent_id,
       NULL::object_id AS payment_record_id,
       CASE p.status WHEN 'succeeded' THEN 'paid'
                     WHEN 'canceled' THEN 'canceled'
                     ELSE 'open' END AS status,
       p.created_at,
       p.paid_at,
       p.canceled_at
  FROM payment_intents p
 WHERE p.invoice_id IS NOT NULL
 UNION ALL
SELECT r.account_id,
       ('inpay_' || substr(r.id, 4))::text AS id,
       r.invoice_id,
       false AS is_default,
       r.amount AS amount_requested,
       r.amount_applied AS amount_paid,
       r.currency,
       NULL::object_id AS payment_intent_id,
       r.id AS payment_record_id,
       'paid' AS status,
       r.created_at,
       r.paid_at,
       NULL::timestamptz AS canceled_at
  FROM payment_records r
 WHERE r.invoice_id IS NOT NULL;

-- Money that goes back. Its id is the key that the gateway is given.
CREATE TABLE refunds (
    account_id        integer     NOT NULL,
    id                object_id   NOT NULL,
    attempt_id        object_id   NOT NULL,  -- what is given back of
    payment_intent_id object_id   NOT NULL,
    invoice_id        object_id,
    customer_id       object_id,
    clock_id          object_id,
    payment_method_id object_id   NOT NULL,
    gateway           text        NOT NULL,
    charge_reference  text        NOT NULL,
    amount            bigint      NOT NULL,
    amount_of_credit  bigint      NOT NULL DEFAULT 0,  -- taken back from the customer's balance
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
    PRIMARY KEY (account_id, id),
    CONSTRAINT refunds_amount_positive CHECK (amount > 0),
    CONSTRAINT refunds_credit_within_amount
        CHECK (amount_of_credit >= 0 AND amount_of_credit <= amount),
    CONSTRAINT refunds_status CHECK (status IN ('pending', 'succeeded', 'failed')),
    CONSTRAINT refunds_settled_iff_known CHECK ((status = 'pending') = (settled_at IS NULL)),
    CONSTRAINT refunds_leased_iff_pending CHECK ((status = 'pending') = (leased_until IS NOT NULL))
);

CREATE INDEX refunds_by_attempt ON refunds (account_id, attempt_id);
CREATE INDEX refunds_by_intent ON refunds (account_id, payment_intent_id, id);
CREATE INDEX refunds_pending ON refunds (account_id, leased_until) WHERE status = 'pending';

-- Which refunds a credit note is the paper of, and with how much of each.
CREATE TABLE credit_note_refunds (
    account_id     integer   NOT NULL,
    credit_note_id object_id NOT NULL,
    refund_id      object_id NOT NULL,
    amount         bigint    NOT NULL,
    PRIMARY KEY (account_id, credit_note_id, refund_id),
    CONSTRAINT credit_note_refunds_amount_positive CHECK (amount > 0)
);

CREATE INDEX credit_note_refunds_by_refund ON credit_note_refunds (account_id, refund_id);

ALTER TABLE credit_notes
    ADD COLUMN refund_amount bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT credit_notes_amounts_sum,
    ADD CONSTRAINT credit_notes_amounts_sum
        CHECK (total = pre_payment_amount + credit_amount + out_of_band_amount + refund_amount
               AND total > 0
               AND pre_payment_amount >= 0 AND credit_amount >= 0 AND out_of_band_amount >= 0
               AND refund_amount >= 0);

-- A payment without an invoice may be nobody's that we know.
ALTER TABLE ledger_transactions
    ALTER COLUMN customer_id DROP NOT NULL,
    DROP CONSTRAINT ledger_transactions_kind,
    ADD CONSTRAINT ledger_transactions_kind CHECK (kind IN (
        'invoice_finalized', 'invoice_voided', 'invoice_uncollectible', 'payment',
        'payment_out_of_band', 'payment_unapplied', 'payment_applied', 'payment_excess', 'refund',
        'refund_failed', 'credit_note', 'credit_note_voided', 'balance_adjusted',
        'credit_granted', 'credit_expired', 'credit_voided'));
ALTER TABLE ledger_entries
    ALTER COLUMN customer_id DROP NOT NULL,
    DROP CONSTRAINT ledger_entries_account,
    ADD CONSTRAINT ledger_entries_account CHECK (ledger_account IN (
        'receivable', 'cash', 'cash_out_of_band', 'unapplied_payments', 'refunds',
        'deferred_revenue', 'tax_payable', 'customer_credit', 'credit_grants', 'revenue',
        'promotions', 'balance_adjustments', 'bad_debt'));
