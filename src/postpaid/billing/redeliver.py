"""Tell endpoints again: of one event, or of all in a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.billing.perform import Act
from postpaid.core.deliveries import LEASE, EndpointStatus, listens
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage import deliveries, events, webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.deliveries import NewDelivery
from postpaid.storage.events import Event

REDELIVERED_MAX = 10_000  # at once


@dataclass(frozen=True, slots=True)
class Redelivered:
    """How many deliveries began again, and whether there may be more."""

    count: int
    has_more: bool


def resend_event(
    conn: Connection, act: Act, event_id: str, *, endpoint_id: str | None = None
) -> Event:
    """Tell the endpoint of the event, or all that listen to it, whether they were told or not.

    Raises ``NotFound``, and ``InvalidRequest`` for an endpoint that is disabled.
    """
    # Read.
    event = events.load(conn, act.account_id, [event_id]).get(event_id)
    if event is None:
        raise NotFound.of("event", event_id)
    if endpoint_id is not None:
        ids = [_enabled(conn, act, endpoint_id)]
    else:
        listening = webhook_endpoints.listening(conn, act.account_id)
        ids = [each.id for each in listening if listens(each.enabled_events, event.type)]
        webhook_endpoints.lock(conn, act.account_id, ids)
    told = deliveries.endpoints_told(conn, act.account_id, event_id)

    # Write.
    deliveries.begin_again(
        conn,
        act.account_id,
        ids,
        event_id=event_id,
        only_failed=False,
        after=act.now + LEASE,
        limit=REDELIVERED_MAX,
    )
    new = [
        NewDelivery(
            id=act.new_id("whd"),
            endpoint_id=each,
            event_id=event_id,
            subject_id=event.object_id or event.id,
            created_at=event.created_at,
        )
        for each in ids
        if each not in told
    ]
    deliveries.insert_many(conn, act.account_id, new)
    return event


def redeliver(
    conn: Connection,
    act: Act,
    endpoint_id: str,
    *,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    only_failed: bool,
) -> Redelivered:
    """Tell the endpoint again of what it failed to take, or of all, of events made in that time.

    The oldest ones are first, and at most ten thousand. Raises ``NotFound`` and ``InvalidRequest``.
    """
    _enabled(conn, act, endpoint_id)
    begun = deliveries.begin_again(
        conn,
        act.account_id,
        [endpoint_id],
        created_from=created_from,
        created_before=created_before,
        only_failed=only_failed,
        after=act.now + LEASE,
        limit=REDELIVERED_MAX,
    )
    return Redelivered(len(begun), has_more=len(begun) == REDELIVERED_MAX)


def _enabled(conn: Connection, act: Act, endpoint_id: str) -> str:
    """The endpoint's id; it is locked."""
    found = webhook_endpoints.lock(conn, act.account_id, [endpoint_id])
    if endpoint_id not in found:
        raise NotFound.of("webhook endpoint", endpoint_id, param="webhook_endpoint")
    if found[endpoint_id].status == EndpointStatus.DISABLED:
        raise InvalidRequest(
            f"The webhook endpoint '{endpoint_id}' is disabled; enable it first.",
            param="webhook_endpoint",
        )
    return endpoint_id
