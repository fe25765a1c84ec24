"""What renewals will bill, with the phases that begin at them: the same decisions, unwritten."""

from __future__ import annotations

from collections.abc import Sequence

from postpaid.billing import close_periods
from postpaid.billing.begin_phases import Switch, first_subscription, read_catalog, switch_at
from postpaid.billing.gather_items import gather_items
from postpaid.billing.imagine import NOTHING, Imagined
from postpaid.billing.perform import Act
from postpaid.billing.subscribe import preview_new
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import Invoice
from postpaid.core.schedules import Schedule, ScheduleStatus
from postpaid.core.subscriptions import ENDED, Subscription, SubscriptionStatus
from postpaid.storage import subscription_schedules, subscriptions
from postpaid.storage.database import Connection


def preview_renewal(
    conn: Connection,
    act: Act,
    running: Sequence[Subscription],
    *,
    imagined: Imagined = NOTHING,
) -> Invoice | None:
    """The first invoice that the subscriptions' next boundaries will bring.

    Where a schedule's phase begins with the renewal, it is that phase's. None when none is to come.
    """
    planned, pending = _planned(conn, act, running)
    return close_periods.preview(conn, act, planned, imagined=imagined, pending=pending)


def preview_renewals(
    conn: Connection, act: Act, running: Sequence[Subscription]
) -> dict[str, Invoice]:
    """``preview_renewal`` for each of the subscriptions, by id; ``act`` is at their time.

    Left out is what bills nothing, or could not be billed. A constant number of statements.
    """
    planned, pending = _planned(conn, act, running)
    return close_periods.preview_each(conn, act, planned, pending=pending)


def _planned(
    conn: Connection, act: Act, running: Sequence[Subscription]
) -> tuple[Sequence[Subscription], dict[str, list[InvoiceItem]] | None]:
    """The subscriptions as their schedules will have them, and what waits for their invoices.

    None where that is what waits at present.
    """
    # Read.
    ids = {each.schedule_id for each in running if each.schedule_id}
    if not ids:
        return running, None
    schedules = subscription_schedules.load(conn, act.account_id, ids)
    sold = read_catalog(conn, act, list(schedules.values()), running)

    # Decide.
    switches: dict[str, Switch] = {}
    for each in running:
        schedule = schedules.get(each.schedule_id or "")
        if schedule is None or each.status in (*ENDED, SubscriptionStatus.PAUSED):
            continue
        then = close_periods.until_it_bills(each, sold)  # not at a reminder before that
        if switch := switch_at(act, schedule, then, sold):
            switches[each.id] = switch
    planned = [switches[each.id].subscription if each.id in switches else each for each in running]
    waiting = gather_items(conn, act, sorted(planned, key=lambda each: each.closes_at or act.now))
    pending = {
        each.id: [
            *waiting.get(each.id, ()),
            *(switches[each.id].extras if each.id in switches else ()),
        ]
        for each in planned
    }
    return planned, pending


def preview_schedule(
    conn: Connection, act: Act, schedule_id: str, *, imagined: Imagined = NOTHING
) -> Invoice:
    """The next invoice that the schedule will bring: its subscription's first one, or renewal.

    Raises ``NotFound``, and ``InvalidRequest`` for a schedule that is over.
    """
    found = subscription_schedules.load(conn, act.account_id, [schedule_id]).get(schedule_id)
    if found is None:
        raise NotFound.of("subscription_schedule", schedule_id, param="schedule")
    invoice = _of_schedule(conn, act, found, imagined)
    if invoice is None:
        raise InvalidRequest(
            f"No upcoming invoices for subscription schedule: {schedule_id}",
            param="schedule",
            code="invoice_upcoming_none",
        )
    return invoice


def _of_schedule(
    conn: Connection, act: Act, schedule: Schedule, imagined: Imagined
) -> Invoice | None:
    if schedule.status == ScheduleStatus.NOT_STARTED:
        starts_at = schedule.phases[0].start_at
        asked = first_subscription(schedule, starts_at)
        return preview_new(conn, act, asked, imagined=imagined, at=starts_at)
    if schedule.status != ScheduleStatus.ACTIVE or schedule.subscription_id is None:
        return None
    running = subscriptions.load(conn, act.account_id, [schedule.subscription_id])
    return preview_renewal(conn, act, list(running.values()), imagined=imagined)
