"""The Stripe gateway against a Stripe that is not ours, over a line that loses things.

Whatever is lost: what is asked for with one key is charged once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import stripe

from local_stripe import Line, line_to, local_stripe
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
from postpaid.outside.gateways.stripe import KEYS_KEPT_S, StripeGateway
from postpaid.outside.gateways.tokens import is_stripe_token

DAY_S = 86_400
_numbers = count()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with local_stripe() as url:
        yield url


@pytest.fixture
def line(upstream: str) -> Iterator[Line]:
    with line_to(upstream) as opened:
        yield opened


@pytest.fixture
def client(upstream: str) -> Any:
    """To look at their books, and to make what is charged."""
    return stripe.StripeClient("sk_test_12345", base_addresses={"api": upstream}).v1


@pytest.fixture
def gateway(line: Line) -> Gateway:
    return StripeGateway("live", "sk_test_12345", base_url=line.url, timeout_s=(5, 1))


def token_of(client: Any, number: str = "4242424242424242") -> str:
    """A customer's card, as the gateway knows it."""
    customer = client.customers.create({"email": "ada@example.com"}).id
    card = {"number": number, "exp_month": 12, "exp_year": 2030, "cvc": "123"}
    method = client.payment_methods.create({"type": "card", "card": card}).id
    client.payment_methods.attach(method, {"customer": customer})
    return f"{customer}/{method}"


@pytest.fixture
def request_(client: Any) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=f"pa_{next(_numbers)}",
        token=token_of(client),
        amount=9900,
        currency="usd",
        off_session=True,
        description="in_1",
    )


def charges_of(client: Any, request: ChargeRequest) -> list[int]:
    """What the customer was charged, as their books have it."""
    customer = request.token.partition("/")[0]
    return [each.amount for each in client.charges.list({"customer": customer}).data if each.paid]


def refuse_to_act(
    gateway: Gateway, client: Any, line: Line, request: ChargeRequest
) -> tuple[ChargeRequest, str]:
    """The request and its reference, whose customer had to authenticate and failed to."""
    asked = replace(request, token=token_of(client, "4000002760003184"), off_session=False)
    outcome = gateway.charge(asked)
    assert isinstance(outcome, RequiresAction)
    act_on(line, outcome, success=False)
    return asked, outcome.reference


def act_on(line: Line, outcome: RequiresAction, *, success: bool) -> None:
    """What the customer does with the secret."""
    customer = stripe.StripeClient("sk_test_12345", base_addresses={"api": line.upstream})
    customer.raw_request(
        "post",
        f"/v1/payment_intents/{outcome.reference}/_authenticate",
        client_secret=outcome.client_secret,
        success=str(success).lower(),
    )


def pay_with(client: Any, request: ChargeRequest, reference: str, method: dict[str, Any]) -> Any:
    """What the customer who has the secret can do: confirm it again with something else."""
    made = client.payment_methods.create(method).id
    client.payment_methods.attach(made, {"customer": request.token.partition("/")[0]})
    client.payment_intents.update(reference, {"payment_method": made})
    return client.payment_intents.confirm(reference)


def ended(client: Any, reference: str, *, status: str) -> None:
    """Wait until a bank has decided."""
    until = time.monotonic() + 20
    while client.payment_intents.retrieve(reference).status != status:
        assert time.monotonic() < until
        time.sleep(0.05)


CARD = {
    "type": "card",
    "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
}
BAD_DEBIT = {"type": "sepa_debit", "sepa_debit": {"iban": "DE62370400440532013001"}}
NOT_AUTHENTICATED = "payment_intent_authentication_failure"


# ─── As it should be ─────────────────────────────────────────────────────────────────────────


def test_a_charge_is_made_and_found_again(
    gateway: Gateway, client: Any, request_: ChargeRequest
) -> None:
    outcome = gateway.charge(request_)
    assert isinstance(outcome, Succeeded)
    intent = client.payment_intents.retrieve(outcome.reference)
    assert (intent.amount, intent.currency, intent.status) == (9900, "usd", "succeeded")
    assert intent.metadata["postpaid_attempt"] == request_.idempotency_key
    assert gateway.ask(request_, outcome.reference) == outcome
    assert gateway.ask(request_, None) == outcome
    assert gateway.cancel(request_, outcome.reference) == outcome
    assert charges_of(client, request_) == [9900]


def test_a_declined_charge_is_declined_whenever_it_is_asked_about(
    gateway: Gateway, client: Any, request_: ChargeRequest
) -> None:
    request = replace(request_, token=token_of(client, "4000000000000341"))
    outcome = gateway.charge(request)
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.message) == ("card_declined", "Your card was declined.")
    again = gateway.ask(request, None)
    assert isinstance(again, Declined)
    assert again.code == outcome.code
    assert charges_of(client, request) == []


def test_what_was_never_asked_for_is_absent(gateway: Gateway, request_: ChargeRequest) -> None:
    assert gateway.ask(request_, None) == Absent()
    assert gateway.cancel(request_, None) == Absent()


def test_a_charge_that_waits_for_its_customer_can_be_given_up(
    gateway: Gateway, client: Any, request_: ChargeRequest
) -> None:
    request = replace(request_, token=token_of(client, "4000002760003184"), off_session=False)
    outcome = gateway.charge(request)
    assert isinstance(outcome, RequiresAction)
    assert outcome.client_secret
    assert gateway.ask(request, outcome.reference) == outcome
    given_up = gateway.cancel(request, None)
    assert given_up == Declined("canceled", None, "The payment was canceled.", outcome.reference)
    assert gateway.ask(request, outcome.reference) == given_up
    assert charges_of(client, request) == []


def test_a_customer_who_acted_has_paid(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    request = replace(request_, token=token_of(client, "4000002760003184"), off_session=False)
    outcome = gateway.charge(request)
    assert isinstance(outcome, RequiresAction)
    act_on(line, outcome, success=True)
    assert gateway.ask(request, outcome.reference) == Succeeded(outcome.reference)
    assert gateway.cancel(request, outcome.reference) == Succeeded(outcome.reference)
    assert charges_of(client, request) == [9900]


def test_what_is_declined_cannot_be_paid_any_more_by_who_has_the_secret(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    request, reference = refuse_to_act(gateway, client, line, request_)
    told = gateway.ask(request, reference)
    assert isinstance(told, Declined)
    assert (told.code, told.reference) == (NOT_AUTHENTICATED, reference)
    with pytest.raises(stripe.InvalidRequestError):
        pay_with(client, request, reference, CARD)
    assert client.payment_intents.retrieve(reference).status == "canceled"
    assert gateway.ask(request, reference) == gateway.ask(request, None) == told
    assert charges_of(client, request) == []


def test_what_is_paid_just_before_its_decline_is_told_is_paid(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    request, reference = refuse_to_act(gateway, client, line, request_)
    line.meanwhile.append(lambda: pay_with(client, request, reference, CARD))
    assert gateway.ask(request, reference) == Succeeded(reference)
    assert not line.meanwhile
    assert gateway.ask(request, reference) == Succeeded(reference)
    assert charges_of(client, request) == [9900]


def test_what_somebody_else_cancels_just_before_its_decline_is_told_is_declined(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    request, reference = refuse_to_act(gateway, client, line, request_)
    line.meanwhile.append(lambda: client.payment_intents.cancel(reference))
    told = gateway.ask(request, reference)
    assert isinstance(told, Declined)
    assert told.code == NOT_AUTHENTICATED
    assert not line.meanwhile


def test_what_a_bank_refuses_after_it_could_not_be_canceled_is_canceled_then(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    """The refusal to cancel while the bank decides is not given again to the later one."""
    request, reference = refuse_to_act(gateway, client, line, request_)
    line.meanwhile.append(lambda: pay_with(client, request, reference, BAD_DEBIT))
    assert gateway.ask(request, reference) == Processing(reference)
    ended(client, reference, status="requires_payment_method")
    assert isinstance(gateway.ask(request, reference), Declined)
    with pytest.raises(stripe.InvalidRequestError):
        pay_with(client, request, reference, CARD)
    assert charges_of(client, request) == []


def test_what_could_yet_be_paid_is_not_declined(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    """Whatever the reason is for which Stripe does not cancel it."""
    request, reference = refuse_to_act(gateway, client, line, request_)
    line.faults.append("refuse")
    assert isinstance(gateway.ask(request, reference), Unknown)
    assert client.payment_intents.retrieve(reference).status == "requires_payment_method"
    assert isinstance(gateway.ask(request, reference), Declined)
    assert client.payment_intents.retrieve(reference).status == "canceled"


def test_a_decline_that_nobody_could_have_acted_on_takes_one_request(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    request = replace(request_, token=token_of(client, "4000000000000341"))
    assert isinstance(gateway.charge(request), Declined)
    assert line.seen == [("POST", "/v1/payment_intents")]


def test_a_card_that_is_not_there_is_declined(
    gateway: Gateway, client: Any, request_: ChargeRequest
) -> None:
    customer = request_.token.partition("/")[0]
    assert isinstance(gateway.charge(replace(request_, token=f"{customer}/pm_x")), Declined)


def test_a_charge_is_given_back_once(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    charge = gateway.charge(request_)
    assert isinstance(charge, Succeeded)
    request = RefundRequest("re_1", charge.reference, 900, "usd", "requested_by_customer")
    assert gateway.ask_refund(request, None) == Absent()
    line.faults.extend(["lose answer"])
    assert isinstance(gateway.refund(request), Unknown)
    told = gateway.ask_refund(request, None)
    assert isinstance(told, Succeeded)
    assert gateway.refund(request) == gateway.ask_refund(request, told.reference) == told
    line.forget_keys()
    assert gateway.refund(replace(request, age_s=2 * DAY_S)) == told
    refunds = client.refunds.list({"payment_intent": charge.reference}).data
    assert [each.amount for each in refunds] == [900]


@pytest.mark.parametrize(
    ("number", "outcome"),
    [("4242424242424242", Succeeded), ("4000002760003184", RequiresAction)],
)
def test_a_card_is_set_up(gateway: Gateway, client: Any, number: str, outcome: type) -> None:
    request = SetupRequest(f"seti_{number}", token_of(client, number), off_session=False)
    told = gateway.set_up(request)
    assert isinstance(told, Succeeded | RequiresAction)
    assert type(told) is outcome
    assert gateway.ask_set_up(request, told.reference) == told


def test_a_card_that_cannot_be_set_up(gateway: Gateway, client: Any) -> None:
    customer = client.customers.create({}).id
    card = {"number": "4000000000000002", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
    method = client.payment_methods.create({"type": "card", "card": card}).id
    outcome = gateway.set_up(SetupRequest("seti_no", f"{customer}/{method}", off_session=False))
    assert isinstance(outcome, Declined)
    assert outcome.code == "card_declined"


# ─── What is lost ────────────────────────────────────────────────────────────────────────────

ARRIVED = ["lose answer", "reset", "stall", "answer 500", "answer 502", "answer 409", "answer 429"]


@pytest.mark.parametrize("fault", ARRIVED)
def test_a_charge_without_an_answer_is_found(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest, fault: str
) -> None:
    line.faults.append(fault)
    assert isinstance(gateway.charge(request_), Unknown)
    found = gateway.ask(replace(request_, age_s=60), None)
    assert isinstance(found, Succeeded)
    assert gateway.charge(replace(request_, age_s=60)) == found
    assert charges_of(client, request_) == [9900]


@pytest.mark.parametrize("fault", [*ARRIVED, "lose request"])
def test_a_refund_without_an_answer_is_made_once(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest, fault: str
) -> None:
    charge = gateway.charge(request_)
    assert isinstance(charge, Succeeded)
    request = RefundRequest(f"re_{next(_numbers)}", charge.reference, 900, "usd")
    line.faults.append(fault)
    assert isinstance(gateway.refund(request), Unknown)
    again = replace(request, age_s=60)
    found = gateway.ask_refund(again, None)
    assert found == Absent() if fault == "lose request" else isinstance(found, Succeeded)
    assert isinstance(gateway.refund(again), Succeeded)
    refunds = client.refunds.list({"payment_intent": charge.reference}).data
    assert [each.amount for each in refunds] == [900]


def test_a_charge_that_did_not_arrive_is_asked_for_again(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    line.faults.append("lose request")
    assert isinstance(gateway.charge(request_), Unknown)
    assert gateway.ask(replace(request_, age_s=60), None) == Absent()
    assert isinstance(gateway.charge(replace(request_, age_s=60)), Succeeded)
    assert charges_of(client, request_) == [9900]


@pytest.mark.parametrize("fault", ARRIVED)
def test_a_decline_without_an_answer_is_found(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest, fault: str
) -> None:
    request = replace(request_, token=token_of(client, "4000000000000341"))
    line.faults.append(fault)
    assert isinstance(gateway.charge(request), Unknown)
    assert isinstance(gateway.ask(replace(request, age_s=60), None), Declined)
    assert charges_of(client, request) == []


@pytest.mark.parametrize("fault", [*ARRIVED, "lose request"])
def test_while_it_is_not_known_that_it_is_canceled_it_is_not_declined(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest, fault: str
) -> None:
    request, reference = refuse_to_act(gateway, client, line, request_)
    line.faults.append(fault)
    assert isinstance(gateway.ask(request, reference), Unknown)
    assert not line.faults
    told = gateway.ask(request, reference)
    assert isinstance(told, Declined)
    assert (told.code, told.reference) == (NOT_AUTHENTICATED, reference)
    assert client.payment_intents.retrieve(reference).status == "canceled"


def test_what_was_asked_for_before_keys_were_forgotten_is_not_charged_again(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    line.faults.append("lose answer")
    assert isinstance(gateway.charge(request_), Unknown)
    line.forget_keys()
    later = replace(request_, age_s=KEYS_KEPT_S)
    outcome = gateway.charge(later)
    assert isinstance(outcome, Succeeded)
    assert gateway.ask(later, None) == outcome
    assert charges_of(client, request_) == [9900]


def test_a_key_that_was_used_for_something_else_decides_nothing(
    gateway: Gateway, client: Any, request_: ChargeRequest
) -> None:
    assert isinstance(gateway.charge(request_), Succeeded)
    assert isinstance(gateway.charge(replace(request_, amount=1)), Unknown)
    assert charges_of(client, request_) == [9900]


def test_nobody_there_decides_nothing(line: Line, request_: ChargeRequest) -> None:
    nobody = StripeGateway("live", "sk_test_12345", base_url="http://127.0.0.1:1")
    assert isinstance(nobody.charge(request_), Unknown)
    assert isinstance(nobody.ask(request_, None), Unknown)
    assert isinstance(nobody.ask(request_, "pi_1"), Unknown)
    assert isinstance(nobody.cancel(request_, None), Unknown)
    assert isinstance(nobody.refund(RefundRequest("re_1", "pi_1", 1, "usd")), Unknown)
    assert isinstance(nobody.ask_refund(RefundRequest("re_1", "pi_1", 1, "usd"), None), Unknown)
    assert isinstance(nobody.set_up(SetupRequest("seti_1", request_.token, True)), Unknown)


def test_a_key_of_ours_that_is_refused_is_not_the_customers_doing(
    line: Line, client: Any, request_: ChargeRequest
) -> None:
    stranger = StripeGateway("live", "nonsense", base_url=line.url)
    outcome: Outcome = stranger.charge(request_)
    assert isinstance(outcome, Unknown)
    assert "nonsense" not in outcome.reason
    assert charges_of(client, request_) == []


def test_a_question_about_a_reference_that_is_gone_decides_nothing(
    gateway: Gateway, request_: ChargeRequest
) -> None:
    assert isinstance(gateway.ask(request_, "pi_x"), Unknown)


def test_a_charge_is_found_among_many(
    gateway: Gateway, client: Any, line: Line, request_: ChargeRequest
) -> None:
    line.faults.append("lose answer")
    assert isinstance(gateway.charge(request_), Unknown)
    for number in range(120):
        client.payment_intents.create({"amount": 1, "currency": "usd", "metadata": {"n": number}})
    asked = len(line.seen)
    assert isinstance(gateway.ask(request_, None), Succeeded)
    assert gateway.ask(replace(request_, idempotency_key="pa_never"), None) == Absent()
    assert len(line.seen) - asked >= 3  # pages


def test_only_the_customers_payments_are_looked_through(
    gateway: Gateway, line: Line, request_: ChargeRequest
) -> None:
    gateway.ask(request_, None)
    assert f"customer={request_.token.partition('/')[0]}" in line.seen[-1][1]


@pytest.mark.parametrize(
    ("token", "good"),
    [
        ("cus_1/pm_1", True),
        ("cus_1/pm_1/us_bank_account", True),
        ("cus_1/card_1", True),
        ("cus_1", False),
        ("pm_1", False),
        ("cus_1/", False),
        ("/pm_1", False),
        ("cus_1/pm_1/card/x", False),
        ("", False),
    ],
)
def test_a_token_names_a_customer_and_a_payment_method(token: str, good: bool) -> None:
    assert is_stripe_token(token) is good
