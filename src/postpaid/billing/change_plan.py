"""Give a subscription another product in the place of its plan's: at once, or at the period's end.

What waits for the end of the period is a phase of the subscription's schedule. A schedule that was
there before makes way for the change, and so do price phases to come: they are the old product's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from postpaid.billing import change as changing
from postpaid.billing.change import Changed
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.copy_phases import carries_out_price_phases, drop_phases, schedule_of
from postpaid.billing.manage_schedules import (
    create_from_subscription,
    release_schedule,
    update_schedule,
)
from postpaid.billing.offer import offered_price
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import lock
from postpaid.billing.write_schedules import write
from postpaid.core.catalog import Price
from postpaid.core.changes import Change, ItemChange, ProrationBehavior
from postpaid.core.errors import ActionNotAllowed, NotFound
from postpaid.core.plans import (
    ChangeTiming,
    ScheduledChange,
    check_plan,
    plan_of,
    quantity_of,
    scheduled_change,
    timing_of,
)
from postpaid.core.price_phases import current, plan_of_running
from postpaid.core.schedules import AskedPhase, EndBehavior, Phase, Schedule, due_in
from postpaid.core.subscriptions import RENEWING, Item, Subscription
from postpaid.core.values import replace
from postpaid.storage import catalog, price_phases, subscription_schedules
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class PlanChange:
    """Another product asked for; ``timing`` None is as ``timing_of`` says."""

    product_id: str
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    timing: ChangeTiming | None = None


def change_plan(conn: Connection, act: Act, subscription_id: str, asked: PlanChange) -> Changed:
    """Change the plan's product; ``change.finish`` collects an invoice of that after the commit.

    The product that it has is no change, whatever it costs by now. Phases of another product are
    for who begins with it, and not copied here.
    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault, and what ``change``
    raises.
    """
    # Read.
    before, customer = lock(conn, act, subscription_id)
    price = offered_price(conn, act, asked.product_id, currency=before.currency)
    prices = catalog.load_prices(
        conn, act.account_id, {price.id, *(item.price_id for item in before.items)}
    )

    # Decide.
    check_plan(price)
    plan = plan_of(before, prices)
    now = prices[plan.price_id]
    if now.product_id == price.product_id:
        return Changed(subscription_id)
    check_customer_not_blocked(customer)
    timing = asked.timing or timing_of(before, now, price)
    if timing == ChangeTiming.PERIOD_END and before.status not in RENEWING:
        raise ActionNotAllowed(
            f"A subscription that is {before.status} has no period at whose end it could change."
        )

    # Write.
    if timing == ChangeTiming.AT_ONCE:
        drop_phases(conn, act, subscription_id)
        _release(conn, act, subscription_id)
        items = [ItemChange(plan.id, price.id, quantity=quantity_of(plan.quantity, price))]
        change = Change(before.id, items=items, proration=asked.proration)
        return changing.change(conn, act, [change], on_session=True)[0]
    _schedule(conn, act, before, plan, price, asked.proration)
    return Changed(subscription_id)


def _release(conn: Connection, act: Act, subscription_id: str) -> None:
    subscription, _ = lock(conn, act, subscription_id)
    if subscription.schedule_id is not None:
        release_schedule(conn, act, subscription.schedule_id, keeps_end=True)


def _schedule(
    conn: Connection,
    act: Act,
    before: Subscription,
    plan: Item,
    price: Price,
    proration: ProrationBehavior,
) -> None:
    """Let a schedule put the price in the place of the plan's at the end of its period.

    A price phase that runs does so until then; those to come are given up.
    """
    schedule = schedule_of(conn, act, before)
    if schedule is None or not carries_out_price_phases(schedule):
        _release(conn, act, before.id)
        schedule = _new_schedule(conn, act, before.id)
    assert schedule.phase_index is not None, "it is a schedule of what runs"
    *past, running = schedule.phases[: schedule.phase_index + 1]
    items = tuple(
        replace(each, price_id=price.id, quantity=quantity_of(each.quantity, price))
        if each.price_id == plan.price_id
        else each
        for each in running.items
    )
    then = _fields(running) | {"items": items, "trial_end_at": None}
    then |= {"proration": proration, "changes_plan_only": True}
    asked = [
        *(AskedPhase(_fields(each), each.start_at, each.end_at) for each in past),
        AskedPhase(_fields(running), running.start_at, plan.period_end),
        AskedPhase(then, duration=price.recurrence),
    ]
    changed = {"end_behavior": EndBehavior.RELEASE}
    update_schedule(conn, act, schedule.id, changed, asked, proration=proration)


def _new_schedule(conn: Connection, act: Act, subscription_id: str) -> Schedule:
    """One of what the subscription is, which carries out the price phase that runs, if one does."""
    schedule = create_from_subscription(conn, act, subscription_id)
    found = price_phases.of_subscriptions(conn, act.account_id, [subscription_id])
    running = current(found[subscription_id])
    if running is None:
        return schedule
    [phase] = schedule.phases
    carrying = replace(schedule, phases=(replace(phase, price_phase_id=running.id),))
    write(conn, act, [(schedule, carrying)])
    return carrying


def drop_scheduled_change(conn: Connection, act: Act, subscription_id: str) -> None:
    """Let the subscription keep its product when the period ends, and not have the other one.

    A price phase that runs goes on as long as it was to, and then the base price does. Raises
    ``NotFound`` where no change waits.
    """
    # Read.
    before, customer = lock(conn, act, subscription_id)
    change = scheduled_changes(conn, act, [before]).get(subscription_id)
    schedule = schedule_of(conn, act, before)
    if change is None or schedule is None or schedule.phase_index is None:
        raise NotFound.of("scheduled change of subscription", subscription_id)
    found = price_phases.of_subscriptions(conn, act.account_id, [subscription_id])
    running = current(found[subscription_id])
    base_id = running and running.base_price_id
    base = catalog.load_prices(conn, act.account_id, [base_id or ""]).get(base_id or "")

    # Decide.
    act_there = act.at(customer.now(act.now), customer.clock_id)
    kept: Sequence[Phase] = schedule.phases[: change.phase_index]
    index = schedule.phase_index
    if running is not None and base is not None:
        kept, index = plan_of_running(before, running, base, act_there.now), 0

    # Write.
    if len(kept) - 1 == index:
        release_schedule(conn, act, schedule.id, keeps_end=True)
        return
    after = replace(
        schedule,
        phases=tuple(kept),
        phase_index=index,
        due_at=due_in(kept, index, act_there.now),
        end_behavior=EndBehavior.RELEASE,
    )
    write(conn, act_there, [(schedule, after)])


def scheduled_changes(
    conn: Connection, act: Act, shown: Sequence[Subscription]
) -> dict[str, ScheduledChange]:
    """The change of product that waits, of each subscription that has one, by its id.

    Two statements, and none where there is no schedule.
    """
    ids = [each.schedule_id for each in shown if each.schedule_id]
    if not ids:
        return {}
    schedules = subscription_schedules.load(conn, act.account_id, ids)
    phases = [phase for each in schedules.values() for phase in each.phases]
    price_ids = {item.price_id for phase in phases for item in phase.items}
    price_ids |= {item.price_id for each in shown for item in each.items}
    prices = catalog.load_prices(conn, act.account_id, price_ids)
    found = {
        each.id: scheduled_change(each, schedules[each.schedule_id], prices)
        for each in shown
        if each.schedule_id in schedules
    }
    return {key: change for key, change in found.items() if change is not None}


def _fields(phase: Phase) -> dict[str, Any]:
    """What the phase says beside its dates."""
    names = [each.name for each in fields(phase) if each.name not in ("start_at", "end_at")]
    return {name: getattr(phase, name) for name in names}
