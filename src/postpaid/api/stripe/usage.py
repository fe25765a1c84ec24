"""Meter events in, and what a meter has counted out, as Stripe has them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from postpaid.api.stripe.lists import listing, seconds
from postpaid.api.stripe.params import Id, ListParams, Params, Text, TextMap, Timestamp
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.record_usage import Outcome, OutcomeKind, Reported, record_usage
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.metering import UsageTotal, billable_quantity
from postpaid.core.money import plain
from postpaid.storage import customers, meters, usage
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter
from postpaid.storage.paging import Rows

routes = Routes("Usage")

MINUTE = timedelta(minutes=1)


class MeterEventCreate(Params):
    event_name: Annotated[str, Text(100)]
    payload: Annotated[dict[str, str], TextMap(60, 100, 500)]
    identifier: Annotated[str, Text(100)] | None = None
    timestamp: Timestamp | None = None


class SummaryList(ListParams):
    customer: Id
    end_time: Timestamp
    start_time: Timestamp
    value_grouping_window: Literal["hour", "day"] | None = None


@routes.post("/v1/billing/meter_events", returns="billing.meter_event")
def create(call: Call, params: MeterEventCreate) -> dict[str, Any]:
    """Record usage of a customer; an identifier counts once."""

    def write(conn: Connection) -> dict[str, Any]:
        [outcome] = record_usage(
            conn,
            call.act,
            Reported(
                [params.event_name], [params.payload], [params.identifier], [params.timestamp]
            ),
        )
        if outcome.kind != OutcomeKind.ACCEPTED:
            assert outcome.error is not None, "what is not accepted says why"
            raise outcome.error
        return to_stripe(outcome, params, created=call.act.now, livemode=call.act.livemode)

    return call.write(write)


@routes.get(
    "/v1/billing/meters/{meter}/event_summaries", returns="billing.meter_event_summary", many=True
)
def list_summaries(call: Call, params: SummaryList, meter: str) -> dict[str, Any]:
    """What the meter counted for a customer in ``[start_time, end_time)``.

    One summary for the whole range, or with ``value_grouping_window`` one for every UTC hour or day
    in which there was usage, newest first.
    """
    _check_range(params)

    def read(conn: Connection) -> dict[str, Any]:
        found = meters.load(conn, call.act.account_id, [meter]).get(meter)
        if found is None:
            raise NotFound.of("meter", meter)
        if params.customer not in customers.load(conn, call.act.account_id, [params.customer]):
            raise NotFound.of("customer", params.customer, param="customer")
        summaries = _summaries(conn, call, params, found)
        return listing(
            f"/v1/billing/meters/{meter}/event_summaries",
            summaries,
            lambda each: _summary_to_stripe(
                found, params.customer, *each, livemode=call.act.livemode
            ),
        )

    return call.read(read)


def _check_range(params: SummaryList) -> None:
    step = usage.STEPS.get(params.value_grouping_window or "", MINUTE)
    unit = params.value_grouping_window or "minute"
    for name in ("start_time", "end_time"):
        if int(getattr(params, name).timestamp()) % int(step.total_seconds()):
            raise InvalidRequest(
                f"{name} must be aligned with {unit} boundaries in UTC.", param=name
            )
    if params.end_time <= params.start_time:
        raise InvalidRequest("end_time must be after start_time.", param="end_time")


Summary = tuple[datetime, datetime, UsageTotal]


def _summaries(conn: Connection, call: Call, params: SummaryList, meter: Meter) -> Rows[Summary]:
    if params.value_grouping_window is None:
        window = usage.Window(params.customer, meter.id, params.start_time, params.end_time)
        [total] = usage.totals(conn, call.act.account_id, [window])
        return Rows([(window.start, window.end, total)], has_more=False)
    step = usage.STEPS[params.value_grouping_window]
    grouped = usage.totals_by_step(
        conn,
        call.act.account_id,
        usage.Window(params.customer, meter.id, params.start_time, params.end_time),
        step=params.value_grouping_window,
        limit=params.limit,
        before=_start_of(params.starting_after, "starting_after"),
        after=_start_of(params.ending_before, "ending_before"),
    )
    return Rows([(at, at + step, total) for at, total in grouped.rows], grouped.has_more)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(
    outcome: Outcome, params: MeterEventCreate, *, created: datetime, livemode: bool
) -> dict[str, Any]:
    """The event as it was accepted."""
    return {
        "object": "billing.meter_event",
        "created": seconds(created),
        "event_name": params.event_name,
        "identifier": outcome.identifier,
        "livemode": livemode,
        "payload": params.payload,
        "timestamp": seconds(outcome.occurred_at),
    }


def _summary_to_stripe(
    meter: Meter,
    customer_id: str,
    start: datetime,
    end: datetime,
    total: UsageTotal,
    *,
    livemode: bool,
) -> dict[str, Any]:
    return {
        "id": _summary_id(meter.id, customer_id, start, end),
        "object": "billing.meter_event_summary",
        "aggregated_value": _number(_aggregated(meter, total)),
        "end_time": seconds(end),
        "livemode": livemode,
        "meter": meter.id,
        "start_time": seconds(start),
    }


def _aggregated(meter: Meter, total: UsageTotal) -> Decimal:
    """What was counted, negative too: only a bill stops at zero."""
    return total.sum if meter.aggregation == "sum" else billable_quantity(meter.aggregation, total)


def _number(value: Decimal) -> msgspec.Raw:
    """An exact JSON number; with a point, as Stripe writes it, so that clients read a float."""
    text = plain(value)
    return msgspec.Raw((text if "." in text else f"{text}.0").encode())


def _summary_id(meter_id: str, customer_id: str, start: datetime, end: datetime) -> str:
    """An id that says which window it is, so that it can be a cursor."""
    digest = hashlib.sha256(f"{meter_id}/{customer_id}/{end.isoformat()}".encode()).hexdigest()
    return f"mtrusg_{digest[:14]}{int(start.timestamp()):010d}"


def _start_of(summary_id: str | None, name: str) -> datetime | None:
    """The start of the window that a cursor names. Raises ``NotFound``."""
    if summary_id is None:
        return None
    digits = summary_id[-10:]
    if not summary_id.startswith("mtrusg_") or not digits.isdecimal():
        raise NotFound.of("meter event summary", summary_id, param=name)
    return datetime.fromtimestamp(int(digits), UTC)
