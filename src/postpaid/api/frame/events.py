"""Events as Frame tells them: list and read them, and have one sent again."""

from __future__ import annotations

from typing import Any

from postpaid.api.frame.event_shapes import to_frame
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.params import Id
from postpaid.billing import redeliver
from postpaid.billing.deliver import Told
from postpaid.billing.perform import Act
from postpaid.billing.tell import Recorded, in_codes
from postpaid.core.deliveries import Facade, parsed_message_id
from postpaid.core.errors import NotFound
from postpaid.core.frame_events import RULES
from postpaid.storage import events
from postpaid.storage.database import Connection
from postpaid.storage.events import Event

routes = Routes("Events")


class Resend(FrameParams):
    webhook_endpoint: Id | None = None


@routes.get("/v1/events")
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List what happened, newest first (ours); one thing may be several events, or none."""

    def read(conn: Connection) -> dict[str, Any]:
        found = events.list_page(conn, call.act.account_id, params.rows, types=sorted(RULES))

        def render(page: Any) -> list[dict[str, Any]]:
            by_event = _tellings(conn, call.act, page)
            return to_frame(conn, call.act, [one for each in by_event for one in reversed(each)])

        return listing("/v1/events", params, found, render, named="events")

    return call.read(read)


@routes.get("/v1/events/{event}")
def retrieve(call: Call, event: str) -> dict[str, Any]:
    """Retrieve an event (ours)."""

    def read(conn: Connection) -> dict[str, Any]:
        return to_frame(conn, call.act, [_find(conn, call.act, event)])[0]

    return call.read(read)


@routes.post("/v1/events/{event}/resend")
def resend(call: Call, params: Resend, event: str) -> dict[str, Any]:
    """Send an event again, to one endpoint (ours) or to all that listen to it."""

    def write(conn: Connection) -> dict[str, Any]:
        found = _find(conn, call.act, event)
        redeliver.resend_event(
            conn,
            call.act,
            found.event.id,
            endpoint_id=params.webhook_endpoint,
            facade=Facade.FRAME,
            told_as=found.told_as,
        )
        return {"id": event, "status": "pending"}

    return call.write(write)


def _find(conn: Connection, act: Act, name: str) -> Told:
    """The event as it is told by the code in its name; without one, by its first.

    Raises ``NotFound``.
    """
    event_id, code = parsed_message_id(name)
    found = events.find(conn, act.account_id, event_id)
    told = _tellings(conn, act, [found])[0] if found else []
    for each in told:
        if code in (None, each.told_as):
            return each
    raise NotFound.of("event", name)


def _tellings(conn: Connection, act: Act, found: list[Event]) -> list[list[Told]]:
    """What each of the events is told as."""
    codes = in_codes(conn, act, [Recorded.of(each) for each in found])
    return [[Told(each, one.code) for one in codes[each.id]] for each in found]
