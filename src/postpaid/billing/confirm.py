"""Confirm a payment intent: try to be paid for it now, with the customer there or not.

As with an invoice that a person pays, one transaction writes the attempt that is about to be made,
and the gateway is asked after the commit (see ``collect``).
"""

from __future__ import annotations

from dataclasses import dataclass

from postpaid.billing import collect
from postpaid.billing.check_blocked import check_customer_not_blocked
from postpaid.billing.explain_failure import failure_of
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.manage_payment_intents import (
    UNEXPECTED,
    at_intents_time,
    lock_intent,
    usable_method,
)
from postpaid.billing.perform import Act
from postpaid.billing.record_outcomes import record_outcomes
from postpaid.billing.settle import request_of, settle
from postpaid.core.errors import ActionNotAllowed, InvalidRequest
from postpaid.core.invoicing import InvoiceAction, next_status
from postpaid.core.payment_intents import OVER, PaymentIntent, PaymentIntentStatus
from postpaid.core.values import replace
from postpaid.outside.gateways import test as test_gateway
from postpaid.outside.gateways.test import TestGateway
from postpaid.storage import payment_intents, payments
from postpaid.storage.database import Connection, Database
from postpaid.storage.payments import UNSETTLED, AttemptStatus, PaymentAttempt


@dataclass(frozen=True, slots=True)
class Confirming:
    """A payment intent, and the attempts at it that are to be made or asked about."""

    intent_id: str
    attempt_ids: list[str]


def confirm(
    conn: Connection,
    act: Act,
    intent_id: str,
    *,
    payment_method_id: str | None = None,
    off_session: bool = False,
    setup_future_usage: str | None = None,
) -> Confirming:
    """Begin to be paid for the intent; ``finish_confirming`` after the commit.

    What nobody knows the outcome of is asked about again, and nothing else is tried. What waits for
    its customer is asked about, or is replaced where another payment method is given. Raises
    ``ActionNotAllowed`` by its status or its invoice's, ``InvalidRequest`` without a payment
    method, and what ``usable_method`` raises.
    """
    # Read.
    intent, customer = lock_intent(conn, act, intent_id)
    wall = act.now
    if customer is not None:
        act = act.at(customer.now(act.now), customer.clock_id)
    if intent.status in OVER or intent.status == PaymentIntentStatus.PROCESSING:
        raise ActionNotAllowed(_too_late(intent), code=UNEXPECTED)
    if setup_future_usage and setup_future_usage != intent.setup_future_usage:
        intent = replace(intent, setup_future_usage=setup_future_usage)
        payment_intents.update_many(conn, act.account_id, [intent])
    before = _unsettled(conn, act, intent)
    if before is not None and (
        before.status != AttemptStatus.ACTION_REQUIRED or payment_method_id is None
    ):
        return Confirming(intent.id, [before.id])
    method_id = payment_method_id or intent.payment_method_id
    if method_id is None:
        raise InvalidRequest(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
            "either update the PaymentIntent with a payment method and then confirm it again, or "
            "confirm it again directly with a payment method.",
            code=UNEXPECTED,
        )
    method = usable_method(conn, act, intent, method_id)
    on_session = not off_session

    # Decide. Write.
    if intent.invoice_id is None:
        if before is not None and before.payment_method_id == method.id:
            return Confirming(intent.id, [before.id])
        if customer is not None:
            check_customer_not_blocked(customer)
        made = collect.new_attempt(
            act,
            method,
            intent_id=intent.id,
            invoice_id=None,
            customer_id=intent.customer_id,
            amount=intent.amount,
            currency=intent.currency,
            wall=wall,
            automatic=False,
        )
        made = replace(made, on_session=on_session, replaces=before.id if before else None)
        payments.insert_many(conn, act.account_id, [made])
        return Confirming(intent.id, [made.id])
    [invoice], locked = lock_invoices(conn, act, [intent.invoice_id])
    next_status(invoice.status, InvoiceAction.PAY)
    attempts = collect.attempt(
        conn,
        act,
        [invoice],
        locked,
        wall=wall,
        automatic=False,
        on_session=on_session,
        method=method,
    )
    return Confirming(intent.id, [each.id for each in attempts])


def _too_late(intent: PaymentIntent) -> str:
    if intent.status == PaymentIntentStatus.SUCCEEDED:
        return (
            "You cannot confirm this PaymentIntent because it has already succeeded after being "
            "previously confirmed."
        )
    return f"You cannot confirm this PaymentIntent because it has a status of {intent.status}."


def _unsettled(conn: Connection, act: Act, intent: PaymentIntent) -> PaymentAttempt | None:
    """The attempt that may yet succeed; one that replaces another goes before it."""
    found = payments.of_intents(conn, act.account_id, [intent.id], statuses=UNSETTLED)
    waiting = [each for each in found if each.status == AttemptStatus.ACTION_REQUIRED]
    return next((each for each in found if each not in waiting), waiting[-1] if waiting else None)


def finish_confirming(database: Database, act: Act, confirming: Confirming) -> None:
    """Make the attempts, or ask about them; safe to repeat. Raises ``PaymentFailed`` for a decline.

    That the customer must act first is no error here: the intent says so.
    """
    with database.connection() as conn:
        attempts = list(payments.load(conn, act.account_id, confirming.attempt_ids).values())
        act = at_intents_time(conn, act, confirming.intent_id)
    settle(database, act, [each for each in attempts if each.status in UNSETTLED])
    with database.connection() as conn:
        found = payments.load(conn, act.account_id, confirming.attempt_ids)
    for each in found.values():
        if each.status == AttemptStatus.FAILED:
            raise failure_of(each)


# ─── Test mode ───────────────────────────────────────────────────────────────────────────────


def authenticate(conn: Connection, act: Act, intent_id: str, *, succeeds: bool) -> PaymentIntent:
    """Let a test card's customer do what the intent waits for, in the one way or the other.

    Raises ``ActionNotAllowed`` when it waits for nothing, or not for the test gateway.
    """
    intent, customer = lock_intent(conn, act, intent_id)
    if customer is not None:
        act = act.at(customer.now(act.now), customer.clock_id)
    waiting = _unsettled(conn, act, intent)
    if (
        intent.status in OVER
        or waiting is None
        or waiting.status != AttemptStatus.ACTION_REQUIRED
        or waiting.gateway != test_gateway.NAME
    ):
        raise ActionNotAllowed(
            f"This PaymentIntent has a status of {intent.status}, and waits for nothing that a "
            "customer of the test gateway could do.",
            code=UNEXPECTED,
        )
    outcome = TestGateway().authenticate(request_of(act, waiting), succeeds=succeeds)
    record_outcomes(conn, act, [waiting], {waiting.id: outcome})
    return payment_intents.load(conn, act.account_id, [intent_id])[intent_id]
