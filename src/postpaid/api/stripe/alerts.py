"""Alerts as Stripe shows them, and what they say when they are triggered."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Dec, Id, Integer, Params, Text, refuse
from postpaid.api.stripe.expand import expandable
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.positions import position_to_stripe
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_alerts
from postpaid.core.alerts import Alert, AlertRecurrence, TriggeredAlert
from postpaid.core.errors import NotFound
from postpaid.core.money import plain
from postpaid.storage import alerts
from postpaid.storage.database import Connection

routes = Routes("Alerts")

PERCENT_MAX = 1_000_000


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise refuse("This value must be greater than 0.")
    return value


Positive = Annotated[Dec, AfterValidator(_positive)]


class AlertFilter(Params):
    customer: Id
    type: Literal["customer"]


class UsageThreshold(Params):
    """When to send it: at a quantity, a percentage of what is included, or an amount."""

    meter: Id
    recurrence: AlertRecurrence
    gte: Positive | None = None
    percent: Annotated[int, Integer(1, PERCENT_MAX)] | None = None
    amount: Annotated[int, Integer(1, AMOUNT_MAX)] | None = None
    filters: Annotated[list[AlertFilter], MaxLen(1)] | None = None


class AlertCreate(Params):
    alert_type: Literal["usage_threshold"]
    title: Annotated[str, Text(256)]
    usage_threshold: UsageThreshold


class AlertList(ListParams):
    alert_type: Literal["usage_threshold"] | None = None
    meter: Id | None = None


@routes.post("/v1/billing/alerts", returns="billing.alert")
def create(call: Call, params: AlertCreate) -> dict[str, Any]:
    """Create an alert, which watches what is reported from now on."""
    asked = params.usage_threshold

    def write(conn: Connection) -> dict[str, Any]:
        created = manage_alerts.create_alert(
            conn,
            call.act,
            title=params.title,
            meter_id=asked.meter,
            customer_id=asked.filters[0].customer if asked.filters else None,
            recurrence=asked.recurrence,
            gte=asked.gte,
            percent=asked.percent,
            amount=asked.amount,
        )
        return to_stripe(created, livemode=call.act.livemode)

    return call.write(write)


@routes.get("/v1/billing/alerts/{alert}", returns="billing.alert")
def retrieve(call: Call, alert: str) -> dict[str, Any]:
    """Retrieve an alert."""

    def read(conn: Connection) -> dict[str, Any]:
        found = alerts.find(conn, call.act.account_id, alert)
        if found is None:
            raise NotFound.of("alert", alert)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


@routes.get("/v1/billing/alerts", returns="billing.alert", many=True)
def list_(call: Call, params: AlertList) -> dict[str, Any]:
    """List alerts, newest first, those archived among them."""
    return call.read(
        lambda conn: listing(
            "/v1/billing/alerts",
            alerts.list_page(conn, call.act.account_id, params.page, meter_id=params.meter),
            lambda each: to_stripe(each, livemode=call.act.livemode),
        )
    )


@routes.post("/v1/billing/alerts/{alert}/activate", returns="billing.alert")
def activate(call: Call, alert: str) -> dict[str, Any]:
    """Activate an alert: it is sent where it was not yet."""
    return call.write(
        lambda conn: to_stripe(
            manage_alerts.activate_alert(conn, call.act, alert), livemode=call.act.livemode
        )
    )


@routes.post("/v1/billing/alerts/{alert}/deactivate", returns="billing.alert")
def deactivate(call: Call, alert: str) -> dict[str, Any]:
    """Deactivate an alert: it is not sent until it is activated."""
    return call.write(
        lambda conn: to_stripe(
            manage_alerts.deactivate_alert(conn, call.act, alert), livemode=call.act.livemode
        )
    )


@routes.post("/v1/billing/alerts/{alert}/archive", returns="billing.alert")
def archive(call: Call, alert: str) -> dict[str, Any]:
    """Archive an alert, for good."""
    return call.write(
        lambda conn: to_stripe(
            manage_alerts.archive_alert(conn, call.act, alert), livemode=call.act.livemode
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(alert: Alert, *, livemode: bool) -> dict[str, Any]:
    """An alert. ``percent`` and ``amount`` are ours; where one is given there is no ``gte``."""
    filters = []
    if alert.customer_id is not None:
        filters.append({"customer": alert.customer_id, "type": "customer"})
    return {
        "id": alert.id,
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "livemode": livemode,
        "status": alert.status,
        "title": alert.title,
        "usage_threshold": {
            "amount": alert.amount,
            "filters": filters,
            "gte": None if alert.gte is None else _whole(alert.gte),
            "meter": alert.meter_id,
            "percent": alert.percent,
            "recurrence": alert.recurrence,
        },
    }


def triggered_to_stripe(triggered: TriggeredAlert, *, livemode: bool) -> dict[str, Any]:
    """What an alert said. ``value`` is cut to a whole number; the rest of the position is ours."""
    nowhere = {
        "amount": None,
        "included": None,
        "overage": None,
        "overage_amount": None,
        "percent": None,
        "remaining": None,
        "used": None,
        "window": None,
    }
    return {
        "object": "billing.alert_triggered",
        "alert": to_stripe(triggered.alert, livemode=livemode),
        "created": seconds(triggered.created_at),
        "currency": triggered.currency,
        "customer": triggered.customer_id,
        "livemode": livemode,
        "subscription": triggered.subscription_id,
        "subscription_item": triggered.item_id,
        "value": int(triggered.quantity),
        "value_decimal": plain(triggered.quantity),
        **(nowhere if triggered.position is None else position_to_stripe(triggered.position)),
    }


def _whole(number: Decimal) -> int | str:
    """Stripe's thresholds are whole numbers and so are most of ours; others are text."""
    return int(number) if number == number.to_integral_value() else plain(number)


expandable("billing.alert", "usage_threshold.filters.customer", load="customer")
