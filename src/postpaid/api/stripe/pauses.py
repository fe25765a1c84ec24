"""Pausing and resuming subscriptions as Stripe has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from postpaid.api.paid_changes import made
from postpaid.api.params import Params, Timestamp
from postpaid.api.stripe import subscription_shapes
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscription_changes import AnchorChange, as_object
from postpaid.billing import pause as pausing
from postpaid.billing.decide_pause import Pause, Resumption, UnusedTimeFrom
from postpaid.core.changes import ProrationBehavior

routes = Routes("Subscriptions")


class UsageThrough(Params):
    type: Literal["now", "none"]


class UnusedFrom(Params):
    type: UnusedTimeFrom


class BillFor(Params):
    """What a pause bills and credits."""

    outstanding_usage_through: UsageThrough | None = None
    unused_time_from: UnusedFrom | None = None


class SubscriptionPause(Params):
    bill_for: BillFor | None = None
    invoicing_behavior: Literal["invoice", "pending_invoice_item"] = "pending_invoice_item"
    type: Literal["subscription"] = "subscription"


class SubscriptionResume(Params):
    billing_cycle_anchor: Annotated[AnchorChange, BeforeValidator(as_object)] | None = None
    payment_behavior: Literal["resume_on_payment_attempt"] | None = None
    proration_behavior: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    proration_date: Timestamp | None = None


@routes.post("/v1/subscriptions/{subscription}/pause", returns="subscription")
def pause(call: Call, params: SubscriptionPause, subscription: str) -> dict[str, Any]:
    """Pause a subscription: until it is resumed it has no invoices."""
    asked = pause_from_stripe(params)
    return made(
        call,
        lambda conn: pausing.pause(conn, call.act, subscription, asked),
        lambda conn: subscription_shapes.one(conn, call, subscription),
    )


def pause_from_stripe(params: SubscriptionPause) -> Pause:
    """The pause that is asked for, in the engine's words."""
    bill_for = params.bill_for or BillFor()
    through, unused = bill_for.outstanding_usage_through, bill_for.unused_time_from
    return Pause(
        bills_usage=through is None or through.type == "now",
        unused_from=unused.type if unused else UnusedTimeFrom.NOW,
        invoices=params.invoicing_behavior == "invoice",
    )


@routes.post("/v1/subscriptions/{subscription}/resume", returns="subscription")
def resume(call: Call, params: SubscriptionResume, subscription: str) -> dict[str, Any]:
    """Resume a paused subscription, with a new period from now unless the anchor is unchanged."""
    anchor = params.billing_cycle_anchor
    asked = Resumption(
        resets_anchor=anchor is None or anchor.type == "now",
        proration=params.proration_behavior,
        prorated_at=params.proration_date,
    )
    return made(
        call,
        lambda conn: pausing.resume(conn, call.act, subscription, asked),
        lambda conn: subscription_shapes.one(conn, call, subscription),
    )
