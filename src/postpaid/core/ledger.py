"""The ledger: accounts, transactions that balance, and when deferred revenue is earned.

Amounts are minor units, debits positive and credits negative, so that a transaction's entries sum
to zero. Each thing that happens to money is one transaction; nothing is ever changed or taken back
but by another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from postpaid.core.credits import (
    BalanceReason,
    BalanceTransaction,
    GrantCategory,
    GrantMovement,
    GrantTransaction,
)
from postpaid.core.invoicing import Invoice
from postpaid.core.lines import Line, is_of_usage
from postpaid.core.money import round_part
from postpaid.core.refunds import Refund


class LedgerAccount(StrEnum):
    """The chart of accounts: the fewest that tell an accountant what happened."""

    RECEIVABLE = "receivable"  # finalized invoices, until they are paid, void or written off
    CASH = "cash"  # collected through gateways
    CASH_OUT_OF_BAND = "cash_out_of_band"  # money that came some other way
    UNAPPLIED_PAYMENTS = "unapplied_payments"  # received, and not for an invoice yet
    REFUNDS = "refunds"  # given back without a credit note, less what notes say will be
    DEFERRED_REVENUE = "deferred_revenue"  # billed for service periods that have not ended
    TAX_PAYABLE = "tax_payable"
    CUSTOMER_CREDIT = "customer_credit"  # customers' balances; a debt that waits is a debit
    CREDIT_GRANTS = "credit_grants"  # granted, and neither used, expired nor void
    REVENUE = "revenue"
    PROMOTIONS = "promotions"  # credit given away: less revenue
    BALANCE_ADJUSTMENTS = "balance_adjustments"  # of customers' balances by hand: less revenue
    BAD_DEBT = "bad_debt"


class LedgerKind(StrEnum):
    """What a transaction records; with its source's id it is there once."""

    INVOICE_FINALIZED = "invoice_finalized"
    INVOICE_VOIDED = "invoice_voided"
    INVOICE_UNCOLLECTIBLE = "invoice_uncollectible"
    PAYMENT = "payment"
    PAYMENT_OUT_OF_BAND = "payment_out_of_band"
    PAYMENT_UNAPPLIED = "payment_unapplied"
    PAYMENT_APPLIED = "payment_applied"
    PAYMENT_EXCESS = "payment_excess"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    CREDIT_NOTE = "credit_note"
    CREDIT_NOTE_VOIDED = "credit_note_voided"
    BALANCE_ADJUSTED = "balance_adjusted"
    CREDIT_GRANTED = "credit_granted"
    CREDIT_EXPIRED = "credit_expired"
    CREDIT_VOIDED = "credit_voided"


PAYMENTS = frozenset(
    {LedgerKind.PAYMENT, LedgerKind.PAYMENT_OUT_OF_BAND, LedgerKind.PAYMENT_APPLIED}
)
MONEY_BACK = frozenset({LedgerKind.REFUND, LedgerKind.REFUND_FAILED})

_A, _K = LedgerAccount, LedgerKind
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transaction; a deferred amount has the service period that earns it."""

    account: LedgerAccount
    amount: int
    period_start: datetime | None = None
    period_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one event did to money, in one currency.

    Raises ValueError when the entries do not sum to zero, one is zero, or exactly those of
    ``deferred_revenue`` do not have a period: such a transaction cannot be made. One without
    entries is of an event that moved nothing, and is not written.
    """

    kind: LedgerKind
    source_id: str
    customer_id: str | None
    invoice_id: str | None
    currency: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        total = 0
        for entry in self.entries:
            total += entry.amount
            if entry.amount == 0:
                raise ValueError("An entry of nothing says nothing.")
            deferred = entry.account is _A.DEFERRED_REVENUE
            if (entry.period_start is not None) != deferred or (
                entry.period_end is not None
            ) != deferred:
                raise ValueError("Deferred revenue, and nothing else, has a service period.")
        if total:
            raise ValueError(f"The entries of {self.kind} {self.source_id} sum to {total}, not 0.")


# ─── Invoices ────────────────────────────────────────────────────────────────────────────────


def invoice_finalized(invoice: Invoice) -> Transaction:
    """What a final invoice, with its lines, makes of money.

    Its lines are revenue, without their discounts and the taxes that are in their prices; a line
    whose service period has not ended is deferred over it, unless it bills usage, which was given.
    What credit grants pay, and what the customer's balance gives or takes, is settled at once; the
    rest is receivable.
    """
    legs: dict[_Leg, int] = {}
    for line in invoice.lines:
        _add(legs, _earning(invoice, line), -_net(line))
        if line.taxes:
            _add(legs, _TAX, -sum(tax["amount"] for tax in line.taxes.values()))
        if line.credits:
            _add(legs, _GRANTS, sum(line.credits.values()))
    _add(legs, _RECEIVABLE, invoice.amount_due)
    _add(legs, _BALANCE, invoice.total - invoice.amount_due)
    return _of_invoice(_K.INVOICE_FINALIZED, invoice.id, invoice, legs)


def invoice_voided(invoice: Invoice, posted: Iterable[Transaction]) -> Transaction:
    """The opposite of all that was posted of the invoice, and of what payments settled of it.

    Money that came is the customer's credit then, unless it went back.
    """
    legs: dict[_Leg, int] = {}
    for transaction in posted:
        moved_money = transaction.kind in PAYMENTS or transaction.kind in MONEY_BACK
        for entry in transaction.entries:
            if moved_money and entry.account in _SETTLED:
                _add(legs, _leg(entry.account), -entry.amount)
                _add(legs, _BALANCE, entry.amount)
            elif not moved_money and transaction.kind is not _K.PAYMENT_EXCESS:
                leg = (entry.account, entry.period_start, entry.period_end)
                _add(legs, leg, -entry.amount)
    return _of_invoice(_K.INVOICE_VOIDED, invoice.id, invoice, legs)


def kept(posted: Iterable[Transaction]) -> int:
    """What was paid of an invoice and not given back: the customer's, once it is void."""
    return -sum(
        entry.amount
        for transaction in posted
        if transaction.kind in PAYMENTS or transaction.kind in MONEY_BACK
        for entry in transaction.entries
        if entry.account in _SETTLED
    )


def invoice_uncollectible(invoice: Invoice) -> Transaction:
    """What remains of the invoice, tax included, is written off; revenue stays as it was."""
    remaining = invoice.amount_remaining
    legs = {_BAD_DEBT: remaining, _RECEIVABLE: -remaining}
    return _of_invoice(_K.INVOICE_UNCOLLECTIBLE, invoice.id, invoice, legs)


def payment(
    invoice: Invoice, amount: int, *, source_id: str, out_of_band: bool = False
) -> Transaction:
    """``amount`` of the invoice was paid; of one that was written off, recovered.

    ``source_id`` is the payment attempt's, or out of band whatever names the payment once.
    """
    kind = _K.PAYMENT_OUT_OF_BAND if out_of_band else _K.PAYMENT
    cash = _leg(_A.CASH_OUT_OF_BAND if out_of_band else _A.CASH)
    return _of_invoice(kind, source_id, invoice, {cash: amount, _claim(invoice): -amount})


def excess_payment(
    moved: BalanceTransaction, *, source_id: str, was_unapplied: bool = False
) -> Transaction:
    """More was paid than was owed, or after it was: the customer has credit for it."""
    source = _UNAPPLIED if was_unapplied else _leg(_A.CASH)
    legs = {source: -moved.amount, _BALANCE: moved.amount}
    kind = _K.PAYMENT_EXCESS
    return _made(kind, source_id, moved.customer_id, moved.invoice_id, moved.currency, legs)


def unapplied_payment(
    source_id: str, customer_id: str | None, amount: int, currency: str, *, out_of_band: bool
) -> Transaction:
    """``amount`` came that is for no invoice yet, from a customer or from nobody we know."""
    cash = _leg(_A.CASH_OUT_OF_BAND if out_of_band else _A.CASH)
    legs = {cash: amount, _UNAPPLIED: -amount}
    return _made(_K.PAYMENT_UNAPPLIED, source_id, customer_id, None, currency, legs)


def applied_payment(invoice: Invoice, amount: int, *, source_id: str) -> Transaction:
    """``amount`` that was for no invoice pays this one."""
    legs = {_UNAPPLIED: amount, _claim(invoice): -amount}
    return _of_invoice(_K.PAYMENT_APPLIED, source_id, invoice, legs)


def refund(refunded: Refund) -> Transaction:
    """Money goes back through the gateway that it came through.

    Of an invoice's payment it lowers what is earned, until a credit note says what it is for; what
    was the customer's credit is that no more.
    """
    source = _leg(_A.REFUNDS) if refunded.invoice_id else _UNAPPLIED
    legs = {
        source: refunded.amount - refunded.amount_of_credit,
        _BALANCE: refunded.amount_of_credit,
        _leg(_A.CASH): -refunded.amount,
    }
    return _of_refund(_K.REFUND, refunded, legs)


def refund_failed(refunded: Refund) -> Transaction:
    """The money did not go back: the opposite of what its refund posted."""
    posted = refund(refunded)
    legs = {_leg(entry.account): -entry.amount for entry in posted.entries}
    return _of_refund(_K.REFUND_FAILED, refunded, legs)


def _of_refund(kind: LedgerKind, refunded: Refund, legs: dict[_Leg, int]) -> Transaction:
    return _made(
        kind, refunded.id, refunded.customer_id, refunded.invoice_id, refunded.currency, legs
    )


# ─── Credit notes ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Taken:
    """What a credit note takes back of a line, or of none: ``amount`` without tax, and ``tax``."""

    amount: int
    tax: int
    line: Line | None = None


def credit_note(
    invoice: Invoice,
    note_id: str,
    taken: Iterable[Taken],
    *,
    off_invoice: int = 0,
    to_balance: int = 0,
    refunded: int = 0,
    out_of_band: int = 0,
) -> Transaction:
    """What was billed is taken back, and the customer owes less or gets it back.

    ``off_invoice`` lowers what remains of it, ``to_balance`` is credit for later, ``refunded`` goes
    back by refunds, which post that themselves, and ``out_of_band`` went some other way. Together
    they are what is ``taken``, tax included; ValueError otherwise.
    """
    legs: dict[_Leg, int] = {}
    for each in taken:
        _add(legs, _earning(invoice, each.line), each.amount)
        _add(legs, _TAX, each.tax)
    _add(legs, _claim(invoice), -off_invoice)
    _add(legs, _BALANCE, -to_balance)
    _add(legs, _leg(_A.REFUNDS), -refunded)
    _add(legs, _leg(_A.CASH_OUT_OF_BAND), -out_of_band)
    return _of_invoice(_K.CREDIT_NOTE, note_id, invoice, legs)


def credit_note_voided(invoice: Invoice, note_id: str, posted: Transaction) -> Transaction:
    """The opposite of what the credit note ``posted``."""
    legs: dict[_Leg, int] = {}
    for entry in posted.entries:
        _add(legs, (entry.account, entry.period_start, entry.period_end), -entry.amount)
    return _of_invoice(_K.CREDIT_NOTE_VOIDED, note_id, invoice, legs)


# ─── Balances and grants ─────────────────────────────────────────────────────────────────────


BY_HAND = frozenset({BalanceReason.INITIAL, BalanceReason.ADJUSTMENT})

GRANTING = {
    GrantMovement.GRANTED: _K.CREDIT_GRANTED,
    GrantMovement.EXPIRED: _K.CREDIT_EXPIRED,
    GrantMovement.VOIDED: _K.CREDIT_VOIDED,
}


def balance_adjusted(moved: BalanceTransaction) -> Transaction:
    """A customer's balance was moved by hand. Raises ValueError for any other reason.

    What invoices and credit notes do to a balance is in what they post themselves.
    """
    if moved.reason not in BY_HAND:
        raise ValueError(f"A balance that moved by {moved.reason} is posted with what moved it.")
    legs = {_BALANCE: moved.amount, _leg(_A.BALANCE_ADJUSTMENTS): -moved.amount}
    return _made(_K.BALANCE_ADJUSTED, moved.id, moved.customer_id, None, moved.currency, legs)


def credit_moved(moved: GrantTransaction, category: GrantCategory) -> Transaction:
    """Credit was granted, and is owed to the customer from now on; or is owed no more.

    A paid grant was sold, by an invoice like any other, whose revenue becomes the debt; one that is
    promotional is given away. What is left when it expires or is voided goes back there. Raises
    ValueError for what an invoice did with it, which is in what the invoice posts.
    """
    if moved.movement not in GRANTING:
        raise ValueError(f"Credit that moved by {moved.movement} is posted with its invoice.")
    giver = _REVENUE if category == GrantCategory.PAID else _leg(_A.PROMOTIONS)
    amount = moved.amount if moved.movement == GrantMovement.GRANTED else -moved.amount
    legs = {giver: amount, _GRANTS: -amount}
    kind = GRANTING[moved.movement]
    return _made(kind, moved.id, moved.customer_id, None, moved.currency, legs)


# ─── Earning ─────────────────────────────────────────────────────────────────────────────────


def earned(entry: Entry, posted_at: datetime, at: datetime) -> int:
    """How much of a deferred entry is revenue by ``at``: pro rata to the microsecond of its period.

    Nothing before it was posted, when all that was earned until then is; all of it at the period's
    end. Rounded as a whole each time, half away from zero: what is earned between two instants is a
    difference, so any months sum to the amount. SQL has the same rule in ``ledger_earned``.
    """
    assert entry.period_start is not None
    assert entry.period_end is not None
    if at < posted_at:
        return 0
    if at >= entry.period_end:
        return -entry.amount
    if at <= entry.period_start:
        return 0
    share = Fraction(
        (at - entry.period_start) // _TICK, (entry.period_end - entry.period_start) // _TICK
    )
    return round_part(-entry.amount * share)


# ─── Legs ────────────────────────────────────────────────────────────────────────────────────

_Leg = tuple[LedgerAccount, datetime | None, datetime | None]


def _leg(account: LedgerAccount) -> _Leg:
    return (account, None, None)


_RECEIVABLE, _REVENUE, _TAX = _leg(_A.RECEIVABLE), _leg(_A.REVENUE), _leg(_A.TAX_PAYABLE)
_BALANCE, _GRANTS, _BAD_DEBT = _leg(_A.CUSTOMER_CREDIT), _leg(_A.CREDIT_GRANTS), _leg(_A.BAD_DEBT)
_UNAPPLIED = _leg(_A.UNAPPLIED_PAYMENTS)
_SETTLED = (_A.RECEIVABLE, _A.BAD_DEBT, _A.REFUNDS)  # by payments, and opened by refunds


def _net(line: Line) -> int:
    """What the line brings in: without its discounts, and the taxes that are in its price."""
    net = line.amount
    if line.discounts:
        net -= sum(line.discounts.values())
    if line.taxes:
        net -= sum(tax["amount"] for tax in line.taxes.values() if tax["inclusive"])
    return net


def _earning(invoice: Invoice, line: Line | None) -> _Leg:
    """Earned at once, or deferred where the service goes on after the invoice is final.

    Usage was given when it is billed, also where a threshold bills it before its window ends.
    """
    assert invoice.finalized_at is not None, "only what is final is in the ledger"
    if (
        line is None
        or is_of_usage(line)
        or line.period_end <= invoice.finalized_at
        or line.period_start >= line.period_end
    ):
        return _REVENUE
    return (_A.DEFERRED_REVENUE, line.period_start, line.period_end)


def _claim(invoice: Invoice) -> _Leg:
    """What a payment settles: the claim, or what it was written off to."""
    return _BAD_DEBT if invoice.marked_uncollectible_at else _RECEIVABLE


def _add(legs: dict[_Leg, int], leg: _Leg, amount: int) -> None:
    legs[leg] = legs.get(leg, 0) + amount


def _of_invoice(
    kind: LedgerKind, source_id: str, invoice: Invoice, legs: dict[_Leg, int]
) -> Transaction:
    return _made(kind, source_id, invoice.customer_id, invoice.id, invoice.currency, legs)


def _made(
    kind: LedgerKind,
    source_id: str,
    customer_id: str | None,
    invoice_id: str | None,
    currency: str,
    legs: dict[_Leg, int],
) -> Transaction:
    """Debits first, as a journal is read."""
    entries = [Entry(leg[0], amount, leg[1], leg[2]) for leg, amount in legs.items() if amount]
    entries.sort(key=lambda entry: entry.amount < 0)
    return Transaction(kind, source_id, customer_id, invoice_id, currency, tuple(entries))
