"""What an invoice's lines are: obligations with names, billed in lines that explain themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from postpaid.core.commitments import SECOND, Commitment, share, union, whole_seconds
from postpaid.core.cycles import closing_items, zone_of
from postpaid.core.money import format_amount, plain, round_minor
from postpaid.core.periods import Recurrence
from postpaid.core.pricing import Detail, DetailKind, Model, rate
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    Item,
    Sold,
    Subscription,
    SubscriptionStatus,
)
from postpaid.core.values import replace

ZERO = Decimal(0)

_OF_USAGE = frozenset({DetailKind.MINIMUM, DetailKind.MAXIMUM, DetailKind.BILLED})


@dataclass(frozen=True)  # see core/values
class Line:
    """One amount on an invoice: a part of what an obligation owes, with its reason.

    ``obligation`` names what is billed and ``part`` counts its lines: together they are on at most
    one live invoice. ``amount`` is whole minor units, ``unit_amount`` exact ones per unit (None on
    a flat line). ``tier`` counts from 1. ``meter_id`` is set when the quantity is measured usage.

    ``discount_ids`` and ``tax_rate_ids`` are the line's own; None means that it goes by its
    invoice's. What they come to is in ``discounts`` ({discount: minor units}) and ``taxes`` ({tax
    rate: {amount, taxable, inclusive}}), and in ``credits`` ({credit balance transaction: minor
    units}) what credit grants paid. ``amount`` is before all of these. ``whole_seconds`` is how
    long a whole period is, where a commitment counts and this is a part of one.
    """

    id: str
    obligation: str
    part: int
    subscription_id: str | None
    subscription_item_id: str | None
    price_id: str | None
    product_id: str | None
    meter_id: str | None
    period_start: datetime
    period_end: datetime
    quantity: Decimal
    unit_amount: Decimal | None
    tier: int | None
    kind: DetailKind
    amount: int
    description: str
    metadata: Mapping[str, str]
    invoice_item_id: str | None = None
    proration: bool = False
    discountable: bool = True
    credited: Mapping[str, Any] | None = None
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    discounts: Mapping[str, int] | None = None
    credits: Mapping[str, int] | None = None
    taxes: Mapping[str, Mapping[str, Any]] | None = None
    whole_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Obligation:
    """What one item owes for one period: named before any row exists, and billed once.

    Or what a customer owes for a window of usage that no item bills.
    """

    name: str
    subscription_id: str | None
    item_id: str | None
    period_start: datetime
    period_end: datetime
    metadata: Mapping[str, str]
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    whole_seconds: int | None = None


def obligation_of(item: Item) -> Obligation:
    """What the item owes for the period it is in, from where it is not billed yet."""
    again = f"{item.generation}." if item.generation else ""
    return Obligation(
        name=f"{item.subscription_id}/{item.id}/{again}period-{item.period_index}",
        subscription_id=item.subscription_id,
        item_id=item.id,
        period_start=item.usage_start,
        period_end=item.period_end,
        metadata=item.metadata,
        discount_ids=item.discount_ids,
        tax_rate_ids=item.tax_rate_ids,
    )


def obligation_of_line(line: Line) -> Obligation:
    """What the line, of a subscription's item, is owed for."""
    assert line.subscription_id is not None
    assert line.subscription_item_id is not None
    return Obligation(
        line.obligation,
        line.subscription_id,
        line.subscription_item_id,
        line.period_start,
        line.period_end,
        line.metadata,
        line.discount_ids,
        line.tax_rate_ids,
        line.whole_seconds,
    )


def opening_lines(subscription: Subscription, catalog: Catalog) -> list[Line]:
    """The lines of a first invoice: licensed items pay their first period in advance.

    Classic billing mode adds a line of amount 0 for every metered item (Stripe).
    """
    lines: list[Line] = []
    for item in reversed(subscription.items):
        sold = catalog[item.price_id]
        if not sold.price.metered:
            lines += lines_of(obligation_of(item), sold, licensed_quantity(item))
        elif subscription.billing_mode == BillingMode.CLASSIC:
            lines.append(opening_zero_line(item, sold))
    return lines


def usage_lines(
    subscription: Subscription, item: Item, catalog: Catalog, quantity: Decimal
) -> list[Line]:
    """The lines that bill the usage of the item's window that ends, less what thresholds billed.

    Those have billed a part of the same usage already, and tiers price the whole: so all of it is
    rated, and what was billed is taken off (Stripe). In volume pricing that may be more than it is.
    """
    owed = usage_obligation(subscription, item, catalog)
    sold = catalog[item.billing_price_id]
    return [*lines_of(owed, sold, quantity), *billed_lines(owed, sold, item)]


def usage_obligation(subscription: Subscription, item: Item, catalog: Catalog) -> Obligation:
    """What the item owes for the usage of its window, with how long a whole period would be."""
    owed = obligation_of(item)
    price = catalog[item.billing_price_id].price
    agreed = (price.minimum_amount, price.maximum_amount)
    if (*agreed, subscription.minimum_amount, subscription.maximum_amount) == (None,) * 4:
        return owed
    assert price.recurrence is not None, "an item's price recurs"
    whole = whole_seconds(
        owed.period_start,
        owed.period_end,
        anchor=subscription.anchor_at,
        recurrence=price.recurrence,
        index=item.period_index,
        zone=zone_of(subscription),
    )
    return replace(owed, whole_seconds=whole)


def billed_lines(owed: Obligation, sold: Sold, item: Item) -> list[Line]:
    """The line that takes off what thresholds have billed of the item's window, if they have."""
    if not item.billed_amount:
        return []
    line = _extra_line(
        replace(owed, name=f"{owed.name}/billed"),
        0,
        sold,
        DetailKind.BILLED,
        -item.billed_amount,
        f"Amount previously billed for {sold.product.name}",
    )
    return [replace(line, meter_id=None)]


def with_commitment(lines: Sequence[Line], agreed: Commitment) -> list[Line]:
    """The lines with the subscription's commitment kept: at most one more, after all others.

    It is for the usage of the shortest period among those that end, by the share of it that the
    lines bill: also what was settled within it before, and waited as invoice items.
    """
    kept = [line for line in lines if not is_commitment(line)]
    windows = {each.obligation: each for each in kept if each.meter_id and each.part == 0}
    if not windows:
        return kept
    end = max(each.period_end for each in windows.values())
    closing = [each for each in windows.values() if each.period_end == end]
    first = min(closing, key=lambda each: (_whole(each), each.period_start, each.obligation))
    start = end - timedelta(seconds=_whole(first))
    within = [each for each in windows.values() if each in closing or start <= each.period_start]
    names = {each.obligation for each in within}
    covered = union((max(start, each.period_start), each.period_end) for each in within)
    part = agreed.prorated(min(Fraction(1), Fraction(covered // SECOND, _whole(first))))
    missing = part.adjustment(sum(line.amount for line in kept if line.obligation in names))
    if not missing:
        return kept
    begins = max(start, min(each.period_start for each in within))
    return [*kept, commitment_line(replace(first, period_start=begins), missing)]


def commitment_line(first: Line, missing: int) -> Line:
    """The line that keeps a subscription's commitment for usage of which ``first`` is the first."""
    name, at, behind = first.obligation.partition("@")
    return replace(
        first,
        id="",
        obligation=f"{name}/minimum{at}{behind}",
        subscription_item_id=None,
        invoice_item_id=None,
        price_id=None,
        product_id=None,
        meter_id=None,
        quantity=ZERO,
        unit_amount=None,
        tier=None,
        kind=DetailKind.MINIMUM if missing > 0 else DetailKind.MAXIMUM,
        amount=missing,
        description="Minimum commitment" if missing > 0 else "Maximum charge",
        metadata={},
        discountable=True,
        discount_ids=None,
        tax_rate_ids=None,
        discounts=None,
        credits=None,
        taxes=None,
    )


def _whole(line: Line) -> int:
    """How many seconds a whole period is of which the line bills all, or a part."""
    return line.whole_seconds or max(1, (line.period_end - line.period_start) // SECOND)


def is_commitment(line: Line) -> bool:
    """Whether the line keeps a subscription's commitment, not a price's."""
    return line.price_id is None and line.kind in (DetailKind.MINIMUM, DetailKind.MAXIMUM)


def is_of_usage(line: Line) -> bool:
    """Whether the line bills usage, or puts right what usage comes to."""
    return line.meter_id is not None or line.kind in _OF_USAGE


def metered_items(subscription: Subscription, catalog: Catalog) -> list[Item]:
    """The metered items whose period ends when the subscription closes, and owes something.

    Usage in a trial, or in a pause, is not billed (Stripe).
    """
    if subscription.status in (SubscriptionStatus.TRIALING, SubscriptionStatus.PAUSED):
        return []
    return [
        item for item in closing_items(subscription) if catalog[item.billing_price_id].price.metered
    ]


def lines_of(owed: Obligation, sold: Sold, quantity: Decimal, *, over: bool = True) -> list[Line]:
    """The lines that bill ``quantity`` of what is owed, one for each detail of its rating.

    Where the price has a commitment, one more keeps it; while the window is not ``over`` yet, only
    the most that it can come to. Their ids are empty until they are written. Raises ValueError for
    a quantity or an amount beyond what can be billed.
    """
    lines = [
        _line(owed, part, sold, detail)
        for part, detail in enumerate(rate(sold.price.model, quantity))
    ]
    price = sold.price
    if price.minimum_amount is None and price.maximum_amount is None:
        return lines
    agreed = Commitment(price.minimum_amount if over else None, price.maximum_amount)
    part = agreed.prorated(share(owed.period_start, owed.period_end, owed.whole_seconds))
    if missing := part.adjustment(sum(line.amount for line in lines)):
        kind = DetailKind.MINIMUM if missing > 0 else DetailKind.MAXIMUM
        words = "Minimum commitment" if missing > 0 else "Maximum charge"
        description = f"{words} for {sold.product.name}"
        lines.append(_extra_line(owed, len(lines), sold, kind, missing, description))
    return lines


def _extra_line(
    owed: Obligation, part: int, sold: Sold, kind: DetailKind, amount: int, description: str
) -> Line:
    """A line that no rating makes."""
    detail = Detail(None, kind, ZERO, None, Decimal(amount))
    return replace(_line(owed, part, sold, detail), description=description)


def licensed_quantity(item: Item) -> Decimal:
    """How many of a licensed price the item has."""
    return Decimal(1 if item.quantity is None else item.quantity)


def opening_zero_line(item: Item, sold: Sold) -> Line:
    """Classic: a metered item is on the first invoice, with nothing used yet and nothing owed."""
    owed = replace(obligation_of(item), name=f"{item.subscription_id}/{item.id}/opening")
    return replace(_line(owed, 0, sold, rate(sold.price.model, ZERO)[0]), amount=0)


def _line(owed: Obligation, part: int, sold: Sold, detail: Detail) -> Line:
    price = sold.price
    assert price.recurrence is not None, "an item's price recurs"
    return Line(
        id="",
        obligation=owed.name,
        part=part,
        subscription_id=owed.subscription_id,
        subscription_item_id=owed.item_id,
        price_id=price.id,
        product_id=price.product_id,
        meter_id=price.meter_id,
        period_start=owed.period_start,
        period_end=owed.period_end,
        quantity=detail.quantity,
        unit_amount=detail.unit_amount,
        tier=detail.tier,
        kind=detail.kind,
        amount=round_minor(detail.amount),
        description=describe(detail, sold, price.recurrence),
        metadata=owed.metadata,
        discount_ids=owed.discount_ids,
        tax_rate_ids=owed.tax_rate_ids,
        whole_seconds=owed.whole_seconds,
    )


# ─── Words ───────────────────────────────────────────────────────────────────────────────────


def describe(detail: Detail, sold: Sold, recurrence: Recurrence) -> str:
    """A line for people, in Stripe's wording: "2000 × Calls (Tier 2 at $0.04 / month)"."""
    reason = _rate_in_words(
        sold.price.model,
        detail.tier,
        detail.kind,
        detail.unit_amount,
        detail.amount if detail.kind == DetailKind.FLAT else ZERO,
        sold.price.currency,
        recurrence,
    )
    if detail.kind == DetailKind.FLAT:
        return f"{sold.product.name} ({reason})"
    label = f" {sold.product.unit_label}" if sold.product.unit_label else ""
    return f"{plain(detail.quantity)}{label} × {sold.product.name} ({reason})"


@lru_cache(maxsize=4096)  # a cycle close describes the same few prices for every customer
def _rate_in_words(
    model: Model,
    tier: int | None,
    kind: DetailKind,
    unit_amount: Decimal | None,
    flat_amount: Decimal,
    currency: str,
    recurrence: Recurrence,
) -> str:
    amount = flat_amount if kind == DetailKind.FLAT else (unit_amount or ZERO)
    every = (
        f"/ {recurrence.interval}"
        if recurrence.count == 1
        else f"every {recurrence.count} {recurrence.interval}s"
    )
    per = f" per {model.transform.divide_by} units" if model.transform else ""
    where = "at" if tier is None else f"Tier {tier} at"
    return f"{where} {format_amount(amount, currency)}{per} {every}"
