"""Thresholds as Frame's clients would look for them, and what is said when one is reached."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from postpaid.api.frame.shapes import decimal_string, number, owners
from postpaid.api.instants import seconds
from postpaid.billing.perform import Act
from postpaid.core.alerts import TriggeredAlert
from postpaid.core.usage_quotas import ReachedQuota, UsageQuota
from postpaid.storage import meters
from postpaid.storage.database import Connection

Object = dict[str, Any]


def render_many(conn: Connection, act: Act, shown: Sequence[UsageQuota]) -> list[Object]:
    """Thresholds, with a statement each for their meters and customers."""
    if not shown:
        return []
    found = meters.load(conn, act.account_id, {each.meter_id for each in shown})
    whose = owners(conn, act.account_id, [each.customer_id for each in shown])
    return [
        {
            "id": each.id,
            "object": "billing_threshold",
            **whose[each.customer_id].keys,
            "event_name": found[each.meter_id].event_name,
            "billing_metric": each.meter_id,
            "amount_cents": each.amount,
            "quantity": None if each.quantity is None else decimal_string(each.quantity),
            "percentages": list(each.percents),
            "metadata": each.metadata,
            "livemode": act.livemode,
            "created": seconds(each.created_at),
            "updated": seconds(each.created_at),
        }
        for each in shown
    ]


def render_reached(conn: Connection, act: Act, shown: Sequence[ReachedQuota]) -> list[Object]:
    """What is said at a percentage of a threshold."""
    whose = owners(conn, act.account_id, [each.customer_id for each in shown])
    return [
        _report(
            each.id,
            start_at=each.start_at,
            end_at=each.end_at,
            quantity=each.quantity,
            amount=each.amount,
            subscription_id=each.subscription_id,
            created_at=each.created_at,
            percentage=Decimal(each.percent),
        )
        | whose[each.customer_id].keys
        | {
            "threshold": each.quota.id,
            "threshold_amount_cents": each.quota.amount,
            "threshold_quantity": None
            if each.quota.quantity is None
            else decimal_string(each.quota.quantity),
            "billing_metric": each.quota.meter_id,
            "event_name": each.event_name,
            "livemode": act.livemode,
        }
        for each in shown
    ]


def render_triggered(conn: Connection, act: Act, shown: Sequence[TriggeredAlert]) -> list[Object]:
    """The same of an alert on what a subscription's price includes."""
    whose = owners(conn, act.account_id, [each.customer_id for each in shown])
    return [
        _report(
            each.alert.id,
            start_at=each.position.window.start if each.position else None,
            end_at=each.position.window.end if each.position else None,
            quantity=each.quantity,
            amount=each.position.amount if each.position else None,
            subscription_id=each.subscription_id,
            created_at=each.created_at,
            percentage=each.position.percent if each.position else None,
        )
        | whose[each.customer_id].keys
        | {
            "threshold": each.alert.id,
            "threshold_amount_cents": each.alert.amount,
            "threshold_quantity": None
            if each.alert.gte is None
            else decimal_string(each.alert.gte),
            "billing_metric": each.alert.meter_id,
            "event_name": None,
            "livemode": act.livemode,
        }
        for each in shown
    ]


def _report(
    report_id: str,
    *,
    start_at: datetime | None,
    end_at: datetime | None,
    quantity: Decimal,
    amount: int | None,
    subscription_id: str | None,
    created_at: datetime,
    percentage: Decimal | None,
) -> Object:
    """A billing report (Frame), with the percentage that was reached (ours)."""
    return {
        "id": report_id,
        "object": "billing_report",
        "start_date": seconds(start_at),
        "end_date": seconds(end_at),
        "subscription": subscription_id,
        "invoice": None,
        "usage": number(quantity),
        "amount_cents": amount,
        "percentage": None if percentage is None else number(percentage),
        "created": seconds(created_at),
    }
