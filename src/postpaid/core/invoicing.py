"""What an invoice is: obligations with names, lines that explain themselves, totals, a status.

The order of operations on a line, and why it is this one:

1. aggregate  the window's usage is one quantity (metering), because tiers price the whole;
2. rate       the price turns the quantity into details, tier by tier, in exact decimals;
3. round      each detail becomes a line of whole minor units: the one rounding;
4. total      the invoice is the sum of its lines, so the lines on paper always add up;
5. balance    what the customer's account already holds settles first, and the rest is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from postpaid.core.errors import ActionNotAllowed
from postpaid.core.money import format_amount, plain, round_minor
from postpaid.core.periods import Recurrence
from postpaid.core.pricing import Detail, DetailKind, Model, rate
from postpaid.core.subscriptions import (
    BillingMode,
    Catalog,
    CollectionMethod,
    Item,
    Sold,
    Subscription,
)
from postpaid.core.values import replace

GRACE = timedelta(hours=1)  # Stripe: a renewal's draft stays open to late usage for an hour
ZERO = Decimal(0)


class InvoiceStatus(StrEnum):
    """The five statuses of an invoice."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


class InvoiceAction(StrEnum):
    """What can happen to an invoice's status."""

    FINALIZE = "finalize"
    PAY = "pay"
    MARK_UNCOLLECTIBLE = "mark_uncollectible"
    VOID = "void"


_S, _A = InvoiceStatus, InvoiceAction

TRANSITIONS = {
    (_S.DRAFT, _A.FINALIZE): _S.OPEN,
    (_S.OPEN, _A.PAY): _S.PAID,
    (_S.OPEN, _A.MARK_UNCOLLECTIBLE): _S.UNCOLLECTIBLE,
    (_S.OPEN, _A.VOID): _S.VOID,
    (_S.UNCOLLECTIBLE, _A.PAY): _S.PAID,
    (_S.UNCOLLECTIBLE, _A.VOID): _S.VOID,
}


def next_status(status: InvoiceStatus, action: InvoiceAction) -> InvoiceStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise ActionNotAllowed(
            f"An invoice that is {status} cannot {action.replace('_', ' ')}."
        ) from None


class BillingReason(StrEnum):
    """Why an invoice was made."""

    SUBSCRIPTION_CREATE = "subscription_create"
    SUBSCRIPTION_CYCLE = "subscription_cycle"
    SUBSCRIPTION_UPDATE = "subscription_update"
    SUBSCRIPTION_THRESHOLD = "subscription_threshold"
    MANUAL = "manual"
    UPCOMING = "upcoming"


@dataclass(frozen=True, slots=True)
class Line:
    """One amount on an invoice: a part of what an obligation owes, with its reason.

    ``obligation`` names what is billed and ``part`` counts its lines: together they are on at most
    one live invoice. ``amount`` is whole minor units, ``unit_amount`` exact ones per unit (None on
    a flat line). ``tier`` counts from 1. ``meter_id`` is set when the quantity is measured usage.

    ``discount_ids`` and ``tax_rate_ids`` are the line's own; None means that it goes by its
    invoice's. What they come to is in ``discounts`` ({discount: minor units}) and ``taxes`` ({tax
    rate: {amount, taxable, inclusive}}), and in ``credits`` ({credit balance transaction: minor
    units}) what credit grants paid. ``amount`` is before all of these.
    """

    id: str
    obligation: str
    part: int
    subscription_id: str | None
    subscription_item_id: str | None
    price_id: str | None
    product_id: str | None
    meter_id: str | None
    period_start: datetime
    period_end: datetime
    quantity: Decimal
    unit_amount: Decimal | None
    tier: int | None
    kind: DetailKind
    amount: int
    description: str
    metadata: Mapping[str, str]
    invoice_item_id: str | None = None
    proration: bool = False
    discountable: bool = True
    credited: Mapping[str, Any] | None = None
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    discounts: Mapping[str, int] | None = None
    credits: Mapping[str, int] | None = None
    taxes: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a customer owes, once: see ``docs/invariants.md`` for what holds of it.

    ``period_start`` and ``period_end`` are the window in which lines could gather, not the service
    period of its lines (Stripe). Amounts are minor units; ``amount_due`` is the total after the
    customer's balance and never negative.
    """

    id: str
    customer_id: str
    subscription_id: str | None
    clock_id: str | None
    status: InvoiceStatus
    number: str | None
    billing_reason: BillingReason
    collection_method: CollectionMethod
    days_until_due: int | None
    currency: str
    auto_advance: bool
    period_start: datetime
    period_end: datetime
    subtotal: int
    total: int
    starting_balance: int
    ending_balance: int | None
    amount_due: int
    amount_paid: int
    paid_out_of_band: bool
    attempted: bool
    attempt_count: int
    next_attempt_at: datetime | None
    finalizes_at: datetime | None
    due_at: datetime | None
    default_payment_method_id: str | None
    payment_intent_id: str | None
    customer_snapshot: Mapping[str, Any] | None
    description: str | None
    footer: str | None
    metadata: Mapping[str, str]
    subscription_metadata: Mapping[str, str] | None
    created_at: datetime
    finalized_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    marked_uncollectible_at: datetime | None
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None
    total_discounts: Mapping[str, int] | None = None
    total_credits: Mapping[str, int] | None = None
    total_taxes: Mapping[str, Mapping[str, Any]] | None = None
    pre_payment_credits: int = 0
    post_payment_credits: int = 0
    threshold_reason: Mapping[str, Any] | None = None
    from_invoice_id: str | None = None
    latest_revision_id: str | None = None
    proration_at: datetime | None = None
    appearance: Mapping[str, Any] | None = None
    given_number: str | None = None
    effective_at: datetime | None = None
    uncollectible_reason: str | None = None
    lines: tuple[Line, ...] = field(default=())

    @property
    def amount_remaining(self) -> int:
        """What is still to be paid: credit notes on it before it was paid lower it (Stripe)."""
        return self.amount_due - self.amount_paid - self.pre_payment_credits


# ─── Lines ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Obligation:
    """What one item owes for one period: named before any row exists, and billed once."""

    name: str
    subscription_id: str
    item_id: str
    period_start: datetime
    period_end: datetime
    metadata: Mapping[str, str]
    discount_ids: Sequence[str] | None = None
    tax_rate_ids: Sequence[str] | None = None


def obligation_of(item: Item) -> Obligation:
    """What the item owes for the period it is in."""
    again = f"{item.generation}." if item.generation else ""
    return Obligation(
        name=f"{item.subscription_id}/{item.id}/{again}period-{item.period_index}",
        subscription_id=item.subscription_id,
        item_id=item.id,
        period_start=item.period_start,
        period_end=item.period_end,
        metadata=item.metadata,
        discount_ids=item.discount_ids,
        tax_rate_ids=item.tax_rate_ids,
    )


def opening_lines(subscription: Subscription, catalog: Catalog) -> list[Line]:
    """The lines of a first invoice: licensed items pay their first period in advance.

    Classic billing mode adds a line of amount 0 for every metered item (Stripe).
    """
    lines: list[Line] = []
    for item in reversed(subscription.items):
        sold = catalog[item.price_id]
        if not sold.price.metered:
            lines += lines_of(obligation_of(item), sold, _licensed_quantity(item))
        elif subscription.billing_mode == BillingMode.CLASSIC:
            lines.append(_opening_zero_line(item, sold))
    return lines


def closing_lines(
    before: Subscription,
    after: Subscription | None,
    catalog: Catalog,
    usage: Mapping[str, Decimal],
) -> list[Line]:
    """The lines of the invoice at the end of a period, newest item first (Stripe's order).

    Metered items bill the period that ended, in arrears: ``usage`` has the billable quantity by
    obligation, zero included. Licensed items bill the period that begins, in advance: ``after`` is
    the subscription in it, and None when there is none because the subscription ends.
    """
    lines: list[Line] = []
    begun = {item.id: item for item in after.items} if after else {}
    for item in reversed(before.items):
        if item.period_end != before.closes_at:
            continue
        sold = catalog[item.price_id]
        if sold.price.metered:
            owed = obligation_of(item)
            lines += lines_of(owed, sold, usage[owed.name])
        elif item.id in begun:
            lines += lines_of(obligation_of(begun[item.id]), sold, _licensed_quantity(item))
    return lines


def metered_items(subscription: Subscription, catalog: Catalog) -> list[Item]:
    """The metered items whose period ends when the subscription closes."""
    return [
        item
        for item in subscription.items
        if item.period_end == subscription.closes_at and catalog[item.price_id].price.metered
    ]


def metered_obligations(invoice: Invoice) -> list[Line]:
    """The first line of every obligation of the draft that bills usage of a window that has ended.

    Classic's opening lines are not among them: they stand for a window that has only begun. Nor
    are invoice items: what they bill was settled when they were made.
    """
    return [
        line
        for line in invoice.lines
        if line.part == 0
        and line.meter_id
        and line.period_end <= invoice.period_end
        and line.invoice_item_id is None
    ]


def with_usage(invoice: Invoice, catalog: Catalog, usage: Mapping[str, Decimal]) -> Invoice:
    """The draft with its metered lines as ``usage``, by obligation, has them by now.

    The same draft when nothing changed, which is how most renewals end their hour of grace.
    """
    billed: dict[str, Decimal] = {}
    for line in invoice.lines:
        if line.obligation in usage:
            billed[line.obligation] = billed.get(line.obligation, ZERO) + line.quantity
    if billed == usage:
        return invoice
    lines: list[Line] = []
    for line in invoice.lines:
        if line.obligation not in usage:
            lines.append(line)
        elif line.part == 0:
            assert line.subscription_id is not None
            assert line.subscription_item_id is not None
            assert line.price_id is not None
            owed = Obligation(
                line.obligation,
                line.subscription_id,
                line.subscription_item_id,
                line.period_start,
                line.period_end,
                line.metadata,
                line.discount_ids,
                line.tax_rate_ids,
            )
            lines += lines_of(owed, catalog[line.price_id], usage[line.obligation])
    return with_lines(invoice, lines)


def lines_of(owed: Obligation, sold: Sold, quantity: Decimal) -> list[Line]:
    """The lines that bill ``quantity`` of what is owed, one for each detail of its rating.

    Their ids are empty until they are written. Raises ValueError for a quantity or an amount beyond
    what can be billed.
    """
    return [
        _line(owed, part, sold, detail)
        for part, detail in enumerate(rate(sold.price.model, quantity))
    ]


def _licensed_quantity(item: Item) -> Decimal:
    return Decimal(1 if item.quantity is None else item.quantity)


def _opening_zero_line(item: Item, sold: Sold) -> Line:
    """Classic: a metered item is on the first invoice, with nothing used yet and nothing owed."""
    owed = replace(obligation_of(item), name=f"{item.subscription_id}/{item.id}/opening")
    return replace(_line(owed, 0, sold, rate(sold.price.model, ZERO)[0]), amount=0)


def _line(owed: Obligation, part: int, sold: Sold, detail: Detail) -> Line:
    price = sold.price
    assert price.recurrence is not None, "an item's price recurs"
    return Line(
        id="",
        obligation=owed.name,
        part=part,
        subscription_id=owed.subscription_id,
        subscription_item_id=owed.item_id,
        price_id=price.id,
        product_id=price.product_id,
        meter_id=price.meter_id,
        period_start=owed.period_start,
        period_end=owed.period_end,
        quantity=detail.quantity,
        unit_amount=detail.unit_amount,
        tier=detail.tier,
        kind=detail.kind,
        amount=round_minor(detail.amount),
        description=describe(detail, sold, price.recurrence),
        metadata=owed.metadata,
        discount_ids=owed.discount_ids,
        tax_rate_ids=owed.tax_rate_ids,
    )


# ─── Words ───────────────────────────────────────────────────────────────────────────────────


def describe(detail: Detail, sold: Sold, recurrence: Recurrence) -> str:
    """A line for people, in Stripe's wording: "2000 × Calls (Tier 2 at $0.04 / month)"."""
    reason = _rate_in_words(
        sold.price.model,
        detail.tier,
        detail.kind,
        detail.unit_amount,
        detail.amount if detail.kind == DetailKind.FLAT else ZERO,
        sold.price.currency,
        recurrence,
    )
    if detail.kind == DetailKind.FLAT:
        return f"{sold.product.name} ({reason})"
    label = f" {sold.product.unit_label}" if sold.product.unit_label else ""
    return f"{plain(detail.quantity)}{label} × {sold.product.name} ({reason})"


@lru_cache(maxsize=4096)  # a cycle close describes the same few prices for every customer
def _rate_in_words(
    model: Model,
    tier: int | None,
    kind: DetailKind,
    unit_amount: Decimal | None,
    flat_amount: Decimal,
    currency: str,
    recurrence: Recurrence,
) -> str:
    amount = flat_amount if kind == DetailKind.FLAT else (unit_amount or ZERO)
    every = (
        f"/ {recurrence.interval}"
        if recurrence.count == 1
        else f"every {recurrence.count} {recurrence.interval}s"
    )
    per = f" per {model.transform.divide_by} units" if model.transform else ""
    where = "at" if tier is None else f"Tier {tier} at"
    return f"{where} {format_amount(amount, currency)}{per} {every}"


# ─── Invoices ────────────────────────────────────────────────────────────────────────────────


def draft(
    invoice_id: str,
    subscription: Subscription,
    lines: Sequence[Line],
    *,
    reason: BillingReason,
    period: tuple[datetime, datetime],
    auto_advance: bool,
    finalizes_at: datetime | None,
    now: datetime,
) -> Invoice:
    """A new draft of the subscription's ``lines``."""
    charged = subscription.collection_method == CollectionMethod.CHARGE_AUTOMATICALLY
    return with_lines(
        Invoice(
            id=invoice_id,
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            clock_id=subscription.clock_id,
            status=InvoiceStatus.DRAFT,
            number=None,
            billing_reason=reason,
            collection_method=subscription.collection_method,
            days_until_due=subscription.days_until_due,
            currency=subscription.currency,
            auto_advance=auto_advance,
            period_start=period[0],
            period_end=period[1],
            subtotal=0,
            total=0,
            starting_balance=0,
            ending_balance=None,
            amount_due=0,
            amount_paid=0,
            paid_out_of_band=False,
            attempted=False,
            attempt_count=0,
            next_attempt_at=finalizes_at if auto_advance and charged else None,
            finalizes_at=finalizes_at,
            due_at=None,
            default_payment_method_id=None,
            payment_intent_id=None,
            customer_snapshot=None,
            description=None,
            footer=None,
            metadata={},
            subscription_metadata=subscription.metadata,
            created_at=now,
            finalized_at=None,
            paid_at=None,
            voided_at=None,
            marked_uncollectible_at=None,
        ),
        lines,
    )


def with_lines(invoice: Invoice, lines: Iterable[Line]) -> Invoice:
    """The draft with these lines, and the totals that follow from them."""
    lines = tuple(lines)
    total = sum(line.amount for line in lines)
    return replace(invoice, lines=lines, subtotal=total, total=total, amount_due=max(0, total))


def finalized(
    invoice: Invoice,
    *,
    number: str,
    customer_snapshot: Mapping[str, Any],
    payment_intent_id: str,
    now: datetime,
) -> Invoice:
    """The draft made final: numbered, addressed, dated; paid at once when nothing is due."""
    status = next_status(invoice.status, InvoiceAction.FINALIZE)
    due_at = None
    if invoice.collection_method == CollectionMethod.SEND_INVOICE:
        due_at = now + timedelta(days=invoice.days_until_due or 0)
    final = replace(
        invoice,
        status=status,
        number=number,
        customer_snapshot=customer_snapshot,
        payment_intent_id=payment_intent_id if invoice.amount_due else None,
        ending_balance=0,
        finalizes_at=None,
        next_attempt_at=None,
        due_at=due_at,
        finalized_at=now,
    )
    return final if final.amount_due else paid(final, now=now, amount=0)


def paid(invoice: Invoice, *, now: datetime, amount: int, out_of_band: bool = False) -> Invoice:
    """The invoice after ``amount`` minor units settled what remained of it."""
    return replace(
        invoice,
        status=next_status(invoice.status, InvoiceAction.PAY),
        amount_paid=invoice.amount_paid + amount,
        paid_out_of_band=out_of_band,
        next_attempt_at=None,
        attempted=True,
        paid_at=now,
    )


def voided(invoice: Invoice, *, now: datetime) -> Invoice:
    """The invoice as if it had never been owed; what it billed may be billed again."""
    return replace(
        invoice,
        status=next_status(invoice.status, InvoiceAction.VOID),
        auto_advance=False,
        next_attempt_at=None,
        voided_at=now,
    )


def invoice_number(prefix: str, sequence: int) -> str:
    """A customer's invoices are numbered ``ACME-0001``, ``ACME-0002``, … without a gap."""
    return f"{prefix}-{sequence:04d}"
