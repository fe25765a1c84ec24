"""Decide how a subscription starts: its periods, its trial, and its first invoice."""

from __future__ import annotations

from datetime import datetime, timedelta

from postpaid.billing.agree_limits import check_limits
from postpaid.billing.check_sold import NewItem, NewSubscription
from postpaid.billing.compose import compose
from postpaid.billing.gather_items import gather_items, lines_of_items
from postpaid.billing.imagine import NOTHING, Imagined
from postpaid.billing.manage_discounts import Chosen, Wanted, check_minimum, choose
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.measure import measure
from postpaid.billing.perform import Act
from postpaid.core.anchors import anchor_of_config, check_anchor, shortest
from postpaid.core.changes import ProrationBehavior
from postpaid.core.credits import with_balance
from postpaid.core.cycles import next_moment, recurrence_of, started, trial_items, zone_of
from postpaid.core.errors import InvalidRequest
from postpaid.core.invoicing import GRACE, BillingReason, Invoice, draft
from postpaid.core.lines import obligation_of
from postpaid.core.openings import first_lines, past_usage, pays_running, whole_period
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


def decide_start(
    conn: Connection,
    act: Act,
    asked: NewSubscription,
    customer: Customer,
    sold: Catalog,
    *,
    imagined: Imagined = NOTHING,
) -> tuple[Subscription, Invoice | None, Chosen]:
    """The subscription, its first invoice if it owes anything, and the discounts on them.

    A preview has ``imagined`` items beside those that wait. Nothing is written. Raises ``InvalidRequest`` for a beginning or an end that cannot be.
    """
    # Read.
    zone = customer.time_zone or accounts.time_zone(conn, act.account_id)
    subscription = _starting(act, asked, customer, sold, zone)
    check_limits(subscription, sold)
    subscription, chosen = _adjusted(conn, act, asked, customer, subscription)
    windows = {
        obligation_of(item).name: Window(
            customer.id, sold[item.price_id].price.meter_id or "", item.usage_start, item.period_end
        )
        for item in past_usage(subscription, sold)
    }
    used = measure(conn, act.account_id, windows, now=act.now)
    waiting = gather_items(conn, act, [subscription]).get(subscription.id, ())
    pending = imagined.among(waiting, subscription.currency)

    # Decide.
    prorates = asked.proration != ProrationBehavior.NONE
    try:
        lines = first_lines(subscription, sold, used, prorates=prorates)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="items") from None
    lines = [
        *lines_of_items(act, pending),
        *(replace(line, id=act.new_id("il")) for line in lines),
    ]
    check_minimum(chosen, sum(line.amount for line in lines), subscription.currency)
    if not lines:
        return subscription, None, chosen

    now = act.now
    charged = asked.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    invoice = draft(
        act.new_id("in"),
        subscription,
        lines,
        reason=BillingReason.SUBSCRIPTION_CREATE,
        period=(now, now),
        auto_advance=True,
        finalizes_at=None if charged else now + GRACE,
        now=now,
    )
    unwritten = [*chosen.new, *imagined.discounts]
    [invoice] = compose(conn, act, [invoice], {customer.id: customer}, unwritten=unwritten)
    subscription = replace(
        subscription,
        items=tuple(_paid_by(item, invoice) for item in subscription.items),
        latest_invoice_id=invoice.id,
    )
    waits = charged and with_balance(invoice, customer.balance).amount_due > 0
    if not waits or subscription.status != SubscriptionStatus.ACTIVE:
        return subscription, invoice, chosen
    return (
        replace(
            subscription,
            status=SubscriptionStatus.INCOMPLETE,
            closes_at=None,
            expires_at=now + FIRST_PAYMENT_WITHIN,
        ),
        invoice,
        chosen,
    )


def _adjusted(
    conn: Connection,
    act: Act,
    asked: NewSubscription,
    customer: Customer,
    subscription: Subscription,
) -> tuple[Subscription, Chosen]:
    """The subscription with the discounts and tax rates asked for it and its items."""
    chosen = choose(
        conn,
        act,
        [
            Wanted(asked.discounts, subscription.id),
            *(
                Wanted(
                    each.discounts,
                    subscription.id,
                    item.id,
                    param=("items", i, "discounts"),
                )
                for i, (each, item) in enumerate(zip(asked.items, subscription.items, strict=True))
            ),
        ],
        customer=customer,
        currency=subscription.currency,
    )
    rates = check_tax_rates(
        conn,
        act,
        {("default_tax_rates",): asked.tax_rate_ids}
        | {("items", i, "tax_rates"): each.tax_rate_ids for i, each in enumerate(asked.items)},
    )
    return (
        replace(
            subscription,
            discount_ids=chosen.ids(0),
            tax_rate_ids=rates["default_tax_rates",],
            items=tuple(
                replace(
                    item,
                    discount_ids=chosen.ids(1 + i),
                    tax_rate_ids=rates["items", i, "tax_rates"],
                )
                for i, item in enumerate(subscription.items)
            ),
        ),
        chosen,
    )


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


def _paid_by(item: Item, invoice: Invoice) -> Item:
    """The item with the lines of the invoice that pay its running period in advance."""
    ids = [line.id for line in invoice.lines if pays_running(line, item)]
    return replace(item, charge_ids=ids) if ids else item


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
