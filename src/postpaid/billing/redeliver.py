"""Tell endpoints again: of one event, or of all in a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.billing.perform import Act
from postpaid.billing.tell import Recorded, to_tell
from postpaid.core.deliveries import LEASE, EndpointStatus, Facade, is_known
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import deliveries, events, webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.events import Event
from postpaid.storage.webhook_endpoints import WebhookEndpoint

REDELIVERED_MAX = 10_000  # at once


@dataclass(frozen=True, slots=True)
class Redelivered:
    """How many deliveries began again, and whether there may be more."""

    count: int
    has_more: bool


def resend_event(
    conn: Connection,
    act: Act,
    event_id: str,
    *,
    endpoint_id: str | None = None,
    facade: Facade | None = None,
    told_as: str | None = None,
) -> Event:
    """Tell the endpoint of the event, or all of the façade's that listen to it, told or not.

    Where a façade tells it by codes: by all of them, or by this one. Raises ``NotFound``, and
    ``InvalidRequest`` for an endpoint that is disabled.
    """
    # Read.
    event = events.load(conn, act.account_id, [event_id]).get(event_id)
    if event is None or (facade is not None and not is_known(facade, event.type)):
        raise NotFound.of("event", event_id)
    if endpoint_id is not None:
        only = _enabled(conn, act, endpoint_id)
        if facade not in (None, only.facade):
            raise NotFound.of("webhook endpoint", endpoint_id, param="webhook_endpoint")
        wanted = [replace(only, enabled_events=("*",))]
    else:
        listening = webhook_endpoints.listening(conn, act.account_id)
        wanted = [each for each in listening if facade in (None, each.facade)]
    telling = [
        each
        for each in to_tell(conn, act, [Recorded.of(event)], wanted)
        if told_as in (None, each.told_as)
    ]
    ids = {each.endpoint_id for each in telling}
    webhook_endpoints.lock(conn, act.account_id, ids)
    told = deliveries.told(conn, act.account_id, event_id)

    # Write.
    deliveries.begin_again(
        conn,
        act.account_id,
        sorted(ids),
        event_id=event_id,
        told_as=told_as,
        only_failed=False,
        after=act.now + LEASE,
        limit=REDELIVERED_MAX,
    )
    new = [each for each in telling if (each.endpoint_id, each.told_as) not in told]
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


def _enabled(conn: Connection, act: Act, endpoint_id: str) -> WebhookEndpoint:
    """The endpoint; it is locked."""
    found = webhook_endpoints.lock(conn, act.account_id, [endpoint_id])
    if endpoint_id not in found:
        raise NotFound.of("webhook endpoint", endpoint_id, param="webhook_endpoint")
    if found[endpoint_id].status == EndpointStatus.DISABLED:
        raise InvalidRequest(
            f"The webhook endpoint '{endpoint_id}' is disabled; enable it first.",
            param="webhook_endpoint",
        )
    return found[endpoint_id]
