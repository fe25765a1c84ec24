"""What a refund is: money that goes back through the gateway it came through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from postpaid.core.errors import InvalidRequest
from postpaid.core.payment_intents import charge_id_of


class RefundStatus(StrEnum):
    """Pending until the gateway has given the money back, or says that it will not."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundReason(StrEnum):
    """Why money goes back, in Stripe's words."""

    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    REQUESTED_BY_CUSTOMER = "requested_by_customer"


@dataclass(frozen=True, slots=True)
class Refund:
    """``amount`` minor units of a payment attempt that go back; its id is the gateway's key.

    Of it, ``amount_of_credit`` was the customer's credit, since nobody owed it when it was paid,
    and is taken off the balance. ``asked`` says how often the gateway was, and ``leased_until``
    (wall clock) until when nobody else shall ask.
    """

    id: str
    attempt_id: str
    payment_intent_id: str
    invoice_id: str | None
    customer_id: str | None
    clock_id: str | None
    payment_method_id: str
    gateway: str
    charge_reference: str
    amount: int
    amount_of_credit: int
    currency: str
    status: RefundStatus
    reason: RefundReason | None
    failure_code: str | None
    failure_message: str | None
    gateway_reference: str | None
    asked: int
    leased_until: datetime | None
    created_at: datetime
    settled_at: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def charge_id(self) -> str:
        """What the attempt is called once it has charged."""
        return charge_id_of(self.attempt_id)


def amount_to_refund(asked: int | None, *, charged: int, refunded: int) -> int:
    """How much goes back: what is asked for, or without that all that is left of the charge.

    Raises ``InvalidRequest`` for a charge of which nothing is left, or less than that (Stripe).
    """
    left = charged - refunded
    if left <= 0:
        raise InvalidRequest(
            "The charge has already been refunded.", code="charge_already_refunded"
        )
    if asked is not None and asked > left:
        raise InvalidRequest(
            f"Refund amount ({asked}) is greater than unrefunded amount on charge ({left}).",
            param="amount",
        )
    return left if asked is None else asked


def credit_to_take_back(amount: int, *, uncredited: int, balance: int) -> int:
    """How much of a refund is taken off the customer's balance.

    ``uncredited`` is what of the payment became credit and was not refunded yet; what the customer
    has used by now, by the ``balance`` (credit is negative), is not there to be taken.
    """
    return max(0, min(amount, uncredited, -balance))
