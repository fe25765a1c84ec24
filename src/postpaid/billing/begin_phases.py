"""Phases of subscription schedules whose time has come → what they change, and how schedules end.

Where a phase begins with a period of every item nothing is prorated: the items are switched before
the period closes, so that its renewal bills usage at the old prices and licences at the new ones,
on one invoice. In the middle of a period it is a change like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from postpaid.billing import change as changing
from postpaid.billing import collect
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import subscribe
from postpaid.billing.write_schedules import write
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.cycles import rescheduled
from postpaid.core.errors import BillingError
from postpaid.core.schedules import (
    EndBehavior,
    Phase,
    Schedule,
    ScheduleAction,
    ScheduleStatus,
    change_of,
    is_boundary,
    is_switch,
    moved,
    over,
    started,
    switched,
)
from postpaid.core.subscriptions import ENDED, BillingMode, Catalog, CollectionMethod, Subscription
from postpaid.core.values import replace
from postpaid.storage import catalog, payments, subscription_schedules, subscriptions
from postpaid.storage.database import Connection, Database

BATCH = 200  # schedules in one transaction
LATER = timedelta(hours=1)  # until one is looked at again that has to wait


@dataclass(slots=True)
class _Turns:
    """What the schedules that are due come to."""

    switches: list[tuple[Subscription, Subscription]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    schedules: list[tuple[Schedule, Schedule]] = field(default_factory=list)
    later: list[Schedule] = field(default_factory=list)


def begin_due_phases(database: Database, act: Act, wall: datetime) -> int:
    """Schedules whose first phase begins or whose running one ends."""
    attempt_ids: list[str] = []
    done = 0
    with database.transaction() as conn:
        due = subscription_schedules.claim(
            conn, act.account_id, act.clock_id, now=act.now, limit=BATCH
        )
        for batch in _batches(due):
            done += _begin(conn, act, act.at(wall, None), batch, attempt_ids)
        attempts = payments.load(conn, act.account_id, attempt_ids) if attempt_ids else {}
    collect.settle(database, act, list(attempts.values()))
    return done


def _batches(due: Sequence[Schedule]) -> list[list[Schedule]]:
    """Those that run together, and each that starts by itself: it is a new subscription."""
    running = [each for each in due if each.status == ScheduleStatus.ACTIVE]
    starting = [[each] for each in due if each.status == ScheduleStatus.NOT_STARTED]
    return [running, *starting] if running else starting


def _begin(
    conn: Connection, act: Act, wall: Act, due: Sequence[Schedule], attempt_ids: list[str]
) -> int:
    """All of them, or where that fails each by itself; one that cannot go on is parked."""
    try:
        with conn.transaction():
            if due[0].status == ScheduleStatus.NOT_STARTED:
                _, begun = start(conn, act, due[0], wall=wall)
                attempt_ids += begun
                return 1
            done, begun = begin_phases(conn, act, due, wall=wall)
            attempt_ids += begun
            return done
    except BillingError as error:
        if len(due) == 1:
            subscription_schedules.park(conn, act.account_id, due[0].id, error.message)
            return 1
    return sum(_begin(conn, act, wall, [each], attempt_ids) for each in due)


def start(
    conn: Connection, act: Act, schedule: Schedule, *, wall: Act
) -> tuple[Schedule, list[str]]:
    """Begin the first phase: a new subscription; and the attempts at its first payment.

    ``wall`` is the same act by the wall clock. Raises what ``subscribe`` raises.
    """
    begun = subscribe(conn, wall, first_subscription(schedule, act.now))
    after = started(schedule, begun.subscription_id, act.now)
    write(conn, act, [(schedule, after)])
    return after, begun.attempt_ids


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
    write_changed(conn, act, turns.switches, sold)
    changed = changing.change(conn, wall, turns.changes)
    write(conn, act, turns.schedules)
    subscription_schedules.update_many(conn, act.account_id, turns.later)
    return len(turns.schedules) + len(turns.later), [
        each for one in changed for each in one.attempt_ids
    ]


def read_catalog(
    conn: Connection, act: Act, due: Sequence[Schedule], running: Sequence[Subscription]
) -> Catalog:
    """What the phases and the subscriptions sell."""
    ids = {item.price_id for each in due for phase in each.phases for item in phase.items}
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
    if subscription.closes_at is None:  # it is not paid yet, or paused
        turns.later.append(replace(schedule, due_at=act.now + LATER))
        return
    if subscription.closes_at < due_at:
        return
    if following == len(schedule.phases):
        if schedule.end_behavior == EndBehavior.CANCEL:
            turns.schedules.append((schedule, over(schedule, ScheduleAction.COMPLETE, now=act.now)))
            return
        turns.schedules.append((schedule, over(schedule, ScheduleAction.RELEASE, now=act.now)))
        turns.switches.append((subscription, replace(subscription, schedule_id=None)))
        return
    phase = schedule.phases[following]
    ends = {"cancel_at": _cancel_at(schedule, following)}
    if is_boundary(subscription, due_at) and phase.trial_end_at is None:
        after = switched(subscription, phase, sold, due_at)
        items = tuple(
            item if item.id else replace(item, id=act.new_id("si"), created_at=act.now)
            for item in after.items
        )
        after = rescheduled(replace(after, items=items, **ends), due_at)
        turns.switches.append((subscription, after))
        if is_switch(subscription, phase, sold):
            turns.schedules.append((schedule, moved(schedule, following, act.now)))
        return
    if any(item.period_end <= due_at for item in subscription.items):
        return
    turns.schedules.append((schedule, moved(schedule, following, act.now)))
    asked = change_of(subscription, phase, sold)
    within = all(each.period_start <= due_at <= each.period_end for each in subscription.items)
    late = due_at if within and due_at < act.now else None
    turns.changes.append(
        replace(
            asked,
            fields={**asked.fields, **ends},
            prorated_at=None if asked.proration == ProrationBehavior.NONE else late,
        )
    )


def _cancel_at(schedule: Schedule, index: int) -> datetime | None:
    """When the subscription ends, once its last phase runs."""
    if schedule.end_behavior == EndBehavior.CANCEL and index == len(schedule.phases) - 1:
        return schedule.phases[index].end_at
    return None
