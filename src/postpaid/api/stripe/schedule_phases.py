"""The phases of a subscription schedule, and its default settings, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len, MaxLen

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Boolean,
    Currency,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    Timestamp,
    Unsettable,
    merge_metadata,
)
from postpaid.api.stripe.invoice_shapes import TaxRates
from postpaid.api.stripe.limits import BillingThresholds, ItemLimitFields, item_limits_from_stripe
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import InvalidRequest
from postpaid.core.periods import Interval, Recurrence
from postpaid.core.schedules import PHASES_MAX, AskedPhase, Phase, PhaseExtra, PhaseItem
from postpaid.core.subscriptions import CollectionMethod, check_collection

Quantity = Annotated[int, Integer(0, 10**9)]


class ScheduledItem(ItemLimitFields):
    price: Id
    quantity: Quantity | None = None
    metadata: Metadata = None
    tax_rates: Unsettable[Annotated[list[Id], MaxLen(5)]] = None


class ScheduledExtra(Params):
    price: Id
    quantity: Quantity = 1


class Duration(Params):
    interval: Interval
    interval_count: Annotated[int, Integer(1, 1000)] = 1


class ScheduledInvoiceSettings(Params):
    days_until_due: Annotated[int, Integer(0, 730)] | None = None


class PhaseParams(Params):
    items: Annotated[list[ScheduledItem], Len(1, 20)]
    add_invoice_items: Annotated[list[ScheduledExtra], MaxLen(20)] | None = None
    billing_cycle_anchor: Literal["automatic", "phase_start"] | None = None
    billing_thresholds: Unsettable[BillingThresholds] = None
    collection_method: CollectionMethod | None = None
    currency: Currency | None = None
    default_payment_method: Id | None = None
    description: Unsettable[Annotated[str, Text(500)]] = None
    duration: Duration | None = None
    end_date: Timestamp | Literal["now"] | None = None
    invoice_settings: ScheduledInvoiceSettings | None = None
    iterations: Annotated[int, Integer(1, 1000)] | None = None
    metadata: Metadata = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    start_date: Timestamp | Literal["now"] | None = None
    trial: Boolean = False
    trial_end: Timestamp | Literal["now"] | None = None


class DefaultSettings(Params):
    billing_cycle_anchor: Literal["automatic", "phase_start"] | None = None
    billing_thresholds: Unsettable[BillingThresholds] = None
    collection_method: CollectionMethod | None = None
    default_payment_method: Id | None = None
    description: Unsettable[Annotated[str, Text(500)]] = None
    invoice_settings: ScheduledInvoiceSettings | None = None


Phases = Annotated[list[PhaseParams], Len(1, PHASES_MAX)]


# ─── What is asked ───────────────────────────────────────────────────────────────────────────


def phases_from_stripe(
    phases: Sequence[PhaseParams], defaults: DefaultSettings | None
) -> list[AskedPhase]:
    """The phases asked for, in the engine's words. Raises ``InvalidRequest``."""
    return [_phase_from_stripe(phase, i, defaults) for i, phase in enumerate(phases)]


def _phase_from_stripe(
    phase: PhaseParams, place: int, defaults: DefaultSettings | None
) -> AskedPhase:
    at = ("phases", place)
    lengths = [phase.end_date, phase.duration, phase.iterations]
    if sum(each is not None for each in lengths) > 1:
        raise InvalidRequest(
            "You may only specify one of these parameters: end_date, duration, iterations.",
            param=(*at, "end_date"),
            code="parameters_exclusive",
        )
    for name in ("end_date", "trial_end"):
        if getattr(phase, name) == "now":
            raise InvalidRequest(
                f"{name} must be a time here; update the schedule when it has come.",
                param=(*at, name),
            )
    if phase.start_date == "now" and place:
        raise InvalidRequest("Only the first phase can start now.", param=(*at, "start_date"))
    method = phase.collection_method or (defaults and defaults.collection_method)
    settings = phase.invoice_settings or (defaults and defaults.invoice_settings)
    days = settings.days_until_due if settings else None
    check_collection(
        method or CollectionMethod.CHARGE_AUTOMATICALLY,
        days,
        (*at, "invoice_settings", "days_until_due"),
    )
    thresholds = phase.billing_thresholds or (defaults and defaults.billing_thresholds)
    anchor = phase.billing_cycle_anchor or (defaults and defaults.billing_cycle_anchor)
    fields: dict[str, Any] = {
        "items": tuple(
            PhaseItem(
                item.price,
                item.quantity,
                merge_metadata({}, item.metadata),
                item_limits_from_stripe(item).get("threshold_usage"),
                item.tax_rates,
            )
            for item in phase.items
        ),
        "extras": tuple(
            PhaseExtra(each.price, each.quantity) for each in phase.add_invoice_items or ()
        ),
        "proration": phase.proration_behavior,
        "resets_anchor": anchor == "phase_start",
        "trial_end_at": phase.trial_end,
        "collection_method": method,
        "days_until_due": days,
        "default_payment_method_id": phase.default_payment_method
        or (defaults and defaults.default_payment_method),
        "description": phase.description or (defaults and defaults.description),
        "metadata": None if phase.metadata is None else merge_metadata({}, phase.metadata),
        "threshold_amount": thresholds.amount_gte if thresholds else None,
        "threshold_resets_anchor": bool(thresholds and thresholds.reset_billing_cycle_anchor),
        "currency": phase.currency,
    }
    duration = phase.duration
    return AskedPhase(
        fields=fields,
        start_at=None if phase.start_date == "now" else phase.start_date,
        end_at=phase.end_date,  # type: ignore[arg-type]
        duration=Recurrence(duration.interval, duration.interval_count) if duration else None,
        times=phase.iterations or 1,
        trial=phase.trial,
    )


def settings_from_stripe(settings: DefaultSettings | None) -> dict[str, Any]:
    """The default settings as they are kept: what is shown of them."""
    given = settings or DefaultSettings()
    thresholds, invoices = given.billing_thresholds, given.invoice_settings
    return {
        "billing_cycle_anchor": given.billing_cycle_anchor or "automatic",
        "billing_thresholds": thresholds
        and {
            "amount_gte": thresholds.amount_gte,
            "reset_billing_cycle_anchor": thresholds.reset_billing_cycle_anchor,
        },
        "collection_method": given.collection_method or CollectionMethod.CHARGE_AUTOMATICALLY,
        "days_until_due": invoices.days_until_due if invoices else None,
        "default_payment_method": given.default_payment_method,
        "description": given.description,
    }


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def phase_to_stripe(phase: Phase, currencies: dict[str, str], rates: TaxRates) -> dict[str, Any]:
    """A phase; ``currencies`` are those of prices, by id."""
    return {
        "add_invoice_items": [
            {
                "discountable": True,
                "discounts": [],
                "metadata": {},
                "period": {
                    "end": {"timestamp": None, "type": "phase_end"},
                    "start": {"timestamp": None, "type": "phase_start"},
                },
                "price": each.price_id,
                "quantity": each.quantity,
                "tax_rates": [],
            }
            for each in phase.extras
        ],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": "phase_start" if phase.resets_anchor else None,
        "billing_thresholds": None
        if phase.threshold_amount is None
        else {
            "amount_gte": phase.threshold_amount,
            "reset_billing_cycle_anchor": phase.threshold_resets_anchor,
        },
        "collection_method": phase.collection_method,
        "currency": phase.currency or currencies.get(phase.items[0].price_id),
        "default_payment_method": phase.default_payment_method_id,
        "default_tax_rates": [],
        "description": phase.description,
        "discounts": [],
        "end_date": seconds(phase.end_at),
        "invoice_settings": None
        if phase.days_until_due is None
        else invoice_settings_to_stripe(phase.days_until_due, shown=False),
        "items": [
            {
                "billing_thresholds": None
                if item.threshold_usage is None
                else {"usage_gte": int(item.threshold_usage)},
                "discounts": [],
                "metadata": item.metadata,
                "plan": item.price_id,
                "price": item.price_id,
                "quantity": item.quantity,
                "tax_rates": [rates[key] for key in item.tax_rate_ids or () if key in rates],
            }
            for item in phase.items
        ],
        "metadata": phase.metadata or {},
        "on_behalf_of": None,
        "proration_behavior": phase.proration,
        "start_date": seconds(phase.start_at),
        "transfer_data": None,
        "trial": phase.trial_end_at is not None and phase.trial_end_at == phase.end_at,
        "trial_end": seconds(phase.trial_end_at),
    }


def invoice_settings_to_stripe(days_until_due: int | None, *, shown: bool) -> dict[str, Any]:
    """What invoices say: of the default settings, which name an issuer, or of a phase."""
    return {
        "account_tax_ids": None,
        "custom_fields": None,
        "days_until_due": days_until_due,
        "description": None,
        "footer": None,
        "issuer": {"account": None, "type": "self"} if shown else None,
    }
