-- What is to be collected at all, beside each try to collect it.

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
    client_secret       text        NOT NULL,  -- lets whoever has it confirm this one payment
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
    PRIMARY KEY (account_id, id),
    CONSTRAINT payment_intents_amount_positive CHECK (amount > 0),
    CONSTRAINT payment_intents_received_within_amount
        CHECK (amount_received >= 0 AND amount_received <= amount),
    CONSTRAINT payment_intents_received_iff_succeeded
        CHECK ((status = 'succeeded') = (amount_received > 0)),
    CONSTRAINT payment_intents_succeeded_iff_paid_at
        CHECK ((status = 'succeeded') = (paid_at IS NOT NULL)),
    CONSTRAINT payment_intents_canceled_iff_canceled_at
        CHECK ((status = 'canceled') = (canceled_at IS NOT NULL)),
    CONSTRAINT payment_intents_status CHECK (status IN (
        'requires_payment_method', 'requires_confirmation', 'requires_action', 'processing',
        'succeeded', 'canceled'))
);

CREATE INDEX payment_intents_by_customer ON payment_intents (account_id, customer_id, id)
    WHERE customer_id IS NOT NULL;
CREATE INDEX payment_intents_by_invoice ON payment_intents (account_id, invoice_id)
    WHERE invoice_id IS NOT NULL;

INSERT INTO payment_intents (account_id, id, customer_id, clock_id, invoice_id, amount,
                             amount_received, currency, status, client_secret, payment_method_id,
                             latest_attempt_id, created_at, canceled_at, paid_at)
SELECT i.account_id, i.payment_intent_id, i.customer_id, i.clock_id, i.id, i.amount_due,
       CASE WHEN a.status = 'succeeded' THEN a.amount ELSE 0 END, i.currency,
       CASE WHEN a.status = 'succeeded' THEN 'succeeded'
            WHEN i.status IN ('void', 'paid') THEN 'canceled'
            WHEN a.status = 'pending' THEN 'processing'
            ELSE 'requires_payment_method' END,
       i.payment_intent_id || '_secret_' || replace(gen_random_uuid()::text, '-', ''),
       a.payment_method_id, a.id, i.finalized_at,
       CASE WHEN a.status IS DISTINCT FROM 'succeeded' AND i.status IN ('void', 'paid')
            THEN coalesce(i.voided_at, i.paid_at) END,
       CASE WHEN a.status = 'succeeded' THEN a.settled_at END
  FROM invoices i
  LEFT JOIN LATERAL (
       SELECT *
         FROM payment_attempts
        WHERE account_id = i.account_id
          AND invoice_id = i.id
        ORDER BY (status = 'succeeded') DESC, id DESC
        LIMIT 1) a ON true
 WHERE i.payment_intent_id IS NOT NULL;

-- An attempt is at a payment intent, which may be an invoice's. It has been asked about so often;
-- one that replaces another waits until that one is certain not to be charged.
ALTER TABLE payment_attempts
    ADD COLUMN payment_intent_id object_id,
    ADD COLUMN on_session        boolean NOT NULL DEFAULT false,
    ADD COLUMN asked             integer NOT NULL DEFAULT 0,
    ADD COLUMN replaces          object_id,
    ADD COLUMN next_action       json,
    ADD COLUMN amount_refunded   bigint  NOT NULL DEFAULT 0,
    ALTER COLUMN invoice_id DROP NOT NULL,
    ALTER COLUMN customer_id DROP NOT NULL;

UPDATE payment_attempts a
   SET asked = 1,
       payment_intent_id = i.payment_intent_id
  FROM invoices i
 WHERE i.account_id = a.account_id
   AND i.id = a.invoice_id;

ALTER TABLE payment_attempts
    ALTER COLUMN payment_intent_id SET NOT NULL,
    DROP CONSTRAINT payment_attempts_status,
    DROP CONSTRAINT payment_attempts_settled_iff_known,
    ADD CONSTRAINT payment_attempts_status CHECK (status IN (
        'pending', 'action_required', 'processing', 'succeeded', 'failed', 'canceled')),
    ADD CONSTRAINT payment_attempts_settled_iff_known CHECK (
        (status IN ('pending', 'action_required', 'processing')) = (settled_at IS NULL)),
    ADD CONSTRAINT payment_attempts_refunded_within_amount CHECK (
        amount_refunded >= 0
        AND amount_refunded <= CASE WHEN status = 'succeeded' THEN amount ELSE 0 END);

DROP INDEX payment_attempts_one_pending;
DROP INDEX payment_attempts_paid_once;
DROP INDEX payment_attempts_unsettled;
CREATE UNIQUE INDEX payment_attempts_one_under_way ON payment_attempts (account_id, payment_intent_id)
    WHERE status IN ('pending', 'processing');
CREATE UNIQUE INDEX payment_attempts_one_action ON payment_attempts (account_id, payment_intent_id)
    WHERE status = 'action_required';
CREATE UNIQUE INDEX payment_attempts_paid_once ON payment_attempts (account_id, payment_intent_id)
    WHERE status = 'succeeded';
CREATE INDEX payment_attempts_by_intent ON payment_attempts (account_id, payment_intent_id, id);
CREATE INDEX payment_attempts_unsettled ON payment_attempts (account_id, leased_until)
    WHERE status IN ('pending', 'action_required', 'processing');

-- What was paid beyond what was owed is the customer's credit.
ALTER TABLE ledger_transactions
    DROP CONSTRAINT ledger_transactions_kind,
    ADD CONSTRAINT ledger_transactions_kind CHECK (kind IN (
        'invoice_finalized', 'invoice_voided', 'invoice_uncollectible', 'payment',
        'payment_out_of_band', 'payment_excess', 'credit_note', 'credit_note_voided',
        'balance_adjusted', 'credit_granted', 'credit_expired', 'credit_voided'));
ALTER TABLE balance_transactions
    DROP CONSTRAINT balance_transactions_reason,
    ADD CONSTRAINT balance_transactions_reason CHECK (reason IN (
        'initial', 'adjustment', 'applied_to_invoice', 'unapplied_from_invoice', 'credit_note',
        'invoice_overpaid'));
