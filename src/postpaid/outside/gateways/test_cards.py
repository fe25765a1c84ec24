"""Cards and bank accounts that exist only for the test gateway: what is printed on them, and
what they do when charged, set up or paid back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Literal, TypeAlias

Brand = Literal["amex", "diners", "discover", "jcb", "mastercard", "unionpay", "visa"]
Funding = Literal["credit", "debit", "prepaid"]


@dataclass(frozen=True, slots=True)
class Decline:
    """How it says no: Stripe's error code, the issuer's reason, and a sentence for a person."""

    code: str
    decline_code: str | None
    message: str


class Authentication(Enum):
    """When a customer has to prove who they are."""

    NEVER = auto()
    ON_SESSION = auto()  # whoever is there; who is not has been set up for it
    ALWAYS = auto()  # and who is not there is declined


class Fault(Enum):
    """What goes wrong on the way to the gateway and back."""

    NONE = auto()
    SLOW = auto()
    REQUEST_LOST = auto()  # no answer to the first, which did not arrive
    TIMEOUT = auto()  # the same, and the library raises
    ANSWER_LOST = auto()  # no answer to the first, which was acted on
    UNDECIDED = auto()  # never an answer that decides, whatever is asked


class Refunds(Enum):
    """What becomes of a refund."""

    SUCCEED = auto()
    PEND = auto()  # and succeed later
    FAIL = auto()  # later
    REFUSED = auto()  # at once


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card that exists only here."""

    token: str
    number: str
    brand: Brand = "visa"
    funding: Funding = "credit"
    country: str = "US"
    decline: Decline | None = None
    authentication: Authentication = Authentication.NEVER
    can_be_set_up: bool = True  # whether a card that declines charges does not decline that too
    fault: Fault = Fault.NONE
    refunds: Refunds = Refunds.SUCCEED

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for the same number, which it does not give away."""
        return _fingerprint(self.number)


@dataclass(frozen=True, slots=True)
class TestBankAccount:
    """A bank account that exists only here; its debits are under way before they are decided."""

    token: str
    number: str
    decline: Decline | None = None
    stays_processing: bool = False
    routing_number: str = "110000000"

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for the same number, which it does not give away."""
        return _fingerprint(f"{self.routing_number}/{self.number}")


TestMeans: TypeAlias = TestCard | TestBankAccount


def means_of_token(token: str) -> TestMeans | None:
    """The card or bank account that the test gateway knows by this token."""
    return card_of_token(token) or bank_account_of_token(token)


def card_of_token(token: str) -> TestCard | None:
    """The card of ``pm_card_visa``, or of ``tok_visa``, which is the same card."""
    if token.startswith("tok_"):
        token = "pm_card_" + token.removeprefix("tok_")
    return _CARD_BY_TOKEN.get(token)


def card_of_number(number: str) -> TestCard | None:
    """The card with this number, its digits only."""
    return _CARD_BY_NUMBER.get(number)


def bank_account_of_token(token: str) -> TestBankAccount | None:
    """The bank account of ``pm_usBankAccount_success`` and the like."""
    return _BANK_ACCOUNT_BY_TOKEN.get(token)


def bank_account_of_number(routing_number: str, number: str) -> TestBankAccount | None:
    """The bank account with this number at this bank."""
    return _BANK_ACCOUNT_BY_NUMBER.get((routing_number, number))


def _fingerprint(number: str) -> str:
    return sha256(number.encode()).hexdigest()[:16]


# ─── How they say no ─────────────────────────────────────────────────────────────────────────

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
INCORRECT_NUMBER = Decline("incorrect_number", "incorrect_number", "Your card number is incorrect.")
PROCESSING_ERROR = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
)
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    None,
    "The customer could not be authenticated, so the payment method was not charged.",
)
NOT_ENROLLED = Decline(
    "card_declined", "card_not_enrolled", "Your card is not enrolled for authentication."
)

# Stripe: what an issuer can answer. Those with an error code of their own bear it as both.
_OWN_ERROR_CODE = """
    authentication_required expired_card incorrect_cvc incorrect_number incorrect_zip invalid_cvc
    invalid_expiry_month invalid_expiry_year invalid_number processing_error
"""
_DECLINE_CODES = """
    approve_with_id authentication_not_handled authentication_required call_issuer
    card_not_supported card_velocity_exceeded currency_not_supported do_not_honor do_not_try_again
    duplicate_transaction expired_card fraudulent generic_decline highest_risk_level incorrect_cvc
    incorrect_number incorrect_pin incorrect_zip insufficient_funds invalid_account invalid_amount
    invalid_cvc invalid_expiry_month invalid_expiry_year invalid_number invalid_pin
    issuer_not_available lost_card merchant_blacklist mobile_device_authentication_required
    new_account_information_available no_action_taken not_permitted offline_pin_required
    online_or_offline_pin_required pickup_card pin_try_exceeded previously_declined_do_not_retry
    processing_error reenter_transaction restricted_card revocation_of_all_authorizations
    revocation_of_authorization security_violation service_not_allowed stolen_card
    stop_payment_order testmode_decline transaction_not_allowed try_again_later
    withdrawal_count_limit_exceeded
"""
DECLINE_CODES = _DECLINE_CODES.split()

_WORDED = {
    each.decline_code: each
    for each in (
        GENERIC,
        INSUFFICIENT,
        VELOCITY,
        EXPIRED,
        INCORRECT_CVC,
        INCORRECT_NUMBER,
        PROCESSING_ERROR,
        AUTHENTICATION_REQUIRED,
    )
}


def _decline_of(code: str) -> Decline:
    """Stripe: a reason that a cardholder need not know is told to nobody but the merchant."""
    own = code if code in _OWN_ERROR_CODE.split() else "card_declined"
    return _WORDED.get(code) or Decline(own, code, _NO)


# ─── Cards ───────────────────────────────────────────────────────────────────────────────────

_HERE = Authentication.ON_SESSION
_EVERYWHERE = Authentication.ALWAYS


def _declining(token: str, number: str, decline: Decline) -> TestCard:
    """Stripe: one that says no to being set up, too."""
    return TestCard(token, number, decline=decline, can_be_set_up=False)


def _invented(prefix: str, tokens: list[str]) -> Iterator[tuple[str, str]]:
    """A number for each token, for cards of which Stripe prints none."""
    for place, token in enumerate(tokens):
        digits = f"{prefix}{place:0{15 - len(prefix)}}"
        doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[::-2]]
        total = sum(doubled) + sum(int(digit) for digit in digits[-2::-2])
        yield token, digits + str(-total % 10)


BY_BRAND = [
    TestCard("pm_card_visa", "4242424242424242"),
    TestCard("pm_card_visa_debit", "4000056655665556", funding="debit"),
    TestCard("pm_card_mastercard", "5555555555554444", "mastercard"),
    TestCard("pm_card_mastercard_2series", "2223003122003222", "mastercard"),
    TestCard("pm_card_mastercard_debit", "5200828282828210", "mastercard", "debit"),
    TestCard("pm_card_mastercard_prepaid", "5105105105105100", "mastercard", "prepaid"),
    TestCard("pm_card_amex", "378282246310005", "amex"),
    TestCard("pm_card_amex_other", "371449635398431", "amex"),
    TestCard("pm_card_discover", "6011111111111117", "discover"),
    TestCard("pm_card_discover_other", "6011000990139424", "discover"),
    TestCard("pm_card_discover_debit", "6011981111111113", "discover", "debit"),
    TestCard("pm_card_diners", "3056930009020004", "diners"),
    TestCard("pm_card_jcb", "3566002020360505", "jcb", country="JP"),
    TestCard("pm_card_unionpay", "6200000000000005", "unionpay", country="CN"),
]
BY_COUNTRY = [
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
]
DECLINED = [
    TestCard("pm_card_chargeCustomerFail", "4000000000000341", decline=GENERIC),
    TestCard("pm_card_visa_chargeCustomerFail", "4000000000000341", decline=GENERIC),
    *(
        _declining(prefix + token, number, decline)
        for token, number, decline in [
            ("chargeDeclined", "4000000000000002", GENERIC),
            ("chargeDeclinedInsufficientFunds", "4000000000009995", INSUFFICIENT),
            ("chargeDeclinedLostCard", "4000000000009987", LOST),
            ("chargeDeclinedStolenCard", "4000000000009979", STOLEN),
            ("chargeDeclinedVelocityLimitExceeded", "4000000000006975", VELOCITY),
            ("chargeDeclinedExpiredCard", "4000000000000069", EXPIRED),
            ("chargeDeclinedIncorrectCvc", "4000000000000127", INCORRECT_CVC),
            ("chargeDeclinedProcessingError", "4000000000000119", PROCESSING_ERROR),
            ("chargeDeclinedFraudulent", "4100000000000019", FRAUDULENT),
        ]
        for prefix in ("pm_card_visa_", "pm_card_")
    ),
    _declining("pm_card_radarBlock", "4100000000000019", FRAUDULENT),
    # Frame's, by number.
    *(
        TestCard(f"pm_card_frame_{code}", number, decline=_decline_of(code))
        for code, number in [
            ("expired_card", "4726840306461785"),
            ("incorrect_cvc", "4726840756845529"),
            ("processing_error", "4726849921107855"),
            ("incorrect_number", "4726843991344803"),
            ("insufficient_funds", "4726846912498186"),
            ("stolen_card", "4726843338079575"),
            ("generic_decline", "4726848138487043"),
            ("card_velocity_exceeded", "4726848912206759"),
        ]
    ),
    # Ours: every other reason, by name. They attach, and decline when charged.
    *(
        TestCard(f"pm_card_chargeDeclined_{code}", number, decline=_decline_of(code))
        for code, number in _invented("40000099", DECLINE_CODES)
    ),
]
AUTHENTICATED = [
    TestCard(
        "pm_card_authenticationRequired",
        "4000002760003184",
        country="DE",
        authentication=_EVERYWHERE,
    ),
    TestCard(
        "pm_card_authenticationRequiredOnSetup",
        "4000002500003155",
        country="FR",
        authentication=_HERE,
    ),
    TestCard(
        "pm_card_authenticationRequiredSetupForOffSession",
        "4000003800000446",
        country="IT",
        authentication=_HERE,
    ),
    TestCard(
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        country="GB",
        decline=INSUFFICIENT,
        authentication=_HERE,
    ),
    TestCard(
        "pm_card_threeDSecure2Required",
        "4000000000003220",
        authentication=_EVERYWHERE,
    ),
    TestCard(
        "pm_card_threeDSecureRequired",
        "4000000000003063",
        authentication=_EVERYWHERE,
    ),
    TestCard(
        "pm_card_threeDSecureRequiredChargeDeclined",
        "4000008400001629",
        decline=GENERIC,
        authentication=_EVERYWHERE,
    ),
    TestCard("pm_card_threeDSecureRequiredProcessingError", "4000008400001280", decline=GENERIC),
    TestCard("pm_card_threeDSecureOptional", "4000000000003055"),
    TestCard("pm_card_threeDSecureOptionalProcessingError", "4000000000003097"),
    TestCard("pm_card_amex_threeDSecureNotSupported", "378282246310005", "amex"),
    # Frame's: what is asked of the customer is done without them.
    TestCard("pm_card_frame_frictionless", "4111110116638870"),
    TestCard("pm_card_frame_not_enrolled", "4111111738973695", decline=NOT_ENROLLED),
]
REFUNDED = [
    TestCard("pm_card_pendingRefund", "4000000000007726", refunds=Refunds.PEND),
    TestCard("pm_card_refundFail", "4000000000005126", refunds=Refunds.FAIL),
]
_FAULTS = {
    "pm_card_answerLost": (None, Fault.ANSWER_LOST),
    "pm_card_answerLostDeclined": (GENERIC, Fault.ANSWER_LOST),
    "pm_card_requestLost": (None, Fault.REQUEST_LOST),
    "pm_card_requestLostDeclined": (GENERIC, Fault.REQUEST_LOST),
    "pm_card_timeout": (None, Fault.TIMEOUT),
    "pm_card_slow": (None, Fault.SLOW),
    "pm_card_undecided": (None, Fault.UNDECIDED),
}
FAULTY = [
    TestCard(token, number, decline=_FAULTS[token][0], fault=_FAULTS[token][1])
    for token, number in _invented("40000098", list(_FAULTS))
] + [
    TestCard(token, number, refunds=Refunds.REFUSED)
    for token, number in _invented("40000097", ["pm_card_refundRefused"])
]
CARDS = [*BY_BRAND, *BY_COUNTRY, *DECLINED, *AUTHENTICATED, *REFUNDED, *FAULTY]

# Of two names for one number the first is the number's own.
_CARD_BY_TOKEN = {card.token: card for card in CARDS}
_CARD_BY_NUMBER = {card.number: card for card in reversed(CARDS)}

# ─── Bank accounts ───────────────────────────────────────────────────────────────────────────

BANK_ACCOUNTS = [
    TestBankAccount("pm_usBankAccount_success", "000123456789"),
    TestBankAccount("pm_usBankAccount", "000123456789"),
    TestBankAccount("pm_usBankAccount_processing", "000000000009", stays_processing=True),
    *(
        TestBankAccount(f"pm_usBankAccount_{token}", number, Decline(code, None, message))
        for token, number, code, message in [
            (
                "accountClosed",
                "000111111113",
                "account_closed",
                "The customer's bank account has been closed.",
            ),
            (
                "noAccount",
                "000111111116",
                "no_account",
                "The customer's bank account could not be located.",
            ),
            (
                "insufficientFunds",
                "000222222227",
                "insufficient_funds",
                "The customer's account has insufficient funds to cover this payment.",
            ),
            (
                "debitNotAuthorized",
                "000333333335",
                "debit_not_authorized",
                "The customer has notified their bank that this payment was unauthorized.",
            ),
            (
                "invalidCurrency",
                "000444444440",
                "invalid_currency",
                "The bank was unable to process this transaction because of its currency.",
            ),
        ]
    ),
]

_BANK_ACCOUNT_BY_TOKEN = {each.token: each for each in BANK_ACCOUNTS}
_BANK_ACCOUNT_BY_NUMBER = {
    (each.routing_number, each.number): each for each in reversed(BANK_ACCOUNTS)
}
