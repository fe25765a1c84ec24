"""Discounts as Stripe shows them, and how they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import MaxLen

from postpaid.api.instants import seconds
from postpaid.api.params import Id, Params, Unsettable
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import change_discounts
from postpaid.billing.manage_discounts import DISCOUNTS_MAX, AskedDiscount
from postpaid.billing.perform import Act
from postpaid.core.discounts import Discount
from postpaid.storage import discounts
from postpaid.storage.database import Connection

routes = Routes("Discounts")


class DiscountParam(Params):
    """One of: a coupon, a promotion code, or a discount that is there already."""

    coupon: Id | None = None
    discount: Id | None = None
    promotion_code: Id | None = None


Discounts = Unsettable[Annotated[list[DiscountParam], MaxLen(DISCOUNTS_MAX)]]
TaxRateIds = Unsettable[Annotated[list[Id], MaxLen(10)]]


def from_stripe(asked: Sequence[DiscountParam] | None) -> list[AskedDiscount]:
    """What is asked for, in the engine's words."""
    return [AskedDiscount(each.coupon, each.promotion_code, each.discount) for each in asked or ()]


@routes.delete("/v1/customers/{customer}/discount", returns="discount")
def delete_customers(call: Call, customer: str) -> dict[str, Any]:
    """Delete the discount of a customer."""
    return call.write(
        lambda conn: to_stripe(change_discounts.delete_customer_discount(conn, call.act, customer))
    )


@routes.delete("/v1/subscriptions/{subscription}/discount", returns="discount")
def delete_subscriptions(call: Call, subscription: str) -> dict[str, Any]:
    """Delete the discounts of a subscription; the answer has the first."""
    return call.write(
        lambda conn: to_stripe(
            change_discounts.delete_subscription_discount(conn, call.act, subscription)
        )
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def to_stripe(discount: Discount) -> dict[str, Any]:
    """A discount, or that it was deleted."""
    shown = {
        "id": discount.id,
        "object": "discount",
        "checkout_session": None,
        "customer": discount.customer_id,
        "customer_account": None,
        "end": seconds(discount.end_at),
        "invoice": discount.invoice_id,
        "invoice_item": discount.invoice_item_id,
        "promotion_code": discount.promotion_code_id,
        "source": {"coupon": discount.coupon_id, "type": "coupon"},
        "start": seconds(discount.start_at),
        "subscription": discount.subscription_id,
        "subscription_item": discount.subscription_item_id,
    }
    return shown | ({"deleted": True} if discount.deleted_at else {})


def customers_to_stripe(customer_id: str, kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The discount that a customer has on all it buys, as it keeps it."""
    if kept is None:
        return None
    return {
        "id": kept["id"],
        "object": "discount",
        "checkout_session": None,
        "customer": customer_id,
        "customer_account": None,
        "end": kept["end_at"],
        "invoice": None,
        "invoice_item": None,
        "promotion_code": kept["promotion_code_id"],
        "source": {"coupon": kept["coupon_id"], "type": "coupon"},
        "start": kept["start_at"],
        "subscription": None,
        "subscription_item": None,
    }


def over(conn: Connection, act: Act, ids: Sequence[str]) -> set[str]:
    """Those of the discounts that are not shown any more. No statement without ids."""
    return discounts.over(conn, act.account_id, ids, now=act.now) if ids else set()


@loader("discount")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = discounts.load(conn, act.account_id, ids)
    return {key: to_stripe(each) for key, each in found.items()}


expandable("discount", "customer", load="customer")
expandable("discount", "promotion_code", load="promotion_code")
expandable("discount", "source.coupon", load="coupon")
