"""What pays before money does: a customer's balance, and credit grants in their order of use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from postpaid.core.adjusting import totaled
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line, is_of_usage
from postpaid.core.values import replace

# A period that ended just before its credit did is billed within the hour; credit waits for that.
EXPIRY_GRACE = timedelta(hours=1)
UNUSED_GRANTS_MAX = 100  # Stripe: of one customer
PRIORITY_DEFAULT = 50  # Stripe: 0 is used first, 100 last

# ─── The balance ─────────────────────────────────────────────────────────────────────────────


class BalanceReason(StrEnum):
    """Why a customer's balance moved, in Stripe's words."""

    INITIAL = "initial"
    ADJUSTMENT = "adjustment"
    APPLIED_TO_INVOICE = "applied_to_invoice"
    UNAPPLIED_FROM_INVOICE = "unapplied_from_invoice"
    CREDIT_NOTE = "credit_note"
    INVOICE_OVERPAID = "invoice_overpaid"


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """One movement of a customer's balance, which is the sum of them all.

    ``amount`` is in minor units: negative gives the customer credit, positive takes it or adds to
    what is owed. ``ending_balance`` is the balance after it.
    """

    id: str
    customer_id: str
    clock_id: str | None
    reason: BalanceReason
    amount: int
    ending_balance: int
    currency: str
    invoice_id: str | None
    credit_note_id: str | None
    description: str | None
    metadata: Mapping[str, str]
    created_at: datetime


def with_balance(invoice: Invoice, balance: int) -> Invoice:
    """The draft as it is due from a customer who has this ``balance``, negative when in credit.

    Credit pays as much as there is, a debt is added, and a total below zero becomes credit: what is
    due and what is left over are two ends of one sum. There is no least amount to charge. The same
    draft where nothing changes.
    """
    due = max(0, invoice.total + balance)
    if invoice.starting_balance == balance and invoice.amount_due == due:
        return invoice
    return replace(invoice, starting_balance=balance, amount_due=due)


def balance_after(invoice: Invoice) -> int:
    """What is left of the balance that the invoice started from, once the invoice is final."""
    return min(0, invoice.total + invoice.starting_balance)


def balance_moved(invoice: Invoice) -> int:
    """By how much the final invoice moved its customer's balance."""
    if invoice.ending_balance is None:
        return 0
    return invoice.ending_balance - invoice.starting_balance


# ─── Grants ──────────────────────────────────────────────────────────────────────────────────


class GrantCategory(StrEnum):
    """Whether the customer paid for the credit."""

    PAID = "paid"
    PROMOTIONAL = "promotional"


class GrantMovement(StrEnum):
    """Why the credit of a grant moved, in Stripe's words."""

    GRANTED = "credits_granted"
    REINSTATED = "credits_application_invoice_voided"
    APPLIED = "credits_applied"
    EXPIRED = "credits_expired"
    VOIDED = "credits_voided"


GIVES = frozenset({GrantMovement.GRANTED, GrantMovement.REINSTATED})  # the others take


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """Credit that pays for usage, and for nothing else.

    ``balance`` of its ``amount`` is left, in minor units. It is for usage of the prices of
    ``price_ids``, or of any price when that is None. It pays for periods that end from
    ``effective_at`` on and before ``expires_at``; ``expired_at`` says that what was left is gone.
    """

    id: str
    customer_id: str
    clock_id: str | None
    amount: int
    balance: int
    currency: str
    category: GrantCategory
    name: str | None
    priority: int
    price_ids: Sequence[str] | None
    effective_at: datetime
    expires_at: datetime | None
    expired_at: datetime | None
    voided_at: datetime | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime

    def is_available(self, now: datetime) -> bool:
        """Whether a period that ends ``now`` could be paid with it."""
        return (
            self.balance > 0
            and self.effective_at <= now
            and (self.expires_at is None or now < self.expires_at)
        )

    def pays_for(self, price_id: str | None) -> bool:
        """Whether usage of the price is in its scope."""
        return self.price_ids is None or price_id in self.price_ids


@dataclass(frozen=True, slots=True)
class GrantTransaction:
    """One movement of a grant's credit; ``amount`` is positive, ``movement`` says which way.

    What was applied names the invoice and the line that it paid; what was reinstated too.
    """

    id: str
    grant_id: str
    customer_id: str
    clock_id: str | None
    movement: GrantMovement
    amount: int
    currency: str
    invoice_id: str | None
    line_id: str | None
    effective_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Use:
    """That ``amount`` minor units of a grant pay for a line."""

    grant_id: str
    line_id: str
    amount: int


_NEVER = datetime.max.replace(tzinfo=UTC)


def in_order_of_use(grants: Iterable[CreditGrant]) -> list[CreditGrant]:
    """Stripe: by priority, what expires first, promotional before paid, oldest effect, oldest."""
    return sorted(
        grants,
        key=lambda grant: (
            grant.priority,
            grant.expires_at or _NEVER,
            grant.category != GrantCategory.PROMOTIONAL,
            grant.effective_at,
            grant.created_at,
            grant.id,
        ),
    )


def uses(invoice: Invoice, grants: Sequence[CreditGrant]) -> list[Use]:
    """How the grants, which are in their order of use, pay for the usage on the draft.

    Stripe: only for lines that bill usage, on a subscription's invoice, after discounts and before
    tax and balance; and on one that bills usage by itself (ours). Lines that give back (what
    thresholds have billed, what is over the most) lower what there is to pay for, of their price
    and of the invoice, and never is more paid than the invoice's lines come to: credit does not
    turn into balance.
    """
    if not (invoice.subscription_id or invoice.bills_usage) or not grants:
        return []
    open_of = {line.id: _after_discounts(line) for line in invoice.lines if line.meter_id}
    of_usage = [line for line in invoice.lines if is_of_usage(line)]
    of_price: dict[str | None, int] = {}
    for line in of_usage:
        of_price[line.price_id] = of_price.get(line.price_id, 0) + _after_discounts(line)
    left = min(sum(of_price.values()), sum(_after_discounts(line) for line in invoice.lines))
    found: list[Use] = []
    for grant in grants:
        if grant.currency != invoice.currency or not grant.is_available(invoice.period_end):
            continue
        balance = grant.balance
        for line in invoice.lines:
            amount = min(balance, left, open_of.get(line.id, 0), of_price.get(line.price_id, 0))
            if amount > 0 and grant.pays_for(line.price_id):
                found.append(Use(grant.id, line.id, amount))
                open_of[line.id] -= amount
                of_price[line.price_id] -= amount
                balance -= amount
                left -= amount
    return found


def with_credits(invoice: Invoice, credits: Mapping[str, Mapping[str, int]]) -> Invoice:
    """The draft with ``credits``, by line and then by transaction, and the totals that follow.

    The taxes on its lines are as they were: they have to be composed anew.
    """
    return totaled(
        invoice,
        (
            replace(line, credits=credits.get(line.id))
            if line.credits or line.id in credits
            else line
            for line in invoice.lines
        ),
    )


def _after_discounts(line: Line) -> int:
    return line.amount - sum((line.discounts or {}).values())
