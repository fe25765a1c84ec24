"""What an invoice is: its lines, the totals that follow from them, and a status.

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
from typing import Any

from postpaid.core.commitments import Commitment
from postpaid.core.errors import ActionNotAllowed, InvalidRequest
from postpaid.core.lines import (
    ZERO,
    Line,
    is_commitment,
    lines_of,
    obligation_of_line,
    with_commitment,
)
from postpaid.core.money import MAX_SUM
from postpaid.core.subscriptions import Catalog, CollectionMethod, Subscription
from postpaid.core.values import replace

GRACE = timedelta(hours=1)  # Stripe: a renewal's draft stays open to late usage for an hour


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


@dataclass(frozen=True)  # see core/values
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
    amount_paid_out_of_band: int = 0  # of what was paid
    amount_overpaid: int = 0  # beyond what was paid: the customer's credit
    threshold_reason: Mapping[str, Any] | None = None
    from_invoice_id: str | None = None
    latest_revision_id: str | None = None
    proration_at: datetime | None = None
    appearance: Mapping[str, Any] | None = None
    given_number: str | None = None
    effective_at: datetime | None = None
    uncollectible_reason: str | None = None
    numbered_by: Numbering | None = None
    parked: str | None = None  # why the draft could not be finalized by itself
    bills_usage: bool = False  # of windows that somebody asked for, and no subscription's periods
    lines: tuple[Line, ...] = field(default=())

    @property
    def amount_remaining(self) -> int:
        """What is still to be paid: credit notes on it before it was paid lower it (Stripe)."""
        return self.amount_due - self.amount_paid - self.pre_payment_credits


# ─── Drafts ────────────────────────────────────────────────────────────────────────────────────


def empty_draft(
    invoice_id: str,
    customer_id: str,
    *,
    subscription_id: str | None,
    clock_id: str | None,
    reason: BillingReason,
    collection_method: CollectionMethod,
    days_until_due: int | None,
    currency: str,
    period: tuple[datetime, datetime],
    now: datetime,
) -> Invoice:
    """A new draft that bills nothing, says nothing, and stays a draft."""
    return Invoice(
        id=invoice_id,
        customer_id=customer_id,
        subscription_id=subscription_id,
        clock_id=clock_id,
        status=InvoiceStatus.DRAFT,
        number=None,
        billing_reason=reason,
        collection_method=collection_method,
        days_until_due=days_until_due,
        currency=currency,
        auto_advance=False,
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
        created_at=now,
        finalized_at=None,
        paid_at=None,
        voided_at=None,
        marked_uncollectible_at=None,
    )


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
    settings = subscription.invoice_settings or {}
    empty = empty_draft(
        invoice_id,
        subscription.customer_id,
        subscription_id=subscription.id,
        clock_id=subscription.clock_id,
        reason=reason,
        collection_method=subscription.collection_method,
        days_until_due=subscription.days_until_due,
        currency=subscription.currency,
        period=period,
        now=now,
    )
    said = replace(
        empty,
        auto_advance=auto_advance,
        finalizes_at=finalizes_at,
        next_attempt_at=finalizes_at if auto_advance and charged else None,
        description=settings.get("description"),
        footer=settings.get("footer"),
        subscription_metadata=subscription.metadata,
        discount_ids=subscription.discount_ids,
        tax_rate_ids=subscription.tax_rate_ids,
    )
    return with_lines(said, lines)


def with_lines(invoice: Invoice, lines: Iterable[Line]) -> Invoice:
    """The draft with these lines, and the totals that follow from them.

    Raises as ``check_sums`` does.
    """
    lines = tuple(lines)
    total = sum(line.amount for line in lines)
    check_sums(total)
    return replace(invoice, lines=lines, subtotal=total, total=total, amount_due=max(0, total))


def check_sums(*sums: int) -> None:
    """Raises ``InvalidRequest`` for a sum of an invoice that is larger than ``MAX_SUM``."""
    if any(abs(each) > MAX_SUM for each in sums):
        raise InvalidRequest("The invoice's amounts come to more than can be billed.")


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
    if not usage:
        return invoice
    lines: list[Line] = []
    for line in invoice.lines:
        if line.obligation not in usage or billed == usage:
            lines.append(line)
        elif line.part == 0:
            assert line.price_id is not None
            owed = obligation_of_line(line)
            lines += lines_of(owed, catalog[line.price_id], usage[line.obligation])
    committed = [line.amount for line in lines if is_commitment(line)]
    if agreed or committed:
        lines = with_commitment(lines, agreed)
    if billed == usage and committed == [line.amount for line in lines if is_commitment(line)]:
        return invoice
    return with_lines(invoice, lines)


# ─── What becomes of it ────────────────────────────────────────────────────────────────────────


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
        parked=None,
    )
    return final if final.amount_due else paid(final, now=now, amount=0)


def paid(invoice: Invoice, *, now: datetime, amount: int, out_of_band: bool = False) -> Invoice:
    """The invoice after ``amount`` minor units settled what remained of it."""
    return replace(
        invoice,
        status=next_status(invoice.status, InvoiceAction.PAY),
        amount_paid=invoice.amount_paid + amount,
        amount_paid_out_of_band=invoice.amount_paid_out_of_band + (amount if out_of_band else 0),
        paid_out_of_band=out_of_band,
        next_attempt_at=None,
        attempted=True,
        paid_at=now,
    )


def paid_in_part(invoice: Invoice, *, now: datetime, amount: int) -> Invoice:
    """The invoice after ``amount`` minor units, which pay it if nothing remains then."""
    if amount >= invoice.amount_remaining:
        return paid(invoice, now=now, amount=invoice.amount_remaining)
    return replace(invoice, amount_paid=invoice.amount_paid + amount, attempted=True)


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
