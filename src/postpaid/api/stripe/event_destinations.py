"""Where events are sent to, as v2 shows it: webhook endpoints by another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from annotated_types import Len, MaxLen

from postpaid.api.instants import iso
from postpaid.api.params import Id, Integer, Metadata, Params, Text, merge_metadata
from postpaid.api.stripe import thin_events
from postpaid.api.stripe.pages import invalid_page, neighbours, page_of
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.webhook_endpoints import EnabledEvents
from postpaid.billing import manage_event_destinations, manage_webhook_endpoints
from postpaid.billing.manage_event_destinations import Destination
from postpaid.core.deliveries import EndpointStatus, Facade, Payload
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.webhook_endpoints import WebhookEndpoint

routes = Routes("Event destinations")

URL = "/v2/core/event_destinations"
TYPE = "v2.core.event_destination"
SECRET = "webhook_endpoint.signing_secret"  # the name of the field to include
ADDRESS = "webhook_endpoint.url"

Included = Annotated[list[Literal["webhook_endpoint.url"]], MaxLen(2)]
IncludedAtFirst = Annotated[
    list[Literal["webhook_endpoint.signing_secret", "webhook_endpoint.url"]], MaxLen(2)
]


class Address(Params):
    url: Annotated[str, Text(2000)]


class DestinationCreate(Params):
    enabled_events: EnabledEvents
    event_payload: Payload
    name: Annotated[str, Text(500)]
    type: Literal["webhook_endpoint"]
    webhook_endpoint: Address
    description: Annotated[str, Text(5000)] | None = None
    events_from: Annotated[list[Literal["@self"]], Len(1, 1)] | None = None
    include: IncludedAtFirst | None = None
    metadata: Metadata = None
    snapshot_api_version: Annotated[str, Text(50)] | None = None


class DestinationUpdate(Params):
    description: Annotated[str, Text(5000)] | None = None
    enabled_events: EnabledEvents | None = None
    include: Included | None = None
    metadata: Metadata = None
    name: Annotated[str, Text(500)] | None = None
    webhook_endpoint: Address | None = None


class DestinationRetrieve(Params):
    include: Included | None = None


class DestinationList(Params):
    include: Included | None = None
    limit: Annotated[int, Integer(1, 100)] = 20
    page: Id | None = None


@routes.post(URL, returns=TYPE)
def create(call: Call, params: DestinationCreate) -> dict[str, Any]:
    """Create an event destination; its secret is shown in this answer, and only if included."""
    thin = params.event_payload == Payload.THIN
    if thin and params.snapshot_api_version is not None:
        raise InvalidRequest(
            "Thin events have no version; give `snapshot_api_version` with snapshots only.",
            param="snapshot_api_version",
        )
    act, vault = call.act, call.database.vault
    endpoint = WebhookEndpoint(
        id=act.new_id("we"),
        url=_checked(call, params.webhook_endpoint),
        enabled_events=_stored(params.enabled_events, params.event_payload),
        facade=Facade.STRIPE,
        payload=params.event_payload,
        status=EndpointStatus.ENABLED,
        created_at=act.now,
        api_version=params.snapshot_api_version,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )

    def write(conn: Connection) -> dict[str, Any]:
        made = manage_event_destinations.create_destination(
            conn, act, endpoint, name=params.name, vault=vault
        )
        return {"id": made}

    def show(conn: Connection, done: dict[str, Any]) -> dict[str, Any]:
        found = manage_event_destinations.find_destination(conn, act, done["id"])
        included = params.include or ()
        secret = None
        if SECRET in included:
            secret = manage_webhook_endpoints.secret_of(conn, act, done["id"], vault)
        return to_stripe(
            found, livemode=act.livemode, with_url=ADDRESS in included, signing_secret=secret
        )

    return call.write_and_show(write, show)


@routes.get(URL, returns=TYPE, many=True)
def list_(call: Call, params: DestinationList) -> dict[str, Any]:
    """List event destinations, newest first."""
    act = call.act

    def read(conn: Connection) -> dict[str, Any]:
        page = page_of(params.page, params.limit)
        try:
            found = webhook_endpoints.list_page(conn, act.account_id, page, facade=Facade.STRIPE)
        except NotFound:
            raise invalid_page(params.page) from None
        query = [("limit", str(params.limit))]
        query += [(f"include[{place}]", name) for place, name in enumerate(params.include or ())]
        with_url = ADDRESS in (params.include or ())
        return {
            "data": [
                to_stripe(each, livemode=act.livemode, with_url=with_url)
                for each in manage_event_destinations.with_labels(conn, act, found.rows)
            ],
            **neighbours(URL, query, page, found),
        }

    return call.read(read)


@routes.get(URL + "/{destination}", returns=TYPE)
def retrieve(call: Call, params: DestinationRetrieve, destination: str) -> dict[str, Any]:
    """Retrieve an event destination."""
    return call.read(
        lambda conn: _shown(conn, call, destination, ADDRESS in (params.include or ()))
    )


@routes.post(URL + "/{destination}", returns=TYPE)
def update(call: Call, params: DestinationUpdate, destination: str) -> dict[str, Any]:
    """Update an event destination: not its payload, nor whose events it gets."""
    given = params.given()
    given.pop("include", None)
    name = given.pop("name", None)
    if params.webhook_endpoint is not None:
        given["url"] = _checked(call, params.webhook_endpoint)
    given.pop("webhook_endpoint", None)

    def change(before: WebhookEndpoint) -> WebhookEndpoint:
        changed = dict(given)
        if "metadata" in changed:
            changed["metadata"] = merge_metadata(before.metadata, changed["metadata"])
        if "enabled_events" in changed:
            changed["enabled_events"] = _stored(changed["enabled_events"], before.payload)
        return replace(before, **changed)

    def write(conn: Connection) -> None:
        manage_event_destinations.update_destination(conn, call.act, destination, change, name=name)

    return _changed(call, destination, write, with_url=ADDRESS in (params.include or ()))


@routes.post(URL + "/{destination}/enable", returns=TYPE)
def enable(call: Call, destination: str) -> dict[str, Any]:
    """Enable an event destination; what was kept for it is sent at once."""
    return _switched(call, destination, EndpointStatus.ENABLED)


@routes.post(URL + "/{destination}/disable", returns=TYPE)
def disable(call: Call, destination: str) -> dict[str, Any]:
    """Disable an event destination: it is told of nothing new until it is enabled."""
    return _switched(call, destination, EndpointStatus.DISABLED)


@routes.post(URL + "/{destination}/ping", returns="v2.core.event")
def ping(call: Call, destination: str) -> dict[str, Any]:
    """Send a `v2.core.event_destination.ping` event to this destination alone."""

    def write(conn: Connection) -> dict[str, Any]:
        event = manage_event_destinations.ping(conn, call.act, destination)
        return thin_events.to_stripe(event, livemode=call.act.livemode)

    return call.write(write)


@routes.delete(URL + "/{destination}", returns=TYPE)
def delete(call: Call, destination: str) -> dict[str, Any]:
    """Delete an event destination; what it was yet to be sent, it is not."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_event_destinations.find_destination(conn, call.act, destination)
        manage_webhook_endpoints.delete_endpoint(conn, call.act, destination)
        return {"id": destination, "object": TYPE}

    return call.write(write)


def _switched(call: Call, destination: str, status: EndpointStatus) -> dict[str, Any]:
    return _changed(
        call,
        destination,
        lambda conn: manage_event_destinations.switch(conn, call.act, destination, status=status),
        with_url=False,
    )


def _changed(
    call: Call, destination: str, write: Callable[[Connection], None], *, with_url: bool
) -> dict[str, Any]:
    """Do ``write``, and show the destination as it is then, or by the time of a repeat."""

    def begin(conn: Connection) -> dict[str, Any]:
        write(conn)
        return {"id": destination}

    return call.write_and_show(begin, lambda conn, _: _shown(conn, call, destination, with_url))


def _shown(conn: Connection, call: Call, destination: str, with_url: bool) -> dict[str, Any]:
    found = manage_event_destinations.find_destination(conn, call.act, destination)
    return to_stripe(found, livemode=call.act.livemode, with_url=with_url)


def _checked(call: Call, address: Address) -> str:
    try:
        return manage_webhook_endpoints.checked_url(address.url, call.allowed_networks)
    except InvalidRequest as error:
        raise InvalidRequest(
            str(error), param=("webhook_endpoint", "url"), code="url_invalid"
        ) from None


# ─── Types ───────────────────────────────────────────────────────────────────────────────────


def _stored(types: list[str], payload: Payload) -> list[str]:
    """As endpoints keep them: thin types without v1's prefix, which snapshots do not have."""
    if payload == Payload.SNAPSHOT:
        wrong = [place for place, name in enumerate(types) if name.startswith(("v1.", "v2."))]
        kind = "Snapshots have types like invoice.paid"
    else:
        allowed = ("v1.", "v2.", "*")
        wrong = [place for place, name in enumerate(types) if not name.startswith(allowed)]
        kind = "Thin events have types like v1.invoice.paid"
    if wrong:
        raise InvalidRequest(
            f"Invalid event type: {types[wrong[0]]}. {kind}.", param=("enabled_events", wrong[0])
        )
    return [name.removeprefix(thin_events.PREFIX) for name in types]


def _types(endpoint: WebhookEndpoint) -> list[str]:
    if endpoint.payload == Payload.SNAPSHOT:
        return list(endpoint.enabled_events)
    return [
        name if name == "*" else thin_events.shown_type(name) for name in endpoint.enabled_events
    ]


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(
    destination: Destination,
    *,
    livemode: bool,
    with_url: bool = False,
    signing_secret: str | None = None,
) -> dict[str, Any]:
    """A destination; its URL and its secret are shown to those who ask for them (Stripe)."""
    endpoint = destination.endpoint
    shown = {"url": endpoint.url if with_url else None, "signing_secret": signing_secret}
    return {
        "id": endpoint.id,
        "object": TYPE,
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": iso(endpoint.created_at),
        "description": endpoint.description or "",
        "enabled_events": _types(endpoint),
        "event_payload": endpoint.payload,
        "events_from": ["@self"],
        "livemode": livemode,
        "metadata": dict(endpoint.metadata),
        "name": destination.name,
        "snapshot_api_version": endpoint.api_version,
        "status": endpoint.status,
        "status_details": _status_details(endpoint),
        "type": "webhook_endpoint",
        "updated": iso(destination.updated_at),
        "webhook_endpoint": shown if with_url or signing_secret else None,
    }


def _status_details(endpoint: WebhookEndpoint) -> dict[str, Any] | None:
    """By whom it was disabled: one that takes nothing for days, by ourselves."""
    if endpoint.status == EndpointStatus.ENABLED:
        return None
    return {"disabled": {"reason": "failing" if endpoint.failing_since else "user"}}
