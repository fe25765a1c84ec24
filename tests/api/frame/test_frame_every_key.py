"""What Frame's clients read of a resource is there, and of the kind that they take it for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from frame_shop import WINDOW, Given, Shop

Kind = Callable[[Any], bool]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def whole(value: Any) -> bool:
    return type(value) is int


def flag(value: Any) -> bool:
    return type(value) is bool


def unix(value: Any) -> bool:
    return whole(value) and 10**9 < value < 10**10


def iso(value: Any) -> bool:
    return (
        text(value) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) is not None
    )


def exact(value: Any) -> bool:
    """A decimal string, never without a fraction."""
    return text(value) and re.fullmatch(r"-?\d+\.\d+", value) is not None


def upper(value: Any) -> bool:
    return text(value) and re.fullmatch("[A-Z]{3}", value) is not None


def lower(value: Any) -> bool:
    return text(value) and re.fullmatch("[a-z]{3}", value) is not None


def thing(value: Any) -> bool:
    return isinstance(value, dict)


def several(value: Any) -> bool:
    return isinstance(value, list)


def nothing(value: Any) -> bool:
    return value is None


def or_null(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def keys(names: str, kind: Kind) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


COMMON = keys("id object", text) | keys("livemode", flag) | keys("created updated", unix)
OWNER = keys("customer account", or_null(text))
MORE = keys("metadata", thing)
MAYBE = or_null(text)

CUSTOMER = (
    COMMON
    | MORE
    | keys("name email status", text)
    | keys("description phone date_of_birth", MAYBE)
    | keys("billing_address shipping_address", or_null(thing))
    | keys("payment_methods", several)
)
PHASE = (
    COMMON
    | keys("ordinal", whole)
    | keys("pricing_type phaseable_type phaseable_id", text)
    | keys("name discount_percentage", lambda _: True)
    | keys("amount period_count", or_null(whole))
    | keys("currency", upper)
    | keys("started_at", or_null(unix))
    | keys("duration_type interval", text)
    | keys("interval_count", whole)
)
PLAN = (
    keys("id object interval product", text)
    | keys("interval_count amount", whole)
    | keys("currency", upper)
    | keys("active livemode", flag)
    | keys("created", unix)
)
SUBSCRIPTION = (
    COMMON
    | MORE
    | OWNER
    | keys("description", MAYBE)
    | keys("status default_payment_method latest_charge_intent effective_interval", text)
    | keys("currency", upper)
    | keys("quantity effective_amount effective_interval_count", whole)
    | {"plan": thing, "phases": several, "has_phases": flag}
    | keys("current_period_start current_period_end start_date", unix)
    | keys("current_phase scheduled_change", or_null(thing))
    | keys("latest_charge", MAYBE)
)
INVOICE = (
    COMMON
    | MORE
    | keys("invoice_number status collection_method", text)
    | keys("total net_terms", whole)
    | keys("currency", upper)
    | keys("due_date", or_null(lambda value: re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None))
    | keys("description memo", MAYBE)
    | keys("line_items", several)
)
LINE = (
    keys("id object description", text)
    | keys("quantity unit_amount_cents", whole)
    | keys("unit_amount_currency", upper)
    | keys("created updated", unix)
)
CHARGE = (
    COMMON
    | OWNER
    | keys("amount amount_captured amount_refunded net_amount", whole)
    | keys("captured refunded disputed", flag)
    | keys("status charge_intent payment_method", text)
    | keys("failure_code failure_message description", MAYBE)
    | keys("payment_method_details", thing)
    | keys("currency", lambda value: upper(value) or lower(value))
)
REPORT = keys("object aggregation event_name billing_metric", text) | keys("usage", exact)


def found(path: str, make: Callable[[Shop], Any]) -> Callable[[Shop], Given]:
    """It as it is read, by its id or its ids."""

    def read(shop: Shop) -> Given:
        made = make(shop)
        answer = shop.send("GET", path.format(**made) if isinstance(made, dict) else path + made)
        assert answer.status_code == 200, answer.text
        shown: Given = json.loads(answer.text)
        return shown

    return read


def asked(path: str, query: Callable[[Shop], Given]) -> Callable[[Shop], Given]:
    def read(shop: Shop) -> Given:
        answer = shop.send("GET", path, query(shop))
        assert answer.status_code == 200, answer.text
        shown: Given = json.loads(answer.text)
        return shown

    return read


def _reported(shop: Shop) -> Given:
    shop.event()
    return {"customer": shop.the("customer"), **WINDOW}


def _bill(shop: Shop) -> Given:
    return shop.post("/v1/billing/billing_invoice", shop.to_bill_usage())


def _change_log(shop: Shop) -> Given:
    subscription = shop.the("subscription")
    path = f"/v1/subscriptions/{subscription}"
    assert shop.send("PATCH", path, {"product": shop.the("bigger")}).status_code == 200
    entry: Given = shop.send("GET", f"{path}/change_logs").json()["data"][0]
    return entry


def _ach(shop: Shop) -> str:
    given = {"account_type": "checking", "account_number": "000123456789"}
    return shop.new("/v1/payment_methods", **given, type="ach", routing_number="110000000")


RESOURCES: dict[str, tuple[Callable[[Shop], Given], dict[str, Kind]]] = {
    "customer": (found("/v1/customers/", Shop.customer), CUSTOMER),
    "account": (
        found("/v1/accounts/", Shop.account),
        COMMON | MORE | keys("type status", text) | {"profile": thing, "capabilities": several},
    ),
    "card": (
        found("/v1/payment_methods/", Shop.method),
        COMMON
        | keys("type status customer customer_id", text)
        | keys("account account_id ach", nothing)
        | keys("billing", or_null(thing))
        | {"card": thing},
    ),
    "card's card": (
        lambda shop: dict(found("/v1/payment_methods/", Shop.method)(shop)["card"]),
        keys("brand last_four exp_month exp_year", text)
        | keys("issuer currency segment type", MAYBE),
    ),
    "bank account": (
        lambda shop: dict(found("/v1/payment_methods/", _ach)(shop)["ach"]),
        keys("last_four account_type", text) | keys("bank_name", MAYBE),
    ),
    "product": (
        found("/v1/products/", Shop.plan),
        COMMON
        | MORE
        | keys("name description purchase_type recurring_interval", text)
        | {"default_price": whole, "recurring": thing}
        | keys("shippable active", flag)
        | keys("url image", MAYBE),
    ),
    "product once": (found("/v1/products/", Shop.setup), COMMON | {"recurring": nothing}),
    "product phase": (found("/v1/products/{product}/phases/{phase}", Shop.phase), PHASE),
    "own phase": (
        found("/v1/subscriptions/{subscription}/phases/{phase}", Shop.own_phase),
        PHASE,
    ),
    "subscription": (found("/v1/subscriptions/", Shop.subscription), SUBSCRIPTION),
    "plan": (
        lambda shop: dict(found("/v1/subscriptions/", Shop.subscription)(shop)["plan"]),
        PLAN,
    ),
    "change log": (
        _change_log,
        keys("id subscription previous_product new_product proration_behavior", text)
        | keys("object subscription_id change_type", text)
        | {"livemode": flag, "changed_at": unix, "data": thing},
    ),
    "meter": (
        found("/v1/billing/metering/", Shop.meter),
        COMMON
        | MORE
        | keys("status aggregation event_name display_name", text)
        | keys("description", MAYBE)
        | {"value": exact, "markup_percentage": or_null(exact), "active": flag},
    ),
    "event": (
        found("/v1/billing/metering_events/", Shop.event),
        COMMON | MORE | keys("meter_id customer_id", text) | {"value": exact, "timestamp": iso},
    ),
    "customer report": (
        asked("/v1/billing/report/customer", _reported),
        {"customer": text, "usage": exact, "livemode": flag, "aggregated_usage": several},
    ),
    "report": (
        lambda shop: dict(
            asked("/v1/billing/report/customer", _reported)(shop)["aggregated_usage"][0]
        ),
        REPORT,
    ),
    "threshold progress": (
        asked("/v1/billing/report/threshold_progress", _reported),
        keys("object billing_cycle customer", text)
        | keys("account account_id oldest_pending_charge_at", nothing)
        | keys("threshold_amount_cents threshold_percentage", nothing)
        | keys("period_start period_end", iso)
        | {"accumulated_amount_cents": whole, "livemode": flag},
    ),
    "billing invoice": (_bill, INVOICE | {"customer": text}),
    "billing credit": (
        found("/v1/billing/billing_credit/", Shop.credit),
        COMMON
        | OWNER
        | keys("product status", text)
        | keys("billing_credits available_credits used_credits", exact)
        | {"watchlist": flag, "expires": unix},
    ),
    "invoice": (
        found("/v1/invoices/", Shop.issued),
        INVOICE | {"customer": thing, "account": nothing},
    ),
    "line": (found("/v1/invoices/{invoice}/line_items/{line}", Shop.line), LINE),
    "charge": (found("/v1/charges/", Shop.charge), CHARGE),
    "charge intent": (
        found("/v1/charge_intents/", Shop.paid_intent),
        COMMON
        | MORE
        | keys("status client_secret", text)
        | keys("subscription invoice", nothing)
        | {"amount": whole, "currency": lower}
        | keys("latest_charge", lambda value: text(value) or thing(value)),
    ),
    "transfer": (
        found("/v1/transfers/", Shop.transfer),
        COMMON
        | MORE
        | keys("status account_id source_payment_method_id charge_intent client_secret", text)
        | keys("platform_fee frame_fee total_fees gross_amount net_amount", or_null(whole))
        | keys("failure_reason payout billing_agreement description reference", MAYBE)
        | keys("destination_payment_method_id", MAYBE)
        | {"amount": whole},
    ),
    "refund": (
        found("/v1/refunds/", Shop.refund),
        COMMON
        | keys("status charge_intent", text)
        | keys("reason transfer", MAYBE)
        | {"amount": whole},
    ),
    "coupon": (
        found("/v1/coupons/", Shop.coupon),
        keys("id object name discount_type duration status applicable_to", text)
        | keys("description product_id", MAYBE)
        | {"discount_value": exact, "discount_value_currency": MAYBE, "created": unix}
        | keys("duration_in_months max_redemptions discount_cap_cents", or_null(whole))
        | keys("minimum_order_amount_cents", or_null(whole))
        | keys("minimum_order_amount_currency discount_cap_currency", MAYBE)
        | keys("valid_from valid_until", or_null(unix))
        | keys("is_expired is_maxed_out livemode", flag)
        | {"times_redeemed": whole},
    ),
    "promotion code": (
        found("/v1/promotion_codes/", Shop.code),
        keys("id object code", text)
        | keys("coupon", lambda value: text(value) or thing(value))
        | keys("customer_id account_id minimum_amount_currency", MAYBE)
        | keys("max_redemptions max_customer_redemptions", or_null(whole))
        | keys("minimum_amount_cents remaining_redemptions", or_null(whole))
        | keys("active first_time_transaction is_expired is_maxed_out", flag)
        | keys("is_redeemable is_customer_specific livemode", flag)
        | {"times_redeemed": whole, "expires_at": or_null(unix), "created_at": unix},
    ),
    "discount": (
        found("/v1/discounts/", Shop.discount),
        OWNER
        | keys("id object discountable_type", text)
        | keys("coupon promotion_code", lambda value: text(value) or thing(value))
        | keys("application_order discount_amount_cents", whole)
        | {"discount_amount_currency": lower},
    ),
    "webhook endpoint": (
        found("/v1/webhook_endpoints/", Shop.endpoint),
        COMMON | keys("url status", text) | {"description": MAYBE, "event_codes": several},
    ),
    "notice": (
        found("/v1/events/", Shop.told),
        keys("id type object", text) | {"created": unix, "livemode": flag, "data": thing},
    ),
    "merchant": (
        lambda shop: dict(shop.send("GET", "/v1/me").json()),
        keys("merchant_name api_version", text)
        | {"dev_mode": flag, "merchant_id": lambda value: text(value) or whole(value)},
    ),
}


@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_every_key_is_there(http: httpx.Client, resource: str) -> None:
    read, known = RESOURCES[resource]
    shown = read(Shop(http))
    assert sorted(known.keys() - shown.keys()) == []
    assert {key: shown[key] for key, kind in known.items() if not kind(shown[key])} == {}


def test_a_secret_is_told_once(http: httpx.Client) -> None:
    shop = Shop(http)
    made = shop.post(
        "/v1/webhook_endpoints", {"url": "https://example.com/h", "event_codes": ["invoice.paid"]}
    )
    assert re.fullmatch("[A-Za-z0-9]{32}", made["secret"])
    path = f"/v1/webhook_endpoints/{made['id']}"
    assert "secret" not in shop.send("GET", path).json()
    assert "secret" not in shop.send("PATCH", path, {"description": "x"}).json()
    rotated = shop.post(f"{path}/rotate_secret")
    assert rotated["secret"] != made["secret"]


def test_currencies_are_taken_in_either_case(http: httpx.Client) -> None:
    shop = Shop(http)
    for currency in ("usd", "USD", "Usd"):
        given = shop.to_subscribe() | {"currency": currency}
        assert shop.post("/v1/subscriptions", given)["currency"] == "USD"
