"""Phases of subscription schedules whose time has come → what they change, and how schedules end.

Where a phase begins with a period of every item nothing is prorated: the items are switched before
the period closes, so that its renewal bills usage at the old prices and licences at the new ones,
on one invoice. In the middle of a period it is a change like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.billing import change as changing
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.change_items import item_of_extra
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.do_each import do_each, raise_failed
from postpaid.billing.log_changes import Terms
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.billing.subscribe import subscribe_all
from postpaid.billing.write_schedules import write
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.cycles import MOMENT, rescheduled
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.schedules import (
    EndBehavior,
    Phase,
    Schedule,
    ScheduleAction,
    ScheduleStatus,
    change_of,
    extras_of,
    is_boundary,
    is_switch,
    moved,
    over,
    started,
    switched,
)
from postpaid.core.subscriptions import (
    ENDED,
    TRANSITIONS,
    BillingMode,
    Catalog,
    CollectionMethod,
    Subscription,
    SubscriptionAction,
)
from postpaid.core.values import replace
from postpaid.storage import (
    catalog,
    invoice_items,
    payments,
    subscription_schedules,
    subscriptions,
)
from postpaid.storage.database import Connection, Database

BATCH = 200  # schedules in one transaction


@dataclass(slots=True)
class _Turns:
    """What the schedules that are due come to."""

    switches: list[tuple[Subscription, Subscription]] = field(default_factory=list)
    extras: list[InvoiceItem] = field(default_factory=list)  # which the renewals bill
    changes: list[Change] = field(default_factory=list)
    schedules: list[tuple[Schedule, Schedule]] = field(default_factory=list)


def begin_due_phases(database: Database, act: Act, wall: datetime) -> int:
    """Schedules whose first phase begins or whose running one ends."""
    attempt_ids: list[str] = []
    failed: list[tuple[Schedule, Exception]] = []
    parked: dict[str, str] = {}
    done = 0
    with database.transaction() as conn:
        due = subscription_schedules.claim(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        for batch in _batches(due):
            begun, left = do_each(
                conn,
                batch,
                lambda some: [_begin(conn, act, act.at(wall, None), some)],
                lambda one, why: parked.update({one.id: why}),
            )
            done += sum(moved_on for moved_on, _ in begun)
            attempt_ids += [each for _, ids in begun for each in ids]
            failed += left
        for schedule_id, reason in parked.items():
            subscription_schedules.park(conn, act.account_id, schedule_id, reason)
        attempts = payments.load(conn, act.account_id, attempt_ids) if attempt_ids else {}
    settle(database, act, list(attempts.values()))
    raise_failed(failed)
    return done + len(parked)


def _batches(due: Sequence[Schedule]) -> list[list[Schedule]]:
    """Those that run, and those that start: of a customer with several, one after the other."""
    batches = [[each for each in due if each.status == ScheduleStatus.ACTIVE]]
    place_of: Counter[str] = Counter()
    for each in due:
        if each.status == ScheduleStatus.NOT_STARTED:
            place_of[each.customer_id] += 1
            if len(batches) <= place_of[each.customer_id]:
                batches.append([])
            batches[place_of[each.customer_id]].append(each)
    return [each for each in batches if each]


def _begin(conn: Connection, act: Act, wall: Act, due: Sequence[Schedule]) -> tuple[int, list[str]]:
    """How many were moved on, and the attempts at what is owed for it."""
    if due[0].status == ScheduleStatus.NOT_STARTED:
        _, begun = start_all(conn, act, due, wall=wall)
        return len(due), begun
    return begin_phases(conn, act, due, wall=wall)


def start_all(
    conn: Connection, act: Act, due: Sequence[Schedule], *, wall: Act
) -> tuple[list[Schedule], list[str]]:
    """Begin the first phases: new subscriptions; and the attempts at their first payments.

    The schedules are of different customers, and as many statements as for one. ``wall`` is the
    same act by the wall clock. Raises what ``subscribe_all`` raises.
    """
    asked = [first_subscription(each, act.now) for each in due]
    begun = subscribe_all(conn, wall, asked, agreed=True)
    after = [
        started(schedule, each.subscription_id, act.now)
        for schedule, each in zip(due, begun, strict=True)
    ]
    write(conn, act, list(zip(due, after, strict=True)))
    return after, [attempt_id for each in begun for attempt_id in each.attempt_ids]


def first_subscription(schedule: Schedule, now: datetime) -> NewSubscription:
    """The subscription that the first phase begins with."""
    phase = schedule.phases[0]
    return NewSubscription(
        customer_id=schedule.customer_id,
        items=items_of(phase),
        billing_mode=BillingMode(schedule.billing_mode),
        collection_method=phase.collection_method or CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=phase.days_until_due,
        default_payment_method_id=phase.default_payment_method_id,
        currency=phase.currency,
        description=phase.description,
        metadata=phase.metadata or {},
        start_at=phase.start_at if phase.start_at < now else None,
        trial_end_at=phase.trial_end_at,
        proration=phase.proration,
        cancel_at=_cancel_at(schedule, 0),
        extras=extras_of(phase),
        limits={
            "schedule_id": schedule.id,
            "threshold_amount": phase.threshold_amount,
            "threshold_resets_anchor": phase.threshold_resets_anchor,
        },
    )


def items_of(phase: Phase) -> list[NewItem]:
    """The items that the phase would begin a subscription with."""
    return [
        NewItem(
            each.price_id,
            each.quantity,
            each.metadata,
            tax_rate_ids=each.tax_rate_ids or (),
            threshold_usage=each.threshold_usage,
        )
        for each in phase.items
    ]


def begin_phases(
    conn: Connection, act: Act, due: Sequence[Schedule], *, wall: Act
) -> tuple[int, list[str]]:
    """Move the running schedules on; how many were, and the attempts at what they owe for it.

    The number of statements does not depend on how many they are. One whose subscription has a
    period to close first is left for later. Raises what ``change`` raises.
    """
    # Read.
    running = subscriptions.load(
        conn, act.account_id, [each.subscription_id for each in due if each.subscription_id]
    )
    sold = read_catalog(conn, act, due, list(running.values()))

    # Decide.
    turns = _Turns()
    for each in due:
        _turn(act, each, running[each.subscription_id or ""], sold, turns)

    # Write.
    terms = {
        before.id: Terms(effective_at=before.closes_at, is_scheduled=True)
        for before, _ in turns.switches
    }
    write_changed(conn, act, turns.switches, sold, terms)
    invoice_items.insert_many(conn, act.account_id, turns.extras)
    announce(
        conn,
        act,
        [
            Announcement("invoiceitem.created", "invoiceitem", each.id, each)
            for each in turns.extras
        ],
    )
    changed = changing.change(conn, wall, turns.changes)
    write(conn, act, turns.schedules)
    return len(turns.schedules), [each for one in changed for each in one.attempt_ids]


def read_catalog(
    conn: Connection, act: Act, due: Sequence[Schedule], running: Sequence[Subscription]
) -> Catalog:
    """What the phases and the subscriptions sell."""
    phases = [phase for each in due for phase in each.phases]
    ids = {item.price_id for phase in phases for item in phase.items}
    ids |= {extra.price_id for phase in phases for extra in phase.extras}
    ids |= {item.price_id for each in running for item in each.items}
    ids |= {item.billing_price_id for each in running for item in each.items}
    return catalog.load_sold(conn, act.account_id, ids)


def _turn(
    act: Act, schedule: Schedule, subscription: Subscription, sold: Catalog, turns: _Turns
) -> None:
    """Decide what the end of the running phase brings."""
    assert schedule.phase_index is not None
    assert schedule.due_at is not None
    due_at, following = schedule.phases[schedule.phase_index].end_at, schedule.phase_index + 1
    if subscription.status in ENDED:
        action = (
            ScheduleAction.COMPLETE
            if subscription.ended_at == schedule.phases[-1].end_at
            else ScheduleAction.CANCEL
        )
        turns.schedules.append((schedule, over(schedule, action, now=act.now)))
        return
    if schedule.due_at < due_at:
        turns.schedules.append((schedule, replace(schedule, due_at=due_at)))  # its end is near
        return
    if subscription.closes_at is None or subscription.closes_at < due_at:
        return
    if following == len(schedule.phases):
        if schedule.end_behavior == EndBehavior.CANCEL:
            turns.schedules.append((schedule, over(schedule, ScheduleAction.COMPLETE, now=act.now)))
            return
        turns.schedules.append((schedule, over(schedule, ScheduleAction.RELEASE, now=act.now)))
        turns.switches.append((subscription, replace(subscription, schedule_id=None)))
        return
    phase = schedule.phases[following]
    if switch := switch_at(act, schedule, subscription, sold):
        turns.switches.append((subscription, switch.subscription))
        if switch.is_whole:
            turns.schedules.append((schedule, moved(schedule, following, act.now)))
            turns.extras += switch.extras
        return
    if any(item.period_end <= due_at for item in subscription.items):
        return
    # What waited for a pause to end begins with that, and so do phases that were over by then.
    begins = max(due_at, schedule.due_at)
    after = moved(schedule, following, act.now)
    if after.due_at is not None:
        after = replace(after, due_at=max(after.due_at, schedule.due_at))
    turns.schedules.append((schedule, after))
    cancel_at = _cancel_at(schedule, following)
    if cancel_at is not None and cancel_at <= act.now:
        cancel_at = act.now + MOMENT  # the end was in the pause, too
    asked = change_of(subscription, phase, sold)
    within = all(each.period_start <= begins <= each.period_end for each in subscription.items)
    late = begins if within and begins < act.now else None
    turns.changes.append(
        replace(
            asked,
            fields={**asked.fields, "cancel_at": cancel_at},
            prorated_at=None if asked.proration == ProrationBehavior.NONE else late,
        )
    )


@dataclass(frozen=True, slots=True)
class Switch:
    """A subscription switched to the phase that begins with its renewal, and what that bills once.

    Unless it ``is_whole`` there is more to change, after the renewal, and then it is billed.
    """

    subscription: Subscription
    extras: list[InvoiceItem]
    is_whole: bool


def switch_at(
    act: Act, schedule: Schedule, subscription: Subscription, sold: Catalog
) -> Switch | None:
    """The switch with which the next phase begins; None where it begins otherwise, or is none."""
    following = (schedule.phase_index or 0) + 1
    if schedule.current_phase is None or following == len(schedule.phases):
        return None
    due_at, phase = schedule.current_phase.end_at, schedule.phases[following]
    can_try = (subscription.status, SubscriptionAction.BEGIN_TRIAL) in TRANSITIONS
    if not is_boundary(subscription, due_at) or (phase.trial_end_at and not can_try):
        return None
    after = switched(subscription, phase, sold, due_at)
    items = tuple(
        item if item.id else replace(item, id=act.new_id("si"), created_at=act.now)
        for item in after.items
    )
    after = replace(after, items=items, cancel_at=_cancel_at(schedule, following))
    whole = is_switch(subscription, phase, sold)
    extras = [
        item_of_extra(act, after, extra, sold.get(extra.price_id), place=place)
        for place, extra in enumerate(extras_of(phase) if whole else ())
    ]
    return Switch(rescheduled(after, due_at), extras, whole)


def _cancel_at(schedule: Schedule, index: int) -> datetime | None:
    """When the subscription ends, once its last phase runs."""
    if schedule.end_behavior == EndBehavior.CANCEL and index == len(schedule.phases) - 1:
        return schedule.phases[index].end_at
    return None
