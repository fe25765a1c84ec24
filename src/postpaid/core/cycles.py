"""The cycles of a subscription: its items' periods, its trial, and what happens next by itself."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from postpaid.core.periods import Recurrence, boundary, index_at, period_at_index, zone_called
from postpaid.core.subscriptions import (
    ENDED,
    RENEWING,
    Catalog,
    Item,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    next_status,
)
from postpaid.core.values import replace

TRIAL_REMINDER = timedelta(days=3)  # Stripe: so long before a trial ends it says so
MOMENT = timedelta.resolution


# ─── Periods ─────────────────────────────────────────────────────────────────────────────────


def zone_of(subscription: Subscription) -> tzinfo:
    """The calendar in which its periods are counted."""
    return zone_called(subscription.zone)


def started(
    subscription: Subscription, item: Item, catalog: Catalog, at: datetime | None = None
) -> Item:
    """The item in the period that runs at ``at``, from then on; nothing is billed of it yet.

    By default from the anchor. One that starts before the anchor is in a period with a negative
    index, and one that starts within a period has only the rest of it: the stub.
    """
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


def trial_begins_now(subscription: Subscription) -> bool:
    """Whether a trial begins when it closes, as a phase of its schedule may."""
    start, end = subscription.trial_start_at, subscription.trial_end_at
    if start is None or end is None:
        return False
    return start == subscription.closes_at and start < end


def reminds_now(subscription: Subscription) -> bool:
    """Whether it is to be said when it closes that its trial will end."""
    return (
        subscription.status == SubscriptionStatus.TRIALING
        and subscription.trial_end_at is not None
        and subscription.closes_at == subscription.trial_end_at - TRIAL_REMINDER
    )


def reminds_at_once(before: Subscription, after: Subscription, now: datetime) -> bool:
    """Whether a change at ``now`` leaves no time to say first that the trial will end.

    It begins shortly before its end, or its end was moved to that or to ``now`` (Stripe).
    """
    if after.status == SubscriptionStatus.TRIALING:
        return _is_ending(after, now) and not _is_ending(before, now)
    ended = before.status == SubscriptionStatus.TRIALING and after.trial_end_at == now
    return ended and before.trial_end_at != now


def _is_ending(subscription: Subscription, now: datetime) -> bool:
    """Whether it was to be said by ``now`` that its trial will end."""
    end = subscription.trial_end_at
    on_trial = subscription.status == SubscriptionStatus.TRIALING
    return on_trial and end is not None and end - TRIAL_REMINDER <= now


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

    A trial that ended then is over, and so is a pause of collection. Where a trial begins, that is
    the next period of all of them.
    """
    at = subscription.closes_at
    assert at is not None, "only a subscription that closes is closed"
    if trial_begins_now(subscription):
        assert subscription.trial_end_at is not None, "a trial ends"
        after = on_trial(subscription, catalog, start=at, end=subscription.trial_end_at)
    else:
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
