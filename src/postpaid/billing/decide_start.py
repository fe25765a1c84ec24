"""Decide how a subscription starts: its periods, its trial, and its first invoice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from postpaid.billing.agree_limits import check_limits
from postpaid.billing.change_items import item_of_extra
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.compose import compose
from postpaid.billing.gather_items import gather_items, lines_of_items
from postpaid.billing.imagine import NOTHING, Imagined
from postpaid.billing.manage_discounts import Chosen, Wanted, check_minimum, choose_all
from postpaid.billing.manage_tax_rates import check_all_tax_rates
from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.core.anchors import anchor_of_config, check_anchor, shortest
from postpaid.core.changes import ProrationBehavior
from postpaid.core.credits import with_balance
from postpaid.core.cycles import next_moment, recurrence_of, started, trial_items, zone_of
from postpaid.core.errors import InvalidRequest, Path
from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import GRACE, BillingReason, Invoice, draft
from postpaid.core.lines import obligation_of
from postpaid.core.openings import first_lines, paid_by, past_usage, whole_period
from postpaid.core.periods import period_at_index
from postpaid.core.stops import resolve_cancel_at
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    Subscription,
    SubscriptionStatus,
)
from postpaid.core.values import replace
from postpaid.storage import accounts
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.usage_totals import Window

FIRST_PAYMENT_WITHIN = timedelta(hours=23)  # Stripe: after that an incomplete one expires
TRIAL_MAX = timedelta(days=730)  # Stripe


@dataclass(frozen=True, slots=True)
class Started:
    """A subscription as it starts, and its first invoice if it owes anything; not written yet.

    ``chosen`` are the discounts on both, ``extras`` the items of one-time prices on the invoice.
    """

    subscription: Subscription
    invoice: Invoice | None
    chosen: Chosen
    extras: Sequence[InvoiceItem] = ()


def decide_start(
    conn: Connection,
    act: Act,
    asked: NewSubscription,
    customer: Customer,
    sold: Catalog,
    *,
    imagined: Imagined = NOTHING,
) -> Started:
    """``decide_starts`` for one."""
    owners = {customer.id: customer}
    return decide_starts(conn, act, [asked], owners, sold, imagined=imagined)[0]


def decide_starts(
    conn: Connection,
    act: Act,
    asked: Sequence[NewSubscription],
    owners: Mapping[str, Customer],
    sold: Catalog,
    *,
    imagined: Imagined = NOTHING,
) -> list[Started]:
    """Each subscription, its first invoice if it owes anything, and the discounts on them.

    They are of different customers, who live at the act's time. A preview has ``imagined`` items
    beside those that wait. Nothing is written. Raises ``InvalidRequest`` for a beginning or an end
    that cannot be.
    """
    # Read.
    new = [each.customer_id for each in asked]
    assert len(set(new)) == len(new), "a balance pays for one of them at a time"
    bare = _all_starting(conn, act, asked, owners, sold)
    starting = _adjusted(conn, act, asked, owners, bare, sold)
    windows = {
        obligation_of(item).name: Window(
            each.customer_id,
            sold[item.price_id].price.meter_id or "",
            item.usage_start,
            item.period_end,
        )
        for each in (one.subscription for one in starting)
        for item in past_usage(each, sold)
    }
    used = measure(conn, act.account_id, windows, now=act.now)
    waiting = gather_items(conn, act, [each.subscription for each in starting])

    # Decide.
    drafts = [
        _first_draft(
            act,
            each,
            one,
            imagined.among(waiting.get(one.subscription.id, ()), one.subscription.currency),
            sold,
            used,
        )
        for each, one in zip(asked, starting, strict=True)
    ]
    unwritten = [*(each for one in starting for each in one.chosen.new), *imagined.discounts]
    due = [each for each in drafts if each]
    composed = {each.id: each for each in compose(conn, act, due, owners, unwritten=unwritten)}
    return [
        one
        if draft is None
        else _billed(one, composed[draft.id], owners[draft.customer_id], act.now)
        for draft, one in zip(drafts, starting, strict=True)
    ]


def _all_starting(
    conn: Connection,
    act: Act,
    asked: Sequence[NewSubscription],
    owners: Mapping[str, Customer],
    sold: Catalog,
) -> list[Subscription]:
    own_zones = [owners[each.customer_id].time_zone for each in asked]
    zone = "" if all(own_zones) else accounts.time_zone(conn, act.account_id)
    found = [
        _starting(act, each, owners[each.customer_id], sold, own_zone or zone)
        for each, own_zone in zip(asked, own_zones, strict=True)
    ]
    for each in found:
        check_limits(each, sold)
    return found


def _first_draft(
    act: Act,
    asked: NewSubscription,
    starting: Started,
    pending: Sequence[InvoiceItem],
    sold: Catalog,
    used: Mapping[str, Decimal],
) -> Invoice | None:
    """What the subscription owes from the first, before anything comes off; None for nothing."""
    subscription = starting.subscription
    prorates = asked.proration != ProrationBehavior.NONE
    try:
        lines = first_lines(subscription, sold, used, prorates=prorates)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="items") from None
    lines = [
        *lines_of_items(act, [*pending, *starting.extras]),
        *(replace(line, id=act.new_id("il")) for line in lines),
    ]
    check_minimum(starting.chosen, sum(line.amount for line in lines), subscription.currency)
    if not lines:
        return None
    charged = asked.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    return draft(
        act.new_id("in"),
        subscription,
        lines,
        reason=BillingReason.SUBSCRIPTION_CREATE,
        period=(act.now, act.now),
        auto_advance=True,
        finalizes_at=None if charged else act.now + GRACE,
        now=act.now,
    )


def _billed(starting: Started, invoice: Invoice, customer: Customer, now: datetime) -> Started:
    """The subscription with its first invoice, for whose payment it may have to wait."""
    subscription = replace(
        starting.subscription,
        items=tuple(paid_by(item, invoice.lines) for item in starting.subscription.items),
        latest_invoice_id=invoice.id,
    )
    charged = subscription.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    waits = charged and with_balance(invoice, customer.balance).amount_due > 0
    if waits and subscription.status == SubscriptionStatus.ACTIVE:
        subscription = replace(
            subscription,
            status=SubscriptionStatus.INCOMPLETE,
            closes_at=None,
            expires_at=now + FIRST_PAYMENT_WITHIN,
        )
    return replace(starting, subscription=subscription, invoice=invoice)


def _adjusted(
    conn: Connection,
    act: Act,
    asked: Sequence[NewSubscription],
    owners: Mapping[str, Customer],
    bare: Sequence[Subscription],
    sold: Catalog,
) -> list[Started]:
    """The subscriptions with the discounts and tax rates asked for them, their items and extras."""
    pairs = list(zip(asked, bare, strict=True))
    sales = [
        (_wanted(each, subscription), owners[each.customer_id], subscription.currency)
        for each, subscription in pairs
    ]
    chosen = choose_all(conn, act, sales)
    rates = check_all_tax_rates(conn, act, [_rates_of(each) for each in asked])
    return [
        _with_adjustments(act, each, subscription, own, put_on, sold)
        for (each, subscription), own, put_on in zip(pairs, chosen, rates, strict=True)
    ]


def _with_adjustments(
    act: Act,
    asked: NewSubscription,
    subscription: Subscription,
    chosen: Chosen,
    rates: Mapping[Path, list[str] | None],
    sold: Catalog,
) -> Started:
    items = tuple(
        replace(
            item,
            discount_ids=chosen.ids(1 + i),
            tax_rate_ids=rates["items", i, "tax_rates"],
        )
        for i, item in enumerate(subscription.items)
    )
    subscription = replace(
        subscription,
        discount_ids=chosen.ids(0),
        tax_rate_ids=rates["default_tax_rates",],
        items=items,
    )
    extras = [
        item_of_extra(
            act,
            subscription,
            replace(
                extra,
                discount_ids=chosen.ids(1 + len(items) + i),
                tax_rate_ids=rates["add_invoice_items", i, "tax_rates"],
            ),
            sold.get(extra.price_id),
            place=i,
        )
        for i, extra in enumerate(asked.extras)
    ]
    return Started(subscription, None, chosen, extras)


def _wanted(asked: NewSubscription, subscription: Subscription) -> list[Wanted]:
    """What discounts are asked for: the subscription's, those of its items, those of its extras."""
    return [
        Wanted(asked.discounts, subscription.id),
        *(
            Wanted(each.discounts, subscription.id, item.id, param=("items", i, "discounts"))
            for i, (each, item) in enumerate(zip(asked.items, subscription.items, strict=True))
        ),
        *(
            Wanted(
                discounts,
                invoice_item_id=extra.id,
                param=("add_invoice_items", i, "discounts"),
            )
            for i, (extra, discounts) in enumerate(
                zip(asked.extras, asked.extra_discounts, strict=False)
            )
        ),
    ]


def _rates_of(asked: NewSubscription) -> dict[Path, Sequence[str] | None]:
    rates: dict[Path, Sequence[str] | None] = {("default_tax_rates",): asked.tax_rate_ids}
    rates |= {("items", i, "tax_rates"): each.tax_rate_ids for i, each in enumerate(asked.items)}
    return rates | {
        ("add_invoice_items", i, "tax_rates"): each.tax_rate_ids
        for i, each in enumerate(asked.extras)
    }


def _starting(
    act: Act, asked: NewSubscription, customer: Customer, sold: Catalog, zone: str
) -> Subscription:
    """The subscription in the periods that run now, as if nothing had to be paid for them."""
    now = act.now
    subscription_id = act.new_id("sub")
    asks_to_end = asked.cancel_at_period_end or asked.cancel_at is not None
    subscription = Subscription(
        id=subscription_id,
        customer_id=customer.id,
        clock_id=customer.clock_id,
        status=SubscriptionStatus.ACTIVE,
        currency=sold[asked.items[0].price_id].price.currency,
        collection_method=asked.collection_method,
        days_until_due=asked.days_until_due,
        billing_mode=asked.billing_mode,
        billing_mode_at=now if asked.billing_mode == BillingMode.FLEXIBLE else None,
        anchor_at=now,
        closes_at=None,
        expires_at=None,
        start_at=asked.start_at or now,
        cancel_at_period_end=asked.cancel_at_period_end,
        canceled_at=now if asks_to_end else None,
        ended_at=None,
        cancellation_reason="cancellation_requested" if asks_to_end else None,
        cancellation_comment=None,
        cancellation_feedback=None,
        default_payment_method_id=asked.default_payment_method_id,
        latest_invoice_id=None,
        description=asked.description,
        metadata=asked.metadata,
        created_at=now,
        zone=zone,
        anchor_config=asked.anchor_config,
        trial_end_behavior=asked.trial_end_behavior,
        proration_discounts=asked.proration_discounts,
        usage_invoicing=asked.usage_invoicing,
        invoice_settings=asked.invoice_settings,
        payment_settings=asked.payment_settings,
        retry_schedule_id=asked.retry_schedule_id,
        **asked.limits,
        items=tuple(_item(act, subscription_id, item, sold, now) for item in asked.items),
    )
    if subscription.start_at > now:
        raise InvalidRequest(
            "backdate_start_date must be in the past.", param="backdate_start_date"
        )
    ends_at = _trial_end(asked, now)
    subscription = replace(subscription, anchor_at=_anchor(asked, subscription, sold, ends_at))
    if ends_at:
        subscription = replace(
            subscription,
            status=SubscriptionStatus.TRIALING,
            trial_start_at=now,
            trial_end_at=ends_at,
            items=trial_items(subscription, sold, start=now, end=ends_at),
        )
        if asked.proration == ProrationBehavior.NONE:
            free = tuple(
                _free_until_anchor(subscription, item, sold) for item in subscription.items
            )
            subscription = replace(subscription, items=free)
    else:
        subscription = replace(
            subscription,
            items=tuple(_running(subscription, item, sold) for item in subscription.items),
        )
    prorates = asked.proration != ProrationBehavior.NONE
    end = resolve_cancel_at(asked.cancel_at, subscription.items, now)
    subscription = replace(subscription, cancel_at=end, cancel_prorates=prorates)
    return replace(subscription, closes_at=next_moment(subscription, now))


def _free_until_anchor(subscription: Subscription, item: Item, sold: Catalog) -> Item:
    """A licence of which the stub between the trial and the anchor is free too: one period."""
    stub = started(subscription, item, sold, item.period_end)
    whole = whole_period(subscription, stub, sold)
    if sold[item.price_id].price.metered or whole.start == stub.period_start:
        return item
    return replace(item, period_index=stub.period_index, period_end=stub.period_end)


def _trial_end(asked: NewSubscription, now: datetime) -> datetime | None:
    if asked.trial_end_at is None and not asked.trial_days:
        return None
    ends_at = asked.trial_end_at or now + timedelta(days=asked.trial_days or 0)
    if ends_at <= now:
        return None  # Stripe: now is no trial
    if ends_at > now + TRIAL_MAX:
        raise InvalidRequest(
            "Trials can be at most 730 days (2 years) long.",
            param="trial_end" if asked.trial_end_at else "trial_period_days",
        )
    if asked.start_at is not None:
        raise InvalidRequest(
            "A subscription with a trial cannot be backdated.", param="backdate_start_date"
        )
    return ends_at


def _anchor(
    asked: NewSubscription, subscription: Subscription, sold: Catalog, trial_end: datetime | None
) -> datetime:
    """From when on its periods are counted (Stripe)."""
    now, zone = subscription.created_at, zone_of(subscription)
    every = shortest(recurrence_of(item, sold) for item in subscription.items)
    if asked.anchor_config is not None:
        if asked.anchor_at is not None or trial_end is not None:
            raise InvalidRequest(
                "billing_cycle_anchor_config cannot be combined with billing_cycle_anchor or a "
                "trial.",
                param="billing_cycle_anchor_config",
            )
        return anchor_of_config(asked.anchor_config, every, now, zone)
    if asked.anchor_at is not None:
        if asked.anchor_at != trial_end:
            check_anchor(asked.anchor_at, every, trial_end or now, zone)
        return asked.anchor_at
    if trial_end is not None:
        return trial_end
    if asked.start_at is not None and asked.billing_mode == BillingMode.FLEXIBLE:
        return asked.start_at
    return now


def _running(subscription: Subscription, item: Item, sold: Catalog) -> Item:
    """The item in the period that runs when it is made, from its start or the subscription's.

    Classic: usage since a backdated start counts to the running period.
    """
    running = started(subscription, item, sold, subscription.created_at)
    if subscription.start_at == subscription.created_at:
        return running
    whole = period_at_index(
        subscription.anchor_at,
        recurrence_of(item, sold),
        running.period_index,
        zone_of(subscription),
    )
    classic = subscription.billing_mode == BillingMode.CLASSIC
    is_earlier = classic and sold[item.price_id].price.metered
    return replace(
        running,
        period_start=max(whole.start, subscription.start_at),
        usage_from=subscription.start_at if is_earlier else None,
    )


def _item(act: Act, subscription_id: str, item: NewItem, sold: Catalog, now: datetime) -> Item:
    metered = sold[item.price_id].price.metered
    return Item(
        id=act.new_id("si"),
        subscription_id=subscription_id,
        price_id=item.price_id,
        quantity=None if metered else (1 if item.quantity is None else item.quantity),
        period_index=0,
        period_start=now,
        period_end=now + timedelta(days=1),  # until its price's recurrence has said
        metadata=item.metadata,
        created_at=now,
        threshold_usage=item.threshold_usage,
    )
