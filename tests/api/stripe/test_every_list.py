"""Every list has pages, forwards and backwards, and refuses what is no page of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from shops import open_account
from stripe import StripeClient

from postpaid.api.server import RESOURCES
from postpaid.storage.database import Database
from serving import plain_http

URL = "https://example.com/told"
MANY = 5

LISTS = [
    "/v1/charges",
    "/v1/charges/{charge}/refunds",
    "/v1/customers/{customer}/payment_methods",
    "/v1/events",
    "/v1/invoice_payments",
    "/v1/payment_gateways",
    "/v1/payment_intents",
    "/v1/payment_methods?customer={customer}",
    "/v1/refunds",
    "/v1/retry_schedules",
    "/v1/setup_attempts?setup_intent={setup}",
    "/v1/setup_intents",
    "/v1/webhook_endpoints",
    "/v1/webhook_endpoints/{endpoint}/deliveries",
]

# The ones that anything may be asked of: no parameter is needed, and there are cursors.
EVERY = sorted(
    route.path
    for each in RESOURCES
    for route in each.routes
    if route.method == "GET" and route.many and route.path.startswith("/v1/")
    if "{" not in route.path and route.params is not None
    if not any(field.is_required() for field in route.params.model_fields.values())
    if "starting_after" in route.params.model_fields
    if route.path != "/v1/billing/credit_balance_transactions"  # of a customer or a grant
)


@pytest.fixture(scope="module")
def shop(server: str, database: Database) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """An account with several of everything, and what the lists above name."""
    secret, client = open_account(server, database)
    with plain_http(server, secret) as http:
        yield http, several(client, http)


def several(client: StripeClient, http: httpx.Client) -> dict[str, str]:
    v1 = client.v1
    customer = v1.customers.create({"name": "Ada"}).id
    endpoints = [
        v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"]}).id for _ in range(MANY)
    ]
    setup = v1.setup_intents.create({"customer": customer}).id
    paid: Any = {
        "amount": 500,
        "confirm": True,
        "currency": "usd",
        "customer": customer,
        "payment_method": "pm_card_visa",
    }
    charge = ""
    for each in range(MANY):
        intent = v1.payment_intents.create(paid)
        charge = charge or str(intent.latest_charge)
        v1.refunds.create({"charge": charge, "amount": 1})
        v1.payment_methods.attach("pm_card_visa", {"customer": customer})
        v1.setup_intents.create()
        asked = {"payment_method": "pm_card_chargeDeclined"}
        assert http.post(f"/v1/setup_intents/{setup}/confirm", data=asked).status_code == 402
        for path, given in (
            ("payment_gateways", {"name": f"g{each}", "type": "frame", "api_key": "abcd"}),
            ("retry_schedules", {"kind": "daily"}),
        ):
            assert http.post(f"/v1/{path}", data=given).status_code == 200
        bill = v1.invoices.create({"customer": customer, "currency": "usd"}).id
        v1.invoice_items.create(
            {"customer": customer, "invoice": bill, "amount": 500, "currency": "usd"}
        )
        v1.invoices.finalize_invoice(bill)
    return {"charge": charge, "customer": customer, "endpoint": endpoints[0], "setup": setup}


def page(http: httpx.Client, url: str, **asked: Any) -> dict[str, Any]:
    answer = http.get(url, params={**dict(httpx.URL(url).params), **asked})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_pages_in_both_directions(
    shop: tuple[httpx.Client, dict[str, str]], path: str
) -> None:
    http, names = shop
    url = path.format(**names)
    whole = [each["id"] for each in page(http, url, limit=100)["data"]]
    assert len(whole) >= MANY
    assert len(set(whole)) == len(whole)

    seen: list[str] = []
    shown = page(http, url, limit=2)
    assert shown["url"] == url.partition("?")[0]
    while True:
        seen += [each["id"] for each in shown["data"]]
        assert shown["has_more"] == (seen != whole)
        if not shown["has_more"]:
            break
        shown = page(http, url, limit=2, starting_after=seen[-1])
    assert seen == whole

    back: list[str] = [whole[-1]]
    while True:
        shown = page(http, url, limit=2, ending_before=back[0])
        back = [each["id"] for each in shown["data"]] + back
        if not shown["has_more"]:
            break
    assert back == whole
    assert page(http, url, starting_after=whole[-1])["data"] == []
    assert page(http, url, ending_before=whole[0])["data"] == []


@pytest.mark.parametrize("path", sorted({*LISTS, *EVERY}))
def test_what_is_no_page_of_it_is_refused(
    shop: tuple[httpx.Client, dict[str, str]], path: str
) -> None:
    http, names = shop
    url = path.format(**names)
    fixed = dict(httpx.URL(url).params)
    cases: list[tuple[dict[str, str], int, str | None]] = [
        *(({"limit": each}, 400, "limit") for each in ("0", "101", "-1", "x", "", "1.5", "9" * 30)),
        ({"starting_after": ""}, 400, "starting_after"),
        ({"ending_before": "x" * 256}, 400, "ending_before"),
        ({"starting_after": "x", "ending_before": "y"}, 400, None),
        ({"starting_after": "x_none"}, 404, "starting_after"),
        ({"ending_before": names["customer"][:-1]}, 404, "ending_before"),
        ({"page": "2"}, 400, "page"),
    ]
    for asked, status, param in cases:
        answer = http.get(url, params={**fixed, **asked})
        error = answer.json()["error"]
        assert (answer.status_code, error.get("param")) == (status, param), (asked, error)
        assert error["type"] == "invalid_request_error"
        if status == 404:
            assert error["code"] == "resource_missing"
