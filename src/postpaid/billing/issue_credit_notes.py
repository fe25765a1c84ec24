"""Take back all or part of a final invoice: issue a credit note, or void one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postpaid.billing.announce import (
    Announcement,
    announce,
    changes,
    customer_updated,
    invoice_updated,
)
from postpaid.billing.follow import follow, mark_delinquent
from postpaid.billing.lock_invoices import lock_invoices
from postpaid.billing.move_balance import moved
from postpaid.billing.open_intents import cancel_intents, follow_remaining
from postpaid.billing.perform import Act
from postpaid.billing.post import post, post_credit_note_voided
from postpaid.billing.refund_notes import AskedRefund, back_by_refunds, write_refunding
from postpaid.core import ledger
from postpaid.core.credit_notes import (
    AskedLine,
    CreditNote,
    CreditNoteLine,
    CreditNoteReason,
    CreditNoteStatus,
    credit_note_number,
    creditable,
    custom_line,
    less,
    line_as_asked,
    lines_by_total,
    remaining_lines,
    split,
)
from postpaid.core.credits import BalanceReason
from postpaid.core.errors import ActionNotAllowed, Conflict, InvalidRequest, NotFound
from postpaid.core.invoicing import Invoice, InvoiceStatus, paid
from postpaid.core.lines import Line
from postpaid.core.subscriptions import SubscriptionAction
from postpaid.core.values import replace
from postpaid.storage import (
    balance_transactions,
    credit_notes,
    customers,
    invoices,
    payments,
)
from postpaid.storage.customers import Customer
from postpaid.storage.database import Connection

CREDITED = (InvoiceStatus.OPEN, InvoiceStatus.PAID)  # Stripe: others have nothing to take back


@dataclass(frozen=True, slots=True)
class NewCreditNote:
    """A credit note asked for: by its total ``amount``, or by ``lines``.

    Of what was paid already, ``credit_amount`` goes to the customer's balance,
    ``out_of_band_amount`` has gone back some other way, ``refund_amount`` is refunded now, and
    ``refunds`` are those that there are, with how much of each this is the paper of.
    """

    invoice_id: str
    amount: int | None = None
    lines: Sequence[AskedLine] | None = None
    credit_amount: int = 0
    out_of_band_amount: int = 0
    refund_amount: int = 0
    refunds: Sequence[AskedRefund] = ()
    reason: CreditNoteReason | None = None
    memo: str | None = None
    effective_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def issue(conn: Connection, act: Act, asked: NewCreditNote) -> CreditNote:
    """Issue a credit note. What is not paid yet of the invoice falls by it first (Stripe).

    Refunds that it makes are written; ``ask_refunds`` after the commit. An invoice of which nothing
    remains to be paid is paid. Raises ``NotFound``; ``InvalidRequest`` for more than the invoice
    has left, or amounts that do not sum; ``ActionNotAllowed`` for an invoice that is neither open
    nor paid; ``Conflict`` while a payment is under way.
    """
    # Read.
    [invoice], locked = lock_invoices(conn, act, [asked.invoice_id])
    wall = act.now
    owner = customer = locked[invoice.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    earlier = credit_notes.of_invoice(conn, act.account_id, invoice.id)
    if invoice.amount_remaining and payments.pending_of(conn, act.account_id, [invoice.id]):
        raise Conflict("A payment of this invoice is under way; try again when it is settled.")

    refunding = back_by_refunds(
        conn, act, invoice, asked.refund_amount, asked.refunds, is_preview=False
    )

    # Decide.
    note = decide(act, asked, invoice, earlier, refunded=refunding.amount)
    before, after = invoice, _credited(act, invoice, note)
    transaction = None
    if note.credit_amount:
        customer, transaction = moved(
            act,
            customer,
            BalanceReason.CREDIT_NOTE,
            -note.credit_amount,
            currency=note.currency,
            invoice_id=invoice.id,
            credit_note_id=note.id,
        )
        note = replace(note, balance_transaction_id=transaction.id)

    # Write.
    credit_notes.insert(conn, act.account_id, note)
    if transaction is not None:
        balance_transactions.insert_many(conn, act.account_id, [transaction])
        customers.update_invoicing(conn, act.account_id, [customer])
    invoices.update_many(conn, act.account_id, [after], before=[before.status])
    post(conn, act, [_posting(invoice, note)])
    write_refunding(conn, act, note, refunding, wall=wall)
    said = [Announcement("credit_note.created", "credit_note", note.id, note)]
    _announce_with(conn, act, said, (before, after), (owner, customer))
    if after.status != before.status:
        cancel_intents(conn, act, [after], reason=None)
        follow(conn, act, [after], SubscriptionAction.PAY)
        mark_delinquent(conn, act, [after], delinquent=False)
    elif note.pre_payment_amount:
        follow_remaining(conn, act, [after])
    return note


def preview(conn: Connection, act: Act, asked: NewCreditNote) -> CreditNote:
    """The credit note that ``issue`` would issue; nothing is written."""
    found = invoices.load(conn, act.account_id, [asked.invoice_id])
    if asked.invoice_id not in found:
        raise NotFound.of("invoice", asked.invoice_id, param="invoice")
    invoice = found[asked.invoice_id]
    customer = customers.load(conn, act.account_id, [invoice.customer_id])[invoice.customer_id]
    act = act.at(customer.now(act.now), customer.clock_id)
    earlier = credit_notes.of_invoice(conn, act.account_id, invoice.id)
    refunding = back_by_refunds(
        conn, act, invoice, asked.refund_amount, asked.refunds, is_preview=True
    )
    return decide(act, asked, invoice, earlier, refunded=refunding.amount)


def decide(
    act: Act,
    asked: NewCreditNote,
    invoice: Invoice,
    earlier: Sequence[CreditNote],
    *,
    refunded: int = 0,
) -> CreditNote:
    """The credit note with its lines, of an invoice that has these ``earlier`` ones.

    ``refunded`` is what goes or went back by refunds of which it is the paper.
    """
    if invoice.status not in CREDITED:
        raise ActionNotAllowed(
            f"You can only create credit notes for invoices that are open or paid, and this one "
            f"is {invoice.status}.",
            param="invoice",
        )
    standing = [each for each in earlier if each.status == CreditNoteStatus.ISSUED]
    rest = remaining_lines(invoice, (line for each in standing for line in each.lines))
    if asked.lines is not None:
        lines = _lines_as_asked(invoice, rest, asked.lines)
        total = sum(line.total for line in lines)
        if asked.amount not in (None, total):
            raise InvalidRequest(
                f"`amount` is {asked.amount}, and the lines come to {total}.", param="amount"
            )
    elif asked.amount is not None:
        total = asked.amount
        lines = lines_by_total(rest, total) if total <= creditable(invoice) else []
    else:
        raise InvalidRequest(
            "You must give `amount` or `lines`.", param="amount", code="parameter_missing"
        )
    if total <= 0:
        raise InvalidRequest("A credit note must take back something.", param="lines")
    parts = split(
        invoice,
        total,
        credit=asked.credit_amount,
        out_of_band=asked.out_of_band_amount,
        refund=refunded,
    )
    sequence = len(earlier) + 1
    assert invoice.number is not None, "a final invoice has a number"
    return CreditNote(
        id=act.new_id("cn"),
        invoice_id=invoice.id,
        sequence=sequence,
        customer_id=invoice.customer_id,
        clock_id=invoice.clock_id,
        number=credit_note_number(invoice.number, sequence),
        status=CreditNoteStatus.ISSUED,
        currency=invoice.currency,
        subtotal=sum(line.amount for line in lines),
        total=total,
        pre_payment_amount=parts.pre_payment,
        credit_amount=parts.credit,
        out_of_band_amount=parts.out_of_band,
        reason=asked.reason,
        memo=asked.memo,
        metadata=asked.metadata,
        balance_transaction_id=None,
        effective_at=asked.effective_at or act.now,
        created_at=act.now,
        voided_at=None,
        refund_amount=parts.refund,
        lines=tuple(replace(line, id=act.new_id("cnli")) for line in lines),
    )


def update_note(
    conn: Connection, act: Act, note_id: str, change: Callable[[CreditNote], CreditNote]
) -> CreditNote:
    """Make what is said of the credit note what ``change`` makes of it. Raises ``NotFound``."""
    before, _, act = _lock(conn, act, note_id)
    after = change(before)
    if after != before:
        credit_notes.update(conn, act.account_id, after)
        what = changes(before, after)
        said = Announcement("credit_note.updated", "credit_note", after.id, after, what)
        announce(conn, act, [said])
    return after


def void_note(conn: Connection, act: Act, note_id: str) -> CreditNote:
    """Void the credit note, as if it had never been: what it took back is owed or held again.

    Raises ``ActionNotAllowed`` for one that is void, for what lowered an invoice that is not open
    any more (Stripe), for credit that is used up, and for what went back by refunds or some other
    way.
    """
    # Read.
    before, owner, act = _lock(conn, act, note_id)
    customer = owner
    invoice = invoices.load(conn, act.account_id, [before.invoice_id])[before.invoice_id]
    if payments.pending_of(conn, act.account_id, [invoice.id]):
        raise Conflict("A payment of this invoice is under way; try again when it is settled.")

    # Decide.
    _check_voidable(before, invoice, customer)
    after = replace(before, status=CreditNoteStatus.VOID, voided_at=act.now)
    owed = replace(
        invoice,
        pre_payment_credits=invoice.pre_payment_credits - before.pre_payment_amount,
        post_payment_credits=invoice.post_payment_credits - before.post_payment_amount,
    )
    transaction = None
    if before.credit_amount:
        customer, transaction = moved(
            act,
            customer,
            BalanceReason.CREDIT_NOTE,
            before.credit_amount,
            currency=before.currency,
            invoice_id=invoice.id,
            credit_note_id=before.id,
        )

    # Write.
    credit_notes.update(conn, act.account_id, after)
    if transaction is not None:
        balance_transactions.insert_many(conn, act.account_id, [transaction])
        customers.update_invoicing(conn, act.account_id, [customer])
    invoices.update_many(conn, act.account_id, [owed], before=[invoice.status])
    post_credit_note_voided(conn, act, invoice, before.id)
    if before.pre_payment_amount:
        follow_remaining(conn, act, [owed])
    said = [Announcement("credit_note.voided", "credit_note", after.id, after)]
    _announce_with(conn, act, said, (invoice, owed), (owner, customer))
    return after


def _check_voidable(note: CreditNote, invoice: Invoice, customer: Customer) -> None:
    if note.status == CreditNoteStatus.VOID:
        raise ActionNotAllowed("This credit note is already voided.")
    if note.pre_payment_amount and invoice.status != InvoiceStatus.OPEN:
        raise ActionNotAllowed(
            f"The invoice that this credit note lowered is {invoice.status} by now; only of an "
            "open one can it be voided."
        )
    if note.out_of_band_amount:
        raise ActionNotAllowed(
            "What this credit note gave back out of band cannot be taken back by voiding it."
        )
    if note.refund_amount:
        raise ActionNotAllowed(
            "What this credit note gave back by refunds cannot be taken back by voiding it."
        )
    if note.credit_amount and customer.balance > -note.credit_amount:
        raise ActionNotAllowed("The credit of this credit note is used already.")


def _lines_as_asked(
    invoice: Invoice, rest: Sequence[Line], asked: Sequence[AskedLine]
) -> list[CreditNoteLine]:
    billed = {line.id: line for line in invoice.lines}
    left = {line.id: line for line in rest}
    lines: list[CreditNoteLine] = []
    for at, each in enumerate(asked):
        if each.invoice_line_id is None:
            lines.append(custom_line(each))
            continue
        if each.invoice_line_id not in billed:
            raise NotFound.of(
                "invoice line item",
                each.invoice_line_id,
                param=("lines", at, "invoice_line_item"),
            )
        line = line_as_asked(left[each.invoice_line_id], billed[each.invoice_line_id], each, at=at)
        left[each.invoice_line_id] = less(left[each.invoice_line_id], line)
        lines.append(line)
    return lines


def _credited(act: Act, invoice: Invoice, note: CreditNote) -> Invoice:
    """The invoice with the note; paid when nothing remains of it."""
    after = replace(
        invoice,
        pre_payment_credits=invoice.pre_payment_credits + note.pre_payment_amount,
        post_payment_credits=invoice.post_payment_credits + note.post_payment_amount,
    )
    if invoice.status == InvoiceStatus.OPEN and after.amount_remaining == 0:
        return replace(paid(after, now=act.now, amount=0), attempted=invoice.attempted)
    return after


def _posting(invoice: Invoice, note: CreditNote) -> ledger.Transaction:
    """What the note does to the ledger: each line in the service period of the line it is of."""
    billed = {line.id: line for line in invoice.lines}
    taken = [
        ledger.Taken(line.total - line.tax, line.tax, billed.get(line.invoice_line_id or ""))
        for line in note.lines
    ]
    return ledger.credit_note(
        invoice,
        note.id,
        taken,
        off_invoice=note.pre_payment_amount,
        to_balance=note.credit_amount,
        refunded=note.refund_amount,
        out_of_band=note.out_of_band_amount,
    )


def _announce_with(
    conn: Connection,
    act: Act,
    said: list[Announcement],
    invoice: tuple[Invoice, Invoice],
    customer: tuple[Customer, Customer],
) -> None:
    """Announce what is said of a note, and what it did to its invoice and its customer."""
    before, after = invoice
    said.append(invoice_updated(before, after))
    if after.status == InvoiceStatus.PAID and before.status != InvoiceStatus.PAID:
        said.append(Announcement("invoice.paid", "invoice", after.id, replace(after, lines=())))
    if customer[0] != customer[1]:
        said.append(customer_updated(*customer))
    announce(conn, act, said)


def _lock(conn: Connection, act: Act, note_id: str) -> tuple[CreditNote, Customer, Act]:
    found = credit_notes.load(conn, act.account_id, [note_id]).get(note_id)
    if found is None:
        raise NotFound.of("credit note", note_id)
    customer = customers.lock(conn, act.account_id, [found.customer_id])[found.customer_id]
    current = credit_notes.load(conn, act.account_id, [note_id])[note_id]
    return current, customer, act.at(customer.now(act.now), customer.clock_id)
