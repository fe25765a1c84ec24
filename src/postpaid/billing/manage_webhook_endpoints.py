"""Add, change and remove the endpoints that are told of events, and renew their secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from postpaid import ids
from postpaid.billing.perform import Act
from postpaid.core.deliveries import ENDPOINTS_MAX, LEASE, EndpointStatus, Facade
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.values import replace
from postpaid.outside.webhooks.addresses import Refused, check_url, networks
from postpaid.storage import deliveries, webhook_endpoints
from postpaid.storage.database import Connection
from postpaid.storage.vault import Vault
from postpaid.storage.webhook_endpoints import SealedSecrets, WebhookEndpoint

HASTENED_MAX = 10_000  # deliveries; what is more comes at its own time
OVERLAP_MAX = timedelta(days=7)  # for how long a secret may sign beside its successor


@dataclass(frozen=True, slots=True)
class Shown:
    """An endpoint with its secret, which is shown only when it is new."""

    endpoint: WebhookEndpoint
    secret: str


def create_endpoint(
    conn: Connection, act: Act, endpoint: WebhookEndpoint, vault: Vault
) -> WebhookEndpoint:
    """Add an endpoint with a new secret; ``secret_of`` says which.

    Raises ``InvalidRequest`` for one too many. Stripe: at most 16 in one mode.
    """
    if webhook_endpoints.lock_and_count(conn, act.account_id) >= ENDPOINTS_MAX:
        raise InvalidRequest(f"At most {ENDPOINTS_MAX} webhook endpoints are allowed.")
    sealed = vault.seal(_new_secret(endpoint.facade))
    webhook_endpoints.insert(conn, act.account_id, endpoint, sealed_secret=sealed)
    return endpoint


def update_endpoint(
    conn: Connection,
    act: Act,
    endpoint_id: str,
    change: Callable[[WebhookEndpoint], WebhookEndpoint],
    *,
    facade: Facade = Facade.STRIPE,
) -> WebhookEndpoint:
    """Make the façade's endpoint what ``change`` makes of it. Raises ``NotFound``.

    One that is enabled again begins anew: it is tried at once with what was kept for it; of what
    had failed before, with at most ten thousand.
    """
    before = _locked(conn, act, endpoint_id, facade)
    after = change(before)
    enabled = (before.status, after.status) == (EndpointStatus.DISABLED, EndpointStatus.ENABLED)
    if before.status != after.status:
        after = replace(after, failing_since=None)  # one that somebody disabled is not failing
    if after == before:
        return before
    webhook_endpoints.update(conn, act.account_id, after)
    if enabled:
        deliveries.hasten(
            conn, act.account_id, endpoint_id, after=act.now + LEASE, limit=HASTENED_MAX
        )
    return after


def rotate_secret(
    conn: Connection,
    act: Act,
    endpoint_id: str,
    *,
    overlap: timedelta,
    vault: Vault,
    facade: Facade = Facade.STRIPE,
) -> WebhookEndpoint:
    """Give the endpoint a new secret; the former one signs too until the overlap is over.

    Raises ``NotFound``.
    """
    endpoint = _locked(conn, act, endpoint_id, facade)
    before = webhook_endpoints.secrets_of(conn, act.account_id, endpoint_id)
    assert before is not None, "it is locked, and not deleted"
    after = SealedSecrets(
        secret=vault.seal(_new_secret(endpoint.facade)),
        previous_secret=before.secret if overlap else None,
        previous_secret_until=act.now + overlap if overlap else None,
    )
    webhook_endpoints.update_secrets(conn, act.account_id, endpoint_id, after)
    return endpoint


def delete_endpoint(
    conn: Connection, act: Act, endpoint_id: str, *, facade: Facade = Facade.STRIPE
) -> None:
    """Remove the endpoint; what it was yet to be told, it is not. Raises ``NotFound``."""
    _locked(conn, act, endpoint_id, facade)
    webhook_endpoints.delete(conn, act.account_id, endpoint_id, now=act.now)


def secret_of(conn: Connection, act: Act, endpoint_id: str, vault: Vault) -> str | None:
    """The endpoint's secret, to be shown this once; None when it has been deleted since."""
    sealed = webhook_endpoints.secrets_of(conn, act.account_id, endpoint_id)
    return None if sealed is None else vault.open(sealed.secret)


def checked_url(url: str, allowed_networks: tuple[str, ...]) -> str:
    """The URL, if it may be told of events.

    What its host's name stands for is looked at with every delivery. Raises ``InvalidRequest``.
    """
    try:
        check_url(url, networks(allowed_networks))
    except Refused as refused:
        raise InvalidRequest(f"Invalid URL: {refused}", param="url", code="url_invalid") from None
    return url


def find_endpoint(
    conn: Connection, act: Act, endpoint_id: str, *, facade: Facade = Facade.STRIPE
) -> WebhookEndpoint:
    """The façade's endpoint. Raises ``NotFound``."""
    found = webhook_endpoints.load(conn, act.account_id, [endpoint_id]).get(endpoint_id)
    if found is None or found.facade != facade:
        raise NotFound.of("webhook endpoint", endpoint_id)
    return found


def _locked(conn: Connection, act: Act, endpoint_id: str, facade: Facade) -> WebhookEndpoint:
    found = webhook_endpoints.lock(conn, act.account_id, [endpoint_id]).get(endpoint_id)
    if found is None or found.facade != facade:
        raise NotFound.of("webhook endpoint", endpoint_id)
    return found


def _new_secret(facade: Facade) -> str:
    """Frame: 32 letters and digits. Both are what Standard Webhooks takes for base 64."""
    return ids.new_secret("") if facade == Facade.FRAME else ids.new_webhook_secret()
