"""Phases of products and subscriptions in Frame's shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from postpaid.api.frame.shapes import currency, number
from postpaid.api.instants import seconds
from postpaid.billing.perform import Act
from postpaid.core.catalog import Price
from postpaid.core.price_phases import PricePhase, current
from postpaid.storage import catalog, price_phases
from postpaid.storage.database import Connection


class DurationType(StrEnum):
    """Whether a phase ends."""

    FINITE = "finite"
    INFINITE = "infinite"


@dataclass(frozen=True, slots=True)
class ShownPhases:
    """A subscription's phases in their order, and the one of them that runs, if one does."""

    all: list[dict[str, Any]]
    current: dict[str, Any] | None


def of_subscriptions(conn: Connection, act: Act, ids: Iterable[str]) -> dict[str, ShownPhases]:
    """The subscriptions' phases, by subscription; a constant number of statements."""
    found = price_phases.of_subscriptions(conn, act.account_id, ids)
    rows = [each for phases in found.values() for each in phases]
    shown = dict(zip((each.id for each in rows), render_many(conn, act, rows), strict=True))
    running = {key: current(phases) for key, phases in found.items()}
    return {
        key: ShownPhases(
            [shown[each.id] for each in phases], shown[each.id] if (each := running[key]) else None
        )
        for key, phases in found.items()
    }


def render_many(conn: Connection, act: Act, shown: Sequence[PricePhase]) -> list[dict[str, Any]]:
    """Many phases, with at most two statements for what they are phases of."""
    product_ids = {each.product_id for each in shown if each.product_id}
    products = catalog.load_products(conn, act.account_id, product_ids) if product_ids else {}
    price_ids = {each.default_price_id for each in products.values() if each.default_price_id}
    price_ids |= {each.base_price_id for each in shown if each.base_price_id}
    prices = catalog.load_prices(conn, act.account_id, price_ids) if price_ids else {}

    def base_of(phase: PricePhase) -> Price | None:
        if phase.product_id is None:
            return prices.get(phase.base_price_id or "")
        return prices.get(products[phase.product_id].default_price_id or "")

    return [to_frame(each, base_of(each), livemode=act.livemode) for each in shown]


def to_frame(phase: PricePhase, base: Price | None, *, livemode: bool) -> dict[str, Any]:
    """A phase, with the currency and the interval of the price that it comes before."""
    recurrence = base.recurrence if base else None
    return {
        "id": phase.id,
        "object": "subscription_phase",
        "ordinal": phase.ordinal,
        "name": phase.name,
        "pricing_type": phase.pricing_type,
        "duration_type": DurationType.INFINITE
        if phase.period_count is None
        else DurationType.FINITE,
        "amount": phase.amount,
        "amount_cents": phase.amount,
        "currency": currency(base.currency) if base else None,
        "discount_percentage": None
        if phase.discount_percentage is None
        else number(phase.discount_percentage),
        "period_count": phase.period_count,
        "interval": recurrence and recurrence.interval,
        "interval_count": recurrence and recurrence.count,
        "phaseable_type": "Product" if phase.product_id else "Subscription",
        "phaseable_id": phase.product_id or phase.subscription_id,
        "product_id": phase.product_id,
        "subscription_id": phase.subscription_id,
        "started_at": seconds(phase.started_at),
        "ended_at": seconds(phase.ended_at),
        "livemode": livemode,
        "created": seconds(phase.created_at),
        "updated": seconds(phase.updated_at),
    }
