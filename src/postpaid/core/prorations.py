"""What a change costs within a running period: unused time credited, remaining time charged.

Stripe's rules. Only licences are prorated, to the second; every credit and every charge is rounded
by itself. Flexible billing mode credits what was debited, classic what the item would cost now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from postpaid.core.money import plain, round_part
from postpaid.core.periods import Period, fraction_remaining
from postpaid.core.pricing import rate, total
from postpaid.core.subscriptions import Sold
from postpaid.core.values import replace

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NOTHING_OFF: Mapping[str, Fraction] = {}


@dataclass(frozen=True, slots=True)
class Charge:
    """What was debited in advance for a running period, and can be credited: a line, or an item.

    ``amount`` is minor units, ``discounts`` what came off it ({discount: minor units}).
    ``line_id`` and ``invoice_id`` are None for an invoice item that is pending. Credits that still
    hold have given back ``returned`` minor units of it, for the time from ``returned_from`` on,
    and taken ``returned_discounts`` off what they gave back before discounts.
    """

    id: str
    obligation: str
    invoice_id: str | None
    line_id: str | None
    amount: int
    discounts: Mapping[str, int] | None
    quantity: Decimal
    period_start: datetime
    period_end: datetime
    returned: int = 0
    returned_discounts: Mapping[str, int] | None = None
    returned_from: datetime | None = None

    @property
    def net(self) -> int:
        """What was asked for, after discounts."""
        return self.amount - sum((self.discounts or {}).values())


@dataclass(frozen=True, slots=True)
class Proration:
    """One credit (its amount is not positive) or charge for the rest of a period.

    Where discounts are itemized, ``amount`` is before them, and ``discounts`` has what each takes
    off: of a credit it is negative.
    """

    period: Period
    quantity: Decimal
    amount: int
    description: str
    credited: Mapping[str, Any] | None = None
    discounts: Mapping[str, int] | None = None


def prorate(amount: Decimal, fraction: Fraction) -> int:
    """``fraction`` of ``amount`` minor units, exactly, rounded once to whole ones."""
    return round_part(Fraction(amount) * fraction)


def list_amount(sold: Sold, quantity: int | None) -> Decimal:
    """What a licence costs for a whole period, exactly: all of its tiers together."""
    return total(rate(sold.price.model, Decimal(1 if quantity is None else quantity)))


def credits_of_charges(
    sold: Sold,
    charges: Sequence[Charge],
    *,
    at: datetime,
    zone: str,
    itemized: bool = False,
) -> list[Proration]:
    """Flexible: the unused part of what was debited, one credit for each time it was debited.

    It is of what was left after discounts or, ``itemized``, of the amount and of each discount.

    What was given back is not given back again, unless that was made void. Nothing is credited
    that ended before ``at``.
    """
    groups: dict[str, list[Charge]] = {}
    for charge in charges:
        if charge.period_end > at:
            groups.setdefault(charge.obligation, []).append(charge)
    found = [_credit_of(sold, group, at, zone, itemized) for group in groups.values()]
    return [each for each in found if each is not None]


def credit_at_list_price(
    sold: Sold,
    quantity: int | None,
    period: Period,
    *,
    at: datetime,
    until: datetime,
    zone: str,
    off: Mapping[str, Fraction] = NOTHING_OFF,
) -> Proration:
    """Classic: the unused part of what the licence costs now, of its whole ``period``.

    ``off`` is what part of the list price each discount takes off.
    """
    net = 1 - sum(off.values(), Fraction(0))
    amount = prorate(-list_amount(sold, quantity), _share(period, at, until) * net)
    return _proration("Unused", sold, _licensed(quantity), amount, at, period, until, zone)


def charge_of_rest(
    sold: Sold,
    quantity: int | None,
    period: Period,
    *,
    at: datetime,
    until: datetime,
    zone: str,
    off: Mapping[str, Fraction] = NOTHING_OFF,
    itemized: bool = False,
) -> Proration:
    """The remaining part of what the licence costs for its whole ``period``.

    ``until`` is where the running period ends, which in a stub is before the whole one does.
    ``off`` is what part of the list price each discount takes off: of the amount or, ``itemized``,
    beside it.
    """
    listed, share = list_amount(sold, quantity), _share(period, at, until)
    net = 1 - sum(off.values(), Fraction(0))
    amount = prorate(listed, share if itemized else share * net)
    made = _proration("Remaining", sold, _licensed(quantity), amount, at, period, until, zone)
    if not itemized:
        return made
    discounts = {key: prorate(listed, share * part) for key, part in off.items()}
    return replace(made, discounts=_told(discounts))


def day_in_words(at: datetime, zone: str) -> str:
    """The day as prorations name it: "01 Sep 2026"."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day:02d} {_MONTHS[local.month - 1]} {local.year}"


def _share(period: Period, at: datetime, until: datetime) -> Fraction:
    """How much of the whole period [at, until) is."""
    at = min(max(at, period.start), period.end)
    until = min(max(until, at), period.end)
    return fraction_remaining(period, at) - fraction_remaining(period, until)


def _told(discounts: Mapping[str, int]) -> Mapping[str, int] | None:
    return {key: amount for key, amount in discounts.items() if amount} or None


def _credit_of(
    sold: Sold, group: Sequence[Charge], at: datetime, zone: str, itemized: bool
) -> Proration | None:
    """What is left of one debit, whose lines are tiers; None when all of it was given back."""
    whole = group[0]
    period = Period(whole.period_start, whole.period_end)
    since = [each.returned_from for each in group if each.returned_from is not None]
    until = min([whole.period_end, *since])
    if until <= at or (since and until <= whole.period_start):
        return None
    share = _share(period, at, whole.period_end)
    # What was given back is taken off, so that all of it together is never more than the debit.
    amount = prorate(Decimal(-sum(each.net for each in group)), share)
    amount += sum(each.returned for each in group)
    discounts: dict[str, int] = {}
    if itemized:
        for key, off in _summed(each.discounts for each in group).items():
            discounts[key] = prorate(Decimal(-off), share)
        for key, off in _summed(each.returned_discounts for each in group).items():
            discounts[key] = discounts.get(key, 0) + off
        amount += sum(discounts.values())
    credited: dict[str, Any] = {"invoice_item": whole.id}
    if whole.invoice_id is not None:
        credited = {"invoice": whole.invoice_id, "lines": [each.line_id for each in group]}
    made = _proration("Unused", sold, _units(group), amount, at, period, until, zone, credited)
    return replace(made, discounts=_told(discounts))


def _summed(each_of: Iterable[Mapping[str, int] | None]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for each in each_of:
        for key, amount in (each or {}).items():
            summed[key] = summed.get(key, 0) + amount
    return summed


def _units(group: Iterable[Charge]) -> Decimal:
    """Flat lines have quantity 0, so the units are the sum."""
    return sum((charge.quantity for charge in group), Decimal(0))


def _licensed(quantity: int | None) -> Decimal:
    return Decimal(1 if quantity is None else quantity)


def _proration(
    word: str,
    sold: Sold,
    quantity: Decimal,
    amount: int,
    at: datetime,
    period: Period,
    until: datetime,
    zone: str,
    credited: Mapping[str, Any] | None = None,
) -> Proration:
    many = "" if quantity == 1 else f"{plain(quantity)} × "
    return Proration(
        period=Period(min(max(at, period.start), period.end), until),
        quantity=quantity,
        amount=amount,
        description=f"{word} time on {many}{sold.product.name} after {day_in_words(at, zone)}",
        credited=credited,
    )
