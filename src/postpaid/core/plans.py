"""The plan of a subscription: the licence it is known by to whoever sees one product of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from postpaid.core.catalog import Price
from postpaid.core.changes import ProrationBehavior
from postpaid.core.errors import InvalidRequest
from postpaid.core.periods import boundary
from postpaid.core.prorations import list_amount
from postpaid.core.schedules import Phase, Schedule, due_in, phase_item
from postpaid.core.subscriptions import Catalog, Item, Subscription, SubscriptionStatus
from postpaid.core.values import replace


def plan_of(subscription: Subscription, prices: Mapping[str, Price]) -> Item:
    """The first item that sells a licence, or the first of all where none does."""
    licences = (item for item in subscription.items if not prices[item.price_id].metered)
    return next(licences, subscription.items[0])


class ChangeTiming(StrEnum):
    """When another product takes the place of the plan's."""

    AT_ONCE = "at_once"
    PERIOD_END = "period_end"


def timing_of(subscription: Subscription, before: Price, after: Price) -> ChangeTiming:
    """When the change happens unless that is said: within a period only what has the same ones.

    Frame: a product of another interval is a scheduled change, which happens at the period's end.
    While it is paused no period runs.
    """
    same = before.recurrence == after.recurrence
    paused = subscription.status == SubscriptionStatus.PAUSED
    return ChangeTiming.AT_ONCE if same or paused else ChangeTiming.PERIOD_END


def check_plan(price: Price, param: str = "product") -> None:
    """Raises ``InvalidRequest`` unless the price is one that a subscription's plan can have."""
    if price.recurrence is None:
        raise InvalidRequest("This product is sold once; its price must recur.", param=param)


# ─── What was sold, and is ───────────────────────────────────────────────────────────────────


class ChangeKind(StrEnum):
    """What a change was, by what whole periods of all licences come to."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    PHASE = "phase"  # a schedule came to another price of the plan's product
    INTERVAL = "interval"  # the plan has other periods, and their amounts compare to nothing
    OTHER = "other"


class Settlement(StrEnum):
    """How what a change credits and charges within the running period is collected."""

    AT_ONCE = "at_once"  # by the invoice that was made with it
    NEXT_RENEWAL = "next_renewal"
    NONE = "none"  # there is nothing to collect


@dataclass(frozen=True, slots=True)
class SoldItem:
    """What an item sold: ``amount`` minor units a period at list price, None if metered."""

    id: str
    price_id: str
    product_id: str
    quantity: int | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class SoldState:
    """What a subscription sold at a time, and in which period of its plan."""

    status: SubscriptionStatus
    period_start: datetime
    period_end: datetime
    plan_id: str  # among the items
    items: tuple[SoldItem, ...]

    @property
    def plan(self) -> SoldItem:
        return next(item for item in self.items if item.id == self.plan_id)


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """One change of what a subscription sells, whoever made it.

    ``amount`` is of all that it credited and charged within the running period, in minor units;
    ``settles_at`` is when that is collected, if that is known, and ``invoice_id`` by what.
    """

    id: str
    subscription_id: str
    kind: ChangeKind
    proration: ProrationBehavior
    settlement: Settlement
    settles_at: datetime | None
    amount: int
    invoice_id: str | None
    state_before: SoldState
    state_after: SoldState
    effective_at: datetime
    created_at: datetime


def state_of(subscription: Subscription, catalog: Catalog) -> SoldState:
    """What the subscription sells."""
    items = tuple(
        SoldItem(
            id=item.id,
            price_id=item.price_id,
            product_id=sold.product.id,
            quantity=item.quantity,
            amount=None if sold.price.metered else list_amount(sold, item.quantity),
        )
        for item in subscription.items
        for sold in (catalog[item.price_id],)
    )
    plan = plan_of(subscription, {key: each.price for key, each in catalog.items()})
    return SoldState(
        status=subscription.status,
        period_start=plan.period_start,
        period_end=plan.period_end,
        plan_id=plan.id,
        items=items,
    )


def sells_otherwise(before: Subscription, after: Subscription) -> bool:
    """Whether another price or quantity is sold."""
    return _sold_by(before) != _sold_by(after)


def ends_otherwise(before: Subscription, after: Subscription) -> bool:
    """Whether a running period ends at another time."""
    was = {item.id: item.period_end for item in before.items}
    return was != {item.id: item.period_end for item in after.items}


def _sold_by(subscription: Subscription) -> list[tuple[str, str, int | None]]:
    return [(item.id, item.price_id, item.quantity) for item in subscription.items]


def kind_of(
    before: SoldState, after: SoldState, catalog: Catalog, *, scheduled: bool = False
) -> ChangeKind:
    """What the change from one state to the other is; ``scheduled``: a schedule made it."""
    if scheduled and before.plan.product_id == after.plan.product_id:
        return ChangeKind.PHASE
    was, becomes = catalog[before.plan.price_id].price, catalog[after.plan.price_id].price
    if was.recurrence != becomes.recurrence:
        return ChangeKind.INTERVAL
    gain = _amount(after) - _amount(before)
    if not gain:
        return ChangeKind.OTHER
    return ChangeKind.UPGRADE if gain > 0 else ChangeKind.DOWNGRADE


def _amount(state: SoldState) -> Decimal:
    return sum((item.amount for item in state.items if item.amount is not None), Decimal(0))


# ─── What will be sold ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """Another product that a schedule will put in the place of the plan's."""

    schedule_id: str
    phase_index: int  # that it begins with
    price_id: str
    product_id: str
    changes_interval: bool
    effective_at: datetime
    created_at: datetime


def scheduled_change(
    subscription: Subscription, schedule: Schedule, prices: Mapping[str, Price]
) -> ScheduledChange | None:
    """The first phase to come that sells another product, if any does."""
    if schedule.phase_index is None:
        return None
    now = prices[plan_of(subscription, prices).price_id]
    for index in range(schedule.phase_index + 1, len(schedule.phases)):
        phase = schedule.phases[index]
        becomes = prices[_plan_of_phase(phase, prices)]
        if becomes.product_id != now.product_id:
            return ScheduledChange(
                schedule_id=schedule.id,
                phase_index=index,
                price_id=becomes.id,
                product_id=becomes.product_id,
                changes_interval=becomes.recurrence != now.recurrence,
                effective_at=phase.start_at,
                created_at=schedule.created_at,
            )
    return None


def carrying(
    schedule: Schedule,
    before: Subscription,
    after: Subscription,
    prices: Mapping[str, Price],
    now: datetime,
) -> Schedule:
    """The schedule of a subscription that sells otherwise than before, or in another period.

    Its phases that change the plan only go on with the rest as it is now, and another product that
    waits for the end of the period waits for that of the new one. All is as it was where the plan
    is not among the items any more.
    """
    plan = plan_of(after, prices)
    if schedule.phase_index is None or plan.id != plan_of(before, prices).id:
        return schedule
    phases = list(schedule.phases)
    for index in range(schedule.phase_index, len(phases)):
        phase = phases[index]
        if not phase.changes_plan_only:
            continue
        runs = index == schedule.phase_index
        becomes = prices[plan.price_id if runs else _plan_of_phase(phase, prices)]
        items = tuple(
            replace(each, price_id=becomes.id, quantity=quantity_of(each.quantity, becomes))
            if item.id == plan.id
            else each
            for item in after.items
            for each in (phase_item(item),)
        )
        if len({each.price_id for each in items}) == len(items):
            phases[index] = replace(phase, items=items)
    after_all = replace(schedule, phases=tuple(phases))
    ended_at = plan_of(before, prices).period_end
    if ended_at == plan.period_end or plan.period_end <= now:
        return after_all
    return _waiting_for(after_all, ended_at, plan.period_end, after, prices, now)


def _waiting_for(
    schedule: Schedule,
    was: datetime,
    ends_at: datetime,
    subscription: Subscription,
    prices: Mapping[str, Price],
    now: datetime,
) -> Schedule:
    """The schedule with the product that waits for the period's end, which ``was``, at another.

    Frame: when a scheduled change is made tracks the end of the period.
    """
    change = scheduled_change(subscription, schedule, prices)
    last = len(schedule.phases) - 1
    if schedule.phase_index is None or change is None or change.phase_index != last:
        return schedule
    *past, running, waits = schedule.phases
    tracks = waits.changes_plan_only and waits.start_at == was
    recurrence = prices[change.price_id].recurrence
    if not tracks or recurrence is None or change.phase_index != schedule.phase_index + 1:
        return schedule
    running = replace(running, end_at=ends_at)
    waits = replace(waits, start_at=ends_at, end_at=boundary(ends_at, recurrence, 1))
    phases = (*past, running, waits)
    due_at = due_in(phases, schedule.phase_index, now)
    return replace(schedule, phases=phases, due_at=due_at)


def quantity_of(before: int | None, becomes: Price) -> int | None:
    """How many of a price take the place of ``before``: as many, or none said of what is metered.

    A licence that takes the place of what is metered is one.
    """
    if becomes.metered:
        return None
    return 1 if before is None else before


def _plan_of_phase(phase: Phase, prices: Mapping[str, Price]) -> str:
    licences = (each.price_id for each in phase.items if not prices[each.price_id].metered)
    return next(licences, phase.items[0].price_id)
