"""The ``manual`` gateway: a customer who pays by bank transfer, in cash, or in any way that no
machine of ours takes part in. Somebody records the payment when it is there."""

from __future__ import annotations

from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    RefundRequest,
    RequiresAction,
    SetupRequest,
    Succeeded,
)

NAME = KIND = "manual"


class ManualGateway:
    """A `Gateway` that waits: nothing is charged, and the customer must act."""

    name = NAME

    def charge(self, request: ChargeRequest) -> Outcome:
        return RequiresAction(_reference(request))

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        """What was paid is recorded as paid out of band, and never asked about here."""
        return RequiresAction(_reference(request))

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        return Declined("canceled", None, "The payment was canceled.", _reference(request))

    def refund(self, request: RefundRequest) -> Outcome:
        return _by_hand(request)

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        return _by_hand(request)

    def set_up(self, request: SetupRequest) -> Outcome:
        return Succeeded(f"manual_{request.idempotency_key}")

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        return self.set_up(request)


def _reference(request: ChargeRequest) -> str:
    return f"manual_{request.idempotency_key}"


def _by_hand(request: RefundRequest) -> Declined:
    return Declined(
        "manual_refund",
        None,
        "Nothing was charged here: give it back by hand, and record it as out of band.",
        f"manual_{request.idempotency_key}",
    )
