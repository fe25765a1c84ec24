"""Payment methods: what customers can be charged with. No card number is ever stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """Something that ``gateway`` can charge, which it knows by ``gateway_token``.

    ``card`` is what may be shown of a card: brand, last4, exp_month, exp_year, funding, country,
    fingerprint; ``us_bank_account`` of a bank account: last4, routing_number, fingerprint,
    bank_name, account_type, account_holder_type. One that is blocked is never charged. One that was
    ``detached_at`` some time is nobody's since.
    """

    id: str
    customer_id: str | None
    type: str
    gateway: str
    gateway_token: str
    card: Mapping[str, Any] | None
    created_at: datetime
    billing_details: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    us_bank_account: Mapping[str, Any] | None = None
    blocked_at: datetime | None = None
    detached_at: datetime | None = None


INSERT = """
INSERT INTO payment_methods (account_id, id, customer_id, type, gateway, gateway_token, card,
                             us_bank_account, billing_details, metadata, created_at, blocked_at,
                             detached_at)
VALUES (%(account_id)s, %(id)s, %(customer_id)s, %(type)s, %(gateway)s, %(gateway_token)s,
        %(card)s, %(us_bank_account)s, %(billing_details)s, %(metadata)s, %(created_at)s,
        %(blocked_at)s, %(detached_at)s)
"""


def insert(conn: Connection, account_id: int, method: PaymentMethod) -> None:
    conn.execute(INSERT, parameters_of(account_id, method))


UPDATE = """
UPDATE payment_methods
   SET customer_id = %(customer_id)s, card = %(card)s, billing_details = %(billing_details)s,
       metadata = %(metadata)s, us_bank_account = %(us_bank_account)s,
       blocked_at = %(blocked_at)s, detached_at = %(detached_at)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, method: PaymentMethod) -> None:
    """Write what can change of the payment method, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, method))


LOAD = """
SELECT id, customer_id, type, gateway, gateway_token, card, us_bank_account, billing_details,
       metadata, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentMethod]:
    """The payment methods by id, attached or not."""
    rows = fetch(conn, PaymentMethod, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


def find(conn: Connection, account_id: int, method_id: str) -> PaymentMethod | None:
    return load(conn, account_id, [method_id]).get(method_id)


LOCK = """
SELECT id, customer_id, type, gateway, gateway_token, card, us_bank_account, billing_details,
       metadata, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, method_id: str) -> PaymentMethod | None:
    """The payment method, which stays as it is until the transaction ends."""
    return fetch_one(conn, PaymentMethod, LOCK, {"account_id": account_id, "id": method_id})


LOCK_MANY = """
SELECT id, customer_id, type, gateway, gateway_token, card, billing_details, metadata,
       us_bank_account, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock_many(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, PaymentMethod]:
    """The payment methods by id, which stay as they are until the transaction ends."""
    rows = fetch(conn, PaymentMethod, LOCK_MANY, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK_OF_CUSTOMERS = """
SELECT id, customer_id, type, gateway, gateway_token, card, us_bank_account, billing_details,
       metadata, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND customer_id = ANY(%(customer_ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock_of_customers(
    conn: Connection, account_id: int, customer_ids: Sequence[str]
) -> list[PaymentMethod]:
    """The customers' payment methods, which stay as they are until the transaction ends."""
    parameters = {"account_id": account_id, "customer_ids": list(customer_ids)}
    return fetch(conn, PaymentMethod, LOCK_OF_CUSTOMERS, parameters)


ATTACH_MANY = """
UPDATE payment_methods p
   SET customer_id = r.customer_id, detached_at = NULL
  FROM unnest(%(ids)s::text[], %(customer_ids)s::text[]) AS r(id, customer_id)
 WHERE p.account_id = %(account_id)s
   AND p.id = r.id
"""


def attach_many(conn: Connection, account_id: int, owners: Mapping[str, str]) -> None:
    """The payment methods, which the caller has locked, are these customers', by their ids."""
    if owners:
        parameters = {
            "account_id": account_id,
            "ids": list(owners),
            "customer_ids": list(owners.values()),
        }
        conn.execute(ATTACH_MANY, parameters)


ADOPT_MANY = """
UPDATE payment_methods p
   SET customer_id = r.customer_id, detached_at = NULL
  FROM unnest(%(ids)s::text[], %(customer_ids)s::text[]) AS r(id, customer_id)
 WHERE p.account_id = %(account_id)s
   AND p.id = r.id
   AND p.customer_id IS NULL
RETURNING p.id
"""


def adopt_many(conn: Connection, account_id: int, owners: Mapping[str, str]) -> list[PaymentMethod]:
    """Those of the payment methods that are nobody's are these customers' now; return them."""
    parameters = {
        "account_id": account_id,
        "ids": list(owners),
        "customer_ids": list(owners.values()),
    }
    adopted = [row[0] for row in conn.execute(ADOPT_MANY, parameters)]
    return list(load(conn, account_id, adopted).values()) if adopted else []


DETACH_MANY = """
UPDATE payment_methods
   SET customer_id = NULL, detached_at = %(now)s
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
"""


def detach_many(conn: Connection, account_id: int, ids: Sequence[str], *, now: datetime) -> None:
    """The payment methods, which the caller has locked, are nobody's."""
    conn.execute(DETACH_MANY, {"account_id": account_id, "ids": list(ids), "now": now})


LATEST = """
SELECT id, customer_id, type, gateway, gateway_token, card, us_bank_account, billing_details,
       metadata, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND id IN (
       SELECT p.id
         FROM unnest(%(customer_ids)s::text[]) AS c(id)
        CROSS JOIN LATERAL (
              SELECT id
                FROM payment_methods
               WHERE account_id = %(account_id)s
                 AND customer_id = c.id
               ORDER BY id DESC
               LIMIT %(limit)s) p)
 ORDER BY id DESC
"""


def latest_of_customers(
    conn: Connection, account_id: int, customer_ids: Iterable[str], *, limit: int
) -> dict[str, list[PaymentMethod]]:
    """The last payment methods of each customer, newest first, at most ``limit`` of each."""
    ids = list(customer_ids)
    parameters = {"account_id": account_id, "customer_ids": ids, "limit": limit}
    latest: dict[str, list[PaymentMethod]] = {each: [] for each in ids}
    for method in fetch(conn, PaymentMethod, LATEST, parameters):
        latest[method.customer_id or ""].append(method)
    return latest


LIST = """
SELECT id, customer_id, type, gateway, gateway_token, card, us_bank_account, billing_details,
       metadata, created_at, blocked_at, detached_at
  FROM payment_methods
 WHERE account_id = %(account_id)s
   AND (%(customer_id)s::text IS NULL OR customer_id = %(customer_id)s)
   AND (%(type)s::text IS NULL OR type = %(type)s)
"""


def list_page(
    conn: Connection,
    account_id: int,
    page: Page,
    *,
    customer_id: str | None = None,
    type: str | None = None,
) -> Rows[PaymentMethod]:
    """Payment methods, newest first."""
    parameters = {"account_id": account_id, "customer_id": customer_id, "type": type}
    return fetch_page(
        conn,
        PaymentMethod,
        LIST,
        parameters,
        page,
        table="payment_methods",
        what="PaymentMethod",
    )
