"""What a change asks for: the items as they are and as they are to be, or why they cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from postpaid.billing.check_sold import ITEMS_MAX, NewItem, NewSubscription, check_sold
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ItemChange, UsagePricing
from postpaid.core.errors import ActionNotAllowed, BillingError, Conflict, InvalidRequest, NotFound
from postpaid.core.subscriptions import ENDED, Catalog, Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage.customers import Customer


@dataclass(frozen=True, slots=True)
class Move:
    """One item before and after; None where it was not there, or is not any more."""

    old: Item | None
    new: Item | None
    pricing: UsagePricing
    place: int | None  # among the items asked for
    asked_quantity: int | None


def check_status(before: Subscription, change: Change, now: datetime) -> None:
    """Raises ``ActionNotAllowed``, or ``Conflict`` while a period of it waits to be closed."""
    if before.status in ENDED:
        raise ActionNotAllowed(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="subscription_canceled",
        )
    if before.status == SubscriptionStatus.INCOMPLETE:
        raise ActionNotAllowed(
            "This subscription cannot be changed until its first invoice is paid.",
            code="subscription_incomplete",
        )
    if before.status == SubscriptionStatus.PAUSED and (change.resets_anchor or change.trial_end_at):
        raise ActionNotAllowed(
            "This subscription is paused: nothing is billed until it is resumed, which can begin "
            "its periods anew."
        )
    if before.closes_at is not None and before.closes_at <= now:
        raise Conflict("A period of this subscription is being closed; try again in a moment.")


def proration_moment(change: Change, before: Subscription, now: datetime) -> datetime:
    """From when on licences are prorated: in the running period, or else ``InvalidRequest``."""
    at = change.prorated_at
    if at is None:
        return now
    start = max(item.period_start for item in before.items)
    end = min(item.period_end for item in before.items)
    if not start <= at <= end:
        raise InvalidRequest(
            "Cannot specify `proration_date` outside of the current period.",
            param="proration_date",
        )
    return at


def moves(act: Act, change: Change, before: Subscription, sold: Catalog) -> list[Move]:
    """The items as they are and as they are to be, in the order of the items."""
    by_id = {item.id: item for item in before.items}
    asked: dict[str, tuple[int, ItemChange]] = {}
    added: list[Move] = []
    for place, each in enumerate(change.items):
        pricing = each.usage_pricing or change.usage_pricing
        if each.id is None:
            if each.price_id is None:
                raise InvalidRequest(
                    f"Missing required param: items[{place}][price].",
                    param=("items", place, "price"),
                    code="parameter_missing",
                )
            new = _new_item(act, before, each, sold)
            added.append(Move(None, new, pricing, place, each.quantity))
        elif each.id not in by_id:
            raise NotFound.of("subscription item", each.id, param=("items", place, "id"))
        elif each.id in asked:
            raise InvalidRequest(
                f"The subscription item '{each.id}' is given twice.", param=("items", place, "id")
            )
        else:
            asked[each.id] = place, each
    kept = []
    for item in before.items:
        if item.id not in asked:
            kept.append(Move(item, item, change.usage_pricing, None, item.quantity))
            continue
        place, each = asked[item.id]
        pricing = each.usage_pricing or change.usage_pricing
        to = None if each.deleted else _changed_item(item, each, sold)
        kept.append(Move(item, to, pricing, place, each.quantity))
    return kept + added


def _new_item(act: Act, before: Subscription, asked: ItemChange, sold: Catalog) -> Item:
    assert asked.price_id is not None
    return replace(
        Item(
            id=act.new_id("si"),
            subscription_id=before.id,
            price_id=asked.price_id,
            quantity=_quantity(asked.price_id, asked.quantity, sold),
            period_index=0,
            period_start=before.items[0].period_start,  # until its price's recurrence has said
            period_end=before.items[0].period_end,
            metadata={},
            created_at=act.now,
        ),
        **asked.fields,
    )


def _changed_item(item: Item, asked: ItemChange, sold: Catalog) -> Item:
    """Stripe: a new price makes the quantity 1, unless another is given."""
    changed = replace(item, **asked.fields)
    if asked.price_id is not None and asked.price_id != item.price_id:
        quantity = _quantity(asked.price_id, asked.quantity, sold)
        return replace(changed, price_id=asked.price_id, quantity=quantity)
    if asked.quantity is not None and item.quantity is not None:
        return replace(changed, quantity=asked.quantity)
    return changed


def _quantity(price_id: str, quantity: int | None, sold: Catalog) -> int | None:
    if price_id in sold and sold[price_id].price.metered:
        return None
    return 1 if quantity is None else quantity


def check_items(
    change: Change,
    before: Subscription,
    customer: Customer,
    sold: Catalog,
    moved: Sequence[Move],
) -> None:
    """The same rules as for a new subscription, of all the items that there will be."""
    left = [each for each in moved if each.new is not None]
    if not left:
        raise InvalidRequest(
            "A subscription must have at least one item: to end it, cancel it.", param="items"
        )
    if len(left) > ITEMS_MAX:
        raise InvalidRequest(f"A subscription can have at most {ITEMS_MAX} items.", param="items")
    kept = {each.price_id for each in before.items}
    items = []
    for each in left:
        assert each.new is not None
        metered = each.new.price_id in sold and sold[each.new.price_id].price.metered
        quantity = each.asked_quantity if metered else each.new.quantity
        items.append(NewItem(each.new.price_id, quantity))
    asked = NewSubscription(
        customer_id=before.customer_id,
        items=items,
        billing_mode=before.billing_mode,
        currency=before.currency,
    )
    try:
        check_sold(asked, customer, sold, kept=kept)
    except BillingError as error:
        if error.param[:1] == ("items",) and len(error.param) > 1:
            index = error.param[1]
            assert isinstance(index, int)
            place = left[index].place
            error.param = ("items",) if place is None else ("items", place, *error.param[2:])
        raise
