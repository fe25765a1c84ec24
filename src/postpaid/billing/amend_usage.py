"""Let a usage event say something else, under the same reference, while it is not billed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from postpaid.billing.check_usage import (
    Parts,
    Reported,
    check_usage,
    dimensions_of,
    give_keys,
    instant,
    milliseconds,
    value_of,
)
from postpaid.billing.perform import Act
from postpaid.billing.roll_up import bucket_of, move
from postpaid.billing.watch_usage import watch_windows
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.values import replace
from postpaid.storage import customers, meters, usage, usage_amendments
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus
from postpaid.storage.usage import UsageEvent
from postpaid.storage.usage_amendments import UsageAmendment
from postpaid.storage.usage_corrections import Flipped


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to be said instead; None stays as it is. ``dimensions`` makes them of the former."""

    value: str | None = None
    occurred_at: datetime | None = None
    dimensions: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None


def amend_usage(
    conn: Connection, act: Act, reference: str, asked: Amendment
) -> tuple[Meter, UsageEvent]:
    """Amend the event, with every total that it is in; return it with its meter.

    What it said before is kept. The rules are those of a new event, but that its meter may be
    inactive by now. Raises ``NotFound``, ``ActionNotAllowed`` for an event that is cancelled, does
    not count, or is billed in a final invoice, and ``InvalidRequest``.
    """
    # Read.
    event = _find(conn, act, reference)
    customer = customers.lock(conn, act.account_id, [event.customer_id])[event.customer_id]
    usage.hold(conn, act.account_id)
    usage.lock_series(conn, [event.series_id])
    event = _find(conn, act, reference)  # as it is once nobody else is changing it
    meter = meters.load(conn, act.account_id, [event.meter_id])[event.meter_id]

    # Decide.
    after = _amended(conn, act, meter, event, asked)
    if after == event:
        return meter, event
    moved = (after.value, after.occurred_at) != (event.value, event.occurred_at)
    counts_text = meter.aggregation == Aggregation.UNIQUE and after.payload != event.payload
    if moved or counts_text:
        _check_not_billed(conn, act, meter, event, after)

    # Write.
    usage_amendments.insert(
        conn,
        act.account_id,
        UsageAmendment(
            id=act.new_id("mtam"),
            reference=reference,
            occurred_at=event.occurred_at,
            value=event.value,
            payload=event.payload,
            amended_at=customer.now(act.now),
            actor=act.actor,
        ),
    )
    usage_amendments.rewrite(
        conn,
        act.account_id,
        reference,
        occurred_at=after.occurred_at,
        value=after.value,
        payload=after.payload,
    )
    if moved:
        aggregations = {event.series_id: meter.aggregation}
        watched = move(conn, _flipped(event, False), _flipped(after, True), aggregations)
        owners = {event.series_id: (event.customer_id, event.meter_id)}
        watch_windows(conn, act, watched, owners, aggregations)
    return meter, after


def _find(conn: Connection, act: Act, reference: str) -> UsageEvent:
    event = usage.load(conn, act.account_id, [reference]).get(reference)
    if event is None:
        raise NotFound.of("metering event", reference)
    return event


def _amended(
    conn: Connection, act: Act, meter: Meter, event: UsageEvent, asked: Amendment
) -> UsageEvent:
    """The event as it shall be, by the rules of a new one."""
    if event.canceled_at is not None:
        raise ActionNotAllowed("A metering event that is cancelled cannot be changed.", param="id")
    if not event.counted:
        raise ActionNotAllowed(
            "A metering event that does not count cannot be changed: a later one took its place, "
            "or it is of a backfill that is open.",
            param="id",
        )
    dimensions: Mapping[str, str] = dimensions_of(meter, event.payload)
    if asked.dimensions is not None:
        dimensions = asked.dimensions(dimensions)
    value = asked.value or value_of(meter, event)
    timestamp = None if asked.occurred_at is None else milliseconds(asked.occurred_at)
    reported = Reported([meter.event_name], [{}], [event.reference], [timestamp])
    reported.by_part[0] = Parts(event.customer_id, value, dimensions)
    meter_by_name = {meter.event_name: replace(meter, status=MeterStatus.ACTIVE)}
    give_keys(reported, meter_by_name)
    pair = (event.customer_id, meter.id)
    series_by_pair = usage.load_series(conn, act.account_id, [pair])
    checked, _, errors = check_usage(act, reported, meter_by_name, series_by_pair)
    if errors:
        raise errors[0]
    return replace(
        event,
        occurred_at=event.occurred_at if timestamp is None else instant(checked.occurred_ms[0]),
        value=checked.values[0],
        payload=checked.payloads[0],
    )


def _check_not_billed(
    conn: Connection, act: Act, meter: Meter, before: UsageEvent, after: UsageEvent
) -> None:
    """Raises ``ActionNotAllowed`` for usage that a final invoice has billed, or would have."""
    window = meter.event_time_window
    if window is not None:
        ends = [milliseconds(each.occurred_at) for each in (before, after)]
        first, last = (bucket_of(before.series_id, ms, window) for ms in ends)
        if first != last:
            raise InvalidRequest(
                f"The timestamp must stay within its {window}: of each, the meter counts the event "
                "that arrived last.",
                param="timestamp",
            )
    bill = usage_amendments.find_bill(
        conn,
        act.account_id,
        before.customer_id,
        meter.id,
        [before.occurred_at, after.occurred_at],
        lasting=meter.aggregation.is_level,
    )
    if bill is not None:
        raise ActionNotAllowed(
            f"Usage of that time is billed by the invoice '{bill}', so it can no longer be "
            "changed.",
            param="id" if before.occurred_at == after.occurred_at else "timestamp",
        )


def _flipped(event: UsageEvent, counted: bool) -> Flipped:
    return Flipped(
        event.series_id, milliseconds(event.occurred_at), event.value, event.reference, counted
    )
