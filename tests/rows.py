"""A sound row of every table, to be varied: what storage's tests stand on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json

ACCOUNT = -1  # nobody's, so that no other test's rows are in the way
SERIES = -1
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

ROWS: dict[str, dict[str, Any]] = {
    "accounts": {"id": "acct_acme", "livemode": False, "name": "Acme", "created_at": NOW},
    "api_keys": {"id": "key_1", "digest": b"digest", "hint": "cret", "created_at": NOW},
    "idempotency_keys": {
        "api": "v1",
        "key": "key-1",
        "fingerprint": b"print",
        "request_id": "req_1",
        "created_at": NOW,
    },
    "retention_marks": {"kind": "events", "first_id": "evt_1"},
    "test_clocks": {
        "id": "clock_1",
        "status": "ready",
        "frozen_at": NOW,
        "created_at": NOW,
        "deletes_at": NOW + 720 * HOUR,
    },
    "customers": {"id": "cus_1", "invoice_prefix": "ACME", "created_at": NOW},
    "payment_methods": {
        "id": "pm_1",
        "type": "card",
        "gateway": "test",
        "gateway_token": "pm_card_visa",
        "created_at": NOW,
    },
    "meters": {
        "id": "mtr_1",
        "display_name": "Calls",
        "event_name": "call",
        "aggregation": "sum",
        "customer_key": "customer",
        "value_key": "value",
        "status": "active",
        "created_at": NOW,
        "updated_at": NOW,
        "accepts_past_s": 35 * 86_400,
        "accepts_future_s": 300,
        "cancels_within_s": 86_400,
    },
    "products": {
        "id": "prod_1",
        "name": "Calls",
        "active": True,
        "type": "service",
        "created_at": NOW,
        "updated_at": NOW,
    },
    "prices": {
        "id": "price_1",
        "product_id": "prod_1",
        "active": True,
        "currency": "usd",
        "unit_amount": 1,
        "created_at": NOW,
    },
    "usage_series": {"customer_id": "cus_1", "meter_id": "mtr_1", "series_id": SERIES},
    "usage_segments": {"segment": 0, "status": "sealed", "opened_at": NOW, "sealed_at": NOW},
    "usage_references": {"reference": "event-0", "segment": 0},
    "usage_events": {
        "segment": 1,
        "reference": "event-1",
        "series_id": SERIES,
        "occurred_at": NOW,
        "received_at": NOW,
        "value": 1,
    },
    "usage_hours": {"series_id": SERIES, "hour": NOW, "sum": 1, "count": 1},
    "usage_windows": {"series_id": SERIES, "start_at": NOW, "end_at": NOW + 744 * HOUR},
    "usage_backfills": {"id": "bkf_1", "status": "open", "created_at": NOW},
    "usage_backfill_series": {
        "backfill_id": "bkf_1",
        "series_id": SERIES,
        "first_at": NOW,
        "last_at": NOW,
    },
    "usage_conflicts": {
        "id": "mtcon_1",
        "reference": "event-1",
        "event_name": "call",
        "customer_id": "cus_1",
        "occurred_at": NOW,
        "value": "2",
        "payload": Json({}),
        "received_at": NOW,
        "actor": "key_1",
    },
    "usage_rejections": {
        "window_start": NOW,
        "meter_id": "mtr_1",
        "code": "meter_event_invalid_value",
        "count": 1,
        "samples": Json([]),
    },
    "meter_event_sessions": {
        "id": "mes_1",
        "key_id": "key_1",
        "digest": b"digest",
        "created_at": NOW,
        "expires_at": NOW + HOUR,
    },
    "billing_alerts": {
        "id": "alrt_1",
        "title": "Much",
        "meter_id": "mtr_1",
        "recurrence": "one_time",
        "gte": 100,
        "status": "active",
        "created_at": NOW,
    },
    "alert_firings": {
        "alert_id": "alrt_1",
        "customer_id": "cus_1",
        "window_key": "all",
        "quantity": 100,
        "fired_at": NOW,
    },
    "invoice_items": {
        "id": "ii_1",
        "customer_id": "cus_1",
        "obligation": "ii_1",
        "period_start": NOW,
        "period_end": NOW,
        "quantity": 1,
        "kind": "unit",
        "amount": 100,
        "currency": "usd",
        "description": "Advice",
        "discountable": True,
        "proration": False,
        "created_at": NOW,
    },
    "coupons": {
        "id": "TEN",
        "duration": "once",
        "percent_off": 10,
        "created_at": NOW,
    },
    "promotion_codes": {
        "id": "promo_1",
        "code": "WELCOME",
        "coupon_id": "TEN",
        "active": True,
        "created_at": NOW,
    },
    "discounts": {
        "id": "di_1",
        "coupon_id": "TEN",
        "customer_id": "cus_1",
        "duration": "once",
        "start_at": NOW,
    },
    "tax_rates": {
        "id": "txr_1",
        "display_name": "VAT",
        "percentage": 19,
        "inclusive": False,
        "active": True,
        "created_at": NOW,
    },
    "thresholds_reached": {"subscription_id": "sub_1", "customer_id": "cus_1"},
    "subscription_schedules": {
        "id": "sub_sched_1",
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "status": "not_started",
        "end_behavior": "release",
        "billing_mode": "flexible",
        "default_settings": Json({}),
        "phases": Json([]),
        "due_at": NOW,
        "created_at": NOW,
    },
    "subscriptions": {
        "id": "sub_1",
        "customer_id": "cus_1",
        "status": "active",
        "currency": "usd",
        "collection_method": "charge_automatically",
        "billing_mode": "flexible",
        "anchor_at": NOW,
        "start_at": NOW,
        "created_at": NOW,
    },
    "subscription_items": {
        "id": "si_1",
        "subscription_id": "sub_1",
        "price_id": "price_1",
        "period_index": 0,
        "period_start": NOW,
        "period_end": NOW + 744 * HOUR,
        "created_at": NOW,
    },
    "invoices": {
        "id": "in_1",
        "customer_id": "cus_1",
        "status": "draft",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "currency": "usd",
        "auto_advance": True,
        "period_start": NOW,
        "period_end": NOW,
        "subtotal": 100,
        "total": 100,
        "amount_due": 100,
        "created_at": NOW,
    },
    "invoice_lines": {
        "id": "il_1",
        "invoice_id": "in_1",
        "position": 0,
        "obligation": "sub_1/si_1/period-0",
        "part": 0,
        "period_start": NOW,
        "period_end": NOW,
        "quantity": 1,
        "kind": "unit",
        "amount": 100,
        "description": "Calls",
    },
    "balance_transactions": {
        "id": "cbtxn_1",
        "customer_id": "cus_1",
        "reason": "adjustment",
        "amount": -100,
        "ending_balance": -100,
        "currency": "usd",
        "created_at": NOW,
    },
    "credit_grants": {
        "id": "credgr_1",
        "customer_id": "cus_1",
        "amount": 100,
        "balance": 100,
        "currency": "usd",
        "category": "paid",
        "priority": 50,
        "effective_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    },
    "credit_transactions": {
        "id": "cbtxn_2",
        "grant_id": "credgr_1",
        "customer_id": "cus_1",
        "movement": "credits_granted",
        "amount": 100,
        "currency": "usd",
        "effective_at": NOW,
        "created_at": NOW,
    },
    "credit_notes": {
        "id": "cn_1",
        "invoice_id": "in_1",
        "sequence": 1,
        "customer_id": "cus_1",
        "number": "ACME-0001-CN-01",
        "status": "issued",
        "currency": "usd",
        "subtotal": 100,
        "total": 100,
        "pre_payment_amount": 100,
        "credit_amount": 0,
        "out_of_band_amount": 0,
        "effective_at": NOW,
        "created_at": NOW,
    },
    "credit_note_lines": {
        "id": "cnli_1",
        "credit_note_id": "cn_1",
        "position": 0,
        "type": "invoice_line_item",
        "invoice_line_id": "il_1",
        "description": "Calls",
        "amount": 100,
    },
    "payment_intents": {
        "id": "pi_1",
        "amount": 100,
        "currency": "usd",
        "status": "requires_payment_method",
        "client_secret": "pi_1_secret_1",
        "created_at": NOW,
    },
    "payment_attempts": {
        "id": "pa_1",
        "payment_intent_id": "pi_1",
        "invoice_id": "in_1",
        "customer_id": "cus_1",
        "payment_method_id": "pm_1",
        "gateway": "test",
        "gateway_token": "pm_card_visa",
        "amount": 100,
        "currency": "usd",
        "status": "pending",
        "automatic": True,
        "attempted_at": NOW,
    },
    "retry_schedules": {"id": "rs_1", "kind": "daily", "created_at": NOW},
    "events": {
        "id": "evt_1",
        "type": "invoice.created",
        "object_type": "invoice",
        "object_id": "in_1",
        "snapshot": Json({}),
        "created_at": NOW,
    },
    "ledger_transactions": {
        "id": "lt_1",
        "kind": "payment",
        "source_id": "pa_1",
        "customer_id": "cus_1",
        "invoice_id": "in_1",
        "currency": "usd",
        "created_at": NOW,
    },
    "ledger_entries": {
        "id": "lt_1_001",
        "transaction_id": "lt_1",
        "ledger_account": "cash",
        "currency": "usd",
        "amount": 0,  # alone, it must balance
        "customer_id": "cus_1",
        "created_at": NOW,
    },
}

OF_NO_ACCOUNT = {"usage_segments", "usage_hours", "usage_windows"}

OPEN: dict[str, Any] = {"status": "open", "number": "ACME-0001", "finalized_at": NOW}
"""What makes a draft an open invoice."""


def add(conn: psycopg.Connection[Any], table: str, **values: Any) -> None:
    """Insert the table's row, with other ``values`` where they are given."""
    mine = {} if table in OF_NO_ACCOUNT else {"account_id": ACCOUNT}
    row = mine | ROWS[table] | values
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )
    conn.execute(statement, row)


def change(conn: psycopg.Connection[Any], table: str, **values: Any) -> int:
    """Update every row of the account in the table; how many they are."""
    statement = sql.SQL("UPDATE {} SET {} WHERE account_id = {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in values
        ),
        sql.Literal(ACCOUNT),
    )
    return conn.execute(statement, values).rowcount
