"""Open accounts, and issue, adopt and revoke their API keys.

A merchant is two accounts of one name, test and live. Of a key's secret only the SHA-256 is kept,
so a secret is shown when it is issued and never again; it has 190 random bits, against which a fast
hash is enough.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from postpaid import ids
from postpaid.core.errors import AlreadyExists, InvalidRequest, NotFound
from postpaid.storage import accounts
from postpaid.storage.accounts import Account, ApiKey
from postpaid.storage.database import Connection

FIRST_ACCOUNT = "Postpaid"
CHOSEN_LENGTH_MIN = 8
CHOSEN_LENGTH_MIN_LIVE = 24
LIVE_PREFIXES = ("sk_live_", "rk_live_", "sk_production_")  # Stripe's and Frame's


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, the only time that anyone sees it."""

    id: str
    secret: str


def open_account(
    conn: Connection, name: str, *, livemode: bool, now: datetime, country: str = "US"
) -> Account:
    """The merchant's account in this mode, opened if there is none yet."""
    accounts.insert(conn, ids.new_id("acct"), name, livemode=livemode, country=country, now=now)
    account = accounts.find_by_name(conn, name, livemode=livemode)
    assert account is not None
    return account


def create_key(
    conn: Connection, account: Account, name: str | None = None, *, now: datetime
) -> IssuedKey:
    """Issue a key for the account."""
    secret = ids.new_secret("sk_live_" if account.livemode else "sk_test_")
    return IssuedKey(_insert(conn, account, name, secret, now=now), secret)


def adopt_key(
    conn: Connection, account: Account, secret: str, name: str | None = None, *, now: datetime
) -> None:
    """Let a secret that the operator chose be a key of the account; again is no different.

    Raises ``InvalidRequest`` when it is too easy to guess or looks like live mode's and is not, and
    ``AlreadyExists`` when it is another account's, or revoked.
    """
    if not account.livemode and secret.startswith(LIVE_PREFIXES):
        raise InvalidRequest(
            "This would be a key of test mode, where no money moves, and begins as one of live "
            "mode: choose one that begins with sk_test_."
        )
    length_min = CHOSEN_LENGTH_MIN_LIVE if account.livemode else CHOSEN_LENGTH_MIN
    if len(secret) < length_min or not re.fullmatch("[!-~]*", secret):
        raise InvalidRequest(
            f"An API key must have at least {length_min} printable ASCII characters, and no spaces."
        )
    _insert(conn, account, name, secret, now=now)
    key = find_key(conn, secret)
    assert key is not None
    if key.account_id != account.account_id:
        raise AlreadyExists("This API key belongs to another account.")
    if key.revoked_at is not None:
        raise AlreadyExists("This API key was revoked; choose another.")


def find_key(conn: Connection, secret: str) -> ApiKey | None:
    """The key with this secret, revoked ones included."""
    return accounts.find_key_by_digest(conn, digest(secret))


def revoke_key(conn: Connection, account: Account, key_id: str, *, now: datetime) -> None:
    """End the key's use, within seconds everywhere. Raises ``NotFound`` when there is no such key.

    A key that was revoked before stays as it is.
    """
    if accounts.revoke_key(conn, account.account_id, key_id, now=now):
        return
    if all(key.id != key_id for key in accounts.list_keys(conn, account.account_id)):
        raise NotFound.of("API key", key_id)


def digest(secret: str) -> bytes:
    """What we keep of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _insert(
    conn: Connection, account: Account, name: str | None, secret: str, *, now: datetime
) -> str:
    key_id = ids.new_id("key")
    accounts.insert_key(
        conn,
        account.account_id,
        key_id,
        name,
        digest=digest(secret),
        hint=secret[-4:],
        now=now,
    )
    return key_id
