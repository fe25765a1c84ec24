"""A subscription that is asked for, and whether its prices can be sold together."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from postpaid.billing.manage_discounts import AskedDiscount
from postpaid.billing.perform import Act
from postpaid.core.anchors import is_multiple, shortest
from postpaid.core.changes import Extra, ProrationBehavior
from postpaid.core.errors import InvalidRequest, NotFound
from postpaid.core.stops import CancelAt
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    ProrationDiscounts,
    TrialEndBehavior,
    UsageInvoicing,
    check_collection,
)
from postpaid.storage import catalog
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

ITEMS_MAX = 20


class PaymentBehavior(StrEnum):
    """What becomes of a subscription whose first payment does not succeed at once."""

    ALLOW_INCOMPLETE = "allow_incomplete"  # it is incomplete until paid
    DEFAULT_INCOMPLETE = "default_incomplete"  # so too, and no payment is tried
    ERROR_IF_INCOMPLETE = "error_if_incomplete"  # it is an error, and the subscription is over


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item asked for; ``quantity`` None means 1 of a licensed price."""

    price_id: str
    quantity: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    discounts: Sequence[AskedDiscount] = ()
    tax_rate_ids: Sequence[str] = ()
    threshold_usage: Decimal | None = None


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A subscription asked for.

    ``anchor_config`` has the parts of an anchor by name: ``day_of_month`` and perhaps ``month``,
    ``hour``, ``minute`` and ``second``. ``proration`` is about the stub before the anchor and what
    is backdated to ``start_at``. ``limits`` are thresholds and a commitment, by the names of a
    ``Subscription``'s fields. ``extras`` are one-time prices on the first invoice, with
    ``extra_discounts`` for each, if any. ``on_session``: the customer is there to authenticate the
    first payment.
    """

    customer_id: str
    items: Sequence[NewItem]
    billing_mode: BillingMode = BillingMode.FLEXIBLE
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: int | None = None
    payment_behavior: PaymentBehavior = PaymentBehavior.ALLOW_INCOMPLETE
    on_session: bool = False
    default_payment_method_id: str | None = None
    cancel_at_period_end: bool = False
    currency: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    anchor_at: datetime | None = None
    anchor_config: Mapping[str, int] | None = None
    start_at: datetime | None = None
    trial_end_at: datetime | None = None
    trial_days: int | None = None
    trial_end_behavior: TrialEndBehavior = TrialEndBehavior.CREATE_INVOICE
    cancel_at: datetime | CancelAt | None = None
    proration: ProrationBehavior = ProrationBehavior.CREATE_PRORATIONS
    proration_discounts: ProrationDiscounts = ProrationDiscounts.INCLUDED
    usage_invoicing: UsageInvoicing = UsageInvoicing.COMBINED
    invoice_settings: Mapping[str, Any] | None = None
    payment_settings: Mapping[str, Any] | None = None
    retry_schedule_id: str | None = None
    discounts: Sequence[AskedDiscount] = ()
    tax_rate_ids: Sequence[str] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    extras: Sequence[Extra] = ()
    extra_discounts: Sequence[Sequence[AskedDiscount]] = ()


def read_catalog(
    conn: Connection,
    act: Act,
    asked: Sequence[NewSubscription],
    owners: Mapping[str, Customer],
) -> Catalog:
    """What is sold, once it is known that of each it can be sold together. One statement."""
    for each in asked:
        check_collection(each.collection_method, each.days_until_due)
        if not each.items:
            raise InvalidRequest(
                "Missing required param: items.", param="items", code="parameter_missing"
            )
        if len(each.items) > ITEMS_MAX:
            raise InvalidRequest(
                f"A subscription can have at most {ITEMS_MAX} items.", param="items"
            )
    price_ids = {item.price_id for each in asked for item in each.items}
    price_ids |= {extra.price_id for each in asked for extra in each.extras}
    sold = catalog.load_sold(conn, act.account_id, price_ids)
    for each in asked:
        check_sold(each, owners[each.customer_id], sold)
    return sold


def check_sold(
    asked: NewSubscription, customer: Customer, sold: Catalog, *, kept: Container[str] = ()
) -> None:
    """Raises unless the items' prices can be sold together, and to the customer.

    Those that are ``kept`` from before may be inactive by now.
    """
    seen: set[str] = set()
    for i, item in enumerate(asked.items):
        at = ("items", i, "price")
        if item.price_id not in sold:
            raise NotFound.of("price", item.price_id, param=at)
        price = sold[item.price_id].price
        first = sold[asked.items[0].price_id].price
        if not price.active and price.id not in kept:
            raise InvalidRequest(
                "The price specified is inactive. This field only accepts active prices.",
                param=at,
            )
        if price.recurrence is None:
            raise InvalidRequest(
                "The price specified is set to `type=one_time` but this field only accepts prices "
                "with `type=recurring`.",
                param=at,
            )
        if price.id in seen:
            raise InvalidRequest(
                f"Cannot add multiple subscription items with the same price: '{price.id}'.",
                param=at,
            )
        seen.add(price.id)
        if price.metered and item.quantity is not None:
            raise InvalidRequest(
                f"Quantity should not be specified where usage_type is `metered`: '{price.id}'.",
                param=("items", i, "quantity"),
            )
        if price.currency != (asked.currency or first.currency):
            raise InvalidRequest(
                f"The price specified only supports `{price.currency}`. This doesn't match the "
                f"expected currency: `{asked.currency or first.currency}`.",
                param=at,
            )
        if customer.currency not in (None, price.currency):
            raise InvalidRequest(
                "You cannot combine currencies on a single customer. This customer is billed in "
                f"{customer.currency}.",
                param=at,
            )
    _check_intervals(asked, sold)


def _check_intervals(asked: NewSubscription, sold: Catalog) -> None:
    """Flexible: every interval a multiple of the shortest. Classic: all of them the same."""
    recurrences = [
        recurrence
        for item in asked.items
        if (recurrence := sold[item.price_id].price.recurrence) is not None
    ]
    classic = asked.billing_mode == BillingMode.CLASSIC
    base = recurrences[0] if classic else shortest(recurrences)
    for i, recurrence in enumerate(recurrences):
        if classic and recurrence != base:
            raise InvalidRequest(
                "The prices of a subscription in classic billing mode must have the same billing "
                "interval.",
                param=("items", i, "price"),
            )
        if not is_multiple(recurrence, base):
            raise InvalidRequest(
                "The billing intervals of a subscription's prices must be multiples of the "
                "shortest.",
                param=("items", i, "price"),
            )
