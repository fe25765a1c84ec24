"""Subscriptions and their items in Stripe's shapes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.stripe import discounts as stripe_discounts
from postpaid.api.stripe import prices as stripe_prices
from postpaid.api.stripe.cycles import cycles_to_stripe
from postpaid.api.stripe.expand import expandable, includable, loaded, loader, nested
from postpaid.api.stripe.limits import item_thresholds_to_stripe, thresholds_to_stripe
from postpaid.api.stripe.routes import Call
from postpaid.billing.apply_updates import shown_after
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price
from postpaid.core.errors import NotFound
from postpaid.core.subscriptions import BillingMode, Item, Subscription
from postpaid.storage import catalog, subscriptions
from postpaid.storage.database import Connection


def one(conn: Connection, call: Call, subscription_id: str) -> dict[str, Any]:
    """The subscription as it is now. Raises ``NotFound``."""
    found = subscriptions.load(conn, call.act.account_id, [subscription_id])
    if subscription_id not in found:
        raise NotFound.of("subscription", subscription_id)
    return _render(conn, call, found[subscription_id])


def _render(conn: Connection, call: Call, subscription: Subscription) -> dict[str, Any]:
    return render_many(conn, call.act, [subscription])[0]


def prices_of(conn: Connection, act: Act, shown: Sequence[Subscription]) -> dict[str, Price]:
    """The prices of the subscriptions' items, by id."""
    return catalog.load_prices(
        conn,
        act.account_id,
        {
            item.price_id
            for each in shown
            for one in (each, shown_after(each))
            if one
            for item in one.items
        },
    )


def render_many(conn: Connection, act: Act, shown: Sequence[Subscription]) -> list[dict[str, Any]]:
    """Many subscriptions with a few statements for all their prices, discounts and tax rates."""
    prices = prices_of(conn, act, shown)
    every = [one for each in shown for one in (each, shown_after(each)) if one]
    holders: list[Subscription | Item] = [*every, *(item for each in every for item in each.items)]
    over = stripe_discounts.over(
        conn, act, [key for each in holders for key in each.discount_ids or ()]
    )
    rates = loaded(
        conn, act, "tax_rate", [key for each in holders for key in each.tax_rate_ids or ()]
    )
    return [
        to_stripe(each, prices, rates=rates, over=over, livemode=act.livemode) for each in shown
    ]


def to_stripe(
    subscription: Subscription,
    prices: Mapping[str, Price],
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any]:
    """A subscription with its items, their prices, and discounts that are not ``over``."""
    flexible = subscription.billing_mode == BillingMode.FLEXIBLE
    return {
        "id": subscription.id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": seconds(subscription.anchor_at),
        "billing_mode": {
            "flexible": {"proration_discounts": subscription.proration_discounts}
            if flexible
            else None,
            "type": subscription.billing_mode,
            "updated_at": seconds(subscription.billing_mode_at),
        },
        "billing_schedules": [],
        "billing_thresholds": thresholds_to_stripe(subscription),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": seconds(subscription.canceled_at),
        "cancellation_details": {
            "comment": subscription.cancellation_comment,
            "feedback": subscription.cancellation_feedback,
            "feedback_option": None,
            "reason": subscription.cancellation_reason,
        },
        "collection_method": subscription.collection_method,
        "created": seconds(subscription.created_at),
        "currency": subscription.currency,
        "customer": subscription.customer_id,
        "customer_account": None,
        "days_until_due": subscription.days_until_due,
        "default_payment_method": subscription.default_payment_method_id,
        "default_source": None,
        "default_tax_rates": [rates[key] for key in subscription.tax_rate_ids or ()],
        "description": subscription.description,
        "discounts": [key for key in subscription.discount_ids or () if key not in over],
        "ended_at": seconds(subscription.ended_at),
        "items": {
            "object": "list",
            "data": [
                item_to_stripe(
                    item, prices[item.price_id], rates=rates, over=over, livemode=livemode
                )
                for item in subscription.items
            ],
            "has_more": False,
            "total_count": len(subscription.items),
            "url": f"/v1/subscription_items?subscription={subscription.id}",
        },
        "latest_invoice": subscription.latest_invoice_id,
        "livemode": livemode,
        "managed_payments": None,
        "maximum_amount": subscription.maximum_amount,
        "metadata": subscription.metadata,
        "minimum_amount": subscription.minimum_amount,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pending_invoice_item_interval": None,
        "pending_setup_intent": subscription.pending_setup_intent_id,
        "pending_update": _pending_update(
            subscription, prices, rates=rates, over=over, livemode=livemode
        ),
        "presentment_details": None,
        "schedule": subscription.schedule_id,
        "start_date": seconds(subscription.start_at),
        "status": subscription.status,
        "test_clock": subscription.clock_id,
        "transfer_data": None,
        **cycles_to_stripe(subscription),
    }


def _pending_update(
    subscription: Subscription,
    prices: Mapping[str, Price],
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any] | None:
    """What the subscription will be once the invoice of its change is paid."""
    after = shown_after(subscription)
    if after is None:
        return None
    resets = after.anchor_at != subscription.anchor_at
    tries = after.trial_end_at != subscription.trial_end_at
    return {
        "billing_cycle_anchor": seconds(after.anchor_at) if resets else None,
        "cancel_at_period_end": None,
        "discount": None,
        "discounts": None,
        "expires_at": seconds(subscription.pending_update_expires_at),
        "metadata": None,
        "subscription_items": [
            item_to_stripe(item, prices[item.price_id], rates=rates, over=over, livemode=livemode)
            for item in after.items
        ],
        "trial_end": seconds(after.trial_end_at) if tries else None,
        "trial_from_plan": None,
    }


def item_to_stripe(
    item: Item,
    price: Price,
    *,
    rates: Mapping[str, dict[str, Any]],
    over: Container[str],
    livemode: bool,
) -> dict[str, Any]:
    """One item with its price, and that price as a plan."""
    return {
        "id": item.id,
        "object": "subscription_item",
        "billed_until": seconds(item.period_start if price.metered else item.period_end),
        "billing_thresholds": item_thresholds_to_stripe(item),
        "created": seconds(item.created_at),
        "current_period_end": seconds(item.period_end),
        "current_period_start": seconds(item.period_start),
        "current_trial": None,
        "discounts": [key for key in item.discount_ids or () if key not in over],
        "metadata": item.metadata,
        "plan": stripe_prices.plan_to_stripe(price, livemode=livemode),
        "price": stripe_prices.to_stripe(price, livemode=livemode),
        "quantity": item.quantity,
        "subscription": item.subscription_id,
        "tax_rates": [rates[key] for key in item.tax_rate_ids or ()],
    }


@loader("subscription")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = list(subscriptions.load(conn, act.account_id, ids).values())
    return {each["id"]: each for each in render_many(conn, act, found)}


def _of_customers(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Customers' subscriptions that run, newest first, for ``expand[]=subscriptions``."""
    running = subscriptions.running_of_customers(conn, act.account_id, ids)
    shown: dict[str, list[dict[str, Any]]] = {customer_id: [] for customer_id in ids}
    for each in reversed(render_many(conn, act, list(running.values()))):
        shown[each["customer"]].append(each)
    return {
        customer_id: {
            "object": "list",
            "data": data,
            "has_more": False,
            "total_count": len(data),
            "url": f"/v1/customers/{customer_id}/subscriptions",
        }
        for customer_id, data in shown.items()
    }


includable("customer", "subscriptions", _of_customers, of="subscription", many=True)
nested("subscription", "items", "subscription_item", many=True)
nested("subscription_item", "price", "price")


expandable("subscription", "customer", load="customer")
expandable("subscription", "default_payment_method", load="payment_method")
expandable("subscription", "discounts", load="discount")
expandable("subscription_item", "discounts", load="discount")
expandable("subscription", "pending_update.discounts", load="discount")
expandable("subscription", "latest_invoice", load="invoice")
expandable("subscription", "pending_setup_intent", load="setup_intent")
expandable("subscription", "test_clock", load="test_helpers.test_clock")
