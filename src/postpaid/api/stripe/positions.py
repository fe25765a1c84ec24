"""Where a subscription's metered items stand: used, included, beyond, and what it costs (ours)."""

from __future__ import annotations

from typing import Any

from postpaid.api.instants import seconds
from postpaid.api.stripe.lists import listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing.take_stock import Stock, take_stock
from postpaid.core.allotments import Position
from postpaid.core.errors import NotFound
from postpaid.core.money import plain
from postpaid.storage import subscriptions
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Subscriptions")


@routes.get("/v1/subscriptions/{subscription}/usage", returns="subscription_item_usage", many=True)
def list_(call: Call, subscription: str) -> dict[str, Any]:
    """Where each metered item stands in the period that is billed next."""

    def read(conn: Connection) -> dict[str, Any]:
        found = subscriptions.load(conn, call.act.account_id, [subscription])
        if subscription not in found:
            raise NotFound.of("subscription", subscription)
        return listing(
            f"/v1/subscriptions/{subscription}/usage",
            Rows(take_stock(conn, call.act, list(found.values())), has_more=False),
            to_stripe,
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(stock: Stock) -> dict[str, Any]:
    """An item's usage; amounts are what its lines would bill now."""
    return {
        "object": "subscription_item_usage",
        "currency": stock.subscription.currency,
        "meter": stock.meter_id,
        "price": stock.item.price_id,
        "subscription": stock.subscription.id,
        "subscription_item": stock.item.id,
        **position_to_stripe(stock.position),
    }


def position_to_stripe(position: Position) -> dict[str, Any]:
    """A position's own keys; quantities are decimals as strings, amounts minor units."""

    def decimal(name: str) -> str | None:
        value = getattr(position, name)
        return None if value is None else plain(value)

    return {
        "amount": position.amount,
        "included": decimal("included"),
        "overage": decimal("overage"),
        "overage_amount": position.overage_amount,
        "percent": decimal("percent"),
        "remaining": decimal("remaining"),
        "used": decimal("used"),
        "window": {
            "end": seconds(position.window.end),
            "start": seconds(position.window.start),
        },
    }
