"""A merchant of Frame's API to whom anything may be asked: the right request of every route."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, TypeAlias

import httpx

from postpaid import clock
from postpaid.api.frame.routes import Route
from postpaid.api.server import FRAME_RESOURCES

Given: TypeAlias = dict[str, Any]
Asked: TypeAlias = tuple[dict[str, str], Given]  # the path's parameters, and the others

ROUTES: dict[str, Route] = {
    route.operation.replace(" /frame", " "): route
    for routes in FRAME_RESOURCES
    for route in routes.routes
}

JSON = {"Content-Type": "application/json"}
CARD = {"type": "card", "card_number": "4242424242424242", "exp_month": "12", "exp_year": "2032"}
ASKS_A_CHALLENGE = "4000000000003220"
HOOK = {"url": "https://example.com/hooks", "event_codes": ["customer.created"]}
DAY = timedelta(days=1)
TODAY = clock.now().date()
START, END = f"{TODAY - 10 * DAY}T00:00:00Z", f"{TODAY - DAY}T00:00:00Z"
WINDOW = {"from": START, "to": END}

_numbers = count(1)


@dataclass
class Shop:
    """Makes what a request needs, anew each time unless it is a ``the_``."""

    http: httpx.Client
    made: dict[str, str] = field(default_factory=dict)

    def send(
        self, method: str, path: str, given: Given | None = None, *, key: str | None = None
    ) -> httpx.Response:
        """What it is given goes into a ``GET``'s query, and into the body of any other."""
        headers = JSON if key is None else JSON | {"Idempotency-Key": key}
        url = f"/frame{path}"
        if method == "GET":
            return self.http.get(url, params=given, headers=headers)
        content = b"" if given is None else json.dumps(given).encode()
        return self.http.request(method, url, content=content, headers=headers)

    def post(self, path: str, given: Given | None = None) -> Given:
        answer = self.send("POST", path, given)
        assert answer.status_code in (200, 201), (path, answer.text)
        found: Given = answer.json()
        return found

    def new(self, path: str, **given: Any) -> str:
        made: str = self.post(path, given)["id"]
        return made

    def the(self, what: str) -> str:
        """One of them, made when it is first asked for."""
        if what not in self.made:
            self.made[what] = getattr(self, what)()
        return self.made[what]

    # ─── Payers and what they pay with ───────────────────────────────────────────────────────

    def customer(self) -> str:
        return self.new("/v1/customers", name="Ada", email="ada@example.com")

    def account(self) -> str:
        return self.new("/v1/accounts", **ACCOUNT)

    def method(self) -> str:
        """Of a customer."""
        return self.new("/v1/payment_methods", **CARD, cvc="123", customer=self.the("customer"))

    def spare(self) -> str:
        return self.new("/v1/payment_methods", **CARD, cvc="123")

    # ─── What is sold ────────────────────────────────────────────────────────────────────────

    def plan(self) -> str:
        return self.new("/v1/products", **PLAN)

    def bigger(self) -> str:
        return self.new("/v1/products", **PLAN | {"default_price": 19900})

    def yearly(self) -> str:
        return self.new("/v1/products", **PLAN | {"recurring_interval": "yearly"})

    def setup(self) -> str:
        """What is sold once."""
        return self.new("/v1/products", **SETUP)

    def phase(self) -> dict[str, str]:
        product = self.plan()
        return {"product": product, "phase": self.new(f"/v1/products/{product}/phases", **PHASE)}

    def subscription(self) -> str:
        return self.new("/v1/subscriptions", **self.to_subscribe())

    def to_subscribe(self) -> Given:
        return {
            "customer": self.the("customer"),
            "product": self.the("plan"),
            "default_payment_method": self.the("method"),
            "currency": "USD",
        }

    def own_phase(self) -> dict[str, str]:
        owner = self.subscription()
        made = self.new(f"/v1/subscriptions/{owner}/phases", **PHASE)
        return {"subscription": owner, "phase": made}

    def coupon(self) -> str:
        return self.new("/v1/coupons", **COUPON)

    def code(self) -> str:
        return self.new("/v1/promotion_codes", **self.to_make_a_code())

    def to_make_a_code(self) -> Given:
        return {"code": f"CODE{next(_numbers)}", "coupon_id": self.the("coupon")}

    def discount(self) -> str:
        made = self.post("/v1/promotion_codes", self.to_make_a_code())
        asked = self.to_bill() | {"promotion_codes": [made["code"]]}
        self.post(f"/v1/invoices/{self.new('/v1/invoices', **asked)}/issue")
        found = self.send("GET", "/v1/discounts").json()["data"]
        return str(found[0]["id"])

    # ─── Usage ───────────────────────────────────────────────────────────────────────────────

    def meter(self) -> str:
        return self.new("/v1/billing/metering", **self.to_meter())

    def to_meter(self) -> Given:
        name = f"calls_{next(_numbers)}"
        return {"event_name": name, "aggregation": "sum", "value": 0.01}

    def event_name(self) -> str:
        return str(self.post("/v1/billing/metering", self.to_meter())["event_name"])

    def to_report(self) -> Given:
        return {
            "customer": self.the("customer"),
            "event_name": self.the("event_name"),
            "reference": f"r{next(_numbers)}",
            "value": 250,
            "timestamp": START,
        }

    def event(self) -> str:
        return self.new("/v1/billing/metering_events", **self.to_report())

    def threshold(self) -> str:
        return self.new("/v1/billing/thresholds", **self.to_watch())

    def to_watch(self) -> Given:
        return {"event_name": self.event_name(), "amount_cents": 10000}

    def to_grant(self) -> Given:
        return {
            "customer": self.the("customer"),
            "product": self.the("plan"),
            "billing_credits": 100,
            "expires": "2030-01-01T00:00:00Z",
            "limited": False,
        }

    def credit(self) -> str:
        return self.new("/v1/billing/billing_credit", **self.to_grant())

    def to_bill_usage(self) -> Given:
        """Of a customer that has used something."""
        customer = self.customer()
        self.post("/v1/billing/metering_events", self.to_report() | {"customer": customer})
        return {
            "customer": customer,
            "collection_method": "request_payment",
            "start_date": START,
            "end_date": END,
        }

    # ─── Invoices and money ──────────────────────────────────────────────────────────────────

    def to_bill(self) -> Given:
        return {
            "customer": self.the("customer"),
            "collection_method": "request_payment",
            "net_terms": 30,
            "line_items": [{"product": self.the("setup"), "quantity": 2}],
        }

    def draft(self) -> str:
        return self.new("/v1/invoices", **self.to_bill())

    def issued(self) -> str:
        draft = self.draft()
        self.post(f"/v1/invoices/{draft}/issue")
        return draft

    def line(self) -> dict[str, str]:
        draft = self.draft()
        line = self.new(f"/v1/invoices/{draft}/line_items", product=self.the("setup"))
        return {"invoice": draft, "line": line}

    def to_charge(self) -> Given:
        return {
            "amount": 1500,
            "currency": "usd",
            "customer": self.the("customer"),
            "payment_method": self.the("method"),
        }

    def intent(self) -> str:
        return self.new("/v1/charge_intents", **self.to_charge(), confirm=False)

    def paid_intent(self) -> str:
        return self.new("/v1/charge_intents", **self.to_charge(), confirm=True)

    def charge(self) -> str:
        made = self.post("/v1/charge_intents", self.to_charge() | {"confirm": True})
        found = made["latest_charge"]
        return str(found["id"] if isinstance(found, dict) else found)

    def to_transfer(self) -> Given:
        account = self.account()
        method = self.new("/v1/payment_methods", **CARD, cvc="123", account=account)
        return {
            "amount": 2500,
            "currency": "usd",
            "account_id": account,
            "source_payment_method_id": method,
        }

    def transfer(self) -> str:
        return self.new("/v1/transfers", **self.to_transfer(), confirm=False)

    def refund(self) -> str:
        return self.new("/v1/refunds", charge_intent=self.paid_intent(), amount=600)

    # ─── Webhooks ────────────────────────────────────────────────────────────────────────────

    def endpoint(self) -> str:
        return self.new("/v1/webhook_endpoints", **HOOK)

    def told(self) -> str:
        """An event."""
        self.the("endpoint")
        self.customer()
        return str(self.send("GET", "/v1/events").json()["data"][0]["id"])

    def right(self, operation: str) -> Asked:
        """A request to the route that is answered."""
        return RIGHT[operation](self)


PROFILE = {
    "individual": {
        "name": {"first_name": "Eve", "last_name": "Moneypenny"},
        "email": "eve@example.com",
    }
}
ACCOUNT = {"type": "individual", "profile": PROFILE, "capabilities": ["card_send"]}
PLAN = {
    "name": "Pro Plan",
    "description": "$99/month",
    "default_price": 9900,
    "purchase_type": "recurring",
    "recurring_interval": "monthly",
}
SETUP = {"name": "Setup", "default_price": 5000, "purchase_type": "one_time"}
PHASE = {"ordinal": 1, "pricing_type": "static", "amount_cents": 0, "period_count": 1}
COUPON = {
    "name": "Quarter",
    "discount_type": "percentage",
    "discount_value": 25,
    "duration": "once",
}
LABEL = {"metadata": {"a": "b"}}


def at(parameter: str, make: Callable[[Shop], str], /, **given: Any) -> Callable[[Shop], Asked]:
    """A request to a path with one parameter."""
    return lambda shop: ({parameter: make(shop)}, given)


def within(make: Callable[[Shop], dict[str, str]], /, **given: Any) -> Callable[[Shop], Asked]:
    """A request to a path with several."""
    return lambda shop: (make(shop), given)


def to(make: Callable[[Shop], Given] | None = None, /, **given: Any) -> Callable[[Shop], Asked]:
    """A request to a path without parameters."""
    return lambda shop: ({}, given if make is None else make(shop) | given)


def _blocked(shop: Shop) -> str:
    customer = shop.customer()
    shop.post(f"/v1/customers/{customer}/block")
    return customer


def _restricted(shop: Shop) -> str:
    account = shop.account()
    shop.post(f"/v1/accounts/{account}/restrict")
    return account


def _blocked_method(shop: Shop) -> str:
    method = shop.method()
    shop.post(f"/v1/payment_methods/{method}/block")
    return method


def _paused(shop: Shop) -> str:
    subscription = shop.subscription()
    shop.post(f"/v1/subscriptions/{subscription}/pause")
    return subscription


def _with_scheduled_change(shop: Shop) -> str:
    subscription = shop.subscription()
    asked = {"product": shop.the("yearly")}
    answer = shop.send("PATCH", f"/v1/subscriptions/{subscription}", asked)
    assert answer.json()["scheduled_change"], answer.text
    return subscription


def _capability(shop: Shop) -> dict[str, str]:
    return {"account": shop.account(), "name": "card_send"}


def _subscribed(shop: Shop) -> Given:
    return {"subscription": shop.the("subscription")}


def _bulk(make: Callable[[Shop], dict[str, str]], owner: str) -> Callable[[Shop], Asked]:
    def asked(shop: Shop) -> Asked:
        made = make(shop)
        return {owner: made[owner]}, {"phases": [{"id": made["phase"], "period_count": 2}]}

    return asked


def _to_pay_invoice(shop: Shop) -> Asked:
    return {"invoice": shop.issued()}, {"payment_method": shop.the("method")}


RIGHT: Mapping[str, Callable[[Shop], Asked]] = {
    "GET /v1/me": to(),
    # ─── Payers ──────────────────────────────────────────────────────────────────────────────
    "POST /v1/customers": to(name="Ada", email="ada@example.com"),
    "GET /v1/customers": to(),
    "GET /v1/customers/search": to(name="Ada"),
    "GET /v1/customers/{customer}": at("customer", Shop.customer),
    "PATCH /v1/customers/{customer}": at("customer", Shop.customer, name="Bob"),
    "DELETE /v1/customers/{customer}": at("customer", Shop.customer),
    "POST /v1/customers/{customer}/block": at("customer", Shop.customer),
    "POST /v1/customers/{customer}/unblock": at("customer", _blocked),
    "GET /v1/customers/{customer}/payment_methods": at("customer", Shop.customer),
    "POST /v1/accounts": to(**ACCOUNT),
    "GET /v1/accounts": to(),
    "GET /v1/accounts/search": to(email="eve@example.com"),
    "GET /v1/accounts/{account}": at("account", Shop.account),
    "PATCH /v1/accounts/{account}": at("account", Shop.account, **LABEL),
    "DELETE /v1/accounts/{account}": at("account", Shop.account),
    "POST /v1/accounts/{account}/restrict": at("account", Shop.account),
    "POST /v1/accounts/{account}/unrestrict": at("account", _restricted),
    "GET /v1/accounts/{account}/payment_methods": at("account", Shop.account),
    "GET /v1/accounts/{account}/capabilities": at("account", Shop.account),
    "POST /v1/accounts/{account}/capabilities": at(
        "account", Shop.account, capabilities=["bank_account_send"]
    ),
    "GET /v1/accounts/{account}/capabilities/{name}": within(_capability),
    "DELETE /v1/accounts/{account}/capabilities/{name}": within(_capability),
    "POST /v1/payment_methods": to(**CARD, cvc="123"),
    "GET /v1/payment_methods": to(),
    "GET /v1/payment_methods/{payment_method}": at("payment_method", Shop.method),
    "PATCH /v1/payment_methods/{payment_method}": at(
        "payment_method", Shop.method, exp_year="2033"
    ),
    "POST /v1/payment_methods/{payment_method}/attach": lambda shop: (
        {"payment_method": shop.spare()},
        {"customer": shop.the("customer")},
    ),
    "POST /v1/payment_methods/{payment_method}/detach": at("payment_method", Shop.method),
    "POST /v1/payment_methods/{payment_method}/block": at("payment_method", Shop.method),
    "POST /v1/payment_methods/{payment_method}/unblock": at("payment_method", _blocked_method),
    # ─── What is sold ────────────────────────────────────────────────────────────────────────
    "POST /v1/products": to(**PLAN),
    "GET /v1/products": to(),
    "GET /v1/products/search": to(name="Pro"),
    "GET /v1/products/{product}": at("product", Shop.plan),
    "PATCH /v1/products/{product}": at("product", Shop.plan, name="More"),
    "DELETE /v1/products/{product}": at("product", Shop.setup),
    "GET /v1/products/{product}/phases": at("product", Shop.plan),
    "POST /v1/products/{product}/phases": at("product", Shop.plan, **PHASE),
    "GET /v1/products/{product}/phases/{phase}": within(Shop.phase),
    "PATCH /v1/products/{product}/phases/{phase}": within(Shop.phase, name="Trial"),
    "DELETE /v1/products/{product}/phases/{phase}": within(Shop.phase),
    "PATCH /v1/products/{product}/phases/bulk_update": _bulk(Shop.phase, "product"),
    "POST /v1/coupons": to(**COUPON),
    "GET /v1/coupons": to(),
    "GET /v1/coupons/{coupon}": at("coupon", Shop.coupon),
    "PATCH /v1/coupons/{coupon}": at("coupon", Shop.coupon, name="A quarter"),
    "DELETE /v1/coupons/{coupon}": at("coupon", Shop.coupon),
    "POST /v1/promotion_codes": to(Shop.to_make_a_code),
    "GET /v1/promotion_codes": to(),
    "GET /v1/promotion_codes/{promotion_code}": at("promotion_code", Shop.code),
    "PATCH /v1/promotion_codes/{promotion_code}": at("promotion_code", Shop.code, active=False),
    "GET /v1/discounts": to(),
    "GET /v1/discounts/{discount}": at("discount", Shop.discount),
    "POST /v1/discounts/validate": to(amount=1000, promotion_codes=["SPRING"]),
    # ─── Usage ───────────────────────────────────────────────────────────────────────────────
    "POST /v1/billing/metering": to(Shop.to_meter),
    "GET /v1/billing/metering": to(),
    "GET /v1/billing/metering/{meter}": at("meter", Shop.meter),
    "PATCH /v1/billing/metering/{meter}": at("meter", Shop.meter, description="All"),
    "DELETE /v1/billing/metering/{meter}": at("meter", Shop.meter),
    "POST /v1/billing/metering_events": to(Shop.to_report),
    "POST /v1/billing/metering_events/batch": lambda shop: ({}, {"events": [shop.to_report()]}),
    "GET /v1/billing/metering_events/{event}": at("event", Shop.event),
    "PATCH /v1/billing/metering_events/{event}": at("event", Shop.event, value=300),
    "POST /v1/billing/thresholds": to(Shop.to_watch),
    "GET /v1/billing/thresholds": to(),
    "GET /v1/billing/thresholds/{threshold}": at("threshold", Shop.threshold),
    "PATCH /v1/billing/thresholds/{threshold}": at("threshold", Shop.threshold, quantity="5"),
    "DELETE /v1/billing/thresholds/{threshold}": at("threshold", Shop.threshold),
    "GET /v1/billing/report/threshold_progress": lambda shop: (
        {},
        {"customer": shop.the("customer")},
    ),
    "GET /v1/billing/report/customer": lambda shop: (
        {},
        {"customer": shop.the("customer"), **WINDOW},
    ),
    "GET /v1/billing/report/event/{event_name}": at("event_name", Shop.event_name, **WINDOW),
    "GET /v1/billing/report/events": to(**WINDOW),
    "GET /v1/billing/report/subscription": to(_subscribed, **WINDOW),
    "POST /v1/billing/billing_credit": to(Shop.to_grant),
    "GET /v1/billing/billing_credit": to(),
    "GET /v1/billing/billing_credit/{credit}": at("credit", Shop.credit),
    "POST /v1/billing/billing_invoice": to(Shop.to_bill_usage),
    "POST /v1/billing/invoices": to(Shop.to_bill_usage),
    # ─── Invoices ────────────────────────────────────────────────────────────────────────────
    "POST /v1/invoices": to(Shop.to_bill),
    "GET /v1/invoices": to(),
    "GET /v1/invoices/{invoice}": at("invoice", Shop.draft),
    "PATCH /v1/invoices/{invoice}": at("invoice", Shop.draft, memo="Thank you"),
    "DELETE /v1/invoices/{invoice}": at("invoice", Shop.draft),
    "POST /v1/invoices/{invoice}/issue": at("invoice", Shop.draft),
    "POST /v1/invoices/{invoice}/pay": _to_pay_invoice,
    "POST /v1/invoices/{invoice}/void": at("invoice", Shop.issued),
    "POST /v1/invoices/{invoice}/write_off": at("invoice", Shop.issued),
    "GET /v1/invoices/{invoice}/line_items": at("invoice", Shop.draft),
    "POST /v1/invoices/{invoice}/line_items": lambda shop: (
        {"invoice": shop.draft()},
        {"product": shop.the("setup"), "quantity": 1},
    ),
    "GET /v1/invoices/{invoice}/line_items/{line}": within(Shop.line),
    "PATCH /v1/invoices/{invoice}/line_items/{line}": within(Shop.line, quantity=3),
    "DELETE /v1/invoices/{invoice}/line_items/{line}": within(Shop.line),
    # ─── Subscriptions ───────────────────────────────────────────────────────────────────────
    "POST /v1/subscriptions": to(Shop.to_subscribe),
    "GET /v1/subscriptions": to(),
    "GET /v1/subscriptions/search": to(status="active"),
    "GET /v1/subscriptions/{subscription}": at("subscription", Shop.subscription),
    "PATCH /v1/subscriptions/{subscription}": lambda shop: (
        {"subscription": shop.subscription()},
        {"product": shop.the("bigger")},
    ),
    "DELETE /v1/subscriptions/{subscription}/scheduled_change": at(
        "subscription", _with_scheduled_change
    ),
    "POST /v1/subscriptions/{subscription}/cancel": at("subscription", Shop.subscription),
    "POST /v1/subscriptions/{subscription}/pause": at("subscription", Shop.subscription),
    "POST /v1/subscriptions/{subscription}/resume": at("subscription", _paused),
    "GET /v1/subscriptions/{subscription}/change_logs": at("subscription", Shop.subscription),
    "GET /v1/subscriptions/{subscription}/phases": at("subscription", Shop.subscription),
    "POST /v1/subscriptions/{subscription}/phases": at("subscription", Shop.subscription, **PHASE),
    "GET /v1/subscriptions/{subscription}/phases/{phase}": within(Shop.own_phase),
    "PATCH /v1/subscriptions/{subscription}/phases/{phase}": within(Shop.own_phase, name="Trial"),
    "DELETE /v1/subscriptions/{subscription}/phases/{phase}": within(Shop.own_phase),
    "PATCH /v1/subscriptions/{subscription}/phases/bulk_update": _bulk(
        Shop.own_phase, "subscription"
    ),
    # ─── Money ───────────────────────────────────────────────────────────────────────────────
    "POST /v1/charge_intents": to(Shop.to_charge, confirm=True),
    "GET /v1/charge_intents": to(),
    "GET /v1/charge_intents/{intent}": at("intent", Shop.intent),
    "PATCH /v1/charge_intents/{intent}": at("intent", Shop.intent, amount=1600),
    "POST /v1/charge_intents/{intent}/confirm": at("intent", Shop.intent),
    "POST /v1/charge_intents/{intent}/cancel": at("intent", Shop.intent),
    "GET /v1/charges": to(),
    "GET /v1/charges/{charge}": at("charge", Shop.charge),
    "GET /v1/charges/{charge}/trace": at("charge", Shop.charge),
    "POST /v1/transfers": to(Shop.to_transfer, confirm=True),
    "GET /v1/transfers": to(),
    "GET /v1/transfers/{transfer}": at("transfer", Shop.transfer),
    "POST /v1/transfers/{transfer}/confirm": at("transfer", Shop.transfer),
    "POST /v1/refunds": lambda shop: ({}, {"charge_intent": shop.paid_intent(), "amount": 600}),
    "GET /v1/refunds": to(),
    "GET /v1/refunds/{refund}": at("refund", Shop.refund),
    # ─── Webhooks ────────────────────────────────────────────────────────────────────────────
    "POST /v1/webhook_endpoints": to(**HOOK),
    "GET /v1/webhook_endpoints": to(),
    "GET /v1/webhook_endpoints/{webhook_endpoint}": at("webhook_endpoint", Shop.endpoint),
    "PATCH /v1/webhook_endpoints/{webhook_endpoint}": at(
        "webhook_endpoint", Shop.endpoint, description="The shop"
    ),
    "DELETE /v1/webhook_endpoints/{webhook_endpoint}": at("webhook_endpoint", Shop.endpoint),
    "POST /v1/webhook_endpoints/{webhook_endpoint}/rotate_secret": at(
        "webhook_endpoint", Shop.endpoint
    ),
    "GET /v1/events": to(),
    "GET /v1/events/{event}": at("event", Shop.told),
    "POST /v1/events/{event}/resend": at("event", Shop.told),
}

REFUSED = {
    "POST /v1/payment_methods/connect_plaid",
    "POST /v1/charge_intents/{intent}/capture",
    "POST /v1/charge_intents/{intent}/void_remaining",
}
"""What Frame has and is always refused here."""
