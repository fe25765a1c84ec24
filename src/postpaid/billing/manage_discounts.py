"""Redeem coupons and promotion codes into discounts; use them up, and take them away.

What asks for discounts chooses them first, which writes nothing and so is what a preview does, and
redeems what it has chosen once it goes ahead. Whoever redeems has locked the customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from postpaid.billing.announce import Announcement, announce
from postpaid.billing.perform import Act
from postpaid.core.adjusting import taking_off
from postpaid.core.discounts import Coupon, Discount, Duration, PromotionCode, end_of
from postpaid.core.errors import InvalidRequest, NotFound, Path
from postpaid.core.invoicing import Invoice
from postpaid.core.money import format_amount
from postpaid.storage import coupons, customers, discounts, promotion_codes
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

DISCOUNTS_MAX = 20  # of one thing


@dataclass(frozen=True, slots=True)
class AskedDiscount:
    """A discount asked for, by exactly one of these: the ids, not the code that customers know."""

    coupon_id: str | None = None
    promotion_code_id: str | None = None
    discount_id: str | None = None  # one that is there already


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for one owner; without any id that is the customer.

    ``param`` is where in the request it was asked for.
    """

    asked: Sequence[AskedDiscount]
    subscription_id: str | None = None
    subscription_item_id: str | None = None
    invoice_id: str | None = None
    invoice_item_id: str | None = None
    param: Path = ("discounts",)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The discounts of each ``Wanted``, in the order given; ``new`` ones are not written yet."""

    discounts: list[list[Discount]] = field(default_factory=list)
    new: list[Discount] = field(default_factory=list)
    codes: dict[str, tuple[PromotionCode, Path]] = field(default_factory=dict)  # by discount

    def ids(self, place: int = 0) -> list[str] | None:
        """The ids for the owner at this place, or None when there are none."""
        if place >= len(self.discounts):
            return None
        return [each.id for each in self.discounts[place]] or None


def choose(
    conn: Connection,
    act: Act,
    wanted: Sequence[Wanted],
    *,
    customer: Customer,
    currency: str | None,
) -> Chosen:
    """The discounts that are asked for, if the customer can have them; nothing is written.

    ``act`` is at the customer's time. ``currency`` is that of what they are taken off; None when
    that is not known. Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    return choose_all(conn, act, [(wanted, customer, currency)])[0]


def choose_all(
    conn: Connection, act: Act, sales: Sequence[tuple[Sequence[Wanted], Customer, str | None]]
) -> list[Chosen]:
    """``choose`` for a list of sales, in a constant number of statements; none for no discount."""
    every = [one for wanted, _, _ in sales for each in wanted for one in each.asked]
    if not every:
        return [Chosen([[] for _ in wanted]) for wanted, _, _ in sales]
    # Read.
    for wanted, _, _ in sales:
        for each in wanted:
            _check_references(each)
    kept = discounts.load(
        conn, act.account_id, {one.discount_id for one in every if one.discount_id}
    )
    codes = promotion_codes.load(
        conn, act.account_id, {one.promotion_code_id for one in every if one.promotion_code_id}
    )
    coupon_by_id = coupons.load(
        conn,
        act.account_id,
        {one.coupon_id for one in every if one.coupon_id}
        | {code.coupon_id for code in codes.values()},
    )
    history = history_of(conn, act, codes.values(), {customer.id for _, customer, _ in sales})

    # Decide.
    known = _Known(kept, coupon_by_id, codes, history)
    return [_choose(act, *each, known) for each in sales]


@dataclass(frozen=True, slots=True)
class History:
    """Of customers: who has bought before, and who redeemed which promotion code how often."""

    have_bought: set[str]
    redeemed: Counter[tuple[str, str]]  # by promotion code and customer


def history_of(
    conn: Connection, act: Act, codes: Collection[PromotionCode], customer_ids: set[str]
) -> History:
    """What these codes have to know of the customers; a statement at most for each of the two."""
    firsts = any(code.first_time_transaction for code in codes) and customer_ids
    limited = [code.id for code in codes if code.max_customer_redemptions is not None]
    return History(
        discounts.have_bought(conn, act.account_id, customer_ids) if firsts else set(),
        Counter(discounts.redemptions(conn, act.account_id, limited, customer_ids))
        if limited and customer_ids
        else Counter(),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What discounts are chosen by."""

    kept: Mapping[str, Discount]
    coupon_by_id: Mapping[str, Coupon]
    codes: Mapping[str, PromotionCode]
    history: History


def _choose(
    act: Act,
    wanted: Sequence[Wanted],
    customer: Customer,
    currency: str | None,
    known: _Known,
) -> Chosen:
    chosen = Chosen()
    for each in wanted:
        own: list[Discount] = []
        for i, one in enumerate(each.asked):
            at = (*each.param, i)
            if one.discount_id:
                discount = known.kept.get(one.discount_id)
                if discount is None or discount.customer_id != customer.id or discount.deleted_at:
                    raise NotFound.of("discount", one.discount_id, param=(*at, "discount"))
            else:
                discount = _new(act, each, one, at, customer, currency, known)
                chosen.new.append(discount)
                if one.promotion_code_id:
                    where = (*at, "promotion_code")
                    chosen.codes[discount.id] = (known.codes[one.promotion_code_id], where)
                    known.history.redeemed[one.promotion_code_id, customer.id] += 1
            if discount.coupon_id in {other.coupon_id for other in own}:
                raise InvalidRequest(
                    f"The coupon '{discount.coupon_id}' is given twice; it can be applied once.",
                    param=at,
                )
            own.append(discount)
        chosen.discounts.append(own)
    return chosen


def check_minimum(chosen: Chosen, amount: int, currency: str) -> None:
    """Raises ``InvalidRequest`` for a promotion code that wants a larger purchase than this."""
    for code, param in chosen.codes.values():
        check_codes_minimum(code, amount, currency, param)


def check_codes_minimum(code: PromotionCode, amount: int, currency: str, param: Path) -> None:
    """The same for one promotion code."""
    if not code.has_minimum:
        return
    least = code.minimum_in(currency)
    if least is None:
        raise InvalidRequest(
            f"This promotion code has no minimum amount in {currency}, and cannot be "
            "redeemed in it.",
            param=param,
        )
    if amount < least:
        raise InvalidRequest(
            "This promotion code cannot be redeemed because the purchase is less than "
            f"{format_amount(Decimal(least), currency)}.",
            param=param,
        )


def redeem(conn: Connection, act: Act, *every: Chosen, announces: bool = True) -> None:
    """Write what was chosen and count the redemptions. The customers are locked.

    Unless it ``announces`` it, the caller does.

    Raises ``InvalidRequest`` when a coupon or a code has been redeemed by others in the meantime,
    as often as it can be.
    """
    new = [each for chosen in every for each in chosen.new]
    if not new:
        return
    times: dict[str, int] = {}
    code_times: dict[str, int] = {}
    for each in new:
        times[each.coupon_id] = times.get(each.coupon_id, 0) + 1
        if each.promotion_code_id:
            code_times[each.promotion_code_id] = code_times.get(each.promotion_code_id, 0) + 1
    if not coupons.redeem(conn, act.account_id, times) or (
        code_times and not promotion_codes.redeem(conn, act.account_id, code_times)
    ):
        raise InvalidRequest(
            "This coupon has been redeemed as often as it can be.",
            param="discounts",
            code="coupon_expired",
        )
    discounts.insert_many(conn, act.account_id, new)
    if announces:
        announce(conn, act, _said("customer.discount.created", new))


def discounts_from(
    conn: Connection,
    act: Act,
    asked: Sequence[AskedDiscount],
    *,
    customer: Customer,
    currency: str | None,
    subscription_id: str | None = None,
    subscription_item_id: str | None = None,
    invoice_id: str | None = None,
    invoice_item_id: str | None = None,
    param: Path = ("discounts",),
    announces: bool = True,
) -> list[Discount]:
    """Choose discounts for one owner and redeem them at once; see ``choose`` and ``redeem``."""
    wanted = Wanted(
        asked, subscription_id, subscription_item_id, invoice_id, invoice_item_id, param
    )
    chosen = choose(conn, act, [wanted], customer=customer, currency=currency)
    redeem(conn, act, chosen, announces=announces)
    return chosen.discounts[0]


def remove(conn: Connection, act: Act, ids: Sequence[str]) -> list[Discount]:
    """Take discounts away from now on; those that were still there. Drafts keep them (Stripe)."""
    removed = discounts.delete_many(conn, act.account_id, ids, now=act.now)
    announce(conn, act, _said("customer.discount.deleted", removed))
    return removed


def remove_left_out(
    conn: Connection, act: Act, before: Sequence[str] | None, after: Sequence[str] | None
) -> None:
    """Take away the discounts that were on something before and are not any more."""
    gone = set(before or ()) - set(after or ())
    if gone:
        remove(conn, act, sorted(gone))


@dataclass(frozen=True, slots=True)
class UsedUp:
    """The ids of the customers who lost a discount, and what is to be said of the discounts."""

    losers: set[str]
    said: list[Announcement]


def use_up(
    conn: Connection, act: Act, final: Sequence[Invoice], locked: Mapping[str, Customer]
) -> UsedUp:
    """Note which discounts, of those that are for once, these final invoices have used up.

    Customers, who are ``locked``, lose theirs with that, or when it has ended. The caller announces
    it. Voiding an invoice does not give a discount back (Stripe). Three statements at most, and
    none without a discount.
    """
    used = {discount_id: each.id for each in final for discount_id in taking_off(each)}
    over = discounts.use_up(conn, act.account_id, used) if used else []
    lost = {each.id: each.customer_id for each in over if each.is_customers}
    for customer_id in {each.customer_id for each in final}:
        own = locked[customer_id].discount
        if own and own["end_at"] is not None and own["end_at"] <= act.now.timestamp():
            lost[own["id"]] = customer_id
    if lost:
        customers.clear_discounts(conn, act.account_id, lost)
    ended = set(lost) - {each.id for each in over}
    if ended:
        over = [*over, *discounts.load(conn, act.account_id, ended).values()]
    return UsedUp(set(lost.values()), _said("customer.discount.deleted", over))


def _check_references(wanted: Wanted) -> None:
    if len(wanted.asked) > DISCOUNTS_MAX:
        raise InvalidRequest(
            f"At most {DISCOUNTS_MAX} discounts can be applied.", param=wanted.param
        )
    for i, one in enumerate(wanted.asked):
        given = [each for each in (one.coupon_id, one.promotion_code_id, one.discount_id) if each]
        if len(given) != 1:
            raise InvalidRequest(
                "You must give exactly one of `coupon`, `promotion_code` and `discount`.",
                param=(*wanted.param, i) if wanted.param else "coupon",
            )


def _new(
    act: Act,
    wanted: Wanted,
    one: AskedDiscount,
    at: Path,
    customer: Customer,
    currency: str | None,
    known: _Known,
) -> Discount:
    """A new discount, if the coupon or the code may be redeemed; ``at`` is where it is asked."""
    at = at if wanted.param else ()
    if one.promotion_code_id:
        param: Path = (*at, "promotion_code")
        code = known.codes.get(one.promotion_code_id)
        if code is None:
            raise NotFound.of("promotion code", one.promotion_code_id, param=param)
        coupon = known.coupon_by_id[code.coupon_id]
        check_code(act, code, coupon, customer.id, known.history, param)
    else:
        param = (*at, "coupon")
        assert one.coupon_id is not None
        found = known.coupon_by_id.get(one.coupon_id)
        if found is None or found.deleted_at:
            raise NotFound.of("coupon", one.coupon_id, param=param)
        coupon = found
        if not coupon.is_valid(act.now):
            raise InvalidRequest(f"Coupon expired: {coupon.id}", param=param, code="coupon_expired")
    if currency is not None:
        check_currency(coupon, currency, param)
    return Discount(
        id=act.new_id("di"),
        coupon_id=coupon.id,
        customer_id=customer.id,
        start_at=act.now,
        duration=coupon.duration,
        end_at=end_of(coupon, act.now) if coupon.duration == Duration.REPEATING else None,
        promotion_code_id=one.promotion_code_id,
        subscription_id=wanted.subscription_id,
        subscription_item_id=wanted.subscription_item_id,
        invoice_id=wanted.invoice_id,
        invoice_item_id=wanted.invoice_item_id,
    )


def check_currency(coupon: Coupon, currency: str, param: Path) -> None:
    """Raises ``InvalidRequest`` for a coupon that takes nothing off in the currency."""
    if coupon.takes_off_in(currency):
        return
    own = coupon.currency or coupon.max_amount_off_currency or coupon.minimum_amount_currency
    raise InvalidRequest(
        f"The coupon '{coupon.id}' takes an amount of {own} off, and this is billed in {currency}.",
        param=param,
    )


def check_code(
    act: Act,
    code: PromotionCode,
    coupon: Coupon,
    customer_id: str | None,
    history: History,
    param: Path,
) -> None:
    """Raises ``InvalidRequest`` unless the customer may redeem the promotion code now.

    Nobody in particular may redeem what depends on who it is.
    """
    if not code.is_active(coupon, act.now):
        raise InvalidRequest(
            "This promotion code cannot be redeemed: it is inactive, has expired, or has been "
            "redeemed as often as it can be.",
            param=param,
            code="coupon_expired",
        )
    if code.customer_id not in (None, customer_id):
        raise InvalidRequest("This promotion code is for another customer.", param=param)
    if customer_id is None:
        if code.first_time_transaction or code.max_customer_redemptions is not None:
            raise InvalidRequest(
                "Whether this promotion code can be redeemed depends on the customer.", param=param
            )
        return
    most = code.max_customer_redemptions
    if most is not None and history.redeemed[code.id, customer_id] >= most:
        raise InvalidRequest(
            "This promotion code has been redeemed by this customer as often as it can be.",
            param=param,
        )
    if code.first_time_transaction and customer_id in history.have_bought:
        raise InvalidRequest(
            "This promotion code cannot be redeemed because the associated customer has prior "
            "transactions.",
            param=param,
        )


def _said(happened: str, said: Sequence[Discount]) -> list[Announcement]:
    """Stripe: of what customers and subscriptions have; an invoice says itself what it has."""
    return [
        Announcement(happened, "discount", each.id, each)
        for each in said
        if not (each.invoice_id or each.invoice_item_id)
    ]
