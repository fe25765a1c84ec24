"""Whatever is posted with a key can be posted again: it is done once, and said again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
import pytest

from postpaid.api.server import RESOURCES
from postpaid.storage.database import Database

DAY = 86400
Given: TypeAlias = dict[str, Any]

# A repeat of these does it again, and says so where they are declared.
ANEW = {
    "POST /v1/usage/batch": "events are known by their identifiers",
    "POST /v1/invoices/create_preview": "nothing is written",
    "POST /v1/credit_notes/preview": "nothing is written",
    "POST /v1/payment_intents/{intent}/capture": "it is always refused",
    "POST /v1/refunds/{refund}/cancel": "it is always refused",
    "POST /v2/billing/meter_event_session": "a token is nobody's to keep; another is opened",
    "POST /v2/billing/meter_event_stream": "events are known by their identifiers",
}

OPERATIONS = sorted(
    route.operation
    for routes in RESOURCES
    for route in routes.routes
    if route.method == "POST" or (route.method == "DELETE" and route.path.startswith("/v2/"))
)


@dataclass
class Shop:
    """A merchant to whom everything has just happened that a request may need."""

    http: httpx.Client
    made: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, given: Given | None = None) -> Given:
        answer = self.http.post(path, data=flat(given or {}))
        assert answer.status_code == 200, (path, answer.text)
        found: Given = answer.json()
        return found

    def new(self, path: str, **given: Any) -> str:
        made: str = self.post(path, given)["id"]
        return made

    def customer(self) -> str:
        """One with a card."""
        customer = self.new("/v1/customers", name="Ada")
        method = self.post("/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
        self.post(
            f"/v1/customers/{customer}",
            {"invoice_settings": {"default_payment_method": method}},
        )
        return customer

    def meter(self) -> Given:
        name = f"call_{time.monotonic_ns()}"
        given = {"display_name": "Calls", "event_name": name}
        return self.post("/v1/billing/meters", given | {"default_aggregation[formula]": "sum"})

    def product(self) -> str:
        return self.new("/v1/products", name="Calls")

    def price(self) -> str:
        given = {"currency": "usd", "unit_amount": "500", "recurring[interval]": "month"}
        return self.new("/v1/prices", product=self.product(), **given)

    def subscription(self, **more: Any) -> Given:
        given = {"customer": self.customer(), "items": [{"price": self.price()}]}
        return self.post("/v1/subscriptions", given | more)

    def schedule(self) -> str:
        phase = {"items": [{"price": self.price()}], "duration": {"interval": "month"}}
        start = int(time.time()) + DAY
        return self.new(
            "/v1/subscription_schedules",
            customer=self.customer(),
            start_date=start,
            phases=[phase],
        )

    def coupon(self) -> str:
        return self.new("/v1/coupons", percent_off="10", duration="forever")

    def code(self) -> str:
        given = {"promotion": {"type": "coupon", "coupon": self.coupon()}}
        return self.new("/v1/promotion_codes", **given)

    def tax_rate(self) -> str:
        return self.new("/v1/tax_rates", display_name="VAT", percentage="5", inclusive="false")

    def item(self) -> str:
        return self.new("/v1/invoiceitems", customer=self.customer(), amount="500", currency="usd")

    def draft(self) -> Given:
        customer = self.customer()
        invoice = self.new("/v1/invoices", customer=customer, auto_advance="false")
        item = {"customer": customer, "invoice": invoice, "amount": "500", "currency": "usd"}
        self.new("/v1/invoiceitems", **item)
        found: Given = self.http.get(f"/v1/invoices/{invoice}").json()
        return found

    def open_invoice(self) -> str:
        invoice: str = self.draft()["id"]
        self.post(f"/v1/invoices/{invoice}/finalize")
        return invoice

    def credit_note(self) -> str:
        return self.new("/v1/credit_notes", invoice=self.open_invoice(), amount="100")

    def grant(self) -> Given:
        return {
            "customer": self.customer(),
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": "500"}},
            "applicability_config": {"scope": {"price_type": "metered"}},
        }

    def alert(self) -> Given:
        return {
            "alert_type": "usage_threshold",
            "title": "Many",
            "usage_threshold": {
                "meter": self.meter()["id"],
                "gte": "10",
                "recurrence": "one_time",
            },
        }

    def usage(self) -> Given:
        event = self.meter()["event_name"]
        payload = {"stripe_customer_id": self.customer(), "value": "1"}
        return {"event_name": event, "payload": payload}

    def correction(self) -> Given:
        used = self.usage() | {"identifier": f"e{time.monotonic_ns()}"}
        self.post("/v1/billing/meter_events", used)
        cancel = {"identifier": used["identifier"]}
        return {"event_name": used["event_name"], "type": "cancel", "cancel": cancel}

    def backfill(self) -> Given:
        return {"event_name": self.meter()["event_name"]}

    def gateway(self) -> Given:
        name = f"gateway-{time.monotonic_ns()}"
        return {"name": name, "type": "stripe", "api_key": "sk_test_12345"}

    def setup(self) -> str:
        return self.new("/v1/setup_intents", customer=self.customer())

    def setup_that_waits(self) -> str:
        card = "pm_card_authenticationRequiredOnSetup"
        return self.new("/v1/setup_intents", payment_method=card, confirm="true")

    def endpoint(self) -> str:
        url = "https://example.com/told"
        return self.new("/v1/webhook_endpoints", url=url, enabled_events=["*"])

    def event(self) -> str:
        self.endpoint()
        self.customer()
        return str(self.http.get("/v1/events?limit=1").json()["data"][0]["id"])

    def clock(self) -> str:
        return self.new("/v1/test_helpers/test_clocks", frozen_time=str(int(time.time())))


def flat(given: Given, prefix: str = "") -> dict[str, str]:
    """A form's fields: ``items[0][price]``."""
    fields: dict[str, str] = {}
    for key, value in given.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, list):
            value = {str(place): each for place, each in enumerate(value)}
        if isinstance(value, dict):
            fields |= flat(value, name)
        else:
            fields[name] = str(value)
    return fields


LABEL: Given = {"metadata": {"a": "b"}}
Example: TypeAlias = Callable[[Shop], tuple[dict[str, str], Given]]


def at(parameter: str, make: Callable[[Shop], str], /, **given: Any) -> Example:
    """A request to a path with one parameter."""
    return lambda shop: ({parameter: make(shop)}, given)


def to(**given: Any) -> Example:
    """A request to a path without parameters."""
    return lambda shop: ({}, given)


def grant_id(shop: Shop) -> str:
    return shop.new("/v1/billing/credit_grants", **shop.grant())


def alert_id(shop: Shop) -> str:
    return shop.new("/v1/billing/alerts", **shop.alert())


def meter_id(shop: Shop) -> str:
    return str(shop.meter()["id"])


def draft_id(shop: Shop) -> str:
    return str(shop.draft()["id"])


def draft_line(shop: Shop) -> tuple[str, str]:
    draft = shop.draft()
    return draft["id"], draft["lines"]["data"][0]["id"]


def open_backfill(shop: Shop) -> str:
    return shop.new("/v1/usage/backfills", **shop.backfill())


def closed_backfill(shop: Shop) -> str:
    backfill = open_backfill(shop)
    shop.post(f"/v1/usage/backfills/{backfill}/close")
    return backfill


def deactivated(shop: Shop) -> str:
    meter = meter_id(shop)
    shop.post(f"/v1/billing/meters/{meter}/deactivate")
    return meter


def inactive_alert(shop: Shop) -> str:
    alert = alert_id(shop)
    shop.post(f"/v1/billing/alerts/{alert}/deactivate")
    return alert


def payment_intent(shop: Shop) -> str:
    return shop.new("/v1/payment_intents", amount="500", currency="usd")


def waiting_intent(shop: Shop) -> str:
    card = "pm_card_authenticationRequired"
    given = {"amount": "500", "currency": "usd", "payment_method": card, "confirm": "true"}
    return shop.new("/v1/payment_intents", **given)


def paid_intent(shop: Shop) -> str:
    given = {"amount": "500", "currency": "usd", "payment_method": "pm_card_visa"}
    return shop.new("/v1/payment_intents", **given, confirm="true")


REPORTED: Given = {
    "amount_requested": {"value": "500", "currency": "usd"},
    "initiated_at": "1767225600",
    "guaranteed": {"guaranteed_at": "1767225600"},
    "outcome": "guaranteed",
    "payment_method_details": {"type": "custom"},
}


def subscription_id(shop: Shop) -> str:
    return str(shop.subscription()["id"])


def classic(shop: Shop) -> str:
    return str(shop.subscription(billing_mode={"type": "classic"})["id"])


def paused(shop: Shop) -> str:
    subscription = subscription_id(shop)
    shop.post(f"/v1/subscriptions/{subscription}/pause", PAUSE)
    return subscription


def method_id(shop: Shop) -> str:
    attached = {"customer": shop.customer()}
    return str(shop.post("/v1/payment_methods/pm_card_visa/attach", attached)["id"])


def of_balance(shop: Shop) -> tuple[dict[str, str], Given]:
    customer = shop.customer()
    given = {"amount": "-100", "currency": "usd"}
    moved = shop.new(f"/v1/customers/{customer}/balance_transactions", **given)
    return {"customer": customer, "transaction": moved}, LABEL


def update_lines(shop: Shop) -> tuple[dict[str, str], Given]:
    invoice, line = draft_line(shop)
    return {"invoice": invoice}, {"lines": [{"id": line, "amount": "700"}]}


def remove_lines(shop: Shop) -> tuple[dict[str, str], Given]:
    invoice, line = draft_line(shop)
    return {"invoice": invoice}, {"lines": [{"id": line, "behavior": "delete"}]}


def update_line(shop: Shop) -> tuple[dict[str, str], Given]:
    invoice, line = draft_line(shop)
    return {"invoice": invoice, "line": line}, {"amount": "700"}


PAUSE: Given = {"type": "subscription"}
CARD: Given = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2099", "cvc": "123"}

EXAMPLES: dict[str, Example] = {
    "POST /v1/customers": to(name="Ada"),
    "POST /v1/customers/{customer}": at("customer", Shop.customer, name="Bob"),
    "POST /v1/customers/{customer}/balance_transactions": at(
        "customer", Shop.customer, amount="-100", currency="usd"
    ),
    "POST /v1/customers/{customer}/balance_transactions/{transaction}": of_balance,
    "POST /v1/payment_methods": to(type="card", card=CARD),
    "POST /v1/payment_methods/{payment_method}": at("payment_method", method_id, **LABEL),
    "POST /v1/payment_methods/{payment_method}/attach": lambda shop: (
        {"payment_method": "pm_card_visa"},
        {"customer": shop.customer()},
    ),
    "POST /v1/payment_methods/{payment_method}/detach": at("payment_method", method_id),
    "POST /v1/payment_intents": to(
        amount="500", currency="usd", payment_method="pm_card_visa", confirm="true"
    ),
    "POST /v1/payment_intents/{intent}": at("intent", payment_intent, **LABEL),
    "POST /v1/payment_intents/{intent}/confirm": at(
        "intent", payment_intent, payment_method="pm_card_visa"
    ),
    "POST /v1/payment_intents/{intent}/cancel": at("intent", waiting_intent),
    "POST /v1/test_helpers/payment_intents/{intent}/authenticate": at("intent", waiting_intent),
    "POST /v1/setup_intents": to(**LABEL),
    "POST /v1/setup_intents/{setup_intent}": at("setup_intent", Shop.setup, **LABEL),
    "POST /v1/setup_intents/{setup_intent}/confirm": at(
        "setup_intent", Shop.setup, payment_method="pm_card_visa"
    ),
    "POST /v1/setup_intents/{setup_intent}/cancel": at("setup_intent", Shop.setup),
    "POST /v1/test_helpers/setup_intents/{setup_intent}/authenticate": at(
        "setup_intent", Shop.setup_that_waits
    ),
    "POST /v1/products": to(name="Calls"),
    "POST /v1/products/{product}": at("product", Shop.product, name="More"),
    "POST /v1/prices": lambda shop: (
        {},
        {"product": shop.product(), "currency": "usd", "unit_amount": "5"},
    ),
    "POST /v1/prices/{price}": at("price", Shop.price, nickname="Fee"),
    "POST /v1/billing/meters": lambda shop: (
        {},
        {
            "display_name": "Calls",
            "event_name": "first",
            "default_aggregation": {"formula": "count"},
        },
    ),
    "POST /v1/billing/meters/{meter}": at("meter", meter_id, display_name="All calls"),
    "POST /v1/billing/meters/{meter}/deactivate": at("meter", meter_id),
    "POST /v1/billing/meters/{meter}/reactivate": at("meter", deactivated),
    "POST /v1/billing/meter_events": lambda shop: ({}, shop.usage()),
    "POST /v2/billing/meter_events": lambda shop: ({}, shop.usage()),
    "POST /v1/usage/backfills": lambda shop: ({}, shop.backfill()),
    "POST /v1/usage/backfills/{backfill}/close": at("backfill", open_backfill),
    "POST /v1/usage/backfills/{backfill}/revert": at("backfill", closed_backfill),
    "POST /v1/billing/meter_event_adjustments": lambda shop: ({}, shop.correction()),
    "POST /v2/billing/meter_event_adjustments": lambda shop: ({}, shop.correction()),
    "POST /v1/subscriptions": lambda shop: (
        {},
        {"customer": shop.customer(), "items": [{"price": shop.price()}]},
    ),
    "POST /v1/subscriptions/{subscription}": at("subscription", subscription_id, **LABEL),
    "POST /v1/subscriptions/{subscription}/pause": at("subscription", subscription_id, **PAUSE),
    "POST /v1/subscriptions/{subscription}/resume": at("subscription", paused),
    "POST /v1/subscriptions/{subscription}/migrate": at(
        "subscription", classic, billing_mode={"type": "flexible"}
    ),
    "POST /v1/subscription_items": lambda shop: (
        {},
        {"subscription": subscription_id(shop), "price": shop.price()},
    ),
    "POST /v1/subscription_items/{item}": at(
        "item", lambda shop: str(shop.subscription()["items"]["data"][0]["id"]), quantity="3"
    ),
    "POST /v1/subscription_schedules": lambda shop: (
        {},
        {"from_subscription": subscription_id(shop)},
    ),
    "POST /v1/subscription_schedules/{schedule}": at("schedule", Shop.schedule, **LABEL),
    "POST /v1/subscription_schedules/{schedule}/release": at("schedule", Shop.schedule),
    "POST /v1/subscription_schedules/{schedule}/cancel": at("schedule", Shop.schedule),
    "POST /v1/billing/alerts": lambda shop: ({}, shop.alert()),
    "POST /v1/billing/alerts/{alert}/activate": at("alert", inactive_alert),
    "POST /v1/billing/alerts/{alert}/deactivate": at("alert", alert_id),
    "POST /v1/billing/alerts/{alert}/archive": at("alert", alert_id),
    "POST /v1/coupons": to(percent_off="10", duration="forever"),
    "POST /v1/coupons/{coupon}": at("coupon", Shop.coupon, name="Ten"),
    "POST /v1/promotion_codes": lambda shop: (
        {},
        {"promotion": {"type": "coupon", "coupon": shop.coupon()}},
    ),
    "POST /v1/promotion_codes/{promotion_code}": at("promotion_code", Shop.code, active="false"),
    "POST /v1/tax_rates": to(display_name="VAT", percentage="5", inclusive="false"),
    "POST /v1/tax_rates/{tax_rate}": at("tax_rate", Shop.tax_rate, active="false"),
    "POST /v1/invoiceitems": lambda shop: (
        {},
        {"customer": shop.customer(), "amount": "5", "currency": "usd"},
    ),
    "POST /v1/invoiceitems/{invoiceitem}": at("invoiceitem", Shop.item, amount="700"),
    "POST /v1/invoices": lambda shop: ({}, {"customer": shop.customer()}),
    "POST /v1/invoices/{invoice}": at("invoice", draft_id, description="For you"),
    "POST /v1/invoices/{invoice}/finalize": at("invoice", draft_id),
    "POST /v1/invoices/{invoice}/pay": at("invoice", Shop.open_invoice),
    "POST /v1/invoices/{invoice}/void": at("invoice", Shop.open_invoice),
    "POST /v1/invoices/{invoice}/send": at("invoice", Shop.open_invoice),
    "POST /v1/invoices/{invoice}/mark_uncollectible": at("invoice", Shop.open_invoice),
    "POST /v1/invoices/{invoice}/add_lines": at(
        "invoice", draft_id, lines=[{"amount": "200", "description": "More"}]
    ),
    "POST /v1/invoices/{invoice}/update_lines": update_lines,
    "POST /v1/invoices/{invoice}/remove_lines": remove_lines,
    "POST /v1/invoices/{invoice}/lines/{line}": update_line,
    "POST /v1/invoices/{invoice}/record_payment": at("invoice", Shop.open_invoice, amount="40"),
    "POST /v1/invoices/{invoice}/attach_payment": lambda shop: (
        {"invoice": shop.open_invoice()},
        {"payment_intent": paid_intent(shop)},
    ),
    "POST /v1/payment_records/report_payment": to(**REPORTED),
    "POST /v1/refunds": lambda shop: ({}, {"payment_intent": paid_intent(shop), "amount": "50"}),
    "POST /v1/refunds/{refund}": at(
        "refund", lambda shop: shop.new("/v1/refunds", payment_intent=paid_intent(shop)), **LABEL
    ),
    "POST /v1/credit_notes": lambda shop: (
        {},
        {"invoice": shop.open_invoice(), "amount": "100"},
    ),
    "POST /v1/credit_notes/{credit_note}": at("credit_note", Shop.credit_note, memo="Sorry"),
    "POST /v1/credit_notes/{credit_note}/void": at("credit_note", Shop.credit_note),
    "POST /v1/billing/credit_grants": lambda shop: ({}, shop.grant()),
    "POST /v1/billing/credit_grants/{credit_grant}": at("credit_grant", grant_id, **LABEL),
    "POST /v1/billing/credit_grants/{credit_grant}/expire": at("credit_grant", grant_id),
    "POST /v1/billing/credit_grants/{credit_grant}/void": at("credit_grant", grant_id),
    "POST /v1/payment_gateways": lambda shop: ({}, shop.gateway()),
    "POST /v1/payment_gateways/{payment_gateway}": at(
        "payment_gateway",
        lambda shop: shop.new("/v1/payment_gateways", **shop.gateway()),
        api_key="sk_test_other",
        default="true",
    ),
    "POST /v1/retry_schedules": to(kind="daily"),
    "POST /v1/retry_schedules/{retry_schedule}": at(
        "retry_schedule", lambda shop: shop.new("/v1/retry_schedules", kind="daily"), name="Daily"
    ),
    "POST /v1/webhook_endpoints": to(
        url="https://example.com/told", enabled_events=["invoice.paid"]
    ),
    "POST /v1/webhook_endpoints/{webhook_endpoint}": at(
        "webhook_endpoint", Shop.endpoint, description="The shop"
    ),
    "POST /v1/webhook_endpoints/{webhook_endpoint}/redeliver": at(
        "webhook_endpoint", Shop.endpoint
    ),
    "POST /v1/webhook_endpoints/{webhook_endpoint}/rotate_secret": at(
        "webhook_endpoint", Shop.endpoint
    ),
    "POST /v1/events/{event}/resend": at("event", Shop.event),
    "POST /v1/events/{event}/retry": at("event", Shop.event),
    "POST /v2/core/event_destinations": to(
        name="The shop",
        type="webhook_endpoint",
        enabled_events=["v1.invoice.paid"],
        event_payload="thin",
        webhook_endpoint={"url": "https://example.com/told"},
    ),
    "POST /v2/core/event_destinations/{destination}": at("destination", Shop.endpoint, name="It"),
    "POST /v2/core/event_destinations/{destination}/enable": at("destination", Shop.endpoint),
    "POST /v2/core/event_destinations/{destination}/disable": at("destination", Shop.endpoint),
    "POST /v2/core/event_destinations/{destination}/ping": at("destination", Shop.endpoint),
    "DELETE /v2/core/event_destinations/{destination}": at("destination", Shop.endpoint),
    "POST /v1/billing_settings": to(time_zone="Europe/Berlin"),
    "POST /v1/test_helpers/test_clocks": to(frozen_time="1767264700"),
    "POST /v1/test_helpers/test_clocks/{clock}/advance": at(
        "clock", Shop.clock, frozen_time=str(int(time.time()) + 30 * DAY)
    ),
}


def test_every_write_has_an_example() -> None:
    """A new route needs one here, or a reason among those that are done anew."""
    assert sorted(set(OPERATIONS) - EXAMPLES.keys() - ANEW.keys()) == []
    assert sorted(EXAMPLES.keys() - set(OPERATIONS)) == []


@pytest.mark.parametrize("operation", sorted(EXAMPLES))
def test_a_repeat_is_a_replay(
    http: httpx.Client, operation: str, database: Database, account: Any
) -> None:
    named, given = EXAMPLES[operation](Shop(http))
    method, path = operation.split(" ")
    url = path.format(**named)
    headers = {"Idempotency-Key": "once"}
    if url.startswith("/v2/"):
        body: Given = {"content": json.dumps(given) if method == "POST" else b""}
        headers["Content-Type"] = "application/json"
    else:
        body = {"data": flat(given)}

    first = http.request(method, url, headers=headers, **body)
    assert first.status_code == 200, first.text
    assert "Idempotent-Replayed" not in first.headers
    happened = written(database, account.account_id)
    again = http.request(method, url, headers=headers, **body)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert written(database, account.account_id) == happened


def written(database: Database, account_id: int) -> list[tuple[str, ...]]:
    """Every event of the account and every accepted write."""
    with database.connection() as conn:
        return conn.execute(
            "SELECT 'event', id FROM events WHERE account_id = %(a)s"
            " UNION ALL SELECT 'act', id FROM acts WHERE account_id = %(a)s ORDER BY 1, 2",
            {"a": account_id},
        ).fetchall()
