"""Accounts and their API keys: who may ask, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.storage.database import Connection, fetch, fetch_one


@dataclass(frozen=True, slots=True)
class Account:
    """One merchant in one mode; ``account_id`` is what its rows are keyed by."""

    account_id: int
    id: str
    livemode: bool
    name: str
    country: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret, of which we have only the digest and the last characters."""

    id: str
    account_id: int
    livemode: bool
    name: str | None
    hint: str
    created_at: datetime
    revoked_at: datetime | None


FIND = """
SELECT account_id, id, livemode, name, country, created_at
  FROM accounts
 WHERE account_id = %(account_id)s
"""


def find(conn: Connection, account_id: int) -> Account | None:
    """The account by the number that its rows are keyed by."""
    return fetch_one(conn, Account, FIND, {"account_id": account_id})


TIME_ZONE = """
SELECT time_zone
  FROM accounts
 WHERE account_id = %(account_id)s
"""


def time_zone(conn: Connection, account_id: int) -> str:
    """The calendar in which the periods of customers are counted who have none of their own."""
    row = conn.execute(TIME_ZONE, {"account_id": account_id}).fetchone()
    return str(row[0]) if row else "UTC"


FIND_BY_NAME = """
SELECT account_id, id, livemode, name, country, created_at
  FROM accounts
 WHERE name = %(name)s
   AND livemode = %(livemode)s
"""


def find_by_name(conn: Connection, name: str, *, livemode: bool) -> Account | None:
    """The account of a merchant in a mode."""
    return fetch_one(conn, Account, FIND_BY_NAME, {"name": name, "livemode": livemode})


FIND_FIRST = """
SELECT account_id, id, livemode, name, country, created_at
  FROM accounts
 WHERE livemode = %(livemode)s
 ORDER BY account_id
 LIMIT 1
"""


def find_first(conn: Connection, *, livemode: bool) -> Account | None:
    """The oldest account of a mode."""
    return fetch_one(conn, Account, FIND_FIRST, {"livemode": livemode})


INSERT = """
INSERT INTO accounts (id, livemode, name, country, created_at)
VALUES (%(id)s, %(livemode)s, %(name)s, %(country)s, %(now)s)
    ON CONFLICT (name, livemode) DO NOTHING
"""


def insert(
    conn: Connection, account: str, name: str, *, livemode: bool, country: str, now: datetime
) -> None:
    """Add an account, unless the merchant has one in this mode already."""
    conn.execute(
        INSERT,
        {"id": account, "livemode": livemode, "name": name, "country": country, "now": now},
    )


FIND_KEY_BY_DIGEST = """
SELECT k.id, k.account_id, a.livemode, k.name, k.hint, k.created_at, k.revoked_at
  FROM api_keys k
  JOIN accounts a USING (account_id)
 WHERE k.digest = %(digest)s
"""


def find_key_by_digest(conn: Connection, digest: bytes) -> ApiKey | None:
    """The key whose secret has this SHA-256, revoked ones included."""
    return fetch_one(conn, ApiKey, FIND_KEY_BY_DIGEST, {"digest": digest})


LIST_KEYS = """
SELECT k.id, k.account_id, a.livemode, k.name, k.hint, k.created_at, k.revoked_at
  FROM api_keys k
  JOIN accounts a USING (account_id)
 WHERE k.account_id = %(account_id)s
 ORDER BY k.id
"""


def list_keys(conn: Connection, account_id: int) -> list[ApiKey]:
    """Every key of the account, oldest first, revoked ones included."""
    return fetch(conn, ApiKey, LIST_KEYS, {"account_id": account_id})


INSERT_KEY = """
INSERT INTO api_keys (id, account_id, name, digest, hint, created_at)
VALUES (%(id)s, %(account_id)s, %(name)s, %(digest)s, %(hint)s, %(now)s)
    ON CONFLICT (digest) DO NOTHING
"""


def insert_key(
    conn: Connection,
    account_id: int,
    key_id: str,
    name: str | None,
    *,
    digest: bytes,
    hint: str,
    now: datetime,
) -> None:
    """Add a key, unless there is one with the same secret already, of whatever account."""
    conn.execute(
        INSERT_KEY,
        {
            "id": key_id,
            "account_id": account_id,
            "name": name,
            "digest": digest,
            "hint": hint,
            "now": now,
        },
    )


REVOKE_KEY = """
UPDATE api_keys
   SET revoked_at = %(now)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND revoked_at IS NULL
"""


def revoke_key(conn: Connection, account_id: int, key_id: str, *, now: datetime) -> bool:
    """End the key's use; False when the account has no such key, or has revoked it before."""
    parameters = {"account_id": account_id, "id": key_id, "now": now}
    return bool(conn.execute(REVOKE_KEY, parameters).rowcount)


LIST_ALL = """
SELECT account_id, id, livemode, name, country, created_at
  FROM accounts
 ORDER BY account_id
"""


def list_all(conn: Connection) -> list[Account]:
    """Every account, oldest first: for whoever works for all of them."""
    return fetch(conn, Account, LIST_ALL)
