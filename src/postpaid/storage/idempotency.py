"""Remembered answers to keyed requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Json

from postpaid.core.errors import IdempotencyInUse
from postpaid.storage.database import Connection, fetch_one


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """What is known of the first request with a key."""

    fingerprint: bytes
    request_id: str
    unfinished: dict[str, Any] | None
    status: int | None
    body: dict[str, Any] | None


CLAIM = """
INSERT INTO idempotency_keys (account_id, api, key, fingerprint, request_id, created_at)
VALUES (%(account_id)s, %(api)s, %(key)s, %(fingerprint)s, %(request_id)s, %(now)s)
    ON CONFLICT DO NOTHING
"""


def claim(
    conn: Connection,
    account_id: int,
    api: str,
    key: str,
    fingerprint: bytes,
    request_id: str,
    *,
    now: datetime,
) -> bool:
    """True when the key is ours now; waits, on the index, for another who is claiming it.

    Raises ``IdempotencyInUse`` when that takes longer than locks are waited for.
    """
    parameters = {
        "account_id": account_id,
        "api": api,
        "key": key,
        "fingerprint": fingerprint,
        "request_id": request_id,
        "now": now,
    }
    try:
        return bool(conn.execute(CLAIM, parameters).rowcount)
    except psycopg.errors.LockNotAvailable as error:
        raise in_use(key) from error


def in_use(key: str) -> IdempotencyInUse:
    """What to tell the one who repeats a key too soon."""
    return IdempotencyInUse(
        f"There is currently another in-progress request using the key '{key}'."
    )


FIND = """
SELECT fingerprint, request_id, unfinished, status, body
  FROM idempotency_keys
 WHERE account_id = %(account_id)s
   AND api = %(api)s
   AND key = %(key)s
"""


def find(conn: Connection, account_id: int, api: str, key: str) -> KeyedRequest | None:
    """The first request with this key in this API."""
    parameters = {"account_id": account_id, "api": api, "key": key}
    return fetch_one(conn, KeyedRequest, FIND, parameters)


LOAD = """
SELECT k.api, k.key, k.fingerprint, k.request_id, k.unfinished, k.status, k.body
  FROM unnest(%(apis)s::text[], %(keys)s::text[]) AS u (api, key)
  JOIN idempotency_keys k
    ON k.account_id = %(account_id)s
   AND k.api = u.api
   AND k.key = u.key
"""


def load(
    conn: Connection, account_id: int, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], KeyedRequest]:
    """The first request with each of these keys, which go with their API, where there was one."""
    parameters = {
        "account_id": account_id,
        "apis": [api for api, _ in keys],
        "keys": [key for _, key in keys],
    }
    rows = conn.execute(LOAD, parameters)
    return {(row[0], row[1]): KeyedRequest(*row[2:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Answered:
    """A keyed request and its answer, both of which are written at once. ``body`` is JSON text."""

    api: str
    key: str
    fingerprint: bytes
    request_id: str
    body: str


INSERT_ANSWERED = """
INSERT INTO idempotency_keys (account_id, api, key, fingerprint, request_id, created_at,
                              status, body)
SELECT %(account_id)s, api, key, fingerprint, request_id, %(now)s, 200, body
  FROM unnest(%(apis)s::text[], %(keys)s::text[], %(fingerprints)s::bytea[],
              %(request_ids)s::text[], %(bodies)s::json[])
       AS u (api, key, fingerprint, request_id, body)
 ORDER BY api, key
    ON CONFLICT DO NOTHING
"""


def insert_answered(
    conn: Connection, account_id: int, answered: Sequence[Answered], *, now: datetime
) -> int:
    """Keep the answers for repeats of their keys; return of how many nobody had the key.

    Waits for another who is claiming one of them.
    """
    parameters = {
        "account_id": account_id,
        "apis": [each.api for each in answered],
        "keys": [each.key for each in answered],
        "fingerprints": [each.fingerprint for each in answered],
        "request_ids": [each.request_id for each in answered],
        "bodies": [each.body for each in answered],
        "now": now,
    }
    return conn.execute(INSERT_ANSWERED, parameters).rowcount


REMEMBER = """
UPDATE idempotency_keys
   SET status = %(status)s, body = %(body)s, unfinished = NULL, leased_until = NULL
 WHERE account_id = %(account_id)s
   AND api = %(api)s
   AND key = %(key)s
   AND status IS NULL
"""


def remember(
    conn: Connection, account_id: int, api: str, key: str, status: int, body: Mapping[str, Any]
) -> bool:
    """Keep the answer for repeats of the key; False when there is one already, which stays."""
    parameters = {
        "account_id": account_id,
        "api": api,
        "key": key,
        "status": status,
        "body": Json(body),
    }
    return bool(conn.execute(REMEMBER, parameters).rowcount)


REMEMBER_UNFINISHED = """
UPDATE idempotency_keys
   SET unfinished = %(unfinished)s, leased_until = %(leased_until)s
 WHERE account_id = %(account_id)s
   AND api = %(api)s
   AND key = %(key)s
"""


def remember_unfinished(
    conn: Connection,
    account_id: int,
    api: str,
    key: str,
    unfinished: Mapping[str, Any],
    *,
    leased_until: datetime,
) -> None:
    """Keep what the second step needs, for whoever will do it."""
    conn.execute(
        REMEMBER_UNFINISHED,
        {
            "account_id": account_id,
            "api": api,
            "key": key,
            "unfinished": Json(unfinished),
            "leased_until": leased_until,
        },
    )


TAKE_OVER = """
UPDATE idempotency_keys
   SET leased_until = %(leased_until)s
 WHERE account_id = %(account_id)s
   AND api = %(api)s
   AND key = %(key)s
   AND unfinished IS NOT NULL
   AND leased_until < %(now)s
"""


def take_over(
    conn: Connection, account_id: int, api: str, key: str, *, now: datetime, leased_until: datetime
) -> bool:
    """True when the request that began is thought dead and finishing it is ours now."""
    parameters = {
        "account_id": account_id,
        "api": api,
        "key": key,
        "now": now,
        "leased_until": leased_until,
    }
    return bool(conn.execute(TAKE_OVER, parameters).rowcount)


DELETE_OLD = """
DELETE FROM idempotency_keys k
 USING (SELECT account_id, api, key
          FROM idempotency_keys
         WHERE account_id = %(account_id)s
           AND api = %(api)s
           AND created_at < %(before)s
           AND (leased_until IS NULL OR leased_until < %(now)s)
         ORDER BY created_at
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) old
 WHERE k.account_id = old.account_id
   AND k.api = old.api
   AND k.key = old.key
"""


def delete_old(
    conn: Connection, account_id: int, api: str, *, before: datetime, now: datetime, limit: int
) -> int:
    """Forget up to ``limit`` keys first used before ``before``, the oldest first; return how many.

    One that somebody is finishing stays until the lease is over.
    """
    parameters = {
        "account_id": account_id,
        "api": api,
        "before": before,
        "now": now,
        "limit": limit,
    }
    return conn.execute(DELETE_OLD, parameters).rowcount
