"""The ``test`` gateway: Stripe's test cards, which take no money and always do the same.

What a card does is written on it, so an outcome depends on nothing but the request: asking again
with the same key says the same again, without anything to remember.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from postpaid.outside.gateways.protocol import ChargeRequest, Declined, Outcome, Succeeded

NAME = "test"

Brand = Literal["amex", "diners", "discover", "jcb", "mastercard", "unionpay", "visa"]
Funding = Literal["credit", "debit", "prepaid"]


@dataclass(frozen=True, slots=True)
class Decline:
    """How a card says no; with ``only_off_session``, to a customer who is not there."""

    code: str
    decline_code: str | None
    message: str
    only_off_session: bool = False


_NO = "Your card was declined."
GENERIC = Decline("card_declined", "generic_decline", _NO)
INSUFFICIENT = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST = Decline("card_declined", "lost_card", _NO)
STOLEN = Decline("card_declined", "stolen_card", _NO)
VELOCITY = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount "
    "limit.",
)
FRAUDULENT = Decline("card_declined", "fraudulent", _NO)
EXPIRED = Decline("expired_card", "expired_card", "Your card has expired.")
INCORRECT_CVC = Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
PROCESSING_ERROR = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
)
AUTHENTICATION = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    only_off_session=True,
)


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card that exists only here: what is printed on it, and what it says when charged."""

    token: str
    number: str
    brand: Brand = "visa"
    funding: Funding = "credit"
    country: str = "US"
    decline: Decline | None = None

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for the same number, which it does not give away."""
        return sha256(self.number.encode()).hexdigest()[:16]


CARDS = [
    TestCard("pm_card_visa", "4242424242424242"),
    TestCard("pm_card_visa_debit", "4000056655665556", funding="debit"),
    TestCard("pm_card_mastercard", "5555555555554444", "mastercard"),
    TestCard("pm_card_mastercard_debit", "5200828282828210", "mastercard", "debit"),
    TestCard("pm_card_mastercard_prepaid", "5105105105105100", "mastercard", "prepaid"),
    TestCard("pm_card_amex", "378282246310005", "amex"),
    TestCard("pm_card_discover", "6011111111111117", "discover"),
    TestCard("pm_card_diners", "3056930009020004", "diners"),
    TestCard("pm_card_jcb", "3566002020360505", "jcb", country="JP"),
    TestCard("pm_card_unionpay", "6200000000000005", "unionpay", country="CN"),
    # By country.
    TestCard("pm_card_us", "4242424242424242"),
    TestCard("pm_card_at", "4000000400000008", country="AT"),
    TestCard("pm_card_au", "4000000360000006", country="AU"),
    TestCard("pm_card_be", "4000000560000004", country="BE"),
    TestCard("pm_card_br", "4000000760000002", country="BR"),
    TestCard("pm_card_ca", "4000001240000000", country="CA"),
    TestCard("pm_card_ch", "4000007560000009", country="CH"),
    TestCard("pm_card_cn", "4000001560000002", country="CN"),
    TestCard("pm_card_de", "4000002760000016", country="DE"),
    TestCard("pm_card_es", "4000007240000007", country="ES"),
    TestCard("pm_card_fr", "4000002500000003", country="FR"),
    TestCard("pm_card_gb", "4000008260000000", country="GB"),
    TestCard("pm_card_hk", "4000003440000004", country="HK"),
    TestCard("pm_card_ie", "4000003720000005", country="IE"),
    TestCard("pm_card_in", "4000003560000008", country="IN"),
    TestCard("pm_card_it", "4000003800000008", country="IT"),
    TestCard("pm_card_jp", "4000003920000003", country="JP"),
    TestCard("pm_card_mx", "4000004840008001", country="MX"),
    TestCard("pm_card_nl", "4000005280000002", country="NL"),
    TestCard("pm_card_nz", "4000005540000008", country="NZ"),
    TestCard("pm_card_se", "4000007520000008", country="SE"),
    TestCard("pm_card_sg", "4000007020000003", country="SG"),
    # Those that say no.
    TestCard("pm_card_chargeCustomerFail", "4000000000000341", decline=GENERIC),
    TestCard("pm_card_visa_chargeDeclined", "4000000000000002", decline=GENERIC),
    TestCard("pm_card_chargeDeclined", "4000000000000002", decline=GENERIC),
    TestCard(
        "pm_card_visa_chargeDeclinedInsufficientFunds", "4000000000009995", decline=INSUFFICIENT
    ),
    TestCard("pm_card_chargeDeclinedInsufficientFunds", "4000000000009995", decline=INSUFFICIENT),
    TestCard("pm_card_visa_chargeDeclinedLostCard", "4000000000009987", decline=LOST),
    TestCard("pm_card_chargeDeclinedLostCard", "4000000000009987", decline=LOST),
    TestCard("pm_card_visa_chargeDeclinedStolenCard", "4000000000009979", decline=STOLEN),
    TestCard("pm_card_chargeDeclinedStolenCard", "4000000000009979", decline=STOLEN),
    TestCard(
        "pm_card_visa_chargeDeclinedVelocityLimitExceeded", "4000000000006975", decline=VELOCITY
    ),
    TestCard("pm_card_chargeDeclinedExpiredCard", "4000000000000069", decline=EXPIRED),
    TestCard("pm_card_chargeDeclinedIncorrectCvc", "4000000000000127", decline=INCORRECT_CVC),
    TestCard("pm_card_chargeDeclinedProcessingError", "4000000000000119", decline=PROCESSING_ERROR),
    TestCard("pm_card_radarBlock", "4100000000000019", decline=FRAUDULENT),
    TestCard(
        "pm_card_authenticationRequired", "4000002760003184", "visa", "credit", "DE", AUTHENTICATION
    ),
    TestCard(
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        country="GB",
        decline=INSUFFICIENT,
    ),
]

# Of two names for one number the first is the number's own.
_BY_TOKEN = {card.token: card for card in CARDS}
_BY_NUMBER = {card.number: card for card in reversed(CARDS)}


def card_of_token(token: str) -> TestCard | None:
    """The card of ``pm_card_visa``, or of ``tok_visa``, which is the same card."""
    if token.startswith("tok_"):
        token = "pm_card_" + token.removeprefix("tok_")
    return _BY_TOKEN.get(token)


def card_of_number(number: str) -> TestCard | None:
    """The card with this number, its digits only."""
    return _BY_NUMBER.get(number)


class TestGateway:
    """A `Gateway` that answers by its table of cards, and charges nobody."""

    name = NAME

    def charge(self, request: ChargeRequest) -> Outcome:
        card = card_of_token(request.token)
        if card is None:
            return Declined("resource_missing", None, f"No such card: '{request.token}'")
        reference = "ch_" + sha256(request.idempotency_key.encode()).hexdigest()[:24]
        no = card.decline
        if no is not None and (request.off_session or not no.only_off_session):
            return Declined(no.code, no.decline_code, no.message, reference)
        return Succeeded(reference)
