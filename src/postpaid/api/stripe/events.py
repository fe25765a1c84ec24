"""Business events as Stripe shows them: the object as it was, and what of it changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from annotated_types import Len

from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Text, TimeRange
from postpaid.api.stripe import (
    alerts,
    backfills,
    charges,
    coupons,
    credit_grants,
    credit_notes,
    customers,
    discounts,
    error_reports,
    invoice_items,
    invoice_payments,
    invoice_shapes,
    meters,
    payment_intent_shapes,
    payment_methods,
    prices,
    products,
    promotion_codes,
    refunds,
    setup_intent_shapes,
    subscription_schedules,
    subscription_shapes,
    tax_rates,
    test_clocks,
    webhook_endpoints,
)
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.perform import Act
from postpaid.billing.report_rejections import ErrorReport
from postpaid.core.alerts import TriggeredAlert
from postpaid.core.catalog import Price, Product
from postpaid.core.credit_notes import CreditNote
from postpaid.core.credits import CreditGrant, GrantTransaction
from postpaid.core.deliveries import FRAME_ONLY, Facade, is_known
from postpaid.core.discounts import Coupon, Discount, PromotionCode
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoice_payments import InvoicePayment
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.payment_intents import PaymentIntent
from postpaid.core.refunds import Refund
from postpaid.core.schedules import Schedule
from postpaid.core.setup_intents import SetupIntent
from postpaid.core.subscriptions import Subscription
from postpaid.core.tax_rates import TaxRate
from postpaid.core.values import replace
from postpaid.storage import deliveries, events, invoice_lines
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.events import Event
from postpaid.storage.meters import Meter
from postpaid.storage.paging import Rows
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import PaymentAttempt
from postpaid.storage.test_clocks import TestClock
from postpaid.storage.usage_backfills import UsageBackfill
from postpaid.storage.webhook_endpoints import WebhookEndpoint

routes = Routes("Events")

API_VERSION = "2026-10-28.endive"


class EventList(ListParams):
    created: TimeRange | None = None
    delivery_success: Boolean | None = None
    type: Annotated[str, Text(100)] | None = None
    types: Annotated[list[Annotated[str, Text(100)]], Len(1, 20)] | None = None


@routes.get("/v1/events", returns="event", many=True)
def list_(call: Call, params: EventList) -> dict[str, Any]:
    """List events, newest first; a type may end in ``.*``."""
    if params.type and params.types:
        raise InvalidRequest("You may only specify one of these parameters: type, types.")
    types = [params.type] if params.type else params.types
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = events.list_page(
            conn,
            call.act.account_id,
            params.page,
            types=types,
            unknown=FRAME_ONLY,
            created_from=created_from,
            created_before=created_before,
            delivered=params.delivery_success,
            facade=Facade.STRIPE,
        )
        shown = to_stripe(conn, call.act, found.rows)
        return listing("/v1/events", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


@routes.get("/v1/events/{event}", returns="event")
def retrieve(call: Call, event: str) -> dict[str, Any]:
    """Retrieve an event."""

    def read(conn: Connection) -> dict[str, Any]:
        found = events.find(conn, call.act.account_id, event)
        if found is None or not is_known(Facade.STRIPE, found.type):
            raise NotFound.of("event", event)
        return to_stripe(conn, call.act, [found])[0]

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────

Render = Callable[[Connection, Act, Sequence[Any]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the snapshots of one kind of object are read and shown, by the batch."""

    cls: type[Any]
    render: Render


def _each(one: Callable[..., dict[str, Any]]) -> Render:
    """A render for objects that need nothing but themselves."""

    def render(conn: Connection, act: Act, shown: Sequence[Any]) -> list[dict[str, Any]]:
        return [one(each, livemode=act.livemode) for each in shown]

    return render


def _render_invoices(conn: Connection, act: Act, shown: Sequence[Invoice]) -> list[dict[str, Any]]:
    """A draft's snapshot has its lines; a final invoice's are where they will always be."""
    final = [each.id for each in shown if each.status != InvoiceStatus.DRAFT]
    lines = invoice_lines.load_lines(conn, act.account_id, final) if final else {}
    whole = [
        each
        if each.lines or each.status == InvoiceStatus.DRAFT
        else replace(each, lines=tuple(lines.get(each.id, ())))
        for each in shown
    ]
    rates = invoice_shapes.tax_rates_of(conn, act, (each.tax_rate_ids for each in whole))
    return [invoice_shapes.to_stripe(each, rates, livemode=act.livemode) for each in whole]


def _render_discounts(conn: Connection, act: Act, shown: Sequence[Any]) -> list[dict[str, Any]]:
    return [discounts.to_stripe(each) for each in shown]


KINDS = {
    "subscription_schedule": _Kind(Schedule, subscription_schedules.render_many),
    "coupon": _Kind(Coupon, coupons.render_many),
    "discount": _Kind(Discount, _render_discounts),
    "promotion_code": _Kind(PromotionCode, promotion_codes.render_many),
    "tax_rate": _Kind(TaxRate, _each(tax_rates.to_stripe)),
    "credit_grant": _Kind(CreditGrant, _each(credit_grants.to_stripe)),
    "credit_note": _Kind(CreditNote, credit_notes.render_many),
    "credit_transaction": _Kind(GrantTransaction, _each(credit_grants.transaction_to_stripe)),
    "customer": _Kind(Customer, _each(customers.to_stripe)),
    "invoice": _Kind(Invoice, _render_invoices),
    "invoiceitem": _Kind(InvoiceItem, invoice_items.render_many),
    "meter": _Kind(Meter, _each(meters.to_stripe)),
    "meter_error_report": _Kind(ErrorReport, _each(error_reports.to_stripe)),
    "charge": _Kind(PaymentAttempt, charges.render_many),
    "invoice_payment": _Kind(InvoicePayment, _each(invoice_payments.to_stripe)),
    "payment_intent": _Kind(PaymentIntent, payment_intent_shapes.render_many),
    "payment_method": _Kind(PaymentMethod, _each(payment_methods.to_stripe)),
    "price": _Kind(Price, _each(prices.to_stripe)),
    "product": _Kind(Product, _each(products.to_stripe)),
    "refund": _Kind(Refund, _each(refunds.to_stripe)),
    "setup_intent": _Kind(SetupIntent, setup_intent_shapes.render_many),
    "subscription": _Kind(Subscription, subscription_shapes.render_many),
    "test_clock": _Kind(TestClock, _each(test_clocks.to_stripe)),
    "usage_backfill": _Kind(UsageBackfill, _each(backfills.to_stripe)),
    "webhook_endpoint": _Kind(WebhookEndpoint, _each(webhook_endpoints.to_stripe)),
    "upcoming_invoice": _Kind(Invoice, invoice_shapes.render_upcoming),
    "triggered_alert": _Kind(TriggeredAlert, _each(alerts.triggered_to_stripe)),
}


def to_stripe(conn: Connection, act: Act, shown: Sequence[Event]) -> list[dict[str, Any]]:
    """Events with their objects as they were, rendered with a few statements for all of them."""
    objects: dict[str, dict[str, Any]] = {}
    before: dict[str, dict[str, Any]] = {}
    by_kind: defaultdict[str, list[Event]] = defaultdict(list)
    for event in shown:
        by_kind[event.object_type].append(event)
    for object_type, of_kind in by_kind.items():
        kind = KINDS[object_type]
        values = [msgspec.json.decode(event.snapshot, type=kind.cls) for event in of_kind]
        rendered = kind.render(conn, act, values)
        objects |= {event.id: each for event, each in zip(of_kind, rendered, strict=True)}

        changed = [event for event in of_kind if event.previous is not None]
        former = [
            msgspec.convert(
                msgspec.json.decode(event.snapshot) | msgspec.json.decode(event.previous or "{}"),
                kind.cls,
            )
            for event in changed
        ]
        rendered = kind.render(conn, act, former)
        before |= {event.id: each for event, each in zip(changed, rendered, strict=True)}

    pending = deliveries.pending_counts(
        conn, act.account_id, [event.id for event in shown], facade=Facade.STRIPE
    )
    return [
        {
            "id": event.id,
            "object": "event",
            "account": None,
            "api_version": API_VERSION,
            "context": None,
            "created": seconds(event.created_at),
            "data": _data(objects[event.id], before.get(event.id)),
            "livemode": act.livemode,
            "pending_webhooks": pending.get(event.id, 0),
            "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
            "type": event.type,
        }
        for event in shown
    ]


def _data(after: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    if before is None:
        return {"object": after}
    return {"object": after, "previous_attributes": _difference(before, after)}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The former values of what changed, within objects too; lists are given whole (Stripe)."""
    former: dict[str, Any] = {}
    for key, value in before.items():
        now = after.get(key)
        if value == now:
            continue
        if isinstance(value, dict) and isinstance(now, dict):
            former[key] = _difference(value, now)
        else:
            former[key] = value
    former |= {key: None for key in after if key not in before}
    return former
