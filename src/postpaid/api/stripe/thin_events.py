"""Business events as v2 shows them: what happened, and where to find the object it happened to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from annotated_types import Len

from postpaid.api.stripe import error_reports
from postpaid.api.stripe.lists import iso
from postpaid.api.stripe.params import Id, Instant, Integer, Params, Text
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.report_rejections import ErrorReport
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage import events
from postpaid.storage.database import Connection
from postpaid.storage.events import Event
from postpaid.storage.paging import Page, Rows

routes = Routes("Events in v2")

PREFIX = "v1."  # of the types: they are v1's objects
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
    "payment_method": ("payment_method", "/v1/payment_methods/"),
    "price": ("price", "/v1/prices/"),
    "product": ("product", "/v1/products/"),
    "promotion_code": ("promotion_code", "/v1/promotion_codes/"),
    "subscription": ("subscription", "/v1/subscriptions/"),
    "subscription_schedule": ("subscription_schedule", "/v1/subscription_schedules/"),
    "tax_rate": ("tax_rate", "/v1/tax_rates/"),
    "test_clock": ("test_helpers.test_clock", "/v1/test_helpers/test_clocks/"),
    "triggered_alert": ("billing.alert", "/v1/billing/alerts/"),
    "usage_backfill": ("usage.backfill", "/v1/usage/backfills/"),
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
        page = _page(params)
        try:
            found = events.list_page(
                conn,
                call.act.account_id,
                page,
                types=None if params.types is None else _stored_types(params.types),
                object_id=params.object_id,
                created_from=created_from,
                created_before=created_before,
            )
        except NotFound:
            raise _invalid_page(params) from None
        return {
            "data": [to_stripe(each, livemode=call.act.livemode) for each in found.rows],
            **_neighbours(params, page, found),
        }

    return call.read(read)


@routes.get("/v2/core/events/{event}", returns="v2.core.event")
def retrieve(call: Call, event: str) -> dict[str, Any]:
    """Retrieve an event, which has the same id in v1."""

    def read(conn: Connection) -> dict[str, Any]:
        found = events.find(conn, call.act.account_id, event)
        if found is None:
            raise NotFound.of("event", event)
        return to_stripe(found, livemode=call.act.livemode)

    return call.read(read)


def _stored_types(types: Sequence[str]) -> list[str]:
    """As they are stored, without v1's prefix; a type without it is of no event of ours."""
    return [name.removeprefix(PREFIX) for name in types if name.startswith(PREFIX)]


# ─── Pages ───────────────────────────────────────────────────────────────────────────────────

AFTER, BEFORE = "after-", "before-"  # what a page's name begins with; an event's id is the rest


def _page(params: ThinEventList) -> Page:
    name = params.page
    if name is None:
        return Page(limit=params.limit)
    if name.startswith(AFTER):
        return Page(limit=params.limit, after=name.removeprefix(AFTER))
    if name.startswith(BEFORE):
        return Page(limit=params.limit, before=name.removeprefix(BEFORE))
    raise _invalid_page(params)


def _invalid_page(params: ThinEventList) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid page: {(params.page or '')[:40]}; follow next_page_url.", param="page"
    )


def _neighbours(params: ThinEventList, page: Page, found: Rows[Event]) -> dict[str, str | None]:
    """The paths of the next, older page and of the one before; null where there is none.

    Where we came from there is a page, if only of the event that we came from.
    """
    older = found.has_more if page.before is None else bool(found.rows)
    newer = found.has_more if page.before is not None else page.after is not None
    rows = found.rows
    return {
        "next_page_url": _url(params, AFTER + rows[-1].id) if rows and older else None,
        "previous_page_url": _url(params, BEFORE + rows[0].id) if rows and newer else None,
    }


def _url(params: ThinEventList, page: str) -> str:
    query: list[tuple[str, str]] = [("limit", str(params.limit))]
    if params.object_id is not None:
        query.append(("object_id", params.object_id))
    if params.created is not None:
        query += [(f"created[{name}]", at) for name, at in params.created.spelled.items()]
    query += [(f"types[{place}]", name) for place, name in enumerate(params.types or ())]
    return f"{URL}?{urlencode([*query, ('page', page)])}"


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(event: Event, *, livemode: bool) -> dict[str, Any]:
    """An event without its object; a report of rejected usage has its data in it."""
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
        "type": PREFIX + event.type,
    }


def _reason(event: Event) -> dict[str, Any] | None:
    """The request that made it happen; null for what happens by itself."""
    if event.request_id is None:
        return None
    request = {"id": event.request_id, "idempotency_key": event.idempotency_key}
    return {"type": "request", "request": request}


def _related(event: Event) -> dict[str, str] | None:
    if event.object_type not in RELATED or not event.object_id:
        return None
    object_type, path = RELATED[event.object_type]
    url = path + quote(event.object_id, safe="")
    return {"id": event.object_id, "type": object_type, "url": url}
