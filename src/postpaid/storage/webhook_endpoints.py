"""Webhook endpoints: whom to tell of events. Their secrets are read apart, by whoever signs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from postpaid.core.deliveries import EndpointStatus, Facade, Payload
from postpaid.storage.database import Connection, fetch, fetch_one, parameters_of
from postpaid.storage.paging import Page, Rows, fetch_page


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A URL that is told of events of some types, in one façade's words.

    ``failing_since`` is None while the last answer was a good one.
    """

    id: str
    url: str
    enabled_events: Sequence[str]
    facade: Facade
    payload: Payload
    status: EndpointStatus
    created_at: datetime
    api_version: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """What an endpoint's deliveries are signed with; the previous one for a time after a change."""

    secret: bytes
    previous_secret: bytes | None
    previous_secret_until: datetime | None


LOCK_ACCOUNT = """
SELECT
  FROM accounts
 WHERE account_id = %(account_id)s
   FOR NO KEY UPDATE
"""
COUNT = """
SELECT count(*)
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
"""


def lock_and_count(conn: Connection, account_id: int) -> int:
    """How many the account has, which nobody else changes until the transaction ends."""
    conn.execute(LOCK_ACCOUNT, {"account_id": account_id})
    row = conn.execute(COUNT, {"account_id": account_id}).fetchone()
    assert row is not None
    return int(row[0])


INSERT = """
INSERT INTO webhook_endpoints (account_id, id, url, enabled_events, facade, payload, status,
                               created_at, api_version, description, metadata, failing_since,
                               secret)
VALUES (%(account_id)s, %(id)s, %(url)s, %(enabled_events)s, %(facade)s, %(payload)s, %(status)s,
        %(created_at)s, %(api_version)s, %(description)s, %(metadata)s, %(failing_since)s,
        %(secret)s)
"""


def insert(
    conn: Connection, account_id: int, endpoint: WebhookEndpoint, *, sealed_secret: bytes
) -> None:
    """Add an endpoint."""
    conn.execute(INSERT, _parameters(account_id, endpoint) | {"secret": sealed_secret})


UPDATE = """
UPDATE webhook_endpoints
   SET url = %(url)s, enabled_events = %(enabled_events)s, status = %(status)s,
       description = %(description)s, metadata = %(metadata)s, failing_since = %(failing_since)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update(conn: Connection, account_id: int, endpoint: WebhookEndpoint) -> None:
    """Write what can change of the endpoint, which the caller has locked."""
    conn.execute(UPDATE, _parameters(account_id, endpoint))


UPDATE_SECRETS = """
UPDATE webhook_endpoints
   SET secret = %(secret)s, previous_secret = %(previous_secret)s,
       previous_secret_until = %(previous_secret_until)s
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def update_secrets(
    conn: Connection, account_id: int, endpoint_id: str, secrets: SealedSecrets
) -> None:
    """Write the secrets of the endpoint, which the caller has locked."""
    conn.execute(UPDATE_SECRETS, parameters_of(account_id, secrets) | {"id": endpoint_id})


DELETE = """
UPDATE webhook_endpoints
   SET status = 'disabled', deleted_at = %(now)s, secret = NULL, previous_secret = NULL,
       previous_secret_until = NULL
 WHERE account_id = %(account_id)s
   AND id = %(id)s
"""


def delete(conn: Connection, account_id: int, endpoint_id: str, *, now: datetime) -> None:
    """Delete the endpoint, which the caller has locked; its secrets are forgotten."""
    conn.execute(DELETE, {"account_id": account_id, "id": endpoint_id, "now": now})


LOAD = """
SELECT id, url, enabled_events, facade, payload, status, created_at, api_version, description,
       metadata, failing_since
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND deleted_at IS NULL
 ORDER BY id
"""


def load(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, WebhookEndpoint]:
    """The endpoints by id, deleted ones excluded."""
    rows = fetch(conn, WebhookEndpoint, LOAD, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LISTENING = """
SELECT id, url, enabled_events, facade, payload, status, created_at, api_version, description,
       metadata, failing_since
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND status = 'enabled'
 ORDER BY id
"""


def listening(conn: Connection, account_id: int) -> list[WebhookEndpoint]:
    """Those of the account that are enabled."""
    return fetch(conn, WebhookEndpoint, LISTENING, {"account_id": account_id})


LOCK = """
SELECT id, url, enabled_events, facade, payload, status, created_at, api_version, description,
       metadata, failing_since
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND id = ANY(%(ids)s)
   AND deleted_at IS NULL
 ORDER BY id
   FOR NO KEY UPDATE
"""


def lock(conn: Connection, account_id: int, ids: Iterable[str]) -> dict[str, WebhookEndpoint]:
    """The endpoints by id; they, and which of their deliveries are due, stay as they are."""
    rows = fetch(conn, WebhookEndpoint, LOCK, {"account_id": account_id, "ids": list(ids)})
    return {row.id: row for row in rows}


LOCK_IF_FREE = """
SELECT id, url, enabled_events, facade, payload, status, created_at, api_version, description,
       metadata, failing_since
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND status = 'enabled'
   FOR NO KEY UPDATE SKIP LOCKED
"""


def lock_if_free(conn: Connection, account_id: int, endpoint_id: str) -> WebhookEndpoint | None:
    """The endpoint, locked; None if it is not enabled, or another has it locked right now."""
    parameters = {"account_id": account_id, "id": endpoint_id}
    return fetch_one(conn, WebhookEndpoint, LOCK_IF_FREE, parameters)


SECRETS = """
SELECT secret, previous_secret, previous_secret_until
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND id = %(id)s
   AND deleted_at IS NULL
"""


def secrets_of(conn: Connection, account_id: int, endpoint_id: str) -> SealedSecrets | None:
    """What the endpoint's deliveries are signed with."""
    parameters = {"account_id": account_id, "id": endpoint_id}
    return fetch_one(conn, SealedSecrets, SECRETS, parameters)


LIST = """
SELECT id, url, enabled_events, facade, payload, status, created_at, api_version, description,
       metadata, failing_since
  FROM webhook_endpoints
 WHERE account_id = %(account_id)s
   AND deleted_at IS NULL
   AND (%(facade)s::text IS NULL OR facade = %(facade)s)
"""


def list_page(
    conn: Connection, account_id: int, page: Page, *, facade: Facade | None = None
) -> Rows[WebhookEndpoint]:
    """Endpoints, newest first; of one façade, or of all."""
    parameters: dict[str, Any] = {"account_id": account_id, "facade": facade}
    return fetch_page(
        conn,
        WebhookEndpoint,
        LIST,
        parameters,
        page,
        table="webhook_endpoints",
        what="webhook endpoint",
    )


@dataclass(frozen=True, slots=True)
class DueEndpoint:
    """An endpoint that has something to be told, and whether it took the last one."""

    account_id: int
    livemode: bool
    id: str
    failing: bool


DUE = """
SELECT e.account_id, a.livemode, e.id, e.failing_since IS NOT NULL AS failing
  FROM webhook_endpoints e
  JOIN accounts a USING (account_id)
  CROSS JOIN LATERAL (
        SELECT
          FROM webhook_deliveries d
         WHERE d.account_id = e.account_id
           AND d.endpoint_id = e.id
           AND d.due_at <= %(now)s
         ORDER BY d.due_at
         LIMIT 1) first  -- a probe of the index, however many are due
 WHERE e.status = 'enabled'
 ORDER BY e.account_id, e.id
"""


def due(conn: Connection, *, now: datetime) -> list[DueEndpoint]:
    """The endpoints of every account that have something to be told."""
    return fetch(conn, DueEndpoint, DUE, {"now": now})


def _parameters(account_id: int, endpoint: WebhookEndpoint) -> dict[str, Any]:
    return parameters_of(account_id, endpoint) | {
        "enabled_events": Jsonb(list(endpoint.enabled_events)),
        "metadata": Jsonb(endpoint.metadata),
    }
