"""Start a subscription with its first period and invoice; change what may change of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from postpaid.billing import collect
from postpaid.billing.agree_limits import agree_limits
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.cancel import cancel, expire
from postpaid.billing.check_sold import NewSubscription, PaymentBehavior, read_catalog
from postpaid.billing.decide_start import decide_start
from postpaid.billing.finalize import finalize
from postpaid.billing.gather_items import put_items_on
from postpaid.billing.imagine import NOTHING, Imagined, imagine
from postpaid.billing.manage_discounts import redeem
from postpaid.billing.open_windows import open_windows
from postpaid.billing.perform import Act
from postpaid.core.cycles import TRIAL_REMINDER, rescheduled
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound, PaymentFailed
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.stops import with_stops
from postpaid.core.subscriptions import ENDED, Subscription, SubscriptionAction, SubscriptionStatus
from postpaid.core.values import replace
from postpaid.storage import customers, invoices, payments, subscriptions
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import AttemptStatus


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
    sold = read_catalog(conn, act, asked, customer)
    if asked.default_payment_method_id:
        collect.check_payment_method(conn, act, customer.id, asked.default_payment_method_id)

    # Decide.
    subscription, invoice, chosen = decide_start(conn, act, asked, customer, sold)
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


def preview_new(
    conn: Connection, act: Act, asked: NewSubscription, *, imagined: Imagined = NOTHING
) -> Invoice:
    """The first invoice that ``subscribe`` would make. Raises ``InvalidRequest`` if none."""
    customer = customers.load(conn, act.account_id, [asked.customer_id]).get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    act = act.at(customer.now(act.now), customer.clock_id)
    sold = read_catalog(conn, act, asked, customer)
    _, invoice, chosen = decide_start(conn, act, asked, customer, sold, imagined=imagined)
    if invoice is None:
        raise InvalidRequest(
            f"No upcoming invoices for customer: {customer.id}", code="invoice_upcoming_none"
        )
    billed = replace(customer, currency=invoice.currency)
    unwritten = [*chosen.new, *imagined.discounts]
    return imagine(conn, act, [invoice], {customer.id: billed}, unwritten=unwritten)


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
