"""Webhook endpoints as Frame shows them: told by Frame's codes, signed by Frame's header."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.instants import seconds
from postpaid.api.params import Text, Unsettable
from postpaid.billing import manage_webhook_endpoints
from postpaid.billing.perform import Act
from postpaid.core.deliveries import EndpointStatus, Facade, Payload
from postpaid.core.errors import InvalidRequest
from postpaid.core.frame_events import is_code
from postpaid.core.values import replace
from postpaid.storage import webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.webhook_endpoints import WebhookEndpoint

routes = Routes("Webhook endpoints")

URL = "/v1/webhook_endpoints"
AT_ONCE = timedelta(0)

STATUS = {EndpointStatus.ENABLED: "active", EndpointStatus.DISABLED: "disabled"}

EventCodes = Annotated[list[Annotated[str, Text(100)]], Len(1, 500)]
"""What to be told of; ``invoice.*``, all of a kind, and ``*``, all there is, are ours."""


class EndpointUpdate(FrameParams):
    url: Annotated[str, Text(2000)] | None = None
    event_codes: EventCodes | None = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    status: Literal["active", "enabled", "disabled"] | None = None


class EndpointCreate(EndpointUpdate):
    url: Annotated[str, Text(2000)]
    event_codes: EventCodes


@routes.post(URL, status=201)
def create(call: Call, params: EndpointCreate) -> dict[str, Any]:
    """Create a webhook endpoint. Its secret is in this answer, and in a new secret's."""
    act, vault = call.act, call.database.vault
    endpoint = WebhookEndpoint(
        id=act.new_id("we"),
        facade=Facade.FRAME,
        payload=Payload.SNAPSHOT,
        created_at=act.now,
        **{"status": EndpointStatus.ENABLED} | _from_frame(call, params),
    )

    def write(conn: Connection) -> dict[str, Any]:
        manage_webhook_endpoints.create_endpoint(conn, act, endpoint, vault)
        return to_frame(endpoint, livemode=act.livemode)

    return _with_secret(call, call.write(write))


@routes.get(URL + "/{webhook_endpoint}")
def retrieve(call: Call, webhook_endpoint: str) -> dict[str, Any]:
    """Retrieve a webhook endpoint."""

    def read(conn: Connection) -> dict[str, Any]:
        found = manage_webhook_endpoints.find_endpoint(
            conn, call.act, webhook_endpoint, facade=Facade.FRAME
        )
        return to_frame(found, livemode=call.act.livemode)

    return call.read(read)


@routes.patch(URL + "/{webhook_endpoint}")
def update(call: Call, params: EndpointUpdate, webhook_endpoint: str) -> dict[str, Any]:
    """Update a webhook endpoint, enable it, or disable it; its codes are replaced."""
    changed = _from_frame(call, params)

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_webhook_endpoints.update_endpoint(
            conn,
            call.act,
            webhook_endpoint,
            lambda before: replace(before, **changed),
            facade=Facade.FRAME,
        )
        return to_frame(updated, livemode=call.act.livemode)

    return call.write(write)


@routes.get(URL)
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List the webhook endpoints that were made here, newest first."""

    def read(conn: Connection) -> dict[str, Any]:
        rows = webhook_endpoints.list_page(
            conn, call.act.account_id, params.rows, facade=Facade.FRAME
        )
        return listing(
            URL,
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="webhook_endpoints",
        )

    return call.read(read)


@routes.delete(URL + "/{webhook_endpoint}")
def delete(call: Call, webhook_endpoint: str) -> dict[str, Any]:
    """Delete a webhook endpoint; what it was yet to be sent, it is not."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_webhook_endpoints.delete_endpoint(
            conn, call.act, webhook_endpoint, facade=Facade.FRAME
        )
        return {"id": webhook_endpoint, "object": "webhook_endpoint", "deleted": True}

    return call.write(write)


@routes.post(URL + "/{webhook_endpoint}/rotate_secret")
def rotate_secret(call: Call, webhook_endpoint: str) -> dict[str, Any]:
    """Renew an endpoint's secret; the former one signs nothing any more (Frame)."""
    vault = call.database.vault

    def write(conn: Connection) -> dict[str, Any]:
        rotated = manage_webhook_endpoints.rotate_secret(
            conn,
            call.act,
            webhook_endpoint,
            overlap=AT_ONCE,
            vault=vault,
            facade=Facade.FRAME,
        )
        return to_frame(rotated, livemode=call.act.livemode)

    return _with_secret(call, call.write(write))


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _from_frame(call: Call, params: EndpointUpdate) -> dict[str, Any]:
    """The fields that are given, by an endpoint's names."""
    fields: dict[str, Any] = {}
    for name, value in params.given().items():
        if value is None and name != "description":
            continue
        match name:
            case "url":
                fields["url"] = manage_webhook_endpoints.checked_url(value, call.allowed_networks)
            case "event_codes":
                fields["enabled_events"] = _codes(value)
            case "status":
                disabled = value == "disabled"
                fields["status"] = EndpointStatus.DISABLED if disabled else EndpointStatus.ENABLED
            case _:
                fields[name] = value
    return fields


def _codes(given: Sequence[str]) -> list[str]:
    unknown = [name for name in given if not is_code(name)]
    if unknown:
        raise InvalidRequest(
            f"event_codes contains invalid codes: {', '.join(unknown[:10])}",
            param="event_codes",
            code="invalid_event_codes",
        )
    return list(dict.fromkeys(given))


def render_many(
    conn: Connection, act: Act, shown: Sequence[WebhookEndpoint]
) -> list[dict[str, Any]]:
    return [to_frame(each, livemode=act.livemode) for each in shown]


def to_frame(endpoint: WebhookEndpoint, *, livemode: bool) -> dict[str, Any]:
    """An endpoint without its secret."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "description": endpoint.description,
        "event_codes": list(endpoint.enabled_events),
        "status": STATUS[endpoint.status],
        "livemode": livemode,
        "created": seconds(endpoint.created_at),
        "updated": seconds(endpoint.created_at),
    }


def _with_secret(call: Call, shown: dict[str, Any]) -> dict[str, Any]:
    """What is answered only now: an answer that is remembered with a key has no secret in it."""
    with call.database.connection() as conn:
        secret = manage_webhook_endpoints.secret_of(
            conn, call.act, shown["id"], call.database.vault
        )
    return {**shown, "secret": secret}
