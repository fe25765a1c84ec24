"""What a subscription is: its items, and a status that moves by one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from postpaid.core.catalog import Price, Product
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, Path
from postpaid.core.values import replace


class SubscriptionStatus(StrEnum):
    """Where a subscription is in its life, in Stripe's words."""

    INCOMPLETE = "incomplete"  # its first invoice is not paid yet
    INCOMPLETE_EXPIRED = "incomplete_expired"  # and was not paid in time
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"  # its latest invoice could not be collected
    CANCELED = "canceled"
    UNPAID = "unpaid"
    PAUSED = "paused"


class SubscriptionAction(StrEnum):
    """What can happen to a subscription's status."""

    PAY = "pay"  # its latest invoice is settled
    MISS_PAYMENT = "miss a payment"  # its latest invoice could not be collected
    FORGIVE = "be forgiven"  # its latest invoice is written off
    EXPIRE = "expire"
    CANCEL = "cancel"
    BEGIN_TRIAL = "begin a trial"
    END_TRIAL = "end its trial"
    PAUSE = "be paused"
    RESUME = "be resumed"
    GIVE_UP = "be given up"  # every retry of its latest invoice has failed


_S, _A = SubscriptionStatus, SubscriptionAction

TRANSITIONS = {
    (_S.INCOMPLETE, _A.PAY): _S.ACTIVE,
    (_S.INCOMPLETE, _A.MISS_PAYMENT): _S.INCOMPLETE,
    (_S.INCOMPLETE, _A.EXPIRE): _S.INCOMPLETE_EXPIRED,
    (_S.INCOMPLETE, _A.CANCEL): _S.INCOMPLETE_EXPIRED,  # Stripe: nothing was ever provided
    (_S.TRIALING, _A.PAY): _S.TRIALING,
    (_S.TRIALING, _A.MISS_PAYMENT): _S.TRIALING,  # Stripe: what it owes does not end a trial
    (_S.TRIALING, _A.CANCEL): _S.CANCELED,
    (_S.TRIALING, _A.BEGIN_TRIAL): _S.TRIALING,  # another end of it
    (_S.TRIALING, _A.END_TRIAL): _S.ACTIVE,
    (_S.TRIALING, _A.PAUSE): _S.PAUSED,
    (_S.ACTIVE, _A.PAY): _S.ACTIVE,
    (_S.ACTIVE, _A.MISS_PAYMENT): _S.PAST_DUE,
    (_S.ACTIVE, _A.CANCEL): _S.CANCELED,
    (_S.ACTIVE, _A.BEGIN_TRIAL): _S.TRIALING,
    (_S.ACTIVE, _A.PAUSE): _S.PAUSED,
    (_S.PAST_DUE, _A.PAY): _S.ACTIVE,
    (_S.PAST_DUE, _A.MISS_PAYMENT): _S.PAST_DUE,
    (_S.PAST_DUE, _A.FORGIVE): _S.ACTIVE,
    (_S.PAST_DUE, _A.CANCEL): _S.CANCELED,
    (_S.PAST_DUE, _A.BEGIN_TRIAL): _S.TRIALING,
    (_S.PAST_DUE, _A.PAUSE): _S.PAUSED,
    (_S.PAST_DUE, _A.GIVE_UP): _S.UNPAID,
    (_S.UNPAID, _A.PAY): _S.ACTIVE,
    (_S.UNPAID, _A.MISS_PAYMENT): _S.UNPAID,
    (_S.UNPAID, _A.FORGIVE): _S.ACTIVE,
    (_S.UNPAID, _A.CANCEL): _S.CANCELED,
    (_S.PAUSED, _A.PAY): _S.PAUSED,  # Stripe: to pay an old invoice resumes nothing
    (_S.PAUSED, _A.MISS_PAYMENT): _S.PAUSED,
    (_S.PAUSED, _A.CANCEL): _S.CANCELED,
    (_S.PAUSED, _A.RESUME): _S.ACTIVE,
}

ENDED = frozenset({_S.CANCELED, _S.INCOMPLETE_EXPIRED})
RENEWING = frozenset({_S.TRIALING, _S.ACTIVE, _S.PAST_DUE, _S.UNPAID})  # periods go on closing


def next_status(status: SubscriptionStatus, action: SubscriptionAction) -> SubscriptionStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(f"A subscription that is {status} cannot {action}.") from None


class BillingMode(StrEnum):
    """How changes and metered items are billed (Stripe's two modes)."""

    FLEXIBLE = "flexible"
    CLASSIC = "classic"


class CollectionMethod(StrEnum):
    """Who moves first: we charge, or the customer pays the invoice we send."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class TrialEndBehavior(StrEnum):
    """What happens when a trial ends and there is nothing to pay with (Stripe)."""

    CREATE_INVOICE = "create_invoice"
    CANCEL = "cancel"
    PAUSE = "pause"


class PauseBehavior(StrEnum):
    """What becomes of invoices while collection is paused (Stripe)."""

    KEEP_AS_DRAFT = "keep_as_draft"
    MARK_UNCOLLECTIBLE = "mark_uncollectible"
    VOID = "void"


class UsageInvoicing(StrEnum):
    """Whether a renewal bills the fee and the usage on one invoice, or on one each."""

    COMBINED = "combined"
    SEPARATE = "separate"


class ProrationDiscounts(StrEnum):
    """Whether prorations show amounts after discounts, or amounts and discounts (flexible)."""

    INCLUDED = "included"
    ITEMIZED = "itemized"


@dataclass(frozen=True)  # see core/values
class Item:
    """One price on a subscription, and the period of it that is running.

    ``period_index`` counts the item's periods from the subscription's anchor, ``generation`` how
    often that count began anew; together they name what the period owes. ``quantity`` is None for
    a metered price. Usage from ``usage_from`` on (None: from the period's start) is not billed yet;
    ``usage_price_id`` bills it where that is not the item's price. Of the running window,
    thresholds have billed ``billed_quantity`` and ``billed_amount``. ``charge_ids`` are the lines
    or invoice items that paid the running period in advance. None means none of the ids.
    """

    id: str
    subscription_id: str
    price_id: str
    quantity: int | None
    period_index: int
    period_start: datetime
    period_end: datetime
    metadata: Mapping[str, str]
    created_at: datetime
    generation: int = 0
    usage_from: datetime | None = None
    usage_price_id: str | None = None
    billed_quantity: Decimal | None = None
    billed_amount: int = 0
    charge_ids: Sequence[str] | None = None
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    threshold_usage: Decimal | None = None

    @property
    def usage_start(self) -> datetime:
        """From when on its usage is not billed yet."""
        return self.usage_from or self.period_start

    @property
    def billing_price_id(self) -> str:
        """What bills the usage of the running window."""
        return self.usage_price_id or self.price_id


@dataclass(frozen=True)  # see core/values
class Subscription:
    """An agreement: a customer buys the items, every period, until it ends.

    ``anchor_at`` is the instant periods are counted from, in the calendar of ``zone``.
    ``closes_at`` is the next instant at which something happens by itself: a period of an item
    ends, a trial does, or the subscription; None while nothing will be billed by itself. What ends
    at ``cancel_at`` within a period gives back the unused time if it ``cancel_prorates``.
    """

    id: str
    customer_id: str
    clock_id: str | None
    status: SubscriptionStatus
    currency: str
    collection_method: CollectionMethod
    days_until_due: int | None
    billing_mode: BillingMode
    billing_mode_at: datetime | None
    anchor_at: datetime
    closes_at: datetime | None
    expires_at: datetime | None
    start_at: datetime
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    cancellation_reason: str | None
    cancellation_comment: str | None
    cancellation_feedback: str | None
    default_payment_method_id: str | None
    latest_invoice_id: str | None
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    zone: str = "UTC"
    anchor_config: Mapping[str, int] | None = None
    trial_start_at: datetime | None = None
    trial_end_at: datetime | None = None
    trial_end_behavior: TrialEndBehavior = TrialEndBehavior.CREATE_INVOICE
    cancel_at: datetime | None = None
    cancel_prorates: bool = True
    pause_behavior: PauseBehavior | None = None
    pause_resumes_at: datetime | None = None
    paused_at: datetime | None = None
    proration_discounts: ProrationDiscounts = ProrationDiscounts.INCLUDED
    usage_invoicing: UsageInvoicing = UsageInvoicing.COMBINED
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    threshold_amount: int | None = None
    threshold_resets_anchor: bool = False
    minimum_amount: int | None = None
    maximum_amount: int | None = None
    pending_update: Mapping[str, Any] | None = None
    pending_update_expires_at: datetime | None = None
    schedule_id: str | None = None
    invoice_settings: Mapping[str, Any] | None = None
    payment_settings: Mapping[str, Any] | None = None
    retry_schedule_id: str | None = None
    paused_reason: str | None = None
    pending_setup_intent_id: str | None = None  # what would give it something to charge
    resumes_at: datetime | None = None  # when a pause of all of it ends by itself
    items: tuple[Item, ...] = field(default=())

    @property
    def saves_payment_method(self) -> bool:
        """Whether what pays for it becomes its default (Stripe: save_default_payment_method)."""
        settings = self.payment_settings or {}
        return settings.get("save_default_payment_method") == "on_subscription"


@dataclass(frozen=True, slots=True)
class Sold:
    """A price with its product: what an item sells."""

    price: Price
    product: Product


def itemizes(subscription: Subscription) -> bool:
    """Whether its prorations show amounts and discounts, and not only what the latter leave."""
    return subscription.proration_discounts == ProrationDiscounts.ITEMIZED


Catalog = Mapping[str, Sold]
"""What is sold, by price id."""


def check_collection(
    method: CollectionMethod, days_until_due: int | None, param: Path = ("days_until_due",)
) -> None:
    """Raises ``InvalidRequest`` unless invoices that are sent, and no others, have days to pay."""
    if (method == CollectionMethod.SEND_INVOICE) != (days_until_due is not None):
        raise InvalidRequest(
            "days_until_due must be given when, and only when, collection_method is "
            "`send_invoice`.",
            param=param,
        )


def with_collection(subscription: Subscription, changed: Mapping[str, Any]) -> dict[str, Any]:
    """``changed`` fields of a subscription, with what follows for how its invoices are collected.

    Those that are charged from now on have no days to pay, whatever they had. Raises
    ``InvalidRequest`` for days without ``send_invoice``, and for that without days.
    """
    fields = dict(changed)
    if not {"collection_method", "days_until_due"} & fields.keys():
        return fields
    if fields.get("collection_method") == CollectionMethod.CHARGE_AUTOMATICALLY:
        fields.setdefault("days_until_due", None)
    method = fields.get("collection_method", subscription.collection_method)
    check_collection(method, fields.get("days_until_due", subscription.days_until_due))
    return fields


def paused(
    subscription: Subscription,
    *,
    now: datetime,
    reason: str | None = None,
    resumes_at: datetime | None = None,
) -> Subscription:
    """The subscription paused at ``now``: until it is resumed, nothing is billed.

    It resumes by itself at ``resumes_at``, if that is given, and still ends when it was to end at a
    date. ``reason`` is Stripe's word for what did it, where that was neither a request nor a
    trial's end.
    """
    return replace(
        subscription,
        status=next_status(subscription.status, SubscriptionAction.PAUSE),
        paused_at=now,
        paused_reason=reason,
        closes_at=subscription.cancel_at,
        resumes_at=resumes_at,
        pause_behavior=None,
        pause_resumes_at=None,
    )


def ended(
    subscription: Subscription,
    action: SubscriptionAction,
    *,
    now: datetime,
    reason: str | None,
) -> Subscription:
    """The subscription after it ended at ``now``: nothing more will be billed, or scheduled."""
    return replace(
        subscription,
        status=next_status(subscription.status, action),
        canceled_at=subscription.canceled_at or now,
        ended_at=now,
        closes_at=None,
        expires_at=None,
        schedule_id=None,
        pending_setup_intent_id=None,
        resumes_at=None,
        cancellation_reason=subscription.cancellation_reason or reason,
    )
