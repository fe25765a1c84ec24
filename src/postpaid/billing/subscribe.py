"""Start a subscription with its first period and invoice; change what may change of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.cancel import cancel, expire
from postpaid.billing.finalize import finalize
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, PaymentFailed
from postpaid.core.invoicing import GRACE, BillingReason, Invoice, draft, opening_lines
from postpaid.core.subscriptions import (
    ENDED,
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    Subscription,
    SubscriptionStatus,
    started_items,
)
from postpaid.core.values import replace
from postpaid.storage import (
    catalog,
    customers,
    invoices,
    payments,
    subscriptions,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import AttemptStatus

FIRST_PAYMENT_WITHIN = timedelta(hours=23)  # Stripe: after that an incomplete one expires
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


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A subscription asked for."""

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
    subscription, invoice = decide(act, asked, customer, sold)
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
    subscriptions.insert_many(conn, act.account_id, [subscription])
    open_windows(conn, act, [subscription], sold)
    announcements = [
        Announcement("customer.subscription.created", "subscription", subscription.id, subscription)
    ]
    if invoice:
        invoices.insert_many(conn, act.account_id, [invoice])
        announcements.append(Announcement("invoice.created", "invoice", invoice.id, invoice))
    announce(conn, act, announcements)
    if invoice is None or invoice.finalizes_at:
        return Begun(subscription.id, [], asked.payment_behavior)

    final = finalize(conn, act, [invoice], locked)
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
    act: Act, asked: NewSubscription, customer: Customer, sold: Catalog
) -> tuple[Subscription, Invoice | None]:
    """The subscription and its first invoice, if it owes anything; nothing is written."""
    now = act.now
    subscription_id = act.new_id("sub")
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
        start_at=now,
        cancel_at_period_end=asked.cancel_at_period_end,
        canceled_at=now if asked.cancel_at_period_end else None,
        ended_at=None,
        cancellation_reason="cancellation_requested" if asked.cancel_at_period_end else None,
        cancellation_comment=None,
        cancellation_feedback=None,
        default_payment_method_id=asked.default_payment_method_id,
        latest_invoice_id=None,
        description=asked.description,
        metadata=asked.metadata,
        created_at=now,
        items=tuple(_item(act, subscription_id, item, sold, now) for item in asked.items),
    )
    subscription = replace(subscription, items=started_items(subscription, sold))
    closes_at = min(item.period_end for item in subscription.items)
    try:
        lines = opening_lines(subscription, sold)
    except ValueError as unbillable:
        raise InvalidRequest(str(unbillable), param="items") from None
    if not lines:
        return replace(subscription, closes_at=closes_at), None

    charged = asked.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    invoice = draft(
        act.new_id("in"),
        subscription,
        [replace(line, id=act.new_id("il")) for line in lines],
        reason=BillingReason.SUBSCRIPTION_CREATE,
        period=(now, now),
        auto_advance=True,
        finalizes_at=None if charged else now + GRACE,
        now=now,
    )
    waits = charged and invoice.amount_due > 0
    return (
        replace(
            subscription,
            status=SubscriptionStatus.INCOMPLETE if waits else SubscriptionStatus.ACTIVE,
            closes_at=None if waits else closes_at,
            expires_at=now + FIRST_PAYMENT_WITHIN if waits else None,
            latest_invoice_id=invoice.id,
        ),
        invoice,
    )


def preview_new(conn: Connection, act: Act, asked: NewSubscription) -> Invoice:
    """The first invoice that ``subscribe`` would make. Raises ``InvalidRequest`` if none."""
    customer = customers.load(conn, act.account_id, [asked.customer_id]).get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    act = act.at(customer.now(act.now), customer.clock_id)
    _, invoice = decide(act, asked, customer, _read_catalog(conn, act, asked, customer))
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
    if before.status == SubscriptionStatus.INCOMPLETE and changed.get("cancel_at_period_end"):
        raise ActionNotAllowed(
            "An incomplete subscription has no period to end with: pay its invoice, or cancel it "
            "now.",
            param="cancel_at_period_end",
            code="subscription_incomplete",
        )
    if method_id := changed.get("default_payment_method_id"):
        collect.check_payment_method(conn, act, customer.id, method_id)
    after = replace(before, **changed)
    if after.cancel_at_period_end and not before.cancel_at_period_end:
        after = replace(after, canceled_at=act.now, cancellation_reason="cancellation_requested")
    elif before.cancel_at_period_end and not after.cancel_at_period_end:
        after = replace(after, canceled_at=None, cancellation_reason=None)
    if after != before:
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
    seen: set[str] = set()
    for i, item in enumerate(asked.items):
        at = ("items", i, "price")
        if item.price_id not in sold:
            raise NotFound.of("price", item.price_id, param=at)
        price = sold[item.price_id].price
        first = sold[asked.items[0].price_id].price
        if not price.active:
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
        if price.recurrence != first.recurrence:
            raise InvalidRequest(
                "The prices of a subscription must have the same billing interval.", param=at
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
    return sold
