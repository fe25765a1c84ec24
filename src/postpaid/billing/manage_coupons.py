"""Create, change and delete coupons, and the promotion codes that give them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.discounts import COUPON_TRANSITIONS, Coupon, Duration, PromotionCode
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.storage import catalog, coupons, customers, promotion_codes
from postpaid.storage.database import Connection


def create_coupon(conn: Connection, act: Act, coupon: Coupon) -> Coupon:
    """Add a coupon.

    Raises ``InvalidRequest`` for terms that do not fit each other, ``NotFound`` for a product that
    it is to apply to, and ``AlreadyExists`` when its id is, or was, another's.
    """
    _check_terms(coupon)
    if coupon.product_ids:
        found = catalog.load_products(conn, act.account_id, coupon.product_ids)
        for i, product_id in enumerate(coupon.product_ids):
            if product_id not in found:
                raise NotFound.of("product", product_id, param=("applies_to", "products", i))
    coupons.insert(conn, act.account_id, coupon)
    announce(conn, act, [Announcement("coupon.created", "coupon", coupon.id, coupon)])
    return coupon


def update_coupon(
    conn: Connection, act: Act, coupon_id: str, change: Callable[[Coupon], Coupon]
) -> Coupon:
    """Make the coupon what ``change`` makes of it: name, description, status, metadata, more
    currencies.

    Raises ``NotFound``, ``InvalidRequest`` for an amount in a currency that it has one in, and
    ``ActionNotAllowed`` by the statuses' table.
    """
    before = _lock_coupon(conn, act, coupon_id)
    after = change(before)
    if after == before:
        return before
    _check_currencies(after.currency_options, before)
    if after.status != before.status and (before.status, after.status) not in COUPON_TRANSITIONS:
        raise ActionNotAllowed(
            f"A coupon that is {before.status} cannot become {after.status}.", param="status"
        )
    coupons.update(conn, act.account_id, after)
    said = Announcement("coupon.updated", "coupon", after.id, after, changes(before, after))
    announce(conn, act, [said])
    return after


def delete_coupon(conn: Connection, act: Act, coupon_id: str) -> Coupon:
    """Let nobody redeem the coupon any more; the discounts it made go on. Raises ``NotFound``."""
    before = _lock_coupon(conn, act, coupon_id)
    after = replace(before, deleted_at=act.now)
    coupons.update(conn, act.account_id, after)
    announce(conn, act, [Announcement("coupon.deleted", "coupon", after.id, before)])
    return after


def create_promotion_code(
    conn: Connection, act: Act, code: PromotionCode
) -> tuple[PromotionCode, Coupon]:
    """Add a promotion code, and give its coupon with it.

    Raises ``NotFound``, ``InvalidRequest``, and ``AlreadyExists`` when an active one of the same
    customers has the code.
    """
    _check_minimums(code)

    # Read.
    coupon = coupons.load(conn, act.account_id, [code.coupon_id]).get(code.coupon_id)
    if coupon is None or coupon.deleted_at:
        raise NotFound.of("coupon", code.coupon_id, param=("promotion", "coupon"))
    if code.customer_id is not None:
        customer = customers.find(conn, act.account_id, code.customer_id)
        if customer is None or customer.deleted_at:
            raise NotFound.of("customer", code.customer_id, param="customer")

    # Decide.
    if not coupon.is_valid(max(act.now, coupon.redeem_from or act.now)):
        raise InvalidRequest(
            f"Coupon expired: {coupon.id}", param=("promotion", "coupon"), code="coupon_expired"
        )
    if code.expires_at is not None and code.expires_at <= act.now:
        raise InvalidRequest("expires_at must be in the future.", param="expires_at")
    if coupon.redeem_by and code.expires_at and code.expires_at > coupon.redeem_by:
        raise InvalidRequest(
            "expires_at must not be after the coupon's redeem_by.", param="expires_at"
        )
    if (
        coupon.max_redemptions is not None
        and code.max_redemptions is not None
        and code.max_redemptions > coupon.max_redemptions
    ):
        raise InvalidRequest(
            "max_redemptions must not be more than the coupon's.", param="max_redemptions"
        )

    # Write.
    if code.active:
        promotion_codes.retire(conn, act.account_id, code.code, now=act.now)
    promotion_codes.insert(conn, act.account_id, code)
    said = Announcement("promotion_code.created", "promotion_code", code.id, code)
    announce(conn, act, [said])
    return code, coupon


def update_promotion_code(
    conn: Connection, act: Act, code_id: str, change: Callable[[PromotionCode], PromotionCode]
) -> PromotionCode:
    """Make the code what ``change`` makes of it: active or not, its metadata, more currencies.

    Raises ``NotFound``; ``InvalidRequest`` for a minimum that does not fit the first one;
    ``ActionNotAllowed`` when it is to be active and cannot be redeemed (Stripe: its coupon must be
    valid, and it not expired); ``AlreadyExists`` if its code is taken.
    """
    before = promotion_codes.lock(conn, act.account_id, code_id)
    if before is None:
        raise NotFound.of("promotion code", code_id)
    after = change(before)
    if after == before:
        return before
    _check_minimums(after)
    if after.active and not before.active:
        coupon = coupons.load(conn, act.account_id, [after.coupon_id])[after.coupon_id]
        if not after.is_active(coupon, act.now):
            raise ActionNotAllowed(
                "This promotion code cannot be activated: it or its coupon has expired, was "
                "deleted, or has been redeemed as often as it can be.",
                param="active",
            )
    promotion_codes.update(conn, act.account_id, after)
    said = Announcement(
        "promotion_code.updated", "promotion_code", after.id, after, changes(before, after)
    )
    announce(conn, act, [said])
    return after


def _lock_coupon(conn: Connection, act: Act, coupon_id: str) -> Coupon:
    coupon = coupons.lock(conn, act.account_id, coupon_id)
    if coupon is None or coupon.deleted_at:
        raise NotFound.of("coupon", coupon_id, param="coupon")
    return coupon


def _check_terms(coupon: Coupon) -> None:
    if (coupon.percent_off is None) == (coupon.amount_off is None):
        raise InvalidRequest(
            "You must give exactly one of `percent_off` and `amount_off`.",
            param="percent_off" if coupon.percent_off is None else "amount_off",
            code="parameter_missing" if coupon.percent_off is None else "parameters_exclusive",
        )
    if coupon.amount_off is not None and coupon.currency is None:
        raise InvalidRequest(
            "You must give a currency with amount_off.", param="currency", code="parameter_missing"
        )
    if coupon.amount_off is None and (coupon.currency or coupon.currency_options):
        raise InvalidRequest(
            "A coupon of a percentage has no currency.",
            param="currency" if coupon.currency else "currency_options",
        )
    if (coupon.duration == Duration.REPEATING) != (coupon.duration_in_months is not None):
        raise InvalidRequest(
            "You must give duration_in_months when, and only when, duration is `repeating`.",
            param="duration_in_months",
        )
    if coupon.redeem_by is not None and coupon.redeem_by <= coupon.created_at:
        raise InvalidRequest("redeem_by must be in the future.", param="redeem_by")
    if coupon.redeem_by and coupon.redeem_from and coupon.redeem_by <= coupon.redeem_from:
        raise InvalidRequest("redeem_by must be after redeem_from.", param="redeem_by")
    if coupon.max_amount_off is not None and coupon.percent_off is None:
        raise InvalidRequest(
            "Only a coupon of a percentage has a max_amount_off.", param="max_amount_off"
        )
    for name in ("max_amount_off", "minimum_amount"):
        if (getattr(coupon, name) is None) != (getattr(coupon, f"{name}_currency") is None):
            raise InvalidRequest(
                f"You must give {name} and {name}_currency together.", param=f"{name}_currency"
            )
    if coupon.currency in (coupon.currency_options or {}):
        raise InvalidRequest(
            f"The amount in {coupon.currency} is amount_off itself.",
            param=("currency_options", str(coupon.currency)),
        )


def _check_currencies(options: Mapping[str, int] | None, before: Coupon) -> None:
    if options and before.amount_off is None:
        raise InvalidRequest("A coupon of a percentage has no currency.", param="currency_options")
    if before.currency in (options or {}):
        raise InvalidRequest(
            f"The amount in {before.currency} is amount_off itself.",
            param=("currency_options", str(before.currency)),
        )


def _check_minimums(code: PromotionCode) -> None:
    """The first minimum has a currency, and other currencies have theirs beside it (Stripe)."""
    if (code.minimum_amount is None) != (code.minimum_amount_currency is None):
        missing = "minimum_amount" if code.minimum_amount is None else "minimum_amount_currency"
        raise InvalidRequest(
            "You must give minimum_amount and minimum_amount_currency together.",
            param=("restrictions", missing),
            code="parameter_missing",
        )
    others = code.minimum_amounts or {}
    if others and (code.minimum_amount is None or code.minimum_amount_currency in others):
        raise InvalidRequest(
            "Minimum amounts can be given in currencies other than the first one's, of a code that "
            "has a minimum_amount.",
            param=("restrictions", "currency_options"),
        )
