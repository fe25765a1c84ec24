"""Billing reports, as Frame shows them: what customers used, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field

from postpaid.api.frame.meters import shown_aggregation
from postpaid.api.frame.pages import meta, page_of
from postpaid.api.frame.params import FrameParams, ListParams, Payer, When, through
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner, currency, decimal_string, owners
from postpaid.api.instants import iso
from postpaid.api.params import Id
from postpaid.billing.perform import Act
from postpaid.billing.report_usage import MeterReport, added, report_subscription, report_usage
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.storage import meters
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.usage import ALL_TIME

routes = Routes("Billing reports")

URL = "/v1/billing/report"


class Span(FrameParams):
    """From when to when; without an end, or without a beginning, there is none."""

    from_: When | None = Field(None, alias="from")
    to: When | None = None

    @property
    def window(self) -> tuple[datetime, datetime]:
        start, end = ALL_TIME
        return self.from_ or start, end if self.to is None else through(self.to)


class CustomerReport(Payer):
    from_: When = Field(alias="from")
    to: When


class EventReport(Span, Payer, ListParams):
    pass


class EventsReport(Span, Payer):
    pass


class SubscriptionReport(Span):
    subscription: Id


@routes.get(f"{URL}/customer")
def customer_report(call: Call, params: CustomerReport) -> dict[str, Any]:
    """What a customer used of every meter, those included that it did not use."""

    def read(conn: Connection) -> dict[str, Any]:
        owner = _owner(conn, call.act, params.required_payer_id)
        about = meters.list_all(conn, call.act.account_id)
        window = params.from_, through(params.to)
        found = report_usage(conn, call.act, about, *window, customer_id=owner.id)
        return {
            "customer": owner.customer,
            **({"account": owner.account} if owner.is_account else {}),
            "usage": decimal_string(added(found)),
            "livemode": call.act.livemode,
            "aggregated_usage": [to_frame(each.meter, each.quantity) for each in found],
        }

    return call.read(read)


@routes.get(URL + "/event/{event_name}")
def event_report(call: Call, params: EventReport, event_name: str) -> dict[str, Any]:
    """What all customers used of one meter, or one did; the customers by the page."""

    def read(conn: Connection) -> dict[str, Any]:
        by_name = meters.load_by_event_names(conn, call.act.account_id, [event_name])
        if event_name not in by_name:
            raise NotFound.of("meter of event name", event_name, param="event_name")
        [found] = _report(conn, call.act, params, params, list(by_name.values()))
        page = page_of(found.by_customer, params)
        owned = owners(conn, call.act.account_id, {each.customer_id for each in page.rows})
        return {
            **_total_to_frame(found),
            **_span(params),
            "customers": [
                {
                    **owned[each.customer_id].keys,
                    "usage": decimal_string(each.quantity),
                    "amount_cents": each.amount,
                }
                for each in page.rows
            ],
            "meta": meta(f"{URL}/event/{event_name}", params, has_more=page.has_more),
            "livemode": call.act.livemode,
        }

    return call.read(read)


@routes.get(f"{URL}/events")
def events_report(call: Call, params: EventsReport) -> dict[str, Any]:
    """What all customers used of every meter, or one did."""

    def read(conn: Connection) -> dict[str, Any]:
        about = meters.list_all(conn, call.act.account_id)
        found = _report(conn, call.act, params, params, about)
        return {
            "object": "billing_report",
            **_span(params),
            "usage": decimal_string(added(found)),
            "aggregated_usage": [_total_to_frame(each) for each in found],
            "livemode": call.act.livemode,
        }

    return call.read(read)


@routes.get(f"{URL}/subscription")
def subscription_report(call: Call, params: SubscriptionReport) -> dict[str, Any]:
    """What a subscription's customer used in its period, or between two instants, and its price."""
    if (params.from_ is None) != (params.to is None):
        raise InvalidRequest(
            "from and to must be given together.", param="to" if params.to is None else "from"
        )
    window = None if params.from_ is None else params.window

    def read(conn: Connection) -> dict[str, Any]:
        found = report_subscription(conn, call.act, params.subscription, window)
        owner = owners(conn, call.act.account_id, [found.subscription.customer_id])
        return {
            "object": "billing_report",
            "subscription": found.subscription.id,
            **owner[found.subscription.customer_id].keys,
            "from": iso(found.start),
            "to": iso(found.end),
            "usage": decimal_string(added(found.used)),
            "amount_cents": found.amount,
            "currency": currency(found.subscription.currency),
            "aggregated_usage": [
                to_frame(each.meter, each.quantity)
                | {"amount_cents": each.amount, "currency": currency(each.currency)}
                for each in found.used
            ],
            "livemode": call.act.livemode,
        }

    return call.read(read)


# ─── Reading ─────────────────────────────────────────────────────────────────────────────────


def _report(
    conn: Connection, act: Act, span: Span, payer: Payer, about: Sequence[Meter]
) -> list[MeterReport]:
    customer_id = payer.payer_id
    if customer_id is not None:
        _owner(conn, act, customer_id)
    return report_usage(conn, act, about, *span.window, customer_id=customer_id)


def _owner(conn: Connection, act: Act, customer_id: str) -> Owner:
    """Raises ``NotFound``."""
    found = owners(conn, act.account_id, [customer_id]).get(customer_id)
    if found is None:
        raise NotFound.of("customer", customer_id, param="customer")
    return found


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_frame(meter: Meter, quantity: Decimal) -> dict[str, Any]:
    """What was used of a meter."""
    return {
        "object": "billing_report",
        "aggregation": shown_aggregation(meter),
        "event_name": meter.event_name,
        "usage": decimal_string(quantity),
        "billing_metric": meter.id,
    }


def _total_to_frame(report: MeterReport) -> dict[str, Any]:
    return to_frame(report.meter, report.quantity) | {
        "amount_cents": report.amount,
        "currency": currency(report.currency),
        "customer_count": len(report.by_customer),
    }


def _span(span: Span) -> dict[str, Any]:
    """As it was asked for."""
    return {
        "from": None if span.from_ is None else iso(span.from_),
        "to": None if span.to is None else iso(span.to),
    }
