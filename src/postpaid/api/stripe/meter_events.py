"""Meter events in, one in a request, as Stripe has them in v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from postpaid.api.gathering import Usage
from postpaid.api.params import Params, Text, TextMap, Timestamp
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.check_usage import Reported, milliseconds
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Recorded
from postpaid.storage.database import Connection

routes = Routes("Usage")


class MeterEventCreate(Params):
    event_name: Annotated[str, Text(100)]
    payload: Annotated[dict[str, str], TextMap(60, 100, 500)]
    identifier: Annotated[str, Text(100)] | None = None
    timestamp: Timestamp | None = None


@routes.post("/v1/billing/meter_events", returns="billing.meter_event", gathered=True)
def create(call: Call, params: MeterEventCreate) -> Usage:
    """Record usage of a customer; an identifier counts once."""

    def respond(conn: Connection, act: Act, recorded: Recorded) -> Mapping[str, Any]:
        for error in recorded.errors.values():
            raise error
        return to_stripe(act, params, recorded.references[0], occurred_ms=recorded.occurred_ms[0])

    timestamp = None if params.timestamp is None else milliseconds(params.timestamp)
    return Usage(
        Reported([params.event_name], [params.payload], [params.identifier], [timestamp]), respond
    )


def to_stripe(
    act: Act, params: MeterEventCreate, identifier: str, *, occurred_ms: int
) -> dict[str, Any]:
    """The event as it was accepted."""
    return {
        "object": "billing.meter_event",
        "created": int(act.now.timestamp()),
        "event_name": params.event_name,
        "identifier": identifier,
        "livemode": act.livemode,
        "payload": params.payload,
        "timestamp": occurred_ms // 1000,
    }
