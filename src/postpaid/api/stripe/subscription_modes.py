"""The billing mode of a running subscription."""

from __future__ import annotations

from typing import Any, Literal

from postpaid.api.params import Params
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.subscription_shapes import render_many
from postpaid.billing.migrate import migrate as move
from postpaid.core.subscriptions import ProrationDiscounts
from postpaid.storage.database import Connection

routes = Routes("Subscriptions")


class Flexible(Params):
    proration_discounts: ProrationDiscounts | None = None


class FlexibleMode(Params):
    type: Literal["flexible"]
    flexible: Flexible = Flexible()


class SubscriptionMigrate(Params):
    billing_mode: FlexibleMode


@routes.post("/v1/subscriptions/{subscription}/migrate", returns="subscription")
def migrate(call: Call, params: SubscriptionMigrate, subscription: str) -> dict[str, Any]:
    """Move a subscription to flexible billing mode, for good."""
    discounts = params.billing_mode.flexible.proration_discounts

    def write(conn: Connection) -> dict[str, Any]:
        after = move(conn, call.act, subscription, discounts)
        return render_many(conn, call.act, [after])[0]

    return call.write(write)
