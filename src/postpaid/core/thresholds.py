"""Billing thresholds: usage that is invoiced before its period ends, because it has become much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from postpaid.core.allotments import bill
from postpaid.core.commitments import Commitment
from postpaid.core.errors import InvalidRequest
from postpaid.core.lines import (
    Line,
    is_commitment,
    lines_of,
    usage_obligation,
    with_commitment,
)
from postpaid.core.money import allocate
from postpaid.core.pricing import MAX_QUANTITY, Model, TiersMode
from postpaid.core.subscriptions import Catalog, Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace

AMOUNT_MIN = 50
"""Minor units; no threshold is lower (Stripe)."""

LAST_DAY = timedelta(hours=24)
"""Stripe: so long before a subscription ends its thresholds bill nothing any more."""

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an item's running window comes to so far.

    ``lines`` bill all of its ``quantity``; thresholds have billed a part of that before. Its share
    of what is ``over`` the most that the whole subscription comes to is not owed.
    """

    item: Item
    quantity: Decimal
    lines: tuple[Line, ...]
    over: int = 0

    @property
    def amount(self) -> int:
        """Minor units for all of the quantity."""
        return sum(line.amount for line in self.lines) - self.over

    @property
    def accrued(self) -> int:
        """Minor units that no threshold has billed yet; negative when too much was."""
        return self.amount - self.item.billed_amount

    @property
    def unbilled(self) -> Decimal:
        """The quantity that no threshold has billed yet."""
        return self.quantity - (self.item.billed_quantity or ZERO)

    @property
    def reaches_usage(self) -> bool:
        """Whether the item's own threshold is reached."""
        return self.item.threshold_usage is not None and self.unbilled >= self.item.threshold_usage


def check_amount(subscription_amount: int | None) -> None:
    """Raises ``InvalidRequest`` for an ``amount_gte`` that Stripe does not take."""
    if subscription_amount is not None and subscription_amount < AMOUNT_MIN:
        raise InvalidRequest(
            f"amount_gte must be at least {AMOUNT_MIN}.", param=("billing_thresholds", "amount_gte")
        )


def check(subscription: Subscription, catalog: Catalog) -> None:
    """Raises ``InvalidRequest`` for thresholds that make no sense with what is sold.

    A threshold is for usage; an amount is more than the flat amounts that are owed without any, and
    packages have none (Stripe: not with packages).
    """
    check_amount(subscription.threshold_amount)
    metered = metered_items(subscription, catalog)
    for item in subscription.items:
        if item.threshold_usage is not None and item not in metered:
            raise InvalidRequest(
                "billing_thresholds of an item need a price with `usage_type=metered`.",
                param="billing_thresholds",
            )
    if subscription.threshold_amount is None:
        return
    if not metered:
        raise InvalidRequest(
            "billing_thresholds need an item whose price has `usage_type=metered`.",
            param="billing_thresholds",
        )
    flat = sum(bill(catalog[item.billing_price_id].price.model, ZERO) or 0 for item in metered)
    if subscription.threshold_amount <= flat:
        raise InvalidRequest(
            f"amount_gte must be more than {flat}, which the prices come to without any usage.",
            param=("billing_thresholds", "amount_gte"),
        )


def metered_items(subscription: Subscription, catalog: Catalog) -> list[Item]:
    """The items whose usage is measured."""
    return [item for item in subscription.items if catalog[item.billing_price_id].price.metered]


def has_thresholds(subscription: Subscription) -> bool:
    """Whether anything of it is to be billed by a threshold."""
    return subscription.threshold_amount is not None or any(
        item.threshold_usage is not None for item in subscription.items
    )


def may_bill(subscription: Subscription, now: datetime) -> bool:
    """Whether its thresholds bill at ``now``: not in a trial, nor in its last day (Stripe).

    Nor while its collection is paused: its renewal bills the usage, as the pause says.
    """
    if subscription.status not in (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE):
        return False
    ends = [subscription.cancel_at] if subscription.cancel_at else []
    if subscription.cancel_at_period_end:
        ends.append(min(item.period_end for item in subscription.items))
    if subscription.pause_behavior is not None:
        return False
    return has_thresholds(subscription) and all(now < end - LAST_DAY for end in ends)


def standings(
    subscription: Subscription,
    catalog: Catalog,
    usage: Mapping[str, Decimal],
    *,
    now: datetime,
    number: int = 1,
) -> list[Standing]:
    """Where its metered items stand, by the ``usage`` of their running windows, by item id.

    ``number`` is the threshold invoice's, in whose obligations' names it is. An item whose usage
    cannot be billed is left out.
    """
    found = []
    for item in metered_items(subscription, catalog):
        if item.id not in usage or not item.usage_start <= now < item.period_end:
            continue
        owed = usage_obligation(subscription, item, catalog)
        named = replace(owed, name=f"{owed.name}/threshold-{number}")
        try:
            lines = lines_of(named, catalog[item.billing_price_id], usage[item.id], over=False)
        except ValueError:
            continue  # it is parked when its period ends
        found.append(Standing(item, usage[item.id], tuple(lines)))
    return _kept_to_most(subscription, found)


def _kept_to_most(subscription: Subscription, found: Sequence[Standing]) -> list[Standing]:
    """The same, with what those that close together and next are over the subscription's most."""
    if subscription.maximum_amount is None or not found:
        return list(found)
    end = min(each.item.period_end for each in found)
    together = [each for each in found if each.item.period_end == end]
    lines = [line for each in together for line in each.lines]
    kept = with_commitment(lines, Commitment(maximum=subscription.maximum_amount))
    over = -sum(line.amount for line in kept if is_commitment(line))
    if not over:
        return list(found)
    parts = dict(
        zip(
            (each.item.id for each in together),
            allocate(over, [each.amount for each in together]),
            strict=True,
        )
    )
    return [replace(each, over=parts.get(each.item.id, 0)) for each in found]


def billed_by(lines: Sequence[Line]) -> dict[tuple[str, datetime], int]:
    """What a threshold invoice has billed of its items' windows, by item id and window's end.

    Of what is over the subscription's most each item has its share taken off.
    """
    billed: dict[tuple[str, datetime], int] = {}
    gross: dict[tuple[str, datetime], int] = {}
    for line in lines:
        if line.subscription_item_id is not None:
            window = (line.subscription_item_id, line.period_end)
            billed[window] = billed.get(window, 0) + line.amount
            gross[window] = gross.get(window, 0) + (line.amount if line.meter_id else 0)
    for line in lines:
        if is_commitment(line):
            together = [window for window in gross if window[1] == line.period_end]
            parts = allocate(-line.amount, [gross[window] for window in together])
            for window, part in zip(together, parts, strict=True):
                billed[window] -= part
    return billed


def reaches_amount(subscription: Subscription, reached: Sequence[Standing]) -> bool:
    """Whether what its usage has accrued is as much as its threshold, before discounts."""
    return (
        subscription.threshold_amount is not None
        and sum(each.accrued for each in reached) >= subscription.threshold_amount
    )


def cut_short(subscription: Subscription, now: datetime) -> Subscription | None:
    """The subscription whose periods end with the second of ``now``, and begin anew with the next.

    That is what a threshold does that resets the anchor: it makes a renewal (Stripe). None when
    they end as soon anyway.
    """
    at = now.replace(microsecond=0) + timedelta(seconds=1)
    if all(item.period_end <= at for item in subscription.items):
        return None
    return replace(
        subscription,
        anchor_at=at,
        anchor_config=None,
        closes_at=at,
        items=tuple(
            replace(item, period_end=at, period_index=-1, generation=item.generation + 1)
            for item in subscription.items
        ),
    )


def look_at(subscription: Subscription, item: Item, catalog: Catalog) -> Decimal | None:
    """The quantity of the item's window below which no threshold can be reached.

    None when no quantity says so: an amount of several items, or one that need not grow with the
    quantity, has to be looked at whenever something is used.
    """
    waits: list[Decimal] = []
    if item.threshold_usage is not None:
        waits.append((item.billed_quantity or ZERO) + item.threshold_usage)
    if subscription.threshold_amount is not None:
        model = catalog[item.billing_price_id].price.model
        if len(metered_items(subscription, catalog)) > 1 or model.tiers_mode == TiersMode.VOLUME:
            return None
        waits.append(_quantity_below(model, item.billed_amount + subscription.threshold_amount))
    return min(waits, default=None)


def _quantity_below(model: Model, amount: int) -> Decimal:
    """The largest whole quantity that comes to less than ``amount``; more may come to as much."""
    low, high = 0, int(MAX_QUANTITY)
    while low < high:
        middle = (low + high + 1) // 2
        comes_to = bill(model, Decimal(middle))
        if comes_to is not None and comes_to < amount:
            low = middle
        else:
            high = middle - 1
    return Decimal(low)
