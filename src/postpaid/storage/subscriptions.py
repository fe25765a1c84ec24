"""Subscriptions, with their items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.commitments import Commitment
from postpaid.core.subscriptions import Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import subscription_items
from postpaid.storage.database import Connection, as_json_rows, copy_into, fetch, values_of
from postpaid.storage.paging import Page, Rows, fetch_page

COLUMNS = (
    "id",
    "customer_id",
    "clock_id",
    "status",
    "currency",
    "collection_method",
    "days_until_due",
    "billing_mode",
    "billing_mode_at",
    "anchor_at",
    "closes_at",
    "expires_at",
    "start_at",
    "cancel_at_period_end",
    "canceled_at",
    "ended_at",
    "cancellation_reason",
    "cancellation_comment",
    "cancellation_feedback",
    "default_payment_method_id",
    "latest_invoice_id",
    "description",
    "metadata",
    "created_at",
    "zone",
    "anchor_config",
    "trial_start_at",
    "trial_end_at",
    "trial_end_behavior",
    "cancel_at",
    "cancel_prorates",
    "pause_behavior",
    "pause_resumes_at",
    "paused_at",
    "proration_discounts",
    "usage_invoicing",
    "discount_ids",
    "tax_rate_ids",
    "threshold_amount",
    "threshold_resets_anchor",
    "minimum_amount",
    "maximum_amount",
    "pending_update",
    "pending_update_expires_at",
    "schedule_id",
    "invoice_settings",
    "payment_settings",
    "retry_schedule_id",
    "paused_reason",
    "pending_setup_intent_id",
    "resumes_at",
)
CHANGING = (
    "id",
    "status",
    "closes_at",
    "expires_at",
    "cancel_at_period_end",
    "canceled_at",
    "ended_at",
    "cancellation_reason",
    "cancellation_comment",
    "cancellation_feedback",
    "default_payment_method_id",
    "latest_invoice_id",
    "description",
    "metadata",
    "collection_method",
    "days_until_due",
    "billing_mode",
    "billing_mode_at",
    "anchor_at",
    "zone",
    "anchor_config",
    "trial_start_at",
    "trial_end_at",
    "trial_end_behavior",
    "cancel_at",
    "cancel_prorates",
    "pause_behavior",
    "pause_resumes_at",
    "paused_at",
    "proration_discounts",
    "usage_invoicing",
    "discount_ids",
    "tax_rate_ids",
    "threshold_amount",
    "threshold_resets_anchor",
    "minimum_amount",
    "maximum_amount",
    "pending_update",
    "pending_update_expires_at",
    "schedule_id",
    "invoice_settings",
    "payment_settings",
    "retry_schedule_id",
    "paused_reason",
    "pending_setup_intent_id",
    "resumes_at",
)
_values = values_of(*COLUMNS)


def insert_many(conn: Connection, account_id: int, subscriptions: Sequence[Subscription]) -> None:
    """Write new subscriptions with their items."""
    copy_into(
        conn,
        "subscriptions",
        ("account_id", *COLUMNS),
        ((account_id, *_values(each)) for each in subscriptions),
    )
    items = [item for each in subscriptions for item in each.items]
    subscription_items.insert_many(conn, account_id, items)


LOAD = """
SELECT id, customer_id, clock_id, status, currency, collection_method, days_until_due,
       billing_mode, billing_mode_at, anchor_at, closes_at, expires_at, start_at,
       cancel_at_period_end, canceled_at, ended_at, cancellation_reason, cancellation_comment,
       cancellation_feedback, default_payment_method_id, latest_invoice_id, description, metadata,
       created_at, zone, anchor_config, trial_start_at, trial_end_at, trial_end_behavior,
       cancel_at, cancel_prorates, pause_behavior, pause_resumes_at, paused_at,
       proration_discounts, usage_invoicing, discount_ids, tax_rate_ids, threshold_amount,
       threshold_resets_anchor,
       minimum_amount, maximum_amount, pending_update, pending_update_expires_at, schedule_id,
       invoice_settings, payment_settings, retry_schedule_id, paused_reason,
       pending_setup_intent_id, resumes_at
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Subscription]:
    """The subscriptions with their items, by id."""
    rows = fetch(conn, Subscription, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in _with_items(conn, account_id, rows)}


def _with_items(
    conn: Connection, account_id: int, rows: Sequence[Subscription]
) -> list[Subscription]:
    items = subscription_items.of_subscriptions(conn, account_id, [row.id for row in rows])
    return [replace(row, items=tuple(items.get(row.id, ()))) for row in rows]


AWAITING = """
SELECT s.id
  FROM subscriptions s
 WHERE s.account_id = %(account_id)s
   AND s.id = ANY(%(ids)s)
   AND s.status = ANY(%(statuses)s)
   AND (SELECT i.id
          FROM invoices i
         WHERE i.account_id = s.account_id
           AND i.subscription_id = s.id
           AND i.status NOT IN ('draft', 'void')
           AND (i.status <> 'open' OR i.due_at IS NULL OR i.due_at <= %(now)s)
           AND i.id IS DISTINCT FROM s.pending_update ->> 'invoice_id'
         ORDER BY i.id DESC
         LIMIT 1) = ANY(%(invoice_ids)s)
"""


def awaiting(
    conn: Connection,
    account_id: int,
    ids: Sequence[str],
    invoice_ids: Sequence[str],
    *,
    statuses: Iterable[SubscriptionStatus],
    now: datetime,
) -> dict[str, Subscription]:
    """Those of the subscriptions in these statuses that one of these invoices decides about, by id.

    The newest that is final and not void does, but not one that was sent and is not due yet, nor
    one that a pending update waits for.
    """
    parameters = {
        "account_id": account_id,
        "ids": list(ids),
        "invoice_ids": list(invoice_ids),
        "statuses": list(statuses),
        "now": now,
    }
    found = [row[0] for row in conn.execute(AWAITING, parameters)]
    return load(conn, account_id, found) if found else {}


DEFAULT_PAYMENT_METHODS = """
SELECT id, default_payment_method_id
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND default_payment_method_id IS NOT NULL
"""


def default_payment_methods(
    conn: Connection, account_id: int, ids: Sequence[str]
) -> dict[str, str]:
    """The payment method of each of the subscriptions that has one of its own."""
    parameters = {"account_id": account_id, "ids": list(ids)}
    return dict(conn.execute(DEFAULT_PAYMENT_METHODS, parameters).fetchall())


SAVING_PAYMENT_METHODS = """
SELECT id
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND payment_settings ->> 'save_default_payment_method' = 'on_subscription'
"""


def saving_payment_methods(
    conn: Connection, account_id: int, ids: Sequence[str]
) -> list[Subscription]:
    """Those of the subscriptions whose default becomes what pays for them."""
    parameters = {"account_id": account_id, "ids": list(ids)}
    found = [row[0] for row in conn.execute(SAVING_PAYMENT_METHODS, parameters)]
    return list(load(conn, account_id, found).values()) if found else []


COMMITMENTS = """
SELECT id, minimum_amount, maximum_amount
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND (minimum_amount IS NOT NULL OR maximum_amount IS NOT NULL)
"""


def commitments(conn: Connection, account_id: int, ids: Sequence[str]) -> dict[str, Commitment]:
    """The commitment of each of the subscriptions that has one."""
    found = conn.execute(COMMITMENTS, {"account_id": account_id, "ids": list(ids)})
    return {row[0]: Commitment(row[1], row[2]) for row in found}


OF_CUSTOMERS = """
SELECT id
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
   AND ended_at IS NULL
 ORDER BY id
"""


def running_of_customers(
    conn: Connection, account_id: int, customer_ids: Sequence[str]
) -> dict[str, Subscription]:
    """The subscriptions of these customers that have not ended, by id."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    ids = [row[0] for row in conn.execute(OF_CUSTOMERS, parameters)]
    return load(conn, account_id, ids)


OF_ITEMS = """
SELECT id, subscription_id
  FROM subscription_items
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def of_items(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Subscription]:
    """The subscription of each of these items, by the item's id."""
    rows = conn.execute(OF_ITEMS, {"account_id": account_id, "ids": list(ids)}).fetchall()
    found = load(conn, account_id, {row[1] for row in rows}) if rows else {}
    return {item_id: found[subscription_id] for item_id, subscription_id in rows}


LIST = """
SELECT id, customer_id, clock_id, status, currency, collection_method, days_until_due,
       billing_mode, billing_mode_at, anchor_at, closes_at, expires_at, start_at,
       cancel_at_period_end, canceled_at, ended_at, cancellation_reason, cancellation_comment,
       cancellation_feedback, default_payment_method_id, latest_invoice_id, description, metadata,
       created_at, zone, anchor_config, trial_start_at, trial_end_at, trial_end_behavior,
       cancel_at, cancel_prorates, pause_behavior, pause_resumes_at, paused_at,
       proration_discounts, usage_invoicing, discount_ids, tax_rate_ids, threshold_amount,
       threshold_resets_anchor,
       minimum_amount, maximum_amount, pending_update, pending_update_expires_at, schedule_id,
       invoice_settings, payment_settings, retry_schedule_id, paused_reason,
       pending_setup_intent_id, resumes_at
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s))
   AND (%(declined)s::boolean IS NULL OR %(declined)s = EXISTS (
        SELECT FROM payment_intents p
         WHERE p.account_id = subscriptions.account_id
           AND p.invoice_id = subscriptions.latest_invoice_id
           AND p.last_error IS NOT NULL))
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND CASE WHEN %(clock_id)s::text IS NOT NULL THEN clock_id = %(clock_id)s
            WHEN %(customer_id)s::text IS NULL THEN clock_id IS NULL
            ELSE true END
   AND (%(collection_method)s::text IS NULL OR collection_method = %(collection_method)s)
   AND (%(price_id)s::text IS NULL OR EXISTS (
        SELECT FROM subscription_items i
         WHERE i.account_id = subscriptions.account_id
           AND i.subscription_id = subscriptions.id
           AND i.price_id = %(price_id)s))
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    statuses: Sequence[SubscriptionStatus] | None = None,
    declined: bool | None = None,
    customer_id: str | None = None,
    clock_id: str | None = None,
    collection_method: str | None = None,
    price_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Subscription]:
    """Subscriptions with their items, newest first.

    ``declined``: whether the latest try to be paid for the latest invoice failed. Without a
    customer or a clock to go by, those on test clocks are left out (Stripe).
    """
    parameters = {
        "account_id": account_id,
        "statuses": None if statuses is None else [status.value for status in statuses],
        "declined": declined,
        "customer_id": customer_id,
        "clock_id": clock_id,
        "collection_method": collection_method,
        "price_id": price_id,
        "created_from": created_from,
        "created_before": created_before,
    }
    found = fetch_page(
        conn, Subscription, LIST, parameters, page, table="subscriptions", what="subscription"
    )
    return Rows(_with_items(conn, account_id, found.rows), found.has_more)


UPDATE = """
UPDATE subscriptions s
   SET status = r.status, closes_at = r.closes_at, expires_at = r.expires_at,
       cancel_at_period_end = r.cancel_at_period_end, canceled_at = r.canceled_at,
       ended_at = r.ended_at, cancellation_reason = r.cancellation_reason,
       cancellation_comment = r.cancellation_comment,
       cancellation_feedback = r.cancellation_feedback,
       default_payment_method_id = r.default_payment_method_id,
       latest_invoice_id = r.latest_invoice_id, description = r.description,
       metadata = r.metadata,
       collection_method = r.collection_method, days_until_due = r.days_until_due,
       billing_mode = r.billing_mode, billing_mode_at = r.billing_mode_at, anchor_at = r.anchor_at,
       zone = r.zone, anchor_config = r.anchor_config, trial_start_at = r.trial_start_at,
       trial_end_at = r.trial_end_at, trial_end_behavior = r.trial_end_behavior,
       cancel_at = r.cancel_at, cancel_prorates = r.cancel_prorates,
       pause_behavior = r.pause_behavior, pause_resumes_at = r.pause_resumes_at,
       paused_at = r.paused_at, proration_discounts = r.proration_discounts,
       usage_invoicing = r.usage_invoicing, discount_ids = r.discount_ids,
       tax_rate_ids = r.tax_rate_ids,
       threshold_amount = r.threshold_amount, threshold_resets_anchor = r.threshold_resets_anchor,
       minimum_amount = r.minimum_amount, maximum_amount = r.maximum_amount,
       pending_update = r.pending_update, pending_update_expires_at = r.pending_update_expires_at,
       schedule_id = r.schedule_id, invoice_settings = r.invoice_settings,
       payment_settings = r.payment_settings, retry_schedule_id = r.retry_schedule_id,
       paused_reason = r.paused_reason, pending_setup_intent_id = r.pending_setup_intent_id,
       resumes_at = r.resumes_at,
       parked = CASE WHEN r.ended_at IS NULL THEN s.parked END
  FROM json_to_recordset(%(rows)s) AS r(
       id text, status text, closes_at timestamptz, expires_at timestamptz,
       cancel_at_period_end boolean, canceled_at timestamptz, ended_at timestamptz,
       cancellation_reason text, cancellation_comment text, cancellation_feedback text,
       default_payment_method_id text, latest_invoice_id text, description text, metadata jsonb,
       collection_method text, days_until_due integer, billing_mode text,
       billing_mode_at timestamptz, anchor_at timestamptz, zone text, anchor_config jsonb,
       trial_start_at timestamptz, trial_end_at timestamptz, trial_end_behavior text,
       cancel_at timestamptz, cancel_prorates boolean,
       pause_behavior text, pause_resumes_at timestamptz, paused_at timestamptz,
       proration_discounts text, usage_invoicing text, discount_ids text[], tax_rate_ids text[],
       threshold_amount bigint, threshold_resets_anchor boolean, minimum_amount bigint,
       maximum_amount bigint, pending_update jsonb, pending_update_expires_at timestamptz,
       schedule_id text, invoice_settings jsonb, payment_settings jsonb,
       retry_schedule_id text, paused_reason text, pending_setup_intent_id text,
       resumes_at timestamptz)
 WHERE s.account_id = %(account_id)s
   AND s.id = r.id
"""


def update_many(conn: Connection, account_id: int, subscriptions: Sequence[Subscription]) -> None:
    """Write what can change of subscriptions but their items. The caller holds the customers."""
    if subscriptions:
        rows = as_json_rows(subscriptions, CHANGING)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})
