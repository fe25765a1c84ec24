"""Give customers, subscriptions and items other discounts, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postpaid.billing.announce import (
    Announcement,
    announce,
    changes,
    customer_updated,
    subscription_updated,
)
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.manage_discounts import (
    AskedDiscount,
    Wanted,
    choose,
    discounts_from,
    redeem,
    remove,
    remove_left_out,
)
from postpaid.billing.perform import Act
from postpaid.core.discounts import Discount
from postpaid.core.errors import NotFound, Path
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import customers, discounts, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


def discount_customer(
    conn: Connection, act: Act, customer_id: str, asked: AskedDiscount
) -> Customer:
    """Give the customer a discount on all it buys, in place of one it had.

    Raises ``NotFound``, and as ``choose`` and ``redeem`` do.
    """
    before = lock_customer(conn, act, customer_id)
    act = act.at(before.now(act.now), before.clock_id)
    [discount] = discounts_from(
        conn, act, [asked], customer=before, currency=before.currency, param=(), announces=False
    )
    had = [before.discount["id"]] if before.discount else []
    replaced = discounts.delete_many(conn, act.account_id, had, now=act.now) if had else []
    after = replace(before, discount=_as_kept(discount))
    customers.update(conn, act.account_id, after)
    # Stripe: one in place of another is an update.
    told = "updated" if replaced else "created"
    former = changes(replace(replaced[0], deleted_at=None), discount) if replaced else None
    said = Announcement(f"customer.discount.{told}", "discount", discount.id, discount, former)
    announce(conn, act, [said, customer_updated(before, after)])
    return after


def delete_customer_discount(conn: Connection, act: Act, customer_id: str) -> Discount:
    """Take the customer's discount away. Raises ``NotFound`` when it has none."""
    before = lock_customer(conn, act, customer_id)
    if not before.discount:
        raise NotFound(f"No active discount for customer: {customer_id}")
    act = act.at(before.now(act.now), before.clock_id)
    after = replace(before, discount=None)
    customers.update(conn, act.account_id, after)
    [removed] = remove(conn, act, [before.discount["id"]])
    said = Announcement("customer.updated", "customer", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return removed


def delete_subscription_discount(conn: Connection, act: Act, subscription_id: str) -> Discount:
    """Take the subscription's discounts away; gives the first. Raises ``NotFound`` if it has none.

    Drafts that are made already keep them (Stripe).
    """
    found = subscriptions.load(conn, act.account_id, [subscription_id]).get(subscription_id)
    if found is None:
        raise NotFound.of("subscription", subscription_id)
    locked = customers.lock(conn, act.account_id, [found.customer_id])
    customer = locked[found.customer_id]
    before = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    left = discounts.over(conn, act.account_id, before.discount_ids or (), now=act.now)
    active = [each for each in before.discount_ids or () if each not in left]
    if not active:
        raise NotFound(f"No active discount for subscription: {subscription_id}")
    act = act.at(customer.now(act.now), customer.clock_id)
    after = replace(before, discount_ids=None)
    subscriptions.update_many(conn, act.account_id, [after])
    removed = {each.id: each for each in remove(conn, act, active)}
    announce(conn, act, [subscription_updated(before, after)])
    return removed[active[0]]


def rediscount_subscription(
    conn: Connection,
    act: Act,
    subscription: Subscription,
    customer: Customer,
    asked: Sequence[AskedDiscount],
) -> list[str] | None:
    """The ids of the discounts that the subscription is to have from now on, which are written.

    Those that it had and that are not asked for are taken away; it keeps one that is asked for by
    its id, or by its coupon (Stripe). The customer is locked, and the caller writes the
    subscription. Raises as ``choose`` and ``redeem`` do.
    """
    act = act.at(customer.now(act.now), customer.clock_id)
    had = discounts.load(conn, act.account_id, subscription.discount_ids or ())
    left = discounts.over(conn, act.account_id, had, now=act.now)
    by_coupon = {each.coupon_id: each.id for each in had.values() if each.id not in left}
    wanted = [
        AskedDiscount(discount_id=by_coupon[each.coupon_id])
        if each.coupon_id in by_coupon and not (each.promotion_code_id or each.discount_id)
        else each
        for each in asked
    ]
    chosen = choose(
        conn,
        act,
        [Wanted(wanted, subscription.id)],
        customer=customer,
        currency=subscription.currency,
    )
    redeem(conn, act, chosen)
    remove_left_out(conn, act, subscription.discount_ids, chosen.ids())
    return chosen.ids()


def rediscount_items(
    conn: Connection,
    act: Act,
    subscription: Subscription,
    customer: Customer,
    wanted: Sequence[Wanted],
) -> dict[Path, list[str] | None]:
    """The ids of the discounts that items are to have from now on, by what asked for them.

    As ``rediscount_subscription`` does; ``act`` is at the time of the customer, who is locked.
    """
    if not wanted:
        return {}
    chosen = choose(conn, act, wanted, customer=customer, currency=subscription.currency)
    redeem(conn, act, chosen)
    asked = {each.subscription_item_id for each in wanted}
    had = [
        key for item in subscription.items if item.id in asked for key in item.discount_ids or ()
    ]
    kept = [each.id for own in chosen.discounts for each in own]
    remove_left_out(conn, act, had, kept)
    return {each.param: chosen.ids(place) for place, each in enumerate(wanted)}


def _as_kept(discount: Discount) -> dict[str, Any]:
    """What a customer keeps of its discount, to be shown without asking for it."""
    return {
        "id": discount.id,
        "coupon_id": discount.coupon_id,
        "promotion_code_id": discount.promotion_code_id,
        "start_at": int(discount.start_at.timestamp()),
        "end_at": discount.end_at and int(discount.end_at.timestamp()),
    }
