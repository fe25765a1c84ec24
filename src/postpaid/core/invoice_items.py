"""What waits for a customer's next invoice: prorations, usage settled early, and what is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from postpaid.core.lines import Line
from postpaid.core.pricing import DetailKind


@dataclass(frozen=True, slots=True)
class InvoiceItem:
    """One amount that will be a line of an invoice, and is *pending* until it has one.

    The fields that it shares with a line mean what they mean there. ``obligation`` is its own id,
    or of usage what the usage's window owes, so that nothing else bills it too. A proration says in
    ``credited`` what it takes back; where its discounts are itemized they are in ``discounts``, for
    good, and not taken off ``amount``.
    """

    id: str
    customer_id: str
    clock_id: str | None
    invoice_id: str | None
    subscription_id: str | None
    subscription_item_id: str | None
    price_id: str | None
    product_id: str | None
    meter_id: str | None
    obligation: str
    part: int
    period_start: datetime
    period_end: datetime
    quantity: Decimal
    unit_amount: Decimal | None
    tier: int | None
    kind: DetailKind
    amount: int
    currency: str
    description: str
    discountable: bool
    proration: bool
    credited: Mapping[str, Any] | None
    discount_ids: Sequence[str] | None
    tax_rate_ids: Sequence[str] | None
    metadata: Mapping[str, str]
    created_at: datetime
    whole_seconds: int | None = None
    discounts: Mapping[str, int] | None = None


def line_of(item: InvoiceItem, line_id: str) -> Line:
    """The line that bills the item."""
    return Line(
        id=line_id,
        obligation=item.obligation,
        part=item.part,
        subscription_id=item.subscription_id,
        subscription_item_id=item.subscription_item_id,
        price_id=item.price_id,
        product_id=item.product_id,
        meter_id=item.meter_id,
        period_start=item.period_start,
        period_end=item.period_end,
        quantity=item.quantity,
        unit_amount=item.unit_amount,
        tier=item.tier,
        kind=item.kind,
        amount=item.amount,
        description=item.description,
        metadata=item.metadata,
        invoice_item_id=item.id,
        proration=item.proration,
        discountable=item.discountable,
        credited=item.credited,
        discount_ids=item.discount_ids,
        tax_rate_ids=item.tax_rate_ids,
        whole_seconds=item.whole_seconds,
        discounts=item.discounts,
    )


def newest_first(items: Sequence[InvoiceItem]) -> list[InvoiceItem]:
    """The order in which they are lines, before those of the subscription's items (Stripe)."""
    return sorted(items, key=lambda item: item.id, reverse=True)
