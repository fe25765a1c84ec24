"""How much of a meter a customer is to use before it is told, and when that has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from postpaid.core.money import EXACT

HUNDRED = 100
PERCENTS = (50, 80)  # at which it is said unless the quota has its own; at all of it always
PERCENT_MAX = 1000
PERCENTS_MAX = 20


@dataclass(frozen=True, slots=True)
class UsageQuota:
    """A quantity in the meter's units, or an amount in minor units of what the meter's price bills.

    It is one customer's, or of every customer that has none of its own. In each window of a
    customer, its subscription's period or else the calendar month, every one of ``percents`` is
    said once. It stops nobody.
    """

    id: str
    meter_id: str
    customer_id: str | None
    quantity: Decimal | None
    amount: int | None
    percents: Sequence[int]
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a meter a customer used in its window, and what that comes to.

    ``amount`` is None where the meter has no price of its own. ``subscription_id`` is whose period
    the window is, None for a calendar month.
    """

    customer_id: str
    meter_id: str
    start_at: datetime
    end_at: datetime
    quantity: Decimal
    amount: int | None
    currency: str | None = None
    subscription_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReachedQuota:
    """That a customer reached so many percent of a quota, and where it stood."""

    id: str
    quota: UsageQuota
    customer_id: str
    percent: int
    quantity: Decimal
    amount: int | None
    start_at: datetime
    end_at: datetime
    created_at: datetime
    subscription_id: str | None = None
    event_name: str | None = None


def with_all_of_it(percents: Iterable[int]) -> tuple[int, ...]:
    """At which percentages it is said, ascending; at all of it always."""
    return tuple(sorted({*percents, HUNDRED}))


def quota_of(quotas: Iterable[UsageQuota], customer_id: str, meter_id: str) -> UsageQuota | None:
    """The one that counts for the customer: its own before that of everyone."""
    found = [
        each
        for each in quotas
        if each.meter_id == meter_id and each.customer_id in (None, customer_id)
    ]
    return min(found, key=lambda each: each.customer_id is None, default=None)


def percentage(quota: UsageQuota, standing: Standing) -> Decimal | None:
    """How many percent of the quota are used, rounded down to hundredths of one.

    None for an amount where no price says what the usage comes to.
    """
    parts = _parts(quota, standing)
    if parts is None:
        return None
    used, whole = parts
    hundredths = EXACT.divide_int(EXACT.multiply(used, Decimal(HUNDRED * HUNDRED)), whole)
    return EXACT.scaleb(hundredths, -2)


def reached(quota: UsageQuota, standing: Standing) -> list[int]:
    """The percentages that the customer's usage has reached, ascending; nothing is rounded."""
    parts = _parts(quota, standing)
    if parts is None:
        return []
    used, whole = parts
    return [
        percent
        for percent in quota.percents
        if EXACT.multiply(used, Decimal(HUNDRED)) >= EXACT.multiply(whole, Decimal(percent))
    ]


def _parts(quota: UsageQuota, standing: Standing) -> tuple[Decimal, Decimal] | None:
    """What is used, and the whole."""
    if quota.quantity is not None:
        return standing.quantity, quota.quantity
    if standing.amount is None or quota.amount is None:
        return None
    return Decimal(standing.amount), Decimal(quota.amount)
