"""Give money back: write the refund, and ask the gateway once that is committed.

As with payments, no lock is held while a gateway is asked, and a refund's id is its idempotency
key: asking twice gives back once. What is not known yet is asked about again by the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from postpaid.billing import gateways
from postpaid.billing.announce import Announcement, announce, changes, customer_updated
from postpaid.billing.move_balance import moved
from postpaid.billing.perform import Act
from postpaid.billing.post import post
from postpaid.core import ledger
from postpaid.core.credits import BalanceReason, BalanceTransaction
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.payment_intents import PaymentIntent, charge_id_of
from postpaid.core.refunds import (
    Refund,
    RefundReason,
    RefundStatus,
    amount_to_refund,
    credit_to_take_back,
)
from postpaid.core.values import replace
from postpaid.storage import balance_transactions, customers, payment_intents, payments, refunds
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

LEASE = timedelta(minutes=2)  # by the wall clock: longer than asking and then doing take


@dataclass(frozen=True, slots=True)
class NewRefund:
    """A refund asked for, of a charge or of what a payment intent received.

    Without ``amount`` all that is left of it goes back.
    """

    attempt_id: str | None = None
    payment_intent_id: str | None = None
    amount: int | None = None
    reason: RefundReason | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def refund(conn: Connection, act: Act, asked: NewRefund) -> Refund:
    """Write a refund; ``ask_refunds`` after the commit.

    It does not lower the invoice (Stripe): a credit note does. Money that nobody owed, and that
    became the customer's credit, is taken off the balance again as far as it is still there.

    Raises ``NotFound``, and ``InvalidRequest`` for a charge that did not succeed, of which less is
    left, or whose gateway is there no more.
    """
    # Read. The customer is locked first, then the attempt, which may be no customer's.
    found = _find(conn, act, asked)
    wall = act.now
    owners: dict[str, Customer] = {}
    intent_id = found.payment_intent_id
    intent = payment_intents.load(conn, act.account_id, [intent_id])[intent_id]
    if intent.customer_id:
        owners = customers.lock(conn, act.account_id, [intent.customer_id])
        owner = owners[intent.customer_id]
        act = act.at(owner.now(act.now), owner.clock_id)
    attempt = payments.lock(conn, act.account_id, [found.id])[found.id]
    intent = payment_intents.load(conn, act.account_id, [intent_id])[intent_id]
    earlier = refunds.of_attempts(conn, act.account_id, [attempt.id])[attempt.id]

    # Decide.
    if attempt.status != AttemptStatus.SUCCEEDED:
        raise InvalidRequest(
            f"The charge {attempt.charge_id} did not succeed, so there is nothing to refund.",
            param="charge" if asked.attempt_id else "payment_intent",
        )
    amount = amount_to_refund(
        asked.amount, charged=attempt.amount, refunded=attempt.amount_refunded
    )
    gateways.hold(conn, act, [attempt.gateway])
    credit = 0
    if intent.invoice_id and intent.customer_id in owners:
        left = _credit_given(attempt, intent, earlier)
        balance = owners[intent.customer_id].balance
        credit = credit_to_take_back(amount, uncredited=left, balance=balance)
    made = replace(
        new_refund(act, attempt, intent, amount, credit=credit, wall=wall),
        reason=asked.reason,
        metadata=asked.metadata,
    )

    # Write.
    write_refunds(conn, act, [made], {attempt.id: attempt}, owners)
    return made


def _find(conn: Connection, act: Act, asked: NewRefund) -> PaymentAttempt:
    """The charge that is meant, as it is before anything is locked."""
    if asked.attempt_id:
        found = payments.load(conn, act.account_id, [asked.attempt_id])
        if asked.attempt_id not in found:
            raise NotFound.of("charge", charge_id_of(asked.attempt_id), param="charge")
        return found[asked.attempt_id]
    intent_id = asked.payment_intent_id or ""
    if intent_id not in payment_intents.load(conn, act.account_id, [intent_id]):
        raise NotFound.of("payment_intent", intent_id, param="payment_intent")
    paid = payments.of_intents(
        conn, act.account_id, [intent_id], statuses=[AttemptStatus.SUCCEEDED]
    )
    if not paid:
        raise InvalidRequest(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
            param="payment_intent",
        )
    return paid[0]


def _credit_given(attempt: PaymentAttempt, intent: PaymentIntent, earlier: Sequence[Refund]) -> int:
    """What of the payment became its customer's credit, and was not given back yet."""
    gone = [each for each in earlier if each.status != RefundStatus.FAILED]
    given_back = sum(
        each.amount_of_credit if each.invoice_id else each.amount  # before it was attached
        for each in gone
    )
    return attempt.amount - intent.amount_applied - given_back


def new_refund(
    act: Act,
    attempt: PaymentAttempt,
    intent: PaymentIntent,
    amount: int,
    *,
    wall: datetime,
    credit: int = 0,
) -> Refund:
    """A refund of the locked attempt, which is not written yet."""
    return Refund(
        id=act.new_id("re"),
        attempt_id=attempt.id,
        payment_intent_id=attempt.payment_intent_id,
        invoice_id=intent.invoice_id,
        customer_id=intent.customer_id,
        clock_id=act.clock_id,
        payment_method_id=attempt.payment_method_id,
        gateway=attempt.gateway,
        charge_reference=attempt.gateway_reference or attempt.id,
        amount=amount,
        amount_of_credit=credit,
        currency=attempt.currency,
        status=RefundStatus.PENDING,
        reason=None,
        failure_code=None,
        failure_message=None,
        gateway_reference=None,
        asked=0,
        leased_until=wall + LEASE,
        created_at=act.now,
        settled_at=None,
    )


def write_refunds(
    conn: Connection,
    act: Act,
    made: Sequence[Refund],
    attempts: Mapping[str, PaymentAttempt],
    owners: Mapping[str, Customer],
) -> None:
    """Write refunds of the locked attempts, and announce them.

    They are in the books from now on (Stripe: what is pending has left the balance too); one that
    fails is taken back then.
    """
    after = dict(attempts)
    for each in made:
        was = after[each.attempt_id]
        after[was.id] = replace(was, amount_refunded=was.amount_refunded + each.amount)
    refunds.insert_many(conn, act.account_id, made)
    payments.refund_many(conn, act.account_id, list(after.values()))
    post(conn, act, [ledger.refund(each) for each in made])
    said = [Announcement("refund.created", "refund", each.id, each) for each in made]
    said += [
        _charge_changed("charge.refunded", attempts[key], after[key])
        for key in after
        if after[key] != attempts[key]
    ]
    announce(conn, act, said)
    move_credit(conn, act, owners, [(each, each.amount_of_credit) for each in made])


def move_credit(
    conn: Connection,
    act: Act,
    owners: Mapping[str, Customer],
    amounts: Sequence[tuple[Refund, int]],
) -> None:
    """Move these locked customers' balances by so much for each refund, zero left out."""
    moving = [(each, amount) for each, amount in amounts if amount and each.customer_id]
    if not moving:
        return
    after = dict(owners)
    movements: list[BalanceTransaction] = []
    for each, amount in moving:
        assert each.customer_id is not None
        after[each.customer_id], movement = moved(
            act,
            after[each.customer_id],
            BalanceReason.INVOICE_OVERPAID,
            amount,
            currency=each.currency,
            invoice_id=each.invoice_id,
        )
        movements.append(movement)
    changed = [key for key in sorted(after) if after[key] != owners[key]]
    customers.update_invoicing(conn, act.account_id, [after[key] for key in changed])
    balance_transactions.insert_many(conn, act.account_id, movements)
    announce(conn, act, [customer_updated(owners[key], after[key]) for key in changed])


def take_back_failed(conn: Connection, act: Act, failed: Sequence[Refund]) -> None:
    """The money of these refunds did not go back: it is there to be refunded, or credit, again.

    The customers are locked.
    """
    if not failed:
        return
    # Read.
    attempts = payments.lock(conn, act.account_id, {each.attempt_id for each in failed})
    owners = customers.lock(
        conn, act.account_id, {each.customer_id for each in failed if each.customer_id}
    )

    # Decide.
    after = dict(attempts)
    for each in failed:
        was = after[each.attempt_id]
        after[was.id] = replace(was, amount_refunded=was.amount_refunded - each.amount)

    # Write.
    payments.refund_many(conn, act.account_id, list(after.values()))
    post(conn, act, [ledger.refund_failed(each) for each in failed])
    announce(
        conn, act, [_charge_changed("charge.updated", attempts[key], after[key]) for key in after]
    )
    move_credit(conn, act, owners, [(each, -each.amount_of_credit) for each in failed])


def describe_refund(
    conn: Connection, act: Act, refund_id: str, change: Callable[[Refund], Refund]
) -> Refund:
    """Make what is said of the refund what ``change`` makes of it. Raises ``NotFound``."""
    before = find_refund(conn, act, refund_id)
    if before.customer_id:
        owner = customers.lock(conn, act.account_id, [before.customer_id])[before.customer_id]
        act = act.at(owner.now(act.now), owner.clock_id)
    before = find_refund(conn, act, refund_id)
    after = change(before)
    if after != before:
        refunds.update_metadata(conn, act.account_id, after)
        what = changes(before, after)
        announce(conn, act, [Announcement("refund.updated", "refund", after.id, after, what)])
    return after


def find_refund(conn: Connection, act: Act, refund_id: str) -> Refund:
    """The refund. Raises ``NotFound``."""
    found = refunds.load(conn, act.account_id, [refund_id])
    if refund_id not in found:
        raise NotFound.of("refund", refund_id)
    return found[refund_id]


def _charge_changed(what: str, before: PaymentAttempt, after: PaymentAttempt) -> Announcement:
    return Announcement(what, "charge", after.charge_id, after, changes(before, after))
