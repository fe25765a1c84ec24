"""Sessions of the meter event stream: who may send usage, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from postpaid.storage.database import Connection, fetch_one


@dataclass(frozen=True, slots=True)
class MeterEventSession:
    """A session without its token, of which we have only the digest."""

    id: str
    account_id: int
    livemode: bool
    created_at: datetime
    expires_at: datetime


INSERT = """
INSERT INTO meter_event_sessions (account_id, id, key_id, digest, created_at, expires_at)
VALUES (%(account_id)s, %(id)s, %(key_id)s, %(digest)s, %(created_at)s, %(expires_at)s)
"""


def insert(
    conn: Connection, account_id: int, session: MeterEventSession, *, key_id: str, digest: bytes
) -> None:
    """Add a session, which the API key ``key_id`` asked for."""
    conn.execute(
        INSERT,
        {
            "account_id": account_id,
            "id": session.id,
            "key_id": key_id,
            "digest": digest,
            "created_at": session.created_at,
            "expires_at": session.expires_at,
        },
    )


# The account is what is asked for: the token says who it is.
FIND_BY_DIGEST = """
SELECT s.id, s.account_id, a.livemode, s.created_at, s.expires_at
  FROM meter_event_sessions s
  JOIN accounts a ON a.account_id = s.account_id
  JOIN api_keys k ON k.id = s.key_id
 WHERE s.digest = %(digest)s
   AND k.revoked_at IS NULL
"""


def find_by_digest(conn: Connection, digest: bytes) -> MeterEventSession | None:
    """The session whose token has this SHA-256, old ones included; none once its key is revoked."""
    return fetch_one(conn, MeterEventSession, FIND_BY_DIGEST, {"digest": digest})


# Those that another is deleting are left to it.
# An array is made once; a subquery may be asked again for each row, and find others each time.
DELETE_OLD = """
DELETE FROM meter_event_sessions
 WHERE account_id = %(account_id)s
   AND id = ANY(ARRAY(SELECT id
                        FROM meter_event_sessions
                       WHERE account_id = %(account_id)s
                         AND expires_at < %(before)s
                       ORDER BY expires_at
                       LIMIT %(limit)s
                         FOR UPDATE SKIP LOCKED))
"""


def delete_old(conn: Connection, account_id: int, *, before: datetime, limit: int) -> None:
    """Forget at most ``limit`` sessions that ended before then."""
    conn.execute(DELETE_OLD, {"account_id": account_id, "before": before, "limit": limit})
