"""Whatever is wrong with a request to a lifecycle's endpoints is refused by name, and never fails.

For each endpoint there is one request that is right; ``shops`` makes it wrong in every way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import shops
from shops import Names, Shop, a_shop, bracketed, made
from stripe import StripeClient

from postpaid.storage.database import Database

FAR = 4_102_444_800  # 2100-01-01


@pytest.fixture(scope="module")
def shop(server: str, database: Database) -> Iterator[Shop]:
    """One for all that is refused, since that leaves no trace."""
    with a_shop(server, database, make_names) as shop:
        yield shop


@pytest.fixture(scope="module")
def odd_shop(server: str, database: Database) -> Iterator[Shop]:
    """One for what may or may not be refused."""
    with a_shop(server, database, make_names) as shop:
        yield shop


def make_names(client: StripeClient, _: httpx.Client) -> Names:
    v1 = client.v1
    meter = v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "call", "default_aggregation": {"formula": "sum"}}
    ).id
    product = v1.products.create({"name": "Calls"}).id

    def price(**given: Any) -> str:
        asked = {"product": product, "currency": "usd", "unit_amount": 100} | given
        return v1.prices.create(asked).id  # type: ignore[arg-type]

    monthly: Any = {"interval": "month"}
    customer = v1.customers.create({"name": "Ada"}).id
    card = v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
    fee = price(recurring=monthly)
    subscription = v1.subscriptions.create({"customer": customer, "items": [{"price": fee}]})
    sent = v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": fee}],
            "collection_method": "send_invoice",
            "days_until_due": 9,
        }
    )
    classic = v1.subscriptions.create(
        {"customer": customer, "items": [{"price": fee}], "billing_mode": {"type": "classic"}}
    )
    bill = v1.invoices.finalize_invoice(str(sent.latest_invoice))
    draft = v1.invoices.create({"customer": customer, "currency": "usd"}).id
    on_draft = v1.invoice_items.create(
        {"customer": customer, "invoice": draft, "amount": 500, "currency": "usd"}
    )
    coupon = v1.coupons.create({"percent_off": 10, "duration": "forever"}).id
    schedule = v1.subscription_schedules.create(
        {
            "customer": customer,
            "start_date": FAR,
            "phases": [{"items": [{"price": fee}], "duration": {"interval": "month"}}],
        }
    )
    grant = v1.billing.credit_grants.create(
        {
            "customer": customer,
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
            "applicability_config": {"scope": {"price_type": "metered"}},
        }
    )
    moved = v1.customers.balance_transactions.create(customer, {"amount": -5, "currency": "usd"})
    return {
        "bill": bill.id,
        "bill_line": bill.lines.data[0].id,
        "card": card,
        "classic": classic.id,
        "coupon": coupon,
        "customer": customer,
        "draft": draft,
        "draft_line": v1.invoices.retrieve(draft).lines.data[0].id,
        "fee": fee,
        "grant": grant.id,
        "item": subscription["items"].data[0].id,
        "moved": moved.id,
        "note": v1.credit_notes.create({"invoice": bill.id, "amount": 1}).id,
        "on_draft": on_draft.id,
        "once": price(),
        "other_fee": price(recurring=monthly),
        "product": product,
        "promo": v1.promotion_codes.create(
            {"promotion": {"type": "coupon", "coupon": coupon}, "code": "HELLO"}
        ).id,
        "rate": v1.tax_rates.create(
            {"display_name": "VAT", "percentage": 19, "inclusive": False}
        ).id,
        "schedule": schedule.id,
        "subscription": subscription.id,
        "usage": price(recurring={**monthly, "usage_type": "metered", "meter": meter}),
    }


# ─── Requests that are right ─────────────────────────────────────────────────────────────────

SOMETIME = {"gte": 1, "lt": FAR}
DISCOUNTS = [{"coupon": "{coupon}"}]
PHASE = {
    "items": [{"price": "{fee}", "quantity": 2, "metadata": {"a": "b"}, "tax_rates": ["{rate}"]}],
    "add_invoice_items": [{"price": "{once}", "quantity": 1}],
    "collection_method": "charge_automatically",
    "currency": "usd",
    "default_payment_method": "{card}",
    "description": "First",
    "duration": {"interval": "month", "interval_count": 2},
    "metadata": {"a": "b"},
    "proration_behavior": "none",
}
AMOUNT = {"type": "monetary", "monetary": {"currency": "usd", "value": 5}}
ITEM = {
    "description": "A day",
    "discountable": True,
    "discounts": DISCOUNTS,
    "metadata": {"a": "b"},
    "period": {"start": 1, "end": 2},
    "quantity_decimal": "1.5",
    "tax_rates": ["{rate}"],
}
OF_PRICE = {"pricing": {"price": "{once}"}}
PRICE_DATA = {"currency": "usd", "product": "{product}", "unit_amount_decimal": "1.5"}
SUBTOTALS = {"invoice": "{bill}", "credit_amount": 0, "out_of_band_amount": 0, "amount": 1}

RIGHT: list[tuple[str, str, dict[str, Any]]] = [
    (
        "POST",
        "/v1/coupons",
        {
            "amount_off": 5,
            "applies_to": {"products": ["{product}"]},
            "currency": "usd",
            "currency_options": {"eur": {"amount_off": 4}},
            "duration": "repeating",
            "duration_in_months": 3,
            "max_redemptions": 3,
            "metadata": {"a": "b"},
            "name": "Five",
            "redeem_by": FAR,
        },
    ),
    ("POST", "/v1/coupons", {"percent_off": "12.5", "duration": "once"}),
    ("POST", "/v1/coupons/{coupon}", {"name": "Ten", "metadata": {"a": "b"}}),
    ("GET", "/v1/coupons", {"created": SOMETIME, "limit": 3}),
    (
        "POST",
        "/v1/promotion_codes",
        {
            "promotion": {"type": "coupon", "coupon": "{coupon}"},
            "active": True,
            "customer": "{customer}",
            "expires_at": FAR,
            "max_redemptions": 3,
            "metadata": {"a": "b"},
            "restrictions": {
                "first_time_transaction": True,
                "minimum_amount": 5,
                "minimum_amount_currency": "usd",
            },
        },
    ),
    ("POST", "/v1/promotion_codes/{promo}", {"active": True, "metadata": {"a": "b"}}),
    (
        "GET",
        "/v1/promotion_codes",
        {"active": True, "code": "HELLO", "coupon": "{coupon}", "customer": "{customer}"},
    ),
    (
        "POST",
        "/v1/tax_rates",
        {
            "display_name": "VAT",
            "inclusive": False,
            "percentage": "19.5",
            "country": "DE",
            "description": "What it says",
            "jurisdiction": "DE",
            "metadata": {"a": "b"},
            "state": "BE",
            "tax_type": "vat",
        },
    ),
    ("POST", "/v1/tax_rates/{rate}", {"active": True, "display_name": "VAT", "tax_type": "gst"}),
    ("GET", "/v1/tax_rates", {"active": True, "inclusive": True, "created": SOMETIME}),
    (
        "POST",
        "/v1/customers/{customer}/balance_transactions",
        {"amount": -5, "currency": "usd", "description": "Sorry", "metadata": {"a": "b"}},
    ),
    (
        "POST",
        "/v1/customers/{customer}/balance_transactions/{moved}",
        {"description": "Sorry", "metadata": {"a": "b"}},
    ),
    (
        "GET",
        "/v1/customers/{customer}/balance_transactions",
        {"created": SOMETIME, "invoice": "{bill}", "limit": 2},
    ),
    (
        "POST",
        "/v1/billing/credit_grants",
        {
            "amount": AMOUNT,
            "applicability_config": {"scope": {"prices": [{"id": "{usage}"}]}},
            "category": "paid",
            "customer": "{customer}",
            "effective_at": FAR,
            "expires_at": FAR + 60,
            "metadata": {"a": "b"},
            "name": "Welcome",
            "priority": 5,
        },
    ),
    ("POST", "/v1/billing/credit_grants/{grant}", {"expires_at": FAR, "metadata": {"a": "b"}}),
    ("GET", "/v1/billing/credit_grants", {"customer": "{customer}"}),
    (
        "GET",
        "/v1/billing/credit_balance_transactions",
        {"customer": "{customer}", "credit_grant": "{grant}"},
    ),
    (
        "GET",
        "/v1/billing/credit_balance_summary",
        {
            "customer": "{customer}",
            "filter": {
                "type": "applicability_scope",
                "applicability_scope": {"prices": [{"id": "{usage}"}]},
            },
        },
    ),
    (
        "GET",
        "/v1/billing/credit_balance_summary",
        {"customer": "{customer}", "filter": {"type": "credit_grant", "credit_grant": "{grant}"}},
    ),
    ("POST", "/v1/invoiceitems", ITEM | OF_PRICE | {"customer": "{customer}"}),
    (
        "POST",
        "/v1/invoiceitems",
        {
            "amount": -5,
            "currency": "usd",
            "customer": "{customer}",
            "subscription": "{subscription}",
        },
    ),
    (
        "POST",
        "/v1/invoiceitems",
        {"invoice": "{draft}", "customer": "{customer}", "price_data": PRICE_DATA, "quantity": 2},
    ),
    ("POST", "/v1/invoiceitems/{on_draft}", ITEM | {"unit_amount_decimal": "3.5"}),
    (
        "GET",
        "/v1/invoiceitems",
        {"customer": "{customer}", "invoice": "{draft}", "pending": True, "created": SOMETIME},
    ),
    (
        "POST",
        "/v1/invoices",
        {
            "auto_advance": False,
            "collection_method": "send_invoice",
            "currency": "usd",
            "custom_fields": [{"name": "Order", "value": "7"}],
            "customer": "{customer}",
            "days_until_due": 9,
            "default_payment_method": "{card}",
            "default_tax_rates": ["{rate}"],
            "description": "A workshop",
            "discounts": [{"promotion_code": "{promo}"}],
            "effective_at": FAR,
            "footer": "Thank you",
            "metadata": {"a": "b"},
            "pending_invoice_items_behavior": "exclude",
            "rendering": {"amount_tax_display": "exclude_tax", "pdf": {"page_size": "a4"}},
            "statement_descriptor": "ADA",
            "subscription": "{subscription}",
        },
    ),
    ("POST", "/v1/invoices", {"from_invoice": {"action": "revision", "invoice": "{bill}"}}),
    (
        "POST",
        "/v1/invoices/{draft}",
        {
            "custom_fields": [{"name": "Order", "value": "7"}],
            "default_tax_rates": ["{rate}"],
            "discounts": DISCOUNTS,
            "number": "7/2026",
            "rendering": {"pdf": {"page_size": "letter"}},
        },
    ),
    ("POST", "/v1/invoices/{draft}/add_lines", {"lines": [ITEM | OF_PRICE]}),
    (
        "POST",
        "/v1/invoices/{draft}/update_lines",
        {"invoice_metadata": {"a": "b"}, "lines": [ITEM | {"id": "{draft_line}"}]},
    ),
    ("POST", "/v1/invoices/{draft}/lines/{draft_line}", {"description": "A day", "amount": 7}),
    (
        "POST",
        "/v1/credit_notes",
        SUBTOTALS | {"memo": "Sorry", "reason": "duplicate", "metadata": {"a": "b"}},
    ),
    (
        "GET",
        "/v1/credit_notes/preview",
        {
            "invoice": "{bill}",
            "effective_at": FAR,
            "email_type": "none",
            "lines": [
                {"type": "invoice_line_item", "invoice_line_item": "{bill_line}", "amount": 3},
                {
                    "type": "custom_line_item",
                    "description": "Sorry",
                    "quantity": 2,
                    "unit_amount_decimal": "1.5",
                },
            ],
        },
    ),
    ("GET", "/v1/credit_notes/preview/lines", SUBTOTALS | {"limit": 2}),
    ("POST", "/v1/credit_notes/{note}", {"memo": "Sorry", "metadata": {"a": "b"}}),
    (
        "GET",
        "/v1/credit_notes",
        {"customer": "{customer}", "invoice": "{bill}", "created": SOMETIME},
    ),
    ("GET", "/v1/credit_notes/{note}/lines", {"limit": 2}),
    ("GET", "/v1/subscription_items", {"subscription": "{subscription}", "limit": 2}),
    (
        "POST",
        "/v1/subscription_items/{item}",
        {
            "discounts": DISCOUNTS,
            "metadata": {"a": "b"},
            "payment_behavior": "allow_incomplete",
            "proration_behavior": "none",
            "quantity": 2,
            "tax_rates": ["{rate}"],
            "usage_pricing": "split",
        },
    ),
    (
        "POST",
        "/v1/subscription_items",
        {
            "subscription": "{subscription}",
            "price": "{other_fee}",
            "discounts": DISCOUNTS,
            "metadata": {"a": "b"},
            "proration_behavior": "none",
            "quantity": 2,
            "tax_rates": ["{rate}"],
        },
    ),
    (
        "POST",
        "/v1/subscriptions/{subscription}",
        {
            "cancel_at_period_end": False,
            "default_tax_rates": ["{rate}"],
            "description": "All",
            "discounts": DISCOUNTS,
            "items": [{"id": "{item}", "quantity": 3}],
            "metadata": {"a": "b"},
            "pause_collection": {"behavior": "void", "resumes_at": FAR},
            "payment_behavior": "allow_incomplete",
            "proration_behavior": "none",
        },
    ),
    (
        "POST",
        "/v1/invoices/create_preview",
        {
            "subscription": "{subscription}",
            "subscription_details": {
                "items": [{"id": "{item}", "quantity": 5}],
                "proration_behavior": "none",
            },
        },
    ),
    (
        "POST",
        "/v1/subscription_schedules",
        {
            "customer": "{customer}",
            "default_settings": {"collection_method": "charge_automatically", "description": "x"},
            "end_behavior": "release",
            "metadata": {"a": "b"},
            "phases": [PHASE],
            "start_date": FAR,
        },
    ),
    (
        "POST",
        "/v1/subscription_schedules/{schedule}",
        {"end_behavior": "cancel", "metadata": {"a": "b"}, "proration_behavior": "none"},
    ),
    ("GET", "/v1/subscription_schedules", {"customer": "{customer}", "scheduled": True}),
    (
        "POST",
        "/v1/billing_settings",
        {"invoice_numbering": "customer", "time_zone": "Europe/Berlin"},
    ),
    (
        "GET",
        "/v1/ledger/transactions",
        {"customer": "{customer}", "invoice": "{bill}", "created": SOMETIME},
    ),
    (
        "GET",
        "/v1/ledger/entries",
        {"account": "revenue", "currency": "usd", "customer": "{customer}"},
    ),
    ("GET", "/v1/ledger/balances", {"as_of": FAR, "currency": "usd", "customer": "{customer}"}),
    (
        "GET",
        "/v1/ledger/revenue_schedule",
        {"start": 1_767_225_600, "end": 1_772_323_200, "currency": "usd", "time_zone": "UTC"},
    ),
    (
        "POST",
        "/v1/subscriptions/{subscription}/pause",
        {
            "bill_for": {
                "outstanding_usage_through": {"type": "none"},
                "unused_time_from": {"type": "none"},
            },
            "invoicing_behavior": "pending_invoice_item",
            "type": "subscription",
        },
    ),
    (
        "POST",
        "/v1/subscriptions/{subscription}/resume",
        {"billing_cycle_anchor": {"type": "unchanged"}, "proration_behavior": "none"},
    ),
    (
        "POST",
        "/v1/subscriptions/{classic}/migrate",
        {"billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "itemized"}}},
    ),
]

CASES = pytest.mark.parametrize(
    ("method", "path", "right"),
    RIGHT,
    ids=[f"{method} {path} {index}" for index, (method, path, _) in enumerate(RIGHT)],
)


# ─── Made wrong ──────────────────────────────────────────────────────────────────────────────


@CASES
def test_a_parameter_of_another_type_is_named(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    shops.refuse_other_types(shop, method, path, right)


@CASES
def test_an_unknown_parameter_is_refused_wherever_it_is(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    shops.refuse_unknown_parameters(shop, method, path, right)


@CASES
def test_what_another_account_has_is_not_there(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    shops.hide_what_others_have(shop, method, path, right)


@CASES
def test_what_the_path_names_is_mine(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    shops.hide_the_paths_of_others(shop, method, path, right)


@CASES
def test_what_is_odd_never_fails(
    odd_shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    shops.survive_what_is_odd(odd_shop, method, path, right)


def test_the_requests_are_right_and_done_once(server: str, database: Database) -> None:
    """Or else nothing is said by what is refused above. A repeat with the key is the answer."""
    with a_shop(server, database, make_names) as shop:
        for method, path, right in RIGHT:
            asked = shop.filled(right)
            if method == "GET" or path.endswith("_preview"):
                answer = shop.ask(method, path, asked)
                assert answer.status_code == 200, (method, path, answer.text)
                continue
            key = uuid.uuid4().hex
            answer = shop.ask(method, path, asked, key=key)
            assert answer.status_code == 200, (method, path, answer.text)
            again = shop.ask(method, path, asked, key=key)
            assert (again.status_code, again.json()) == (200, answer.json())
            assert again.headers["Idempotent-Replayed"] == "true"
            other = shop.ask(method, "/v1/coupons", {"percent_off": 77}, key=key)
            assert other.json()["error"]["type"] == "idempotency_error"


def test_a_phase_names_what_can_be_had(server: str, database: Database) -> None:
    with a_shop(server, database, make_names) as shop:
        phase = shop.filled(PHASE)
        path = "/v1/subscription_schedules"
        for place, wrong, saying in (
            (("add_invoice_items", 0, "price"), shop.names["fee"], "type=recurring"),
            (("items", 0, "tax_rates", 0), "txr_x", "No such tax rate"),
            (("default_payment_method",), "pm_x", "No such PaymentMethod"),
        ):
            asked = {"customer": "{customer}", "start_date": FAR}
            asked |= {"phases": [made(phase, place, wrong)]}
            error = shop.ask("POST", path, shop.filled(asked)).json()["error"]
            assert saying in error["message"]
            assert error["param"] == bracketed(("phases", 0, *place))
        # What it has already is not asked about again.
        asked = {"customer": "{customer}", "start_date": FAR, "phases": [phase]}
        schedule = shop.ask("POST", path, shop.filled(asked)).json()["id"]
        shop.ask("POST", "/v1/tax_rates/{rate}", {"active": False})
        shop.ask("POST", "/v1/payment_methods/{card}/detach", {})
        again = {"phases": [phase | {"start_date": FAR, "description": "Anew"}]}
        answer = shop.ask("POST", f"{path}/{schedule}", again)
        assert answer.status_code == 200, answer.text
        assert answer.json()["phases"][0]["description"] == "Anew"
        refused = shop.ask("POST", path, shop.filled(asked)).json()["error"]
        assert refused["param"] == "phases[0][items][0][tax_rates][0]"
        assert "not active" in refused["message"]
