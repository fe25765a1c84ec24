"""Set how much customers are to use of a meter before it is told, and take that back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from postpaid.billing.perform import Act
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.usage_quotas import PERCENTS, UsageQuota, with_all_of_it
from postpaid.core.values import replace
from postpaid.storage import alerts, customers, meters, usage, usage_quotas
from postpaid.storage.database import Connection
from postpaid.storage.meters import Meter


@dataclass(frozen=True, slots=True)
class NewQuota:
    """What is asked for: a quantity or an amount of the meter with this event name."""

    event_name: str
    customer_id: str | None
    quantity: Decimal | None
    amount: int | None
    percents: Sequence[int] = PERCENTS
    metadata: Mapping[str, str] = field(default_factory=dict)


def set_quota(conn: Connection, act: Act, asked: NewQuota) -> UsageQuota:
    """Watch a meter for the customer, or for every one that has no quota of its own.

    What was used before in the running window counts, but only the next event can say so. Raises
    ``NotFound``, ``AlreadyExists``, and ``InvalidRequest`` with the parameter at fault.
    """
    # Read.
    usage.hold_alone(conn, act.account_id)
    found = meters.load_by_event_names(conn, act.account_id, {asked.event_name})
    meter = found.get(asked.event_name)
    if meter is None:
        message = f"No meter found for event name '{asked.event_name}'."
        raise NotFound(message, param="event_name")
    if asked.customer_id is not None:
        owner = customers.find(conn, act.account_id, asked.customer_id)
        if owner is None or owner.deleted_at:
            raise NotFound.of("customer", asked.customer_id, param="customer")

    # Decide.
    quota = UsageQuota(
        id=act.new_id("uq"),
        meter_id=meter.id,
        customer_id=asked.customer_id,
        quantity=asked.quantity,
        amount=asked.amount,
        percents=with_all_of_it(asked.percents),
        created_at=act.now,
        metadata=asked.metadata,
    )
    _check(quota, meter)

    # Write.
    usage_quotas.insert(conn, act.account_id, quota)
    alerts.open_all_time(conn, act.account_id, meter.id, asked.customer_id)
    return quota


def change_quota(
    conn: Connection, act: Act, quota_id: str, change: Callable[[UsageQuota], UsageQuota]
) -> UsageQuota:
    """Make the quota what ``change`` makes of it; what was said in a window is not said again.

    Raises ``NotFound`` and ``InvalidRequest``.
    """
    before = _locked(conn, act, quota_id)
    changed = change(before)
    after = replace(changed, percents=with_all_of_it(changed.percents))
    meter = meters.find(conn, act.account_id, before.meter_id)
    assert meter is not None, "a quota is of a meter"
    _check(after, meter)
    usage_quotas.update(conn, act.account_id, after)
    return after


def remove_quota(conn: Connection, act: Act, quota_id: str) -> None:
    """Watch for it no more. Raises ``NotFound``."""
    before = _locked(conn, act, quota_id)
    usage_quotas.update(conn, act.account_id, replace(before, deleted_at=act.now))


def _check(quota: UsageQuota, meter: Meter) -> None:
    if (quota.quantity is None) == (quota.amount is None):
        raise InvalidRequest(
            "Give one of quantity and amount.",
            param="quantity" if quota.amount is not None else "amount",
        )
    if quota.amount is not None and meter.price_id is None:
        raise InvalidRequest(
            f"The meter '{meter.event_name}' has no price of its own, so its usage comes to no "
            "amount; give a quantity.",
            param="amount",
        )


def _locked(conn: Connection, act: Act, quota_id: str) -> UsageQuota:
    found = usage_quotas.lock(conn, act.account_id, quota_id)
    if found is None:
        raise NotFound.of("UsageQuota", quota_id)
    return found
