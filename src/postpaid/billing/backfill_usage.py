"""Usage of any age, sent aside, compared, and then counted, or taken out again.

While a backfill is open its events are stored and do not count. To close it makes all of them count
in one transaction; to revert it takes them out, before that or after, and frees their identifiers
for a better try. An event that was cancelled stays so, and keeps its identifier, through all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.billing.roll_up import OF_ONE_EVENT, Tally
from postpaid.billing.watch_usage import watch_windows
from postpaid.core.backfills import BackfillAction, BackfillStatus, next_status
from postpaid.core.errors import ActionNotAllowed, NotFound
from postpaid.core.metering import Aggregation, UsageTotal, aggregated
from postpaid.core.money import EXACT
from postpaid.core.values import replace
from postpaid.storage import (
    customers,
    meters,
    usage,
    usage_backfills,
    usage_corrections,
    usage_readings,
    usage_totals,
)
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows
from postpaid.storage.usage_backfills import BackfilledSeries, OpenWindow, UsageBackfill
from postpaid.storage.usage_readings import Backfilled
from postpaid.storage.usage_totals import Window

CHUNK = 10_000  # events in memory at once

ADDITIVE = frozenset({Aggregation.SUM, Aggregation.COUNT, Aggregation.AVERAGE})
"""What can be told from totals and from what the backfill's events add up to."""

DONE = {BackfillAction.CLOSE: "closed", BackfillAction.REVERT: "reverted"}


def open_backfill(
    conn: Connection, act: Act, *, event_name: str | None, description: str | None
) -> UsageBackfill:
    """Take events aside from now on, of one meter or of all.

    Raises ``NotFound`` when no meter has the event name.
    """
    if event_name is not None and not meters.load_by_event_names(
        conn, act.account_id, [event_name]
    ):
        raise NotFound(
            f"No meter found for event name '{event_name}'.", param="event_name", code="no_meter"
        )
    backfill = UsageBackfill(
        id=act.new_id("bkf"),
        status=BackfillStatus.OPEN,
        event_name=event_name,
        description=description,
        event_count=None,
        created_at=act.now,
        closed_at=None,
        reverted_at=None,
    )
    usage_backfills.insert(conn, act.account_id, backfill)
    return backfill


def check_open(conn: Connection, act: Act, backfill_id: str) -> UsageBackfill:
    """The backfill, which stays open until the transaction ends.

    Raises ``NotFound`` and ``ActionNotAllowed``.
    """
    backfill = usage_backfills.lock_shared(conn, act.account_id, backfill_id)
    if backfill is None:
        raise NotFound.of("backfill", backfill_id, param="backfill")
    if backfill.status != BackfillStatus.OPEN:
        raise ActionNotAllowed(
            f"The backfill '{backfill_id}' is {backfill.status} and takes no more events.",
            param="backfill",
        )
    return backfill


def close_backfill(conn: Connection, act: Act, backfill_id: str) -> UsageBackfill:
    """Let the backfill's events count, all at once, and send the alerts that this calls for.

    Final invoices stay as they are. A few statements, and two for every 10,000 events. Raises
    ``NotFound`` and ``ActionNotAllowed``.
    """
    # Read.
    before = _lock(conn, act, backfill_id, BackfillAction.CLOSE)
    usage.hold(conn, act.account_id)
    series = _lock_series(conn, act, backfill_id)
    aggregations = {each.series_id: each.aggregation for each in series}
    event_count = usage_backfills.count(conn, act.account_id, backfill_id)

    # Write.
    usage_backfills.count_in(conn, act.account_id, backfill_id)
    usage_backfills.remember_series(conn, act.account_id, backfill_id)
    tally = Tally()
    for chunk in usage_backfills.counted(conn, act.account_id, backfill_id, size=CHUNK):
        tally.add(conn, chunk, aggregations)
    if watched := tally.write(conn):
        owners = {each.series_id: (each.customer_id, each.meter_id) for each in series}
        watch_windows(conn, act, watched, owners, aggregations)
    after = replace(
        before, status=BackfillStatus.CLOSED, closed_at=act.now, event_count=event_count
    )
    return _write(conn, act, before, after)


def revert_backfill(conn: Connection, act: Act, backfill_id: str) -> UsageBackfill:
    """Take the backfill's events out for good: every total is as if they had never been sent.

    Their identifiers are free again, but for those that were cancelled. Alerts that were sent stay
    sent, and final invoices as they are. Raises ``NotFound``, and ``ActionNotAllowed`` also when
    events of a closed backfill were dropped with their segment.
    """
    # Read.
    before = _lock(conn, act, backfill_id, BackfillAction.REVERT)
    usage.hold(conn, act.account_id)
    series = _lock_series(conn, act, backfill_id)
    event_count = usage_backfills.count(conn, act.account_id, backfill_id)
    if before.event_count not in (None, event_count):
        raise ActionNotAllowed(
            f"The backfill '{backfill_id}' cannot be reverted: its raw events were dropped.",
            param="id",
        )

    # Write.
    if before.status == BackfillStatus.CLOSED:
        _take_out(conn, act, backfill_id, {each.series_id: each.aggregation for each in series})
    usage.hold_references(conn)
    usage_backfills.delete_events(conn, act.account_id, backfill_id)
    after = replace(
        before, status=BackfillStatus.REVERTED, reverted_at=act.now, event_count=event_count
    )
    return _write(conn, act, before, after)


def _take_out(
    conn: Connection, act: Act, backfill_id: str, aggregations: dict[int, Aggregation]
) -> None:
    """Subtract the events; where one event decides, look at those that are left."""
    tally = Tally()
    for chunk in usage_backfills.counted(conn, act.account_id, backfill_id, size=CHUNK):
        tally.take(conn, chunk)
    usage_backfills.uncount(conn, act.account_id, backfill_id)
    tally.write(conn)
    afresh = [hour for hour in tally.hours if aggregations[hour[0]] in OF_ONE_EVENT]
    for start in range(0, len(afresh), CHUNK):
        usage_corrections.recompute(conn, afresh[start : start + CHUNK])


def _lock(conn: Connection, act: Act, backfill_id: str, action: BackfillAction) -> UsageBackfill:
    backfill = usage_backfills.lock(conn, act.account_id, backfill_id)
    if backfill is None:
        raise NotFound.of("backfill", backfill_id)
    if next_status(backfill.status, action) is None:
        raise ActionNotAllowed(
            f"The backfill '{backfill_id}' is {backfill.status} and cannot be {DONE[action]}.",
            param="id",
        )
    return backfill


def _lock_series(conn: Connection, act: Act, backfill_id: str) -> list[BackfilledSeries]:
    """Whose usage it is; nobody cancels any of it until we have committed."""
    series = usage_backfills.load_series(conn, act.account_id, backfill_id)
    usage.lock_series(conn, [each.series_id for each in series])
    return series


def _write(
    conn: Connection, act: Act, before: UsageBackfill, after: UsageBackfill
) -> UsageBackfill:
    usage_backfills.update(conn, act.account_id, after)
    happened = f"usage.backfill.{after.status}"
    announced = Announcement(happened, "usage_backfill", after.id, after, changes(before, after))
    announce(conn, act, [announced])
    return after


# ─── The effect ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class WindowEffect:
    """What a window comes to without the backfill and with it, in the meter's aggregation.

    ``count`` is how many of its events are in the window. Negative totals are shown as they are.
    """

    start: datetime
    end: datetime
    before: Decimal
    after: Decimal
    count: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a backfill does to one customer's usage of one meter: in all, and by billed window."""

    series_id: int
    customer_id: str
    meter_id: str
    event_name: str
    total: WindowEffect
    windows: tuple[WindowEffect, ...]


def effect_of(
    conn: Connection,
    act: Act,
    backfill_id: str,
    *,
    limit: int,
    after: int | None = None,
    before: int | None = None,
) -> Rows[Effect]:
    """What closing the backfill would change, or has changed; of a reverted one there is nothing.

    A page of customers and meters, in the order of their series, ``after`` or ``before`` one; a
    number of statements that does not depend on how many. Nothing is changed by asking. Raises
    ``NotFound``.
    """
    # Read.
    backfill = usage_backfills.find(conn, act.account_id, backfill_id)
    if backfill is None:
        raise NotFound.of("backfill", backfill_id)
    if backfill.status == BackfillStatus.REVERTED:
        return Rows([], has_more=False)
    found = usage_backfills.load_series(
        conn, act.account_id, backfill_id, after=after, before=before, limit=limit + 1
    )
    series = found[-limit:] if before is not None else found[:limit]
    everything = [OpenWindow(each.series_id, *usage.ALL_TIME) for each in series]
    windows = everything + usage_backfills.windows_of(conn, series)
    effects = _effects(conn, act, backfill, series, windows)

    # Decide.
    of_series: dict[int, list[WindowEffect]] = {}
    for window, effect in zip(windows, effects, strict=True):
        of_series.setdefault(window.series_id, []).append(effect)
    rows = [
        Effect(
            each.series_id,
            each.customer_id,
            each.meter_id,
            each.event_name,
            of_series[each.series_id][0],
            tuple(of_series[each.series_id][1:]),
        )
        for each in series
    ]
    return Rows(rows, has_more=len(found) > limit)


def _effects(
    conn: Connection,
    act: Act,
    backfill: UsageBackfill,
    series: Sequence[BackfilledSeries],
    windows: Sequence[OpenWindow],
) -> list[WindowEffect]:
    """The effect on each window: from totals where they add up, and else from the events."""
    closed = backfill.status == BackfillStatus.CLOSED
    by_id = {each.series_id: each for each in series}
    sums = usage_backfills.sums(conn, act.account_id, backfill.id, windows, counted=closed)
    asked = [
        Window(
            by_id[each.series_id].customer_id,
            by_id[each.series_id].meter_id,
            each.start_at,
            each.end_at,
        )
        for each in windows
    ]
    aggregations = [by_id[each.series_id].aggregation for each in windows]
    quantities: dict[int, tuple[Decimal, Decimal]] = {}

    adding = [i for i, aggregation in enumerate(aggregations) if aggregation in ADDITIVE]
    totals = usage_totals.totals(conn, act.account_id, [asked[i] for i in adding])
    for i, now in zip(adding, totals, strict=True):
        ours, count = sums[i]
        other = (
            UsageTotal(EXACT.subtract(now.sum, ours), now.count - count, None, None)
            if closed
            else UsageTotal(EXACT.add(now.sum, ours), now.count + count, None, None)
        )
        pair = aggregated(aggregations[i], now), aggregated(aggregations[i], other)
        quantities[i] = (pair[1], pair[0]) if closed else pair

    for (aggregation, now_at), places in _by_aggregation_and_time(
        conn, act, asked, aggregations
    ).items():
        quantities |= _read(
            conn, act, backfill.id, aggregation, {i: asked[i] for i in places}, now_at, closed
        )
    return [
        WindowEffect(each.start_at, each.end_at, *quantities[i], sums[i][1])
        for i, each in enumerate(windows)
    ]


def _by_aggregation_and_time(
    conn: Connection, act: Act, asked: Sequence[Window], aggregations: Sequence[Aggregation]
) -> dict[tuple[Aggregation, datetime], list[int]]:
    """The places of what is read from events, by how, and up to which present."""
    places = [i for i, aggregation in enumerate(aggregations) if aggregation not in ADDITIVE]
    if not places:
        return {}
    customer_by_id = customers.load(conn, act.account_id, {asked[i].customer_id for i in places})
    found: dict[tuple[Aggregation, datetime], list[int]] = {}
    for i in places:
        now = customer_by_id[asked[i].customer_id].now(act.now)
        found.setdefault((aggregations[i], now), []).append(i)
    return found


def _read(
    conn: Connection,
    act: Act,
    backfill_id: str,
    aggregation: Aggregation,
    windows: dict[int, Window],
    now: datetime,
    closed: bool,
) -> dict[int, tuple[Decimal, Decimal]]:
    """Before and after, by place: one is as it is now, the other as if it were otherwise."""
    present, other = (
        {
            reading.place: reading.quantity
            for reading in usage_readings.read(
                conn,
                act.account_id,
                aggregation,
                list(windows.values()),
                as_of=now,
                backfilled=backfilled,
            ).rows
        }
        for backfilled in (None, Backfilled(backfill_id, counted=not closed))
    )
    zero = Decimal(0)
    pairs = {
        place: (present.get(at, zero), other.get(at, zero))
        for at, place in enumerate(windows, start=1)
    }
    return {place: (b, a) if closed else (a, b) for place, (a, b) in pairs.items()}
