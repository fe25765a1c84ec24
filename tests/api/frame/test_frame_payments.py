"""Charge intents, transfers, charges and refunds of Frame's API: one payment, seen four ways."""

from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError

CARD = {"type": "card", "exp_month": "12", "exp_year": "2040", "cvc": "123"}
GOOD = "4242424242424242"


@pytest.fixture
def customer(frame: Frame) -> str:
    return str(frame.post("/v1/customers", {"name": "Ada", "email": "a@example.com"})["id"])


def card(frame: Frame, customer: str, number: str = GOOD) -> str:
    made = frame.post("/v1/payment_methods", CARD | {"card_number": number, "customer": customer})
    return str(made["id"])


def intent_of(frame: Frame, customer: str, number: str = GOOD, **more: Any) -> dict[str, Any]:
    return frame.post(
        "/v1/charge_intents",
        {
            "amount": 1000,
            "currency": "usd",
            "customer": customer,
            "payment_method": card(frame, customer, number),
        }
        | more,
    )


def test_an_intent_is_confirmed_and_seen_as_what_it_is(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = intent_of(frame, customer, description="Tea", metadata={"a": "b"})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (made["status"], made["latest_charge"]) == ("requires_confirmation", None)
    assert made["client_secret"].startswith(made["id"])
    paid = frame.post(f"/v1/charge_intents/{made['id']}/confirm")
    assert frame.last.status_code == 200
    assert (paid["status"], paid["amount_captured"]) == ("succeeded", 1000)
    assert paid["customer"]["id"] == paid["customer_id"] == customer
    assert paid["payment_method"]["card"]["last_four"] == "4242"
    charge = paid["latest_charge"]
    assert (charge["status"], charge["captured"], charge["net_amount"]) == ("succeeded", True, 1000)
    assert (charge["description"], charge["charge_intent"]) == ("Tea", made["id"])
    assert frame.get(f"/v1/charges/{charge['id']}") == charge
    seen = stripe_client.v1.payment_intents.retrieve(made["id"])
    assert (seen.status, seen.latest_charge, seen.customer) == ("succeeded", charge["id"], customer)
    transfer = frame.get(f"/v1/transfers/{made['id']}")
    assert (transfer["status"], transfer["charge_intent"]) == ("succeeded", made["id"])
    assert (transfer["gross_amount"], transfer["total_fees"], transfer["net_amount"]) == (
        1000,
        0,
        1000,
    )
    with pytest.raises(FrameError) as again:
        frame.post(f"/v1/charge_intents/{made['id']}/confirm")
    assert again.value.code == "invalid_transition"
    assert again.value.message.startswith("You cannot confirm this charge intent")


def test_a_payment_of_stripes_is_seen(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = stripe_client.v1.payment_intents.create(
        {
            "amount": 700,
            "currency": "eur",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
        }
    )
    seen = frame.get(f"/v1/charge_intents/{made.id}")
    assert (seen["status"], seen["amount"], seen["currency"]) == ("succeeded", 700, "eur")
    assert [each["id"] for each in frame.get("/v1/charges", customer=customer)["data"]] == [
        made.latest_charge
    ]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4726840306461785", "expired_card"),
        ("4726840756845529", "incorrect_cvc"),
        ("4726849921107855", "processing_error"),
        ("4726843991344803", "incorrect_number"),
        ("4726846912498186", "insufficient_funds"),
        ("4726843338079575", "stolen_card"),
        ("4726848138487043", "generic_decline"),
        ("4726848912206759", "card_velocity_exceeded"),
        ("4111111738973695", "card_not_enrolled"),
    ],
)
def test_a_card_declines_with_its_code(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str, number: str, code: str
) -> None:
    try:
        key = card(frame, customer, number)
    except FrameError:  # one that is declined as it is attached: charge it unattached
        key = str(frame.post("/v1/payment_methods", CARD | {"card_number": number})["id"])
    asked = {
        "amount": 1000,
        "currency": "usd",
        "customer": customer,
        "payment_method": key,
        "confirm": True,
    }
    with pytest.raises(FrameError) as declined:
        frame.post("/v1/charge_intents", asked)
    assert (declined.value.status, declined.value.code) == (422, "charge_declined")
    data = declined.value.body["error_details"]["data"]
    assert (data["failure_code"], data["failure_category"]) == (code, "card_error")
    assert data["failure_message"] == declined.value.message
    failed = frame.get(f"/v1/charge_intents/{data['charge_intent']}")
    assert (failed["status"], failed["failure_code"]) == ("failed", code)
    charge = frame.get(f"/v1/charges/{data['charge']}")
    assert (charge["status"], charge["failure_code"], charge["captured"]) == ("failed", code, False)
    transfer = frame.get(f"/v1/transfers/{data['charge_intent']}")
    assert (transfer["status"], transfer["failure_code"]) == ("failed", code)
    stripes = stripe_client.v1.payment_intents.retrieve(data["charge_intent"])
    assert stripes.status == "requires_payment_method"


def test_another_card_saves_what_was_declined(frame: Frame, customer: str) -> None:
    made = intent_of(frame, customer, "4726846912498186")
    with pytest.raises(FrameError):
        frame.post(f"/v1/charge_intents/{made['id']}/confirm")
    good = card(frame, customer)
    chosen = frame.patch(f"/v1/charge_intents/{made['id']}", {"payment_method": good})
    assert chosen["payment_method_id"] == good
    paid = frame.post(f"/v1/charge_intents/{made['id']}/confirm")
    assert (paid["status"], paid["failure_code"]) == ("succeeded", None)
    charges = frame.get("/v1/charges", charge_intent=made["id"])["data"]
    assert [each["status"] for each in charges] == ["succeeded", "failed"]


def test_a_challenge_waits_for_its_customer(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = intent_of(frame, customer, "4000000000003220", confirm=True)
    assert (made["status"], made["latest_charge"]) == ("requires_3d_secure", None)
    assert frame.get(f"/v1/transfers/{made['id']}")["status"] == "pending"
    stripe_client.raw_request("post", f"/v1/test_helpers/payment_intents/{made['id']}/authenticate")
    assert frame.get(f"/v1/charge_intents/{made['id']}")["status"] == "succeeded"


def test_an_intent_is_changed_and_given_up(frame: Frame, customer: str) -> None:
    made = frame.post("/v1/charge_intents", {"amount": 500, "currency": "USD"})
    assert (made["status"], made["customer"]) == ("requires_payment_method", None)
    path = f"/v1/charge_intents/{made['id']}"
    after = frame.patch(
        path, {"amount": 600, "customer": customer, "description": "Tea", "metadata": {"a": "b"}}
    )
    assert (after["amount"], after["customer_id"], after["description"]) == (600, customer, "Tea")
    assert after["metadata"] == {"a": "b"}
    assert frame.post(f"{path}/cancel")["status"] == "canceled"
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"amount": 700})
    assert refused.value.code == "invalid_transition"
    assert frame.get(f"/v1/transfers/{made['id']}")["status"] == "canceled"


@pytest.mark.parametrize("action", ["capture", "void_remaining"])
def test_nothing_is_only_authorized(frame: Frame, customer: str, action: str) -> None:
    made = intent_of(frame, customer, confirm=True)
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/charge_intents/{made['id']}/{action}", {"amount_captured_cents": 10})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")
    with pytest.raises(FrameError) as missing:
        frame.post(f"/v1/charge_intents/pi_none/{action}")
    assert missing.value.status == 404


def test_a_repeat_with_its_key_charges_once(frame: Frame, customer: str) -> None:
    asked = {
        "amount": 900,
        "currency": "usd",
        "customer": customer,
        "payment_method": card(frame, customer),
        "confirm": True,
    }
    first = frame.post("/v1/charge_intents", asked, key="pay-1")
    assert frame.post("/v1/charge_intents", asked, key="pay-1") == first
    assert len(frame.get("/v1/charges", customer=customer)["data"]) == 1


# ─── Transfers ───────────────────────────────────────────────────────────────────────────────


def test_an_account_transfers_money(frame: Frame) -> None:
    account = frame.post(
        "/v1/accounts",
        {
            "type": "business",
            "profile": {"business": {"legal_business_name": "Acme", "email": "a@example.com"}},
        },
    )["id"]
    method = frame.post("/v1/payment_methods", CARD | {"card_number": GOOD, "account": account})
    made = frame.post(
        "/v1/transfers",
        {
            "amount": 2500,
            "account_id": account,
            "source_payment_method_id": method["id"],
            "description": "Tea",
            "reference": "order-7",
            "sonar_session_id": "passed over",
        },
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (made["status"], made["reference"], made["currency"]) == ("pending", "order-7", "usd")
    assert (made["account_id"], made["customer"]) == (account, None)
    assert made["source_payment_method"]["id"] == method["id"]
    paid = frame.post(f"/v1/transfers/{made['id']}/confirm")
    assert (paid["status"], paid["reference"], paid["frame_fee"]) == (
        "succeeded",
        "order-7",
        0,
    )
    intent = frame.get(f"/v1/charge_intents/{made['id']}")
    assert (intent["account"]["id"], intent["customer"]) == (account, None)
    assert [each["id"] for each in frame.get("/v1/transfers", account=account)["data"]] == [
        made["id"]
    ]


def test_a_transfer_is_paid_as_it_is_made_or_declined(frame: Frame, customer: str) -> None:
    asked = {"amount": 300, "currency": "usd", "customer": customer, "confirm": True}
    paid = frame.post("/v1/transfers", asked | {"source_payment_method_id": card(frame, customer)})
    assert (paid["status"], paid["charge"][:3]) == ("succeeded", "ch_")
    bad = card(frame, customer, "4000000000000341")
    with pytest.raises(FrameError) as declined:
        frame.post("/v1/transfers", asked | {"source_payment_method_id": bad})
    assert declined.value.body["error_details"]["data"]["failure_code"] == "generic_decline"


def test_a_bank_decides_later(frame: Frame, customer: str) -> None:
    method = frame.post(
        "/v1/payment_methods",
        {
            "type": "ach",
            "account_type": "checking",
            "account_number": "000123456789",
            "routing_number": "110000000",
            "customer": customer,
        },
    )
    made = frame.post(
        "/v1/charge_intents",
        {
            "amount": 300,
            "currency": "usd",
            "customer": customer,
            "payment_method": method["id"],
            "confirm": True,
        },
    )
    assert made["status"] == "pending"
    assert made["latest_charge"]["status"] == "pending"
    assert frame.get(f"/v1/transfers/{made['id']}")["status"] == "pending"


# ─── Refunds ─────────────────────────────────────────────────────────────────────────────────


def test_a_payment_is_refunded_in_parts_until_nothing_is_left(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = intent_of(frame, customer, confirm=True)
    charge = made["latest_charge"]["id"]
    first = frame.post(
        "/v1/refunds",
        {"transfer": made["id"], "amount": 300, "reason": "requested_by_customer"},
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (first["status"], first["amount"], first["charge"]) == ("succeeded", 300, charge)
    assert (first["transfer"], first["charge_intent"]) == (made["id"], made["id"])
    partly = frame.get(f"/v1/charge_intents/{made['id']}")
    assert (partly["status"], partly["amount_refunded"]) == ("succeeded", 300)
    seen = partly["latest_charge"]
    assert (seen["amount_refunded"], seen["net_amount"], seen["refunded"]) == (300, 700, False)
    assert seen["refund_reason"] == "requested_by_customer"
    with pytest.raises(FrameError) as too_much:
        frame.post("/v1/refunds", {"charge_intent": made["id"], "amount": 701})
    assert list(too_much.value.body["error_details"]["errors"]) == ["amount"]
    rest = frame.post("/v1/refunds", {"charge": charge})
    assert rest["amount"] == 700
    assert frame.get(f"/v1/charge_intents/{made['id']}")["status"] == "refunded"
    assert frame.get(f"/v1/transfers/{made['id']}")["status"] == "reversed"
    assert frame.get(f"/v1/charges/{charge}")["refunded"] is True
    for query in ({"transfer": made["id"]}, {"charge_intent": made["id"]}, {"charge": charge}):
        listed = frame.get("/v1/refunds", **query)["data"]
        assert [each["id"] for each in listed] == [rest["id"], first["id"]]
    assert frame.get("/v1/refunds", transfer="pi_other")["data"] == []
    assert frame.get(f"/v1/refunds/{first['id']}") == first
    assert stripe_client.v1.refunds.retrieve(first["id"]).amount == 300
    with pytest.raises(FrameError) as again:
        frame.post("/v1/refunds", {"transfer": made["id"]})
    assert again.value.message == "The charge has already been refunded."


def test_a_charge_that_is_none_is_named_as_it_was_given(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    with pytest.raises(FrameError, match="No such charge: 'nonsense'"):
        frame.post("/v1/refunds", {"charge": "nonsense"})
    with pytest.raises(stripe.InvalidRequestError, match="No such charge: 'nonsense'"):
        stripe_client.v1.refunds.create({"charge": "nonsense"})


def test_a_charge_tells_what_happened_to_it(frame: Frame, customer: str) -> None:
    made = intent_of(frame, customer, "4000000000005126", confirm=True)  # its refunds fail later
    charge = made["latest_charge"]["id"]
    refund = frame.post("/v1/refunds", {"charge": charge, "amount": 100})
    assert refund["status"] == "pending"
    told = frame.get(f"/v1/charges/{charge}/trace")
    assert [each["type"] for each in told["events"]] == [
        "charge.attempted",
        "charge.succeeded",
        "refund.created",
    ]
    times = [each["created"] for each in told["events"]]
    assert times == sorted(times)
    assert told["events"][2]["data"]["refund"] == refund["id"]
    with pytest.raises(FrameError):
        intent_of(frame, customer, "4000000000000341", confirm=True)
    failed = frame.get("/v1/charges")["data"][0]
    said = frame.get(f"/v1/charges/{failed['id']}/trace")["events"][1]
    assert (said["type"], said["data"]["failure_code"]) == ("charge.failed", "generic_decline")


# ─── What is refused ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("charge_intents", {"currency": "usd"}, "amount"),
        ("charge_intents", {"amount": 0, "currency": "usd"}, "amount"),
        ("charge_intents", {"amount": "9.5", "currency": "usd"}, "amount"),
        ("charge_intents", {"amount": 10**8, "currency": "usd"}, "amount"),
        ("charge_intents", {"amount": 1}, "currency"),
        ("charge_intents", {"amount": 1, "currency": 3}, "currency"),
        ("charge_intents", {"amount": 1, "currency": "usd", "customer": "cus_0"}, "customer"),
        ("charge_intents", {"amount": 1, "currency": "usd", "customer": 5}, "customer"),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "customer": "a", "account": "b"},
            "customer",
        ),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "payment_method": "pm_0"},
            "payment_method",
        ),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "authorization_mode": "manual"},
            "authorization_mode",
        ),
        ("charge_intents", {"amount": 1, "currency": "usd", "confirm": "si"}, "confirm"),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "promotion_codes": ["A"]},
            "promotion_codes",
        ),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "customer_data": {"name": "A"}},
            "customer_data",
        ),
        (
            "charge_intents",
            {"amount": 1, "currency": "usd", "payment_method_data": {"type": "card"}},
            "payment_method_data",
        ),
        ("charge_intents", {"amount": 1, "currency": "usd", "description": {}}, "description"),
        ("charge_intents", {"amount": 1, "currency": "usd", "metadata": [1]}, "metadata"),
        ("transfers", {"amount": 1}, "account_id"),
        ("transfers", {"amount": 1, "account_id": "cus_0"}, "account_id"),
        (
            "transfers",
            {"amount": 1, "account_id": "cus_0", "destination_payment_method_id": "pm_1"},
            "destination_payment_method_id",
        ),
        (
            "transfers",
            {"amount": 1, "account_id": "cus_0", "promotion_codes": ["A"]},
            "promotion_codes",
        ),
        ("transfers", {"amount": 1, "account_id": "a", "reference": "x" * 256}, "reference"),
        ("refunds", {}, "transfer"),
        ("refunds", {"transfer": "pi_0", "charge": "ch_0"}, "charge"),
        ("refunds", {"transfer": "pi_0"}, "transfer"),
        ("refunds", {"charge_intent": "pi_0"}, "charge_intent"),
        ("refunds", {"charge": "ch_0"}, "charge"),
        ("refunds", {"charge": "pa_0"}, "charge"),
        ("refunds", {"charge": "ch_0", "amount": 0}, "amount"),
        ("refunds", {"charge": "ch_0", "reason": "whim"}, "reason"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    frame: Frame, path: str, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/{path}", body)
    assert refused.value.status in (404, 422)
    assert list(refused.value.body["error_details"]["errors"]) == [param]


def test_without_a_payment_method_nothing_is_confirmed(frame: Frame, customer: str) -> None:
    asked = {"amount": 100, "currency": "usd", "customer": customer, "confirm": True}
    for path in ("/v1/charge_intents", "/v1/transfers"):
        with pytest.raises(FrameError) as refused:
            frame.post(path, asked)
        assert refused.value.status == 422
        assert "missing a payment method" in refused.value.message
        assert "PaymentIntent" not in refused.value.message


@pytest.mark.parametrize(
    "path", ["charge_intents/{id}", "transfers/{id}", "charges/{charge}", "charges/{charge}/trace"]
)
def test_another_merchants_payments_are_not_there(
    frame: Frame, other_frame: Frame, customer: str, path: str
) -> None:
    made = intent_of(frame, customer, confirm=True)
    there = "/v1/" + path.format(id=made["id"], charge=made["latest_charge"]["id"])
    assert frame.get(there)
    with pytest.raises(FrameError) as refused:
        other_frame.get(there)
    assert refused.value.status == 404
    with pytest.raises(FrameError) as not_ours:
        other_frame.post("/v1/refunds", {"transfer": made["id"]})
    assert not_ours.value.status == 404
