"""Write what becomes of subscription schedules, and say so; one ends with its subscription."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.manage_setup_intents import cancel_set_ups
from postpaid.billing.perform import Act
from postpaid.core.schedules import RUNNING, Schedule, ScheduleAction, ScheduleStatus, over
from postpaid.core.subscriptions import Subscription, SubscriptionStatus
from postpaid.storage import price_phases, subscription_schedules
from postpaid.storage.database import Connection
from postpaid.storage.price_phases import Sells, Turn

_ENDS = {
    ScheduleStatus.COMPLETED: "completed",
    ScheduleStatus.RELEASED: "released",
    ScheduleStatus.CANCELED: "canceled",
}


def write(conn: Connection, act: Act, pairs: Sequence[tuple[Schedule, Schedule]]) -> None:
    """Write what the schedules are now, and say so. The customers are locked.

    A price phase starts and ends with the phase that carries it out; one that none does any more,
    and that has not begun, is no more.
    """
    subscription_schedules.update_many(conn, act.account_id, [after for _, after in pairs])
    turns = [turn for before, after in pairs for turn in _turns(before, after, act.now)]
    price_phases.turn(conn, act.account_id, turns)
    left = {each for before, after in pairs for each in _left(before, after)}
    price_phases.delete_unstarted(conn, act.account_id, left)
    announce(conn, act, [said for before, after in pairs for said in _said(before, after)])


def _turns(before: Schedule, after: Schedule, now: datetime) -> list[Turn]:
    was, runs = before.current_phase, after.current_phase
    if runs is None or (was is not None and was.price_phase_id == runs.price_phase_id):
        return []
    turns = []
    if runs.price_phase_id is not None:
        turns.append(Turn(runs.price_phase_id, started_at=runs.start_at))
    if was is not None and was.price_phase_id is not None:
        ended_at = runs.start_at if runs.start_at > was.start_at else now
        turns.append(Turn(was.price_phase_id, ended_at=ended_at))
    return turns


def _left(before: Schedule, after: Schedule) -> set[str]:
    """The price phases that nothing carries out any more. One that ended keeps what was agreed."""
    had = {each.price_phase_id for each in before.phases if each.price_phase_id}
    if not had or after.status in RUNNING:
        return had - {each.price_phase_id for each in after.phases}
    return had if after.status == ScheduleStatus.RELEASED else set()


def end_with(
    conn: Connection, act: Act, pairs: Sequence[tuple[Subscription, Subscription]]
) -> None:
    """End what would go on beside subscriptions that have ended, each pair before and after.

    Their schedules and running price phases end, and what was to be set up for them is given up. A
    schedule whose last phase ends then is completed. The customers are locked.
    """
    sells = [Sells(after.id, after.ended_at or act.now) for _, after in pairs]
    price_phases.end_unsold(conn, act.account_id, sells)
    waiting = [before.pending_setup_intent_id for before, _ in pairs]
    cancel_set_ups(conn, act, [each for each in waiting if each])
    ended = {before.schedule_id: after for before, after in pairs if before.schedule_id}
    if not ended:
        return
    found = subscription_schedules.load(conn, act.account_id, ended)
    running = [each for each in found.values() if each.status in RUNNING]
    moved = [(each, _ended(each, ended[each.id])) for each in running]
    subscription_schedules.update_many(conn, act.account_id, [after for _, after in moved])
    announce(
        conn,
        act,
        [_said_of_end(after, ended[after.id]) for _, after in moved],
    )


def _ended(schedule: Schedule, subscription: Subscription) -> Schedule:
    assert subscription.ended_at is not None, "it ends with its subscription"
    whole = subscription.ended_at == schedule.phases[-1].end_at
    action = ScheduleAction.COMPLETE if whole else ScheduleAction.CANCEL
    return over(schedule, action, now=subscription.ended_at)


def _said_of_end(schedule: Schedule, subscription: Subscription) -> Announcement:
    """Stripe: aborted is what was never paid for."""
    unpaid = subscription.status == SubscriptionStatus.INCOMPLETE_EXPIRED
    return _announcement("aborted" if unpaid else _ENDS[schedule.status], schedule)


def _said(before: Schedule, after: Schedule) -> list[Announcement]:
    if after.status in _ENDS and before.status != after.status:
        return [_announcement(_ENDS[after.status], after)]
    said = []
    changed = changes(before, after)
    if changed.keys() - {"due_at"}:
        said.append(_announcement("updated", after, changed))
    if after.is_expiring and not before.is_expiring:
        said.append(_announcement("expiring", after))
    return said


def _announcement(
    what: str, schedule: Schedule, before: dict[str, object] | None = None
) -> Announcement:
    return Announcement(
        f"subscription_schedule.{what}", "subscription_schedule", schedule.id, schedule, before
    )
