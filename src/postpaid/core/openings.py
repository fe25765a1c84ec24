"""What a subscription's first invoice bills: a period or a stub of one, the past, or a trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from postpaid.core.cycles import recurrence_of, zone_of
from postpaid.core.errors import InvalidRequest
from postpaid.core.lines import (
    Line,
    Obligation,
    licensed_quantity,
    lines_of,
    obligation_of,
    opening_lines,
    usage_lines,
)
from postpaid.core.money import plain
from postpaid.core.periods import Period, fraction_remaining, index_at, period_at_index
from postpaid.core.pricing import DetailKind
from postpaid.core.prorations import day_in_words, list_amount, prorate
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    Item,
    Sold,
    Subscription,
    SubscriptionStatus,
)
from postpaid.core.values import replace

PAST_PERIODS_MAX = 100
WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Span:
    """An item in one of its periods, and how much of that period it is."""

    item: Item
    fraction: Fraction


def spans_since(
    subscription: Subscription, item: Item, catalog: Catalog, since: datetime
) -> list[Span]:
    """The item's periods from ``since`` up to the one that it is in, the first perhaps in part.

    Raises ``InvalidRequest`` when there are more than can be billed.
    """
    recurrence = recurrence_of(item, catalog)
    anchor, zone = subscription.anchor_at, zone_of(subscription)
    first = index_at(anchor, recurrence, since, zone)
    if item.period_index - first > PAST_PERIODS_MAX:
        raise InvalidRequest(
            f"backdate_start_date is more than {PAST_PERIODS_MAX} periods ago.",
            param="backdate_start_date",
        )
    spans = []
    for index in range(first, item.period_index + 1):
        whole = period_at_index(anchor, recurrence, index, zone)
        start = max(since, whole.start)
        then = replace(item, period_index=index, period_start=start, period_end=whole.end)
        spans.append(Span(then, fraction_remaining(whole, start)))
    return spans


def past_usage(subscription: Subscription, catalog: Catalog) -> list[Item]:
    """The metered items in the periods that had ended when the subscription was made.

    Flexible billing mode bills them on the first invoice; classic has none of them, because there
    the running period's usage counts from the backdated start.
    """
    if not _is_backdated(subscription) or subscription.billing_mode == BillingMode.CLASSIC:
        return []
    return [
        span.item
        for item in reversed(subscription.items)
        if catalog[item.price_id].price.metered
        for span in spans_since(subscription, item, catalog, subscription.start_at)[:-1]
    ]


def first_lines(
    subscription: Subscription,
    catalog: Catalog,
    usage: Mapping[str, Decimal],
    *,
    prorates: bool,
) -> list[Line]:
    """The lines of the first invoice, newest item first; none when nothing is owed yet.

    ``usage`` has that of ``past_usage`` by obligation. Without ``prorates`` only periods that begin
    with the subscription are charged: the stub before an anchor, and the past, are free.
    """
    if subscription.status == SubscriptionStatus.TRIALING:
        return _trial_lines(subscription, catalog)
    past: dict[str, list[Item]] = {item.id: [] for item in subscription.items}
    for then in past_usage(subscription, catalog):
        past[then.id].append(then)
    lines: list[Line] = []
    for item in reversed(subscription.items):
        sold = catalog[item.price_id]
        if sold.price.metered:
            lines += opening_lines(replace(subscription, items=(item,)), catalog)
            for then in past[item.id]:
                used = usage[obligation_of(then).name]
                lines += usage_lines(subscription, then, catalog, used)
            continue
        spans = spans_since(subscription, item, catalog, subscription.start_at)
        if not prorates:
            spans = [
                span
                for span in spans
                if span.fraction == 1 and span.item.period_start >= subscription.created_at
            ]
        lines += licence_lines(subscription, sold, spans)
    return lines


def paid_by(item: Item, lines: Iterable[Line]) -> Item:
    """The item with those of the lines that pay its running period in advance, if any do."""
    ids = [line.id for line in lines if _pays_running(line, item)]
    return replace(item, charge_ids=ids) if ids else item


def _pays_running(line: Line, item: Item) -> bool:
    """Whether the line paid the item's running period in advance."""
    return (
        line.subscription_item_id == item.id
        and line.meter_id is None
        and line.invoice_item_id is None
        and line.period_end == item.period_end
    )


def _is_backdated(subscription: Subscription) -> bool:
    return subscription.start_at < subscription.created_at


def licence_lines(subscription: Subscription, sold: Sold, spans: list[Span]) -> list[Line]:
    """The lines of a licence's periods. Flexible: one for each. Classic: one for all of them."""
    if not spans:
        return []
    if subscription.billing_mode == BillingMode.CLASSIC and len(spans) > 1:
        whole = replace(spans[-1].item, period_start=spans[0].item.period_start)
        spans = [Span(whole, sum((span.fraction for span in spans), Fraction(0)))]
    lines: list[Line] = []
    for span in spans:
        owed = obligation_of(span.item)
        if span.fraction == WHOLE:
            lines += lines_of(owed, sold, licensed_quantity(span.item))
        else:
            lines.append(_part_line(owed, sold, span, subscription.zone))
    return lines


def _part_line(owed: Obligation, sold: Sold, span: Span, zone: str) -> Line:
    """One line for a part of a period, all tiers together, rounded once."""
    quantity = licensed_quantity(span.item)
    many = "" if quantity == 1 else f"{plain(quantity)} × "
    from_to = f"{day_in_words(owed.period_start, zone)} until {day_in_words(owed.period_end, zone)}"
    first = lines_of(owed, sold, quantity)[0]
    return replace(
        first,
        quantity=quantity,
        unit_amount=sold.price.model.unit_amount,
        tier=None,
        kind=DetailKind.UNIT,
        amount=prorate(list_amount(sold, span.item.quantity), span.fraction),
        description=f"Time on {many}{sold.product.name} from {from_to}",
        proration=True,
    )


def _trial_lines(subscription: Subscription, catalog: Catalog) -> list[Line]:
    """A line of amount 0 for every licence; classic has one for what is metered too (Stripe)."""
    lines: list[Line] = []
    classic = subscription.billing_mode == BillingMode.CLASSIC
    for item in reversed(subscription.items):
        sold = catalog[item.price_id]
        if sold.price.metered:
            lines += opening_lines(replace(subscription, items=(item,)), catalog)
            continue
        quantity = licensed_quantity(item)
        what = f"{plain(quantity)} × {sold.product.name}"
        lines.append(
            replace(
                lines_of(obligation_of(item), sold, quantity)[0],
                quantity=quantity,
                unit_amount=Decimal(0),
                tier=None,
                kind=DetailKind.UNIT,
                amount=0,
                description=f"{what} (Free trial)" if classic else f"Free trial for {what}",
            )
        )
    return lines


def whole_period(subscription: Subscription, item: Item, catalog: Catalog) -> Period:
    """The whole period of which the item's running one may be only a part."""
    return period_at_index(
        subscription.anchor_at,
        recurrence_of(item, catalog),
        item.period_index,
        zone_of(subscription),
    )
