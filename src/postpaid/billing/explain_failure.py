"""What a payment that did not succeed says to whoever asked to hear of it as an error."""

from __future__ import annotations

from postpaid.core.errors import PaymentFailed
from postpaid.storage.payments import AttemptStatus, PaymentAttempt

WAITED = frozenset({AttemptStatus.ACTION_REQUIRED, AttemptStatus.CANCELED})
UNPAID = frozenset({AttemptStatus.FAILED, AttemptStatus.ACTION_REQUIRED})


def failure_of(attempt: PaymentAttempt, what: str = "payment") -> PaymentFailed:
    """The error that an attempt is that was declined, or that waits for its customer, or did.

    ``what`` was to be paid: an invoice or a subscription.
    """
    if attempt.status in WAITED:
        return PaymentFailed(
            f"Payment for this {what} requires additional user action before it can be completed "
            "successfully. Payment can be completed using the PaymentIntent of this error.",
            code=f"{what}_payment_intent_requires_action",
            decline_code=None,
            about=_about(attempt),
        )
    return PaymentFailed(
        attempt.failure_message or "The payment failed.",
        code=attempt.failure_code,
        decline_code=attempt.decline_code,
        about=_about(attempt) | {"charge": attempt.charge_id},
    )


def _about(attempt: PaymentAttempt) -> dict[str, str]:
    return {
        "payment_intent": attempt.payment_intent_id,
        "payment_method": attempt.payment_method_id,
    }
