"""Whatever is wrong with a request to a lifecycle's endpoints is refused by name, and never fails.

For each endpoint there is one request that is right. Each of its parameters is then made wrong in
every way: of another type, too long, too big, with a NUL, of another account, or not there at all.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from stripe import StripeClient

from postpaid import clock
from postpaid.billing import manage_keys
from postpaid.storage.database import Database

FAR = 4_102_444_800  # 2100-01-01


@dataclass(frozen=True)
class Shop:
    """An account with one of everything, as the requests below name it; and a stranger's."""

    http: httpx.Client
    names: dict[str, str]
    others: dict[str, str]

    def filled(self, given: Any, names: dict[str, str] | None = None) -> Any:
        """The parameters with ``{customer}`` and the like in place."""
        if isinstance(given, dict):
            return {key: self.filled(value, names) for key, value in given.items()}
        if isinstance(given, list):
            return [self.filled(each, names) for each in given]
        return given.format(**names or self.names) if isinstance(given, str) else given

    def ask(self, method: str, path: str, params: Any, *, key: str = "") -> httpx.Response:
        form = dict(flattened(params))
        path = self.filled(path)
        if method == "POST":
            headers = {"Idempotency-Key": key} if key else {}
            return self.http.post(path, data=form, headers=headers)
        return self.http.request(method, path, params=form)


@pytest.fixture(scope="module")
def shop(server: str, database: Database) -> Iterator[Shop]:
    """One for all that is refused, since that leaves no trace."""
    with a_shop(server, database) as shop:
        yield shop


@pytest.fixture(scope="module")
def odd_shop(server: str, database: Database) -> Iterator[Shop]:
    """One for what may or may not be refused."""
    with a_shop(server, database) as shop:
        yield shop


@contextmanager
def a_shop(server: str, database: Database) -> Iterator[Shop]:
    secret, client = open_account(server, database)
    _, stranger = open_account(server, database)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server, headers=headers, timeout=60) as http:
        yield Shop(http, make_names(client), make_names(stranger))


def open_account(server: str, database: Database) -> tuple[str, StripeClient]:
    with database.transaction() as conn:
        account = manage_keys.open_account(conn, uuid.uuid4().hex, livemode=False, now=clock.now())
        key = manage_keys.create_key(conn, account, now=clock.now())
    return key.secret, StripeClient(key.secret, base_addresses={"api": server})


def make_names(client: StripeClient) -> dict[str, str]:
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
    for place in leaves(right):
        wrongs: list[Any] = ["a\x00b", {"what": {"is": "this"}}]
        if not isinstance(at(right, place), str):
            wrongs += ["NaN", "9" * 40, "x" * 30_000]
        for wrong in wrongs:
            answer = shop.ask(method, path, made(shop.filled(right), place, wrong))
            assert answer.status_code in (400, 404), (place, wrong, answer.text)
            param = answer.json()["error"]["param"]
            named = place[:-1] if "metadata" in str(place[-2:-1]) else place  # Stripe: all of it
            assert str(param).startswith(bracketed(named)), (place, wrong, answer.text)


@CASES
def test_an_unknown_parameter_is_refused_wherever_it_is(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    for place in [(), *objects(right)]:
        asked = made(shop.filled(right), (*place, "colour"), "red")
        answer = shop.ask(method, path, asked)
        assert answer.status_code == 400, (place, answer.text)
        error = answer.json()["error"]
        assert error["code"] == "parameter_unknown", (place, error)
        assert error["param"] == bracketed((*place, "colour"))


NOTHING = [("GET", [], []), ("GET", None, [])]


@CASES
def test_what_another_account_has_is_not_there(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    for place in leaves(right):
        given = at(right, place)
        if not (isinstance(given, str) and given.startswith("{")):
            continue
        asked = made(shop.filled(right), place, shop.filled(given, shop.others))
        answer = shop.ask(method, path, asked)
        if answer.status_code == 200:
            shown = answer.json()  # a list or a sum, narrowed to nothing
            assert (method, shown.get("data"), shown.get("balances", [])) in NOTHING, place
        elif place != ("customer",) or "invoice" not in right:  # which is not the stranger's
            assert answer.status_code == 404, (place, answer.text)
            error = answer.json()["error"]
            assert error["code"] == "resource_missing"
            assert error["param"].startswith(place[0]), (place, error)


@CASES
def test_what_the_path_names_is_mine(
    shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    if "{" not in path:
        return
    for strange in (shop.filled(path, shop.others), path_of_nothing(path), path_with_nul(path)):
        answer = shop.http.request(
            method,
            strange,
            **{"data" if method == "POST" else "params": dict(flattened(shop.filled(right)))},
        )
        assert answer.status_code in (400, 404), (strange, answer.text)
        if answer.status_code == 404:
            assert answer.json()["error"]["code"] == "resource_missing", answer.text


@CASES
def test_what_is_odd_never_fails(
    odd_shop: Shop, method: str, path: str, right: dict[str, Any]
) -> None:
    for place in leaves(right):
        for odd in ("-1", "999999999999", "😀", " "):
            answer = odd_shop.ask(method, path, made(odd_shop.filled(right), place, odd))
            assert answer.status_code in (200, 400, 402, 404, 409), (place, odd, answer.text)
            if answer.status_code != 200:
                error = answer.json()["error"]
                assert error["type"] in ("invalid_request_error", "card_error"), error
                assert error["message"]


def test_the_requests_are_right_and_done_once(server: str, database: Database) -> None:
    """Or else nothing is said by what is refused above. A repeat with the key is the answer."""
    with a_shop(server, database) as shop:
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
    with a_shop(server, database) as shop:
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


# ─── Parameters as trees ─────────────────────────────────────────────────────────────────────

Place = tuple[str | int, ...]


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*place, index))
    else:
        yield place


def objects(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where there are objects whose keys are not for the caller to choose."""
    if isinstance(value, dict):
        if place:
            yield place
        for key, inner in value.items():
            if key not in ("metadata", "invoice_metadata", "currency_options", "created"):
                yield from objects(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from objects(inner, (*place, index))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def made(value: Any, place: Place, wrong: Any) -> Any:
    """A copy of the parameters with something else at the place."""
    value = copy.deepcopy(value)
    at(value, place[:-1])[place[-1]] = wrong
    return value


def bracketed(place: Place) -> str:
    return str(place[0]) + "".join(f"[{key}]" for key in place[1:])


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from flattened(inner, f"{name}[{index}]")
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def path_of_nothing(path: str) -> str:
    return "/".join("x_none" if part.startswith("{") else part for part in path.split("/"))


def path_with_nul(path: str) -> str:
    return "/".join("x%00" if part.startswith("{") else part for part in path.split("/"))
