"""Make payment intents that are nobody's invoice, change them, and give them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from postpaid.billing import manage_payment_methods
from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.lock_customer import lock_customer
from postpaid.billing.open_intents import new_client_secret
from postpaid.billing.perform import Act
from postpaid.billing.settle import settle
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest, NotFound
from postpaid.core.payment_intents import (
    OVER,
    PaymentIntent,
    PaymentIntentStatus,
    canceled,
    chosen,
)
from postpaid.storage import customers, payment_intents, payments
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection, Database
from postpaid.storage.payment_methods import PaymentMethod
from postpaid.storage.payments import UNSETTLED, AttemptStatus

UNEXPECTED = "payment_intent_unexpected_state"  # Stripe's code for what the status does not allow

LABELS = frozenset({"description", "metadata"})  # what may change whatever became of it
OF_INVOICE = LABELS | {"setup_future_usage"}  # the invoice says the rest


@dataclass(frozen=True, slots=True)
class NewPaymentIntent:
    """A payment asked for: so many minor units, of a customer or of nobody in particular."""

    amount: int
    currency: str
    customer_id: str | None = None
    payment_method_id: str | None = None
    setup_future_usage: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None


def create_payment_intent(conn: Connection, act: Act, asked: NewPaymentIntent) -> PaymentIntent:
    """Write a payment intent that somebody may confirm. Takes no money.

    Raises ``NotFound`` for a customer or payment method that is not there, and ``InvalidRequest``
    for a payment method that is another customer's.
    """
    customer = lock_customer(conn, act, asked.customer_id) if asked.customer_id else None
    if customer is not None:
        check_customer_not_blocked(customer)
        act = act.at(customer.now(act.now), customer.clock_id)
    key = act.new_id("pi")
    made = PaymentIntent(
        id=key,
        customer_id=asked.customer_id,
        clock_id=customer.clock_id if customer else None,
        invoice_id=None,
        amount=asked.amount,
        amount_received=0,
        currency=asked.currency,
        status=PaymentIntentStatus.REQUIRES_PAYMENT_METHOD,
        client_secret=new_client_secret(key),
        payment_method_id=None,
        latest_attempt_id=None,
        last_error=None,
        next_action=None,
        setup_future_usage=asked.setup_future_usage,
        description=asked.description,
        cancellation_reason=None,
        created_at=act.now,
        canceled_at=None,
        metadata=asked.metadata,
        reference=asked.reference,
    )
    if asked.payment_method_id:
        made = chosen(made, usable_method(conn, act, made, asked.payment_method_id).id)
    payment_intents.insert_many(conn, act.account_id, [made])
    announce(conn, act, [Announcement("payment_intent.created", "payment_intent", made.id, made)])
    return made


def update_payment_intent(
    conn: Connection,
    act: Act,
    intent_id: str,
    change: Callable[[PaymentIntent], PaymentIntent],
    given: frozenset[str],
) -> PaymentIntent:
    """Make the intent what ``change`` makes of it, once it is locked.

    ``given`` names the fields that are to change. A payment method is chosen, not charged: whoever
    confirms the intent charges it. Stripe announces no such change. Raises ``ActionNotAllowed``
    where the status or the intent's invoice says otherwise, and what ``usable_method`` raises.
    """
    before, customer = lock_intent(conn, act, intent_id)
    _check_update(conn, act, before, given)
    after = change(before)
    if after.customer_id != before.customer_id:
        if before.customer_id is not None or after.customer_id is None:
            raise InvalidRequest(
                "You cannot change the customer of a PaymentIntent that has one.",
                param="customer",
            )
        customer = lock_customer(conn, act, after.customer_id)
        check_customer_not_blocked(customer)
        if customer.clock_id is not None:
            raise InvalidRequest(
                "This customer lives on a test clock, and the PaymentIntent does not.",
                param="customer",
            )
    if "payment_method_id" in given and after.payment_method_id:
        method = usable_method(conn, act, after, after.payment_method_id)
        after = chosen(after, method.id)
    if after != before:
        payment_intents.update_many(conn, act.account_id, [after])
    return after


def _check_update(conn: Connection, act: Act, intent: PaymentIntent, given: frozenset[str]) -> None:
    """Raises ``ActionNotAllowed`` for a field that cannot change any more, or never could."""
    beyond = sorted(given - LABELS)
    if intent.status in OVER and beyond:
        raise ActionNotAllowed(
            f"This PaymentIntent's {_wire(beyond[0])} could not be updated because it has a status "
            f"of {intent.status}.",
            param=_wire(beyond[0]),
            code=UNEXPECTED,
        )
    if intent.invoice_id is not None and (of_invoice := sorted(given - OF_INVOICE)):
        raise ActionNotAllowed(
            f"This PaymentIntent's {_wire(of_invoice[0])} could not be updated because it belongs "
            f"to the invoice {intent.invoice_id}, which says it. Change that, or confirm the "
            "PaymentIntent with another payment_method.",
            param=_wire(of_invoice[0]),
            code=UNEXPECTED,
        )
    if beyond and payments.of_intents(conn, act.account_id, [intent.id], statuses=UNSETTLED):
        raise ActionNotAllowed(
            f"This PaymentIntent's {_wire(beyond[0])} could not be updated because a payment of it "
            "is under way. Confirm it with another payment_method to replace that.",
            param=_wire(beyond[0]),
            code=UNEXPECTED,
        )


def _wire(name: str) -> str:
    return name.removesuffix("_id")


@dataclass(frozen=True, slots=True)
class Canceling:
    """A payment intent that is given up, with what waits for its customer at a gateway."""

    intent_id: str
    attempt_ids: list[str]


def cancel_payment_intent(
    conn: Connection, act: Act, intent_id: str, *, reason: str | None
) -> Canceling:
    """Give the intent up; ``finish_canceling`` tells the gateway after the commit.

    Raises ``ActionNotAllowed`` by the status table, and for an invoice's (Stripe: void the invoice
    instead), and ``Conflict`` while nobody knows what became of a payment.
    """
    before, customer = lock_intent(conn, act, intent_id)
    if customer is not None:
        act = act.at(customer.now(act.now), customer.clock_id)
    if before.invoice_id is not None:
        raise ActionNotAllowed(
            "You cannot cancel a PaymentIntent that was created by an invoice. Void the invoice "
            f"{before.invoice_id} instead.",
            code=UNEXPECTED,
        )
    waiting = payments.of_intents(conn, act.account_id, [intent_id], statuses=UNSETTLED)
    if before.status not in OVER and any(each.status == AttemptStatus.PENDING for each in waiting):
        raise Conflict("A payment of this PaymentIntent is under way; try again when it is known.")
    after = canceled(before, now=act.now, reason=reason)
    payment_intents.update_many(conn, act.account_id, [after])
    said = Announcement(
        "payment_intent.canceled", "payment_intent", after.id, after, changes(before, after)
    )
    announce(conn, act, [said])
    return Canceling(intent_id, [each.id for each in waiting])


def finish_canceling(database: Database, act: Act, canceling: Canceling) -> None:
    """Give up at the gateway what waits there; safe to repeat, and what stays open is asked again
    by the worker."""
    with database.connection() as conn:
        attempts = list(payments.load(conn, act.account_id, canceling.attempt_ids).values())
        act = at_intents_time(conn, act, canceling.intent_id)
    settle(database, act, [each for each in attempts if each.status in UNSETTLED])


def lock_intent(
    conn: Connection, act: Act, intent_id: str
) -> tuple[PaymentIntent, Customer | None]:
    """The payment intent as it is once its customer and itself are locked, and the customer.

    Raises ``NotFound``.
    """
    found = payment_intents.load(conn, act.account_id, [intent_id]).get(intent_id)
    if found is None:
        raise NotFound.of("payment_intent", intent_id, param="intent")
    ids = [found.customer_id] if found.customer_id else []
    locked = customers.lock(conn, act.account_id, ids) if ids else {}
    current = payment_intents.lock(conn, act.account_id, [intent_id])[intent_id]
    if current.customer_id != found.customer_id:
        raise Conflict("This PaymentIntent has just got its customer; try again.")
    return current, locked.get(current.customer_id or "")


def at_intents_time(conn: Connection, act: Act, intent_id: str) -> Act:
    """The act at the time of the intent's customer, or as it is for one that is nobody's."""
    [intent] = payment_intents.load(conn, act.account_id, [intent_id]).values()
    if intent.customer_id is None:
        return act
    [customer] = customers.load(conn, act.account_id, [intent.customer_id]).values()
    return act.at(customer.now(act.now), customer.clock_id)


def usable_method(
    conn: Connection, act: Act, intent: PaymentIntent, method_id: str
) -> PaymentMethod:
    """The payment method; of a test card's id, a new one.

    It is the intent's customer's or nobody's. Raises ``NotFound`` and ``InvalidRequest``.
    """
    method = manage_payment_methods.take(conn, act, method_id, param="payment_method")
    if method.customer_id is None or method.customer_id == intent.customer_id:
        return method
    if intent.customer_id is None:
        raise InvalidRequest(
            "The payment method you provided is attached to a customer. Give that customer to the "
            "PaymentIntent too.",
            param="payment_method",
        )
    raise InvalidRequest(
        f"The customer does not have a payment method with the ID {method_id}. The payment method "
        "must be attached to the customer.",
        param="payment_method",
    )
