"""Start a subscription with its first period and invoice; change what may change of it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from postpaid.billing import collect
from postpaid.billing.agree_limits import agree_limits, check_limits
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.cancel import cancel, expire
from postpaid.billing.compose import compose
from postpaid.billing.finalize import finalize
from postpaid.billing.gather_items import gather_items, lines_of_items, put_items_on
from postpaid.billing.manage_discounts import (
    AskedDiscount,
    Chosen,
    Wanted,
    check_minimum,
    choose,
    redeem,
)
from postpaid.billing.manage_tax_rates import check_tax_rates
from postpaid.billing.measure import measure
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.core.anchors import anchor_of_config, check_anchor, is_multiple, shortest
from postpaid.core.changes import ProrationBehavior
from postpaid.core.credits import with_balance
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, PaymentFailed
from postpaid.core.invoicing import (
    GRACE,
    BillingReason,
    Invoice,
    InvoiceStatus,
    draft,
    obligation_of,
)
from postpaid.core.openings import first_lines, past_usage, pays_running
from postpaid.core.periods import period_at_index
from postpaid.core.stops import CancelAt, resolve_cancel_at, with_stops
from postpaid.core.subscriptions import (
    ENDED,
    TRIAL_REMINDER,
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    ProrationDiscounts,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    TrialEndBehavior,
    UsageInvoicing,
    next_moment,
    recurrence_of,
    rescheduled,
    started,
    trial_items,
    zone_of,
)
from postpaid.core.values import replace
from postpaid.storage import (
    accounts,
    catalog,
    customers,
    invoices,
    payments,
    subscriptions,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import AttemptStatus
from postpaid.storage.usage_totals import Window

FIRST_PAYMENT_WITHIN = timedelta(hours=23)  # Stripe: after that an incomplete one expires
TRIAL_MAX = timedelta(days=730)  # Stripe
ITEMS_MAX = 20


class PaymentBehavior(StrEnum):
    """What becomes of a subscription whose first payment does not succeed at once."""

    ALLOW_INCOMPLETE = "allow_incomplete"  # it is incomplete until paid
    DEFAULT_INCOMPLETE = "default_incomplete"  # so too, and no payment is tried
    ERROR_IF_INCOMPLETE = "error_if_incomplete"  # it is an error, and the subscription is over


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item asked for; ``quantity`` None means 1 of a licensed price."""

    price_id: str
    quantity: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    discounts: Sequence[AskedDiscount] = ()
    tax_rate_ids: Sequence[str] = ()
    threshold_usage: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A subscription asked for.

    ``anchor_config`` has the parts of an anchor by name: ``day_of_month`` and perhaps ``month``,
    ``hour``, ``minute`` and ``second``. ``proration`` is about the stub before the anchor and what
    is backdated to ``start_at``. ``limits`` are thresholds and a commitment, by the names of a
    ``Subscription``'s fields.
    """

    customer_id: str
    items: Sequence[NewItem]
    billing_mode: BillingMode = BillingMode.FLEXIBLE
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int | None = None
    payment_behavior: PaymentBehavior = PaymentBehavior.ALLOW_INCOMPLETE
    default_payment_method_id: str | None = None
    cancel_at_period_end: bool = False
    currency: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    anchor_at: datetime | None = None
    anchor_config: Mapping[str, int] | None = None
    start_at: datetime | None = None
    trial_end_at: datetime | None = None
    trial_days: int | None = None
    trial_end_behavior: TrialEndBehavior = TrialEndBehavior.CREATE_INVOICE
    cancel_at: datetime | CancelAt | None = None
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    proration_discounts: ProrationDiscounts = ProrationDiscounts.INCLUDED
    usage_invoicing: UsageInvoicing = UsageInvoicing.COMBINED
    invoice_settings: Mapping[str, Any] | None = None
    payment_settings: Mapping[str, Any] | None = None
    discounts: Sequence[AskedDiscount] = ()
    tax_rate_ids: Sequence[str] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Begun:
    """A subscription that is written, and the attempts at its first payment, not made yet."""

    subscription_id: str
    attempt_ids: list[str]
    payment_behavior: PaymentBehavior


def subscribe(conn: Connection, act: Act, asked: NewSubscription) -> Begun:
    """Write the subscription and its first invoice; ``finish`` collects it after the commit.

    Licensed items pay their first period now, metered ones owe nothing yet. With automatic
    collection the invoice is final at once and the subscription incomplete until it is paid; a sent
    invoice stays a draft for the grace hour and the subscription is active.

    Raises ``NotFound`` and ``InvalidRequest`` with the parameter at fault.
    """
    # Read.
    locked = customers.lock(conn, act.account_id, [asked.customer_id])
    customer = locked.get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    wall, act = act.now, act.at(customer.now(act.now), customer.clock_id)
    sold = _read_catalog(conn, act, asked, customer)
    if asked.default_payment_method_id:
        collect.check_payment_method(conn, act, customer.id, asked.default_payment_method_id)

    # Decide.
    subscription, invoice, chosen = decide(conn, act, asked, customer, sold)
    if (
        subscription.status == SubscriptionStatus.INCOMPLETE
        and asked.payment_behavior == PaymentBehavior.ERROR_IF_INCOMPLETE
        and not (asked.default_payment_method_id or customer.default_payment_method_id)
    ):
        raise InvalidRequest(
            "This customer has no attached payment source or default payment method.",
            code="resource_missing",
        )

    # Write.
    locked[customer.id] = replace(customer, currency=subscription.currency)
    customers.update_invoicing(conn, act.account_id, list(locked.values()))
    redeem(conn, act, chosen)
    subscriptions.insert_many(conn, act.account_id, [subscription])
    open_windows(conn, act, [subscription], sold)
    announcements = [
        Announcement("customer.subscription.created", "subscription", subscription.id, subscription)
    ]
    if invoice:
        invoices.insert_many(conn, act.account_id, [invoice])
        put_items_on(conn, act, [invoice])
        announcements.append(Announcement("invoice.created", "invoice", invoice.id, invoice))
    if subscription.trial_end_at and subscription.trial_end_at - TRIAL_REMINDER <= act.now:
        announcements.append(
            Announcement(  # Stripe: one that is shorter says so at once
                "customer.subscription.trial_will_end",
                "subscription",
                subscription.id,
                subscription,
            )
        )
    announce(conn, act, announcements)
    if invoice is None or invoice.finalizes_at:
        return Begun(subscription.id, [], asked.payment_behavior)

    final = finalize(conn, act, [invoice], locked)
    if subscription.status == SubscriptionStatus.INCOMPLETE:
        settled_by_credit = [each for each in final if each.status == InvoiceStatus.PAID]
        collect.follow(conn, act, settled_by_credit, SubscriptionAction.PAY)
    tries = asked.payment_behavior != PaymentBehavior.DEFAULT_INCOMPLETE
    due = [each for each in final if tries and collect.is_collected_automatically(each)]
    attempts = collect.attempt(conn, act, due, locked, wall=wall, automatic=True)
    return Begun(subscription.id, [each.id for each in attempts], asked.payment_behavior)


def finish(database: Database, act: Act, begun: Begun) -> None:
    """Make the first payment; safe to repeat.

    Raises ``PaymentFailed`` when it fails and was asked to be an error; the subscription is over
    then and its invoice void.
    """
    with database.connection() as conn:
        attempts = payments.load(conn, act.account_id, begun.attempt_ids)
        act = _at_customers_time(conn, act, begun.subscription_id)
    pending = [each for each in attempts.values() if each.status == AttemptStatus.PENDING]
    collect.settle(database, act, pending)
    if begun.payment_behavior != PaymentBehavior.ERROR_IF_INCOMPLETE:
        return
    with database.transaction() as conn:
        subscription, _ = lock(conn, act, begun.subscription_id)
        if subscription.status == SubscriptionStatus.INCOMPLETE:
            expire(conn, act, [subscription])
        elif subscription.status != SubscriptionStatus.INCOMPLETE_EXPIRED:
            return
        attempts = payments.load(conn, act.account_id, begun.attempt_ids)
    [failed] = attempts.values()
    raise PaymentFailed(
        failed.failure_message or "The payment failed.",
        code=failed.failure_code,
        decline_code=failed.decline_code,
    )


def decide(
    conn: Connection, act: Act, asked: NewSubscription, customer: Customer, sold: Catalog
) -> tuple[Subscription, Invoice | None, Chosen]:
    """The subscription, its first invoice if it owes anything, and the discounts on them.

    Nothing is written. Raises ``InvalidRequest`` for a beginning or an end that cannot be.
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
    pending = gather_items(conn, act, [subscription]).get(subscription.id, ())

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
    [invoice] = compose(conn, act, [invoice], {customer.id: customer}, unwritten=chosen.new)
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
    else:
        subscription = replace(
            subscription,
            items=tuple(_running(subscription, item, sold) for item in subscription.items),
        )
    prorates = asked.proration != ProrationBehavior.NONE
    end = resolve_cancel_at(asked.cancel_at, subscription.items, now)
    subscription = replace(subscription, cancel_at=end, cancel_prorates=prorates)
    return replace(subscription, closes_at=next_moment(subscription, now))


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


def preview_new(conn: Connection, act: Act, asked: NewSubscription) -> Invoice:
    """The first invoice that ``subscribe`` would make. Raises ``InvalidRequest`` if none."""
    customer = customers.load(conn, act.account_id, [asked.customer_id]).get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    act = act.at(customer.now(act.now), customer.clock_id)
    sold = _read_catalog(conn, act, asked, customer)
    _, invoice, _ = decide(conn, act, asked, customer, sold)
    if invoice is None:
        raise InvalidRequest(
            f"No upcoming invoices for customer: {customer.id}", code="invoice_upcoming_none"
        )
    return invoice


def update_subscription(
    conn: Connection, act: Act, subscription_id: str, changed: Mapping[str, Any]
) -> Subscription:
    """Change what bills nothing: metadata, description, payment method, whether it ends.

    ``changed`` has the subscription's own field names. Raises ``ActionNotAllowed`` for one that has
    ended (Stripe: only its metadata and cancellation details may change) or is incomplete and asked
    to end later.
    """
    before, customer = lock(conn, act, subscription_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    beyond = set(changed) - {"metadata", "cancellation_comment", "cancellation_feedback"}
    if before.status in ENDED and beyond:
        raise ActionNotAllowed(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="subscription_canceled",
        )
    if method_id := changed.get("default_payment_method_id"):
        collect.check_payment_method(conn, act, customer.id, method_id)
    after = rescheduled(replace(before, **with_stops(before, changed, act.now)), act.now)
    if after != before:
        agree_limits(conn, act, [(before, after)])
        subscriptions.update_many(conn, act.account_id, [after])
        announce(
            conn,
            act,
            [
                Announcement(
                    "customer.subscription.updated",
                    "subscription",
                    after.id,
                    after,
                    changes(before, after),
                )
            ],
        )
    return after


def cancel_subscription(
    conn: Connection,
    act: Act,
    subscription_id: str,
    *,
    comment: str | None = None,
    feedback: str | None = None,
) -> Subscription:
    """End the subscription now; usage that is not invoiced yet is not billed (Stripe).

    What was said before, when it was to end later, stays unless something else is said.
    """
    before, customer = lock(conn, act, subscription_id)
    act = act.at(customer.now(act.now), customer.clock_id)
    if before.status in ENDED:
        raise NotFound.of("subscription", subscription_id)
    said = replace(
        before,
        cancellation_comment=comment or before.cancellation_comment,
        cancellation_feedback=feedback or before.cancellation_feedback,
    )
    return cancel(conn, act, [said])[0]


def lock(conn: Connection, act: Act, subscription_id: str) -> tuple[Subscription, Customer]:
    """The subscription as it is once its customer is locked, and the customer.

    Raises ``NotFound``.
    """
    found = subscriptions.load(conn, act.account_id, [subscription_id]).get(subscription_id)
    if found is None:
        raise NotFound.of("subscription", subscription_id)
    locked = customers.lock(conn, act.account_id, [found.customer_id])
    current = subscriptions.load(conn, act.account_id, [subscription_id])
    return current[subscription_id], locked[found.customer_id]


def _at_customers_time(conn: Connection, act: Act, subscription_id: str) -> Act:
    subscription = subscriptions.load(conn, act.account_id, [subscription_id])[subscription_id]
    found = customers.load(conn, act.account_id, [subscription.customer_id])
    customer = found[subscription.customer_id]
    return act.at(customer.now(act.now), customer.clock_id)


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


def _read_catalog(
    conn: Connection, act: Act, asked: NewSubscription, customer: Customer
) -> Catalog:
    """What is sold, once it is known that it can be sold together."""
    if not asked.items:
        raise InvalidRequest(
            "Missing required param: items.", param="items", code="parameter_missing"
        )
    if len(asked.items) > ITEMS_MAX:
        raise InvalidRequest(f"A subscription can have at most {ITEMS_MAX} items.", param="items")
    sold = catalog.load_sold(conn, act.account_id, {item.price_id for item in asked.items})
    check_sold(asked, customer, sold)
    return sold


def check_sold(
    asked: NewSubscription, customer: Customer, sold: Catalog, *, kept: Container[str] = ()
) -> None:
    """Raises unless the items' prices can be sold together, and to the customer.

    Those that are ``kept`` from before may be inactive by now.
    """
    seen: set[str] = set()
    for i, item in enumerate(asked.items):
        at = ("items", i, "price")
        if item.price_id not in sold:
            raise NotFound.of("price", item.price_id, param=at)
        price = sold[item.price_id].price
        first = sold[asked.items[0].price_id].price
        if not price.active and price.id not in kept:
            raise InvalidRequest(
                "The price specified is inactive. This field only accepts active prices.",
                param=at,
            )
        if price.recurrence is None:
            raise InvalidRequest(
                "The price specified is set to `type=one_time` but this field only accepts prices "
                "with `type=recurring`.",
                param=at,
            )
        if price.id in seen:
            raise InvalidRequest(
                f"Cannot add multiple subscription items with the same price: '{price.id}'.",
                param=at,
            )
        seen.add(price.id)
        if price.metered and item.quantity is not None:
            raise InvalidRequest(
                f"Quantity should not be specified where usage_type is `metered`: '{price.id}'.",
                param=("items", i, "quantity"),
            )
        if price.currency != (asked.currency or first.currency):
            raise InvalidRequest(
                f"The price specified only supports `{price.currency}`. This doesn't match the "
                f"expected currency: `{asked.currency or first.currency}`.",
                param=at,
            )
        if customer.currency not in (None, price.currency):
            raise InvalidRequest(
                "You cannot combine currencies on a single customer. This customer is billed in "
                f"{customer.currency}.",
                param=at,
            )
    _check_intervals(asked, sold)


def _check_intervals(asked: NewSubscription, sold: Catalog) -> None:
    """Flexible: every interval a multiple of the shortest. Classic: all of them the same."""
    recurrences = [
        recurrence
        for item in asked.items
        if (recurrence := sold[item.price_id].price.recurrence) is not None
    ]
    classic = asked.billing_mode == BillingMode.CLASSIC
    base = recurrences[0] if classic else shortest(recurrences)
    for i, recurrence in enumerate(recurrences):
        if classic and recurrence != base:
            raise InvalidRequest(
                "The prices of a subscription in classic billing mode must have the same billing "
                "interval.",
                param=("items", i, "price"),
            )
        if not is_multiple(recurrence, base):
            raise InvalidRequest(
                "The billing intervals of a subscription's prices must be multiples of the "
                "shortest.",
                param=("items", i, "price"),
            )
