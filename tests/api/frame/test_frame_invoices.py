"""Invoices of Frame's: drafted of products, issued, charged or waited for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import stripe

from frame_client import Frame, FrameError
from postpaid.api.frame import invoice_shapes
from postpaid.billing import draft_invoices, sell_products
from postpaid.billing import pay as payment
from postpaid.billing.draft_invoices import NewInvoice
from postpaid.billing.perform import Act
from postpaid.billing.sell_products import ProductLine
from postpaid.storage import invoices
from postpaid.storage.accounts import Account
from postpaid.storage.database import Database
from postpaid.storage.paging import Page
from statements import counted

ADA = {"name": "Ada", "email": "ada@example.com"}
WAITED = {"collection_method": "request_payment"}


@pytest.fixture
def ada(frame: Frame) -> str:
    """A customer."""
    customer_id: str = frame.post("/v1/customers", ADA)["id"]
    return customer_id


@pytest.fixture
def seats(frame: Frame) -> str:
    """A product, at 15.00."""
    return product(frame, "Seats", 1500)


def product(frame: Frame, name: str, amount: int) -> str:
    made = {"name": name, "description": f"{name}, each", "default_price": amount}
    product_id: str = frame.post("/v1/products", made | {"purchase_type": "one_time"})["id"]
    return product_id


def card(stripe_client: stripe.StripeClient, customer_id: str, name: str = "visa") -> str:
    """A payment method of the customer's."""
    found = stripe_client.v1.payment_methods.attach(f"pm_card_{name}", {"customer": customer_id})
    return found.id


def draft(frame: Frame, customer_id: str, *products: str, **more: Any) -> dict[str, Any]:
    lines = [{"product": each, "quantity": 2} for each in products]
    asked = {"customer": customer_id, "line_items": lines, **WAITED, **more}
    return frame.post("/v1/invoices", asked)


def test_a_draft_has_the_products_price_and_words(frame: Frame, ada: str, seats: str) -> None:
    shown = draft(
        frame,
        ada,
        seats,
        net_terms=30,
        description="June",
        memo="Thank you",
        metadata={"po": "7"},
    )
    assert frame.last is not None
    assert frame.last.status_code == 201
    [line] = shown["line_items"]
    assert line == {
        "id": line["id"],
        "object": "invoice_line_item",
        "invoice": shown["id"],
        "description": "Seats, each",
        "quantity": 2,
        "unit_amount_cents": 1500,
        "unit_amount_decimal": "1500.0",
        "unit_amount_currency": "USD",
        "amount_cents": 3000,
        "discount_amount_cents": 0,
        "product": seats,
        "billing_metric": None,
        "period_start": shown["created"],
        "period_end": shown["created"],
        "metadata": {},
        "livemode": False,
        "created": shown["created"],
        "updated": shown["created"],
    }
    assert shown == {
        "id": shown["id"],
        "object": "invoice",
        "invoice_number": shown["invoice_number"],
        "customer": {"object": "customer", "id": ada, "name": "Ada"},
        "customer_id": ada,
        "account": None,
        "account_id": None,
        "subscription": None,
        "total": 3000,
        "gross_amount_cents": 3000,
        "discount_amount_cents": 0,
        "amount_due": 3000,
        "amount_paid": 0,
        "amount_remaining": 3000,
        "currency": "USD",
        "status": "draft",
        "collection_method": "request_payment",
        "payment_method": None,
        "auto_charge_payment_method": None,
        "charge_intent": None,
        "net_terms": 30,
        "due_date": None,
        "description": "June",
        "memo": "Thank you",
        "discounts": [],
        "line_items": [line],
        "metadata": {"po": "7"},
        "livemode": False,
        "issued_at": None,
        "paid_at": None,
        "voided_at": None,
        "next_payment_attempt": None,
        "created": shown["created"],
        "updated": shown["created"],
    }
    assert shown["invoice_number"].endswith("-DRAFT")
    assert frame.get(f"/v1/invoices/{shown['id']}") == shown


def test_a_recurring_product_is_billed_once_too(frame: Frame, ada: str) -> None:
    made = {"name": "Pro", "description": "Pro", "default_price": 9900}
    recurring = {"purchase_type": "recurring", "recurring_interval": "monthly"}
    pro = frame.post("/v1/products", made | recurring)["id"]
    assert draft(frame, ada, pro)["total"] == 19800


def test_what_is_charged_is_paid_when_it_is_issued(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str, seats: str
) -> None:
    visa = card(stripe_client, ada)
    made = draft(frame, ada, seats, collection_method="auto_charge", payment_method=visa)
    assert made["payment_method"] == visa
    issued = frame.post(f"/v1/invoices/{made['id']}/issue")
    assert frame.last is not None
    assert frame.last.status_code == 200
    assert (issued["status"], issued["amount_paid"], issued["amount_remaining"]) == (
        "paid",
        3000,
        0,
    )
    assert issued["due_date"] is None
    seen = stripe_client.v1.invoices.retrieve(made["id"])
    assert (seen.status, seen.amount_paid, seen.number) == ("paid", 3000, issued["invoice_number"])
    intent = stripe_client.v1.payment_intents.retrieve(issued["charge_intent"])
    assert (intent.status, intent.amount_received) == ("succeeded", 3000)
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/invoices/{made['id']}/issue")
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")


def test_a_declined_charge_is_an_error_and_leaves_the_invoice_outstanding(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str, seats: str
) -> None:
    failing = card(stripe_client, ada, "chargeCustomerFail")
    made = draft(frame, ada, seats, collection_method="auto_charge", payment_method=failing)
    with pytest.raises(FrameError) as refused:
        frame.post(f"/v1/invoices/{made['id']}/issue")
    assert (refused.value.status, refused.value.code) == (422, "charge_declined")
    assert refused.value.body["error_details"]["data"]["failure_code"]
    shown = frame.get(f"/v1/invoices/{made['id']}")
    assert (shown["status"], shown["amount_remaining"]) == ("outstanding", 3000)
    visa = card(stripe_client, ada)
    paid = frame.post(f"/v1/invoices/{made['id']}/pay", {"payment_method": visa})
    assert paid["status"] == "paid"


def _listed(frame: Frame, **query: Any) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = frame.get("/v1/invoices", **query)["data"]
    return shown


def test_without_terms_it_is_due_on_the_day_it_is_issued(
    frame: Frame, ada: str, seats: str
) -> None:
    made = draft(frame, ada, seats)
    issued = frame.post(f"/v1/invoices/{made['id']}/issue")
    assert (issued["status"], issued["net_terms"]) == ("due", 0)


def test_a_draft_is_changed_in_what_is_given(frame: Frame, ada: str, seats: str) -> None:
    storage = product(frame, "Storage", 50)
    made = draft(frame, ada, seats, net_terms=30, memo="Hi", metadata={"a": "1", "b": "2"})
    path = f"/v1/invoices/{made['id']}"
    shown = frame.patch(path, {"memo": "", "net_terms": 7, "metadata": {"a": "", "c": "3"}})
    assert (shown["memo"], shown["net_terms"]) == (None, 7)
    assert shown["metadata"] == {"b": "2", "c": "3"}
    assert shown["line_items"] == made["line_items"]
    shown = frame.patch(path, {"line_items": [{"product": storage, "quantity": 4}]})
    assert [(each["product"], each["amount_cents"]) for each in shown["line_items"]] == [
        (storage, 200)
    ]
    assert (shown["total"], shown["metadata"]) == (200, {"b": "2", "c": "3"})
    shown = frame.patch(path, {"number": "2026-7"})
    assert shown["invoice_number"] == "2026-7"
    assert frame.post(f"{path}/issue")["invoice_number"] == "2026-7"
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"memo": "Late"})
    assert (refused.value.status, refused.value.code) == (422, "invalid_transition")


def test_a_draft_changes_how_it_is_collected(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str, seats: str
) -> None:
    path = f"/v1/invoices/{draft(frame, ada, seats, net_terms=7)['id']}"
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"collection_method": "auto_charge"})
    assert "payment_method" in refused.value.body["error_details"]["errors"]
    visa = card(stripe_client, ada)
    shown = frame.patch(path, {"collection_method": "auto_charge", "payment_method": visa})
    assert (shown["collection_method"], shown["net_terms"]) == ("auto_charge", 0)
    shown = frame.patch(path, {"collection_method": "request_payment"})
    assert (shown["collection_method"], shown["net_terms"]) == ("request_payment", 0)


def test_line_items_are_added_changed_and_taken_off_a_draft(
    frame: Frame, ada: str, seats: str
) -> None:
    storage = product(frame, "Storage", 50)
    made = draft(frame, ada)
    path = f"/v1/invoices/{made['id']}/line_items"
    line = frame.post(path, {"product": seats, "metadata": {"team": "a"}})
    assert frame.last is not None
    assert frame.last.status_code == 201
    assert (line["quantity"], line["amount_cents"], line["metadata"]) == (1, 1500, {"team": "a"})
    assert frame.patch(f"{path}/{line['id']}", {"quantity": 3})["amount_cents"] == 4500
    moved = frame.patch(f"{path}/{line['id']}", {"product": storage})
    assert (moved["quantity"], moved["amount_cents"]) == (3, 150)
    assert (moved["description"], moved["product"]) == ("Storage, each", storage)
    assert frame.get(f"{path}/{line['id']}") == moved
    other = frame.post(path, {"product": seats})
    listed = frame.get(path, per_page=1, page=2)
    assert [each["id"] for each in listed["data"]] == [other["id"]]
    assert (listed["meta"]["prev"], listed["meta"]["has_more"]) == (1, False)
    assert frame.get(f"/v1/invoices/{made['id']}")["total"] == 1650
    assert frame.delete(f"{path}/{line['id']}") == {
        "id": line["id"],
        "object": "invoice_line_item",
        "deleted": True,
    }
    assert frame.get(f"/v1/invoices/{made['id']}")["total"] == 1500
    frame.post(f"/v1/invoices/{made['id']}/issue")
    for method, where, body in (
        ("POST", path, {"product": seats}),
        ("PATCH", f"{path}/{other['id']}", {"quantity": 2}),
        ("DELETE", f"{path}/{other['id']}", None),
    ):
        with pytest.raises(FrameError) as refused:
            frame.request(method, where, body)
        assert (refused.value.status, refused.value.code) == (422, "invalid_transition")


def test_a_price_that_rises_later_leaves_a_draft_as_it_is(
    frame: Frame, ada: str, seats: str
) -> None:
    made = draft(frame, ada, seats)
    frame.patch(f"/v1/products/{seats}", {"default_price": 9900})
    path = f"/v1/invoices/{made['id']}"
    assert frame.get(path)["total"] == 3000
    line = made["line_items"][0]["id"]
    assert frame.patch(f"{path}/line_items/{line}", {"quantity": 3})["amount_cents"] == 4500
    assert frame.post(f"{path}/line_items", {"product": seats})["amount_cents"] == 9900


def test_a_draft_is_deleted_and_nothing_else(frame: Frame, ada: str, seats: str) -> None:
    made = draft(frame, ada, seats)
    path = f"/v1/invoices/{made['id']}"
    assert frame.delete(path) == {"id": made["id"], "object": "invoice", "deleted": True}
    with pytest.raises(FrameError) as refused:
        frame.get(path)
    assert refused.value.status == 404
    issued = frame.post(f"/v1/invoices/{draft(frame, ada, seats)['id']}/issue")
    with pytest.raises(FrameError) as refused:
        frame.delete(f"/v1/invoices/{issued['id']}")
    assert refused.value.code == "invalid_transition"


def test_an_issued_invoice_is_voided_or_written_off(frame: Frame, ada: str, seats: str) -> None:
    void, lost = (draft(frame, ada, seats)["id"] for _ in range(2))
    for each in (void, lost):
        frame.post(f"/v1/invoices/{each}/issue")
    assert frame.post(f"/v1/invoices/{void}/void")["status"] == "voided"
    assert frame.post(f"/v1/invoices/{lost}/write_off")["status"] == "written_off"
    assert [each["id"] for each in _listed(frame, status="voided")] == [void]
    assert [each["id"] for each in _listed(frame, status="written_off")] == [lost]


def test_promotion_codes_come_off(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str, seats: str
) -> None:
    coupon = stripe_client.v1.coupons.create({"percent_off": 10, "duration": "once"})
    stripe_client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "TEN"}
    )
    made = draft(frame, ada, seats, promotion_codes=["ten"])
    assert (made["total"], made["gross_amount_cents"], made["discount_amount_cents"]) == (
        2700,
        3000,
        300,
    )
    [line] = made["line_items"]
    assert (line["amount_cents"], line["discount_amount_cents"]) == (3000, 300)
    path = f"/v1/invoices/{made['id']}"
    assert frame.patch(path, {"promotion_codes": []})["total"] == 3000
    assert frame.patch(path, {"promotion_codes": ["TEN"]})["total"] == 2700
    with pytest.raises(FrameError) as refused:
        frame.patch(path, {"promotion_codes": ["NONE"]})
    assert "promotion_codes" in str(refused.value.body["error_details"]["errors"])


def test_an_invoice_of_stripes_is_shown_and_issued(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str
) -> None:
    v1 = stripe_client.v1
    card(stripe_client, ada)
    v1.customers.update(
        ada, {"invoice_settings": {"default_payment_method": card(stripe_client, ada)}}
    )
    made = v1.invoices.create({"customer": ada, "currency": "eur"})
    v1.invoice_items.create(
        {"customer": ada, "invoice": made.id, "amount": 700, "currency": "eur", "description": "x"}
    )
    shown = frame.get(f"/v1/invoices/{made.id}")
    assert (shown["collection_method"], shown["currency"], shown["total"]) == (
        "auto_charge",
        "EUR",
        700,
    )
    assert frame.post(f"/v1/invoices/{made.id}/issue")["status"] == "paid"
    assert v1.invoices.retrieve(made.id).status == "paid"


def test_an_account_is_billed_as_a_customer_is(frame: Frame, seats: str) -> None:
    profile = {
        "individual": {"name": {"first_name": "Eve", "last_name": "X"}, "email": "e@example.com"}
    }
    eve = frame.post("/v1/accounts", {"type": "individual", "profile": profile})["id"]
    asked = {"account": eve, "line_items": [{"product": seats}], **WAITED}
    made = frame.post("/v1/invoices", asked)
    assert made["customer"] is None
    assert made["account"]["id"] == made["account_id"] == eve
    assert made["account"]["object"] == "account"
    assert [each["id"] for each in _listed(frame, account=eve)] == [made["id"]]


def test_another_merchants_invoice_is_not_there(
    frame: Frame, other_frame: Frame, ada: str, seats: str
) -> None:
    made = draft(frame, ada, seats)
    for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/issue")):
        with pytest.raises(FrameError) as refused:
            other_frame.request(method, f"/v1/invoices/{made['id']}{rest}")
        assert refused.value.status == 404


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"customer": None, "account": None}, "customer"),
        ({"customer": "cus_none"}, "customer"),
        ({"customer": 7}, "customer"),
        ({"account": "cus_other"}, "customer"),
        ({"collection_method": None}, "collection_method"),
        ({"collection_method": "charge_automatically"}, "collection_method"),
        ({"collection_method": "auto_charge"}, "payment_method"),
        ({"collection_method": "auto_charge", "payment_method": "pm_none"}, "payment_method"),
        ({"payment_method": {}}, "payment_method"),
        ({"net_terms": -1}, "net_terms"),
        ({"net_terms": 731}, "net_terms"),
        ({"net_terms": "soon"}, "net_terms"),
        ({"number": "x" * 27}, "number"),
        ({"description": ["x"]}, "description"),
        ({"memo": "x" * 5001}, "memo"),
        ({"currency": "xyz"}, "currency"),
        ({"promotion_codes": "TEN"}, "promotion_codes"),
        ({"promotion_codes": ["x"] * 21}, "promotion_codes"),
        ({"promotion_codes": ["NONE"]}, "promotion_codes[0]"),
        ({"line_items": "x"}, "line_items"),
        ({"line_items": [{}]}, "line_items[0][product]"),
        ({"line_items": [{"product": "prod_none"}]}, "line_items[0][product]"),
        ({"line_items": [{"product": "x", "quantity": 0}]}, "line_items[0][quantity]"),
        ({"line_items": [{"product": "x", "quantity": 1.5}]}, "line_items[0][quantity]"),
        ({"line_items": [{"product": "x", "quantity": 10**13}]}, "line_items[0][quantity]"),
        ({"line_items": [{"product": "x"}] * 251}, "line_items"),
        ({"metadata": {"k": "x" * 101}}, "metadata"),
        ({"metadata": "x"}, "metadata"),
    ],
)
def test_what_cannot_be_invoiced_is_refused(
    frame: Frame, ada: str, given: dict[str, Any], param: str
) -> None:
    asked: dict[str, Any] = {"customer": ada, **WAITED} | given
    asked = {key: value for key, value in asked.items() if value is not None}
    with pytest.raises(FrameError) as refused:
        frame.post("/v1/invoices", asked)
    assert refused.value.status in (404, 422)
    errors = refused.value.body["error_details"]["errors"]
    assert list(errors) == [param]


@pytest.mark.parametrize(
    "query", [{"status": "sent"}, {"collection_method": "x"}, {"customer": "x" * 256}]
)
def test_what_cannot_be_listed_is_refused(frame: Frame, query: dict[str, str]) -> None:
    with pytest.raises(FrameError) as refused:
        frame.get("/v1/invoices", **query)
    assert refused.value.status == 422
    assert list(refused.value.body["error_details"]["errors"]) == list(query)


def test_a_product_that_is_not_sold_is_on_no_invoice(
    frame: Frame, stripe_client: stripe.StripeClient, ada: str
) -> None:
    bare = stripe_client.v1.products.create({"name": "Bare"}).id
    gone = product(frame, "Gone", 1)
    frame.delete(f"/v1/products/{gone}")
    for each in (bare, gone):
        with pytest.raises(FrameError) as refused:
            draft(frame, ada, each)
        assert refused.value.status == 422
        assert "product" in str(refused.value.body["error_details"]["errors"])


WAITING = """
SELECT count(*)
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND wait_event_type = 'Lock'
"""


def test_what_is_issued_while_an_edit_waits_is_not_edited(
    frame: Frame, ada: str, seats: str, database: Database, act: Act
) -> None:
    url = f"/v1/invoices/{draft(frame, ada, seats)['id']}"
    answers: list[FrameError | None] = []

    def edit() -> None:
        try:
            frame.patch(url, {"metadata": {"too": "late"}})
            answers.append(None)
        except FrameError as error:
            answers.append(error)

    thread = threading.Thread(target=edit)
    with database.transaction() as conn:
        payment.finalize_now(conn, act, url.rpartition("/")[2], auto_advance=True)
        thread.start()
        with database.connection() as watching:
            for _ in range(2000):
                if watching.execute(WAITING).fetchone() != (0,) or answers:
                    break
                thread.join(0.01)
    thread.join(timeout=60)
    [refused] = answers
    assert refused is not None
    assert refused.body["code"] == "invalid_transition"
    assert frame.get(url)["metadata"] == {}


def test_a_page_of_invoices_costs_as_many_statements_as_one(
    frame: Frame, ada: str, seats: str, database: Database, account: Account, act: Act
) -> None:
    costs = []
    for _ in range(2):
        draft(frame, ada, seats)
        with database.connection() as conn, counted(conn) as statements:
            rows = invoices.list_page(conn, account.account_id, Page(limit=50)).rows
            invoice_shapes.render_many(conn, act, rows)
            invoice_shapes.render_flat(conn, act, rows)
            invoice_shapes.render_snapshots(conn, act, rows)
        costs.append(len(statements))
        draft(frame, frame.post("/v1/customers", ADA)["id"], seats, seats)
    assert costs[0] == costs[1]


def test_a_draft_of_many_products_costs_as_many_statements_as_of_one(
    frame: Frame, ada: str, database: Database, account: Account, act: Act
) -> None:
    made = [product(frame, f"P{i}", 100 + i) for i in range(5)]
    draft(frame, ada, made[0])  # so that its currency is known
    costs = []
    for some in (made[:1], made):
        with database.transaction() as conn, counted(conn) as statements:
            lines = [ProductLine(each) for each in some]
            items = sell_products.items_of_products(conn, act, lines)
            draft_invoices.create_invoice(conn, act, NewInvoice(ada, items=items))
        costs.append(len(statements))
    assert costs[0] == costs[1]
