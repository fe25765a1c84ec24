"""What gateways said of attempts → payment intents, invoices, the ledger, and what follows.

Once each: whoever comes second with an outcome finds the attempt settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from postpaid.billing.adopt_methods import adopt_methods
from postpaid.billing.announce import Announcement, announce, invoice_updated
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.keep_excess import Excess, keep_excess
from postpaid.billing.keep_methods import keep_methods
from postpaid.billing.open_intents import intent_for_the_rest
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.billing.schedule_retries import schedule_retries
from postpaid.core import payment_intents as intents
from postpaid.core.invoice_payments import of_intent
from postpaid.core.invoicing import Invoice, InvoiceStatus, paid_in_part
from postpaid.core.ledger import Transaction, payment, unapplied_payment
from postpaid.core.payment_intents import PaymentIntent, PaymentIntentStatus
from postpaid.core.subscriptions import SubscriptionAction
from postpaid.core.values import replace
from postpaid.outside.gateways.protocol import (
    Absent,
    Declined,
    Outcome,
    Processing,
    RequiresAction,
    Succeeded,
)
from postpaid.storage import customers, invoices, payment_intents, payments
from postpaid.storage.database import Connection
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

RECHECK = timedelta(minutes=10)  # by the wall clock: so often is asked what a bank or customer did
AUTHENTICATION_REQUIRED = "authentication_required"  # Stripe's code for a customer who is away
PAYABLE = (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
FINAL = (*PAYABLE, InvoiceStatus.PAID, InvoiceStatus.VOID)  # money comes to any of them

Answer: TypeAlias = Outcome | Absent


@dataclass(slots=True)
class _Effects:
    """What the outcomes of a batch come to, before anything of it is written."""

    invoices: dict[str, Invoice] = field(default_factory=dict)  # as they are by now
    intents: dict[str, PaymentIntent] = field(default_factory=dict)
    paid: dict[str, Invoice] = field(default_factory=dict)
    missed: dict[str, Invoice] = field(default_factory=dict)
    received: list[Transaction] = field(default_factory=list)
    excess: list[Excess] = field(default_factory=list)
    made: list[PaymentIntent] = field(default_factory=list)
    adopted: dict[str, str] = field(default_factory=dict)  # customers by what is to pay again
    first: set[str] = field(default_factory=set)  # the attempts of which nothing was known before
    said: list[Announcement] = field(default_factory=list)


def record_outcomes(
    conn: Connection,
    act: Act,
    attempts: Sequence[PaymentAttempt],
    outcomes: Mapping[str, Answer],
) -> None:
    """Write known outcomes of attempts, by their ids; ``Absent``: it is not charged, ever."""
    if not attempts:
        return
    # Read. The customers are locked first, and only then is anything believed.
    account_id = act.account_id
    customers.hold(conn, account_id, [each.customer_id for each in attempts if each.customer_id])
    concluded = [_concluded(each, outcomes[each.id], act.now) for each in attempts]
    found = payment_intents.lock(conn, account_id, {each.payment_intent_id for each in concluded})
    fresh = payments.settle(conn, account_id, concluded)
    invoice_ids = [each.invoice_id for each in concluded if each.invoice_id]
    effects = _Effects(
        invoices=invoices.load(conn, account_id, invoice_ids, with_lines=False),
        intents=found,
        first={each.id for each in attempts if each.status == AttemptStatus.PENDING},
    )

    # Decide.
    for each in concluded:
        if each.id in fresh:
            _decide(act, each, effects)

    by_ourselves = {each.invoice_id for each in concluded if each.automatic}
    missed_by_us = [each for key, each in effects.missed.items() if key in by_ourselves]
    _schedule(conn, act, missed_by_us, effects)

    # Write.
    changed = {each.invoice_id for each in concluded if each.id in fresh and each.invoice_id}
    touched = {each.payment_intent_id for each in concluded if each.id in fresh}
    invoices.update_many(
        conn, account_id, [effects.invoices[key] for key in sorted(changed)], before=FINAL
    )
    payment_intents.insert_many(conn, account_id, effects.made)
    payment_intents.update_many(conn, account_id, [effects.intents[key] for key in sorted(touched)])
    post(conn, act, effects.received)
    announce(conn, act, effects.said)
    keep_excess(conn, act, effects.excess)
    adopt_methods(conn, act, effects.adopted)
    paid_now, missed = list(effects.paid.values()), list(effects.missed.values())
    follow(conn, act, paid_now, SubscriptionAction.PAY)
    follow(conn, act, missed, SubscriptionAction.MISS_PAYMENT)
    keep_methods(conn, act, _paid_with(concluded, fresh, effects))
    mark_delinquent(conn, act, paid_now, delinquent=False)
    mark_delinquent(conn, act, missed_by_us, delinquent=True)


def _paid_with(
    concluded: Sequence[PaymentAttempt], fresh: set[str], effects: _Effects
) -> dict[str, str]:
    """What subscriptions were just paid with, by their ids."""
    return {
        invoice.subscription_id: each.payment_method_id
        for each in concluded
        if each.id in fresh
        and each.status == AttemptStatus.SUCCEEDED
        and (invoice := effects.invoices.get(each.invoice_id or "")) is not None
        and invoice.subscription_id is not None
    }


def _decide(act: Act, attempt: PaymentAttempt, effects: _Effects) -> None:
    """What one outcome does to its payment intent, and to its invoice if it has one."""
    key = attempt.payment_intent_id
    intent = effects.intents[key]
    invoice = effects.invoices.get(attempt.invoice_id or "")
    said = effects.said
    if attempt.status == AttemptStatus.CANCELED:
        return
    if intent.status == PaymentIntentStatus.CANCELED and attempt.status != AttemptStatus.SUCCEEDED:
        if attempt.status == AttemptStatus.FAILED:
            said.append(_of_charge("failed", attempt))
        return  # nobody wants it any more, and it stays given up
    if attempt.status == AttemptStatus.SUCCEEDED:
        intent = intents.succeeded(
            intent, attempt.id, attempt.payment_method_id, amount=attempt.amount, now=act.now
        )
        said += _of_intent("succeeded", intent), _of_charge("succeeded", attempt)
        if attempt.customer_id and _pays_again(attempt, intent, invoice):
            effects.adopted[attempt.payment_method_id] = attempt.customer_id
        intent = _receive(act, attempt, intent, invoice, effects)
    elif attempt.status == AttemptStatus.FAILED:
        intent = intents.declined(intent, attempt.id, _error(attempt))
        said += _of_intent("payment_failed", intent), _of_charge("failed", attempt)
        if invoice is not None:
            intent = _as_is_owed(act, intent, invoice, effects)
        names = ["invoice.payment_failed"]
        if attempt.failure_code == AUTHENTICATION_REQUIRED:
            names.append("invoice.payment_action_required")  # the customer is to come and confirm
        _miss(attempt, invoice, effects, *names)
    elif attempt.status == AttemptStatus.ACTION_REQUIRED:
        intent = intents.waiting_for_customer(
            intent, attempt.id, attempt.payment_method_id, attempt.next_action or {}
        )
        said.append(_of_intent("requires_action", intent))
        _miss(attempt, invoice, effects, "invoice.payment_action_required")
    elif attempt.status == AttemptStatus.PROCESSING:
        intent = intents.processing(intent, attempt.id, attempt.payment_method_id)
        said += _of_intent("processing", intent), _of_charge("pending", attempt)
        if invoice is not None and invoice.status in PAYABLE:
            effects.invoices[invoice.id] = _tried(invoice, attempt, effects)
    effects.intents[key] = intent


def _pays_again(attempt: PaymentAttempt, intent: PaymentIntent, invoice: Invoice | None) -> bool:
    """Whether what paid is to be kept; what we charged by ourselves is the customer's anyway."""
    for_subscription = invoice is not None and invoice.subscription_id is not None
    return intent.setup_future_usage is not None or (for_subscription and not attempt.automatic)


def _receive(
    act: Act,
    attempt: PaymentAttempt,
    intent: PaymentIntent,
    invoice: Invoice | None,
    effects: _Effects,
) -> PaymentIntent:
    """Money came: for the invoice as far as something is left to pay, beyond that for its customer.

    An invoice may have been paid otherwise, voided or lowered while the gateway was asked. What is
    then still left of it is asked for with another payment intent.
    """
    if invoice is None:
        came = unapplied_payment(
            attempt.id, attempt.customer_id, attempt.amount, attempt.currency, out_of_band=False
        )
        effects.received.append(came)
        return intent
    is_payable = invoice.status in PAYABLE
    applied = min(attempt.amount, invoice.amount_remaining) if is_payable else 0
    excess = attempt.amount - applied
    if excess:
        effects.excess.append(Excess.of(invoice, excess, source_id=attempt.id))
    intent = replace(intent, amount_applied=applied)
    if not is_payable:
        late = replace(invoice, amount_overpaid=invoice.amount_overpaid + excess)
        effects.invoices[invoice.id] = late
        effects.said += [invoice_updated(invoice, late), _of_payment(intent, late)]
        return intent

    tried = _tried(invoice, attempt, effects)
    after = paid_in_part(tried, now=act.now, amount=applied)
    after = replace(after, amount_overpaid=after.amount_overpaid + excess)
    names = ["invoice.updated"]
    if after.status == InvoiceStatus.PAID:
        effects.paid[after.id] = after
        names = ["invoice.paid", "invoice.payment_succeeded"]
        if excess:
            names.append("invoice.overpaid")
    elif intent.id == after.payment_intent_id:
        rest = intent_for_the_rest(act, after)
        after = replace(after, payment_intent_id=rest.id)
        effects.made.append(rest)
        effects.said.append(_of_intent("created", rest))
    effects.invoices[invoice.id] = after
    effects.received.append(payment(invoice, applied, source_id=attempt.id))
    effects.said += [Announcement(name, "invoice", after.id, after) for name in names]
    effects.said.append(_of_payment(intent, after))
    return intent


def _as_is_owed(
    act: Act, intent: PaymentIntent, invoice: Invoice, effects: _Effects
) -> PaymentIntent:
    """The declined intent asks for what remains by now, or for nothing where nothing does."""
    if invoice.status in PAYABLE:
        return replace(intent, amount=invoice.amount_remaining)
    over = intents.canceled(intent, now=act.now, reason=None)
    effects.said.append(_of_intent("canceled", over))
    return over


def _miss(
    attempt: PaymentAttempt, invoice: Invoice | None, effects: _Effects, *event_types: str
) -> None:
    if invoice is None or invoice.status not in PAYABLE:
        return
    after = _tried(invoice, attempt, effects)
    effects.invoices[after.id] = after
    if after.status == InvoiceStatus.OPEN:  # what was written off is missed by nobody any more
        effects.missed[after.id] = after
    effects.said += [Announcement(each, "invoice", after.id, after) for each in event_types]


def _schedule(
    conn: Connection, act: Act, missed_by_us: Sequence[Invoice], effects: _Effects
) -> None:
    """When the invoices are tried again, which what is said of them says too."""
    again = {each.id: each for each in schedule_retries(conn, act, missed_by_us)}
    effects.invoices |= again
    effects.missed |= again
    effects.said = [
        replace(each, snapshot=again[each.object_id])
        if each.object_type == "invoice" and each.object_id in again
        else each
        for each in effects.said
    ]


def _tried(invoice: Invoice, attempt: PaymentAttempt, effects: _Effects) -> Invoice:
    """Stripe: the first try counts whoever made it, after it only our own; each counts once."""
    counts = attempt.id in effects.first and (attempt.automatic or not invoice.attempt_count)
    return replace(
        invoice, attempted=True, attempt_count=invoice.attempt_count + (1 if counts else 0)
    )


def _concluded(attempt: PaymentAttempt, outcome: Answer, now: datetime) -> PaymentAttempt:
    if isinstance(outcome, Succeeded):
        return replace(
            attempt,
            status=AttemptStatus.SUCCEEDED,
            gateway_reference=outcome.reference,
            next_action=None,
            leased_until=None,
            settled_at=now,
        )
    if isinstance(outcome, Declined):
        return replace(
            attempt,
            status=AttemptStatus.FAILED,
            gateway_reference=outcome.reference or attempt.gateway_reference,
            failure_code=outcome.code,
            decline_code=outcome.decline_code,
            failure_message=outcome.message,
            next_action=None,
            leased_until=None,
            settled_at=now,
        )
    if isinstance(outcome, Absent):
        return replace(
            attempt,
            status=AttemptStatus.CANCELED,
            next_action=None,
            leased_until=None,
            settled_at=now,
        )
    assert attempt.leased_until is not None
    waiting = replace(
        attempt,
        leased_until=attempt.leased_until + RECHECK,
        gateway_reference=outcome.reference
        if isinstance(outcome, RequiresAction | Processing)
        else attempt.gateway_reference,
    )
    if isinstance(outcome, RequiresAction):
        action = {"url": outcome.url, "client_secret": outcome.client_secret}
        return replace(waiting, status=AttemptStatus.ACTION_REQUIRED, next_action=action)
    return replace(waiting, status=AttemptStatus.PROCESSING, next_action=None)


def _error(attempt: PaymentAttempt) -> dict[str, str | None]:
    return {
        "code": attempt.failure_code,
        "decline_code": attempt.decline_code,
        "message": attempt.failure_message,
        "payment_method_id": attempt.payment_method_id,
        "attempt_id": attempt.id,
    }


def _of_payment(intent: PaymentIntent, invoice: Invoice) -> Announcement:
    made = of_intent(intent, is_default=intent.id == invoice.payment_intent_id)
    return Announcement("invoice_payment.paid", "invoice_payment", made.id, made)


def _of_intent(what: str, intent: PaymentIntent) -> Announcement:
    return Announcement(f"payment_intent.{what}", "payment_intent", intent.id, intent)


def _of_charge(what: str, attempt: PaymentAttempt) -> Announcement:
    return Announcement(f"charge.{what}", "charge", attempt.charge_id, attempt)
