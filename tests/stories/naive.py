"""What invoices must come to, said as plainly as possible: fractions, loops, and no cleverness.

Nothing here is shared with the engine. Times are Unix seconds and every amount is in cents.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction

Rate = Callable[[Fraction], list[int]]


def rounded(amount: Fraction) -> int:
    """To the nearest cent, half away from zero."""
    whole = (abs(amount) * 2 + 1) // 2
    return int(whole if amount >= 0 else -whole)


def month_after(anchor: int, months: int) -> int:
    start = datetime.fromtimestamp(anchor, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


@dataclass(frozen=True)
class NaivePrice:
    """``unit`` cents of a licence; or how much usage costs, each number on a line of its own."""

    name: str
    unit: int = 0
    rate: Rate | None = None


@dataclass
class Charge:
    """What was paid in advance, for which time."""

    amount: int
    start: int
    end: int


@dataclass
class NaiveItem:
    price: NaivePrice
    quantity: int
    usage_from: int
    paid: list[Charge] = field(default_factory=list)


@dataclass
class Books:
    """One customer with one subscription to prices of a month, in flexible billing mode."""

    anchor: int
    items: dict[str, NaiveItem] = field(default_factory=dict)
    used: list[tuple[int, Fraction]] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    drafts: list[tuple[str, list[int], dict[str, tuple[NaivePrice, int, int]]]] = field(
        default_factory=list
    )
    invoices: list[tuple[str, list[int], int]] = field(default_factory=list)
    balance: int = 0
    months: int = 0
    ends_with_period: bool = False
    ended: bool = False

    @property
    def start(self) -> int:
        return month_after(self.anchor, self.months)

    @property
    def end(self) -> int:
        return month_after(self.anchor, self.months + 1)

    def subscribe(self, prices: dict[str, tuple[NaivePrice, int]]) -> None:
        for name, (price, quantity) in prices.items():
            self.items[name] = NaiveItem(price, quantity, self.anchor)
        lines = self.licences()
        if lines:
            self.issue("subscription_create", lines)

    def licences(self) -> list[int]:
        lines = []
        for item in self.items.values():
            if item.price.rate is None:
                item.paid = [Charge(item.price.unit * item.quantity, self.start, self.end)]
                lines.append(item.paid[0].amount)
        return lines

    def usage(self, start: int, end: int) -> Fraction:
        total = sum((value for at, value in self.used if start <= at < end), Fraction(0))
        return max(total, Fraction(0))

    def settle_usage(self, item: NaiveItem, now: int, behavior: str) -> None:
        """What was used at a price until now is owed, whatever comes after."""
        used = self.usage(item.usage_from, now)
        if behavior != "none" and item.price.rate and used:
            self.pending += item.price.rate(used)
        item.usage_from = now

    def credit(self, item: NaiveItem, now: int) -> None:
        for charge in item.paid:
            left = Fraction(self.end - now, charge.end - charge.start)
            self.pending.append(-rounded(charge.amount * left))
        item.paid = []

    def charge(self, item: NaiveItem, now: int) -> None:
        left = Fraction(self.end - now, self.end - self.start)
        amount = rounded(item.price.unit * item.quantity * left)
        self.pending.append(amount)
        item.paid = [Charge(amount, now, self.end)]

    def change(self, name: str, price: NaivePrice, quantity: int, behavior: str, now: int) -> None:
        item = self.items[name]
        if (item.price, item.quantity) == (price, quantity):
            self.changed(behavior)
            return
        was_free = self.is_free()
        if price.rate is not None:
            self.settle_usage(item, now, behavior)
        elif behavior != "none":
            self.credit(item, now)
        item.price, item.quantity = price, quantity
        if price.rate is None and behavior != "none":
            self.charge(item, now)
        self.changed(behavior, was_free)

    def add(self, name: str, price: NaivePrice, quantity: int, behavior: str, now: int) -> None:
        was_free = self.is_free()
        item = self.items[name] = NaiveItem(price, quantity, now)
        if price.rate is None and behavior != "none":
            self.charge(item, now)
        self.changed(behavior, was_free)

    def remove(self, name: str, behavior: str, now: int) -> None:
        item = self.items.pop(name)
        if item.price.rate is not None:
            self.settle_usage(item, now, behavior)
        elif behavior != "none":
            self.credit(item, now)
        self.changed(behavior)

    def is_free(self) -> bool:
        return all(
            item.price.rate is None and item.price.unit * item.quantity == 0
            for item in self.items.values()
        )

    def changed(self, behavior: str, was_free: bool = False) -> None:
        """Pending amounts are invoiced at once when asked, or when nothing was owed before."""
        costs = any(item.price.unit * item.quantity for item in self.items.values())
        at_once = behavior == "always_invoice" or (was_free and costs and behavior != "none")
        if at_once and self.pending:
            self.issue("subscription_update", self.take_pending())

    def take_pending(self) -> list[int]:
        lines, self.pending = self.pending, []
        return lines

    def pass_time(self, until: int) -> None:
        """Renewals, and their drafts an hour later, in the order in which they come."""
        while not self.ended and self.end <= until:
            end = self.end
            self.finalize(before=end)
            metered = {
                name: (item.price, item.usage_from, end)
                for name, item in self.items.items()
                if item.price.rate is not None
            }
            lines = self.take_pending()
            if self.ends_with_period:
                self.ended = True
            else:
                self.months += 1
                for item in self.items.values():
                    item.usage_from = end
                lines += self.licences()
            self.drafts.append(("subscription_cycle", lines, metered))
        if self.drafts and until >= self.last_close + 3600:
            self.finalize(before=until)

    @property
    def last_close(self) -> int:
        return self.end if self.ended else self.start

    def finalize(self, before: int) -> None:
        for reason, lines, metered in self.drafts:
            late = [
                amount
                for price, start, end in metered.values()
                if price.rate is not None
                for amount in price.rate(self.usage(start, end))
            ]
            if lines or metered:
                self.issue(reason, lines + late)
        self.drafts = []

    def cancel(self, invoice_now: bool, prorate: bool, now: int) -> None:
        usage: list[int] = []
        for item in self.items.values():
            if item.price.rate is None:
                if prorate:
                    self.credit(item, now)
            elif item.usage_from < now:
                usage += item.price.rate(self.usage(item.usage_from, now))
        if invoice_now and (self.pending or usage):
            self.issue("manual", self.take_pending() + usage)
        self.ended = True

    def issue(self, reason: str, lines: list[int]) -> None:
        """An invoice is paid at once: from what the customer has, and by card for the rest."""
        total = sum(lines)
        due = max(0, total + self.balance) if total > 0 else 0
        self.balance = self.balance + total - due
        self.invoices.append((reason, sorted(each for each in lines if each), due))
