-- Invoices by hand: numbers by the customer's sequence, the account's or a person; revisions.

ALTER TABLE accounts
    ADD CONSTRAINT accounts_numbering_has_a_prefix
        CHECK (invoice_numbering = 'customer' OR invoice_prefix IS NOT NULL);

ALTER TABLE invoices
    ADD COLUMN numbered_by text,  -- whose sequence its number is from; null: none's, or not yet
    ADD CONSTRAINT invoices_numbered_by
        CHECK (numbered_by IS NULL
               OR (numbered_by IN ('customer', 'account') AND finalized_at IS NOT NULL));

UPDATE invoices
   SET numbered_by = 'customer'
 WHERE finalized_at IS NOT NULL;

CREATE UNIQUE INDEX invoices_given_number_once ON invoices (account_id, given_number)
    WHERE given_number IS NOT NULL;

CREATE UNIQUE INDEX invoices_one_revision_at_a_time ON invoices (account_id, from_invoice_id)
    WHERE from_invoice_id IS NOT NULL AND status = 'draft';

-- A line is as it is for ever, but for its life and its labels; columns that are still to come too.
DROP TRIGGER invoice_lines_frozen_update ON invoice_lines;

CREATE TRIGGER invoice_lines_frozen_update
    BEFORE UPDATE ON invoice_lines FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{live,metadata}'::text[]
          IS DISTINCT FROM to_jsonb(NEW) - '{live,metadata}'::text[])
    EXECUTE FUNCTION refuse_rewriting_of_lines();

DROP TRIGGER invoices_frozen ON invoices;

CREATE TRIGGER invoices_frozen
    BEFORE UPDATE ON invoices FOR EACH ROW
    WHEN (OLD.finalized_at IS NOT NULL AND (
        OLD.account_id, OLD.id, OLD.number, OLD.numbered_by, OLD.given_number, OLD.customer_id,
        OLD.subscription_id, OLD.currency, OLD.billing_reason, OLD.collection_method,
        OLD.subtotal, OLD.total, OLD.starting_balance, OLD.ending_balance, OLD.amount_due,
        OLD.discount_ids, OLD.tax_rate_ids, OLD.total_discounts::text, OLD.total_credits::text,
        OLD.total_taxes::text, OLD.threshold_reason::text, OLD.from_invoice_id, OLD.proration_at,
        OLD.customer_snapshot::text, OLD.finalized_at, OLD.effective_at, OLD.period_start,
        OLD.period_end
    ) IS DISTINCT FROM (
        NEW.account_id, NEW.id, NEW.number, NEW.numbered_by, NEW.given_number, NEW.customer_id,
        NEW.subscription_id, NEW.currency, NEW.billing_reason, NEW.collection_method,
        NEW.subtotal, NEW.total, NEW.starting_balance, NEW.ending_balance, NEW.amount_due,
        NEW.discount_ids, NEW.tax_rate_ids, NEW.total_discounts::text, NEW.total_credits::text,
        NEW.total_taxes::text, NEW.threshold_reason::text, NEW.from_invoice_id, NEW.proration_at,
        NEW.customer_snapshot::text, NEW.finalized_at, NEW.effective_at, NEW.period_start,
        NEW.period_end
    )) EXECUTE FUNCTION refuse_change_of_finalized_invoice();
