"""Invoices, with their lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.errors import Conflict
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.values import replace
from postpaid.storage import invoice_lines
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "subscription_id",
    "clock_id",
    "status",
    "number",
    "billing_reason",
    "collection_method",
    "days_until_due",
    "currency",
    "auto_advance",
    "period_start",
    "period_end",
    "subtotal",
    "total",
    "starting_balance",
    "ending_balance",
    "amount_due",
    "amount_paid",
    "paid_out_of_band",
    "attempted",
    "attempt_count",
    "next_attempt_at",
    "finalizes_at",
    "due_at",
    "default_payment_method_id",
    "payment_intent_id",
    "customer_snapshot",
    "description",
    "footer",
    "metadata",
    "subscription_metadata",
    "created_at",
    "finalized_at",
    "paid_at",
    "voided_at",
    "marked_uncollectible_at",
    "discount_ids",
    "tax_rate_ids",
    "total_discounts",
    "total_credits",
    "total_taxes",
    "pre_payment_credits",
    "post_payment_credits",
    "amount_paid_out_of_band",
    "amount_overpaid",
    "threshold_reason",
    "from_invoice_id",
    "latest_revision_id",
    "proration_at",
    "appearance",
    "given_number",
    "effective_at",
    "uncollectible_reason",
    "numbered_by",
    "parked",
    "bills_usage",
)
CHANGING = (
    "id",
    "status",
    "number",
    "auto_advance",
    "subtotal",
    "total",
    "starting_balance",
    "ending_balance",
    "amount_due",
    "amount_paid",
    "paid_out_of_band",
    "attempted",
    "attempt_count",
    "next_attempt_at",
    "finalizes_at",
    "due_at",
    "default_payment_method_id",
    "payment_intent_id",
    "customer_snapshot",
    "description",
    "footer",
    "metadata",
    "finalized_at",
    "paid_at",
    "voided_at",
    "marked_uncollectible_at",
    "collection_method",
    "days_until_due",
    "period_start",
    "period_end",
    "discount_ids",
    "tax_rate_ids",
    "total_discounts",
    "total_credits",
    "total_taxes",
    "pre_payment_credits",
    "post_payment_credits",
    "amount_paid_out_of_band",
    "amount_overpaid",
    "threshold_reason",
    "from_invoice_id",
    "latest_revision_id",
    "proration_at",
    "appearance",
    "given_number",
    "effective_at",
    "uncollectible_reason",
    "numbered_by",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, invoices: Sequence[Invoice]) -> None:
    """Write new drafts with their lines.

    Raises ``Conflict`` when an obligation is already on a live invoice: someone billed it first.
    """
    copy_into(
        conn,
        "invoices",
        ("account_id", *COLUMNS),
        ((account_id, *_values(each)) for each in invoices),
    )
    invoice_lines.insert(conn, account_id, invoices)


def replace_lines(conn: Connection, account_id: int, drafts: Sequence[Invoice]) -> None:
    """Write the drafts' lines in place of those they had; their totals are for ``update_many``."""
    if drafts:
        invoice_lines.delete(conn, account_id, [each.id for each in drafts])
        invoice_lines.insert(conn, account_id, drafts)


LOAD = """
SELECT id, customer_id, subscription_id, clock_id, status, number, billing_reason,
       collection_method, days_until_due, currency, auto_advance, period_start, period_end,
       subtotal, total, starting_balance, ending_balance, amount_due, amount_paid,
       paid_out_of_band, attempted, attempt_count, next_attempt_at, finalizes_at, due_at,
       default_payment_method_id, payment_intent_id, customer_snapshot, description, footer,
       metadata, subscription_metadata, created_at, finalized_at, paid_at, voided_at,
       marked_uncollectible_at, discount_ids, tax_rate_ids, total_discounts, total_credits,
       total_taxes, pre_payment_credits, post_payment_credits, amount_paid_out_of_band,
       amount_overpaid, threshold_reason, from_invoice_id,
       latest_revision_id, proration_at, appearance, given_number, effective_at,
       uncollectible_reason, numbered_by, parked, bills_usage
  FROM invoices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(
    conn: Connection, account_id: int, ids: Iterable[str], *, with_lines: bool = True
) -> dict[str, Invoice]:
    """The invoices by id, with all their lines unless told otherwise."""
    rows = fetch(conn, Invoice, LOAD, {"account_id": account_id, "ids": list(ids)})
    if with_lines:
        lines = invoice_lines.load_lines(conn, account_id, [row.id for row in rows])
        rows = [replace(row, lines=tuple(lines[row.id])) for row in rows]
    return {row.id: row for row in rows}


LIST = """
SELECT id, customer_id, subscription_id, clock_id, status, number, billing_reason,
       collection_method, days_until_due, currency, auto_advance, period_start, period_end,
       subtotal, total, starting_balance, ending_balance, amount_due, amount_paid,
       paid_out_of_band, attempted, attempt_count, next_attempt_at, finalizes_at, due_at,
       default_payment_method_id, payment_intent_id, customer_snapshot, description, footer,
       metadata, subscription_metadata, created_at, finalized_at, paid_at, voided_at,
       marked_uncollectible_at, discount_ids, tax_rate_ids, total_discounts, total_credits,
       total_taxes, pre_payment_credits, post_payment_credits, amount_paid_out_of_band,
       amount_overpaid, threshold_reason, from_invoice_id,
       latest_revision_id, proration_at, appearance, given_number, effective_at,
       uncollectible_reason, numbered_by, parked, bills_usage
  FROM invoices
 WHERE account_id = %(account_id)s
   AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(subscription_id)s::text IS NULL OR subscription_id = %(subscription_id)s)
   AND (%(collection_method)s::text IS NULL OR collection_method = %(collection_method)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
   AND (%(due_from)s::timestamptz IS NULL OR due_at >= %(due_from)s)
   AND (%(due_before)s::timestamptz IS NULL OR due_at < %(due_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    status: InvoiceStatus | None = None,
    customer_id: str | None = None,
    subscription_id: str | None = None,
    collection_method: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    due_from: datetime | None = None,
    due_before: datetime | None = None,
) -> Rows[Invoice]:
    """Invoices with their lines, newest first."""
    parameters = {
        "account_id": account_id,
        "status": status,
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "collection_method": collection_method,
        "created_from": created_from,
        "created_before": created_before,
        "due_from": due_from,
        "due_before": due_before,
    }
    found = fetch_page(conn, Invoice, LIST, parameters, page, table="invoices", what="invoice")
    lines = invoice_lines.load_lines(conn, account_id, [row.id for row in found.rows])
    rows = [replace(row, lines=tuple(lines[row.id])) for row in found.rows]
    return Rows(rows, found.has_more)


UPDATE = """
UPDATE invoices i
   SET status = r.status, number = r.number, auto_advance = r.auto_advance,
       subtotal = r.subtotal, total = r.total, starting_balance = r.starting_balance,
       ending_balance = r.ending_balance, amount_due = r.amount_due,
       amount_paid = r.amount_paid, paid_out_of_band = r.paid_out_of_band,
       attempted = r.attempted, attempt_count = r.attempt_count,
       next_attempt_at = r.next_attempt_at, finalizes_at = r.finalizes_at, due_at = r.due_at,
       default_payment_method_id = r.default_payment_method_id,
       payment_intent_id = r.payment_intent_id, customer_snapshot = r.customer_snapshot,
       description = r.description, footer = r.footer, metadata = r.metadata,
       finalized_at = r.finalized_at, paid_at = r.paid_at, voided_at = r.voided_at,
       marked_uncollectible_at = r.marked_uncollectible_at,
       collection_method = r.collection_method, days_until_due = r.days_until_due,
       period_start = r.period_start, period_end = r.period_end, discount_ids = r.discount_ids,
       tax_rate_ids = r.tax_rate_ids, total_discounts = r.total_discounts,
       total_credits = r.total_credits,
       total_taxes = r.total_taxes, pre_payment_credits = r.pre_payment_credits,
       post_payment_credits = r.post_payment_credits,
       amount_paid_out_of_band = r.amount_paid_out_of_band, amount_overpaid = r.amount_overpaid,
       threshold_reason = r.threshold_reason,
       from_invoice_id = r.from_invoice_id, latest_revision_id = r.latest_revision_id,
       proration_at = r.proration_at, appearance = r.appearance, given_number = r.given_number,
       effective_at = r.effective_at, uncollectible_reason = r.uncollectible_reason,
       numbered_by = r.numbered_by,
       parked = CASE WHEN r.status = 'draft' THEN i.parked END
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, number text, auto_advance boolean, subtotal bigint, total bigint,
       starting_balance bigint, ending_balance bigint, amount_due bigint, amount_paid bigint,
       paid_out_of_band boolean, attempted boolean, attempt_count integer,
       next_attempt_at timestamptz, finalizes_at timestamptz, due_at timestamptz,
       default_payment_method_id text, payment_intent_id text, customer_snapshot json,
       description text, footer text, metadata jsonb, finalized_at timestamptz,
       paid_at timestamptz, voided_at timestamptz, marked_uncollectible_at timestamptz,
       collection_method text, days_until_due integer, period_start timestamptz,
       period_end timestamptz, discount_ids text[], tax_rate_ids text[], total_discounts json,
       total_credits json, total_taxes json, pre_payment_credits bigint,
       post_payment_credits bigint, amount_paid_out_of_band bigint, amount_overpaid bigint,
       threshold_reason json, from_invoice_id text, latest_revision_id text,
       proration_at timestamptz, appearance json, given_number text, effective_at timestamptz,
       uncollectible_reason text, numbered_by text)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
   AND i.status = ANY(%(statuses_before)s)
"""


def update_many(
    conn: Connection,
    account_id: int,
    invoices: Sequence[Invoice],
    *,
    before: Sequence[InvoiceStatus],
) -> None:
    """Write what can change of invoices, each of which was in a status of ``before``.

    Raises ``Conflict`` when one no longer is: someone moved it first.
    """
    if not invoices:
        return
    parameters = {
        "account_id": account_id,
        "rows": as_json_rows(invoices, CHANGING),
        "statuses_before": [status.value for status in before],
    }
    if conn.execute(UPDATE, parameters).rowcount != len(invoices):
        raise Conflict("This invoice was changed by someone else just now.")


CLAIM_FINALIZING = """
SELECT i.id
  FROM invoices i
  JOIN customers c ON c.account_id = i.account_id AND c.id = i.customer_id
 WHERE i.account_id = %(account_id)s
   AND i.finalizes_at <= %(now)s
   AND i.parked IS NULL
   AND (i.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND i.clock_id IS NULL))
 ORDER BY i.finalizes_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_finalizing(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Invoice]:
    """Drafts whose grace has passed, oldest first, with their customers locked."""
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM_FINALIZING, parameters)]
    if not ids:
        return []
    found = load(conn, account_id, ids).values()
    return [each for each in found if each.finalizes_at is not None and each.finalizes_at <= now]


OF_SUBSCRIPTIONS = """
SELECT id
  FROM invoices
 WHERE account_id = %(account_id)s
   AND subscription_id = ANY(%(subscription_ids)s)
   AND status = ANY(%(statuses)s)
"""


def of_subscriptions(
    conn: Connection,
    account_id: int,
    subscription_ids: Sequence[str],
    *,
    statuses: Sequence[InvoiceStatus],
) -> dict[str, Invoice]:
    """The subscriptions' invoices in these statuses, by id, without lines."""
    parameters = {
        "account_id": account_id,
        "subscription_ids": list(subscription_ids),
        "statuses": [status.value for status in statuses],
    }
    ids = [row[0] for row in conn.execute(OF_SUBSCRIPTIONS, parameters)]
    return load(conn, account_id, ids, with_lines=False) if ids else {}


ADVANCING_OF_CUSTOMERS = """
SELECT id
  FROM invoices
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND status IN ('draft', 'open')
   AND (auto_advance OR finalizes_at IS NOT NULL OR next_attempt_at IS NOT NULL)
"""


def advancing_of_customers(
    conn: Connection, account_id: int, customer_ids: Sequence[str]
) -> dict[str, Invoice]:
    """The customers' invoices that would be final, or paid, by themselves."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    ids = [row[0] for row in conn.execute(ADVANCING_OF_CUSTOMERS, parameters)]
    return load(conn, account_id, ids) if ids else {}


PARK = """
UPDATE invoices
   SET parked = r.reason
  FROM unnest(%(ids)s::text[], %(reasons)s::text[]) AS r (id, reason)
 WHERE account_id = %(account_id)s
   AND invoices.id = r.id
"""


def park(conn: Connection, account_id: int, reasons: dict[str, str]) -> None:
    """Set aside drafts that cannot be finalized, each with the reason, for a person to see."""
    if reasons:
        parameters = {"ids": list(reasons), "reasons": list(reasons.values())}
        conn.execute(PARK, {"account_id": account_id, **parameters})


DELETE_DRAFTS = """
DELETE FROM invoices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND status = 'draft'
"""


def delete_drafts(conn: Connection, account_id: int, ids: Sequence[str]) -> None:
    """Forget the drafts and their lines. The caller holds the customers.

    Raises ``Conflict`` when one is no longer a draft.
    """
    invoice_lines.delete(conn, account_id, ids)
    parameters = {"account_id": account_id, "ids": list(ids)}
    if conn.execute(DELETE_DRAFTS, parameters).rowcount != len(ids):
        raise Conflict("This invoice was changed by someone else just now.")


SUBSCRIPTIONS = """
SELECT id, subscription_id
  FROM invoices
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND subscription_id IS NOT NULL
"""


def subscriptions_of(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, str]:
    """The subscription of each of these invoices that has one, by invoice; without their lines."""
    parameters = {"account_id": account_id, "ids": list(ids)}
    return {row[0]: row[1] for row in conn.execute(SUBSCRIPTIONS, parameters)}
