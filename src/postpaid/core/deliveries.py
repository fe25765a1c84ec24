"""Telling an endpoint of an event: to whom it goes, what became of it, and when to try again."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

ENDPOINTS_MAX = 16  # Stripe: of one account in one mode
ATTEMPTS_KEPT = 20  # of one delivery, the last ones
DISABLE_AFTER = timedelta(days=3)  # without a single success
LEASE = timedelta(seconds=60)  # for how long a delivery is its deliverer's

# After each failure; three days in all. After the last one it is given up.
DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=3),
    timedelta(hours=4),
    timedelta(hours=6),
    timedelta(hours=8),
    timedelta(hours=10),
    timedelta(hours=12),
    timedelta(hours=12),
    timedelta(hours=12),
)
JITTER_PERCENT = 20  # up to this much later, so that not all come back at once


class DeliveryStatus(StrEnum):
    """Pending until it was taken, or was given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class EndpointStatus(StrEnum):
    """A disabled endpoint's deliveries are kept until it is enabled again."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Facade(StrEnum):
    """In whose words an endpoint is told."""

    STRIPE = "stripe"
    FRAME = "frame"


class Payload(StrEnum):
    """What an endpoint is told: the object as it was, or only where to find it."""

    SNAPSHOT = "snapshot"
    THIN = "thin"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: an answer's status, or the error that kept one from coming."""

    attempted_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None  # None: it was taken
    response: str | None  # the beginning of the answer
    sent: bool = True  # False: there was nothing to send, for which no endpoint is to blame
    again: bool = True  # False: trying again is of no use

    @property
    def delivered(self) -> bool:
        return self.error is None


FRAME_ONLY = frozenset({"unit_credit.created", "unit_credit.exhausted", "usage_quota.reached"})
"""Types of events that Stripe does not know, and its façade neither shows nor tells."""


def is_known(facade: Facade, event_type: str) -> bool:
    """Whether the façade has words for events of this type."""
    return facade == Facade.FRAME or event_type not in FRAME_ONLY


def message_id(event_id: str, told_as: str | None) -> str:
    """What receivers know it by: the event's id, and what it is told as where it may be several.

    The same at every attempt, and whenever it is sent again.
    """
    return event_id if told_as is None else f"{event_id}-{told_as.replace('.', '-')}"


def parsed_message_id(name: str) -> tuple[str, str | None]:
    """The event's id, and the code it was told as, of a ``message_id``."""
    event_id, _, code = name.partition("-")
    return event_id, code.replace("-", ".") or None


def listens(enabled_events: Sequence[str], event_type: str) -> bool:
    """Whether an endpoint with these types wants this one; ``invoice.*`` is all of a kind."""
    return any(
        pattern in ("*", event_type)
        or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in enabled_events
    )


_TYPE = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")


def is_type(name: str) -> bool:
    """Whether it is like the type of an event, all of a kind, or all."""
    return _TYPE.fullmatch(name) is not None


def next_attempt_at(
    delivery_id: str, failures: int, *, now: datetime, delays: Sequence[timedelta] = DELAYS
) -> datetime | None:
    """When to try again after so many failures in a row; None when it is given up.

    The delay has some jitter, which is the delivery's own: nothing here is left to chance.
    """
    if failures > len(delays):
        return None
    delay = delays[failures - 1]
    share = zlib.crc32(f"{delivery_id}/{failures}".encode()) % 1000
    return now + delay + delay * share * JITTER_PERCENT / 100_000


def is_given_up_on(failing_since: datetime | None, *, now: datetime) -> bool:
    """Whether an endpoint has failed for so long that it is to be disabled."""
    return failing_since is not None and now - failing_since >= DISABLE_AFTER
