"""What a payment intent is: an amount to be collected, and a status that moves by one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from postpaid.core.errors import ActionNotAllowed
from postpaid.core.values import replace


def charge_id_of(attempt_id: str) -> str:
    """What an attempt is called once it has charged, or failed to: Stripe's charge."""
    return attempt_id.replace("pa_", "ch_", 1).removeprefix("?")


def attempt_id_of(charge_id: str) -> str:
    """The attempt that is shown as this charge; of anything else, what is no attempt."""
    return charge_id.replace("ch_", "pa_", 1) if charge_id.startswith("ch_") else f"?{charge_id}"


class PaymentIntentStatus(StrEnum):
    """How far a payment is, in Stripe's words."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class PaymentIntentAction(StrEnum):
    """What can happen to a payment intent's status."""

    CHOOSE = "have its payment method chosen"
    DECLINE = "be declined"
    ASK_FOR_ACTION = "wait for its customer"
    PROCESS = "be processed"
    SUCCEED = "succeed"
    CANCEL = "be canceled"


_S, _A = PaymentIntentStatus, PaymentIntentAction

_WAITING = (
    _S.REQUIRES_PAYMENT_METHOD,
    _S.REQUIRES_CONFIRMATION,
    _S.REQUIRES_ACTION,
    _S.PROCESSING,
)

# What was asked of a gateway may end in any way, whatever was thought of it meanwhile.
TRANSITIONS = {
    (before, action): after
    for action, befores, after in (
        (_A.CHOOSE, _WAITING[:3], _S.REQUIRES_CONFIRMATION),
        (_A.DECLINE, _WAITING, _S.REQUIRES_PAYMENT_METHOD),
        (_A.ASK_FOR_ACTION, _WAITING, _S.REQUIRES_ACTION),
        (_A.PROCESS, _WAITING, _S.PROCESSING),
        (_A.SUCCEED, (*_WAITING, _S.CANCELED), _S.SUCCEEDED),  # the money came all the same
        (_A.CANCEL, _WAITING[:3], _S.CANCELED),
    )
    for before in befores
}

OVER = frozenset({_S.SUCCEEDED, _S.CANCELED})


def next_status(status: PaymentIntentStatus, action: PaymentIntentAction) -> PaymentIntentStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(
            f"You cannot do this with a PaymentIntent that has a status of {status}: it cannot "
            f"{action}.",
            code="payment_intent_unexpected_state",
        ) from None


@dataclass(frozen=True)  # see core/values
class PaymentIntent:
    """``amount`` minor units that are to be collected, for an invoice or by themselves.

    Each try is a payment attempt; ``last_error`` says why the latest one failed, and
    ``next_action`` what the customer must do.
    """

    id: str
    customer_id: str | None
    clock_id: str | None
    invoice_id: str | None
    amount: int
    amount_received: int
    currency: str
    status: PaymentIntentStatus
    client_secret: str
    payment_method_id: str | None
    latest_attempt_id: str | None
    last_error: Mapping[str, Any] | None
    next_action: Mapping[str, Any] | None
    setup_future_usage: str | None
    description: str | None
    cancellation_reason: str | None
    created_at: datetime
    canceled_at: datetime | None
    paid_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    amount_applied: int = 0  # of what was received, to the invoice
    reference: str | None = None  # what whoever asked for it calls it


def chosen(intent: PaymentIntent, payment_method_id: str) -> PaymentIntent:
    """The intent that is to be paid with this once somebody confirms it."""
    return replace(
        intent,
        status=next_status(intent.status, _A.CHOOSE),
        payment_method_id=payment_method_id,
        next_action=None,
    )


def succeeded(
    intent: PaymentIntent,
    attempt_id: str,
    payment_method_id: str | None,
    *,
    amount: int,
    now: datetime,
) -> PaymentIntent:
    """The intent of which ``amount`` minor units were received: all that was left of it."""
    return replace(
        intent,
        status=next_status(intent.status, _A.SUCCEED),
        amount=amount,
        amount_received=amount,
        paid_at=now,
        canceled_at=None,
        cancellation_reason=None,
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        last_error=None,
        next_action=None,
    )


def declined(intent: PaymentIntent, attempt_id: str, error: Mapping[str, Any]) -> PaymentIntent:
    """The intent after an attempt that failed; it wants another payment method (Stripe)."""
    return replace(
        intent,
        status=next_status(intent.status, _A.DECLINE),
        payment_method_id=None,
        latest_attempt_id=attempt_id,
        last_error=error,
        next_action=None,
    )


def waiting_for_customer(
    intent: PaymentIntent,
    attempt_id: str,
    payment_method_id: str | None,
    action: Mapping[str, Any],
) -> PaymentIntent:
    """The intent whose customer must act before it is charged."""
    return replace(
        intent,
        status=next_status(intent.status, _A.ASK_FOR_ACTION),
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        next_action=action,
    )


def processing(
    intent: PaymentIntent, attempt_id: str, payment_method_id: str | None
) -> PaymentIntent:
    """The intent whose payment is under way for a while, as a bank's is."""
    return replace(
        intent,
        status=next_status(intent.status, _A.PROCESS),
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        last_error=None,
        next_action=None,
    )


def canceled(intent: PaymentIntent, *, now: datetime, reason: str | None) -> PaymentIntent:
    """The intent given up; ``reason`` is Stripe's, or the customer's none."""
    waited = intent.status == _S.REQUIRES_ACTION  # and what waits is not a charge, nor will it be
    return replace(
        intent,
        status=next_status(intent.status, _A.CANCEL),
        cancellation_reason=reason,
        canceled_at=now,
        latest_attempt_id=None if waited else intent.latest_attempt_id,
        next_action=None,
    )
