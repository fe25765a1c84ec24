"""Pages of payments and of discounts cost as many statements as one of them; and invoices' own."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import stripe

from frame_client import Frame
from postpaid import clock, ids
from postpaid.api.frame import (
    charge_intents,
    charges,
    coupons,
    discounts,
    promotion_codes,
    refunds,
    transfers,
)
from postpaid.billing.perform import Act
from postpaid.billing.try_codes import Purchase, try_codes
from postpaid.storage import coupons as stored_coupons
from postpaid.storage import discounts as stored_discounts
from postpaid.storage import payment_intents, payments
from postpaid.storage import promotion_codes as stored_codes
from postpaid.storage import refunds as stored_refunds
from postpaid.storage.accounts import Account
from postpaid.storage.database import Connection, Database
from postpaid.storage.paging import Page
from statements import counted

PAGE = Page(limit=10)
MANY = 3

# By what is listed: its rows, and how they are shown.
LISTED: dict[str, tuple[Callable[[Connection, Act], Sequence[Any]], Callable[..., Any]]] = {
    "charge intents": (
        lambda conn, act: payment_intents.list_page(conn, act.account_id, PAGE).rows,
        charge_intents.render_many,
    ),
    "transfers": (
        lambda conn, act: payment_intents.list_page(conn, act.account_id, PAGE).rows,
        transfers.render_many,
    ),
    "charges": (
        lambda conn, act: payments.list_charges(conn, act.account_id, PAGE).rows,
        charges.render_many,
    ),
    "refunds": (
        lambda conn, act: stored_refunds.list_page(conn, act.account_id, PAGE).rows,
        refunds.render_many,
    ),
    "coupons": (
        lambda conn, act: stored_coupons.list_page(conn, act.account_id, PAGE).rows,
        coupons.render_many,
    ),
    "promotion codes": (
        lambda conn, act: stored_codes.list_page(conn, act.account_id, PAGE, now=act.now).rows,
        promotion_codes.render_many,
    ),
    "discounts": (
        lambda conn, act: stored_discounts.list_page(conn, act.account_id, PAGE).rows,
        discounts.render_many,
    ),
}


@pytest.fixture
def sold(frame: Frame, stripe_client: stripe.StripeClient) -> list[str]:
    """Invoices of several customers, each with a code redeemed, paid by card, partly refunded."""
    paid = []
    for number in range(MANY):
        customer = stripe_client.v1.customers.create({"name": f"Customer {number}"})
        stripe_client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        method = stripe_client.v1.payment_methods.list({"customer": customer.id}).data[0]
        coupon = stripe_client.v1.coupons.create({"percent_off": 10, "duration": "once"})
        code = frame.post(
            "/v1/promotion_codes",
            {"code": f"CODE{number}", "coupon_id": coupon.id, "customer_id": customer.id},
        )
        invoice = stripe_client.v1.invoices.create(
            {
                "customer": customer.id,
                "discounts": [{"promotion_code": code["id"]}],
                "default_payment_method": method.id,
            }
        )
        assert invoice.id
        stripe_client.v1.invoice_items.create(
            {"customer": customer.id, "invoice": invoice.id, "amount": 1000, "currency": "usd"}
        )
        stripe_client.v1.invoices.pay(invoice.id)
        [intent] = frame.get("/v1/charge_intents", customer=customer.id)["data"]
        assert (intent["invoice"], intent["status"], intent["amount"]) == (
            invoice.id,
            "succeeded",
            900,
        )
        frame.post("/v1/refunds", {"charge_intent": intent["id"], "amount": 100})
        paid.append(intent["id"])
    return paid


@pytest.mark.parametrize("what", LISTED)
def test_a_page_costs_as_many_statements_as_one(
    what: str, sold: list[str], database: Database, account: Account
) -> None:
    rows_of, render = LISTED[what]
    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)
    costs = []
    with database.connection() as conn:
        rows = rows_of(conn, act)
        assert len(rows) == MANY
        for shown in (rows[:1], rows):
            with counted(conn) as statements:
                assert len(render(conn, act, shown)) == len(shown)
            costs.append(len(statements))
    assert costs[0] == costs[1]


def test_many_codes_are_tried_in_as_many_statements_as_one(
    sold: list[str], database: Database, account: Account
) -> None:
    act = Act(account.account_id, False, "test", clock.now(), ids.new_id)
    costs = []
    with database.connection() as conn:
        for words in (["CODE0"], ["CODE0", "CODE1", "CODE2", "NONE"]):
            with counted(conn) as statements:
                assert len(try_codes(conn, act, words, Purchase(1000, "usd"))) == len(words)
            costs.append(len(statements))
    assert costs[0] == costs[1]


def test_what_an_intent_paid_of_its_invoice_outlives_a_new_description(
    frame: Frame, stripe_client: stripe.StripeClient, sold: list[str]
) -> None:
    """Else a refund would take what was owed for credit that nobody had, off the balance."""
    seen = frame.patch(f"/v1/charge_intents/{sold[0]}", {"description": "Tea"})
    customer = seen["customer_id"]
    stripe_client.v1.customers.balance_transactions.create(
        customer, {"amount": -5000, "currency": "usd"}
    )
    frame.post("/v1/refunds", {"charge_intent": sold[0], "amount": 300})
    assert stripe_client.v1.customers.retrieve(customer).balance == -5000


def test_the_intent_of_a_subscriptions_invoice_names_both(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    customer = stripe_client.v1.customers.create(
        {
            "name": "Ada",
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
        }
    )
    product = stripe_client.v1.products.create({"name": "Pro"})
    price = stripe_client.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 500,
            "recurring": {"interval": "month"},
        }
    )
    subscription = stripe_client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}]}
    )
    [intent] = frame.get("/v1/charge_intents", customer=customer.id)["data"]
    assert (intent["subscription"], intent["invoice"], intent["status"]) == (
        subscription.id,
        subscription.latest_invoice,
        "succeeded",
    )
    [transfer] = frame.get("/v1/transfers", customer=customer.id)["data"]
    assert (transfer["subscription"], transfer["invoice"]) == (
        subscription.id,
        subscription.latest_invoice,
    )
    assert intent["latest_charge"]["invoice"] == subscription.latest_invoice


def test_a_customer_on_a_test_clock_pays_at_its_time(
    frame: Frame, stripe_client: stripe.StripeClient
) -> None:
    then = 1_767_225_600  # 2026-01-01
    test_clock = stripe_client.v1.test_helpers.test_clocks.create({"frozen_time": then})
    customer = frame.post(
        "/v1/customers",
        {"name": "Ada", "email": "a@example.com", "test_clock": test_clock.id},
    )
    made = frame.post(
        "/v1/charge_intents",
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer["id"],
            "payment_method": "pm_card_visa",
            "confirm": True,
        },
    )
    assert (made["created"], made["latest_charge"]["created"]) == (then, then)
    assert frame.post("/v1/refunds", {"transfer": made["id"]})["created"] == then
