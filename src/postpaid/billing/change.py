"""Change running subscriptions: their items, quantities, prices and anchors, billed as was asked.

    changed = change(conn, act, [Change(subscription_id, items=[ItemChange(id, quantity=3)])])
    ... commit ...
    finish(database, act, changed[0])

An invoice that a change makes at once is final at once, and paid as a first one is: its attempt is
written with the change, and made by ``finish`` after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.billing import collect
from postpaid.billing.announce import Announcement, announce
from postpaid.billing.apply_updates import hold, write_changed
from postpaid.billing.cancel import cancel
from postpaid.billing.compose import compose
from postpaid.billing.decide_change import decide, decide_end
from postpaid.billing.drop_updates import discard
from postpaid.billing.explain_failure import UNPAID, WAITED, failure_of
from postpaid.billing.finalize import finalize
from postpaid.billing.follow import follow_settled
from postpaid.billing.gather_items import gather_items
from postpaid.billing.log_changes import terms_of
from postpaid.billing.measure import measure
from postpaid.billing.move_items import Decision, Known
from postpaid.billing.net_prices import net_prices
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.core.changes import Change, ChangePayment
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.lines import obligation_of
from postpaid.core.prorations import Charge
from postpaid.core.subscriptions import (
    ENDED,
    RENEWING,
    Catalog,
    Item,
    Subscription,
    SubscriptionAction,
    SubscriptionStatus,
    next_status,
)
from postpaid.core.values import replace
from postpaid.storage import (
    catalog,
    charges,
    customers,
    invoice_items,
    invoices,
    payments,
    subscriptions,
    usage_totals,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import AttemptStatus

HOLDING = frozenset({ChangePayment.ERROR_IF_INCOMPLETE, ChangePayment.PENDING_IF_INCOMPLETE})


@dataclass(frozen=True, slots=True)
class Changed:
    """A subscription that is changed, and the attempts at what it owes for that, not made yet."""

    subscription_id: str
    invoice_id: str | None = None
    attempt_ids: list[str] = field(default_factory=list)
    payment: ChangePayment = ChangePayment.ALLOW_INCOMPLETE


def change(
    conn: Connection, act: Act, asked: Sequence[Change], *, on_session: bool = False
) -> list[Changed]:
    """Make the changes, of one customer's or one clock's subscriptions, each named once.

    A change that is to wait for its payment is held: the subscription is as before, with the change
    as its pending update. An update that is pending from before is dropped. ``on_session``: the
    customer is there to authenticate its payment. Raises what ``decide`` raises, and ``NotFound``.
    """
    if not asked:
        return []
    # Read.
    found, locked, wall, act = lock_all(conn, act, [each.subscription_id for each in asked])
    found, locked = drop_pending(conn, act, found, locked)
    known = read_known(conn, act, list(found.values()), asked)

    # Decide.
    decisions = decide_all(conn, act, asked, found, locked, known)
    drafts = [each.invoice for each in decisions if each.invoice]
    composed = {each.id: each for each in compose(conn, act, drafts, locked)}

    # Write.
    write_bills(conn, act, decisions, composed)
    final = finalize_bills(conn, act, composed.values(), locked)
    payment_of = {each.subscription_id: each.payment for each in asked}
    held = [
        each
        for each in decisions
        if payment_of[each.before.id] in HOLDING
        and each.invoice is not None
        and _is_owing(final.get(each.invoice.id))
    ]
    made = [each for each in decisions if each not in held]
    made = [_left_unpaid(each, payment_of[each.before.id], final) for each in made]
    terms = {
        each.before.id: terms_of(one, each) for one, each in zip(asked, decisions, strict=True)
    }
    write_changed(conn, act, [(each.before, each.after) for each in made], known.sold, terms)
    hold(conn, act, [(each.before, each.after) for each in held], terms)
    follow_settled(conn, act, list(final.values()))
    attempts = collect.attempt(
        conn,
        act,
        [
            invoice
            for invoice in final.values()
            if collect.is_collected_automatically(invoice)
            and payment_of[invoice.subscription_id or ""] != ChangePayment.DEFAULT_INCOMPLETE
        ],
        locked,
        wall=wall,
        automatic=True,
        on_session=on_session,
    )
    trying: dict[str, list[str]] = {}
    for attempt in attempts:
        trying.setdefault(attempt.invoice_id or "", []).append(attempt.id)
    for each in held:
        error = payment_of[each.before.id] == ChangePayment.ERROR_IF_INCOMPLETE
        if error and each.invoice and each.invoice.id not in trying:
            raise InvalidRequest(
                "This customer has no attached payment source or default payment method.",
                code="resource_missing",
            )
    return [
        Changed(
            each.before.id,
            each.invoice.id if each.invoice else None,
            trying.get(each.invoice.id, []) if each.invoice else [],
            payment_of[each.before.id],
        )
        for each in decisions
    ]


def finish(database: Database, act: Act, changed: Changed) -> None:
    """Make the payment of a change; safe to repeat.

    Raises ``PaymentFailed`` when it fails and was asked to be an error; nothing has changed then,
    and the invoice is void.
    """
    with database.connection() as conn:
        attempts = payments.load(conn, act.account_id, changed.attempt_ids)
        found = subscriptions.load(conn, act.account_id, [changed.subscription_id])
        customer_id = found[changed.subscription_id].customer_id
        customer = customers.load(conn, act.account_id, [customer_id])[customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    pending = [each for each in attempts.values() if each.status == AttemptStatus.PENDING]
    settle(database, act, pending)
    if changed.payment != ChangePayment.ERROR_IF_INCOMPLETE or not attempts:
        return
    with database.transaction() as conn:
        customers.lock(conn, act.account_id, [customer_id])
        attempts = payments.load(conn, act.account_id, changed.attempt_ids)
        [last] = attempts.values()
        if last.status not in UNPAID | WAITED:
            return
        found = subscriptions.load(conn, act.account_id, [changed.subscription_id])
        waiting = [
            each
            for each in found.values()
            if each.pending_update and each.pending_update["invoice_id"] == changed.invoice_id
        ]
        discard(conn, act, waiting)
    if last.status == AttemptStatus.ACTION_REQUIRED:
        settle(database, act, [last])  # which gives it up at the gateway
    raise failure_of(last, "subscription")


def cancel_now(
    conn: Connection,
    act: Act,
    subscription_id: str,
    *,
    invoice_now: bool = False,
    prorate: bool = False,
    comment: str | None = None,
    feedback: str | None = None,
) -> Changed:
    """End the subscription now; ``finish`` collects its last invoice after the commit.

    ``invoice_now`` bills the usage that is not billed yet and what waits, ``prorate`` credits
    unused licences: on that invoice, or else as an invoice item that waits. What was said before,
    when it was to end later, stays unless something else is said. Raises ``NotFound``.
    """
    # Read.
    found, locked, wall, act = lock_all(conn, act, [subscription_id])
    found, locked = drop_pending(conn, act, found, locked)
    [before] = found.values()
    if before.status in ENDED:
        raise NotFound.of("subscription", subscription_id)
    before = replace(
        before,
        cancellation_comment=comment or before.cancellation_comment,
        cancellation_feedback=feedback or before.cancellation_feedback,
    )
    if before.status == SubscriptionStatus.INCOMPLETE or not (invoice_now or prorate):
        cancel(conn, act, [before])
        return Changed(subscription_id)
    known = read_known(conn, act, [before], ())

    # Decide.
    nets = net_prices(conn, act, [(before, before)], known.sold, locked) if prorate else {}
    known = replace(known, nets=nets)
    decision = decide_end(act, before, known, invoice_now=invoice_now, prorate=prorate)
    drafts = [decision.invoice] if decision.invoice else []
    composed = {each.id: each for each in compose(conn, act, drafts, locked)}

    # Write.
    cancel(conn, act, [before if not drafts else replace(before, latest_invoice_id=drafts[0].id)])
    write_bills(conn, act, [decision], composed)
    final = finalize_bills(conn, act, composed.values(), locked)
    attempts = collect.attempt(
        conn,
        act,
        [each for each in final.values() if collect.is_collected_automatically(each)],
        locked,
        wall=wall,
        automatic=True,
    )
    invoice_id = drafts[0].id if drafts else None
    return Changed(subscription_id, invoice_id, [each.id for each in attempts])


# ─── Read ────────────────────────────────────────────────────────────────────────────────────


def lock_all(
    conn: Connection, act: Act, ids: Sequence[str]
) -> tuple[dict[str, Subscription], dict[str, Customer], datetime, Act]:
    """The subscriptions as they are once their customers are locked, and the act at their time."""
    seen = subscriptions.load(conn, act.account_id, ids)
    for subscription_id in ids:
        if subscription_id not in seen:
            raise NotFound.of("subscription", subscription_id)
    assert len(set(ids)) == len(ids), "a subscription is changed once at a time"
    locked = customers.lock(
        conn, act.account_id, sorted({each.customer_id for each in seen.values()})
    )
    found = subscriptions.load(conn, act.account_id, ids)
    moments = {(each.now(act.now), each.clock_id) for each in locked.values()}
    assert len(moments) == 1, "the subscriptions live at one time"
    [(now, clock_id)] = moments
    return found, locked, act.now, act.at(now, clock_id)


def drop_pending(
    conn: Connection,
    act: Act,
    found: Mapping[str, Subscription],
    locked: Mapping[str, Customer],
) -> tuple[dict[str, Subscription], dict[str, Customer]]:
    """The subscriptions without their pending updates, and the customers as that leaves them.

    An update's invoice that is void gives back what a balance paid of it.
    """
    waiting = [each for each in found.values() if each.pending_update]
    if not waiting:
        return dict(found), dict(locked)
    discard(conn, act, waiting)
    return (
        subscriptions.load(conn, act.account_id, found),
        customers.load(conn, act.account_id, locked),
    )


def read_known(
    conn: Connection, act: Act, before: Sequence[Subscription], asked: Sequence[Change]
) -> Known:
    """All that the changes are decided by, in a constant number of statements."""
    items = [item for subscription in before for item in subscription.items]
    price_ids = {item.price_id for item in items} | {item.billing_price_id for item in items}
    price_ids |= {each.price_id for one in asked for each in one.items if each.price_id}
    price_ids |= {each.price_id for one in asked for each in one.extras}
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    return Known(
        sold=sold,
        charges=_charges(conn, act, items, sold),
        used=_usage(conn, act, before, sold),
        pending=gather_items(conn, act, before),
    )


def _charges(
    conn: Connection, act: Act, items: Sequence[Item], sold: Catalog
) -> dict[str, list[Charge]]:
    """What paid for each licence's running period: what it says, or the lines of its period."""
    licensed = [item for item in items if not sold[item.billing_price_id].price.metered]
    ids = {key for item in licensed for key in item.charge_ids or ()}
    by_period = [obligation_of(item).name for item in licensed if item.charge_ids is None]
    found = charges.load(conn, act.account_id, ids, by_period)
    by_key: dict[str, list[Charge]] = {}
    for each in found:
        for key in {each.id, each.obligation}:  # of an invoice item both are the same
            by_key.setdefault(key, []).append(each)
    return {
        item.id: [
            each
            for key in ([obligation_of(item).name] if item.charge_ids is None else item.charge_ids)
            for each in by_key.get(key, ())
        ]
        for item in licensed
    }


def _usage(
    conn: Connection, act: Act, before: Sequence[Subscription], sold: Catalog
) -> dict[str, Decimal]:
    """What was used of each metered item from where it is not billed yet until now."""
    windows = {}
    for subscription in before:
        for item in subscription.items:
            meter_id = sold[item.billing_price_id].price.meter_id
            if meter_id is not None and item.usage_start < act.now:
                windows[obligation_of(item).name] = usage_totals.Window(
                    subscription.customer_id, meter_id, item.usage_start, act.now
                )
    return measure(conn, act.account_id, windows, now=act.now)


def decide_all(
    conn: Connection,
    act: Act,
    asked: Sequence[Change],
    found: Mapping[str, Subscription],
    owners: Mapping[str, Customer],
    known: Known,
) -> list[Decision]:
    """What each change comes to: decided again where there turn out to be discounts."""

    def decided(known: Known) -> list[Decision]:
        return [
            decide(
                act,
                each,
                before := found[each.subscription_id],
                owners[before.customer_id],
                known,
                alone=each.payment in HOLDING,
            )
            for each in asked
        ]

    decisions = decided(known)
    prorating = [(each.before, each.after) for each in decisions if each.made]
    nets = net_prices(conn, act, prorating, known.sold, owners)
    return decided(replace(known, nets=nets)) if nets else decisions


# ─── Write ───────────────────────────────────────────────────────────────────────────────────


def write_bills(
    conn: Connection, act: Act, decisions: Sequence[Decision], drafts: Mapping[str, Invoice]
) -> None:
    """Write what the changes bill: invoice items, and the invoices that are made at once."""
    made = [item for each in decisions for item in each.made]
    invoice_items.insert_many(conn, act.account_id, made)
    invoices.insert_many(conn, act.account_id, list(drafts.values()))
    ours = {item.id for item in made}
    waiting = {
        line.invoice_item_id: invoice.id
        for invoice in drafts.values()
        for line in invoice.lines
        if line.invoice_item_id and line.invoice_item_id not in ours
    }
    invoice_items.put_on(conn, act.account_id, waiting)
    announce(
        conn,
        act,
        [Announcement("invoiceitem.created", "invoiceitem", each.id, each) for each in made]
        + [Announcement("invoice.created", "invoice", each.id, each) for each in drafts.values()],
    )


def finalize_bills(
    conn: Connection, act: Act, drafts: Iterable[Invoice], locked: Mapping[str, Customer]
) -> dict[str, Invoice]:
    """Those that are charged automatically, made final; a sent one keeps its hour of grace.

    What is not collected for now stays a draft, too.
    """
    ready = [each for each in drafts if each.finalizes_at is None and each.auto_advance]
    if not ready:
        return {}
    return {each.id: each for each in finalize(conn, act, ready, locked, parks=False)}


def _is_owing(invoice: Invoice | None) -> bool:
    return invoice is not None and invoice.status == InvoiceStatus.OPEN


def _left_unpaid(
    decision: Decision, payment: ChangePayment, final: Mapping[str, Invoice]
) -> Decision:
    """Stripe: one whose payment is not even tried is past due until it is."""
    after = decision.after
    owes = decision.invoice is not None and _is_owing(final.get(decision.invoice.id))
    if payment != ChangePayment.DEFAULT_INCOMPLETE or not owes or after.status not in RENEWING:
        return decision
    status = next_status(after.status, SubscriptionAction.MISS_PAYMENT)
    return replace(decision, after=replace(after, status=status))
