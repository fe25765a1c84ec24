"""The ledger over HTTP: lists, filters, and what is asked wrongly."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from postpaid.billing.manage_keys import IssuedKey

JANUARY = 1767225600  # 2026-01-01, in UTC
FEBRUARY = 1769904000
FEE = 3100


@pytest.fixture
def invoice(stripe_client: stripe.StripeClient) -> stripe.Invoice:
    """A month's fee of $31, in advance, from 1 January on, and paid."""
    v1 = stripe_client.v1
    clock = v1.test_helpers.test_clocks.create({"frozen_time": JANUARY})
    customer = v1.customers.create({"test_clock": clock.id})
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    price = v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": FEE,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Fee"},
        }
    )
    subscription = v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "default_payment_method": method.id,
        }
    )
    assert isinstance(subscription.latest_invoice, str)
    return v1.invoices.retrieve(subscription.latest_invoice)


def listed(http: httpx.Client, path: str, **given: Any) -> list[dict[str, Any]]:
    answer = http.get(f"/v1/ledger/{path}", params=given)
    assert answer.status_code == 200, answer.text
    assert answer.json()["url"] == f"/v1/ledger/{path}"
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def test_transactions_with_their_entries(http: httpx.Client, invoice: stripe.Invoice) -> None:
    paid, final = listed(http, "transactions")
    common = {"currency": "usd", "customer": invoice.customer, "created": JANUARY}
    entry = common | {"object": "ledger.entry", "livemode": False, "transaction": final["id"]}
    month = {"start": JANUARY, "end": FEBRUARY}
    assert final == common | {
        "id": final["id"],
        "object": "ledger.transaction",
        "entries": [
            entry
            | {"id": f"{final['id']}_001", "account": "receivable", "amount": FEE}
            | {"service_period": None},
            entry
            | {"id": f"{final['id']}_002", "account": "deferred_revenue", "amount": -FEE}
            | {"service_period": month},
        ],
        "invoice": invoice.id,
        "kind": "invoice_finalized",
        "livemode": False,
        "source": invoice.id,
    }
    assert paid["kind"] == "payment"
    assert [(each["account"], each["amount"]) for each in paid["entries"]] == [
        ("cash", FEE),
        ("receivable", -FEE),
    ]
    assert http.get(f"/v1/ledger/transactions/{final['id']}").json() == final
    expanded = http.get(
        f"/v1/ledger/transactions/{final['id']}", params={"expand[]": ["invoice", "customer"]}
    ).json()
    assert (expanded["invoice"]["id"], expanded["customer"]["id"]) == (
        invoice.id,
        invoice.customer,
    )


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({}, ["payment", "invoice_finalized"]),
        ({"limit": 1}, ["payment"]),
        ({"kind": "payment"}, ["payment"]),
        ({"kind": "credit_note"}, []),
        ({"customer": "cus_none"}, []),
        ({"invoice": "in_none"}, []),
        ({"created[gte]": JANUARY}, ["payment", "invoice_finalized"]),
        ({"created[lt]": JANUARY}, []),
    ],
    ids=["all", "one", "kind", "none of a kind", "customer", "invoice", "since", "before"],
)
def test_transactions_are_filtered(
    http: httpx.Client, invoice: stripe.Invoice, given: dict[str, Any], kinds: list[str]
) -> None:
    assert [each["kind"] for each in listed(http, "transactions", **given)] == kinds
    ours = {"customer": invoice.customer, "invoice": invoice.id}
    found = listed(http, "transactions", **(ours | given))
    assert [each["kind"] for each in found] == kinds


@pytest.mark.parametrize(
    ("given", "accounts"),
    [
        ({}, ["receivable", "cash", "deferred_revenue", "receivable"]),
        ({"limit": 2}, ["receivable", "cash"]),
        ({"account": "cash"}, ["cash"]),
        ({"currency": "eur"}, []),
        ({"customer": "cus_none"}, []),
        ({"created": JANUARY + 1}, []),
    ],
    ids=["all", "some", "account", "currency", "customer", "second"],
)
def test_entries_are_filtered(
    http: httpx.Client, invoice: stripe.Invoice, given: dict[str, Any], accounts: list[str]
) -> None:
    assert [each["account"] for each in listed(http, "entries", **given)] == accounts
    found = listed(http, "entries", **({"customer": invoice.customer} | given))
    assert [each["account"] for each in found] == accounts


def test_entries_page_by_page(http: httpx.Client, invoice: stripe.Invoice) -> None:
    assert invoice.status == "paid"
    whole = listed(http, "entries")
    found: list[dict[str, Any]] = []
    while len(found) < len(whole):
        given = {"starting_after": found[-1]["id"]} if found else {}
        found += listed(http, "entries", limit=1, **given)
    assert found == whole
    assert listed(http, "entries", ending_before=whole[2]["id"]) == whole[:2]


def test_balances_at_an_instant(http: httpx.Client, invoice: stripe.Invoice) -> None:
    def at(as_of: int, **given: Any) -> dict[str, int]:
        found = listed(http, "balances", as_of=as_of, **given)
        assert {each["as_of"] for each in found} <= {as_of}
        return {each["account"]: each["amount"] for each in found}

    assert at(JANUARY - 1) == {}
    assert at(JANUARY + 86400) == {
        "cash": FEE,
        "deferred_revenue": -3000,
        "receivable": 0,
        "revenue": -100,
    }
    later = at(FEBRUARY, customer=invoice.customer, currency="usd")
    assert (later["deferred_revenue"], later["revenue"]) == (0, -FEE)
    [cash, *_] = listed(http, "balances", as_of=FEBRUARY)
    assert cash == {
        "object": "ledger.balance",
        "account": "cash",
        "amount": FEE,
        "as_of": FEBRUARY,
        "credits": 0,
        "currency": "usd",
        "debits": FEE,
        "livemode": False,
    }
    assert isinstance(listed(http, "balances"), list)


def test_revenue_by_month_of_a_time_zone(http: httpx.Client, invoice: stripe.Invoice) -> None:
    assert invoice.total == FEE
    [month] = listed(http, "revenue_schedule", start=JANUARY, end=FEBRUARY)
    assert month == {
        "object": "ledger.revenue_period",
        "currency": "usd",
        "deferred": 0,
        "earned_at_once": 0,
        "end": FEBRUARY,
        "livemode": False,
        "recognized": FEE,
        "revenue": FEE,
        "start": JANUARY,
    }
    halves = listed(
        http,
        "revenue_schedule",
        start=JANUARY - 43200,
        end=FEBRUARY + 43200,
        time_zone="Asia/Tokyo",  # where January ends nine hours earlier
        currency="usd",
    )
    assert [(each["end"] - JANUARY, each["recognized"]) for each in halves] == [
        (31 * 86400 - 9 * 3600, 3063),
        (31 * 86400 + 12 * 3600, 37),
    ]
    assert listed(http, "revenue_schedule", start=JANUARY, end=FEBRUARY, currency="eur") == []


@pytest.mark.parametrize(
    ("path", "given", "param", "says"),
    [
        ("transactions", {"kind": "gift"}, "kind", "Invalid kind"),
        ("transactions", {"starting_after": "lt_none"}, "starting_after", "No such"),
        ("entries", {"account": "mine"}, "account", "Invalid account"),
        ("entries", {"currency": "xyz"}, "currency", "Invalid currency"),
        ("entries", {"ending_before": "lt_none_001"}, "ending_before", "No such"),
        ("balances", {"as_of": "today"}, "as_of", "Invalid"),
        ("balances", {"limit": 1}, "limit", "unknown parameter"),
        ("revenue_schedule", {"start": 5}, "end", "Missing required param"),
        ("revenue_schedule", {"start": 5, "end": 5}, "end", "after start"),
        ("revenue_schedule", {"start": 0, "end": JANUARY}, "end", "ten years"),
        (
            "revenue_schedule",
            {"start": 0, "end": 5, "time_zone": "Mars/Base"},
            "time_zone",
            "Invalid time zone: Mars/Base",
        ),
        (
            "revenue_schedule",
            {"start": 0, "end": 5, "time_zone": "../etc"},
            "time_zone",
            "Invalid time zone",
        ),
    ],
    ids=[
        "kind",
        "transaction",
        "account",
        "currency",
        "entry",
        "instant",
        "limit",
        "no end",
        "nothing",
        "too much",
        "zone",
        "path",
    ],
)
def test_what_is_asked_wrongly(
    http: httpx.Client, path: str, given: dict[str, Any], param: str, says: str
) -> None:
    answer = http.get(f"/v1/ledger/{path}", params=given)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param
    assert says in answer.json()["error"]["message"]


def test_a_transaction_of_somebody_else(
    http: httpx.Client, other_key: IssuedKey, invoice: stripe.Invoice, server: str
) -> None:
    assert invoice.id
    [found, *_] = listed(http, "transactions")
    auth = (other_key.secret, "")
    with httpx.Client(base_url=f"{server}/v1/ledger", auth=auth, trust_env=False) as theirs:
        refused = theirs.get(f"/transactions/{found['id']}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "resource_missing")
        for path in ("transactions", "entries", "balances"):
            assert theirs.get(f"/{path}").json()["data"] == []
