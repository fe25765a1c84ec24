"""The test gateway: every card does what is written on it, and the same again when asked again."""

from dataclasses import replace

import pytest

from postpaid.outside.gateways import test_cards as cards
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Gateway,
    Outcome,
    Processing,
    RefundRequest,
    RequiresAction,
    SetupRequest,
    Succeeded,
    Unknown,
)
from postpaid.outside.gateways.test import TestGateway as Till

GATEWAY = Till()
AS_PROMISED: Gateway = GATEWAY

REQUEST = ChargeRequest(
    idempotency_key="pa_1",
    token="pm_card_visa",
    amount=9900,
    currency="usd",
    off_session=True,
    description="in_1",
)

# What a card answers off session: code | decline code.
OUTCOMES = """
    pm_card_visa                                 |
    pm_card_amex                                 |
    pm_card_jp                                   |
    pm_card_chargeCustomerFail                   | card_declined           generic_decline
    pm_card_visa_chargeDeclined                  | card_declined           generic_decline
    pm_card_chargeDeclined                       | card_declined           generic_decline
    pm_card_chargeDeclinedInsufficientFunds      | card_declined           insufficient_funds
    pm_card_visa_chargeDeclinedInsufficientFunds | card_declined           insufficient_funds
    pm_card_visa_chargeDeclinedLostCard          | card_declined           lost_card
    pm_card_visa_chargeDeclinedStolenCard        | card_declined           stolen_card
    pm_card_visa_chargeDeclinedFraudulent        | card_declined           fraudulent
    pm_card_chargeDeclinedExpiredCard            | expired_card            expired_card
    pm_card_chargeDeclinedIncorrectCvc           | incorrect_cvc           incorrect_cvc
    pm_card_chargeDeclinedProcessingError        | processing_error        processing_error
    pm_card_chargeDeclined_do_not_honor          | card_declined           do_not_honor
    pm_card_chargeDeclined_try_again_later       | card_declined           try_again_later
    pm_card_chargeDeclined_incorrect_zip         | incorrect_zip           incorrect_zip
    pm_card_frame_incorrect_number               | incorrect_number        incorrect_number
    pm_card_frame_frictionless                   |
    pm_card_authenticationRequired               | authentication_required authentication_required
    pm_card_authenticationRequiredOnSetup        |
    pm_card_authenticationRequiredSetupForOffSession |
    pm_card_authenticationRequiredChargeDeclinedInsufficientFunds | card_declined insufficient_funds
    pm_card_threeDSecure2Required                | authentication_required authentication_required
    pm_card_threeDSecureOptional                 |
    pm_card_refundFail                           |
"""


@pytest.mark.parametrize("row", OUTCOMES.strip().splitlines())
def test_a_card_does_what_is_written_on_it(row: str) -> None:
    token, _, expected = (cell.strip() for cell in row.partition("|"))
    outcome = GATEWAY.charge(replace(REQUEST, token=token))
    if isinstance(outcome, Declined):
        assert [outcome.code, outcome.decline_code] == expected.split()
        assert outcome.message.endswith(".")
    else:
        assert isinstance(outcome, Succeeded)
        assert not expected


def test_every_decline_code_is_a_cards() -> None:
    for code in cards.DECLINE_CODES:
        outcome = GATEWAY.charge(replace(REQUEST, token=f"pm_card_chargeDeclined_{code}"))
        assert isinstance(outcome, Declined)
        assert outcome.decline_code == code


SETTLED_AT_ONCE = [card for card in cards.CARDS if card.fault == cards.Fault.NONE]


def test_asking_again_changes_nothing() -> None:
    for card in SETTLED_AT_ONCE:
        for off_session in (True, False):
            request = replace(REQUEST, token=card.token, off_session=off_session)
            outcome = GATEWAY.charge(request)
            assert GATEWAY.charge(replace(request, age_s=90)) == outcome
            assert GATEWAY.ask(replace(request, age_s=90), None) == outcome


def test_another_key_is_another_charge() -> None:
    assert GATEWAY.charge(REQUEST) != GATEWAY.charge(replace(REQUEST, idempotency_key="pa_2"))


def test_an_unknown_card_is_declined_and_was_never_charged() -> None:
    request = replace(REQUEST, token="pm_card_x")
    assert isinstance(GATEWAY.charge(request), Declined)
    assert GATEWAY.ask(request, None) == Absent()


# ─── Customers who must act ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "token",
    [
        "pm_card_authenticationRequired",
        "pm_card_authenticationRequiredOnSetup",
        "pm_card_authenticationRequiredSetupForOffSession",
        "pm_card_threeDSecure2Required",
        "pm_card_threeDSecureRequiredChargeDeclined",
    ],
)
def test_a_customer_who_is_there_is_asked_to_authenticate(token: str) -> None:
    request = replace(REQUEST, token=token, off_session=False)
    outcome = GATEWAY.charge(request)
    assert isinstance(outcome, RequiresAction)
    assert GATEWAY.ask(request, outcome.reference) == outcome
    given_up = GATEWAY.cancel(request, outcome.reference)
    assert isinstance(given_up, Declined)
    assert given_up.reference == outcome.reference


def test_what_follows_authentication_is_written_on_the_card_too() -> None:
    request = replace(REQUEST, token="pm_card_authenticationRequired", off_session=False)
    waiting = GATEWAY.charge(request)
    assert isinstance(waiting, RequiresAction)
    assert GATEWAY.authenticate(request, succeeds=True) == Succeeded(waiting.reference)
    failed = GATEWAY.authenticate(request, succeeds=False)
    assert isinstance(failed, Declined)
    assert failed.code == "payment_intent_authentication_failure"
    request = replace(request, token="pm_card_threeDSecureRequiredChargeDeclined")
    declined = GATEWAY.authenticate(request, succeeds=True)
    assert isinstance(declined, Declined)
    assert declined.decline_code == "generic_decline"


def test_what_succeeded_cannot_be_given_up() -> None:
    assert GATEWAY.cancel(REQUEST, None) == GATEWAY.charge(REQUEST)


# What setting a card up answers: the customer is there | is not.
SET_UPS = """
    pm_card_visa                                     Succeeded      Succeeded
    pm_card_chargeCustomerFail                       Succeeded      Succeeded
    pm_card_chargeDeclined                           Declined       Declined
    pm_card_authenticationRequired                   RequiresAction Declined
    pm_card_authenticationRequiredOnSetup            RequiresAction Declined
    pm_card_authenticationRequiredSetupForOffSession Succeeded      Succeeded
    pm_usBankAccount_success                         Succeeded      Succeeded
    pm_card_x                                        Declined       Declined
"""


@pytest.mark.parametrize("row", SET_UPS.strip().splitlines())
def test_a_card_is_set_up_as_it_says(row: str) -> None:
    token, *expected = row.split()
    outcomes = [GATEWAY.set_up(SetupRequest("seti_1", token, absent)) for absent in (False, True)]
    assert [type(each).__name__ for each in outcomes] == expected


# ─── Bank accounts ───────────────────────────────────────────────────────────────────────────


def test_a_debit_is_under_way_before_it_is_decided() -> None:
    request = replace(REQUEST, token="pm_usBankAccount_success")
    outcome = GATEWAY.charge(request)
    assert isinstance(outcome, Processing)
    assert GATEWAY.ask(request, outcome.reference) == Succeeded(outcome.reference)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("pm_usBankAccount_accountClosed", "account_closed"),
        ("pm_usBankAccount_noAccount", "no_account"),
        ("pm_usBankAccount_insufficientFunds", "insufficient_funds"),
        ("pm_usBankAccount_debitNotAuthorized", "debit_not_authorized"),
    ],
)
def test_a_debit_fails_later(token: str, code: str) -> None:
    request = replace(REQUEST, token=token)
    outcome = GATEWAY.charge(request)
    assert isinstance(outcome, Processing)
    failed = GATEWAY.ask(request, outcome.reference)
    assert isinstance(failed, Declined)
    assert (failed.code, failed.reference) == (code, outcome.reference)


def test_a_debit_that_is_never_decided_can_be_given_up() -> None:
    request = replace(REQUEST, token="pm_usBankAccount_processing")
    outcome = GATEWAY.charge(request)
    assert isinstance(outcome, Processing)
    assert GATEWAY.ask(request, outcome.reference) == outcome
    assert isinstance(GATEWAY.cancel(request, outcome.reference), Declined)


# ─── What goes wrong ─────────────────────────────────────────────────────────────────────────


def answers(token: str) -> tuple[type, type, type]:
    """To the first request, to the question what became of it, and to the same request later."""
    request = replace(REQUEST, token=token)
    later = replace(request, age_s=90)
    first: Outcome | Absent
    try:
        first = GATEWAY.charge(request)
    except TimeoutError:
        first = Unknown("It raised.")
    return type(first), type(GATEWAY.ask(later, None)), type(GATEWAY.charge(later))


def test_an_answer_that_is_lost_leaves_what_was_done() -> None:
    assert answers("pm_card_answerLost") == (Unknown, Succeeded, Succeeded)
    assert answers("pm_card_answerLostDeclined") == (Unknown, Declined, Declined)


def test_a_request_that_is_lost_did_nothing() -> None:
    assert answers("pm_card_requestLost") == (Unknown, Absent, Succeeded)
    assert answers("pm_card_requestLostDeclined") == (Unknown, Absent, Declined)
    assert answers("pm_card_timeout") == (Unknown, Absent, Succeeded)


def test_a_gateway_may_never_know() -> None:
    assert answers("pm_card_undecided") == (Unknown, Unknown, Unknown)


def test_a_slow_gateway_answers_in_the_end() -> None:
    assert answers("pm_card_slow") == (Succeeded, Succeeded, Succeeded)


# ─── Refunds ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("token", "first", "later"),
    [
        ("pm_card_visa", Succeeded, Succeeded),
        ("pm_usBankAccount_success", Succeeded, Succeeded),
        ("pm_card_pendingRefund", Processing, Succeeded),
        ("pm_card_refundFail", Processing, Declined),
        ("pm_card_refundRefused", Declined, Declined),
    ],
)
def test_a_refund_does_what_is_written_on_the_card(token: str, first: type, later: type) -> None:
    charge = GATEWAY.charge(replace(REQUEST, token=token))
    assert isinstance(charge, Succeeded | Processing)
    request = RefundRequest("re_1", charge.reference, 500, "usd")
    outcome = GATEWAY.refund(request)
    assert type(outcome) is first
    assert GATEWAY.refund(request) == outcome
    assert type(GATEWAY.ask_refund(request, None)) is later


# ─── The tables ──────────────────────────────────────────────────────────────────────────────


def test_a_card_is_found_by_its_token_and_its_number() -> None:
    visa = cards.card_of_token("pm_card_visa")
    assert visa is not None
    assert visa == cards.card_of_token("tok_visa") == cards.card_of_number("4242424242424242")
    assert cards.card_of_token("pm_card_x") is None
    assert cards.card_of_number("4111111111111111") is None


def test_a_bank_account_is_found_by_its_token_and_its_number() -> None:
    account = cards.bank_account_of_token("pm_usBankAccount_success")
    assert account is not None
    assert account == cards.bank_account_of_number("110000000", "000123456789")
    assert cards.bank_account_of_token("pm_usBankAccount_x") is None
    assert cards.bank_account_of_number("110000000", "1") is None


def test_every_number_ends_in_its_check_digit() -> None:
    for card in cards.CARDS:
        digits = [int(digit) for digit in reversed(card.number)]
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
        assert (sum(digits[::2]) + sum(doubled)) % 10 == 0, card.token


def test_every_token_is_one_cards() -> None:
    everything = [*cards.CARDS, *cards.BANK_ACCOUNTS]
    assert len({each.token for each in everything}) == len(everything)
