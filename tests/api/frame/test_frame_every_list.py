"""Every list has pages, counted from one, newest first, and refuses what is no page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import pytest
from frame_shop import CARD, PHASE, ROUTES, Given, Shop

from postpaid.api.frame.params import ListParams

MANY = 5
_ordinals = count(100)


def _card(shop: Shop, **whose: str) -> str:
    return shop.new("/v1/payment_methods", **CARD, cvc="123", **whose)


def _phase(shop: Shop, path: str) -> str:
    return shop.new(path, **PHASE | {"ordinal": next(_ordinals)})


def _change(shop: Shop) -> str:
    """A change of the subscription's product: there is one more in its log."""
    subscription = shop.the("subscription")
    owned = shop.send("GET", f"/v1/subscriptions/{subscription}").json()["product"]
    other = shop.the("bigger") if owned == shop.the("plan") else shop.the("plan")
    path = f"/v1/subscriptions/{subscription}"
    assert shop.send("PATCH", path, {"product": other}).status_code == 200
    return str(shop.send("GET", f"{path}/change_logs").json()["data"][0]["id"])


def _line(shop: Shop) -> str:
    path = f"/v1/invoices/{shop.the('draft')}/line_items"
    return shop.new(path, product=shop.the("setup"))


# How one more row is made.
MAKE: dict[str, Callable[[Shop], str]] = {
    "/v1/accounts": Shop.account,
    "/v1/accounts/search": Shop.account,
    "/v1/accounts/{account}/payment_methods": lambda shop: _card(shop, account=shop.the("account")),
    "/v1/billing/billing_credit": Shop.credit,
    "/v1/billing/metering": Shop.meter,
    "/v1/billing/thresholds": Shop.threshold,
    "/v1/charge_intents": Shop.intent,
    "/v1/charges": Shop.charge,
    "/v1/coupons": Shop.coupon,
    "/v1/customers": Shop.customer,
    "/v1/customers/search": Shop.customer,
    "/v1/customers/{customer}/payment_methods": lambda shop: _card(
        shop, customer=shop.the("customer")
    ),
    "/v1/discounts": Shop.discount,
    "/v1/events": Shop.told,
    "/v1/invoices": Shop.draft,
    "/v1/invoices/{invoice}/line_items": _line,
    "/v1/payment_methods": Shop.spare,
    "/v1/products": Shop.plan,
    "/v1/products/search": Shop.plan,
    "/v1/products/{product}/phases": lambda shop: _phase(
        shop, f"/v1/products/{shop.the('plan')}/phases"
    ),
    "/v1/promotion_codes": Shop.code,
    "/v1/refunds": Shop.refund,
    "/v1/subscriptions": Shop.subscription,
    "/v1/subscriptions/search": Shop.subscription,
    "/v1/subscriptions/{subscription}/change_logs": _change,
    "/v1/subscriptions/{subscription}/phases": lambda shop: _phase(
        shop, f"/v1/subscriptions/{shop.the('subscription')}/phases"
    ),
    "/v1/transfers": Shop.transfer,
    "/v1/webhook_endpoints": Shop.endpoint,
}

NAMED = {
    "account": "account",
    "customer": "customer",
    "invoice": "draft",
    "product": "plan",
    "subscription": "subscription",
}

# These are in the order in which they happen or are printed.
OLDEST_FIRST = {
    "/v1/invoices/{invoice}/line_items",
    "/v1/products/{product}/phases",
    "/v1/subscriptions/{subscription}/phases",
}

SEARCHES: dict[str, Given] = {
    "/v1/accounts/search": {"email": "eve@example.com"},
    "/v1/customers/search": {"name": "Ada"},
    "/v1/products/search": {"name": "Pro"},
    "/v1/subscriptions/search": {"status": "active"},
}

LISTS = sorted(
    route.path.removeprefix("/frame")
    for route in ROUTES.values()
    if route.method == "GET" and route.params and issubclass(route.params, ListParams)
    if "/report/" not in route.path
)


def page(shop: Shop, path: str, **asked: Any) -> Given:
    names = {name: shop.the(NAMED[name]) for name in ROUTES[f"GET {path}"].path_parameters}
    answer = shop.send("GET", path.format(**names), SEARCHES.get(path, {}) | asked)
    assert answer.status_code == 200, answer.text
    found: Given = answer.json()
    assert {*found["meta"]} >= {"page", "url", "has_more", "prev", "next"}
    others = [key for key in found if key not in ("meta", "data")]
    assert len(others) == 1
    assert found[others[0]] == found["data"]
    return found


def test_every_list_is_here() -> None:
    assert sorted(MAKE) == LISTS


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_pages(http: httpx.Client, path: str) -> None:
    shop = Shop(http)
    made = [MAKE[path](shop) for _ in range(MANY)]
    whole = [each["id"] for each in page(shop, path, per_page=100)["data"]]
    assert len(set(whole)) == len(whole) >= MANY
    ours = [each for each in whole if each in made]
    assert ours == (made if path in OLDEST_FIRST else made[::-1])

    if path != "/v1/events":  # of which one thing may be several, all on one page
        seen: list[str] = []
        number = 1
        while True:
            shown = page(shop, path, per_page=2, page=number)
            seen += [each["id"] for each in shown["data"]]
            meta = shown["meta"]
            assert meta["url"].endswith("?per_page=2")
            assert meta["page"] == number
            assert meta["prev"] == (number - 1 or None)
            assert meta["has_more"] == (seen != whole)
            assert meta["next"] == (number + 1 if meta["has_more"] else None)
            if not meta["has_more"]:
                break
            number += 1
        assert seen == whole
        assert not page(shop, path, per_page=len(whole))["meta"]["has_more"]
        assert page(shop, path, per_page=len(whole) - 1)["meta"]["has_more"]
        assert len(page(shop, path, limit=1)["data"]) == 1
    beyond = page(shop, path, page=1000)
    assert (beyond["data"], beyond["meta"]["has_more"]) == ([], False)
    assert page(shop, path, per_page=5000) == page(shop, path, per_page=100)


@pytest.mark.parametrize("path", LISTS)
def test_what_is_no_page_is_refused(http: httpx.Client, path: str) -> None:
    shop = Shop(http)
    names = {name: shop.the(NAMED[name]) for name in ROUTES[f"GET {path}"].path_parameters}
    for name in ("page", "per_page"):
        for value in ("0", "-1", "x", "", "1.5", "9" * 30, "NaN"):
            if (name, value) == ("per_page", "9" * 30):
                continue
            answer = shop.send("GET", path.format(**names), {name: value})
            assert answer.status_code == 422, (name, value, answer.text)
            assert [*answer.json()["error_details"]["errors"]] == [name], (name, value)
