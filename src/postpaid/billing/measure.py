"""The billable quantity of windows of usage: what meters have counted, as obligations need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from postpaid.core.metering import billable_quantity
from postpaid.storage import meters, usage
from postpaid.storage.database import Connection


def measure(
    conn: Connection, account_id: int, windows: Mapping[str, usage.Window]
) -> dict[str, Decimal]:
    """The quantity to bill for each window, by the name it was asked under; never negative.

    Two statements, however many the windows.
    """
    if not windows:
        return {}
    asked: Sequence[usage.Window] = list(windows.values())
    meter_by_id = meters.load(conn, account_id, list({window.meter_id for window in asked}))
    totals = usage.totals(conn, account_id, asked)
    return {
        name: billable_quantity(meter_by_id[window.meter_id].aggregation, total)
        for name, window, total in zip(windows, asked, totals, strict=True)
    }
