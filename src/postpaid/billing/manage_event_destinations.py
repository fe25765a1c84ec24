"""Webhook endpoints as v2 knows them: with a name, and a ping to see whether they listen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from postpaid.billing import manage_webhook_endpoints
from postpaid.billing.perform import Act
from postpaid.core.deliveries import EndpointStatus, Facade
from postpaid.core.errors import ActionNotAllowed, NotFound
from postpaid.core.values import replace
from postpaid.storage import deliveries, event_destinations, events, webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.deliveries import NewDelivery
from postpaid.storage.event_destinations import Label
from postpaid.storage.events import Event
from postpaid.storage.vault import Vault
from postpaid.storage.webhook_endpoints import WebhookEndpoint

PING = "v2.core.event_destination.ping"


@dataclass(frozen=True, slots=True)
class Destination:
    """A webhook endpoint and its label."""

    endpoint: WebhookEndpoint
    name: str
    updated_at: datetime


def create_destination(
    conn: Connection, act: Act, endpoint: WebhookEndpoint, *, name: str, vault: Vault
) -> str:
    """Add an endpoint with a name and a new secret; return its id. Raises ``InvalidRequest``."""
    manage_webhook_endpoints.create_endpoint(conn, act, endpoint, vault)
    event_destinations.write(conn, act.account_id, Label(endpoint.id, name, act.now))
    return endpoint.id


def update_destination(
    conn: Connection,
    act: Act,
    destination_id: str,
    change: Callable[[WebhookEndpoint], WebhookEndpoint],
    *,
    name: str | None = None,
) -> None:
    """Make the endpoint what ``change`` makes of it, and call it ``name``. Raises ``NotFound``."""
    find_destination(conn, act, destination_id)
    endpoint = manage_webhook_endpoints.update_endpoint(conn, act, destination_id, change)
    [before] = with_labels(conn, act, [endpoint])
    label = Label(destination_id, before.name if name is None else name, act.now)
    event_destinations.write(conn, act.account_id, label)


def find_destination(conn: Connection, act: Act, destination_id: str) -> Destination:
    """The destination. Raises ``NotFound``."""
    found = webhook_endpoints.load(conn, act.account_id, [destination_id]).get(destination_id)
    if found is None or found.facade != Facade.STRIPE:
        raise NotFound.of("event destination", destination_id)
    return with_labels(conn, act, [found])[0]


def with_labels(
    conn: Connection, act: Act, endpoints: Sequence[WebhookEndpoint]
) -> list[Destination]:
    """The endpoints with their labels; one that has none goes by what is said of it, or its URL."""
    labels = event_destinations.load(conn, act.account_id, [each.id for each in endpoints])
    destinations = []
    for each in endpoints:
        label = labels.get(each.id)
        destinations.append(
            Destination(each, label.name, label.updated_at)
            if label
            else Destination(each, each.description or each.url, each.created_at)
        )
    return destinations


def ping(conn: Connection, act: Act, destination_id: str) -> Event:
    """Tell this destination alone of an event that says nothing, whatever it listens to.

    Raises ``NotFound``, and ``ActionNotAllowed`` for one that is disabled.
    """
    endpoint = webhook_endpoints.lock(conn, act.account_id, [destination_id]).get(destination_id)
    if endpoint is None or endpoint.facade != Facade.STRIPE:
        raise NotFound.of("event destination", destination_id)
    if endpoint.status != EndpointStatus.ENABLED:
        raise ActionNotAllowed("A disabled event destination cannot be pinged: enable it first.")
    event = Event(
        id=act.new_id("evt"),
        type=PING,
        object_type="webhook_endpoint",
        object_id=endpoint.id,
        snapshot=msgspec.json.encode(endpoint).decode(),
        previous=None,
        request_id=act.request_id,
        idempotency_key=act.idempotency_key,
        clock_id=None,
        created_at=act.now,
    )
    told = NewDelivery(act.new_id("whd"), endpoint.id, event.id, endpoint.id, act.now)
    events.insert_many(conn, act.account_id, [event])
    deliveries.insert_many(conn, act.account_id, [told])
    return event


def switch(conn: Connection, act: Act, destination_id: str, *, status: EndpointStatus) -> None:
    """Enable or disable the destination. Raises ``NotFound``."""
    update_destination(conn, act, destination_id, lambda before: replace(before, status=status))
