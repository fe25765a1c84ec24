"""What of a customer's usage of a meter is billed by windows, and what is still to be billed.

A window is ``[start, end)`` and is rated by itself, from the first unit on. Windows of one
customer's usage of one meter never overlap: of what is asked for, the pieces that nothing has
billed are billed, each as a window of its own. What came late into a window that is billed is
billed when that window, or one that covers it, is asked for again: all of it is rated anew, by the
price that it was rated by, and what was billed of it is taken off. So tiers go on where they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from postpaid.core.invoice_items import InvoiceItem
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import ZERO, Line, Obligation, lines_of
from postpaid.core.money import EXACT, plain
from postpaid.core.pricing import DetailKind
from postpaid.core.subscriptions import Sold
from postpaid.core.values import replace

WINDOW_MAX = timedelta(days=3653)
"""No window is longer: ten years."""

BILLED, PREPAID = "/billed", "/prepaid"
"""What is behind a window's name in that of the line that takes off what is paid already."""

Span = tuple[datetime, datetime]
"""``[start, end)``"""


@dataclass(frozen=True, slots=True)
class BilledWindow:
    """A window that is billed: by which price, up to what quantity, and for how much so far.

    ``obligations`` are the names that its invoices bill it under, in the invoices' order.
    """

    customer_id: str
    meter_id: str
    start: datetime
    end: datetime
    price_id: str
    quantity: Decimal
    amount: int
    obligations: Sequence[str]
    invoice_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class WindowBilling:
    """That an invoice bills a window: the quantity known then, and what it adds in minor units."""

    obligation: str
    invoice_id: str
    customer_id: str
    meter_id: str
    start: datetime
    end: datetime
    price_id: str
    quantity: Decimal
    amount: int


@dataclass(frozen=True, slots=True)
class Due:
    """A window that may be billed now: for the first time, or again, ``before`` being how it is."""

    customer_id: str
    meter_id: str
    start: datetime
    end: datetime
    price_id: str
    name: str
    before: BilledWindow | None = None


def windows_due(
    customer_id: str,
    meter_id: str,
    price_id: str,
    asked: Span,
    billed: Sequence[BilledWindow],
    elsewhere: Iterable[Span],
) -> list[Due]:
    """The windows that make up what is asked for, in order: pieces that are new, and billed ones.

    ``billed`` are those of the customer's usage of the meter, and ``elsewhere`` the spans of it
    that subscriptions have billed. A billed window that is only touched, and not covered, is left.
    """
    start, end = asked
    taken = [*((each.start, each.end) for each in billed), *elsewhere]
    found = [
        Due(customer_id, meter_id, *piece, price_id, name_of(customer_id, meter_id, *piece))
        for piece in pieces(start, end, taken)
    ]
    found += [
        Due(
            customer_id,
            meter_id,
            each.start,
            each.end,
            each.price_id,
            _next_name(each),
            before=each,
        )
        for each in billed
        if start <= each.start and each.end <= end
    ]
    return sorted(found, key=lambda each: each.start)


def pieces(start: datetime, end: datetime, taken: Iterable[Span]) -> list[Span]:
    """What is left of ``[start, end)`` without the spans that are taken, in order."""
    found = []
    for since, until in sorted(taken):
        if since > start:
            found.append((start, min(since, end)))
        start = max(start, until)
        if start >= end:
            return found
    return [*found, (start, end)]


def lines_due(due: Due, sold: Sold, quantity: Decimal) -> list[Line]:
    """The lines that bill the window's ``quantity``, less what was billed of it; none for nothing.

    A window in which nothing was used is not billed, not even a tier's flat amount. Of one that is
    billed nothing is taken back because its usage became less: that is a credit note's business.
    Raises ValueError for what cannot be rated.
    """
    before = due.before
    if quantity <= 0:
        return []
    owed = Obligation(due.name, None, None, due.start, due.end, {})
    lines = lines_of(owed, sold, quantity)
    if before is None:
        return lines
    owes = sum(line.amount for line in lines) - before.amount
    if not owes or (owes < 0 and quantity <= before.quantity):
        return []
    if not before.amount:
        return lines
    description = f"Amount previously billed for {sold.product.name}"
    return [*lines, _off(lines[0], BILLED, before.amount, ZERO, description)]


def prepaid_lines(due: Due, sold: Sold, quantity: Decimal, prepaid: Decimal) -> list[Line]:
    """The line that takes off what ``prepaid`` units of the window's usage come to, if anything.

    They are the last of its units: of tiers the ones that it would cost the most, or the least.
    """
    if not prepaid:
        return []
    owed = Obligation(due.name, None, None, due.start, due.end, {})
    whole = lines_of(owed, sold, quantity)
    rest = lines_of(owed, sold, EXACT.subtract(quantity, prepaid))
    if prepaid == quantity:
        rest = []  # all of it is paid for, a tier's flat amount too
    amount = sum(line.amount for line in whole) - sum(line.amount for line in rest)
    label = f" {sold.product.unit_label}" if sold.product.unit_label else ""
    description = f"{plain(prepaid)}{label} prepaid of {sold.product.name}"
    return [_off(whole[0], PREPAID, max(0, amount), prepaid, description)]


def due_quantity(due: Due, quantity: Decimal) -> Decimal:
    """How much of the window's usage no invoice has billed."""
    before = ZERO if due.before is None else due.before.quantity
    return max(ZERO, EXACT.subtract(quantity, before))


def item_of(line: Line, item_id: str, invoice: Invoice) -> InvoiceItem:
    """The invoice item, on the invoice, that the line bills."""
    return InvoiceItem(
        id=item_id,
        customer_id=invoice.customer_id,
        clock_id=invoice.clock_id,
        invoice_id=invoice.id,
        subscription_id=None,
        subscription_item_id=None,
        price_id=line.price_id,
        product_id=line.product_id,
        meter_id=line.meter_id,
        obligation=line.obligation or item_id,
        part=line.part,
        period_start=line.period_start,
        period_end=line.period_end,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        tier=line.tier,
        kind=line.kind,
        amount=line.amount,
        currency=invoice.currency,
        description=line.description,
        discountable=line.discountable,
        proration=False,
        credited=None,
        discount_ids=None,
        tax_rate_ids=None,
        metadata=line.metadata,
        created_at=invoice.created_at,
    )


def billings_of(invoice: Invoice) -> list[WindowBilling]:
    """What the invoice bills of windows, as its lines say."""
    firsts = {
        line.obligation: line
        for line in invoice.lines
        if line.part == 0 and line.meter_id and line.subscription_item_id is None
    }
    quantities = dict.fromkeys(firsts, ZERO)
    amounts = dict.fromkeys(firsts, 0)
    for line in invoice.lines:
        name = line.obligation.removesuffix(BILLED)
        if name not in firsts:
            continue
        amounts[name] += line.amount
        if name == line.obligation:
            quantities[name] = EXACT.add(quantities[name], line.quantity)
    return [
        WindowBilling(
            name,
            invoice.id,
            invoice.customer_id,
            line.meter_id or "",
            line.period_start,
            line.period_end,
            line.price_id or "",
            quantities[name],
            amounts[name],
        )
        for name, line in firsts.items()
    ]


def prepaid_windows(invoice: Invoice, original: Invoice) -> set[tuple[str, datetime]]:
    """Of which windows that ``original`` bills the invoice says that units had paid for them.

    Each as its meter and its start; the invoice has the names of the original's lines.
    """
    meter_of = {line.obligation: line.meter_id for line in original.lines if line.meter_id}
    names = {line.obligation.removesuffix(PREPAID): line.period_start for line in invoice.lines}
    said = {line.obligation for line in invoice.lines}
    return {
        (meter_of[name], start)
        for name, start in names.items()
        if name in meter_of and name + PREPAID in said
    }


# ─── Names ───────────────────────────────────────────────────────────────────────────────────


def name_of(customer_id: str, meter_id: str, start: datetime, end: datetime) -> str:
    """What is owed for a window, by name."""
    return f"usage/{customer_id}/{meter_id}/{_moment(start)}-{_moment(end)}"


def _next_name(billed: BilledWindow) -> str:
    """The first that none of its invoices has: its own, or ``…/late-1``, ``…/late-2``, …"""
    first = name_of(billed.customer_id, billed.meter_id, billed.start, billed.end)
    names: Mapping[str, None] = dict.fromkeys(billed.obligations)
    later = (f"{first}/late-{number}" for number in range(1, len(names) + 1))
    return next(each for each in (first, *later) if each not in names)


def _moment(instant: datetime) -> str:
    text = instant.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00").removesuffix(".000000") + "Z"


def _off(like: Line, what: str, amount: int, quantity: Decimal, description: str) -> Line:
    return replace(
        like,
        obligation=like.obligation + what,
        part=0,
        meter_id=None,
        quantity=quantity,
        unit_amount=None,
        tier=None,
        kind=DetailKind.BILLED,
        amount=-amount,
        description=description,
    )
