"""Promotion codes by the words that customers give: which are meant, and what they would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from postpaid.billing.manage_discounts import (
    AskedDiscount,
    History,
    check_code,
    check_codes_minimum,
    check_currency,
    history_of,
)
from postpaid.billing.perform import Act
from postpaid.core.adjusting import parts_off
from postpaid.core.discounts import Coupon, PromotionCode
from postpaid.core.errors import BillingError, InvalidRequest, NotFound, Path
from postpaid.core.money import format_amount
from postpaid.storage import coupons, customers, promotion_codes
from postpaid.storage.database import Connection


def asked_by_words(
    conn: Connection,
    act: Act,
    words: Sequence[str],
    *,
    customer_id: str | None,
    param: Path = ("promotion_codes",),
) -> list[AskedDiscount]:
    """What the customer asks for with these words, for ``choose``. Raises ``NotFound``."""
    if not words:
        return []
    found = promotion_codes.of_words(conn, act.account_id, words, customer_id=customer_id)
    for i, word in enumerate(words):
        if word.upper() not in found:
            raise NotFound.of("promotion code", word, param=(*param, i))
    return [AskedDiscount(promotion_code_id=found[word.upper()].id) for word in words]


@dataclass(frozen=True, slots=True)
class Tried:
    """What one of several promotion codes would take off a purchase, after those before it.

    ``refused`` is why it takes nothing off; without, it may be redeemed.
    """

    word: str
    code: PromotionCode | None = None
    coupon: Coupon | None = None
    amount_off: int = 0
    refused: BillingError | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is to be bought: minor units, by a customer or nobody in particular, of a product."""

    amount: int
    currency: str
    customer_id: str | None = None
    product_id: str | None = None


def try_codes(conn: Connection, act: Act, words: Sequence[str], purchase: Purchase) -> list[Tried]:
    """What the promotion codes would take off the purchase, one after the other; writes nothing.

    Each is decided as an invoice would decide it: of what those before it left. Raises ``NotFound``
    for the customer.
    """
    # Read.
    customer_id = purchase.customer_id
    if customer_id is not None:
        customer = customers.find(conn, act.account_id, customer_id)
        if customer is None or customer.deleted_at:
            raise NotFound.of("customer", customer_id, param="customer")
        act = act.at(customer.now(act.now), customer.clock_id)
    codes = promotion_codes.of_words(conn, act.account_id, words, customer_id=customer_id)
    found = coupons.load(conn, act.account_id, {code.coupon_id for code in codes.values()})
    history = history_of(conn, act, codes.values(), {customer_id} if customer_id else set())

    # Decide.
    tried: list[Tried] = []
    left = purchase.amount
    for i, word in enumerate(words):
        param = ("promotion_codes", i)
        code = codes.get(word.upper())
        if code is None:
            refused = NotFound.of("promotion code", word, param=param)
            tried.append(Tried(word, refused=refused))
            continue
        coupon = found[code.coupon_id]
        taken = {each.code.coupon_id for each in tried if each.code and not each.refused}
        try:
            _check(act, code, coupon, purchase, history, param)
            if coupon.id in taken:
                raise InvalidRequest(
                    f"The coupon '{coupon.id}' is given twice; it can be applied once.",
                    param=param,
                )
        except BillingError as error:
            tried.append(Tried(word, code, coupon, refused=error))
            continue
        over = [left] if left > 0 else []
        off = sum(parts_off(coupon, purchase.currency, over, order=purchase.amount))
        left -= off
        tried.append(Tried(word, code, coupon, off))
    return tried


def left_to_pay(purchase: Purchase, tried: Sequence[Tried]) -> int:
    """What the promotion codes that were tried leave of the purchase, in minor units."""
    return purchase.amount - sum(each.amount_off for each in tried)


def _check(
    act: Act,
    code: PromotionCode,
    coupon: Coupon,
    purchase: Purchase,
    history: History,
    param: Path,
) -> None:
    check_code(act, code, coupon, purchase.customer_id, history, param)
    check_currency(coupon, purchase.currency, param)
    check_codes_minimum(code, purchase.amount, purchase.currency, param)
    if coupon.minimum_amount is not None and purchase.amount < coupon.minimum_amount:
        raise InvalidRequest(
            "This coupon takes nothing off a purchase of less than "
            f"{format_amount(Decimal(coupon.minimum_amount), purchase.currency)}.",
            param=param,
        )
    if coupon.product_ids and purchase.product_id not in coupon.product_ids:
        raise InvalidRequest("This coupon is for other products.", param=param)
