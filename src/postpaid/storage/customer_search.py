"""Customers, found by what is known of them: those without a profile, and those with one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class CustomerSearch:
    """What is to be true of a customer; None of anything is true of all.

    ``name``, ``email`` and ``phone`` are parts of it, in small letters or capitals; ``exact_email``
    is all of it. ``clock_id`` None is those on no test clock.
    """

    name: str | None = None
    email: str | None = None
    exact_email: str | None = None
    phone: str | None = None
    blocked: bool | None = None
    deleted: bool | None = False
    has_email: bool | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    clock_id: str | None = None


FIND_WITHOUT_PROFILE = """
SELECT id, clock_id, name, email, phone, description, business_name, individual_name, address,
       shipping, metadata, preferred_locales, tax_exempt, currency, balance, delinquent,
       invoice_prefix, next_invoice_sequence, first_invoice_sequence, default_payment_method_id,
       invoice_custom_fields, invoice_footer, invoice_rendering_options, time_zone, created_at,
       deleted_at, discount, profile, blocked_at, date_of_birth,
       (SELECT t.frozen_at
          FROM test_clocks t
         WHERE t.account_id = customers.account_id
           AND t.id = customers.clock_id) AS clock_at
  FROM customers
 WHERE account_id = %(account_id)s
   AND profile IS NULL
   AND (clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND clock_id IS NULL))
   AND (%(deleted)s::boolean IS NULL OR (deleted_at IS NOT NULL) = %(deleted)s)
   AND (%(blocked)s::boolean IS NULL OR (blocked_at IS NOT NULL) = %(blocked)s)
   AND (%(has_email)s::boolean IS NULL OR (email IS NOT NULL) = %(has_email)s)
   AND (%(exact_email)s::text IS NULL OR email = %(exact_email)s)
   AND (%(name)s::text IS NULL OR strpos(lower(name), lower(%(name)s)) > 0)
   AND (%(email)s::text IS NULL OR strpos(lower(email), lower(%(email)s)) > 0)
   AND (%(phone)s::text IS NULL OR strpos(phone, %(phone)s) > 0)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def find_without_profile(
    conn: Connection, account_id: int, page: Page, search: CustomerSearch
) -> Rows[Customer]:
    """Customers that have no profile, newest first."""
    return _page(conn, FIND_WITHOUT_PROFILE, account_id, page, asdict(search))


FIND_WITH_PROFILE = """
SELECT id, clock_id, name, email, phone, description, business_name, individual_name, address,
       shipping, metadata, preferred_locales, tax_exempt, currency, balance, delinquent,
       invoice_prefix, next_invoice_sequence, first_invoice_sequence, default_payment_method_id,
       invoice_custom_fields, invoice_footer, invoice_rendering_options, time_zone, created_at,
       deleted_at, discount, profile, blocked_at, date_of_birth,
       (SELECT t.frozen_at
          FROM test_clocks t
         WHERE t.account_id = customers.account_id
           AND t.id = customers.clock_id) AS clock_at
  FROM customers
 WHERE account_id = %(account_id)s
   AND profile IS NOT NULL
   AND (%(external_id)s::text IS NULL OR profile ->> 'external_id' = %(external_id)s)
   AND (%(type)s::text IS NULL OR profile ->> 'type' = %(type)s)
   AND (clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND clock_id IS NULL))
   AND (%(deleted)s::boolean IS NULL OR (deleted_at IS NOT NULL) = %(deleted)s)
   AND (%(blocked)s::boolean IS NULL OR (blocked_at IS NOT NULL) = %(blocked)s)
   AND (%(has_email)s::boolean IS NULL OR (email IS NOT NULL) = %(has_email)s)
   AND (%(exact_email)s::text IS NULL OR email = %(exact_email)s)
   AND (%(name)s::text IS NULL
        OR strpos(lower(name), lower(%(name)s)) > 0
        OR strpos(lower(business_name), lower(%(name)s)) > 0)
   AND (%(email)s::text IS NULL OR strpos(lower(email), lower(%(email)s)) > 0)
   AND (%(phone)s::text IS NULL OR strpos(phone, %(phone)s) > 0)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def find_with_profile(
    conn: Connection,
    account_id: int,
    page: Page,
    search: CustomerSearch,
    *,
    type: str | None = None,
    external_id: str | None = None,
) -> Rows[Customer]:
    """Customers that have a profile, newest first: of a type, or by their merchant's own id."""
    asked = {**asdict(search), "type": type, "external_id": external_id}
    return _page(conn, FIND_WITH_PROFILE, account_id, page, asked)


def _page(
    conn: Connection, query: str, account_id: int, page: Page, asked: dict[str, Any]
) -> Rows[Customer]:
    parameters = {"account_id": account_id, **asked}
    return fetch_page(conn, Customer, query, parameters, page, table="customers", what="customer")
