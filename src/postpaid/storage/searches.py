"""What is searched for by its fields and metadata: the ids, newest first, to be loaded as ever."""

from __future__ import annotations

from dataclasses import dataclass

from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows, fetch_page
from postpaid.storage.searching import IS_FOUND, Search, parameters_of


@dataclass(frozen=True, slots=True)
class Found:
    """Where it is."""

    id: str


SEARCH_CUSTOMERS = f"""
SELECT id
  FROM customers
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'created', floor(extract(epoch FROM created_at)),
                'email', email,
                'name', name,
                'phone', phone) AS fields) known
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
   AND {IS_FOUND}"""


def search_customers(conn: Connection, account_id: int, page: Page, search: Search) -> Rows[Found]:
    """Those that are deleted are not found."""
    asked = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(
        conn, Found, SEARCH_CUSTOMERS, asked, page, table="customers", what="customer"
    )


SEARCH_PRODUCTS = f"""
SELECT id
  FROM products
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'active', active,
                'description', description,
                'name', name,
                'shippable', shippable,
                'url', url) AS fields) known
 WHERE account_id = %(account_id)s
   AND {IS_FOUND}"""


def search_products(conn: Connection, account_id: int, page: Page, search: Search) -> Rows[Found]:
    asked = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(
        conn,
        Found,
        SEARCH_PRODUCTS,
        asked,
        page,
        table="products",
        what="product",
        order=("created_at", "id"),  # a caller may choose the id
    )


SEARCH_PRICES = f"""
SELECT id
  FROM prices
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'active', active,
                'currency', currency,
                'lookup_key', lookup_key,
                'product', product_id,
                'type', CASE WHEN "interval" IS NULL THEN 'one_time' ELSE 'recurring' END
              ) AS fields) known
 WHERE account_id = %(account_id)s
   AND {IS_FOUND}"""


def search_prices(conn: Connection, account_id: int, page: Page, search: Search) -> Rows[Found]:
    asked = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(conn, Found, SEARCH_PRICES, asked, page, table="prices", what="price")


SEARCH_SUBSCRIPTIONS = f"""
SELECT id
  FROM subscriptions
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'canceled_at', floor(extract(epoch FROM canceled_at)),
                'created', floor(extract(epoch FROM created_at)),
                'status', status) AS fields) known
 WHERE account_id = %(account_id)s
   AND {IS_FOUND}"""


def search_subscriptions(
    conn: Connection, account_id: int, page: Page, search: Search
) -> Rows[Found]:
    asked = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(
        conn, Found, SEARCH_SUBSCRIPTIONS, asked, page, table="subscriptions", what="subscription"
    )


SEARCH_INVOICES = f"""
SELECT id
  FROM invoices
 CROSS JOIN LATERAL (
       SELECT jsonb_build_object(
                'created', floor(extract(epoch FROM created_at)),
                'currency', currency,
                'customer', customer_id,
                'number', coalesce(number, given_number),
                'status', status,
                'subscription', subscription_id,
                'total', total) AS fields) known
 WHERE account_id = %(account_id)s
   AND {IS_FOUND}"""


def search_invoices(conn: Connection, account_id: int, page: Page, search: Search) -> Rows[Found]:
    asked = {"account_id": account_id, **parameters_of(search)}
    return fetch_page(conn, Found, SEARCH_INVOICES, asked, page, table="invoices", what="invoice")
