"""Promotion codes as Stripe shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    AMOUNT_MAX,
    Boolean,
    Currency,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Timestamp,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.expand import expandable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_coupons
from postpaid.billing.perform import Act
from postpaid.core.discounts import Coupon, PromotionCode
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import coupons, promotion_codes
from postpaid.storage.database import Connection
from postpaid.storage.paging import Rows

routes = Routes("Promotion codes")

CODE_LETTERS = 8  # of a code that we choose


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise refuse("Invalid code: it may have letters, digits and hyphens")
    return text


Amount = Annotated[int, Integer(1, AMOUNT_MAX)]


class CurrencyOption(Params):
    minimum_amount: Amount


CurrencyOptions = Annotated[dict[Currency, CurrencyOption], MaxLen(100)]


class Promotion(Params):
    coupon: Id
    type: Literal["coupon"]


class Restrictions(Params):
    currency_options: CurrencyOptions | None = None
    first_time_transaction: Boolean = False
    minimum_amount: Amount | None = None
    minimum_amount_currency: Currency | None = None


class RestrictionsUpdate(Params):
    currency_options: CurrencyOptions | None = None


class PromotionCodeCreate(Params):
    active: Boolean = True
    code: Annotated[str, Text(500), AfterValidator(_code)] | None = None
    coupon: Id | None = None  # as it was before `promotion`
    customer: Id | None = None
    expires_at: Timestamp | None = None
    max_redemptions: Annotated[int, Integer(1, 10**9)] | None = None
    metadata: Metadata = None
    promotion: Promotion | None = None
    restrictions: Restrictions = Restrictions()


class PromotionCodeUpdate(Params):
    active: Boolean | None = None
    metadata: Metadata = None
    restrictions: RestrictionsUpdate | None = None


class PromotionCodeList(ListParams):
    active: Boolean | None = None
    code: Annotated[str, Text(500)] | None = None
    coupon: Id | None = None
    created: TimeRange | None = None
    customer: Id | None = None


@routes.post("/v1/promotion_codes", returns="promotion_code")
def create(call: Call, params: PromotionCodeCreate) -> dict[str, Any]:
    """Create a promotion code: a word that customers give for a coupon."""
    code = from_stripe(call.act, params)

    def write(conn: Connection) -> dict[str, Any]:
        created, coupon = manage_coupons.create_promotion_code(conn, call.act, code)
        return to_stripe(created, coupon, call.act)

    return call.write(write)


def from_stripe(act: Act, params: PromotionCodeCreate) -> PromotionCode:
    """What is asked for, in the engine's words. Raises ``InvalidRequest``."""
    coupon_id = params.promotion.coupon if params.promotion else params.coupon
    if coupon_id is None:
        raise InvalidRequest(
            "Missing required param: promotion.", param="promotion", code="parameter_missing"
        )
    limits = params.restrictions
    return PromotionCode(
        id=act.new_id("promo"),
        code=params.code or act.new_id("code")[-CODE_LETTERS:].upper(),
        coupon_id=coupon_id,
        created_at=act.now,
        active=params.active,
        customer_id=params.customer,
        expires_at=params.expires_at,
        max_redemptions=params.max_redemptions,
        first_time_transaction=limits.first_time_transaction,
        minimum_amount=limits.minimum_amount,
        minimum_amount_currency=limits.minimum_amount_currency,
        minimum_amounts=_minimums(limits.currency_options),
        metadata=merge_metadata({}, params.metadata),
    )


@routes.get("/v1/promotion_codes/{promotion_code}", returns="promotion_code")
def retrieve(call: Call, promotion_code: str) -> dict[str, Any]:
    """Retrieve a promotion code by its id; list them to find one by its code."""

    def read(conn: Connection) -> dict[str, Any]:
        found = promotion_codes.load(conn, call.act.account_id, [promotion_code])
        if promotion_code not in found:
            raise NotFound.of("promotion code", promotion_code)
        return render_many(conn, call.act, [found[promotion_code]])[0]

    return call.read(read)


@routes.post("/v1/promotion_codes/{promotion_code}", returns="promotion_code")
def update(call: Call, params: PromotionCodeUpdate, promotion_code: str) -> dict[str, Any]:
    """Update whether a promotion code is active, or its metadata; or add currencies."""

    def change(before: PromotionCode) -> PromotionCode:
        given = params.given()
        limits = given.pop("restrictions", None)
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        if limits and limits.currency_options:
            added = _minimums(limits.currency_options) or {}
            given["minimum_amounts"] = {**(before.minimum_amounts or {}), **added}
        return replace(before, **given)

    return call.write(
        lambda conn: render_many(
            conn,
            call.act,
            [manage_coupons.update_promotion_code(conn, call.act, promotion_code, change)],
        )[0]
    )


@routes.get("/v1/promotion_codes", returns="promotion_code", many=True)
def list_(call: Call, params: PromotionCodeList) -> dict[str, Any]:
    """List promotion codes, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)

    def read(conn: Connection) -> dict[str, Any]:
        found = promotion_codes.list_page(
            conn,
            call.act.account_id,
            params.page,
            now=call.act.now,
            active=params.active,
            code=params.code,
            coupon_id=params.coupon,
            customer_id=params.customer,
            created_from=created_from,
            created_before=created_before,
        )
        shown = render_many(conn, call.act, found.rows)
        return listing("/v1/promotion_codes", Rows(shown, found.has_more), lambda each: each)

    return call.read(read)


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _minimums(options: Mapping[str, CurrencyOption] | None) -> dict[str, int] | None:
    return {key: each.minimum_amount for key, each in (options or {}).items()} or None


def render_many(conn: Connection, act: Act, shown: Sequence[PromotionCode]) -> list[dict[str, Any]]:
    """Many promotion codes with one statement for all their coupons."""
    found = coupons.load(conn, act.account_id, {each.coupon_id for each in shown})
    return [to_stripe(each, found[each.coupon_id], act) for each in shown]


def to_stripe(code: PromotionCode, coupon: Coupon, act: Act) -> dict[str, Any]:
    """A promotion code, and whether it can be redeemed now."""
    return {
        "id": code.id,
        "object": "promotion_code",
        "active": code.is_active(coupon, act.now),
        "code": code.code,
        "created": seconds(code.created_at),
        "customer": code.customer_id,
        "customer_account": None,
        "expires_at": seconds(code.expires_at),
        "livemode": act.livemode,
        "max_redemptions": code.max_redemptions,
        "metadata": code.metadata,
        "promotion": {"coupon": code.coupon_id, "type": "coupon"},
        "restrictions": {
            "first_time_transaction": code.first_time_transaction,
            "minimum_amount": code.minimum_amount,
            "minimum_amount_currency": code.minimum_amount_currency,
        },
        "times_redeemed": code.times_redeemed,
    }


@loader("promotion_code")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = promotion_codes.load(conn, act.account_id, ids)
    return {each["id"]: each for each in render_many(conn, act, list(found.values()))}


expandable("promotion_code", "customer", load="customer")
expandable("promotion_code", "promotion.coupon", load="coupon")
