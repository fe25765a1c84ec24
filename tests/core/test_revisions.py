"""What a revision's lines are called while what it revises is owed, and after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lines import NOW, a_draft, a_line
from postpaid.core.invoicing import Invoice, InvoiceStatus
from postpaid.core.revisions import check_revisable, in_place, lines_again
from postpaid.core.tax_totals import subtotal_excluding_tax, total_excluding_tax

LINE = a_line(1200)
INVOICE = a_draft(
    status=InvoiceStatus.OPEN,
    number="A-0001",
    subtotal=1200,
    total=1200,
    ending_balance=0,
    amount_due=1200,
    finalized_at=NOW,
    lines=(LINE,),
)


@pytest.mark.parametrize("status", [InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE])
def test_a_line_waits_for_its_name_while_it_is_owed(status: InvoiceStatus):
    original = replace(INVOICE, status=status)
    [line] = lines_again(original, "in_2")
    assert line.obligation == "sub_1/si_0/period-0@in_2"
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
