"""The billable quantity of windows of usage: what meters have counted, as obligations need it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from postpaid.core.metering import Aggregation, billable, billable_quantity
from postpaid.storage import meters, usage_readings, usage_totals
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window

ZERO = Decimal(0)


def measure(
    conn: Connection, account_id: int, windows: Mapping[str, Window], *, now: datetime
) -> dict[str, Decimal]:
    """The quantity to bill for each window, by the name it was asked under; never negative.

    Of a level, nothing after ``now`` is counted. Two statements, however many the windows, and one
    more for each aggregation that totals do not tell.
    """
    if not windows:
        return {}
    aggregations = _aggregations(conn, account_id, windows)
    combining = {name: each for name, each in windows.items() if aggregations[name].combines}
    totals = usage_totals.totals(conn, account_id, list(combining.values()))
    measured = {
        name: billable_quantity(aggregations[name], total)
        for name, total in zip(combining, totals, strict=True)
    }
    others = {name: each for name, each in windows.items() if name not in measured}
    return measured | _read(conn, account_id, others, aggregations, now)


def recount(
    conn: Connection, account_id: int, windows: Mapping[str, Window], *, now: datetime
) -> dict[str, Decimal]:
    """What ``measure`` should say, from the events alone and no totals of them."""
    if not windows:
        return {}
    aggregations = _aggregations(conn, account_id, windows)
    return _read(conn, account_id, windows, aggregations, now)


def _aggregations(
    conn: Connection, account_id: int, windows: Mapping[str, Window]
) -> dict[str, Aggregation]:
    meter_by_id = meters.load(conn, account_id, {each.meter_id for each in windows.values()})
    return {name: meter_by_id[each.meter_id].aggregation for name, each in windows.items()}


def _read(
    conn: Connection,
    account_id: int,
    windows: Mapping[str, Window],
    aggregations: Mapping[str, Aggregation],
    now: datetime,
) -> dict[str, Decimal]:
    """The quantities from the events: a statement for each aggregation that there is."""
    measured = dict.fromkeys(windows, ZERO)
    for aggregation in sorted({aggregations[name] for name in windows}):
        names = [name for name in windows if aggregations[name] == aggregation]
        asked = [windows[name] for name in names]
        readings = usage_readings.read(conn, account_id, aggregation, asked, as_of=now)
        for reading in readings.rows:
            measured[names[reading.place - 1]] = billable(reading.quantity)
    return measured
