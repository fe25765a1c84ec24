"""Events that begin to count, or cease to → the totals of their hours and of their windows.

Whoever calls has ``usage.hold`` and stores, in the same transaction, what makes the events count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from postpaid.core.metering import Aggregation
from postpaid.core.money import EXACT
from postpaid.storage import usage_corrections, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.usage_corrections import Bucket, Flipped
from postpaid.storage.usage_totals import HOUR_MS, Delta, Watched

OF_ONE_EVENT = frozenset({Aggregation.LAST, Aggregation.MAX})
"""What one event decides: to take it out is to look at all the others."""

BUCKET_MS = {"hour": HOUR_MS, "day": 24 * HOUR_MS}

Hours = dict[tuple[int, int], Delta]  # by series and hour since the epoch
ByWindow = dict[tuple[int, int, int], Delta]  # by series, start and end


def roll_up(
    conn: Connection,
    series_ids: Sequence[int],
    occurred_ms: Sequence[int],
    values: Sequence[Decimal],
    references: Sequence[str],
    aggregations: Mapping[int, Aggregation],
) -> list[Watched]:
    """Add events, as columns, to their totals; return the windows that alerts wait for.

    ``aggregations`` has every series.
    """
    if not series_ids:
        return []
    hours, by_window = _come(conn, series_ids, occurred_ms, values, references, aggregations)
    usage_totals.add_to_hours(conn, hours)
    return usage_totals.add_to_windows(conn, by_window)


@dataclass(slots=True)
class Tally:
    """What events add to their totals, or take from them, gathered by the chunk and written once.

    Whoever stores writes hours before windows. So does this, however many its chunks: two that
    write the same rows wait for one another in a line and not in a circle.
    """

    hours: Hours = field(default_factory=dict)
    by_window: ByWindow = field(default_factory=dict)

    def add(
        self, conn: Connection, come: Sequence[Flipped], aggregations: Mapping[int, Aggregation]
    ) -> None:
        """Events that begin to count, at least one."""
        columns = (
            [each.series_id for each in come],
            [each.occurred_ms for each in come],
            [each.value for each in come],
            [each.reference for each in come],
        )
        theirs = {series_id: aggregations[series_id] for series_id in set(columns[0])}
        self._merge(*_come(conn, *columns, theirs))

    def take(self, conn: Connection, gone: Sequence[Flipped]) -> None:
        """Events that cease to count, at least one."""
        self._merge(*_gone(conn, gone))

    def write(self, conn: Connection) -> list[Watched]:
        """Move the totals; return the windows that alerts wait for."""
        if not self.hours:
            return []
        usage_totals.add_to_hours(conn, self.hours)
        return usage_totals.add_to_windows(conn, self.by_window)

    def _merge(self, hours: Hours, by_window: ByWindow) -> None:
        with localcontext(EXACT):
            for hour, delta in hours.items():
                if (known := self.hours.setdefault(hour, delta)) is not delta:
                    known.add(delta)
            for window, delta in by_window.items():
                if (known := self.by_window.setdefault(window, delta)) is not delta:
                    known.add(delta)


def apply(
    conn: Connection, flipped: Iterable[Flipped], aggregations: Mapping[int, Aggregation]
) -> list[Watched]:
    """Move the totals by what began to count and what ceased to."""
    flipped = list(flipped)
    gone = [each for each in flipped if not each.counted]
    if gone:
        hours, by_window = _gone(conn, gone)
        usage_totals.add_to_hours(conn, hours)
        usage_totals.add_to_windows(conn, by_window)
    come = [each for each in flipped if each.counted]
    watched = roll_up(
        conn,
        [each.series_id for each in come],
        [each.occurred_ms for each in come],
        [each.value for each in come],
        [each.reference for each in come],
        {each.series_id: aggregations[each.series_id] for each in come},
    )
    afresh = {
        (each.series_id, each.occurred_ms // HOUR_MS)
        for each in gone
        if aggregations[each.series_id] in OF_ONE_EVENT
    }
    if afresh:
        usage_corrections.recompute(conn, afresh)
    return watched


def move(
    conn: Connection, gone: Flipped, come: Flipped, aggregations: Mapping[int, Aggregation]
) -> list[Watched]:
    """Move the totals by an event that says something else now: all hours first, then windows."""
    tally = Tally()
    tally.take(conn, [gone])
    tally.add(conn, [come], aggregations)
    watched = tally.write(conn)
    if aggregations[gone.series_id] in OF_ONE_EVENT:
        usage_corrections.recompute(conn, {(gone.series_id, gone.occurred_ms // HOUR_MS)})
    return watched


def bucket_of(series_id: int, occurred_ms: int, event_time_window: str) -> Bucket:
    """The UTC hour or day of which, with this event time window, only the last event counts."""
    length = BUCKET_MS[event_time_window]
    start = occurred_ms // length * length
    return Bucket(series_id, start, start + length)


# ─── What to add ─────────────────────────────────────────────────────────────────────────────


def _come(
    conn: Connection,
    series_ids: Sequence[int],
    occurred_ms: Sequence[int],
    values: Sequence[Decimal],
    references: Sequence[str],
    aggregations: Mapping[int, Aggregation],
) -> tuple[Hours, ByWindow]:
    """What hours and windows get of events that begin to count."""
    windows = usage_totals.overlapping(conn, aggregations, min(occurred_ms), max(occurred_ms))
    with localcontext(EXACT):
        if OF_ONE_EVENT.isdisjoint(aggregations.values()):
            hours = _sums(series_ids, occurred_ms, values)
        else:
            hours = _wholes(series_ids, occurred_ms, values, references, aggregations)
        return hours, _by_window(
            hours, windows, series_ids, occurred_ms, values, references, aggregations
        )


def _gone(conn: Connection, gone: Sequence[Flipped]) -> tuple[Hours, ByWindow]:
    """What hours and windows lose of events that cease to count: all but maxima and last values."""
    with localcontext(EXACT):
        columns = (
            [each.series_id for each in gone],
            [each.occurred_ms for each in gone],
            [-each.value for each in gone],
        )
        hours = _sums(*columns)
        for delta in hours.values():
            delta.count = -delta.count
        windows = usage_totals.overlapping(conn, set(columns[0]), min(columns[1]), max(columns[1]))
        return hours, _by_window(hours, windows, *columns, [""] * len(gone), {}, sign=-1)


def _sums(
    series_ids: Sequence[int], occurred_ms: Sequence[int], values: Sequence[Decimal]
) -> Hours:
    """Sums and counts by hour, which is all that most aggregations need."""
    hours: Hours = {}
    for series_id, ms, value in zip(series_ids, occurred_ms, values, strict=True):
        key = series_id, ms // HOUR_MS
        delta = hours.get(key)
        if delta is None:
            hours[key] = Delta(value, 1)
        else:
            delta.sum += value
            delta.count += 1
    return hours


def _wholes(
    series_ids: Sequence[int],
    occurred_ms: Sequence[int],
    values: Sequence[Decimal],
    references: Sequence[str],
    aggregations: Mapping[int, Aggregation],
) -> Hours:
    """Sums and counts by hour, with maxima and last values where they are what counts."""
    hours: Hours = {}
    for series_id, ms, value, reference in zip(
        series_ids, occurred_ms, values, references, strict=True
    ):
        delta = _one(value, ms, reference, aggregations.get(series_id))
        known = hours.setdefault((series_id, ms // HOUR_MS), delta)
        if known is not delta:
            known.add(delta)
    return hours


def _one(value: Decimal, ms: int, reference: str, aggregation: Aggregation | None) -> Delta:
    if aggregation == Aggregation.LAST:
        return Delta(value, 1, None, value, ms, reference)
    return Delta(value, 1, value if aggregation == Aggregation.MAX else None)


def _by_window(
    hours: Hours,
    windows: Sequence[tuple[int, int, int]],
    series_ids: Sequence[int],
    occurred_ms: Sequence[int],
    values: Sequence[Decimal],
    references: Sequence[str],
    aggregations: Mapping[int, Aggregation],
    *,
    sign: int = 1,
) -> dict[tuple[int, int, int], Delta]:
    """What each window gets: whole hours as they are, hours that it cuts event by event."""
    if not windows:
        return {}
    of_series: dict[int, list[tuple[int, int, int]]] = {}
    for window in windows:
        of_series.setdefault(window[0], []).append(window)
    found: dict[tuple[int, int, int], Delta] = {}
    cut: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for (series_id, hour), delta in hours.items():
        first = hour * HOUR_MS
        for window in of_series.get(series_id, ()):
            if window[1] <= first and first + HOUR_MS <= window[2]:
                _add(found, window, delta)
            elif window[1] < first + HOUR_MS and first < window[2]:
                cut.setdefault((series_id, hour), []).append(window)
    if cut:
        for series_id, ms, value, reference in zip(
            series_ids, occurred_ms, values, references, strict=True
        ):
            for window in cut.get((series_id, ms // HOUR_MS), ()):
                if window[1] <= ms < window[2]:
                    delta = _one(value, ms, reference, aggregations.get(series_id))
                    delta.count = sign
                    _add(found, window, delta)
    return found


def _add(
    found: dict[tuple[int, int, int], Delta], window: tuple[int, int, int], delta: Delta
) -> None:
    known = found.get(window)
    if known is None:
        found[window] = Delta(
            delta.sum,
            delta.count,
            delta.max,
            delta.last_value,
            delta.last_ms,
            delta.last_reference,
        )
    else:
        known.add(delta)
