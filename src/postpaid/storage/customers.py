"""Customers; ``lock`` is the engine's unit of serialization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from postpaid.core.errors import AlreadyExists
from postpaid.storage.database import Connection, as_json_rows, fetch, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page


class TaxExempt(StrEnum):
    """Whether a customer pays tax."""

    NONE = "none"
    EXEMPT = "exempt"
    REVERSE = "reverse"  # the customer accounts for it


@dataclass(frozen=True)  # see core/values
class Customer:
    """Who buys.

    ``balance`` is in minor units of ``currency``, negative when it is the customer's. Its invoices
    are numbered by ``invoice_prefix`` and a sequence without gaps from ``first_invoice_sequence``.
    One on a test clock (``clock_id``) lives at ``clock_at``; ask ``now``. Its periods are counted
    in the calendar of ``time_zone`` (None: the account's). ``discount`` is the one for all it buys:
    {id, coupon_id, promotion_code_id, start_at, end_at}, in Unix seconds. One with a ``profile`` is
    what Frame calls an account: {type, …}, what it says of itself. One that is blocked is sold
    nothing more.
    """

    id: str
    invoice_prefix: str
    created_at: datetime
    clock_id: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    description: str | None = None
    business_name: str | None = None
    individual_name: str | None = None
    address: Mapping[str, Any] | None = None
    shipping: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    preferred_locales: Sequence[str] = field(default_factory=list)
    tax_exempt: TaxExempt = TaxExempt.NONE
    currency: str | None = None
    balance: int = 0
    delinquent: bool = False
    next_invoice_sequence: int = 1
    first_invoice_sequence: int = 1
    default_payment_method_id: str | None = None
    invoice_custom_fields: Sequence[Mapping[str, str]] | None = None
    invoice_footer: str | None = None
    invoice_rendering_options: Mapping[str, Any] | None = None
    time_zone: str | None = None
    deleted_at: datetime | None = None
    discount: Mapping[str, Any] | None = None
    profile: Mapping[str, Any] | None = None
    blocked_at: datetime | None = None
    date_of_birth: date | None = None
    clock_at: datetime | None = None

    def now(self, wall: datetime) -> datetime:
        """What time it is for the customer when it is ``wall`` for everyone else."""
        return self.clock_at or wall


INSERT = """
INSERT INTO customers (account_id, id, clock_id, name, email, phone, description, business_name,
                       individual_name, address, shipping, metadata, preferred_locales, tax_exempt,
                       currency, balance, delinquent, invoice_prefix, next_invoice_sequence,
                       first_invoice_sequence, default_payment_method_id, invoice_custom_fields,
                       invoice_footer, invoice_rendering_options, time_zone, created_at, deleted_at,
                       discount, profile, blocked_at, date_of_birth)
VALUES (%(account_id)s, %(id)s, %(clock_id)s, %(name)s, %(email)s, %(phone)s, %(description)s,
        %(business_name)s, %(individual_name)s, %(address)s, %(shipping)s, %(metadata)s,
        %(preferred_locales)s, %(tax_exempt)s, %(currency)s, %(balance)s, %(delinquent)s,
        %(invoice_prefix)s, %(next_invoice_sequence)s, %(first_invoice_sequence)s,
        %(default_payment_method_id)s, %(invoice_custom_fields)s, %(invoice_footer)s,
        %(invoice_rendering_options)s, %(time_zone)s, %(created_at)s, %(deleted_at)s, %(discount)s,
        %(profile)s, %(blocked_at)s, %(date_of_birth)s)
"""


def insert(conn: Connection, account_id: int, customer: Customer) -> None:
    """Add a customer. Raises ``AlreadyExists`` when another has the invoice prefix."""
    try:
        conn.execute(INSERT, _parameters(account_id, customer))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "customers_invoice_prefix_once":
            raise
        raise _taken(customer.invoice_prefix) from error


UPDATE = """
UPDATE customers
   SET name = %(name)s, email = %(email)s, phone = %(phone)s, description = %(description)s,
       business_name = %(business_name)s, individual_name = %(individual_name)s,
       address = %(address)s, shipping = %(shipping)s, metadata = %(metadata)s,
       preferred_locales = %(preferred_locales)s, tax_exempt = %(tax_exempt)s,
       currency = %(currency)s, balance = %(balance)s, delinquent = %(delinquent)s,
       invoice_prefix = %(invoice_prefix)s, next_invoice_sequence = %(next_invoice_sequence)s,
       first_invoice_sequence = %(first_invoice_sequence)s,
       default_payment_method_id = %(default_payment_method_id)s,
       invoice_custom_fields = %(invoice_custom_fields)s, invoice_footer = %(invoice_footer)s,
       invoice_rendering_options = %(invoice_rendering_options)s, time_zone = %(time_zone)s,
       deleted_at = %(deleted_at)s, discount = %(discount)s, profile = %(profile)s,
       blocked_at = %(blocked_at)s, date_of_birth = %(date_of_birth)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, customer: Customer) -> None:
    """Write the customer, which the caller has locked.

    Raises ``AlreadyExists`` when another has the invoice prefix.
    """
    try:
        conn.execute(UPDATE, _parameters(account_id, customer))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "customers_invoice_prefix_once":
            raise
        raise _taken(customer.invoice_prefix) from error


LOAD = """
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
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Customer]:
    """The customers by id, those deleted included."""
    rows = fetch(conn, Customer, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find(conn: Connection, account_id: int, customer_id: str) -> Customer | None:
    return load(conn, account_id, [customer_id]).get(customer_id)


LOCK = """
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
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE OF customers
"""


def lock(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, Customer]:
    """The customers by id, those deleted included; they are ours until the transaction ends.

    Whatever a customer owes, holds or has agreed to is changed under this lock. Locks are taken in
    the order of the ids, so that two who want the same customers wait and never deadlock.
    """
    rows = fetch(conn, Customer, LOCK, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


HOLD = """
SELECT
  FROM customers
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def hold(conn: Connection, account_id: int, ids: Iterable[str]) -> None:
    """Lock the customers as ``lock`` does, for those who need not know them."""
    conn.execute(HOLD, {"account_id": account_id, "ids": list(ids)})


LIST = """
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
   AND deleted_at IS NULL
   AND (clock_id = %(clock_id)s OR (%(clock_id)s::text IS NULL AND clock_id IS NULL))
   AND (%(email)s::text IS NULL OR email = %(email)s)
   AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
   AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    clock_id: str | None = None,
    email: str | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
) -> Rows[Customer]:
    """Customers that are not deleted, newest first: those on the clock, or those on none."""
    parameters = {
        "account_id": account_id,
        "clock_id": clock_id,
        "email": email,
        "created_from": created_from,
        "created_before": created_before,
    }
    return fetch_page(conn, Customer, LIST, parameters, page, table="customers", what="customer")


CLOCKS = """
SELECT c.id, t.frozen_at
  FROM customers c
  LEFT JOIN test_clocks t ON t.account_id = c.account_id AND t.id = c.clock_id
 WHERE c.account_id = %(account_id)s
   AND c.id = ANY(%(ids)s)
   AND c.deleted_at IS NULL
"""


def clocks(conn: Connection, account_id: int, ids: Sequence[str]) -> dict[str, datetime | None]:
    """The time on the test clock of each customer, or None; those deleted are left out."""
    return dict(conn.execute(CLOCKS, {"account_id": account_id, "ids": list(ids)}).fetchall())


ON_CLOCK = """
SELECT id
  FROM customers
 WHERE account_id = %(account_id)s
   AND clock_id = %(clock_id)s
   AND deleted_at IS NULL
 ORDER BY id
"""


def on_clock(conn: Connection, account_id: int, clock_id: str) -> list[str]:
    """The customers that live by the clock and are not deleted."""
    parameters = {"account_id": account_id, "clock_id": clock_id}
    return [row[0] for row in conn.execute(ON_CLOCK, parameters)]


INVOICING = ("id", "currency", "balance", "delinquent", "next_invoice_sequence")

UPDATE_INVOICING = """
UPDATE customers c
   SET currency = r.currency, balance = r.balance, delinquent = r.delinquent,
       next_invoice_sequence = r.next_invoice_sequence
  FROM json_to_recordset(%(rows)s) AS r(
       id text, currency text, balance bigint, delinquent boolean, next_invoice_sequence bigint)
 WHERE c.account_id = %(account_id)s
   AND c.id = r.id
"""


def update_invoicing(conn: Connection, account_id: int, customers: Sequence[Customer]) -> None:
    """Write what invoicing changes of customers, which the caller has locked."""
    if customers:
        rows = as_json_rows(customers, INVOICING)
        conn.execute(UPDATE_INVOICING, {"account_id": account_id, "rows": rows})


MARK_DELINQUENT = """
UPDATE customers
   SET delinquent = %(delinquent)s
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND delinquent <> %(delinquent)s
   AND deleted_at IS NULL
RETURNING id
"""


def mark_delinquent(
    conn: Connection, account_id: int, ids: Iterable[str], *, delinquent: bool
) -> dict[str, Customer]:
    """Write whether the customers, which the caller has locked, owe what they should have paid.

    Gives those of whom it was not so before, by id.
    """
    parameters = {"account_id": account_id, "ids": list(ids), "delinquent": delinquent}
    changed = [row[0] for row in conn.execute(MARK_DELINQUENT, parameters)]
    return load(conn, account_id, changed) if changed else {}


CLEAR_DISCOUNTS = """
UPDATE customers
   SET discount = NULL
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND discount ->> 'id' = ANY(%(discount_ids)s)
"""


def clear_discounts(
    conn: Connection, account_id: int, customer_by_discount: Mapping[str, str]
) -> None:
    """Take these discounts off their customers, whom the caller has locked."""
    parameters = {
        "account_id": account_id,
        "ids": list(customer_by_discount.values()),
        "discount_ids": list(customer_by_discount),
    }
    conn.execute(CLEAR_DISCOUNTS, parameters)


MARK_DELETED = """
UPDATE customers
   SET deleted_at = %(now)s
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def mark_deleted(conn: Connection, account_id: int, ids: Sequence[str], *, now: datetime) -> None:
    """The customers, which the caller has locked, are gone; their rows stay, for the books."""
    conn.execute(MARK_DELETED, {"account_id": account_id, "ids": list(ids), "now": now})


PREFIX_WAS_USED = """
SELECT EXISTS (
       SELECT
         FROM invoices
        WHERE account_id = %(account_id)s
          AND number >= %(first)s
          AND number < %(beyond)s
          AND (customer_id, numbered_by) IS DISTINCT FROM (%(customer_id)s, 'customer'))
    OR EXISTS (
       SELECT
         FROM invoices
        WHERE account_id = %(account_id)s
          AND starts_with(given_number, %(first)s))
    OR EXISTS (
       SELECT
         FROM accounts
        WHERE account_id = %(account_id)s
          AND invoice_prefix = %(prefix)s)
"""


def prefix_was_used(conn: Connection, account_id: int, prefix: str, *, other_than: str) -> bool:
    """Whether a number with the prefix was, or is to be, from anywhere but this one's sequence.

    That is the sequence of any customer ``other_than`` this one, the account's, or a person.
    """
    parameters = {
        "account_id": account_id,
        "prefix": prefix,
        "first": f"{prefix}-",
        "beyond": f"{prefix}.",  # the character after "-"
        "customer_id": other_than,
    }
    row = conn.execute(PREFIX_WAS_USED, parameters).fetchone()
    return bool(row and row[0])


def _parameters(account_id: int, customer: Customer) -> dict[str, Any]:
    fields = customer.invoice_custom_fields
    return parameters_of(account_id, customer) | {
        "invoice_custom_fields": None if fields is None else Jsonb(fields)
    }


def _taken(invoice_prefix: str) -> AlreadyExists:
    return AlreadyExists(
        f"The invoice prefix '{invoice_prefix}' is used by another customer.",
        param="invoice_prefix",
    )
