"""What a setup intent is: a payment method to be charged later, and a status that moves by a table.

Nothing is charged: the gateway is asked whether the payment method can be, and the customer may
have to prove who they are while they are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from postpaid.core.errors import ActionNotAllowed
from postpaid.core.values import replace


class SetupIntentStatus(StrEnum):
    """How far it is, in Stripe's words."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class SetupIntentAction(StrEnum):
    """What can happen to a setup intent's status."""

    CHOOSE = "have its payment method chosen"
    CONFIRM = "be confirmed"
    DECLINE = "be declined"
    ASK_FOR_ACTION = "wait for its customer"
    PROCESS = "be processed"
    SUCCEED = "succeed"
    CANCEL = "be canceled"


class SetupUsage(StrEnum):
    """Whether the customer will be there when the payment method is charged (Stripe)."""

    OFF_SESSION = "off_session"
    ON_SESSION = "on_session"


_S, _A = SetupIntentStatus, SetupIntentAction

_WAITING = (
    _S.REQUIRES_PAYMENT_METHOD,
    _S.REQUIRES_CONFIRMATION,
    _S.REQUIRES_ACTION,
    _S.PROCESSING,
)

# To be confirmed changes no status by itself: what the gateway says to it does.
TRANSITIONS = {
    (before, action): after or before
    for action, befores, after in (
        (_A.CHOOSE, _WAITING[:3], _S.REQUIRES_CONFIRMATION),
        (_A.CONFIRM, _WAITING[:3], None),
        (_A.DECLINE, _WAITING, _S.REQUIRES_PAYMENT_METHOD),
        (_A.ASK_FOR_ACTION, _WAITING, _S.REQUIRES_ACTION),
        (_A.PROCESS, _WAITING, _S.PROCESSING),
        (_A.SUCCEED, _WAITING, _S.SUCCEEDED),
        (_A.CANCEL, _WAITING[:3], _S.CANCELED),
    )
    for before in befores
}

OVER = frozenset({_S.SUCCEEDED, _S.CANCELED})


def next_status(status: SetupIntentStatus, action: SetupIntentAction) -> SetupIntentStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(
            f"You cannot do this with a SetupIntent that has a status of {status}: it cannot "
            f"{action}.",
            code="setup_intent_unexpected_state",
        ) from None


@dataclass(frozen=True, slots=True)
class SetupIntent:
    """A payment method that is to become chargeable, for a customer or for nobody yet.

    Each try is a setup attempt; ``last_error`` says why the latest one failed, and ``next_action``
    what the customer must do. ``subscription_id`` is the subscription that waits for it.
    """

    id: str
    customer_id: str | None
    clock_id: str | None
    subscription_id: str | None
    usage: SetupUsage
    status: SetupIntentStatus
    client_secret: str
    payment_method_id: str | None
    latest_attempt_id: str | None
    last_error: Mapping[str, Any] | None
    next_action: Mapping[str, Any] | None
    description: str | None
    cancellation_reason: str | None
    created_at: datetime
    canceled_at: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    payment_method_types: Sequence[str] | None = None  # all that can be set up, where it is None


def chosen(intent: SetupIntent, payment_method_id: str | None) -> SetupIntent:
    """The intent with another payment method, or with none, to be confirmed."""
    status = next_status(intent.status, _A.CHOOSE)
    return replace(
        intent,
        status=status if payment_method_id else _S.REQUIRES_PAYMENT_METHOD,
        payment_method_id=payment_method_id,
        next_action=None,
    )


def succeeded(intent: SetupIntent, attempt_id: str, payment_method_id: str) -> SetupIntent:
    """The intent whose payment method can be charged from now on."""
    return replace(
        intent,
        status=next_status(intent.status, _A.SUCCEED),
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        last_error=None,
        next_action=None,
    )


def declined(intent: SetupIntent, attempt_id: str, error: Mapping[str, Any]) -> SetupIntent:
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
    intent: SetupIntent, attempt_id: str, payment_method_id: str, action: Mapping[str, Any]
) -> SetupIntent:
    """The intent whose customer must prove who they are."""
    return replace(
        intent,
        status=next_status(intent.status, _A.ASK_FOR_ACTION),
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        last_error=None,
        next_action=action,
    )


def processing(intent: SetupIntent, attempt_id: str, payment_method_id: str) -> SetupIntent:
    """The intent whose payment method is looked into for a while, as a bank account is."""
    return replace(
        intent,
        status=next_status(intent.status, _A.PROCESS),
        payment_method_id=payment_method_id,
        latest_attempt_id=attempt_id,
        last_error=None,
        next_action=None,
    )


def canceled(intent: SetupIntent, *, now: datetime, reason: str | None) -> SetupIntent:
    """The intent given up, for the ``reason`` that somebody gave, if any."""
    return replace(
        intent,
        status=next_status(intent.status, _A.CANCEL),
        cancellation_reason=reason,
        canceled_at=now,
        next_action=None,
    )
