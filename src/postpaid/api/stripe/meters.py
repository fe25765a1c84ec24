"""Meters as Stripe shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from postpaid.api.instants import seconds
from postpaid.api.params import Integer, Params, Text
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_meters
from postpaid.core.errors import NotFound
from postpaid.core.metering import Aggregation
from postpaid.core.values import replace
from postpaid.storage import meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter, MeterStatus

routes = Routes("Meters")

Name = Annotated[str, Text(250)]
PayloadKey = Annotated[str, Text(100)]
Span = Annotated[int, Integer(0, 3_650 * 86_400)]  # seconds, up to ten years


class CustomerMapping(Params):
    event_payload_key: PayloadKey
    type: Literal["by_id"]


class DefaultAggregation(Params):
    formula: Aggregation


class ValueSettings(Params):
    event_payload_key: PayloadKey


class AcceptanceWindow(Params):
    future: Annotated[int, Integer(0, 43_200)] | None = None
    past: Span | None = None


class MeterCreate(Params):
    default_aggregation: DefaultAggregation
    display_name: Name
    event_name: Annotated[str, Text(100)]
    acceptance_window: AcceptanceWindow = AcceptanceWindow()
    cancellation_window: Span | None = None
    customer_mapping: CustomerMapping = CustomerMapping(
        event_payload_key="stripe_customer_id", type="by_id"
    )
    event_time_window: Literal["day", "hour"] | None = None
    value_settings: ValueSettings = ValueSettings(event_payload_key="value")


class MeterUpdate(Params):
    acceptance_window: AcceptanceWindow = AcceptanceWindow()
    cancellation_window: Span | None = None
    display_name: Name | None = None


class MeterList(ListParams):
    status: MeterStatus | None = None


@routes.post("/v1/billing/meters", returns="billing.meter")
def create(call: Call, params: MeterCreate) -> dict[str, Any]:
    """Create a meter, which takes events from now on."""

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_meters.create_meter(
            conn,
            call.act,
            display_name=params.display_name,
            event_name=params.event_name,
            aggregation=params.default_aggregation.formula,
            customer_key=params.customer_mapping.event_payload_key,
            value_key=params.value_settings.event_payload_key,
            event_time_window=params.event_time_window,
            **_spans(params),
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/billing/meters/{meter}", returns="billing.meter")
def retrieve(call: Call, meter: str) -> dict[str, Any]:
    """Retrieve a meter."""

    def read(conn: Connection) -> dict[str, Any]:
        found = meters.find(conn, call.act.account_id, meter)
        if found is None:
            raise NotFound.of("meter", meter)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.post("/v1/billing/meters/{meter}", returns="billing.meter")
def update(call: Call, params: MeterUpdate, meter: str) -> dict[str, Any]:
    """Rename a meter, or change which events it accepts; how it counts cannot change."""

    def change(before: Meter) -> Meter:
        renamed = {} if params.display_name is None else {"display_name": params.display_name}
        return replace(before, **renamed, **_spans(params))

    return call.write(
        lambda conn: to_stripe(
            manage_meters.update_meter(conn, call.act, meter, change), livemode=call.act.livemode
        )
    )


@routes.get("/v1/billing/meters", returns="billing.meter", many=True)
def list_(call: Call, params: MeterList) -> dict[str, Any]:
    """List meters, newest first."""
    return call.read(
        lambda conn: listing(
            "/v1/billing/meters",
            meters.list_page(conn, call.act.account_id, params.page, status=params.status),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.post("/v1/billing/meters/{meter}/deactivate", returns="billing.meter")
def deactivate(call: Call, meter: str) -> dict[str, Any]:
    """Deactivate a meter: its events are refused, and no new price can use it."""
    return call.write(
        lambda conn: to_stripe(
            manage_meters.deactivate_meter(conn, call.act, meter), livemode=call.act.livemode
        )
    )


@routes.post("/v1/billing/meters/{meter}/reactivate", returns="billing.meter")
def reactivate(call: Call, meter: str) -> dict[str, Any]:
    """Reactivate a meter."""
    return call.write(
        lambda conn: to_stripe(
            manage_meters.reactivate_meter(conn, call.act, meter), livemode=call.act.livemode
        )
    )


def _spans(params: MeterCreate | MeterUpdate) -> dict[str, int]:
    """The spans that were given, by the name of the meter's field."""
    given = {
        "accepts_past_s": params.acceptance_window.past,
        "accepts_future_s": params.acceptance_window.future,
        "cancels_within_s": params.cancellation_window,
    }
    return {name: span for name, span in given.items() if span is not None}


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(meter: Meter, *, livemode: bool) -> dict[str, Any]:
    """A meter. Ours are ``acceptance_window`` and ``cancellation_window``, in seconds."""
    return {
        "id": meter.id,
        "object": "billing.meter",
        "acceptance_window": {"future": meter.accepts_future_s, "past": meter.accepts_past_s},
        "cancellation_window": meter.cancels_within_s,
        "created": seconds(meter.created_at),
        "customer_mapping": {"event_payload_key": meter.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": meter.aggregation},
        "display_name": meter.display_name,
        "event_name": meter.event_name,
        "event_time_window": meter.event_time_window,
        "livemode": livemode,
        "status": meter.status,
        "status_transitions": {"deactivated_at": seconds(meter.deactivated_at)},
        "updated": seconds(meter.updated_at),
        "value_settings": {"event_payload_key": meter.value_key},
    }
