"""Deliveries of events to endpoints (ours): what became of them, and to send them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.params import Id, Params
from postpaid.api.stripe import events
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import redeliver
from postpaid.core.deliveries import DeliveryStatus, Facade
from postpaid.core.errors import NotFound
from postpaid.storage import deliveries, delivery_attempts, webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.deliveries import Delivery
from postpaid.storage.delivery_attempts import Attempt
from postpaid.storage.paging import Rows

routes = Routes("Webhook deliveries")


class DeliveryList(ListParams):
    status: DeliveryStatus | None = None


class Resend(Params):
    webhook_endpoint: Id | None = None


@routes.get(
    "/v1/webhook_endpoints/{webhook_endpoint}/deliveries", returns="webhook_delivery", many=True
)
def list_(call: Call, params: DeliveryList, webhook_endpoint: str) -> dict[str, Any]:
    """List what an endpoint was sent, and is to be, newest first, with every attempt."""

    def read(conn: Connection) -> dict[str, Any]:
        account_id = call.act.account_id
        if not webhook_endpoints.load(conn, account_id, [webhook_endpoint]):
            raise NotFound.of("webhook endpoint", webhook_endpoint)
        found = deliveries.list_page(
            conn, account_id, params.page, endpoint_id=webhook_endpoint, status=params.status
        )
        shown = render_many(conn, account_id, found.rows, livemode=call.act.livemode)
        url = f"/v1/webhook_endpoints/{webhook_endpoint}/deliveries"
        return listing(url, Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/webhook_deliveries/{delivery}", returns="webhook_delivery")
def retrieve(call: Call, delivery: str) -> dict[str, Any]:
    """Retrieve a delivery, with every attempt that was made."""

    def read(conn: Connection) -> dict[str, Any]:
        found = deliveries.load(conn, call.act.account_id, [delivery])
        if not found:
            raise NotFound.of("webhook delivery", delivery)
        return render_many(conn, call.act.account_id, found, livemode=call.act.livemode)[0]

    return call.read(read)


@routes.post("/v1/events/{event}/resend", returns="event")
def resend(call: Call, params: Resend, event: str) -> dict[str, Any]:
    """Send an event again, to one endpoint or to all that listen to it (ours)."""

    def write(conn: Connection) -> dict[str, Any]:
        found = redeliver.resend_event(
            conn,
            call.act,
            event,
            endpoint_id=params.webhook_endpoint,
            facade=Facade.STRIPE,
        )
        return events.to_stripe(conn, call.act, [found])[0]

    return call.write(write)


@routes.post("/v1/events/{event}/retry", returns="event")
def retry(call: Call, params: Resend, event: str) -> dict[str, Any]:
    """As ``resend``: where Stripe's command line asks for it."""
    return resend(call, params, event)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def render_many(
    conn: Connection, account_id: int, shown: Sequence[Delivery], *, livemode: bool
) -> list[dict[str, Any]]:
    """Deliveries with their attempts, with one statement for all of them."""
    attempts = delivery_attempts.list_many(conn, account_id, [each.id for each in shown])
    return [to_stripe(each, attempts[each.id], livemode=livemode) for each in shown]


def to_stripe(delivery: Delivery, attempts: Sequence[Attempt], *, livemode: bool) -> dict[str, Any]:
    """A delivery; ``next_attempt`` is null too for one that waits for an earlier one."""
    waits = delivery.due_at is None or delivery.attempts == 0
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "attempt_count": delivery.attempts,
        "attempts": [
            {
                "attempted": seconds(each.attempted_at),
                "duration_ms": each.duration_ms,
                "error": each.error,
                "number": each.number,
                "response": each.response,
                "status_code": each.status_code,
            }
            for each in attempts
        ],
        "created": seconds(delivery.created_at),
        "event": delivery.event_id,
        "livemode": livemode,
        "next_attempt": None if waits else seconds(delivery.due_at),
        "settled": seconds(delivery.settled_at),
        "status": delivery.status,
        "webhook_endpoint": delivery.endpoint_id,
    }
