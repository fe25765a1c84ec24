"""Coupons, as Frame shows them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from annotated_types import Len

from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import FrameParams, ListParams, Metadata, When, merge_metadata
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import decimal_string
from postpaid.api.instants import seconds
from postpaid.api.params import AMOUNT_MAX, Currency, Dec, Id, Integer, Text, Unsettable
from postpaid.billing import manage_coupons
from postpaid.billing.perform import Act
from postpaid.core.discounts import Coupon, CouponStatus, Duration
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import coupons
from postpaid.storage.database import Connection

routes = Routes("Coupons")

PLACES = 4  # of a percentage, as everywhere here
DEFAULT_CURRENCY = "usd"  # Frame's own

NAMES = {
    "percent_off": "discount_value",
    "amount_off": "discount_value",
    "currency": "discount_value_currency",
    "applies_to.products": "product_id",
    "redeem_by": "valid_until",
    "redeem_from": "valid_from",
    "max_amount_off": "discount_cap_cents",
    "max_amount_off_currency": "discount_cap_currency",
    "minimum_amount": "minimum_order_amount_cents",
    "minimum_amount_currency": "minimum_order_amount_currency",
}

Cents = Annotated[int, Integer(1, AMOUNT_MAX)]
Name = Annotated[str, Text(256)]
Description = Annotated[str, Text(5000)]


class CouponTerms(FrameParams):
    """What a coupon takes off, of what and when: fixed once it is made."""

    discount_type: Literal["percentage", "fixed_amount"] | None = None
    discount_value: Dec | None = None
    discount_value_currency: Currency | None = None
    amount_off: Cents | None = None  # as Frame's client for Node has it
    percent_off: Dec | None = None  # the same
    currency: Currency | None = None  # the same
    duration: Duration | None = None
    duration_in_months: Annotated[int, Integer(1, 120)] | None = None
    applicable_to: Literal["all_products", "specific_products"] | None = None
    product_id: Id | None = None
    product_ids: Annotated[list[Id], Len(1, 100)] | None = None  # ours: of more than one
    max_redemptions: Annotated[int, Integer(1, 10**9)] | None = None
    minimum_order_amount_cents: Cents | None = None
    minimum_order_amount_currency: Currency | None = None
    discount_cap_cents: Cents | None = None
    discount_cap_currency: Currency | None = None
    valid_from: When | None = None
    valid_until: When | None = None


class CouponCreate(CouponTerms):
    name: Name
    discount_type: Literal["percentage", "fixed_amount"]
    duration: Duration = Duration.ONCE
    description: Description | None = None
    status: Literal["active", "inactive"] = "active"
    metadata: Metadata = None


class CouponUpdate(CouponTerms):
    name: Name | None = None
    description: Unsettable[Description] = None
    status: Literal["active", "inactive", "archived", "deleted"] | None = None
    metadata: Metadata = None


class CouponList(ListParams):
    status: CouponStatus | None = None


@routes.post("/v1/coupons", status=201)
def create(call: Call, params: CouponCreate) -> dict[str, Any]:
    """Create a coupon: so many percent off, or whole minor units of a currency."""
    coupon = from_frame(call.act, params)

    def write(conn: Connection) -> dict[str, Any]:
        return to_frame(manage_coupons.create_coupon(conn, call.act, coupon), call.act)

    with in_frames_words(NAMES):
        return call.write(write)


@routes.get("/v1/coupons/{coupon}")
def retrieve(call: Call, coupon: str) -> dict[str, Any]:
    """Retrieve a coupon."""

    def read(conn: Connection) -> dict[str, Any]:
        found = coupons.load(conn, call.act.account_id, [coupon]).get(coupon)
        if found is None or found.deleted_at:
            raise NotFound.of("coupon", coupon)
        return to_frame(found, call.act)

    return call.read(read)


@routes.patch("/v1/coupons/{coupon}")
def update(call: Call, params: CouponUpdate, coupon: str) -> dict[str, Any]:
    """Update a coupon's name, description, status or metadata; its terms stay as they are."""
    given = params.given()
    if fixed := [name for name in given if name in CouponTerms.model_fields]:
        raise InvalidRequest(
            f"The terms of a coupon cannot be changed: {fixed[0]}. Create another one.",
            param=fixed[0],
        )
    status = given.pop("status", None)
    if status not in (None, "deleted"):
        given["status"] = CouponStatus(status)
    if given.get("name", "") is None:
        del given["name"]

    def change(before: Coupon) -> Coupon:
        fields = dict(given)
        if "metadata" in fields:
            fields["metadata"] = merge_metadata(before.metadata, fields["metadata"])
        return replace(before, **fields)

    def write(conn: Connection) -> dict[str, Any]:
        after = manage_coupons.update_coupon(conn, call.act, coupon, change)
        if status == "deleted":
            after = manage_coupons.delete_coupon(conn, call.act, coupon)
        return to_frame(after, call.act)

    return call.write(write)


@routes.get("/v1/coupons")
def list_(call: Call, params: CouponList) -> dict[str, Any]:
    """List coupons, newest first; those that are deleted are not among them."""

    def read(conn: Connection) -> dict[str, Any]:
        rows = coupons.list_page(conn, call.act.account_id, params.rows, status=params.status)
        return listing(
            "/v1/coupons",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="coupons",
        )

    return call.read(read)


@routes.delete("/v1/coupons/{coupon}")
def delete(call: Call, coupon: str) -> dict[str, Any]:
    """Delete a coupon: nobody can redeem it any more, and the discounts that it made go on."""

    def write(conn: Connection) -> dict[str, Any]:
        manage_coupons.delete_coupon(conn, call.act, coupon)
        return {"id": coupon, "object": "coupon", "deleted": True}

    return call.write(write)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_frame(act: Act, params: CouponCreate) -> Coupon:
    """What is asked for, in the engine's words. Raises ``InvalidRequest``."""
    currency = params.discount_value_currency or params.currency
    own = currency or DEFAULT_CURRENCY
    fixed = params.discount_type == "fixed_amount"
    cap, least = params.discount_cap_cents, params.minimum_order_amount_cents
    return Coupon(
        id=act.new_id("coupon"),
        duration=params.duration,
        created_at=act.now,
        name=params.name,
        description=params.description,
        status=CouponStatus(params.status),
        percent_off=None if fixed else _percentage(params),
        amount_off=_amount(params) if fixed else None,
        currency=own if fixed else None,
        duration_in_months=params.duration_in_months,
        product_ids=_products(params),
        max_redemptions=params.max_redemptions,
        redeem_from=params.valid_from,
        redeem_by=params.valid_until,
        max_amount_off=cap,
        max_amount_off_currency=(params.discount_cap_currency or own) if cap else None,
        minimum_amount=least,
        minimum_amount_currency=(params.minimum_order_amount_currency or own) if least else None,
        metadata=merge_metadata({}, params.metadata),
    )


def _percentage(params: CouponCreate) -> Decimal:
    name = "discount_value" if params.percent_off is None else "percent_off"
    value = params.discount_value if params.percent_off is None else params.percent_off
    if value is None:
        raise InvalidRequest(f"Missing required param: {name}.", param=name)
    exponent = value.as_tuple().exponent
    if not 0 < value <= 100 or (isinstance(exponent, int) and exponent < -PLACES):
        raise InvalidRequest(
            f"A percentage must be greater than 0 and at most 100, with at most {PLACES} decimal "
            "places.",
            param=name,
        )
    return value


def _amount(params: CouponCreate) -> int:
    if params.amount_off is not None:
        return params.amount_off
    value = params.discount_value
    if value is None:
        raise InvalidRequest("Missing required param: discount_value.", param="discount_value")
    if value != int(value) or not 1 <= value <= AMOUNT_MAX:
        raise InvalidRequest(
            "The discount_value of a fixed_amount is whole minor units: 500 is five dollars.",
            param="discount_value",
        )
    return int(value)


def _products(params: CouponCreate) -> list[str] | None:
    named = params.product_ids or ([params.product_id] if params.product_id else None)
    if params.applicable_to == "specific_products" and not named:
        raise InvalidRequest(
            "A coupon for specific_products needs a product_id.", param="product_id"
        )
    if params.applicable_to == "all_products" and named:
        raise InvalidRequest(
            "A coupon for all_products has no product_id.",
            param="product_ids" if params.product_ids else "product_id",
        )
    return named


def render_many(conn: Connection, act: Act, shown: Sequence[Coupon]) -> list[dict[str, Any]]:
    return [to_frame(each, act) for each in shown]


def to_frame(coupon: Coupon, act: Act) -> dict[str, Any]:
    """A coupon, and whether it can be redeemed now."""
    fixed = coupon.percent_off is None
    value = coupon.percent_off if coupon.percent_off is not None else coupon.amount_off or 0
    return {
        "id": coupon.id,
        "object": "coupon",
        "name": coupon.name,
        "description": coupon.description,
        "discount_type": "fixed_amount" if fixed else "percentage",
        "discount_value": decimal_string(value),
        "discount_value_currency": coupon.currency,
        "amount_off": coupon.amount_off,
        "percent_off": None if fixed else decimal_string(value),
        "currency": coupon.currency,
        "duration": coupon.duration,
        "duration_in_months": coupon.duration_in_months,
        "status": "deleted" if coupon.deleted_at else coupon.status,
        "applicable_to": "specific_products" if coupon.product_ids else "all_products",
        "product_id": coupon.product_ids[0] if coupon.product_ids else None,
        "product_ids": list(coupon.product_ids or ()),
        "max_redemptions": coupon.max_redemptions,
        "times_redeemed": coupon.times_redeemed,
        "minimum_order_amount_cents": coupon.minimum_amount,
        "minimum_order_amount_currency": coupon.minimum_amount_currency,
        "discount_cap_cents": coupon.max_amount_off,
        "discount_cap_currency": coupon.max_amount_off_currency,
        "valid_from": seconds(coupon.redeem_from),
        "valid_until": seconds(coupon.redeem_by),
        "is_expired": coupon.is_expired(act.now),
        "is_maxed_out": coupon.is_used_up,
        "metadata": dict(coupon.metadata),
        "livemode": act.livemode,
        "created": seconds(coupon.created_at),
        "updated": seconds(coupon.created_at),
    }
