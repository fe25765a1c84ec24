"""An invoice's sums without tax, from what its lines say of theirs."""

from __future__ import annotations

from fractions import Fraction

from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line
from postpaid.core.money import round_part


def subtotal_excluding_tax(invoice: Invoice) -> int:
    """The subtotal, in minor units, without the tax that its prices include.

    Stripe: before any discount of the invoice. The tax that a line includes is reckoned on what is
    left after discounts, so it is scaled up to what it would have been without the invoice's.
    """
    return invoice.subtotal - sum(_included_before_discounts(line) for line in invoice.lines)


def total_excluding_tax(invoice: Invoice) -> int:
    """The total, in minor units, without any tax."""
    taxes = (invoice.total_taxes or {}).values()
    return invoice.total - sum(int(tax["amount"]) for tax in taxes)


def _included_before_discounts(line: Line) -> int:
    included = sum(int(tax["amount"]) for tax in (line.taxes or {}).values() if tax["inclusive"])
    if not included:
        return 0
    own = frozenset(line.discount_ids or ())
    discounts = line.discounts or {}
    before = line.amount - sum(amount for key, amount in discounts.items() if key in own)
    after = line.amount - sum(discounts.values()) - sum((line.credits or {}).values())
    if not after:
        return included
    return round_part(Fraction(included * before, after))
