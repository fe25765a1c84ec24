"""Discounts, as Frame shows them; and what promotion codes would take off a purchase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Len

from postpaid.api.frame import shapes
from postpaid.api.frame.coupons import DEFAULT_CURRENCY
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import ListParams, Payer
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner
from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Currency, Id, Integer, Text
from postpaid.billing.manage_discounts import DISCOUNTS_MAX
from postpaid.billing.perform import Act
from postpaid.billing.try_codes import Purchase, Tried, left_to_pay, try_codes
from postpaid.core.discounts import Coupon, Discount
from postpaid.core.errors import NotFound
from postpaid.storage import coupons, discounts
from postpaid.storage.database import Connection
from postpaid.storage.discounts import TakenOff

routes = Routes("Discounts")

# Why a promotion code takes nothing off, for programs: by the engine's codes.
REASONS = {"resource_missing": "not_found", "coupon_expired": "not_redeemable"}


class DiscountList(ListParams, Payer):
    coupon_id: Id | None = None
    promotion_code_id: Id | None = None


class DiscountsValidate(Payer):
    amount: Annotated[int, Integer(0, AMOUNT_MAX)]
    promotion_codes: Annotated[list[Annotated[str, Text(500)]], Len(1, DISCOUNTS_MAX)]
    currency: Currency = DEFAULT_CURRENCY
    product_id: Id | None = None


@routes.get("/v1/discounts")
def list_(call: Call, params: DiscountList) -> dict[str, Any]:
    """List discounts, newest first: where coupons and promotion codes were redeemed."""
    customer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = discounts.list_page(
            conn,
            call.act.account_id,
            params.rows,
            customer_id=customer_id,
            coupon_id=params.coupon_id,
            promotion_code_id=params.promotion_code_id,
        )
        return listing(
            "/v1/discounts",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="discounts",
        )

    return call.read(read)


@routes.get("/v1/discounts/{discount}")
def retrieve(call: Call, discount: str) -> dict[str, Any]:
    """Retrieve a discount."""

    def read(conn: Connection) -> dict[str, Any]:
        found = discounts.load(conn, call.act.account_id, [discount])
        if discount not in found:
            raise NotFound.of("discount", discount)
        return render_many(conn, call.act, [found[discount]])[0]

    return call.read(read)


@routes.post("/v1/discounts/validate")
def validate(call: Call, params: DiscountsValidate) -> dict[str, Any]:
    """Try promotion codes on an amount, one after the other; nothing is redeemed."""
    purchase = Purchase(params.amount, params.currency, params.payer_id, params.product_id)

    def read(conn: Connection) -> dict[str, Any]:
        return tried_to_frame(try_codes(conn, call.act, params.promotion_codes, purchase), purchase)

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def tried_to_frame(tried: Sequence[Tried], purchase: Purchase) -> dict[str, Any]:
    """What each code would take off, or why it would not; and what that comes to."""
    left = left_to_pay(purchase, tried)
    good = [each for each in tried if each.refused is None]
    result = [
        {
            "object": "discount",
            "promotion_code": each.word.upper(),
            "promotion_code_id": each.code and each.code.id,
            "coupon": each.code and each.code.coupon_id,
            "coupon_id": each.code and each.code.coupon_id,
            "valid": each.refused is None,
            "reason": each.refused and REASONS.get(each.refused.code or "", "not_applicable"),
            "message": each.refused and each.refused.message,
            "application_order": good.index(each) + 1 if each in good else None,
            "discount_amount_cents": each.amount_off,
            "discount_amount_currency": purchase.currency,
        }
        for each in tried
    ]
    return {
        "object": "discount_validation",
        "valid": len(good) == len(tried),
        "validation_result": result,
        "data": result,  # where Frame's clients look for it
        "total_discount_amount_cents": purchase.amount - left,
        "amount": purchase.amount,
        "final_amount": left,
        "currency": purchase.currency,
    }


def render_many(conn: Connection, act: Act, shown: Sequence[Discount]) -> list[dict[str, Any]]:
    """Discounts, with three statements for all that is said of them."""
    if not shown:
        return []
    found = coupons.load(conn, act.account_id, {each.coupon_id for each in shown})
    off = discounts.taken_off(conn, act.account_id, shown)
    whose = shapes.owners(conn, act.account_id, [each.customer_id for each in shown])
    return [
        to_frame(
            each,
            found[each.coupon_id],
            off.get(each.id),
            whose[each.customer_id],
            livemode=act.livemode,
        )
        for each in shown
    ]


def to_frame(
    discount: Discount, coupon: Coupon, off: TakenOff | None, owner: Owner, *, livemode: bool
) -> dict[str, Any]:
    """A discount, and what it took off final invoices."""
    kind, key = _discounted(discount)
    return {
        "id": discount.id,
        "object": "discount",
        "coupon": discount.coupon_id,
        "coupon_id": discount.coupon_id,
        "promotion_code": discount.promotion_code_id,
        "promotion_code_id": discount.promotion_code_id,
        **owner.keys,
        "discountable_type": kind,
        "discountable_id": key,
        "application_order": off.place if off else None,
        "discount_amount_cents": off.amount if off else 0,
        "discount_amount_currency": off.currency if off else coupon.currency,
        "subscription": discount.subscription_id,
        "subscription_id": discount.subscription_id,
        "invoice": discount.invoice_id or discount.used_invoice_id,
        "start": seconds(discount.start_at),
        "end": seconds(discount.deleted_at or discount.end_at),
        "livemode": livemode,
        "created": seconds(discount.start_at),
        "updated": seconds(discount.deleted_at or discount.start_at),
    }


def _discounted(discount: Discount) -> tuple[str, str]:
    """What it is taken off: all that a customer buys, or one thing."""
    things = {
        "subscription": discount.subscription_id,
        "subscription_item": discount.subscription_item_id,
        "invoice": discount.invoice_id,
        "invoice_line_item": discount.invoice_item_id,
    }
    named = [(kind, key) for kind, key in things.items() if key is not None]
    return named[-1] if named else ("customer", discount.customer_id)
