"""Searches of customers, products, prices, subscriptions and invoices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from postpaid.api.stripe.expand import loaded
from postpaid.api.stripe.routes import Call, Routes
from postpaid.api.stripe.search import Kind, SearchParams, found_to_stripe, search_from_stripe
from postpaid.storage import searches
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows
from postpaid.storage.searches import Found
from postpaid.storage.searching import Search

routes = Routes("Search")

CUSTOMERS: Mapping[str, Kind] = {
    "created": "number",
    "email": "text",
    "name": "text",
    "phone": "text",
}
PRODUCTS: Mapping[str, Kind] = {
    "active": "token",
    "description": "text",
    "name": "text",
    "shippable": "token",
    "url": "text",
}
PRICES: Mapping[str, Kind] = {
    "active": "token",
    "currency": "token",
    "lookup_key": "text",
    "product": "text",
    "type": "token",
}
SUBSCRIPTIONS: Mapping[str, Kind] = {
    "canceled_at": "number",
    "created": "number",
    "status": "token",
}
INVOICES: Mapping[str, Kind] = {
    "created": "number",
    "currency": "token",
    "customer": "token",
    "number": "text",
    "status": "token",
    "subscription": "token",
    "total": "number",
}


@routes.get("/v1/customers/search", returns="customer", many=True)
def search_customers(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search customers by their fields and metadata, newest first."""
    wanted = search_from_stripe(params.query, CUSTOMERS)
    return _searched(call, params, wanted, "customer", searches.search_customers)


@routes.get("/v1/products/search", returns="product", many=True)
def search_products(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search products by their fields and metadata, newest first."""
    wanted = search_from_stripe(params.query, PRODUCTS)
    return _searched(call, params, wanted, "product", searches.search_products)


@routes.get("/v1/prices/search", returns="price", many=True)
def search_prices(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search prices by their fields and metadata, newest first."""
    wanted = search_from_stripe(params.query, PRICES)
    return _searched(call, params, wanted, "price", searches.search_prices)


@routes.get("/v1/subscriptions/search", returns="subscription", many=True)
def search_subscriptions(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search subscriptions, those that have ended too, by their fields and metadata."""
    wanted = search_from_stripe(params.query, SUBSCRIPTIONS)
    return _searched(call, params, wanted, "subscription", searches.search_subscriptions)


@routes.get("/v1/invoices/search", returns="invoice", many=True)
def search_invoices(call: Call, params: SearchParams) -> dict[str, Any]:
    """Search invoices by their fields and metadata, newest first."""
    wanted = search_from_stripe(params.query, INVOICES)
    return _searched(call, params, wanted, "invoice", searches.search_invoices)


def _searched(
    call: Call,
    params: SearchParams,
    wanted: Search,
    kind: str,
    find: Callable[[Connection, int, Page, Search], Rows[Found]],
) -> dict[str, Any]:
    def read(conn: Connection) -> dict[str, Any]:
        found, page = found_to_stripe(
            f"/v1/{kind}s/search",
            params,
            lambda page: find(conn, call.act.account_id, page, wanted),
            lambda each: each.id,
        )
        shown = loaded(conn, call.act, kind, [each.id for each in found])
        return page | {"data": [shown[each.id] for each in found]}

    return call.read(read)
