"""Sell a product with its phases: what the first period costs, and the subscription's own phases.

For whoever subscribes a customer to a product, in one transaction:

    offer = offer_product(conn, act, product_id, currency="usd")
    begun = subscribe(conn, act, NewSubscription(…, items=[NewItem(offer.first_price.id)]))
    copy_phases(conn, act, begun.subscription_id, offer)

The phases are carried out by a subscription schedule, which moves the subscription from price to
price where its periods end, and lets it go at the base price. ``drop_phases`` ends all that before
its time, as when another product takes the place of the one that they are of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.manage_schedules import release_schedule
from postpaid.billing.offer import find_or_make, is_plain, offered_price, wanted_like
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import lock
from postpaid.core.catalog import Price
from postpaid.core.cycles import zone_of
from postpaid.core.errors import InvalidRequest
from postpaid.core.price_phases import PricePhase, current, planned, sold_item
from postpaid.core.schedules import (
    RUNNING,
    EndBehavior,
    Phase,
    Schedule,
    ScheduleStatus,
    due_in,
)
from postpaid.core.subscriptions import Subscription
from postpaid.core.values import replace
from postpaid.storage import price_phases, subscription_schedules
from postpaid.storage.database import Connection
from postpaid.storage.price_phases import Turn


@dataclass(frozen=True, slots=True)
class Offer:
    """At what a product is sold: its ``base`` price, and before that ``prices``, one per phase."""

    base: Price
    phases: Sequence[PricePhase] = ()
    prices: Sequence[Price] = ()

    @property
    def first_price(self) -> Price:
        """What the first period costs."""
        return self.prices[0] if self.prices else self.base


def offer_product(
    conn: Connection,
    act: Act,
    product_id: str,
    *,
    currency: str | None = None,
    param: str = "product",
) -> Offer:
    """At what the product is sold, with the phases that it has now; prices that miss are made.

    Raises what ``offered_price`` raises, and ``InvalidRequest`` for phases of a product that is not
    sold at a plain amount any more.
    """
    base = offered_price(conn, act, product_id, currency=currency, param=param)
    phases = price_phases.of_products(conn, act.account_id, [product_id])[product_id]
    if not phases:
        return Offer(base)
    return Offer(base, phases, prices_of(conn, act, phases, base))


def prices_of(conn: Connection, act: Act, phases: Sequence[PricePhase], base: Price) -> list[Price]:
    """What each of the phases bills, of a base price; prices that miss are made.

    Raises ``InvalidRequest`` for a base price that does not recur at a plain amount, and for an
    amount of too many digits.
    """
    check_base(base)
    assert base.model.unit_amount is not None
    unit = base.model.unit_amount
    wanted = [wanted_like(base, unit_amount=each.unit_amount(unit)) for each in phases]
    return find_or_make(conn, act, wanted)


def check_base(base: Price | None, *, param: str = "product") -> None:
    """Raises ``InvalidRequest`` unless phases can come before that price."""
    if base is None or base.recurrence is None or not is_plain(base):
        raise InvalidRequest(
            "Only what recurs at a plain amount has phases: the product is sold at another price.",
            param=param,
        )


def copy_phases(conn: Connection, act: Act, subscription_id: str, offer: Offer) -> None:
    """Give a subscription that has just begun the phases that it was offered, and its schedule.

    Nothing for an offer without phases. Raises ``InvalidRequest`` for phases that would end too far
    away.
    """
    if not offer.phases:
        return
    # Read.
    subscription, customer = lock(conn, act, subscription_id)
    act = act.at(customer.now(act.now), customer.clock_id)

    # Decide.
    start = sold_item(subscription).period_start
    own = [
        replace(
            each,
            id=act.new_id("phase"),
            product_id=None,
            subscription_id=subscription_id,
            price_id=price.id,
            base_price_id=offer.base.id,
            started_at=None if place else start,
            created_at=act.now,
            updated_at=act.now,
        )
        for place, (each, price) in enumerate(zip(offer.phases, offer.prices, strict=True))
    ]
    assert offer.base.recurrence is not None, "phases come before what recurs"
    zone = zone_of(subscription)
    plan = planned(subscription, (), own, offer.base.id, offer.base.recurrence, zone, start)

    # Write.
    price_phases.write_many(conn, act.account_id, own)
    begin_schedule(conn, act, subscription, plan)


def begin_schedule(
    conn: Connection, act: Act, subscription: Subscription, plan: Sequence[Phase]
) -> None:
    """Let the subscription follow the plan, in whose first phase it is; unless that is all."""
    if len(plan) == 1:
        return
    schedule = Schedule(
        id=act.new_id("sub_sched"),
        customer_id=subscription.customer_id,
        clock_id=subscription.clock_id,
        subscription_id=subscription.id,
        released_subscription_id=None,
        status=ScheduleStatus.ACTIVE,
        end_behavior=EndBehavior.RELEASE,
        billing_mode=subscription.billing_mode,
        default_settings={},
        phases=tuple(plan),
        phase_index=0,
        due_at=due_in(plan, 0, act.now),
        metadata={},
        created_at=act.now,
    )
    subscription_schedules.insert(conn, act.account_id, schedule)
    following = replace(subscription, schedule_id=schedule.id)
    write_changed(conn, act, [(subscription, following)], {})
    said = Announcement(
        "subscription_schedule.created", "subscription_schedule", schedule.id, schedule
    )
    announce(conn, act, [said])


def drop_phases(conn: Connection, act: Act, subscription_id: str) -> None:
    """End the phases of a subscription before their time: none comes any more, none is running.

    What it pays is not changed by that. A schedule that carries out something else stays. Raises
    ``NotFound``.
    """
    subscription, customer = lock(conn, act, subscription_id)
    act_there = act.at(customer.now(act.now), customer.clock_id)
    schedule = schedule_of(conn, act, subscription)
    if schedule is not None and carries_out_price_phases(schedule):
        release_schedule(conn, act, schedule.id)
    phases = price_phases.of_subscriptions(conn, act.account_id, [subscription_id])[subscription_id]
    if running := current(phases):
        ended = Turn(running.id, ended_at=act_there.now)
        price_phases.turn(conn, act.account_id, [ended])


def schedule_of(conn: Connection, act: Act, subscription: Subscription) -> Schedule | None:
    """The schedule that the subscription follows."""
    if subscription.schedule_id is None:
        return None
    found = subscription_schedules.load(conn, act.account_id, [subscription.schedule_id])
    schedule = found[subscription.schedule_id]
    return schedule if schedule.status in RUNNING else None


def carries_out_price_phases(schedule: Schedule) -> bool:
    """Whether the schedule is there for price phases, and not for itself."""
    return any(each.price_phase_id for each in schedule.phases)
