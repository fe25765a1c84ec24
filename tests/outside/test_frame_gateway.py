"""The Frame gateway against a small double of Frame, which need not honour keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from frame_double import KEY, FrameDouble, frame_double

from postpaid.outside.gateways.frame import ON_ITS_WAY_S, FrameGateway
from postpaid.outside.gateways.manual import ManualGateway
from postpaid.outside.gateways.protocol import (
    Absent,
    ChargeRequest,
    Declined,
    Gateway,
    Processing,
    RefundRequest,
    RequiresAction,
    SetupRequest,
    Succeeded,
    Unknown,
)
from postpaid.outside.gateways.tokens import is_frame_token

REQUEST = ChargeRequest(
    idempotency_key="pa_1",
    token="acc_1/pm_1",
    amount=9900,
    currency="usd",
    off_session=True,
    description="in_1",
)
LATER = replace(REQUEST, age_s=ON_ITS_WAY_S)


@pytest.fixture
def frame() -> Iterator[FrameDouble]:
    with frame_double() as double:
        yield double


@pytest.fixture
def gateway(frame: FrameDouble) -> Gateway:
    return FrameGateway("frame", KEY, base_url=frame.url, timeout_s=(5, 1))


def test_a_charge_is_a_transfer(gateway: Gateway, frame: FrameDouble) -> None:
    outcome = gateway.charge(REQUEST)
    [made] = frame.transfers
    assert outcome == Succeeded(made["id"])
    assert (made["amount"], made["currency"], made["reference"]) == (9900, "USD", "pa_1")
    assert (made["account_id"], made["source_payment_method_id"]) == ("acc_1", "pm_1")
    assert gateway.ask(REQUEST, made["id"]) == gateway.ask(REQUEST, None) == outcome
    assert gateway.cancel(REQUEST, None) == outcome


def test_euros_take_days(gateway: Gateway, frame: FrameDouble) -> None:
    request = replace(REQUEST, currency="eur")
    outcome = gateway.charge(request)
    assert isinstance(outcome, Processing)
    assert gateway.ask(request, outcome.reference) == outcome
    frame.transfers[0]["status"] = "succeeded"
    assert gateway.ask(request, outcome.reference) == Succeeded(outcome.reference)


@pytest.mark.parametrize(
    ("token", "reason"),
    [("acc_1/pm_insufficient", "insufficient_funds"), ("acc_1/pm_expired", "expired_card")],
)
def test_a_decline_has_its_reason(gateway: Gateway, token: str, reason: str) -> None:
    request = replace(REQUEST, token=token)
    outcome = gateway.charge(request)
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.decline_code) == ("card_declined", reason)
    assert outcome.message.startswith("The card has")
    again = gateway.ask(request, None)
    assert isinstance(again, Declined)
    assert again.decline_code == reason


def test_what_frame_cannot_read_is_declined(gateway: Gateway, frame: FrameDouble) -> None:
    outcome = gateway.charge(replace(REQUEST, token="/pm_1"))
    assert outcome == Declined("validation_errors", None, "amount must be an integer")
    assert frame.transfers == []


def test_a_key_of_ours_that_is_refused_is_not_the_customers_doing(frame: FrameDouble) -> None:
    stranger = FrameGateway("frame", "nonsense", base_url=frame.url)
    assert isinstance(stranger.charge(REQUEST), Unknown)
    assert isinstance(stranger.set_up(SetupRequest("seti_1", "acc_1/pm_1", True)), Unknown)
    assert frame.transfers == []


@pytest.mark.parametrize("honours_keys", [False, True])
@pytest.mark.parametrize("fault", ["lose answer", "stall", "answer 500", "answer 429"])
def test_a_charge_without_an_answer_is_found(
    gateway: Gateway, frame: FrameDouble, fault: str, honours_keys: bool
) -> None:
    frame.honours_keys = honours_keys
    frame.faults.append(fault)
    assert isinstance(gateway.charge(REQUEST), Unknown)
    found = gateway.ask(LATER, None)
    assert isinstance(found, Succeeded)
    assert gateway.charge(LATER) == found
    assert len(frame.transfers) == 1


@pytest.mark.parametrize("honours_keys", [False, True])
@pytest.mark.parametrize("fault", ["lose answer", "stall", "answer 500", "lose request"])
def test_a_refund_without_an_answer_is_made_once(
    gateway: Gateway, frame: FrameDouble, fault: str, honours_keys: bool
) -> None:
    frame.honours_keys = honours_keys
    charge = gateway.charge(REQUEST)
    assert isinstance(charge, Succeeded)
    request = RefundRequest("re_1", charge.reference, 900, "usd")
    frame.faults.append(fault)
    assert isinstance(gateway.refund(request), Unknown)
    soon = gateway.refund(replace(request, age_s=60))
    arrived = fault != "lose request"
    assert isinstance(soon, Succeeded if arrived else Unknown)  # it may still be on its way
    assert isinstance(gateway.refund(replace(request, age_s=ON_ITS_WAY_S)), Succeeded)
    assert [each["amount"] for each in frame.refunds] == [900]


def test_a_charge_that_is_not_there_may_still_arrive(gateway: Gateway, frame: FrameDouble) -> None:
    frame.faults.append("lose request")
    assert isinstance(gateway.charge(REQUEST), Unknown)
    assert isinstance(gateway.ask(replace(REQUEST, age_s=60), None), Unknown)
    assert isinstance(gateway.charge(replace(REQUEST, age_s=60)), Unknown)
    assert frame.transfers == []
    assert gateway.ask(LATER, None) == Absent()
    assert isinstance(gateway.charge(LATER), Succeeded)
    assert len(frame.transfers) == 1


def test_a_charge_is_found_among_many(gateway: Gateway, frame: FrameDouble) -> None:
    outcome = gateway.charge(REQUEST)
    for number in range(250):
        gateway_charge = {"reference": f"pa_x{number}", "id": f"x{number}", "status": "succeeded"}
        frame.transfers.append({**frame.transfers[0], **gateway_charge})
    assert gateway.ask(REQUEST, None) == outcome


def test_it_is_not_looked_for_before_it_was_asked_for(gateway: Gateway, frame: FrameDouble) -> None:
    gateway.charge(replace(REQUEST, idempotency_key="pa_new"))
    old = frame.transfers[0] | {"created": 1, "reference": "pa_old"}
    frame.transfers[:0] = [old | {"id": f"x{number}"} for number in range(6_000)]
    assert gateway.ask(LATER, None) == Absent()


def test_a_charge_is_given_back_once(gateway: Gateway, frame: FrameDouble) -> None:
    charge = gateway.charge(REQUEST)
    assert isinstance(charge, Succeeded)
    request = RefundRequest("re_1", charge.reference, 900, "usd", "duplicate")
    frame.faults.append("lose answer")
    assert isinstance(gateway.refund(request), Unknown)
    told = gateway.ask_refund(request, None)
    assert isinstance(told, Succeeded)
    assert gateway.refund(replace(request, age_s=ON_ITS_WAY_S)) == told
    assert gateway.ask_refund(request, told.reference) == told
    assert [(each["amount"], each["reason"]) for each in frame.refunds] == [(900, "duplicate")]
    other = replace(request, idempotency_key="re_2", charge_reference="nothing")
    assert isinstance(gateway.refund(other), Declined)


def test_a_payment_method_that_is_active_is_set_up(gateway: Gateway) -> None:
    assert isinstance(gateway.set_up(SetupRequest("seti_1", "acc_1/pm_1", True)), Succeeded)
    assert isinstance(gateway.set_up(SetupRequest("seti_2", "acc_1/pm_blocked", True)), Declined)


def test_nobody_there_decides_nothing() -> None:
    nobody = FrameGateway("frame", KEY, base_url="http://127.0.0.1:1")
    assert isinstance(nobody.charge(REQUEST), Unknown)
    assert isinstance(nobody.ask(REQUEST, None), Unknown)
    assert isinstance(nobody.ask(REQUEST, "x"), Unknown)
    assert isinstance(nobody.refund(RefundRequest("re_1", "x", 1, "usd")), Unknown)


def test_a_token_names_an_account_and_a_payment_method() -> None:
    assert is_frame_token("acc_1/pm_1")
    assert not any(is_frame_token(token) for token in ("", "acc_1", "/pm_1", "a/b/c"))


# ─── By hand ─────────────────────────────────────────────────────────────────────────────────


def test_a_manual_payment_waits_for_somebody() -> None:
    gateway: Gateway = ManualGateway()
    outcome = gateway.charge(REQUEST)
    assert isinstance(outcome, RequiresAction)
    assert gateway.ask(LATER, outcome.reference) == outcome
    assert isinstance(gateway.cancel(LATER, outcome.reference), Declined)
    assert isinstance(gateway.refund(RefundRequest("re_1", outcome.reference, 1, "usd")), Declined)
    assert isinstance(gateway.set_up(SetupRequest("seti_1", "", True)), Succeeded)
