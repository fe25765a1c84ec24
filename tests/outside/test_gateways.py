"""The test gateway: every card does what is written on it, and the same again when asked again."""

from dataclasses import replace

import pytest

from postpaid.outside.gateways import test as cards
from postpaid.outside.gateways.protocol import ChargeRequest, Declined, Gateway, Succeeded

GATEWAY: Gateway = cards.TestGateway()

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
    pm_card_chargeDeclinedExpiredCard            | expired_card            expired_card
    pm_card_chargeDeclinedIncorrectCvc           | incorrect_cvc           incorrect_cvc
    pm_card_chargeDeclinedProcessingError        | processing_error        processing_error
    pm_card_authenticationRequired               | authentication_required authentication_required
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


def test_asking_again_changes_nothing() -> None:
    for card in cards.CARDS:
        request = replace(REQUEST, token=card.token)
        assert GATEWAY.charge(request) == GATEWAY.charge(request)


def test_another_key_is_another_charge() -> None:
    assert GATEWAY.charge(REQUEST) != GATEWAY.charge(replace(REQUEST, idempotency_key="pa_2"))


def test_a_customer_who_is_there_can_authenticate() -> None:
    request = replace(REQUEST, token="pm_card_authenticationRequired", off_session=False)
    assert isinstance(GATEWAY.charge(request), Succeeded)


def test_an_unknown_card_is_declined() -> None:
    assert isinstance(GATEWAY.charge(replace(REQUEST, token="pm_card_x")), Declined)


def test_a_card_is_found_by_its_token_and_its_number() -> None:
    visa = cards.card_of_token("pm_card_visa")
    assert visa is not None
    assert visa == cards.card_of_token("tok_visa") == cards.card_of_number("4242424242424242")
    assert cards.card_of_token("pm_card_x") is None
    assert cards.card_of_number("4111111111111111") is None


def test_every_number_ends_in_its_check_digit() -> None:
    for card in cards.CARDS:
        digits = [int(digit) for digit in reversed(card.number)]
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
        assert (sum(digits[::2]) + sum(doubled)) % 10 == 0, card.token


def test_every_token_is_one_cards() -> None:
    assert len({card.token for card in cards.CARDS}) == len(cards.CARDS)
