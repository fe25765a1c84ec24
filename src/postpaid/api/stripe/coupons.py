"""Coupons as Stripe shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from annotated_types import Len, MaxLen
from pydantic import AfterValidator

from postpaid.api.instants import seconds
from postpaid.api.params import (
    AMOUNT_MAX,
    Currency,
    Dec,
    Id,
    Integer,
    Metadata,
    Params,
    Text,
    TimeRange,
    Timestamp,
    Unsettable,
    merge_metadata,
    refuse,
)
from postpaid.api.stripe.expand import includable, loader
from postpaid.api.stripe.lists import ListParams, listing
from postpaid.api.stripe.routes import Call, Routes
from postpaid.billing import manage_coupons
from postpaid.billing.perform import Act
from postpaid.core.discounts import Coupon, Duration
from postpaid.core.errors import NotFound
from postpaid.core.values import replace
from postpaid.storage import coupons
from postpaid.storage.database import Connection

routes = Routes("Coupons")

ID_LETTERS = 8  # of an id that we choose, which is a word for people (Stripe)
PLACES = 4  # of a percentage


def _percent_off(value: Decimal) -> Decimal:
    if not 0 < value <= 100:
        raise refuse("Invalid decimal: must be greater than 0 and at most 100")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -PLACES:
        raise refuse(f"Invalid decimal: must have at most {PLACES} decimal places")
    return value


AmountOff = Annotated[int, Integer(1, AMOUNT_MAX)]


class CurrencyOption(Params):
    amount_off: AmountOff


CurrencyOptions = Annotated[dict[Currency, CurrencyOption], MaxLen(100)]


class AppliesTo(Params):
    products: Annotated[list[Id], Len(1, 100)]


class CouponCreate(Params):
    amount_off: AmountOff | None = None
    applies_to: AppliesTo | None = None
    currency: Currency | None = None
    currency_options: CurrencyOptions | None = None
    duration: Duration = Duration.ONCE
    duration_in_months: Annotated[int, Integer(1, 120)] | None = None
    id: Annotated[str, Text(200)] | None = None
    max_redemptions: Annotated[int, Integer(1, 10**9)] | None = None
    metadata: Metadata = None
    name: Annotated[str, Text(40)] | None = None
    percent_off: Annotated[Dec, AfterValidator(_percent_off)] | None = None
    redeem_by: Timestamp | None = None


class CouponUpdate(Params):
    currency_options: CurrencyOptions | None = None
    metadata: Metadata = None
    name: Unsettable[Annotated[str, Text(40)]] = None


class CouponList(ListParams):
    created: TimeRange | None = None


@routes.post("/v1/coupons", returns="coupon")
def create(call: Call, params: CouponCreate) -> dict[str, Any]:
    """Create a coupon: so many percent off, or an amount."""
    act = call.act
    coupon = Coupon(
        id=params.id or act.new_id("coupon")[-ID_LETTERS:],
        duration=params.duration,
        created_at=act.now,
        name=params.name,
        percent_off=params.percent_off,
        amount_off=params.amount_off,
        currency=params.currency,
        currency_options=_amounts(params.currency_options),
        duration_in_months=params.duration_in_months,
        product_ids=list(params.applies_to.products) if params.applies_to else None,
        max_redemptions=params.max_redemptions,
        redeem_by=params.redeem_by,
        metadata=merge_metadata({}, params.metadata),
    )
    return call.write(
        lambda conn: render_many(conn, act, [manage_coupons.create_coupon(conn, act, coupon)])[0]
    )


@routes.get("/v1/coupons/{coupon}", returns="coupon")
def retrieve(call: Call, coupon: str) -> dict[str, Any]:
    """Retrieve a coupon."""

    def read(conn: Connection) -> dict[str, Any]:
        found = coupons.load(conn, call.act.account_id, [coupon]).get(coupon)
        if found is None or found.deleted_at:
            raise NotFound.of("coupon", coupon, param="coupon")
        return render_many(conn, call.act, [found])[0]

    return call.read(read)


@routes.post("/v1/coupons/{coupon}", returns="coupon")
def update(call: Call, params: CouponUpdate, coupon: str) -> dict[str, Any]:
    """Update a coupon's name and metadata, or add an amount in another currency."""

    def change(before: Coupon) -> Coupon:
        given = params.given()
        if "metadata" in given:
            given["metadata"] = merge_metadata(before.metadata, given["metadata"])
        if "currency_options" in given:
            added = _amounts(given["currency_options"]) or {}
            given["currency_options"] = {**(before.currency_options or {}), **added} or None
        return replace(before, **given)

    return call.write(
        lambda conn: render_many(
            conn, call.act, [manage_coupons.update_coupon(conn, call.act, coupon, change)]
        )[0]
    )


@routes.get("/v1/coupons", returns="coupon", many=True)
def list_(call: Call, params: CouponList) -> dict[str, Any]:
    """List coupons, newest first."""
    created_from, created_before = params.created.bounds if params.created else (None, None)
    return call.read(
        lambda conn: listing(
            "/v1/coupons",
            coupons.list_page(
                conn,
                call.act.account_id,
                params.page,
                created_from=created_from,
                created_before=created_before,
            ),
            lambda each: to_stripe(each, call.act),
        )
    )


@routes.delete("/v1/coupons/{coupon}", returns="coupon")
def delete(call: Call, coupon: str) -> dict[str, Any]:
    """Delete a coupon: nobody can redeem it any more, and the discounts that it made go on."""
    return call.write(
        lambda conn: to_stripe(manage_coupons.delete_coupon(conn, call.act, coupon), call.act)
    )


# ─── Shapes ──────────────────────────────────────────────────────────────────────────────────


def _amounts(options: Mapping[str, CurrencyOption] | None) -> dict[str, int] | None:
    return {key: each.amount_off for key, each in (options or {}).items()} or None


def render_many(conn: Connection, act: Act, shown: Sequence[Coupon]) -> list[dict[str, Any]]:
    return [to_stripe(each, act) for each in shown]


def to_stripe(coupon: Coupon, act: Act) -> dict[str, Any]:
    """A coupon, and whether it can be redeemed now; of one that was deleted, that it was."""
    if coupon.deleted_at is not None:
        return {"id": coupon.id, "object": "coupon", "deleted": True}
    return {
        "id": coupon.id,
        "object": "coupon",
        "amount_off": coupon.amount_off,
        "created": seconds(coupon.created_at),
        "currency": coupon.currency,
        "duration": coupon.duration,
        "duration_in_months": coupon.duration_in_months,
        "livemode": act.livemode,
        "max_redemptions": coupon.max_redemptions,
        "metadata": coupon.metadata,
        "name": coupon.name,
        "percent_off": None if coupon.percent_off is None else float(coupon.percent_off),
        "redeem_by": seconds(coupon.redeem_by),
        "times_redeemed": coupon.times_redeemed,
        "valid": coupon.is_valid(act.now),
    }


@loader("coupon")
def _load(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """As its discounts show it: whole, though nobody can redeem it any more."""
    found = coupons.load(conn, act.account_id, ids)
    return {
        key: to_stripe(replace(each, deleted_at=None), act)
        | ({"valid": False} if each.deleted_at else {})
        for key, each in found.items()
    }


def _applies_to(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    found = coupons.load(conn, act.account_id, ids)
    return {
        key: each.product_ids and {"products": list(each.product_ids)}
        for key, each in found.items()
    }


def _currency_options(conn: Connection, act: Act, ids: Sequence[str]) -> dict[str, Any]:
    """Stripe: of an amount, with the one in its own currency among them."""
    found = coupons.load(conn, act.account_id, ids)
    return {
        key: each.currency
        and {
            currency: {"amount_off": amount}
            for currency, amount in [
                (each.currency, each.amount_off),
                *(each.currency_options or {}).items(),
            ]
        }
        for key, each in found.items()
    }


includable("coupon", "applies_to", _applies_to)
includable("coupon", "currency_options", _currency_options)
