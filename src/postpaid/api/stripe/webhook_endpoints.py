"""Webhook endpoints as Stripe shows them; what they are sent, and their secrets' renewal (ours)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    Boolean,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_webhook_endpoints, redeliver
from postpaid.billing.manage_webhook_endpoints import OVERLAP_MAX
from postpaid.core.deliveries import EndpointStatus, Facade, Payload, is_type
from postpaid.core.errors import InvalidRequest
from postpaid.core.values import replace
from postpaid.storage import webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.webhook_endpoints import WebhookEndpoint

routes = Routes("Webhook endpoints")

URL = "/v1/webhook_endpoints"
DAY_S = 86_400


def _types(value: list[str]) -> list[str]:
    for name in value:
        if not is_type(name):
            raise refuse(f"Invalid event type: {name[:40]}; like invoice.paid, invoice.*, or *")
    return list(dict.fromkeys(value))


EnabledEvents = Annotated[list[Annotated[str, Text(100)]], Len(1, 500), AfterValidator(_types)]
"""Types of events; ``invoice.*`` is all of a kind, and ``*`` all there are."""


class EndpointCreate(Params):
    enabled_events: EnabledEvents
    url: Annotated[str, Text(2000)]
    api_version: Annotated[str, Text(50)] | None = None
    connect: Boolean | None = None
    description: Unsettable[Annotated[str, Text(5000)]] = None
    metadata: Metadata = None
    payload: Payload = Payload.SNAPSHOT


class EndpointUpdate(Params):
    description: Unsettable[Annotated[str, Text(5000)]] = None
    disabled: Boolean | None = None
    enabled_events: EnabledEvents | None = None
    metadata: Metadata = None
    url: Annotated[str, Text(2000)] | None = None


class SecretRotate(Params):
    overlap: Annotated[int, Integer(0, int(OVERLAP_MAX.total_seconds()))] = DAY_S


class Redeliver(Params):
    created: TimeRange | None = None
    only_failed: Boolean = True


@routes.post(URL, returns="webhook_endpoint")
def create(call: Call, params: EndpointCreate) -> dict[str, Any]:
    """Create a webhook endpoint. Its secret is in this answer, and in no other."""
    if params.connect:
        raise InvalidRequest("There are no connected accounts.", param="connect")
    act = call.act
    endpoint = WebhookEndpoint(
        id=act.new_id("we"),
        url=manage_webhook_endpoints.checked_url(params.url, call.allowed_networks),
        enabled_events=params.enabled_events,
        facade=Facade.STRIPE,
        payload=params.payload,
        status=EndpointStatus.ENABLED,
        created_at=act.now,
        api_version=params.api_version,
        description=params.description,
        metadata=merge_metadata({}, params.metadata),
    )
    vault = call.database.vault
    return _with_secret(
        call,
        call.write(
            lambda conn: to_stripe(
                manage_webhook_endpoints.create_endpoint(conn, act, endpoint, vault),
                livemode=act.livemode,
            )
        ),
    )


@routes.get(URL + "/{webhook_endpoint}", returns="webhook_endpoint")
def retrieve(call: Call, webhook_endpoint: str) -> dict[str, Any]:
    """Retrieve a webhook endpoint."""

    def read(conn: Connection) -> dict[str, Any]:
        found = manage_webhook_endpoints.find_endpoint(conn, call.act, webhook_endpoint)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post(URL + "/{webhook_endpoint}", returns="webhook_endpoint")
def update(call: Call, params: EndpointUpdate, webhook_endpoint: str) -> dict[str, Any]:
    """Update a webhook endpoint, enable it, or disable it."""
    given = params.given()
    if params.url is not None:
        manage_webhook_endpoints.checked_url(params.url, call.allowed_networks)
    disabled = given.pop("disabled", None)
    if disabled is not None:
        given["status"] = EndpointStatus.DISABLED if disabled else EndpointStatus.ENABLED

    def change(before: WebhookEndpoint) -> WebhookEndpoint:
        changed = dict(given)
        if "metadata" in changed:
            changed["metadata"] = merge_metadata(before.metadata, changed["metadata"])
        return replace(before, **changed)

    return call.write(
        lambda conn: to_stripe(
            manage_webhook_endpoints.update_endpoint(conn, call.act, webhook_endpoint, change),
            livemode=call.act.livemode,
        )
    )


@routes.get(URL, returns="webhook_endpoint", many=True)
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List webhook endpoints, newest first."""
    return call.read(
        lambda conn: listing(
            URL,
            webhook_endpoints.list_page(
                conn, call.act.account_id, params.page, facade=Facade.STRIPE
            ),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.delete(URL + "/{webhook_endpoint}", returns="webhook_endpoint")
def delete(call: Call, webhook_endpoint: str) -> dict[str, Any]:
    """Delete a webhook endpoint; what it was yet to be sent, it is not."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_webhook_endpoints.delete_endpoint(conn, call.act, webhook_endpoint)
        return {"id": webhook_endpoint, "object": "webhook_endpoint", "deleted": True}

    return call.write(write)


@routes.post(URL + "/{webhook_endpoint}/rotate_secret", returns="webhook_endpoint")
def rotate_secret(call: Call, params: SecretRotate, webhook_endpoint: str) -> dict[str, Any]:
    """Renew an endpoint's secret (ours); for ``overlap`` seconds the former one signs too."""
    vault = call.database.vault
    return _with_secret(
        call,
        call.write(
            lambda conn: to_stripe(
                manage_webhook_endpoints.rotate_secret(
                    conn,
                    call.act,
                    webhook_endpoint,
                    overlap=timedelta(seconds=params.overlap),
                    vault=vault,
                ),
                livemode=call.act.livemode,
            )
        ),
    )


@routes.post(URL + "/{webhook_endpoint}/redeliver", returns="webhook_redelivery")
def redeliver_(call: Call, params: Redeliver, webhook_endpoint: str) -> dict[str, Any]:
    """Send an endpoint again what it failed to take, or everything, of a range of time (ours)."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def write(conn: Connection) -> dict[str, Any]:
        done = redeliver.redeliver(
            conn,
            call.act,
            webhook_endpoint,
            created_from=created_from,
            created_before=created_before,
            only_failed=params.only_failed,
        )
        return {
            "object": "webhook_redelivery",
            "deliveries": done.count,
            "has_more": done.has_more,
            "livemode": call.act.livemode,
            "webhook_endpoint": webhook_endpoint,
        }

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(endpoint: WebhookEndpoint, *, livemode: bool) -> dict[str, Any]:
    """An endpoint without its secret; ``payload`` is ours."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": endpoint.api_version,
        "application": None,
        "created": seconds(endpoint.created_at),
        "description": endpoint.description,
        "enabled_events": list(endpoint.enabled_events),
        "livemode": livemode,
        "metadata": dict(endpoint.metadata),
        "payload": endpoint.payload,
        "status": endpoint.status,
        "url": endpoint.url,
    }


def _with_secret(call: Call, shown: dict[str, Any]) -> dict[str, Any]:
    """What is answered only now: an answer that is remembered with a key has no secret in it."""
    with call.database.connection() as conn:
        secret = manage_webhook_endpoints.secret_of(
            conn, call.act, shown["id"], call.database.vault
        )
    return {**shown, "secret": secret}
