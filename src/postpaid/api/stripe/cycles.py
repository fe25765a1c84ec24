"""When a subscription's periods begin and end, and when it does: parameters and shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from annotated_types import MaxLen

from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Id, Integer, Params, Text, Timestamp, Unsettable
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import InvalidRequest
from postpaid.core.stops import CancelAt
from postpaid.core.subscriptions import (
    PauseBehavior,
    Subscription,
    SubscriptionStatus,
    TrialEndBehavior,
    UsageInvoicing,
)


class AnchorConfig(Params):
    """The day and the time of an anchor; day 31 is the end of the month."""

    day_of_month: Annotated[int, Integer(1, 31)]
    hour: Annotated[int, Integer(0, 23)] | None = None
    minute: Annotated[int, Integer(0, 59)] | None = None
    month: Annotated[int, Integer(1, 12)] | None = None
    second: Annotated[int, Integer(0, 59)] | None = None


class TrialEndBehaviorParam(Params):
    billing_cycle_anchor: Literal["now"] | None = None
    missing_payment_method: TrialEndBehavior = TrialEndBehavior.CREATE_INVOICE


class TrialSettings(Params):
    end_behavior: TrialEndBehaviorParam


class PauseCollection(Params):
    behavior: PauseBehavior
    resumes_at: Timestamp | None = None


class AutomaticTax(Params):
    enabled: Boolean


class PaymentSettings(Params):
    payment_method_types: Unsettable[Annotated[list[Annotated[str, Text(50)]], MaxLen(50)]] = None
    save_default_payment_method: Literal["off", "on_subscription"] | None = None


class CustomField(Params):
    name: Annotated[str, Text(40)]
    value: Annotated[str, Text(140)]


class InvoiceSettings(Params):
    """What its invoices say besides their lines."""

    custom_fields: Unsettable[Annotated[list[CustomField], MaxLen(4)]] = None
    description: Unsettable[Annotated[str, Text(1500)]] = None
    footer: Unsettable[Annotated[str, Text(5000)]] = None


class SettingFields(Params):
    """Of a subscription, when it is created and when it changes."""

    automatic_tax: AutomaticTax | None = None
    cancel_at: Unsettable[Timestamp | CancelAt] = None
    invoice_settings: InvoiceSettings | None = None
    payment_settings: PaymentSettings | None = None
    retry_schedule: Unsettable[Id] = None
    trial_settings: TrialSettings | None = None
    usage_invoicing: UsageInvoicing | None = None


class StopFields(SettingFields):
    """Of a subscription that runs."""

    pause_collection: Unsettable[PauseCollection] = None


class CycleFields(SettingFields):
    """Of a subscription that is created: when its periods begin."""

    backdate_start_date: Timestamp | None = None
    billing_cycle_anchor: Timestamp | None = None
    billing_cycle_anchor_config: AnchorConfig | None = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    trial_end: Timestamp | Literal["now"] | None = None
    trial_from_plan: Boolean | None = None  # no price here has a trial of its own
    trial_period_days: Annotated[int, Integer(0, 730)] | None = None


STOPS = frozenset(StopFields.model_fields)


def cycles_from_stripe(params: CycleFields) -> dict[str, Any]:
    """What is said of the beginning, by a ``NewSubscription``'s field names."""
    if params.trial_end is not None and params.trial_period_days is not None:
        raise InvalidRequest(
            "trial_end and trial_period_days cannot be combined.", param="trial_period_days"
        )
    config = params.billing_cycle_anchor_config
    fields = _settings(params)
    return {
        "anchor_at": params.billing_cycle_anchor,
        "anchor_config": config.model_dump(exclude_none=True) if config else None,
        "start_at": params.backdate_start_date,
        "proration": params.proration_behavior,
        "trial_end_at": params.trial_end if isinstance(params.trial_end, datetime) else None,
        "trial_days": params.trial_period_days,
        "cancel_at": params.cancel_at,
        **fields,
    }


def stops_from_stripe(params: StopFields, before: Subscription, prorates: bool) -> dict[str, Any]:
    """What is said of a running subscription, by a ``Subscription``'s field names."""
    given = params.given()
    fields = _settings(params, before)
    if "cancel_at" in given:
        fields["cancel_at"] = given["cancel_at"]
        fields["cancel_prorates"] = prorates
    if "pause_collection" in given:
        pause = params.pause_collection
        fields["pause_behavior"] = pause.behavior if pause else None
        fields["pause_resumes_at"] = pause.resumes_at if pause else None
    return fields


def _settings(params: SettingFields, before: Subscription | None = None) -> dict[str, Any]:
    if params.automatic_tax is not None and params.automatic_tax.enabled:
        raise InvalidRequest(
            "Automatic tax is not available here: set tax rates.",
            param=("automatic_tax", "enabled"),
        )
    fields: dict[str, Any] = {}
    if params.trial_settings is not None:
        fields["trial_end_behavior"] = params.trial_settings.end_behavior.missing_payment_method
    if params.usage_invoicing is not None:
        fields["usage_invoicing"] = params.usage_invoicing
    if params.invoice_settings is not None:
        had = dict(before.invoice_settings or {}) if before else {}
        fields["invoice_settings"] = had | {
            name: [each.model_dump() for each in value]
            if name == "custom_fields" and value
            else value
            for name, value in params.invoice_settings.given().items()
        }
    if params.payment_settings is not None:
        had = dict(before.payment_settings or {}) if before else {}
        fields["payment_settings"] = had | params.payment_settings.given()
    if "retry_schedule" in params.model_fields_set:
        fields["retry_schedule_id"] = params.retry_schedule
    return fields


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def cycles_to_stripe(subscription: Subscription) -> dict[str, Any]:
    """The fields that tell when periods begin and end, what pauses it, and what it is set to."""
    invoice, payment = subscription.invoice_settings or {}, subscription.payment_settings or {}
    config = subscription.anchor_config
    return {
        "billing_cycle_anchor_config": None
        if config is None
        else {unit: config.get(unit) for unit in AnchorConfig.model_fields},
        "cancel_at": _cancel_at(subscription),
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": invoice.get("custom_fields"),
            "description": invoice.get("description"),
            "footer": invoice.get("footer"),
            "issuer": {"account": None, "type": "self"},
        },
        "pause_collection": None
        if subscription.pause_behavior is None
        else {
            "behavior": subscription.pause_behavior,
            "resumes_at": seconds(subscription.pause_resumes_at),
        },
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": payment.get("payment_method_types"),
            "save_default_payment_method": payment.get("save_default_payment_method") or "off",
        },
        "retry_schedule": subscription.retry_schedule_id,
        "status_details": _status_details(subscription),
        "time_zone": subscription.zone,
        "trial_end": seconds(subscription.trial_end_at),
        "trial_settings": {
            "end_behavior": {
                "billing_cycle_anchor": None,
                "missing_payment_method": subscription.trial_end_behavior,
            }
        },
        "trial_start": seconds(subscription.trial_start_at),
        "usage_invoicing": subscription.usage_invoicing,
    }


def _cancel_at(subscription: Subscription) -> int | None:
    """Stripe: the end of the period when it is to end with it."""
    if subscription.ended_at is not None or not subscription.cancel_at_period_end:
        return seconds(subscription.cancel_at)
    return seconds(min(item.period_end for item in subscription.items))


def _status_details(subscription: Subscription) -> dict[str, Any] | None:
    if subscription.status != SubscriptionStatus.PAUSED:
        return None
    by_trial = subscription.paused_at == subscription.trial_end_at
    return {
        "paused": {
            "subscription": {
                "type": subscription.paused_reason
                or ("trial_end_without_payment_method" if by_trial else "pause_requested")
            },
            "transitioned_at": seconds(subscription.paused_at),
            "type": "subscription",
        }
    }
