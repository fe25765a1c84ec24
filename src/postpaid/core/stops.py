"""How a subscription is asked to end later, and no longer to; and how its collection is paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from postpaid.core.errors import ActionNotAllowed, InvalidRequest
from postpaid.core.subscriptions import ENDED, Item, Subscription, SubscriptionStatus

_ENDS = ("cancel_at", "cancel_at_period_end")


class CancelAt(StrEnum):
    """An end that goes by the periods of the items that run at the time (Stripe)."""

    MIN_PERIOD_END = "min_period_end"
    MAX_PERIOD_END = "max_period_end"


def resolve_cancel_at(
    asked: datetime | CancelAt | None, items: Sequence[Item], now: datetime
) -> datetime | None:
    """The instant that was asked for, or at which the first or the last running period ends.

    Raises ``InvalidRequest`` for one that is not ahead.
    """
    if asked == CancelAt.MIN_PERIOD_END:
        asked = min(item.period_end for item in items)
    elif asked == CancelAt.MAX_PERIOD_END:
        asked = max(item.period_end for item in items)
    assert not isinstance(asked, CancelAt)
    if asked is not None and asked <= now:
        raise InvalidRequest("cancel_at must be in the future.", param="cancel_at")
    return asked


def with_stops(
    subscription: Subscription, changed: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """``changed`` fields of a subscription, with what follows for how and when it ends.

    To ask for one end takes back another, and to take one back takes back both. When and why it was
    asked for is noted, and forgotten with it. ``cancel_at`` may be a ``CancelAt``. Raises
    ``InvalidRequest`` for an end or a pause that is over before it begins, and ``ActionNotAllowed``
    for an end of what has not begun or is paused.
    """
    fields = dict(changed)
    if fields.get("pause_resumes_at") is not None and fields["pause_resumes_at"] <= now:
        raise InvalidRequest(
            "resumes_at must be in the future.", param=("pause_collection", "resumes_at")
        )
    given = [name for name in _ENDS if name in fields]
    if not given:
        return fields
    if fields.get("cancel_at") is not None and fields.get("cancel_at_period_end"):
        raise InvalidRequest(
            "cancel_at cannot be combined with cancel_at_period_end.", param="cancel_at"
        )
    at = resolve_cancel_at(fields.get("cancel_at"), subscription.items, now)
    at_period_end = bool(fields.get("cancel_at_period_end"))
    asks = at is not None or at_period_end
    if asks and subscription.status == SubscriptionStatus.INCOMPLETE:
        raise ActionNotAllowed(
            "An incomplete subscription has no period to end with: pay its invoice, or cancel it "
            "now.",
            param=given[0],
            code="subscription_incomplete",
        )
    had_asked = subscription.cancel_at is not None or subscription.cancel_at_period_end
    fields |= {"cancel_at": at, "cancel_at_period_end": at_period_end}
    if asks and not had_asked:
        fields |= {"canceled_at": now, "cancellation_reason": "cancellation_requested"}
    elif had_asked and not asks and subscription.status not in ENDED:
        fields |= {"canceled_at": None, "cancellation_reason": None}
    return fields
