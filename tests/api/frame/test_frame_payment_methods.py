"""Payment methods of Frame's: by number in the sandbox, by a gateway's token anywhere."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import clock, ids
from postpaid.api.frame import payment_methods as frame_payment_methods
from postpaid.api.frame.params import ListParams
from postpaid.billing import manage_keys
from postpaid.billing.perform import Act
from postpaid.storage import payment_methods
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from statements import counted

ADA = {"name": "Ada", "email": "ada@example.com"}
CARD = {
    "type": "card",
    "card_number": "4242424242424242",
    "exp_month": "3",
    "exp_year": "31",
    "cvc": "123",
}
ACH = {
    "type": "ach",
    "account_number": "000123456789",
    "routing_number": "110000000",
    "account_type": "savings",
}
NOWHERE = {"line_1": "x", "city": "Y", "country": "US", "postal_code": "1"}


@pytest.fixture
def customer(frame: Frame) -> str:
    made: str = frame.post("/v1/customers", ADA)["id"]
    return made


def test_a_card_has_every_key(frame: Frame) -> None:
    made = frame.post("/v1/payment_methods", CARD | {"billing": NOWHERE})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert made == {
        "id": made["id"],
        "object": "payment_method",
        "type": "card",
        "status": "active",
        "customer": None,
        "customer_id": None,
        "account": None,
        "account_id": None,
        "billing": NOWHERE | {"line_2": None, "state": None},
        "card": {
            "brand": "visa",
            "last_four": "4242",
            "exp_month": "03",
            "exp_year": "2031",
            "issuer": None,
            "currency": None,
            "segment": None,
            "type": "credit",
        },
        "ach": None,
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    assert frame.get(f"/v1/payment_methods/{made['id']}") == made


def test_a_bank_account_is_seen_through_both(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    made = frame.post("/v1/payment_methods", ACH | {"customer": customer})
    assert (made["type"], made["customer"], made["customer_id"]) == ("ach", customer, customer)
    assert made["ach"] == {
        "bank_name": "TEST BANK",
        "last_four": "6789",
        "account_type": "savings",
    }
    seen = stripe_client.v1.payment_methods.retrieve(made["id"])
    assert (seen.type, seen.customer) == ("us_bank_account", customer)
    attached = stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})

    def listed(**query: str) -> list[str]:
        return [each["id"] for each in frame.get("/v1/payment_methods", **query)["data"]]

    other = frame.post("/v1/payment_methods", CARD)["id"]
    assert listed() == [other, attached.id, made["id"]]
    assert listed(customer=customer) == listed(account=customer) == [attached.id, made["id"]]
    assert listed(customer=customer, type="card") == [attached.id]
    assert listed(type="ach") == [made["id"]]
    assert listed(limit="1") == [other]


def test_a_payment_method_is_attached_and_detached(frame: Frame, customer: str) -> None:
    method = frame.post("/v1/payment_methods", CARD)
    path = f"/v1/payment_methods/{method['id']}"
    attached = frame.post(f"{path}/attach", {"customer": customer})
    assert (attached["customer"], attached["status"]) == (customer, "active")
    detached = frame.post(f"{path}/detach")
    assert (detached["customer"], detached["status"]) == (None, "detached")
    with pytest.raises(FrameError) as refused:
        frame.post(f"{path}/detach")
    assert refused.value.status == 422
    again = frame.post(f"{path}/attach", {"account_id": customer})
    assert (again["customer"], again["status"]) == (customer, "active")
    other = frame.post("/v1/customers", ADA)["id"]
    with pytest.raises(FrameError) as refused:
        frame.post(f"{path}/attach", {"customer": other})
    assert refused.value.status == 422
    for body in ({}, {"customer": customer, "account": other}):
        with pytest.raises(FrameError) as refused:
            frame.post(f"{path}/attach", body)
        assert "customer" in refused.value.body["error_details"]["errors"]


def test_a_blocked_payment_method_is_refused_wherever_it_is_chosen(
    frame: Frame, stripe_client: stripe.StripeClient, customer: str
) -> None:
    v1 = stripe_client.v1
    method_id = frame.post("/v1/payment_methods", CARD | {"customer": customer})["id"]
    loose_id = frame.post("/v1/payment_methods", CARD)["id"]
    price = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 500,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Seat"},
        }
    )
    intent = v1.payment_intents.create(
        {"customer": customer, "amount": 100, "currency": "usd", "payment_method": method_id}
    )
    path = f"/v1/payment_methods/{method_id}"
    assert frame.post(f"{path}/block")["status"] == "blocked"
    assert frame.post(f"{path}/block")["status"] == "blocked"
    frame.post(f"/v1/payment_methods/{loose_id}/block")
    chosen: list[Any] = [
        lambda: v1.payment_intents.confirm(intent.id),
        lambda: v1.payment_intents.create(
            {"customer": customer, "amount": 1, "currency": "usd", "payment_method": method_id}
        ),
        lambda: v1.setup_intents.create({"customer": customer, "payment_method": method_id}),
        lambda: v1.payment_methods.attach(loose_id, {"customer": customer}),
        lambda: v1.customers.update(
            customer, {"invoice_settings": {"default_payment_method": method_id}}
        ),
        lambda: v1.subscriptions.create(
            {
                "customer": customer,
                "items": [{"price": price.id}],
                "default_payment_method": method_id,
            }
        ),
        lambda: v1.subscription_schedules.create(
            {
                "customer": customer,
                "start_date": "now",
                "phases": [{"items": [{"price": price.id}], "default_payment_method": method_id}],
            }
        ),
    ]
    for choose in chosen:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            choose()
        assert refused.value.code == "payment_method_blocked"
    said = v1.events.list({"type": "payment_method.updated"}).data
    assert {each.data.object["id"] for each in said} == {method_id, loose_id}
    assert frame.post(f"{path}/unblock")["status"] == "active"
    assert v1.payment_intents.confirm(intent.id).status == "succeeded"


def test_a_payment_method_is_changed(frame: Frame, customer: str) -> None:
    made = frame.post("/v1/payment_methods", CARD | {"customer": customer, "billing": NOWHERE})
    path = f"/v1/payment_methods/{made['id']}"
    after = frame.patch(path, {"exp_month": 11, "exp_year": "2033", "billing": {"city": "Z"}})
    assert (after["card"]["exp_month"], after["card"]["exp_year"]) == ("11", "2033")
    assert (after["billing"]["city"], after["billing"]["line_1"]) == ("Z", None)
    bank = frame.post("/v1/payment_methods", ACH | {"customer": customer})["id"]
    with pytest.raises(FrameError) as refused:
        frame.patch(f"/v1/payment_methods/{bank}", {"exp_year": 2040})
    assert list(refused.value.body["error_details"]["errors"]) == ["exp_year"]


def test_only_test_cards_are_taken(frame: Frame, customer: str) -> None:
    for number in ("4111111111111111", "4242424242424241"):
        for more in ({}, {"customer": customer}):
            with pytest.raises(FrameError) as refused:
                frame.post("/v1/payment_methods", CARD | more | {"card_number": number})
            assert (refused.value.status, refused.value.message) == (
                422,
                "Card submitted is not a test card",
            )
            assert list(refused.value.body["error_details"]["errors"]) == ["card_number"]


def test_a_card_that_cannot_be_attached_is_declined(frame: Frame, customer: str) -> None:
    """Its issuer says so when it is attached, in whichever way that is."""
    declining = CARD | {"card_number": "4000000000009995"}
    loose = frame.post("/v1/payment_methods", declining)["id"]
    for path, body in [
        ("/v1/payment_methods", declining | {"customer": customer}),
        (f"/v1/payment_methods/{loose}/attach", {"customer": customer}),
    ]:
        with pytest.raises(FrameError) as refused:
            frame.post(path, body)
        assert (refused.value.status, refused.value.code) == (422, "charge_declined")
        data = refused.value.body["error_details"]["data"]
        assert data["failure_code"] == "insufficient_funds"


def test_plaid_is_not_available(frame: Frame) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/payment_methods/connect_plaid", {"public_token": "x"})
    assert (refused.value.status, refused.value.code) == (422, "not_available")


def test_live_mode_takes_no_numbers(server: str, database: Database) -> None:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=True, now=clock.now())
        key = manage_keys.create_key(conn, account, now=clock.now())
    with Frame(server, key.secret) as live:
        for means, name in [(CARD, "card_number"), (ACH, "account_number")]:
            with pytest.raises(FrameError) as refused:
                live.post("/v1/payment_methods", means)
            assert refused.value.status == 422
            assert list(refused.value.body["error_details"]["errors"]) == [name]


def test_what_a_gateway_knows_is_taken_by_its_token(
    frame: Frame, http: httpx.Client, customer: str
) -> None:
    answer = http.post(
        "/v1/payment_gateways", data={"name": "main", "type": "frame", "api_key": "sk_sandbox_1"}
    )
    assert answer.status_code == 200, answer.text
    said = {
        "type": "card",
        "customer": customer,
        "gateway": "main",
        "gateway_token": "acc_1/pm_1",
        "card": {"brand": "Visa", "last_four": "1111", "exp_month": "1", "exp_year": "2030"},
    }
    made = frame.post("/v1/payment_methods", said)
    assert (made["customer"], made["card"]["last_four"]) == (customer, "1111")
    bank = {"type": "ach", "gateway": "main", "gateway_token": "acc_1/pm_2"}
    made = frame.post("/v1/payment_methods", bank | {"ach": {"last_four": "6789"}})
    assert made["ach"]["last_four"] == "6789"
    for wrong, name in [
        (bank, "ach"),
        (said | {"card": {"last_four": "x"}}, "card[last_four]"),
        (said | {"gateway_token": "nonsense"}, "gateway_token"),
        (said | {"gateway": "none"}, "gateway"),
        (said | {"card_number": "4242424242424242"}, "card_number"),
    ]:
        with pytest.raises(FrameError) as refused:
            frame.post("/v1/payment_methods", wrong)
        assert name in refused.value.body["error_details"]["errors"]


WRONG: list[tuple[str, Any]] = [
    ("type", "cash"),
    ("type", None),
    ("card_number", None),
    ("card_number", 4242424242424242),
    ("card_number", "4242"),
    ("card_number", "x" * 41),
    ("exp_month", None),
    ("exp_month", "13"),
    ("exp_month", "x"),
    ("exp_month", "0"),
    ("exp_year", None),
    ("exp_year", "20"),
    ("exp_year", "1"),
    ("exp_year", []),
    ("cvc", 123),
    ("cvc", "12"),
    ("billing", "here"),
    ("billing", {"city": 1}),
    ("customer", 1),
    ("customer", "x" * 256),
    ("customer", "cus_none"),
    ("account", {}),
]
WRONG_ACH: list[tuple[str, Any]] = [
    ("account_number", None),
    ("account_number", "1"),
    ("account_number", "9" * 41),
    ("account_number", 5),
    ("routing_number", None),
    ("routing_number", "1" * 10),
    ("account_type", "joint"),
]


@pytest.mark.parametrize(
    ("means", "name", "value"),
    [(CARD, *each) for each in WRONG] + [(ACH, *each) for each in WRONG_ACH],
    ids=map(str, range(len(WRONG) + len(WRONG_ACH))),
)
def test_what_is_wrong_with_a_payment_method_is_said_by_name(
    frame: Frame, means: dict[str, Any], name: str, value: Any
) -> None:
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/payment_methods", means | {name: value})
    assert refused.value.status in (404, 422)
    assert next(iter(refused.value.body["error_details"]["errors"])).startswith(name)


@pytest.mark.parametrize("path", ["", "/block", "/unblock", "/detach", "/attach"])
def test_a_payment_method_that_is_not_there(frame: Frame, customer: str, path: str) -> None:
    method = "POST" if path else "GET"
    body = {"customer": customer} if path == "/attach" else None
    with pytest.raises(FrameError) as refused:
        frame.request(method, f"/v1/payment_methods/pm_none{path}", body)
    assert refused.value.status == 404


def test_a_list_of_payment_methods_costs_as_much_as_one(
    frame: Frame, database: Database, account: Account
) -> None:
    key = account.account_id
    costs = []
    for more in (1, 3):
        for _ in range(more):
            customer_id = frame.post("/v1/customers", ADA)["id"]
            frame.post("/v1/payment_methods", CARD | {"customer": customer_id})
        act = Act(key, False, "test", datetime.now(UTC), ids.new_id)
        with database.connection() as conn, counted(conn) as statements:
            rows = payment_methods.list_page(conn, key, ListParams().rows)
            shown = frame_payment_methods.render_many(conn, act, rows.rows)
        costs.append((len(shown), len(statements)))
    assert costs == [(1, 2), (4, 2)]
