"""What a subscription's next moment brings: what it is afterwards, and the drafts that are owed.

Nothing is read or written here, so that a preview is the closing without its last step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from postpaid.billing.gather_items import lines_of_items
from postpaid.billing.net_prices import Nets
from postpaid.billing.perform import Act
from postpaid.core.closings import closing_lines
from postpaid.core.cycles import advanced, bills_now, closing_items, ends_now, trial_ends_now
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import GRACE, BillingReason, Invoice, draft
from postpaid.core.lines import Line, is_of_usage, lines_of, obligation_of
from postpaid.core.openings import paid_by, whole_period
from postpaid.core.pricing import DetailKind
from postpaid.core.prorations import (
    NOTHING_OFF,
    Charge,
    Proration,
    credit_at_list_price,
    credits_of_charges,
)
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    Item,
    PauseBehavior,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    TrialEndBehavior,
    UsageInvoicing,
    ended,
    itemizes,
    paused,
)
from postpaid.core.values import replace


@dataclass(frozen=True, slots=True)
class Known:
    """What was read for the closings.

    Prices by id, usage by obligation, what waits by subscription, what paid running periods by
    item, and the subscriptions that have something to pay with, of those for which it matters.
    ``nets`` are what discounts leave of prices, where classic mode credits by them.
    """

    sold: Catalog
    used: Mapping[str, Decimal]
    pending: Mapping[str, Sequence[InvoiceItem]]
    charges: Mapping[str, Sequence[Charge]]
    able: Collection[str]
    nets: Nets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """A subscription across one of its moments, and the drafts that are owed for it, if any.

    The last one is its latest: that of the fees, where usage is on an invoice of its own.
    """

    before: Subscription
    after: Subscription
    invoices: tuple[Invoice, ...]


def decide_close(act: Act, subscription: Subscription, known: Known) -> Closed:
    """Decide what the moment brings. Raises ValueError when an amount cannot be billed."""
    at = subscription.closes_at
    assert at is not None, "only a subscription that closes is closed"
    assert at <= act.now, "nothing is billed before its period has ended"
    if needs_means(subscription) and subscription.id not in known.able:
        return Closed(subscription, _without_means(subscription, at), ())
    if ends_now(subscription):
        renewed = None
        after = ended(
            subscription, SubscriptionAction.CANCEL, now=at, reason="cancellation_requested"
        )
    else:
        renewed = after = advanced(subscription, known.sold)
    if not bills_now(subscription):
        return Closed(subscription, after, ())
    waiting = lines_of_items(act, known.pending.get(subscription.id, ()))
    lines = [
        *waiting,
        *(
            replace(line, id=act.new_id("il"))
            for line in (
                *closing_lines(subscription, renewed, known.sold, known.used, waiting=waiting),
                *_unused(subscription, known),
            )
        ),
    ]
    drafts = [_draft(act, subscription, after, part) for part in _parted(subscription, lines)]
    if not drafts:
        return Closed(subscription, after, ())
    paying = [line for line in lines if not line.proration]  # a credit of unused time does not
    after = replace(
        after,
        latest_invoice_id=drafts[-1].id,
        items=tuple(paid_by(item, paying) for item in after.items),
    )
    return Closed(subscription, after, tuple(drafts))


def needs_means(subscription: Subscription) -> bool:
    """Whether its trial ends now, and it goes on only if there is something to pay with."""
    return (
        trial_ends_now(subscription)
        and not ends_now(subscription)
        and subscription.trial_end_behavior != TrialEndBehavior.CREATE_INVOICE
    )


def credited_items(subscription: Subscription, sold: Catalog) -> list[Item]:
    """The licences whose period is cut short when it closes, and that get their unused time back.

    Stripe: what ends at a date does, and what ends with a period does not.
    """
    at = subscription.closes_at
    if (
        subscription.cancel_at != at
        or not subscription.cancel_prorates
        or subscription.status in (SubscriptionStatus.TRIALING, SubscriptionStatus.PAUSED)
    ):
        return []
    return [
        item
        for item in subscription.items
        if at is not None and item.period_end > at and not sold[item.price_id].price.metered
    ]


def _without_means(subscription: Subscription, at: datetime) -> Subscription:
    """Its trial has ended and there is nothing to pay with."""
    if subscription.trial_end_behavior == TrialEndBehavior.CANCEL:
        return ended(subscription, SubscriptionAction.CANCEL, now=at, reason=None)
    return paused(subscription, now=at)


def _unused(subscription: Subscription, known: Known) -> list[Line]:
    """Credits for licences that were paid beyond the end."""
    at = subscription.closes_at
    assert at is not None
    lines: list[Line] = []
    for item in credited_items(subscription, known.sold):
        sold = known.sold[item.price_id]
        if subscription.billing_mode == BillingMode.FLEXIBLE:
            given = credits_of_charges(
                sold,
                known.charges.get(item.id, ()),
                at=at,
                zone=subscription.zone,
                itemized=itemizes(subscription),
            )
        else:
            given = [
                credit_at_list_price(
                    sold,
                    item.quantity,
                    whole_period(subscription, item, known.sold),
                    at=at,
                    until=item.period_end,
                    zone=subscription.zone,
                    off=known.nets.get((subscription.id, item.price_id, False), NOTHING_OFF),
                )
            ]
        lines += [_credit_line(item, place, known, each) for place, each in enumerate(given)]
    return lines


def _credit_line(item: Item, place: int, known: Known, given: Proration) -> Line:
    sold = known.sold[item.price_id]
    owed = obligation_of(item)
    like = lines_of(owed, sold, given.quantity)[0]
    return replace(
        like,
        obligation=f"{owed.name}/unused",
        part=place,
        period_start=given.period.start,
        period_end=given.period.end,
        quantity=given.quantity,
        unit_amount=None,
        tier=None,
        kind=DetailKind.UNIT,
        amount=given.amount,
        description=given.description,
        proration=True,
        discountable=False,
        credited=given.credited,
        discounts=given.discounts,
    )


def _parted(subscription: Subscription, lines: list[Line]) -> list[list[Line]]:
    """The lines of each invoice: of all of them, or of usage and then of the rest (ours)."""
    if not lines or subscription.usage_invoicing == UsageInvoicing.COMBINED:
        return [lines] if lines else []
    usage = [line for line in lines if is_of_usage(line)]
    base = [line for line in lines if not is_of_usage(line)]
    return [part for part in (usage, base) if part]


def _draft(
    act: Act, subscription: Subscription, after: Subscription, lines: Sequence[Line]
) -> Invoice:
    at = subscription.closes_at
    assert at is not None
    collects, grace = fate(replace(after, status=subscription.status))  # also when it ends now
    return draft(
        act.new_id("in"),
        subscription,
        lines,
        reason=BillingReason.SUBSCRIPTION_CYCLE,
        period=(max(item.period_start for item in closing_items(subscription)), at),
        auto_advance=collects,
        finalizes_at=None if grace is None else act.now + grace,
        now=act.now,
    )


def fate(after: Subscription) -> tuple[bool, timedelta | None]:
    """Whether the invoice is collected, and in what time it is final; None is never by itself.

    While collection is paused an invoice stays a draft, or is final and then void or written off.
    Stripe: so too a subscription that is unpaid has drafts that nobody collects.
    """
    if after.status == SubscriptionStatus.UNPAID:
        return False, None
    if after.pause_behavior is None:
        return True, GRACE
    return False, None if after.pause_behavior == PauseBehavior.KEEP_AS_DRAFT else GRACE
