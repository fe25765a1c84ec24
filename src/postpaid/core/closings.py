"""What the end of a period bills: its usage, and the licences of the period that begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from postpaid.core.commitments import Commitment
from postpaid.core.cycles import closing_items, trial_begins_now
from postpaid.core.lines import Line, obligation_of, usage_lines, with_commitment
from postpaid.core.openings import WHOLE, Span, licence_lines, whole_period
from postpaid.core.periods import fraction_remaining
from postpaid.core.subscriptions import Catalog, Item, Subscription, SubscriptionStatus


def closing_lines(
    before: Subscription,
    after: Subscription | None,
    catalog: Catalog,
    usage: Mapping[str, Decimal],
    *,
    waiting: Sequence[Line] = (),
) -> list[Line]:
    """The lines of the invoice at the end of a period, newest item first (Stripe's order).

    Metered items bill the period that ended, in arrears: ``usage`` has the billable quantity by
    obligation, zero included. Licensed items bill the period that begins, in advance: ``after`` is
    the subscription in it, and None when there is none because the subscription ends. The
    subscription's commitment is also for usage that is ``waiting``, which is on the invoice too.
    """
    lines: list[Line] = []
    begun = {item.id: item for item in after.items} if after else {}
    for item in reversed(closing_items(before)):
        if catalog[item.billing_price_id].price.metered:
            owed = obligation_of(item)
            if owed.name in usage:  # of a trial nothing is
                lines += usage_lines(before, item, catalog, usage[owed.name])
        elif after and item.id in begun and not trial_begins_now(before):
            span = _begun(before, after, begun[item.id], catalog)
            lines += licence_lines(after, catalog[item.billing_price_id], [span])
    agreed = Commitment(before.minimum_amount, before.maximum_amount)
    if not agreed or not any(line.meter_id for line in lines):
        return lines
    return with_commitment([*waiting, *lines], agreed)[len(waiting) :]


def _begun(before: Subscription, after: Subscription, item: Item, catalog: Catalog) -> Span:
    """The period that begins, which after a trial may be only the rest of one until the anchor."""
    if before.status != SubscriptionStatus.TRIALING:
        return Span(item, WHOLE)
    whole = whole_period(after, item, catalog)
    return Span(item, fraction_remaining(whole, item.period_start))
