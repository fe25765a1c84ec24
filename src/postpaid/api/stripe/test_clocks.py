"""Test clocks as Stripe shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from postpaid.api.instants import seconds
from postpaid.api.params import Params, Text, Timestamp
from postpaid.api.stripe.expand import loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_test_clocks
from postpaid.billing.perform import Act
from postpaid.core.errors import NotFound
from postpaid.storage import test_clocks
from postpaid.storage.database import Connection
from postpaid.storage.test_clocks import TestClock

routes = Routes("Test clocks")


class TestClockCreate(Params):
    frozen_time: Timestamp
    name: Annotated[str, Text(300)] | None = None


class TestClockAdvance(Params):
    frozen_time: Timestamp


@routes.post("/v1/test_helpers/test_clocks", returns="test_helpers.test_clock")
def create(call: Call, params: TestClockCreate) -> dict[str, Any]:
    """Create a test clock, which stands at a time in the past or the future."""

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_test_clocks.create_test_clock(
            conn, call.act, frozen_at=params.frozen_time, name=params.name
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/test_helpers/test_clocks/{clock}", returns="test_helpers.test_clock")
def retrieve(call: Call, clock: str) -> dict[str, Any]:
    """Retrieve a test clock, to see whether it has arrived."""

    def read(conn: Connection) -> dict[str, Any]:
        found = test_clocks.find(conn, call.act.account_id, clock)
        if found is None or found.deleted_at is not None:
            raise NotFound.of("test clock", clock)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.get("/v1/test_helpers/test_clocks", returns="test_helpers.test_clock", many=True)
def list_(call: Call, params: ListParams) -> dict[str, Any]:
    """List test clocks, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/test_helpers/test_clocks",
            test_clocks.list_page(conn, call.act.account_id, params.page),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.post("/v1/test_helpers/test_clocks/{clock}/advance", returns="test_helpers.test_clock")
def advance(call: Call, params: TestClockAdvance, clock: str) -> dict[str, Any]:
    """Send a test clock forward; it is ready again when all that falls due on the way is done."""

    def write(conn: Connection) -> dict[str, Any]:
        advancing = manage_test_clocks.advance_test_clock(
            conn, call.act, clock, target_at=params.frozen_time
        )
        return to_stripe(advancing, livemode=call.act.livemode)

    return call.write(write)


@routes.delete("/v1/test_helpers/test_clocks/{clock}", returns="test_helpers.test_clock")
def delete(call: Call, clock: str) -> dict[str, Any]:
    """Delete a test clock and its customers, whose subscriptions end at once."""
    return call.write(
        lambda conn: to_stripe(
            manage_test_clocks.delete_test_clock(conn, call.act, clock), livemode=call.act.livemode
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(clock: TestClock, *, livemode: bool) -> dict[str, Any]:
    """A test clock, or of one that was deleted only that."""
    if clock.deleted_at is not None:
        return {"id": clock.id, "object": "test_helpers.test_clock", "deleted": True}
    target = None
    if clock.target_at is not None:
        target = {"target_frozen_time": seconds(clock.target_at)}
    return {
        "id": clock.id,
        "object": "test_helpers.test_clock",
        "created": seconds(clock.created_at),
        "deletes_after": seconds(clock.deletes_at),
        "frozen_time": seconds(clock.frozen_at),
        "livemode": livemode,
        "name": clock.name,
        "status": clock.status,
        "status_details": {"advancing": target},
    }


@loader("test_helpers.test_clock")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = test_clocks.load(conn, act.account_id, ids)
    return {key: to_stripe(each, livemode=act.livemode) for key, each in found.items()}
