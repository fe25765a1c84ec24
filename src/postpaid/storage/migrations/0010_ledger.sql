-- The ledger: what every event did to money, in double entry. Rows are only ever added.

CREATE TABLE ledger_transactions (
    account_id  integer     NOT NULL,
    id          object_id   NOT NULL,
    kind        text        NOT NULL,
    source_id   object_id   NOT NULL,  -- the invoice, payment attempt, credit note, … that it records
    customer_id object_id   NOT NULL,
    invoice_id  object_id,
    currency    text        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT ledger_transactions_kind CHECK (kind IN (
        'invoice_finalized', 'invoice_voided', 'invoice_uncollectible', 'payment',
        'payment_out_of_band', 'credit_note', 'credit_note_voided', 'balance_adjusted',
        'credit_granted', 'credit_expired', 'credit_voided'))
);

CREATE UNIQUE INDEX ledger_transactions_once ON ledger_transactions (account_id, source_id, kind);
CREATE INDEX ledger_transactions_by_customer ON ledger_transactions (account_id, customer_id, id);
CREATE INDEX ledger_transactions_by_invoice ON ledger_transactions (account_id, invoice_id)
    WHERE invoice_id IS NOT NULL;

-- An entry's id is its transaction's and a number, so a transaction's entries lie side by side.
CREATE TABLE ledger_entries (
    account_id     integer     NOT NULL,
    id             object_id   NOT NULL,
    transaction_id object_id   NOT NULL,
    ledger_account text        NOT NULL,
    currency       text        NOT NULL,
    amount         bigint      NOT NULL,  -- minor units: debits are positive, credits negative
    customer_id    object_id   NOT NULL,
    period_start   timestamptz,           -- of deferred revenue: the service that earns it
    period_end     timestamptz,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (account_id, id),
    CONSTRAINT ledger_entries_account CHECK (ledger_account IN (
        'receivable', 'cash', 'cash_out_of_band', 'deferred_revenue', 'tax_payable',
        'customer_credit', 'credit_grants', 'revenue', 'promotions', 'balance_adjustments',
        'bad_debt')),
    CONSTRAINT ledger_entries_deferred_iff_period
        CHECK ((ledger_account = 'deferred_revenue') = (period_start IS NOT NULL)
               AND (period_start IS NULL) = (period_end IS NULL)),
    CONSTRAINT ledger_entries_period_ordered CHECK (period_start < period_end)
);

-- All entries of a transaction are added by one statement, and every statement must add whole
-- transactions: so each sums to zero from its first moment, with nothing left to ask at commit. A
-- deferred trigger would be called once for every row, and cost more than all else in here.
--
-- Planned anew each time: a plan made while the tables were empty would be kept for as long as the
-- connection lives.
CREATE FUNCTION refuse_entries_that_do_not_balance() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$;

CREATE TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS added_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_entries_that_do_not_balance();

CREATE FUNCTION refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'What is in the ledger stays; another transaction takes it back.'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_frozen';
END $$;

CREATE TRIGGER ledger_transactions_frozen BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger();
CREATE TRIGGER ledger_entries_frozen BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_ledger();

-- How much of a deferred amount is revenue by an instant: core/ledger.earned in SQL. Time is counted
-- in microseconds, and the quotient rounded once, half away from zero, in whole numbers.
CREATE FUNCTION ledger_earned(
    amount bigint, period_start timestamptz, period_end timestamptz, posted_at timestamptz,
    until timestamptz
) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
           WHEN until < posted_at THEN 0
           WHEN until >= period_end THEN -amount
           WHEN until <= period_start THEN 0
           ELSE -sign(amount::numeric) * div(
                2 * abs(amount)::numeric * extract(epoch FROM until - period_start)
                    + extract(epoch FROM period_end - period_start),
                2 * extract(epoch FROM period_end - period_start))
           END
$$;

-- ─── What was billed before there was a ledger ──────────────────────────────────────────────

INSERT INTO ledger_transactions
       (account_id, id, kind, source_id, customer_id, invoice_id, currency, created_at)
WITH moving AS (
    SELECT *
      FROM invoices i
     WHERE finalized_at IS NOT NULL
       AND (amount_due <> 0 OR total <> 0
            OR EXISTS (SELECT
                         FROM invoice_lines l
                        WHERE l.account_id = i.account_id
                          AND l.invoice_id = i.id
                        GROUP BY CASE WHEN l.meter_id IS NULL
                                       AND l.period_end > i.finalized_at
                                       AND l.period_start < l.period_end
                                      THEN (l.period_start, l.period_end) END
                       HAVING sum(l.amount) <> 0))
)
SELECT account_id, 'lt_' || substr(id, 4), 'invoice_finalized', id, customer_id, id, currency,
       finalized_at
  FROM moving
 UNION ALL
SELECT i.account_id, 'lt_' || substr(coalesce(a.id, i.id || 'p'), 4),
       CASE WHEN a.id IS NULL THEN 'payment_out_of_band' ELSE 'payment' END,
       coalesce(a.id, i.id), i.customer_id, i.id, i.currency, i.paid_at
  FROM moving i
  LEFT JOIN payment_attempts a
    ON a.account_id = i.account_id AND a.invoice_id = i.id AND a.status = 'succeeded'
 WHERE i.amount_paid > 0
 UNION ALL
SELECT account_id, 'lt_' || substr(id, 4) || 'v', 'invoice_voided', id, customer_id, id, currency,
       voided_at
  FROM moving
 WHERE status = 'void'
 UNION ALL
SELECT account_id, 'lt_' || substr(id, 5), 'balance_adjusted', id, id, NULL,
       coalesce(currency, 'usd'), created_at
  FROM customers
 WHERE balance <> 0;

INSERT INTO ledger_entries
       (account_id, id, transaction_id, ledger_account, currency, amount, customer_id, period_start,
        period_end, created_at)
WITH finalized AS (
    SELECT account_id, id AS invoice_id, 'receivable' AS ledger_account, amount_due AS amount,
           NULL::timestamptz AS period_start, NULL::timestamptz AS period_end
      FROM invoices
     WHERE finalized_at IS NOT NULL
     UNION ALL
    SELECT account_id, id, 'customer_credit', total - amount_due, NULL, NULL
      FROM invoices
     WHERE finalized_at IS NOT NULL
     UNION ALL
    SELECT account_id, invoice_id, ledger_account, -sum(amount), period_start, period_end
      FROM (SELECT l.account_id, l.invoice_id, l.amount,
                   CASE WHEN later THEN 'deferred_revenue' ELSE 'revenue' END AS ledger_account,
                   CASE WHEN later THEN l.period_start END AS period_start,
                   CASE WHEN later THEN l.period_end END AS period_end
              FROM invoices i
              JOIN invoice_lines l ON l.account_id = i.account_id AND l.invoice_id = i.id
             CROSS JOIN LATERAL (
                   SELECT l.meter_id IS NULL
                          AND l.period_end > i.finalized_at
                          AND l.period_start < l.period_end AS later) AS d
             WHERE i.finalized_at IS NOT NULL) AS earning
     GROUP BY account_id, invoice_id, ledger_account, period_start, period_end
),
legs AS (
    SELECT t.account_id, t.id, f.ledger_account, t.currency,
           CASE t.kind WHEN 'invoice_voided' THEN -f.amount ELSE f.amount END AS amount,
           t.customer_id, f.period_start, f.period_end, t.created_at
      FROM ledger_transactions t
      JOIN finalized f ON f.account_id = t.account_id AND f.invoice_id = t.invoice_id
     WHERE t.kind IN ('invoice_finalized', 'invoice_voided')
       AND f.amount <> 0
     UNION ALL
    SELECT t.account_id, t.id, s.ledger_account, t.currency, s.sign * i.amount_paid, t.customer_id,
           NULL, NULL, t.created_at
      FROM ledger_transactions t
      JOIN invoices i ON i.account_id = t.account_id AND i.id = t.invoice_id
     CROSS JOIN LATERAL (
           VALUES (CASE t.kind WHEN 'payment' THEN 'cash' ELSE 'cash_out_of_band' END, 1),
                  ('receivable', -1)) AS s (ledger_account, sign)
     WHERE t.kind IN ('payment', 'payment_out_of_band')
     UNION ALL
    SELECT t.account_id, t.id, s.ledger_account, t.currency, s.sign * c.balance, t.customer_id,
           NULL, NULL, t.created_at
      FROM ledger_transactions t
      JOIN customers c ON c.account_id = t.account_id AND c.id = t.customer_id
     CROSS JOIN (VALUES ('customer_credit', 1), ('balance_adjustments', -1))
        AS s (ledger_account, sign)
     WHERE t.kind = 'balance_adjusted'
)
SELECT account_id,
       id || '_' || lpad((row_number() OVER (PARTITION BY account_id, id
                                             ORDER BY amount < 0, ledger_account, period_start))::text,
                         3, '0'),
       id, ledger_account, currency, amount, customer_id, period_start, period_end, created_at
  FROM legs;
