"""Deliver events: take what is due to an endpoint, sign it, and write down what came of it.

``take`` and ``record`` are one short transaction each, and between them the endpoint is asked
without any. A deliverer that dies in between leaves a lease that runs out; so every event arrives
at least once, and first arrivals are in order for each subject.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from postpaid.billing.announce import Announcement, announce, changes
from postpaid.billing.perform import Act
from postpaid.core.deliveries import (
    DELAYS,
    LEASE,
    DeliveryStatus,
    EndpointStatus,
    Facade,
    Outcome,
    Payload,
    is_given_up_on,
    message_id,
    next_attempt_at,
)
from postpaid.core.values import replace
from postpaid.outside.webhooks.sign import frame_signatures, signatures
from postpaid.storage import deliveries, delivery_attempts, events, webhook_endpoints
from postpaid.storage.database import Connection, Database
from postpaid.storage.deliveries import Delivery
from postpaid.storage.delivery_attempts import Attempt
from postpaid.storage.events import Event
from postpaid.storage.vault import Vault, VaultError
from postpaid.storage.webhook_endpoints import WebhookEndpoint

log = logging.getLogger(__name__)

TRAIN = 20  # deliveries of one subject that are taken at once; one, while the endpoint fails
USER_AGENT = "Postpaid/1.0"
CONTENT_TYPE = "application/json; charset=utf-8"

Key = tuple[str, str | None]  # an event, and what it is told as


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and the code by which it is told; None: by its own type."""

    event: Event
    told_as: str | None = None


Render = Callable[[Connection, Act, Sequence[Told]], Sequence[Mapping[str, Any]]]
Renders = Mapping[tuple[Facade, Payload], Render]

_encode = msgspec.json.Encoder(decimal_format="string").encode


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery that is ours, with the bytes that are sent; none where they cannot be made."""

    delivery: Delivery
    body: bytes | None
    problem: str | None = None
    gone: bool = False  # with the event, for good


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken for an endpoint: each subject's messages in order, until the lease ends."""

    endpoint: WebhookEndpoint
    secrets: Sequence[str]
    trains: Sequence[Sequence[Message]]
    leased_until: datetime

    def headers(self, message: Message, *, now: datetime) -> dict[str, str]:
        """What is sent beside the body; the id is the same in every attempt."""
        assert message.body is not None
        delivery = message.delivery
        name = message_id(delivery.event_id, delivery.told_as)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": USER_AGENT}
        if self.endpoint.facade == Facade.FRAME:
            code = delivery.told_as or ""
            return headers | frame_signatures(name, code, message.body, self.secrets, now=now)
        return headers | signatures(name, message.body, self.secrets, now=now)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a delivery that was ours; without an outcome it was not tried."""

    delivery: Delivery
    outcome: Outcome | None


def take(
    database: Database, act: Act, endpoint_id: str, renders: Renders, *, limit: int
) -> Taken | None:
    """Up to ``limit`` deliveries of the endpoint, ours for a minute of the wall clock.

    None when nothing is due, or another deliverer is at this endpoint right now. Raises
    ``VaultError`` when it cannot be signed here; then nothing is taken, and another machine may.
    """
    leased_until = act.now + LEASE
    with database.transaction() as conn:
        endpoint = webhook_endpoints.lock_if_free(conn, act.account_id, endpoint_id)
        if endpoint is None:
            return None
        sealed = webhook_endpoints.secrets_of(conn, act.account_id, endpoint_id)
        assert sealed is not None, "it is enabled, thus not deleted"
        secrets = _open(database.vault, sealed, now=act.now)
        claimed = deliveries.claim(
            conn,
            act.account_id,
            endpoint_id,
            now=act.now,
            leased_until=leased_until,
            limit=limit,
            train=TRAIN if endpoint.failing_since is None else 1,
        )
        if not claimed:
            return None

    with database.connection() as conn:
        found = events.load(conn, act.account_id, [each.event_id for each in claimed])
        render = renders[endpoint.facade, endpoint.payload]
        telling = {
            (each.event_id, each.told_as): Told(found[each.event_id], each.told_as)
            for each in claimed
            if each.event_id in found
        }
        bodies = _render(conn, act, list(telling.values()), render)
    trains: dict[str, list[Message]] = {}
    for delivery in claimed:
        body = bodies.get((delivery.event_id, delivery.told_as))
        gone = delivery.event_id not in found
        problem = None
        if body is None:
            problem = "The event is no longer kept." if gone else "The event cannot be shown."
        trains.setdefault(delivery.subject_id, []).append(Message(delivery, body, problem, gone))
    return Taken(endpoint, secrets, list(trains.values()), leased_until)


def _open(vault: Vault, sealed: webhook_endpoints.SealedSecrets, *, now: datetime) -> list[str]:
    """The secrets that sign, the newest first. Raises ``VaultError``."""
    secrets = [vault.open(sealed.secret)]
    until = sealed.previous_secret_until
    if sealed.previous_secret is not None and until is not None and until > now:
        with suppress(VaultError):  # a secret is renewed also because its key is lost
            secrets.append(vault.open(sealed.previous_secret))
    return secrets


def _render(conn: Connection, act: Act, shown: Sequence[Told], render: Render) -> dict[Key, bytes]:
    """The events' bodies; one that cannot be made costs the others nothing."""
    if not shown:
        return {}
    try:
        rendered = render(conn, act, shown)
        return {
            (telling.event.id, telling.told_as): _encode(each)
            for telling, each in zip(shown, rendered, strict=True)
        }
    except Exception as error:
        if len(shown) == 1:
            log.error("Event %s cannot be shown.", shown[0].event.id, exc_info=error)
            return {}
    half = len(shown) // 2
    return _render(conn, act, shown[:half], render) | _render(conn, act, shown[half:], render)


def record(
    conn: Connection,
    act: Act,
    endpoint_id: str,
    leased_until: datetime,
    tried: Sequence[Tried],
    *,
    delays: Sequence[timedelta] = DELAYS,
) -> WebhookEndpoint | None:
    """Write down what came of deliveries that were taken with one lease, in the order of sending.

    What was not tried is due again. An endpoint that has only failed for three days is disabled.
    Returns the endpoint as it is now; None when it was deleted.
    """
    # Read.
    endpoint = webhook_endpoints.lock(conn, act.account_id, [endpoint_id]).get(endpoint_id)
    if endpoint is None:
        return None  # and its deliveries with it

    # Decide.
    after = {each.delivery.id: _after(each, delays, now=act.now) for each in tried}

    # Write.
    ours = deliveries.settle(conn, act.account_id, list(after.values()), leased_until=leased_until)
    deliveries.release_waiting(
        conn, act.account_id, endpoint_id, [each.delivery.subject_id for each in tried]
    )
    attempts = [
        Attempt.of(after[each.delivery.id], each.outcome)
        for each in tried
        if each.outcome is not None and each.delivery.id in ours
    ]
    delivery_attempts.log(conn, act.account_id, attempts)
    return _judge(conn, act, endpoint, [each.outcome for each in tried if each.outcome is not None])


def _after(tried: Tried, delays: Sequence[timedelta], *, now: datetime) -> Delivery:
    """The delivery as its outcome leaves it."""
    before, outcome = tried.delivery, tried.outcome
    if outcome is None:
        return replace(before, due_at=None)  # due at once, unless an earlier one failed
    counted = replace(before, attempts=before.attempts + 1)
    if outcome.delivered:
        return replace(
            counted,
            status=DeliveryStatus.DELIVERED,
            due_at=None,
            failures=0,
            settled_at=outcome.attempted_at,
        )
    failures = before.failures + 1
    due_at = None
    if outcome.again:
        due_at = next_attempt_at(before.id, failures, now=now, delays=delays)
    if due_at is None:
        return replace(
            counted,
            status=DeliveryStatus.FAILED,
            due_at=None,
            failures=failures,
            settled_at=outcome.attempted_at,
        )
    return replace(counted, due_at=due_at, failures=failures)


def _judge(
    conn: Connection, act: Act, before: WebhookEndpoint, outcomes: Sequence[Outcome]
) -> WebhookEndpoint:
    """Note whether the endpoint answers well, and disable it when it has not for too long.

    Returns what it is then. What became of it while it is disabled was decided by who did that.
    """
    sent = [each for each in outcomes if each.sent]
    if not sent or before.status == EndpointStatus.DISABLED:
        return before
    if any(each.delivered for each in sent):
        after = replace(before, failing_since=None)
    else:
        after = replace(before, failing_since=before.failing_since or act.now)
        if is_given_up_on(after.failing_since, now=act.now):
            after = replace(after, status=EndpointStatus.DISABLED)
    if after == before:
        return before
    webhook_endpoints.update(conn, act.account_id, after)
    if after.status != before.status:
        log.warning(
            "Webhook endpoint %s was disabled: it has failed since %s.",
            after.id,
            after.failing_since,
        )
        said = Announcement(
            "webhook_endpoint.disabled",
            "webhook_endpoint",
            after.id,
            after,
            changes(before, after),
        )
        announce(conn, act, [said])
    return after
