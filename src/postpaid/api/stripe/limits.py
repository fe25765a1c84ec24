"""What limits the bills of a subscription: thresholds as Stripe has them, commitments as we do."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from postpaid.api.params import Boolean, Integer, Params, Unsettable
from postpaid.core.money import MAX_MINOR
from postpaid.core.pricing import MAX_QUANTITY
from postpaid.core.subscriptions import Item, Subscription

CommittedAmount = Annotated[int, Integer(0, MAX_MINOR)]


class BillingThresholds(Params):
    amount_gte: Annotated[int, Integer(1, MAX_MINOR)] | None = None
    reset_billing_cycle_anchor: Boolean = False


class ItemBillingThresholds(Params):
    usage_gte: Annotated[int, Integer(1, int(MAX_QUANTITY))]


class LimitFields(Params):
    """Of a subscription, when it is created and when it changes."""

    billing_thresholds: Unsettable[BillingThresholds] = None
    maximum_amount: Unsettable[CommittedAmount] = None
    minimum_amount: Unsettable[CommittedAmount] = None


class ItemLimitFields(Params):
    """Of a subscription's item, when it is added and when it changes."""

    billing_thresholds: Unsettable[ItemBillingThresholds] = None


LIMITS = frozenset(LimitFields.model_fields)


def limits_from_stripe(params: LimitFields) -> dict[str, Any]:
    """The limits that are given, by a ``Subscription``'s field names."""
    given = params.given()
    fields: dict[str, Any] = {
        name: given[name] for name in ("minimum_amount", "maximum_amount") if name in given
    }
    if "billing_thresholds" in given:
        asked = given["billing_thresholds"]
        fields["threshold_amount"] = asked.amount_gte if asked else None
        fields["threshold_resets_anchor"] = asked.reset_billing_cycle_anchor if asked else False
    return fields


def item_limits_from_stripe(params: ItemLimitFields) -> dict[str, Any]:
    """The limits that are given, by an ``Item``'s field names."""
    given = params.given()
    if "billing_thresholds" not in given:
        return {}
    asked = given["billing_thresholds"]
    return {"threshold_usage": Decimal(asked.usage_gte) if asked else None}


def thresholds_to_stripe(subscription: Subscription) -> dict[str, Any] | None:
    """A subscription's ``billing_thresholds``; None when it has none."""
    if subscription.threshold_amount is None:
        return None
    return {
        "amount_gte": subscription.threshold_amount,
        "reset_billing_cycle_anchor": subscription.threshold_resets_anchor,
    }


def item_thresholds_to_stripe(item: Item) -> dict[str, Any] | None:
    """An item's ``billing_thresholds``; None when it has none."""
    if item.threshold_usage is None:
        return None
    return {"usage_gte": int(item.threshold_usage)}
