"""Whatever is wrong with a request about payments or webhooks is refused by name.

For each endpoint there is one request that is right; ``shops`` makes it wrong in every way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import shops
from paying_names import URL, make_names
from shops import Shop, a_shop

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


# ─── Requests that are right ─────────────────────────────────────────────────────────────────

SOMETIME = {"gte": 1, "lt": FAR}
PAGE = {"limit": 3}
ONLINE = {"ip_address": "127.0.0.1", "user_agent": "Curl"}
MANDATE = {"customer_acceptance": {"type": "online", "accepted_at": 5, "online": ONLINE}}
OFFERS = {"payment_method_types": ["card"], "use_stripe_sdk": True}
REPORT = {
    "amount_requested": {"value": 100, "currency": "usd"},
    "customer_details": {
        "customer": "{customer}",
        "email": "ada@example.com",
        "name": "Ada",
        "phone": "1",
    },
    "customer_presence": "on_session",
    "description": "Cash",
    "guaranteed": {"guaranteed_at": 5},
    "initiated_at": 4,
    "metadata": {"a": "b"},
    "outcome": "guaranteed",
    "payment_method_details": {"type": "custom", "custom": {"display_name": "Cash"}},
    "processor_details": {"type": "custom", "custom": {"payment_reference": "7"}},
}

RIGHT: list[tuple[str, str, dict[str, Any]]] = [
    (
        "POST",
        "/v1/payment_intents",
        OFFERS
        | {
            "amount": 500,
            "currency": "usd",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "capture_method": "automatic_async",
            "confirm": True,
            "confirmation_method": "automatic",
            "customer": "{customer}",
            "description": "A coffee",
            "metadata": {"a": "b"},
            "off_session": True,
            "payment_method": "{card}",
            "return_url": "https://example.com",
            "setup_future_usage": "off_session",
        },
    ),
    (
        "POST",
        "/v1/payment_intents/{intent}",
        OFFERS
        | {
            "amount": 600,
            "currency": "eur",
            "description": "Two",
            "metadata": {"a": "b"},
            "payment_method": "{card}",
            "setup_future_usage": "on_session",
        },
    ),
    (
        "POST",
        "/v1/payment_intents/{ready}/confirm",
        OFFERS
        | {
            "capture_method": "automatic",
            "off_session": False,
            "payment_method": "{card}",
            "return_url": "https://example.com",
            "setup_future_usage": "on_session",
        },
    ),
    ("POST", "/v1/payment_intents/{given_up}/cancel", {"cancellation_reason": "abandoned"}),
    ("GET", "/v1/payment_intents", PAGE | {"customer": "{customer}", "created": SOMETIME}),
    ("GET", "/v1/payment_intents/search", PAGE | {"query": "amount>1"}),
    ("GET", "/v1/payment_intents/{paid}", {"client_secret": "{secret}"}),
    ("POST", "/v1/test_helpers/payment_intents/{waits}/authenticate", {"outcome": "succeed"}),
    (
        "GET",
        "/v1/charges",
        PAGE | {"customer": "{customer}", "created": SOMETIME, "payment_intent": "{paid}"},
    ),
    ("GET", "/v1/charges/{charge}", {}),
    ("GET", "/v1/charges/{charge}/refunds", PAGE),
    (
        "POST",
        "/v1/refunds",
        {"charge": "{charge}", "amount": 5, "reason": "duplicate", "metadata": {"a": "b"}},
    ),
    ("POST", "/v1/refunds", {"payment_intent": "{paid}", "amount": 5}),
    (
        "GET",
        "/v1/refunds",
        PAGE | {"charge": "{charge}", "created": SOMETIME, "payment_intent": "{paid}"},
    ),
    ("GET", "/v1/refunds/{refund}", {}),
    ("POST", "/v1/refunds/{refund}", {"metadata": {"a": "b"}}),
    (
        "POST",
        "/v1/setup_intents",
        {
            "confirm": True,
            "customer": "{customer}",
            "description": "Later",
            "mandate_data": MANDATE,
            "metadata": {"a": "b"},
            "payment_method": "{card}",
            "payment_method_types": ["card", "us_bank_account"],
            "return_url": "https://example.com",
            "usage": "on_session",
            "use_stripe_sdk": True,
        },
    ),
    (
        "POST",
        "/v1/setup_intents",
        {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}},
    ),
    (
        "POST",
        "/v1/setup_intents/{setup}",
        {
            "customer": "{customer}",
            "description": "Later",
            "metadata": {"a": "b"},
            "payment_method": "{card}",
            "payment_method_types": ["card"],
        },
    ),
    (
        "POST",
        "/v1/setup_intents/{setup_ready}/confirm",
        {
            "mandate_data": MANDATE,
            "payment_method": "{card}",
            "return_url": "https://example.com",
            "use_stripe_sdk": True,
        },
    ),
    ("POST", "/v1/setup_intents/{setup_given_up}/cancel", {"cancellation_reason": "duplicate"}),
    ("GET", "/v1/setup_intents/{setup}", {}),
    (
        "GET",
        "/v1/setup_intents",
        PAGE | {"customer": "{customer}", "created": SOMETIME, "payment_method": "{card}"},
    ),
    ("GET", "/v1/setup_attempts", PAGE | {"setup_intent": "{setup_waits}", "created": SOMETIME}),
    ("POST", "/v1/test_helpers/setup_intents/{setup_waits}/authenticate", {"outcome": "fail"}),
    (
        "GET",
        "/v1/invoice_payments",
        PAGE
        | {
            "created": SOMETIME,
            "invoice": "{bill}",
            "payment": {"type": "payment_intent", "payment_intent": "{paid}"},
            "status": "paid",
        },
    ),
    (
        "GET",
        "/v1/invoice_payments",
        {"payment": {"type": "payment_record", "payment_record": "{record}"}},
    ),
    ("GET", "/v1/invoice_payments/{payment}", {}),
    ("POST", "/v1/payment_records/report_payment", REPORT),
    ("GET", "/v1/payment_records/{record}", {}),
    ("POST", "/v1/invoices/{bill}/attach_payment", {"payment_record": "{record}"}),
    (
        "POST",
        "/v1/invoices/{bill}/record_payment",
        {
            "amount": 10,
            "description": "Cash",
            "metadata": {"a": "b"},
            "method": "Cash",
            "paid_at": 5,
            "reference": "7",
        },
    ),
    ("POST", "/v1/invoices/{bill}/attach_payment", {"payment_intent": "{paid}"}),
    ("POST", "/v1/invoices/{bill}/pay", {"payment_method": "{card}", "off_session": True}),
    (
        "POST",
        "/v1/payment_gateways",
        {
            "api_key": "sk_test_1234",
            "base_url": "https://example.com/v1",
            "default": True,
            "metadata": {"a": "b"},
            "name": "another",
            "type": "stripe",
        },
    ),
    (
        "POST",
        "/v1/payment_gateways/{gateway}",
        {
            "api_key": "sk_test_5678",
            "base_url": "https://example.com/v1",
            "default": False,
            "metadata": {"a": "b"},
        },
    ),
    ("GET", "/v1/payment_gateways/{gateway}", {}),
    ("GET", "/v1/payment_gateways", PAGE),
    ("DELETE", "/v1/payment_gateways/{spare_gateway}", {}),
    (
        "POST",
        "/v1/payment_methods",
        {
            "type": "card",
            "card": {
                "brand": "visa",
                "country": "US",
                "exp_month": 8,
                "exp_year": 2099,
                "fingerprint": "abc",
                "funding": "debit",
                "last4": "4242",
            },
            "gateway": "main",
            "gateway_token": "cus_1/pm_1",
            "metadata": {"a": "b"},
        },
    ),
    (
        "POST",
        "/v1/payment_methods",
        {
            "type": "us_bank_account",
            "us_bank_account": {
                "account_holder_type": "company",
                "account_number": "000123456789",
                "account_type": "savings",
                "routing_number": "110000000",
            },
        },
    ),
    ("POST", "/v1/payment_methods/{free_card}/attach", {"customer": "{customer}"}),
    ("POST", "/v1/payment_methods/{free_card}", {"card": {"exp_month": 9, "exp_year": 2098}}),
    ("GET", "/v1/payment_methods", PAGE | {"customer": "{customer}", "type": "card"}),
    ("GET", "/v1/customers/{customer}/payment_methods", PAGE | {"type": "card"}),
    ("POST", "/v1/payment_methods/{free_card}/detach", {}),
    (
        "POST",
        "/v1/retry_schedules",
        {
            "after_retries": "cancel",
            "days": [1, 3, 5],
            "kind": "list",
            "metadata": {"a": "b"},
            "name": "Patient",
            "segment": {"metadata": {"tier": "gold"}},
        },
    ),
    ("POST", "/v1/retry_schedules", {"kind": "window", "window": "1_week"}),
    (
        "POST",
        "/v1/retry_schedules/{retries}",
        {
            "after_retries": "unpaid",
            "days": [1, 2],
            "kind": "list",
            "metadata": {"a": "b"},
            "name": "Hasty",
            "segment": {"metadata": {"tier": "gold"}},
        },
    ),
    ("GET", "/v1/retry_schedules/{retries}", {}),
    ("GET", "/v1/retry_schedules", PAGE),
    (
        "POST",
        "/v1/billing_settings",
        {
            "invoice_reminder_days": [7, 1],
            "invoice_upcoming_days": 3,
            "retry_schedule": "{retries}",
        },
    ),
    ("DELETE", "/v1/retry_schedules/{spare_retries}", {}),
    (
        "POST",
        "/v1/webhook_endpoints",
        {
            "api_version": "2026-10-28.endive",
            "connect": False,
            "description": "Ours",
            "enabled_events": ["invoice.*", "charge.failed"],
            "metadata": {"a": "b"},
            "payload": "thin",
            "url": URL,
        },
    ),
    (
        "POST",
        "/v1/webhook_endpoints/{endpoint}",
        {
            "description": "Ours",
            "disabled": False,
            "enabled_events": ["*"],
            "metadata": {"a": "b"},
            "url": URL,
        },
    ),
    ("GET", "/v1/webhook_endpoints/{endpoint}", {}),
    ("GET", "/v1/webhook_endpoints", PAGE),
    ("POST", "/v1/webhook_endpoints/{endpoint}/rotate_secret", {"overlap": 60}),
    (
        "POST",
        "/v1/webhook_endpoints/{endpoint}/redeliver",
        {"created": SOMETIME, "only_failed": False},
    ),
    ("GET", "/v1/webhook_endpoints/{endpoint}/deliveries", PAGE | {"status": "pending"}),
    ("GET", "/v1/webhook_deliveries/{delivery}", {}),
    ("POST", "/v1/events/{event}/resend", {"webhook_endpoint": "{endpoint}"}),
    ("POST", "/v1/events/{event}/retry", {"webhook_endpoint": "{endpoint}"}),
    (
        "GET",
        "/v1/events",
        PAGE | {"created": SOMETIME, "delivery_success": False, "types": ["customer.created"]},
    ),
    ("DELETE", "/v1/webhook_endpoints/{spare_endpoint}", {}),
    (
        "POST",
        "/v2/core/event_destinations",
        {
            "description": "All that is paid",
            "enabled_events": ["invoice.paid", "customer.*"],
            "event_payload": "snapshot",
            "events_from": ["@self"],
            "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
            "metadata": {"a": "b"},
            "name": "The shop",
            "snapshot_api_version": "2026-10-28.endive",
            "type": "webhook_endpoint",
            "webhook_endpoint": {"url": URL},
        },
    ),
    (
        "POST",
        "/v2/core/event_destinations/{destination}",
        {
            "description": "All",
            "enabled_events": ["v1.invoice.paid"],
            "include": ["webhook_endpoint.url"],
            "metadata": {"a": "b"},
            "name": "The other shop",
            "webhook_endpoint": {"url": URL},
        },
    ),
    ("GET", "/v2/core/event_destinations", {"include": ["webhook_endpoint.url"], "limit": 3}),
    ("GET", "/v2/core/event_destinations/{destination}", {"include": ["webhook_endpoint.url"]}),
    ("POST", "/v2/core/event_destinations/{destination}/ping", {}),
    ("POST", "/v2/core/event_destinations/{destination}/disable", {}),
    ("POST", "/v2/core/event_destinations/{destination}/enable", {}),
    ("DELETE", "/v2/core/event_destinations/{destination}", {}),
]

CASES = pytest.mark.parametrize(
    ("method", "path", "right"),
    RIGHT,
    ids=[f"{method} {path} {index}" for index, (method, path, _) in enumerate(RIGHT)],
)


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
            key = uuid.uuid4().hex
            asked = shop.filled(right)
            answer = shop.ask(method, path, asked, key=key)
            assert answer.status_code == 200, (method, path, answer.text)
            if method == "POST":
                again = shop.ask(method, path, asked, key=key)
                assert (again.status_code, again.json()) == (200, answer.json())
                assert again.headers["Idempotent-Replayed"] == "true"
