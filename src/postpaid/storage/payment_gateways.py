"""The gateways that an account has chosen, with what opens them sealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import psycopg

from postpaid.core.errors import AlreadyExists
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page


class GatewayKind(StrEnum):
    """Whose API a gateway speaks."""

    STRIPE = "stripe"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class PaymentGateway:
    """An account's gateway: payment methods and attempts name it.

    ``credentials`` are sealed; ``hint`` is what may be shown of them. Without a ``base_url`` it is
    where its provider is.
    """

    id: str
    name: str
    kind: GatewayKind
    credentials: bytes = field(repr=False)
    hint: str
    base_url: str | None
    is_default: bool
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


INSERT = """
INSERT INTO payment_gateways (account_id, id, name, kind, credentials, hint, base_url, is_default,
                              metadata, created_at)
VALUES (%(account_id)s, %(id)s, %(name)s, %(kind)s, %(credentials)s, %(hint)s, %(base_url)s,
        %(is_default)s, %(metadata)s, %(created_at)s)
"""


def insert(conn: Connection, account_id: int, gateway: PaymentGateway) -> None:
    """Add a gateway. Raises ``AlreadyExists`` when there is one of its name."""
    try:
        conn.execute(INSERT, parameters_of(account_id, gateway))
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name != "payment_gateways_name_once":
            raise
        raise AlreadyExists(
            f"There is a payment gateway named '{gateway.name}' already.", param="name"
        ) from error


UPDATE = """
UPDATE payment_gateways
   SET credentials = %(credentials)s, hint = %(hint)s, base_url = %(base_url)s,
       is_default = %(is_default)s, metadata = %(metadata)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, gateway: PaymentGateway) -> None:
    """Write what can change of the gateway, which the caller has locked."""
    conn.execute(UPDATE, parameters_of(account_id, gateway))


UNSET_DEFAULT = """
UPDATE payment_gateways
   SET is_default = false
 WHERE account_id = %(account_id)s
   AND is_default
"""


def unset_default(conn: Connection, account_id: int) -> None:
    """No gateway is the account's default any more."""
    conn.execute(UNSET_DEFAULT, {"account_id": account_id})


DELETE = """
DELETE FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def delete(conn: Connection, account_id: int, gateway_id: str) -> None:
    """Remove the gateway, which the caller has locked and knows to be unused."""
    conn.execute(DELETE, {"account_id": account_id, "id": gateway_id})


NEEDED = """
SELECT EXISTS (
           SELECT
             FROM payment_methods
            WHERE account_id = %(account_id)s
              AND gateway = %(name)s
              AND gateway <> 'test'
              AND customer_id IS NOT NULL)
    OR EXISTS (
           SELECT
             FROM payment_attempts
            WHERE account_id = %(account_id)s
              AND status IN ('pending', 'action_required', 'processing')
              AND gateway = %(name)s)
    OR EXISTS (
           SELECT
             FROM setup_attempts
            WHERE account_id = %(account_id)s
              AND settled_at IS NULL
              AND gateway = %(name)s)
    OR EXISTS (
           SELECT
             FROM refunds
            WHERE account_id = %(account_id)s
              AND status = 'pending'
              AND gateway = %(name)s)
"""


def is_needed(conn: Connection, account_id: int, name: str) -> bool:
    """Whether a customer's payment method, or what has no outcome yet, names the gateway."""
    row = conn.execute(NEEDED, {"account_id": account_id, "name": name}).fetchone()
    return bool(row and row[0])


NAMED = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND name = ANY(%(names)s)
"""


def named(conn: Connection, account_id: int, names: Iterable[str]) -> dict[str, PaymentGateway]:
    """The gateways by name."""
    parameters = {"account_id": account_id, "names": list(names)}
    return {row.name: row for row in fetch(conn, PaymentGateway, NAMED, parameters)}


DEFAULT = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND is_default
"""


def find_default(conn: Connection, account_id: int) -> PaymentGateway | None:
    """The account's default gateway, if it has one."""
    return fetch_one(conn, PaymentGateway, DEFAULT, {"account_id": account_id})


FIND = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def find(conn: Connection, account_id: int, gateway_id: str) -> PaymentGateway | None:
    """The gateway, or None."""
    return fetch_one(conn, PaymentGateway, FIND, {"account_id": account_id, "id": gateway_id})


LOCK = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   FOR UPDATE
"""


def lock(conn: Connection, account_id: int, gateway_id: str) -> PaymentGateway | None:
    """The gateway, which stays as it is, and unnamed by others, until the transaction ends."""
    return fetch_one(conn, PaymentGateway, LOCK, {"account_id": account_id, "id": gateway_id})


HOLD = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
   AND name = ANY(%(names)s)
 ORDER BY name
   FOR KEY SHARE
"""


def hold(conn: Connection, account_id: int, names: Iterable[str]) -> dict[str, PaymentGateway]:
    """The gateways by name, which are not deleted until the transaction ends."""
    parameters = {"account_id": account_id, "names": list(names)}
    return {row.name: row for row in fetch(conn, PaymentGateway, HOLD, parameters)}


LIST = """
SELECT id, name, kind, credentials, hint, base_url, is_default, created_at, metadata
  FROM payment_gateways
 WHERE account_id = %(account_id)s
"""


def list_page(conn: Connection, account_id: int, page: Page) -> Rows[PaymentGateway]:
    """Gateways, newest first."""
    parameters = {"account_id": account_id}
    return fetch_page(
        conn, PaymentGateway, LIST, parameters, page, table="payment_gateways", what="gateway"
    )
