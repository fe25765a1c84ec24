"""Subscriptions and their changes in Frame's shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from postpaid.api.frame import phase_shapes
from postpaid.api.frame.phase_shapes import ShownPhases
from postpaid.api.frame.shapes import Owner, currency, decimal_string, owners
from postpaid.api.instants import seconds
from postpaid.billing.change_plan import scheduled_changes
from postpaid.billing.offer import shown_amount
from postpaid.billing.perform import Act
from postpaid.billing.price_plans import price_plans
from postpaid.core.catalog import Price
from postpaid.core.errors import NotFound
from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus, charge_id_of
from postpaid.core.plans import (
    ScheduledChange,
    Settlement,
    SoldItem,
    SoldState,
    SubscriptionChange,
    plan_of,
)
from postpaid.core.subscriptions import Subscription, SubscriptionStatus
from postpaid.storage import catalog, payment_intents, subscriptions
from postpaid.storage.database import Connection

# Frame's words for statuses that it has otherwise; one that is not paid yet has two.
STATUSES = {SubscriptionStatus.INCOMPLETE_EXPIRED: "terminated"}
PENDING, DECLINED = "pending", "incomplete"

COLLECTED = {
    Settlement.AT_ONCE: "immediate",
    Settlement.NEXT_RENEWAL: "next_renewal",
    Settlement.NONE: "none",
}


def one(conn: Connection, act: Act, subscription_id: str) -> dict[str, Any]:
    """The subscription as it is now. Raises ``NotFound``."""
    found = subscriptions.load(conn, act.account_id, [subscription_id])
    if subscription_id not in found:
        raise NotFound.of("subscription", subscription_id)
    return render_many(conn, act, list(found.values()))[0]


def render_many(conn: Connection, act: Act, shown: Sequence[Subscription]) -> list[dict[str, Any]]:
    """Many subscriptions with a few statements for all that they are shown with."""
    if not shown:
        return []
    prices = catalog.load_prices(
        conn, act.account_id, {item.price_id for each in shown for item in each.items}
    )
    payers = owners(conn, act.account_id, [each.customer_id for each in shown])
    latest = [each.latest_invoice_id for each in shown if each.latest_invoice_id]
    intents = {
        each.invoice_id: each  # the newest of an invoice
        for each in payment_intents.of_invoices(conn, act.account_id, latest)
    }
    changes = scheduled_changes(conn, act, shown)
    amounts = price_plans(conn, act, shown)
    terms = phase_shapes.of_subscriptions(conn, act, [each.id for each in shown])
    return [
        to_frame(
            each,
            prices,
            payer=payers[each.customer_id],
            intent=intents.get(each.latest_invoice_id),
            change=changes.get(each.id),
            effective_amount=amounts[each.id],
            shown_phases=terms[each.id],
            livemode=act.livemode,
        )
        for each in shown
    ]


def to_frame(
    subscription: Subscription,
    prices: Mapping[str, Price],
    *,
    payer: Owner,
    intent: PaymentIntent | None,
    change: ScheduledChange | None,
    effective_amount: int,
    shown_phases: ShownPhases,
    livemode: bool,
) -> dict[str, Any]:
    """A subscription: what it sells is the plan, which of several items is the first licence."""
    plan = plan_of(subscription, prices)
    price = prices[plan.price_id]
    shown_plan = plan_to_frame(price, livemode=livemode)
    return {
        "id": subscription.id,
        "object": "subscription",
        "description": subscription.description,
        "status": status_to_frame(subscription, intent),
        **payer.keys,
        "default_payment_method": subscription.default_payment_method_id,
        "currency": currency(subscription.currency),
        "quantity": 1 if plan.quantity is None else plan.quantity,
        "product": price.product_id,
        "plan": shown_plan,
        "current_period_start": seconds(plan.period_start),
        "current_period_end": seconds(plan.period_end),
        "start_date": seconds(subscription.start_at),
        "canceled_at": seconds(subscription.canceled_at),
        "ended_at": seconds(subscription.ended_at),
        "paused_at": seconds(subscription.paused_at),
        "resume_at": seconds(subscription.resumes_at),
        "phases": shown_phases.all,
        "has_phases": bool(shown_phases.all),
        "current_phase": shown_phases.current,
        "effective_amount": effective_amount,
        "effective_interval": shown_plan["interval"],
        "effective_interval_count": shown_plan["interval_count"],
        "latest_charge_intent": intent.id if intent else None,
        "latest_charge": _charge_of(intent),
        "latest_invoice": subscription.latest_invoice_id,
        "scheduled_change": change and _scheduled_to_frame(change, livemode=livemode),
        "test_clock": subscription.clock_id,
        "metadata": subscription.metadata,
        "livemode": livemode,
        "created": seconds(subscription.created_at),
        "updated": seconds(subscription.created_at),
    }


def status_to_frame(subscription: Subscription, intent: PaymentIntent | None) -> str:
    """Frame: pending until the first charge succeeds, and incomplete once one was declined."""
    if subscription.status == SubscriptionStatus.INCOMPLETE:
        return DECLINED if intent is not None and intent.last_error else PENDING
    return STATUSES.get(subscription.status, subscription.status.value)


def plan_to_frame(price: Price, *, livemode: bool) -> dict[str, Any]:
    """What is sold, and at what; its amount is null where that is no plain one."""
    recurrence = price.recurrence
    assert recurrence is not None, "what a subscription sells recurs"
    return {
        "id": price.id,
        "object": "plan",
        "interval": recurrence.interval,
        "interval_count": recurrence.count,
        "product": price.product_id,
        "amount": shown_amount(price),
        "currency": currency(price.currency),
        "active": price.active,
        "created": seconds(price.created_at),
        "livemode": livemode,
    }


def _charge_of(intent: PaymentIntent | None) -> str | None:
    """The latest try that charged or failed to; not one that waits for the customer."""
    if intent is None or intent.latest_attempt_id is None:
        return None
    if intent.status == PaymentIntentStatus.REQUIRES_ACTION:
        return None
    return charge_id_of(intent.latest_attempt_id)


def _scheduled_to_frame(change: ScheduledChange, *, livemode: bool) -> dict[str, Any]:
    return {
        "id": change.schedule_id,
        "object": "subscription_scheduled_change",
        "product": change.product_id,
        "interval_switch": change.changes_interval,
        "effective_date": seconds(change.effective_at),
        "created": seconds(change.created_at),
        "livemode": livemode,
    }


# ─── Change logs ─────────────────────────────────────────────────────────────────────────────


def render_changes(
    conn: Connection, act: Act, shown: Sequence[SubscriptionChange]
) -> list[dict[str, Any]]:
    """Many changes with one statement for all the prices of what was sold."""
    states = [state for each in shown for state in (each.state_before, each.state_after)]
    prices = catalog.load_prices(
        conn, act.account_id, {item.price_id for state in states for item in state.items}
    )
    return [change_to_frame(each, prices, livemode=act.livemode) for each in shown]


def change_to_frame(
    change: SubscriptionChange, prices: Mapping[str, Price], *, livemode: bool
) -> dict[str, Any]:
    """One change, under the keys of Frame's documents and of its client for Node."""
    before, after = change.state_before, change.state_after
    told = {
        "previous_product": before.plan.product_id,
        "new_product": after.plan.product_id,
        "previous_price": before.plan.price_id,
        "new_price": after.plan.price_id,
        "proration_behavior": change.proration,
        "effective_at": seconds(change.effective_at),
        "adjustment": {
            "collection": COLLECTED[change.settlement],
            "amount": change.amount,
            "currency": currency(prices[after.plan.price_id].currency),
            "collected_at": seconds(change.settles_at),
            "invoice": change.invoice_id,
        },
        "before": _state_to_frame(before, prices),
        "after": _state_to_frame(after, prices),
    }
    return {
        "id": change.id,
        "object": "subscription_change_log",
        "subscription": change.subscription_id,
        "subscription_id": change.subscription_id,
        "change_type": change.kind,
        "changed_at": seconds(change.created_at),
        **told,
        "data": told,
        "livemode": livemode,
        "created": seconds(change.created_at),
    }


def _state_to_frame(state: SoldState, prices: Mapping[str, Price]) -> dict[str, Any]:
    return {
        "status": STATUSES.get(state.status, state.status.value),
        "current_period_start": seconds(state.period_start),
        "current_period_end": seconds(state.period_end),
        **_sold_to_frame(state.plan, prices),
        "items": [_sold_to_frame(each, prices) for each in state.items],
    }


def _sold_to_frame(item: SoldItem, prices: Mapping[str, Price]) -> dict[str, Any]:
    price = prices[item.price_id]
    assert price.recurrence is not None, "what a subscription sells recurs"
    return {
        "product": item.product_id,
        "price": item.price_id,
        "quantity": item.quantity,
        "amount": None if item.amount is None else decimal_string(item.amount),
        "currency": currency(price.currency),
        "interval": price.recurrence.interval,
        "interval_count": price.recurrence.count,
    }
