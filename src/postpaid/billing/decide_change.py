"""What a change of a subscription comes to: its items afterwards, and what is credited and charged.

Nothing is read or written here, so that a preview is the change without its last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from postpaid.billing.check_change import Move, check_items, check_status, moves, proration_moment
from postpaid.billing.move_items import Decision, Known, Turn
from postpaid.billing.perform import Act
from postpaid.core.changes import Change, ProrationBehavior
from postpaid.core.cycles import next_moment, on_trial, recurrence_of, rescheduled
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.pricing import free_quantity
from postpaid.core.prorations import list_amount
from postpaid.core.subscriptions import (
    Catalog,
    Item,
    Sold,
    Subscription,
    SubscriptionAction,
    ended,
    next_status,
)
from postpaid.core.values import replace
from postpaid.storage.customers import Customer


def decide(
    act: Act, change: Change, before: Subscription, customer: Customer, known: Known, *, alone: bool
) -> Decision:
    """What the change comes to at the act's time.

    An invoice that is made now takes what waits with it, unless it is to be ``alone``. Raises
    ``ActionNotAllowed`` for a subscription that cannot change, ``InvalidRequest`` and ``NotFound``
    for what cannot be asked.
    """
    check_status(before, change, act.now)
    at = proration_moment(change, before, act.now)
    moved = moves(act, change, before, known.sold)
    check_items(change, before, customer, known.sold, moved)
    turn = Turn(act, change, before, known, at)
    try:
        return _decided(turn, moved, alone=alone)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="items") from None


def decide_end(
    act: Act,
    before: Subscription,
    known: Known,
    *,
    invoice_now: bool,
    prorate: bool,
    prorated_at: datetime | None = None,
) -> Decision:
    """What it comes to when the subscription ends now.

    ``invoice_now`` bills the usage that is not billed yet and what waits; ``prorate`` credits
    unused licences. Raises ``InvalidRequest`` for usage that cannot be billed.
    """
    change = Change(
        before.id,
        proration=ProrationBehavior.CREATE_PRORATIONS if prorate else ProrationBehavior.NONE,
        prorated_at=prorated_at,
    )
    turn = Turn(act, change, before, known, proration_moment(change, before, act.now))
    try:
        for item in reversed(before.items):
            if known.sold[item.billing_price_id].price.metered:
                if invoice_now and not turn.rests:
                    turn.bill_usage(item)
            elif turn.prorates:
                turn.credit(item)
        after = ended(
            before, SubscriptionAction.CANCEL, now=act.now, reason="cancellation_requested"
        )
        return turn.decided(after, immediate=invoice_now, alone=False, resets=True)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="invoice_now") from None


def decide_cut(
    act: Act, before: Subscription, known: Known, *, at: datetime
) -> tuple[InvoiceItem, ...]:
    """What licences are credited, on the next invoice, when their periods are cut short ``at``."""
    turn = Turn(act, Change(before.id), before, known, at)
    for item in before.items:
        if not known.sold[item.billing_price_id].price.metered:
            turn.credit(item)
    return tuple(turn.bill.items)


def _decided(turn: Turn, moved: Sequence[Move], *, alone: bool) -> Decision:
    now, before, change = turn.act.now, turn.before, turn.change
    trial_end = change.trial_end_at
    ends_trial = turn.tries and trial_end is not None and trial_end <= now
    begins_trial = trial_end is not None and trial_end > now
    resets = not begins_trial and (
        change.resets_anchor or ends_trial or _resets_by_itself(turn, moved)
    )
    after = replace(before, **change.fields)
    if ends_trial:
        status = next_status(before.status, SubscriptionAction.END_TRIAL)
        after = replace(after, status=status, trial_end_at=now)
    if resets:
        after = replace(after, anchor_at=now, anchor_config=None)

    items = [turn.moved(after, each, resets, begins_trial) for each in moved]
    after = replace(after, items=tuple(each for each in items if each is not None))
    if begins_trial:
        assert trial_end is not None
        start = before.trial_start_at if turn.tries and before.trial_start_at else now
        after = on_trial(after, turn.known.sold, start=start, end=trial_end)
    elif after.closes_at is not None:
        after = replace(after, closes_at=next_moment(after, now)) if resets else after
        after = rescheduled(after, now)
    turn.add_extras()

    immediate = resets or change.proration == ProrationBehavior.ALWAYS_INVOICE
    if change.proration == ProrationBehavior.CREATE_PRORATIONS and not begins_trial:
        immediate = immediate or _is_invoiced_at_once(turn, moved)
    return turn.decided(after, immediate=immediate, alone=alone, resets=resets)


def _resets_by_itself(turn: Turn, moved: Sequence[Move]) -> bool:
    """Classic: another interval, or a price where there was none, begins the count anew."""
    if turn.flexible or turn.rests:
        return False
    sold = turn.known.sold
    return _changes_interval(moved, sold) or _begins_to_cost(moved, sold)


def _is_invoiced_at_once(turn: Turn, moved: Sequence[Move]) -> bool:
    """Stripe: when the billing period of a licence changes, or it begins to cost something."""
    sold = turn.known.sold
    return not turn.rests and (_changes_interval(moved, sold) or _begins_to_cost(moved, sold))


def _changes_interval(moved: Sequence[Move], sold: Catalog) -> bool:
    return any(
        recurrence_of(each.old, sold) != recurrence_of(each.new, sold)
        and not sold[each.new.price_id].price.metered
        for each in moved
        if each.old is not None and each.new is not None
    )


def _begins_to_cost(moved: Sequence[Move], sold: Catalog) -> bool:
    before = [each.old for each in moved if each.old is not None]
    after = [each.new for each in moved if each.new is not None]
    return all(_is_free(each, sold[each.price_id]) for each in before) and not all(
        _is_free(each, sold[each.price_id]) or sold[each.price_id].price.metered for each in after
    )


def _is_free(item: Item, sold: Sold) -> bool:
    if sold.price.metered:
        return free_quantity(sold.price.model) is None
    return list_amount(sold, item.quantity) == 0
