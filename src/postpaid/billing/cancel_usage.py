"""Take usage back: cancelled events keep their identifiers and count nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from postpaid.billing.perform import Act
from postpaid.billing.roll_up import apply, bucket_of
from postpaid.billing.watch_usage import watch_windows
from postpaid.core.errors import (
    AlreadyCanceled,
    BillingError,
    InvalidRequest,
    NotCancelable,
    NotFound,
)
from postpaid.storage import customers, meters, usage, usage_corrections
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage import UsageEvent

IDENTIFIER = ("cancel", "identifier")  # the parameter at fault, mostly


@dataclass(frozen=True, slots=True)
class Cancellation:
    """That the event with this identifier, of the meter with this event name, was none."""

    event_name: str
    identifier: str


def cancel_usage(
    conn: Connection, act: Act, cancellations: Sequence[Cancellation]
) -> dict[int, BillingError]:
    """Cancel the events; return by place why one could not be, and the others are.

    Stripe: an event can be cancelled for 24 hours after it was received, by the customer's clock;
    a meter may give more time or less. Its identifier stays taken. A final invoice stays as it is.
    """
    # Read.
    usage.hold(conn, act.account_id)
    meter_by_name = meters.load_by_event_names(
        conn, act.account_id, {each.event_name for each in cancellations}
    )
    references = sorted({each.identifier for each in cancellations})
    events = usage.load(conn, act.account_id, references)
    if events:  # as they are once nobody else is changing them
        usage.lock_series(conn, sorted({event.series_id for event in events.values()}))
        events = usage.load(conn, act.account_id, references)
    customer_ids = sorted({event.customer_id for event in events.values()})
    clock_by_customer = customers.clocks(conn, act.account_id, customer_ids)

    # Decide.
    errors: dict[int, BillingError] = {}
    canceled: dict[str, UsageEvent] = {}
    for place, each in enumerate(cancellations):
        event = events.get(each.identifier)
        meter = meter_by_name.get(each.event_name)
        now = (event and clock_by_customer.get(event.customer_id)) or act.now
        error = _error(each, meter, event, now)
        if error is None and each.identifier in canceled:
            error = _canceled(each)
        if error is not None:
            errors[place] = error
        elif event is not None:
            canceled[each.identifier] = event

    # Write.
    if canceled:
        meter_by_id = {meter.id: meter for meter in meter_by_name.values()}
        _uncount(conn, act, canceled.values(), meter_by_id)
    return errors


def _uncount(
    conn: Connection,
    act: Act,
    events: Iterable[UsageEvent],
    meter_by_id: Mapping[str, Meter],
) -> None:
    """Take the events out of all totals; where only the last counts, let in the one before."""
    by_reference = {event.reference: event for event in events}
    flipped = usage_corrections.cancel(
        conn, act.account_id, sorted(by_reference), canceled_at=act.now
    )
    buckets = set()
    for each in flipped:
        meter = meter_by_id[by_reference[each.reference].meter_id]
        if meter.event_time_window:
            buckets.add(bucket_of(each.series_id, each.occurred_ms, meter.event_time_window))
    if buckets:
        flipped += usage_corrections.settle(conn, list(buckets))
    aggregations = {
        event.series_id: meter_by_id[event.meter_id].aggregation for event in by_reference.values()
    }
    watched = apply(conn, flipped, aggregations)
    owners = {
        event.series_id: (event.customer_id, event.meter_id) for event in by_reference.values()
    }
    watch_windows(conn, act, watched, owners, aggregations)


def _error(
    asked: Cancellation, meter: Meter | None, event: UsageEvent | None, now: datetime
) -> BillingError | None:
    """Why it cannot be cancelled at ``now``, or None."""
    if meter is None:
        return NotFound(f"No meter found for event name '{asked.event_name}'.", param="event_name")
    if event is None:
        return NotFound(f"No event found with identifier '{asked.identifier}'.", param=IDENTIFIER)
    if event.meter_id != meter.id:
        return InvalidRequest(
            f"The event with identifier '{asked.identifier}' has another event name than "
            f"'{asked.event_name}'.",
            param="event_name",
        )
    if event.canceled_at is not None:
        return _canceled(asked)
    window = timedelta(seconds=meter.cancels_within_s)
    if now - event.received_at > window:
        return NotCancelable(
            f"The event with identifier '{asked.identifier}' was received more than "
            f"{_spelled(meter.cancels_within_s)} ago and can no longer be cancelled.",
            param=IDENTIFIER,
        )
    return None


def _canceled(asked: Cancellation) -> AlreadyCanceled:
    return AlreadyCanceled(
        f"The event with identifier '{asked.identifier}' is cancelled already.", param=IDENTIFIER
    )


def _spelled(seconds: int) -> str:
    """A length of time for people: ``24 hours``, ``90 seconds``."""
    count, unit = (seconds // 3600, "hour") if seconds % 3600 == 0 else (seconds, "second")
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
