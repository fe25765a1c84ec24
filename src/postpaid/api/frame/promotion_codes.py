"""Promotion codes, as Frame shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from postpaid.api.frame import shapes
from postpaid.api.frame.coupons import DEFAULT_CURRENCY, Cents
from postpaid.api.frame.naming import in_frames_words
from postpaid.api.frame.pages import listing
from postpaid.api.frame.params import (
    ListParams,
    Metadata,
    Payer,
    When,
    merge_metadata,
)
from postpaid.api.frame.routes import Call, Routes
from postpaid.api.frame.shapes import Owner
from postpaid.api.instants import seconds
from postpaid.api.params import Boolean, Currency, Id, Integer, Text, refuse
from postpaid.billing import manage_coupons
from postpaid.billing.perform import Act
from postpaid.core.discounts import Coupon, PromotionCode
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import coupons, promotion_codes
from postpaid.storage.database import Connection

routes = Routes("Promotion codes")

CODE_LETTERS = 8  # of a code that we choose

NAMES = {
    "promotion.coupon": "coupon_id",
    "restrictions.minimum_amount": "minimum_amount_cents",
    "restrictions.minimum_amount_currency": "minimum_amount_currency",
    "redeem_by": "valid_until",
}


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise refuse("Invalid code: it may have letters, digits and hyphens")
    return text.upper()


Times = Annotated[int, Integer(1, 10**9)]


class PromotionCodeTerms(Payer):
    """What a promotion code gives, and to whom: fixed once it is made."""

    code: Annotated[str, Text(500), AfterValidator(_code)] | None = None
    coupon_id: Id | None = None
    coupon: Id | None = None
    expires_at: When | None = None
    first_time_transaction: Boolean | None = None
    max_customer_redemptions: Times | None = None
    max_redemptions: Times | None = None
    minimum_amount_cents: Cents | None = None
    minimum_amount_currency: Currency | None = None


class PromotionCodeCreate(PromotionCodeTerms):
    active: Boolean = True
    metadata: Metadata = None


class PromotionCodeUpdate(PromotionCodeTerms):
    active: Boolean | None = None
    metadata: Metadata = None


class PromotionCodeList(ListParams, Payer):
    active: Boolean | None = None
    code: Annotated[str, Text(500)] | None = None
    coupon_id: Id | None = None
    first_time_transaction: Boolean | None = None


@routes.post("/v1/promotion_codes", status=201)
def create(call: Call, params: PromotionCodeCreate) -> dict[str, Any]:
    """Create a promotion code: a word that customers give for a coupon."""
    code = from_frame(call.act, params)

    def write(conn: Connection) -> dict[str, Any]:
        created, _ = manage_coupons.create_promotion_code(conn, call.act, code)
        return render_many(conn, call.act, [created])[0]

    with in_frames_words(NAMES):
        return call.write(write)


@routes.get("/v1/promotion_codes/{promotion_code}")
def retrieve(call: Call, promotion_code: str) -> dict[str, Any]:
    """Retrieve a promotion code by its id; list them to find one by its word."""

    def read(conn: Connection) -> dict[str, Any]:
        found = promotion_codes.load(conn, call.act.account_id, [promotion_code])
        if promotion_code not in found:
            raise NotFound.of("promotion code", promotion_code)
        return render_many(conn, call.act, [found[promotion_code]])[0]

    return call.read(read)


@routes.patch("/v1/promotion_codes/{promotion_code}")
def update(call: Call, params: PromotionCodeUpdate, promotion_code: str) -> dict[str, Any]:
    """Update whether a promotion code is active, or its metadata; its terms stay as they are."""
    given = params.given()
    if fixed := [name for name in given if name in PromotionCodeTerms.model_fields]:
        raise InvalidRequest(
            f"The terms of a promotion code cannot be changed: {fixed[0]}. Create another one.",
            param=fixed[0],
        )
    if given.get("active", False) is None:
        del given["active"]

    def change(before: PromotionCode) -> PromotionCode:
        fields = dict(given)
        if "metadata" in fields:
            fields["metadata"] = merge_metadata(before.metadata, fields["metadata"])
        return replace(before, **fields)

    def write(conn: Connection) -> dict[str, Any]:
        updated = manage_coupons.update_promotion_code(conn, call.act, promotion_code, change)
        return render_many(conn, call.act, [updated])[0]

    return call.write(write)


@routes.get("/v1/promotion_codes")
def list_(call: Call, params: PromotionCodeList) -> dict[str, Any]:
    """List promotion codes, newest first."""
    customer_id = params.payer_id

    def read(conn: Connection) -> dict[str, Any]:
        rows = promotion_codes.list_page(
            conn,
            call.act.account_id,
            params.rows,
            now=call.act.now,
            switched_on=params.active,
            code=params.code,
            coupon_id=params.coupon_id,
            customer_id=customer_id,
            first_time=params.first_time_transaction,
        )
        return listing(
            "/v1/promotion_codes",
            params,
            rows,
            lambda page: render_many(conn, call.act, page),
            named="promotion_codes",
        )

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def from_frame(act: Act, params: PromotionCodeCreate) -> PromotionCode:
    """What is asked for, in the engine's words. Raises ``InvalidRequest``."""
    coupon_id = params.coupon_id or params.coupon
    if coupon_id is None:
        raise InvalidRequest("Missing required param: coupon_id.", param="coupon_id")
    least = params.minimum_amount_cents
    return PromotionCode(
        id=act.new_id("promo"),
        code=params.code or act.new_id("code")[-CODE_LETTERS:].upper(),
        coupon_id=coupon_id,
        created_at=act.now,
        active=params.active,
        customer_id=params.payer_id,
        expires_at=params.expires_at,
        max_redemptions=params.max_redemptions,
        max_customer_redemptions=params.max_customer_redemptions,
        first_time_transaction=params.first_time_transaction or False,
        minimum_amount=least,
        minimum_amount_currency=(params.minimum_amount_currency or DEFAULT_CURRENCY)
        if least
        else params.minimum_amount_currency,
        metadata=merge_metadata({}, params.metadata),
    )


def render_many(conn: Connection, act: Act, shown: Sequence[PromotionCode]) -> list[dict[str, Any]]:
    """Promotion codes, with a statement for all their coupons and one for all their customers."""
    found = coupons.load(conn, act.account_id, {each.coupon_id for each in shown})
    whose = shapes.owners(conn, act.account_id, [each.customer_id for each in shown])
    return [to_frame(each, found[each.coupon_id], whose[each.customer_id], act) for each in shown]


def to_frame(code: PromotionCode, coupon: Coupon, owner: Owner, act: Act) -> dict[str, Any]:
    """A promotion code, and whether it can be redeemed now."""
    return {
        "id": code.id,
        "object": "promotion_code",
        "code": code.code.upper(),
        "coupon": code.coupon_id,
        "coupon_id": code.coupon_id,
        **owner.keys,
        "active": code.active,
        "first_time_transaction": code.first_time_transaction,
        "max_redemptions": code.max_redemptions,
        "max_customer_redemptions": code.max_customer_redemptions,
        "times_redeemed": code.times_redeemed,
        "remaining_redemptions": code.redemptions_left(coupon),
        "minimum_amount_cents": code.minimum_amount,
        "minimum_amount_currency": code.minimum_amount_currency,
        "expires_at": seconds(code.expires_at),
        "is_expired": code.is_expired(act.now),
        "is_maxed_out": code.is_used_up,
        "is_redeemable": code.is_active(coupon, act.now),
        "is_customer_specific": code.customer_id is not None,
        "metadata": dict(code.metadata),
        "livemode": act.livemode,
        "created": seconds(code.created_at),
        "created_at": seconds(code.created_at),
        "updated": seconds(code.created_at),
    }
