"""Frame's official clients, byte for byte: what its Node and its Ruby client send for each call.

Neither can be installed here, so their requests are written down: methods, paths, headers and
bodies. Node sends an action without a body and says all the same that it is JSON; Ruby sends
``{}``, and gives its ``DELETE`` a query.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from postpaid import clock
from postpaid.billing.manage_keys import IssuedKey

Json = dict[str, Any]


@dataclass
class Client:
    """One of Frame's clients, as the server sees it; ``ids`` are those of what it made."""

    server: str
    secret: str
    ids: dict[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        raise NotImplementedError

    def body(self, method: str, given: Json | None) -> bytes | None:
        raise NotImplementedError

    def send(self, method: str, path: str, given: Json | None = None, **query: str) -> Json:
        path = path.format(**self.ids)
        if query:
            path += "?" + urlencode({name: each.format(**self.ids) for name, each in query.items()})
        body = self.body(method, given and self.filled_in(given))
        address = urlsplit(self.server)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            connection.request(method, f"/frame{path}", body, self.headers())
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        assert response.status in (200, 201), f"{method} {path}: {response.status} {text!r}"
        answer: Json = json.loads(text)
        return answer

    def filled_in(self, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: self.filled_in(each) for name, each in given.items()}
        if isinstance(given, list):
            return [self.filled_in(each) for each in given]
        return given.format(**self.ids) if isinstance(given, str) else given


class Node(Client):
    def headers(self) -> dict[str, str]:
        return {
            "Accept": "application/json, text/plain, */*",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.secret}",
            "User-Agent": "axios/1.16.1",
            "Accept-Encoding": "gzip, compress, deflate, br",
        }

    def body(self, method: str, given: Json | None) -> bytes | None:
        return None if given is None else json.dumps(given).encode()


class Ruby(Client):
    def headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.secret}",
            "Content-Type": "application/json",
            "User-Agent": "FrameRuby/0.1.5",
            "Accept-Encoding": "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
            "Accept": "*/*",
        }

    def body(self, method: str, given: Json | None) -> bytes | None:
        return json.dumps(given or {}).encode() if method in ("POST", "PATCH") else None


@dataclass(frozen=True)
class Call:
    """A call, the ``object`` of its answer (or of a list's rows), and the name of what it made."""

    method: str
    path: str
    object: str
    given: Json | None = None
    query: dict[str, str] = field(default_factory=dict)
    makes: str | None = None
    rows: str | None = None  # the key under which the client reads a list's rows


def get(path: str, object_: str, **query: str) -> Call:
    return Call("GET", path, object_, query=query)


def rows(path: str, object_: str, key: str = "data", **query: str) -> Call:
    return Call("GET", path, object_, query={"per_page": "10", "page": "1", **query}, rows=key)


def post(path: str, object_: str, given: Json | None = None, makes: str | None = None) -> Call:
    return Call("POST", path, object_, given, makes=makes)


def patch(path: str, object_: str, given: Json) -> Call:
    return Call("PATCH", path, object_, given)


def delete(path: str, object_: str) -> Call:
    return Call("DELETE", path, object_)


CARD = {"type": "card", "card_number": "4242424242424242", "exp_month": "12", "exp_year": "2032"}
TODAY = clock.now().date()
DAY = timedelta(days=1)
START, USED, END = (f"{TODAY - days * DAY}T00:00:00Z" for days in (10, 5, 1))
WINDOW = {"from": START, "to": END}

CALLS = [
    # ─── Payers ──────────────────────────────────────────────────────────────────────────────
    post("/v1/customers", "customer", {"name": "Ada", "email": "ada@example.com"}, "customer"),
    get("/v1/customers/{customer}", "customer"),
    patch("/v1/customers/{customer}", "customer", {"phone": "+15550100"}),
    rows("/v1/customers", "customer"),
    rows("/v1/customers/search", "customer", email="ada@example.com"),
    post("/v1/customers/{customer}/block", "customer"),
    post("/v1/customers/{customer}/unblock", "customer"),
    post(
        "/v1/accounts",
        "account",
        {
            "type": "individual",
            "profile": {
                "individual": {
                    "name": {"first_name": "Eve", "last_name": "Moneypenny"},
                    "email": "eve@example.com",
                }
            },
            "capabilities": ["card_send"],
        },
        "account",
    ),
    get("/v1/accounts/{account}", "account"),
    patch("/v1/accounts/{account}", "account", {"external_id": "eve-1"}),
    rows("/v1/accounts", "account", type="individual"),
    rows("/v1/accounts/search", "account", email="eve@example.com"),
    post("/v1/accounts/{account}/restrict", "account"),
    post("/v1/accounts/{account}/unrestrict", "account"),
    # ─── Payment methods ─────────────────────────────────────────────────────────────────────
    post(
        "/v1/payment_methods",
        "payment_method",
        {**CARD, "cvc": "123", "customer": "{customer}"},
        "method",
    ),
    post("/v1/payment_methods", "payment_method", {**CARD, "cvc": "123"}, "spare"),
    post(
        "/v1/payment_methods",
        "payment_method",
        {
            "type": "ach",
            "account_type": "checking",
            "account_number": "000123456789",
            "routing_number": "110000000",
            "account": "{account}",
        },
        "ach",
    ),
    get("/v1/payment_methods/{method}", "payment_method"),
    patch("/v1/payment_methods/{method}", "payment_method", {"exp_year": "2033"}),
    rows("/v1/payment_methods", "payment_method"),
    rows("/v1/customers/{customer}/payment_methods", "payment_method"),
    rows("/v1/accounts/{account}/payment_methods", "payment_method"),
    post("/v1/payment_methods/{spare}/attach", "payment_method", {"customer": "{customer}"}),
    post("/v1/payment_methods/{spare}/block", "payment_method"),
    post("/v1/payment_methods/{spare}/unblock", "payment_method"),
    post("/v1/payment_methods/{spare}/detach", "payment_method"),
    # ─── Products and phases ─────────────────────────────────────────────────────────────────
    post(
        "/v1/products",
        "product",
        {
            "name": "Pro Plan",
            "description": "$99/month",
            "default_price": 9900,
            "purchase_type": "recurring",
            "recurring_interval": "monthly",
        },
        "product",
    ),
    post(
        "/v1/products",
        "product",
        {
            "name": "Team Plan",
            "description": "$199/month",
            "default_price": 19900,
            "purchase_type": "recurring",
            "recurring_interval": "monthly",
        },
        "bigger",
    ),
    post(
        "/v1/products",
        "product",
        {
            "name": "Year Plan",
            "description": "$990/year",
            "default_price": 99000,
            "purchase_type": "recurring",
            "recurring_interval": "yearly",
        },
        "yearly",
    ),
    post(
        "/v1/products",
        "product",
        {
            "name": "Setup",
            "description": "Once",
            "default_price": 5000,
            "purchase_type": "one_time",
        },
        "setup",
    ),
    get("/v1/products/{product}", "product"),
    patch("/v1/products/{product}", "product", {"description": "$99 a month"}),
    rows("/v1/products", "product"),
    rows("/v1/products/search", "product", "products", name="Pro"),
    post(
        "/v1/products/{bigger}/phases",
        "subscription_phase",
        {"ordinal": 1, "pricing_type": "static", "amount_cents": 0, "period_count": 1},
        "phase",
    ),
    get("/v1/products/{bigger}/phases/{phase}", "subscription_phase"),
    patch("/v1/products/{bigger}/phases/{phase}", "subscription_phase", {"name": "Trial"}),
    Call(
        "PATCH",
        "/v1/products/{bigger}/phases/bulk_update",
        "subscription_phase",
        {"phases": [{"id": "{phase}", "period_count": 2}]},
        rows="phases",
    ),
    rows("/v1/products/{bigger}/phases", "subscription_phase", "phases"),
    delete("/v1/products/{bigger}/phases/{phase}", "subscription_phase"),
    # ─── Meters and usage ────────────────────────────────────────────────────────────────────
    post(
        "/v1/billing/metering",
        "billing_meter",
        {
            "event_name": "api_call_overage",
            "display_name": "API call overage",
            "aggregation": "sum",
            "value": 0.01,
        },
        "meter",
    ),
    get("/v1/billing/metering/{meter}", "billing_meter"),
    patch("/v1/billing/metering/{meter}", "billing_meter", {"description": "Above the plan"}),
    post(
        "/v1/billing/metering_events",
        "billing_metric_event",
        {
            "customer_id": "{customer}",
            "event_name": "api_call_overage",
            "reference": "r1",
            "value": 250,
            "timestamp": USED,
        },
        "event",
    ),
    get("/v1/billing/metering_events/{event}", "billing_metric_event"),
    patch("/v1/billing/metering_events/{event}", "billing_metric_event", {"value": 300}),
    get("/v1/billing/report/customer", "", customer="{customer}", **WINDOW),
    get("/v1/billing/report/event/api_call_overage", "", **WINDOW),
    get("/v1/billing/report/events", "", **WINDOW),
    post(
        "/v1/billing/billing_credit",
        "billing_credit",
        {
            "customer": "{customer}",
            "product": "{product}",
            "billing_credits": 100,
            "expires": "2030-01-01T00:00:00Z",
            "limited": False,
        },
        "credit",
    ),
    get("/v1/billing/billing_credit/{credit}", "billing_credit"),
    post(
        "/v1/billing/billing_invoice",
        "invoice",
        {
            "customer": "{customer}",
            "collection_method": "auto_charge",
            "payment_method": "{method}",
            "start_date": START,
            "end_date": END,
        },
        "billed",
    ),
    get("/v1/invoices/{billed}", "invoice"),
    # ─── Subscriptions ───────────────────────────────────────────────────────────────────────
    post(
        "/v1/subscriptions",
        "subscription",
        {
            "customer": "{customer}",
            "product": "{product}",
            "default_payment_method": "{method}",
            "currency": "USD",
            "description": "Pro Plan",
        },
        "subscription",
    ),
    get("/v1/subscriptions/{subscription}", "subscription"),
    patch(
        "/v1/subscriptions/{subscription}",
        "subscription",
        {"product": "{bigger}", "proration_behavior": "always_invoice"},
    ),
    patch("/v1/subscriptions/{subscription}", "subscription", {"product": "{yearly}"}),
    delete("/v1/subscriptions/{subscription}/scheduled_change", "subscription"),
    rows("/v1/subscriptions", "subscription"),
    rows("/v1/subscriptions/search", "subscription", status="active"),
    rows(
        "/v1/subscriptions/{subscription}/change_logs",
        "subscription_change_log",
        "subscription_change_logs",
    ),
    post(
        "/v1/subscriptions/{subscription}/phases",
        "subscription_phase",
        {
            "ordinal": 1,
            "pricing_type": "relative",
            "discount_percentage": 50,
            "period_count": 3,
            "name": "Half price",
        },
        "own_phase",
    ),
    get("/v1/subscriptions/{subscription}/phases/{own_phase}", "subscription_phase"),
    patch(
        "/v1/subscriptions/{subscription}/phases/{own_phase}",
        "subscription_phase",
        {"period_count": 2},
    ),
    rows("/v1/subscriptions/{subscription}/phases", "subscription_phase", "phases"),
    delete("/v1/subscriptions/{subscription}/phases/{own_phase}", "subscription_phase"),
    get("/v1/billing/report/subscription", "", subscription="{subscription}", **WINDOW),
    get("/v1/billing/report/threshold_progress", "threshold_progress", customer="{customer}"),
    post("/v1/subscriptions/{subscription}/pause", "subscription"),
    post("/v1/subscriptions/{subscription}/resume", "subscription"),
    post("/v1/subscriptions/{subscription}/cancel", "subscription"),
    # ─── Invoices ────────────────────────────────────────────────────────────────────────────
    post(
        "/v1/invoices",
        "invoice",
        {
            "customer": "{customer}",
            "collection_method": "request_payment",
            "net_terms": 30,
            "line_items": [{"product": "{setup}", "quantity": 2}],
        },
        "invoice",
    ),
    patch("/v1/invoices/{invoice}", "invoice", {"memo": "Thank you"}),
    rows("/v1/invoices/{invoice}/line_items", "invoice_line_item"),
    post(
        "/v1/invoices/{invoice}/line_items",
        "invoice_line_item",
        {"product": "{setup}", "quantity": 1},
        "line",
    ),
    get("/v1/invoices/{invoice}/line_items/{line}", "invoice_line_item"),
    patch("/v1/invoices/{invoice}/line_items/{line}", "invoice_line_item", {"quantity": 3}),
    delete("/v1/invoices/{invoice}/line_items/{line}", "invoice_line_item"),
    rows("/v1/invoices", "invoice", customer="{customer}", status="draft"),
    post("/v1/invoices/{invoice}/issue", "invoice"),
    post(
        "/v1/invoices",
        "invoice",
        {"customer": "{customer}", "collection_method": "request_payment"},
        "unwanted",
    ),
    delete("/v1/invoices/{unwanted}", "invoice"),
    # ─── Coupons ─────────────────────────────────────────────────────────────────────────────
    post(
        "/v1/coupons",
        "coupon",
        {
            "name": "Quarter",
            "discount_type": "percentage",
            "discount_value": 25,
            "duration": "once",
        },
        "coupon",
    ),
    get("/v1/coupons/{coupon}", "coupon"),
    patch("/v1/coupons/{coupon}", "coupon", {"name": "A quarter"}),
    rows("/v1/coupons", "coupon"),
    post(
        "/v1/promotion_codes", "promotion_code", {"code": "spring", "coupon_id": "{coupon}"}, "code"
    ),
    get("/v1/promotion_codes/{code}", "promotion_code"),
    patch("/v1/promotion_codes/{code}", "promotion_code", {"active": True}),
    rows("/v1/promotion_codes", "promotion_code", coupon_id="{coupon}"),
    post(
        "/v1/discounts/validate",
        "",
        {"amount": 1000, "promotion_codes": ["SPRING"], "customer_id": "{customer}"},
    ),
    rows("/v1/discounts", "discount"),
    # ─── Money ───────────────────────────────────────────────────────────────────────────────
    post(
        "/v1/charge_intents",
        "charge_intent",
        {
            "amount": 1500,
            "currency": "usd",
            "customer": "{customer}",
            "payment_method": "{method}",
            "confirm": False,
        },
        "intent",
    ),
    get("/v1/charge_intents/{intent}", "charge_intent"),
    patch("/v1/charge_intents/{intent}", "charge_intent", {"amount": 1600}),
    post("/v1/charge_intents/{intent}/confirm", "charge_intent"),
    rows("/v1/charge_intents", "charge_intent"),
    post(
        "/v1/charge_intents",
        "charge_intent",
        {"amount": 900, "currency": "usd", "customer": "{customer}", "confirm": False},
        "dropped",
    ),
    post("/v1/charge_intents/{dropped}/cancel", "charge_intent"),
    post(
        "/v1/transfers",
        "transfer",
        {
            "amount": 2500,
            "currency": "usd",
            "account_id": "{account}",
            "source_payment_method_id": "{ach}",
            "confirm": True,
        },
        "transfer",
    ),
    get("/v1/transfers/{transfer}", "transfer"),
    rows("/v1/transfers", "transfer"),
    post("/v1/refunds", "refund", {"charge_intent": "{intent}", "amount": 600}, "refund"),
    get("/v1/refunds/{refund}", "refund"),
    rows("/v1/refunds", "refund"),
    # ─── Webhooks ────────────────────────────────────────────────────────────────────────────
    post(
        "/v1/webhook_endpoints",
        "webhook_endpoint",
        {"url": "https://example.com/hooks", "event_codes": ["invoice.paid"]},
        "endpoint",
    ),
    get("/v1/webhook_endpoints/{endpoint}", "webhook_endpoint"),
    patch(
        "/v1/webhook_endpoints/{endpoint}",
        "webhook_endpoint",
        {"event_codes": ["invoice.paid", "customer.subscription.created"]},
    ),
    rows("/v1/webhook_endpoints", "webhook_endpoint"),
    post("/v1/webhook_endpoints/{endpoint}/rotate_secret", "webhook_endpoint"),
    delete("/v1/webhook_endpoints/{endpoint}", "webhook_endpoint"),
    delete("/v1/products/{setup}", "product"),
    get("/v1/me", ""),
]


@pytest.mark.parametrize("client_of", [Node, Ruby], ids=["node", "ruby"])
def test_every_call_of_a_client_is_answered(
    server: str, key: IssuedKey, client_of: Callable[[str, str], Client]
) -> None:
    client = client_of(server, key.secret)
    for call in CALLS:
        answer = client.send(call.method, call.path, call.given, **call.query)
        place = f"{call.method} {call.path}"
        if call.rows is not None:
            found = answer[call.rows]
            assert isinstance(found, list), place
            assert {each["object"] for each in found} <= {call.object}, place
            assert answer["data"] == found, place
            if call.method == "GET":
                assert {"page", "url", "has_more", "prev", "next"} <= answer["meta"].keys(), place
        elif call.object:
            assert answer["object"] == call.object, place
        if call.makes is not None:
            assert answer["livemode"] is False, place
            client.ids[call.makes] = answer["id"]
