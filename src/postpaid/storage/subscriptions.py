"""Subscriptions and their items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from postpaid.core.commitments import Commitment
from postpaid.core.subscriptions import Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage.database import (
    Connection,
    as_json_rows,
    copy_into,
    fetch,
    values_of,
)
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
)
ITEM_COLUMNS = (
    "id",
    "subscription_id",
    "price_id",
    "quantity",
    "period_index",
    "period_start",
    "period_end",
    "metadata",
    "created_at",
    "generation",
    "usage_from",
    "usage_price_id",
    "billed_quantity",
    "billed_amount",
    "charge_ids",
    "discount_ids",
    "tax_rate_ids",
    "threshold_usage",
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
)
CHANGING_OF_ITEMS = (
    "id",
    "price_id",
    "quantity",
    "period_index",
    "period_start",
    "period_end",
    "metadata",
    "generation",
    "usage_from",
    "usage_price_id",
    "billed_quantity",
    "billed_amount",
    "charge_ids",
    "discount_ids",
    "tax_rate_ids",
    "threshold_usage",
)
_values = values_of(*COLUMNS)
_item_values = values_of(*ITEM_COLUMNS)


def insert_many(conn: Connection, account_id: int, subscriptions: Sequence[Subscription]) -> None:
    """Write new subscriptions with their items."""
    copy_into(
        conn,
        "subscriptions",
        ("account_id", *COLUMNS),
        ((account_id, *_values(each)) for each in subscriptions),
    )
    copy_into(
        conn,
        "subscription_items",
        ("account_id", *ITEM_COLUMNS),
        ((account_id, *_item_values(item)) for each in subscriptions for item in each.items),
    )


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
       invoice_settings, payment_settings
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Subscription]:
    """The subscriptions with their items, by id."""
    rows = fetch(conn, Subscription, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in _with_items(conn, account_id, rows)}


LOAD_ITEMS = """
SELECT id, subscription_id, price_id, quantity, period_index, period_start, period_end, metadata,
       created_at, generation, usage_from, usage_price_id, billed_quantity, billed_amount,
       charge_ids, discount_ids, tax_rate_ids, threshold_usage
  FROM subscription_items
 WHERE account_id = %(account_id)s
   AND subscription_id = ANY(%(subscription_ids)s)
 ORDER BY id
"""


def _with_items(
    conn: Connection, account_id: int, rows: Sequence[Subscription]
) -> list[Subscription]:
    items: defaultdict[str, list[Item]] = defaultdict(list)
    parameters = {"account_id": account_id, "subscription_ids": [row.id for row in rows]}
    for item in fetch(conn, Item, LOAD_ITEMS, parameters):
        items[item.subscription_id].append(item)
    return [replace(row, items=tuple(items[row.id])) for row in rows]


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
         ORDER BY i.id DESC
         LIMIT 1) = ANY(%(invoice_ids)s)
   AND (s.pending_update IS NULL
        OR NOT s.pending_update ->> 'invoice_id' = ANY(%(invoice_ids)s))
"""


def awaiting(
    conn: Connection,
    account_id: int,
    ids: Sequence[str],
    invoice_ids: Sequence[str],
    *,
    statuses: Iterable[SubscriptionStatus],
) -> dict[str, Subscription]:
    """Those of the subscriptions in these statuses that one of these invoices decides about, by id.

    The newest that is final and not void does, unless a pending update waits for it.
    """
    parameters = {
        "account_id": account_id,
        "ids": list(ids),
        "invoice_ids": list(invoice_ids),
        "statuses": list(statuses),
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
       invoice_settings, payment_settings
  FROM subscriptions
 WHERE account_id = %(account_id)s
   AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s))
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
    customer_id: str | None = None,
    clock_id: str | None = None,
    collection_method: str | None = None,
    price_id: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Subscription]:
    """Subscriptions with their items, newest first.

    Without a customer or a clock to go by, those on test clocks are left out (Stripe).
    """
    parameters = {
        "account_id": account_id,
        "statuses": None if statuses is None else [status.value for status in statuses],
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
       payment_settings = r.payment_settings,
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
       schedule_id text, invoice_settings jsonb, payment_settings jsonb)
 WHERE s.account_id = %(account_id)s
   AND s.id = r.id
"""


def update_many(conn: Connection, account_id: int, subscriptions: Sequence[Subscription]) -> None:
    """Write what can change of subscriptions but their items. The caller holds the customers."""
    if subscriptions:
        rows = as_json_rows(subscriptions, CHANGING)
        conn.execute(UPDATE, {"account_id": account_id, "rows": rows})


def insert_items(conn: Connection, account_id: int, items: Sequence[Item]) -> None:
    """Add items to subscriptions that run. The caller holds the customers."""
    if items:
        copy_into(
            conn,
            "subscription_items",
            ("account_id", *ITEM_COLUMNS),
            ((account_id, *_item_values(item)) for item in items),
        )


DELETE_ITEMS = """
DELETE FROM subscription_items
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def delete_items(conn: Connection, account_id: int, ids: Sequence[str]) -> None:
    """Take items off their subscriptions. The caller holds the customers."""
    if ids:
        conn.execute(DELETE_ITEMS, {"account_id": account_id, "ids": list(ids)})


UPDATE_ITEMS = """
UPDATE subscription_items i
   SET price_id = r.price_id, quantity = r.quantity, period_index = r.period_index,
       period_start = r.period_start, period_end = r.period_end, metadata = r.metadata,
       generation = r.generation, usage_from = r.usage_from, usage_price_id = r.usage_price_id,
       billed_quantity = r.billed_quantity, billed_amount = r.billed_amount,
       charge_ids = r.charge_ids, discount_ids = r.discount_ids, tax_rate_ids = r.tax_rate_ids,
       threshold_usage = r.threshold_usage
  FROM json_to_recordset(%(rows)s) AS r(
       id text, price_id text, quantity bigint, period_index integer, period_start timestamptz,
       period_end timestamptz, metadata jsonb,
       generation integer, usage_from timestamptz, usage_price_id text, billed_quantity numeric,
       billed_amount bigint, charge_ids text[], discount_ids text[], tax_rate_ids text[],
       threshold_usage numeric)
 WHERE i.account_id = %(account_id)s
   AND i.id = r.id
"""


def update_items(conn: Connection, account_id: int, items: Sequence[Item]) -> None:
    """Write what can change of items. The caller holds the customers."""
    if items:
        rows = as_json_rows(items, CHANGING_OF_ITEMS)
        conn.execute(UPDATE_ITEMS, {"account_id": account_id, "rows": rows})


CLAIM_CLOSING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.closes_at <= %(now)s
   AND s.parked IS NULL
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.closes_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_closing(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Subscriptions whose period has ended, oldest first, with their customers locked.

    Customers that someone else holds are skipped: whoever holds them is closing them, or will be
    done before the next pass. Read anew after the lock, so that none is one that was just closed.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM_CLOSING, parameters)]
    if not ids:
        return []
    found = load(conn, account_id, ids).values()
    return [each for each in found if each.closes_at is not None and each.closes_at <= now]


CLAIM_EXPIRING = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.expires_at <= %(now)s
   AND NOT EXISTS (
       SELECT
         FROM payment_attempts a
        WHERE a.account_id = s.account_id
          AND a.invoice_id = s.latest_invoice_id
          AND a.status = 'pending')
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.expires_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_expiring(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Incomplete subscriptions whose first payment came too late, with their customers locked.

    One whose payment is under way is left out until its outcome is known.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM_EXPIRING, parameters)]
    if not ids:
        return []
    found = load(conn, account_id, ids).values()
    return [each for each in found if each.expires_at is not None and each.expires_at <= now]



CLAIM_EXPIRING_UPDATES = """
SELECT s.id
  FROM subscriptions s
  JOIN customers c ON c.account_id = s.account_id AND c.id = s.customer_id
 WHERE s.account_id = %(account_id)s
   AND s.pending_update_expires_at <= %(now)s
   AND NOT EXISTS (
       SELECT
         FROM payment_attempts a
        WHERE a.account_id = s.account_id
          AND a.invoice_id = s.pending_update ->> 'invoice_id'
          AND a.status = 'pending')
   AND (s.clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND s.clock_id IS NULL))
 ORDER BY s.pending_update_expires_at
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF c SKIP LOCKED
"""


def claim_expiring_updates(
    conn: Connection, account_id: int, clock_id: str | None, *, now: datetime, limit: int
) -> list[Subscription]:
    """Subscriptions whose pending update was not paid in time, with their customers locked.

    One whose payment is under way is left out until its outcome is known.
    """
    parameters = {"account_id": account_id, "clock_id": clock_id, "now": now, "limit": limit}
    ids = [row[0] for row in conn.execute(CLAIM_EXPIRING_UPDATES, parameters)]
    if not ids:
        return []
    found = load(conn, account_id, ids).values()
    return [
        each
        for each in found
        if each.pending_update_expires_at is not None and each.pending_update_expires_at <= now
    ]


PARK = """
UPDATE subscriptions
   SET parked = r.reason
  FROM unnest(%(ids)s::text[], %(reasons)s::text[]) AS r (id, reason)
 WHERE account_id = %(account_id)s
   AND subscriptions.id = r.id
"""


def park(conn: Connection, account_id: int, reasons: dict[str, str]) -> None:
    """Set aside subscriptions that cannot be billed, each with the reason, for a person to see."""
    if reasons:
        parameters = {"ids": list(reasons), "reasons": list(reasons.values())}
        conn.execute(PARK, {"account_id": account_id, **parameters})
