"""Usage written as the engine writes it, without what a client may get wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from postpaid.billing.check_usage import milliseconds
from postpaid.billing.roll_up import roll_up
from postpaid.core.metering import Aggregation
from postpaid.storage import meters, usage
from postpaid.storage.database import Connection


@dataclass(frozen=True, slots=True)
class Stored:
    """An event to store; without ``received_at`` it was received when it occurred."""

    reference: str
    meter_id: str
    customer_id: str
    occurred_at: datetime
    value: Decimal
    received_at: datetime | None = None


def store_usage(conn: Connection, account_id: int, events: Sequence[Stored]) -> set[str]:
    """Store the events and count those that are new; returns their references.

    A meter that is not there counts everything that can be counted. Of a reference that comes twice
    the first is stored.
    """
    first: dict[str, Stored] = {}
    for event in events:
        first.setdefault(event.reference, event)
    batch = list(first.values())
    if not batch:
        return set()
    usage.hold(conn, account_id)
    pairs = sorted({(event.customer_id, event.meter_id) for event in batch})
    series, _ = usage.make_series(conn, account_id, pairs)
    known = meters.load(conn, account_id, {meter_id for _, meter_id in pairs})
    refused = usage.insert_many(
        conn,
        account_id,
        usage.UsageColumns(
            [event.reference for event in batch],
            [series[event.customer_id, event.meter_id] for event in batch],
            [milliseconds(event.occurred_at) for event in batch],
            [milliseconds(event.received_at or event.occurred_at) for event in batch],
            [event.value for event in batch],
            [None] * len(batch),
        ),
    )
    new = [event for event in batch if event.reference not in refused]
    aggregations = {
        series_id: known[meter_id].aggregation if meter_id in known else Aggregation.LAST
        for (_, meter_id), series_id in series.items()
    }
    roll_up(
        conn,
        [series[event.customer_id, event.meter_id] for event in new],
        [milliseconds(event.occurred_at) for event in new],
        [event.value for event in new],
        [event.reference for event in new],
        {
            series[event.customer_id, event.meter_id]: aggregations[
                series[event.customer_id, event.meter_id]
            ]
            for event in new
        },
    )
    return {event.reference for event in new}
