"""From the lines of a draft to its totals: discounts off, credits off, taxes on.

In this order, for each line: the discounts of its own, those of its invoice, credits, and taxes of
what is left. Each step makes whole minor units, so that the columns of an invoice always add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from postpaid.core.discounts import Coupon
from postpaid.core.invoicing import Invoice, check_sums
from postpaid.core.lines import Line, is_commitment
from postpaid.core.money import EXACT, round_minor, round_part
from postpaid.core.pricing import DetailKind
from postpaid.core.tax_rates import TaxRate
from postpaid.core.values import replace

HUNDRED = Decimal(100)


class TaxReason(StrEnum):
    """Why a line is taxed as it is, in Stripe's words."""

    NOT_AVAILABLE = "not_available"  # the rates were set by hand
    CUSTOMER_EXEMPT = "customer_exempt"
    REVERSE_CHARGE = "reverse_charge"  # the customer accounts for it


@dataclass(frozen=True, slots=True)
class Applied:
    """A discount that holds for an invoice, and its terms."""

    discount_id: str
    coupon: Coupon


def adjusted(
    invoice: Invoice,
    *,
    discounts: Sequence[Applied],
    line_discounts: Mapping[str, Applied],
    tax_rates: Mapping[str, TaxRate],
    reason: TaxReason = TaxReason.NOT_AVAILABLE,
) -> Invoice:
    """The draft with these discounts and taxes and no others, and the totals that follow.

    ``discounts`` are the invoice's, in their order; ``line_discounts`` has those of lines by id,
    and ``tax_rates`` all that hold. What a line names and is in neither no longer holds. Credits
    that lines have stay, and so do the discounts of prorations: they are of the past.
    """
    lines = [
        replace(
            line,
            discount_ids=[each for each in line.discount_ids or () if each in line_discounts]
            or None,
            discounts=None,
        )
        if (line.discount_ids or line.discounts) and not line.proration
        else line
        for line in invoice.lines
    ]
    taken: list[dict[str, int]] = [{} for _ in lines]
    _take_off_lines(invoice.currency, lines, line_discounts, taken)
    for applied in discounts:
        _take_off(applied, invoice.currency, lines, taken, range(len(lines)))
    lines = [
        replace(line, discounts=off) if off else line
        for line, off in zip(lines, taken, strict=True)
    ]
    default_ids = [each for each in invoice.tax_rate_ids or () if each in tax_rates]
    lines = [_taxed(line, default_ids, tax_rates, reason) for line in lines]
    return totaled(invoice, lines)


def taking_off(invoice: Invoice) -> list[str]:
    """The discounts that take something off the invoice, but for those of prorations.

    Those were taken off what was prorated, before: by this invoice they are not used.
    """
    return list(
        dict.fromkeys(
            key for line in invoice.lines if not line.proration for key in line.discounts or ()
        )
    )


def totaled(invoice: Invoice, lines: Iterable[Line]) -> Invoice:
    """The draft with these lines, and the totals that follow from what is on them.

    Stripe: the subtotal is after the discounts of single lines, the total after all of them, after
    credits, and with the taxes that are not in the amounts already. Raises as ``check_sums`` does.
    """
    lines = tuple(lines)
    subtotal = total = 0
    discounts: dict[str, int] = {}
    credits: dict[str, int] = {}
    taxes: dict[str, dict[str, Any]] = {}
    for line in lines:
        own = line.discount_ids or ()
        subtotal += line.amount
        total += line.amount
        for discount_id, amount in (line.discounts or {}).items():
            discounts[discount_id] = discounts.get(discount_id, 0) + amount
            subtotal -= amount if discount_id in own else 0
            total -= amount
        for transaction_id, amount in (line.credits or {}).items():
            credits[transaction_id] = credits.get(transaction_id, 0) + amount
            total -= amount
        for tax_rate_id, tax in (line.taxes or {}).items():
            if tax_rate_id in taxes:
                taxes[tax_rate_id]["amount"] += tax["amount"]
                taxes[tax_rate_id]["taxable"] += tax["taxable"]
            else:
                taxes[tax_rate_id] = dict(tax)
            total += 0 if tax["inclusive"] else tax["amount"]
    check_sums(subtotal, total, *(tax["amount"] for tax in taxes.values()))
    return replace(
        invoice,
        lines=lines,
        subtotal=subtotal,
        total=total,
        amount_due=max(0, total + invoice.starting_balance),
        total_discounts=discounts or None,
        total_credits=credits or None,
        total_taxes=taxes or None,
    )


# ─── Discounts ───────────────────────────────────────────────────────────────────────────────


def _settled(lines: Sequence[Line]) -> dict[int, int]:
    """What of usage other lines take off again, by the places of those that bill it.

    It was billed before, with its discounts, or is prepaid, or is more than the most. What is over
    the most of a whole subscription is taken off all of its usage, in proportion.
    """
    off: dict[str, int] = {}
    over = 0
    for line in lines:
        if line.kind == DetailKind.BILLED:
            name = _billed_of(line)
            off[name] = off.get(name, 0) - line.amount
        elif is_commitment(line):
            over += max(0, -line.amount)
        elif line.kind == DetailKind.MAXIMUM:
            off[line.obligation] = off.get(line.obligation, 0) - line.amount
    found: dict[int, int] = {}
    for place, line in enumerate(lines):
        part = min(line.amount, off.get(line.obligation, 0))
        if part > 0:
            found[place] = part
            off[line.obligation] -= part
    if not over:
        return found
    rest = {
        place: line.amount - found.get(place, 0)
        for place, line in enumerate(lines)
        if line.meter_id and line.amount > found.get(place, 0)
    }
    for place, part in zip(rest, spread(over, list(rest.values())), strict=True):
        found[place] = found.get(place, 0) + part
    return found


def _billed_of(line: Line) -> str:
    """The obligation of which the line takes off what was billed: ``…/period-0/billed`` is its.

    On a revision both bear its id behind (``core/revisions``).
    """
    name, _, last = line.obligation.rpartition("/")
    _, at, behind = last.partition("@")
    return f"{name}{at}{behind}"


def _take_off_lines(
    currency: str,
    lines: Sequence[Line],
    line_discounts: Mapping[str, Applied],
    taken: Sequence[dict[str, int]],
) -> None:
    """What the lines' own discounts come to; one of an amount is shared by the lines that it is on.

    Those lines are the tiers of one item, whose discount it is.
    """
    places: dict[tuple[int, str], list[int]] = {}
    for place, line in enumerate(lines):
        for order, discount_id in enumerate(line.discount_ids or ()):
            places.setdefault((order, discount_id), []).append(place)
    for (_, discount_id), on in sorted(places.items(), key=lambda each: each[0][0]):
        _take_off(line_discounts[discount_id], currency, lines, taken, on)


def _take_off(
    applied: Applied,
    currency: str,
    lines: Sequence[Line],
    taken: Sequence[dict[str, int]],
    on: Iterable[int],
) -> None:
    """Add to ``taken`` what the discount takes off the lines at the places ``on``.

    Stripe: of what earlier discounts left. Prorations and what is not discountable take no part,
    and neither do credits, which are negative. Of usage only what is not settled takes part.
    """
    coupon = applied.coupon
    settled = _settled(lines)
    left: dict[int, int] = {}
    for place in on:
        line = lines[place]
        if not line.discountable or line.proration or applied.discount_id in taken[place]:
            continue
        if coupon.product_ids and line.product_id not in coupon.product_ids:
            continue
        rest = line.amount - sum(taken[place].values()) - settled.get(place, 0)
        if rest > 0:
            left[place] = rest
    order = sum(line.amount for line in lines)
    parts = parts_off(coupon, currency, list(left.values()), order=order)
    for place, part in zip(left, parts, strict=True):
        if part:
            taken[place][applied.discount_id] = part


def parts_off(coupon: Coupon, currency: str, over: Sequence[int], *, order: int) -> list[int]:
    """What the coupon takes off each of these positive amounts of an order that comes to ``order``.

    Whole minor units, and no more than the amounts are; of too small an order it is nothing. A
    percentage that comes to more than the coupon's most is cut in proportion.
    """
    if not coupon.takes_off_in(currency) or order < (coupon.minimum_amount or 0):
        return [0] * len(over)
    if coupon.percent_off is None:
        return spread(coupon.amount_in(currency) or 0, over)
    parts = [percent_of(coupon.percent_off, each) for each in over]
    if coupon.max_amount_off is None or sum(parts) <= coupon.max_amount_off:
        return parts
    return spread(coupon.max_amount_off, parts)


def percent_of(percentage: Decimal, amount: int) -> int:
    """``percentage`` percent of minor units, rounded to whole ones: 10 of 1005 is 101."""
    return round_minor(EXACT.divide(EXACT.multiply(percentage, Decimal(amount)), HUNDRED))


def spread(amount: int, over: Sequence[int]) -> list[int]:
    """Whole minor units of ``amount`` in proportion to positive amounts, and no more than they are.

    Stripe: each part is cut to whole units, and the last takes what that leaves: 500 over 1000 and
    2000 is 166 and 334. What the last cannot take is for the one before it.
    """
    whole = sum(over)
    amount = min(amount, whole)
    if amount <= 0:
        return [0] * len(over)
    parts = [amount * each // whole for each in over]
    rest = amount - sum(parts)
    for place in reversed(range(len(over))):
        more = min(rest, over[place] - parts[place])
        parts[place] += more
        rest -= more
    return parts


# ─── Taxes ───────────────────────────────────────────────────────────────────────────────────


def _taxed(
    line: Line, default_ids: Sequence[str], tax_rates: Mapping[str, TaxRate], reason: TaxReason
) -> Line:
    """The line with its taxes; it goes by the invoice's rates when it has none of its own."""
    own = [each for each in line.tax_rate_ids or () if each in tax_rates]
    ids = own or default_ids
    if not ids:
        return replace(line, taxes=None) if line.taxes else line
    rates = [tax_rates[each] for each in ids]
    return replace(line, taxes=_taxes(_left(line), rates, reason))


def _left(line: Line) -> int:
    """What of the line is taxed: its amount after discounts and credits."""
    off = sum((line.discounts or {}).values()) + sum((line.credits or {}).values())
    return line.amount - off


def _taxes(amount: int, rates: Sequence[TaxRate], reason: TaxReason) -> dict[str, dict[str, Any]]:
    """The taxes of an amount, by rate, each rounded to whole minor units.

    Those within it are taken out together; what is left is what all of them are a percentage of.
    Of a customer who is exempt, nothing is taxed (Stripe: the line says so, with the amount 0).
    """
    charged = reason == TaxReason.NOT_AVAILABLE
    within = sum((each.percentage for each in rates if each.inclusive), Decimal(0))
    included = {
        each.id: _within(amount, each.percentage, within) if charged else 0
        for each in rates
        if each.inclusive
    }
    base = amount - sum(included.values()) if charged else 0
    return {
        each.id: {
            "amount": included[each.id] if each.inclusive else percent_of(each.percentage, base),
            "taxable": base,
            "inclusive": each.inclusive,
            "reason": reason.value,
        }
        for each in rates
    }


def _within(amount: int, percentage: Decimal, all_within: Decimal) -> int:
    """The part of an amount that is this tax, when ``all_within`` percent of its net are in it."""
    return round_part(amount * Fraction(percentage) / (100 + Fraction(all_within)))
