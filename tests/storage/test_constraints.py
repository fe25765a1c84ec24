"""What the database refuses, and the name by which it refuses it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Json

from rows import HOUR, NOW, OPEN, ROWS, SERIES, add

APPLIED: dict[str, Any] = {"reason": "applied_to_invoice", "invoice_id": "in_1"}
USED: dict[str, Any] = {
    "movement": "credits_applied",
    "invoice_id": "in_1",
    "line_id": "il_1",
}

PHASE_OF_ITS_OWN: dict[str, Any] = {
    "product_id": None,
    "subscription_id": "sub_1",
    "price_id": "price_1",
    "base_price_id": "price_1",
}

# A row of this table, with these values beside the sound ones, breaks this constraint.
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("accounts_id_once", "accounts", {"account_id": -2, "name": "Hooli"}),
    ("accounts_one_per_name_and_mode", "accounts", {"account_id": -2, "id": "acct_2"}),
    (
        "accounts_invoice_numbering",
        "accounts",
        {"account_id": -2, "id": "acct_2", "name": "Hooli", "invoice_numbering": "nobody"}
        | {"invoice_prefix": "HOOLI"},
    ),
    (
        "accounts_numbering_has_a_prefix",
        "accounts",
        {"account_id": -2, "id": "acct_2", "name": "Hooli", "invoice_numbering": "account"},
    ),
    (
        "accounts_retry_schedule",
        "accounts",
        {"account_id": -2, "id": "acct_2", "name": "Hooli", "retry_schedule_id": "rs_1"},
    ),
    (
        "accounts_upcoming_days",
        "accounts",
        {"account_id": -2, "id": "acct_2", "name": "Hooli", "upcoming_days": 0},
    ),
    (
        "accounts_reminder_days",
        "accounts",
        {"account_id": -2, "id": "acct_2", "name": "Hooli", "reminder_days": [7, 0]},
    ),
    ("price_phases_ordinal_once", "price_phases", {"id": "phase_2"}),
    (
        "price_phases_account_id_product_id_fkey",
        "price_phases",
        {"id": "phase_2", "product_id": "prod_none"},
    ),
    (
        "price_phases_account_id_subscription_id_fkey",
        "price_phases",
        {"id": "phase_2", **PHASE_OF_ITS_OWN, "subscription_id": "sub_none"},
    ),
    (
        "price_phases_account_id_price_id_fkey",
        "price_phases",
        {"id": "phase_2", **PHASE_OF_ITS_OWN, "price_id": "price_none"},
    ),
    (
        "price_phases_account_id_base_price_id_fkey",
        "price_phases",
        {"id": "phase_2", **PHASE_OF_ITS_OWN, "base_price_id": "price_none"},
    ),
    (
        "price_phases_of_a_product_or_a_subscription",
        "price_phases",
        {"product_id": None},
    ),
    (
        "price_phases_of_a_product_or_a_subscription",
        "price_phases",
        {"subscription_id": "sub_1", "price_id": "price_1", "base_price_id": "price_1"},
    ),
    ("price_phases_pricing_type", "price_phases", {"pricing_type": "tiered", "amount": None}),
    ("price_phases_amount_iff_static", "price_phases", {"amount": None}),
    ("price_phases_amount_iff_static", "price_phases", {"amount": -1}),
    ("price_phases_discount_iff_relative", "price_phases", {"discount_percentage": 5}),
    (
        "price_phases_discount_iff_relative",
        "price_phases",
        {"pricing_type": "relative", "amount": None, "discount_percentage": 101},
    ),
    ("price_phases_period_count", "price_phases", {"period_count": 0}),
    (
        "price_phases_prices_iff_of_a_subscription",
        "price_phases",
        {"product_id": None, "subscription_id": "sub_1", "price_id": "price_1"},
    ),
    ("price_phases_prices_iff_of_a_subscription", "price_phases", {"price_id": "price_1"}),
    (
        "price_phases_end_after_they_start",
        "price_phases",
        {**PHASE_OF_ITS_OWN, "started_at": NOW, "ended_at": NOW - HOUR},
    ),
    ("price_phases_only_of_subscriptions_start", "price_phases", {"started_at": NOW}),
    ("subscriptions_resume_only_from_a_pause", "subscriptions", {"resumes_at": NOW}),
    ("subscription_changes_kind", "subscription_changes", {"kind": "sidegrade"}),
    ("subscription_changes_proration", "subscription_changes", {"proration": "some"}),
    ("subscription_changes_settlement", "subscription_changes", {"settlement": "later"}),
    ("subscription_changes_invoice_iff_at_once", "subscription_changes", {"invoice_id": "in_1"}),
    (
        "subscription_changes_invoice_iff_at_once",
        "subscription_changes",
        {"settlement": "at_once"},
    ),
    ("retry_schedules_kind", "retry_schedules", {"kind": "sometimes"}),
    ("retry_schedules_window", "retry_schedules", {"kind": "window", "window": "a_year"}),
    ("retry_schedules_after_retries", "retry_schedules", {"after_retries": "forget"}),
    ("retry_schedules_window_iff_of_one", "retry_schedules", {"window": "1_week"}),
    ("retry_schedules_window_iff_of_one", "retry_schedules", {"kind": "window"}),
    ("retry_schedules_days_iff_listed", "retry_schedules", {"days": [1]}),
    ("retry_schedules_days_iff_listed", "retry_schedules", {"kind": "list"}),
    ("retry_schedules_days_iff_listed", "retry_schedules", {"kind": "list", "days": []}),
    ("subscriptions_retry_schedule", "subscriptions", {"id": "sub_2", "retry_schedule_id": "x"}),
    ("invoices_retried_or_given_up", "invoices", {"retry_at": NOW, "gives_up_at": NOW}),
    ("api_keys_digest_once", "api_keys", {"id": "key_2"}),
    (
        "prices_commitment_ordered",
        "prices",
        {"id": "price_2", "minimum_amount": 2, "maximum_amount": 1},
    ),
    (
        "prices_commitment_of_usage",
        "prices",
        {"id": "price_2", "usage_type": "licensed", "meter_id": None, "minimum_amount": 1},
    ),
    (
        "subscriptions_commitment_ordered",
        "subscriptions",
        {"id": "sub_2", "minimum_amount": -1},
    ),
    (
        "subscription_schedules_status",
        "subscription_schedules",
        {"status": "paused", "due_at": None},
    ),
    ("subscription_schedules_end_behavior", "subscription_schedules", {"end_behavior": "stop"}),
    ("subscription_schedules_billing_mode", "subscription_schedules", {"billing_mode": "other"}),
    (
        "subscription_schedules_due_only_while_running",
        "subscription_schedules",
        {"status": "released"},
    ),
    ("subscription_schedules_phase_iff_active", "subscription_schedules", {"phase_index": 0}),
    (
        "subscription_schedules_canceled_iff_canceled_at",
        "subscription_schedules",
        {"canceled_at": NOW},
    ),
    (
        "subscription_schedules_one_per_subscription",
        "subscription_schedules",
        {"id": "sub_sched_2"},
    ),
    (
        "subscription_schedules_account_id_customer_id_fkey",
        "subscription_schedules",
        {"id": "sub_sched_2", "subscription_id": None, "customer_id": "cus_2"},
    ),
    ("api_keys_account_id_fkey", "api_keys", {"account_id": -2, "id": "key_2", "digest": b"2"}),
    ("idempotency_keys_api", "idempotency_keys", {"api": "v3"}),
    ("retention_marks_kind", "retention_marks", {"kind": "acts"}),
    (
        "payment_gateways_name_once",
        "payment_gateways",
        {"id": "gw_2", "is_default": False},
    ),
    ("payment_gateways_one_default", "payment_gateways", {"id": "gw_2", "name": "other"}),
    (
        "payment_gateways_name_is_not_built_in",
        "payment_gateways",
        {"id": "gw_2", "name": "test", "is_default": False},
    ),
    (
        "payment_gateways_kind",
        "payment_gateways",
        {"id": "gw_2", "name": "other", "kind": "bank", "is_default": False},
    ),
    ("idempotency_keys_answered_or_unfinished", "idempotency_keys", {"status": 200}),
    ("idempotency_keys_answered_or_unfinished", "idempotency_keys", {"body": Json({})}),
    (
        "idempotency_keys_answered_or_unfinished",
        "idempotency_keys",
        {"status": 200, "body": Json({}), "unfinished": Json({})},
    ),
    ("test_clocks_status", "test_clocks", {"status": "running"}),
    ("test_clocks_advancing_iff_target", "test_clocks", {"status": "advancing"}),
    ("test_clocks_advancing_iff_target", "test_clocks", {"target_at": NOW}),
    (
        "test_clocks_move_forward",
        "test_clocks",
        {"status": "advancing", "target_at": NOW - HOUR},
    ),
    ("customers_invoice_prefix_once", "customers", {"id": "cus_2"}),
    ("customers_tax_exempt", "customers", {"tax_exempt": "maybe"}),
    ("customers_profile_is_an_object", "customers", {"profile": "[]"}),
    (
        "customers_account_id_clock_id_fkey",
        "customers",
        {"id": "cus_2", "invoice_prefix": "OTHER", "clock_id": "clock_2"},
    ),
    (
        "payment_methods_account_id_customer_id_fkey",
        "payment_methods",
        {"id": "pm_2", "customer_id": "cus_2"},
    ),
    (
        "payment_methods_detached_is_nobodys",
        "payment_methods",
        {"id": "pm_2", "customer_id": "cus_1", "detached_at": NOW},
    ),
    ("meters_event_name_once", "meters", {"id": "mtr_2"}),
    ("meters_aggregation", "meters", {"aggregation": "median"}),
    ("meters_inactive_iff_deactivated", "meters", {"status": "inactive"}),
    ("meters_inactive_iff_deactivated", "meters", {"deactivated_at": NOW}),
    ("meters_inactive_iff_deactivated", "meters", {"status": "asleep"}),
    ("products_type", "products", {"type": "idea"}),
    ("balance_transactions_reason", "balance_transactions", {"reason": "whim"}),
    (
        "balance_transactions_of_an_invoice",
        "balance_transactions",
        {"id": "cbtxn_9", "reason": "applied_to_invoice"},
    ),
    (
        "balance_transactions_account_id_customer_id_fkey",
        "balance_transactions",
        {"id": "cbtxn_9", "customer_id": "cus_2"},
    ),
    ("balance_transactions_applied_once", "balance_transactions", {"id": "cbtxn_9"} | APPLIED),
    ("credit_transactions_applied_once", "credit_transactions", {"id": "cbtxn_9"} | USED),
    ("credit_grants_category", "credit_grants", {"category": "stolen"}),
    ("credit_grants_priority", "credit_grants", {"priority": 101}),
    ("credit_grants_never_overdrawn", "credit_grants", {"balance": -1}),
    ("credit_grants_never_overdrawn", "credit_grants", {"balance": 101}),
    ("credit_grants_never_overdrawn", "credit_grants", {"balance": 0, "amount": 0}),
    ("credit_grants_nothing_left_of_the_void", "credit_grants", {"voided_at": NOW}),
    ("credit_grants_expire_after_effect", "credit_grants", {"expires_at": NOW - HOUR}),
    (
        "credit_grants_account_id_customer_id_fkey",
        "credit_grants",
        {"id": "credgr_9", "customer_id": "cus_2"},
    ),
    ("unit_credits_never_overdrawn", "unit_credits", {"used": 101}),
    ("unit_credits_never_overdrawn", "unit_credits", {"used": -1}),
    ("unit_credits_never_overdrawn", "unit_credits", {"granted": 0, "used": 0}),
    ("unit_credits_expire_after_they_were_made", "unit_credits", {"expires_at": NOW}),
    (
        "unit_credits_account_id_customer_id_fkey",
        "unit_credits",
        {"id": "uc_9", "customer_id": "cus_2"},
    ),
    (
        "unit_credits_account_id_product_id_fkey",
        "unit_credits",
        {"id": "uc_9", "product_id": "prod_2"},
    ),
    ("unit_draws_once", "unit_draws", {"id": "ud_9"}),
    ("unit_draws_quantity_positive", "unit_draws", {"quantity": 0}),
    ("unit_draws_of_a_window", "unit_draws", {"period_start": NOW}),
    (
        "unit_draws_account_id_credit_id_fkey",
        "unit_draws",
        {"id": "ud_9", "credit_id": "uc_2", "period_start": NOW - 2 * HOUR},
    ),
    (
        "unit_draws_account_id_meter_id_fkey",
        "unit_draws",
        {"id": "ud_9", "meter_id": "mtr_2", "period_start": NOW - 2 * HOUR},
    ),
    ("credit_transactions_movement", "credit_transactions", {"movement": "credits_lost"}),
    ("credit_transactions_amount_positive", "credit_transactions", {"amount": 0}),
    ("credit_transactions_of_a_line", "credit_transactions", {"movement": "credits_applied"}),
    (
        "credit_transactions_of_a_line",
        "credit_transactions",
        {"invoice_id": "in_1", "line_id": "il_1"},
    ),
    (
        "credit_transactions_account_id_grant_id_fkey",
        "credit_transactions",
        {"id": "cbtxn_9", "grant_id": "credgr_2"},
    ),
    ("credit_notes_status", "credit_notes", {"status": "lost", "voided_at": NOW}),
    ("credit_notes_void_iff_voided", "credit_notes", {"status": "void"}),
    ("credit_notes_void_iff_voided", "credit_notes", {"voided_at": NOW}),
    ("credit_notes_number_once", "credit_notes", {"id": "cn_2", "sequence": 2}),
    ("credit_notes_sequence_once", "credit_notes", {"id": "cn_2", "number": "ACME-0001-CN-02"}),
    ("credit_notes_amounts_sum", "credit_notes", {"credit_amount": 1}),
    ("credit_notes_amounts_sum", "credit_notes", {"total": 0, "pre_payment_amount": 0}),
    (
        "credit_notes_account_id_customer_id_fkey",
        "credit_notes",
        {"id": "cn_2", "number": "ACME-0001-CN-02", "sequence": 2, "customer_id": "cus_2"},
    ),
    ("credit_note_lines_type", "credit_note_lines", {"type": "custom_line_item"}),
    ("credit_note_lines_type", "credit_note_lines", {"invoice_line_id": None}),
    ("credit_note_lines_id_once", "credit_note_lines", {"position": 1}),
    (
        "credit_note_lines_account_id_credit_note_id_fkey",
        "credit_note_lines",
        {"id": "cnli_9", "credit_note_id": "cn_2"},
    ),
    ("prices_account_id_product_id_fkey", "prices", {"id": "price_2", "product_id": "prod_2"}),
    (
        "prices_account_id_meter_id_fkey",
        "prices",
        {
            "id": "price_2",
            "interval": "month",
            "interval_count": 1,
            "usage_type": "metered",
            "meter_id": "mtr_2",
        },
    ),
    ("prices_lookup_key_once", "prices", {"id": "price_2", "lookup_key": "gold"}),
    ("prices_per_unit_or_tiered", "prices", {"unit_amount": None}),
    ("prices_per_unit_or_tiered", "prices", {"tiers": Json([]), "tiers_mode": "volume"}),
    ("prices_per_unit_or_tiered", "prices", {"unit_amount": None, "tiers": Json([])}),
    ("prices_metered_iff_meter", "prices", {"meter_id": "mtr_1"}),
    (
        "prices_metered_iff_meter",
        "prices",
        {"interval": "month", "interval_count": 1, "usage_type": "metered"},
    ),
    ("prices_recurring_whole", "prices", {"interval": "month", "interval_count": 1}),
    ("prices_recurring_whole", "prices", {"interval": "month", "usage_type": "licensed"}),
    ("coupons_percent_or_amount", "coupons", {"percent_off": None}),
    ("coupons_percent_or_amount", "coupons", {"amount_off": 500, "currency": "usd"}),
    ("coupons_percent_or_amount", "coupons", {"currency": "usd"}),
    ("coupons_take_something_off", "coupons", {"percent_off": 0}),
    ("coupons_take_something_off", "coupons", {"percent_off": 101}),
    (
        "coupons_take_something_off",
        "coupons",
        {"percent_off": None, "amount_off": 0, "currency": "usd"},
    ),
    ("coupons_months_iff_repeating", "coupons", {"duration": "repeating"}),
    ("coupons_months_iff_repeating", "coupons", {"duration_in_months": 3}),
    ("coupons_months_iff_repeating", "coupons", {"duration": "twice"}),
    ("coupons_redeemed_at_most", "coupons", {"times_redeemed": 2, "max_redemptions": 1}),
    ("coupons_status", "coupons", {"status": "lost"}),
    (
        "coupons_redeemed_within_a_time",
        "coupons",
        {"redeem_from": NOW + HOUR, "redeem_by": NOW + HOUR},
    ),
    ("coupons_most_of_a_percentage", "coupons", {"max_amount_off": 100}),
    (
        "coupons_most_of_a_percentage",
        "coupons",
        {"max_amount_off": 0, "max_amount_off_currency": "usd"},
    ),
    (
        "coupons_most_of_a_percentage",
        "coupons",
        {
            "percent_off": None,
            "amount_off": 500,
            "currency": "usd",
            "max_amount_off": 100,
            "max_amount_off_currency": "usd",
        },
    ),
    ("coupons_minimum_has_currency", "coupons", {"minimum_amount": 100}),
    (
        "coupons_minimum_has_currency",
        "coupons",
        {"minimum_amount": 0, "minimum_amount_currency": "usd"},
    ),
    ("promotion_codes_by_each_customer", "promotion_codes", {"max_customer_redemptions": 0}),
    ("promotion_codes_active_once", "promotion_codes", {"id": "promo_2", "code": "Welcome"}),
    (
        "promotion_codes_account_id_coupon_id_fkey",
        "promotion_codes",
        {"id": "promo_2", "code": "BYE", "coupon_id": "TWENTY"},
    ),
    (
        "promotion_codes_account_id_customer_id_fkey",
        "promotion_codes",
        {"id": "promo_2", "customer_id": "cus_2"},
    ),
    (
        "promotion_codes_minimum_has_currency",
        "promotion_codes",
        {"id": "promo_2", "code": "BYE", "minimum_amount": 100},
    ),
    (
        "promotion_codes_redeemed_at_most",
        "promotion_codes",
        {"id": "promo_2", "code": "BYE", "times_redeemed": 2, "max_redemptions": 1},
    ),
    ("discounts_account_id_coupon_id_fkey", "discounts", {"id": "di_2", "coupon_id": "TWENTY"}),
    ("discounts_account_id_customer_id_fkey", "discounts", {"id": "di_2", "customer_id": "cus_2"}),
    (
        "discounts_account_id_promotion_code_id_fkey",
        "discounts",
        {"id": "di_2", "promotion_code_id": "promo_2"},
    ),
    (
        "discounts_used_up_iff_once",
        "discounts",
        {"duration": "forever", "used_invoice_id": "in_1"},
    ),
    ("discounts_end_iff_repeating", "discounts", {"duration": "repeating"}),
    ("discounts_end_iff_repeating", "discounts", {"end_at": NOW + HOUR}),
    ("discounts_end_after_start", "discounts", {"duration": "repeating", "end_at": NOW}),
    ("tax_rates_percentage", "tax_rates", {"percentage": 101}),
    ("tax_rates_percentage", "tax_rates", {"percentage": -1}),
    ("tax_rates_percentage", "tax_rates", {"percentage": 1.00001}),
    (
        "meters_event_time_window_of_what_combines",
        "meters",
        {"aggregation": "unique", "event_time_window": "hour"},
    ),
    ("meters_event_time_window_of_what_combines", "meters", {"event_time_window": "month"}),
    ("meters_spans_bounded", "meters", {"accepts_past_s": -1}),
    (
        "meters_account_id_price_id_fkey",
        "meters",
        {"id": "mtr_2", "event_name": "other", "price_id": "price_9"},
    ),
    (
        "meters_markup_of_a_price",
        "meters",
        {"id": "mtr_2", "event_name": "other", "markup_percentage": 1},
    ),
    (
        "meters_markup_of_a_price",
        "meters",
        {"id": "mtr_2", "event_name": "other", "price_id": "price_1", "markup_percentage": -1},
    ),
    ("meters_spans_bounded", "meters", {"accepts_past_s": 315_360_001}),
    ("meters_spans_bounded", "meters", {"accepts_future_s": 43_201}),
    ("meters_spans_bounded", "meters", {"cancels_within_s": -1}),
    ("usage_series_id_once", "usage_series", {"customer_id": "cus_2"}),
    ("usage_segments_status", "usage_segments", {"segment": 2, "status": "full"}),
    ("usage_segments_sealed_iff_not_open", "usage_segments", {"segment": 2, "sealed_at": None}),
    ("usage_segments_sealed_iff_not_open", "usage_segments", {"segment": 2, "status": "open"}),
    (
        "usage_segments_one_open",
        "usage_segments",
        {"segment": 2, "status": "open", "sealed_at": None},
    ),
    ("usage_events_reference_once", "usage_events", {"series_id": -2, "value": 2}),
    (
        "usage_events_canceled_do_not_count",
        "usage_events",
        {"reference": "event-2", "canceled_at": NOW},
    ),
    ("usage_windows_ordered", "usage_windows", {"end_at": NOW}),
    ("usage_rejections_are_some", "usage_rejections", {"code": "none", "count": 0}),
    (
        "meter_event_sessions_account_id_fkey",
        "meter_event_sessions",
        {"account_id": -2, "id": "mes_2", "digest": b"2"},
    ),
    (
        "meter_event_sessions_key_id_fkey",
        "meter_event_sessions",
        {"id": "mes_2", "digest": b"2", "key_id": "key_2"},
    ),
    ("meter_event_sessions_digest_once", "meter_event_sessions", {"id": "mes_2"}),
    (
        "billing_alerts_account_id_meter_id_fkey",
        "billing_alerts",
        {"id": "alrt_2", "meter_id": "mtr_2"},
    ),
    (
        "billing_alerts_account_id_customer_id_fkey",
        "billing_alerts",
        {"id": "alrt_2", "customer_id": "cus_2"},
    ),
    (
        "usage_backfills_status",
        "usage_backfills",
        {"id": "bkf_2", "status": "half", "event_count": 1, "closed_at": NOW},
    ),
    ("usage_backfills_open_iff_not_ended", "usage_backfills", {"id": "bkf_2", "closed_at": NOW}),
    (
        "usage_backfills_open_iff_not_ended",
        "usage_backfills",
        {"id": "bkf_2", "status": "closed", "event_count": 1},
    ),
    (
        "usage_backfills_reverted_iff_reverted_at",
        "usage_backfills",
        {"id": "bkf_2", "status": "closed", "event_count": 1, "reverted_at": NOW},
    ),
    ("usage_backfills_counted_iff_not_open", "usage_backfills", {"id": "bkf_2", "event_count": 1}),
    (
        "usage_backfill_series_account_id_backfill_id_fkey",
        "usage_backfill_series",
        {"backfill_id": "bkf_2"},
    ),
    (
        "usage_backfill_series_ordered",
        "usage_backfill_series",
        {"series_id": SERIES - 1, "last_at": NOW - HOUR},
    ),
    ("billing_alerts_status", "billing_alerts", {"id": "alrt_2", "status": "asleep"}),
    ("billing_alerts_recurrence", "billing_alerts", {"id": "alrt_2", "recurrence": "weekly"}),
    ("billing_alerts_one_threshold", "billing_alerts", {"id": "alrt_2", "percent": 80}),
    ("billing_alerts_one_threshold", "billing_alerts", {"id": "alrt_2", "gte": 0}),
    (
        "billing_alerts_one_time_by_quantity",
        "billing_alerts",
        {"id": "alrt_2", "gte": None, "percent": 80},
    ),
    ("alert_firings_once", "alert_firings", {"quantity": 200}),
    ("usage_quotas_account_id_fkey", "usage_quotas", {"account_id": -2, "id": "uq_2"}),
    (
        "usage_quotas_account_id_meter_id_fkey",
        "usage_quotas",
        {"id": "uq_2", "meter_id": "mtr_2"},
    ),
    (
        "usage_quotas_account_id_customer_id_fkey",
        "usage_quotas",
        {"id": "uq_2", "customer_id": "cus_2"},
    ),
    ("usage_quotas_quantity_or_amount", "usage_quotas", {"amount": 5}),
    ("usage_quotas_quantity_or_amount", "usage_quotas", {"quantity": None}),
    ("usage_quotas_positive", "usage_quotas", {"quantity": 0}),
    ("usage_quotas_percents", "usage_quotas", {"percents": []}),
    ("usage_quotas_percents", "usage_quotas", {"percents": [0, 100]}),
    ("usage_quotas_one_of_a_meter", "usage_quotas", {"id": "uq_2"}),
    (
        "usage_quota_marks_account_id_quota_id_fkey",
        "usage_quota_marks",
        {"quota_id": "uq_2"},
    ),
    ("usage_quota_marks_once", "usage_quota_marks", {"reached_at": NOW + HOUR}),
    (
        "alert_firings_account_id_alert_id_fkey",
        "alert_firings",
        {"alert_id": "alrt_2"},
    ),
    (
        "subscriptions_account_id_customer_id_fkey",
        "subscriptions",
        {"id": "sub_2", "customer_id": "cus_2"},
    ),
    ("subscriptions_status", "subscriptions", {"status": "dormant"}),
    ("subscriptions_ended_iff_terminal", "subscriptions", {"status": "canceled"}),
    ("subscriptions_ended_iff_terminal", "subscriptions", {"ended_at": NOW}),
    (
        "subscriptions_closes_until_ended",
        "subscriptions",
        {"status": "canceled", "ended_at": NOW, "closes_at": NOW},
    ),
    ("subscriptions_billing_mode", "subscriptions", {"billing_mode": "rigid"}),
    (
        "subscriptions_pending_iff_expiring",
        "subscriptions",
        {"id": "sub_2", "pending_update_expires_at": NOW},
    ),
    ("subscriptions_trial_end_behavior", "subscriptions", {"trial_end_behavior": "shrug"}),
    ("subscriptions_pause_behavior", "subscriptions", {"pause_behavior": "sleep"}),
    ("subscriptions_usage_invoicing", "subscriptions", {"usage_invoicing": "twice"}),
    ("subscriptions_proration_discounts", "subscriptions", {"proration_discounts": "hidden"}),
    ("subscriptions_collection", "subscriptions", {"collection_method": "barter"}),
    ("subscriptions_collection", "subscriptions", {"collection_method": "send_invoice"}),
    ("subscriptions_collection", "subscriptions", {"days_until_due": 30}),
    (
        "subscription_items_account_id_subscription_id_fkey",
        "subscription_items",
        {"id": "si_2", "subscription_id": "sub_2"},
    ),
    (
        "subscription_items_account_id_price_id_fkey",
        "subscription_items",
        {"id": "si_2", "price_id": "price_2"},
    ),
    ("subscription_items_price_once", "subscription_items", {"id": "si_2"}),
    ("subscription_items_period_ordered", "subscription_items", {"period_end": NOW}),
    ("invoices_status", "invoices", OPEN | {"status": "overdue"}),
    ("invoices_finalized_iff_not_draft", "invoices", OPEN | {"status": "draft"}),
    ("invoices_finalized_iff_not_draft", "invoices", {"status": "open"}),
    ("invoices_paid_iff_paid_at", "invoices", OPEN | {"status": "paid"}),
    ("invoices_paid_iff_paid_at", "invoices", OPEN | {"paid_at": NOW}),
    ("invoices_void_iff_voided_at", "invoices", OPEN | {"status": "void"}),
    ("invoices_void_iff_voided_at", "invoices", OPEN | {"voided_at": NOW}),
    ("invoices_numbered_iff_finalized", "invoices", OPEN | {"number": None}),
    ("invoices_numbered_iff_finalized", "invoices", {"number": "ACME-0001"}),
    ("invoices_number_once", "invoices", OPEN | {"id": "in_2", "number": "ACME-0009"}),
    ("invoices_only_drafts_finalize", "invoices", OPEN | {"finalizes_at": NOW}),
    ("invoices_amount_due_not_negative", "invoices", {"amount_due": -1}),
    ("invoices_paid_within_due", "invoices", {"amount_paid": 101}),
    ("invoices_paid_within_due", "invoices", {"amount_paid": -1}),
    (
        "invoices_numbered_by",
        "invoices",
        OPEN | {"id": "in_2", "number": "ACME-0002", "numbered_by": "nobody"},
    ),
    ("invoices_numbered_by", "invoices", {"id": "in_2", "numbered_by": "customer"}),
    ("invoices_given_number_once", "invoices", {"id": "in_2", "given_number": "7/26"}),
    ("invoices_one_revision_at_a_time", "invoices", {"id": "in_2", "from_invoice_id": "in_1"}),
    (
        "invoice_items_account_id_customer_id_fkey",
        "invoice_items",
        {"id": "ii_2", "obligation": "ii_2", "customer_id": "cus_2"},
    ),
    ("invoice_items_pending_once", "invoice_items", {"id": "ii_2"}),
    ("invoice_lines_id_once", "invoice_lines", {"position": 1, "part": 1}),
    ("invoice_lines_kind", "invoice_lines", {"kind": "round"}),
    (
        "invoice_lines_billed_once",
        "invoice_lines",
        {"id": "il_2", "invoice_id": "in_2", "position": 1},
    ),
    ("payment_attempts_status", "payment_attempts", {"status": "doubtful", "settled_at": NOW}),
    ("payment_attempts_settled_iff_known", "payment_attempts", {"settled_at": NOW}),
    ("payment_attempts_settled_iff_known", "payment_attempts", {"status": "failed"}),
    ("payment_attempts_amount_positive", "payment_attempts", {"amount": 0}),
    ("payment_attempts_one_under_way", "payment_attempts", {"id": "pa_2"}),
    (
        "payment_attempts_one_under_way",
        "payment_attempts",
        {"id": "pa_2", "status": "processing"},
    ),
    (
        "payment_attempts_one_action",
        "payment_attempts",
        {"id": "pa_2", "status": "action_required"},
    ),
    ("payment_attempts_refunded_within_amount", "payment_attempts", {"amount_refunded": 1}),
    (
        "payment_attempts_refunded_within_amount",
        "payment_attempts",
        {
            "payment_intent_id": "pi_2",
            "status": "succeeded",
            "settled_at": NOW,
            "amount_refunded": 101,
        },
    ),
    ("setup_intents_status", "setup_intents", {"status": "doubtful"}),
    ("setup_intents_one_open_per_subscription", "setup_intents", {"id": "seti_2"}),
    ("setup_intents_usage", "setup_intents", {"usage": "now_and_then"}),
    ("setup_intents_canceled_iff_canceled_at", "setup_intents", {"status": "canceled"}),
    ("setup_intents_canceled_iff_canceled_at", "setup_intents", {"canceled_at": NOW}),
    ("setup_intents_succeeded_with_a_method", "setup_intents", {"status": "succeeded"}),
    ("setup_attempts_status", "setup_attempts", {"status": "doubtful", "settled_at": NOW}),
    ("setup_attempts_settled_iff_known", "setup_attempts", {"settled_at": NOW}),
    ("setup_attempts_settled_iff_known", "setup_attempts", {"status": "failed"}),
    ("setup_attempts_one_under_way", "setup_attempts", {"id": "setatt_2"}),
    (
        "payment_intents_applied_within_received",
        "payment_intents",
        {"invoice_id": "in_1", "amount_applied": 1},
    ),
    (
        "payment_intents_applied_to_an_invoice",
        "payment_intents",
        {"status": "succeeded", "paid_at": NOW, "amount_received": 100, "amount_applied": 1},
    ),
    ("payment_records_amount_positive", "payment_records", {"amount": 0}),
    (
        "payment_records_applied_within_amount",
        "payment_records",
        {"invoice_id": "in_1", "attached_at": NOW, "amount_applied": 101},
    ),
    ("payment_records_attached_iff_invoice", "payment_records", {"invoice_id": "in_1"}),
    ("payment_records_attached_iff_invoice", "payment_records", {"attached_at": NOW}),
    ("payment_records_applied_to_an_invoice", "payment_records", {"amount_applied": 1}),
    ("refunds_amount_positive", "refunds", {"amount": 0}),
    ("refunds_credit_within_amount", "refunds", {"amount_of_credit": 101}),
    ("refunds_status", "refunds", {"status": "doubtful", "settled_at": NOW, "leased_until": None}),
    ("refunds_settled_iff_known", "refunds", {"settled_at": NOW}),
    ("refunds_settled_iff_known", "refunds", {"status": "failed", "leased_until": None}),
    ("refunds_leased_iff_pending", "refunds", {"leased_until": None}),
    ("refunds_leased_iff_pending", "refunds", {"status": "succeeded", "settled_at": NOW}),
    ("credit_note_refunds_amount_positive", "credit_note_refunds", {"amount": 0}),
    ("invoices_paid_out_of_band_within_paid", "invoices", {"amount_paid_out_of_band": 1}),
    ("invoices_amount_overpaid_not_negative", "invoices", {"amount_overpaid": -1}),
    ("payment_intents_status", "payment_intents", {"status": "doubtful"}),
    ("payment_intents_amount_positive", "payment_intents", {"amount": 0}),
    ("payment_intents_canceled_iff_canceled_at", "payment_intents", {"status": "canceled"}),
    ("payment_intents_canceled_iff_canceled_at", "payment_intents", {"canceled_at": NOW}),
    ("payment_intents_received_iff_succeeded", "payment_intents", {"amount_received": 1}),
    (
        "payment_intents_received_iff_succeeded",
        "payment_intents",
        {"status": "succeeded", "paid_at": NOW},
    ),
    ("payment_intents_succeeded_iff_paid_at", "payment_intents", {"paid_at": NOW}),
    (
        "payment_intents_received_within_amount",
        "payment_intents",
        {"status": "succeeded", "paid_at": NOW, "amount_received": 101},
    ),
    (
        "payment_attempts_paid_once",
        "payment_attempts",
        {"id": "pa_3", "status": "succeeded", "settled_at": NOW},
    ),
    ("ledger_transactions_once", "ledger_transactions", {"id": "lt_2"}),
    ("ledger_transactions_kind", "ledger_transactions", {"id": "lt_2", "kind": "gift"}),
    ("ledger_entries_account", "ledger_entries", {"id": "lt_1_002", "ledger_account": "mine"}),
    (
        "ledger_entries_deferred_iff_period",
        "ledger_entries",
        {"id": "lt_1_002", "ledger_account": "deferred_revenue"},
    ),
    (
        "ledger_entries_deferred_iff_period",
        "ledger_entries",
        {"id": "lt_1_002", "period_start": NOW, "period_end": NOW + HOUR},
    ),
    (
        "ledger_entries_deferred_iff_period",
        "ledger_entries",
        {"id": "lt_1_002", "ledger_account": "deferred_revenue", "period_start": NOW},
    ),
    (
        "webhook_endpoints_account_id_fkey",
        "webhook_endpoints",
        {"account_id": -2, "id": "we_2"},
    ),
    ("webhook_endpoints_facade", "webhook_endpoints", {"facade": "other"}),
    ("event_destinations_account_id_id_fkey", "event_destinations", {"id": "we_2"}),
    ("webhook_endpoints_payload", "webhook_endpoints", {"payload": "fat"}),
    ("webhook_endpoints_status", "webhook_endpoints", {"status": "off"}),
    (
        "webhook_endpoints_previous_secret_for_a_time",
        "webhook_endpoints",
        {"previous_secret": b"former"},
    ),
    ("webhook_endpoints_secret_forgotten_iff_deleted", "webhook_endpoints", {"secret": None}),
    (
        "webhook_endpoints_deleted_are_disabled",
        "webhook_endpoints",
        {"secret": None, "deleted_at": NOW},
    ),
    (
        "webhook_deliveries_status",
        "webhook_deliveries",
        {"status": "lost", "settled_at": NOW, "due_at": None},
    ),
    ("webhook_deliveries_settled_iff_not_pending", "webhook_deliveries", {"settled_at": NOW}),
    (
        "webhook_deliveries_due_only_while_pending",
        "webhook_deliveries",
        {"status": "delivered", "settled_at": NOW, "due_at": NOW},
    ),
    (
        "webhook_attempts_account_id_delivery_id_fkey",
        "webhook_attempts",
        {"delivery_id": "whd_2"},
    ),
    (
        "ledger_entries_period_ordered",
        "ledger_entries",
        {
            "id": "lt_1_002",
            "ledger_account": "deferred_revenue",
            "period_start": NOW,
            "period_end": NOW,
        },
    ),
    ("billed_windows_never_overlap", "billed_windows", {"start_at": NOW + HOUR / 2}),
    ("billed_windows_begin_before_they_end", "billed_windows", {"end_at": NOW}),
    ("billed_windows_series_id_fkey", "billed_windows", {"series_id": -9}),
    (
        "billed_windows_account_id_price_id_fkey",
        "billed_windows",
        {"start_at": NOW + HOUR, "end_at": NOW + 2 * HOUR, "price_id": "price_9"},
    ),
    (
        "window_billings_quantity_not_negative",
        "window_billings",
        {"obligation": "usage/2", "quantity": -1},
    ),
    (
        "window_billings_account_id_invoice_id_fkey",
        "window_billings",
        {"obligation": "usage/2", "invoice_id": "in_9"},
    ),
    (
        "window_billings_series_id_start_at_end_at_fkey",
        "window_billings",
        {"obligation": "usage/2", "start_at": NOW + HOUR},
    ),
]


@pytest.fixture
def peopled(conn: psycopg.Connection) -> psycopg.Connection:
    """A sound row in every table, and some more for another to collide with."""
    for table in ROWS:
        add(conn, table)
    add(conn, "prices", id="price_gold", lookup_key="gold")
    add(conn, "invoices", id="in_final", **OPEN | {"number": "ACME-0009"})
    add(conn, "invoices", id="in_again", from_invoice_id="in_1", given_number="7/26")
    add(conn, "balance_transactions", id="cbtxn_3", **APPLIED)
    add(conn, "credit_transactions", id="cbtxn_4", **USED)
    add(conn, "payment_attempts", id="pa_paid", status="succeeded", settled_at=NOW)
    add(conn, "payment_attempts", id="pa_waiting", status="action_required")
    return conn


@pytest.mark.parametrize(
    ("constraint", "table", "values"),
    REFUSED,
    ids=[f"{name}-{','.join(values)}" for name, _, values in REFUSED],
)
def test_the_database_refuses(
    peopled: psycopg.Connection, constraint: str, table: str, values: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        add(peopled, table, **values)
    named = refused.value.diag.constraint_name or ""
    assert OF_PARTITIONS.get(named, named) == constraint


OF_PARTITIONS = {"usage_events_1_pkey": "usage_events_reference_once"}
"""Their own names for what the whole table's constraints ask for."""


# What makes a row legal that looks much like one that is not.
ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("accounts", {"account_id": -2, "id": "acct_2", "livemode": True}),
    ("customers", {"account_id": -2}),
    ("usage_events", {"account_id": -2}),
    ("usage_events", {"reference": "event-2", "canceled_at": NOW, "counted": False}),
    ("usage_series", {"account_id": -2, "series_id": -2}),
    ("usage_windows", {"end_at": NOW + HOUR}),  # of two subscriptions
    ("alert_firings", {"window_key": "sub_1/si_1/period-1"}),
    ("invoice_lines", {"id": "il_2", "invoice_id": "in_2", "part": 1}),
    ("invoice_lines", {"id": "il_2", "invoice_id": "in_2", "live": False}),
    ("payment_attempts", {"id": "pa_2", "status": "failed", "settled_at": NOW}),
    ("payment_attempts", {"id": "pa_2", "payment_intent_id": "pi_2"}),
    ("prices", {"id": "price_2"}),  # many have no lookup key
    ("invoices", {"id": "in_2"}),  # many drafts have no number
    ("billed_windows", {"start_at": NOW + HOUR, "end_at": NOW + 2 * HOUR}),  # the next one
]


@pytest.mark.parametrize(("table", "values"), ALLOWED)
def test_the_database_allows(
    peopled: psycopg.Connection, table: str, values: dict[str, Any]
) -> None:
    add(peopled, table, **values)


def test_every_constraint_refuses_something(conn: psycopg.Connection) -> None:
    assert {name for (name,) in conn.execute(CONSTRAINTS)} == {name for name, _, _ in REFUSED}


CONSTRAINTS = """
SELECT conname
  FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace
   AND contype IN ('c', 'u', 'x', 'f', 'p')
   AND conname NOT LIKE '%\\_pkey'
 UNION
SELECT indexrelid::regclass::text
  FROM pg_index
 WHERE indisunique
   AND NOT indisprimary
   AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
