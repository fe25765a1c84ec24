"""Thresholds of usage, which Frame leaves to its support (ours), and how near to them it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from annotated_types import Len
from pydantic import AfterValidator

from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import ListParams, Metadata, Payer, merge_metadata
from postpaid.api.frame.products import recurring_interval
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import decimal_string, owner
from postpaid.api.frame.threshold_shapes import render_many
from postpaid.api.params import AMOUNT_MAX, Dec, Id, Integer, Text, Unsettable, refuse
from postpaid.billing import set_quotas
from postpaid.billing.perform import Act
from postpaid.billing.set_quotas import NewQuota
from postpaid.billing.stand_in_quotas import Accumulated, Stood, accumulate, stand_in_all
from postpaid.core.errors import NotFound
from postpaid.core.usage_quotas import (
    PERCENT_MAX,
    PERCENTS,
    PERCENTS_MAX,
    UsageQuota,
    percentage,
)
from postpaid.core.values import replace
from postpaid.storage import customers, meters, usage_quotas
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

routes = Routes("Thresholds")

URL = "/v1/billing/thresholds"
SECOND = timedelta(seconds=1)
NAMES = {"UsageQuota": "threshold", "amount": "amount_cents"}


def _positive(value: Decimal | None) -> Decimal | None:
    if value is not None and value <= 0:
        raise refuse("This value must be greater than 0.")
    return value


Quantity = Unsettable[Annotated[Dec, AfterValidator(_positive)]]
AmountCents = Unsettable[Annotated[int, Integer(1, AMOUNT_MAX)]]
Percentages = Annotated[list[Annotated[int, Integer(1, PERCENT_MAX)]], Len(0, PERCENTS_MAX - 1)]
"""At which percentages ``billing.subscriber_usage`` is told; ``billing.subscriber_overage`` is at
100, and at what is given beyond."""


class ThresholdUpdate(Payer):
    amount_cents: AmountCents = None
    quantity: Quantity = None
    percentages: Percentages | None = None
    metadata: Metadata = None


class ThresholdCreate(ThresholdUpdate):
    event_name: Annotated[str, Text(255)]


class ThresholdList(ListParams, Payer):
    event_name: Annotated[str, Text(255)] | None = None


class ProgressQuery(Payer):
    event_name: Annotated[str, Text(255)] | None = None
    threshold: Id | None = None


@routes.post(URL, status=201)
def create(call: Call, params: ThresholdCreate) -> dict[str, Any]:
    """Set a threshold of a meter, for one customer or account, or for all that have none."""
    asked = NewQuota(
        event_name=params.event_name,
        customer_id=params.payer_id,
        quantity=params.quantity,
        amount=params.amount_cents,
        percents=PERCENTS if params.percentages is None else params.percentages,
        metadata=merge_metadata({}, params.metadata),
    )
    with in_frames_words(NAMES):
        return call.write(
            lambda conn: _shown(conn, call.act, set_quotas.set_quota(conn, call.act, asked))
        )


@routes.get(URL + "/{threshold}")
def retrieve(call: Call, threshold: str) -> dict[str, Any]:
    """Retrieve a threshold."""

    def read(conn: Connection) -> dict[str, Any]:
        found = usage_quotas.find(conn, call.act.account_id, threshold)
        if found is None:
            raise NotFound.of("threshold", threshold)
        return _shown(conn, call.act, found)

    return call.read(read)


@routes.get(URL)
def list_(call: Call, params: ThresholdList) -> dict[str, Any]:
    """List thresholds, newest first; of a customer its own, or of a meter."""

    def read(conn: Connection) -> dict[str, Any]:
        rows = usage_quotas.list_page(
            conn,
            call.act.account_id,
            params.rows,
            customer_id=params.payer_id,
            meter_id=_meter_id(conn, call.act, params.event_name),
        )
        return listing(
            URL, params, rows, lambda page: render_many(conn, call.act, page), named="thresholds"
        )

    return call.read(read)


@routes.patch(URL + "/{threshold}")
def update(call: Call, params: ThresholdUpdate, threshold: str) -> dict[str, Any]:
    """Change a threshold; what was told of it in a window is not told again."""

    def change(before: UsageQuota) -> UsageQuota:
        return replace(before, **_from_frame(params, before.metadata))

    def write(conn: Connection) -> dict[str, Any]:
        changed = set_quotas.change_quota(conn, call.act, threshold, change)
        return _shown(conn, call.act, changed)

    with in_frames_words(NAMES):
        return call.write(write)


@routes.delete(URL + "/{threshold}")
def delete(call: Call, threshold: str) -> dict[str, Any]:
    """Delete a threshold."""

    def write(conn: Connection) -> dict[str, Any]:
        set_quotas.remove_quota(conn, call.act, threshold)
        return {"id": threshold, "object": "billing_threshold", "deleted": True}

    with in_frames_words(NAMES):
        return call.write(write)


@routes.get("/v1/billing/report/threshold_progress")
def progress(call: Call, params: ProgressQuery) -> dict[str, Any]:
    """How much of its threshold a customer has used in its window.

    Of several it is the one that most is used of; all are under ``thresholds`` (ours). Without any
    it is what has come together so far, towards nothing.
    """

    def read(conn: Connection) -> dict[str, Any]:
        act = call.act
        owner_id = params.required_payer_id
        found = customers.find(conn, act.account_id, owner_id)
        if found is None or found.deleted_at is not None:
            raise NotFound.of("customer", owner_id, param="customer")
        meter_id = _meter_id(conn, act, params.event_name)
        stood = stand_in_all(conn, act, owner_id, meter_id=meter_id, quota_id=params.threshold)
        if not stood and params.threshold is not None:
            raise NotFound.of("threshold", params.threshold, param="threshold")
        if not stood:
            so_far = accumulate(conn, act, owner_id, meter_id)
            return _without(act, found, so_far, params.event_name) | {"thresholds": []}
        rendered = [_progress(act, found, quota, each) for quota, each in stood]
        return rendered[0] | {"thresholds": rendered}

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _from_frame(params: ThresholdUpdate, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are given, by a quota's names; a quantity takes the place of an amount."""
    given = params.given()
    fields: dict[str, Any] = {}
    if given.get("percentages") is not None:
        fields["percents"] = given["percentages"]
    if "metadata" in given:
        fields["metadata"] = merge_metadata(metadata, given["metadata"])
    if "quantity" in given or "amount_cents" in given:
        fields |= {"quantity": params.quantity, "amount": params.amount_cents}
    return fields


def _shown(conn: Connection, act: Act, quota: UsageQuota) -> dict[str, Any]:
    return render_many(conn, act, [quota])[0]


def _meter_id(conn: Connection, act: Act, event_name: str | None) -> str | None:
    if event_name is None:
        return None
    found = meters.load_by_event_names(conn, act.account_id, {event_name}).get(event_name)
    if found is None:
        message = f"No meter found for event name '{event_name}'."
        raise NotFound(message, param="event_name")
    return found.id


def _progress(act: Act, customer: Customer, quota: UsageQuota, stood: Stood) -> dict[str, Any]:
    """Progress towards one threshold; in units, where the threshold is, it is ours."""
    standing = stood.standing
    used = percentage(quota, standing)
    so_far = Accumulated(
        start_at=standing.start_at,
        end_at=standing.end_at,
        subscription_id=standing.subscription_id,
        recurrence=stood.recurrence,
        quantity=standing.quantity,
        amount=standing.amount,
        currency=standing.currency,
    )
    return _without(act, customer, so_far, stood.meter.event_name) | {
        "threshold_amount_cents": quota.amount,
        "threshold_percentage": None if used is None else msgspec.Raw(decimal_string(used)),
        "threshold_quantity": None if quota.quantity is None else decimal_string(quota.quantity),
        "threshold": quota.id,
    }


def _without(
    act: Act, customer: Customer, so_far: Accumulated, event_name: str | None
) -> dict[str, Any]:
    """What has come together, without a threshold that it would be near to."""
    recurrence = so_far.recurrence
    return {
        "object": "threshold_progress",
        "accumulated_amount_cents": so_far.amount,
        "threshold_amount_cents": None,
        "threshold_percentage": None,
        "accumulated_usage": decimal_string(so_far.quantity),
        "threshold_quantity": None,
        "oldest_pending_charge_at": None,
        "period_start": _iso(so_far.start_at),
        "period_end": _iso(so_far.end_at - SECOND),
        "billing_cycle": recurring_interval(recurrence) if recurrence else "monthly",
        "threshold": None,
        "event_name": event_name,
        "subscription": so_far.subscription_id,
        **owner(customer).keys,
        "livemode": act.livemode,
    }


def _iso(instant: datetime) -> str:
    """``2026-06-30T23:59:59Z``."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
