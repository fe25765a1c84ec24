"""Meters as Stripe shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from postpaid.api.stripe.lists import listing, seconds
from postpaid.api.stripe.params import ListParams, Params, Text
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


class CustomerMapping(Params):
    event_payload_key: PayloadKey
    type: Literal["by_id"]


class DefaultAggregation(Params):
    formula: Aggregation


class ValueSettings(Params):
    event_payload_key: PayloadKey


class MeterCreate(Params):
    default_aggregation: DefaultAggregation
    display_name: Name
    event_name: Annotated[str, Text(100)]
    customer_mapping: CustomerMapping = CustomerMapping(
        event_payload_key="stripe_customer_id", type="by_id"
    )
    value_settings: ValueSettings = ValueSettings(event_payload_key="value")


class MeterUpdate(Params):
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
    """Rename a meter; nothing else of it can change."""

    def change(before: Meter) -> Meter:
        return replace(before, **params.given())

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


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(meter: Meter, *, livemode: bool) -> dict[str, Any]:
    """A meter. Every event counts: there is no event time window."""
    return {
        "id": meter.id,
        "object": "billing.meter",
        "created": seconds(meter.created_at),
        "customer_mapping": {"event_payload_key": meter.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": meter.aggregation},
        "display_name": meter.display_name,
        "event_name": meter.event_name,
        "event_time_window": None,
        "livemode": livemode,
        "status": meter.status,
        "status_transitions": {"deactivated_at": seconds(meter.deactivated_at)},
        "updated": seconds(meter.updated_at),
        "value_settings": {"event_payload_key": meter.value_key},
    }
