"""What may be asked of a running subscription: other items, another anchor, and how to bill it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ProrationBehavior(StrEnum):
    """What becomes of the difference that a change makes within the running period (Stripe)."""

    CREATE_PRORATIONS = "create_prorations"  # it waits for the next invoice
    ALWAYS_INVOICE = "always_invoice"  # it is invoiced now
    NONE = "none"  # nobody pays it


class UsagePricing(StrEnum):
    """What bills the usage of the running period when a metered price changes (ours)."""

    SPLIT = "split"  # each price bills what was used in its time
    GRANDFATHER = "grandfather"  # the old price, until the period ends
    RERATE = "rerate"  # the new price, from the period's start


class ChangePayment(StrEnum):
    """What becomes of a change whose invoice is not paid at once (Stripe's payment_behavior)."""

    ALLOW_INCOMPLETE = "allow_incomplete"  # it stands; the subscription is past due
    DEFAULT_INCOMPLETE = "default_incomplete"  # so too, and no payment is tried
    ERROR_IF_INCOMPLETE = "error_if_incomplete"  # it is an error, and nothing has changed
    PENDING_IF_INCOMPLETE = "pending_if_incomplete"  # it waits for the payment, for 23 hours


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One item asked for: without ``id`` it is added.

    A new ``price_id`` makes the quantity 1 unless it is given. ``fields`` are other fields of
    ``Item``, by name, to be as they are here: ``metadata``, ``discount_ids``, ``threshold_usage``.
    """

    id: str | None = None
    price_id: str | None = None
    quantity: int | None = None
    deleted: bool = False
    usage_pricing: UsagePricing | None = None  # None: the whole change's
    fields: Mapping[str, Any] = field(default_factory=dict)


class ExtraBound(StrEnum):
    """Where the period of a one-time price starts or ends: by the subscription's items."""

    NOW = "now"
    MAX_ITEM_PERIOD_START = "max_item_period_start"
    MIN_ITEM_PERIOD_END = "min_item_period_end"


@dataclass(frozen=True, slots=True)
class Extra:
    """A one-time price that goes on the invoice of the change, or on the next one.

    ``id`` is to be its invoice item's, where something refers to that already.
    """

    price_id: str
    quantity: int = 1
    id: str | None = None
    period: tuple[datetime | ExtraBound, datetime | ExtraBound] | None = None  # None: the moment
    discountable: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked of one running subscription, all at the same moment.

    ``fields`` are other fields of ``Subscription``, by name, to be as they are here, once the
    change is made. ``prorated_at`` is from when on licences are credited and charged; None is now.
    ``resets_anchor`` ends every period now and begins the next. ``trial_end_at`` is when a trial
    ends that begins or goes on; a moment that has come ends it. ``by_schedule``: a phase of the
    subscription's schedule asks for it.
    """

    subscription_id: str
    items: Sequence[ItemChange] = ()
    extras: Sequence[Extra] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    prorated_at: datetime | None = None
    resets_anchor: bool = False
    trial_end_at: datetime | None = None
    payment: ChangePayment = ChangePayment.ALLOW_INCOMPLETE
    usage_pricing: UsagePricing = UsagePricing.SPLIT
    by_schedule: bool = False
