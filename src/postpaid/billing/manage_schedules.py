"""Agree on subscription schedules: create, change, let go, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postpaid.billing import change as changing
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import write_changed
from postpaid.billing.begin_phases import (
    first_subscription,
    items_of,
    read_catalog,
    start_all,
)
from postpaid.billing.change import Changed
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.check_phases import check_phases
from postpaid.billing.check_sold import check_sold
from postpaid.billing.perform import Act
from postpaid.billing.write_schedules import write
from postpaid.core.changes import ProrationBehavior
from postpaid.core.cycles import rescheduled
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.schedules import (
    RUNNING,
    AskedPhase,
    EndBehavior,
    Phase,
    Schedule,
    ScheduleAction,
    ScheduleStatus,
    change_of,
    due_in,
    moved,
    over,
    phase_at,
    phase_item,
    resolved,
    with_price_phases,
)
from postpaid.core.subscriptions import (
    ENDED,
    BillingMode,
    Catalog,
    Subscription,
    SubscriptionStatus,
)
from postpaid.core.values import replace
from postpaid.storage import catalog, customers, subscription_schedules, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule asked for; ``start_at`` None means now."""

    customer_id: str
    phases: Sequence[AskedPhase]
    start_at: datetime | None = None
    end_behavior: EndBehavior = EndBehavior.RELEASE
    billing_mode: BillingMode = BillingMode.FLEXIBLE
    default_settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def create_schedule(conn: Connection, act: Act, asked: NewSchedule) -> tuple[Schedule, list[str]]:
    """Write a schedule, and its subscription if it starts now; with attempts at its first payment.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    # Read.
    locked = customers.lock(conn, act.account_id, [asked.customer_id])
    customer = locked.get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    check_customer_not_blocked(customer)
    wall, act = act, act.at(customer.now(act.now), customer.clock_id)
    sold = _read_sold(conn, act, asked.phases)
    check_phases(conn, act, customer.id, asked.phases)

    # Decide.
    phases = resolved(asked.phases, asked.start_at or act.now, sold)
    schedule = _new(act, customer, phases, asked)
    _check_sold(schedule, customer, sold, act.now)
    if phases[-1].end_at <= act.now:
        raise InvalidRequest("The phases have all ended already.", param="phases")

    # Write.
    subscription_schedules.insert(conn, act.account_id, schedule)
    announce(conn, act, [_created(schedule)])
    if phases[0].start_at > act.now:
        return schedule, []
    [after], attempt_ids = start_all(conn, act, [schedule], wall=wall)
    return after, attempt_ids


def create_from_subscription(conn: Connection, act: Act, subscription_id: str) -> Schedule:
    """A schedule of a subscription that runs, with one phase: what it is, in its running period.

    Raises ``NotFound``, and ``InvalidRequest`` for one that has a schedule or has ended.
    """
    subscription, customer, act = _lock_subscription(conn, act, subscription_id)
    if subscription.schedule_id is not None:
        raise InvalidRequest(
            f"You cannot migrate a subscription that is already attached to a schedule: "
            f"{subscription.schedule_id}.",
            param="from_subscription",
        )
    if subscription.status in ENDED:
        raise InvalidRequest(
            "You cannot make a schedule of a subscription that has ended.",
            param="from_subscription",
        )
    phase = Phase(
        start_at=max(item.period_start for item in subscription.items),
        end_at=min(item.period_end for item in subscription.items),
        items=tuple(phase_item(item) for item in subscription.items),
        trial_end_at=subscription.trial_end_at
        if subscription.status == SubscriptionStatus.TRIALING
        else None,
        threshold_amount=subscription.threshold_amount,
        threshold_resets_anchor=subscription.threshold_resets_anchor,
    )
    asked = NewSchedule(customer.id, (), billing_mode=subscription.billing_mode)
    schedule = replace(
        _new(act, customer, (phase,), asked),
        status=ScheduleStatus.ACTIVE,
        subscription_id=subscription.id,
        phase_index=0,
        due_at=due_in((phase,), 0, act.now),
    )
    subscription_schedules.insert(conn, act.account_id, schedule)
    write_changed(conn, act, [(subscription, replace(subscription, schedule_id=schedule.id))], {})
    announce(conn, act, [_created(schedule)])
    return schedule


def update_schedule(
    conn: Connection,
    act: Act,
    schedule_id: str,
    changed: Mapping[str, Any],
    phases: Sequence[AskedPhase] | None,
    *,
    proration: ProrationBehavior,
) -> tuple[Schedule, list[Changed]]:
    """Change a schedule that has not ended; ``changed`` has its own field names.

    New ``phases`` take the place of all, the running one among them: where that is not as it was,
    the subscription changes now. Raises what creating one raises, and ``ActionNotAllowed``.
    """
    wall = act
    before, customer, act = lock_schedule(conn, act, schedule_id)
    if before.status not in RUNNING and (phases is not None or set(changed) - {"metadata"}):
        raise ActionNotAllowed(
            f"You cannot update a subscription schedule that is {before.status}."
        )
    after = replace(before, **changed)
    made: list[Changed] = []
    if phases is None:
        _follow_end(conn, act, before, after)
    else:
        sold = _read_sold(conn, act, phases)
        check_phases(conn, act, customer.id, phases, before)
        first = before.phases[0].start_at
        replaced = with_price_phases(resolved(phases, first, sold), before.phases)
        after = replace(after, phases=replaced)
        _check_sold(after, customer, sold, act.now)
        if before.status == ScheduleStatus.ACTIVE:
            after, made = _replace_running(conn, act, before, after, proration, wall=wall)
        else:
            after = replace(after, due_at=after.phases[0].start_at)
    if after != before:
        write(conn, act, [(before, after)])
    return after, made


def release_schedule(
    conn: Connection, act: Act, schedule_id: str, *, keeps_end: bool = False
) -> Schedule:
    """Let the subscription go on as it is, without the schedule. Raises ``ActionNotAllowed``.

    It does not end with the schedule any more, unless it ``keeps_end``.
    """
    before, _, act = lock_schedule(conn, act, schedule_id)
    after = over(before, ScheduleAction.RELEASE, now=act.now)
    if before.subscription_id:
        subscription = subscriptions.load(conn, act.account_id, [before.subscription_id])[
            before.subscription_id
        ]
        free = replace(subscription, schedule_id=None)
        ends = before.end_behavior == EndBehavior.CANCEL and not keeps_end
        ends = ends and free.status not in ENDED
        if ends and free.cancel_at == before.phases[-1].end_at:
            free = rescheduled(replace(free, cancel_at=None), act.now)
        write_changed(conn, act, [(subscription, free)], {})
    write(conn, act, [(before, after)])
    return after


def cancel_schedule(
    conn: Connection, act: Act, schedule_id: str, *, invoice_now: bool, prorate: bool
) -> tuple[Schedule, Changed | None]:
    """End the schedule, and its subscription with it. Raises ``ActionNotAllowed``."""
    wall = act
    before, _, act = lock_schedule(conn, act, schedule_id)
    after = over(before, ScheduleAction.CANCEL, now=act.now)
    ended = None
    if before.subscription_id:
        found = subscriptions.load(conn, act.account_id, [before.subscription_id])
        if found[before.subscription_id].status not in ENDED:
            ended = changing.cancel_now(
                conn, wall, before.subscription_id, invoice_now=invoice_now, prorate=prorate
            )
            return after, ended  # the schedule has ended with it
    write(conn, act, [(before, after)])
    return after, ended


def lock_schedule(conn: Connection, act: Act, schedule_id: str) -> tuple[Schedule, Customer, Act]:
    """The schedule as it is once its customer is locked, the customer, and the act at its time.

    Raises ``NotFound``.
    """
    found = subscription_schedules.load(conn, act.account_id, [schedule_id]).get(schedule_id)
    if found is None:
        raise NotFound.of("subscription_schedule", schedule_id)
    customer = customers.lock(conn, act.account_id, [found.customer_id])[found.customer_id]
    current = subscription_schedules.load(conn, act.account_id, [schedule_id])[schedule_id]
    return current, customer, act.at(customer.now(act.now), customer.clock_id)


def _lock_subscription(
    conn: Connection, act: Act, subscription_id: str
) -> tuple[Subscription, Customer, Act]:
    found = subscriptions.load(conn, act.account_id, [subscription_id]).get(subscription_id)
    if found is None:
        raise NotFound.of("subscription", subscription_id, param="from_subscription")
    customer = customers.lock(conn, act.account_id, [found.customer_id])[found.customer_id]
    current = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    return current, customer, act.at(customer.now(act.now), customer.clock_id)


def _new(act: Act, customer: Customer, phases: tuple[Phase, ...], asked: NewSchedule) -> Schedule:
    return Schedule(
        id=act.new_id("sub_sched"),
        customer_id=customer.id,
        clock_id=customer.clock_id,
        subscription_id=None,
        released_subscription_id=None,
        status=ScheduleStatus.NOT_STARTED,
        end_behavior=asked.end_behavior,
        billing_mode=asked.billing_mode,
        default_settings=asked.default_settings,
        phases=phases,
        phase_index=None,
        due_at=phases[0].start_at,
        metadata=asked.metadata,
        created_at=act.now,
    )


def _created(schedule: Schedule) -> Announcement:
    return Announcement(
        "subscription_schedule.created", "subscription_schedule", schedule.id, schedule
    )


def _read_sold(conn: Connection, act: Act, phases: Sequence[AskedPhase]) -> Catalog:
    """What the phases sell. Raises ``NotFound`` for a price that is not there."""
    places = {
        item.price_id: ("phases", i, "items", j, "price")
        for i, phase in enumerate(phases)
        for j, item in enumerate(phase.fields["items"])
    }
    sold = catalog.load_sold(conn, act.account_id, places)
    for price_id, place in places.items():
        if price_id not in sold:
            raise NotFound.of("price", price_id, param=place)
    return sold


def _check_sold(schedule: Schedule, customer: Customer, sold: Catalog, now: datetime) -> None:
    """Raises unless every phase can be sold to the customer."""
    whole = first_subscription(schedule, now)
    for phase in schedule.phases:
        check_sold(replace(whole, items=items_of(phase), currency=whole.currency), customer, sold)


def _follow_end(conn: Connection, act: Act, before: Schedule, after: Schedule) -> None:
    """Let the subscription end with the running phase, or not any more, if that is the last."""
    if before.end_behavior == after.end_behavior or before.phase_index is None:
        return
    if before.phase_index != len(before.phases) - 1 or before.subscription_id is None:
        return
    subscription = subscriptions.load(conn, act.account_id, [before.subscription_id])[
        before.subscription_id
    ]
    ends = after.phases[-1].end_at if after.end_behavior == EndBehavior.CANCEL else None
    kept = rescheduled(replace(subscription, cancel_at=ends), act.now)
    write_changed(conn, act, [(subscription, kept)], {})


def _replace_running(
    conn: Connection,
    act: Act,
    before: Schedule,
    after: Schedule,
    proration: ProrationBehavior,
    *,
    wall: Act,
) -> tuple[Schedule, list[Changed]]:
    """The schedule in the phase that runs now, and what that changes of the subscription now."""
    index = phase_at(after.phases, act.now)
    if index is None:
        raise InvalidRequest(
            "One of the phases must be the current one: its start_date is the running phase's.",
            param="phases",
        )
    after = moved(after, index, act.now)
    was, now = before.current_phase, after.phases[index]
    assert was is not None
    assert before.subscription_id is not None
    [subscription] = subscriptions.load(conn, act.account_id, [before.subscription_id]).values()
    last = index == len(after.phases) - 1 and after.end_behavior == EndBehavior.CANCEL
    ends = {"cancel_at": now.end_at if last else None}
    same = replace(
        now,
        start_at=was.start_at,
        end_at=was.end_at,
        proration=was.proration,
        price_phase_id=was.price_phase_id,
        changes_plan_only=was.changes_plan_only,
    )
    if same == was:
        kept = rescheduled(replace(subscription, **ends), act.now)
        write_changed(conn, act, [(subscription, kept)], {})
        return after, []
    sold = read_catalog(conn, act, [after], [subscription])
    asked = change_of(subscription, replace(now, proration=proration), sold)
    asked = replace(asked, fields={**asked.fields, **ends}, extras=(), resets_anchor=False)
    return after, changing.change(conn, wall, [asked])
