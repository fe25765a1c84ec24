"""What comes off the list price: coupons, the codes that give them out, and discounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from postpaid.core.periods import Interval, Recurrence, period_at_index


class Duration(StrEnum):
    """For how long a coupon takes something off (Stripe)."""

    ONCE = "once"  # the first invoice that it takes something off
    REPEATING = "repeating"  # months by the calendar, from when it is redeemed
    FOREVER = "forever"


class CouponStatus(StrEnum):
    """Whether a coupon is given out. Whatever it is, the discounts that it made go on."""

    ACTIVE = "active"
    INACTIVE = "inactive"  # not now
    ARCHIVED = "archived"  # nevermore


# Frame: what a coupon's status may become, besides what it is.
COUPON_TRANSITIONS = frozenset(
    {
        (CouponStatus.ACTIVE, CouponStatus.INACTIVE),
        (CouponStatus.INACTIVE, CouponStatus.ACTIVE),
        (CouponStatus.ACTIVE, CouponStatus.ARCHIVED),
        (CouponStatus.INACTIVE, CouponStatus.ARCHIVED),
    }
)


@dataclass(frozen=True, slots=True)
class Coupon:
    """Terms of a discount: so many percent, or an amount in minor units of a currency.

    ``currency_options`` are the amounts in other currencies. Of ``product_ids`` only the lines that
    sell one of them; None means all lines. Deleted, it is redeemed no more, and the discounts that
    it made go on (Stripe).

    ``max_amount_off`` is the most that a percentage comes to on one invoice, and
    ``minimum_amount`` what an invoice must come to before anything is taken off it, both in minor
    units of their currency; in another currency such a coupon takes nothing off. It is redeemed
    from ``redeem_from`` on, until ``redeem_by``.
    """

    id: str
    duration: Duration
    created_at: datetime
    name: str | None = None
    percent_off: Decimal | None = None
    amount_off: int | None = None
    currency: str | None = None
    currency_options: Mapping[str, int] | None = None
    duration_in_months: int | None = None
    product_ids: Sequence[str] | None = None
    max_redemptions: int | None = None
    redeem_by: datetime | None = None
    times_redeemed: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    deleted_at: datetime | None = None
    status: CouponStatus = CouponStatus.ACTIVE
    description: str | None = None
    redeem_from: datetime | None = None
    max_amount_off: int | None = None
    max_amount_off_currency: str | None = None
    minimum_amount: int | None = None
    minimum_amount_currency: str | None = None

    def amount_in(self, currency: str) -> int | None:
        """What it takes off in this currency, in minor units; None when it has no amount in it."""
        if currency == self.currency:
            return self.amount_off
        return (self.currency_options or {}).get(currency)

    def takes_off_in(self, currency: str) -> bool:
        """Whether it can take anything off what is billed in the currency."""
        if self.minimum_amount_currency not in (None, currency):
            return False
        if self.percent_off is None:
            return self.amount_in(currency) is not None
        return self.max_amount_off_currency in (None, currency)

    @property
    def is_used_up(self) -> bool:
        """Whether it was redeemed as often as it can be."""
        return self.max_redemptions is not None and self.times_redeemed >= self.max_redemptions

    def is_expired(self, now: datetime) -> bool:
        """Whether the time to redeem it has passed."""
        return self.redeem_by is not None and self.redeem_by <= now

    def is_valid(self, now: datetime) -> bool:
        """Whether it can be redeemed now."""
        return (
            self.deleted_at is None
            and self.status == CouponStatus.ACTIVE
            and (self.redeem_from is None or self.redeem_from <= now)
            and not self.is_expired(now)
            and not self.is_used_up
        )


@dataclass(frozen=True, slots=True)
class PromotionCode:
    """A word that customers give for a coupon. Of one customer's, and of everyone's, the active
    ones differ, whatever the case of their letters.

    ``minimum_amounts`` is what a purchase must come to, in minor units by currency, and
    ``max_customer_redemptions`` how often each customer may redeem it.
    """

    id: str
    code: str
    coupon_id: str
    created_at: datetime
    active: bool = True
    customer_id: str | None = None
    expires_at: datetime | None = None
    max_redemptions: int | None = None
    times_redeemed: int = 0
    first_time_transaction: bool = False
    minimum_amount: int | None = None
    minimum_amount_currency: str | None = None
    minimum_amounts: Mapping[str, int] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_customer_redemptions: int | None = None

    def minimum_in(self, currency: str) -> int | None:
        """What a purchase in the currency must come to; None when there is no minimum in it."""
        if currency == self.minimum_amount_currency:
            return self.minimum_amount
        return (self.minimum_amounts or {}).get(currency)

    @property
    def has_minimum(self) -> bool:
        return self.minimum_amount is not None or bool(self.minimum_amounts)

    @property
    def is_used_up(self) -> bool:
        """Whether it was redeemed as often as it can be."""
        return self.max_redemptions is not None and self.times_redeemed >= self.max_redemptions

    def is_expired(self, now: datetime) -> bool:
        """Whether the time to redeem it has passed."""
        return self.expires_at is not None and self.expires_at <= now

    def is_active(self, coupon: Coupon, now: datetime) -> bool:
        """Whether it can be redeemed: its coupon must be too (Stripe)."""
        return (
            self.active
            and coupon.is_valid(now)
            and not self.is_expired(now)
            and not self.is_used_up
        )

    def redemptions_left(self, coupon: Coupon) -> int | None:
        """How often it can still be redeemed, as its coupon can; None: without end."""
        limits = [
            each.max_redemptions - each.times_redeemed
            for each in (self, coupon)
            if each.max_redemptions is not None
        ]
        return min(limits, default=None)


@dataclass(frozen=True, slots=True)
class Discount:
    """A coupon redeemed for a customer, or for one of its subscriptions, items or invoices.

    It holds for what is billed in ``[start_at, end_at)``. One that is for once is used up by the
    invoice ``used_invoice_id``.
    """

    id: str
    coupon_id: str
    customer_id: str
    start_at: datetime
    duration: Duration = Duration.FOREVER
    end_at: datetime | None = None
    promotion_code_id: str | None = None
    subscription_id: str | None = None
    subscription_item_id: str | None = None
    invoice_id: str | None = None
    invoice_item_id: str | None = None
    used_invoice_id: str | None = None
    deleted_at: datetime | None = None

    @property
    def is_customers(self) -> bool:
        """Whether it is for all that the customer buys."""
        return not (
            self.subscription_id
            or self.subscription_item_id
            or self.invoice_id
            or self.invoice_item_id
        )


def end_of(coupon: Coupon, start_at: datetime) -> datetime | None:
    """When a discount that begins at ``start_at`` ends: months later, by the calendar, or never."""
    if coupon.duration_in_months is None:
        return None
    return period_at_index(start_at, Recurrence(Interval.MONTH), coupon.duration_in_months).start


def holds(
    discount: Discount, *, invoice_ids: Sequence[str | None], billed_at: datetime, made_at: datetime
) -> bool:
    """Whether the discount holds for an invoice of what was billed, made at ``made_at``.

    ``invoice_ids`` are the invoice's own id and that of the one which it revises: what they have
    used up stays theirs. An invoice keeps a discount that is removed once it is made (Stripe).
    """
    if discount.deleted_at is not None and discount.deleted_at <= made_at:
        return False
    if discount.end_at is not None and discount.end_at <= billed_at:
        return False
    return discount.used_invoice_id is None or discount.used_invoice_id in invoice_ids
