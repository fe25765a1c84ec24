"""Who is asking: the key or session of a request, found in the database every few seconds."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from postpaid.billing import manage_keys
from postpaid.core.errors import AuthenticationFailed, SessionExpired
from postpaid.storage.accounts import ApiKey
from postpaid.storage.meter_event_sessions import MeterEventSession

REMEMBERED_S = 5.0  # how long a revoked key may still be taken
REMEMBERED_MAX = 10_000


class Authenticator:
    """Finds the key of a request's ``Authorization`` header, and remembers it for a while."""

    def __init__(self, find: Callable[[str], Awaitable[ApiKey | None]]) -> None:
        self._find = find
        self._remembered: dict[bytes, tuple[ApiKey, float]] = {}

    async def authenticate(self, authorization: str | None) -> ApiKey:
        """Raises ``AuthenticationFailed`` unless the header has a key that is in use."""
        secret = secret_in(authorization)
        digest = manage_keys.digest(secret)
        key, until = self._remembered.get(digest, (None, 0.0))
        now = time.monotonic()
        if key is not None and now < until:
            return key
        key = await self._find(secret)
        if key is None or key.revoked_at is not None:
            self._remembered.pop(digest, None)
            raise AuthenticationFailed(f"Invalid API Key provided: {redacted(secret)}")
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[digest] = (key, now + REMEMBERED_S)
        return key


class SessionAuthenticator:
    """Finds the session whose token a request has; remembers it, but never beyond its end."""

    def __init__(self, find: Callable[[str], Awaitable[MeterEventSession | None]]) -> None:
        self._find = find
        self._remembered: dict[bytes, tuple[MeterEventSession, float]] = {}

    async def authenticate(self, authorization: str | None, *, now: datetime) -> MeterEventSession:
        """Raises ``AuthenticationFailed`` for no session's token, ``SessionExpired`` later."""
        token = secret_in(authorization)
        digest = manage_keys.digest(token)
        session, until = self._remembered.get(digest, (None, 0.0))
        moment = time.monotonic()
        if session is None or moment >= until:
            session = await self._find(token)
            if session is None:
                self._remembered.pop(digest, None)
                raise AuthenticationFailed(
                    f"Invalid meter event session token: {redacted(token)}. The stream takes the "
                    "authentication_token of a meter event session as Bearer, and no API key."
                )
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[digest] = (session, moment + REMEMBERED_S)
        if now >= session.expires_at:
            raise SessionExpired("The meter event session has expired; create a new one.")
        return session


def secret_in(authorization: str | None) -> str:
    """The secret of ``Bearer <secret>``, or of ``Basic`` with the secret as the user's name."""
    scheme, _, credentials = (authorization or "").partition(" ")
    secret = ""
    if scheme.lower() == "bearer":
        secret = credentials.strip()
    elif scheme.lower() == "basic":
        try:
            secret = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            raise AuthenticationFailed("Invalid Authorization header: not valid Base64.") from None
    if not secret:
        raise AuthenticationFailed(
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'), or as the "
            "user name of HTTP Basic auth."
        )
    return secret


def redacted(secret: str) -> str:
    """A secret for a message: ``sk_test_****abcd``; of a short one nothing."""
    if len(secret) < 16:
        return "****"
    prefix = next((p for p in ("sk_test_", "sk_live_") if secret.startswith(p)), "")
    return f"{prefix}****{secret[-4:]}"
