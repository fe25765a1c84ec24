"""Customers of Frame's: their fields, how they are found, blocked and deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid import ids
from postpaid.api.frame import customers as frame_customers
from postpaid.api.frame.params import ListParams
from postpaid.billing.perform import Act
from postpaid.storage import customer_search
from postpaid.storage.accounts import Account
from postpaid.storage.customer_search import CustomerSearch
from postpaid.storage.database import Database
from statements import counted

ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}
CARD = {
    "type": "card",
    "card_number": "4242 4242 4242 4242",
    "exp_month": "12",
    "exp_year": "2031",
    "cvc": "123",
}
HERE = {
    "line_1": "12 St James's Square",
    "line_2": None,
    "city": "London",
    "state": None,
    "country": "GB",
    "postal_code": "SW1Y 4LB",
}


def test_a_customer_has_every_key(frame: Frame) -> None:
    said = ADA | {
        "description": "the first",
        "phone": "+44 20 1234",
        "ssn": "078-05-1120",
        "date_of_birth": "1990-12-10",
        "billing_address": HERE,
        "shipping_address": HERE | {"city": "Oxford"},
        "metadata": {"plan": "pro"},
    }
    made = frame.post("/v1/customers", said)
    assert made == {
        "id": made["id"],
        "object": "customer",
        **ADA,
        "description": "the first",
        "phone": "+44 20 1234",
        "date_of_birth": "1990-12-10",
        "status": "active",
        "billing_address": HERE,
        "shipping_address": HERE | {"city": "Oxford"},
        "payment_methods": [],
        "test_clock": None,
        "metadata": {"plan": "pro"},
        "livemode": False,
        "created": made["created"],
        "updated": made["created"],
    }
    assert frame.get(f"/v1/customers/{made['id']}") == made


def test_what_is_shipped_to_is_seen_by_stripe_too(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    customer_id = frame.post("/v1/customers", ADA | {"shipping_address": HERE})["id"]
    shipping = stripe_client.v1.customers.retrieve(customer_id).shipping
    assert shipping is not None
    assert shipping.address is not None
    assert (shipping.name, shipping.address.line1) == ("Ada Lovelace", HERE["line_1"])
    stripe_client.v1.customers.update(
        customer_id, {"shipping": {"name": "Charles", "address": {"city": "Bath"}}}
    )
    assert frame.get(f"/v1/customers/{customer_id}")["shipping_address"]["city"] == "Bath"
    frame.patch(f"/v1/customers/{customer_id}", {"shipping_address": {"city": "York"}})
    shipping = stripe_client.v1.customers.retrieve(customer_id).shipping
    assert shipping is not None
    assert shipping.name == "Charles"
    assert (
        frame.patch(f"/v1/customers/{customer_id}", {"shipping_address": ""})["shipping_address"]
        is None
    )


def test_of_the_payment_methods_the_last_five_are_shown(frame: Frame) -> None:
    customer_id = frame.post("/v1/customers", ADA)["id"]
    other_id = frame.post("/v1/customers", ADA)["id"]
    made = [
        frame.post("/v1/payment_methods", CARD | {"customer": customer_id})["id"] for _ in range(6)
    ]
    found = frame.get(f"/v1/customers/{customer_id}")["payment_methods"]
    assert [each["id"] for each in found] == made[:0:-1]
    assert {each["customer"] for each in found} == {customer_id}
    listed = {each["id"]: each for each in frame.get("/v1/customers")["data"]}
    assert listed[customer_id]["payment_methods"] == found
    assert listed[other_id]["payment_methods"] == []
    page = frame.get(f"/v1/customers/{customer_id}/payment_methods", per_page=4)
    assert [each["id"] for each in page["data"]] == made[:1:-1]
    assert page["meta"]["has_more"]


def test_customers_are_found_by_parts_of_what_they_are_called(frame: Frame) -> None:
    frame.post("/v1/customers", ADA | {"phone": "+44 20 1234"})
    eve = frame.post("/v1/customers", {"name": "Eve", "email": "eve@other.example"})

    def found(**query: Any) -> list[str]:
        return [each["name"] for each in frame.get("/v1/customers/search", **query)["data"]]

    assert found(name="LOVE") == ["Ada Lovelace"]
    assert found(name="%") == []
    assert found(email="EXAMPLE.com") == ["Ada Lovelace"]
    assert found(phone="20 1234") == ["Ada Lovelace"]
    assert found(name="a", email="other") == []
    assert found(created_after=eve["created"] - 3600) == ["Eve", "Ada Lovelace"]
    later = datetime.fromtimestamp(eve["created"], UTC) + timedelta(hours=1)
    assert found(created_after=later.isoformat()) == []
    assert found(created_before=later.isoformat()) == ["Eve", "Ada Lovelace"]
    assert frame.get("/v1/customers", email="eve@other.example")["data"][0]["id"] == eve["id"]


def test_a_deleted_customer_is_gone(frame: Frame, stripe_client: stripe.StripeClient) -> None:
    customer_id = frame.post("/v1/customers", ADA)["id"]
    method_id = frame.post("/v1/payment_methods", CARD | {"customer": customer_id})["id"]
    deleted = frame.delete(f"/v1/customers/{customer_id}")
    assert deleted == {"id": customer_id, "object": "customer", "deleted": True}
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/block")]:
        with pytest.raises(FrameError) as refused:
            frame.request(method, f"/v1/customers/{customer_id}{path}")
        assert refused.value.status == 404
    assert stripe_client.v1.customers.retrieve(customer_id).deleted
    assert frame.get(f"/v1/payment_methods/{method_id}")["status"] == "detached"
    assert customer_id not in [each["id"] for each in frame.get("/v1/customers")["data"]]


def test_a_blocked_customer_is_sold_nothing_more(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    """Through either façade; what it has goes on, and so does it once it is unblocked."""
    customer_id = frame.post("/v1/customers", ADA)["id"]
    method_id = frame.post("/v1/payment_methods", CARD | {"customer": customer_id})["id"]
    loose_id = frame.post("/v1/payment_methods", CARD)["id"]
    price = stripe_client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 500,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Seat"},
        }
    )
    v1 = stripe_client.v1
    asked: Any = {
        "customer": customer_id,
        "items": [{"price": price.id}],
        "default_payment_method": method_id,
    }
    running = v1.subscriptions.create(asked)
    waiting = v1.payment_intents.create(
        {"customer": customer_id, "amount": 100, "currency": "usd", "payment_method": method_id}
    )
    setting_up = v1.setup_intents.create({"customer": customer_id})

    blocked = frame.post(f"/v1/customers/{customer_id}/block")
    assert blocked["status"] == "blocked"
    assert frame.post(f"/v1/customers/{customer_id}/block")["status"] == "blocked"

    of_stripe: list[Any] = [
        lambda: v1.subscriptions.create(asked),
        lambda: v1.subscription_schedules.create(
            {"customer": customer_id, "start_date": "now", "phases": [{"items": asked["items"]}]}
        ),
        lambda: v1.payment_methods.attach(loose_id, {"customer": customer_id}),
        lambda: v1.payment_methods.attach("pm_card_visa", {"customer": customer_id}),
        lambda: v1.invoices.create({"customer": customer_id}),
        lambda: v1.invoice_items.create({"customer": customer_id, "amount": 1, "currency": "usd"}),
        lambda: v1.payment_intents.create(
            {"customer": customer_id, "amount": 100, "currency": "usd"}
        ),
        lambda: v1.payment_intents.confirm(waiting.id),
        lambda: v1.setup_intents.create({"customer": customer_id}),
        lambda: v1.setup_intents.confirm(setting_up.id, {"payment_method": "pm_card_visa"}),
    ]
    for sell in of_stripe:
        with pytest.raises(stripe.InvalidRequestError) as no:
            sell()
        assert (no.value.code, no.value.http_status) == ("customer_blocked", 400)
    for path, body in [
        (f"/v1/payment_methods/{loose_id}/attach", {"customer": customer_id}),
        ("/v1/payment_methods", CARD | {"customer": customer_id}),
    ]:
        with pytest.raises(FrameError) as refused:
            frame.post(path, body)
        assert (refused.value.status, refused.value.code) == (422, "customer_blocked")
        assert list(refused.value.body["error_details"]["errors"]) == ["customer"]

    frame.patch(f"/v1/customers/{customer_id}", {"description": "who owes"})
    changed = v1.subscriptions.update(running.id, {"metadata": {"note": "goes on"}})
    assert changed.status == "active"
    assert frame.post(f"/v1/customers/{customer_id}/unblock")["status"] == "active"
    assert v1.subscriptions.create(asked).status == "active"


WRONG = {
    "name": [1, "x" * 257, "", {"a": 1}],
    "email": [1, "no-at", "a b@c", "", "x" * 513],
    "description": [1, "x" * 5001],
    "phone": [1, "x" * 501, []],
    "date_of_birth": [1, "1990", "1990-13-01", "0001-01-01", "10.12.1990", "1990-W01-1"],
    "ssn": [1, "9" * 21],
    "billing_address": [1, "here", [], {"line_1": 5}, {"city": "x" * 501}],
    "shipping_address": [1, {"country": {}}],
    "metadata": ["x", {"a": [1]}, {"k" * 41: "v"}, {"k": "v" * 101}],
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_with_a_customer_is_said_by_name(frame: Frame, name: str) -> None:
    customer_id = frame.post("/v1/customers", ADA)["id"]
    for value in WRONG[name]:
        for method, path in [("POST", "/v1/customers"), ("PATCH", f"/v1/customers/{customer_id}")]:
            with pytest.raises(FrameError) as refused:
                frame.request(method, path, ADA | {name: value})
            assert refused.value.status == 422, value
            assert next(iter(refused.value.body["error_details"]["errors"])).startswith(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", "x" * 257), ("email", "x" * 513), ("phone", "x" * 501), ("created_after", "soon")],
    ids=["name", "email", "phone", "created_after"],
)
def test_what_is_wrong_with_a_search_is_said_by_name(frame: Frame, name: str, value: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.get("/v1/customers/search", **{name: value})
    assert list(refused.value.body["error_details"]["errors"]) == [name]


def test_a_list_of_customers_costs_as_much_as_one(
    frame: Frame, database: Database, account: Account
) -> None:
    costs = []
    for _ in range(2):
        for _ in range(3 if costs else 1):
            made = frame.post("/v1/customers", ADA)
            frame.post("/v1/payment_methods", CARD | {"customer": made["id"]})
        act = Act(account.account_id, False, "test", datetime.now(UTC), ids.new_id)
        with database.connection() as conn, counted(conn) as statements:
            rows = customer_search.find_without_profile(
                conn, account.account_id, ListParams().rows, CustomerSearch()
            )
            shown = frame_customers.render_many(conn, act, rows.rows)
        assert all(len(each["payment_methods"]) == 1 for each in shown)
        costs.append((len(shown), len(statements)))
    (one, cost), (many, same) = costs
    assert (one, many) == (1, 4)
    assert cost == same
