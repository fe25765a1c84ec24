"""What a pause of a subscription comes to, and its resumption; nothing is read or written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from postpaid.billing.move_items import Decision, Known, Turn
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.cycles import next_moment, started
from postpaid.core.errors import ActionNotAllowed, InvalidRequest
from postpaid.core.subscriptions import (
    Item,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    next_status,
    paused,
)
from postpaid.core.values import replace


class UnusedTimeFrom(StrEnum):
    """From when on licences are credited when they are paused (Stripe)."""

    NOW = "now"
    ITEM_CURRENT_PERIOD_START = "item_current_period_start"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause asked for: what is billed and credited for it, and whether that is invoiced now.

    It ends by itself at ``resumes_at``, if that is given.
    """

    bills_usage: bool = True
    unused_from: UnusedTimeFrom = UnusedTimeFrom.NOW
    invoices: bool = False
    resumes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resumption:
    """A resumption asked for: from now on, or within the periods that were counted before.

    ``at`` is when it was to be, where that is not only now.
    """

    resets_anchor: bool = True
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    prorated_at: datetime | None = None
    at: datetime | None = None


def check_pause(before: Subscription, asked: Pause | Resumption, now: datetime) -> None:
    """Raises ``ActionNotAllowed`` for what cannot be paused, or is not paused.

    And ``InvalidRequest`` for a pause that is to end before it has begun.
    """
    status = before.status
    if isinstance(asked, Pause) and asked.resumes_at is not None and asked.resumes_at <= now:
        raise InvalidRequest("A pause must end in the future.", param="resume_at")
    if isinstance(asked, Resumption) and status != SubscriptionStatus.PAUSED:
        raise ActionNotAllowed(
            f"You can only resume subscriptions that are paused. This subscription is {status}."
        )
    action = SubscriptionAction.PAUSE if isinstance(asked, Pause) else SubscriptionAction.RESUME
    next_status(status, action)


def decide_pause(act: Act, before: Subscription, known: Known, asked: Pause) -> Decision:
    """What it comes to when the subscription is paused now.

    Raises ``ActionNotAllowed`` for one that cannot be, and ``InvalidRequest`` for usage that cannot
    be billed.
    """
    after = paused(before, now=act.now, resumes_at=asked.resumes_at)
    turn = Turn(act, Change(before.id), before, known, act.now)
    try:
        for item in reversed(before.items):
            if known.sold[item.billing_price_id].price.metered:
                if asked.bills_usage and not turn.tries:
                    turn.settle(item)
            elif asked.unused_from != UnusedTimeFrom.NONE and not turn.tries:
                from_start = asked.unused_from == UnusedTimeFrom.ITEM_CURRENT_PERIOD_START
                turn.at = item.period_start if from_start else act.now
                turn.credit(item)
                item = replace(item, charge_ids=[])
            after = replace(
                after,
                items=tuple(item if each.id == item.id else each for each in after.items),
            )
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="bill_for") from None
    return turn.decided(after, immediate=asked.invoices, alone=False, resets=True)


def decide_resumption(act: Act, before: Subscription, known: Known, asked: Resumption) -> Decision:
    """What it comes to when the subscription is resumed now.

    Usage in the pause is not billed. Raises ``ActionNotAllowed`` for one that is not paused.
    """
    now = act.now
    after = replace(
        before,
        status=next_status(before.status, SubscriptionAction.RESUME),
        paused_at=None,
        resumes_at=None,
    )
    if asked.resets_anchor:
        after = replace(after, anchor_at=now, anchor_config=None)
    proration = asked.proration if not asked.resets_anchor else ProrationBehavior.NONE
    change = Change(before.id, proration=proration, prorated_at=asked.prorated_at)
    turn = Turn(act, change, after, known, asked.prorated_at or now)
    items = tuple(_resumed(turn, after, item, asked.resets_anchor) for item in before.items)
    after = replace(after, items=items)
    after = replace(after, closes_at=next_moment(after, now))
    immediate = asked.resets_anchor or asked.proration == ProrationBehavior.ALWAYS_INVOICE
    decision = turn.decided(after, immediate=immediate, alone=False, resets=False)
    return replace(decision, before=before)


def _resumed(turn: Turn, after: Subscription, item: Item, resets_anchor: bool) -> Item:
    """The item in the period that runs now, paid in full when it begins now.

    What was paid for a period that still runs, and was not given back, is not paid again.
    """
    now, sold = turn.act.now, turn.known.sold
    metered = sold[item.price_id].price.metered
    again = replace(item, generation=item.generation + 1)
    if resets_anchor:
        return turn.begun(after, again)
    if item.period_end > now and not metered and item.charge_ids != []:
        return item
    placed = started(after, again, sold, now)
    whole = turn.whole(placed)
    placed = replace(placed, period_start=max(whole.start, after.start_at))
    if metered:
        return replace(placed, usage_from=now)
    return turn.charged(placed)
