"""Metering in v2: single events, sessions, and the stream of up to 100 events in a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Len

from postpaid.api.gathering import Usage
from postpaid.api.instants import iso
from postpaid.api.params import Instant, Params, Text, TextMap
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_sessions
from postpaid.billing.check_usage import Reported, identifier_from, instant, milliseconds
from postpaid.billing.manage_sessions import IssuedSession
from postpaid.billing.perform import Act
from postpaid.billing.record_usage import Recorded
from postpaid.core.values import replace
from postpaid.storage.database import Connection

routes = Routes("Metering in v2")

STREAM_EVENTS_MAX = 100  # Stripe


class MeterEventCreate(Params):
    event_name: Annotated[str, Text(100)]
    payload: Annotated[dict[str, str], TextMap(60, 100, 500)]
    identifier: Annotated[str, Text(100)] | None = None
    timestamp: Instant | None = None


class MeterEventStreamCreate(Params):
    events: Annotated[list[MeterEventCreate], Len(1, STREAM_EVENTS_MAX)]


@routes.post("/v2/billing/meter_events", returns="v2.billing.meter_event", gathered=True)
def create(call: Call, params: MeterEventCreate) -> Usage:
    """Record usage of a customer; an identifier counts once."""

    def respond(conn: Connection, act: Act, recorded: Recorded) -> dict[str, Any]:
        for error in recorded.errors.values():
            raise error
        return event_to_stripe(
            act, params, recorded.references[0], occurred_ms=recorded.occurred_ms[0]
        )

    return Usage(reported([params]), respond)


@routes.post("/v2/billing/meter_event_session", returns="v2.billing.meter_event_session")
def create_session(call: Call) -> dict[str, Any]:
    """Open a session: its token may send to the stream for 15 minutes."""
    # The token is not ours to keep, so the answer is not remembered; a repeat opens another.
    return call.write_anew(
        lambda conn: session_to_stripe(manage_sessions.open_session(conn, call.act))
    )


@routes.post(
    "/v2/billing/meter_event_stream",
    returns="v2.billing.meter_event_stream",
    auth="session",
    gathered=True,
)
def stream(call: Call, params: MeterEventStreamCreate) -> Usage:
    """Record up to 100 events, with the token of a meter event session as Bearer.

    What is right is stored when it is answered. What is not is reported in an event,
    `v1.billing.meter.error_report_triggered` or `v1.billing.meter.no_meter_found`. A repeat is
    silent.
    """
    given = reported(identified(params.events, call.act.idempotency_key))
    # Events are known by their identifiers: a key would say the same again, at the cost of a row.
    call.act = replace(call.act, idempotency_key=None)

    return Usage(given, lambda conn, act, recorded: {}, silent=True)


# ─── What is said ────────────────────────────────────────────────────────────────────────────


def reported(events: Sequence[MeterEventCreate]) -> Reported:
    """Events as columns."""
    return Reported(
        [each.event_name for each in events],
        [each.payload for each in events],
        [each.identifier for each in events],
        [None if each.timestamp is None else milliseconds(each.timestamp) for each in events],
        {},
    )


def identified(
    events: Sequence[MeterEventCreate], idempotency_key: str | None
) -> Sequence[MeterEventCreate]:
    """The events, those without an identifier with one that a repeat of the request gives again.

    It is made from the request's key and the event's place. Without a key they stay as they are.
    """
    if idempotency_key is None:
        return events
    return [
        each
        if each.identifier is not None
        else each.model_copy(update={"identifier": identifier_from(idempotency_key, place)})
        for place, each in enumerate(events)
    ]


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def event_to_stripe(
    act: Act, params: MeterEventCreate, identifier: str, *, occurred_ms: int
) -> dict[str, Any]:
    """The event as it was accepted."""
    return {
        "object": "v2.billing.meter_event",
        "created": iso(act.now),
        "event_name": params.event_name,
        "identifier": identifier,
        "livemode": act.livemode,
        "payload": params.payload,
        "timestamp": iso(instant(occurred_ms)),
    }


def session_to_stripe(issued: IssuedSession) -> dict[str, Any]:
    """The session with its token, which is never shown again."""
    return {
        "id": issued.session.id,
        "object": "v2.billing.meter_event_session",
        "authentication_token": issued.token,
        "created": iso(issued.session.created_at),
        "expires_at": iso(issued.session.expires_at),
        "livemode": issued.session.livemode,
    }
