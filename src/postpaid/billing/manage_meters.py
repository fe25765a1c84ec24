"""Create meters, change their names and spans, and let them take events or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.values import replace
from postpaid.storage import meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus


def create_meter(conn: Connection, act: Act, **fields: Any) -> Meter:
    """Add a meter, which takes events from now on and has no price; see ``new_meter``.

    Raises ``AlreadyExists`` when another has the event name.
    """
    meter = new_meter(act, **fields)
    meters.insert(conn, act.account_id, meter)
    announce(conn, act, [Announcement("billing.meter.created", "meter", meter.id, meter)])
    return meter


def new_meter(
    act: Act,
    *,
    display_name: str,
    event_name: str,
    aggregation: Aggregation,
    customer_key: str,
    value_key: str,
    event_time_window: str | None = None,
    accepts_past_s: int = meters.ACCEPTS_PAST_S,
    accepts_future_s: int = meters.ACCEPTS_FUTURE_S,
    cancels_within_s: int = meters.CANCELS_WITHIN_S,
) -> Meter:
    """A meter that is not stored yet.

    Raises ``InvalidRequest`` when customer and value would be read from one key, or when of an hour
    or a day only the last event should count of a meter that does not combine. Stripe has such
    windows for sum, count and last.
    """
    if customer_key == value_key:
        raise InvalidRequest(
            f"The customer and the value cannot both be at the payload's key '{value_key}'.",
            param=("value_settings", "event_payload_key"),
        )
    if event_time_window is not None and not aggregation.combines:
        allowed = ", ".join(each for each in Aggregation if each.combines)
        raise InvalidRequest(
            f"A meter with the formula '{aggregation}' cannot have an event_time_window; "
            f"these can: {allowed}.",
            param="event_time_window",
        )
    return Meter(
        id=act.new_id("mtr"),
        display_name=display_name,
        event_name=event_name,
        aggregation=aggregation,
        customer_key=customer_key,
        value_key=value_key,
        status=MeterStatus.ACTIVE,
        created_at=act.now,
        updated_at=act.now,
        deactivated_at=None,
        event_time_window=event_time_window,
        accepts_past_s=accepts_past_s,
        accepts_future_s=accepts_future_s,
        cancels_within_s=cancels_within_s,
    )


def update_meter(
    conn: Connection, act: Act, meter_id: str, change: Callable[[Meter], Meter]
) -> Meter:
    """Make the meter what ``change`` makes of it: its name and its spans. Raises ``NotFound``."""
    before = _lock(conn, act, meter_id)
    return _write(conn, act, "billing.meter.updated", before, change(before))


def deactivate_meter(conn: Connection, act: Act, meter_id: str) -> Meter:
    """Refuse the meter's events from now on. Raises ``NotFound`` and ``ActionNotAllowed``."""
    before = _lock(conn, act, meter_id)
    if before.status == MeterStatus.INACTIVE:
        raise ActionNotAllowed(f"The meter '{meter_id}' is inactive already.", param="id")
    after = replace(before, status=MeterStatus.INACTIVE, deactivated_at=act.now)
    return _write(conn, act, "billing.meter.deactivated", before, after)


def reactivate_meter(conn: Connection, act: Act, meter_id: str) -> Meter:
    """Take the meter's events again. Raises ``NotFound`` and ``ActionNotAllowed``."""
    before = _lock(conn, act, meter_id)
    if before.status == MeterStatus.ACTIVE:
        raise ActionNotAllowed(f"The meter '{meter_id}' is active already.", param="id")
    after = replace(before, status=MeterStatus.ACTIVE, deactivated_at=None)
    return _write(conn, act, "billing.meter.reactivated", before, after)


def _lock(conn: Connection, act: Act, meter_id: str) -> Meter:
    meter = meters.lock(conn, act.account_id, meter_id)
    if meter is None:
        raise NotFound.of("meter", meter_id)
    return meter


def _write(conn: Connection, act: Act, happened: str, before: Meter, after: Meter) -> Meter:
    if after == before:
        return before
    after = replace(after, updated_at=act.now)
    meters.update(conn, act.account_id, after)
    announce(conn, act, [Announcement(happened, "meter", after.id, after, changes(before, after))])
    return after
