"""What a revision's lines are called while what it revises is owed, and after."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from postpaid.core.invoicing import BillingReason, Invoice, InvoiceStatus
from postpaid.core.lines import Line
from postpaid.core.pricing import DetailKind
from postpaid.core.revisions import check_revisable, in_place, lines_again
from postpaid.core.subscriptions import CollectionMethod
from postpaid.core.tax_totals import subtotal_excluding_tax, total_excluding_tax

NOW = datetime(2026, 1, 1, tzinfo=UTC)

LINE = Line(
    id="il_1",
    obligation="sub_1/si_1/period-0",
    part=0,
    subscription_id="sub_1",
    subscription_item_id="si_1",
    price_id="price_1",
    product_id="prod_1",
    meter_id=None,
    period_start=NOW,
    period_end=NOW,
    quantity=Decimal(1),
    unit_amount=Decimal(1200),
    tier=None,
    kind=DetailKind.UNIT,
    amount=1200,
    description="Calls",
    metadata={},
)

INVOICE = Invoice(
    id="in_1",
    customer_id="cus_1",
    subscription_id="sub_1",
    clock_id=None,
    status=InvoiceStatus.OPEN,
    number="A-0001",
    billing_reason=BillingReason.SUBSCRIPTION_CYCLE,
    collection_method=CollectionMethod.CHARGE_AUTOMATICALLY,
    days_until_due=None,
    currency="usd",
    auto_advance=False,
    period_start=NOW,
    period_end=NOW,
    subtotal=1200,
    total=1200,
    starting_balance=0,
    ending_balance=0,
    amount_due=1200,
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
    finalized_at=NOW,
    paid_at=None,
    voided_at=None,
    marked_uncollectible_at=None,
    lines=(LINE,),
)


@pytest.mark.parametrize("status", [InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE])
def test_a_line_waits_for_its_name_while_it_is_owed(status: InvoiceStatus):
    original = replace(INVOICE, status=status)
    [line] = lines_again(original, "in_2")
    assert line.obligation == "sub_1/si_1/period-0@in_2"
    revision = replace(INVOICE, id="in_2", lines=(line,))
    [named] = in_place(revision).lines
    assert named.obligation == LINE.obligation


def test_what_a_void_invoice_billed_is_free():
    original = replace(INVOICE, status=InvoiceStatus.VOID)
    [line] = lines_again(original, "in_2")
    assert line == replace(LINE, id="")
    revision = replace(INVOICE, id="in_2", lines=(line,))
    assert in_place(revision) is revision


def test_what_came_off_and_on_is_reckoned_anew():
    tax = {"txr_1": {"amount": 1, "taxable": 9, "inclusive": True}}
    line = replace(LINE, discounts={"di_1": 3}, credits={"cbtxn_1": 2}, taxes=tax)
    [again] = lines_again(replace(INVOICE, lines=(line,)), "in_2")
    assert (again.discounts, again.credits, again.taxes) == (None, None, None)


@pytest.mark.parametrize("status", [InvoiceStatus.DRAFT, InvoiceStatus.PAID])
def test_what_cannot_be_revised(status: InvoiceStatus):
    with pytest.raises(ValueError, match=f"The invoice in_1 is {status}: only one"):
        check_revisable(replace(INVOICE, status=status))


def taxed(amount: int, taxes: dict[str, dict[str, object]], **discounts: int) -> Invoice:
    """An invoice of 1200 with that much of tax, and discounts of its own."""
    line = replace(LINE, amount=amount, taxes=taxes, discounts=discounts or None)
    left = amount - sum(discounts.values())
    on_top = sum(int(str(t["amount"])) for t in taxes.values() if not t["inclusive"])
    return replace(INVOICE, subtotal=amount, total=left + on_top, total_taxes=taxes, lines=(line,))


def test_sums_without_tax():
    included = {"amount": 200, "taxable": 1000, "inclusive": True}
    on_top = {"amount": 240, "taxable": 1200, "inclusive": False}
    half = {"amount": 100, "taxable": 500, "inclusive": True}
    for invoice, subtotal, total in [
        (taxed(1200, {}), 1200, 1200),
        (taxed(1200, {"txr_1": included}), 1000, 1000),
        (taxed(1200, {"txr_1": on_top}), 1200, 1200),
        (taxed(1200, {"txr_1": half}, di_1=600), 1000, 500),
        (taxed(-1200, {"txr_1": {**included, "amount": -200}}), -1000, -1000),
    ]:
        assert (subtotal_excluding_tax(invoice), total_excluding_tax(invoice)) == (subtotal, total)
