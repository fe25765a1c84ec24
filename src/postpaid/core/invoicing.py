"""What an invoice is: obligations with names, lines that explain themselves, totals, a status.

The order of operations on a line, and why it is this one:

1. aggregate  the window's usage is one quantity (metering), because tiers price the whole;
2. rate       the price turns the quantity into details, tier by tier, in exact decimals;
3. round      each detail becomes a line of whole minor units: the one rounding;
4. discount   each line loses what its own discounts take, and then its invoice's (adjusting);
5. credit     credit grants pay for usage, of what the discounts left;
6. tax        each rate is a part of what is left, rounded on each line;
7. total      the invoice is the sum of its lines, so the lines on paper always add up;
8. balance    what the customer's account already holds settles first, and the rest is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from postpaid.core.commitments import Commitment, share, whole_seconds
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
    SubscriptionStatus,
    closing_items,
    zone_of,
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
    SEND = "send"
    EDIT = "edit"  # its lines and all else that a person says about it
    DELETE = "delete"  # after which there is none


_S, _A = InvoiceStatus, InvoiceAction

TRANSITIONS = {
    (_S.DRAFT, _A.FINALIZE): _S.OPEN,
    (_S.OPEN, _A.PAY): _S.PAID,
    (_S.OPEN, _A.MARK_UNCOLLECTIBLE): _S.UNCOLLECTIBLE,
    (_S.OPEN, _A.VOID): _S.VOID,
    (_S.UNCOLLECTIBLE, _A.PAY): _S.PAID,
    (_S.UNCOLLECTIBLE, _A.VOID): _S.VOID,
    (_S.OPEN, _A.SEND): _S.OPEN,
    (_S.DRAFT, _A.EDIT): _S.DRAFT,
    (_S.DRAFT, _A.DELETE): _S.DRAFT,
}

REFUSALS = {  # in Stripe's words
    _A.FINALIZE: "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
    _A.PAY: "You can only pay invoices that are open or uncollectible. This invoice is {}.",
    _A.MARK_UNCOLLECTIBLE: "You can only pass in open invoices. This invoice isn't open.",
    _A.VOID: "You can only pass in open or uncollectible invoices. This invoice is {}.",
    _A.SEND: "You can only pass in open invoices. This invoice isn't open.",
    _A.EDIT: "Finalized invoices can't be updated in this way.",
    _A.DELETE: "You can only delete draft invoices.",
}


def next_status(status: InvoiceStatus, action: InvoiceAction) -> InvoiceStatus:
    """The status after ``action``; raises ``ActionNotAllowed`` where the table has none."""
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        code = "invoice_not_editable" if action == InvoiceAction.EDIT else None
        raise ActionNotAllowed(REFUSALS[action].format(status), code=code) from None


class Numbering(StrEnum):
    """Whose sequence numbers an invoice."""

    CUSTOMER = "customer"
    ACCOUNT = "account"


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
    units}) what credit grants paid. ``amount`` is before all of these. ``whole_seconds`` is how
    long a whole period is, where a commitment counts and this is a part of one.
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
    whole_seconds: int | None = None


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
    numbered_by: Numbering | None = None
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
    whole_seconds: int | None = None


def obligation_of(item: Item) -> Obligation:
    """What the item owes for the period it is in, from where it is not billed yet."""
    again = f"{item.generation}." if item.generation else ""
    return Obligation(
        name=f"{item.subscription_id}/{item.id}/{again}period-{item.period_index}",
        subscription_id=item.subscription_id,
        item_id=item.id,
        period_start=item.usage_start,
        period_end=item.period_end,
        metadata=item.metadata,
        discount_ids=item.discount_ids,
        tax_rate_ids=item.tax_rate_ids,
    )


def obligation_of_line(line: Line) -> Obligation:
    """What the line, of a subscription's item, is owed for."""
    assert line.subscription_id is not None
    assert line.subscription_item_id is not None
    return Obligation(
        line.obligation,
        line.subscription_id,
        line.subscription_item_id,
        line.period_start,
        line.period_end,
        line.metadata,
        line.discount_ids,
        line.tax_rate_ids,
        line.whole_seconds,
    )


def opening_lines(subscription: Subscription, catalog: Catalog) -> list[Line]:
    """The lines of a first invoice: licensed items pay their first period in advance.

    Classic billing mode adds a line of amount 0 for every metered item (Stripe).
    """
    lines: list[Line] = []
    for item in reversed(subscription.items):
        sold = catalog[item.price_id]
        if not sold.price.metered:
            lines += lines_of(obligation_of(item), sold, licensed_quantity(item))
        elif subscription.billing_mode == BillingMode.CLASSIC:
            lines.append(opening_zero_line(item, sold))
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
    for item in reversed(closing_items(before)):
        sold = catalog[item.billing_price_id]
        if sold.price.metered:
            owed = obligation_of(item)
            if owed.name in usage:  # of a trial nothing is
                lines += usage_lines(before, item, catalog, usage[owed.name])
        elif item.id in begun:
            lines += lines_of(obligation_of(begun[item.id]), sold, licensed_quantity(item))
    agreed = Commitment(before.minimum_amount, before.maximum_amount)
    return with_commitment(lines, agreed, before.id) if agreed else lines


def usage_lines(
    subscription: Subscription, item: Item, catalog: Catalog, quantity: Decimal
) -> list[Line]:
    """The lines that bill the usage of the item's window that ends, less what thresholds billed.

    Those have billed a part of the same usage already, and tiers price the whole: so all of it is
    rated, and what was billed is taken off (Stripe). In volume pricing that may be more than it is.
    """
    owed = usage_obligation(subscription, item, catalog)
    sold = catalog[item.billing_price_id]
    return [*lines_of(owed, sold, quantity), *billed_lines(owed, sold, item)]


def usage_obligation(subscription: Subscription, item: Item, catalog: Catalog) -> Obligation:
    """What the item owes for the usage of its window, with how long a whole period would be."""
    owed = obligation_of(item)
    price = catalog[item.billing_price_id].price
    agreed = (price.minimum_amount, price.maximum_amount)
    if (*agreed, subscription.minimum_amount, subscription.maximum_amount) == (None,) * 4:
        return owed
    assert price.recurrence is not None, "an item's price recurs"
    whole = whole_seconds(
        owed.period_start,
        owed.period_end,
        anchor=subscription.anchor_at,
        recurrence=price.recurrence,
        index=item.period_index,
        zone=zone_of(subscription),
    )
    return replace(owed, whole_seconds=whole)


def billed_lines(owed: Obligation, sold: Sold, item: Item) -> list[Line]:
    """The line that takes off what thresholds have billed of the item's window, if they have."""
    if not item.billed_amount:
        return []
    line = _extra_line(
        replace(owed, name=f"{owed.name}/billed"),
        0,
        sold,
        DetailKind.BILLED,
        -item.billed_amount,
        f"Amount previously billed for {sold.product.name}",
    )
    return [replace(line, meter_id=None)]


def with_commitment(
    lines: Sequence[Line], agreed: Commitment, subscription_id: str | None
) -> list[Line]:
    """The lines with the subscription's commitment kept: at most one more, after all others.

    It is for the usage of the shortest window among them, and its share of a whole period.
    """
    name_of = {each.obligation: each for each in lines if each.meter_id and each.part == 0}
    kept = [line for line in lines if not is_commitment(line)]
    windows = [each for each in name_of.values() if each.invoice_item_id is None]
    if not windows:
        return kept
    first = max(windows, key=lambda each: (each.period_start, each.obligation))
    part = agreed.prorated(share(first.period_start, first.period_end, first.whole_seconds))
    billed = sum(line.amount for line in kept if line.obligation in name_of)
    missing = part.adjustment(billed)
    if not missing:
        return kept
    period = first.obligation.rpartition("/")[2]
    return [
        *kept,
        replace(
            first,
            id="",
            obligation=f"{subscription_id}/{period}/minimum",
            subscription_item_id=None,
            price_id=None,
            product_id=None,
            meter_id=None,
            quantity=ZERO,
            unit_amount=None,
            tier=None,
            kind=DetailKind.MINIMUM if missing > 0 else DetailKind.MAXIMUM,
            amount=missing,
            description="Minimum commitment" if missing > 0 else "Maximum charge",
            metadata={},
            discount_ids=None,
            tax_rate_ids=None,
            discounts=None,
            credits=None,
            taxes=None,
        ),
    ]


def is_commitment(line: Line) -> bool:
    """Whether the line keeps a subscription's commitment, not a price's."""
    return line.price_id is None and line.kind in (DetailKind.MINIMUM, DetailKind.MAXIMUM)


def metered_items(subscription: Subscription, catalog: Catalog) -> list[Item]:
    """The metered items whose period ends when the subscription closes, and owes something.

    Usage in a trial, or in a pause, is not billed (Stripe).
    """
    if subscription.status in (SubscriptionStatus.TRIALING, SubscriptionStatus.PAUSED):
        return []
    return [
        item for item in closing_items(subscription) if catalog[item.billing_price_id].price.metered
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


def with_usage(
    invoice: Invoice,
    catalog: Catalog,
    usage: Mapping[str, Decimal],
    agreed: Commitment = Commitment(),  # noqa: B008 - frozen
) -> Invoice:
    """The draft with its metered lines as ``usage``, by obligation, has them by now.

    ``agreed`` is its subscription's commitment, which is kept anew.

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
            assert line.price_id is not None
            owed = obligation_of_line(line)
            lines += lines_of(owed, catalog[line.price_id], usage[line.obligation])
    if agreed:
        lines = with_commitment(lines, agreed, invoice.subscription_id)
    return with_lines(invoice, lines)


def lines_of(owed: Obligation, sold: Sold, quantity: Decimal, *, over: bool = True) -> list[Line]:
    """The lines that bill ``quantity`` of what is owed, one for each detail of its rating.

    Where the price has a commitment, one more keeps it; while the window is not ``over`` yet, only
    the most that it can come to. Their ids are empty until they are written. Raises ValueError for
    a quantity or an amount beyond what can be billed.
    """
    lines = [
        _line(owed, part, sold, detail)
        for part, detail in enumerate(rate(sold.price.model, quantity))
    ]
    price = sold.price
    if price.minimum_amount is None and price.maximum_amount is None:
        return lines
    agreed = Commitment(price.minimum_amount if over else None, price.maximum_amount)
    part = agreed.prorated(share(owed.period_start, owed.period_end, owed.whole_seconds))
    if missing := part.adjustment(sum(line.amount for line in lines)):
        kind = DetailKind.MINIMUM if missing > 0 else DetailKind.MAXIMUM
        words = "Minimum commitment" if missing > 0 else "Maximum charge"
        description = f"{words} for {sold.product.name}"
        lines.append(_extra_line(owed, len(lines), sold, kind, missing, description))
    return lines


def _extra_line(
    owed: Obligation, part: int, sold: Sold, kind: DetailKind, amount: int, description: str
) -> Line:
    """A line that no rating makes."""
    detail = Detail(None, kind, ZERO, None, Decimal(amount))
    return replace(_line(owed, part, sold, detail), description=description)


def licensed_quantity(item: Item) -> Decimal:
    """How many of a licensed price the item has."""
    return Decimal(1 if item.quantity is None else item.quantity)


def opening_zero_line(item: Item, sold: Sold) -> Line:
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
        whole_seconds=owed.whole_seconds,
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
            description=(subscription.invoice_settings or {}).get("description"),
            footer=(subscription.invoice_settings or {}).get("footer"),
            metadata={},
            subscription_metadata=subscription.metadata,
            created_at=now,
            finalized_at=None,
            paid_at=None,
            voided_at=None,
            marked_uncollectible_at=None,
            discount_ids=subscription.discount_ids,
            tax_rate_ids=subscription.tax_rate_ids,
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
    numbered_by: Numbering | None = Numbering.CUSTOMER,
) -> Invoice:
    """The draft made final: numbered, addressed, dated; paid at once when nothing is due.

    It is due when a person has said, or so many days from now. ``numbered_by`` is None for a number
    that a person has given.
    """
    status = next_status(invoice.status, InvoiceAction.FINALIZE)
    due_at = None
    if invoice.collection_method == CollectionMethod.SEND_INVOICE:
        due_at = invoice.due_at or now + timedelta(days=invoice.days_until_due or 0)
    final = replace(
        invoice,
        status=status,
        number=number,
        numbered_by=numbered_by,
        customer_snapshot=customer_snapshot,
        payment_intent_id=payment_intent_id if invoice.amount_due else None,
        ending_balance=min(0, invoice.total + invoice.starting_balance),
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


def uncollectible(invoice: Invoice, *, now: datetime, reason: str) -> Invoice:
    """The invoice written off: still owed, and no longer asked for. ``reason`` is Stripe's."""
    return replace(
        invoice,
        status=next_status(invoice.status, InvoiceAction.MARK_UNCOLLECTIBLE),
        auto_advance=False,
        next_attempt_at=None,
        marked_uncollectible_at=now,
        uncollectible_reason=reason,
    )


def invoice_number(prefix: str, sequence: int) -> str:
    """Invoices are numbered ``ACME-0001``, ``ACME-0002``, … in a sequence without a gap."""
    return f"{prefix}-{sequence:04d}"
