"""What a subscription is: its items, its periods, and a status that moves by one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from postpaid.core.catalog import Price, Product
from postpaid.core.errors import ActionNotAllowed
from postpaid.core.periods import Recurrence, boundary, index_at, period_at_index
from postpaid.core.values import replace

TRIAL_REMINDER = timedelta(days=3)  # Stripe: so long before a trial ends it says so
MOMENT = timedelta.resolution


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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    items: tuple[Item, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Sold:
    """A price with its product: what an item sells."""

    price: Price
    product: Product


Catalog = Mapping[str, Sold]
"""What is sold, by price id."""


# ─── Periods ─────────────────────────────────────────────────────────────────────────────────


def zone_of(subscription: Subscription) -> tzinfo:
    """The calendar in which its periods are counted."""
    return UTC if subscription.zone == "UTC" else ZoneInfo(subscription.zone)


def started_items(
    subscription: Subscription, catalog: Catalog, at: datetime | None = None
) -> tuple[Item, ...]:
    """The items in the period that runs at ``at``, from then on; by default, from the anchor.

    One that starts before the anchor is in a period with a negative index, and one that starts
    within a period has only the rest of it: the stub.
    """
    return tuple(started(subscription, item, catalog, at) for item in subscription.items)


def started(
    subscription: Subscription, item: Item, catalog: Catalog, at: datetime | None = None
) -> Item:
    """The item in the period that runs at ``at``, from then on; nothing is billed of it yet."""
    at = at or subscription.anchor_at
    recurrence = recurrence_of(item, catalog)
    zone = zone_of(subscription)
    index = index_at(subscription.anchor_at, recurrence, at, zone)
    period = period_at_index(subscription.anchor_at, recurrence, index, zone)
    return _fresh(item, index, at, period.end)


def following(subscription: Subscription, item: Item, catalog: Catalog) -> Item:
    """The item in its next period, which starts where the last one ended.

    After a trial it is the period that runs when the trial ends. Where the calendar has changed in
    the meantime, the next boundary is by the new one.
    """
    if subscription.status == SubscriptionStatus.TRIALING:
        return started(subscription, item, catalog, item.period_end)
    recurrence = recurrence_of(item, catalog)
    zone = zone_of(subscription)
    index = item.period_index + 1
    end = boundary(subscription.anchor_at, recurrence, index + 1, zone)
    if end <= item.period_end:
        raise ValueError("A day that the time zone skipped cannot be billed.")
    return _fresh(item, index, item.period_end, end)


def trial_items(
    subscription: Subscription, catalog: Catalog, *, start: datetime, end: datetime
) -> tuple[Item, ...]:
    """The items in one period that is the trial: the one before that in which it ends."""
    return tuple(
        _fresh(
            item,
            index_at(
                subscription.anchor_at, recurrence_of(item, catalog), end, zone_of(subscription)
            )
            - 1,
            start,
            end,
        )
        for item in subscription.items
    )


def recurrence_of(item: Item, catalog: Catalog) -> Recurrence:
    """How often the item's price recurs."""
    recurrence = catalog[item.price_id].price.recurrence
    assert recurrence is not None, "an item's price recurs"
    return recurrence


def _fresh(item: Item, index: int, start: datetime, end: datetime) -> Item:
    """The item in a period of which nothing has been billed."""
    return replace(
        item,
        period_index=index,
        period_start=start,
        period_end=end,
        usage_from=None,
        usage_price_id=None,
        billed_quantity=None,
        billed_amount=0,
        charge_ids=None,
    )


# ─── What happens by itself ──────────────────────────────────────────────────────────────────


def next_moment(subscription: Subscription, after: datetime) -> datetime:
    """The first instant after ``after`` at which something happens by itself.

    That is the end of an item's period or of the trial, the reminder before that, the end that was
    asked for, or that of a pause of collection.
    """
    moments: list[datetime | None] = [item.period_end for item in subscription.items]
    moments += [subscription.cancel_at, subscription.pause_resumes_at]
    if subscription.status == SubscriptionStatus.TRIALING:
        assert subscription.trial_end_at is not None, "a trial ends"
        moments += [subscription.trial_end_at, subscription.trial_end_at - TRIAL_REMINDER]
    return min(moment for moment in moments if moment is not None and moment > after)


def rescheduled(subscription: Subscription, now: datetime) -> Subscription:
    """The subscription with ``closes_at`` as it follows from everything else at ``now``.

    What was due before and is not done yet is not skipped.
    """
    if subscription.status == SubscriptionStatus.PAUSED:
        return replace(subscription, closes_at=subscription.cancel_at)
    if subscription.closes_at is None or subscription.status not in RENEWING:
        return subscription
    after = min(now, subscription.closes_at - MOMENT)
    return replace(subscription, closes_at=next_moment(subscription, after))


def ends_now(subscription: Subscription) -> bool:
    """Whether it ends when it closes: it was to end then, or with a period that ends then."""
    at = subscription.closes_at
    if subscription.cancel_at is not None and at == subscription.cancel_at:
        return True
    return subscription.cancel_at_period_end and any(
        item.period_end == at for item in subscription.items
    )


def trial_ends_now(subscription: Subscription) -> bool:
    """Whether its trial ends when it closes."""
    return (
        subscription.status == SubscriptionStatus.TRIALING
        and subscription.closes_at == subscription.trial_end_at
    )


def reminds_now(subscription: Subscription) -> bool:
    """Whether it is to be said when it closes that its trial will end."""
    return (
        subscription.status == SubscriptionStatus.TRIALING
        and subscription.trial_end_at is not None
        and subscription.closes_at == subscription.trial_end_at - TRIAL_REMINDER
    )


def bills_now(subscription: Subscription) -> bool:
    """Whether a period of an item ends when it closes, or all of it does."""
    return ends_now(subscription) or any(
        item.period_end == subscription.closes_at for item in subscription.items
    )


def closing_items(subscription: Subscription) -> list[Item]:
    """The items whose period ends when it closes, and with it: all of them when all of it ends."""
    at = subscription.closes_at
    assert at is not None, "only a subscription that closes is closed"
    if not ends_now(subscription):
        return [item for item in subscription.items if item.period_end == at]
    return [
        item if item.period_end <= at else replace(item, period_end=at)
        for item in subscription.items
    ]


def advanced(subscription: Subscription, catalog: Catalog) -> Subscription:
    """The subscription after it closed: the items that ended are in their next period.

    A trial that ended then is over, and so is a pause of collection.
    """
    at = subscription.closes_at
    assert at is not None, "only a subscription that closes is closed"
    items = tuple(
        following(subscription, item, catalog) if item.period_end == at else item
        for item in subscription.items
    )
    after = replace(subscription, items=items)
    if trial_ends_now(subscription):
        after = replace(
            after, status=next_status(subscription.status, SubscriptionAction.END_TRIAL)
        )
    if subscription.pause_resumes_at == at:
        after = replace(after, pause_behavior=None, pause_resumes_at=None)
    return replace(after, closes_at=next_moment(after, at))


# ─── Statuses ────────────────────────────────────────────────────────────────────────────────


def on_trial(
    subscription: Subscription, catalog: Catalog, *, start: datetime, end: datetime
) -> Subscription:
    """The subscription on a trial from ``start`` to ``end``, which is then its anchor (Stripe).

    Its items are in one period that is the trial, and their counts begin anew.
    """
    trying = replace(
        subscription,
        status=next_status(subscription.status, SubscriptionAction.BEGIN_TRIAL),
        trial_start_at=start,
        trial_end_at=end,
        anchor_at=end,
        anchor_config=None,
        items=tuple(replace(item, generation=item.generation + 1) for item in subscription.items),
    )
    trying = replace(trying, items=trial_items(trying, catalog, start=start, end=end))
    return replace(trying, closes_at=next_moment(trying, start))


def settled(subscription: Subscription, action: SubscriptionAction) -> Subscription:
    """The subscription after its latest invoice was paid, or could not be.

    One that becomes active begins to renew; one that had ended stays as it is.
    """
    if subscription.status in ENDED:
        return subscription
    after = replace(subscription, status=next_status(subscription.status, action))
    if after.status not in RENEWING:
        return after
    closes_at = subscription.closes_at or next_moment(after, subscription.created_at)
    return replace(after, closes_at=closes_at, expires_at=None)


def paused(subscription: Subscription, *, now: datetime) -> Subscription:
    """The subscription paused at ``now``: until it is resumed, nothing is billed.

    It still ends when it was to end at a date.
    """
    return replace(
        subscription,
        status=next_status(subscription.status, SubscriptionAction.PAUSE),
        paused_at=now,
        closes_at=subscription.cancel_at,
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
    """The subscription after it ended at ``now``: nothing more will be billed."""
    return replace(
        subscription,
        status=next_status(subscription.status, action),
        canceled_at=subscription.canceled_at or now,
        ended_at=now,
        closes_at=None,
        expires_at=None,
        cancellation_reason=subscription.cancellation_reason or reason,
    )
