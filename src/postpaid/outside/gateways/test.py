"""The ``test`` gateway: test cards and bank accounts, which take no money and always do the same.

What they do is written on them, so an outcome depends on nothing but the request: asking again
with the same key says the same again, without anything to remember. References carry what a later
question needs to know.
"""

from __future__ import annotations

import time
from hashlib import sha256

from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Outcome,
    Processing,
    RefundRequest,
    RequiresAction,
    SetupRequest,
    Succeeded,
    Unknown,
)
from postpaid.outside.gateways.test_cards import (
    AUTHENTICATION_FAILED,
    AUTHENTICATION_REQUIRED,
    Authentication,
    Decline,
    Fault,
    Refunds,
    TestBankAccount,
    TestCard,
    TestMeans,
    means_of_token,
)

NAME = "test"
SLOW_S = 1.0
FIRST_S = 1.0  # what was first asked longer ago than this is asked again, and then is heard

_REFUND_MARKS = {
    Refunds.PEND: "pendingRefund",
    Refunds.FAIL: "refundFail",
    Refunds.REFUSED: "refundRefused",
}


class TestGateway:
    """A `Gateway` that answers by its tables, and charges nobody."""

    name = NAME

    def charge(self, request: ChargeRequest) -> Outcome:
        """Raises ``TimeoutError`` for the card that does."""
        means = means_of_token(request.token)
        if means is None:
            return _no_such(request.token)
        if isinstance(means, TestBankAccount):
            return Processing(_charge_reference(means, request))
        first = request.age_s < FIRST_S
        match means.fault:
            case Fault.SLOW:
                time.sleep(SLOW_S)
            case Fault.UNDECIDED:
                return Unknown("The gateway does not know.")
            case Fault.TIMEOUT if first:
                raise TimeoutError("The gateway did not answer in time.")
            case Fault.ANSWER_LOST | Fault.REQUEST_LOST if first:
                return Unknown("The connection was lost before an answer came.")
        return _charged(means, request)

    def ask(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        means = means_of_token(request.token)
        if means is None:
            return Absent()
        if isinstance(means, TestBankAccount):
            return _debited(means, request)
        match means.fault:
            case Fault.UNDECIDED:
                return Unknown("The gateway does not know.")
            case Fault.REQUEST_LOST | Fault.TIMEOUT if reference is None:
                return Absent()
        return _charged(means, request)

    def cancel(self, request: ChargeRequest, reference: str | None) -> Outcome | Absent:
        """What waits for its customer, or for a bank that never decides, is given up."""
        outcome = self.ask(request, reference)
        if isinstance(outcome, RequiresAction | Processing):
            return Declined("canceled", None, "The payment was canceled.", outcome.reference)
        return outcome

    def authenticate(self, request: ChargeRequest, *, succeeds: bool) -> Outcome:
        """What becomes of a charge once its customer has acted, in one way or the other."""
        means = means_of_token(request.token)
        if not isinstance(means, TestCard):
            return _no_such(request.token)
        reference = _charge_reference(means, request)
        if not succeeds:
            return _declined(AUTHENTICATION_FAILED, reference)
        return _declined(means.decline, reference) if means.decline else Succeeded(reference)

    def refund(self, request: RefundRequest) -> Outcome:
        reference = "re_" + _hashed(request.idempotency_key)
        match _refunds_of(request):
            case Refunds.SUCCEED:
                return Succeeded(reference)
            case Refunds.REFUSED:
                return _refund_failed(reference)
        return Processing(reference)

    def ask_refund(self, request: RefundRequest, reference: str | None) -> Outcome | Absent:
        told = "re_" + _hashed(request.idempotency_key)
        match _refunds_of(request):
            case Refunds.SUCCEED | Refunds.PEND:
                return Succeeded(told)
        return _refund_failed(told)

    def set_up(self, request: SetupRequest) -> Outcome:
        means = means_of_token(request.token)
        reference = "seti_" + _hashed(request.idempotency_key)
        if means is None:
            return _no_such(request.token)
        if isinstance(means, TestBankAccount):
            return Succeeded(reference)
        if means.decline is not None and not means.can_be_set_up:
            return _declined(means.decline, reference)
        if means.authentication == Authentication.NEVER or means.token == _ALREADY_SET_UP:
            return Succeeded(reference)
        if request.off_session:
            return _declined(AUTHENTICATION_REQUIRED, reference)
        return RequiresAction(reference)

    def ask_set_up(self, request: SetupRequest, reference: str) -> Outcome:
        return self.set_up(request)


_ALREADY_SET_UP = "pm_card_authenticationRequiredSetupForOffSession"


def _charged(card: TestCard, request: ChargeRequest) -> Outcome:
    """What the card says to a charge that arrived, now and whenever it is asked again."""
    reference = _charge_reference(card, request)
    if card.authentication != Authentication.NEVER and not request.off_session:
        return RequiresAction(reference)
    if card.authentication == Authentication.ALWAYS:
        return _declined(AUTHENTICATION_REQUIRED, reference)
    return _declined(card.decline, reference) if card.decline else Succeeded(reference)


def _debited(account: TestBankAccount, request: ChargeRequest) -> Outcome:
    """What came of a debit, which was under way when it was asked for."""
    reference = _charge_reference(account, request)
    if account.stays_processing:
        return Processing(reference)
    return _declined(account.decline, reference) if account.decline else Succeeded(reference)


def _charge_reference(means: TestMeans, request: ChargeRequest) -> str:
    """The charge's name, with how its refunds go: a refund knows nothing else of the card."""
    mark = _REFUND_MARKS.get(means.refunds, "") if isinstance(means, TestCard) else ""
    return f"ch_{mark and mark + '_'}{_hashed(request.idempotency_key)}"


def _refunds_of(request: RefundRequest) -> Refunds:
    for refunds, mark in _REFUND_MARKS.items():
        if request.charge_reference.startswith(f"ch_{mark}_"):
            return refunds
    return Refunds.SUCCEED


def _hashed(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:24]


def _declined(decline: Decline, reference: str) -> Declined:
    return Declined(decline.code, decline.decline_code, decline.message, reference)


def _refund_failed(reference: str) -> Declined:
    return Declined(
        "expired_or_canceled_card", None, "The card that was charged takes no refund.", reference
    )


def _no_such(token: str) -> Declined:
    return Declined("resource_missing", None, f"No such PaymentMethod: '{token}'")
