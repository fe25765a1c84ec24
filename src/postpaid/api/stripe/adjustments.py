"""Meter event adjustments, v1 and v2: an event is taken back by its identifier."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from postpaid.api.instants import iso
from postpaid.api.params import Params, Text
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.cancel_usage import Cancellation, cancel_usage
from postpaid.billing.perform import Act
from postpaid.storage.database import Connection

routes = Routes("Meter event adjustments")


class Cancel(Params):
    identifier: Annotated[str, Text(100)]


class AdjustmentCreate(Params):
    cancel: Cancel
    event_name: Annotated[str, Text(100)]
    type: Literal["cancel"]


@routes.post("/v1/billing/meter_event_adjustments", returns="billing.meter_event_adjustment")
def create(call: Call, params: AdjustmentCreate) -> dict[str, Any]:
    """Cancel a meter event: it counts no more, and its identifier stays taken.

    It is done when it is answered. A final invoice stays as it is.
    """

    def write(conn: Connection) -> dict[str, Any]:
        _cancel(conn, call.act, params)
        return to_stripe(params, livemode=call.act.livemode)

    return call.write(write)


@routes.post("/v2/billing/meter_event_adjustments", returns="v2.billing.meter_event_adjustment")
def create_v2(call: Call, params: AdjustmentCreate) -> dict[str, Any]:
    """Cancel a meter event: it counts no more, and its identifier stays taken.

    It is done when it is answered. A final invoice stays as it is.
    """

    def write(conn: Connection) -> dict[str, Any]:
        _cancel(conn, call.act, params)
        return to_stripe_v2(call.act, params)

    return call.write(write)


def _cancel(conn: Connection, act: Act, params: AdjustmentCreate) -> None:
    cancellation = Cancellation(params.event_name, params.cancel.identifier)
    for error in cancel_usage(conn, act, [cancellation]).values():
        raise error


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(params: AdjustmentCreate, *, livemode: bool) -> dict[str, Any]:
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": params.cancel.identifier},
        "event_name": params.event_name,
        "livemode": livemode,
        "status": "complete",
        "type": params.type,
    }


def to_stripe_v2(act: Act, params: AdjustmentCreate) -> dict[str, Any]:
    """The same in v2, with an id by which nothing can be asked for, at Stripe neither."""
    return {
        "id": act.new_id("mtr_event_adj"),
        "object": "v2.billing.meter_event_adjustment",
        "cancel": {"identifier": params.cancel.identifier},
        "created": iso(act.now),
        "event_name": params.event_name,
        "livemode": act.livemode,
        "status": "complete",
        "type": params.type,
    }
