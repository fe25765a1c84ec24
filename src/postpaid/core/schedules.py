"""Subscription schedules: what a subscription will be, phase after phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from postpaid.core.anchors import shortest
from postpaid.core.changes import Change, Extra, ItemChange, ProrationBehavior
from postpaid.core.errors import ActionNotAllowed, InvalidRequest
from postpaid.core.periods import Recurrence, boundary
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    Subscription,
)
from postpaid.core.values import replace

FAR = datetime(5000, 1, 1, tzinfo=UTC)  # no phase ends later, so that no date after it overflows
PHASES_MAX = 50
EXPIRING = timedelta(days=7)  # Stripe: so long before the end it is said that it is near


class ScheduleStatus(StrEnum):
    """Where a schedule is in its life, in Stripe's words."""

    NOT_STARTED = "not_started"
    ACTIVE = "active"
    COMPLETED = "completed"  # it has ended, and its subscription with it
    RELEASED = "released"  # its subscription goes on without it
    CANCELED = "canceled"


class ScheduleAction(StrEnum):
    """What can happen to a schedule's status."""

    START = "start"
    COMPLETE = "be completed"
    RELEASE = "be released"
    CANCEL = "be canceled"


_S, _A = ScheduleStatus, ScheduleAction

TRANSITIONS = {
    (_S.NOT_STARTED, _A.START): _S.ACTIVE,
    (_S.NOT_STARTED, _A.RELEASE): _S.RELEASED,
    (_S.NOT_STARTED, _A.CANCEL): _S.CANCELED,
    (_S.ACTIVE, _A.COMPLETE): _S.COMPLETED,
    (_S.ACTIVE, _A.RELEASE): _S.RELEASED,
    (_S.ACTIVE, _A.CANCEL): _S.CANCELED,
}

RUNNING = frozenset({_S.NOT_STARTED, _S.ACTIVE})


def next_status(status: ScheduleStatus, action: ScheduleAction) -> ScheduleStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(
            f"A subscription schedule that is {status} cannot {action}."
        ) from None


class EndBehavior(StrEnum):
    """What becomes of the subscription when the last phase has ended (Stripe)."""

    RELEASE = "release"  # it goes on as it is
    CANCEL = "cancel"  # it ends


@dataclass(frozen=True, slots=True)
class PhaseItem:
    """One price of a phase; ``quantity`` None means 1 of a licensed price."""

    price_id: str
    quantity: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    threshold_usage: Decimal | None = None
    tax_rate_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class PhaseExtra:
    """A one-time price that is billed when its phase begins."""

    price_id: str
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """What the subscription is from ``start_at`` until ``end_at``.

    What is None is as it was before. ``resets_anchor`` begins its periods anew with the phase.
    ``price_phase_id`` is the price phase that it carries out, if any. One that
    ``changes_plan_only`` sells all else as the subscription does when it begins.
    """

    start_at: datetime
    end_at: datetime
    items: tuple[PhaseItem, ...]
    extras: tuple[PhaseExtra, ...] = ()
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    resets_anchor: bool = False
    trial_end_at: datetime | None = None
    collection_method: CollectionMethod | None = None
    days_until_due: int | None = None
    default_payment_method_id: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    threshold_amount: int | None = None
    threshold_resets_anchor: bool = False
    currency: str | None = None
    price_phase_id: str | None = None
    changes_plan_only: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases that a subscription goes through, each beginning when the one before it ends.

    ``due_at`` is when the next thing happens by itself: the first phase begins, the running one,
    ``phase_index``, ends, or of the last one the end is near. ``subscription_id`` is None until it
    starts and after it was released.
    """

    id: str
    customer_id: str
    clock_id: str | None
    subscription_id: str | None
    released_subscription_id: str | None
    status: ScheduleStatus
    end_behavior: EndBehavior
    billing_mode: BillingMode
    default_settings: Mapping[str, Any]
    phases: tuple[Phase, ...]
    phase_index: int | None
    due_at: datetime | None
    metadata: Mapping[str, str]
    created_at: datetime
    canceled_at: datetime | None = None
    completed_at: datetime | None = None
    released_at: datetime | None = None

    @property
    def current_phase(self) -> Phase | None:
        return None if self.phase_index is None else self.phases[self.phase_index]

    @property
    def is_expiring(self) -> bool:
        """Whether all that is left to happen is the end of the last phase."""
        last = self.phase_index == len(self.phases) - 1
        return last and self.due_at is not None and self.due_at >= self.phases[-1].end_at


# ─── What happens ────────────────────────────────────────────────────────────────────────────


def due_in(phases: Sequence[Phase], index: int, now: datetime) -> datetime:
    """When the next thing happens by itself in the phase: its end, or its end's being near."""
    end_at = phases[index].end_at
    is_far = index == len(phases) - 1 and now < end_at - EXPIRING
    return end_at - EXPIRING if is_far else end_at


def started(schedule: Schedule, subscription_id: str, now: datetime) -> Schedule:
    """The schedule in its first phase."""
    return replace(
        schedule,
        status=next_status(schedule.status, ScheduleAction.START),
        subscription_id=subscription_id,
        phase_index=0,
        due_at=due_in(schedule.phases, 0, now),
    )


def moved(schedule: Schedule, index: int, now: datetime) -> Schedule:
    """The schedule in another of its phases."""
    return replace(schedule, phase_index=index, due_at=due_in(schedule.phases, index, now))


def over(schedule: Schedule, action: ScheduleAction, *, now: datetime) -> Schedule:
    """The schedule after it was completed, released or canceled."""
    status = next_status(schedule.status, action)
    after = replace(schedule, status=status, phase_index=None, due_at=None)
    if status == ScheduleStatus.RELEASED:
        return replace(
            after,
            released_at=now,
            released_subscription_id=schedule.subscription_id,
            subscription_id=None,
        )
    if status == ScheduleStatus.COMPLETED:
        return replace(after, completed_at=now)
    return replace(after, canceled_at=now)


def with_price_phases(phases: Sequence[Phase], before: Sequence[Phase]) -> tuple[Phase, ...]:
    """``phases``, of which those that begin and sell as one did ``before`` carry out the same."""
    known = {each.start_at: each for each in before}

    def carried_out(phase: Phase) -> Phase:
        former = known.get(phase.start_at)
        if former is None or former.items != phase.items:
            return replace(phase, price_phase_id=None)
        only = phase.changes_plan_only or former.changes_plan_only
        return replace(phase, price_phase_id=former.price_phase_id, changes_plan_only=only)

    return tuple(carried_out(each) for each in phases)


def phase_at(phases: Sequence[Phase], now: datetime) -> int | None:
    """Which phase runs at ``now``; None before the first and after the last."""
    for index, phase in enumerate(phases):
        if phase.start_at <= now < phase.end_at:
            return index
    return None


def check_phases(phases: Sequence[Phase]) -> None:
    """Raises ``InvalidRequest`` for phases that do not follow one another."""
    if not phases:
        raise InvalidRequest(
            "Missing required param: phases.", param="phases", code="parameter_missing"
        )
    for i, phase in enumerate(phases):
        if phase.end_at <= phase.start_at:
            raise InvalidRequest(
                "The end_date of a phase must be after its start_date.",
                param=("phases", i, "end_date"),
            )
        if i and phase.start_at != phases[i - 1].end_at:
            raise InvalidRequest(
                "The start_date of a phase must be the end_date of the one before it.",
                param=("phases", i, "start_date"),
            )
        if phase.trial_end_at and not phase.start_at < phase.trial_end_at <= phase.end_at:
            raise InvalidRequest(
                "The trial_end of a phase must be within it.", param=("phases", i, "trial_end")
            )


# ─── What a phase changes ────────────────────────────────────────────────────────────────────


def phase_item(item: Item) -> PhaseItem:
    """The item as a phase has it."""
    return PhaseItem(
        item.price_id, item.quantity, item.metadata, item.threshold_usage, item.tax_rate_ids
    )


def change_of(subscription: Subscription, phase: Phase, catalog: Catalog) -> Change:
    """What is asked of the running subscription when the phase begins."""
    return Change(
        subscription.id,
        items=item_changes(subscription, phase, catalog),
        extras=extras_of(phase),
        fields=fields_of(phase),
        proration=phase.proration,
        resets_anchor=phase.resets_anchor,
        trial_end_at=phase.trial_end_at,
        by_schedule=True,
    )


def extras_of(phase: Phase) -> list[Extra]:
    """What is billed once when the phase begins."""
    return [Extra(each.price_id, each.quantity) for each in phase.extras]


def item_changes(subscription: Subscription, phase: Phase, catalog: Catalog) -> list[ItemChange]:
    """The phase's items matched with the subscription's, by price and then by what is measured.

    What has no counterpart is added or deleted.
    """
    left = list(subscription.items)
    paired: list[tuple[PhaseItem, Item | None]] = []
    for asked in phase.items:
        same = next((item for item in left if item.price_id == asked.price_id), None)
        if same:
            left.remove(same)
        paired.append((asked, same))
    changes = []
    for asked, same in paired:
        item = same or next(
            (
                item
                for item in left
                if catalog[item.price_id].price.meter_id == catalog[asked.price_id].price.meter_id
            ),
            None,
        )
        if item in left and item is not None:
            left.remove(item)
        changes.append(
            ItemChange(
                id=item.id if item else None,
                price_id=None if same else asked.price_id,
                quantity=None
                if catalog[asked.price_id].price.metered
                else (1 if asked.quantity is None else asked.quantity),
                fields={
                    "metadata": asked.metadata,
                    "threshold_usage": asked.threshold_usage,
                    "tax_rate_ids": asked.tax_rate_ids,
                },
            )
        )
    return [*changes, *(ItemChange(id=item.id, deleted=True) for item in left)]


def fields_of(phase: Phase) -> dict[str, Any]:
    """What else the phase says of the subscription, by the names of its fields."""
    fields: dict[str, Any] = {
        "threshold_amount": phase.threshold_amount,
        "threshold_resets_anchor": phase.threshold_resets_anchor,
    }
    if phase.collection_method is not None:
        fields |= {
            "collection_method": phase.collection_method,
            "days_until_due": phase.days_until_due,
        }
    for name in ("default_payment_method_id", "description", "metadata"):
        if (value := getattr(phase, name)) is not None:
            fields[name] = value
    return fields


def is_boundary(subscription: Subscription, at: datetime) -> bool:
    """Whether a period of every item ends at ``at``, and none is closed yet."""
    ends = {item.period_end for item in subscription.items}
    return subscription.closes_at == at and ends == {at}


def is_switch(subscription: Subscription, phase: Phase, catalog: Catalog) -> bool:
    """Whether ``switched`` makes all that the phase changes.

    A meter that comes or goes is a change after the close.
    """
    known = {item.id: item for item in subscription.items}
    return not any(
        _comes_or_goes(change, known)
        and catalog[change.price_id or known[change.id or ""].price_id].price.metered
        for change in item_changes(subscription, phase, catalog)
    )


def switched(
    subscription: Subscription, phase: Phase, catalog: Catalog, at: datetime
) -> Subscription:
    """The subscription as the phase has it, where the phase begins with a period of every item.

    Then nothing is prorated: its close at ``at`` bills usage at the old prices and licences at the
    new ones, unless a trial begins with it. A new licence is there without an id. Periods of
    another length are counted from then. Where all that it sells makes way for what is measured,
    that comes after the close, until which the licences that go stay as none.
    """
    known = {item.id: item for item in subscription.items}
    after: list[Item] = []
    resets = phase.resets_anchor
    for change in item_changes(subscription, phase, catalog):
        before = known.get(change.id or "")
        price = catalog[change.price_id or known[change.id or ""].price_id].price
        if _comes_or_goes(change, known):
            if price.metered and before is not None:
                after.append(before)
            elif not price.metered and not change.deleted:
                after.append(_new(subscription.items[0], price.id, change))
            continue
        assert before is not None
        resets = resets or price.recurrence != catalog[before.price_id].price.recurrence
        switches = price.metered and change.price_id is not None
        after.append(
            replace(
                before,
                price_id=price.id,
                quantity=change.quantity,
                usage_price_id=before.billing_price_id if switches else before.usage_price_id,
                **change.fields,
            )
        )
    if not after:
        after = [replace(item, quantity=0) for item in subscription.items]
    if resets:
        after = [replace(item, generation=item.generation + 1, period_index=-1) for item in after]
        subscription = replace(subscription, anchor_at=at, anchor_config=None)
    if phase.trial_end_at is not None:
        subscription = replace(subscription, trial_start_at=at, trial_end_at=phase.trial_end_at)
    return replace(subscription, items=tuple(after), **fields_of(phase))


def _comes_or_goes(change: ItemChange, known: Mapping[str, Item]) -> bool:
    return change.deleted or (change.id or "") not in known


def _new(beside: Item, price_id: str, change: ItemChange) -> Item:
    """A licence in the period of another, of which it pays nothing."""
    return replace(
        beside,
        id="",
        price_id=price_id,
        quantity=change.quantity,
        usage_from=None,
        usage_price_id=None,
        billed_quantity=None,
        billed_amount=0,
        charge_ids=None,
        discount_ids=None,
        **change.fields,
    )


# ─── What is asked for ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AskedPhase:
    """A phase whose dates are not all known yet.

    ``fields`` are a ``Phase``'s other fields by name. It begins when the one before it ends, unless
    ``start_at`` says when. It ends at ``end_at``, or after ``duration`` times ``times``; without a
    duration that is the shortest interval of its prices. ``trial`` is all of it.
    """

    fields: Mapping[str, Any]
    start_at: datetime | None = None
    end_at: datetime | None = None
    duration: Recurrence | None = None
    times: int = 1
    trial: bool = False


def resolved(asked: Sequence[AskedPhase], start: datetime, catalog: Catalog) -> tuple[Phase, ...]:
    """The phases with their dates, the first from ``start`` on unless it says otherwise.

    Raises ``InvalidRequest`` for phases that do not follow one another or end too far away.
    """
    phases: list[Phase] = []
    for i, each in enumerate(asked):
        begins = each.start_at or start
        items: Sequence[PhaseItem] = each.fields["items"]
        every = each.duration
        if every is None:
            recurrences = [catalog[item.price_id].price.recurrence for item in items]
            if None in recurrences:
                raise InvalidRequest(
                    "The price specified is set to `type=one_time` but this field only accepts "
                    "prices with `type=recurring`.",
                    param=("phases", i, "items"),
                )
            every = shortest(recurrence for recurrence in recurrences if recurrence is not None)
        try:
            ends = each.end_at or boundary(begins, every, each.times)
        except (ValueError, OverflowError):  # no date says when
            ends = FAR
        if ends >= FAR:
            raise InvalidRequest("A phase must end before the year 5000.", param=("phases", i))
        phase = Phase(start_at=begins, end_at=ends, **each.fields)
        phases.append(replace(phase, trial_end_at=ends) if each.trial else phase)
        start = ends
    check_phases(phases)
    return tuple(phases)
