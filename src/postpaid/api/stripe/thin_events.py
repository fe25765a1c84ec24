"""Business events as v2 shows them: what happened, and where to find the object it happened to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from annotated_types import Len

from postpaid.api.instants import iso
from postpaid.api.params import Id, Instant, Integer, Params, Text
from postpaid.api.stripe import error_reports
from postpaid.api.stripe import events as events_v1
from postpaid.api.stripe.pages import invalid_page, neighbours, page_of
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.perform import Act
from postpaid.billing.report_rejections import ErrorReport
from postpaid.core.deliveries import FRAME_ONLY, Facade, is_known
from postpaid.core.errors import NotFound
from postpaid.storage import events
from postpaid.storage.database import Connection
from postpaid.storage.events import Event

routes = Routes("Events in v2")

PREFIX = "v1."  # of the types: they are v1's objects
OWN_PREFIX = "v2."  # of those that v1 does not know
URL = "/v2/core/events"
TYPES_MAX = 20
MILLISECOND = timedelta(milliseconds=1)  # what an instant is shown with

# The type of the object that an event is about, and the path it is found under.
RELATED = {
    "coupon": ("coupon", "/v1/coupons/"),
    "credit_grant": ("billing.credit_grant", "/v1/billing/credit_grants/"),
    "credit_note": ("credit_note", "/v1/credit_notes/"),
    "credit_transaction": (
        "billing.credit_balance_transaction",
        "/v1/billing/credit_balance_transactions/",
    ),
    "customer": ("customer", "/v1/customers/"),
    "invoice": ("invoice", "/v1/invoices/"),
    "invoiceitem": ("invoiceitem", "/v1/invoiceitems/"),
    "meter": ("billing.meter", "/v1/billing/meters/"),
    "meter_error_report": ("billing.meter", "/v1/billing/meters/"),
    "charge": ("charge", "/v1/charges/"),
    "invoice_payment": ("invoice_payment", "/v1/invoice_payments/"),
    "payment_intent": ("payment_intent", "/v1/payment_intents/"),
    "payment_method": ("payment_method", "/v1/payment_methods/"),
    "price": ("price", "/v1/prices/"),
    "product": ("product", "/v1/products/"),
    "promotion_code": ("promotion_code", "/v1/promotion_codes/"),
    "refund": ("refund", "/v1/refunds/"),
    "setup_intent": ("setup_intent", "/v1/setup_intents/"),
    "subscription": ("subscription", "/v1/subscriptions/"),
    "subscription_schedule": ("subscription_schedule", "/v1/subscription_schedules/"),
    "tax_rate": ("tax_rate", "/v1/tax_rates/"),
    "test_clock": ("test_helpers.test_clock", "/v1/test_helpers/test_clocks/"),
    "triggered_alert": ("billing.alert", "/v1/billing/alerts/"),
    "usage_backfill": ("usage.backfill", "/v1/usage/backfills/"),
    "webhook_endpoint": ("webhook_endpoint", "/v1/webhook_endpoints/"),
}

# The same of types that v1 does not know.
OF_OWN = {
    "v2.core.event_destination.ping": (
        "v2.core.event_destination",
        "/v2/core/event_destinations/",
    )
}


class InstantRange(Params):
    gt: Instant | None = None
    gte: Instant | None = None
    lt: Instant | None = None
    lte: Instant | None = None

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The half-open range: at least the first, before the second; None is unbounded."""
        starts = [t for t in (self.gte, self.gt and self.gt + MILLISECOND) if t is not None]
        ends = [t for t in (self.lt, self.lte and self.lte + MILLISECOND) if t is not None]
        return max(starts, default=None), min(ends, default=None)

    @property
    def spelled(self) -> dict[str, str]:
        return {name: at.isoformat() for name, at in self.given().items() if at is not None}


class ThinEventList(Params):
    created: InstantRange | None = None
    limit: Annotated[int, Integer(1, 100)] = 10
    object_id: Id | None = None
    page: Id | None = None
    types: Annotated[list[Annotated[str, Text(100)]], Len(1, TYPES_MAX)] | None = None


@routes.get(URL, returns="v2.core.event", many=True)
def list_(call: Call, params: ThinEventList) -> dict[str, Any]:
    """List events, newest first, by the object they are about, their types, and when they were."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        page = page_of(params.page, params.limit)
        try:
            found = events.list_page(
                conn,
                call.act.account_id,
                page,
                types=None if params.types is None else _stored_types(params.types),
                unknown=FRAME_ONLY,
                object_id=params.object_id,
                created_from=created_from,
                created_before=created_before,
            )
        except NotFound:
            raise invalid_page(params.page) from None
        return {
            "data": with_changes(conn, call.act, found.rows),
            **neighbours(URL, _query(params), page, found),
        }

    return call.read(read)


@routes.get("/v2/core/events/{event}", returns="v2.core.event")
def retrieve(call: Call, event: str) -> dict[str, Any]:
    """Retrieve an event, which has the same id in v1."""

    def read(conn: Connection) -> dict[str, Any]:
        found = events.find(conn, call.act.account_id, event)
        if found is None or not is_known(Facade.STRIPE, found.type):
            raise NotFound.of("event", event)
        return with_changes(conn, call.act, [found])[0]

    return call.read(read)


def _stored_types(types: Sequence[str]) -> list[str]:
    """As they are stored, without v1's prefix; a type without it is of no event of ours."""
    return [name.removeprefix(PREFIX) for name in types if name.startswith((PREFIX, OWN_PREFIX))]


def _query(params: ThinEventList) -> list[tuple[str, str]]:
    """What a page is asked for beside its name."""
    query: list[tuple[str, str]] = [("limit", str(params.limit))]
    if params.object_id is not None:
        query.append(("object_id", params.object_id))
    if params.created is not None:
        query += [(f"created[{name}]", at) for name, at in params.created.spelled.items()]
    query += [(f"types[{place}]", name) for place, name in enumerate(params.types or ())]
    return query


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def with_changes(conn: Connection, act: Act, shown: Sequence[Event]) -> list[dict[str, Any]]:
    """Events with what changed of their objects, before and after, in v1's shape.

    A few statements for all of them.
    """
    changed = [event for event in shown if event.previous is not None]
    snapshots = {each["id"]: each["data"] for each in events_v1.to_stripe(conn, act, changed)}
    return [
        to_stripe(event, livemode=act.livemode) | {"changes": _changes(snapshots.get(event.id))}
        for event in shown
    ]


def _changes(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is None:
        return None
    before: dict[str, Any] = data["previous_attributes"]
    return {"before": before, "after": _likewise(before, data["object"])}


def _likewise(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is now where something else was, as deep as that was told."""
    after: dict[str, Any] = {}
    for key, was in before.items():
        value = now.get(key)
        both = isinstance(was, dict) and isinstance(value, dict)
        after[key] = _likewise(was, value or {}) if both else value
    return after


def to_stripe(event: Event, *, livemode: bool) -> dict[str, Any]:
    """An event without its object, as it is delivered: what changed has to be fetched.

    A report of rejected usage has its data in it.
    """
    report = None
    if event.object_type == "meter_error_report":
        report = msgspec.json.decode(event.snapshot, type=ErrorReport)
    return {
        "id": event.id,
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": iso(event.created_at),
        "data": None if report is None else error_reports.data(report),
        "livemode": livemode,
        "reason": _reason(event),
        "related_object": _related(event),
        "snapshot_event": event.id,
        "type": shown_type(event.type),
    }


def shown_type(event_type: str) -> str:
    """A type as v2 has it."""
    return event_type if event_type.startswith(OWN_PREFIX) else PREFIX + event_type


def _reason(event: Event) -> dict[str, Any] | None:
    """The request that made it happen; null for what happens by itself."""
    if event.request_id is None:
        return None
    request = {"id": event.request_id, "idempotency_key": event.idempotency_key}
    return {"type": "request", "request": request}


def _related(event: Event) -> dict[str, str] | None:
    found = OF_OWN.get(event.type) or RELATED.get(event.object_type)
    if found is None or not event.object_id:
        return None
    object_type, path = found
    url = path + quote(event.object_id, safe="")
    return {"id": event.object_id, "type": object_type, "url": url}
