"""Start a subscription with its first period and invoice; change what may change of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from postpaid.billing import collect
from postpaid.billing.agree_limits import agree_limits
from postpaid.billing.announce import (
    Announcement,
    announce,
    customer_updated,
    subscription_updated,
)
from postpaid.billing.cancel import expire
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.check_not_billed import check_not_billed
from postpaid.billing.check_sold import NewSubscription, PaymentBehavior, read_catalog
from postpaid.billing.choose_method import check_payment_method, check_payment_methods
from postpaid.billing.decide_start import Started, decide_start, decide_starts
from postpaid.billing.explain_failure import failure_of
from postpaid.billing.finalize import finalize
from postpaid.billing.follow import follow
from postpaid.billing.gather_items import put_items_on
from postpaid.billing.imagine import NOTHING, Imagined, imagine
from postpaid.billing.manage_discounts import redeem
from postpaid.billing.manage_retry_schedules import check_retry_schedules
from postpaid.billing.open_windows import open_windows
from postpaid.billing.pending_set_ups import begun as set_ups_begun
from postpaid.billing.pending_set_ups import with_set_ups
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.core.cycles import TRIAL_REMINDER, rescheduled
from postpaid.core.errors import ActionNotAllowed, InvalidRequest, NotFound
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.stops import with_stops
from postpaid.core.subscriptions import (
    ENDED,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    with_collection,
)
from postpaid.core.values import replace
from postpaid.storage import (
    customers,
    invoice_items,
    invoices,
    payments,
    setup_intents,
    subscriptions,
)
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
    """``subscribe_all`` for one."""
    return subscribe_all(conn, act, [asked])[0]


def subscribe_all(
    conn: Connection, act: Act, asked: Sequence[NewSubscription], *, agreed: bool = False
) -> list[Begun]:
    """Write the subscriptions and their first invoices; ``finish`` collects after the commit.

    They are of different customers, all of whom live at one time. Licensed items pay their first
    period now, metered ones owe nothing yet. With automatic collection the invoice is final at once
    and the subscription incomplete until it is paid; a sent invoice stays a draft for the grace
    hour and the subscription is active. The number of statements does not depend on how many.
    ``agreed`` says that a schedule sold them before, so a customer may be blocked since.

    Raises ``NotFound``, ``InvalidRequest`` and ``ActionNotAllowed`` with the parameter at fault.
    """
    # Read.
    locked = customers.lock(conn, act.account_id, {each.customer_id for each in asked})
    for each in asked:
        customer = locked.get(each.customer_id)
        if customer is None or customer.deleted_at:
            raise NotFound.of("customer", each.customer_id, param="customer")
        if not agreed:
            check_customer_not_blocked(customer)
    moments = {(each.now(act.now), each.clock_id) for each in locked.values()}
    assert len(moments) == 1, "the customers live at one time"
    wall, act = act.now, act.at(*moments.pop())
    sold = read_catalog(conn, act, asked, locked)
    check_payment_methods(
        conn,
        act,
        [
            (each.customer_id, each.default_payment_method_id)
            for each in asked
            if each.default_payment_method_id
        ],
    )
    check_retry_schedules(conn, act, [each.retry_schedule_id for each in asked])

    # Decide.
    made = decide_starts(conn, act, asked, locked, sold)
    made, set_ups = with_set_ups(act, asked, made, locked)
    for each, one in zip(asked, made, strict=True):
        if (
            one.subscription.status == SubscriptionStatus.INCOMPLETE
            and each.payment_behavior == PaymentBehavior.ERROR_IF_INCOMPLETE
            and not each.default_payment_method_id
            and not locked[each.customer_id].default_payment_method_id
        ):
            raise InvalidRequest(
                "This customer has no attached payment source or default payment method.",
                code="resource_missing",
            )

    begun = check_not_billed(conn, act, [each.subscription for each in made], sold, agreed=agreed)
    made = [replace(each, subscription=one) for each, one in zip(made, begun, strict=True)]

    # Write.
    said = []
    for subscription in begun:
        buyer = locked[subscription.customer_id]
        if buyer.currency != subscription.currency:
            locked[buyer.id] = replace(buyer, currency=subscription.currency)
            said.append(customer_updated(buyer, locked[buyer.id]))
    customers.update_invoicing(conn, act.account_id, list(locked.values()))
    redeem(conn, act, *(each.chosen for each in made))
    subscriptions.insert_many(conn, act.account_id, begun)
    setup_intents.insert_many(conn, act.account_id, set_ups)
    open_windows(conn, act, begun, sold)
    drafts = [each.invoice for each in made if each.invoice]
    if drafts:
        extras = [item for each in made for item in each.extras]
        invoice_items.insert_many(conn, act.account_id, extras)
        invoices.insert_many(conn, act.account_id, drafts)
        put_items_on(conn, act, drafts)
    said += [one for each in made for one in _announcements(each, act.now)]
    announce(conn, act, said + set_ups_begun(set_ups))
    payment_of = {
        subscription.id: each.payment_behavior
        for each, subscription in zip(asked, begun, strict=True)
    }
    on_session = all(each.on_session for each in asked)
    trying = _begin_payments(conn, act, made, payment_of, locked, wall=wall, on_session=on_session)
    return [Begun(each.id, trying.get(each.id, []), payment_of[each.id]) for each in begun]


def _begin_payments(
    conn: Connection,
    act: Act,
    made: Sequence[Started],
    payment_of: Mapping[str, PaymentBehavior],
    locked: Mapping[str, Customer],
    *,
    wall: datetime,
    on_session: bool,
) -> dict[str, list[str]]:
    """Make final what is charged automatically; the attempts at it, by subscription."""
    ready = [each.invoice for each in made if each.invoice and not each.invoice.finalizes_at]
    if not ready:
        return {}
    final = finalize(conn, act, ready, locked)
    waiting = {
        each.subscription.id
        for each in made
        if each.subscription.status == SubscriptionStatus.INCOMPLETE
    }
    settled_by_credit = [
        each
        for each in final
        if each.status == InvoiceStatus.PAID and each.subscription_id in waiting
    ]
    follow(conn, act, settled_by_credit, SubscriptionAction.PAY)
    due = [
        each
        for each in final
        if collect.is_collected_automatically(each)
        and payment_of[each.subscription_id or ""] != PaymentBehavior.DEFAULT_INCOMPLETE
    ]
    attempts = collect.attempt(
        conn, act, due, locked, wall=wall, automatic=True, on_session=on_session
    )
    subscription_of = {each.id: each.subscription_id or "" for each in final}
    trying: dict[str, list[str]] = {}
    for attempt in attempts:
        trying.setdefault(subscription_of[attempt.invoice_id or ""], []).append(attempt.id)
    return trying


def _announcements(made: Started, now: datetime) -> list[Announcement]:
    subscription, invoice = made.subscription, made.invoice
    happened = ["created"]
    if subscription.trial_end_at and subscription.trial_end_at - TRIAL_REMINDER <= now:
        happened.append("trial_will_end")  # Stripe: one that is shorter says so at once
    said = [
        Announcement(f"customer.subscription.{each}", "subscription", subscription.id, subscription)
        for each in happened
    ]
    if invoice:
        said.insert(1, Announcement("invoice.created", "invoice", invoice.id, invoice))
    items = [
        Announcement("invoiceitem.created", "invoiceitem", each.id, each) for each in made.extras
    ]
    return [*said[:1], *items, *said[1:]]


def finish(database: Database, act: Act, begun: Begun) -> None:
    """Make the first payment; safe to repeat.

    Raises ``PaymentFailed`` when it fails and was asked to be an error; the subscription is over
    then and its invoice void.
    """
    with database.connection() as conn:
        attempts = payments.load(conn, act.account_id, begun.attempt_ids)
        act = _at_customers_time(conn, act, begun.subscription_id)
    pending = [each for each in attempts.values() if each.status == AttemptStatus.PENDING]
    settle(database, act, pending)
    if begun.payment_behavior != PaymentBehavior.ERROR_IF_INCOMPLETE or not attempts:
        return
    with database.transaction() as conn:
        subscription, _ = lock(conn, act, begun.subscription_id)
        [failed] = payments.load(conn, act.account_id, begun.attempt_ids).values()
        if failed.status == AttemptStatus.PROCESSING:
            return  # a bank takes days, in which it is incomplete
        if subscription.status == SubscriptionStatus.INCOMPLETE:
            expire(conn, act, [subscription])
        elif subscription.status != SubscriptionStatus.INCOMPLETE_EXPIRED:
            return
    if failed.status == AttemptStatus.ACTION_REQUIRED:
        settle(database, act, [failed])  # which gives it up at the gateway
    raise failure_of(failed, "subscription")


def preview_new(
    conn: Connection,
    act: Act,
    asked: NewSubscription,
    *,
    imagined: Imagined = NOTHING,
    at: datetime | None = None,
) -> Invoice:
    """The first invoice that ``subscribe`` would make, now or ``at`` a later time.

    Raises ``InvalidRequest`` if none.
    """
    customer = customers.load(conn, act.account_id, [asked.customer_id]).get(asked.customer_id)
    if customer is None or customer.deleted_at:
        raise NotFound.of("customer", asked.customer_id, param="customer")
    act = act.at(at or customer.now(act.now), customer.clock_id)
    sold = read_catalog(conn, act, [asked], {customer.id: customer})
    made = decide_start(conn, act, asked, customer, sold, imagined=imagined)
    invoice = made.invoice
    if invoice is None:
        raise InvalidRequest(
            f"No upcoming invoices for customer: {customer.id}", code="invoice_upcoming_none"
        )
    billed = replace(customer, currency=invoice.currency)
    unwritten = [*made.chosen.new, *imagined.discounts]
    return imagine(conn, act, [invoice], {customer.id: billed}, unwritten=unwritten)


def update_subscription(
    conn: Connection, act: Act, subscription_id: str, changed: Mapping[str, Any]
) -> Subscription:
    """Change what bills nothing: metadata, description, how it is collected, whether it ends.

    ``changed`` has the subscription's own field names. Raises ``ActionNotAllowed`` for one that has
    ended (Stripe: only its metadata and cancellation details may change) or is incomplete (only its
    metadata and what it pays with), and ``InvalidRequest`` for terms that do not fit.
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
        check_payment_method(conn, act, customer.id, method_id)
    check_retry_schedules(conn, act, [changed.get("retry_schedule_id")])
    fields = with_collection(before, with_stops(before, changed, act.now))
    if before.status == SubscriptionStatus.INCOMPLETE and beyond - {"default_payment_method_id"}:
        raise ActionNotAllowed(
            "An incomplete subscription can only update its metadata and default_payment_method. "
            "Pay its invoice, or cancel it now.",
            code="subscription_incomplete",
        )
    after = rescheduled(replace(before, **fields), act.now)
    if after != before:
        agree_limits(conn, act, [(before, after)])
        subscriptions.update_many(conn, act.account_id, [after])
        announce(conn, act, [subscription_updated(before, after)])
    return after


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
