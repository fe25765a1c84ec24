"""Open sessions of the meter event stream, and find them by their tokens.

Of a token only the SHA-256 is kept, as of an API key's secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from postpaid import ids
from postpaid.billing import manage_keys
from postpaid.billing.perform import Act
from postpaid.storage import meter_event_sessions
from postpaid.storage.database import Connection
from postpaid.storage.meter_event_sessions import MeterEventSession

LASTS = timedelta(minutes=15)  # Stripe
KEPT = timedelta(days=1)  # so that a token that is too old is known for what it is
FORGOTTEN_AT_ONCE = 100  # each new session takes old ones with it


@dataclass(frozen=True, slots=True)
class IssuedSession:
    """A new session with its token, the only time that anyone sees it."""

    session: MeterEventSession
    token: str


def open_session(conn: Connection, act: Act) -> IssuedSession:
    """Let whoever has the new token send usage for 15 minutes, or until the key is revoked.

    ``act.actor`` is the API key that asks.
    """
    session = MeterEventSession(
        id=act.new_id("mes"),
        account_id=act.account_id,
        livemode=act.livemode,
        created_at=act.now,
        expires_at=act.now + LASTS,
    )
    token = ids.new_secret("mes_live_" if act.livemode else "mes_test_")
    meter_event_sessions.delete_old(
        conn, act.account_id, before=act.now - KEPT, limit=FORGOTTEN_AT_ONCE
    )
    meter_event_sessions.insert(
        conn, act.account_id, session, key_id=act.actor, digest=manage_keys.digest(token)
    )
    return IssuedSession(session, token)


def find_session(conn: Connection, token: str) -> MeterEventSession | None:
    """The session with this token, even if it has ended; none once its key is revoked."""
    return meter_event_sessions.find_by_digest(conn, manage_keys.digest(token))
