"""A line and a draft as the core has them, of nothing in particular: what tests of rules change."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from postpaid.core.invoicing import BillingReason, Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.pricing import DetailKind
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.values import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_line(amount: int, place: int = 0, **more: Any) -> Line:
    """One licence for the amount, of the item at that place; ``more`` are fields of a line."""
    line = Line(
        id=f"il_{place}",
        obligation=f"sub_1/si_{place}/period-0",
        part=0,
        subscription_id="sub_1",
        subscription_item_id=f"si_{place}",
        price_id="price_1",
        product_id="prod_1",
        meter_id=None,
        period_start=NOW,
        period_end=NOW,
        quantity=Decimal(1),
        unit_amount=Decimal(amount),
        tier=None,
        kind=DetailKind.UNIT,
        amount=amount,
        description="Fee",
        metadata={},
    )
    return replace(line, **more)


def a_draft(**more: Any) -> Invoice:
    """A draft without lines; ``more`` are fields of an invoice, of which none follows another."""
    draft = Invoice(
        id="in_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        clock_id=None,
        status=InvoiceStatus.DRAFT,
        number=None,
        billing_reason=BillingReason.SUBSCRIPTION_CYCLE,
        collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due=None,
        currency="usd",
        auto_advance=True,
        period_start=NOW,
        period_end=NOW,
        subtotal=0,
        total=0,
        starting_balance=0,
        ending_balance=None,
        amount_due=0,
        amount_paid=0,
        paid_out_of_band=False,
        attempted=False,
        attempt_count=0,
        next_attempt_at=None,
        finalizes_at=None,
        due_at=None,
        default_payment_method_id=None,
        payment_intent_id=None,
        customer_snapshot=None,
        description=None,
        footer=None,
        metadata={},
        subscription_metadata=None,
        created_at=NOW,
        finalized_at=None,
        paid_at=None,
        voided_at=None,
        marked_uncollectible_at=None,
    )
    return replace(draft, **more)
